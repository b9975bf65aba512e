"""ADFM: attention-based deep feature modulation [Hao, Iizuka, Fukui, BMVC 2020].

An encoder and decoder with skip connections; at their middle, the foreground's features are given the deviations of
background features that attention chose for them. The input is the composite less 0.4462414, and the mask. There is no
pretrained part: all is trained from nothing, as published. The modulation is silent at the start: its two gains are 0.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .baseline import Baseline, Config

MEAN = 0.4462414  # subtracted from the composite
EPSILON = 1e-5  # of variances


@dataclass(frozen=True)
class ADFMConfig(Config):
    """Sizes; the defaults are the published ones."""

    channels: int = 64  # of the first convolution, a multiple of 4


class ADFM(Baseline):
    """Composite and mask -> the harmonized picture, background included: the composite plus a change."""

    def __init__(self, config: ADFMConfig | None = None) -> None:
        super().__init__()
        self.config: ADFMConfig = config or ADFMConfig()
        c = self.config.channels
        self.down_1 = nn.Sequential(block(4, c, 2), block(c, 2 * c))
        self.down_2 = nn.Sequential(block(2 * c, 4 * c, 2), block(4 * c, 4 * c))
        self.down_3 = nn.Sequential(block(4 * c, 8 * c, 2), *(block(8 * c, 8 * c) for _ in range(3)))
        self.narrow = block(8 * c, 4 * c)
        self.modulation = Modulation(4 * c)
        self.up_1 = block(4 * c + 8 * c, 2 * c)
        self.up_2 = block(2 * c + 4 * c, c // 2)
        self.up_3 = block(c // 2 + 2 * c, c // 4)
        self.out = nn.Conv2d(c // 4, 3, 3, padding=1)

    def forward(self, composite: Tensor, mask: Tensor) -> list[Tensor]:
        """Paint the whole picture."""
        half = self.down_1(torch.cat([composite - MEAN, mask], dim=1))
        quarter = self.down_2(half)
        eighth = self.down_3(quarter)
        x = self.modulation(self.narrow(eighth), mask)
        for up, skip in ((self.up_1, eighth), (self.up_2, quarter), (self.up_3, half)):
            x = torch.cat([x, skip], dim=1)
            x = up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        return [(composite + self.out(x).float().tanh()).clamp(0.0, 1.0)]

    def loss(self, estimates: list[Tensor], mask: Tensor, truth: Tensor) -> Tensor:
        """Return the mean squared error of the whole picture."""
        return F.mse_loss(estimates[-1], truth)


class Modulation(nn.Module):
    """Attention over the whole picture; then the foreground takes the deviations of the background it attends to."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own, self.other = Attention(width), Attention(width)
        self.own_gain, self.other_gain = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B,C,h,w] and the mask of the whole picture -> [B,C,h,w]."""
        x = self.own_gain * self.own(x, x) + x
        small = F.avg_pool2d(mask, mask.shape[2] // x.shape[2]).round()
        foreground, background = x * small, x * (1 - small)
        matched = self.other(foreground, background)
        return x + self.other_gain * foreground * (deviation(matched) / deviation(foreground))


class Attention(nn.Module):
    """Each place of one map gathers values from another, without scaling, as in SAGAN."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(width, width // 8, 1), nn.Conv2d(width, width // 8, 1)
        self.value = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """[B,C,h,w] asks [B,C,h,w] -> [B,C,h,w]."""
        query, key, value = (
            convolution(features).flatten(2).transpose(1, 2)[:, None]
            for convolution, features in ((self.query, x), (self.key, source), (self.value, source))
        )
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        gathered: Tensor = seen.transpose(1, 2).unflatten(2, x.shape[2:])
        return gathered


def deviation(x: Tensor) -> Tensor:
    """Standard deviation of each channel over places -> [B,C,1,1]."""
    variance: Tensor = x.float().var(dim=(2, 3), keepdim=True)
    return (variance + EPSILON).sqrt()


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())
