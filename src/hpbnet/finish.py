"""Finish layers after harmonizing: strength, exposure and warmth, light wrap, grain and softness.

Only grain is on by default: it does nothing unless the background is grainy. docs/experiments/finishing.md measures
what each of them gains and costs. Each function returns new layers with the same alpha and background.
"""

import math
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .affine_grid import AffineGrid
from .color import LUMA, luma
from .layers import Layers, box_of
from .options import ColorOptions, HarmonizeOptions

_GAMMA = 2.2  # a gain in linear light is about its 1 / 2.2th power in sRGB, except for the darkest tones
_WARMTH_STOPS = 0.35  # [EV] that red rises and blue falls at warmth 1: about 6500 K seen as 4500 K
_WRAP_RADIUS = 0.012  # reach of the light wrap, as a share of the longer side
_ROBUST = 1.4826  # standard deviation over median absolute deviation of a normal distribution
_WHOLE = 0.99  # pixels with at least this weight are measured
_LEAST_PIXELS = 4096  # needed to measure noise or sharpness
_NOTICED = 1.25  # ratio of grain from which a difference is visible and above the measure's own error
_MOST_BLUR = 2.5  # [px] deviation
_LEAST_NOISE = 1.0 / 255  # grain below this is invisible and not added
_LEAST_BLUR = 0.3  # [px] blur below this is not added
_LEAST_EDGES, _STRONG_EDGE = 64, 0.03  # pixels on edges needed to measure blur, and their slope per pixel
_OWN_BLUR = 0.75  # [px] deviation added by the measurement itself: Sobel's filter and the pixel's width
_PATCH, _QUIET = 8, 0.2  # [px] side of the patches in which noise is measured; the quantile of patches taken as noise
_QUIET_BIAS = 1.2  # standard deviation of pure noise over that quantile
_BLOCK, _BLOCKS = 20, 600  # [px] side of the blocks in which noise is measured, and about how many


def adjust(grid: AffineGrid, options: ColorOptions, light: AffineGrid | None = None) -> AffineGrid:
    """Combine a harmonizer's grid, light, exposure and warmth in one grid, so that colours are clamped once.

    Args:
        grid: the harmonizer's; `strength` is for it alone.
        options: strength, exposure and warmth.
        light: the change that puts the person into a light, if any.
    """
    grid = grid if options.strength == 1.0 else grid.shrink(options.strength)
    grid = grid if light is None else grid.then(light)
    if not options.exposure and not options.warmth:
        return grid
    return grid.then(grade(options.exposure, options.warmth))


def finish(layers: Layers, options: HarmonizeOptions) -> Layers:
    """Match softness, add light wrap and match grain, in this order: grain comes last, as in a camera."""
    layers = light_wrap(match_softness(layers, options.softness), options.light_wrap)
    return match_grain(layers, options.grain)


def grade(exposure: float, warmth: float) -> AffineGrid:
    """Make the grid of a manual exposure and warmth correction.

    Args:
        exposure: [EV]; 1 doubles the light.
        warmth: -1 bluish to 1 golden; the luma of grey does not change.
    """
    stops = torch.tensor([exposure + warmth * _WARMTH_STOPS, exposure, exposure - warmth * _WARMTH_STOPS])
    gains = torch.exp2(stops / _GAMMA)
    if warmth:
        gains = gains * (2 ** (exposure / _GAMMA) / (gains @ torch.tensor(LUMA)))
    return AffineGrid.uniform(torch.cat([torch.diag(gains), torch.zeros(3, 1)], dim=1)[None])


def light_wrap(layers: Layers, amount: float) -> Layers:
    """Let the background's light spill over the foreground's edge, only where it is brighter.

    Args:
        layers: harmonized layers.
        amount: 0 (none) to 1.
    """
    if amount == 0:
        return layers
    sigma = _WRAP_RADIUS * max(layers.size)
    spill = _blur(layers.background, sigma)
    reach = layers.alpha * (2 * _blur(1 - layers.alpha, sigma)).clamp(max=1.0)
    brighter = (luma(spill) - luma(layers.foreground)).clamp(min=0.0)
    light = amount * reach * brighter
    return replace(layers, foreground=torch.lerp(layers.foreground, spill, light.clamp(max=1.0)))


def match_grain(layers: Layers, amount: float, seed: int = 0) -> Layers:
    """Add grain to the foreground until it has as much as the background; never remove grain.

    Args:
        layers: harmonized layers.
        amount: 0 (none) to 1.
        seed: of the random grain; use another one for each frame of a video.
    """
    if amount == 0:
        return layers
    items = zip(layers.foreground.split(1), layers.alpha.split(1), layers.background.split(1), strict=True)
    missing = [amount * _missing_noise(*item) for item in items]
    if max(missing) < _LEAST_NOISE:
        return layers
    deviations = torch.tensor([each if each >= _LEAST_NOISE else 0.0 for each in missing])[:, None, None, None]
    top, left, bottom, right = box_of(layers.alpha, 0.0)
    size = len(missing), 1, bottom - top, right - left
    grain = deviations * torch.randn(size, generator=torch.Generator().manual_seed(seed))
    foreground = layers.foreground.clone()
    foreground[:, :, top:bottom, left:right].add_(grain).clamp_(0.0, 1.0)
    return replace(layers, foreground=foreground)


def _missing_noise(foreground: Tensor, alpha: Tensor, background: Tensor) -> float:
    opacity = _blocks(alpha)
    goal = _noise_in(background, opacity.amax(dim=(1, 2, 3)) < 1 - _WHOLE)
    if goal is None or goal < _LEAST_NOISE:  # as in most pictures: there is no grain to match
        return 0.0
    own = _noise_in(foreground, opacity.amin(dim=(1, 2, 3)) > _WHOLE)
    return 0.0 if own is None or goal < _NOTICED * own else math.sqrt(goal**2 - own**2)


def match_softness(layers: Layers, amount: float) -> Layers:
    """Blur the foreground until its sharpest edges are as soft as the background's; never sharpen.

    A background that is out of focus looks the same as one seen through a soft lens, and is matched, too.

    Args:
        layers: harmonized layers.
        amount: 0 (none) to 1.
    """
    if amount == 0:
        return layers
    items = zip(layers.foreground.split(1), layers.alpha.split(1), layers.background.split(1), strict=True)
    return replace(layers, foreground=torch.cat([_softened(*item, amount) for item in items]))


def _softened(foreground: Tensor, alpha: Tensor, background: Tensor, amount: float) -> Tensor:
    own, goal = measure_blur(foreground, alpha), measure_blur(background, 1 - alpha)
    if own is None or goal is None:
        return foreground
    missing = amount * min(math.sqrt(max(goal**2 - own**2, 0.0)), _MOST_BLUR)
    if missing <= _LEAST_BLUR:
        return foreground
    return (_blur(foreground * alpha, missing) / _blur(alpha, missing).clamp_min(1e-4)).clamp_(0.0, 1.0)


def measure_noise(image: Tensor, weight: Tensor) -> float | None:
    """Measure the white noise of an image [1,3,H,W] where a weight [1,1,H,W] is 1.

    A robust form of Immerkaer's measure [1996] in the quietest patches, at the picture's size and at half of it.
    Halving a picture halves white noise, but not texture and compression. So only the difference counts as noise.

    Returns:
        the standard deviation of luma noise, 0-1 scale; None if there are too few pixels to measure.
    """
    return _noise_in(image, _blocks(weight).amin(dim=(1, 2, 3)) > _WHOLE)


def _noise_in(image: Tensor, inside: Tensor) -> float | None:
    """Measure the deviation of the noise in the blocks of an image for which `inside` [N] is true."""
    if int(inside.sum()) * _BLOCK**2 < _LEAST_PIXELS:
        return None
    grey = luma(_blocks(image)[inside])
    whole, half = _quiet_noise(grey), _quiet_noise(F.avg_pool2d(grey, 2))
    return _QUIET_BIAS * math.sqrt(max(whole**2 - half**2, 0.0) * 4 / 3)


def _blocks(image: Tensor) -> Tensor:
    """Cut blocks [N,C,h,w], spread evenly, from an image [1,C,H,W]; N is 0 if the image is smaller than a block."""
    rows, columns = (length // _BLOCK for length in image.shape[-2:])
    if not rows or not columns:
        return image[:0]
    step = _BLOCK * max(1, round(math.sqrt(rows * columns / _BLOCKS)))
    spread = image.unfold(2, _BLOCK, step).unfold(3, _BLOCK, step)  # [1,C,rows,columns,h,w]
    return spread[0].flatten(1, 2).transpose(0, 1)


def _quiet_noise(grey: Tensor) -> float:
    """Measure the deviation of the noise in the quietest patches of blocks [N,1,h,w]."""
    kernel = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]).view(1, 1, 3, 3) / 6  # unit gain for white noise
    second = F.conv2d(grey, kernel).abs()
    patches = second.unfold(2, _PATCH, _PATCH).unfold(3, _PATCH, _PATCH).flatten(0, 3).flatten(1)
    levels = np.median(patches.numpy(), axis=1) * _ROBUST
    return float(np.quantile(levels, _QUIET))


def measure_blur(image: Tensor, weight: Tensor) -> float | None:
    """Measure how soft the sharpest edges of an image [1,3,H,W] are where a weight [1,1,H,W] is 1.

    Zhuo and Sim's measure [2011]: how much blurring again weakens the strongest edges.

    Returns:
        the deviation of the Gaussian that softens them [px]; None where too few edges are seen to tell.
    """
    grey = luma(image)
    inside = -F.max_pool2d(-(weight > _WHOLE).float(), 5, stride=1, padding=2)[0, 0] > 0
    return _edge_blur(grey, inside) if int(inside.sum()) >= _LEAST_PIXELS else None


def _edge_blur(grey: Tensor, inside: Tensor) -> float | None:
    sharp, soft = _gradient(grey), _gradient(_blur(grey, 1.0))
    chosen = inside & (sharp > _STRONG_EDGE)
    if int(chosen.sum()) < _LEAST_EDGES:
        return None
    sharp, soft = sharp[chosen], soft[chosen]
    strongest = sharp >= float(np.quantile(sharp.numpy(), 0.8))
    ratio: float = (sharp[strongest] / soft[strongest].clamp_min(1e-6)).median().item()
    blur: float = (max(1 / max(ratio**2 - 1.0, 1e-2) - _OWN_BLUR**2, 0.0)) ** 0.5
    return blur


def _gradient(grey: Tensor) -> Tensor:
    plane = grey[0, 0].numpy()
    return torch.from_numpy(np.hypot(cv2.Sobel(plane, -1, 1, 0), cv2.Sobel(plane, -1, 0, 1)) / 8)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur [B,C,H,W] by a Gaussian; a wide one is applied to a reduced picture, for speed."""
    height, width = image.shape[-2:]
    factor = max(1, int(sigma / 4))
    small = (math.ceil(height / factor), math.ceil(width / factor))
    planes = []
    for plane in image.flatten(0, 1).numpy():
        shrunk = cv2.resize(plane, small[::-1], interpolation=cv2.INTER_AREA) if factor > 1 else plane
        soft = cv2.GaussianBlur(shrunk, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
        planes.append(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR) if factor > 1 else soft)
    return torch.from_numpy(np.stack(planes)).view_as(image)
