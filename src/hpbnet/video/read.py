"""Video files -> frames with their times, in sRGB, upright and with square pixels.

Knows rotation, colour matrix and range, transparency, and what to do with frames that cannot be decoded. Knows nothing
of people.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from ..files import PICTURE_SUFFIXES
from ..matte import MOST_COVERAGE
from ..options import MOST_PIXELS
from .container import Continuous, find_joins, may_be_joined, open_container, packets_of, pictures_of, seek
from .pixels import Pixels, resize

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_STILLS = PICTURE_SUFFIXES - {".gif", ".apng"}  # those two may be clips
_HDR = {16: "PQ (HDR10)", 18: "HLG"}  # transfer characteristics, ITU-T H.273 table 3
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # H.273 matrix coefficients -> swscale's table
_FULL, _LIMITED = 2, 1  # colour ranges as FFmpeg counts them
_HD_ROWS = 720  # [px] from which an unstated matrix is BT.709, else BT.601, as players take it
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # alone see the alpha that lies beside the picture
_PROBES = (0.25, 0.5, 0.75, 0.95)  # of a clip's length, where its transparency is looked at if it begins opaque
_UNSTATED = 4.0  # [s] of a clip that are looked at where its length is not known
_LEAST_LOSS = 0.5  # [s] by which a clip is shorter than it says before this is told


@dataclass(frozen=True)
class Frame:
    """One picture of a clip."""

    pixels: Pixels  # [H,W,3] sRGB
    pts: int  # [clip.time_base] since the clip's origin
    time: float  # [s]
    alpha: Pixels | None = None  # [H,W] straight, where the clip has it
    repeated: bool = False  # stands for one that could not be decoded


@dataclass(frozen=True)
class Clip:
    """What a video file holds."""

    path: Path
    width: int  # [px] upright, with square pixels
    height: int
    time_base: Fraction  # [s] of one pts
    rate: Fraction  # [1/s] frames, on average
    seconds: float | None  # length, where the file states it
    origin: Fraction  # [s] time at which the file says that it starts
    audio: str | None = None  # codec of its first sound
    transparent: bool = False  # its frames have alpha that leaves something out
    opaque: bool = False  # its frames have alpha that leaves out next to nothing, and is ignored
    exact: bool = True  # `seconds` is of the pictures, not of the longest stream
    joins: tuple[Fraction, ...] = ()  # see `container.find_joins`

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.height, self.width

    @property
    def step(self) -> int:
        """Duration of an average frame [time_base]."""
        return max(1, round(1 / (self.rate * self.time_base)))


def is_picture(path: str | Path) -> bool:
    """Tell by its name whether a file holds one picture rather than a clip."""
    return Path(path).suffix.lower() in _STILLS


def open_clip(path: str | Path) -> Clip:
    """Look into a video file, and decode its first frame to be sure.

    Raises:
        ValueError: it is no video, a picture, holds sound only or no frame at all, is too large, or HDR.
        OSError: it cannot be opened.
    """
    path = Path(path)
    if is_picture(path) and path.is_file():  # FFmpeg would take it for a clip of one frame
        raise ValueError(f"{path} is a picture; a clip is needed")
    with open_container(path) as container:
        stream = pictures_of(container, path)
        assert stream.time_base is not None
        _check_pixels(stream.codec_context.width, stream.codec_context.height, path)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        sounds = container.streams.audio
        start = Fraction(max(0, container.start_time or 0), 1_000_000)
        seconds, exact = _length(container, stream)
        first = next((frame for frame in _decode(container, stream) if not isinstance(frame, _Failure)), None)
        if first is None:
            raise ValueError(f"{path} holds no frame that can be decoded")
        if first.color_trc in _HDR:
            raise ValueError(
                f"{path} is {_HDR[first.color_trc]} video, which is not supported: convert it to SDR first"
            )
        pixels, alpha = _to_pixels(first, stream, path, True)
        name = sounds[0].codec_context.name if sounds and sounds[0].codec_context else None
        height, width = pixels.shape[:2]
        clip = Clip(path, width, height, stream.time_base, rate, seconds, start, name, alpha is not None, exact=exact)
        joined = may_be_joined(container)
    clip = _with_joins(clip) if joined else clip
    if alpha is not None and not _leaves_out(alpha) and not _leaves_out_later(clip):
        return replace(clip, transparent=False, opaque=True)
    return clip


def _with_joins(clip: Clip) -> Clip:
    """Find where a joined transport stream begins its times anew; it states the length of its last part only."""
    with open_container(clip.path) as container:
        joins, seconds = find_joins(container, pictures_of(container, clip.path))
    return replace(clip, joins=joins, seconds=seconds if seconds is not None else clip.seconds)


def _leaves_out(alpha: Pixels) -> bool:
    return float(alpha.mean()) <= MOST_COVERAGE * 255


def _leaves_out_later(clip: Clip) -> bool:
    """Look for transparency further on in a clip that begins opaque."""
    probes = (next(read_frames(clip, share * (clip.seconds or _UNSTATED)), None) for share in _PROBES)
    return any(frame is not None and frame.alpha is not None and _leaves_out(frame.alpha) for frame in probes)


def read_frames(
    clip: Clip, start: float = 0.0, end: float | None = None, tell: Callable[[str], None] | None = None
) -> Iterator[Frame]:
    """Decode a clip's frames in order of time, from `start` to before `end` [s].

    A frame that cannot be decoded is replaced by the one before it, marked as repeated. Times always increase.

    Args:
        clip: what to read.
        start: where to begin [s].
        end: where to end [s].
        tell: told in one sentence if the clip ends before the length that it states.
    """
    offset, continuous = round(clip.origin / clip.time_base), Continuous(clip.joins, clip.time_base)
    first = start / float(clip.time_base) - 0.5
    before: Frame | None = None
    missing: list[int | None] = []  # times of packets that could not be decoded
    lost = length = 0
    for stream, decoded in _decode_from(clip, start):
        if isinstance(decoded, _Failure) or decoded.is_corrupt:
            missing.append(decoded.pts)
            lost += 1
            continue
        following = 0 if before is None else before.pts + clip.step
        pts = following if decoded.pts is None else continuous(decoded.pts) - offset
        if before is not None:
            pts = max(pts, before.pts + 1)
            yield from _repeats(before, pts, sum(_is_before(each, decoded.pts) for each in missing), clip)
        missing = [each for each in missing if not _is_before(each, decoded.pts)]
        if end is not None and pts >= end / float(clip.time_base) - 0.5:
            return
        length = pts + max(decoded.duration or 0, clip.step)
        if pts < first:
            continue
        pixels, alpha = _sized(_to_pixels(decoded, stream, clip.path, clip.transparent), clip.size)
        before = Frame(pixels, pts, float(pts * clip.time_base), alpha)
        yield before
    if before is not None:
        yield from _repeats(before, before.pts + clip.step * (len(missing) + 1), len(missing), clip)
    if tell is not None and (clip.exact or lost):
        _tell_loss(clip, float(length * clip.time_base), end, tell)


def _tell_loss(clip: Clip, seconds: float, end: float | None, tell: Callable[[str], None]) -> None:
    """Say that a clip was read to its end, which came earlier than it should."""
    stated = clip.seconds or 0.0
    expected = stated if end is None else min(end, stated)
    if expected - seconds > _LEAST_LOSS:
        tell(f"{clip.path} is damaged or cut short: {seconds:.1f} s of its {stated:.1f} s could be read.")


def _repeats(before: Frame, pts: int, missing: int, clip: Clip) -> Iterator[Frame]:
    """Show the last good frame for each one missing before `pts`, at even steps."""
    for index in range(1, missing + 1):
        between = before.pts + (pts - before.pts) * index // (missing + 1)
        if before.pts < between < pts:
            yield replace(before, pts=between, time=float(between * clip.time_base), repeated=True)


@dataclass(frozen=True)
class _Failure:
    """A packet that could not be decoded."""

    pts: int | None


def _is_before(missing: int | None, pts: int | None) -> bool:
    """Tell whether a frame that is missing was to be shown before one that is not; decoders give frames late."""
    return missing is None or pts is None or missing < pts


def _decode_from(clip: Clip, start: float) -> Iterator[tuple["VideoStream", "VideoFrame | _Failure"]]:
    """Decode a clip from a key frame before a time [s]; from its beginning where none is found."""
    for seeks in (True, False) if start > 0 and not clip.joins else (False,):
        with open_container(clip.path) as container:
            stream = pictures_of(container, clip.path)
            stream.thread_type = "SLICE"  # decoding frames at once is no faster here, and loses some near a damaged one
            latest = (start + float(clip.origin)) / float(clip.time_base)
            if seeks and not seek(container, stream, int(latest)):
                continue
            unsure = seeks  # transport streams may be entered between key frames, and give nothing before the next
            for decoded in _decode(container, stream):
                if unsure and not isinstance(decoded, _Failure):
                    if decoded.pts is not None and decoded.pts > latest + 0.5:
                        break
                    unsure = False
                if not unsure:
                    yield stream, decoded
            if not unsure:
                return


def _decode(container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame | _Failure"]:
    """Decode a stream's frames."""
    import av

    decoder = _decoder(stream)
    for packet in packets_of(container, stream):
        try:
            frames = decoder.decode(cast("Packet[VideoStream]", packet))
        except av.error.FFmpegError:
            yield _Failure(packet.pts)
            continue
        yield from frames
    try:  # what it has held back
        frames = decoder.decode(None)
    except av.error.FFmpegError:
        return
    yield from frames


def _decoder(stream: "VideoStream") -> "VideoCodecContext":
    """Choose what decodes a stream: FFmpeg's own choice, but for VP8 and VP9 with alpha, which only libvpx sees."""
    import av

    named = {key.lower(): value for key, value in stream.metadata.items()}
    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    if name is not None and named.get("alpha_mode") == "1":
        try:
            return cast("VideoCodecContext", av.VideoCodecContext.create(name, "r"))
        except (av.error.FFmpegError, ValueError):  # built without it: the picture alone is seen
            pass
    return stream.codec_context


def _length(container: "InputContainer", stream: "VideoStream") -> tuple[float | None, bool]:
    """Return the length that a file states [s], and whether it is that of its pictures."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base), True
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")  # Matroska: 00:00:02.600000000
    minutes, _, last = rest.partition(":")
    with suppress(ValueError):
        return 3600 * int(hours) + 60 * int(minutes) + float(last), True
    seconds = container.duration / 1_000_000 if container.duration else None
    return seconds, len(container.streams) == 1


def _check_pixels(width: int, height: int, path: Path) -> None:
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{path} is {width}x{height} px; frames of more than {MOST_PIXELS // 10**6} million pixels are refused"
        )


def _to_pixels(
    frame: "VideoFrame", stream: "VideoStream", path: Path, transparent: bool
) -> tuple[Pixels, Pixels | None]:
    """Convert a frame to upright sRGB pixels [H,W,3], and alpha [H,W] if it has any and it is asked for."""
    has_alpha = transparent and any(component.is_alpha for component in frame.format.components)
    full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    assumed = 1 if frame.height >= _HD_ROWS else 5
    width = max(2, round(frame.width * (stream.sample_aspect_ratio or Fraction(1))))
    _check_pixels(width, frame.height, path)
    converted = frame.reformat(
        width=width,
        format="rgba" if has_alpha else "rgb24",
        src_colorspace=_MATRICES.get(frame.colorspace, assumed),
        src_color_range=_FULL if full else _LIMITED,
        dst_color_range=_FULL,
        interpolation="BILINEAR",
    )
    pixels: Pixels = converted.to_ndarray()  # type: ignore[assignment]
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    if turn is not None:
        pixels = cast(Pixels, cv2.rotate(pixels, turn))
    if has_alpha:
        return np.ascontiguousarray(pixels[:, :, :3]), np.ascontiguousarray(pixels[:, :, 3])
    return pixels, None


def _sized(planes: tuple[Pixels, Pixels | None], size: tuple[int, int]) -> tuple[Pixels, Pixels | None]:
    """Bring a frame to the clip's height and width: a stream may change its own on the way."""
    pixels, alpha = planes
    if pixels.shape[:2] == size:
        return planes
    return resize(pixels, size[::-1]), None if alpha is None else resize(alpha, size[::-1])
