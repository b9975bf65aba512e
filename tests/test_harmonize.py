"""Tests of the harmonizers."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hpbnet.affine_grid import AffineGrid
from hpbnet.checkpoint import Checkpoint, write_checkpoint
from hpbnet.color import lab_to_rgb, masked_mean, rgb_to_lab
from hpbnet.harmonize import (
    Harmonizer,
    Painter,
    covariance,
    harmonizer_by_name,
    learned,
    partial_monge_kantorovich,
    reinhard,
    reinhard_target,
)
from hpbnet.layers import Layers
from hpbnet.networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
from hpbnet.networks.hpbnet import Painted

CLASSICAL = pytest.mark.parametrize("harmonizer", [reinhard, covariance])
TINY = HarmonizerConfig(
    channels=(4, 4, 8, 8), encoder_blocks=(0, 0, 0, 0), decoder_blocks=(0, 0, 0), code=8, heads=2, size=64
)


def noisy(colour: tuple[float, float, float], spread: float, generator: torch.Generator, size: int = 96) -> Tensor:
    """A surface of one Lab colour, unevenly lit."""
    light = spread * torch.randn(1, 1, size, size, generator=generator)
    lab = torch.tensor(colour).view(1, 3, 1, 1) + torch.cat([light, torch.zeros(1, 2, size, size)], 1)
    return lab_to_rgb(lab).clamp(0, 1)


def person_in(scene: Tensor, head: Tensor, clothes: Tensor) -> Layers:
    size = scene.shape[-1]
    foreground = torch.cat([head[..., : size // 3, :], clothes[..., size // 3 :, :]], dim=2)
    alpha = torch.zeros(1, 1, size, size)
    alpha[..., size // 8 :, size // 4 : 3 * size // 4] = 1
    return Layers(foreground, alpha, scene)


def red_dress_in_a_green_park(generator: torch.Generator) -> Layers:
    park = noisy((45, -38, 40), 12, generator)
    park[..., :24, :] = noisy((80, -2, -8), 5, generator)[..., :24, :]  # some sky
    return person_in(park, noisy((70, 14, 17), 8, generator), noisy((42, 62, 38), 8, generator))


@CLASSICAL
def test_a_red_dress_in_a_green_park_keeps_its_red(harmonizer: Harmonizer, generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    dress = layers.alpha.clone()
    dress[..., :33, :] = 0
    before = masked_mean(rgb_to_lab(layers.foreground), dress)[0, 1:, 0, 0]
    after = masked_mean(rgb_to_lab(layers.recolor(harmonizer(layers)).foreground), dress)[0, 1:, 0, 0]
    assert after.norm() > 0.92 * before.norm()
    hue = torch.atan2(after[1], after[0]) - torch.atan2(before[1], before[0])
    assert hue.abs().rad2deg() < 4


@CLASSICAL
def test_a_blue_cast_on_a_grey_person_is_reduced(harmonizer: Harmonizer, generator: torch.Generator) -> None:
    street = noisy((55, 1, 4), 15, generator)
    layers = person_in(street, noisy((65, 6, 0), 8, generator), noisy((40, 0, -16), 8, generator))
    before = masked_mean(rgb_to_lab(layers.foreground), layers.alpha)[0, 2, 0, 0]
    after = masked_mean(rgb_to_lab(layers.recolor(harmonizer(layers)).foreground), layers.alpha)[0, 2, 0, 0]
    assert before + 2 < after < 4


@CLASSICAL
def test_a_person_too_bright_for_the_scene_is_darkened(harmonizer: Harmonizer, generator: torch.Generator) -> None:
    layers = person_in(
        noisy((25, 0, 3), 10, generator), noisy((85, 5, 8), 5, generator), noisy((75, 0, 2), 5, generator)
    )
    change = layers.recolor(harmonizer(layers)).foreground - layers.foreground
    assert -0.15 < masked_mean(change, layers.alpha).mean() < -0.02


@CLASSICAL
def test_what_fits_is_hardly_changed(harmonizer: Harmonizer, generator: torch.Generator) -> None:
    image = noisy((55, 4, 6), 14, generator)
    layers = Layers(image, person_in(image, image, image).alpha, image)
    assert (layers.recolor(harmonizer(layers)).foreground - image).abs().max() < 2 / 255


@CLASSICAL
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_without_evidence_nothing_changes(harmonizer: Harmonizer, alpha: float, generator: torch.Generator) -> None:
    foreground, background = torch.rand(2, 1, 3, 64, 48, generator=generator)
    layers = Layers(foreground, torch.full((1, 1, 64, 48), alpha), background * 0.2)
    changed = harmonizer(layers).apply(foreground)
    assert (changed - foreground).abs().max() < 1 / 255


@CLASSICAL
def test_flat_black_layers_stay_finite(harmonizer: Harmonizer) -> None:
    layers = Layers(torch.zeros(1, 3, 32, 32), torch.full((1, 1, 32, 32), 0.5), torch.zeros(1, 3, 32, 32))
    assert harmonizer(layers).matrix.isfinite().all()
    assert layers.recolor(harmonizer(layers)).foreground.max() < 2 / 255


@CLASSICAL
def test_a_batch_is_judged_item_by_item(harmonizer: Harmonizer, generator: torch.Generator) -> None:
    first, second = red_dress_in_a_green_park(generator), red_dress_in_a_green_park(generator)
    pair = Layers(*(torch.cat(both) for both in zip(*map(parts, (first, second)), strict=True)))
    assert torch.allclose(harmonizer(pair).matrix[1:], harmonizer(second).matrix, atol=1e-4)


def parts(layers: Layers) -> tuple[Tensor, Tensor, Tensor]:
    return layers.foreground, layers.alpha, layers.background


def test_the_grid_follows_reinhards_curve(generator: torch.Generator) -> None:
    layers = person_in(
        noisy((35, 4, 30), 20, generator), noisy((75, 15, 18), 12, generator), noisy((50, -10, -20), 15, generator)
    )
    exact, fitted = reinhard_target(layers), reinhard(layers).apply(layers.foreground)
    error = (exact - fitted).abs() * layers.alpha * 255
    assert (exact - layers.foreground).abs().mean() * 255 > 5
    assert error.mean() < 0.1 and error.flatten().quantile(0.99) < 1


def test_covariance_gives_one_exact_cell(generator: torch.Generator) -> None:
    assert covariance(red_dress_in_a_green_park(generator)).shape == (1, 1, 1)


def test_the_monge_kantorovich_map_moves_one_covariance_to_the_other(generator: torch.Generator) -> None:
    first, second = torch.randn(2, 2, 3, 3, generator=generator)
    own, goal = first @ first.mT + 0.1 * torch.eye(3), second @ second.mT + 0.1 * torch.eye(3)
    matrix = partial_monge_kantorovich(own, goal)
    assert torch.allclose(matrix @ own @ matrix.mT, goal, atol=1e-3)
    assert torch.allclose(matrix, matrix.mT, atol=1e-4)


def test_the_monge_kantorovich_map_of_independent_channels_is_the_ratio_of_deviations() -> None:
    own, goal = torch.diag(torch.tensor([0.04, 0.01, 0.09])), torch.diag(torch.tensor([0.01, 0.04, 0.09]))
    expected = torch.diag(torch.tensor([0.5, 2.0, 1.0]))
    assert torch.allclose(partial_monge_kantorovich(own[None], goal[None])[0], expected, atol=5e-3)
    limited = partial_monge_kantorovich(own[None], goal[None], most=1.25)[0]
    assert torch.allclose(limited, torch.diag(torch.tensor([0.8, 1.25, 1.0])), atol=1e-4)


def test_an_untrained_network_changes_nothing(generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    harmonizer = learned(HarmonizerNetwork(TINY).eval())
    assert (layers.recolor(harmonizer(layers)).foreground - layers.foreground).abs().max() < 1e-5
    assert not harmonizer(layers).matrix.requires_grad


def test_a_network_judges_a_picture_and_its_mirror_image_alike(generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    network = HarmonizerNetwork(TINY).eval()
    torch.nn.init.normal_(network.local_head.weight, std=0.05, generator=generator)
    mirrored = Layers(*(part.flip(3) for part in (layers.foreground, layers.alpha, layers.background)))
    one, other = learned(network)(layers), learned(network)(mirrored)
    assert (one.matrix - AffineGrid.identity().matrix).abs().max() > 0.01
    assert torch.allclose(one.matrix, other.matrix.flip(-1), atol=1e-5)


class Drifting(nn.Module):
    """Halves the foreground, and lets the whole picture drift by 0.8, which Eq. (3) is there to undo."""

    config = SimpleNamespace(resolution=64, residual=False)

    def forward(self, composite: Tensor, mask: Tensor) -> Painted:
        return Painted([0.8 * composite * (1 - 0.5 * mask)], [])


def test_a_painted_change_is_lifted_by_a_grid_without_its_drift(generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    grid = Painter(Drifting())(layers)  # type: ignore[arg-type]
    assert grid.shape == (8, 32, 32)
    error = (layers.recolor(grid).foreground - 0.5 * layers.foreground).abs() * layers.alpha
    assert error.mean() < 1 / 255


def test_a_networks_own_picture_is_shown_after_equation_3(generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    picture = Painter(Drifting()).paint(layers)  # type: ignore[arg-type]
    small = layers.resize(64, 64)
    assert picture.shape == (1, 3, 64, 64)
    assert (picture - small.composite() * (1 - 0.5 * small.alpha)).abs().mean() < 1 / 255


class Shading(nn.Module):
    """Changes the composite's colours, the left ones more, and is a little off everywhere."""

    config = SimpleNamespace(resolution=64, residual=True)

    def forward(self, composite: Tensor, mask: Tensor) -> Painted:
        return Painted([composite * (1 - 0.5 * mask * torch.linspace(1, 0, 64)) + 0.01], [])


def test_a_network_that_changes_colours_is_asked_twice_and_has_no_drift_to_undo(generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    black = Layers(layers.foreground, layers.alpha, torch.zeros_like(layers.background))
    small = black.resize(64, 64)
    expected = (small.composite() * (1 - 0.25 * small.alpha) + 0.01).clamp(0, 1)  # the mean of it and its mirror image
    assert torch.allclose(Painter(Shading()).paint(black), expected, atol=1e-5)  # type: ignore[arg-type]


def test_none_is_identity(generator: torch.Generator) -> None:
    layers = red_dress_in_a_green_park(generator)
    assert torch.equal(layers.recolor(harmonizer_by_name("none")(layers)).foreground, layers.foreground)


def test_harmonizers_are_found_by_name() -> None:
    assert harmonizer_by_name("reinhard") is reinhard and harmonizer_by_name("covariance") is covariance


def test_an_unknown_harmonizer_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'rainhard': did you mean 'reinhard'\? .*none, reinhard, covariance"):
        harmonizer_by_name("rainhard")


def test_a_checkpoint_is_found_by_path(tmp_path: Path, generator: torch.Generator) -> None:
    network = HarmonizerNetwork(TINY)
    config = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(TINY).items()}
    path = tmp_path / "mine.safetensors"
    write_checkpoint(path, Checkpoint("harmonizer", config, network.state_dict()))
    layers = red_dress_in_a_green_park(generator)
    assert harmonizer_by_name(path)(layers).matrix.shape == (1, 3, 4, 1, *learned(network)(layers).shape[1:])
