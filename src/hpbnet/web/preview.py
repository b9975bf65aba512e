"""Pictures at a reduced size, fast: each step of the pipeline is kept, and done again only if what it uses changed.

The steps are the pipeline's own (`matte`, `canvas`, `place`, `estimate`, `recolor`); only the sizes are smaller.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from math import sqrt
from typing import TypeVar, cast

import torch
from torch import Tensor

from ..composition import Composition, CutOut
from ..framing import plan_placement
from ..image import Picture
from ..image.picture import Samples
from ..layers import Layers, Placement, box_of, place
from ..light import light_person
from ..matte.refine import reduced
from ..options import ComposeOptions
from ..pipeline import Pipeline
from ..shadow import add_shadow, free_below
from .workers import GoOn

_LEAST_SIDE = 16  # [px] that the pipeline asks for
_MOST_PIXELS = 16_000_000  # of a preview: what it needs of memory stays below 1 GB
_SIDES = (1280, 2560, 5120)  # [px] longer sides to which portraits and backgrounds are reduced; else they stay
_BOX_ALPHA = 0.1  # as in framing
SIDE, LEAST_SIDE, MOST_SIDE = 1280, 16, 8192  # [px] longer side of a preview: unless told otherwise, least, most
PREVIEW_QUALITY = 88  # of JPEG
Value = TypeVar("Value")
Size = tuple[int, int]  # height and width [px]
Box = tuple[float, float, float, float]  # left, top, width, height, as shares of the result; may reach beyond it
Framing = tuple[float, float, float]  # the options scale, x and y
Networks = tuple[Hashable, Hashable]  # names of the pipeline's harmonizer and matting


@dataclass(frozen=True)
class Origin:
    """A picture at its full size, decoded when it is asked for."""

    read: Callable[[], Picture]
    size: Size
    version: Hashable  # changes whenever the picture does


@dataclass(frozen=True)
class Subject:
    """A portrait, and what says where the person is."""

    portrait: Origin
    mask: Callable[[], Tensor] | None = None  # [1,1,H,W] at the portrait's full size
    hint: Callable[[Size], Samples] | None = None  # strokes [h,w,4] at a size
    versions: Hashable = None  # of mask and hint


@dataclass(frozen=True)
class Placed:
    """Layers of a reduced size, where the person lies in them, and what is to be said of it."""

    layers: Layers
    box: Box
    framing: Framing  # in force, given or automatic
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A composed picture of a reduced size."""

    composition: Composition
    placed: Placed
    size: Size  # of the full result


class Preview:
    """Composes one session's pictures at reduced sizes, and keeps the result of each step."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, object]] = {}

    @torch.no_grad()
    def compose(
        self,
        pipeline: Pipeline,
        networks: Networks,
        subject: Subject,
        background: Origin,
        options: ComposeOptions,
        side: int,  # [px] longer side of the picture, at most
        go_on: GoOn,
    ) -> Shown:
        """Compose a picture of a reduced size.

        Raises:
            ValueError: as `Pipeline` does.
        """
        result = options.size[::-1] if options.size else background.size
        small = fitted(result, side)
        cut_out = self.cut_out(pipeline, networks, subject, options.person, side)
        go_on()
        canvas_key = (background.version, small, options.size, options.fit, options.blur)
        canvas = self.keep("canvas", canvas_key, lambda: self._canvas(pipeline, background, options, result, small))
        go_on()
        cut_key = self._key("cut-out")
        place_key = (cut_key, canvas_key, options.flip, options.scale, options.x, options.y)
        placed = self.keep(
            "placed", place_key, lambda: _placed(cut_out, canvas, options, result, subject.portrait.size)
        )
        go_on()
        grid = self.keep("grid", (place_key, networks), lambda: pipeline.estimate(placed.layers))
        go_on()
        light_key = (place_key, options.light, options.lamp)
        light = self.keep("light", light_key, lambda: light_person(placed.layers, options))
        go_on()
        scene, free = None if light is None else light.scene.coefficients, free_below(cut_out.alpha)
        layers, missing = self.keep(
            "shadow", (light_key, options.shadow), lambda: add_shadow(placed.layers, free, scene, options)
        )
        go_on()
        depth, notices = max(cut_out.depth, canvas.depth), (*cut_out.notices, *canvas.notices, *placed.notices)
        composition = pipeline.recolor(layers, grid, light, options, depth, (*notices, *missing))
        return Shown(composition, placed, result)

    @torch.no_grad()
    def cut_out(self, pipeline: Pipeline, networks: Networks, subject: Subject, person: str, side: int) -> CutOut:
        """Cut the person out of the portrait at a reduced size."""
        portrait = self.reduced("portrait", subject.portrait, side)

        def make() -> CutOut:
            mask = None if subject.mask is None else reduced(subject.mask(), *portrait.size).clamp(0.0, 1.0)
            hint = None if subject.hint is None else subject.hint(portrait.size)
            return pipeline.matte(portrait, mask, hint, person)

        key = (subject.portrait.version, subject.versions, person, networks[1], portrait.size)
        return self.keep("cut-out", key, make)

    def reduced(self, name: str, origin: Origin, side: int) -> Picture:
        """Return a picture, reduced to a little more than the longer side [px] that is asked for."""
        wanted = next((each for each in _SIDES if each >= min(side, max(origin.size))), max(origin.size))
        goal = fitted(origin.size, wanted)
        return self.keep(name, (origin.version, goal), lambda: reduce_picture(origin.read(), goal))

    def keep_reduced(self, name: str, version: Hashable, picture: Picture) -> None:
        """Keep the reduced copy of a picture that is decoded anyway."""
        self.reduced(name, Origin(lambda: picture, picture.size, version), _SIDES[0])

    def forget(self) -> None:
        """Free the memory; what is needed is computed again."""
        self._kept.clear()

    def _canvas(
        self, pipeline: Pipeline, background: Origin, options: ComposeOptions, full: Size, small: Size
    ) -> Picture:
        fit = options.fit if options.size else "cover"
        blur = options.blur * small[0] / full[0]
        picture = self.reduced("background", background, max(small))
        return pipeline.canvas(picture, replace(options, size=small[::-1], fit=fit, blur=blur))

    def keep(self, name: str, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what was made under a name, or make it where its key is another now."""
        kept = self._kept.get(name)
        if kept is None or kept[0] != key:
            self._kept.pop(name, None)  # its memory is free while the next is made
            kept = self._kept[name] = key, make()
        return cast(Value, kept[1])

    def _key(self, name: str) -> Hashable:
        return self._kept[name][0]


def fitted(size: Size, side: int) -> Size:
    """Reduce a size so that its longer side is at most `side`; never below what the pipeline takes.

    Whatever is asked for, it holds no more pixels than a preview may have.
    """
    scale = min(side / max(size), sqrt(_MOST_PIXELS / (size[0] * size[1])))
    scale = min(1.0, max(scale, _LEAST_SIDE / min(size)))
    return max(_LEAST_SIDE, round(size[0] * scale)), max(_LEAST_SIDE, round(size[1] * scale))


def reduce_picture(picture: Picture, size: Size) -> Picture:
    """Reduce a picture to a height and width, colours premultiplied by its alpha."""
    if picture.size == size or min(picture.size) < _LEAST_SIDE:
        return picture
    if picture.alpha is None:
        return replace(picture, pixels=reduced(picture.pixels, *size).clamp_(0.0, 1.0))
    alpha = reduced(picture.alpha, *size).clamp_(0.0, 1.0)
    pixels = reduced(picture.pixels * picture.alpha, *size) / alpha.clamp_min(1e-4)
    return replace(picture, pixels=pixels.clamp_(0.0, 1.0), alpha=alpha)


def _placed(cut_out: CutOut, canvas: Picture, options: ComposeOptions, full: Size, portrait: Size) -> Placed:
    """Plan the placement on the full canvas, so that notices are right, and draw it on the reduced one."""
    blank = torch.empty(1, 1, 1, 1).expand(1, 3, *full)
    plan, notices = plan_placement(cut_out.alpha, blank, options, portrait[0] / cut_out.size[0])
    down, across = canvas.size[0] / full[0], canvas.size[1] / full[1]
    top, left, bottom, right = plan.target
    target = round(top * down), round(left * across), round(bottom * down), round(right * across)
    target = target[0], target[1], max(target[0] + 1, target[2]), max(target[1] + 1, target[3])
    layers = place(cut_out.foreground, cut_out.alpha, canvas.pixels, replace(plan, target=target))
    return Placed(layers, *_framing(cut_out.alpha, plan, full), notices)


def _framing(alpha: Tensor, plan: Placement, full: Size) -> tuple[Box, Framing]:
    """Express a placement as the person's box, and as the options scale, x and y."""
    box = box_of(alpha.flip(-1) if plan.flip else alpha, _BOX_ALPHA)
    source, target = plan.source, plan.target
    down = (target[2] - target[0]) / (source[2] - source[0])
    across = (target[3] - target[1]) / (source[3] - source[1])
    tall, wide = (box[2] - box[0]) * down / full[0], (box[3] - box[1]) * across / full[1]
    bottom = (target[2] + (box[2] - source[2]) * down) / full[0]
    left = (target[1] + (box[1] - source[1]) * across) / full[1]
    return (left, bottom - tall, wide, tall), (tall, left + wide / 2, bottom)
