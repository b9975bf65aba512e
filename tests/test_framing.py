"""Tests of framing: where a cut-out goes, and what is said of it."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hpbnet.framing import plan_placement
from hpbnet.layers import place
from scenes import canvas, person


@dataclass(frozen=True)
class Wish:
    scale: float | None = None
    x: float | None = None
    y: float | None = None
    flip: bool = False


def test_a_person_stands_on_the_lower_edge_with_room_above_the_head() -> None:
    placement, notices = plan_placement(person(40, 30, 100, 70), canvas(), Wish())
    top, left, bottom, right = placement.target
    assert (top, bottom) == (40, 200) and abs(left + right - 300) <= 1
    assert notices == ("the portrait is enlarged 2.7 times beyond its own pixels and may look soft",)


def test_a_whole_figure_stands_on_the_ground() -> None:
    placement, notices = plan_placement(person(100, 400, 900, 600, 1000, 1000), canvas(), Wish())
    top, left, bottom, right = placement.target
    assert bottom == 184 and top == 184 - 144 and abs(left + right - 300) <= 1 and not notices


@pytest.mark.parametrize(("scale", "bottom"), [(0.5, 184), (0.86, 184), (0.95, 200), (1.2, 250)])
def test_a_whole_figure_of_a_wished_size_keeps_its_head_in_sight(scale: float, bottom: int) -> None:
    placement, _ = plan_placement(person(100, 400, 900, 600, 1000, 1000), canvas(), Wish(scale=scale))
    assert placement.target[2] == bottom and placement.target[0] >= 0
    assert placement.target[2] - placement.target[0] == round(scale * 200)


@pytest.mark.parametrize(
    ("top", "left", "bottom", "right"), [(100, 0, 900, 300), (0, 400, 900, 600), (100, 400, 1000, 600)]
)
def test_a_figure_cut_by_the_photo_does_not_stand_on_the_ground(top: int, left: int, bottom: int, right: int) -> None:
    placement, _ = plan_placement(person(top, left, bottom, right, 1000, 1000), canvas(), Wish())
    assert placement.target[2] == 200


def test_a_wide_group_is_limited_by_the_width() -> None:
    placement, notices = plan_placement(person(300, 10, 1000, 990, 1000, 1000), canvas(200, 120), Wish())
    assert placement.target[1] >= 0 and placement.target[3] <= 120 and placement.target[2] == 200 and not notices


@pytest.mark.parametrize(("left", "right", "flip"), [(0, 60, False), (40, 100, False), (0, 60, True), (40, 100, True)])
def test_a_side_cut_by_the_photo_meets_the_edge_of_the_canvas(left: int, right: int, flip: bool) -> None:
    alpha = person(300, left * 10, 1000, right * 10, 1000, 1000)
    placement, notices = plan_placement(alpha, canvas(), Wish(flip=flip))
    assert not notices
    assert (placement.target[1] == 0) if (left == 0) != flip else (placement.target[3] == 300)


def headshot(neck: int = 30, top: int = 10) -> Tensor:
    """A head 50 px wide, a neck, and shoulders that the photo's frame cuts at both sides from row 80 on."""
    alpha = person(top, 25, 60, 75)
    alpha[..., 60:70, 50 - neck // 2 : 50 + neck // 2] = 1
    alpha[..., 70:80, 5:95] = 1
    alpha[..., 80:, :] = 1
    return alpha


@pytest.mark.parametrize(
    ("top", "wish"),
    [(10, Wish()), (0, Wish()), (10, Wish(x=0.7)), (0, Wish(x=0.7)), (0, Wish(flip=True)), (10, Wish(scale=0.5))],
)
def test_shoulders_cut_at_both_sides_end_below_a_wide_canvas(top: int, wish: Wish) -> None:
    scene = canvas(180, 600)
    placement, notices = plan_placement(headshot(top=top), scene, wish)
    layers = place(torch.ones(1, 3, 100, 100), headshot(top=top), scene, placement)
    assert not any("side" in notice for notice in notices)
    widths = (layers.alpha[0, 0] > 0.5).sum(dim=1)
    per_pixel = (placement.target[2] - placement.target[0]) / (100 - top)
    assert widths[-1] == pytest.approx(90 * per_pixel, abs=4)  # shoulders, not yet cut, and no further
    assert wish.scale or placement.target[0] == pytest.approx(0 if top == 0 else 0.3 * 180, abs=3)


def test_a_head_without_a_neck_above_the_cut_is_not_lowered() -> None:
    notices = plan_placement(headshot(neck=60), canvas(180, 600), Wish())[1]
    assert "right side" in notices[0] and notices[0].endswith("would hide it")
    width, height = (int(part) for part in notices[0].split("size of ")[1].split()[0].split("x"))
    assert not any("side" in notice for notice in plan_placement(headshot(60), canvas(height, width), Wish())[1])


def test_a_wished_lower_edge_is_kept() -> None:
    placement, notices = plan_placement(headshot(), canvas(180, 600), Wish(y=1.0))
    assert placement.target[2] == 180 and any("side" in notice for notice in notices)


def test_a_floating_cut_is_noticed() -> None:
    alpha = person(300, 0, 1000, 600, 1000, 1000)
    notices = plan_placement(alpha, canvas(), Wish(x=0.5))[1]
    assert len(notices) == 1 and "left side" in notices[0]
    assert "bottom" in plan_placement(alpha, canvas(), Wish(y=0.8))[1][0]


def test_a_person_cut_at_both_sides_spans_a_canvas_of_similar_shape() -> None:
    alpha = person(200, 0, 1000, 1000, 1000, 1000)
    placement, notices = plan_placement(alpha, canvas(200, 220), Wish())
    assert placement.target[1] <= 0 and placement.target[3] >= 220 and placement.target[0] >= 0 and not notices


def test_a_person_cut_at_both_sides_is_noticed_on_a_much_wider_canvas() -> None:
    placement, notices = plan_placement(person(200, 0, 1000, 1000, 1000, 1000), canvas(100, 400), Wish())
    assert placement.target[0] >= 0 and "right side" in notices[0]


def test_a_head_cut_at_the_top_meets_the_upper_edge() -> None:
    placement, notices = plan_placement(person(0, 300, 1000, 700, 1000, 1000), canvas(), Wish())
    assert placement.target[0] == 0 and placement.target[2] == 200 and not notices
    assert "top" in plan_placement(person(0, 300, 1000, 700, 1000, 1000), canvas(), Wish(scale=0.5))[1][0]


def test_a_head_above_the_picture_is_noticed() -> None:
    notices = plan_placement(person(300, 300, 1000, 700, 1000, 1000), canvas(), Wish(scale=2.0))[1]
    assert not [n for n in notices if "above" in n]
    notices = plan_placement(person(300, 300, 1000, 700, 1000, 1000), canvas(), Wish(scale=2.0, y=1.0))[1]
    assert "50% of the person lies above the picture" in notices[0]


@pytest.mark.parametrize("wish", [Wish(x=3.0), Wish(x=-2.0), Wish(y=-2.0), Wish(scale=0.2, y=2.0)])
def test_a_person_out_of_sight_is_noticed(wish: Wish) -> None:
    (notice,) = plan_placement(person(300, 0, 1000, 700, 1000, 1000), canvas(), wish)[1]
    assert "outside the picture" in notice


def test_nobody_cannot_be_placed() -> None:
    with pytest.raises(ValueError, match="nobody"):
        plan_placement(torch.zeros(1, 1, 9, 9), canvas(), Wish())


def test_faint_hair_is_drawn_although_the_box_ignores_it() -> None:
    alpha = person(40, 30, 100, 70)
    alpha[..., 30:40, 30:70] = 0.05
    placement, _ = plan_placement(alpha, canvas(), Wish())
    assert placement.source == (30, 30, 100, 70) and placement.target[0] == 40 - round(10 * 160 / 60)
