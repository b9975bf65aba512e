"""The chunks of a PNG [PNG 3rd edition]: those that hold the pixels, and what others say of turn and colour.

Text and damaged chunks are left out before a decoder sees the file: they must not cost the pixels.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .colors import Colors, colors_of_gamma

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_ORIENTATION = re.compile(rb"tiff:Orientation\W{1,4}([1-8])")  # in XMP
_MOST_PROFILE = 1 << 24  # [bytes] camera profiles with tables have a few millions
_XMP = b"XML:com.adobe.xmp\0\0\0"  # the key of text that is not compressed


@dataclass(frozen=True)
class Png:
    """A PNG without what a decoder may stumble over."""

    data: bytes  # a whole file: the chunks of the first frame
    frames: int = 1
    profile: bytes | None = None
    codes: tuple[int, int] | None = None  # cICP's primaries and transfer [H.273]
    colors: Colors | None = None  # by gAMA and cHRM
    exif: bytes = b""
    orientation: int = 1  # by XMP
    bad_profile: bool = False


def read_png(data: bytes) -> Png:
    """Sort a PNG's chunks."""
    pixels = [SIGNATURE]
    others: dict[bytes, bytes] = {}
    for name, body, whole in _chunks(data):
        if name in _KEPT:
            pixels.append(data[whole])
        elif name == b"iTXt" and body.startswith(_XMP):
            others[name] = body
        elif name != b"iTXt" and zlib.crc32(name + body) == struct.unpack(">I", data[whole][-4:])[0]:
            others.setdefault(name, body)
    profile = _profile(others.get(b"iCCP", b""))
    codes = others.get(b"cICP", b"")
    has_codes = len(codes) == 4 and codes[2] == 0  # which go before a profile
    by_gamma = not has_codes and profile is None and b"sRGB" not in others
    found = _ORIENTATION.search(others.get(b"iTXt", b""))
    return Png(
        b"".join(pixels),
        max(1, struct.unpack(">I", others[b"acTL"][:4])[0]) if len(others.get(b"acTL", b"")) == 8 else 1,
        None if has_codes else profile,
        (codes[0], codes[1]) if has_codes else None,
        _colors_of_gamma(others) if by_gamma else None,
        others.get(b"eXIf", b""),
        int(found[1]) if found else 1,
        bad_profile=b"iCCP" in others and profile is None and not has_codes,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, slice]]:
    """List the chunks up to the end or to where the file is torn: name, body, and where the whole lies."""
    start = len(SIGNATURE)
    while start + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[start : start + 8])
        end = start + 12 + length
        kept = name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
        if end > len(data) and not kept:
            return
        yield name, b"" if kept else data[start + 8 : end - 4], slice(start, end)
        if name == b"IEND":
            return
        start = end


def _profile(body: bytes) -> bytes | None:
    """Inflate an iCCP chunk; None where it cannot be."""
    _, _, packed = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], _MOST_PROFILE) or None
    except zlib.error:
        return None


def _colors_of_gamma(chunks: dict[bytes, bytes]) -> Colors | None:
    """Read gAMA, and cHRM where it is there."""
    if len(chunks.get(b"gAMA", b"")) != 4:
        return None
    numbers = struct.unpack(">8I", chunks[b"cHRM"]) if len(chunks.get(b"cHRM", b"")) == 32 else ()
    points = [(numbers[i] / 100_000, numbers[i + 1] / 100_000) for i in range(0, len(numbers), 2)]
    return colors_of_gamma(struct.unpack(">I", chunks[b"gAMA"])[0] / 100_000, points or None)
