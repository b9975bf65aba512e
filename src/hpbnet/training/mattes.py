"""Training items for the matting network: people in their own photo or set into scenes, with their true alpha.

People stand before foreign scenes at every scale, several at once, with things before and behind them that are nobody;
most keep their own photo, so that no source's cut edge is learned. Some items come with a hint or the matte of the
frame before. Item k depends on (seed, k) alone; all items of a batch share one shape.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..networks.matting import NO_PREVIOUS
from .cuts import Cut, Person, read_cut
from .hints import Hint, imagine_hint, imagine_previous, mark
from .photographs import (
    Matrix,
    Pixels,
    Rng,
    Size,
    log_uniform,
    motion_kernel,
    moved,
    photograph_badly,
    regrade,
    turn_and_zoom,
    warp,
)

ASPECTS = (1.0, 1.0, 1.0, 3 / 4, 4 / 3, 3 / 2, 16 / 9)  # height / width of a batch's items, each as often
SMALLEST, LARGEST = 0.15, 1.3  # height of a person set into a scene, as a share of the item's
_LOOSEST, _TIGHTEST = 0.8, 1.8  # zoom into a person's own photo, 1 where it just fills the item
_MOST_ENLARGED = 3.0  # times a photo's own pixels
_STRIDE = 32


class MatteItem(NamedTuple):
    """What the network sees, and the truth."""

    portrait: Tensor  # [3,h,w] uint8
    previous: Tensor  # [1,h,w] float16: a plausible matte of the previous frame, or NO_PREVIOUS everywhere
    hint: Tensor  # [1,h,w] int8: 1 keep, -1 remove, 0 unknown
    alpha: Tensor  # [1,h,w] uint8
    sure: Tensor  # [1,h,w] uint8: 0 where alpha is not known


@dataclass(frozen=True)
class Chances:
    """How often each thing happens to an item."""

    nobody: float = 0.07
    own_scene: float = 0.6
    person: float = 0.45  # of those drawn: one of `people/`, not a portrait
    others: float = 0.35  # for each further person in a foreign scene
    thing: float = 0.15  # that is nobody, in a foreign scene
    moving: float = 0.08
    backlit: float = 0.12
    previous: float = 0.25
    hint: float = 0.2


class Scenery(NamedTuple):
    """A picture with its truth so far, each [h,w] or [h,w,3]."""

    picture: Pixels
    alpha: Pixels
    sure: Pixels
    hint: Hint


class Mattes(Dataset[MatteItem]):
    """Endless matting items of about size x size [px]; index = running number of the item."""

    def __init__(
        self,
        people: Sequence[Person],
        scenes: Sequence[Path],
        size: int,
        seed: int,
        batch_size: int = 1,
        chances: Chances | None = None,
    ) -> None:
        self.scenes, self.size, self.seed, self.batch_size = list(scenes), size, seed, batch_size
        self.chances = chances or Chances()
        self.portraits = [person for person in people if person.kind == "portrait"]
        self.persons = [person for person in people if person.kind == "person"] or self.portraits
        self.things = [person for person in people if person.kind == "object"]
        self.portraits = self.portraits or self.persons
        self.portrait_weights, self.person_weights = (_weights(drawn) for drawn in (self.portraits, self.persons))

    def __getitem__(self, index: int) -> MatteItem:
        """Draw item `index`."""
        rng = np.random.default_rng((self.seed, index))
        told, hinted = rng.random() < self.chances.previous, rng.random() < self.chances.hint
        scenery = self._draw(self.shape(index), hinted, rng)
        previous = np.full(scenery.alpha.shape, NO_PREVIOUS)
        if told:
            previous = imagine_previous(scenery.alpha, rng) / 255
        return MatteItem(
            torch.from_numpy(photograph_badly(scenery.picture, rng).transpose(2, 0, 1).copy()),
            torch.from_numpy(previous)[None].half(),
            torch.from_numpy(scenery.hint.astype(np.int8))[None],
            torch.from_numpy(scenery.alpha)[None],
            torch.from_numpy(scenery.sure)[None],
        )

    def shape(self, index: int) -> Size:
        """Height and width of an item: the same for all of a batch, about size x size in area."""
        rng = np.random.default_rng((self.seed, index // self.batch_size, 1))
        root = float(np.sqrt(ASPECTS[rng.integers(len(ASPECTS))]))
        height, width = (max(_STRIDE, round(self.size * side / _STRIDE) * _STRIDE) for side in (root, 1 / root))
        return height, width

    def _draw(self, size: Size, hinted: bool, rng: Rng) -> Scenery:
        empty = np.zeros(size, np.uint8)
        if rng.random() < self.chances.nobody:
            scenery = Scenery(self._scene(size, rng), empty, empty + 255, empty.astype(np.float32))
            return self._add(scenery, self._thing(rng), hinted, rng) if rng.random() < 0.3 else scenery
        if rng.random() < self.chances.own_scene:
            return _own_photo(self._person(rng), size, hinted, rng)
        scenery = Scenery(self._scene(size, rng), empty, empty + 255, empty.astype(np.float32))
        cuts = [self._person(rng)]
        while len(cuts) < 4 and rng.random() < self.chances.others:
            cuts.append(self._person(rng))
        if rng.random() < (0.5 if hinted else self.chances.thing):
            cuts.insert(int(rng.integers(len(cuts) + 1)), self._thing(rng))
        for cut in cuts:
            scenery = self._add(scenery, cut, hinted, rng)
        return scenery

    def _person(self, rng: Rng) -> tuple[str, Cut]:
        if rng.random() < self.chances.person:
            person = self.persons[rng.choice(len(self.persons), p=self.person_weights)]
        else:
            person = self.portraits[rng.choice(len(self.portraits), p=self.portrait_weights)]
        return person.kind, read_cut(person.file)

    def _thing(self, rng: Rng) -> tuple[str, Cut]:
        if not self.things:
            return self._person(rng)
        return "object", read_cut(self.things[rng.integers(len(self.things))].file)

    def _add(self, scenery: Scenery, drawn: tuple[str, Cut], hinted: bool, rng: Rng) -> Scenery:
        """Set a person or a thing in front of all that is there; a hint may say that it counts, or does not."""
        kind, cut = drawn
        matrix = _stance(cut.alpha, scenery.alpha.shape, rng)
        size = scenery.alpha.shape
        own = warp(cut.alpha, matrix, size, cv2.BORDER_CONSTANT)
        sure = warp(cut.sure, matrix, size, cv2.BORDER_REPLICATE)
        backlit = rng.uniform(-1.6, -0.5) if rng.random() < self.chances.backlit else 0.0
        pixels = regrade(warp(cut.foreground, matrix, size, cv2.BORDER_REPLICATE), rng, 0.2, backlit)
        if rng.random() < self.chances.moving:
            kernel = motion_kernel(rng, 0.06 * min(size))
            own, pixels = (cv2.filter2D(plane, -1, kernel) for plane in (own, pixels))
        share = own.astype(np.float32) / 255
        picture = scenery.picture + share[:, :, None] * (pixels - scenery.picture.astype(np.float32))
        counts = kind != "object"
        if hinted and rng.random() < (0.3 if counts else 0.7):
            counts = not counts
        alpha = scenery.alpha * (1 - share) + 255 * share * counts
        known = np.where(own > 0, np.minimum(scenery.sure, sure), scenery.sure)
        hint = scenery.hint
        if hinted:
            hint = np.where(own > 25, mark(own, 1.0 if counts else -1.0, rng), hint)
        return Scenery(picture.round().astype(np.uint8), alpha.round().astype(np.uint8), known.astype(np.uint8), hint)

    def _scene(self, size: Size, rng: Rng) -> Pixels:
        """Cut a random part of a random scene."""
        pixels = read_scene(self.scenes[rng.integers(len(self.scenes))])
        height, width = pixels.shape[:2]
        zoom = max(size[0] / height, size[1] / width) / rng.uniform(0.4, 1.0)
        x, y = (rng.uniform(0, max(0.0, own - side / zoom)) for own, side in ((width, size[1]), (height, size[0])))
        scene = warp(pixels, np.array([[zoom, 0, -x * zoom], [0, zoom, -y * zoom]]), size, cv2.BORDER_REFLECT_101)
        if rng.random() < 0.3:
            scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(1, 8))
        return regrade(scene[:, ::-1] if rng.random() < 0.5 else scene, rng, 0.2)


def _weights(people: Sequence[Person]) -> NDArray[np.float64]:
    """How often each is drawn: a source as often as the root of its size, half as often before a plain backdrop."""
    sizes = Counter(person.source for person in people)
    weights = np.array([sizes[person.source] ** -0.5 * (0.5 if person.plain else 1.0) for person in people])
    return np.asarray(weights / weights.sum())


def _own_photo(drawn: tuple[str, Cut], size: Size, hinted: bool, rng: Rng) -> Scenery:
    """Frame a person in their own photo; beyond its border it is mirrored.

    As both looks do: all of the photo down to a detail of it, or the people with more or less room around them.
    """
    cut = drawn[1]
    height, width = cut.alpha.shape
    fits, fills = (choose(size[0] / height, size[1] / width) for choose in (min, max))
    least = max(fits, _LOOSEST * fills)
    x, y, wide, tall = _box(cut.alpha)
    if rng.random() < 0.5 and wide:
        zoom = log_uniform(0.35, 1.2, rng) * min(size[0] / tall, size[1] / wide)
        zoom = max(least, min(zoom, _MOST_ENLARGED))
        middle = np.array([x + wide / 2, y + tall / 2]) + rng.normal(0, 0.06, 2) * size[::-1] / zoom
    else:
        zoom = log_uniform(least, _TIGHTEST * fills, rng)
        middle = np.array([width, height]) * rng.uniform(0, 1, 2)
    room = np.minimum(np.array(size[::-1]) / zoom / 2, np.array([width, height]) / 2)
    middle = np.clip(middle, room, np.array([width, height]) - room)
    matrix = moved(turn_and_zoom(zoom, rng, 6), (middle[0], middle[1]), (size[1] / 2, size[0] / 2))
    planes = (cut.photo, cut.alpha, cut.sure)
    photo, alpha, sure = (warp(plane, matrix, size, cv2.BORDER_REFLECT_101) for plane in planes)
    hint = imagine_hint(alpha, rng) if hinted else np.zeros(size, np.float32)
    return Scenery(photo, alpha, sure, hint)


def _box(alpha: Pixels) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is opaque."""
    x, y, width, height = cv2.boundingRect((np.ascontiguousarray(alpha) > 127).astype(np.uint8))
    return x, y, width, height


def _stance(alpha: Pixels, size: Size, rng: Rng) -> Matrix:
    """Draw where a cut comes to stand in a scene, and how large; one cut at its lower edge mostly meets the item's."""
    x, y, width, height = _box(alpha)
    share = log_uniform(SMALLEST, LARGEST, rng)
    zoom = min(share * size[0] / max(1, height), LARGEST * size[1] / max(1, width))
    turn = turn_and_zoom(zoom, rng, 5)
    across = rng.uniform(0.08, 0.92) * size[1]
    tall = zoom * height
    cut = y + height >= alpha.shape[0] - 2
    if cut and rng.random() < 0.7:
        low = size[0] + rng.uniform(0, 0.35) * tall
    else:  # all of it in the frame where it fits, else some part of it
        low = rng.uniform(min(tall, size[0]), max(tall, size[0])) + rng.normal(0, 0.05) * size[0]
    return moved(turn, (x + width / 2, y + height), (across, low))


@cache
def read_scene(path: Path) -> Pixels:
    """Read a scene [H,W,3]."""
    return cv2.cvtColor(np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8), cv2.COLOR_BGR2RGB)
