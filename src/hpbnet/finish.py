"""What may be done to layers after harmonizing: a manual grade, light wrap, and grain and sharpness matched.

Knows optics and film, in a small way; nothing here is on by default. Each function returns new layers whose alpha and
background are the old ones.
"""

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .affine_grid import AffineGrid
from .color import LUMA, luma
from .layers import Layers

_GAMMA = 2.2  # a gain in linear light is its 1 / 2.2th power in sRGB, all but the darkest tones
_WARMTH_STOPS = 0.35  # [EV] by which red rises and blue falls at warmth 1: about 6500 K seen as 4500 K
_WRAP_RADIUS = 0.012  # of the longer side, reach of the spilled light
_ROBUST = 1.4826  # a normal deviation over its median absolute deviation
_LEAST_PIXELS = 4096  # that noise or sharpness can be told from
_MOST_BLUR = 2.5  # [px] deviation
_LEAST_NOISE = 0.3 / 255  # grain below this is not added
_LEAST_BLUR = 0.3  # [px] blur below this is not added
_LEAST_EDGES, _STRONG_EDGE = 64, 0.03  # pixels on edges that blur can be told from, and their slope per pixel
_OWN_BLUR = 0.75  # [px] deviation that the measuring itself adds: Sobel's filter and the pixel's width
_PATCH, _QUIET = 8, 0.2  # [px] side of the patches in which noise is measured; the quantile of patches taken as noise


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
    """Let the background's light spill over the foreground's edge, only where it is brighter (PEERS D9).

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


@dataclass(frozen=True)
class Texture:
    """How noisy and how sharp a picture is; None where too little of it is seen to tell."""

    noise: float | None  # deviation of luma noise, 0-1 scale
    blur: float | None  # [px] deviation of the Gaussian that softens its sharpest edges


def match_grain(layers: Layers, amount: float, seed: int = 0) -> Layers:
    """Bring the foreground's grain and softness up to the background's; adds only, never cleans or sharpens.

    Args:
        layers: harmonized layers.
        amount: 0 (none) to 1.
        seed: of the grain; another for each frame of a video.
    """
    if amount == 0:
        return layers
    generator = torch.Generator().manual_seed(seed)
    items = zip(layers.foreground.split(1), layers.alpha.split(1), layers.background.split(1), strict=True)
    matched = [_match_item(foreground, alpha, background, amount, generator) for foreground, alpha, background in items]
    return replace(layers, foreground=torch.cat(matched))


def _match_item(
    foreground: Tensor, alpha: Tensor, background: Tensor, amount: float, generator: torch.Generator
) -> Tensor:
    own, goal = measure_texture(foreground, alpha), measure_texture(background, 1 - alpha)
    if own.blur is not None and goal.blur is not None:
        missing = amount * min(max(goal.blur**2 - own.blur**2, 0.0) ** 0.5, _MOST_BLUR)
        if missing > _LEAST_BLUR:
            foreground = _blur(foreground * alpha, missing) / _blur(alpha, missing).clamp_min(1e-4)
            own = measure_texture(foreground, alpha)  # softening took grain away
    if own.noise is not None and goal.noise is not None:
        missing = amount * max(goal.noise**2 - own.noise**2, 0.0) ** 0.5
        if missing > _LEAST_NOISE:
            grain = torch.randn(alpha.shape, generator=generator)
            foreground = foreground + missing * grain
    return foreground.clamp(0.0, 1.0)


def measure_texture(image: Tensor, weight: Tensor) -> Texture:
    """Measure the noise and blur of an image [1,3,H,W] where a weight [1,1,H,W] is 1.

    Noise is Immerkaer's [1996], robustly and of the quietest patches, so that texture does not count. Blur is Zhuo and
    Sim's [2011], from how much blurring again weakens the strongest edges.
    """
    grey = luma(image)
    inside = -F.max_pool2d(-(weight > 0.99).float(), 5, stride=1, padding=2)[0, 0] > 0
    if int(inside.sum()) < _LEAST_PIXELS:
        return Texture(None, None)
    return Texture(_noise(grey, inside), _edge_blur(grey, inside))


def _noise(grey: Tensor, inside: Tensor) -> float | None:
    kernel = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]).view(1, 1, 3, 3) / 6  # unit gain for white noise
    second = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel)[0, 0].abs()
    height, width = (side // _PATCH * _PATCH for side in second.shape)
    shape = (height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    patches = second[:height, :width].reshape(shape).transpose(1, 2).flatten(2).flatten(0, 1)
    whole = inside[:height, :width].reshape(shape).transpose(1, 2).flatten(2).flatten(0, 1).all(dim=1)
    if not whole.any():
        return None
    levels = patches[whole].median(dim=1).values * _ROBUST
    return float(np.quantile(levels.numpy(), _QUIET))


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
    small = (ceil(height / factor), ceil(width / factor))
    planes = []
    for plane in image.flatten(0, 1).numpy():
        shrunk = cv2.resize(plane, small[::-1], interpolation=cv2.INTER_AREA) if factor > 1 else plane
        soft = cv2.GaussianBlur(shrunk, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
        planes.append(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR) if factor > 1 else soft)
    return torch.from_numpy(np.stack(planes)).view_as(image)
