"""Simple people and canvases for tests."""

import torch
from torch import Tensor


def person(top: int, left: int, bottom: int, right: int, height: int = 100, width: int = 100) -> Tensor:
    alpha = torch.zeros(1, 1, height, width)
    alpha[..., top:bottom, left:right] = 1
    return alpha


def canvas(height: int = 200, width: int = 300) -> Tensor:
    return torch.full((1, 3, height, width), 0.25)
