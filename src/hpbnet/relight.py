"""Light as spherical harmonics of order 2, and the two relighters that use it.

A light is [B,9] (grey) or [B,9,3] (coloured) in the convention of [ZHSJ19]: coefficients of the orthonormal real basis
1, Y, Z, X, YX, YZ, 3Z2-1, XZ, X2-Y2, axes X right, Z up, Y away from the camera, so a frontal light has negative Y.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from .color import lab_to_rgb, rgb_to_lab
from .networks.dpr import Dpr, from_published

Relighter = Callable[[Tensor, Tensor, Tensor], Tensor]  # image [B,3,H,W], alpha [B,1,H,W], light [B,9] -> image

_BASIS = tuple(math.sqrt(k / math.pi) / 2 for k in (1, 3, 15, 1.25, 3.75))  # 1; x; xy; 3z2-1; x2-y2
_COSINE_LOBE = (math.pi, 2 * math.pi / 3, math.pi / 4)  # clamped cosine by order [RH01]


def sh_basis(direction: Tensor) -> Tensor:
    """Evaluate the basis at unit vectors [...,3] -> [...,9]."""
    x, y, z = direction.unbind(-1)
    one, linear, mixed, polar, planar = _BASIS
    return torch.stack(
        [
            torch.full_like(x, one),
            linear * y,
            linear * z,
            linear * x,
            mixed * y * x,
            mixed * y * z,
            polar * (3 * z * z - 1),
            mixed * x * z,
            planar * (x * x - y * y),
        ],
        dim=-1,
    )


def sphere_light(
    direction: Tensor,  # [B,3] unit vectors towards the light
    ambient: Tensor,  # [B] share of the light that comes from everywhere, 0..1
    intensity: Tensor,  # [B] 1: as bright as the lights DPR comes with
) -> Tensor:
    """Return the light [B,9] of a soft lamp and an even sky, as the image of a lit sphere would show it."""
    orders = torch.tensor([_COSINE_LOBE[0], *[_COSINE_LOBE[1]] * 3, *[_COSINE_LOBE[2]] * 5])
    lamp = sh_basis(direction) * orders.to(direction)
    sky = torch.zeros_like(lamp)
    sky[:, 0] = lamp[:, 0]
    share = ambient[:, None]
    light: Tensor = intensity[:, None] * (share * sky + (1 - share) * lamp)
    return light


def frontal_direction(generator: torch.Generator) -> Tensor:
    """Draw a direction [3], uniform on the hemisphere before the portrait (Y < 0)."""
    direction = torch.randn(3, generator=generator)
    direction = direction / direction.norm().clamp_min(1e-6)
    return direction * torch.tensor([1.0, -1.0 if direction[1] > 0 else 1.0, 1.0])


def load_dpr(path: Path | str) -> Dpr:
    """Load the authors' file of tensors (`dpr_512.t7`), without unpickling code."""
    return from_published(cast(dict[str, Tensor], torch.load(path, map_location="cpu", weights_only=True)))


def dpr_relighter(network: Dpr) -> Relighter:
    """Return a relighter that changes the lightness of a picture by the network of [ZHSJ19]."""

    def relight(image: Tensor, alpha: Tensor, light: Tensor) -> Tensor:
        lab = rgb_to_lab(image)
        with torch.inference_mode():
            lightness, _ = network(lab[:, :1] / 100, light)
        return lab_to_rgb(torch.cat([lightness * 100, lab[:, 1:]], dim=1)).clamp(0.0, 1.0)

    return relight
