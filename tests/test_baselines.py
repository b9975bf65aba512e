"""Tests of the compared methods: published sizes, shapes, losses by exact value."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from hpbnet.baselines import BASELINES
from hpbnet.baselines.adfm import ADFM, ADFMConfig, Modulation
from hpbnet.baselines.baseline import Baseline
from hpbnet.baselines.dovenet import DoveNet, DoveNetConfig, DoveNetCritic, PartialConvolution
from hpbnet.baselines.hrnet import Context
from hpbnet.baselines.ht import HT, HTConfig, position_code
from hpbnet.baselines.idih import IDIH, IDIHConfig
from hpbnet.baselines.s2crnet import S2CRNet, S2CRNetConfig, S2CRNetCritic, crop_foreground, render
from hpbnet.checkpoint import Checkpoint, write_checkpoint
from hpbnet.harmonize import Painter, harmonizer_by_name
from hpbnet.layers import Layers

TINY: dict[str, Baseline] = {
    "ht": HT(HTConfig(32, channels=4, layers=1)),
    "dovenet": DoveNet(DoveNetConfig(32, channels=4)),
    "adfm": ADFM(ADFMConfig(32, channels=4)),
    "idih": IDIH(IDIHConfig(32, channels=4, backbone_channels=2, modules=(1, 1), blocks=1)),
    "s2crnet": S2CRNet(S2CRNetConfig(32, channels=4, pieces=8)),
}


def parameters(build: type[nn.Module], *arguments: object) -> int:
    with torch.device("cpu" if build is DoveNetCritic else "meta"):
        return sum(parameter.numel() for parameter in build(*arguments).parameters())


@pytest.mark.parametrize(
    ("build", "config", "published"),
    [
        (HT, HTConfig(), 6_446_275),
        (HT, HTConfig(patches=True), 4_772_867),
        (DoveNet, DoveNetConfig(), 54_755_587),
        (DoveNet, DoveNetConfig(batch_norm=True), 54_759_939),
        (DoveNetCritic, DoveNetConfig(), 17_787_138),
        (ADFM, ADFMConfig(), 11_590_789),
        (IDIH, IDIHConfig(), 18_512_633),
        (IDIH, IDIHConfig(backbone=False), 8_301_284),
        (IDIH, IDIHConfig(modules=(1, 3, 2), blocks=2), 12_811_093),
        (S2CRNet, S2CRNetConfig(), 919_296),
    ],
)
def test_networks_have_the_published_number_of_parameters(
    build: type[nn.Module], config: object, published: int
) -> None:
    assert parameters(build, config) == published


@pytest.mark.parametrize("name", TINY)
def test_a_picture_is_painted_in_range_and_every_parameter_learns(name: str, generator: torch.Generator) -> None:
    network = TINY[name].train()
    composite, truth = torch.rand(2, 2, 3, 32, 32, generator=generator)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:28, 4:20] = 1
    estimates = network(composite, mask)
    assert all(estimate.shape == composite.shape for estimate in estimates)
    network.loss(estimates, mask, truth).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        picture = network.eval().paint(composite, mask)
    assert picture.min() >= 0 and picture.max() <= 1
    if network.pastes or name == "s2crnet":
        outside = (mask == 0).expand_as(picture)
        assert torch.equal(picture[outside], composite[outside])


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_is_a_harmonizer_that_paints(name: str, tmp_path: Path, generator: torch.Generator) -> None:
    network, path = TINY[name].eval(), tmp_path / "weights.safetensors"
    config = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(network.config).items()}
    write_checkpoint(path, Checkpoint(name, config, network.state_dict()))
    painter = harmonizer_by_name(path)
    assert isinstance(painter, Painter)
    alpha = torch.zeros(1, 1, 40, 60)
    alpha[:, :, 10:, 20:40] = 1
    foreground, background = torch.rand(2, 1, 3, 40, 60, generator=generator)
    layers = Layers(foreground, alpha, background)
    small = layers.resize(32, 32)
    with torch.no_grad():
        expected = network.paint(small.composite(), small.alpha)
    assert torch.allclose(painter.paint(layers), expected, atol=1e-5)
    assert painter(layers).shape == (8, 32, 32)


@pytest.mark.parametrize("name", BASELINES)
def test_pictures_that_cannot_be_halved_are_refused(name: str) -> None:
    network, config = BASELINES[name]
    with pytest.raises(ValueError, match="resolution is 48; expected a power of two, 32 or more"):
        network(config(resolution=48))


def test_losses_have_their_published_weights() -> None:
    truth, mask = torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 1, 32, 32)
    estimate = truth + 0.1
    assert TINY["ht"].loss([estimate], mask, truth).item() == pytest.approx(100 * 0.1, rel=1e-5)
    assert TINY["dovenet"].loss([estimate], mask, truth).item() == pytest.approx(100 * 0.2, rel=1e-5)
    assert TINY["adfm"].loss([estimate], mask, truth).item() == pytest.approx(0.01, rel=1e-5)


def test_idihs_error_is_shared_out_over_the_foreground_but_not_over_less_than_100_pixels() -> None:
    truth = torch.zeros(2, 3, 32, 32)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    estimate = truth.clone()
    estimate[:, :, 0, :4] = 2 * deviation[:, 0]  # 4 px x 3 channels, each 2 deviations off: 48
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :1, :10], mask[1, :, :10, :20] = 1, 1  # 10 px count as 100; 200
    expected = (48 / (3 * 100) + 48 / (3 * 200)) / 2
    assert TINY["idih"].loss([estimate], mask, truth).item() == pytest.approx(expected, rel=1e-5)


def test_s2crnets_error_is_that_of_both_results_over_the_foreground_alone() -> None:
    truth, mask = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[:, :, :4] = 1
    loss = TINY["s2crnet"].loss([truth + 0.1, truth + 0.2], mask, truth)
    assert loss.item() == pytest.approx(3 * (0.1 + 0.2), rel=1e-5)


def test_a_curve_of_equal_slopes_is_the_identity_and_others_are_as_written(generator: torch.Generator) -> None:
    picture = torch.rand(2, 3, 5, 4, generator=generator)
    picture[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    assert torch.allclose(render(picture, torch.full((2, 3, 64), -2.5)), picture, atol=1e-5)
    slopes = torch.rand(2, 3, 8, generator=generator)
    sums = [slopes[:, :, i, None, None] * (picture - i / 8).clamp(0, 1 / 8) for i in range(8)]
    expected = 8 / slopes.sum(dim=2)[..., None, None] * torch.stack(sums).sum(dim=0)
    assert torch.allclose(render(picture, slopes), expected, atol=1e-5)


def test_s2crnet_sees_the_box_around_the_person(generator: torch.Generator) -> None:
    picture, mask = torch.rand(2, 3, 32, 32, generator=generator), torch.zeros(2, 1, 32, 32)
    mask[0, :, 8:24, 16:32] = 1
    crops = crop_foreground(picture, mask)
    assert torch.allclose(crops[0, :, ::2, ::2].mean(), picture[0, :, 8:24, 16:].mean(), atol=0.02)
    assert not crops[1].any()


def test_s2crnet_starts_from_the_published_squeezenet() -> None:
    network = S2CRNet(S2CRNetConfig(32))
    published = {
        f"features.{name}": torch.full_like(value, 0.5) for name, value in network.features.state_dict().items()
    }
    network.load_squeezenet(published | {"classifier.1.bias": torch.zeros(1000)})
    assert all((value == 0.5).all() for value in network.features.state_dict().values())
    with pytest.raises(ValueError, match=r"expected the tensors of SqueezeNet 1\.1"):
        network.load_squeezenet({"features.0.weight": torch.zeros(64, 3, 11, 11)})


def test_modulation_is_silent_at_the_start_and_then_rescales_the_foreground(generator: torch.Generator) -> None:
    modulation = Modulation(16).eval()
    x, mask = torch.rand(2, 16, 8, 8, generator=generator), torch.zeros(2, 1, 64, 64)
    mask[:, :, 32:] = 1
    assert torch.equal(modulation(x, mask), x)
    nn.init.ones_(modulation.other_gain)
    changed = modulation(x, mask)
    assert torch.equal(changed[:, :, :4], x[:, :, :4])
    gain = changed[:, :, 4:] / x[:, :, 4:]
    assert torch.allclose(gain, gain[:, :, :1, :1].expand_as(gain), rtol=1e-3)


def test_the_position_code_is_of_y_then_x_with_sines_and_cosines_in_turn() -> None:
    code = position_code(2, 3, 8)  # [6,8]: wavelengths 1 and 100
    assert code.shape == (6, 8)
    place = code.view(2, 3, 8)[1, 2]  # the second row, the third column
    angles = torch.tensor([2.0, 0.02, 3.0, 0.03])
    expected = torch.stack([angles.sin(), angles.cos()], dim=1).flatten()
    assert torch.allclose(place, expected, atol=1e-6)


def test_ht_knows_the_places_of_its_tokens(generator: torch.Generator) -> None:
    network = TINY["ht"].eval()
    assert isinstance(network, HT)
    tokens = torch.rand(1, 64, 16, generator=generator)
    code = position_code(8, 8, 16)
    layer = network.layers[0]
    assert torch.allclose(layer(tokens.flip(1), code.flip(0)), layer(tokens, code).flip(1), atol=1e-5)
    assert not torch.allclose(layer(tokens.flip(1), code), layer(tokens, code).flip(1), atol=1e-4)


def test_a_partial_convolution_counts_what_is_valid_and_no_more() -> None:
    layer = PartialConvolution(1, 1, stride=1).eval()
    picture = torch.ones(1, 1, 3, 6)
    mask = torch.zeros(1, 1, 3, 6)
    mask[..., 1:3] = 1
    with torch.no_grad():
        layer.convolution.parametrizations.weight.original.fill_(1.0)  # type: ignore[union-attr]
        whole, _ = layer(picture, torch.ones_like(mask))
        part, seen = layer(picture, mask)
    assert seen.flatten().tolist() == [1, 1, 1, 0]
    assert torch.allclose(part.flatten()[:3], whole.flatten()[:3], rtol=1e-3) and part.flatten()[3] == 0


def test_dovenets_critic_is_trained_by_hinges_and_a_penalty(generator: torch.Generator) -> None:
    critic = DoveNetCritic(DoveNetConfig(32, channels=4))
    truth, picture = torch.rand(2, 2, 3, 32, 32, generator=generator)
    mask = torch.ones(2, 1, 32, 32)
    mask[..., :16] = 0
    with torch.no_grad():
        for last, logit in ((critic.judge, 3.0), (critic.verify[-1], 0.0)):  # whatever it sees: no gradient anywhere
            last.weight.zero_()  # type: ignore[operator, union-attr]
            last.bias.fill_(logit)  # type: ignore[operator, union-attr]
    # Hinges: real 0 + 1, painted 4 + 1; the penalty of a length of 0: 10.
    assert critic.loss(picture, truth, mask).item() == pytest.approx(6 + 10, rel=1e-3)
    assert critic.deceit(picture, mask).item() == pytest.approx(-3)


def test_s2crnets_critic_is_trained_by_least_squares(generator: torch.Generator) -> None:
    critic = S2CRNetCritic(S2CRNetConfig(32, channels=4))
    with torch.no_grad():
        critic.layers[-1].weight.zero_()  # type: ignore[operator, union-attr]
        critic.layers[-1].bias.fill_(0.25)  # type: ignore[operator, union-attr]
    picture, mask = torch.rand(2, 3, 32, 32, generator=generator), torch.ones(2, 1, 32, 32)
    assert critic.deceit(picture, mask).item() == pytest.approx(0.75**2)
    assert critic.loss(picture, picture, mask).item() == pytest.approx((0.75**2 + 0.25**2) / 2)


def test_context_gathers_the_means_of_foreground_and_background(generator: torch.Generator) -> None:
    context = Context(8).eval()
    x, mask = torch.rand(1, 8, 4, 4, generator=generator), torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    assert context(x, mask).shape == (1, 8, 4, 4)
    assert torch.allclose(context(x, mask), context(x, 1 - mask), atol=1e-5)  # the objects have no order
