"""The harmonizer: a flattened composite and its mask at 128x128 -> a map of affine colour changes.

A U-Net. What the foreground should become is judged against the background, so masked means and deviations of both (of
the picture and of the deepest features) modulate every decoder scale, and self-attention at the coarsest scale lets
each part of the foreground look at every part of the background. All heads start at zero: an untrained network changes
nothing.

The widths `fine` decide how the map is made. With them, the map begins with one exposure, white balance, saturation and
contrast of the whole foreground, and every decoder scale, up to the finest, sees the picture that the map so far gives
and adds a local remainder. Without them (the first generation, whose weights are released), a global matrix and one map
at a quarter of the resolution are added.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .change import apply_change

_FINE_STRIDES = (2, 1)  # of the scales that `HarmonizerConfig.fine` adds


@dataclass(frozen=True)
class HarmonizerConfig:
    """Widths at strides 4, 8, 16, 32 and residual blocks of each encoder and decoder scale."""

    channels: tuple[int, ...] = (48, 88, 144, 224)
    fine: tuple[int, ...] = ()  # widths at strides 2 and 1; none: the map of the first generation
    encoder_blocks: tuple[int, ...] = (1, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)
    code: int = 192  # width of the code that modulates the decoder
    heads: int = 4  # of the attention at the coarsest scale
    size: int = 128  # side of the square the network judges [px]
    dropout: float = 0.0  # of the deepest features and of the code, in training

    def __post_init__(self) -> None:
        if len(self.fine) > len(_FINE_STRIDES):
            raise ValueError(f"fine is {self.fine!r}; expected at most {len(_FINE_STRIDES)} whole numbers")


class Harmonization(NamedTuple):
    """The network's answer for a batch of composites."""

    change: Tensor  # [B,12,h,w] what to add to the identity's 3x4 matrix, in sRGB; h: size/4, size/2 or size (`fine`)
    confidence: Tensor  # [B] in [0,1]: how much of that change to apply
    log_error: Tensor  # [B] natural log of the mean squared error expected of the result over the foreground
    coarser: tuple[Tensor, ...] = ()  # [B,12,h_i,w_i] the map before each refinement, coarsest first, for training

    @property
    def matrix(self) -> Tensor:
        """The affine maps [B,3,4,1,h,w], shrunk towards identity by the confidence."""
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
        fine, blocks = self.config.fine, (*reversed(self.config.decoder_blocks), *(0 for _ in self.config.fine))
        upwards = [*widths[::-1], *fine]  # coarse to fine
        self.decoder = nn.ModuleList(
            DecoderScale(wide, narrow, code, count, seen=3 if fine else 0)
            for wide, narrow, count in zip(upwards[:-1], upwards[1:], blocks, strict=True)
        )
        self.fine_skips = nn.ModuleList(
            nn.Conv2d(4 * stride**2, width, 3, padding=1) for width, stride in zip(fine, _FINE_STRIDES, strict=False)
        )
        self.coarse_heads = nn.ModuleList(nn.Conv2d(width, 12, 3, padding=1) for width in upwards[:-1] if fine)
        self.local_head = nn.Conv2d(upwards[-1], 12, 3, padding=1)
        self.global_head = nn.Linear(code, TONES if fine else 12)
        self.confidence_head = nn.Sequential(  # confidence and expected error
            nn.Linear(code + 3, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        for head in (self.local_head, self.global_head, *self.coarse_heads):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
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
        picture = torch.cat([composite - 0.5, mask - 0.5], dim=1)
        skips = [
            conv(F.pixel_unshuffle(picture, stride))
            for stride, conv in zip(_FINE_STRIDES, self.fine_skips, strict=False)
        ]
        skips.reverse()  # finest first
        x = self.stem(F.pixel_unshuffle(picture, 4))  # [B,C,S/4,S/4]
        for scale in self.encoder:
            skips.append(x)
            x = scale(x)
        x = F.dropout2d(self.attention(x), self.config.dropout, self.training)
        small_mask = F.avg_pool2d(mask, 32)
        deep = torch.cat([*moments(x, small_mask), *moments(x, 1 - small_mask)], dim=1)
        code = self.code(torch.cat([statistics(composite, mask), deep], dim=1))
        code = F.dropout(code, self.config.dropout, self.training)
        change, coarser = self._decode(x, skips, code, composite, mask)
        # The confidence head gets detached inputs, so that its loss cannot change the colour prediction.
        small_mask, small = F.avg_pool2d(mask, 4).float(), F.avg_pool2d(composite, 4).float()
        shift = apply_change(change.detach(), small).square() * small_mask
        moved = shift.sum(dim=(2, 3)) / small_mask.sum(dim=(2, 3)).clamp_min(1e-3)  # [B,3]
        logits = self.confidence_head(torch.cat([code.detach(), 0.3 * (moved + 1e-5).log() + 2], dim=1)).float()
        return Harmonization(change, logits[:, 0].sigmoid(), logits[:, 1], coarser)

    def _decode(
        self, x: Tensor, skips: list[Tensor], code: Tensor, composite: Tensor, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Make the map of changes [B,12,h,w], and the coarser maps that it was refined from."""
        change = self.global_head(code).float()
        if not self.config.fine:
            for scale, skip in zip(self.decoder, reversed(skips), strict=True):
                x = scale(x, skip, code)
            return self.local_head(x).float() + change[:, :, None, None], ()
        mean, _ = moments(composite, mask)
        change = tone_change(change, mean)[:, :, None, None] + self.coarse_heads[0](x).float()
        coarser = []
        for scale, skip, head in zip(
            self.decoder, reversed(skips), [*self.coarse_heads[1:], self.local_head], strict=True
        ):
            coarser.append(change)
            change = F.interpolate(change, scale_factor=2.0, mode="bilinear", align_corners=False)
            own = F.avg_pool2d(composite, composite.shape[-1] // change.shape[-1])
            x = scale(x, skip, code, own + apply_change(change, own) - 0.5)
            change = change + head(x).float()
        return change, tuple(coarser)

    def judge(self, composite: Tensor, mask: Tensor) -> Harmonization:
        """Judge a batch of composites and their mirror images, and average the two answers."""
        answer = self(torch.cat([composite, composite.flip(3)]), torch.cat([mask, mask.flip(3)]))
        (change, mirrored), *scalars = (part.chunk(2) for part in answer[:3])
        return Harmonization((change + mirrored.flip(3)) / 2, *((first + second) / 2 for first, second in scalars))


_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709 weights of R, G, B
TONES = 6  # numbers that `tone_change` takes


def tone_change(
    tones: Tensor,  # [B,6] exposure, white balance of R, G, B, saturation, contrast; 0: none
    mean: Tensor,  # [B,3] mean colour of the foreground, about which the contrast changes
) -> Tensor:
    """Change exposure, white balance, saturation and contrast -> [B,12], what to add to the identity's 3x4 matrix.

    Each number acts as the exponential of its hyperbolic tangent: a factor between 1/e and e.
    """
    tones = tones.tanh()
    balance = tones[:, 1:4] - tones[:, 1:4].mean(dim=1, keepdim=True)
    gains, (saturation, contrast) = (tones[:, :1] + balance).exp(), tones[:, 4:, None].exp().unbind(1)  # [B,3], [B,1]
    eye, luma = torch.eye(3, device=tones.device), tones.new_tensor(_LUMA)
    saturated = saturation[:, :, None] * eye + (1 - saturation[:, :, None]) * luma  # [B,3,3]
    matrix = contrast[:, :, None] * saturated * gains[:, None] - eye
    offset = (1 - contrast) * (mean * gains * luma).sum(dim=1, keepdim=True)  # [B,1]
    return torch.cat([matrix, offset[:, None].expand(-1, 3, -1)], dim=2).flatten(1)


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

    def __init__(self, inputs: int, outputs: int, code: int, blocks: int, seen: int = 0) -> None:
        """Mix the features with `seen` channels of a picture."""
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.modulation = nn.Linear(code, 2 * outputs)
        self.mix = nn.Conv2d(outputs + seen, outputs, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(outputs) for _ in range(blocks)))

    def forward(self, x: Tensor, skip: Tensor, code: Tensor, seen: Tensor | None = None) -> Tensor:
        """[B,C,H,W], skip [B,C',2H,2W], code [B,K] and perhaps a picture [B,seen,2H,2W] -> [B,C',2H,2W]."""
        x = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False) + skip
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, dim=1)
        x = F.relu(x * (1 + scale) + shift)
        mixed: Tensor = self.blocks(self.mix(x if seen is None else torch.cat([x, seen.to(x)], dim=1)))
        return mixed
