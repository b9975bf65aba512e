"""Two lights and a surface -> the change of the person's colours, as one grid."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..affine_grid import AffineGrid
from ..color import LUMA, planckian_illuminant, srgb_to_linear
from ..layers import Layers, box_of
from ..options import ColorOptions, Lamp, parse_lamp
from ..relight import estimate_normals, shade
from .person import person_light
from .scene import scene_light, smooth_each
from .value import Light, LightReport, brightness, lamp_light

CELLS = 48  # of the grid along the longer side: a nose or a neck of a half-length portrait is two cells wide
_SEEN = 192  # [px] shorter side from which pictures are thinned before they are averaged
_GAMMA = 2.2
_KNEE = 0.8  # sRGB above which a brighter person approaches white smoothly
_DARKER, _LIGHTER, _TINT = 1.3, 0.7, 0.8  # natural logarithms approached, never reached, of the ratio of light
_LAMP_EXPOSURE = 0.8  # share of what a lamp adds to the person's brightness that a camera takes off again


@dataclass(frozen=True)
class LightingReport:
    """The lights of a scene and of its person, in numbers."""

    scene: LightReport  # as far as a photo of the scene shows it
    person: LightReport  # before the change


@dataclass(frozen=True)
class Lighting:
    """What was read of a scene and its person, and the change that follows."""

    scene: Light
    person: Light
    grid: AffineGrid  # diagonal, one luma cell

    def report(self) -> LightingReport:
        """Return both lights in numbers that people read."""
        return LightingReport(self.scene.report(), self.person.report())


@dataclass(frozen=True)
class Surface:
    """A person in the cells of a grid over the canvas."""

    normals: Tensor  # [B,3,h,w] unit
    foreground: Tensor  # [B,3,h,w] sRGB in [0,1], also filled where nobody is
    alpha: Tensor  # [B,1,h,w]
    peak: Tensor  # [B,3,h,w] bright colours around each cell, sRGB


@torch.no_grad()
def light_person(layers: Layers, options: ColorOptions) -> Lighting | None:
    """Light a person by the scene and by the user's lamp; None where neither is asked for.

    Args:
        layers: of any size.
        options: `light` and `lamp` of it.
    """
    if options.light == 0 and options.lamp is None:
        return None
    small = _thinned(layers)
    person = surface(small)
    scene, own = (
        scene_light(small.background, small.alpha),
        person_light(person.foreground, person.alpha, person.normals),
    )
    shared = shared_light(own, scene)
    goal = shared.lerp(scene, options.light)
    if options.lamp is not None:
        goal = _with_lamp(goal, parse_lamp(options.lamp))
    return Lighting(scene, own, shade_ratio(person, shared, goal))


def shared_light(own: Light, scene: Light) -> Light:
    """Return the part of a person's light that is the scene's, too: what of it need not be added again.

    What else a person's light has is left as it is: it may as well be paint, skin or hair.
    """
    parts = []
    for mine, theirs in ((brightness(own.logs), brightness(scene.logs)), (_tint(own.logs), _tint(scene.logs))):
        parts.append(_common(mine, theirs))
    grey = torch.tensor(LUMA)
    mine, theirs = own.shape @ grey, scene.shape @ grey  # [B,8]
    part = ((mine * theirs).sum(1) / theirs.square().sum(1).clamp_min(1e-6)).clamp(0.0, 1.0)
    return Light.of(parts[0] + parts[1], scene.shape * part[:, None, None])


def relight_ratio(normals: Tensor, own: Light, goal: Light) -> Tensor:
    """Ratio [B,3,h,w] of the shadings of a surface under two lights, in linear light."""
    return shade(normals, goal.coefficients) / shade(normals, own.coefficients)


def shade_ratio(person: Surface, own: Light, goal: Light) -> AffineGrid:
    """Make the grid that puts a person from one light into another.

    The ratio is limited, and a person made brighter approaches white smoothly: a cell's gain is that of the bright
    colours around it.
    """
    logs = relight_ratio(person.normals, own, goal).clamp_min(1e-3).log()
    bright = brightness(logs)
    limited = torch.where(bright < 0, _soft(bright, _DARKER), _soft(bright, _LIGHTER)) + _soft(logs - bright, _TINT)
    gains = (limited / _GAMMA).exp()
    gains = torch.minimum(gains, (_knee(person.peak * gains) / person.peak).clamp_min(1.0))
    matrix = torch.zeros(len(gains), 3, 4, 1, *gains.shape[2:])
    for channel in range(3):
        matrix[:, channel, channel, 0] = gains[:, channel]
    return AffineGrid(matrix)


def surface(layers: Layers) -> Surface:
    """Estimate a person's surface in the cells of a grid over the canvas; the person's box is looked at closely."""
    height, width = layers.size
    scale = CELLS / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    cells = layers.resize(*size)
    filled = _filled(cells.foreground * cells.alpha, cells.alpha)
    top, left, bottom, right = box_of(layers.alpha, 0.02)
    normals = torch.zeros(len(cells.alpha), 3, *size)
    normals[:, 1] = -1.0
    if bottom > top and right > left:
        part = slice(top, bottom), slice(left, right)
        inside = layers.alpha[:, :, *part]
        found = estimate_normals(_filled(layers.foreground[:, :, *part] * inside, inside), inside)
        normals = _placed(found, (top, left, bottom, right), (height, width), size)
    return Surface(normals, filled, cells.alpha, _peak(layers.foreground, filled))


def _placed(normals: Tensor, box: tuple[int, int, int, int], canvas: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Sample the normals of a box of the canvas in the cells of a grid over the canvas."""
    top, left, bottom, right = box
    rows = ((torch.arange(size[0]) + 0.5) / size[0] * canvas[0] - top) / (bottom - top) * 2 - 1
    columns = ((torch.arange(size[1]) + 0.5) / size[1] * canvas[1] - left) / (right - left) * 2 - 1
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([x, y], dim=-1)[None].expand(len(normals), -1, -1, -1)
    drawn = F.grid_sample(normals, places, padding_mode="border", align_corners=False)
    return F.normalize(drawn, dim=1)


def _with_lamp(goal: Light, lamp: Lamp) -> Light:
    """Add a lamp, and expose for a part of it."""
    both = goal.plus(lamp_light(lamp.azimuth, lamp.elevation, lamp_color(lamp.color), lamp.strength))
    gained = brightness(both.logs) - brightness(goal.logs)
    return Light.of(both.logs - _LAMP_EXPOSURE * gained, both.shape)


def lamp_color(text: str) -> tuple[float, float, float]:
    """Turn #rrggbb or a temperature such as 3200K into linear RGB; a temperature has luminance 1."""
    if text[-1] in "kK":
        red, green, blue = planckian_illuminant(torch.tensor([float(text[:-1])]))[0].tolist()
    else:
        values = torch.tensor([int(text[start : start + 2], 16) for start in (1, 3, 5)]) / 255
        red, green, blue = srgb_to_linear(values).tolist()
    return red, green, blue


def _filled(colors: Tensor, alpha: Tensor) -> Tensor:
    """Spread premultiplied colours [B,3,h,w] to where nobody is."""
    mean = colors.sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True).clamp_min(1e-4)
    faint = 0.02
    return (colors + faint * mean) / (alpha + faint)


def _peak(colors: Tensor, mean: Tensor) -> Tensor:
    """Bright colours [B,3,h,w] around each cell: three quarters of the way from its mean to its brightest pixel."""
    most = F.adaptive_max_pool2d(colors, (mean.shape[2], mean.shape[3]))
    return smooth_each(torch.lerp(mean, torch.maximum(most, mean), 0.75), 1.0).clamp_min(0.05)


def _knee(value: Tensor) -> Tensor:
    return torch.where(value > _KNEE, 1 - (1 - _KNEE) * torch.exp((_KNEE - value) / (1 - _KNEE)), value)


def _soft(value: Tensor, most: float) -> Tensor:
    return most * torch.tanh(value / most)


def _tint(logs: Tensor) -> Tensor:
    return logs - brightness(logs)


def _common(own: Tensor, goal: Tensor) -> Tensor:
    """As much of some logarithms as goes the way of others."""
    return torch.minimum(torch.maximum(own, goal.clamp_max(0.0)), goal.clamp_min(0.0))


def _thinned(layers: Layers) -> Layers:
    """Leave out pixels of large layers: what is read of them is smooth."""
    step = max(1, min(layers.size) // _SEEN)
    parts = layers.foreground, layers.alpha, layers.background
    return Layers(*(image[:, :, ::step, ::step].contiguous() for image in parts))
