"""What a file's bytes tell before a decoder sees it: kinds that are refused, work that would take too long, colours."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from .tiff import read_directory

RAW_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3fr", "ari", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "gpr", "iiq", "k25", "kdc", "mef"),
        *("mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)

_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb", b"II\x1a\0\0\0HEAPCCDR")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DNG_VERSION, _TIFF_EP, _SUB_DIRECTORIES, _PHOTOMETRIC, _SUBFILE = 50706, 37398, 330, 262, 254
_SENSOR = (32803, 34892)  # photometric kinds: colour filter array, linear raw
_MOST_SUB_DIRECTORIES = 16
_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # in a JPEG's coded data, neither stuffed nor a restart
_PROPERTIES = (b"meta", b"iprp", b"ipco")


def is_tiff(data: bytes) -> bool:
    """Tell whether a file begins as a TIFF."""
    return data.startswith(_TIFF_STARTS)


def is_raw(data: bytes, name: str) -> bool:
    """Tell whether a file holds what a sensor saw, undeveloped; such files hold a small preview, too."""
    if data.startswith(_RAW_STARTS) or data[4:12] == b"ftypcrx " or (is_tiff(data) and data[8:11] == b"CR\x02"):
        return True
    if not is_tiff(data):
        return False
    try:
        return Path(name).suffix.lower() in RAW_SUFFIXES or _holds_sensor_data(data)
    except Exception:  # a damaged directory; whoever decodes it will say so
        return False


def _holds_sensor_data(data: bytes) -> bool:
    """Tell whether a TIFF is a DNG, or is one of TIFF/EP's whose first page or sub-directories are of a sensor."""
    tags = read_directory(data)
    preview = _TIFF_EP in tags and tags.get(_SUBFILE) == 1
    if _DNG_VERSION in tags or preview or tags.get(_PHOTOMETRIC) in _SENSOR:
        return True
    starts = tags.get(_SUB_DIRECTORIES, ())
    starts = starts if isinstance(starts, tuple) else (starts,)
    order, wide = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    for start in starts[:_MOST_SUB_DIRECTORIES]:
        pointer = data[:8] + struct.pack(order + "Q", start) if wide else data[:4] + struct.pack(order + "I", start)
        if read_directory(pointer + data[len(pointer) :]).get(_PHOTOMETRIC) in _SENSOR:
            return True
    return False


def count_scans(data: bytes) -> int:
    """Count a JPEG's scans, a progressive one's passes over the picture [ITU-T T.81, B.1.1]."""
    at, scans = 2, 0
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == 0xD9:
            break
        if marker == 0xDA:
            scans += 1
        if marker not in (0x01, 0xD8):
            at += int.from_bytes(data[at : at + 2], "big")
    return scans


def count_gif_frames(data: bytes, most: int) -> int:
    """Count a GIF's frames up to a limit [GIF89a]."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    frames = 0
    while at + 10 < len(data) and frames < most and data[at] in (0x21, 0x2C):
        if data[at] == 0x21:
            at += 2
        else:
            frames += 1
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return max(1, frames)


def strip_jpeg(data: bytes) -> bytes:
    """Leave out a JPEG's metadata, but for what its colours depend on (JFIF, profile, Adobe's transform)."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b""):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] not in (0xE1, 0xFE, *range(0xE3, 0xEE), 0xEF):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def color_codes(data: bytes) -> tuple[int, int] | None:
    """Give primaries and transfer [H.273] of the first picture in an AVIF or HEIC, where its boxes state them."""
    for name in _PROPERTIES:
        body = next((body for kind, body in _boxes(data) if kind == name), None)
        if body is None:
            return None
        data = body[4:] if name == b"meta" else body
    for kind, body in _boxes(data):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 8:
            primaries, transfer = struct.unpack(">HH", body[4:8])
            return primaries, transfer
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """List the boxes of a part of an ISO file [ISO/IEC 14496-12, 4.2]."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        head = 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)
        if size and size < head:
            return
        yield kind, data[at + head : end]
        at = end
