"""The harmonizer: a flattened composite and its mask at 128x128 -> a map of affine colour changes.

A U-Net on a quarter-resolution grid (light and colour vary slowly). What the foreground should become is judged against
the background, so masked means and deviations of both (of the picture and of the deepest features) modulate every
decoder scale, and self-attention at the coarsest scale lets each part of the foreground look at every part of the
background. The output is a global affine matrix plus a local one for each cell, zero-initialised: an untrained network
changes nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .change import apply_change


@dataclass(frozen=True)
class HarmonizerConfig:
    """Widths at strides 4, 8, 16, 32 and residual blocks of each encoder and decoder scale."""

    channels: tuple[int, ...] = (48, 88, 144, 224)
    encoder_blocks: tuple[int, ...] = (1, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)
    code: int = 192  # width of the code that modulates the decoder
    heads: int = 4  # of the attention at the coarsest scale
    size: int = 128  # side of the square the network judges [px]
    dropout: float = 0.0  # of the deepest features and of the code, in training


class Harmonization(NamedTuple):
    """The network's answer for a batch of composites."""

    change: Tensor  # [B,12,size/4,size/4] what to add to the identity's 3x4 matrix, in sRGB
    confidence: Tensor  # [B] in [0,1]: how much of that change to apply
    log_error: Tensor  # [B] natural log of the mean squared error expected of the result over the foreground

    @property
    def matrix(self) -> Tensor:
        """The affine maps [B,3,4,1,size/4,size/4], shrunk towards identity by the confidence."""
        shrunk = self.change * self.confidence[:, None, None, None]
        return shrunk.view(-1, 3, 4, 1, *shrunk.shape[2:]) + torch.eye(3, 4, device=shrunk.device).view(
            1, 3, 4, 1, 1, 1
        )


class HarmonizerNetwork(nn.Module):
    """Composite and mask -> affine maps, a confidence and an expected error."""

    def __init__(self, config: HarmonizerConfig | None = None) -> None:
        super().__init__()
        self.config = config or HarmonizerConfig()
        widths, code = self.config.channels, self.config.code
        first = [Residual(widths[0]) for _ in range(self.config.encoder_blocks[0])]
        self.stem = nn.Sequential(nn.Conv2d(4 * 16, widths[0], 3, padding=1), *first)
        self.encoder = nn.ModuleList(
            EncoderScale(narrow, wide, blocks)
            for narrow, wide, blocks in zip(widths, widths[1:], self.config.encoder_blocks[1:], strict=False)
        )
        self.attention = Attention(widths[-1], self.config.heads, (self.config.size // 32) ** 2)
        self.code = nn.Sequential(
            nn.Linear(STATISTICS + 4 * widths[-1], 2 * code), nn.ReLU(), nn.Linear(2 * code, code), nn.ReLU()
        )
        self.decoder = nn.ModuleList(
            DecoderScale(wide, narrow, code, blocks)
            for wide, narrow, blocks in zip(
                widths[:0:-1], widths[-2::-1], reversed(self.config.decoder_blocks), strict=True
            )
        )
        self.local_head = nn.Conv2d(widths[0], 12, 3, padding=1)
        self.global_head = nn.Linear(code, 12)
        self.confidence_head = nn.Sequential(  # confidence and expected error
            nn.Linear(code + 3, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        for head in (self.local_head, self.global_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            last = self.confidence_head[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(0.1)
            last.bias.copy_(torch.tensor([3.0, -5.0]))  # at first apply 95 %, expect 0.08 RMS

    def forward(
        self,
        composite: Tensor,  # [B,3,S,S] sRGB in [0,1]
        mask: Tensor,  # [B,1,S,S] foreground alpha
    ) -> Harmonization:
        """Judge a batch of composites."""
        x = self.stem(F.pixel_unshuffle(torch.cat([composite - 0.5, mask - 0.5], dim=1), 4))  # [B,C,S/4,S/4]
        skips = []
        for scale in self.encoder:
            skips.append(x)
            x = scale(x)
        x = F.dropout2d(self.attention(x), self.config.dropout, self.training)
        small_mask = F.avg_pool2d(mask, 32)
        deep = torch.cat([*moments(x, small_mask), *moments(x, 1 - small_mask)], dim=1)
        code = self.code(torch.cat([statistics(composite, mask), deep], dim=1))
        code = F.dropout(code, self.config.dropout, self.training)
        for scale, skip in zip(self.decoder, reversed(skips), strict=True):
            x = scale(x, skip, code)
        local = self.local_head(x).float()  # [B,12,S/4,S/4]
        change = local + self.global_head(code).float()[:, :, None, None]
        # The confidence head gets detached inputs, so that its loss cannot change the colour prediction.
        small_mask, small = F.avg_pool2d(mask, 4).float(), F.avg_pool2d(composite, 4).float()
        shift = apply_change(change.detach(), small).square() * small_mask
        moved = shift.sum(dim=(2, 3)) / small_mask.sum(dim=(2, 3)).clamp_min(1e-3)  # [B,3]
        logits = self.confidence_head(torch.cat([code.detach(), 0.3 * (moved + 1e-5).log() + 2], dim=1)).float()
        return Harmonization(change, logits[:, 0].sigmoid(), logits[:, 1])

    def judge(self, composite: Tensor, mask: Tensor) -> Harmonization:
        """Judge a batch of composites and their mirror images, and average the two answers."""
        answer = self(torch.cat([composite, composite.flip(3)]), torch.cat([mask, mask.flip(3)]))
        (change, mirrored), *scalars = (part.chunk(2) for part in answer)
        return Harmonization((change + mirrored.flip(3)) / 2, *((first + second) / 2 for first, second in scalars))


STATISTICS = 25  # numbers that `statistics` gives


def statistics(composite: Tensor, mask: Tensor) -> Tensor:
    """Masked means and deviations of foreground and background, log means of linear light, coverage -> [B,25]."""
    composite, mask = composite.float(), mask.float()
    light = (composite.clamp_min(0.0) ** 2.2).clamp_min(1e-4)
    parts = []
    for weight in (mask, 1 - mask):
        mean, deviation = moments(composite, weight)
        light_mean, light_deviation = moments(light, weight)
        parts += [mean - 0.5, deviation, 0.3 * light_mean.clamp_min(1e-3).log() + 0.5, light_deviation]
    return torch.cat([*parts, mask.mean(dim=(1, 2, 3))[:, None]], dim=1)


def moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over space of [B,C,H,W] under [B,1,H,W] -> two [B,C]."""
    x, weight = x.float(), weight.float()
    share = weight / weight.sum(dim=(2, 3), keepdim=True).clamp_min(1e-3)
    mean = (x * share).sum(dim=(2, 3))
    variance = ((x - mean[:, :, None, None]) ** 2 * share).sum(dim=(2, 3))
    return mean, (variance + 1e-6).sqrt()


class Residual(nn.Module):
    """Pre-activated pair of convolutions, added with a small learned gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.gain = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape [B,C,H,W]."""
        change: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + self.gain * change


class EncoderScale(nn.Sequential):
    """Halve the resolution, then residual blocks."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        super().__init__(down, *(Residual(outputs) for _ in range(blocks)))


class DecoderScale(nn.Module):
    """Double the resolution, add the encoder's features, modulate by the code, mix."""

    def __init__(self, inputs: int, outputs: int, code: int, blocks: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.modulation = nn.Linear(code, 2 * outputs)
        self.mix = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(outputs) for _ in range(blocks)))

    def forward(self, x: Tensor, skip: Tensor, code: Tensor) -> Tensor:
        """[B,C,H,W], skip [B,C',2H,2W] and code [B,K] -> [B,C',2H,2W]."""
        x = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False) + skip
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, dim=1)
        mixed: Tensor = self.blocks(self.mix(F.relu(x * (1 + scale) + shift)))
        return mixed
