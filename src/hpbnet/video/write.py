"""Frames with their times -> a video file, with sound copied from another.

Knows codecs, containers and colour tags. The file appears under its name when it is complete, and not before.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import replacing
from ..options import Codec
from .container import one_line, require_av
from .pixels import Pixels
from .sound import Sound

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_BT709, _LIMITED = 1, 1  # H.273 codes that the result is tagged with; in swscale BT.709 is 1, too
_FULL = 2


@dataclass(frozen=True)
class Encoder:
    """How a codec is asked for."""

    name: str  # FFmpeg's
    crf: int | None  # default quality; None where the codec has none
    format: str  # of pixels
    alpha_format: str | None  # with alpha, if it can
    options: tuple[tuple[str, str], ...] = ()
    most_crf: int = 63


ENCODERS: dict[Codec, Encoder] = {
    "h264": Encoder("libx264", 20, "yuv420p", None, (("preset", "veryfast"),), 51),
    "hevc": Encoder("libx265", 24, "yuv420p", None, (("preset", "veryfast"), ("x265-params", "log-level=error")), 51),
    "vp9": Encoder("libvpx-vp9", 31, "yuv420p", "yuva420p", (("b", "0"), ("deadline", "realtime"), ("cpu-used", "6"))),
    "av1": Encoder("libsvtav1", 32, "yuv420p", None, (("preset", "10"),)),
    "prores": Encoder("prores_ks", None, "yuv422p10le", "yuva444p10le", ()),
}
CONTAINERS: dict[str, tuple[Codec, ...]] = {  # by suffix; the first codec is the default
    "mp4": ("h264", "hevc", "av1", "vp9"),
    "m4v": ("h264", "hevc"),
    "mov": ("h264", "hevc", "prores"),
    "mkv": ("h264", "hevc", "vp9", "av1", "prores"),
    "webm": ("vp9", "av1"),
}
_WITH_ALPHA: dict[str, Codec] = {"mov": "prores", "mkv": "prores", "webm": "vp9"}


def choose_codec(path: Path, codec: Codec | None, alpha: bool = False) -> Codec:
    """Choose the codec for a file's name.

    Raises:
        ValueError: a suffix that is not written, or a codec that the container or alpha does not go with.
    """
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in CONTAINERS:
        raise ValueError(f"{path.name}: videos are written as .{', .'.join(CONTAINERS)}")
    if alpha and suffix not in _WITH_ALPHA:
        raise ValueError(f"{path.name}: .{suffix} holds no transparency; write .{', .'.join(_WITH_ALPHA)}")
    chosen = codec or (_WITH_ALPHA[suffix] if alpha else CONTAINERS[suffix][0])
    if chosen not in CONTAINERS[suffix]:
        raise ValueError(f"{path.name}: .{suffix} holds {', '.join(CONTAINERS[suffix])}, not {chosen}")
    if alpha and ENCODERS[chosen].alpha_format is None:
        raise ValueError(f"{chosen} holds no transparency; use prores (.mov, .mkv) or vp9 (.webm)")
    return chosen


@dataclass(frozen=True)
class Film:
    """What a result is to be."""

    path: Path
    width: int  # [px]
    height: int
    time_base: Fraction  # [s] of one pts
    rate: Fraction  # [1/s] frames, on average
    codec: Codec | None = None
    crf: int | None = None
    alpha: bool = False


class _Abandoned(Exception):
    """Ends the block in which a file would be put in place."""


class VideoWriter:
    """Writes one film; `close` puts it in place, `abandon` leaves nothing behind.

    Raises:
        ValueError: the file's name, its codec and alpha do not go together.
        OSError: the file cannot be written.
    """

    def __init__(self, film: Film, sound: Sound | None = None) -> None:
        require_av()
        self.film = film
        self.notices: list[str] = []
        codec = choose_codec(film.path, film.codec, film.alpha)
        self.encoder = ENCODERS[codec]
        self._format = self.encoder.alpha_format if film.alpha else self.encoder.format
        self._size = _even(film.width), _even(film.height)
        self._check_crf(codec)
        if self._size != (film.width, film.height):
            self.notices.append(
                f"Sides must be even: the result is {self._size[0]}x{self._size[1]} px instead of "
                f"{film.width}x{film.height}."
            )
        self.frames = 0
        self._tail = 0.0 if sound is None else sound.tail
        self.seconds = 0.0  # time at which the last picture ends
        self._last = -1
        self._replacing = ExitStack()
        self._part = self._replacing.enter_context(replacing(film.path, film.path.suffix))
        self._container: OutputContainer | None = None
        try:
            with one_line(film.path):
                self._begin(sound)
        except BaseException:
            self.abandon()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result [px], which are even."""
        return self._size[1], self._size[0]

    def write(self, pixels: Pixels, pts: int, alpha: Pixels | None = None) -> None:
        """Encode a picture [H,W,3], with alpha [H,W] if the film has it."""
        from av import VideoFrame

        width, height = self._size
        pixels = pixels[:height, :width]
        if self.film.alpha:
            assert alpha is not None
            pixels = np.dstack([pixels, alpha[:height, :width]])
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgba" if self.film.alpha else "rgb24")
        frame = frame.reformat(
            format=self._format,
            src_color_range=_FULL,
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED,
            interpolation="BILINEAR",
        )
        self._last = max(pts, self._last + 1)
        frame.pts, frame.time_base = self._last, self.film.time_base
        frame.colorspace, frame.color_range = _BT709, _LIMITED
        frame.color_primaries = frame.color_trc = _BT709
        assert self._container is not None
        with one_line(self.film.path):
            self._copy_audio(float(self._last * self.film.time_base))
            self._container.mux(self._stream.encode(frame))
        self.frames += 1
        self.seconds = float(self._last * self.film.time_base + 1 / self.film.rate)

    def close(self, whole: bool = True) -> None:
        """Finish the film and put it under its name; sound goes on a little after the pictures of a whole one."""
        if not self.frames:
            self.abandon()
            return
        assert self._container is not None
        try:
            with one_line(self.film.path):
                self._copy_audio(self.seconds + (self._tail if whole else 0.0))
                self._container.mux(self._stream.encode(None))
                self._container.close()
            self._replacing.close()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leave nothing behind."""
        import av

        if self._container is not None:
            with suppress(OSError, ValueError, av.error.FFmpegError):
                self._container.close()
        with suppress(_Abandoned), self._replacing:
            raise _Abandoned

    def _begin(self, sound: Sound | None) -> None:
        """Open the container with its streams."""
        self._container = self._open()
        self._stream = self._add_video(self._container)
        self._audio = self._add_audio(self._container, sound)

    def _check_crf(self, codec: Codec) -> None:
        crf = self.film.crf
        if crf is not None and self.encoder.crf is None:
            self.notices.append(f"crf was ignored: the quality of {codec} is fixed.")
        elif crf is not None and crf > self.encoder.most_crf:
            raise ValueError(f"crf is {crf}; expected at most {self.encoder.most_crf} for {codec}")

    def _open(self) -> "OutputContainer":
        import av

        movie = self.film.path.suffix.lower() in (".mp4", ".m4v", ".mov")
        options = {"movflags": "faststart"} if movie else {}
        return av.open(f"file:{self._part}", "w", options=options)  # a colon in a folder's name is no protocol's

    def _add_video(self, container: "OutputContainer") -> "VideoStream":
        options = dict(self.encoder.options)
        crf = self.encoder.crf if self.film.crf is None else self.film.crf
        if crf is not None and self.encoder.crf is not None:
            options["crf"] = str(crf)
        rate = self.film.rate.limit_denominator(100_000)
        stream: VideoStream = container.add_stream(self.encoder.name, rate=rate, options=options)  # type: ignore[assignment]
        stream.width, stream.height = self._size
        stream.pix_fmt = self._format
        stream.time_base = stream.codec_context.time_base = self.film.time_base
        context = stream.codec_context
        context.colorspace, context.color_range = _BT709, _LIMITED
        context.color_primaries = context.color_trc = _BT709
        if self.film.alpha and self.film.path.suffix.lower() == ".webm":
            stream.metadata["alpha_mode"] = "1"
        return stream

    def _add_audio(
        self, container: "OutputContainer", sound: Sound | None
    ) -> "Iterator[tuple[float, Packet[AudioStream]]]":
        if sound is None:
            return iter(())
        name = sound.stream.codec_context.name
        if name.split("_")[0] != "pcm" and name not in container.supported_codecs:
            return self._drop_audio(name)
        try:
            copied = container.add_stream_from_template(sound.stream)
            container.start_encoding()
        except ValueError:  # the container refused it when the header was to be written
            container.close()
            self._begin(None)
            return self._drop_audio(name)
        return ((time, _directed(packet, copied)) for time, packet in sound.packets())

    def _drop_audio(self, name: str) -> "Iterator[tuple[float, Packet[AudioStream]]]":
        self.notices.append(f"{self.film.path.suffix} cannot hold {name} sound: the result is silent.")
        return iter(())

    def _copy_audio(self, until: float) -> None:
        """Copy the sound up to a time [s]."""
        assert self._container is not None
        for time, packet in self._audio:
            if time > until:
                self._audio = itertools.chain([(time, packet)], self._audio)
                return
            self._container.mux(packet)


def _directed(packet: "Packet[AudioStream]", stream: "AudioStream") -> "Packet[AudioStream]":
    packet.stream = stream
    return packet


def _even(side: int) -> int:
    return max(2, side - side % 2)
