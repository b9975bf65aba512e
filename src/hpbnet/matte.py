"""Portrait -> foreground and alpha: the network at a reduced size, then the edge at full size.

Alpha is refined by a fast guided filter [He and Sun 2015]: a local affine model of alpha in the portrait's own
colours, fitted where the network saw it and evaluated at full size. Foreground colours at soft edges are estimated by
two passes of blur fusion [Forte and Pitie 2021], so that the old background does not shine through the hair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .models import embedded, load_network, native_bfloat16
from .networks.matting import MattingNetwork
from .onnx_matting import PUBLISHED, OnnxMatting, load_onnx_matting, names_onnx

Matting = Callable[[Tensor], Tensor]  # portrait [1,3,H,W] sRGB in [0,1] -> alpha [1,1,H,W] at its size
Floats = NDArray[np.float32]

LEAST_COVERAGE, MOST_COVERAGE = 0.01, 0.99
VISIBLE_ALPHA = 0.5  # that somebody's alpha exceeds somewhere
_UNSURE = 0.05  # alpha closer than this to 0 or 1 is taken for it, the rest stretched: a network is never quite sure
_LONG = 2.5  # times as long as wide: a longer picture is looked at window by window
_WINDOW = 1.5  # length of a window, in the picture's shorter sides
_MOST_WINDOWS = 32  # not overlapping; a still longer picture is squeezed
_GUIDE_RADIUS = 2  # [px] at the network's size
_GUIDE_EPSILON = 1e-4
_FUSION_SIZE = 512  # [px] longer side at which foreground and background colours are spread
_BAND_ROWS = 32
_FUSION_RADII = (90, 6)  # [px] at that size, the published ones
_LEAST_BLOCKS = 8  # in the radius of a mean


@dataclass(frozen=True)
class NetworkMatting:
    """The matting of our own network: portrait -> alpha at the portrait's size."""

    network: MattingNetwork

    def __call__(self, portrait: Tensor) -> Tensor:
        """Estimate alpha [1,1,H,W] of a portrait [1,3,H,W]."""
        return estimate_alpha(self.network, portrait)


@dataclass(frozen=True)
class ForeignMatting:
    """The matting of an ONNX network of others, refined along the portrait's edges."""

    network: OnnxMatting

    def __call__(self, portrait: Tensor) -> Tensor:
        """Estimate alpha [1,1,H,W] of a portrait [1,3,H,W]."""
        small = shrink(portrait, max(self.network.seen), 1)
        return refine_alpha(self.network(small), small, portrait)


def matting_by_name(name_or_path: str | Path) -> Matting:
    """Return the matting of a name, a checkpoint's path, or an ONNX file or published name of the rembg family.

    Raises:
        ValueError: neither a known name nor a file, or the file holds a network of another kind.
    """
    if names_onnx(name_or_path):
        return ForeignMatting(load_onnx_matting(name_or_path))
    if not Path(name_or_path).is_file() and str(name_or_path) not in embedded():
        known = ", ".join(["matting", *PUBLISHED])
        raise ValueError(f"unknown matting network {str(name_or_path)!r}: expected an .onnx file or one of {known}")
    network = load_network(name_or_path)
    if not isinstance(network, MattingNetwork):
        raise ValueError(f"{name_or_path} holds a {type(network).__name__}, which is no matting network")
    return NetworkMatting(network)


def matte(matting: Matting, portrait: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the people out of a portrait.

    Args:
        matting: finds the people's alpha.
        portrait: [1,3,H,W] sRGB in [0,1].

    Returns:
        foreground [1,3,H,W], the people's own colours also where the edge is soft, and alpha [1,1,H,W].

    Raises:
        ValueError: there is nobody in the picture, or nothing but somebody.
    """
    alpha = matting(portrait)
    check_coverage(alpha)
    return estimate_foreground(portrait, alpha), alpha


def check_coverage(alpha: Tensor) -> None:
    """Reject an alpha that finds nobody or takes the whole picture for somebody."""
    coverage = alpha.mean().item()
    if coverage < LEAST_COVERAGE or alpha.max().item() <= VISIBLE_ALPHA:
        raise ValueError(f"no person found in the portrait ({coverage:.1%} of it); give a mask that shows the person")
    if coverage > MOST_COVERAGE:
        raise ValueError(
            f"no background found in the portrait ({coverage:.1%} is person); give a mask that shows the person"
        )


def check_visible(alpha: Tensor, role: str) -> None:
    """Reject an alpha that is given and shows nobody; `role` names it."""
    greatest = alpha.max().item()
    if greatest <= VISIBLE_ALPHA:
        raise ValueError(f"{role} shows nobody: it is nowhere more than {greatest:.0%} opaque or white")


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
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=native_bfloat16()):
        logits = network(small.contiguous(memory_format=torch.channels_last))
    return cast(Tensor, logits.float().sigmoid().clone())


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
    *slopes, offset = guided_coefficients(to_array(small), to_array(alpha))
    size = portrait.shape[3], portrait.shape[2]
    refined = cast(Floats, cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR))
    for plane, guide in zip(slopes, portrait[0].numpy(), strict=True):  # a plane at a time: cheap at any size
        refined += cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) * guide
    return torch.from_numpy(snap_alpha(refined))[None, None]


def snap_alpha(alpha: Floats) -> Floats:
    """Take alpha close to 0 or 1 for it and stretch the rest, in place."""
    alpha -= _UNSURE
    alpha /= 1 - 2 * _UNSURE
    return alpha.clip(0.0, 1.0, out=alpha)


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


def to_array(image: Tensor) -> Floats:
    """[1,C,H,W] -> [H,W,C], or [H,W] for one channel."""
    array = image[0].permute(1, 2, 0).numpy() if image.shape[1] > 1 else image[0, 0].numpy()
    return cast(Floats, np.ascontiguousarray(array))
