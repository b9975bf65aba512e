"""What is done to layers after harmonizing: strength, a manual grade, light wrap, matched grain and softness.

Knows optics and film, in a small way. Grain alone is on by default: it does nothing unless the scene is grainy; what
the others gain and cost is measured in docs/experiments/finishing.md. Each function returns new layers whose alpha
and background are the old ones.
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

_GAMMA = 2.2  # a gain in linear light is its 1 / 2.2th power in sRGB, all but the darkest tones
_WARMTH_STOPS = 0.35  # [EV] by which red rises and blue falls at warmth 1: about 6500 K seen as 4500 K
_WRAP_RADIUS = 0.012  # of the longer side, reach of the spilled light
_ROBUST = 1.4826  # a normal deviation over its median absolute deviation
_WHOLE = 0.99  # weight from which a pixel belongs to what is measured
_LEAST_PIXELS = 4096  # that noise or sharpness can be told from
_NOTICED = 1.25  # times as much grain is seen, and told from the measure's own scatter
_MOST_BLUR = 2.5  # [px] deviation
_LEAST_NOISE = 1.0 / 255  # grain below this is not seen, and not added
_LEAST_BLUR = 0.3  # [px] blur below this is not added
_LEAST_EDGES, _STRONG_EDGE = 64, 0.03  # pixels on edges that blur can be told from, and their slope per pixel
_OWN_BLUR = 0.75  # [px] deviation that the measuring itself adds: Sobel's filter and the pixel's width
_PATCH, _QUIET = 8, 0.2  # [px] side of the patches in which noise is measured; the quantile of patches taken as noise
_QUIET_BIAS = 1.2  # by which that quantile of pure noise lies below its deviation
_BLOCK, _BLOCKS = 20, 600  # [px] side of the blocks of a picture that noise is measured in, and about how many


def adjust(grid: AffineGrid, options: ColorOptions) -> AffineGrid:
    """Apply strength, exposure and warmth to a harmonizer's grid: one grid, so that colours are clamped once."""
    grid = grid if options.strength == 1.0 else grid.shrink(options.strength)
    if not options.exposure and not options.warmth:
        return grid
    return grid.then(grade(options.exposure, options.warmth))


def finish(layers: Layers, options: HarmonizeOptions) -> Layers:
    """Match softness, wrap light and match grain, in this order: grain lies on top of light."""
    layers = light_wrap(match_softness(layers, options.softness), options.light_wrap)
    return match_grain(layers, options.grain)


def grade(exposure: float, warmth: float) -> AffineGrid:
    """Make the grid of a manual correction.

    Args:
        exposure: [EV], doublings of the light.
        warmth: -1 bluish to 1 golden; luma is kept for grey.
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
    """Bring the foreground's grain up to the background's; adds only, and only where the background is grainy.

    Args:
        layers: harmonized layers.
        amount: 0 (none) to 1.
        seed: of the grain; another for each frame of a video.
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
    if goal is None or goal < _LEAST_NOISE:  # as in most pictures; the foreground need not be measured
        return 0.0
    own = _noise_in(foreground, opacity.amin(dim=(1, 2, 3)) > _WHOLE)
    return 0.0 if own is None or goal < _NOTICED * own else math.sqrt(goal**2 - own**2)


def match_softness(layers: Layers, amount: float) -> Layers:
    """Soften the foreground to the background's sharpest edges; never sharpens.

    A background out of focus is soft without the person's having to be, which cannot be told from a soft lens.

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

    Immerkaer's measure [1996], robustly, of the quietest patches, at the picture's size and at half of it: what white
    noise loses by halving is noise, and what texture and compression keep is not.

    Returns:
        the deviation of luma noise, 0-1 scale; None where too little is seen to tell.
    """
    return _noise_in(image, _blocks(weight).amin(dim=(1, 2, 3)) > _WHOLE)


def _noise_in(image: Tensor, inside: Tensor) -> float | None:
    """Deviation of the noise in the blocks of an image that are inside, [N] of them or not."""
    if int(inside.sum()) * _BLOCK**2 < _LEAST_PIXELS:
        return None
    grey = luma(_blocks(image)[inside])
    whole, half = _quiet_noise(grey), _quiet_noise(F.avg_pool2d(grey, 2))
    return _QUIET_BIAS * math.sqrt(max(whole**2 - half**2, 0.0) * 4 / 3)


def _blocks(image: Tensor) -> Tensor:
    """Cut blocks [N,C,h,w] spread evenly over an image [1,C,H,W] -> none if it is smaller than one."""
    rows, columns = (length // _BLOCK for length in image.shape[-2:])
    if not rows or not columns:
        return image[:0]
    step = _BLOCK * max(1, round(math.sqrt(rows * columns / _BLOCKS)))
    spread = image.unfold(2, _BLOCK, step).unfold(3, _BLOCK, step)  # [1,C,rows,columns,h,w]
    return spread[0].flatten(1, 2).transpose(0, 1)


def _quiet_noise(grey: Tensor) -> float:
    """Deviation of the noise in the quietest patches of blocks [N,1,h,w]."""
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
    """Blur [B,C,H,W] by a Gaussian; a wide one on a picture made smaller."""
    height, width = image.shape[-2:]
    factor = max(1, int(sigma / 4))
    small = (math.ceil(height / factor), math.ceil(width / factor))
    planes = []
    for plane in image.flatten(0, 1).numpy():
        shrunk = cv2.resize(plane, small[::-1], interpolation=cv2.INTER_AREA) if factor > 1 else plane
        soft = cv2.GaussianBlur(shrunk, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
        planes.append(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR) if factor > 1 else soft)
    return torch.from_numpy(np.stack(planes)).view_as(image)
