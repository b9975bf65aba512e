"""S2CRNet: spatial-separated curve rendering [Liang, Cun, Pun, Wang, ECCV 2022], without semantic labels.

Two colour curves for each channel, one after the other, predicted from the background and from the crop of the
foreground; they can only change colours globally. The inputs are not normalised. Published networks start from
SqueezeNet 1.1 of ImageNet; `load_squeezenet` takes that file, and without it all is trained from nothing. Portraits are
one class, so the authors' optional labels would be a constant and are left away. One thing is ours: the curves start
near the identity (parameters about 1), because their sum divides and must not be about 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .baseline import Baseline, Config, Critic

EPSILON = 1e-6


@dataclass(frozen=True)
class S2CRNetConfig(Config):
    """Sizes; the defaults are the published ones."""

    channels: int = 64  # of SqueezeNet's first convolution, a multiple of 4; features have eight times as many
    pieces: int = 64  # of a curve


class S2CRNet(Baseline):
    """Composite and mask -> the picture after one and after both curve modules, pasted by the mask."""

    def __init__(self, config: S2CRNetConfig | None = None) -> None:
        super().__init__()
        self.config: S2CRNetConfig = config or S2CRNetConfig()
        width = 8 * self.config.channels
        self.features = squeezenet(self.config.channels)
        self.modules_in_turn = nn.ModuleList(CurveModule(width, self.config.pieces) for _ in range(2))

    def forward(self, composite: Tensor, mask: Tensor) -> list[Tensor]:
        """Render the foreground twice, the second time starting from the first result."""
        person = self._describe(crop_foreground(composite, mask))
        scene = self._describe(composite * (1 - mask))
        x, estimates = composite, []
        for module in self.modules_in_turn:
            x = torch.lerp(composite, module(x, person, scene), mask)
            estimates.append(x)
        return estimates

    def loss(self, estimates: list[Tensor], mask: Tensor, truth: Tensor) -> Tensor:
        """Add the absolute errors of both results over the foreground, divided by its area."""
        area = mask.sum().clamp_min(1.0)
        return torch.stack([((x - truth).abs() * mask).sum() / area for x in estimates]).sum()

    def load_squeezenet(self, tensors: Mapping[str, Tensor]) -> None:
        """Start from the published SqueezeNet 1.1, whose last layers are left away.

        Raises:
            ValueError: they are another network's tensors.
        """
        kept = self.features.state_dict()
        published = {name: tensors.get(f"features.{name}") for name in kept}
        if any(tensor is None or tensor.shape != kept[name].shape for name, tensor in published.items()):
            raise ValueError("expected the tensors of SqueezeNet 1.1 (torchvision's squeezenet1_1), of 64 channels")
        self.features.load_state_dict({name: tensor for name, tensor in published.items() if tensor is not None})

    def _describe(self, picture: Tensor) -> Tensor:
        """[B,3,R,R] -> [B,8C]."""
        features: Tensor = self.features(picture)
        return features.mean(dim=(2, 3))


class CurveModule(nn.Module):
    """The vectors of foreground and background -> a curve for each channel, applied."""

    def __init__(self, width: int, pieces: int) -> None:
        super().__init__()
        self.foreground, self.background = nn.Linear(width, 3 * pieces), nn.Linear(width, 3 * pieces)
        nn.init.ones_(self.foreground.bias)

    def forward(self, picture: Tensor, person: Tensor, scene: Tensor) -> Tensor:
        """[B,3,H,W], two [B,C] -> [B,3,H,W]."""
        parameters = self.foreground(person) + self.background(scene)
        return render(picture, parameters.float().unflatten(1, (3, -1)))


class Fire(nn.Module):
    """SqueezeNet's module: 1x1 to few channels, then 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, few: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, few, 1)
        self.expand1x1 = nn.Conv2d(few, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(few, outputs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',H,W]."""
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class S2CRNetCritic(Critic):
    """A small patch discriminator with the least-squares loss."""

    def __init__(self, config: S2CRNetConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (config.channels * factor for factor in (1, 2, 4, 8)):
            layers += [nn.Conv2d(inputs, outputs, 5, 2, 2), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
            inputs = outputs
        side = config.resolution // 16
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, 1, min(4, side)))

    def forward(self, picture: Tensor) -> Tensor:
        """[B,3,R,R] in [0,1] -> a map of verdicts [B,1,h,w]: 1 for real, 0 for painted."""
        verdicts: Tensor = self.layers(picture)
        return verdicts

    def deceit(self, picture: Tensor, mask: Tensor) -> Tensor:
        """Return the squared distance of the verdicts to "real"."""
        error: Tensor = (self(picture) - 1).square().mean()
        return error

    def loss(self, picture: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the squared distances of both verdicts to the right ones."""
        error: Tensor = ((self(truth) - 1).square().mean() + self(picture).square().mean()) / 2
        return error


def render(
    picture: Tensor,  # [B,3,H,W] in [0,1]
    parameters: Tensor,  # [B,3,N]: the slope of each piece of the curve, before scaling
) -> Tensor:
    """Apply a curve of N pieces to each channel, scaled so that 1 stays 1; equal slopes are the identity."""
    pieces = parameters.shape[2]
    total = parameters.sum(dim=2, keepdim=True)
    total = torch.where(total < 0, total.clamp_max(-EPSILON), total.clamp_min(EPSILON))
    heights = parameters * (pieces / total)  # slopes that end at 1
    starts = F.pad(heights.cumsum(dim=2)[:, :, :-1], (1, 0)) / pieces  # [B,3,N] the curve where a piece begins
    index = (picture * pieces).long().clamp(0, pieces - 1)  # the piece that a value lies on
    within = picture.clamp(0.0, 1.0) - index / pieces
    flat = index.flatten(2)
    slope, start = (values.gather(2, flat).unflatten(2, picture.shape[2:]) for values in (heights, starts))
    rendered: Tensor = start + slope * within
    return rendered


def crop_foreground(picture: Tensor, mask: Tensor) -> Tensor:
    """Cut the box around the mask out of the masked picture, at the picture's size; all of it if the mask is empty."""
    size = (picture.shape[2], picture.shape[3])
    crops = []
    for person, own in zip(picture * mask, mask[:, 0] > 0, strict=True):
        rows, columns = own.any(dim=1).nonzero(), own.any(dim=0).nonzero()
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, size[0])
        left, right = (int(columns[0]), int(columns[-1]) + 1) if len(rows) else (0, size[1])
        box = person[None, :, top:bottom, left:right]
        crops.append(F.interpolate(box, size, mode="bilinear", align_corners=False))
    return torch.cat(crops)


def squeezenet(channels: int) -> nn.Sequential:
    """SqueezeNet 1.1 [Iandola et al. 2016] up to the Fire that ends in 8C channels; numbered as published."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    c = channels
    return nn.Sequential(
        nn.Conv2d(3, c, 3, 2),
        nn.ReLU(),
        pool(),
        Fire(c, c // 4, 2 * c),
        Fire(2 * c, c // 4, 2 * c),
        pool(),
        Fire(2 * c, c // 2, 4 * c),
        Fire(4 * c, c // 2, 4 * c),
        pool(),
        Fire(4 * c, 3 * c // 4, 6 * c),
        Fire(6 * c, 3 * c // 4, 6 * c),
        Fire(6 * c, c, 8 * c),
    )
