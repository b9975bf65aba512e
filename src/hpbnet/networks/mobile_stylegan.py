"""MobileStyleGAN [Belousov 2021], in the form in which its generator is published: demodulation is part of the weights.

Knows the mapping network (StyleGAN2's), the synthesis network and its image heads; images are in [-1,1] here. The
published file has one image head, at 1024 px; heads of lower resolutions are fitted to the reduced image
(`runs/prior_heads.py`), and a network that has one can be cut off there. Knows nothing of where weights come from
(`hpbnet.convert`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .stylegan2 import SLOPE, Mapping, Noise, StyleGAN2Config

BANDS = 4  # of one Haar step: the mean, then the vertical, horizontal and diagonal differences


@dataclass(frozen=True)
class MobileStyleGANConfig:
    """Sizes of the generator; the defaults are the published network for FFHQ, 1024 px."""

    widths: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64)  # channels of the features at 4, 8, ... px
    fitted: tuple[int, ...] = ()  # [px] resolutions of images whose head was fitted afterwards
    hidden: int = 48  # channels inside a fitted head
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or any(width < BANDS or width % BANDS for width in self.widths):
            raise ValueError(f"widths are {list(self.widths)}, expected two or more multiples of {BANDS}")
        if strange := sorted(set(self.fitted) - set(self.image_resolutions)):
            raise ValueError(f"heads were fitted at {strange}, expected resolutions of {self.image_resolutions}")

    @property
    def resolution(self) -> int:
        """Give the side of the image, twice that of the last features [px]."""
        return 4 << len(self.widths)

    @property
    def image_resolutions(self) -> list[int]:
        """List the sides of images that a head behind a block can paint: 16, 32, ... [px]."""
        return [8 << index for index in range(1, len(self.widths))]

    @property
    def heads(self) -> list[int]:
        """List the sides of the images that this network paints [px]."""
        return sorted({*self.fitted, self.resolution})

    @property
    def styles(self) -> int:
        """Count the styles (`ws`): one at 4 px, then three a block, for its two convolutions and for its head."""
        return 1 + 3 * (len(self.widths) - 1)


class MobileGenerator(nn.Module):
    """z -> w -> image."""

    def __init__(self, config: MobileStyleGANConfig | None = None) -> None:
        super().__init__()
        self.config = config or MobileStyleGANConfig()
        dimensions = self.config.z_dim, self.config.w_dim, self.config.mapping_layers
        self.mapping = Mapping(StyleGAN2Config(z_dim=dimensions[0], w_dim=dimensions[1], mapping_layers=dimensions[2]))
        self.synthesis = MobileSynthesis(self.config)

    def forward(
        self,
        z: Tensor,  # [B,z_dim] standard normal
        truncation_psi: float = 1.0,  # 1 for full variety, 0 for the average image
        noise: Noise = None,
    ) -> Tensor:
        """Return images [B,3,R,R], about in [-1,1]."""
        w = self.mapping.truncate(self.mapping(z), truncation_psi)
        image: Tensor = self.synthesis(self.repeat(w), noise)
        return image

    def repeat(self, w: Tensor) -> Tensor:
        """Use one w for every style: [B,w_dim] -> ws [B,styles,w_dim]."""
        return w[:, None].expand(-1, self.config.styles, -1)


class MobileSynthesis(nn.Module):
    """ws -> image: a learned 4x4 constant, doubled block by block; a head paints wavelet coefficients of the image."""

    def __init__(self, config: MobileStyleGANConfig) -> None:
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.randn(config.widths[0], 4, 4))
        self.first = FirstConv(config.widths[0], config.w_dim)
        self.blocks = nn.ModuleList(
            MobileBlock(inputs, outputs, 8 << index, config.w_dim)
            for index, (inputs, outputs) in enumerate(pairwise(config.widths))
        )
        self.heads = nn.ModuleDict()
        for resolution in config.heads:
            width = config.widths[config.image_resolutions.index(resolution) + 1]
            fitted = resolution in config.fitted
            head = FittedHead(width, config.hidden, config.w_dim) if fitted else ImageHead(width, config.w_dim)
            self.heads[str(resolution)] = head

    def forward(self, ws: Tensor, noise: Noise = None) -> Tensor:
        """[B,styles,w_dim] -> [B,3,R,R]."""
        *_, last = self.features(ws, noise)
        return self.paint(last, ws, self.config.resolution)

    def features(self, ws: Tensor, noise: Noise = None) -> Iterator[Tensor]:
        """Give the features behind each block in turn: [B,C,8,8], [B,C,16,16], ..."""
        x = self.first(self.const.expand(ws.shape[0], -1, -1, -1), ws[:, 0], noise)
        for index, block in enumerate(self.blocks):
            x = block(x, ws[:, 3 * index + 1 : 3 * index + 3], noise)
            yield x

    def paint(self, x: Tensor, ws: Tensor, resolution: int) -> Tensor:
        """Paint the image of a resolution [px] from the features [B,C,R/2,R/2] -> [B,3,R,R]."""
        image: Tensor = self.heads[str(resolution)](x, ws[:, 3 * self.config.image_resolutions.index(resolution) + 3])
        return image


class MobileBlock(nn.Module):
    """One resolution: an inverse Haar step to twice the size and a quarter of the channels, then two convolutions."""

    def __init__(self, inputs: int, outputs: int, resolution: int, w_dim: int) -> None:
        super().__init__()
        self.up = nn.Linear(w_dim, inputs)
        self.conv1 = SeparableConv(inputs // BANDS, outputs, resolution, w_dim)
        self.conv2 = SeparableConv(outputs, outputs, resolution, w_dim)

    def forward(self, x: Tensor, styles: Tensor, noise: Noise = None) -> Tensor:
        """[B,C,R/2,R/2], styles [B,2,w_dim] -> [B,C',R,R]."""
        x = inverse_haar(x * self.up(styles[:, 0])[:, :, None, None])
        x = self.conv1(x, styles[:, 0], noise)
        x = self.conv2(x, styles[:, 1], noise)
        return x


class FirstConv(nn.Module):
    """Modulated 3x3 convolution at 4 px, noise, bias, leaky ReLU without a gain."""

    noise_const: Tensor  # [4,4]

    def __init__(self, width: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, width)
        self.weight = nn.Parameter(torch.randn(width, width, 3, 3))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("noise_const", torch.zeros(4, 4))

    def forward(self, x: Tensor, w: Tensor, noise: Noise = None) -> Tensor:
        """[B,C,4,4], [B,w_dim] -> [B,C,4,4]."""
        style = self.affine(w) / math.sqrt(9 * x.shape[1])
        x = F.conv2d(x * style[:, :, None, None], self.weight, self.bias, padding=1)
        return F.leaky_relu(x.add_(draw_noise(self.noise_const, x, noise)), SLOPE, inplace=True)


class SeparableConv(nn.Module):
    """Modulated depthwise 3x3 and pointwise convolution, noise, bias, leaky ReLU without a gain.

    A style scales whole channels, as the depthwise kernels do, so it is multiplied into these: the same sum.
    """

    noise_const: Tensor  # [R,R]

    def __init__(self, inputs: int, outputs: int, resolution: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.depthwise = nn.Parameter(torch.randn(inputs, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_const", torch.zeros(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Noise = None) -> Tensor:
        """[B,I,R,R], [B,w_dim] -> [B,O,R,R]."""
        batch, inputs, height, width = x.shape
        style = self.affine(w) / math.sqrt(9 * inputs)  # [B,I]
        kernels = (style[:, :, None, None, None] * self.depthwise).flatten(0, 1)  # [B*I,1,3,3]
        x = F.conv2d(x.reshape(1, batch * inputs, height, width), kernels, padding=1, groups=batch * inputs)
        x = F.conv2d(x.view(batch, inputs, height, width), self.pointwise, self.bias)
        return F.leaky_relu(x.add_(draw_noise(self.noise_const, x, noise)), SLOPE, inplace=True)


class ImageHead(nn.Module):
    """The published head: modulated 1x1 convolution to the wavelet coefficients of an image twice as large."""

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(3 * BANDS, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3 * BANDS))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B,C,R/2,R/2], [B,w_dim] -> image [B,3,R,R]."""
        style = self.affine(w) / math.sqrt(x.shape[1])
        return inverse_haar(F.conv2d(x * style[:, :, None, None], self.weight, self.bias))


class FittedHead(nn.Module):
    """A head for a lower resolution: what the network would still do to the colours, by two small convolutions.

    The features are far from an image here: modulated 1x1, leaky ReLU and modulated 3x3, beside a linear 1x1.
    """

    def __init__(self, inputs: int, hidden: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.reduce = nn.Conv2d(inputs, hidden, 1)
        self.affine_hidden = nn.Linear(w_dim, hidden)
        self.refine = nn.Conv2d(hidden, 3 * BANDS, 3, padding=1)
        self.linear = nn.Conv2d(inputs, 3 * BANDS, 1)
        for affine in (self.affine, self.affine_hidden):  # begin with the same head for every style
            nn.init.zeros_(affine.weight)
            nn.init.ones_(affine.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B,C,R/2,R/2], [B,w_dim] -> image [B,3,R,R]."""
        x = x * self.affine(w)[:, :, None, None]
        inner = F.leaky_relu(self.reduce(x), SLOPE) * self.affine_hidden(w)[:, :, None, None]
        return inverse_haar(self.linear(x) + self.refine(inner))


def draw_noise(stored: Tensor, like: Tensor, noise: Noise) -> Tensor:
    """Return the stored noise [R,R], or fresh noise [B,1,R,R] as strong as the stored."""
    if noise is None:
        return stored
    strength = stored.square().mean().sqrt()
    return torch.randn(like.shape[0], 1, *like.shape[2:], generator=noise, device=noise.device).to(like) * strength


def inverse_haar(x: Tensor) -> Tensor:
    """Undo one step of the Haar wavelet: [B,4*C,H,W] -> [B,C,2H,2W].

    The first C channels are the means (LL); then come, channel by channel, the differences LH, HL and HH.
    """
    batch, channels, height, width = x.shape
    mean, rest = x.split([channels // BANDS, channels - channels // BANDS], dim=1)
    vertical, horizontal, diagonal = rest.view(batch, -1, 3, height, width).unbind(dim=2)  # LH, HL, HH
    top, bottom = mean + vertical, mean - vertical
    left, right = horizontal + diagonal, horizontal - diagonal
    corners = torch.stack([top + left, top - left, bottom + right, bottom - right], dim=2)  # tl, tr, bl, br
    return F.pixel_shuffle(corners.mul_(0.5).flatten(1, 2), 2)


def cut_off(network: MobileGenerator, resolution: int) -> MobileGenerator:
    """Copy the part of a network that paints a lower resolution [px].

    Raises:
        ValueError: the network has no image head of that resolution.
    """
    config = network.config
    if resolution not in config.heads:
        raise ValueError(f"this generator paints {_listed(config.heads)} px, not {resolution} px")
    blocks = config.image_resolutions.index(resolution) + 1
    fitted = tuple(size for size in config.fitted if size <= resolution)
    smaller = MobileGenerator(replace(config, widths=config.widths[: blocks + 1], fitted=fitted))
    state = network.state_dict()
    smaller.load_state_dict({name: state[name] for name in smaller.state_dict()})
    return smaller.train(network.training)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
