"""The matting network: a portrait at a reduced size -> soft alpha.

A plain U-Net on a half-resolution grid (pixel unshuffle in, pixel shuffle out), with self-attention and one global
context vector at the bottleneck. An optional previous matte makes it recurrent for video; an optional hint says what to
keep and what to remove. Knows nothing of full size: see `hpbnet.matte`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention

INPUTS = 5  # red, green, blue, previous matte, hint
NO_PREVIOUS = -1.0  # value of the previous-matte channel where there is no previous frame


@dataclass(frozen=True)
class MattingConfig:
    """Widths of the network at strides 2, 4, 8, 16, 32 and the residual blocks of each encoder scale."""

    channels: tuple[int, ...] = (20, 40, 80, 128, 192)
    blocks: tuple[int, ...] = (0, 1, 3, 6, 5)
    heads: int = 4  # of the attention at stride 32
    size: int = 320  # the longer side that the network is run at [px]


class MattingNetwork(nn.Module):
    """Portrait, optional previous matte, optional hint -> alpha logits, at the input's own size (a multiple of 32)."""

    stride = 32

    def __init__(self, config: MattingConfig | None = None) -> None:
        super().__init__()
        self.config = config or MattingConfig()
        widths = self.config.channels
        self.stem = ConvNormAct(4 * INPUTS, widths[0])
        self.encoder = nn.ModuleList(
            EncoderScale(narrow, wide, blocks)
            for narrow, wide, blocks in zip(widths, widths[1:], self.config.blocks[1:], strict=False)
        )
        self.attention = Attention(widths[-1], self.config.heads)
        self.context = nn.Sequential(nn.Linear(widths[-1], widths[-1]), nn.ReLU(), nn.Linear(widths[-1], widths[-1]))
        self.decoder = nn.ModuleList(
            DecoderScale(wide, narrow) for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)

    def forward(
        self,
        portrait: Tensor,  # [B,3,H,W] sRGB in [0,1], H and W multiples of 32
        previous: Tensor | None = None,  # [B,1,H,W] alpha of the previous frame, NO_PREVIOUS where there is none
        hint: Tensor | None = None,  # [B,1,H,W] 1 keep, -1 remove, 0 unknown
    ) -> Tensor:
        """Return alpha logits [B,1,H,W]."""
        if previous is None:
            previous = torch.full_like(portrait[:, :1], NO_PREVIOUS)
        if hint is None:
            hint = torch.zeros_like(portrait[:, :1])
        x = self.stem(F.pixel_unshuffle(torch.cat([portrait - 0.5, previous, hint], dim=1), 2))  # [B,20,H/2,W/2]
        skips = []
        for scale in self.encoder:
            skips.append(x)
            x = scale(x)
        x = self.attention(x)
        x = x + self.context(x.mean(dim=(2, 3)))[:, :, None, None]
        for scale, skip in zip(self.decoder, reversed(skips), strict=True):
            x = scale(x, skip)
        return F.pixel_shuffle(self.head(x), 2)


def grow(network: MattingNetwork, tensors: Mapping[str, Tensor]) -> None:
    """Load the weights of a smaller network so that the larger one says the same.

    What the smaller one lacks is silent at first: a residual block by a last normalisation of zero, an input of the
    stem by weights of zero.

    Args:
        network: the larger one; its widths are the smaller one's.
        tensors: of the smaller one, whose inputs are the first of the larger one's.
    """
    state = network.state_dict()
    for name, value in state.items():
        if name == "stem.0.weight":
            value.zero_()[:, : tensors[name].shape[1]] = tensors[name]
        elif name in tensors:
            value.copy_(tensors[name])
        elif name.endswith("second.1.weight"):
            value.zero_()


class ConvNormAct(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNormAct(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape [B,C,H,W]."""
        return F.relu(x + self.second(self.first(x)))


class EncoderScale(nn.Sequential):
    """Halve the resolution, then residual blocks."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__(ConvNormAct(inputs, outputs, stride=2), *(Residual(outputs) for _ in range(blocks)))


class DecoderScale(nn.Module):
    """Double the resolution, add the encoder's features of that scale, mix."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.mix = ConvNormAct(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[B,C,H,W] and its skip [B,C',2H,2W] -> [B,C',2H,2W]."""
        x = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        mixed: Tensor = self.mix(x + skip)
        return mixed
