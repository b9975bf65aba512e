"""Video files -> frames with their times, in sRGB, upright and with square pixels.

Knows rotation, colour matrix and range, and what to do with frames that cannot be decoded. Knows nothing of people.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Array = TypeVar("Array", Pixels, Floats)

_PICTURES = frozenset(("jpg", "jpeg", "png", "webp", "tif", "tiff", "avif", "heic", "heif", "bmp", "ppm", "jp2"))
_HDR = {16: "PQ (HDR10)", 18: "HLG"}  # transfer characteristics, ITU-T H.273 table 3
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # H.273 matrix coefficients -> swscale's table
_FULL, _LIMITED = 2, 1  # colour ranges as FFmpeg counts them
_HD_ROWS = 720  # [px] from which an unstated matrix is BT.709, else BT.601, as players take it
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


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
    transparent: bool = False  # its frames have alpha

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
    return Path(path).suffix.lower().lstrip(".") in _PICTURES


def require_av() -> None:
    """Say which extra is missing, if it is.

    Raises:
        ValueError: PyAV is not installed.
    """
    try:
        import av  # noqa: F401
    except ImportError:
        raise ValueError("video needs PyAV: pip install 'hpbnet[video]'") from None


def open_clip(path: str | Path) -> Clip:
    """Look into a video file, and decode its first frame to be sure.

    Raises:
        ValueError: it is no video, a picture, holds sound only or no frame at all, or is HDR.
        OSError: it cannot be opened.
    """
    path = Path(path)
    if is_picture(path) and path.is_file():  # FFmpeg would take it for a clip of one frame
        raise ValueError(f"{path} is a picture; a clip is needed")
    with _opened(path) as container:
        if not container.streams.video:
            kind = "sound only" if container.streams.audio else "no video"
            raise ValueError(f"{path} holds {kind}; a clip with pictures is needed")
        stream = container.streams.video[0]
        assert stream.time_base is not None
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        sounds = container.streams.audio
        start = Fraction(max(0, container.start_time or 0), 1_000_000)
        clip = Clip(path, 0, 0, stream.time_base, rate, _length(container, stream), start)
        first = next(_decode(container, stream), None)
        while first is not None and isinstance(first, _Failure):
            first = next(_decode(container, stream), None)
        if first is None:
            raise ValueError(f"{path} holds no frame that can be decoded")
        if first.color_trc in _HDR:
            raise ValueError(
                f"{path} is {_HDR[first.color_trc]} video; convert it to SDR first (tone mapping is not ours)"
            )
        pixels, alpha = _to_pixels(first, stream)
        name = sounds[0].codec_context.name if sounds and sounds[0].codec_context else None
        return replace(clip, width=pixels.shape[1], height=pixels.shape[0], audio=name, transparent=alpha is not None)


def read_frames(clip: Clip, start: float = 0.0, end: float | None = None) -> Iterator[Frame]:
    """Decode a clip's frames in order of time, from `start` to before `end` [s].

    A frame that cannot be decoded is replaced by the one before it, marked as repeated. Times always increase.
    """
    with _opened(clip.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if start > 0:
            container.seek(int((start + float(clip.origin)) / clip.time_base), stream=stream)
        offset = round(clip.origin / clip.time_base)
        first = start / float(clip.time_base) - 0.5
        before: Frame | None = None
        missing = 0
        for decoded in _decode(container, stream):
            if isinstance(decoded, _Failure) or decoded.is_corrupt:
                missing += 1
                continue
            following = 0 if before is None else before.pts + clip.step
            pts = following if decoded.pts is None else decoded.pts - offset
            if before is not None:
                pts = max(pts, before.pts + 1)
                yield from _repeats(before, pts, missing, clip)
            missing = 0
            if end is not None and pts >= end / float(clip.time_base) - 0.5:
                return
            if pts < first:
                continue
            pixels, alpha = _sized(_to_pixels(decoded, stream), clip.size)
            before = Frame(pixels, pts, float(pts * clip.time_base), alpha)
            yield before
        if before is not None:
            yield from _repeats(before, before.pts + clip.step * (missing + 1), missing, clip)


def _repeats(before: Frame, pts: int, missing: int, clip: Clip) -> Iterator[Frame]:
    """Show the last good frame for each one missing before `pts`, at even steps."""
    for index in range(1, missing + 1):
        between = before.pts + (pts - before.pts) * index // (missing + 1)
        if before.pts < between < pts:
            yield replace(before, pts=between, time=float(between * clip.time_base), repeated=True)


@dataclass(frozen=True)
class _Failure:
    """A packet that could not be decoded."""


def _decode(container: "InputContainer", stream: "VideoStream") -> Iterator["VideoFrame | _Failure"]:
    import av

    packets, decoder = container.demux(stream), _alpha_decoder(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.InvalidDataError, av.error.EOFError):  # the file may end early
            return
        try:
            frames = decoder(packet)
        except av.error.InvalidDataError:
            yield _Failure()
            continue
        except av.error.EOFError:
            return
        yield from frames


def _alpha_decoder(stream: "VideoStream") -> Callable[["Packet[VideoStream]"], list["VideoFrame"]]:
    """Choose what decodes a stream's packets: FFmpeg's own choice, but for VP9 with alpha, which only libvpx sees."""
    import av

    named = {key.lower(): value for key, value in stream.metadata.items()}
    if stream.codec_context.name == "vp9" and named.get("alpha_mode") == "1":
        try:
            libvpx = av.VideoCodecContext.create("libvpx-vp9", "r")
        except (av.error.FFmpegError, ValueError):  # built without it: the picture alone is seen
            return lambda packet: packet.decode()
        return lambda packet: libvpx.decode(packet if packet.size else None)
    return lambda packet: packet.decode()


def _opened(path: Path) -> "InputContainer":
    require_av()
    import av

    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        return av.open(str(path))
    except av.error.InvalidDataError:
        raise ValueError(f"{path} is no video that can be read: it is damaged, cut short, or something else") from None


def _length(container: "InputContainer", stream: "VideoStream") -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _to_pixels(frame: "VideoFrame", stream: "VideoStream") -> tuple[Pixels, Pixels | None]:
    """Convert a frame to upright sRGB pixels [H,W,3], and alpha [H,W] if it has any."""
    has_alpha = any(component.is_alpha for component in frame.format.components)
    full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    assumed = 1 if frame.height >= _HD_ROWS else 5
    ratio = stream.sample_aspect_ratio or Fraction(1)
    converted = frame.reformat(
        width=max(2, round(frame.width * ratio)),
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


def resize(image: Array, size: tuple[int, int], way: int = cv2.INTER_AREA) -> Array:
    """Resize [H,W] or [H,W,C] to a width and height [px], by area averaging unless told otherwise."""
    return cast(Array, cv2.resize(image, size, interpolation=way))


def shrink(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce [H,W,3] to a width and height [px], three times as fast: by whole pixels first, then linearly."""
    height, width = image.shape[:2]
    whole = min(width // size[0], height // size[1])
    while whole > 1 and (width % whole or height % whole):
        whole -= 1
    if whole == 1 and (width > 1.5 * size[0] or height > 1.5 * size[1]):
        return resize(image, size)
    image = resize(image, (width // whole, height // whole)) if whole > 1 else image
    return resize(image, size, cv2.INTER_LINEAR)


def greatest(image: NDArray[np.generic] | cv2.typing.MatLike) -> Pixels:
    """Return the greatest of the three channels of [H,W,3] 8-bit pixels -> [H,W]."""
    red, green, blue = cv2.split(cast(Pixels, image))
    return cast(Pixels, cv2.max(cv2.max(red, green), blue))
