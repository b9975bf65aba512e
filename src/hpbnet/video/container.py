"""Video files as FFmpeg opens them: the file that is named and no other, and every error as one line.

Knows container formats, and where joined transport streams begin their times anew. Knows nothing of pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import missing_extra

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

# FFmpeg's names of what is read: no playlists and lists of files, which would open others, and no pictures.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,gif,apng,ogg,asf,mxf,dv,nut,ivf,obu,rm,wtv,"
    "h264,hevc,av1,vvc,vc1,mjpeg,yuv4mpegpipe,mp3,wav,aac,flac,amr,aiff"
)
_ERRORS_IN_A_ROW = 64  # of reading packets, after which a file is given up
_BACK, _FORWARD = 0.1, 10.0  # [s] jumps of a transport stream's times at which FFmpeg's own tools see another beginning


def require_av() -> None:
    """Say which extra is missing, if it is.

    Raises:
        ValueError: PyAV is not installed.
    """
    try:
        import av  # noqa: F401
    except ImportError:
        raise missing_extra("videos", "PyAV", "video") from None


def open_container(path: Path) -> "InputContainer":
    """Open a file to read; what it says of other files is not followed.

    Raises:
        ValueError: it is no video, or damaged.
        OSError: it cannot be opened.
    """
    require_av()
    import av

    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    if not path.is_fifo():
        path.open("rb").close()  # FFmpeg's errors do not tell a file that may not be read from one that is damaged
    only = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:  # the protocol is named, or a colon in the name would be taken for one's end
        return av.open(f"file:{path}", options=only, metadata_errors="replace")
    except av.error.ArgumentError:
        raise ValueError(
            f"{path} is in no video format that is read (such as mp4, mov, mkv, webm, avi, ts, gif); for a playlist, "
            "give the clip itself"
        ) from None
    except av.error.FFmpegError:
        raise ValueError(
            f"{path} is not a video that can be read: it is damaged, cut short, or something else"
        ) from None


def pictures_of(container: "InputContainer", path: Path) -> "VideoStream":
    """Return the first stream of pictures; a sound's cover is none.

    Raises:
        ValueError: there is none.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise ValueError(f"{path} cannot be decoded: its video codec is not known, or it is damaged")
            return stream
    kind = "sound only" if container.streams.audio else "no video"
    raise ValueError(f"{path} holds {kind}; a clip with pictures is needed")


def packets_of(container: "InputContainer", stream: "Stream") -> "Iterator[Packet[Stream]]":
    """Yield a stream's packets as far as the file can be read, beyond damaged places, too."""
    import av

    errors = 0
    while errors < _ERRORS_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                errors = 0
                if packet.size:
                    yield packet
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            errors += 1


def seek(container: "InputContainer", stream: "Stream", stamp: int) -> bool:
    """Go to a key frame before a time [time base of the stream]; tell whether the file allowed it."""
    import av

    try:
        container.seek(stamp, stream=stream)
    except av.error.FFmpegError:  # an index that is damaged, or none
        return False
    return True


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into an OSError or ValueError that names a file.

    Raises:
        OSError: the system refused, as with a full disk.
        ValueError: FFmpeg failed.
    """
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise ValueError(f"{path}: FFmpeg failed: {error.strerror}") from None


class Continuous:
    """The times of one stream, made to go on where the files of a joined transport stream meet.

    Args:
        shifts: what is added to the times of each file but the first [s], see `find_joins`.
        base: of the times [s].
    """

    def __init__(self, shifts: tuple[Fraction, ...], base: Fraction) -> None:
        self._shifts = [0, *(round(shift / base) for shift in shifts)]
        self._back, self._forward = _BACK / float(base), _FORWARD / float(base)
        self._file = 0
        self._last: int | None = None

    def __call__(self, stamp: int) -> int:
        """Return the time of a stamp, which are given in the order of the stream."""
        if self._last is not None and not -self._back <= stamp - self._last <= self._forward:
            self._file = min(self._file + 1, len(self._shifts) - 1)
        self._last = stamp
        return stamp + self._shifts[self._file]


def may_be_joined(container: "InputContainer") -> bool:
    """Tell whether files of this format can be joined by putting one behind the other."""
    from av.format import Flags

    return bool(Flags(container.format.flags) & Flags.ts_discont)


def find_joins(container: "InputContainer", stream: "VideoStream") -> tuple[tuple[Fraction, ...], float | None]:
    """Read through a transport stream to find where its times begin anew.

    Returns:
        what is to be added to the times of each file but the first [s], and the length of all [s].
    """
    base = stream.time_base
    if base is None:
        return (), None
    back, forward = _BACK / float(base), _FORWARD / float(base)
    shifts: list[int] = []
    first = last = end = None
    for packet in packets_of(container, stream):
        if packet.dts is None or packet.pts is None:
            continue
        first = packet.pts if first is None else first
        if last is not None and end is not None and not -back <= packet.dts - last <= forward:
            shifts.append(end - packet.pts)
        last = packet.dts
        moved = packet.pts + (packet.duration or 0) + (shifts[-1] if shifts else 0)
        end = moved if end is None else max(end, moved)
    if first is None or end is None:
        return (), None
    return tuple(shift * base for shift in shifts), float((end - first) * base)
