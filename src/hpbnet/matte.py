"""Portrait -> foreground and alpha: the network at a reduced size, then the edge at full size.

Alpha is refined by a fast guided filter [He and Sun 2015]: a local affine model of alpha in the portrait's own
colours, fitted where the network saw it and evaluated at full size. Foreground colours at soft edges are estimated by
two passes of blur fusion [Forte and Pitie 2021], so that the old background does not shine through the hair.
"""

import functools
from collections.abc import Callable
from math import ceil
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Matte = Callable[[Tensor], Tensor]  # portrait [1,3,H,W] -> alpha [1,1,H,W]
Floats = NDArray[np.float32]

LEAST_COVERAGE, MOST_COVERAGE = 0.01, 0.99
_UNSURE = 0.05  # alpha closer than this to 0 or 1 is taken for it, the rest stretched: a network is never quite sure
_LONG = 2.5  # times as long as wide: a longer picture is looked at window by window
_WINDOW = 1.5  # length of a window, in the picture's shorter sides
_MOST_WINDOWS = 32  # not overlapping; a still longer picture is squeezed
_GUIDE_RADIUS = 2  # [px] at the network's size
_GUIDE_EPSILON = 1e-4
_FUSION_SIZE = 512  # [px] longer side at which foreground and background colours are spread
_BAND_ROWS = 32
_FUSION_RADII = (90, 6)  # [px] at that size, the published ones


def matte(network: nn.Module, portrait: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the people out of a portrait.

    Args:
        network: a matting network (`hpbnet.load_network("matting")`).
        portrait: [1,3,H,W] sRGB in [0,1].

    Returns:
        foreground [1,3,H,W], the people's own colours also where the edge is soft, and alpha [1,1,H,W].

    Raises:
        ValueError: there is nobody in the picture, or nothing but somebody.
    """
    alpha = estimate_alpha(network, portrait)
    check_coverage(alpha)
    return estimate_foreground(portrait, alpha), alpha


def check_coverage(alpha: Tensor) -> None:
    """Reject an alpha that finds nobody or takes the whole picture for somebody."""
    coverage = alpha.mean().item()
    if coverage < LEAST_COVERAGE:
        raise ValueError(f"no person found in the portrait ({coverage:.1%} of it); give the person with --mask FILE")
    if coverage > MOST_COVERAGE:
        raise ValueError(
            f"no background found in the portrait ({coverage:.1%} is person); give the person with --mask FILE"
        )


def estimate_alpha(network: nn.Module, portrait: Tensor) -> Tensor:
    """Estimate alpha [1,1,H,W] of a portrait [1,3,H,W]: the network at its own size, refined at full size.

    A panorama or a banner is looked at window by window; where that finds nobody, it is taken for a stretched photo.
    """
    size, stride = cast(int, network.config.size), cast(int, network.stride)
    height, width = portrait.shape[-2:]
    if max(height, width) > _LONG * min(height, width):
        small = _reduced(portrait, *_long_shape(height, width, size, stride))
        alpha = _infer_windows(network, small, size)
        if alpha.mean().item() >= LEAST_COVERAGE:
            return refine_alpha(alpha, small, portrait)
        small = _reduced(portrait, size, size)
    else:
        small = shrink(portrait, size, stride)
    return refine_alpha(_infer(network, small), small, portrait)


def _infer(network: nn.Module, small: Tensor) -> Tensor:
    """Alpha [1,1,h,w] of what the network sees; in bfloat16 where the processor has it: half the time."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=_native_bfloat16()):
        logits = network(small.contiguous(memory_format=torch.channels_last))
    return cast(Tensor, logits.float().sigmoid().clone())


@functools.cache
def _native_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 itself; where it does not, float32 is faster."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch.cpu, not in every version
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def _long_shape(height: int, width: int, size: int, stride: int) -> tuple[int, int]:
    """Height and width at which a window of a long picture has the network's size."""
    scale = size / (_WINDOW * min(height, width))
    short, long = (max(stride, round(side * scale / stride) * stride) for side in sorted((height, width)))
    long = min(max(long, size), _MOST_WINDOWS * size)
    return (short, long) if height < width else (long, short)


def _infer_windows(network: nn.Module, small: Tensor, size: int) -> Tensor:
    """Alpha [1,1,h,w] of a long picture, from windows that overlap by half and fade into each other."""
    axis = 2 if small.shape[2] > small.shape[3] else 3
    long = small.shape[axis]
    fade = torch.minimum(torch.arange(size) + 1, size - torch.arange(size)).view((size, 1) if axis == 2 else (1, size))
    alpha, weight = torch.zeros_like(small[:, :1]), torch.zeros_like(small[:, :1])
    for start in torch.linspace(0, long - size, ceil((long - size) / (size / 2)) + 1).round().int().tolist():
        alpha.narrow(axis, start, size).add_(fade * _infer(network, small.narrow(axis, start, size)))
        weight.narrow(axis, start, size).add_(fade)
    return alpha / weight


def shrink(portrait: Tensor, longer: int, multiple: int) -> Tensor:
    """Resize [1,3,H,W] so that its longer side is about `longer` and both are multiples of `multiple` [px]."""
    height, width = portrait.shape[-2:]
    scale = longer / max(height, width)
    tall, wide = (max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))
    return _reduced(portrait, tall, wide)


def _reduced(portrait: Tensor, height: int, width: int) -> Tensor:
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in portrait[0].numpy()]
    return torch.from_numpy(np.stack(cast(list[Floats], planes)))[None]


def refine_alpha(
    alpha: Tensor,  # [1,1,h,w] at the network's size
    small: Tensor,  # [1,3,h,w] the portrait at that size
    portrait: Tensor,  # [1,3,H,W]
) -> Tensor:
    """Bring alpha to the portrait's size along the portrait's own edges (fast guided filter, colour guide)."""
    slope, offset = guided_coefficients(to_array(small), to_array(alpha))
    size = portrait.shape[3], portrait.shape[2]
    refined = cast(Floats, cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR))
    for plane, guide in zip(cv2.split(slope), portrait[0].numpy(), strict=True):  # a plane at a time: cheap at any size
        refined += cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) * guide
    refined -= _UNSURE
    refined /= 1 - 2 * _UNSURE
    return torch.from_numpy(refined.clip(0.0, 1.0, out=refined))[None, None]


def guided_coefficients(guide: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    """Slope [h,w,3] and offset [h,w] of the local affine model alpha = slope . guide + offset."""
    side = (2 * _GUIDE_RADIUS + 1,) * 2

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return cast(NDArray[np.float64], cv2.blur(image, side, borderType=cv2.BORDER_REFLECT_101))

    colors, matte = [plane.astype(np.float64) for plane in cv2.split(guide)], alpha.astype(np.float64)
    means, alpha_mean = [mean(color) for color in colors], mean(matte)
    covariance = {(i, j): mean(colors[i] * colors[j]) - means[i] * means[j] for i in range(3) for j in range(i, 3)}
    a, b, c, d, e, f = (covariance[index] for index in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    a, d, f = a + _GUIDE_EPSILON, d + _GUIDE_EPSILON, f + _GUIDE_EPSILON
    cross = [mean(color * matte) - own * alpha_mean for color, own in zip(colors, means, strict=True)]
    # The symmetric 3x3 matrix (a b c / b d e / c e f), inverted by its cofactors.
    first = d * f - e * e, c * e - b * f, b * e - c * d
    second = first[1], a * f - c * c, b * c - a * e
    third = first[2], second[2], a * d - b * b
    determinant = a * first[0] + b * first[1] + c * first[2]
    slope = [sum(x * y for x, y in zip(row, cross, strict=True)) / determinant for row in (first, second, third)]
    offset = alpha_mean - sum(x * y for x, y in zip(slope, means, strict=True))
    return np.dstack([mean(plane) for plane in slope]).astype(np.float32), mean(offset).astype(np.float32)


def estimate_foreground(portrait: Tensor, alpha: Tensor) -> Tensor:
    """Estimate the foreground's own colours [1,3,H,W]; where alpha is 1 they are the portrait's pixels, untouched."""
    front, back = spread_colors(portrait, alpha)
    matte = to_array(alpha)
    height, width = matte.shape
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


def spread_colors(portrait: Tensor, alpha: Tensor) -> tuple[Floats, Floats]:
    """Spread the colours of foreground and of background over each other, at a reduced size: two [h,w,3]."""
    height, width = alpha.shape[-2:]
    scale = min(1.0, _FUSION_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def reduced(plane: Floats) -> Floats:
        return cast(Floats, cv2.resize(plane, size, interpolation=cv2.INTER_AREA)) if scale < 1 else plane

    image = cast(Floats, cv2.merge([reduced(plane) for plane in portrait[0].numpy()]))
    share = reduced(to_array(alpha))[:, :, None]
    front = back = image
    for radius in _FUSION_RADII:
        front, back = blur_fusion(image, front, back, share, radius)
    return front, back


def blur_fusion(image: Floats, front: Floats, back: Floats, share: Floats, radius: int) -> tuple[Floats, Floats]:
    """One pass: weighted local means of both colours, then what they leave unexplained goes to the foreground."""
    side = (2 * radius + 1,) * 2

    def mean(plane: Floats) -> Floats:
        blurred = cast(Floats, cv2.blur(plane, side, borderType=cv2.BORDER_REPLICATE))
        return blurred if blurred.ndim == 3 else blurred[:, :, None]

    front_mean = mean(front * share) / (mean(share) + 1e-5)
    back_mean = mean(back * (1 - share)) / (mean(1 - share) + 1e-5)
    rest = image - share * front_mean - (1 - share) * back_mean
    return np.clip(front_mean + share * rest, 0, 1), back_mean


def to_array(image: Tensor) -> Floats:
    """[1,C,H,W] -> [H,W,C], or [H,W] for one channel."""
    array = image[0].permute(1, 2, 0).numpy() if image.shape[1] > 1 else image[0, 0].numpy()
    return cast(Floats, np.ascontiguousarray(array))


def to_tensor(array: Floats) -> Tensor:
    """[H,W,C] -> [1,C,H,W], contiguous."""
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None].contiguous()
