"""Items of a pool for networks that paint: what their trainings need to know of the data, augmentation, validation."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ..metrics import mse, psnr
from ..settings import setting
from ..synthesis.draws import happens, seeded, whole
from ..synthesis.pool import Pool
from ..synthesis.recipe import PAPER
from ..triplet import Triplet
from .composites import renew
from .config import MANY, TrainConfig


@dataclass(frozen=True)
class PoolTraining(TrainConfig):
    """A training on pools of items (`synthesis/shards.py`) of a network that paints square pictures of one size."""

    data: str = setting(
        "", "Pools that `hpbnet synthesize --pool` made, one or several below a folder.", None, "FOLDER"
    )
    validation: str = setting("", "Pool of validation portraits; no validation without it.", None, "FOLDER")
    validation_items: int = setting(64, "Items to validate on.", MANY)
    start: str = setting("", "Weights of a network of the same kind and sizes to begin with.", None, "FILE")
    resolution: int = setting(256, "Side of the pictures [px], a power of two.", (8, 1024))
    flips: bool = setting(True, "Mirror half of the items.")

    def cut(self, item: Triplet, draw: torch.Generator) -> Triplet:
        """Bring an item [1,C,S,S] to the network's resolution."""
        return resized(item, self.resolution)

    def augment(self, item: Triplet, draw: torch.Generator) -> Triplet:
        """Vary an item of the network's resolution."""
        if self.flips and happens(0.5, draw):
            return item.map(lambda image: image.flip(3))
        return item


class Items(Dataset[Triplet]):
    """Endless items of a pool, augmented as their training says; item k depends on (seed, k) alone.

    Those of the `relit` recipe give their light to a new item of the `paper` recipe each time.
    """

    def __init__(self, pool: Pool, config: PoolTraining) -> None:
        self.pool, self.config = pool, config

    def __getitem__(self, index: int) -> Triplet:
        """Read item `index`: every item of the pool comes once in each round."""
        turn, place = divmod(index, len(self.pool))
        order = torch.randperm(len(self.pool), generator=seeded(self.config.seed, "round", turn))
        chosen, draw = int(order[place]), seeded(self.config.seed, "augment", index)
        item = self.config.cut(self.pool[chosen], draw)
        if self.pool.recipes[chosen] == "relit":
            reference = resized(self.pool[whole(len(self.pool), draw)], self.config.resolution)
            item = renew(item, reference, PAPER, draw)
        return self.config.augment(item, draw).to_bytes()


def resized(item: Triplet, resolution: int) -> Triplet:
    """Bring square images [1,C,S,S] to a resolution."""
    if item.composite.shape[-1] == resolution:
        return item
    size = (resolution, resolution)
    return item.map(lambda x: F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False))


class Comparison:
    """Squared errors and PSNR of several results of validation items, against the untouched composites."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self._rows: list[Tensor] = []

    def add(self, item: Triplet, *results: Tensor) -> None:
        """Measure the results [1,3,R,R] of an item."""
        both = [torch.stack([mse(x, item.truth), psnr(x, item.truth)]) for x in (item.composite, *results)]
        self._rows.append(torch.stack(both)[:, :, 0])  # [1+n,2]

    @property
    def values(self) -> dict[str, float]:
        """Give for each result the ratio of mean squared errors after / before, and the mean gain [dB]."""
        before, *after = torch.stack(self._rows).mean(dim=0).tolist()
        values: dict[str, float] = {}
        for name, (error, decibels) in zip(self.names, after, strict=True):
            values |= {f"{name}_ratio": error / before[0], f"{name}_gain": decibels - before[1]}
        return values
