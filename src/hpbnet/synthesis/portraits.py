"""Portraits with their alphas on disk: which there are, which are usable, and how a square is framed from one."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PLAIN_BACKDROP_STD = 18.0  # a border that spreads less than this teaches little about harmony
_LEAST_IOU = 0.9
_COVERAGE = (0.08, 0.92)
_FACE_MARGIN = 1.1  # the tightest square, in face boxes
_LEAST_SIDE = 176  # [px] a smaller square would be blown up too far


@dataclass(frozen=True)
class Portrait:
    """Where a portrait lies and where its face is."""

    name: str
    source: str
    photo: Path
    alpha: Path
    face: tuple[int, int, int, int] | None = None  # x, y, width, height [px]
    background_std: float = 255.0

    @property
    def plain(self) -> bool:
        """Whether the backdrop is plain."""
        return self.background_std < PLAIN_BACKDROP_STD


@dataclass(frozen=True)
class Square:
    """A square of a photo [px]."""

    x: int
    y: int
    side: int


def read_index(folder: Path, split: str) -> list[Portrait]:
    """List the usable portraits of a split of `index.csv`; bad or nearly empty mattes are left out."""
    with (folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return [
        Portrait(
            row["name"],
            row["source"],
            folder / "images" / f"{row['name']}.webp",
            folder / "alpha" / f"{row['name']}.webp",
            (int(row["face_x"]), int(row["face_y"]), int(row["face_w"]), int(row["face_h"])) if row["face_w"] else None,
            float(row["background_std"]),
        )
        for row in rows
        if _COVERAGE[0] <= float(row["coverage"]) <= _COVERAGE[1] and float(row["iou"] or 1) >= _LEAST_IOU
    ]


def random_square(size: tuple[int, int], face: tuple[int, int, int, int] | None, generator: torch.Generator) -> Square:
    """Draw a square of a photo (width, height) that holds the whole face, from tight to as large as fits."""
    width, height = size
    largest = min(width, height)
    x, y, face_width, face_height = face or (0, 0, 0, 0)
    smallest = min(largest, max(int(_FACE_MARGIN * max(face_width, face_height)), min(largest, _LEAST_SIDE)))
    draw = torch.rand(3, generator=generator).tolist()
    side = round(smallest + draw[0] * (largest - smallest))
    left = _between(max(0, x + face_width - side), min(x, width - side), width - side, draw[1])
    top = _between(max(0, y + face_height - side), min(y, height - side), height - side, draw[2])
    return Square(left, top, side)


def read_square(portrait: Portrait, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Square]:
    """Read a random square of a portrait at a size [px]: photo [1,3,S,S], alpha [1,1,S,S], where it was."""
    with Image.open(portrait.photo) as photo, Image.open(portrait.alpha) as alpha:
        square = random_square(photo.size, portrait.face, generator)
        box = (square.x, square.y, square.x + square.side, square.y + square.side)
        across, down = alpha.width / photo.width, alpha.height / photo.height
        alpha_box = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        pixels = photo.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box)
        matte = alpha.convert("L").resize((size, size), Image.Resampling.BICUBIC, box=alpha_box)
        return _to_tensor(np.asarray(pixels)), _to_tensor(np.asarray(matte)[:, :, None]), square


def _between(low: int, high: int, limit: int, draw: float) -> int:
    """Choose a whole number between two bounds; where the face does not fit, its middle."""
    if low > high:
        return min(max((low + high) // 2, 0), limit)
    return round(low + draw * (high - low))


def _to_tensor(pixels: np.ndarray) -> Tensor:
    """Turn [H,W,C] bytes into [1,C,H,W] in [0,1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
