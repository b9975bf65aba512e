"""Normals: a small picture of a person and their matte -> where faces are, and which way their skin faces.

Knows squares of 64x64. A U-Net that answers for faces alone; bodies, hair and clothes are left to the inflated matte of
`relight.py`. A weight says how far it answers for each pixel. Taught by the depth that [HSSL22] finds in faces
(runs/normals.py).
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .harmonizer import Residual


@dataclass(frozen=True)
class NormalsConfig:
    """Widths at strides 2, 4, 8, 16, and residual blocks of all but the first."""

    channels: tuple[int, ...] = (24, 40, 64, 64)
    blocks: tuple[int, ...] = (1, 2, 1)
    size: int = 64  # side of the square that the network sees [px]


class FaceNormals(NamedTuple):
    """The network's answer for a batch of people."""

    weight: Tensor  # [B,1,S,S] in [0,1]: 1 inside a face
    normals: Tensor  # [B,3,S,S] unit; X right, Z up, Y away from the camera


class NormalsNetwork(nn.Module):
    """Picture and alpha -> a face's weight and normals."""

    def __init__(self, config: NormalsConfig | None = None) -> None:
        super().__init__()
        self.config = config or NormalsConfig()
        widths = self.config.channels
        self.stem = nn.Sequential(nn.Conv2d(16, widths[0], 3, padding=1), Residual(widths[0]))
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(narrow, wide, 3, stride=2, padding=1), *(Residual(wide) for _ in range(blocks)))
            for (narrow, wide), blocks in zip(pairs, self.config.blocks, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(wide, narrow, 1) for narrow, wide in reversed(pairs))
        self.mix = nn.ModuleList(
            nn.Sequential(nn.Conv2d(narrow, narrow, 3, padding=1), Residual(narrow)) for narrow, _ in reversed(pairs)
        )
        self.head = nn.Conv2d(widths[0], 12, 3, padding=1)

    def forward(
        self,
        image: Tensor,  # [B,3,S,S] sRGB in [0,1]
        alpha: Tensor,  # [B,1,S,S]
    ) -> FaceNormals:
        """Find faces and their normals."""
        logits, normals = self.answer(image, alpha)
        return FaceNormals(logits.sigmoid(), normals)

    def answer(self, image: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight's logits, for training, and the normals."""
        x = self.stem(F.pixel_unshuffle(torch.cat([(image - 0.5) * alpha, alpha - 0.5], dim=1), 2))
        skips = []
        for scale in self.down:
            skips.append(x)
            x = scale(x)
        for narrow, mix, skip in zip(self.narrow, self.mix, reversed(skips), strict=True):
            wider = F.interpolate(narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = mix(F.relu(skip + wider))
        logits, right, up = F.pixel_shuffle(self.head(F.relu(x)), 2).split(1, dim=1)
        return logits, F.normalize(torch.cat([right, -torch.ones_like(right), up], dim=1), dim=1)
