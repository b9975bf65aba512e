"""StyleGAN2, configuration F [Karras et al. 2020], exactly: so that published weights give the published images.

Knows the mapping network, the skip generator, the residual discriminator and their parts; images are in [-1,1] here.
Every weight is stored with unit variance and scaled when it is used ("equalised learning rate"). Knows nothing of how
the networks are trained (`hpbnet.training`) or where their weights come from (`hpbnet.convert`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = (1.0, 3.0, 3.0, 1.0)  # low-pass filter of all resampling
SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2)  # restores the variance that the leaky ReLU takes
MAPPING_MULTIPLIER = 0.01  # learning-rate multiplier of the mapping network
EPSILON = 1e-8

Merge = Callable[[Tensor], Tensor]  # a block's features [B,C,R,R] -> features of the same shape
Noise = torch.Generator | None  # where fresh noise is drawn from; None for the stored noise


@dataclass(frozen=True)
class StyleGAN2Config:
    """Sizes shared by generator and discriminator; the defaults are the published 1024-pixel network."""

    resolution: int = 1024  # a power of two, 8 or more [px]
    channels: int = 32768  # channels at a resolution are this budget divided by it ...
    max_channels: int = 512  # ... and at most this many
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    group: int = 4  # images over which the discriminator takes its standard deviation
    clamp: float | None = None  # NVIDIA's mixed-precision networks clamp every convolution's output to +-256

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}, expected a power of two, 8 or more")

    def width(self, resolution: int) -> int:
        """Give the number of channels at a resolution."""
        return min(self.channels // resolution, self.max_channels)

    @property
    def resolutions(self) -> list[int]:
        """List 8, 16, ... up to the image's resolution [px]."""
        return [2**level for level in range(3, self.resolution.bit_length())]

    @property
    def styles(self) -> int:
        """Count the styles (`ws`) that the synthesis network takes: 18 at 1024 px."""
        return 2 * len(self.resolutions) + 2


class Generator(nn.Module):
    """z -> w -> image."""

    def __init__(self, config: StyleGAN2Config | None = None) -> None:
        super().__init__()
        self.config = config or StyleGAN2Config()
        self.mapping = Mapping(self.config)
        self.synthesis = Synthesis(self.config)

    def forward(
        self,
        z: Tensor,  # [B,z_dim] standard normal
        truncation_psi: float = 1.0,  # 1 for full variety, 0 for the average image
        noise: Noise = None,
    ) -> Tensor:
        """Return images [B,3,R,R], about in [-1,1]."""
        w = self.mapping.truncate(self.mapping(z), truncation_psi)
        image: Tensor = self.synthesis(w[:, None].expand(-1, self.config.styles, -1), noise)
        return image


class Mapping(nn.Module):
    """Normalised z -> w by fully connected layers; keeps the average w for truncation."""

    w_avg: Tensor  # [w_dim]

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(
            EqualLinear(inputs, outputs, multiplier=MAPPING_MULTIPLIER) for inputs, outputs in pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor) -> Tensor:
        """[B,z_dim] -> w [B,w_dim]."""
        x = z * (z.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()
        for layer in self.layers:
            x = activate(layer(x))
        return x

    def truncate(self, w: Tensor, truncation_psi: float) -> Tensor:
        """Pull w towards the average w."""
        return w if truncation_psi == 1.0 else self.w_avg.lerp(w, truncation_psi)

    @torch.no_grad()
    def track(self, w: Tensor, decay: float = 0.995) -> None:
        """Move the average w towards a batch's mean; called once a training step."""
        self.w_avg.copy_(w.mean(dim=0).lerp(self.w_avg, decay))


class Synthesis(nn.Module):
    """ws -> image: a learned 4x4 constant, grown block by block; every block adds its image to the upsampled last."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.randn(config.width(4), 4, 4))
        self.refine = StyledConv(config.width(4), config.width(4), 4, config)
        self.paint = ToRGB(config.width(4), config)
        self.blocks = nn.ModuleList(
            Block(config.width(resolution // 2), config.width(resolution), resolution, config)
            for resolution in config.resolutions
        )

    def forward(self, ws: Tensor, noise: Noise = None) -> Tensor:
        """[B,styles,w_dim] -> [B,3,R,R]."""
        return self.pyramid(ws, noise)[-1]

    def pyramid(
        self,
        ws: Tensor,  # [B,styles,w_dim]
        noise: Noise = None,
        merges: Sequence[Merge] | None = None,  # one a block: may change its features before they are painted
    ) -> list[Tensor]:
        """Paint the images [B,3,8,8] .. [B,3,R,R], each the upsampled last plus its block's own."""
        x = self.refine(self.const.expand(ws.shape[0], -1, -1, -1), ws[:, 0], noise)
        images = [self.paint(x, ws[:, 1])]
        for index, block in enumerate(self.blocks):
            styles = ws[:, 2 * index + 1 : 2 * index + 4]  # the last is shared with the next block
            x, image = block(x, images[-1], styles, noise, merges[index] if merges else None)
            images.append(image)
        return images[1:]


class Block(nn.Module):
    """One resolution of the synthesis network: upsample and convolve, convolve, paint."""

    def __init__(self, inputs: int, outputs: int, resolution: int, config: StyleGAN2Config) -> None:
        super().__init__()
        self.grow = StyledConv(inputs, outputs, resolution, config, up=True)
        self.refine = StyledConv(outputs, outputs, resolution, config)
        self.paint = ToRGB(outputs, config)

    def forward(
        self,
        x: Tensor,  # [B,C,R/2,R/2]
        image: Tensor,  # [B,3,R/2,R/2]
        styles: Tensor,  # [B,3,w_dim]
        noise: Noise = None,
        merge: Merge | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return features [B,C',R,R] and the image [B,3,R,R]."""
        x = self.grow(x, styles[:, 0], noise)
        x = self.refine(x, styles[:, 1], noise)
        x = x if merge is None else merge(x)
        return x, self.paint(x, styles[:, 2], image)


class StyledConv(nn.Module):
    """Modulated and demodulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise_const: Tensor  # [R,R]

    def __init__(self, inputs: int, outputs: int, resolution: int, config: StyleGAN2Config, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.clamp = config.clamp
        self.affine = EqualLinear(config.w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Noise = None) -> Tensor:
        """[B,I,H,W], [B,w_dim] -> [B,O,R,R]."""
        x = modulated_convolution(x, self.weight, self.affine(w), demodulate=True, up=self.up)
        x = x + (self.noise_strength * self._noise(x, noise)).to(x)
        return activate(x + self.bias[:, None, None].to(x), clamp=self.clamp)

    def _noise(self, like: Tensor, noise: Noise) -> Tensor:
        if noise is None:
            return self.noise_const
        return torch.randn(like.shape[0], 1, *like.shape[2:], generator=noise, device=noise.device).to(like)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three channels, added to the upsampled image of the block before."""

    def __init__(self, inputs: int, config: StyleGAN2Config) -> None:
        super().__init__()
        self.clamp = config.clamp
        self.affine = EqualLinear(config.w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor, image: Tensor | None = None) -> Tensor:
        """[B,C,R,R], [B,w_dim], image [B,3,R/2,R/2] -> image [B,3,R,R]."""
        painted = modulated_convolution(x, self.weight, self.affine(w), demodulate=False)
        painted = clamped(painted + self.bias[:, None, None], self.clamp)
        return painted if image is None else upsample(image) + painted


class Discriminator(nn.Module):
    """Image -> one logit: high for real."""

    def __init__(self, config: StyleGAN2Config | None = None) -> None:
        super().__init__()
        self.config = config or StyleGAN2Config()
        width, last = self.config.width, self.config.width(4)
        self.from_rgb = EqualConv(3, width(self.config.resolution), 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(width(resolution), width(resolution // 2), self.config.clamp)
            for resolution in reversed(self.config.resolutions)
        )
        self.conv = EqualConv(last + 1, last, 3)
        self.dense = EqualLinear(last * 4 * 4, last)
        self.out = EqualLinear(last, 1)

    def forward(self, image: Tensor) -> Tensor:
        """[B,3,R,R] in [-1,1] -> logits [B,1]; a group's images follow each other at a stride of B / group."""
        x = activate(self.from_rgb(image), clamp=self.config.clamp)
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, minibatch_deviation(x, self.config.group)], dim=1)  # [B,C+1,4,4]
        x = activate(self.conv(x), clamp=self.config.clamp)
        logits: Tensor = self.out(activate(self.dense(x.flatten(1))))
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut, half the resolution."""

    def __init__(self, inputs: int, outputs: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.first = EqualConv(inputs, inputs, 3)
        self.second = EqualConv(inputs, outputs, 3, down=True)
        self.skip = EqualConv(inputs, outputs, 1, down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,R,R] -> [B,C',R/2,R/2]."""
        shortcut = clamped(self.skip(x), self.clamp)
        x = activate(self.first(x), clamp=self.clamp)
        x = activate(self.second(x), clamp=self.clamp)
        return (x + shortcut) * math.sqrt(0.5)


class EqualLinear(nn.Module):
    """Fully connected layer with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.gain = multiplier / math.sqrt(inputs)
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        """[B,I] -> [B,O]."""
        return F.linear(x, self.weight * self.gain, self.bias * self.multiplier)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate that keeps the size, or halves it behind the low-pass filter."""

    def __init__(self, inputs: int, outputs: int, size: int, down: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = 1 / math.sqrt(inputs * size * size)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """[B,I,H,W] -> [B,O,H,W], or [B,O,H/2,W/2]."""
        weight, size = self.weight * self.gain, self.weight.shape[-1]
        if not self.down:
            return F.conv2d(x, weight, self.bias, padding=size // 2)
        if size == 1:  # filter and pick first: the same, for a quarter of the work
            return F.conv2d(low_pass(x, padding=1, stride=2), weight, self.bias)
        return F.conv2d(low_pass(x, padding=2), weight, self.bias, stride=2)


def modulated_convolution(
    x: Tensor,  # [B,I,H,W]
    weight: Tensor,  # [O,I,k,k], unit variance
    style: Tensor,  # [B,I]
    demodulate: bool,
    up: bool = False,
) -> Tensor:
    """Convolve with weights scaled by a style per input channel and normalised per output channel (Eqs. 1-3 there).

    The scales are applied to the input and to the output of one shared convolution, which is the same sum.
    """
    weight = weight * (1 / math.sqrt(weight[0].numel()))
    x = x * style[:, :, None, None].to(x)
    if up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [B,O,2H+1,2W+1]
        x = low_pass(x, padding=1, gain=4.0)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    if not demodulate:
        return x
    norm = style.square() @ weight.square().sum(dim=(2, 3)).T  # [B,O]
    return x * (norm + EPSILON).rsqrt()[:, :, None, None].to(x)


def low_pass(x: Tensor, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter every channel of [B,C,H,W] by the separable taps; padded with zeros."""
    return F.conv2d(x, _kernel(x, gain), padding=padding, stride=stride, groups=x.shape[1])


def upsample(image: Tensor) -> Tensor:
    """Double the size of [B,C,H,W]: zeros in between, then the low-pass filter."""
    return F.conv_transpose2d(image, _kernel(image, 4.0), stride=2, padding=1, groups=image.shape[1])


def _kernel(like: Tensor, gain: float) -> Tensor:
    """Make the depthwise filter [C,1,4,4] whose taps sum to `gain`."""
    taps = torch.tensor(TAPS).to(like)
    kernel = torch.outer(taps, taps) * (gain / sum(TAPS) ** 2)
    return kernel.expand(like.shape[1], 1, -1, -1)


def activate(x: Tensor, clamp: float | None = None) -> Tensor:
    """Apply the leaky ReLU with its gain."""
    return clamped(F.leaky_relu(x, SLOPE) * GAIN, clamp)


def clamped(x: Tensor, bound: float | None) -> Tensor:
    """Clamp to +-bound, if there is one."""
    return x if bound is None else x.clamp(-bound, bound)


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Average over a group's features their standard deviation within the group -> [B,1,H,W], constant in a group."""
    batch, _, height, width = x.shape
    group = min(group, batch)
    assert batch % group == 0, f"a batch of {batch} does not divide into groups of {group}"
    grouped = x.view(group, batch // group, -1, height, width)  # [G,N,C,H,W]
    deviation = (grouped.var(dim=0, unbiased=False) + EPSILON).sqrt().mean(dim=(1, 2, 3))  # [N]
    return deviation.repeat(group).view(batch, 1, 1, 1).expand(-1, 1, height, width)
