"""A whole video: read, judge, draw and write at once, each in its own thread, with short queues between them.

Memory does not grow with the length of the clip: no more than a few frames wait anywhere.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from torch import nn

from ..harmonize import Harmonizer, identity
from .canvas import FrameWindow, fit_scene
from .options import VideoOptions
from .person import person_planes
from .read import Clip, Floats, Frame, Pixels, open_clip, read_frames
from .sources import Source, Still, canvas_size, mask_at, open_source, scene_at, to_alpha
from .step import FrameStep, Judgement, State
from .threads import ahead, now, shared_cores, timed
from .write import Film, Sound, VideoWriter

Progress = Callable[[int, float, float | None], None]  # frames done, seconds done, seconds in all


@dataclass(frozen=True)
class Report:
    """What became of a video."""

    path: Path
    frames: int
    seconds: float  # length of the result
    size: tuple[int, int]  # height and width [px]
    elapsed: float  # [s]
    shares: tuple[tuple[str, float], ...]  # part of the work, processor time of its thread [s]
    repeated: int = 0  # frames that could not be decoded
    empty: int = 0  # frames without a person
    cuts: int = 0
    interrupted: bool = False
    notices: tuple[str, ...] = ()


@dataclass
class _Counts:
    """What a report counts."""

    repeated: int = 0
    empty: int = 0
    cuts: int = 0
    framing: tuple[str, ...] = ()  # notices


@dataclass(frozen=True)
class _Moment:
    """What belongs together at one time: a frame, its background, and what was made of them."""

    frame: Frame
    scene: Pixels | None = None
    alpha: Floats | None = None  # of the frame, where it is known
    judgement: Judgement | None = None
    picture: Pixels | None = None
    opacity: Pixels | None = None  # of the picture, if it has any


Stage = Generator[_Moment, None, None]  # work ahead of who asks for it, in its thread until it is closed


def compose_video(
    portrait: str | Path,
    background: str | Path,
    destination: str | Path,
    harmonizer: Harmonizer,
    matting: nn.Module | None = None,
    options: VideoOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Put the person of a clip or picture into a clip or picture, and write a video; at least one of them is a clip.

    Times are those of the portrait if it is a clip, else of the background. On a KeyboardInterrupt the part that is
    done stays, as a playable file, and the report says so.

    Raises:
        ValueError: two pictures, a file that is no video, names and codecs that do not go together.
        OSError: a file cannot be read or written, or the disk is full; nothing is left of the result then.
    """
    options = options or VideoOptions()
    person, place = open_source(portrait), open_source(background)
    if isinstance(person, Still) and isinstance(place, Still):
        raise ValueError(f"{portrait} and {background} are both pictures: use `hpbnet compose`")
    clip = person if isinstance(person, Clip) else cast(Clip, place)
    size = canvas_size(person, place, options)
    step, counts = FrameStep(harmonizer, matting, options, still=isinstance(person, Still)), _Counts()
    sound, notices = _sound(person, place, options)
    moments = ahead(_moments(person, place, size, options, step, counts))
    drawn = ahead(_drawn(ahead(_judged(moments, step, counts)), step))
    film = Film(Path(destination), size[1], size[0], clip.time_base, clip.rate, options.codec, options.crf)
    return _make(drawn, film, sound, clip, options, step, counts, notices, progress)


def cut_out_video(
    portrait: str | Path,
    destination: str | Path,
    matting: nn.Module | None = None,
    options: VideoOptions | None = None,
    alpha_only: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Cut the person out of a clip, and write a video with transparency, or of the alpha alone.

    Raises:
        ValueError: the file is no video, or names and codecs that do not go together.
        OSError: a file cannot be read or written, or the disk is full; nothing is left of the result then.
    """
    options = options or VideoOptions()
    clip = open_clip(portrait)
    step, counts = FrameStep(identity, matting, options), _Counts()
    sound, notices = _sound(clip, clip, options)
    drawn = ahead(_cut_out(ahead(_moments(clip, None, clip.size, options, step, counts)), step, counts, alpha_only))
    film = Film(Path(destination), clip.width, clip.height, clip.time_base, clip.rate, options.codec, options.crf)
    film = replace(film, alpha=not alpha_only)
    return _make(drawn, film, sound, clip, options, step, counts, notices, progress)


def _make(
    drawn: Stage,
    film: Film,
    sound: Sound | None,
    clip: Clip,
    options: VideoOptions,
    step: FrameStep,
    counts: _Counts,
    notices: tuple[str, ...],
    progress: Progress | None,
) -> Report:
    """Write what is drawn; nothing is left behind where that fails."""
    started = time.perf_counter()
    writer: VideoWriter | None = None
    try:
        writer = VideoWriter(film, sound)
        with shared_cores():
            interrupted = _write(drawn, writer, clip, options, step, progress)
        if not interrupted and not writer.frames:
            raise ValueError(f"nothing lies between {options.start:g} s and the end of {clip.path}")
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    finally:
        if sound is not None:
            sound.close()
    elapsed = time.perf_counter() - started
    shares = tuple(step.clock.seconds.items())
    report = Report(film.path, writer.frames, writer.seconds, writer.size, elapsed, shares, interrupted=interrupted)
    notices = (*notices, *writer.notices, *_tell(counts))
    return replace(report, repeated=counts.repeated, empty=counts.empty, cuts=counts.cuts, notices=notices)


def _moments(
    portrait: Source,
    background: Source | None,
    canvas: tuple[int, int],
    options: VideoOptions,
    step: FrameStep,
    counts: _Counts,
) -> Iterator[_Moment]:
    """Pair frames, backgrounds and masks by time."""
    mask = mask_at(options.mask, portrait) if options.mask is not None else None
    if isinstance(portrait, Still):
        assert isinstance(background, Clip)
        alpha = mask(0.0) if mask else to_alpha(portrait.alpha)
        for frame in timed(read_frames(background, options.start, options.end), step.clock, "decode"):
            counts.repeated += frame.repeated
            scene = fit_scene(frame.pixels, canvas, options.fit, options.blur)
            yield _Moment(replace(frame, pixels=portrait.pixels), scene, alpha)
        return
    behind = None if background is None else scene_at(background, options, canvas)
    first: float | None = None
    for frame in timed(read_frames(portrait, options.start, options.end), step.clock, "decode"):
        counts.repeated += frame.repeated
        started = now()
        first = frame.time if first is None else first
        place = None if behind is None else behind(frame.time - first)
        if behind is not None and place is None:
            return
        known = mask(frame.time) if mask else to_alpha(frame.alpha)
        step.clock.add("background", started)
        yield _Moment(frame, place, known)


def _judged(moments: Stage, step: FrameStep, counts: _Counts) -> Iterator[_Moment]:
    state = State()
    with closing(moments):
        for moment in moments:
            frame, scene = moment.frame, moment.scene
            assert scene is not None
            judgement, state = step.judge(frame.pixels, scene, state, frame.time, moment.alpha)
            counts.empty += judgement.cut is None
            counts.cuts = state.cuts
            counts.framing = () if state.window is None else state.window.notices
            yield replace(moment, judgement=judgement)


def _drawn(moments: Stage, step: FrameStep) -> Iterator[_Moment]:
    with closing(moments):
        for moment in moments:
            assert moment.judgement is not None and moment.scene is not None
            picture = step.draw(moment.frame.pixels, moment.scene, moment.judgement)
            yield replace(moment, picture=picture, judgement=None)


def _cut_out(moments: Stage, step: FrameStep, counts: _Counts, alpha_only: bool) -> Iterator[_Moment]:
    """Make the person's own colours and the alpha of each frame."""
    state = State()
    with closing(moments):
        for moment in moments:
            pixels = moment.frame.pixels
            state = step.find(pixels, state, moment.frame.time, moment.alpha)
            counts.empty += state.cut is None
            counts.cuts = state.cuts
            height, width = pixels.shape[:2]
            colors, alpha = np.zeros_like(pixels), np.zeros((height, width), np.float32)
            if state.cut is not None:
                started = now()
                box = (0, 0, height, width)
                place = FrameWindow((height, width), box).part(state.cut.region, (height, width))
                alpha = np.ascontiguousarray(place.draw(state.cut.alpha, box))
                planes = person_planes(pixels, alpha, state.cut, place, box)
                colors = cv2.merge([plane.mul(255).add_(0.5).byte().numpy() for plane in planes])
                spread = place.draw(state.cut.sides[0], box)[alpha == 0]
                # or the old background would be kept, unseen
                colors[alpha == 0] = (spread * 255 + 0.5).astype(np.uint8)
                step.clock.add("apply", started)
            opacity = (alpha * 255 + 0.5).astype(np.uint8)
            picture = cv2.merge([opacity] * 3) if alpha_only else colors
            yield replace(moment, picture=cast(Pixels, picture), opacity=None if alpha_only else opacity)


def _write(
    moments: Stage,
    writer: VideoWriter,
    clip: Clip,
    options: VideoOptions,
    step: FrameStep,
    progress: Progress | None,
) -> bool:
    """Encode pictures as they come; tell whether the user interrupted."""
    shift = round(Fraction(options.start) / clip.time_base)
    length = _expected(clip, options)
    interrupted = False
    try:
        for moment in moments:
            started = now()
            assert moment.picture is not None
            writer.write(moment.picture, moment.frame.pts - shift, moment.opacity)
            step.clock.add("encode", started)
            if progress is not None:
                progress(writer.frames, writer.seconds, length)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        moments.close()
    writer.close(whole=not interrupted)
    return interrupted


def _expected(clip: Clip, options: VideoOptions) -> float | None:
    end = clip.seconds if options.end is None else min(options.end, clip.seconds or options.end)
    return None if end is None else max(0.0, end - options.start)


def _sound(portrait: Source, background: Source, options: VideoOptions) -> tuple[Sound | None, tuple[str, ...]]:
    """Choose whose sound is copied, and say where there is none."""
    asked = options.audio or ("portrait" if isinstance(portrait, Clip) else "background")
    if asked == "none":
        return None, ()
    source, role = (portrait, "the portrait") if asked == "portrait" else (background, "the background")
    if isinstance(source, Still) or source.audio is None:
        return None, () if options.audio is None else (f"{role} has no sound: the result is silent",)
    main = source is portrait or isinstance(portrait, Still)
    turn = source.seconds if not main and options.background_end == "loop" else None
    return Sound(source, options.start if main else 0.0, options.end if main else None, main, turn), ()


def _tell(counts: _Counts) -> tuple[str, ...]:
    notices = [*counts.framing]
    if counts.repeated:
        notices.append(f"{counts.repeated} frames could not be decoded; the frames before them are repeated")
    if counts.empty:
        notices.append(f"{counts.empty} frames show nobody; those show the background alone")
    return tuple(notices)
