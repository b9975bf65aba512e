"""Read pools of made items (`shards.py`); trainings vary them on the fly (`training/composites.py`)."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Triplet = tuple[Tensor, Tensor, Tensor]  # composite [1,3,S,S], real [1,3,S,S], mask [1,1,S,S]


class Pool:
    """The finished shards below a folder, which holds one pool or several, as memory maps."""

    def __init__(self, folder: Path | str) -> None:
        folders = sorted(path.parent for path in Path(folder).rglob("reals.npy") if path.parent.name.isdigit())
        if not folders:
            raise ValueError(f"{folder} holds no shards (folders 000, 001, ...)")
        names = ("composites", "reals", "masks")
        self._shards = [[np.load(path / f"{name}.npy", mmap_mode="r") for name in names] for path in folders]
        self._ends = np.cumsum([len(shard[0]) for shard in self._shards])
        rows = [json.loads(line) for path in folders for line in (path / "rows.jsonl").read_text().splitlines()]
        self.plain = torch.tensor([bool(row["plain"]) for row in rows])  # before a plain backdrop
        self.recipes = [str(row["recipe"]) for row in rows]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Triplet:
        """Read one item as floats."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        row = index - int(self._ends[number]) + len(self._shards[number][0])
        composite, real, mask = (torch.from_numpy(array[row].copy()).float() / 255 for array in self._shards[number])
        return composite.permute(2, 0, 1)[None], real.permute(2, 0, 1)[None], mask[None, None]
