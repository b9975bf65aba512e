"""Read pools of made items (`shards.py`); trainings vary them on the fly (`training/composites.py`)."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..triplet import Triplet
from .folders import read_json_lines
from .shards import ARRAYS, ROWS

Bytes = NDArray[np.uint8]


class Pool:
    """The finished shards below a folder, which holds one pool or several, as memory maps.

    Raises:
        ValueError: there is no such folder, it holds no shards, or one is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        folders = sorted(path.parent for path in folder.rglob("reals.npy") if path.parent.name.isdigit())
        if not folders:
            raise ValueError(_why_empty(folder))
        self._shards = [_open_shard(path) for path in folders]
        self._ends = np.cumsum([len(shard[0]) for shard in self._shards])
        rows = [row for path in folders for _, row in read_json_lines(path / ROWS, "recipe")]
        if len(rows) != len(self):
            raise ValueError(f"{folder} holds {len(self)} items and {len(rows)} lines about them: a {ROWS} is damaged")
        self.plain = torch.tensor([bool(row.get("plain")) for row in rows])  # before a plain backdrop
        self.recipes = [str(row["recipe"]) for row in rows]
        self.sources = sorted({str(row["source"]) for row in rows if "source" in row})  # where the photos come from

    @property
    def description(self) -> str:
        """What it is made of, such as "600 items of the recipe paper; photos of ffhq256"."""
        recipes = " and ".join(f"{count} items of the recipe {name}" for name, count in Counter(self.recipes).items())
        return f"{recipes}; photos of {', '.join(self.sources)}" if self.sources else recipes

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Triplet:
        """Read one item as floats [1,C,S,S]."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        row = index - int(self._ends[number]) + len(self._shards[number][0])
        composite, truth, mask = (torch.from_numpy(array[row].copy()).float() / 255 for array in self._shards[number])
        return Triplet(composite.permute(2, 0, 1)[None], mask[None, None], truth.permute(2, 0, 1)[None])


def _open_shard(folder: Path) -> list[Bytes]:
    """Map a shard's composites, truths and masks."""
    arrays: list[Bytes] = []
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        shape = arrays[0].shape if arrays else (*array.shape[:3], 3)
        if array.dtype != np.uint8 or array.shape != (shape[:3] if name == "masks" else shape):
            raise ValueError(
                f"{path} is damaged: it holds {array.dtype} {list(array.shape)}, expected bytes of {shape}"
            )
        arrays.append(array)
    return arrays


def _why_empty(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}"
    if any(folder.rglob("composite_images")):
        return f"{folder} holds pictures; a training needs arrays, which `hpbnet synthesize --pool` writes"
    return f"{folder} holds no shards (folders 000, 001, ...), which `hpbnet synthesize --pool` writes"
