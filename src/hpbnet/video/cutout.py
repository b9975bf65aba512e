"""The matte of a frame, cheaply: the network at a low size with the matte before it, an edge at a middle size.

The network looks at the part of the frame where the person is, so that its few pixels are well spent; now and then it
looks at the whole. Knows how a matte is made steady without trails: it is blended with the one before only where the
picture stands still.
"""

from dataclasses import dataclass
from functools import cached_property
from math import exp, sqrt
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn

from ..affine_grid import Window
from ..matte import guided_coefficients, snap_alpha, spread_colors
from ..networks.matting import NO_PREVIOUS
from .pixels import Floats, Pixels, greatest, resize, shrink, to_unit

NETWORK_PIXELS = 256 * 256  # that the network sees of the person's part of a frame; at 224 it lost a signer's head
LOOK_PIXELS = 320 * 192  # that it sees of a whole frame
EDGE_PIXELS = 640 * 320  # [px] of that part when its edge is refined, at most
STEADY_SECONDS = 0.15  # time constant of the matte where nothing moves
_MARGIN, _LEAST_MARGIN = 0.25, 0.06  # around the person, as shares of its longer side: when chosen, and until moved
_MOST_AREA = 2.0  # times what would be chosen now, from which a part is too large
_FAINTEST = 0.1  # greatest alpha of a frame that shows nobody
_STILL, _MOVING = 4.0, 12.0  # change of a pixel, of 255, up to which it stands still, and from which it moves
_FUSION_RADII = (40, 3)  # [px] at the network's size: the published 90 and 6 at 512
_WHOLE_SCALE = 0.75  # from which the edge is refined on the frame itself: reducing it would cost more


@dataclass(frozen=True)
class TrackedPerson:
    """The person of a frame; alpha at the frame's size is computed when it is asked for, maybe in another thread."""

    frame: Pixels  # [H,W,3] the region alone, as all below
    region: Window  # [px] of the frame, of which all this is
    small: Pixels  # [k,l,3] it at the network's size
    coarse: Floats  # [k,l] alpha at the network's size
    given: Floats | None = None  # [H,W] alpha where it was given at the frame's size

    @cached_property
    def alpha(self) -> Floats:
        """Alpha [h,w], refined along the frame's own edges at the edge's size."""
        if self.given is not None:
            return self.given
        height, width = self.frame.shape[:2]
        scale = min(1.0, sqrt(EDGE_PIXELS / (height * width)))
        scale = 1.0 if scale > _WHOLE_SCALE else scale
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return _refine(self.coarse, self.small, self.frame if scale == 1.0 else shrink(self.frame, size))

    @cached_property
    def sides(self) -> tuple[Floats, Floats]:
        """The colours of the person and of the old background, each spread over the other, [k,l,3] in [0,1]."""
        return spread_colors(to_unit(self.small), self.coarse, _FUSION_RADII)


def reduce(pixels: Pixels, area: int = NETWORK_PIXELS, multiple: int = 32) -> Pixels:
    """Resize to about an area, both sides multiples [px]."""
    height, width = pixels.shape[:2]
    scale = sqrt(area / (height * width))
    wide, tall = (max(multiple, round(length * scale / multiple) * multiple) for length in (width, height))
    return shrink(pixels, (wide, tall))


def find_region(alpha: Floats, seen: Window, size: tuple[int, int], keep: Window | None = None) -> Window | None:
    """Choose the part of a frame that the network shall see: the person with a margin; None where nobody is.

    Args:
        alpha: of a part of the frame, [h,w].
        seen: that part [px].
        size: height and width of the frame [px].
        keep: the part seen so far, kept while the person is well inside and it is not much too large.
    """
    peak = float(alpha.max())
    if peak < _FAINTEST:
        return None
    x, y, width, height = cv2.boundingRect((alpha > min(0.3, peak / 2)).astype(np.uint8))
    down, across = (seen[2] - seen[0]) / alpha.shape[0], (seen[3] - seen[1]) / alpha.shape[1]
    box = seen[0] + y * down, seen[1] + x * across, seen[0] + (y + height) * down, seen[1] + (x + width) * across
    close, wide = (_grown(box, margin, size) for margin in (_LEAST_MARGIN, _MARGIN))
    if keep is not None and _area(keep) < _MOST_AREA * _area(wide):
        inside = close[0] >= keep[0] and close[1] >= keep[1] and close[2] <= keep[2] and close[3] <= keep[3]
        return keep if inside else wide
    return wide


def move_matte(matte: Floats, before: Window, after: Window, shape: tuple[int, int]) -> Floats:
    """Resample a matte of one part of a frame to another part, of a shape (height, width); 0 where it is not known."""
    if before == after and matte.shape == shape:
        return matte
    down, across = (after[2] - after[0]) / shape[0], (after[3] - after[1]) / shape[1]
    rows, columns = matte.shape[0] / (before[2] - before[0]), matte.shape[1] / (before[3] - before[1])
    x, y = (after[1] - before[1] + across / 2) * columns - 0.5, (after[0] - before[0] + down / 2) * rows - 0.5
    back = np.array([[across * columns, 0, x], [0, down * rows, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cast(Floats, cv2.warpAffine(matte, back, (shape[1], shape[0]), flags=flags))


def _grown(box: tuple[float, float, float, float], share: float, size: tuple[int, int]) -> Window:
    margin = share * max(box[2] - box[0], box[3] - box[1])
    top, left = max(0, int(box[0] - margin)), max(0, int(box[1] - margin))
    return top, left, min(size[0], int(box[2] + margin) + 1), min(size[1], int(box[3] + margin) + 1)


def _area(window: Window) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])


@torch.inference_mode()
def estimate_matte(network: nn.Module, small: Pixels, previous: Floats | None) -> Floats:
    """Estimate alpha [h,w] of a reduced frame, told the matte of the frame before."""
    portrait = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    before = torch.full_like(portrait[:, :1], NO_PREVIOUS)
    if previous is not None:
        before = torch.from_numpy(previous)[None, None]
    kind = next((parameter.dtype for parameter in network.parameters()), torch.float32)
    logits = network(portrait.to(kind), before.to(kind))
    alpha: Floats = logits[0, 0].float().sigmoid().numpy()
    return alpha


def steady_matte(
    alpha: Floats,  # [h,w] of this frame alone
    small: Pixels,  # [h,w,3]
    previous: Floats,  # [h,w]
    small_before: Pixels,  # [h,w,3]
    seconds: float,  # since the frame before
) -> Floats:
    """Blend a matte with the one before where the picture stands still; where it moves the new one counts alone."""
    change = greatest(cv2.absdiff(small, small_before))
    change = cv2.dilate(cv2.blur(change, (3, 3)), np.ones((5, 5), np.uint8)).astype(np.float32)
    stillness = np.clip((_MOVING - change) / (_MOVING - _STILL), 0, 1)
    blended: Floats = alpha + stillness * exp(-seconds / STEADY_SECONDS) * (previous - alpha)
    return blended


def person_of_alpha(frame: Pixels, alpha: Floats) -> TrackedPerson:
    """Make the person of an alpha [H,W] that is given at the frame's size."""
    small = reduce(frame)
    return TrackedPerson(frame, (0, 0, *frame.shape[:2]), small, resize(alpha, (small.shape[1], small.shape[0])), alpha)


def own_colors(person: TrackedPerson) -> Floats:
    """Return the person's own colours [k,l,3] in [0,1] at the network's size."""
    share, image, (front, back) = person.coarse[:, :, None], to_unit(person.small), person.sides
    colors: Floats = np.clip(front + share * (image - share * front - (1 - share) * back), 0, 1)
    return colors


def _refine(coarse: Floats, small: Pixels, middle: Pixels) -> Floats:
    """Fast guided filter with a colour guide: fitted at the network's size, evaluated on `middle` -> [h,w]."""
    coefficients = guided_coefficients(to_unit(small), coarse)
    size = middle.shape[1], middle.shape[0]
    *slopes, alpha = (resize(plane, size, cv2.INTER_LINEAR) for plane in coefficients)
    for slope, channel in zip(slopes, cv2.split(middle), strict=True):
        alpha += cast(Floats, cv2.multiply(slope, channel, scale=1 / 255, dtype=cv2.CV_32F))
    return snap_alpha(alpha)
