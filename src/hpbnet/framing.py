"""Where a cut-out goes on a canvas: head and shoulders, feet on the ground, no straight cut of the photo's frame.

Knows what the eye expects of a framing, and says in notices what it could not have.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol, cast

import torch
from torch import Tensor

from .affine_grid import Window
from .layers import Placement, box_of

_BOX_ALPHA = 0.1  # alpha above which a pixel belongs to the box that the framing is about
_SEEN_ALPHA = 1 / 255  # alpha above which a pixel is drawn
_CUT_ALPHA, _CUT_SHARE = 0.5, 0.05  # a side is cut where this much of the photo's border is more opaque than this
_HEIGHT_SHARE, _WIDTH_SHARE = 0.8, 0.94  # of the canvas that the default framing fills at most
_STANDING_SHARE, _GROUND = 0.72, 0.92  # of the canvas height: a whole figure's height, and where its feet are
_FREE_BELOW = 0.015  # of the portrait's height that lies below the feet of a whole figure, at least
_HEAD_ROOM = 0.05  # of the canvas height, above a person taller than the canvas
_LEAST_SEEN = 0.85  # of a cut-out's height that must stay visible when it is enlarged to span the canvas
_LOWERED_SHARE = 0.7  # of the canvas height that a head fills at least whose cut shoulders lie below the canvas
_HEAD_SHARE, _NECK_WIDTH = 0.7, 0.85  # the head's widest row lies in this upper share; a neck's width, in the head's
_LEAST_SIZE = 16  # [px] of a result's side


class Framing(Protocol):
    """What a user may wish of the framing; `ComposeOptions` is one."""

    @property
    def scale(self) -> float | None:
        """Height of the cut-out as a share of the canvas height."""

    @property
    def x(self) -> float | None:
        """Centre of the cut-out across the canvas, 0 left to 1 right."""

    @property
    def y(self) -> float | None:
        """Lower edge of the cut-out, 0 top to 1 bottom of the canvas."""

    @property
    def flip(self) -> bool:
        """Whether the portrait is mirrored."""


def plan_placement(
    alpha: Tensor, canvas: Tensor, framing: Framing, reduction: float = 1.0
) -> tuple[Placement, tuple[str, ...]]:
    """Decide where a cut-out goes on a canvas; say what the eye should know of it.

    By default a head-and-shoulders framing: the cut-out stands on the canvas' lower edge, in the middle, a fifth of the
    height free above it. A whole figure, cut nowhere by the photo's frame, is a little smaller and stands on the
    ground: its feet are in the lower third of the canvas. A side at which the photo's own frame cuts the person goes to
    that side's edge of the canvas. Where that cannot be, as with shoulders cut at both sides before a wide scene, the
    cut-out is lowered until the cut lies below the canvas, if the head stays well in sight.

    Args:
        alpha: of the portrait, [1,1,H,W].
        canvas: [1,3,H,W].
        framing: the user's wishes; what is None is chosen here.
        reduction: how many times smaller the alpha is than the portrait, for the notice about enlarged portraits.

    Returns:
        The placement, and notices of one sentence each.

    Raises:
        ValueError: there is nobody in the alpha.
    """
    alpha = alpha.flip(-1) if framing.flip else alpha
    source = box_of(alpha, _BOX_ALPHA)
    if source[0] == source[2]:
        raise ValueError("the mask shows nobody: no alpha is above 0.1")
    cut = _cut_sides(alpha)
    height, width = canvas.shape[-2:]
    rows, columns = source[2] - source[0], source[3] - source[1]
    stands = source[2] <= (1 - _FREE_BELOW) * alpha.shape[2] and not (cut.top or cut.left or cut.right)
    share = _STANDING_SHARE if stands else _HEIGHT_SHARE
    scale = framing.scale * height / rows if framing.scale else _default_scale(rows, columns, height, width, cut, share)
    left = _left(columns * scale, width, cut, framing.x)
    shown = rows  # that are to lie above the canvas' lower edge, at most
    if framing.y is None and _shows_cut_side(left, columns * scale, width, cut):
        head = _rows_above_cut(alpha, source, cut)
        larger = scale if framing.scale else _lowered_scale(scale, head, columns, height, width, cut)
        if head < rows and (not cut.top or head * larger >= height):
            shown, scale, cut = head, larger, replace(cut, left=False, right=False)  # not in sight any more
            left = _left(columns * scale, width, cut, framing.x)
    tall, wide = max(1, round(rows * scale)), max(1, round(columns * scale))
    top = _default_top(tall, height, cut, stands) if framing.y is None else round(framing.y * height) - tall
    if shown < rows:
        top = max(top, height - int(shown * scale))
    target = (top, left, top + tall, left + wide)
    placement = Placement(*_widened(source, target, box_of(alpha, _SEEN_ALPHA)), framing.flip)
    return placement, _notices(target, (height, width), cut, scale / reduction)


def _shows_cut_side(left: int, wide: float, width: int, cut: "_Cut") -> bool:
    return (cut.left and left > 0) or (cut.right and left + round(wide) < width)


def _rows_above_cut(alpha: Tensor, source: Window, cut: "_Cut") -> int:
    """Rows of the box above where the photo's frame begins to cut a side; all of them where that would hide the face.

    A face ends at the neck: there the person is narrower than the head, and below it wider again.
    """
    rows = source[2] - source[0]
    opaque = alpha[0, 0, source[0] : source[2]] > _CUT_ALPHA
    sides = [opaque[:, column] for column, at in ((0, cut.left), (-1, cut.right)) if at]
    first = int(torch.stack(sides).any(dim=0).int().argmax())
    if first == 0:
        return rows
    widths = opaque[:first].sum(dim=1)
    head = int(widths[: ceil(first * _HEAD_SHARE)].argmax())
    neck, last = int(widths[head:].min()), int(widths[-1])
    return first if neck < _NECK_WIDTH * min(int(widths[head]), last) else rows


def _widened(source: Window, target: Window, seen: Window) -> tuple[Window, Window]:
    """Widen the part that is drawn from the framed box to all that is seen, faint hair included."""
    down = (target[2] - target[0]) / (source[2] - source[0])
    across = (target[3] - target[1]) / (source[3] - source[1])
    top, left, bottom, right = (edge - own for edge, own in zip(seen, source, strict=True))
    moved = round(top * down), round(left * across), round(bottom * down), round(right * across)
    return seen, cast(Window, tuple(edge + move for edge, move in zip(target, moved, strict=True)))


@dataclass(frozen=True)
class _Cut:
    """At which sides the photo's frame cuts the person."""

    top: bool
    left: bool
    bottom: bool
    right: bool


def _cut_sides(alpha: Tensor) -> _Cut:
    opaque = alpha[0, 0] > _CUT_ALPHA
    lines = opaque[0], opaque[:, 0], opaque[-1], opaque[:, -1]
    top, left, bottom, right = (bool(line.float().mean() > _CUT_SHARE) for line in lines)
    return _Cut(top, left, bottom, right)


def _default_scale(rows: int, columns: int, height: int, width: int, cut: _Cut, share: float) -> float:
    """Canvas pixels per portrait pixel where the cut-out fills a share of the canvas height."""
    scale = min(share * height / rows, _WIDTH_SHARE * width / columns)
    if cut.top:  # the cut must lie on the canvas' upper edge, so the person fills the height
        scale = max(scale, height / rows)
    spanning = width / columns
    if cut.left and cut.right and height / (rows * spanning) >= _LEAST_SEEN:
        scale = max(scale, spanning)
    return scale


def _lowered_scale(scale: float, head: int, columns: int, height: int, width: int, cut: _Cut) -> float:
    """Canvas pixels per portrait pixel where only the head is seen above the canvas' lower edge."""
    share = 1.0 if cut.top else _LOWERED_SHARE
    return min(max(scale, share * height / head), _WIDTH_SHARE * width / columns)


def _left(columns: float, width: int, cut: _Cut, x: float | None) -> int:
    """Left edge of a cut-out as wide as `columns` [px]."""
    wide = max(1, round(columns))
    if x is not None:
        return round(x * width - wide / 2)
    if cut.left and (not cut.right or wide < width):
        return 0
    return width - wide if cut.right and not cut.left else round((width - wide) / 2)


def _default_top(tall: int, height: int, cut: _Cut, stands: bool) -> int:
    if stands and tall < height:  # the head stays in sight, if need be at the ground's cost
        return max(round(_GROUND * height) - tall, min(round(_HEAD_ROOM * height), height - tall))
    if tall < height:
        return height - tall
    return 0 if cut.top or tall == height else round(_HEAD_ROOM * height)


def _notices(target: Window, size: tuple[int, int], cut: _Cut, scale: float) -> tuple[str, ...]:
    top, left, bottom, right = target
    height, width = size
    if bottom <= 0 or top >= height or right <= 0 or left >= width:
        return ("the person lies outside the picture: x, y and scale leave nothing of it in sight",)
    floats = {
        "top": cut.top and top > 0,
        "left side": cut.left and left > 0,
        "right side": cut.right and right < width,
        "bottom": cut.bottom and bottom < height,
    }
    notices = []
    if sides := " and ".join(name for name, floating in floats.items() if floating):
        notice = f"the photo's frame cuts the person at the {sides}, and that straight cut shows in the picture"
        spanning = int((right - left) * min(1.0, height / (bottom - top)))
        remedy = f"; a size of {spanning}x{height} would hide it" if floats["left side"] or floats["right side"] else ""
        notices.append(notice + (remedy if cut.left and cut.right and spanning >= _LEAST_SIZE else ""))
    if top < 0:
        notices.append(f"the upper {min(1.0, -top / (bottom - top)):.0%} of the person lies above the picture")
    if scale > 1.05:
        notices.append(f"the portrait is enlarged {scale:.1f} times beyond its own pixels and may look soft")
    return tuple(notices)
