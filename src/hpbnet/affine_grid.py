"""The one colour transform: a bilateral grid of affine maps [HDRNet, Gharbi et al. 2017].

Knows how a grid is sampled, applied to an image of any size, blended, and fitted to a pair of pictures. Knows nothing
of foregrounds, backgrounds or networks.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, as color.LUMA: a module of floor 0 imports no other
_BAND_PIXELS = 1 << 16  # a band's twelve coefficients then stay in the processor's cache


@dataclass(frozen=True)
class AffineGrid:
    """Affine colour maps over (luma, y, x); a pixel reads its own by trilinear interpolation.

    Cells are sampled at their centres, borders clamp, the guide is the pixel's Rec. 709 luma.
    """

    matrix: Tensor  # [B,3,4,D,h,w]; a pixel becomes matrix @ [r,g,b,1]

    def __post_init__(self) -> None:
        assert self.matrix.ndim == 6 and self.matrix.shape[1:3] == (3, 4), f"matrix is {tuple(self.matrix.shape)}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of cells over luma, y and x."""
        depth, height, width = self.matrix.shape[3:]
        return depth, height, width

    @staticmethod
    def identity(batch: int = 1) -> "AffineGrid":
        """Make the grid of one cell that changes nothing."""
        return AffineGrid.uniform(torch.eye(3, 4).expand(batch, 3, 4))

    @staticmethod
    def uniform(matrix: Tensor) -> "AffineGrid":
        """Make the grid of one cell from a matrix [B,3,4]."""
        return AffineGrid(matrix[..., None, None, None])

    def lerp(self, other: "AffineGrid", weight: float) -> "AffineGrid":
        """Blend towards another grid: this one at weight 0, the other at 1."""
        shape = tuple(max(mine, theirs) for mine, theirs in zip(self.shape, other.shape, strict=True))
        mine, theirs = self.resample(*shape).matrix, other.resample(*shape).matrix
        mine, theirs = torch.broadcast_tensors(mine, theirs.to(mine))
        return AffineGrid(torch.lerp(mine, theirs, weight))

    def shrink(self, strength: float) -> "AffineGrid":
        """Blend from identity (strength 0) to this grid (strength 1)."""
        return AffineGrid.identity(self.matrix.shape[0]).lerp(self, strength)

    def resample(self, depth: int, height: int, width: int) -> "AffineGrid":
        """Sample this grid at the cell centres of another."""
        if (depth, height, width) == self.shape:
            return self
        cells = self.matrix.flatten(1, 2)  # [B,12,D,h,w]
        cells = F.interpolate(cells, size=(depth, height, width), mode="trilinear", align_corners=False)
        return AffineGrid(cells.unflatten(1, (3, 4)))

    def apply(self, image: Tensor) -> Tensor:
        """Recolour an image [B,3,H,W] of any size; the result is clamped to [0,1]."""
        assert image.ndim == 4 and image.shape[1] == 3, f"image is {tuple(image.shape)}"
        if torch.is_grad_enabled() and (image.requires_grad or self.matrix.requires_grad):
            return _apply_rows(self.matrix, image, 0, image.shape[2])
        result = torch.empty_like(image)
        rows = max(1, _BAND_PIXELS // image.shape[3])
        for top in range(0, image.shape[2], rows):
            bottom = min(top + rows, image.shape[2])
            result[:, :, top:bottom] = _apply_rows(self.matrix, image, top, bottom)
        return result

    @staticmethod
    def fit(
        source: Tensor,  # [B,3,H,W] sRGB in [0,1]
        target: Tensor,  # [B,3,H,W]
        weight: Tensor | None = None,  # [B,1,H,W]
        depth: int = 8,
        height: int = 16,
        width: int = 16,
        ridge: float = 1e-3,
        smoothing: float = 0.5,
    ) -> "AffineGrid":
        """Fit the grid that turns source into target: per cell, a ridge regression on the pixels around it.

        This is the local affine model of the guided filter [He et al. 2013], over luma too. A cell's ridge pulls
        towards the fit to the whole image, whose own ridge pulls towards identity: empty cells do no harm.

        Args:
            source: The picture before.
            target: The picture after.
            weight: How much each pixel counts; everywhere 1 if not given.
            depth: Cells over luma.
            height: Cells over y.
            width: Cells over x.
            ridge: Pull towards the global fit, where 1 is the weight of an average cell's pixels.
            smoothing: Share of its neighbours' pixels that a cell counts as its own, along each axis.
        """
        weight = torch.ones_like(source[:, :1]) if weight is None else weight
        moments = _moments(source, target, weight, (depth, height, width))  # [B,28,D,h,w]
        total = moments.sum(dim=(2, 3, 4), keepdim=True)
        share = total[:, 15:16].clamp_min(1e-6)  # the weight of all pixels
        prior = _solve(total / share, torch.eye(3, 4).to(source).view(1, 12, 1, 1, 1), 1e-6)
        for axis in (2, 3, 4):
            moments = _smooth(moments, axis, smoothing)
        cells = _solve(moments / share * (depth * height * width), prior, ridge)
        return AffineGrid(cells.unflatten(1, (3, 4)))


def _apply_rows(matrix: Tensor, image: Tensor, top: int, bottom: int) -> Tensor:
    """Recolour the rows top..bottom of an image."""
    band = image[:, :, top:bottom]
    coefficients = _slice(matrix, image, top, bottom)  # [B,3,4,rows,W]
    out = coefficients[:, :, 3].expand(-1, -1, *band.shape[-2:])
    for channel in range(3):
        out = torch.addcmul(out, coefficients[:, :, channel], band[:, channel : channel + 1])
    return out.clamp(0.0, 1.0)


def _slice(matrix: Tensor, image: Tensor, top: int, bottom: int) -> Tensor:
    """Read the matrices of the rows top..bottom of an image -> [B,3,4,rows or 1,W or 1]."""
    batch, _, _, depth, height, width = matrix.shape
    if depth == height == width == 1:
        return matrix[:, :, :, 0]
    rows, columns = image.shape[-2:]
    across = _weights(columns, width, image)  # [W,w]
    down = _weights(rows, height, image)[top:bottom]  # [rows,h]
    if depth == 1:
        return down @ matrix[:, :, :, 0] @ across.T
    red, green, blue = image[:, :, top:bottom].unbind(1)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    y = (torch.arange(top, bottom).to(image) + 0.5) * (2 / rows) - 1
    x = (torch.arange(columns).to(image) + 0.5) * (2 / columns) - 1
    where = torch.stack(
        [x.expand_as(luma), y[:, None].expand_as(luma), luma * 2 - 1], dim=-1
    )  # [B,rows,W,3], in [-1,1]
    cells = matrix.flatten(1, 2).expand(image.shape[0], -1, -1, -1, -1)
    read = F.grid_sample(cells, where[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    return read[:, :, 0].unflatten(1, (3, 4))


def _weights(samples: int, cells: int, like: Tensor) -> Tensor:
    """Linear interpolation of cell centres at sample centres, borders clamped -> [samples, cells]."""
    position = ((torch.arange(samples, dtype=torch.float64) + 0.5) * cells / samples - 0.5).clamp(0, cells - 1)
    return (1 - (position[:, None] - torch.arange(cells)).abs()).clamp_min(0).to(like)


def _moments(source: Tensor, target: Tensor, weight: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Sum products of source and target around each cell -> [B,28,D,h,w]: 16 of p pT, 12 of q pT."""
    depth, height, width = shape
    ones = torch.ones_like(source[:, :1])
    before = torch.cat([source, ones], dim=1)  # [B,4,H,W]
    after = torch.cat([before, target], dim=1)  # [B,7,H,W]
    products = (after[:, :, None] * (before * weight)[:, None]).flatten(1, 2)  # [B,28,H,W]
    red, green, blue = source.split(1, dim=1)
    position = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue) * depth - 0.5
    position = position.clamp(0, depth - 1)
    down, across = _weights(source.shape[2], height, source).T, _weights(source.shape[3], width, source)
    slices = []
    for index in range(depth):
        hat = (1 - (position - index).abs()).clamp_min(0)
        slices.append(down @ (products * hat) @ across)
    return torch.stack(slices, dim=2)


def _smooth(cells: Tensor, axis: int, share: float) -> Tensor:
    """Add to each cell a share of its neighbours along one axis."""
    if cells.shape[axis] == 1:
        return cells
    count = cells.shape[axis]
    first, last = cells.narrow(axis, 0, 1), cells.narrow(axis, count - 1, 1)
    before = torch.cat([first, cells.narrow(axis, 0, count - 1)], dim=axis)
    after = torch.cat([cells.narrow(axis, 1, count - 1), last], dim=axis)
    return (cells + share * (before + after)) / (1 + 2 * share)


def _solve(moments: Tensor, prior: Tensor, ridge: float) -> Tensor:
    """Solve the ridge regression of every cell, pulled towards a prior [B,12,1,1,1] -> [B,12,D,h,w]."""
    cells = moments.movedim(1, -1).double()
    normal, mixed = cells[..., :16].unflatten(-1, (4, 4)), cells[..., 16:].unflatten(-1, (3, 4))
    pull = prior.movedim(1, -1).double().unflatten(-1, (3, 4))
    normal = normal + ridge * torch.eye(4, dtype=torch.float64, device=cells.device)
    solution = torch.linalg.solve(normal, (mixed + ridge * pull).transpose(-1, -2)).transpose(-1, -2)
    return solution.flatten(-2).movedim(-1, 1).to(moments)
