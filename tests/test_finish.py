"""Tests of the finishing touches."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from hpbnet.finish import grade, light_wrap, match_grain, match_softness, measure_blur, measure_noise
from hpbnet.layers import Layers


def scene(generator: torch.Generator, blur: float = 0.0, noise: float = 0.0, size: int = 192) -> Tensor:
    """A chequered wall, softened and noisy."""
    y, x = np.mgrid[:size, :size] // 24
    wall = np.where((x + y) % 2, 0.7, 0.3).astype(np.float32)
    wall = cv2.GaussianBlur(wall, (0, 0), blur) if blur else wall
    image = torch.from_numpy(wall).expand(1, 3, size, size)
    return (image + noise * torch.randn(1, 1, size, size, generator=generator)).clamp(0, 1)


def in_the_middle(size: int = 192) -> Tensor:
    alpha = torch.zeros(1, 1, size, size)
    alpha[..., size // 4 :, size // 4 : 3 * size // 4] = 1
    return alpha


def test_no_grade_is_identity(generator: torch.Generator) -> None:
    image = torch.rand(1, 3, 8, 8, generator=generator)
    assert torch.allclose(grade(0.0, 0.0).apply(image), image)


def test_one_stop_doubles_linear_light() -> None:
    image = torch.full((1, 3, 2, 2), 0.4)
    assert (grade(1.0, 0.0).apply(image) ** 2.2 / image**2.2).mean() == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize("exposure", [-1.0, 0.0, 1.0])
def test_warmth_moves_red_against_blue_and_keeps_a_greys_luma(exposure: float) -> None:
    grey = torch.full((1, 3, 1, 1), 0.4)
    plain, warm, cold = (grade(exposure, warmth).apply(grey)[0, :, 0, 0] for warmth in (0.0, 1.0, -1.0))
    luma = torch.tensor([0.2126, 0.7152, 0.0722])
    assert warm[0] > plain[0] and warm[2] < plain[2] and cold[0] < plain[0] and cold[2] > plain[2]
    assert warm @ luma == pytest.approx(float(plain @ luma), abs=1e-5)


def test_light_wraps_from_a_bright_background_only(generator: torch.Generator) -> None:
    dark, bright = torch.full((1, 3, 192, 192), 0.2), torch.full((1, 3, 192, 192), 0.9)
    alpha = in_the_middle()
    wrapped = light_wrap(Layers(dark, alpha, bright), 1.0)
    assert wrapped.foreground[0, 0, 120, 48] > 0.3  # at the edge
    assert wrapped.foreground[0, 0, 120, 96] == pytest.approx(0.2, abs=0.01)  # inside
    assert torch.equal(wrapped.composite()[alpha.expand_as(dark) == 0], bright[alpha.expand_as(dark) == 0])
    assert torch.equal(light_wrap(Layers(bright, alpha, dark), 1.0).foreground, bright)


def test_nothing_is_done_at_amount_zero(generator: torch.Generator) -> None:
    layers = Layers(scene(generator), in_the_middle(), scene(generator, 2.0, 0.05))
    assert light_wrap(layers, 0.0) is layers and match_grain(layers, 0.0) is layers
    assert match_softness(layers, 0.0) is layers


@pytest.mark.parametrize("noise", [0.01, 0.03])
@pytest.mark.parametrize("size", [192, 700])
def test_noise_is_measured_beside_edges(noise: float, size: int, generator: torch.Generator) -> None:
    image, weight = scene(generator, 1.0, noise, size), torch.ones(1, 1, size, size)
    assert measure_noise(image, weight) == pytest.approx(noise, rel=0.15)


def test_texture_is_no_noise(generator: torch.Generator) -> None:
    lawn = torch.rand(1, 1, 192, 192, generator=generator)
    lawn = cv2.GaussianBlur(lawn[0, 0].numpy(), (0, 0), 1.0)
    image = torch.from_numpy(lawn).expand(1, 3, 192, 192)
    assert measure_noise(image, torch.ones(1, 1, 192, 192)) == pytest.approx(0.0, abs=0.3 / 255)


@pytest.mark.parametrize("blur", [0.7, 1.5, 2.5])
def test_blur_is_measured_at_edges(blur: float, generator: torch.Generator) -> None:
    measured = measure_blur(scene(generator, blur), torch.ones(1, 1, 192, 192))
    assert measured == pytest.approx(blur, rel=0.25, abs=0.1)


def test_too_small_a_part_is_not_measured(generator: torch.Generator) -> None:
    weight = torch.zeros(1, 1, 192, 192)
    weight[..., :20, :20] = 1
    assert measure_noise(scene(generator), weight) is None and measure_blur(scene(generator), weight) is None
    assert measure_noise(torch.rand(1, 3, 16, 300), torch.ones(1, 1, 16, 300)) is None
    flat, all_of_it = torch.full((1, 3, 99, 99), 0.5), torch.ones(1, 1, 99, 99)
    assert measure_blur(flat, all_of_it) is None and measure_noise(flat, all_of_it) == 0


def test_grain_is_added_where_the_background_has_more(generator: torch.Generator) -> None:
    layers = Layers(scene(generator, 1.0, 0.002), in_the_middle(), scene(generator, 1.0, 0.03))
    matched = match_grain(layers, 1.0)
    assert measure_noise(matched.foreground, matched.alpha) == pytest.approx(0.03, rel=0.3)
    assert torch.equal(matched.foreground, match_grain(layers, 1.0).foreground)
    assert not torch.equal(matched.foreground, match_grain(layers, 1.0, seed=1).foreground)


def test_no_grain_is_added_before_a_clean_background_or_to_a_grainy_person(generator: torch.Generator) -> None:
    clean, grainy = scene(generator, 1.0, 0.001), scene(generator, 1.0, 0.03)
    for person, background in ((clean, clean), (grainy, clean), (grainy, grainy)):
        layers = Layers(person, in_the_middle(), background)
        noise = measure_noise(match_grain(layers, 1.0).foreground, layers.alpha)
        assert noise == pytest.approx(measure_noise(person, layers.alpha), rel=0.1)


def test_grain_is_each_items_own(generator: torch.Generator) -> None:
    clean, grainy = scene(generator, 1.0, 0.001), scene(generator, 1.0, 0.03)
    layers = Layers(torch.cat([clean, clean]), in_the_middle().repeat(2, 1, 1, 1), torch.cat([grainy, clean]))
    first, second = match_grain(layers, 1.0).foreground.split(1)
    assert not torch.equal(first, clean) and torch.equal(second, clean)


def test_a_softer_background_softens_the_foreground_and_never_the_other_way(generator: torch.Generator) -> None:
    sharp, soft = scene(generator, 0.7), scene(generator, 2.0)
    matched = match_softness(Layers(sharp, in_the_middle(), soft), 1.0)
    assert measure_blur(matched.foreground, matched.alpha) == pytest.approx(2.0, rel=0.25)
    kept = match_softness(Layers(soft, in_the_middle(), sharp), 1.0)
    assert torch.equal(kept.foreground, soft)
