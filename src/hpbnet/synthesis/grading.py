"""A grade: the point operations of a photographer, a camera or a light's colour, drawn and applied as one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..color import planckian_illuminant
from ..disturb import (
    adjust_exposure,
    adjust_illuminant,
    adjust_saturation,
    adjust_tone_curve,
    adjust_white_balance,
)
from .draws import Range, Triple, three, uniform, whole
from .recipe import GradeRanges

_DAYLIGHT_MIRED = 154.0  # 6500 K


@dataclass(frozen=True)
class Grade:
    """What was drawn; None where a part is left out."""

    gains: Triple | None = None
    illuminant: Triple | None = None  # linear RGB of a light in place of daylight
    stops: float | None = None
    curve: tuple[float, float, float, float] | None = None
    saturation: float | None = None


def draw_grade(
    ranges: GradeRanges,
    generator: torch.Generator,
    illuminants: Tensor | None = None,  # [N,3] measured lights, as factors of a neutral one; None: black bodies
) -> Grade:
    """Draw a grade of at least one part."""
    happens = (torch.rand(5, generator=generator) < ranges.probability).tolist()
    return Grade(
        gains=three(ranges.gains, generator) if happens[0] else None,
        illuminant=draw_illuminant(ranges.mired, generator, illuminants) if happens[1] else None,
        stops=uniform(ranges.stops, generator) if happens[2] or not any(happens) else None,
        saturation=uniform(ranges.saturation, generator) if happens[4] else None,
        curve=_draw_curve(ranges, generator) if happens[3] else None,
    )


def apply_grade(image: Tensor, grade: Grade) -> Tensor:
    """Apply a grade to [B,3,H,W], all pictures alike."""
    batch = len(image)
    if grade.illuminant:
        image = adjust_illuminant(image, torch.ones(1, 3), torch.tensor([grade.illuminant]))
    if grade.gains:
        image = adjust_white_balance(image, torch.tensor([grade.gains]))
    if grade.stops is not None:
        image = adjust_exposure(image, torch.tensor([grade.stops]))
    if grade.curve:
        image = adjust_tone_curve(image, torch.tensor([grade.curve]).expand(batch, -1))
    if grade.saturation is not None:
        image = adjust_saturation(image, torch.tensor([grade.saturation]))
    return image


def draw_illuminant(mired: Range, generator: torch.Generator, illuminants: Tensor | None = None) -> Triple:
    """Draw the colour of a light, linear RGB where daylight is 1, 1, 1."""
    if illuminants is None:
        temperatures = 1e6 / torch.tensor([uniform(mired, generator), _DAYLIGHT_MIRED])
        light, daylight = planckian_illuminant(temperatures)
        red, green, blue = (light / daylight).tolist()
    else:
        red, green, blue = illuminants[whole(len(illuminants), generator)].tolist()
    return red, green, blue


def _draw_curve(ranges: GradeRanges, generator: torch.Generator) -> tuple[float, float, float, float]:
    return (
        uniform(ranges.gamma, generator),
        uniform(ranges.contrast, generator),
        uniform(ranges.black, generator),
        uniform(ranges.white, generator),
    )
