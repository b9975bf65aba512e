"""What travels through hpbnet: a foreground, its alpha and a background, flattened only at the end.

Knows how layers are resized, recoloured and composited, and how a cut-out is placed on a canvas. Knows nothing of how
an alpha or a colour judgement comes about.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .affine_grid import AffineGrid


@dataclass(frozen=True)
class Layers:
    """A foreground over a background."""

    foreground: Tensor  # [B,3,H,W] sRGB in [0,1]
    alpha: Tensor  # [B,1,H,W] straight, in [0,1]
    background: Tensor  # [B,3,H,W] sRGB in [0,1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.alpha.shape[-2:]
        return height, width

    def resize(self, height: int, width: int) -> "Layers":
        """Resize all three by area averaging; the foreground is averaged premultiplied by alpha."""
        if (height, width) == self.size:
            return self
        alpha = F.interpolate(self.alpha, (height, width), mode="area")
        premultiplied = F.interpolate(self.foreground * self.alpha, (height, width), mode="area")
        plain = F.interpolate(self.foreground, (height, width), mode="area")
        foreground = torch.where(alpha > 1e-4, premultiplied / alpha.clamp_min(1e-4), plain).clamp(0, 1)
        return Layers(foreground, alpha, F.interpolate(self.background, (height, width), mode="area"))

    def recolor(self, grid: AffineGrid, strength: float = 1.0) -> "Layers":
        """Recolour the foreground by a grid, blended with identity unless strength is 1."""
        return replace(self, foreground=grid.shrink(strength).apply(self.foreground))

    def composite(self) -> Tensor:
        """Flatten to one image [B,3,H,W]: bit-equal to the background where alpha is 0, to the foreground where 1."""
        return torch.lerp(self.background, self.foreground, self.alpha)
