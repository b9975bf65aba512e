"""The one colour transform: a bilateral grid of affine maps [HDRNet, Gharbi et al. 2017].

Knows how a grid is sampled, applied to an image of any size, blended, and fitted to a pair of pictures. Knows nothing
of foregrounds, backgrounds or networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .color import LUMA

_BAND_PIXELS = 1 << 15  # a band's coefficients then stay in the processor's cache

Window = tuple[int, int, int, int]  # top, left, bottom, right [px]; bottom and right exclusive


@dataclass(frozen=True)
class AffineGrid:
    """Affine colour maps over (luma, y, x); each pixel reads its map by trilinear interpolation.

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
        """Make a grid of one cell that changes nothing."""
        return AffineGrid.uniform(torch.eye(3, 4).expand(batch, 3, 4))

    @staticmethod
    def uniform(matrix: Tensor) -> "AffineGrid":
        """Make a grid of one cell from a matrix [B,3,4]."""
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

    def then(self, other: "AffineGrid") -> "AffineGrid":
        """Combine two colour changes in one grid: this one first, then another that does not depend on luma.

        Exact (except for the clamp between them) if one of the two is a single matrix; else exact at the cell centres.
        """
        assert other.shape[0] == 1, f"the second grid has {other.shape[0]} luma cells, expected 1"
        shape = tuple(max(mine, theirs) for mine, theirs in zip(self.shape, other.shape, strict=True))
        first, second = self.resample(*shape).matrix, other.resample(*shape).matrix.to(self.matrix)
        mixed = torch.einsum("bijdyx,bjkdyx->bikdyx", second[:, :, :3].expand(first.shape[0], -1, -1, *shape), first)
        mixed[:, :, 3] += second[:, :, 3]
        return AffineGrid(mixed)

    def resample(self, depth: int, height: int, width: int) -> "AffineGrid":
        """Sample this grid at the cell centres of another."""
        if (depth, height, width) == self.shape:
            return self
        cells = self.matrix.flatten(1, 2)  # [B,12,D,h,w]
        cells = F.interpolate(cells, size=(depth, height, width), mode="trilinear", align_corners=False)
        return AffineGrid(cells.unflatten(1, (3, 4)))

    def apply(self, image: Tensor, window: Window | None = None) -> Tensor:
        """Recolour an image [B,3,H,W] of any size; the result is clamped to [0,1].

        It works in bands of rows, so that the coefficients of a large image need little memory. If gradients are
        needed, it works on the whole image.

        Args:
            image: The picture, in sRGB.
            window: Top, left, bottom and right [px] of the part to recolour; the rest does not change.
        """
        assert image.ndim == 4 and image.shape[1] == 3, f"image is {tuple(image.shape)}"
        rows, columns = image.shape[-2:]
        terms = _luma_terms(self.matrix.to(image).expand(image.shape[0], -1, -1, -1, -1, -1))
        if torch.is_grad_enabled() and (image.requires_grad or terms.requires_grad):
            return _apply_whole(terms, image)
        top, left, bottom, right = (0, 0, rows, columns) if window is None else window
        result = empty_like(image)
        for outside in (
            (slice(0, top), slice(None)),
            (slice(bottom, rows), slice(None)),
            (slice(top, bottom), slice(0, left)),
            (slice(top, bottom), slice(right, columns)),
        ):
            result[:, :, *outside] = image[:, :, *outside]
        for item in range(image.shape[0]):
            _apply_bands(terms[item], image[item], result[item], (top, left, bottom, right))
        return result

    @staticmethod
    def fit(
        source: Tensor,  # [B,3,H,W] sRGB in [0,1]
        target: Tensor,  # [B,3,H,W]
        weight: Tensor | None = None,  # [B,1,H,W]
        *,
        depth: int = 8,
        height: int = 16,
        width: int = 16,
        ridge: float = 1e-4,
        smoothing: float = 0.5,
    ) -> "AffineGrid":
        """Fit the grid that turns source into target: per cell, a ridge regression on the pixels around it.

        This is the local affine model of the guided filter [He et al. 2013], also over luma. The ridge pulls each cell
        towards the fit to the whole image, whose own ridge pulls towards identity. So empty cells do no harm.

        Args:
            source: The picture before.
            target: The picture after.
            weight: How much each pixel counts; everywhere 1 if not given.
            depth: Cells over luma.
            height: Cells over y.
            width: Cells over x.
            ridge: Pull towards the global fit, where 1 is the weight of an average cell's pixels.
            smoothing: Share of its neighbours' pixels that a cell counts as its own, along y and along x.
        """
        weight = torch.ones_like(source[:, :1]) if weight is None else weight
        moments = _moments(source, target, weight, (depth, height, width))  # [B,28,D,h,w]
        total = moments.sum(dim=(2, 3, 4), keepdim=True)
        share = total[:, 15:16].clamp_min(1e-6)  # the weight of all pixels
        prior = _solve(total / share, torch.eye(3, 4).to(source).view(1, 12, 1, 1, 1), 1e-6)
        for axis in (3, 4):
            moments = _smooth(moments, axis, smoothing)
        cells = _solve(moments / share * (depth * height * width), prior, ridge)
        return AffineGrid(cells.unflatten(1, (3, 4)))


def _luma_terms(matrix: Tensor) -> Tensor:
    """Convert cells over luma [B,3,4,D,h,w] to the first one and the differences of neighbours, same shape.

    With f_d = clamp(D luma - 1/2 - (d - 1), 0, 1), the map at a luma is terms[0] + sum over d >= 1 of f_d terms[d].
    """
    return torch.cat([matrix[:, :, :, :1], matrix[:, :, :, 1:] - matrix[:, :, :, :-1]], dim=3)


def _luma_steps(image: Tensor, depth: int) -> Tensor:
    """Compute the f_d of `_luma_terms` for d = 1..D-1: [...,3,H,W] -> [...,D-1,H,W]."""
    red, green, blue = image.split(1, dim=-3)
    position = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) * depth - 0.5
    steps = torch.arange(depth - 1, dtype=image.dtype, device=image.device).view(-1, 1, 1)
    weights: Tensor = (position - steps).clamp(0.0, 1.0)
    return weights


def _apply_whole(terms: Tensor, image: Tensor) -> Tensor:
    """Recolour an image with all its coefficients at once, differentiably."""
    depth, height, width = terms.shape[3:]
    if (height, width) != (1, 1):
        cells = F.interpolate(terms.flatten(1, 3), image.shape[-2:], mode="bilinear", align_corners=False)
        terms = cells.unflatten(1, (3, 4, depth))
    matrix = terms[:, :, :, 0]
    steps = _luma_steps(image, depth)
    for index in range(1, depth):
        matrix = torch.addcmul(matrix, terms[:, :, :, index], steps[:, None, None, index - 1])
    mixed = (matrix[:, :, :3] * image[:, None]).sum(2)
    return (mixed + matrix[:, :, 3]).clamp(0.0, 1.0)


def _apply_bands(
    terms: Tensor,  # [3,4,D,h,w], see _luma_terms
    image: Tensor,  # [3,H,W]
    result: Tensor,  # [3,H,W], written inside the window
    window: Window,
) -> None:
    """Recolour one image band by band."""
    top, left, bottom, right = window
    height, width = terms.shape[3:]
    band_rows = max(1, _BAND_PIXELS // max(1, right - left))
    if height == width == 1:
        for first in range(top, bottom, band_rows):
            here = slice(first, min(first + band_rows, bottom)), slice(left, right)
            result[:, *here] = _apply_lookup(terms[..., 0, 0], image[:, *here])
        return
    across = F.interpolate(terms.flatten(0, 1), (height, image.shape[-1]), mode="bilinear", align_corners=False)
    cells = across[..., left:right].unflatten(0, (3, 4)).transpose(1, 2)  # [3,D,4,h,columns]
    down = _positions(image.shape[-2], height)
    for first, last in _same_cell(down, top, bottom):
        cell = int(down[first])
        above, below = cells[:, :, :, cell, None], cells[:, :, :, min(cell + 1, height - 1), None]
        slope = below - above  # [3,D,4,1,columns]
        for start in range(first, last, band_rows):
            stop = min(start + band_rows, last)
            share = (down[start:stop, None] - cell).to(image)  # [rows,1]
            mixed = _apply_between(above, slope, share, image[:, start:stop, left:right])
            torch.clamp(mixed, 0.0, 1.0, out=result[:, start:stop, left:right])


def _apply_between(above: Tensor, slope: Tensor, share: Tensor, band: Tensor) -> Tensor:
    """Recolour a band [3,rows,columns] between two rows of cells, not clamped."""
    mixed = _mix(torch.addcmul(above[:, 0], slope[:, 0], share), band)
    if above.shape[1] > 1:
        for index, step in enumerate(_luma_steps(band, above.shape[1]), start=1):
            mixed.addcmul_(_mix(torch.addcmul(above[:, index], slope[:, index], share), band), step)
    return mixed


def _apply_lookup(terms: Tensor, band: Tensor) -> Tensor:
    """Recolour pixels [3,rows,W] by matrices [3,4,D] that depend on luma only."""
    depth = terms.shape[-1]
    pixels = band.flatten(1)  # [3,N]
    if depth == 1:
        mixed = torch.addmm(terms[:, 3], terms[:, :3, 0], pixels)
        return mixed.clamp_(0.0, 1.0).view_as(band)
    steps = _luma_steps(band, depth).flatten(1)
    matrix = torch.addmm(terms[:, :, :1].flatten(0, 1), terms[:, :, 1:].flatten(0, 1), steps)  # [12,N]
    return _mix(matrix.unflatten(0, (3, 4)), pixels).clamp_(0.0, 1.0).view_as(band)


def _mix(matrix: Tensor, band: Tensor) -> Tensor:
    """Multiply pixels [3,...] by their matrices [3,4,...]."""
    mixed = torch.addcmul(matrix[:, 3], matrix[:, 0], band[0])
    return mixed.addcmul_(matrix[:, 1], band[1]).addcmul_(matrix[:, 2], band[2])


def _same_cell(down: Tensor, top: int, bottom: int) -> Iterator[tuple[int, int]]:
    """Split the rows top..bottom into those that lie between the same two rows of cells."""
    cells = down[top:bottom].floor()
    changes = (cells[1:] != cells[:-1]).nonzero().flatten() + top + 1
    yield from pairwise([top, *changes.tolist(), bottom])


def _positions(samples: int, cells: int) -> Tensor:
    """Positions of sample centres counted in cells from the first cell's centre, borders clamped -> [samples]."""
    positions = (torch.arange(samples, dtype=torch.float64) + 0.5) * cells / samples - 0.5
    return positions.clamp(0, cells - 1)


def empty_like(image: Tensor) -> Tensor:
    """Allocate an image by NumPy, which uses huge pages: the first write to a large one is five times faster."""
    if image.device.type != "cpu" or image.dtype != torch.float32:
        return torch.empty_like(image)
    return torch.from_numpy(np.empty(image.shape, dtype=np.float32))


def _weights(samples: int, cells: int, like: Tensor) -> Tensor:
    """Linear interpolation of cell centres at sample centres -> [samples, cells]."""
    distance = (_positions(samples, cells)[:, None] - torch.arange(cells)).abs()
    return (1 - distance).clamp_min(0).to(like)


def _moments(source: Tensor, target: Tensor, weight: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Sum products of source and target around each cell -> [B,28,D,h,w]: 16 of p pT, 12 of q pT."""
    depth, height, width = shape
    ones = torch.ones_like(source[:, :1])
    before = torch.cat([source, ones], dim=1)  # [B,4,H,W]
    after = torch.cat([before, target], dim=1)  # [B,7,H,W]
    products = (after[:, :, None] * (before * weight)[:, None]).flatten(1, 2)  # [B,28,H,W]
    red, green, blue = source.split(1, dim=1)
    position = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) * depth - 0.5
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
    solution: Tensor = torch.linalg.solve(normal, (mixed + ridge * pull).mT).mT
    return solution.flatten(-2).movedim(-1, 1).type_as(moments)
