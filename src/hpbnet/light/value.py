"""A light as a value: how bright, of what colour and from where, by the normal of what it falls on."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..color import LUMA, rgb_to_xyz
from ..relight import sh_basis, sphere_light

_EVEN = 2 * math.sqrt(math.pi)  # coefficient of order 0 of a light of 1 on every normal
_LEAST = 1e-3  # keeps logarithms finite
_MCCAMY = (449.0, 3525.0, 6823.3, 5520.33)  # correlated colour temperature from chromaticity [McCamy 1992]


@dataclass(frozen=True)
class LightReport:
    """A light in numbers that people read."""

    azimuth: float  # [deg] of where most of it comes from: 0 the camera, positive to the picture's right
    elevation: float  # [deg] upwards
    contrast: float  # of the side towards it over the mean, 0 where it comes from everywhere
    kelvin: int  # [K] correlated colour temperature, 1000 to 25000
    tint: float  # log2 of green over what lies between red and blue: negative magenta, positive green
    level: float  # 1: as a portrait is usually exposed


@dataclass(frozen=True)
class Light:
    """The light that falls on a surface, by its normal, in linear RGB: spherical harmonics of order 2.

    Axes and basis are those of `relight.py`. Where all of it is 1, a portrait is exposed as usual.
    """

    coefficients: Tensor  # [B,9,3]

    @staticmethod
    def even(batch: int = 1) -> "Light":
        """Return the plain light: white, of level 1, from everywhere."""
        return Light.of(torch.zeros(batch, 3), torch.zeros(batch, 8, 3))

    @staticmethod
    def of(
        logs: Tensor,  # [B,3] natural logarithms of the mean over all normals
        shape: Tensor,  # [B,8,3] coefficients of orders 1 and 2 over that of order 0
    ) -> "Light":
        """Make a light of its mean and of its direction."""
        mean = _EVEN * logs.exp()[:, None]
        return Light(torch.cat([mean, mean * shape], dim=1))

    @property
    def logs(self) -> Tensor:
        """Natural logarithms [B,3] of the mean over all normals."""
        return (self.coefficients[:, 0] / _EVEN).clamp_min(_LEAST).log()

    @property
    def shape(self) -> Tensor:
        """Coefficients [B,8,3] of orders 1 and 2 over that of order 0."""
        return self.coefficients[:, 1:] / self.coefficients[:, :1].clamp_min(_LEAST)

    def lerp(self, other: "Light", weight: float) -> "Light":
        """Blend towards another light: level and colour in logarithms, direction linearly."""
        return Light.of(torch.lerp(self.logs, other.logs, weight), torch.lerp(self.shape, other.shape, weight))

    def plus(self, other: "Light") -> "Light":
        """Add another light."""
        return Light(self.coefficients + other.coefficients)

    def report(self) -> LightReport:
        """Return the numbers of the first light of the batch."""
        logs, shape = self.logs[0], self.shape[0] @ torch.tensor(LUMA)
        away, up, right = (-shape[0].item(), shape[1].item(), shape[2].item())
        slope = math.sqrt(3) * math.hypot(away, up, right)
        red, green, blue = (logs / math.log(2)).tolist()
        return LightReport(
            azimuth=round(math.degrees(math.atan2(right, away)), 1),
            elevation=round(math.degrees(math.atan2(up, math.hypot(right, away))), 1),
            contrast=round(slope, 3),
            kelvin=_kelvin(logs.exp()),
            tint=round(green - (red + blue) / 2, 3),
            level=round(float(logs.exp() @ torch.tensor(LUMA)), 3),
        )


def lamp_light(azimuth: float, elevation: float, color: tuple[float, float, float], strength: float) -> Light:
    """Return the light of a small lamp: 1 on what faces it, at strength 1.

    Args:
        azimuth: 0 from the camera, positive to the picture's right [deg].
        elevation: upwards [deg].
        color: linear RGB.
        strength: 0 or more.
    """
    turn, rise = math.radians(azimuth), math.radians(elevation)
    towards = [math.sin(turn) * math.cos(rise), -math.cos(turn) * math.cos(rise), math.sin(rise)]
    grey = sphere_light(torch.tensor([towards]), torch.zeros(1), torch.ones(1))
    facing = float(sh_basis(torch.tensor(towards)) @ grey[0])
    return Light(strength / facing * grey[:, :, None] * torch.tensor(color))


def brightness(logs: Tensor) -> Tensor:
    """Split logarithms [B,3,...] of R, G, B: their part that is brightness [B,1,...]; the rest is tint."""
    return torch.einsum("bc...,c->b...", logs, torch.tensor(LUMA))[:, None]


def _kelvin(rgb: Tensor) -> int:
    x, y, z = rgb_to_xyz(rgb.view(1, 3, 1, 1)).flatten().tolist()
    total = max(x + y + z, _LEAST)
    n = (x / total - 0.3320) / min(0.1858 - y / total, -_LEAST)
    kelvin = _MCCAMY[0] * n**3 + _MCCAMY[1] * n**2 + _MCCAMY[2] * n + _MCCAMY[3]
    return round(min(max(kelvin, 1000.0), 25000.0), -1) if math.isfinite(kelvin) else 25000


def unit(vector: Tensor) -> Tensor:
    """Scale vectors [...,3] to length 1."""
    return F.normalize(vector, dim=-1)
