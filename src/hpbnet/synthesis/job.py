"""What a set of items is made of, and how one of them is made: the only path of code an item takes.

Item k depends on the job and k alone, so that workers, engines and interruptions do not show in the result.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..relight import DPR_SCALE, Relighter, builtin_relighter, dpr_relighter, load_dpr, panorama_light
from .draws import seeded, whole
from .item import Item, Lights, Sources, make_item
from .portraits import Box, Portrait, Square, random_portrait, read_square
from .recipe import RECIPES

REFERENCE_SIZE = 128  # [px] enough for the reference's colour statistics
_ATTEMPTS = 20  # photos tried for one item before it is given up
_STRIDE = 16  # [px] sizes the relighting network can take


@dataclass(frozen=True)
class Job:
    """What a set of items is made of."""

    portraits: tuple[Portrait, ...]  # one listed twice is used twice as often
    recipe: str
    relighter: str = "builtin"  # or dpr:PATH
    size: int = 256  # [px]
    seed: int = 0
    illuminants: Path | None = None  # .npy [N,3] measured lights, rgb
    lights: Path | None = None  # .npz with `sh`: [N,9] grey lights as DPR's, or [N,9,3] panoramas

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"no recipe {self.recipe!r}; there are: {', '.join(RECIPES)}")
        if self.size < _STRIDE or self.size % _STRIDE:
            raise ValueError(f"size {self.size} is no multiple of {_STRIDE} px")
        if len({portrait.name for portrait in self.portraits}) < 2:
            raise ValueError(f"{len(self.portraits)} portraits are too few: colours are transferred from another")

    def describe(self) -> dict[str, object]:
        """Say what decides the items, in plain values: two jobs that say the same make the same."""
        names = "\n".join(sorted(portrait.name for portrait in self.portraits))
        return {
            "recipe": self.recipe,
            "relighter": self.relighter.partition(":")[0],
            "size": self.size,
            "seed": self.seed,
            "portraits": len(self.portraits),
            "portraits_key": seeded(names).initial_seed(),
            "illuminants": self.illuminants.name if self.illuminants else None,
            "lights": self.lights.name if self.lights else None,
        }


@dataclass(frozen=True)
class Made:
    """An item as bytes [H,W,3], [H,W], [H,W,3], and its line of the manifest."""

    index: int
    composite: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    real: NDArray[np.uint8]
    row: str
    skipped: tuple[str, ...]  # photos that could not be used, and why


def make(job: Job, index: int) -> Made:
    """Make item `index` of a job.

    Raises:
        ValueError: none of many photos could be used.
    """
    generator, skipped = seeded(job.seed, index), list[str]()
    anyone = (job.portraits[whole(len(job.portraits), generator)] for _ in repeat(None))
    photo = _first_usable(chain([scheduled_portrait(job, index)], anyone), job.size, generator, skipped)
    others = (random_portrait(job.portraits, photo.portrait.name, generator) for _ in repeat(None))
    reference = _first_usable(others, REFERENCE_SIZE, generator, skipped)
    item = make_item(
        Sources(photo.pixels, photo.alpha, reference.pixels, reference.alpha),
        RECIPES[job.recipe],
        load_relighter(job.relighter),
        generator,
        read_lights(job.illuminants, job.lights),
    )
    pictures = to_bytes(item.composite), to_bytes(item.mask)[..., 0], to_bytes(item.real)
    return Made(index, *pictures, _manifest_row(job, index, (photo, reference), item), tuple(skipped))


def scheduled_portrait(job: Job, index: int) -> Portrait:
    """Return the portrait that is item `index`'s turn: every portrait once a round, each round shuffled anew."""
    number, place = divmod(index, len(job.portraits))
    return job.portraits[_round(len(job.portraits), job.seed, number)[place]]


def item_name(index: int) -> str:
    """Name an item's files."""
    return f"{index:06d}"


class _Framed(NamedTuple):
    """A square read from a portrait."""

    portrait: Portrait
    pixels: Tensor
    alpha: Tensor
    square: Square


def _first_usable(candidates: Iterable[Portrait], size: int, generator: torch.Generator, skipped: list[str]) -> _Framed:
    """Read the first candidate that can be read, and note those that cannot."""
    for portrait in islice(candidates, _ATTEMPTS):
        try:
            return _Framed(portrait, *read_square(portrait, size, generator))
        except (ValueError, OSError) as error:
            skipped.append(f"{portrait.name}: {error}")
    raise ValueError(f"none of {_ATTEMPTS} photos can be used; the last: {skipped[-1]}")


def _manifest_row(job: Job, index: int, used: tuple[_Framed, _Framed], item: Item) -> str:
    """Write an item's line of the manifest."""
    photo, reference = used
    record = {
        "name": item_name(index),
        "portrait": photo.portrait.name,
        "reference": reference.portrait.name,
        "source": photo.portrait.source,
        "recipe": job.recipe,
        "face": face_in_square(photo.portrait.face, photo.square, job.size),
        "square": asdict(photo.square),
        "plain": photo.portrait.plain,
        "parameters": asdict(item.parameters),
    }
    return json.dumps(record) + "\n"


def face_in_square(face: Box | None, square: Square, size: int) -> list[float] | None:
    """Say where a photo's face lies in a square of it, resized."""
    if face is None:
        return None
    scale = size / square.side
    corner = face[0] - square.x, face[1] - square.y
    return [round(edge * scale, 1) for edge in (*corner, *face[2:])]


def to_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Turn [1,C,H,W] in [0,1] into [H,W,C] bytes."""
    pixels: NDArray[np.uint8] = (image[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


@lru_cache(maxsize=2)
def load_relighter(spec: str) -> Relighter:
    """Build a relighter from `builtin` or `dpr:PATH`."""
    kind, _, path = spec.partition(":")
    if kind == "dpr" and path:
        return dpr_relighter(load_dpr(path))
    if spec != "builtin":
        raise ValueError(f"no relighter {spec!r}; there are: builtin, dpr:PATH")
    return builtin_relighter


@lru_cache(maxsize=2)
def read_lights(illuminants: Path | None, lights: Path | None) -> Lights:
    """Read measured lights; illuminants become factors of their own median, panoramas light in our axes.

    Raises:
        ValueError: a file holds no numbers, or not as many as a light has.
        OSError: a file cannot be opened.
    """
    colours = spheres = None
    if illuminants:
        measured = _read_numbers(illuminants)
        if measured.dim() != 2 or measured.shape[1] != 3:
            raise ValueError(f"{illuminants} holds {list(measured.shape)}; expected [N,3] illuminants")
        colours = measured / measured.median(dim=0).values
    if lights:
        given = _read_numbers(lights, "sh")
        if given.dim() not in (2, 3) or given.shape[1] != 9:
            raise ValueError(
                f"{lights} holds {list(given.shape)}; expected `sh` [N,9] grey lights or [N,9,3] panoramas"
            )
        spheres = DPR_SCALE * given[:, :, None] if given.dim() == 2 else panorama_light(given)
    return Lights(colours, spheres)


def _read_numbers(path: Path, name: str = "") -> Tensor:
    """Read a .npy, or the array of a name in a .npz."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            return torch.from_numpy((loaded[name] if name else loaded).astype(np.float32))
    except (ValueError, KeyError, IndexError, AttributeError, EOFError, BadZipFile):  # whatever else the file may be
        wanted = f"a .npz with `{name}`" if name else "a .npy"
        raise ValueError(f"{path} cannot be read as numbers; expected {wanted}") from None


@lru_cache(maxsize=4)
def _round(count: int, seed: int, number: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=seeded(seed, "round", number)).tolist()
    return order
