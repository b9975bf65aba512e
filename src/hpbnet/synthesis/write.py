"""Write a dataset in the field's layout: `composite_images/`, `masks/`, `real_images/` and `manifest.jsonl`.

Files are lossless PNG. A line of the manifest is written after its files, so an interrupted run knows what is done;
when all is done the manifest is sorted, and the same job has the same bytes whoever made them.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..image import write_bytes
from .engines import Engine, run
from .job import Job, item_name, load_relighter, make, read_lights

FOLDERS = ("composite_images", "masks", "real_images")
MANIFEST, OPTIONS = "manifest.jsonl", "synthesis.json"
_PNG_LEVEL = 3


@dataclass(frozen=True)
class Files:
    """An item's three files, in the order of `FOLDERS`, and its line of the manifest."""

    index: int
    pictures: tuple[bytes, bytes, bytes]
    row: str
    skipped: tuple[str, ...]


def make_files(job: Job, index: int) -> Files:
    """Make an item and encode it."""
    made = make(job, index)
    return Files(index, (_png(made.composite), _png(made.mask), _png(made.real)), made.row, made.skipped)


def synthesize(job: Job, folder: Path, count: int, engine: Engine) -> Iterator[Files]:
    """Write the items of a job that are not there yet, and yield each when it lies on disk.

    Raises:
        ValueError: the folder holds another job's items.
    """
    prepare(folder, job)
    done = _sort_manifest(folder)
    missing = [index for index in range(count) if item_name(index) not in done]
    with closing(run(make_files, job, missing, engine)) as stream, (folder / MANIFEST).open("a") as manifest:
        for files in stream:
            for part, data in zip(FOLDERS, files.pictures, strict=True):
                write_bytes(folder / part / f"{item_name(files.index)}.png", data)
            manifest.write(files.row)
            manifest.flush()
            yield files
    _sort_manifest(folder)


def prepare(folder: Path, job: Job) -> None:
    """Make the folders, or check that they are this job's."""
    claim(folder, job)
    for part in FOLDERS:
        (folder / part).mkdir(parents=True, exist_ok=True)


def claim(folder: Path, job: Job) -> None:
    """Make a folder a job's by its `synthesis.json`, or check that it is.

    Raises:
        ValueError: the folder holds what another job made, or the job's relighter or lights cannot be read.
        OSError: a file of the job cannot be opened.
    """
    load_relighter(job.relighter)  # before the folder is bound to them
    read_lights(job.illuminants, job.lights)
    wanted = job.describe()
    before = json.loads((folder / OPTIONS).read_text()) if (folder / OPTIONS).is_file() else wanted
    if before != wanted:
        changed = [f"{key} {before.get(key)!r} -> {wanted[key]!r}" for key in wanted if before.get(key) != wanted[key]]
        raise ValueError(f"{folder} holds a set made otherwise ({', '.join(changed)}); choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / OPTIONS, (json.dumps(wanted, indent=2) + "\n").encode())


def finished(folder: Path) -> dict[str, str]:
    """Read the manifest lines of the items whose files lie there, by name; a torn last line does not count."""
    if not (folder / MANIFEST).is_file():
        return {}
    lines = (folder / MANIFEST).read_text().splitlines(keepends=True)
    rows = {str(json.loads(line)["name"]): line for line in lines if line.endswith("\n")}
    return {
        name: line for name, line in rows.items() if all((folder / part / f"{name}.png").is_file() for part in FOLDERS)
    }


def _sort_manifest(folder: Path) -> dict[str, str]:
    """Write the manifest anew, with the lines of what lies there, and return them by name."""
    rows = finished(folder)
    write_bytes(folder / MANIFEST, "".join(rows[name] for name in sorted(rows)).encode())
    return rows


def contact_sheet(folder: Path, count: int = 24, side: int = 160, columns: int = 3) -> Path:
    """Write `preview.png`: composite, truth and mask of the first items, side by side."""
    names = sorted(finished(folder))[:count]
    parts = (FOLDERS[0], FOLDERS[2], FOLDERS[1])
    cells = [np.hstack([_thumbnail(folder / part / f"{name}.png", side) for part in parts]) for name in names]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    write_bytes(folder / "preview.png", _png(np.vstack(rows)[..., ::-1]))
    return folder / "preview.png"


def _thumbnail(path: Path, side: int) -> NDArray[np.uint8]:
    """Read a picture small, [side,side,3] BGR."""
    pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode [H,W,3] RGB or [H,W] as PNG."""
    ordered = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    done, data = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    assert done
    return data.tobytes()
