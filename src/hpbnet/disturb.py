"""The disturbances of the dataset (paper section 3.1, and beyond it), as pure functions of tensors.

Each takes pictures [B,3,H,W] in sRGB [0,1] with drawn parameters, one row a picture, and returns pictures in [0,1];
what is drawn, and how often, is the recipe's matter (`synthesis/recipe.py`). Nothing but `paste` blends: a disturbed
foreground covers the whole frame until it is pasted by its alpha. Changes of light live in `relight.py`.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from .color import (
    LUMA,
    lab_to_rgb,
    luma,
    masked_covariance,
    masked_mean_and_deviation,
    monge_kantorovich,
    rgb_to_lab,
)

Transfer = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # image, weight, reference, its weight -> image

GAMMA = 2.2  # paper section 3.1: gamma mapping before and after the gains; also our light scale for exposure
_KNEE = 0.8  # values above it are compressed instead of clipped when a picture is made brighter
_LEVELS = 1024  # resolution of tone curves
_QUANTILES = 33  # knots of a histogram transfer


def paste(disturbed: Tensor, alpha: Tensor, photo: Tensor) -> Tensor:
    """Blend [B,3,H,W] over the photo it was made from; where alpha is 0 the photo's own values stay."""
    return photo + alpha * (disturbed - photo)


def adjust_white_balance(
    image: Tensor,  # [B,3,H,W]
    gains: Tensor,  # [B,3] factors of R, G, B in gamma-2.2 linear light
) -> Tensor:
    """Multiply the channels in linear light (paper section 3.1)."""
    # (g * x^2.2)^(1/2.2) = g^(1/2.2) * x, so the two gamma mappings need not be computed
    factors = gains.clamp_min(0.0) ** (1 / GAMMA)
    return (image * factors[:, :, None, None]).clamp(0.0, 1.0)


def adjust_exposure(
    image: Tensor,  # [B,3,H,W]
    stops: Tensor,  # [B] powers of two in gamma-2.2 linear light
) -> Tensor:
    """Make a picture brighter or darker; highlights are rolled off, not clipped."""
    factor = 2.0 ** (stops / GAMMA)
    return soft_clip(image * factor[:, None, None, None], factor[:, None, None, None])


def soft_clip(image: Tensor, peak: Tensor) -> Tensor:
    """Bring values up to `peak` (broadcastable) into [0,1]: a straight line up to a knee, then a smooth shoulder."""
    if float(peak.max()) <= 1.0:
        return image.clamp(0.0, 1.0)
    room = (peak - _KNEE).clamp_min(1e-6)
    # the quadratic shoulder starts with slope room / (1 - knee), in its own units, and ends at 1
    slope = (room / (1 - _KNEE)).clamp(1.0, 2.0)
    over = ((image - _KNEE) / room).clamp_(0.0, 1.0)
    shoulder = over * (slope - (slope - 1) * over) * (1 - _KNEE)
    return image.clamp(0.0, _KNEE) + shoulder


def adjust_tone_curve(
    image: Tensor,  # [B,3,H,W]
    curve: Tensor,  # [B,4] gamma, contrast -2..1 (0: none), black level, white level
) -> Tensor:
    """Bend the tones of all channels by one monotonic curve: a gamma, an S about the middle, new end points."""
    gamma, contrast, black, white = curve[:, :, None].unbind(1)
    x = torch.linspace(0.0, 1.0, _LEVELS)[None] ** gamma
    x = x + contrast * x * (1 - x) * (2 * x - 1)
    return _look_up(image, (black + (white - black) * x)[:, None].expand(-1, 3, -1))


def adjust_saturation(image: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance of [B,3,H,W] from its luma by [B]; 0 is grey."""
    grey = luma(image)
    return (grey + factor[:, None, None, None] * (image - grey)).clamp(0.0, 1.0)


def adjust_illuminant(
    image: Tensor,  # [B,3,H,W]
    source: Tensor,  # [B,3] linear RGB of the light the picture was balanced for, any scale
    target: Tensor,  # [B,3] linear RGB of the light it is to show
) -> Tensor:
    """Cast one light's colour in place of another's, by diagonal gains that keep the luminance of grey."""
    gains = target / source.clamp_min(1e-3)
    return adjust_white_balance(image, gains / (gains * gains.new_tensor(LUMA)).sum(1, keepdim=True))


def mix_channels(image: Tensor, matrix: Tensor) -> Tensor:
    """Mix the channels of [B,3,H,W] by [B,3,3] in gamma-2.2 linear light, as another camera's colour filters would."""
    mixed = torch.einsum("bij,bjhw->bihw", matrix, image**GAMMA)
    return mixed.clamp(0.0, 1.0) ** (1 / GAMMA)


def transfer_color_reinhard(
    image: Tensor,  # [B,3,H,W]
    weight: Tensor,  # [B,1,H,W] where the portrait is
    reference: Tensor,  # [B,3,h,w] any size
    reference_weight: Tensor,  # [B,1,h,w]
) -> Tensor:
    """Move means and deviations in Lab to the reference's [RAGS01]."""
    lab = rgb_to_lab(image)
    mean, deviation = masked_mean_and_deviation(lab, weight)
    new_mean, new_deviation = masked_mean_and_deviation(rgb_to_lab(reference), reference_weight)
    moved = (lab - mean) * (new_deviation / deviation.clamp_min(1e-3)) + new_mean
    return lab_to_rgb(moved).clamp(0.0, 1.0)


def transfer_color_covariance(image: Tensor, weight: Tensor, reference: Tensor, reference_weight: Tensor) -> Tensor:
    """Move mean and covariance in RGB to the reference's by the Monge-Kantorovich map [PK07]; shapes as Reinhard's."""
    mean, covariance = masked_covariance(image, weight)
    new_mean, new_covariance = masked_covariance(reference, reference_weight)
    matrix = monge_kantorovich(covariance, new_covariance, least=1e-5)
    moved = torch.einsum("bij,bjhw->bihw", matrix, image - mean[:, :, None, None]) + new_mean[:, :, None, None]
    return moved.clamp(0.0, 1.0)


def transfer_histogram(image: Tensor, weight: Tensor, reference: Tensor, reference_weight: Tensor) -> Tensor:
    """Give each RGB channel the reference's distribution, by quantiles where the weights exceed 1/2."""
    levels = torch.linspace(0.0, 1.0, _LEVELS)
    curves = []
    for index in range(len(image)):
        own = _quantiles(image[index], weight[index])
        new = _quantiles(reference[index], reference_weight[index])
        curves.append(torch.stack([_interpolate(levels, own[c], new[c]) for c in range(3)]))
    return _look_up(image, torch.stack(curves))


def add_noise(image: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of deviation [B] (0-1 scale) to [B,3,H,W], half of it common to the channels."""
    size = (len(image), 1, *image.shape[2:])
    shared = torch.randn(size, generator=generator)
    own = torch.randn(image.shape, generator=generator)
    return (image + deviation[:, None, None, None] * (shared + own) / 2**0.5).clamp(0.0, 1.0)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Blur [B,C,H,W] by a Gaussian [px], borders repeated."""
    return _each_plane(image, lambda plane: cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def compress_jpeg(image: Tensor, quality: int) -> Tensor:
    """Send [B,3,H,W] through JPEG at a quality of 1..100."""
    decoded = []
    for picture in image:
        pixels = (picture.flip(0).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        back = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        decoded.append(torch.from_numpy(back).permute(2, 0, 1).flip(0))
    return torch.stack(decoded).to(image.dtype) / 255


def grow_mask(mask: Tensor, radius: int) -> Tensor:
    """Dilate [B,1,H,W] by a disc of a radius [px], or erode it by a negative one."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(radius) + 1, 2 * abs(radius) + 1))
    change = cv2.dilate if radius >= 0 else cv2.erode
    return _each_plane(mask, lambda plane: change(plane, disc))


def cut_hole(
    mask: Tensor,  # [B,1,H,W]
    hole: Tensor,  # [B,4] centre x, y and radii across, down, as shares of width and height
    value: float = 0.0,
) -> Tensor:
    """Set an ellipse of a mask to a value, with an edge of a few pixels: a hole, or with 1 a false island."""
    x = torch.linspace(0.0, 1.0, mask.shape[3])[None, None, :]
    y = torch.linspace(0.0, 1.0, mask.shape[2])[None, :, None]
    centre_x, centre_y, across, down = hole[:, :, None, None].unbind(1)
    inside = (1 - ((x - centre_x) / across) ** 2 - ((y - centre_y) / down) ** 2) * 4
    return torch.lerp(mask, torch.full_like(mask, value), inside.clamp(0.0, 1.0)[:, None])


def _look_up(image: Tensor, curves: Tensor) -> Tensor:
    """Send [B,3,H,W] through curves [B,3,L] of the nearest level, clamped to [0,1]."""
    batch, channels = image.shape[:2]
    place = (image * (_LEVELS - 1) + 0.5).long().clamp(0, _LEVELS - 1)
    offset = (torch.arange(batch * channels) * _LEVELS).view(batch, channels, 1, 1)
    return curves.clamp(0.0, 1.0).reshape(-1).take(place + offset)


def _each_plane(image: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Apply a function of [H,W] to every channel of [B,C,H,W]."""
    planes = [torch.from_numpy(change(plane.numpy())) for plane in image.contiguous().flatten(0, 1)]
    return torch.stack(planes).view(image.shape)


def _quantiles(image: Tensor, weight: Tensor) -> Tensor:
    """Quantiles [3,K] of the pixels of [3,H,W] where a weight [1,H,W] exceeds 1/2; of all where it nowhere does."""
    inside = image[:, weight[0] > 0.5]
    pixels = inside if inside.shape[1] else image.flatten(1)
    step = max(1, pixels.shape[1] // 4096)  # a few thousand pixels know the distribution
    return torch.quantile(pixels[:, ::step], torch.linspace(0.0, 1.0, _QUANTILES), dim=1).T


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Interpolate [N] linearly between increasing knots [K] with values [K]; beyond the ends go on with slope 1."""
    right = torch.searchsorted(knots, x).clamp(1, len(knots) - 1)
    share = (x - knots[right - 1]) / (knots[right] - knots[right - 1]).clamp_min(1e-6)
    beyond = x - x.clamp(knots[0], knots[-1])
    return torch.lerp(values[right - 1], values[right], share.clamp(0.0, 1.0)) + beyond
