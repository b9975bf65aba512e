"""The people's own colours where their edge is soft, so that no old background shines through the hair.

Two passes of blur fusion [Forte and Pitie 2021] at a reduced size, then the pixel's own remainder at full size.
"""

from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor

from .refine import Floats, to_array

_FUSION_SIZE = 512  # [px] longer side at which foreground and background colours are spread
_BAND_ROWS = 32
_FUSION_RADII = (90, 6)  # [px] at that size, the published ones
_LEAST_BLOCKS = 8  # in the radius of a mean


def estimate_foreground(portrait: Tensor, alpha: Tensor) -> Tensor:
    """Estimate the foreground's own colours [1,3,H,W]; where alpha is 1 they are the portrait's pixels, untouched."""
    matte = to_array(alpha)
    height, width = matte.shape
    scale = min(1.0, _FUSION_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def reduced(plane: Floats) -> Floats:
        return cast(Floats, cv2.resize(plane, size, interpolation=cv2.INTER_AREA)) if scale < 1 else plane

    image = cast(Floats, cv2.merge([reduced(plane) for plane in portrait[0].numpy()]))
    front, back = spread_colors(image, reduced(matte), _FUSION_RADII)
    result, behind = np.empty((3, height, width), np.float32), np.empty((height, width), np.float32)
    planes = zip(result, portrait[0].numpy(), cv2.split(front), cv2.split(back), strict=True)
    for plane, portrait_plane, front_plane, back_plane in planes:
        cv2.resize(front_plane, (width, height), dst=plane, interpolation=cv2.INTER_LINEAR)
        cv2.resize(back_plane, (width, height), dst=behind, interpolation=cv2.INTER_LINEAR)
        for top in range(0, height, _BAND_ROWS):  # in bands that stay in the processor's cache
            band = slice(top, top + _BAND_ROWS)
            color, own, share = plane[band], portrait_plane[band], matte[band]
            # The part of the pixel that neither spread colour explains goes to the foreground by its share.
            rest = own - behind[band] - share * (color - behind[band])
            np.clip(color + share * rest, 0, 1, out=color)
            np.copyto(color, own, where=share >= 1)
    return torch.from_numpy(result)[None]


def spread_colors(image: Floats, alpha: Floats, radii: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Spread the colours of foreground and of background over each other: two [h,w,3].

    Args:
        image: [h,w,3].
        alpha: [h,w].
        radii: of the passes of blur fusion [px].
    """
    front = back = image
    for radius in radii:
        front, back = blur_fusion(image, front, back, alpha, radius)
    return front, back


def blur_fusion(image: Floats, front: Floats, back: Floats, share: Floats, radius: int) -> tuple[Floats, Floats]:
    """One pass: weighted local means of both colours, then what they leave unexplained goes to the foreground.

    Args:
        image: [h,w,3], as both colours so far.
        front: the foreground's.
        back: the background's.
        share: alpha [h,w].
        radius: of the mean [px].
    """
    local = _mean(share, radius)
    in_front, behind = 1 / (local + 1e-5), 1 / (1 - local + 1e-5)
    fronts, backs = [], []
    for plane, front_plane, back_plane in zip(cv2.split(image), cv2.split(front), cv2.split(back), strict=True):
        front_mean = _mean(front_plane * share, radius) * in_front
        back_mean = _mean(back_plane - back_plane * share, radius) * behind
        rest = plane - back_mean - share * (front_mean - back_mean)
        fronts.append(np.clip(front_mean + share * rest, 0, 1))
        backs.append(back_mean)
    return cast(Floats, cv2.merge(fronts)), cast(Floats, cv2.merge(backs))


def _mean(plane: Floats, radius: int) -> Floats:
    """Mean of [h,w] over a square; where that is large, of means of small blocks."""
    step, (height, width) = max(1, radius // _LEAST_BLOCKS), plane.shape
    small = plane
    if step > 1:
        few = max(1, width // step), max(1, height // step)
        small = cast(Floats, cv2.resize(plane, few, interpolation=cv2.INTER_AREA))
    mean = cv2.blur(small, (2 * (radius // step) + 1,) * 2, borderType=cv2.BORDER_REPLICATE)
    return cast(Floats, mean if step == 1 else cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR))
