"""Portraits, backgrounds and masks of a video: clips and pictures, each with its picture at any time."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, TypeVar, cast

import torch

from ..image import read_mask, read_picture
from ..image.picture import Source, to_samples
from ..matte import MOST_COVERAGE, check_visible
from ..options import LiveOptions
from .canvas import fit_scene
from .pixels import Floats, Pixels, to_unit
from .read import Clip, Frame, is_picture, open_clip, read_frames

Item = TypeVar("Item")
AtEnd = Literal["loop", "freeze", "stop"]
Tell = Callable[[str], None]

_OPAQUE = "The portrait's alpha channel is almost fully opaque; it was ignored and the person was detected instead."
_IGNORED = "The background's transparency was ignored."


@dataclass(frozen=True)
class Still:
    """A picture that stands for a clip."""

    pixels: Pixels  # [H,W,3]
    alpha: Pixels | None = None  # [H,W]
    notices: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.pixels.shape[:2]
        return height, width

    @property
    def transparent(self) -> bool:
        """Tell whether its alpha leaves something out."""
        return self.alpha is not None and float(self.alpha.mean()) <= MOST_COVERAGE * 255


Medium = Clip | Still


def open_medium(source: Source) -> Medium:
    """Open a clip by its path, or a picture: a path, bytes, a PIL image or an array.

    Raises:
        ValueError: it is neither.
        OSError: the file cannot be opened.
    """
    if isinstance(source, str | Path) and not is_picture(source):
        return open_clip(source)
    picture = read_picture(source)
    alpha = None if picture.alpha is None else cast(Pixels, to_samples(picture.alpha)[:, :, 0])
    return Still(cast(Pixels, to_samples(picture.pixels)), alpha, picture.notices)


def needs_matting(portrait: Source, mask: object = None) -> bool:
    """Tell whether the person must be detected: there is no mask, and no transparency that shows where it is."""
    return mask is None and not open_medium(portrait).transparent


def given_alpha(portrait: Medium, mask: Source | None, tell: Tell) -> Callable[[Frame | None], Floats | None]:
    """Give the alpha [H,W] of a portrait's frame, None for a still: the mask's, its own, or None to detect the person.

    Args:
        portrait: of whom.
        mask: white where the person is: a picture, or the path of a picture or clip.
        tell: told in one sentence what the user should know.

    Raises:
        ValueError: a mask that is not a picture or clip, of another size, or showing nobody.
        OSError: the file cannot be opened.
    """
    if mask is not None:
        return _mask_at(mask, portrait, tell)
    if isinstance(portrait, Still):
        opaque = portrait.alpha is not None and not portrait.transparent
        alpha = None if portrait.alpha is None or opaque else to_unit(portrait.alpha)
        if alpha is not None:
            _check_shown(alpha, "the portrait's transparency")
    else:
        opaque, alpha = portrait.opaque, None
    if opaque:
        tell(_OPAQUE)
    return lambda frame: alpha if frame is None or frame.alpha is None else to_unit(frame.alpha)


def _mask_at(mask: Source, portrait: Medium, tell: Tell) -> Callable[[Frame | None], Floats]:
    if not isinstance(mask, str | Path) or is_picture(mask):
        alpha: Floats = read_mask(mask)[0, 0].numpy()
        _check_size((alpha.shape[0], alpha.shape[1]), portrait)
        _check_shown(alpha, "the mask")
        return lambda frame: alpha
    clip = open_clip(mask)
    _check_size(clip.size, portrait)
    at = frame_at(clip, "freeze", tell)

    def shown(frame: Frame | None) -> Floats:
        mask_frame = at(0.0 if frame is None else frame.time)
        assert mask_frame is not None
        return to_unit(mask_frame.pixels[:, :, 1] if mask_frame.alpha is None else mask_frame.alpha)

    return shown


def _check_size(size: tuple[int, int], portrait: Medium) -> None:
    if size != portrait.size:
        (height, width), (rows, columns) = size, portrait.size
        raise ValueError(f"the mask is {width}x{height} px, the portrait {columns}x{rows}; they must be the same size")


def _check_shown(alpha: Floats, role: str) -> None:
    check_visible(torch.from_numpy(alpha), role)


def canvas_size(portrait: Medium, background: Medium, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width [px] of the result: a `size` (width, height), a background clip's, or the portrait's."""
    if size is not None:
        return size[1], size[0]
    return background.size if isinstance(background, Clip) else portrait.size


def scene_at(
    background: Medium, options: LiveOptions, canvas: tuple[int, int], at_end: AtEnd, tell: Tell
) -> Callable[[float], Pixels | None]:
    """Give the background, fitted to the canvas, at a time [s]; None where it has ended."""
    if background.transparent:
        tell(_IGNORED)
    if isinstance(background, Still):
        still = fit_scene(background.pixels, canvas, options.fit, options.blur)
        return lambda time: still
    at = frame_at(background, at_end, tell)
    fitted: tuple[Frame, Pixels] | None = None

    def scene(time: float) -> Pixels | None:
        nonlocal fitted
        frame = at(time)
        if frame is None:
            return None
        if fitted is None or fitted[0] is not frame:
            fitted = frame, fit_scene(frame.pixels, canvas, options.fit, options.blur)
        return fitted[1]

    return scene


def frame_at(clip: Clip, at_end: AtEnd, tell: Tell) -> Callable[[float], Frame | None]:
    """Give a clip's frame at times [s] that never decrease; None where it has stopped."""
    frames = _frames_by_time(clip, at_end, tell)
    next(frames)

    def at(time: float) -> Frame | None:
        try:
            return frames.send(time)
        except StopIteration:
            return None

    return at


def _frames_by_time(clip: Clip, at_end: AtEnd, tell: Tell) -> Generator[Frame | None, float]:
    """Yield the frame for each time that is sent in; the first `send` follows an empty answer."""
    time = yield None
    shown: Frame | None = None
    offset = until = 0.0  # [s] when this turn of a loop began, and until when its frame is shown
    while True:
        for frame, following in _with_next(read_frames(clip, tell=tell)):
            while shown is not None and time < offset + frame.time - 1e-6:  # the first of another turn is not yet due
                time = yield shown
            until = offset + (frame.time + float(1 / clip.rate) if following is None else following.time)
            while time < until - 1e-6 or (following is None and at_end == "freeze"):
                time = yield frame
            shown = frame
        if at_end == "stop":
            return
        assert shown is not None
        offset = until


def _with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    """Pair each item with the one that follows it."""
    ahead: Iterator[Item | None] = chain(items, (None,))
    return ((one, other) for one, other in pairwise(ahead) if one is not None)
