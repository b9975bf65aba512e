"""DoveNet: harmonization as domain verification [Cong et al., CVPR 2020].

A U-Net down to 1x1 whose outer skip connections are weighted by attention; and two discriminators, one that judges the
whole picture, and one that verifies whether foreground and background are of one domain. Pictures are in [-1,1] inside.
There is no pretrained part: all is trained from nothing, as published. Instance norm is the paper's; `batch_norm` is
that of the released weights. Pictures other than 256 px have as many scales more or fewer, in both networks.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .baseline import Baseline, Config, Critic, start_small

WEIGHT = 100.0  # of the absolute error
PENALTY = 10.0  # weight of the gradient penalty
EPSILON = 1e-8


@dataclass(frozen=True)
class DoveNetConfig(Config):
    """Sizes; the defaults are the published ones."""

    channels: int = 64  # of the finest scale and of the discriminators' first layer; at most eight times as many
    batch_norm: bool = False

    @property
    def scales(self) -> int:
        """How often the picture is halved until 1x1 is left."""
        return self.resolution.bit_length() - 1


class DoveNet(Baseline):
    """Composite and mask -> the harmonized picture, background included."""

    def __init__(self, config: DoveNetConfig | None = None) -> None:
        super().__init__()
        self.config: DoveNetConfig = config or DoveNetConfig()
        c, instance = self.config.channels, not self.config.batch_norm
        deep = 8 * c
        scale: nn.Module = Scale(deep, deep, None, norm_down=False, instance=instance)
        for _ in range(self.config.scales - 5):
            scale = Scale(deep, deep, scale, dropout=True, instance=instance)
        for outer, inner in ((4 * c, deep), (2 * c, 4 * c), (c, 2 * c)):
            scale = Scale(outer, inner, scale, attends=True, instance=instance)
        self.down = nn.Conv2d(4, c, 4, 2, 1, bias=instance)
        self.scales = scale
        self.up = nn.ConvTranspose2d(2 * c, 3, 4, 2, 1)
        start_small(self)

    def forward(self, composite: Tensor, mask: Tensor) -> list[Tensor]:
        """Paint the whole picture."""
        x = self.scales(self.down(torch.cat([composite * 2 - 1, mask], dim=1)))
        return [self.up(F.relu(x)).float().tanh() * 0.5 + 0.5]

    def loss(self, estimates: list[Tensor], mask: Tensor, truth: Tensor) -> Tensor:
        """Return 100 times the mean absolute error of the whole picture, in [-1,1]."""
        return WEIGHT * F.l1_loss(estimates[-1] * 2 - 1, truth * 2 - 1)


class Scale(nn.Module):
    """One scale of the U-Net around the next one: halve, go on, double, and set the input beside the result."""

    def __init__(
        self,
        outer: int,
        inner: int,
        below: nn.Module | None,  # None at 1x1
        norm_down: bool = True,
        dropout: bool = False,
        attends: bool = False,
        instance: bool = True,
    ) -> None:
        super().__init__()
        down: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=instance)]
        up: list[nn.Module] = [
            nn.ReLU(),
            nn.ConvTranspose2d(2 * inner if below else inner, outer, 4, 2, 1, bias=instance),
        ]
        if norm_down:
            down.append(norm(inner, instance))
        up.append(norm(outer, instance))
        if dropout:
            up.append(nn.Dropout(0.5))
        self.body = nn.Sequential(*down, *([below] if below else []), *up)
        self.attention = nn.Conv2d(2 * outer, 2 * outer, 1) if attends else None

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,2C,H,W]."""
        both = torch.cat([x, self.body(x)], dim=1)
        return both if self.attention is None else both * self.attention(both).sigmoid()


def norm(width: int, instance: bool) -> nn.Module:
    """Normalise the places of each picture, or of the batch with a learned gain and offset."""
    return nn.InstanceNorm2d(width) if instance else nn.BatchNorm2d(width)


class DoveNetCritic(Critic):
    """Two discriminators with hinge losses and a gradient penalty; pictures in [-1,1] inside."""

    def __init__(self, config: DoveNetConfig) -> None:
        super().__init__()
        width = 8 * config.channels
        self.whole, self.domain = (Features(config.channels, config.scales - 2) for _ in range(2))
        self.judge = nn.Conv2d(width, 1, 1)
        self.verify = nn.Sequential(
            spectral_norm(nn.Conv2d(width, width, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, width, 1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """[B,3,R,R] in [-1,1] and its mask -> [B,2]: whether it is real, and whether its parts belong together."""
        person, scene = self.domain(picture, mask), self.domain(picture, 1 - mask)
        logits = [self.judge(self.whole(picture, torch.ones_like(mask))), self.verify(person * scene)]
        return torch.cat(logits, dim=1).flatten(1)

    def deceit(self, picture: Tensor, mask: Tensor) -> Tensor:
        """Raise both logits."""
        logits: Tensor = self(picture * 2 - 1, mask)
        return -logits.mean(dim=0).sum()

    def loss(self, picture: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        """Return the hinge losses of both logits, and the gradient penalty on mixtures of picture and truth."""
        picture, truth = picture * 2 - 1, truth * 2 - 1
        hinges = F.relu(1 - self(truth, mask)) + F.relu(1 + self(picture, mask))  # [B,2]
        share = torch.rand(len(truth), 1, 1, 1, device=truth.device)
        mixture = torch.lerp(picture, truth, share).requires_grad_()
        (gradient,) = torch.autograd.grad(self(mixture, mask).mean(dim=1).sum(), mixture, create_graph=True)
        length = (gradient.flatten(1).square().sum(dim=1) + EPSILON).sqrt()
        return hinges.mean(dim=0).sum() + PENALTY * (length - 1).square().mean()


class Features(nn.Module):
    """Partial convolutions of 3x3 without padding, down to 1x1; all but the last of stride 2."""

    def __init__(self, channels: int, halvings: int) -> None:
        super().__init__()
        widths = [3, *(min(2**index, 8) * channels for index in range(halvings + 1))]
        self.layers = nn.ModuleList(
            PartialConvolution(inputs, outputs, 2 if index < halvings else 1)
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """[B,3,R,R] and the part that counts -> [B,8C,1,1]."""
        x = picture
        for index, layer in enumerate(self.layers):
            x, mask = layer(x, mask)
            if 0 < index < len(self.layers) - 1:
                x = F.instance_norm(x)
            x = F.leaky_relu(x, 0.2)
        return x


class PartialConvolution(nn.Module):
    """A spectrally normalised convolution of the valid places, scaled up to as if all were [Liu et al. 2018]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution = spectral_norm(nn.Conv2d(inputs, outputs, 3, stride, bias=False))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride = stride

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B,C,H,W] and mask [B,1,H,W] -> [B,C',h,w] and the mask of places that saw a valid one."""
        count = F.conv2d(mask, mask.new_ones(1, 1, 3, 3), stride=self.stride)
        seen = count.clamp(0.0, 1.0)
        scale = seen * 9 / (count + EPSILON)
        return (self.convolution(x * mask) * scale + self.bias[:, None, None]) * seen, seen
