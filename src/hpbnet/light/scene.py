"""The light that a person in a scene would show, read from the background alone.

What a camera sees behind somebody is partly light (sky, lamps, windows, walls that reflect them) and partly paint. A
pixel's brightness counts as it is; its colour counts as far as such a colour lights people:
- bright parts show the light's colour, dark ones mostly their own;
- green is leaves and walls, unless the picture is dark;
- blue by day is the sky, and who stands under it is lit by the sun; in the dark it is the light;
- magenta and warm colours are rarely paint over large areas.
The constants were set by looking at composites and by the guards in tests/test_light.py (docs/experiments/light.md).
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..color import LUMA, luma, srgb_to_linear
from ..relight import sh_basis, smooth
from .value import Light

SIDE = 48  # [px] longer side of the picture that the light is read from
_FINER = 3  # times that, at which the picture is brought into linear light
_GREY = 0.16  # mean luminance of a scene in which a person is exposed as usual
_COLOR, _DIRECTION = 1.0, 0.85  # powers: how much of the scene's light a camera leaves in a picture
_LEVEL, _DARKEST = (0.25, 0.37), (0.56, 0.45)  # likewise, and its least: without and with something bright in sight
_SOURCES = (0.03, 0.15)  # luminance that a twentieth of a picture exceeds where nothing is bright, and where it is
_FAINT_TINT, _FAINT_DIRECTION = 0.15, 0.12  # so much of each [natural logarithms; share of the mean] may mean nothing
_DARK, _DAY = 0.03, 0.15  # mean luminance of scenes that are dark, and that are not
_FLOOR = 0.004  # added to radiance, so that dark pixels have no strong colour
_DIRECTIONS = 256
_CLIPPED, _BEYOND = 0.85, 2.0  # sRGB from which a source may be brighter than the picture can show, and by how much
_ORDER_SHARES = (1.0, *(2 / 3,) * 3, *(1 / 4,) * 5)  # of the clamped cosine, over its order 0 [RH01]
_BLUE_BY_DAY, _GREEN_BY_DAY, _GREEN_AT_NIGHT = (
    0.05,
    0.05,
    0.25,
)  # shares of these colours that count where it is not dark
_MOST_WARM, _MOST_TINT = 0.9, 0.6  # [log2] of the light's colour


@torch.no_grad()
def scene_light(
    background: Tensor,  # [B,3,H,W] sRGB in [0,1]
    alpha: Tensor,  # [B,1,H,W] of the person, whose place in the background is not looked at
) -> Light:
    """Read the light that a person in a scene would show."""
    linear, person = _reduced(background, alpha)
    shown = _without_person(linear, 1 - person)
    grey = luma(shown)
    bright = (grey.mean((2, 3), keepdim=True) * (grey + _FLOOR).log().mean((2, 3), keepdim=True).exp()).sqrt()
    radiance = shown_light(shown, _darkness(bright))
    light = _irradiance(radiance, person)
    logs = light[:, 0] / light[:, 0].mean(1, keepdim=True).clamp_min(1e-4)
    mean = light[:, :1].clamp_min(1e-4)
    shape = _DIRECTION * light[:, 1:] / mean
    shape = shape * _certain(shape.square().sum((1, 2), keepdim=True) / 3, _FAINT_DIRECTION)
    tint = _COLOR * logs.clamp_min(1e-3).log()
    tint = tint - (tint @ torch.tensor(LUMA))[:, None]
    tint = tint * _certain(tint.square().sum(1, keepdim=True), _FAINT_TINT)
    return Light.of(_level(grey, bright).log() + tint, shape)


def _level(grey: Tensor, bright: Tensor) -> Tensor:
    """How bright a person would be [B,1]; a dark picture that shows nothing bright may be a backdrop, not a night."""
    peak = grey.flatten(1).quantile(0.95, dim=1, keepdim=True)
    night = _step(peak.log2(), *(math.log2(value) for value in _SOURCES))
    power, least = (low + night * (high - low) for low, high in (_LEVEL, _DARKEST))
    return ((bright.view(-1, 1) / _GREY) ** power).clamp_max(1.0).maximum(least)


def shown_light(linear: Tensor, dark: Tensor) -> Tensor:
    """Turn radiance [B,3,h,w] into the light that it is for people: colours that are paint or sky become white."""
    logs = torch.log2(linear + _FLOOR)
    warm = (logs[:, :1] - logs[:, 2:]) / 2
    magenta = (logs[:, :1] + logs[:, 2:]) / 2 - logs[:, 1:2]
    bright = luma(linear)
    peak = bright.flatten(2).quantile(0.9, dim=2)[..., None, None].clamp_min(1e-3)
    lit = 0.5 + 0.5 * _step(bright / peak, 0.2, 0.8)
    green = _step(-magenta, 0.1, 0.6) * (1 - dark)
    artificial = torch.maximum(dark, _step(magenta, 0.35, 0.9))
    warm = torch.where(warm > 0, warm * (1 - 0.9 * green), warm * (_BLUE_BY_DAY + (1 - _BLUE_BY_DAY) * artificial))
    magenta = torch.where(magenta > 0, magenta, magenta * (_GREEN_BY_DAY + (_GREEN_AT_NIGHT - _GREEN_BY_DAY) * dark))
    warm = _limit(lit * warm, _MOST_WARM / _COLOR)
    magenta = _limit(lit * magenta, _MOST_TINT / _COLOR)
    color = torch.exp2(torch.cat([magenta / 3 + warm, -2 * magenta / 3, magenta / 3 - warm], dim=1))
    source = 1 + _BEYOND * _step(linear.amax(1, keepdim=True) ** (1 / 2.2), _CLIPPED, 1.0)
    light: Tensor = color * (bright * source / luma(color))
    return light


def _irradiance(radiance: Tensor, person: Tensor) -> Tensor:
    """Gather the light [B,9,3] of a picture that surrounds a person.

    A direction beside or behind the person sees the picture where it points to. The half behind the camera is not
    seen: half of it mirrors the picture, half is the picture's mean.
    """
    directions = _sphere()
    places = torch.stack([directions[:, 0], -directions[:, 2]], dim=-1)[None, None]  # x, y in [-1,1]
    seen = F.grid_sample(
        smooth_each(radiance, 1.5), places.expand(len(radiance), -1, -1, -1), align_corners=False, padding_mode="border"
    )[:, :, 0]  # [B,3,N]
    mean = radiance.mean((2, 3))[:, :, None]
    behind_camera = (directions[:, 1] < 0).to(radiance)
    seen = torch.lerp(seen, mean, 0.5 * behind_camera)
    basis = sh_basis(directions) * torch.tensor(_ORDER_SHARES)  # [N,9]
    return torch.einsum("bcn,nk->bkc", seen, basis) * (4 * math.pi / len(directions)) * 0.28209479


@functools.cache
def _sphere() -> Tensor:
    """Directions [N,3] spread evenly over the sphere (a Fibonacci lattice)."""
    index = torch.arange(_DIRECTIONS) + 0.5
    up = 1 - 2 * index / _DIRECTIONS
    turn = math.pi * (1 + math.sqrt(5)) * index
    flat = (1 - up * up).sqrt()
    return torch.stack([flat * turn.cos(), flat * turn.sin(), up], dim=-1)


def _reduced(background: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Reduce a background, in linear light, and an alpha."""
    height, width = alpha.shape[2:]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    block = max(1, max(height, width) // (_FINER * SIDE))
    middle = F.avg_pool2d(background, block)  # a power for each pixel would take long
    return F.interpolate(srgb_to_linear(middle), size, mode="area"), F.interpolate(alpha, size, mode="area")


def _without_person(linear: Tensor, weight: Tensor) -> Tensor:
    """Fill the person's place from around it."""
    weight = weight * (weight > 0.5)
    for sigma in (2.0, 6.0, 18.0):
        around = smooth_each(linear * weight, sigma)
        share = smooth(weight, sigma)
        filled = around / share.clamp_min(1e-4)
        linear = torch.where(weight > 0, linear, filled)
        weight = torch.maximum(weight, (share > 0.05).to(weight))
    return linear


def smooth_each(image: Tensor, sigma: float) -> Tensor:
    """Blur each channel of [B,C,h,w]."""
    return smooth(image.flatten(0, 1)[:, None], sigma).view_as(image)


def _darkness(bright: Tensor) -> Tensor:
    """1 where a scene of a mean luminance is dark, 0 by day."""
    return 1 - _step(bright.log2(), math.log2(_DARK), math.log2(_DAY))


def _certain(square: Tensor, faint: float) -> Tensor:
    """How far to trust what has a size, given squared: half where it is as small as what means nothing."""
    return square / (square + faint**2)


def _step(value: Tensor, low: float, high: float) -> Tensor:
    """Go smoothly from 0 at `low` to 1 at `high`."""
    part = ((value - low) / (high - low)).clamp(0.0, 1.0)
    return part * part * (3 - 2 * part)


def _limit(value: Tensor, most: float) -> Tensor:
    return most * torch.tanh(value / most)
