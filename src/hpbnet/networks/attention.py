"""Self-attention over all places of a small feature map."""

import math

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Each place of [B,C,h,w] looks at every other; added with a small learned gain."""

    def __init__(self, width: int, heads: int, places: int = 0) -> None:
        """Learn a position for each of `places` = h x w places; 0 where the size varies."""
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads do not share a width of {width}")
        self.heads = heads
        self.position = nn.Parameter(torch.zeros(1, places, width)) if places else None
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.gain = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape [B,C,h,w]."""
        tokens = x.flatten(2).transpose(1, 2)  # [B,h*w,C]
        placed = tokens if self.position is None else tokens + self.position
        triple = self.query_key_value(self.norm(placed)).unflatten(2, (3, self.heads, -1))
        query, key, value = triple.permute(2, 0, 3, 1, 4)  # three [B,heads,h*w,C/heads]
        weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
        mixed: Tensor = self.out((weights @ value).transpose(1, 2).flatten(2))
        return x + self.gain * mixed.transpose(1, 2).reshape(x.shape)
