"""The U-Net of HPBNet (section 3.2): composite and mask -> a harmonized image at every scale, coarse to fine.

Scale i takes the upsampled estimate of scale i-1 and predicts the residual. With `residual`, which is ours, the
residuals add up to a map of affine colour changes, and the estimate of scale i is the composite of that scale, so
changed: light scales what is there, and a network that paints pictures must first learn to copy them. Bottleneck and
decoder features are returned too: they feed the generator (`hpbnet.networks.hpbnet`). Convolutions scale their weights
when used, as StyleGAN2's do: there is no normalisation layer, and the published learning rate of 2e-3 suits weights of
unit variance.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .change import apply_change
from .stylegan2 import EqualConv, activate

COARSEST = 8  # resolution of the bottleneck [px]


@dataclass(frozen=True)
class UNetConfig:
    """Sizes; the paper states the scales (seven at 512 px) and not the widths."""

    resolution: int = 512  # a power of two, 8 or more [px]
    channels: int = 32  # of the finest scale; doubled at every coarser one ...
    max_channels: int = 512  # ... up to this many
    residual: bool = False  # change the composite's colours: an untrained network is the identity

    def __post_init__(self) -> None:
        if self.resolution < COARSEST or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}, expected a power of two, {COARSEST} or more")

    @property
    def resolutions(self) -> list[int]:
        """List the scales from 8 to the image's resolution [px]: seven at 512."""
        return [2**level for level in range(3, self.resolution.bit_length())]

    def width(self, resolution: int) -> int:
        """Give the number of channels at a resolution."""
        return min(self.channels * self.resolution // resolution, self.max_channels)


@dataclass(frozen=True)
class Scales:
    """What the U-Net returns; lists go from the coarsest scale to the finest."""

    bottleneck: Tensor  # [B,C,8,8] features of the deepest encoder scale
    features: list[Tensor]  # [B,C_i,R_i,R_i] of every decoder scale
    estimates: list[Tensor]  # [B,3,R_i,R_i] sRGB, about in [0,1]: the paper's I^i


class UNet(nn.Module):
    """Encoder and decoder with skip connections and an estimate of the image at every scale."""

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNetConfig()
        widths = [self.config.width(resolution) for resolution in self.config.resolutions]  # coarse to fine
        fine_to_coarse = widths[::-1]
        self.encoder = nn.ModuleList(
            EncoderScale(inputs, outputs) for inputs, outputs in zip([4, *fine_to_coarse], fine_to_coarse, strict=False)
        )
        self.decoder = nn.ModuleList(
            DecoderScale(below, width, 12 if self.config.residual else 3)
            for below, width in zip([0, *widths], widths, strict=False)
        )

    def forward(
        self,
        composite: Tensor,  # [B,3,R,R] sRGB in [0,1]
        mask: Tensor,  # [B,1,R,R] in [0,1], 1 on the foreground
    ) -> Scales:
        """Estimate the harmonized image at every scale; the first estimate starts from the composite itself, shrunk."""
        size = self.config.resolution
        assert composite.shape[2:] == mask.shape[2:] == (size, size), f"expected {size} px, got {composite.shape}"
        x = torch.cat([composite, mask], dim=1) * 2 - 1
        skips = []
        for index, scale in enumerate(self.encoder):
            x = scale(x if index == 0 else F.avg_pool2d(x, 2))
            skips.append(x)
        estimate = F.interpolate(composite, size=(COARSEST, COARSEST), mode="area")
        change = composite.new_zeros(len(composite), 12, COARSEST, COARSEST)
        features, estimates = [], []
        below: Tensor | None = None
        for scale, skip in zip(self.decoder, reversed(skips), strict=True):
            if not self.config.residual:
                estimate = _resized(estimate, skip)
                below, more = scale(below, skip, estimate)
                estimate = estimate + more
            else:
                own = F.interpolate(composite, size=skip.shape[2:], mode="area")
                change = _resized(change, skip)
                estimate = own + apply_change(change, own)
                below, more = scale(below, skip, estimate)
                change, estimate = change + more, estimate + apply_change(more, own)
            features.append(below)
            estimates.append(estimate)
        return Scales(bottleneck=skips[-1], features=features, estimates=estimates)


class EncoderScale(nn.Module):
    """Three convolutions at one resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = _convolutions(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,R,R] -> [B,C',R,R]."""
        for convolution in self.convolutions:
            x = activate(convolution(x))
        return x


class DecoderScale(nn.Module):
    """Three convolutions over the coarser features, the skip and the estimate so far; then the residual."""

    def __init__(self, below: int, width: int, outputs: int = 3) -> None:
        super().__init__()
        self.convolutions = _convolutions(below + width + 3, width)
        self.residual = EqualConv(width, outputs, 3)
        nn.init.zeros_(self.residual.weight)  # a new network changes nothing

    def forward(
        self,
        below: Tensor | None,  # [B,C,R/2,R/2] features of the coarser scale; None at the coarsest
        skip: Tensor,  # [B,C',R,R] features of the encoder
        estimate: Tensor,  # [B,3,R,R] of the coarser scale, brought to this one's size
    ) -> tuple[Tensor, Tensor]:
        """Return features [B,C',R,R] and the residual [B,3,R,R], or [B,12,R,R] of a map of changes."""
        seen = (estimate * 2 - 1).to(skip, memory_format=torch.channels_last)  # else all would become float32 again
        x = torch.cat([skip, seen] if below is None else [F.interpolate(below, scale_factor=2.0), skip, seen], dim=1)
        for convolution in self.convolutions:
            x = activate(convolution(x))
        return x, self.residual(x)


def _convolutions(inputs: int, outputs: int) -> nn.ModuleList:
    return nn.ModuleList(EqualConv(inputs if first else outputs, outputs, 3) for first in (True, False, False))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """Bring a coarser scale to this one's size."""
    if x.shape[-1] == like.shape[-1]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
