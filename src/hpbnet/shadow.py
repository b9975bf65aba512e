"""The shadow of a person on the ground: a soft dark patch at the feet, and a cast shadow away from the light.

The ground is a plane through the lowest points of the matte, seen at a usual camera's slant. The matte is cut into
bands by height above the ground. Each band is laid onto the ground along the light (a shear and a flattening, one
affine map) and blurred; the higher it was, the more. All of this happens on a small copy. Walls, stairs and seats are
not known, so a cast shadow is short and fades with height. There is none where the lower edge of the person is cut.
"""

from dataclasses import dataclass, replace
from math import ceil, cos, hypot, radians, sin
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .affine_grid import Window
from .layers import Layers
from .options import ComposeOptions, parse_lamp

Floats = NDArray[np.float32]
Vector = tuple[float, float, float]

_SIDE = 256  # [px] longer side of the copy that the shadow is made on
_GAMMA = 2.2  # a factor in linear light is about its 1 / 2.2th power in sRGB
_SLANT = 0.25  # rows on the canvas per unit of depth on the ground: a camera at eye height, four heights away
_LEAST_SLOPE = 0.1  # of a band laid on the ground, rows per row: a body has depth, too
_LONGEST = 1.2  # length of a cast shadow, in heights of its owner: longer ones meet walls that are not known
_TILT, _TILT_RIDGE = 0.2, 0.1  # steepest ground line through two feet; pull to a level one, in heights
_CONTACT_REACH = 0.06  # of the height: lowest points within it touch the ground
_BANDS = (0.0, 0.08, 0.25, 0.55, 1.0)  # heights at which the blur and the darkness below hold, in heights of the person
_CONTACT_DEPTH, _CONTACT_BLUR = (6.0, 3.5, 1.0, 0.0, 0.0), (0.014, 0.032, 0.07, 0.1, 0.1)
_CAST_DEPTH, _CAST_BLUR = (2.6, 2.6, 2.0, 1.2, 0.4), (0.006, 0.012, 0.025, 0.05, 0.09)
_LEAST_CAST = 0.25  # of the darkness of a cast shadow under a lamp alone: what remains under an even sky
_SOFTER = 1.5  # how much wider a cast shadow's blur is under a light without a direction
_LEAST_AREA = 0.1  # of the largest part of the matte: smaller ones are bags, or specks
_MOST_PARTS = 6
_LEAST_HEIGHT = 4  # [px] of a person on the small copy
_CUT_ALPHA, _CUT_WIDTH = 0.5, 0.1  # share of the person's width that a frame cuts, from which there is no shadow at all
_FAINTEST = 1 / 512  # darkness below this is none
_LAMP_SHARE = 0.8  # of all light in a scene with a lamp
_LOWEST = 0.15  # height of a unit vector towards the light, below which the cast shadow fades; at 0 there is none
_CUT_OFF = "The lower edge of the person is cut, so there is no shadow on the ground."
_LAMP_RATIO = 2 / 3**0.5  # length of order 1 over order 0 of the light of a single lamp, in relight.py's basis


@dataclass(frozen=True)
class KeyLight:
    """The light that casts the shadow."""

    direction: Vector = (0.0, -0.342, 0.94)  # unit vector towards it: X right, Y away from the camera, Z up
    share: float = 0.25  # of all light, 0 (from everywhere) to 1 (one lamp)


OVERHEAD = KeyLight()  # soft, from above and a little before the person


def lamp_key(azimuth: float, elevation: float) -> KeyLight:
    """Return the key light of a lamp at an azimuth (0 from the camera, positive to the right) and elevation [deg]."""
    across, up = radians(azimuth), radians(elevation)
    return KeyLight((cos(up) * sin(across), -cos(up) * cos(across), sin(up)), _LAMP_SHARE)


def key_light(light: Tensor) -> KeyLight:
    """Return the direction and share of the main light in a light [1,9,C] of relight.py's convention.

    The soft light from above is added to it: a photo of a scene shows little of the sky and of the ceiling.
    """
    level, y, z, x = light[0, :4].mean(dim=-1).tolist()
    shares = [part / max(level, 1e-6) / _LAMP_RATIO for part in (x, y, z)]
    vector = [own + OVERHEAD.share * above for own, above in zip(shares, OVERHEAD.direction, strict=True)]
    length = max(hypot(*vector), 1e-6)
    return KeyLight((vector[0] / length, vector[1] / length, vector[2] / length), min(1.0, length))


def main_light(scene: Tensor | None, lamp: str | None) -> KeyLight:
    """Choose what casts the shadow: the user's lamp, else the scene's light [1,9,C], else a soft light from above."""
    if lamp is not None:
        given = parse_lamp(lamp)
        return lamp_key(given.azimuth, given.elevation)
    return OVERHEAD if scene is None else key_light(scene)


def add_shadow(
    layers: Layers,
    free: float,  # of `free_below` of the portrait, whose own frame may cut the person
    scene: Tensor | None,  # [1,9,C] the scene's light, if it was read
    options: ComposeOptions,
) -> tuple[Layers, tuple[str, ...]]:
    """Add the shadow that options ask for -> the layers, and a notice where there can be none."""
    if options.shadow == 0:
        return layers, ()
    layers = with_shadow(layers, options.shadow * free, main_light(scene, options.lamp))
    return layers, (_CUT_OFF,) if layers.shadow is None else ()


def with_shadow(layers: Layers, amount: float, light: KeyLight = OVERHEAD) -> Layers:
    """Return layers [1,C,H,W] with the person's shadow on the ground; unchanged where the feet are not in sight.

    Args:
        layers: of a person placed on a background.
        amount: 0 (none) to 1; times `free_below` of the portrait, whose own frame may cut the person.
        light: what casts the shadow.
    """
    amount *= free_below(layers.alpha)
    if amount <= 0:
        return layers
    step = max(1, max(layers.size) // (2 * _SIDE))  # leaving out pixels is faster than averaging all of them
    alpha = layers.alpha[0, 0, step // 2 :: step, step // 2 :: step].contiguous().numpy()
    darkness = ground_shadow(
        cast(Floats, cv2.resize(alpha, small_size(*layers.size), interpolation=cv2.INTER_AREA)), amount, light
    )
    return layers if darkness is None else replace(layers, shadow=torch.from_numpy(darkness)[None, None])


def small_size(height: int, width: int) -> tuple[int, int]:
    """Return width and height [px] of the copy of a canvas that its shadow is made on."""
    scale = min(1.0, _SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def free_below(alpha: Tensor) -> float:
    """Tell whether a frame leaves the lower edge of the person in it [1,1,H,W] free: 1, or down to 0 where it cuts.

    Between the two where little is cut, so that a shadow in a video comes and goes softly.
    """
    cut = int((alpha[0, 0, -1] > _CUT_ALPHA).sum())
    if cut == 0:
        return 1.0
    wide = int((alpha[0, 0].amax(dim=0) > _CUT_ALPHA).sum())
    return max(0.0, 1.0 - cut / (_CUT_WIDTH * wide))


def ground_shadow(
    alpha: Floats,  # [h,w] small, on the canvas
    amount: float,  # 0 to 1
    light: KeyLight = OVERHEAD,
) -> Floats | None:
    """Return how much darker the ground is, as the opacity [h,w] of a black layer in sRGB; None where there is none."""
    if amount <= 0:
        return None
    depth = np.zeros_like(alpha)  # optical: the light that is lost is 1 - exp(-depth)
    for part in _parts(alpha):
        figure = _figure(part)
        if figure is not None:
            _add_shadow(depth, figure, light)
    darkness: Floats = 1 - (1 - np.float32(amount) * (1 - np.exp(-depth))) ** np.float32(1 / _GAMMA)
    darkness[darkness < _FAINTEST] = 0
    return darkness if darkness.any() else None


def _parts(alpha: Floats) -> list[Floats]:
    """Return the mattes of the people who stand apart from each other, the largest first."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.5).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    order = [int(index) for index in np.argsort(-areas[1:]) + 1]
    kept = [index for index in order if areas[index] >= _LEAST_AREA * areas[order[0]]][:_MOST_PARTS]
    if len(order) <= 1:
        return [alpha]
    grown = np.ones((3, 3), np.uint8)  # soft edges belong to the part that they surround
    return [alpha * cv2.dilate((labels == index).astype(np.uint8), grown) for index in kept]


@dataclass(frozen=True)
class _Figure:
    """One person, cropped, on the line of its ground: row = level + tilt * column [px of the crop]."""

    alpha: Floats  # [k,l]
    corner: tuple[int, int]  # row and column of the crop on the canvas
    level: float
    tilt: float
    height: float  # [px]
    band: Floats  # [k,l] number of the band of `_BANDS` at that height above the ground, fractions between two


def _figure(alpha: Floats) -> _Figure | None:
    """Crop a matte [h,w] and fit a line to its lowest points, to parts of a pixel: it moves smoothly in a video."""
    x, y, wide, tall = cv2.boundingRect((alpha > 0.5).astype(np.uint8))
    if tall < _LEAST_HEIGHT:
        return None
    top, left = max(0, y - 2), max(0, x - 2)
    alpha = alpha[top : y + tall + 2, left : x + wide + 2]
    rows, columns = alpha.shape
    inside = alpha > 0.5
    across = np.flatnonzero(inside.any(axis=0))
    down = rows - 1 - inside[::-1, across].argmax(axis=0)
    own, next = alpha[down, across], np.where(down + 1 < rows, alpha[np.minimum(down + 1, rows - 1), across], 0)
    lowest = down + (own - 0.5) / np.maximum(own - next, 1e-3)
    weight = np.exp(-(((lowest.max() - lowest) / (_CONTACT_REACH * tall)) ** 2))
    middle, level = np.average(across, weights=weight), np.average(lowest, weights=weight)
    spread = np.average((across - middle) ** 2, weights=weight) + (_TILT_RIDGE * tall) ** 2
    tilt = float(np.clip(np.average((across - middle) * (lowest - level), weights=weight) / spread, -_TILT, _TILT))
    level = float(level - tilt * middle)
    height = float(lowest.max() - (y - top))
    line = level + tilt * np.arange(columns) - np.arange(rows)[:, None]
    band = np.interp(line / height, _BANDS, range(len(_BANDS))).astype(np.float32)
    return _Figure(alpha, (top, left), level, tilt, height, band)


def _add_shadow(total: Floats, figure: _Figure, light: KeyLight) -> None:
    """Add the optical depth of one person's shadow: at the feet, and where the cast shadow falls."""
    x, y, z = light.direction
    length = min(hypot(x, y) / max(z, 1e-3), _LONGEST) / max(hypot(x, y), 1e-6)
    along = -x * length, y * length * _SLANT  # a light from behind (positive Y) throws it towards the camera: down
    share = min(1.0, _LEAST_CAST + light.share) * min(1.0, max(0.0, z / _LOWEST))
    softness = 1 + _SOFTER * (1 - light.share)
    for index, depth in enumerate(_CONTACT_DEPTH):
        _lay(total, figure, index, (0.0, 0.0), depth, _CONTACT_BLUR[index])
    for index, depth in enumerate(_CAST_DEPTH):
        _lay(total, figure, index, along, share * depth, softness * _CAST_BLUR[index])


def _lay(
    total: Floats,  # [h,w] to be added to
    figure: _Figure,
    index: int,  # of the band
    along: tuple[float, float],  # columns and rows on the canvas per row of height
    depth: float,
    blur: float,  # deviation across, in heights of the person; half of it down
) -> None:
    """Lay one band of a matte on the ground, and blur it there."""
    across, down = along
    slope = down - figure.tilt * across
    slope = max(abs(slope), _LEAST_SLOPE) * (1 if slope > 0 else -1)
    sigma = max(0.3, blur * figure.height), max(0.3, blur * figure.height / 2)
    top, left, bottom, right = _landing(figure, index, across, slope, sigma, total.shape)
    if left >= right or top >= bottom or depth == 0:
        return
    finer = ceil(1 / abs(slope))  # rows are flattened by averaging, not by leaving out
    back = _way_back(figure, across, slope)
    back[:, 2] += back[:, :2] @ (left, top + 0.5 / finer - 0.5)
    back[:, 1] /= finer
    band = figure.alpha * np.maximum(1 - np.abs(figure.band - index), 0) * np.float32(depth)
    size, flags = (right - left, bottom - top), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(band, back, (size[0], size[1] * finer), flags=flags)
    few = [ceil(side / max(1, int(deviation / 3))) for side, deviation in zip(size, sigma, strict=True)]
    laid = cv2.resize(laid, few, interpolation=cv2.INTER_AREA)  # a wide blur needs few pixels
    spread = [deviation * count / side for deviation, count, side in zip(sigma, few, size, strict=True)]
    laid = cv2.GaussianBlur(laid, (0, 0), spread[0], sigmaY=spread[1], borderType=cv2.BORDER_REPLICATE)
    row, column = figure.corner
    here = slice(top + row, bottom + row), slice(left + column, right + column)
    total[here] += cv2.resize(laid, size, interpolation=cv2.INTER_LINEAR)


def _landing(
    figure: _Figure, index: int, across: float, slope: float, sigma: tuple[float, float], canvas: tuple[int, ...]
) -> Window:
    """Find where a band's shadow lands, cut to the canvas [px of the figure's crop].

    The shadow of a point at column x and height h falls on column x + across h, slope h rows below the line there.
    """
    ends = np.array([_BANDS[max(index - 1, 0)], _BANDS[min(index + 1, len(_BANDS) - 1)]]) * figure.height
    columns = np.add.outer([0, figure.alpha.shape[1] - 1], across * ends)
    rows = figure.level + figure.tilt * columns + slope * ends
    first_row, first_column = figure.corner
    top = max(-first_row, int(rows.min() - 3 * sigma[1]) - 1)
    left = max(-first_column, int(columns.min() - 3 * sigma[0]) - 1)
    bottom = min(canvas[0] - first_row, int(rows.max() + 3 * sigma[1]) + 2)
    right = min(canvas[1] - first_column, int(columns.max() + 3 * sigma[0]) + 2)
    return top, left, bottom, right


def _way_back(figure: _Figure, across: float, slope: float) -> NDArray[np.float64]:
    """Return the 2x3 map from a place on the ground to the point of the matte whose shadow falls there."""
    height = np.array([-figure.tilt, 1.0, -figure.level]) / slope
    column = np.array([1.0, 0.0, 0.0]) - across * height
    return np.stack([column, figure.tilt * column + np.array([0.0, 0.0, figure.level]) - height])
