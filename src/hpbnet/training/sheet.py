"""Sheets of pictures, to look at while a network learns."""

from collections.abc import Iterable

import torch
from torch import Tensor


def sheet(pictures: Iterable[Tensor], columns: int = 8) -> Tensor:
    """Lay pictures [1,3,H,W] out in rows -> [1,3,rows x H, columns x W]."""
    every = list(pictures)
    rows = [torch.cat(every[start : start + columns], dim=3) for start in range(0, len(every), columns)]
    return torch.cat(rows, dim=2)
