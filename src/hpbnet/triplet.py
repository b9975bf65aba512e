"""A triplet, the unit of datasets: a composite whose foreground is wrong, its mask, and the truth."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .layers import Layers


class Triplet(NamedTuple):
    """Composite, mask and truth of the same pictures; composite and truth are equal where the mask is 0."""

    composite: Tensor  # [B,3,H,W] sRGB in [0,1]
    mask: Tensor  # [B,1,H,W] alpha of the foreground
    truth: Tensor  # [B,3,H,W]

    @property
    def layers(self) -> Layers:
        """The composite as layers: it is both foreground and background."""
        return Layers(self.composite, self.mask, self.composite)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Triplet":
        """Apply a function to all three pictures."""
        return Triplet(change(self.composite), change(self.mask), change(self.truth))

    def to_bytes(self) -> "Triplet":
        """Turn one triplet [1,C,H,W] into bytes [C,H,W]."""
        return self.map(lambda image: (image[0] * 255).round().clamp(0, 255).to(torch.uint8))

    def to_floats(self, device: torch.device) -> "Triplet":
        """Turn a batch of bytes [B,C,H,W] into values in [0,1] on a device."""
        return self.map(lambda image: image.to(device).float() / 255)
