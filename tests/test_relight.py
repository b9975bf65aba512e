"""Lights as spherical harmonics, the estimated surface, and the built-in relighter."""

import math

import pytest
import torch
from torch import Tensor

from hpbnet.color import luma
from hpbnet.relight import (
    builtin_relighter,
    estimate_normals,
    frontal_direction,
    head_box,
    inflate,
    panorama_light,
    sh_basis,
    shade,
    sphere_light,
    turn_light,
)

SIDE = 64


@pytest.fixture
def matte() -> Tensor:
    """A head on shoulders [1,1,64,64]."""
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    head = ((x - 32) / 11) ** 2 + ((y - 24) / 14) ** 2 < 1
    shoulders = ((x - 32) / 26) ** 2 + ((y - 66) / 26) ** 2 < 1
    return (head | shoulders).float()[None, None]


@pytest.fixture
def grey() -> Tensor:
    """A grey picture [1,3,64,64]."""
    return torch.full((1, 3, SIDE, SIDE), 0.4)


def light_from(x: float, y: float, z: float, ambient: float = 0.2) -> Tensor:
    return sphere_light(torch.tensor([[x, y, z]]), torch.tensor([ambient]), torch.tensor([0.8]))


def test_the_basis_is_orthonormal_on_the_sphere() -> None:
    count = 20_000
    height = 1 - 2 * (torch.arange(count) + 0.5) / count
    turn = torch.arange(count) * math.pi * (3 - math.sqrt(5))  # a Fibonacci sphere
    ring = (1 - height**2).sqrt()
    basis = sh_basis(torch.stack([ring * turn.cos(), ring * turn.sin(), height], dim=1))
    product = basis.T @ basis * 4 * math.pi / count
    assert torch.allclose(product, torch.eye(9), atol=1e-3)


def test_a_pure_lamp_has_the_published_ratio_of_its_orders() -> None:
    # [RH01]: the cosine lobe's orders weigh pi, 2 pi / 3, pi / 4; so order 1 is 2/3 sqrt(3) of order 0
    light = light_from(0.0, -1.0, 0.0, ambient=0.0)[0]
    assert light[1:4].norm().item() / light[0].item() == pytest.approx(2 / math.sqrt(3), rel=1e-5)
    assert light[1] < 0


def test_a_lamp_lights_the_surface_that_faces_it() -> None:
    light = light_from(0.0, -1.0, 0.0, ambient=0.0)[:, :, None]
    normals = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]).T[None, :, :, None]
    towards, away = shade(normals, light)[0, 0, :, 0].tolist()
    assert towards > 5 * away > 0


@pytest.mark.parametrize("angle", [0.3, 1.5707963, -2.0])
def test_a_turned_light_is_the_light_of_a_turned_lamp(angle: float) -> None:
    x, y, z = 0.48, -0.6, 0.64
    turned = turn_light(light_from(x, y, z)[:, :, None], angle)[:, :, 0]
    sine, cosine = math.sin(angle), math.cos(angle)
    assert torch.allclose(turned, light_from(cosine * x - sine * y, sine * x + cosine * y, z), atol=1e-6)


def test_a_panoramas_light_comes_from_where_it_shone() -> None:
    x, up, forward = 0.48, 0.64, -0.6
    theirs = sh_basis(torch.tensor([[x, up, forward]]))
    lamp = sphere_light(torch.tensor([[x, forward, up]]), torch.zeros(1), torch.ones(1))
    assert torch.allclose(panorama_light(theirs[:, :, None])[:, :, 0], lamp, atol=1e-5)


def test_light_from_everywhere_has_no_direction() -> None:
    even = light_from(0.6, -0.8, 0.0, ambient=1.0)[0]
    assert even[0] > 0
    assert even[1:].abs().max() == 0


def test_drawn_lights_come_from_the_front(generator: torch.Generator) -> None:
    directions = torch.stack([frontal_direction(generator) for _ in range(200)])
    assert (directions[:, 1] <= 0).all()
    assert torch.allclose(directions.norm(dim=1), torch.ones(200), atol=1e-5)
    assert directions.mean(0)[[0, 2]].abs().max() < 0.15


def test_a_bar_is_inflated_to_half_a_cylinder() -> None:
    bar = torch.zeros(1, 1, 64, 64)
    bar[..., 22:42] = 1
    height = inflate(bar)[0, 0, 32]
    assert height[32].item() == pytest.approx(10, rel=0.15)
    assert height[24].item() == pytest.approx(math.sqrt(10**2 - 7.5**2), rel=0.25)
    assert height[10] == 0


def test_normals_are_unit_and_turn_outwards(grey: Tensor, matte: Tensor) -> None:
    normals = estimate_normals(grey, matte)[0]
    assert torch.allclose(normals.norm(dim=0), torch.ones(SIDE, SIDE), atol=1e-5)
    x, y, z = normals
    assert x[24, 24] < -0.1 < 0.1 < x[24, 39]  # image left, right
    assert z[12, 32] > 0.1  # top of the head
    assert (y < 0).all()


def test_the_head_is_found_above_the_shoulders(matte: Tensor) -> None:
    left, top, width, height = head_box(matte)
    assert (left + width / 2, top) == pytest.approx((32, 10), abs=2)
    assert (width, height) == pytest.approx((22, 26), abs=3)


def test_an_empty_matte_has_no_head() -> None:
    assert head_box(torch.zeros(1, 1, 8, 8)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("direction", "bright", "dark"),
    [((0.9, -0.436, 0.0), (24, 39), (24, 25)), ((-0.9, -0.436, 0.0), (24, 25), (24, 39))],
)
def test_the_relit_head_is_bright_on_the_lamps_side(
    grey: Tensor,
    matte: Tensor,
    direction: tuple[float, float, float],
    bright: tuple[int, int],
    dark: tuple[int, int],
) -> None:
    relit = luma(builtin_relighter(grey, matte, light_from(*direction)))[0, 0]
    assert relit[bright] > 1.3 * relit[dark]


def test_light_from_above_brightens_the_crown(grey: Tensor, matte: Tensor) -> None:
    relit = luma(builtin_relighter(grey, matte, light_from(0.0, -0.436, 0.9)))[0, 0]
    assert relit[14, 32] > 1.2 * relit[33, 32]


def test_a_red_lamp_reddens(grey: Tensor, matte: Tensor) -> None:
    red = light_from(0.5, -0.8, 0.3)[:, :, None] * torch.tensor([1.4, 0.9, 0.6])
    relit = builtin_relighter(grey, matte, red)
    assert (relit[:, 0] > relit[:, 1]).all()
    assert (relit[:, 1] > relit[:, 2]).all()


def test_relit_pictures_stay_in_range_and_a_batch_equals_its_singles(matte: Tensor, generator: torch.Generator) -> None:
    images, mattes = torch.rand(2, 3, SIDE, SIDE, generator=generator), matte.expand(2, -1, -1, -1)
    lights = torch.cat([light_from(0.9, -0.436, 0.0), light_from(0.0, -0.6, 0.8)]) * 2
    both = builtin_relighter(images, mattes, lights)
    assert 0 <= both.min() <= both.max() <= 1
    for index in range(2):
        one = slice(index, index + 1)
        assert torch.allclose(builtin_relighter(images[one], mattes[one], lights[one]), both[one], atol=1e-5)


def test_nobody_can_be_relit_without_harm(grey: Tensor) -> None:
    assert builtin_relighter(grey, torch.zeros(1, 1, SIDE, SIDE), light_from(0.6, -0.8, 0.0)).isfinite().all()
