"""A whole video: read, track, draw and write at once, each in its own thread, with short queues between them.

Memory does not grow with the length of the clip: no more than a few frames wait anywhere.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from ..harmonize import Harmonizer
from ..image.picture import Source
from ..matte import Matting
from ..options import ClipOptions, FrameOptions, PartOptions, VideoOptions
from .pixels import Pixels
from .read import Clip, open_clip
from .report import Tally, VideoReport
from .sound import Sound
from .sources import Medium, Still, canvas_size, open_medium
from .stages import Stage, compose_stages, cut_out_stages
from .threads import now, shared_cores
from .write import Film, VideoWriter

Progress = Callable[[int, float, float | None], None]  # frames done, seconds done, seconds in all


@dataclass(frozen=True)
class ComposedFrame:
    """One picture of a result."""

    pixels: Pixels  # [H,W,3] sRGB
    time: float  # [s] since the result's beginning


def compose_video(
    portrait: Source,
    background: Source,
    destination: str | Path,
    harmonizer: Harmonizer,
    matting: Matting | None = None,
    options: VideoOptions | None = None,
    mask: Source | None = None,
    progress: Progress | None = None,
) -> VideoReport:
    """Put the person of a clip or picture into a clip or picture, and write a video; at least one of them is a clip.

    Times are those of the portrait if it is a clip, else of the background. On a KeyboardInterrupt the part that is
    done is kept as a playable file, and the report says so.

    Args:
        portrait: the path of a clip, or a picture: a path, bytes, a PIL image or an array.
        background: likewise.
        destination: the video to write; its suffix chooses the container.
        harmonizer: estimates the colour change.
        matting: finds the person; None if there is a mask, or the portrait is transparent.
        options: see `VideoOptions`.
        mask: white where the person is: a picture, or the path of a picture or clip.
        progress: told with each frame.

    Raises:
        ValueError: two pictures, a file that is no video, names and codecs that do not go together.
        OSError: a file cannot be read or written, or the disk is full; nothing is left of the result then.
    """
    options = options or VideoOptions()
    _refuse_overwriting(destination, portrait, background, mask)
    person, place, clip = _open_both(portrait, background)
    tally, drawn = compose_stages(person, place, harmonizer, matting, options, mask)
    height, width = canvas_size(person, place, options.size)
    film = Film(Path(destination), width, height, clip.time_base, clip.rate, options.codec, options.crf)
    sound = _sound(person, place, options, tally)
    return _write_all(drawn, film, sound, clip, options, tally, progress)


def compose_frames(
    portrait: Source,
    background: Source,
    harmonizer: Harmonizer,
    matting: Matting | None = None,
    options: FrameOptions | None = None,
    mask: Source | None = None,
) -> Iterator[ComposedFrame]:
    """Put the person of a clip or picture into a clip or picture, frame by frame, as `compose_video` does.

    A few frames are made ahead, in threads that end when the iterator is exhausted or closed.

    Raises:
        ValueError: two pictures, a file that is no video, a mask of another size.
        OSError: a file cannot be read.
    """
    options = options or FrameOptions()
    person, place, _ = _open_both(portrait, background)
    _, drawn = compose_stages(person, place, harmonizer, matting, options, mask)
    return _composed_frames(drawn, options.start)


def _composed_frames(drawn: Stage, start: float) -> Iterator[ComposedFrame]:
    with shared_cores(), closing(drawn):
        for moment in drawn:
            assert moment.picture is not None
            yield ComposedFrame(moment.picture, max(0.0, moment.frame.time - start))


def cut_out_video(
    portrait: str | Path,
    destination: str | Path,
    matting: Matting | None = None,
    options: ClipOptions | None = None,
    mask: Source | None = None,
    alpha_only: bool = False,
    progress: Progress | None = None,
) -> VideoReport:
    """Cut the person out of a clip, and write a video with transparency, or of the alpha alone.

    Raises:
        ValueError: the file is no video, or names and codecs that do not go together.
        OSError: a file cannot be read or written, or the disk is full; nothing is left of the result then.
    """
    options = options or ClipOptions()
    _refuse_overwriting(destination, portrait, mask)
    clip = open_clip(portrait)
    tally, drawn = cut_out_stages(clip, matting, options, mask, alpha_only)
    film = Film(Path(destination), clip.width, clip.height, clip.time_base, clip.rate, options.codec, options.crf)
    sound = None if clip.audio is None else Sound(clip, options.start, options.end)
    return _write_all(drawn, replace(film, alpha=not alpha_only), sound, clip, options, tally, progress)


def _refuse_overwriting(destination: str | Path, *sources: Source | None) -> None:
    """Refuse a result that would replace a file it is made of."""
    for source in sources:
        if isinstance(source, str | Path) and Path(source).resolve() == Path(destination).resolve():
            raise ValueError(f"{destination} would be overwritten by its own result; give the result another name")


def _open_both(portrait: Source, background: Source) -> tuple[Medium, Medium, Clip]:
    """Open portrait and background -> both, and the clip whose times the result has."""
    person, place = open_medium(portrait), open_medium(background)
    for clip in (person, place):
        if isinstance(clip, Clip):
            return person, place, clip
    raise ValueError("the portrait and the background are both pictures; for a video one of them must be a clip")


def _write_all(
    drawn: Stage,
    film: Film,
    sound: Sound | None,
    clip: Clip,
    options: PartOptions,
    tally: Tally,
    progress: Progress | None,
) -> VideoReport:
    """Write what is drawn; nothing is left behind where that fails."""
    started = time.perf_counter()
    writer: VideoWriter | None = None
    try:
        writer = VideoWriter(film, sound)
        with shared_cores():
            interrupted = _write(drawn, writer, clip, options, tally, progress)
        if not interrupted and not writer.frames:
            raise ValueError(f"nothing lies between {options.start:g} s and the end of {clip.path}")
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    finally:
        if sound is not None:
            sound.close()
    return VideoReport(
        path=film.path,
        frames=writer.frames,
        seconds=writer.seconds,
        size=writer.size,
        elapsed=time.perf_counter() - started,
        shares=tuple(tally.clock.seconds.items()),
        repeated=tally.repeated,
        empty=tally.empty,
        cuts=tally.cuts,
        interrupted=interrupted,
        notices=(*writer.notices, *tally.notices()),
    )


def _write(
    moments: Stage,
    writer: VideoWriter,
    clip: Clip,
    options: PartOptions,
    tally: Tally,
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
            tally.clock.add("encode", started)
            if progress is not None:
                progress(writer.frames, writer.seconds, length)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        moments.close()
    writer.close(whole=not interrupted)
    return interrupted


def _expected(clip: Clip, options: PartOptions) -> float | None:
    end = clip.seconds if options.end is None else min(options.end, clip.seconds or options.end)
    return None if end is None else max(0.0, end - options.start)


def _sound(portrait: Medium, background: Medium, options: VideoOptions, tally: Tally) -> Sound | None:
    """Choose whose sound is copied, and tell where there is none."""
    role = options.audio or ("portrait" if isinstance(portrait, Clip) else "background")
    if role == "none":
        return None
    source = portrait if role == "portrait" else background
    if isinstance(source, Still) or source.audio is None:
        if options.audio is not None:
            tally.tell(f"The {role} has no sound: the result is silent.")
        return None
    main = source is portrait or isinstance(portrait, Still)
    turn = source.seconds if not main and options.background_end == "loop" else None
    return Sound(source, options.start if main else 0.0, options.end if main else None, main, turn)
