"""A whole video: read, judge, draw and write at once, each in its own thread, with short queues between them.

Memory does not grow with the length of the clip: no more than a few frames wait anywhere.
"""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from torch import nn

from ..harmonize import Harmonizer
from ..image import read_picture
from ..image.picture import to_samples
from .canvas import fit_scene
from .options import VideoOptions
from .read import Clip, Floats, Frame, Pixels, is_picture, open_clip, read_frames
from .step import FrameStep, Judgement, State, now
from .write import Film, Sound, VideoWriter

Item = TypeVar("Item")
Progress = Callable[[int, float, float | None], None]  # frames done, time in the clip [s], its length [s]

_WAITING = 4  # frames that wait between two stages
_PORTRAIT, _BACKGROUND = "the portrait", "the background"


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
class _Tally:
    repeated: int = 0
    empty: int = 0
    cuts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Moment:
    """What belongs together at one time: a frame, its background, and what was made of them."""

    frame: Frame
    scene: Pixels
    alpha: Floats | None = None  # where it is known
    judgement: Judgement | None = None
    picture: Pixels | None = None


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
    film = Film(Path(destination), size[1], size[0], clip.time_base, clip.rate, options.codec, options.crf)
    step = FrameStep(harmonizer, matting, options, still=isinstance(person, Still))
    sound, notices = _sound(person, place, options)
    started = time.perf_counter()
    writer = VideoWriter(film, sound)
    tally = _Tally()
    try:
        moments = ahead(_moments(person, place, size, options, tally))
        moments = ahead(_judged(moments, step, tally))
        drawn = ahead(_drawn(moments, step, tally))
        interrupted = _write(drawn, writer, clip, options, tally, progress)
        if not interrupted and not writer.frames:
            raise ValueError(f"nothing lies between {options.start:g} s and the end of {clip.path}")
    except BaseException:
        writer.abandon()
        raise
    finally:
        if sound is not None:
            sound.close()
    shares = tuple((tally.seconds | step.clock.seconds).items())
    notices = (*notices, *writer.notices, *_tell(tally))
    elapsed = time.perf_counter() - started
    report = Report(film.path, writer.frames, writer.seconds, size, elapsed, shares, interrupted=interrupted)
    return replace(report, repeated=tally.repeated, empty=tally.empty, cuts=tally.cuts, notices=notices)


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


def ahead(items: Iterable[Item], waiting: int = _WAITING) -> Iterator[Item]:
    """Work through an iterable in a thread of its own, at most `waiting` items ahead; its errors are raised here."""
    ready: queue.Queue[tuple[Item | None, BaseException | None, bool]] = queue.Queue(waiting)
    stop = threading.Event()

    def put(entry: tuple[Item | None, BaseException | None, bool]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put((item, None, False)):
                    break
            else:
                put((None, None, True))
        except BaseException as error:  # handed to the thread that waits for it
            put((None, error, True))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, name="hpbnet-video", daemon=True)
    thread.start()
    try:
        while True:
            item, error, done = ready.get()
            if error is not None:
                raise error
            if done:
                return
            yield cast(Item, item)
    finally:
        stop.set()
        thread.join()


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


def _moments(
    portrait: Source, background: Source, canvas: tuple[int, int], options: VideoOptions, tally: _Tally
) -> Iterator[_Moment]:
    """Pair frames, backgrounds and masks by time."""
    mask = _mask_at(options.mask, portrait) if options.mask is not None else None
    if isinstance(portrait, Still):
        alpha = mask(0.0, portrait.size) if mask else _alpha(portrait.alpha)
        assert isinstance(background, Clip)
        for frame in _timed(read_frames(background, options.start, options.end), tally, "decode"):
            scene = fit_scene(frame.pixels, canvas, options.fit, options.blur)
            tally.repeated += frame.repeated
            yield _Moment(replace(frame, pixels=portrait.pixels), scene, alpha)
        return
    scene_at = _scene_at(background, options, canvas)
    first: float | None = None
    for frame in _timed(read_frames(portrait, options.start, options.end), tally, "decode"):
        tally.repeated += frame.repeated
        started = now()
        first = frame.time if first is None else first
        behind = scene_at(frame.time - first)
        if behind is None:
            return
        known = mask(frame.time, portrait.size) if mask else _alpha(frame.alpha)
        tally.seconds["background"] = tally.seconds.get("background", 0.0) + now() - started
        yield _Moment(frame, behind, known)


def _scene_at(background: Source, options: VideoOptions, canvas: tuple[int, int]) -> Callable[[float], Pixels | None]:
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


def _mask_at(source: object, portrait: Source) -> Callable[[float, tuple[int, int]], Floats]:
    """Read a mask that is a picture or a clip -> the alpha [H,W] at a time [s]."""
    assert isinstance(source, str | Path)
    opened = open_source(source)
    if opened.size != portrait.size:
        (height, width), (rows, columns) = opened.size, portrait.size
        raise ValueError(f"the mask is {width}x{height} px, the portrait {columns}x{rows}; they must agree")
    if isinstance(opened, Still):
        alpha = _unit(opened.pixels[:, :, 1])
        return lambda time, size: alpha
    seeker = background_at(opened, VideoOptions(background_end="freeze"), opened.size)
    next(seeker)
    return lambda time, size: _unit(seeker.send(time)[:, :, 1])


def _alpha(alpha: Pixels | None) -> Floats | None:
    return None if alpha is None else _unit(alpha)


def _unit(samples: Pixels) -> Floats:
    return samples.astype(np.float32) * np.float32(1 / 255)


def _judged(moments: Iterable[_Moment], step: FrameStep, tally: _Tally) -> Iterator[_Moment]:
    state = State()
    for moment in moments:
        frame = moment.frame
        judgement, state = step.judge(frame.pixels, moment.scene, state, frame.time, moment.alpha)
        tally.empty += judgement.cut is None
        tally.cuts = state.cuts
        yield replace(moment, judgement=judgement)


def _drawn(moments: Iterable[_Moment], step: FrameStep, tally: _Tally) -> Iterator[_Moment]:
    for moment in moments:
        assert moment.judgement is not None
        picture = step.draw(moment.frame.pixels, moment.scene, moment.judgement)
        yield replace(moment, picture=picture, judgement=None)


def _write(
    moments: Iterator[_Moment],
    writer: VideoWriter,
    clip: Clip,
    options: VideoOptions,
    tally: _Tally,
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
            writer.write(moment.picture, moment.frame.pts - shift)
            tally.seconds["encode"] = tally.seconds.get("encode", 0.0) + now() - started
            if progress is not None:
                progress(writer.frames, writer.seconds, length)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        moments.close()  # type: ignore[attr-defined]
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
    source, role = (portrait, _PORTRAIT) if asked == "portrait" else (background, _BACKGROUND)
    if isinstance(source, Still) or source.audio is None:
        return None, () if options.audio is None else (f"{role} has no sound: the result is silent",)
    main = source is portrait or isinstance(portrait, Still)
    return Sound(source, options.start if main else 0.0, options.end if main else None), ()


def _tell(tally: _Tally) -> tuple[str, ...]:
    notices = []
    if tally.repeated:
        notices.append(f"{tally.repeated} frames could not be decoded; the frames before them are repeated")
    if tally.empty:
        notices.append(f"{tally.empty} frames show nobody; they show the background alone")
    return tuple(notices)


def _timed(items: Iterator[Item], tally: _Tally, part: str) -> Iterator[Item]:
    """Add the time spent on making each item to a part of the work."""
    while True:
        started = now()
        item = next(items, None)
        tally.seconds[part] = tally.seconds.get(part, 0.0) + now() - started
        if item is None:
            return
        yield item
