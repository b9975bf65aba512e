"""A pool of made items on disk, for training: folders of about a thousand items as memory-mappable arrays.

A shard `000/` holds `composites.npy` and `reals.npy` uint8 [N,S,S,3], `masks.npy` uint8 [N,S,S] and `rows.jsonl`, one
line an item. A shard is filled item by item in a hidden folder `.000/`, where an interrupted run goes on, and appears
complete (renamed into place), so a training may begin before the pool is finished. Beside the shards `synthesis.json`
says what made them.
"""

import io
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import flush_to_disk, remove_left_parts, write_bytes
from .engines import Engine, make_all
from .folders import append_line, naming, read_json_lines
from .plan import MadeItem, SynthesisPlan, make
from .write import claimed

SHARD_SIZE = 1000
ARRAYS = ("composites", "reals", "masks")
ROWS = "rows.jsonl"


def write_pool(
    plan: SynthesisPlan, folder: Path, count: int, engine: Engine, shard_size: int = SHARD_SIZE
) -> Iterator[MadeItem]:
    """Write the items that are not there yet, and yield each when it lies on disk.

    Raises:
        ValueError: the folder holds another plan's items, or another process is writing there.
        OSError: the disk is full; what is there already is used when the run is started again.
    """
    with claimed(folder, plan):
        for left in folder.glob(".[0-9]*.*"):  # of earlier versions
            shutil.rmtree(left, ignore_errors=True)
        for number, start in enumerate(range(0, count, shard_size)):
            place = folder / f"{number:03d}"
            indices = range(start, min(start + shard_size, count))
            if len(_read_rows(place)) >= len(indices):
                continue
            shard = _GrowingShard(place, start, plan.size)
            missing = [index for index in indices if index not in shard.rows]
            with closing(make_all(make, plan, missing, engine)) as stream:
                for item in stream:
                    shard.add(item)
                    yield item
            shard.finish(len(indices))


def count_items(folder: Path) -> int:
    """Count the items that are there, those of unfinished shards included."""
    places = {path.name.removeprefix("."): folder for path in folder.glob("[0-9]*") if path.name.isdigit()}
    places |= {path.name.removeprefix("."): folder for path in folder.glob(".[0-9]*") if path.name[1:].isdigit()}
    return sum(max(len(_read_rows(folder / name)), len(_read_rows(folder / f".{name}"))) for name in places)


def _read_rows(shard: Path) -> dict[int, str]:
    """Read the lines of a shard's items, by number."""
    rows = shard / ROWS
    lines = read_json_lines(rows, "name") if rows.is_file() else ()
    return {int(str(row["name"])): line for line, row in lines}


class _GrowingShard:
    """A shard that is being filled in a hidden folder; an item counts once its line is written."""

    def __init__(self, place: Path, start: int, size: int) -> None:
        self.place, self.start, self.size = place, start, size
        self.folder = place.with_name(f".{place.name}")
        self.folder.mkdir(exist_ok=True)
        remove_left_parts(self.folder)
        if not (self.folder / ROWS).is_file() and place.is_dir():  # complete, but short: the count was smaller
            for name in ARRAYS:
                shutil.copyfile(place / f"{name}.npy", self.folder / f"{name}.npy")
            write_bytes(self.folder / ROWS, (place / ROWS).read_bytes())
        self.rows = _read_rows(self.folder)
        write_bytes(self.folder / ROWS, "".join(self.rows.values()).encode())  # without a line cut short

    def add(self, item: MadeItem) -> None:
        """Write an item into its place in the arrays, then its line."""
        for name, pixels in zip(ARRAYS, (item.composite, item.truth, item.mask), strict=True):
            path = self.folder / f"{name}.npy"
            with naming(path):
                path.touch()
                with path.open("r+b", buffering=0) as file:
                    file.seek(len(_header(self._shape(name, SHARD_SIZE))) + (item.index - self.start) * pixels.nbytes)
                    _write_all(file, pixels)
        append_line(self.folder / ROWS, item.row)
        self.rows[item.index] = item.row

    def finish(self, count: int) -> None:
        """Put the shard in place."""
        for name in ARRAYS:
            path, shape = self.folder / f"{name}.npy", self._shape(name, count)
            with naming(path), path.open("r+b") as file:
                header = _header(shape)
                file.write(header)
                file.truncate(len(header) + int(np.prod(shape)))
            flush_to_disk(path)
        rows = (self.rows[index] for index in range(self.start, self.start + count))
        write_bytes(self.folder / ROWS, "".join(rows).encode())
        shutil.rmtree(self.place, ignore_errors=True)
        self.folder.rename(self.place)
        flush_to_disk(self.place.parent)

    def _shape(self, name: str, count: int) -> tuple[int, ...]:
        colors = () if name == "masks" else (3,)
        return (count, self.size, self.size, *colors)


def _header(shape: tuple[int, ...]) -> bytes:
    """Return what numpy writes before an array of bytes; it is as long for any count, since numpy leaves space."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def _write_all(file: io.FileIO, pixels: NDArray[np.uint8]) -> None:
    """Write an array unbuffered, so that a full disk is an error here; one call may write a part only."""
    data = memoryview(np.ascontiguousarray(pixels).tobytes())
    while data:
        data = data[file.write(data) :]
