"""Portraits that nobody sat for: drawn from a generator of aligned faces, with mattes, as `index.csv` and its folders.

Portrait k depends on the plan and k alone. What is unusable is left out, noted in `left_out.csv` and replaced: a face
that is not where the generator was trained to put it, a matte in pieces, a second person at an edge of the picture.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoint import read_checkpoint
from ..files import remove_left_parts
from ..image import encode_picture, read_mask, read_picture, write_bytes
from ..matte import Matting, matting_by_name
from ..models import load_network
from ..networks.mobile_stylegan import MobileGenerator
from .draws import Range, seeded, uniform
from .engines import Engine, make_all
from .folders import append_line, locked, read_json_object
from .portraits import COVERAGE, Box

SOURCE, LICENCE = "generated", "made by a network; see the provenance of its weights"
INDEX, LEFT_OUT, SUMMARY, SHEET = "index.csv", "left_out.csv", "generate.json", "sheet.png"
COLUMNS = (
    *("name", "source", "licence", "split", "width", "height", "face_x", "face_y", "face_w", "face_h"),
    *("background_std", "iou", "coverage"),
)
FACE = (0.24, 0.18, 0.55, 0.75)  # x, y, width, height in aligned pictures: medians of a detector's boxes, 1,005 of FFHQ
_VALIDATION = 20  # every so many portraits are of the split `val`
_OPAQUE = 0.5  # alpha above which somebody is there
_FACE_ALPHA = 0.9  # mean alpha inside the face, at least
_LEAST_PIECE = 0.003  # of the picture: a smaller piece of a matte does not matter
_HEAD_ROWS, _EDGE_ROWS = 0.8, 0.05  # upper part of the picture that is searched for others; rows they fill at least
_LEAST_KEPT = 0.1  # of the portraits of a generator of faces
_QUALITY, _ALPHA_QUALITY = 95, 100


@dataclass(frozen=True)
class PortraitPlan:
    """What portraits are drawn from."""

    prior: Path  # a MobileStyleGAN checkpoint
    size: int = 512  # [px]
    truncation: Range = (0.5, 1.0)  # drawn anew for every portrait
    seed: int = 0
    matting: str = "matting"

    def __post_init__(self) -> None:
        low, high = self.truncation
        if not 0 <= low <= high <= 1:
            raise ValueError(f"truncation is {low:g}..{high:g}, expected a range inside 0..1")
        if self.size < 64:
            raise ValueError(f"size is {self.size} px, expected at least 64")

    def summary(self) -> dict[str, object]:
        """Return what decides the portraits, in plain values: two plans with the same summary make the same."""
        with self.prior.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sizes = {"size": self.size, "truncation": list(self.truncation), "seed": self.seed}
        return {"prior": digest, "matting": Path(self.matting).name, **sizes}


@dataclass(frozen=True)
class Drawn:
    """A portrait as files, or why it was left out."""

    index: int
    files: tuple[bytes, bytes] | None  # portrait and alpha
    row: tuple[str, ...]  # of the index, or name and reason


def draw(plan: PortraitPlan, index: int) -> Drawn:
    """Draw portrait `index` of a plan."""
    generator = seeded("portrait", plan.seed, index)
    network = load_generator(plan.prior)
    z = torch.randn(1, network.config.z_dim, generator=generator)
    with torch.inference_mode():
        image = network(z, uniform(plan.truncation, generator), noise=generator)
    portrait = (F.interpolate(image, (plan.size, plan.size), mode="area") * 0.5 + 0.5).clamp(0, 1).clone()
    alpha = _matting(plan.matting)(portrait)
    name = portrait_name(plan, index)
    if reason := find_flaw(alpha):
        return Drawn(index, None, (name, reason))
    files = (
        encode_picture(portrait, format="webp", quality=_QUALITY),
        encode_picture(alpha, format="webp", quality=_ALPHA_QUALITY),
    )
    split = "val" if index % _VALIDATION == _VALIDATION - 1 else "train"
    numbers = (*(plan.size, plan.size), *face_box(plan.size), f"{background_spread(portrait, alpha):.1f}")
    row = (name, SOURCE, LICENCE, split, *map(str, numbers), "", f"{float(alpha.mean()):.3f}")
    return Drawn(index, files, row)


def portrait_name(plan: PortraitPlan, index: int) -> str:
    """Name a portrait's files."""
    return f"generated__{plan.seed}_{index:06d}"


def face_box(size: int) -> Box:
    """Say where the face of an aligned picture is [px]."""
    x, y, width, height = (round(part * size) for part in FACE)
    return x, y, width, height


def find_flaw(alpha: Tensor) -> str:
    """Say why the matte [1,1,S,S] of an aligned portrait cannot be used; nothing where it can."""
    size = alpha.shape[-1]
    coverage = float(alpha.mean())
    if not COVERAGE[0] <= coverage <= COVERAGE[1]:
        return "broken matte: it covers too little or too much"
    x, y, width, height = face_box(size)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = ((columns - x - width / 2) / (width / 3)) ** 2 + ((rows - y - height / 2) / (height / 3)) ** 2 < 1
    if float(alpha[0, 0][inside].mean()) < _FACE_ALPHA:
        return "no face where an aligned one is"
    person = (alpha[0, 0] > _OPAQUE).numpy().astype(np.uint8)
    if _others_at_edges(person):
        return "a second person at an edge"
    areas = cv2.connectedComponentsWithStats(person)[2][1:, cv2.CC_STAT_AREA]
    if (areas > _LEAST_PIECE * person.size).sum() > 1:
        return "broken matte: it is in pieces"
    return ""


def _others_at_edges(person: NDArray[np.uint8]) -> bool:
    """Tell whether the upper picture shows somebody at its left or right edge, apart from the one in the middle.

    Hair or a hat that reaches an edge belongs to the middle: no background lies between.
    """
    size = person.shape[1]
    head = person[: round(_HEAD_ROWS * size)].astype(bool)
    for half in (head[:, : size // 2], head[:, size // 2 :][:, ::-1]):  # each begins at its edge
        at_edge = half[:, 0]
        gap = ~half.all(axis=1)  # background somewhere between the edge and the middle
        beyond = half[:, -1]  # the person in the middle is in this row
        if (at_edge & gap & beyond).sum() > _EDGE_ROWS * size:
            return True
    return False


def background_spread(portrait: Tensor, alpha: Tensor) -> float:
    """Standard deviation of the background's colours, mean of the channels [8-bit levels]."""
    background = (alpha < 1 - _OPAQUE).expand_as(portrait)
    channels = [channel[shown] for channel, shown in zip(portrait[0], background[0], strict=True)]
    return 255 * sum(float(channel.std()) if len(channel) > 1 else 0.0 for channel in channels) / 3


@lru_cache(maxsize=1)
def load_generator(path: Path) -> MobileGenerator:
    """Load a generator.

    Raises:
        ValueError: the file holds another network.
    """
    network = load_network(path)
    if not isinstance(network, MobileGenerator):
        raise ValueError(f"{path} holds a {type(network).__name__}, expected what `convert mobilestylegan` writes")
    return network


@lru_cache(maxsize=1)
def _matting(name: str) -> Matting:
    return matting_by_name(name)


# --- the folder -------------------------------------------------------------------------------------------------


def generate(plan: PortraitPlan, folder: Path, count: int, engine: Engine) -> Iterator[Drawn]:
    """Write portraits until there are `count`, and yield each when it lies on disk or was left out.

    Raises:
        ValueError: the folder holds another plan's portraits, another process is writing there, or hardly any portrait
            can be used.
        OSError: the disk is full; what is there already is kept when the run is started again.
    """
    with claimed(folder, plan):
        rows, left_out = read_rows(folder / INDEX), read_rows(folder / LEFT_OUT)
        end, kept = 0, 0
        while kept < count:
            end += count - kept
            names = [portrait_name(plan, index) for index in range(end)]
            missing = [index for index, name in enumerate(names) if name not in rows and name not in left_out]
            with closing(make_all(draw, plan, missing, engine)) as stream:
                for drawn in stream:
                    _store(folder, drawn)
                    (left_out if drawn.files is None else rows)[drawn.row[0]] = drawn.row
                    yield drawn
            kept = sum(name in rows for name in names)
            if kept < _LEAST_KEPT * end:
                reasons = sorted({row[1] for row in left_out.values()})
                raise ValueError(f"{kept} of {end} portraits can be used ({'; '.join(reasons)})")
        for file, lines in ((INDEX, rows), (LEFT_OUT, left_out)):
            text = _header(file) + "".join(_line(lines[name]) for name in sorted(lines))
            write_bytes(folder / file, text.encode())


@contextmanager
def claimed(folder: Path, plan: PortraitPlan) -> Iterator[None]:
    """Lock a folder and make it a plan's by its `generate.json`, or check that it is.

    Raises:
        ValueError: the folder holds what another plan made, another process is writing there, or the plan's networks
            cannot be used.
    """
    resolution = load_generator(plan.prior).config.resolution  # before the folder is bound to it
    if plan.size > resolution:
        raise ValueError(f"size is {plan.size} px, expected at most the generator's {resolution} px")
    _matting(plan.matting)
    summary, place = plan.summary(), folder / SUMMARY
    with locked(folder):
        if not place.is_file():
            provenance = {"provenance": dict(read_checkpoint(plan.prior).provenance)}
            write_bytes(place, (json.dumps(summary | provenance, indent=2) + "\n").encode())
        before = read_json_object(place, "what `hpbnet generate` wrote there; choose another folder")
        if changed := [
            f"{key} {before.get(key)!r} -> {summary[key]!r}" for key in summary if before.get(key) != summary[key]
        ]:
            raise ValueError(f"{folder} holds portraits made otherwise ({', '.join(changed)}); choose another folder")
        for part in ("images", "alpha"):
            (folder / part).mkdir(exist_ok=True)
            remove_left_parts(folder / part)
        for file in (INDEX, LEFT_OUT):
            if not (folder / file).is_file():
                write_bytes(folder / file, _header(file).encode())
        yield


def read_rows(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the rows of one of our tables by name; a torn last line does not count, and is removed."""
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_bytes(path, whole.encode())
    return {row[0]: tuple(row) for row in list(csv.reader(io.StringIO(whole)))[1:]}


def _store(folder: Path, drawn: Drawn) -> None:
    if drawn.files is not None:
        for part, data in zip(("images", "alpha"), drawn.files, strict=True):
            write_bytes(folder / part / f"{drawn.row[0]}.webp", data)
    append_line(folder / (LEFT_OUT if drawn.files is None else INDEX), _line(drawn.row))


def _header(file: str) -> str:
    return ",".join(COLUMNS if file == INDEX else ("name", "reason")) + "\n"


def _line(row: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def contact_sheet(folder: Path, count: int = 48, side: int = 128, columns: int = 6) -> Path:
    """Write `sheet.png`: the first portraits, each beside itself cut out on green."""
    cells = []
    for name in sorted(read_rows(folder / INDEX))[:count]:
        portrait, alpha = (
            read_picture(folder / "images" / f"{name}.webp").pixels,
            read_mask(folder / "alpha" / f"{name}.webp"),
        )
        green = torch.tensor([0.1, 0.6, 0.2]).view(1, 3, 1, 1).expand_as(portrait)
        both = torch.cat([portrait, green.lerp(portrait, alpha)], dim=3)
        cells.append(F.interpolate(both, (side, 2 * side), mode="area"))
    cells += [torch.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [torch.cat(cells[start : start + columns], dim=3) for start in range(0, len(cells), columns)]
    write_bytes(folder / SHEET, encode_picture(torch.cat(rows, dim=2)))
    return folder / SHEET
