"""A file that came in: whether it is a picture or a video, its size, and its pixels when they are asked for."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ..image import Picture, read_mask, read_picture
from ..image.picture import NamedBytes, Samples, to_planes, to_samples
from .limits import Limits
from .problems import Problem

Role = Literal["portrait", "background", "mask", "hint"]
_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # that QuickTime and MP4 begin with
_STILL_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi")  # of HEIC and AVIF, which begin alike
_MOST_NAME = 200  # characters of a file's name that are kept
_ASPECT = 0.02  # by which a hint's aspect ratio may differ from the portrait's
_MARKED = 0.5  # opacity from which a stroke counts, as in the pipeline


@dataclass(frozen=True)
class Medium:
    """A file in a session's or a job's own folder."""

    path: Path  # of a name that we chose
    name: str  # that the user gave it, to show
    kind: Literal["picture", "video"]
    width: int  # [px] upright
    height: int
    notices: tuple[str, ...] = ()
    seconds: float | None = None  # of a video

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.height, self.width


def shown_name(name: str, role: str) -> str:
    """Keep what can be shown of a file's name; it is never used as a path."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(character for character in last if character.isprintable())[:_MOST_NAME].strip() or role


def inspect(path: Path, name: str, role: Role, limits: Limits) -> tuple[Medium, Picture | None]:
    """Look into a file -> what it is, and its pixels where it is a picture.

    Raises:
        ValueError: it is neither picture nor video, or damaged.
        Problem: it is too large or too long.
    """
    name = shown_name(name, role)
    if role in ("portrait", "background") and is_video(path):
        return inspect_video(path, name, limits), None
    picture = read_upload(path, name, limits, role == "mask")
    height, width = picture.size
    return Medium(path, name, "picture", width, height, picture.notices), picture


def is_video(path: Path) -> bool:
    """Tell by its first bytes whether a file is a video: MP4, MOV, Matroska, WebM, AVI, MPEG.

    Nothing else reaches FFmpeg. It also reads playlists, which name other files.
    """
    with path.open("rb") as file:
        head = file.read(189)
    if head[4:8] in _ATOMS:
        return not (head[4:8] == b"ftyp" and head[8:11] in _STILL_BRANDS)
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    transport = head[:1] == b"G" and head[188:189] in (b"G", b"")
    return head[:4] in (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3") or (transport and head[:4] != b"GIF8")


def inspect_video(path: Path, name: str, limits: Limits) -> Medium:
    """Look into a video.

    Raises:
        ValueError: it is damaged, or of a kind that is not read.
        Problem: it is longer than the limit.
    """
    from ..video.read import open_clip

    try:
        clip = open_clip(path)
    except (ValueError, OSError) as error:
        raise ValueError(str(error).replace(str(path), name)) from None
    if clip.seconds is not None and clip.seconds > limits.max_video_seconds:
        raise Problem(413, f"{name} is {clip.seconds:.0f} s long; at most {limits.max_video_seconds:g} s are accepted")
    if clip.width * clip.height > limits.max_pixels:
        raise ValueError(
            f"{name} is {clip.width}x{clip.height} px; "
            f"videos of more than {limits.max_megapixels:g} million pixels are refused"
        )
    return Medium(path, name, "video", clip.width, clip.height, (), clip.seconds)


def read_upload(path: Path, name: str, limits: Limits, as_mask: bool = False) -> Picture:
    """Decode a picture, named in errors and notices by the user's name for it.

    Raises:
        ValueError: it cannot be read, or has too many pixels.
        Problem: it has too many bytes (413).
    """
    if path.stat().st_size > limits.max_body * 1e6:
        raise Problem(413, f"{name} is larger than {limits.max_body:g} MB, which is the most for a picture")
    data = NamedBytes(path.read_bytes(), name)
    if as_mask:
        mask = read_mask(data, limits.max_pixels)
        return Picture(mask.expand(-1, 3, -1, -1), mask)
    return read_picture(data, limits.max_pixels)


def first_frame(path: Path, start: float = 0.0) -> Picture:
    """Return the frame of a video at a time [s], or its last one where it ends before."""
    from ..video.read import open_clip, read_frames

    clip = open_clip(path)
    frame = next(read_frames(clip, start), None) or next(read_frames(clip), None)
    if frame is None:
        raise ValueError("the video holds no frame that can be decoded")
    return Picture(to_planes(frame.pixels), None if frame.alpha is None else to_planes(frame.alpha))


def strokes_of(picture: Picture) -> Samples:
    """Turn a hint's picture into strokes [H,W,4]."""
    alpha = np.full((*picture.size, 1), 255, np.uint8)
    if picture.alpha is not None:
        alpha = to_samples(picture.alpha).astype(np.uint8)
    return np.concatenate([to_samples(picture.pixels).astype(np.uint8), alpha], axis=2)


def marks_something(picture: Picture) -> bool:
    """Tell whether there is any stroke in a hint."""
    return picture.alpha is None or bool((picture.alpha > _MARKED).any())


def strokes_at(strokes: Samples, size: tuple[int, int]) -> Samples:
    """Bring strokes [H,W,4] to a height and width; a stroke's pixels are not mixed."""
    if strokes.shape[:2] == size:
        return strokes
    resized: Samples = cv2.resize(strokes, size[::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
    return resized


def check_hint(hint: tuple[int, int], portrait: tuple[int, int]) -> None:
    """Refuse a hint of another shape than the portrait; both as height and width.

    Raises:
        ValueError: says which sizes they have.
    """
    if abs(hint[0] * portrait[1] / (hint[1] * portrait[0]) - 1) > _ASPECT + 1 / min(hint):
        raise ValueError(
            f"the hint is {hint[1]}x{hint[0]} px, the portrait {portrait[1]}x{portrait[0]}; "
            "they must have the same aspect ratio"
        )


def check_mask(mask: tuple[int, int], portrait: tuple[int, int]) -> None:
    """Refuse a mask of another size than the portrait; both as height and width.

    Raises:
        ValueError: says which sizes they have.
    """
    if mask != portrait:
        raise ValueError(
            f"the mask is {mask[1]}x{mask[0]} px, the portrait {portrait[1]}x{portrait[0]}; they must be the same size"
        )
