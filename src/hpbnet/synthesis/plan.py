"""What a set of items is made of, and how one of them is made: the only path of code an item takes.

Item k depends on the plan and k alone, so that workers, engines and interruptions do not show in the result.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..image import read_picture
from ..relight import DPR_SCALE, Relighter, builtin_relighter, dpr_relighter, load_dpr, panorama_light
from ..triplet import Triplet
from .draws import seeded, whole
from .item import MeasuredLights, SourcePhotos, make_item
from .portraits import Box, Portrait, Square, random_portrait, read_square
from .recipe import LIT, NAMES, RECIPES
from .scene import draw_scene, make_scene_item

REFERENCE_SIZE = 128  # [px] enough for the reference's colour statistics
Thing = TypeVar("Thing")
_ATTEMPTS = 20  # photos tried for one item before it is given up
_STRIDE = 16  # [px] sizes the relighting network can take


@dataclass(frozen=True)
class SynthesisPlan:
    """What a set of items is made of."""

    portraits: tuple[Portrait, ...]  # one listed twice is used twice as often
    recipe: str
    relighter: str = "builtin"  # or dpr:PATH
    size: int = 256  # [px]
    seed: int = 0
    illuminants: Path | None = None  # .npy [N,3] measured lights, rgb
    lights: Path | None = None  # .npz with `sh`: [N,9] grey lights as DPR's, or [N,9,3] panoramas
    strong: tuple[Portrait, ...] = ()  # portraits in strong light, and
    scenes: tuple[Path, ...] = ()  # scenes in strong light, for the recipe `scene`

    def __post_init__(self) -> None:
        if self.recipe not in NAMES:
            raise ValueError(f"no recipe {self.recipe!r}; there are: {', '.join(NAMES)}")
        if self.recipe == LIT.name and not (self.portraits and self.strong and self.scenes):
            raise ValueError("the recipe scene needs portraits in ordinary and in strong light, and backgrounds")
        if self.size < _STRIDE or self.size % _STRIDE:
            raise ValueError(f"size {self.size} is not a multiple of {_STRIDE} px")
        if self.recipe != LIT.name and len({portrait.name for portrait in self.portraits}) < 2:
            raise ValueError(f"{len(self.portraits)} portraits are too few: colours are transferred from another")

    def summary(self) -> dict[str, object]:
        """Return what decides the items, in plain values: two plans with the same summary make the same items."""
        lit = {}
        if self.recipe == LIT.name:
            lit = {
                "strong": len(self.strong),
                "strong_key": _key(portrait.name for portrait in self.strong),
                "scenes": len(self.scenes),
                "scenes_key": _key(path.name for path in self.scenes),
            }
        return {
            "recipe": self.recipe,
            "relighter": self.relighter.partition(":")[0],
            "size": self.size,
            "seed": self.seed,
            "portraits": len(self.portraits),
            "portraits_key": _key(portrait.name for portrait in self.portraits),
            "illuminants": self.illuminants.name if self.illuminants else None,
            "lights": self.lights.name if self.lights else None,
            **lit,
        }


@dataclass(frozen=True)
class MadeItem:
    """An item as bytes [H,W,3], [H,W], [H,W,3], and its line of the manifest."""

    index: int
    composite: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    row: str
    skipped: tuple[str, ...]  # photos that could not be used, and why


def make(plan: SynthesisPlan, index: int) -> MadeItem:
    """Make item `index` of a plan.

    Raises:
        ValueError: none of many photos could be used.
    """
    if plan.recipe == LIT.name:
        return _make_scene(plan, index)
    generator, skipped = seeded(plan.seed, index), list[str]()
    anyone = (plan.portraits[whole(len(plan.portraits), generator)] for _ in repeat(None))
    photo = _first_usable(chain([scheduled_portrait(plan, index)], anyone), plan.size, generator, skipped)
    others = (random_portrait(plan.portraits, photo.portrait.name, generator) for _ in repeat(None))
    reference = _first_usable(others, REFERENCE_SIZE, generator, skipped)
    item = make_item(
        SourcePhotos(photo.pixels, photo.alpha, reference.pixels, reference.alpha),
        RECIPES[plan.recipe],
        load_relighter(plan.relighter),
        generator,
        read_lights(plan.illuminants, plan.lights),
    )
    row = _manifest_row(plan, index, photo, reference.portrait.name, asdict(item.parameters))
    return _made(index, item.triplet, row, skipped)


def _make_scene(plan: SynthesisPlan, index: int) -> MadeItem:
    """Make an item of the recipe `scene`: even ones take light off a person, odd ones give light to the truth."""
    generator, skipped = seeded(plan.seed, index), list[str]()
    turn, odd = divmod(index, 2)
    portraits = plan.portraits if odd else plan.strong
    anyone = (portraits[whole(len(portraits), generator)] for _ in repeat(None))
    photo = _first_usable(chain([scheduled(portraits, plan.seed, turn)], anyone), plan.size, generator, skipped)
    drawn = draw_scene("given" if odd else "taken", generator, read_lights(plan.illuminants, None).illuminants)
    background = None
    if odd:
        path = scheduled(plan.scenes, plan.seed, turn)
        background, drawn = read_picture(path).pixels, replace(drawn, background=path.name)
    item = make_scene_item(photo.pixels, photo.alpha, background, drawn)
    row = _manifest_row(plan, index, photo, None, asdict(item.parameters))
    return _made(index, item.triplet, row, skipped)


def _made(index: int, triplet: Triplet, row: str, skipped: list[str]) -> MadeItem:
    composite, mask, truth = (image.permute(1, 2, 0).numpy() for image in triplet.to_bytes())
    return MadeItem(index, composite, mask[..., 0], truth, row, tuple(skipped))


def scheduled_portrait(plan: SynthesisPlan, index: int) -> Portrait:
    """Return the portrait that is item `index`'s turn."""
    return scheduled(plan.portraits, plan.seed, index)


def scheduled(things: Sequence[Thing], seed: int, turn: int) -> Thing:
    """Return the thing whose turn it is: everyone once a round, each round shuffled anew."""
    number, place = divmod(turn, len(things))
    return things[_round(len(things), seed, number)[place]]


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


def _manifest_row(
    plan: SynthesisPlan, index: int, photo: _Framed, reference: str | None, parameters: dict[str, object]
) -> str:
    """Write an item's line of the manifest."""
    record = {
        "name": item_name(index),
        "portrait": photo.portrait.name,
        "reference": reference,
        "source": photo.portrait.source,
        "recipe": plan.recipe,
        "face": face_in_square(photo.portrait.face, photo.square, plan.size),
        "square": asdict(photo.square),
        "plain": photo.portrait.plain,
        "parameters": parameters,
    }
    return json.dumps(record) + "\n"


def face_in_square(face: Box | None, square: Square, size: int) -> list[float] | None:
    """Return where a photo's face lies in a square of it, resized: x, y, width, height [px]."""
    if face is None:
        return None
    scale = size / square.side
    corner = face[0] - square.x, face[1] - square.y
    return [round(edge * scale, 1) for edge in (*corner, *face[2:])]


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
def read_lights(illuminants: Path | None, lights: Path | None) -> MeasuredLights:
    """Read measured lights; illuminants become factors of their own median, panoramas light in our axes.

    Raises:
        ValueError: a file holds no numbers, or not as many as a light has.
        OSError: a file cannot be opened.
    """
    colours = spheres = None
    if illuminants:
        measured = read_numbers(illuminants)
        if measured.dim() != 2 or measured.shape[1] != 3:
            raise ValueError(f"{illuminants} holds {list(measured.shape)}; expected [N,3] illuminants")
        colours = measured / measured.median(dim=0).values
    if lights:
        given = read_numbers(lights, "sh")
        if given.dim() not in (2, 3) or given.shape[1] != 9:
            raise ValueError(
                f"{lights} holds {list(given.shape)}; expected `sh` [N,9] grey lights or [N,9,3] panoramas"
            )
        spheres = DPR_SCALE * given[:, :, None] if given.dim() == 2 else panorama_light(given)
    return MeasuredLights(colours, spheres)


def read_numbers(path: Path, name: str = "") -> Tensor:
    """Read a .npy, or the array of a name in a .npz."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            return torch.from_numpy((loaded[name] if name else loaded).astype(np.float32))
    except (ValueError, KeyError, IndexError, AttributeError, EOFError, BadZipFile):  # whatever else the file may be
        expected = f"a .npz with `{name}`" if name else "a .npy"
        raise ValueError(f"{path} cannot be read as numbers; expected {expected}") from None


def _key(names: Iterable[str]) -> int:
    """A number that names decide."""
    return seeded("\n".join(sorted(names))).initial_seed()


@lru_cache(maxsize=4)
def _round(count: int, seed: int, number: int) -> list[int]:
    order: list[int] = torch.randperm(count, generator=seeded(seed, "round", number)).tolist()
    return order
