"""Photos of people joined with their mattes, as `tools/prepare_mattes.py` writes them.

A folder holds index.csv (name, source, split, kind, plain) and NAME.npy each: bytes [H,W,8], memory-mapped when read,
so that loader processes share them.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.integer[Any] | np.floating[Any]]  # bytes [H,W,3] RGB or [H,W], as OpenCV types them

_SPREAD = 5.0  # [px] how far opaque colours spread into the soft edge


class Cut(NamedTuple):
    """A photo and what is known of its matte."""

    photo: Pixels  # [H,W,3]
    alpha: Pixels  # [H,W]
    foreground: Pixels  # [H,W,3] the people's own colours, cleaned of the old scene
    sure: Pixels  # [H,W] 255 where alpha is to be learned, 0 where it is not known


@dataclass(frozen=True)
class Person:
    """Where a cut lies and what it shows."""

    name: str
    source: str
    kind: str  # portrait | person | object
    plain: bool  # before a plain backdrop
    file: Path


def read_people(folder: Path, split: str) -> list[Person]:
    """List the cuts of a split.

    Raises:
        ValueError: the folder has no index.
    """
    if not (folder / "index.csv").is_file():
        raise ValueError(f"no index.csv in {folder}: prepare the folder with tools/prepare_mattes.py")
    with (folder / "index.csv").open(newline="") as file:
        return [
            Person(row["name"], row["source"], row["kind"], row["plain"] == "1", folder / f"{row['name']}.npy")
            for row in csv.DictReader(file)
            if row["split"] == split
        ]


def write_cut(file: Path, cut: Cut) -> None:
    """Write a cut."""
    np.save(file, np.concatenate([cut.photo, cut.alpha[..., None], cut.foreground, cut.sure[..., None]], axis=2))


@cache
def read_cut(file: Path) -> Cut:
    """Read a cut, mapped into memory."""
    planes = np.load(file, mmap_mode="r")
    return Cut(planes[..., :3], planes[..., 3], planes[..., 4:7], planes[..., 7])


def clean_foreground(photo: Pixels, alpha: Pixels) -> Pixels:
    """Estimate foreground colours where alpha is soft, from the opaque pixels around."""
    height, width = alpha.shape
    half = max(1, width // 2), max(1, height // 2)
    small = cv2.resize(photo, half, interpolation=cv2.INTER_AREA).astype(np.float32)
    opaque = (cv2.resize(alpha, half, interpolation=cv2.INTER_AREA) > 242).astype(np.float32)[:, :, None] + 1e-4
    weight = cv2.GaussianBlur(opaque, (0, 0), _SPREAD / 2)[:, :, None]
    spread = np.asarray(cv2.GaussianBlur(small * opaque, (0, 0), _SPREAD / 2) / weight, np.float32)
    share = (alpha.astype(np.float32) / 255)[:, :, None] ** 2
    around = np.asarray(cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    mixed = around + share * (photo - around)
    return np.asarray(mixed.clip(0, 255), np.uint8)
