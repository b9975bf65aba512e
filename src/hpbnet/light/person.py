"""The light that a portrait has by now, read from the person alone.

Colour: skin and weakly coloured pixels, against what they show under white light. Level: the brightest tenth.
Direction: the slope of log luminance over the normals. All are shrunk towards a plain light, for people differ.
"""

import torch
from torch import Tensor

from ..color import LUMA, luma, srgb_to_linear
from ..relight import tone_slope
from .value import Light

_FLOOR = 0.004  # added to linear values, so that dark pixels have no strong colour
_GREY, _GREY_SPREAD = (0.0, 0.0), (0.35, 0.2)  # [log2] warmth and magenta of weakly coloured things in white light
_SKIN, _SKIN_SPREAD = (0.8, 0.1), (0.35, 0.2)  # of skin, dark and light
_PRIOR = 0.1  # share of a person's pixels at which half of their tint is trusted
_BRIGHT, _LEVEL = 0.45, 0.5  # luminance of the brightest tenth of a person as usual; power
_LEVELS = (0.4, 1.3)
_SLOPE_TRUST = 0.7
_LINEAR = 3**0.5  # of order 1 over order 0 in the basis


@torch.no_grad()
def person_light(
    foreground: Tensor,  # [B,3,h,w] sRGB in [0,1], small
    alpha: Tensor,  # [B,1,h,w]
    normals: Tensor,  # [B,3,h,w] unit
) -> Light:
    """Read the light that a person has."""
    linear = srgb_to_linear(foreground)
    warm, magenta = person_tint(linear, alpha).unbind(1)
    tint = torch.stack([magenta / 3 + warm, -2 * magenta / 3, magenta / 3 - warm], dim=1) * torch.tensor(2.0).log()
    tint = tint - (tint @ torch.tensor(LUMA))[:, None]
    bright = torch.stack(
        [
            light[inside > 0.9].quantile(0.9) if (inside > 0.9).any() else light.new_tensor(_BRIGHT)
            for light, inside in zip(luma(linear), alpha, strict=True)
        ]
    )
    level = ((bright / _BRIGHT).clamp_min(0.01) ** _LEVEL).clamp(*_LEVELS)
    slope = _SLOPE_TRUST * tone_slope(normals, foreground, alpha)[:, :, 0] / _LINEAR  # [B,3] along X, Y, Z
    shape = torch.zeros(len(foreground), 8, 3)
    shape[:, :3] = slope[:, [1, 2, 0], None]  # the basis begins Y, Z, X
    return Light.of(level.log()[:, None] + tint, shape)


def person_tint(linear: Tensor, alpha: Tensor) -> Tensor:
    """Warmth and magenta [B,2] in log2 of the light on a person, by skin and weakly coloured pixels."""
    red, green, blue = torch.log2(linear + _FLOOR).split(1, dim=1)
    tints = torch.cat([(red - blue) / 2, (red + blue) / 2 - green], dim=1)  # [B,2,h,w]
    total, share = torch.zeros(len(linear), 2), torch.zeros(len(linear), 1)
    for centre, spread in ((_GREY, _GREY_SPREAD), (_SKIN, _SKIN_SPREAD)):
        away = tints - torch.tensor(centre).view(1, 2, 1, 1)
        near = (-0.5 * (away / torch.tensor(spread).view(1, 2, 1, 1)).square().sum(1, keepdim=True)).exp()
        weight = near * alpha * (luma(linear) > 0.02)
        total = total + (away * weight).sum((2, 3))
        share = share + weight.sum((2, 3))
    return total / (share + _PRIOR * alpha.sum((2, 3)) + 1e-6)
