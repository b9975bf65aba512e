"""Grids between frames: made coarse where a person was judged, and cut to the part of the canvas that is drawn."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..affine_grid import AffineGrid, Window

_CELLS = 16  # of a grid along each side, at most: light varies slowly


def settle(grid: AffineGrid, alpha: Tensor) -> AffineGrid:
    """Average a grid to at most 16 cells a side, weighted by the alpha [1,1,H,W] that it was judged for.

    Cells without a person hold nothing that was meant; they get the mean of the others, and a person who moves into
    them before the next answer keeps its colours.
    """
    depth, height, width = grid.shape
    if height <= 1 and width <= 1:
        return grid
    weight = F.adaptive_avg_pool2d(alpha, (height, width))
    cells = grid.matrix.flatten(1, 3)  # [1,12*D,h,w]
    mean = (cells * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1e-6)
    size = min(height, _CELLS), min(width, _CELLS)
    faint = 0.02
    pooled = F.adaptive_avg_pool2d(cells * weight, size) + faint * mean
    pooled = pooled / (F.adaptive_avg_pool2d(weight, size) + faint)
    return AffineGrid(pooled.view(-1, 3, 4, depth, *size))


def crop_grid(grid: AffineGrid, window: Window, canvas: tuple[int, int]) -> AffineGrid:
    """Return the grid of a part of the canvas, with as many cells as the whole."""
    depth, height, width = grid.shape
    if (height, width) == (1, 1):
        return grid
    top, left, bottom, right = window
    rows = (torch.arange(height) + 0.5) / height * (bottom - top) + top
    columns = (torch.arange(width) + 0.5) / width * (right - left) + left
    y, x = torch.meshgrid(rows / canvas[0] * 2 - 1, columns / canvas[1] * 2 - 1, indexing="ij")
    places = torch.stack([x, y], dim=-1)[None].to(grid.matrix)
    cells = F.grid_sample(grid.matrix.flatten(1, 3), places, padding_mode="border", align_corners=False)
    return AffineGrid(cells.view(-1, 3, 4, depth, height, width))
