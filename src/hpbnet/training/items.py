"""Items of a pool for networks that paint: what a training of one needs to know of its data, and how it augments."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

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
    start: str = setting("", "Weights of such a network to begin with.", None, "FILE")
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
