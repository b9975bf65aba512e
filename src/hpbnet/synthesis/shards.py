"""A pool of made items on disk, for training: folders of about a thousand items as memory-mappable arrays.

A shard `000/` holds `composites.npy` and `reals.npy` uint8 [N,S,S,3], `masks.npy` uint8 [N,S,S] and `rows.jsonl`, one
line an item. A shard appears complete (renamed into place), so a training may begin before the pool is finished.
Beside the shards `synthesis.json` says what made them.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from .engines import Engine, run
from .job import Job, Made, make
from .write import claim

SHARD_SIZE = 1000


def write_pool(job: Job, folder: Path, count: int, engine: Engine, shard_size: int = SHARD_SIZE) -> Iterator[Made]:
    """Write the shards that are not there yet, or were the short last one, and yield each item when it is made.

    Raises:
        ValueError: the folder holds another job's items.
    """
    claim(folder, job)
    for number, start in enumerate(range(0, count, shard_size)):
        place = folder / f"{number:03d}"
        indices = range(start, min(start + shard_size, count))
        if _rows(place) >= len(indices):
            continue
        made = []
        with closing(run(make, job, indices, engine)) as stream:
            for item in stream:
                made.append(item)
                yield item
        _write_shard(place, sorted(made, key=lambda item: item.index))


def count_items(folder: Path) -> int:
    """Count the items of the shards that are there."""
    return sum(_rows(place) for place in folder.glob("[0-9]*"))


def _rows(place: Path) -> int:
    rows = place / "rows.jsonl"
    return len(rows.read_text().splitlines()) if rows.is_file() else 0


def _write_shard(place: Path, items: list[Made]) -> None:
    """Write a shard beside its place and rename it."""
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    np.save(partial / "composites.npy", np.stack([item.composite for item in items]))
    np.save(partial / "reals.npy", np.stack([item.real for item in items]))
    np.save(partial / "masks.npy", np.stack([item.mask for item in items]))
    (partial / "rows.jsonl").write_text("".join(item.row for item in items))
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
