"""A pool of made items on disk, for training: folders of about a thousand items as memory-mappable arrays.

A shard `000/` holds `composites.npy` and `reals.npy` uint8 [N,S,S,3], `masks.npy` uint8 [N,S,S] and `rows.jsonl`, one
line an item. A shard appears complete (renamed into place), so a training may begin before the pool is finished.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..relight import Relighter, dpr_relighter, load_dpr
from .item import Item, make_item
from .portraits import Portrait, Square, read_square
from .recipe import RECIPES

REFERENCE_SIZE = 128  # [px] enough for the reference's colour statistics
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolPlan:
    """What a pool is made of."""

    portraits: tuple[Portrait, ...]
    recipe: str
    relighter: str  # dpr:PATH
    rounds: int = 3  # items a portrait; one where the backdrop is plain
    size: int = 256
    shard_size: int = 1000
    seed: int = 0

    def pairs(self) -> list[tuple[int, int]]:
        """List the (portrait, reference) of every item: rounds of all portraits, each shuffled."""
        generator = seeded(self.seed, "pairs")
        pairs = []
        for number in range(self.rounds):
            for index in torch.randperm(len(self.portraits), generator=generator).tolist():
                other = int(torch.randint(len(self.portraits) - 1, (), generator=generator))
                if number == 0 or not self.portraits[index].plain:
                    pairs.append((index, other + (other >= index)))
        return pairs


def seeded(*key: object) -> torch.Generator:
    """Return a generator that depends on the key alone, not on what was drawn before."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def write_pool(folder: Path, plan: PoolPlan, workers: int) -> None:
    """Write the shards that are not there yet, each worker on one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-len(plan.pairs()) // plan.shard_size)
    missing = [number for number in range(count) if not (folder / f"{number:03d}").is_dir()]
    _log.info("%d items, %d shards, %d to write", len(plan.pairs()), count, len(missing))
    jobs = [(folder, plan, number) for number in missing]
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_one_thread) as pool:
        for number, mean_squared_error in pool.imap_unordered(_write_shard, jobs):
            _log.info("shard %03d written, MSE %.0f", number, mean_squared_error)


def load_relighter(spec: str) -> Relighter:
    """Build a relighter from `dpr:PATH`."""
    kind, _, path = spec.partition(":")
    if kind != "dpr" or not path:
        raise ValueError(f"relighter {spec!r} is not known: expected dpr:PATH")
    return dpr_relighter(load_dpr(path))


def _one_thread() -> None:
    """Keep a worker process to one core, so that its sums do not depend on how many there are."""
    torch.set_num_threads(1)


def _write_shard(job: tuple[Path, PoolPlan, int]) -> tuple[int, float]:
    """Make one shard and rename it into place; return its number and its mean squared error, 0-255 scale."""
    folder, plan, number = job
    relighter = load_relighter(plan.relighter)
    pairs = plan.pairs()[number * plan.shard_size : (number + 1) * plan.shard_size]
    composites = np.empty((len(pairs), plan.size, plan.size, 3), np.uint8)
    reals, masks, rows = np.empty_like(composites), np.empty(composites.shape[:3], np.uint8), []
    for index, (which, other) in enumerate(pairs):
        portrait, reference = plan.portraits[which], plan.portraits[other]
        item, square = _make(plan, portrait, reference, number * plan.shard_size + index, relighter)
        composites[index], reals[index] = to_bytes(item.composite), to_bytes(item.real)
        masks[index] = to_bytes(item.mask)[..., 0]
        rows.append(
            {
                "name": portrait.name,
                "source": portrait.source,
                "reference": reference.name,
                "square": asdict(square),
                "steps": [asdict(step) for step in item.steps],
                "background_std": portrait.background_std,
                "plain": portrait.plain,
            }
        )
    partial = folder / f".{number:03d}.{os.getpid()}"
    partial.mkdir()
    for name, array in (("composites", composites), ("reals", reals), ("masks", masks)):
        np.save(partial / f"{name}.npy", array)
    (partial / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        partial.rename(folder / f"{number:03d}")
    except OSError:  # another run finished it first
        shutil.rmtree(partial)
    return number, float(np.mean((composites.astype(np.float32) - reals.astype(np.float32)) ** 2))


def _make(
    plan: PoolPlan, portrait: Portrait, reference: Portrait, index: int, relighter: Relighter
) -> tuple[Item, Square]:
    """Make the item of one index."""
    generator = seeded(plan.seed, index)
    photo, alpha, square = read_square(portrait, plan.size, generator)
    reference_photo, reference_alpha, _ = read_square(reference, REFERENCE_SIZE, generator)
    item = make_item(
        photo,
        alpha,
        reference_photo,
        reference_alpha,
        recipe=RECIPES[plan.recipe],
        relighter=relighter,
        generator=generator,
    )
    return item, square


def to_bytes(image: Tensor) -> np.ndarray:
    """Turn [1,C,H,W] in [0,1] into [H,W,C] bytes."""
    return (image[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
