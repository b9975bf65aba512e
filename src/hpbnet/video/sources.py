"""Clips and pictures as what they are to a video: a person, a place or a mask, each with its picture at any time."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ..image import read_mask, read_picture
from ..image.picture import to_samples
from .canvas import fit_scene
from .options import VideoOptions
from .read import Clip, Floats, Pixels, is_picture, open_clip, read_frames


@dataclass(frozen=True)
class Still:
    """A picture that stands for a clip."""

    path: Path
    pixels: Pixels  # [H,W,3]
    alpha: Pixels | None  # [H,W]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.pixels.shape[:2]
        return height, width


Source = Clip | Still


def open_source(path: str | Path) -> Source:
    """Open a picture or a clip.

    Raises:
        ValueError: it is neither.
    """
    if not is_picture(path):
        return open_clip(path)
    picture = read_picture(Path(path))
    alpha = None if picture.alpha is None else cast(Pixels, to_samples(picture.alpha)[:, :, 0])
    return Still(Path(path), cast(Pixels, to_samples(picture.pixels)), alpha)


def needs_matting(portrait: str | Path, mask: object = None) -> bool:
    """Tell whether the person of a clip or picture must be found: there is no mask, and no transparency."""
    if mask is not None:
        return False
    source = open_source(portrait)
    return source.alpha is None if isinstance(source, Still) else not source.transparent


def canvas_size(portrait: Source, background: Source, options: VideoOptions) -> tuple[int, int]:
    """Return height and width [px] of the result: as asked, else the background clip's, else the portrait clip's."""
    if options.size is not None:
        return options.size[1], options.size[0]
    return background.size if isinstance(background, Clip) else portrait.size


def background_at(background: Clip, options: VideoOptions, canvas: tuple[int, int]) -> Generator[Pixels, float, None]:
    """Give the background's picture, fitted to the canvas, for each time [s] that is sent in; ends where it stops."""
    shown: Pixels | None = None
    offset = 0.0  # [s] at which this turn of the loop began
    wanted = yield np.empty(0, np.uint8)  # the first `send` starts it
    while True:
        frames = read_frames(background)
        last = 0.0
        following = next(frames, None)
        while following is not None:
            if following.time + offset <= wanted + 1e-6 or shown is None:
                current, last = following, following.time
                following = next(frames, None)
                if following is not None and following.time + offset <= wanted + 1e-6:
                    continue
                shown = fit_scene(current.pixels, canvas, options.fit, options.blur)
                continue
            wanted = yield shown
        end = offset + last + float(1 / background.rate)
        assert shown is not None
        while wanted < end - 1e-6 or options.background_end == "freeze":
            wanted = yield shown
        if options.background_end == "stop":
            return
        offset = end


def scene_at(background: Source, options: VideoOptions, canvas: tuple[int, int]) -> Callable[[float], Pixels | None]:
    """Give the background at a time [s]; None where it has ended."""
    if isinstance(background, Still):
        still = fit_scene(background.pixels, canvas, options.fit, options.blur)
        return lambda time: still
    seeker = background_at(background, options, canvas)
    next(seeker)

    def at(time: float) -> Pixels | None:
        try:
            return seeker.send(time)
        except StopIteration:
            return None

    return at


def mask_at(source: object, portrait: Source) -> Callable[[float], Floats]:
    """Read a mask that is a picture or a clip -> the alpha [H,W] at a time [s]."""
    assert isinstance(source, str | Path)
    if is_picture(source):
        alpha: Floats = read_mask(Path(source))[0, 0].numpy()
        _check_size((alpha.shape[0], alpha.shape[1]), portrait)
        if not alpha.any():
            raise ValueError("the mask is all black: white shows where the person is")
        return lambda time: alpha
    opened = open_clip(source)
    _check_size(opened.size, portrait)
    seeker = background_at(opened, VideoOptions(background_end="freeze"), opened.size)
    next(seeker)
    return lambda time: _unit(seeker.send(time)[:, :, 1])


def _check_size(size: tuple[int, int], portrait: Source) -> None:
    if size != portrait.size:
        (height, width), (rows, columns) = size, portrait.size
        raise ValueError(f"the mask is {width}x{height} px, the portrait {columns}x{rows}; they must agree")


def to_alpha(alpha: Pixels | None) -> Floats | None:
    """Turn a clip's own transparency into alpha in [0,1]."""
    return None if alpha is None else _unit(alpha)


def _unit(samples: Pixels) -> Floats:
    return samples.astype(np.float32) * np.float32(1 / 255)
