"""iDIH-HRNet: foreground-aware semantic features for harmonization [Sofiiuk, Popenova, Konushin, WACV 2021].

An encoder and decoder whose answer is blended with the composite by a predicted map; the features of a segmentation
backbone (HRNet18 with OCR, `hrnet.py`) enter at a quarter of the size. Input and output are normalised by ImageNet's
mean and deviation inside, and the loss is measured there. Published networks start from HRNet's ImageNet weights, with
a tenth of the learning rate for the backbone; those weights are not at hand here, so the backbone is trained from
nothing at the full rate. `backbone=False` leaves it away: the authors' iDIH. Pictures other than 256 px have as many
scales more or fewer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .baseline import Baseline, Config
from .hrnet import HRNet

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
LEAST_AREA = 100.0  # [px] of a foreground, in the loss


@dataclass(frozen=True)
class IDIHConfig(Config):
    """Sizes; the defaults are the published ones."""

    channels: int = 64  # of the first convolution; at most eight times as many
    backbone: bool = True
    backbone_channels: int = 18  # of HRNet's finest branch
    modules: tuple[int, ...] = (1, 4, 3)  # of HRNet's stages
    blocks: int = 4  # in each of HRNet's branches

    @property
    def widths(self) -> list[int]:
        """List the encoder's widths from half the picture's size down to 1x1."""
        return [self.channels * min(2 ** (scale // 2), 8) for scale in range(self.resolution.bit_length() - 2)]


class IDIH(Baseline):
    """Composite and mask -> the harmonized picture, background included."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: IDIHConfig | None = None) -> None:
        super().__init__()
        self.config: IDIHConfig = config or IDIHConfig()
        c, widths = self.config.channels, self.config.widths
        extra = 2 * c if self.config.backbone else 0
        if self.config.backbone:
            self.backbone = HRNet(c, self.config.backbone_channels, extra, self.config.modules, self.config.blocks)
        inputs = [4, c, c + extra, *widths[2:]]
        self.encoder = nn.ModuleList(
            down(*pair, padding=int(index < len(widths) - 1), normed=index > 1)
            for index, pair in enumerate(zip(inputs, widths, strict=False))
        )
        pairs = zip(widths[::-1], [*widths[-2::-1], c // 2], strict=True)
        self.decoder = nn.ModuleList(up(*pair, padding=int(index > 0)) for index, pair in enumerate(pairs))
        self.share, self.picture = nn.Conv2d(c // 2, 1, 1), nn.Conv2d(c // 2, 3, 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, composite: Tensor, mask: Tensor) -> list[Tensor]:
        """Paint the whole picture."""
        seen = (composite - self.mean) / self.deviation
        x, skips = torch.cat([seen, mask], dim=1), []
        for index, layer in enumerate(self.encoder):
            if index == 2 and self.config.backbone:
                x = torch.cat([x, self.backbone(seen, mask)], dim=1)
            x = layer(x)
            skips.append(x)
        for layer, skip in zip(self.decoder, [*skips[-2::-1], None], strict=True):
            x = layer(x) if skip is None else layer(x) + skip
        share = (3 * self.share(x)).sigmoid()
        painted = share * seen + (1 - share) * self.picture(x)
        return [painted * self.deviation + self.mean]

    def loss(self, estimates: list[Tensor], mask: Tensor, truth: Tensor) -> Tensor:
        """Return the squared error of the whole picture, normalised, over three times the foreground's area."""
        squared = ((estimates[-1] - truth) / self.deviation).square().sum(dim=(1, 2, 3))
        return (squared / (3 * mask.sum(dim=(1, 2, 3)).clamp_min(LEAST_AREA))).mean()


def down(inputs: int, outputs: int, padding: int, normed: bool) -> nn.Sequential:
    """4x4 convolution of stride 2, batch norm on all but the first two, ELU."""
    norm = [nn.BatchNorm2d(outputs)] if normed else []
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, padding), *norm, nn.ELU())


def up(inputs: int, outputs: int, padding: int) -> nn.Sequential:
    """4x4 transposed convolution of stride 2, batch norm, ELU."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, padding), nn.BatchNorm2d(outputs), nn.ELU())
