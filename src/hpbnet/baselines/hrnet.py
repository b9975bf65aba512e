"""HRNetV2 [Wang et al. 2019] with object-contextual attention [Yuan et al. 2020], as iDIH's backbone has it.

Branches of 1/4 to 1/32 of the picture exchange features all along, and end together at 1/4. The two objects of the
attention are the foreground and the background, given by the mask itself. Pictures are normalised outside.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODULES = (1, 4, 3)  # of the stages with 2, 3 and 4 branches
MASK_GAIN = 0.1  # of the mask's features at the start


class HRNet(nn.Module):
    """Picture and mask -> features at a quarter of the size."""

    def __init__(self, stem: int, width: int, outputs: int, modules: Sequence[int] = MODULES, blocks: int = 4) -> None:
        super().__init__()
        self.first, self.second = block(3, stem, 3, 2), block(stem, stem, 3, 2)
        self.mask = nn.Conv2d(1, stem, 3, 2, 1)
        self.mask_gain = nn.Parameter(torch.full((1,), MASK_GAIN))
        self.stage = nn.Sequential(*(Bottleneck(4 * stem if index else stem, stem) for index in range(blocks)))
        widths = [width * 2**index for index in range(len(modules) + 1)]
        self.start = nn.ModuleList([block(4 * stem, widths[0]), block(4 * stem, widths[1], 3, 2)])
        self.added = nn.ModuleList(block(*pair, 3, 2) for pair in pairwise(widths[1:]))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Exchange(widths[: index + 2], blocks) for _ in range(count)))
            for index, count in enumerate(modules)
        )
        self.join = block(sum(widths), outputs, bias=True)
        self.context = Context(outputs)

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """[B,3,H,W], [B,1,H,W] -> [B,C,H/4,W/4]."""
        x = self.first(picture) + self.mask_gain * self.mask(mask)
        x = self.stage(self.second(x))
        maps = [branch(x) for branch in self.start]
        for index, stage in enumerate(self.stages):
            if index:
                maps = [*maps, self.added[index - 1](maps[-1])]
            maps = stage(maps)
        size = maps[0].shape[2:]
        same = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in maps]
        features: Tensor = self.context(self.join(torch.cat(same, dim=1)), mask)
        return features


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(block(inputs, width, 1), block(width, width), block(width, 4 * width, 1, relu=False))
        self.shortcut = block(inputs, 4 * width, 1, relu=False) if inputs != 4 * width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B,I,H,W] -> [B,4C,H,W]."""
        return F.relu(self.body(x) + self.shortcut(x))


class Basic(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(block(width, width), block(width, width, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape [B,C,H,W]."""
        return F.relu(self.body(x) + x)


class Exchange(nn.Module):
    """Basic blocks in every branch; then every branch is given the sum of all, each brought to its size and width."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(Basic(width) for _ in range(blocks))) for width in widths)
        self.sums = nn.ModuleList(Sum(widths, target) for target in range(len(widths)))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Keep the shapes [B,C_i,h_i,w_i], finest first."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [total(maps) for total in self.sums]


class Sum(nn.Module):
    """Add up the features of all branches, at the size and width of one."""

    def __init__(self, widths: Sequence[int], target: int) -> None:
        super().__init__()
        self.target = target
        self.ways = nn.ModuleList(way(widths, source, target) for source in range(len(widths)))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """[B,C_i,h_i,w_i] of all branches -> [B,C,h,w] of one."""
        size = maps[self.target].shape[2:]
        led = [way(x) for way, x in zip(self.ways, maps, strict=True)]
        same = [x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=False) for x in led]
        return F.relu(torch.stack(same).sum(dim=0))


def way(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Lead the features of one branch to another: 1x1 to a finer one, halvings to a coarser one."""
    if source == target:
        return nn.Identity()
    if source > target:
        return block(widths[source], widths[target], 1, relu=False)
    halvings = [block(widths[source], widths[source], 3, 2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, block(widths[source], widths[target], 3, 2, relu=False))


class Context(nn.Module):
    """Each place attends to the mean features of foreground and background, which are set beside its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        key = width // 2
        self.query = nn.Sequential(block(width, key, 1), block(key, key, 1))
        self.key = nn.Sequential(block(width, key, 1), block(key, key, 1))
        self.value, self.rise = block(width, key, 1), block(key, width, 1)
        self.out = nn.Sequential(block(2 * width, width, 1), nn.Dropout2d(0.05))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B,C,h,w] and the mask of the whole picture -> [B,C,h,w]."""
        small = F.interpolate(mask, x.shape[2:], mode="bilinear", align_corners=False)
        shares = torch.cat([1 - small, small], dim=1).flatten(2).softmax(dim=2).to(x)  # [B,2,N]
        objects = (shares @ x.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]  # [B,C,2,1]
        query, key, value = (
            part.flatten(2).transpose(1, 2)[:, None] for part in (self.query(x), self.key(objects), self.value(objects))
        )
        seen = F.scaled_dot_product_attention(query, key, value)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        features: Tensor = self.out(torch.cat([self.rise(seen), x], dim=1))
        return features


def block(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, relu: bool = True, bias: bool = False
) -> nn.Sequential:
    """Convolution, batch norm, and perhaps ReLU."""
    layers = [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))
