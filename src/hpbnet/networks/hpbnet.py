"""HPBNet (Fig. 3): a U-Net beside a StyleGAN2 generator; the published portrait harmonizer.

The U-Net's bottleneck, averaged over the picture and brought to z by one linear layer, feeds the mapping network. The
decoder's features of each scale are concatenated to the synthesis block of that resolution, behind its two
convolutions and before it paints, and a 1x1 convolution reduces both to the block's width. That convolution starts as a
pass-through of the generator's features. Without a generator the class is the ablation "U-Net only".

With `residual`, which is ours and for small budgets without a prior, the U-Net changes the composite's colours and the
generator paints a change of the U-Net's estimate: an untrained network is the identity.

Equation (3) is outside (`hpbnet.color_temperature`), and so is the loss (`hpbnet.training.losses`).
"""

import re
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from .stylegan2 import GAIN, EqualConv, EqualLinear, Generator, Noise, StyleGAN2Config
from .unet import UNet, UNetConfig


@dataclass(frozen=True)
class HPBNetConfig:
    """Sizes of the U-Net and of the generator, in plain numbers; the defaults are the published 512-pixel network."""

    resolution: int = 512  # a power of two, 8 or more [px]
    unet_channels: int = 32
    unet_max_channels: int = 512
    generator: bool = True  # False: "U-Net only"
    channels: int = 32768  # of the generator: see StyleGAN2Config
    max_channels: int = 512
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    clamp: float | None = None
    residual: bool = False  # paint changes, not pictures
    concatenate: bool = True  # False: the generator sees the bottleneck alone; to show what the concatenations do

    @property
    def unet(self) -> UNetConfig:
        """Configure the U-Net."""
        return UNetConfig(self.resolution, self.unet_channels, self.unet_max_channels, self.residual)

    @property
    def stylegan2(self) -> StyleGAN2Config:
        """Configure the generator."""
        return StyleGAN2Config(
            resolution=self.resolution,
            channels=self.channels,
            max_channels=self.max_channels,
            z_dim=self.z_dim,
            w_dim=self.w_dim,
            mapping_layers=self.mapping_layers,
            clamp=self.clamp,
        )


@dataclass(frozen=True)
class Painted:
    """Harmonized pictures at every scale, 8 px to the finest; sRGB, about in [0,1]."""

    estimates: list[Tensor]  # [B,3,R_i,R_i] of the U-Net
    images: list[Tensor]  # [B,3,R_i,R_i] of the generator; empty without one

    @property
    def image(self) -> Tensor:
        """The network's output [B,3,R,R], the paper's I^."""
        return (self.images or self.estimates)[-1]


class HPBNet(nn.Module):
    """Composite and mask -> the harmonized picture, background included."""

    def __init__(self, config: HPBNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or HPBNetConfig()
        self.unet = UNet(self.config.unet)
        if not self.config.generator:
            return
        unet, stylegan2 = self.config.unet, self.config.stylegan2
        self.to_z = EqualLinear(unet.width(unet.resolutions[0]), stylegan2.z_dim)
        self.generator = Generator(stylegan2)
        self.generator.requires_grad_(False)
        if self.config.residual:
            for name, parameter in self.generator.synthesis.named_parameters():
                if name.endswith("paint.weight"):
                    nn.init.zeros_(parameter)
        self.joins = nn.ModuleList(
            Join(stylegan2.width(resolution), unet.width(resolution))
            for resolution in (unet.resolutions if self.config.concatenate else [])
        )

    def forward(
        self,
        composite: Tensor,  # [B,3,R,R] sRGB in [0,1]
        mask: Tensor,  # [B,1,R,R] in [0,1], 1 on the foreground
        noise: Noise = None,
    ) -> Painted:
        """Paint the harmonized picture at every scale."""
        scales = self.unet(composite, mask)
        if not self.config.generator:
            return Painted(scales.estimates, [])
        z = self.to_z(scales.bottleneck.mean(dim=(2, 3)))
        w = self.generator.mapping(z)
        ws = w[:, None].expand(-1, self.generator.config.styles, -1)
        pairs = zip(self.joins, scales.features, strict=self.config.concatenate)
        merges = [partial(join, features=features) for join, features in pairs] or None
        images = [image * 0.5 + 0.5 for image in self.generator.synthesis.pyramid(ws, noise, merges)]
        if self.config.residual:
            images = [estimate + image - 0.5 for estimate, image in zip(scales.estimates, images, strict=True)]
        return Painted(scales.estimates, images)

    def load_prior(self, prior: Generator) -> None:
        """Take over a generator's weights; one of a higher resolution is cut at this network's.

        Raises:
            ValueError: the prior is too small, or of other widths, or this network paints changes only.
        """
        if self.config.residual:
            raise ValueError("a prior paints whole pictures, and residual=true changes of one: set one of both")
        self.generator.load_state_dict(cut(prior, self.generator.config).state_dict())


class Join(nn.Module):
    """1x1 convolution of the block's features and the U-Net's to the block's width: the block's own, plus a change.

    The change starts at zero, so the prior is whole at the first step.
    """

    def __init__(self, width: int, beside: int) -> None:
        super().__init__()
        self.change = EqualConv(width + beside, width, 1)
        nn.init.zeros_(self.change.weight)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """[B,C,R,R] of the generator, [B,C',R,R] of the U-Net -> [B,C,R,R]."""
        change: Tensor = self.change(torch.cat([x, features], dim=1))
        return x + change


def cut(prior: Generator, config: StyleGAN2Config) -> Generator:
    """Leave a generator's finest blocks away, down to the resolution of `config`.

    Raises:
        ValueError: the prior is of a lower resolution or of other widths.
    """
    ours, theirs = replace(config, group=0), replace(prior.config, group=0)
    if theirs.resolution < ours.resolution or replace(theirs, resolution=ours.resolution) != ours:
        raise ValueError(f"the prior is {theirs}, expected {ours} or a higher resolution")
    small = Generator(config)
    kept = small.state_dict().keys()
    small.load_state_dict({name: value for name, value in prior.state_dict().items() if name in kept})
    return small


@torch.no_grad()
def grow(network: HPBNet) -> HPBNet:
    """Double a network's resolution: finer scales are added that say nothing at first, and what was learned is kept.

    The new encoder scale hands composite and mask on, raised above zero, where the leaky ReLU is but a gain; what they
    were raised by is taken away where they used to enter. Along the border, where a convolution sees zeros, that is not
    quite the same.

    Raises:
        ValueError: half of the U-Net's finest channels are too few to hand composite and mask on.
    """
    small = network.config
    config = replace(small, resolution=2 * small.resolution, unet_channels=small.unet_channels // 2)
    if config.unet_channels < 4 or config.unet.width(small.resolution) != small.unet.width(small.resolution):
        raise ValueError(f"unet_channels is {small.unet_channels}, expected an even number, 8 or more, to grow from")
    grown = HPBNet(config)
    old, state = network.state_dict(), grown.state_dict()
    for name, value in old.items():
        moved = re.sub(r"(?<=encoder\.)\d+", lambda match: str(int(match[0]) + 1), name)
        if state[moved].shape == value.shape:  # all but the convolution that saw the composite itself
            state[moved] = value.clone()
    for index, gain in enumerate((1.0, 1 / GAIN, 1 / GAIN)):
        weight, bias = (state[f"unet.encoder.0.convolutions.{index}.{part}"] for part in ("weight", "bias"))
        weight[:4], bias[:4] = 0.0, float(index == 0)
        weight[:4, :4, 1, 1] = gain * weight[0].numel() ** 0.5 * torch.eye(4)  # stored with unit variance: EqualConv
    before, after = old["unet.encoder.0.convolutions.0.weight"], state["unet.encoder.1.convolutions.0.weight"]
    used = before * before[0].numel() ** -0.5
    after.zero_()
    after[:, :4] = used / GAIN * after[0].numel() ** 0.5
    state["unet.encoder.1.convolutions.0.bias"] -= used.sum(dim=(1, 2, 3))
    grown.load_state_dict(state)
    return grown
