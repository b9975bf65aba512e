"""Alpha from the network's size to the portrait's, along the portrait's own edges.

A fast guided filter [He and Sun 2015]: a local affine model of alpha in the portrait's own colours, fitted where the
network saw it and evaluated at full size. It sharpens an edge that colours explain, and smears hair before foliage,
which they do not: there what the network saw is put back.
"""

from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]

_UNSURE = 0.03  # alpha closer than this to 0 or 1 is taken for it, the rest stretched: a network is never quite sure
_GUIDE_RADIUS = 2  # [px] at the network's size
_GUIDE_EPSILON = 1e-4
_INTERPOLATED = np.array([1 / 8, 3 / 4, 1 / 8], np.float32)  # a pixel's own share after interpolation and averaging


def shrink(portrait: Tensor, longer: int, multiple: int) -> Tensor:
    """Resize [1,3,H,W] so that its longer side is about `longer` and both are multiples of `multiple` [px]."""
    height, width = portrait.shape[-2:]
    scale = longer / max(height, width)
    tall, wide = (max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))
    return reduced(portrait, tall, wide)


def reduced(portrait: Tensor, height: int, width: int) -> Tensor:
    """Resize [1,C,H,W] to a size, averaged."""
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in portrait[0].numpy()]
    return torch.from_numpy(np.stack(cast(list[Floats], planes)))[None]


def refine_alpha(
    alpha: Tensor,  # [1,1,h,w] at the network's size
    small: Tensor,  # [1,3,h,w] the portrait at that size
    portrait: Tensor,  # [1,3,H,W]
) -> Tensor:
    """Bring alpha to the portrait's size along the portrait's own edges (fast guided filter, colour guide)."""
    coarse = to_array(alpha)
    *slopes, offset = guided_coefficients(to_array(small), coarse)
    size = portrait.shape[3], portrait.shape[2]
    refined = cast(Floats, cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR))
    for plane, guide in zip(slopes, portrait[0].numpy(), strict=True):  # a plane at a time: cheap at any size
        refined += cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) * guide
    np.clip(refined, 0.0, 1.0, out=refined)
    refined += cv2.resize(_smeared(coarse, refined), size, interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(snap_alpha(refined))[None, None]


def snap_alpha(alpha: Floats) -> Floats:
    """Take alpha close to 0 or 1 for it and stretch the rest, in place."""
    alpha -= _UNSURE
    alpha /= 1 - 2 * _UNSURE
    return alpha.clip(0.0, 1.0, out=alpha)


def _smeared(coarse: Floats, refined: Floats) -> Floats:
    """What the refined alpha lacks, on average, of detail that the network saw, [h,w].

    Where the network is blurrier than the refined alpha the edge is the portrait's own, and nothing is put back.
    """
    height, width = coarse.shape
    lacking = coarse - cv2.resize(refined, (width, height), interpolation=cv2.INTER_AREA)
    detail = coarse - cv2.blur(coarse, (3, 3))
    lacking *= lacking * detail > 0
    # Averaged again, an interpolated plane has lost what this kernel takes away.
    rest = lacking - cv2.sepFilter2D(lacking, -1, _INTERPOLATED, _INTERPOLATED)
    return cast(Floats, lacking + rest)


def guided_coefficients(guide: Floats, alpha: Floats) -> list[Floats]:
    """Slopes for R, G, B and the offset of the local model alpha = slope . guide + offset, each [h,w]."""
    side = (2 * _GUIDE_RADIUS + 1,) * 2
    red, green, blue = (cast(Floats, plane) for plane in cv2.split(guide))

    def mean(plane: Floats) -> Floats:
        return cast(Floats, cv2.blur(plane, side, borderType=cv2.BORDER_REFLECT_101))

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


def to_array(image: Tensor) -> Floats:
    """[1,C,H,W] -> [H,W,C], or [H,W] for one channel."""
    array = image[0].permute(1, 2, 0).numpy() if image.shape[1] > 1 else image[0, 0].numpy()
    return cast(Floats, np.ascontiguousarray(array))
