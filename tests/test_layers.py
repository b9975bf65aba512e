"""Tests of layers: resizing, recolouring, compositing, framing and placing."""

import pytest
import torch

from hpbnet.affine_grid import AffineGrid
from hpbnet.color import srgb_to_linear
from hpbnet.layers import Layers, Placement, box_of, fit_background, lens_blur, place
from scenes import canvas, person


def random_layers(generator: torch.Generator, height: int = 60, width: int = 80, batch: int = 1) -> Layers:
    alpha = (torch.rand(batch, 1, height, width, generator=generator) * 2 - 0.5).clamp(0, 1)
    foreground, background = torch.rand(2, batch, 3, height, width, generator=generator)
    return Layers(foreground, alpha, background)


def test_background_is_untouched_where_alpha_is_zero(generator: torch.Generator) -> None:
    layers = random_layers(generator)
    grid = AffineGrid.uniform(torch.randn(1, 3, 4, generator=generator))
    composite = layers.recolor(grid).composite()
    clear = (layers.alpha == 0).expand_as(composite)
    assert clear.any() and torch.equal(composite[clear], layers.background[clear])


def test_composite_is_the_recoloured_foreground_where_alpha_is_one(generator: torch.Generator) -> None:
    layers = random_layers(generator).recolor(AffineGrid.uniform(torch.randn(1, 3, 4, generator=generator)))
    opaque = (layers.alpha == 1).expand_as(layers.foreground)
    assert opaque.any() and torch.equal(layers.composite()[opaque], layers.foreground[opaque])


def test_composite_blends_in_srgb() -> None:
    layers = Layers(torch.full((1, 3, 1, 1), 0.8), torch.full((1, 1, 1, 1), 0.25), torch.full((1, 3, 1, 1), 0.4))
    assert torch.allclose(layers.composite(), torch.tensor(0.5))


def test_the_same_layers_give_the_same_bits(generator: torch.Generator) -> None:
    layers, grid = random_layers(generator), AffineGrid(torch.randn(1, 3, 4, 1, 4, 4, generator=generator))
    assert torch.equal(layers.recolor(grid).composite(), layers.recolor(grid).composite())
    assert torch.equal(layers.resize(20, 30).foreground, layers.resize(20, 30).foreground)


def test_recolouring_keeps_gradients_to_the_grid(generator: torch.Generator) -> None:
    matrix = torch.eye(3, 4).view(1, 3, 4, 1, 1, 1).clone().requires_grad_()
    random_layers(generator).recolor(AffineGrid(matrix)).composite().sum().backward()
    assert matrix.grad is not None and matrix.grad.abs().sum() > 0


def test_resizing_averages_areas_exactly(generator: torch.Generator) -> None:
    layers = random_layers(generator, 60, 80, batch=2)
    small = layers.resize(15, 20)
    background = layers.background.view(2, 3, 15, 4, 20, 4).mean(dim=(3, 5))
    alpha = layers.alpha.view(2, 1, 15, 4, 20, 4).mean(dim=(3, 5))
    colours = (layers.foreground * layers.alpha).view(2, 3, 15, 4, 20, 4).mean(dim=(3, 5))
    assert torch.allclose(small.background, background, atol=1e-6)
    assert torch.allclose(small.alpha, alpha, atol=1e-6)
    assert torch.allclose(small.foreground * small.alpha, colours, atol=1e-5)


@pytest.mark.parametrize("size", [(60, 33), (17, 80), (59, 79), (7, 11), (1, 1)])
def test_resizing_keeps_the_mean_whatever_the_size(size: tuple[int, int], generator: torch.Generator) -> None:
    layers = random_layers(generator)
    small = layers.resize(*size)
    assert small.size == size
    assert (small.background.mean((2, 3)) - layers.background.mean((2, 3))).abs().max() < 1e-5
    assert (small.alpha.mean() - layers.alpha.mean()).abs() < 1e-5


def test_colours_hidden_by_alpha_do_not_bleed_when_resized() -> None:
    foreground = torch.zeros(1, 3, 8, 8)
    foreground[..., :4] = 0.6
    alpha = torch.zeros(1, 1, 8, 8)
    alpha[..., :4] = 1
    small = Layers(foreground, alpha, foreground).resize(8, 3)
    assert torch.allclose(small.foreground[small.alpha.expand_as(foreground[..., :3]) > 0], torch.tensor(0.6))


def test_resizing_upwards_and_to_the_same_size(generator: torch.Generator) -> None:
    layers = random_layers(generator)
    assert layers.resize(60, 80) is layers
    assert layers.resize(120, 100).size == (120, 100)


def test_the_box_of_alpha_holds_all_of_it() -> None:
    assert box_of(person(10, 20, 60, 75), 0.5) == (10, 20, 60, 75)
    assert box_of(torch.zeros(1, 1, 5, 5), 0.0) == (0, 0, 0, 0)


@pytest.mark.parametrize("flip", [False, True])
def test_placing_at_the_same_size_copies_pixels(flip: bool, generator: torch.Generator) -> None:
    foreground = torch.rand(1, 3, 20, 30, generator=generator)
    placement = Placement((2, 3, 18, 27), (10, 20, 26, 44), flip)
    layers = place(foreground, torch.ones(1, 1, 20, 30), canvas(50, 60), placement)
    source = foreground.flip(-1) if flip else foreground
    assert torch.equal(layers.foreground[..., 10:26, 20:44], source[..., 2:18, 3:27])
    assert layers.alpha.sum() == 16 * 24 and layers.alpha[..., 10:26, 20:44].all()


@pytest.mark.parametrize("target", [(-30, -20, 90, 130), (5, 6, 15, 19), (-5, -6, 7, 9), (100, 100, 120, 130)])
def test_placing_keeps_a_flat_colour_and_clips_to_the_canvas(target: tuple[int, int, int, int]) -> None:
    alpha = person(5, 5, 20, 25, 20, 30)
    foreground = torch.where(alpha > 0, 0.7, 0.0).expand(1, 3, 20, 30)
    layers = place(foreground, alpha, canvas(50, 60), Placement((0, 0, 20, 30), target))
    assert layers.size == (50, 60)
    drawn = (layers.alpha > 0.05).expand_as(layers.foreground)
    assert torch.allclose(layers.foreground[drawn], torch.tensor(0.7), atol=1e-3)
    assert layers.alpha.min() >= 0 and layers.alpha.max() <= 1


def test_enlarging_and_cropping_agree(generator: torch.Generator) -> None:
    foreground, alpha = torch.rand(1, 3, 20, 30, generator=generator), torch.ones(1, 1, 20, 30)
    whole = place(foreground, alpha, canvas(60, 90), Placement((0, 0, 20, 30), (0, 0, 60, 90))).foreground
    part = place(foreground, alpha, canvas(30, 40), Placement((0, 0, 20, 30), (-10, -20, 50, 70))).foreground
    assert (part - whole[..., 10:40, 20:60]).abs().max() < 0.02


def test_a_background_covers_the_canvas_or_is_shown_whole(generator: torch.Generator) -> None:
    picture = torch.rand(1, 3, 40, 60, generator=generator)
    assert torch.equal(fit_background(picture, None), picture)
    assert fit_background(picture, (50, 50)).shape == (1, 3, 50, 50)
    whole = fit_background(picture, (60, 80), "contain")
    assert whole.shape == (1, 3, 80, 60) and torch.equal(whole[:, :, 20:60], picture)
    assert fit_background(picture, (31, 17), "contain", blur=2.5).shape == (1, 3, 17, 31)


def test_lens_blur_keeps_the_light() -> None:
    picture = torch.zeros(1, 3, 61, 61)
    picture[..., 30, 30] = 1
    for radius in (3.0, 12.0):
        blurred = srgb_to_linear(lens_blur(picture, radius))
        assert blurred.sum() == pytest.approx(3, rel=0.1)
        assert blurred[..., 30, 50].max() < 1e-3
    flat = torch.full((1, 3, 30, 20), 0.4)
    assert torch.allclose(lens_blur(flat, 20.0), flat, atol=1e-4)
