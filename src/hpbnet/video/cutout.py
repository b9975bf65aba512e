"""The matte of a frame, cheaply: the network at a low size with the matte before it, an edge at a middle size.

Knows how a matte is made steady without trails: it is blended with the one before only where the picture stands still.
"""

from dataclasses import dataclass
from math import exp
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn

from ..matte import blur_fusion
from ..networks.matting import NO_PREVIOUS
from .read import Floats, Pixels, resize

NETWORK_SIDE = 224  # [px] longer side that the network sees
EDGE_SIDE = 640  # [px] longer side at which the edge is refined
STEADY_SECONDS = 0.15  # time constant of the matte where nothing moves
_STILL, _MOVING = 4.0, 12.0  # change of a pixel, of 255, up to which it stands still, and from which it moves
_GUIDE_SIDE = (5, 5)  # [px] window of the guided filter, at the network's size
_GUIDE_EPSILON = 1e-4
_FUSION_RADII = (40, 3)  # [px] at the network's size: the published 90 and 6 at 512
_SNAP = 0.03  # alpha closer than this to 0 or 1 is taken for it: a network is never quite sure


@dataclass(frozen=True)
class CutOut:
    """A person found in a frame."""

    alpha: Floats  # [h,w] refined, at the edge's size
    front: Floats  # [k,l,3] the person's colours spread, in [0,1], at the network's size
    back: Floats  # [k,l,3] the old background's colours spread
    coarse: Floats  # [k,l] alpha at the network's size
    small: Pixels  # [k,l,3] the frame at the network's size


def reduce(pixels: Pixels, side: int = NETWORK_SIDE, multiple: int = 32) -> Pixels:
    """Resize so that the longer side is about `side` and both are multiples [px]."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    wide, tall = (max(multiple, round(length * scale / multiple) * multiple) for length in (width, height))
    return resize(pixels, (wide, tall))


@torch.inference_mode()
def estimate_matte(network: nn.Module, small: Pixels, previous: Floats | None) -> Floats:
    """Estimate alpha [h,w] of a reduced frame, told the matte of the frame before."""
    portrait = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    before = torch.full_like(portrait[:, :1], NO_PREVIOUS)
    if previous is not None:
        before = torch.from_numpy(previous)[None, None]
    alpha: Floats = network(portrait, before)[0, 0].sigmoid().numpy()
    return alpha


def steady_matte(
    alpha: Floats,  # [h,w] of this frame alone
    small: Pixels,  # [h,w,3]
    previous: Floats,  # [h,w]
    small_before: Pixels,  # [h,w,3]
    seconds: float,  # since the frame before
) -> Floats:
    """Blend a matte with the one before where the picture stands still; where it moves the new one counts alone."""
    change = cv2.absdiff(small, small_before).max(axis=2)
    change = cv2.dilate(cv2.blur(change, (3, 3)), np.ones((5, 5), np.uint8)).astype(np.float32)
    stillness = np.clip((_MOVING - change) / (_MOVING - _STILL), 0, 1)
    blended: Floats = alpha + stillness * exp(-seconds / STEADY_SECONDS) * (previous - alpha)
    return blended


def cut_out(frame: Pixels, small: Pixels, coarse: Floats) -> CutOut:
    """Refine the edge of a coarse matte along the frame's own, and spread the colours on both sides of it."""
    guide = small.astype(np.float32) * np.float32(1 / 255)
    height, width = frame.shape[:2]
    scale = min(1.0, EDGE_SIDE / max(height, width))
    size = round(width * scale), round(height * scale)
    middle = frame if scale == 1.0 else resize(frame, size)
    alpha = _refine(coarse, guide, middle)
    share = coarse[:, :, None]
    front = back = guide
    for radius in _FUSION_RADII:
        front, back = blur_fusion(guide, front, back, share, radius)
    return CutOut(alpha, front, back, coarse, small)


def known_cut_out(frame: Pixels, alpha: Floats) -> CutOut:
    """Cut out by an alpha [H,W] that is known at full size."""
    small = reduce(frame)
    coarse = resize(alpha, (small.shape[1], small.shape[0]))
    spread = cut_out(frame, small, coarse)
    return CutOut(alpha, spread.front, spread.back, coarse, small)


def own_colors(cut: CutOut) -> Floats:
    """Return the person's own colours [k,l,3] in [0,1] at the network's size."""
    share = cut.coarse[:, :, None]
    image = cut.small.astype(np.float32) * np.float32(1 / 255)
    colors: Floats = np.clip(cut.front + share * (image - share * cut.front - (1 - share) * cut.back), 0, 1)
    return colors


def _refine(coarse: Floats, guide: Floats, middle: Pixels) -> Floats:
    """Fast guided filter with a colour guide: fitted at the network's size, evaluated on `middle` -> [h,w]."""
    coefficients = _guided_coefficients(guide, coarse)
    size = middle.shape[1], middle.shape[0]
    *slopes, alpha = (resize(plane, size, cv2.INTER_LINEAR) for plane in coefficients)
    for slope, channel in zip(slopes, cv2.split(middle), strict=True):
        alpha += cast(Floats, cv2.multiply(slope, channel, scale=1 / 255, dtype=cv2.CV_32F))
    refined: Floats = np.clip((alpha - _SNAP) * np.float32(1 / (1 - 2 * _SNAP)), 0, 1)
    return refined


def _guided_coefficients(guide: Floats, alpha: Floats) -> list[Floats]:
    """Slopes for R, G, B and the offset of the local model alpha = slope . guide + offset, each [h,w]."""
    red, green, blue = (cast(Floats, plane) for plane in cv2.split(guide))

    def mean(plane: Floats) -> Floats:
        return cast(Floats, cv2.blur(plane, _GUIDE_SIDE, borderType=cv2.BORDER_REFLECT_101))

    means = [mean(plane) for plane in (red, green, blue)]
    alpha_mean = mean(alpha)

    def spread(one: int, other: int) -> Floats:
        planes = (red, green, blue)
        return mean(planes[one] * planes[other]) - means[one] * means[other]

    rr, gg, bb = (spread(i, i) + np.float32(_GUIDE_EPSILON) for i in range(3))
    rg, rb, gb = spread(0, 1), spread(0, 2), spread(1, 2)
    r, g, b = (mean(plane * alpha) - own * alpha_mean for plane, own in zip((red, green, blue), means, strict=True))
    # The inverse of a symmetric 3x3 matrix by its cofactors.
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    scale = 1 / np.maximum(rr * c00 + rg * c01 + rb * c02, np.float32(1e-14))
    slopes = [
        (c00 * r + c01 * g + c02 * b) * scale,
        (c01 * r + c11 * g + c12 * b) * scale,
        (c02 * r + c12 * g + c22 * b) * scale,
    ]
    offset = alpha_mean - sum(slope * own for slope, own in zip(slopes, means, strict=True))
    return [mean(plane) for plane in (*slopes, offset)]
