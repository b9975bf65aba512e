"""Portraits with their alphas on disk: which there are, which are usable, and how a square is framed from one."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import PICTURE_SUFFIXES, stem_of
from ..image import read_mask, read_picture
from ..relight import head_box
from .draws import whole
from .folders import path_inside

Box = tuple[int, int, int, int]  # x, y, width, height [px]

PLAIN_BACKDROP_STD = 18.0  # a border that spreads less than this teaches little about harmony
_LEAST_IOU = 0.9
COVERAGE = (0.08, 0.92)  # of the person in a photo
_COVERAGE_OF_SQUARE = (0.05, 0.97)
_FACE_MARGIN = 1.1  # the tightest square, in face boxes
_LEAST_SIDE = 176  # [px] a smaller square would be blown up too far


@dataclass(frozen=True)
class Portrait:
    """Where a portrait lies and where its face is."""

    name: str
    source: str
    photo: Path
    alpha: Path
    face: Box | None = None
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
    """List the usable portraits of a split of `index.csv`; bad or nearly empty mattes are left out.

    Raises:
        ValueError: the index lacks a column, or holds something else than a number where one is expected.
        OSError: there is no index.
    """
    rows = read_rows(folder / "index.csv")
    try:
        return [
            _portrait(folder, row)
            for row in rows
            if row["split"] == split
            and COVERAGE[0] <= float(row["coverage"]) <= COVERAGE[1]
            and float(row["iou"] or 1) >= _LEAST_IOU
        ]
    except KeyError as error:
        raise ValueError(f"{folder / 'index.csv'} has no column {error}") from None
    except (ValueError, TypeError, OverflowError) as error:  # a short row has no text at its end
        raise ValueError(f"{folder / 'index.csv'}: {error}") from None


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be opened.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _portrait(folder: Path, row: Mapping[str, str]) -> Portrait:
    return Portrait(
        row["name"],
        row["source"],
        path_inside(folder / "images", f"{row['name']}.webp"),
        path_inside(folder / "alpha", f"{row['name']}.webp"),
        (int(row["face_x"]), int(row["face_y"]), int(row["face_w"]), int(row["face_h"])) if row["face_w"] else None,
        float(row["background_std"]),
    )


def find_portraits(photos: Path, alphas: Path, names: set[str] | None = None) -> list[Portrait]:
    """List the photos of a folder, each with the alpha of the same stem.

    Raises:
        ValueError: a folder is missing, a listed name has no photo, or a photo has no alpha or shares its stem.
    """
    paths = by_stem(photos)
    if names is not None:
        if lacking := sorted(names - paths.keys()):
            raise ValueError(f"{len(lacking)} listed names have no photo in {photos} ({', '.join(lacking[:3])})")
        paths = {stem: path for stem, path in paths.items() if stem in names}
    mattes = by_stem(alphas)
    if lacking := sorted(paths.keys() - mattes.keys()):
        raise ValueError(f"{len(lacking)} photos have no alpha of their name in {alphas} ({', '.join(lacking[:3])})")
    return [Portrait(stem, photos.name, path, mattes[stem]) for stem, path in paths.items()]


def by_stem(folder: Path) -> dict[str, Path]:
    """List the pictures of a folder by their names without suffix, sorted."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    stems = {stem_of(path): path for path in paths}
    if len(stems) < len(paths):
        twice = next(path for path in paths if stems[stem_of(path)] != path)
        raise ValueError(f"{folder} holds {twice.stem} twice: {twice.name} and {stems[stem_of(twice)].name}")
    return stems


def random_square(size: tuple[int, int], face: Box | None, generator: torch.Generator) -> Square:
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
    """Read a random square of a portrait at a size [px]: photo [1,3,S,S], alpha [1,1,S,S], where it was.

    Raises:
        ValueError: a file is not a picture, or the square holds nobody or nothing but a person.
        OSError: a file cannot be opened.
    """
    photo, alpha = read_picture(portrait.photo).pixels, read_mask(portrait.alpha)
    height, width = photo.shape[2:]
    if alpha.shape[2:] != photo.shape[2:]:
        alpha = F.interpolate(alpha, (height, width), mode="bicubic", antialias=True).clamp(0.0, 1.0)
    square = random_square((width, height), portrait.face or head_box(alpha), generator)
    joined = torch.cat([photo, alpha], dim=1)
    joined = joined[:, :, square.y : square.y + square.side, square.x : square.x + square.side]
    joined = F.interpolate(joined, (size, size), mode="bicubic", antialias=True).clamp(0.0, 1.0)
    coverage = float(joined[:, 3:].mean())
    if not _COVERAGE_OF_SQUARE[0] < coverage < _COVERAGE_OF_SQUARE[1]:
        raise ValueError(f"the person covers {coverage:.0%} of a square of it")
    return joined[:, :3], joined[:, 3:], square


def random_portrait(portraits: tuple[Portrait, ...], other_than: str, generator: torch.Generator) -> Portrait:
    """Draw a portrait of another name."""
    while len(portraits) > 1:
        drawn = portraits[whole(len(portraits), generator)]
        if drawn.name != other_than:
            return drawn
    raise ValueError("one portrait is too few: colours are transferred from another")


def _between(low: int, high: int, limit: int, draw: float) -> int:
    """Choose a whole number between two bounds; where the face does not fit, its middle."""
    if low > high:
        return min(max((low + high) // 2, 0), limit)
    return round(low + draw * (high - low))
