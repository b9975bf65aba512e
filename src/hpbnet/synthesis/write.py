"""Write a dataset in the field's layout: `composite_images/`, `masks/`, `real_images/` and `manifest.jsonl`.

Files are lossless PNG. A line of the manifest is written after its files, so an interrupted run knows what is done;
when all is done the manifest is sorted, and the same plan has the same bytes whoever made them.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import remove_left_parts, write_bytes
from .engines import Engine, make_all
from .folders import append_line, locked, read_json_lines, read_json_object
from .plan import SynthesisPlan, item_name, load_relighter, make, read_lights

FOLDERS = ("composite_images", "masks", "real_images")
MANIFEST, SUMMARY = "manifest.jsonl", "synthesis.json"
_PNG_LEVEL = 3


@dataclass(frozen=True)
class ItemFiles:
    """An item's three files, in the order of `FOLDERS`, and its line of the manifest."""

    index: int
    pictures: tuple[bytes, bytes, bytes]
    row: str
    skipped: tuple[str, ...]


def make_files(plan: SynthesisPlan, index: int) -> ItemFiles:
    """Make an item and encode it."""
    made = make(plan, index)
    return ItemFiles(index, (_png(made.composite), _png(made.mask), _png(made.truth)), made.row, made.skipped)


def synthesize(plan: SynthesisPlan, folder: Path, count: int, engine: Engine) -> Iterator[ItemFiles]:
    """Write the items of a plan that are not there yet, and yield each when it lies on disk.

    Raises:
        ValueError: the folder holds another plan's items, or another process is writing there.
        OSError: the disk is full; what is there already is kept when the run is started again.
    """
    with claimed(folder, plan):
        for part in FOLDERS:
            (folder / part).mkdir(exist_ok=True)
            remove_left_parts(folder / part)
        done = _sort_manifest(folder)
        missing = [index for index in range(count) if item_name(index) not in done]
        with closing(make_all(make_files, plan, missing, engine)) as stream:
            for files in stream:
                for part, data in zip(FOLDERS, files.pictures, strict=True):
                    write_bytes(folder / part / f"{item_name(files.index)}.png", data)
                append_line(folder / MANIFEST, files.row)
                yield files
        _sort_manifest(folder)


@contextmanager
def claimed(folder: Path, plan: SynthesisPlan) -> Iterator[None]:
    """Lock a folder and make it a plan's by its `synthesis.json`, or check that it is.

    Raises:
        ValueError: the folder holds what another plan made, another process is writing there, or the plan's relighter
            or lights cannot be read.
        OSError: a file of the plan cannot be opened.
    """
    load_relighter(plan.relighter)  # before the folder is bound to them
    read_lights(plan.illuminants, plan.lights)
    summary, file = plan.summary(), folder / SUMMARY
    with locked(folder):
        if not file.is_file():
            write_bytes(file, (json.dumps(summary, indent=2) + "\n").encode())
        before = read_json_object(file, "what `hpbnet synthesize` wrote there; choose another folder")
        if changed := [
            f"{key} {before.get(key)!r} -> {summary[key]!r}" for key in summary if before.get(key) != summary[key]
        ]:
            raise ValueError(f"{folder} holds a set made otherwise ({', '.join(changed)}); choose another folder")
        yield


def finished(folder: Path) -> dict[str, str]:
    """Read the manifest lines of the items whose files lie there, by name.

    Raises:
        ValueError: a line is damaged; a last line cut short by an interruption does not count.
    """
    if not (folder / MANIFEST).is_file():
        return {}
    rows = {str(row["name"]): line for line, row in read_json_lines(folder / MANIFEST, "name")}
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
