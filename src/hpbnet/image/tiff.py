"""TIFFs of 8 and 16 bits, sample by sample [TIFF 6.0].

Pillow reads colour of 16 bits at 8 bits, and OpenCV mixes up planes, extra samples and photometric kinds. Here a
directory is read by Pillow and each plane is given to it once more as a grey picture of bytes, so that libtiff undoes
the compression; what the bytes mean is decided here. Other bits than 8 and 16, JPEG and fax are left to Pillow.
"""

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .picture import Samples, greatest

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate twice, PackBits, LZMA, ZSTD
_CHANNELS = {0: 1, 1: 1, 2: 3, 5: 4}  # white is zero, black is zero, RGB, CMYK
_KINDS = {1: "whole", 2: "signed", 3: "floating-point", 4: "undefined"}
_MOST_SAMPLES = 16  # of a pixel


@dataclass(frozen=True)
class Tiff:
    """The samples of a TIFF's first page, as they lie."""

    samples: Samples  # [H,W] or [H,W,3]; [H,W,4] where it is CMYK
    alpha: Samples | None  # [H,W] straight
    is_cmyk: bool


def read_directory(data: bytes) -> "ImageFileDirectory_v2":
    """Read the first directory of tags.

    Raises:
        ValueError: there is none.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2  # a tenth of a second that other formats need not wait for

    wide = data[2:4] in (b"+\0", b"\0+")  # BigTIFF, which Pillow knows of little-endian files only
    directory = ImageFileDirectory_v2((b"II+\0" if wide else data[:4]) + data[4 : 16 if wide else 8], data[:2])
    directory._tag_data_limit = len(data)
    if not 0 < directory.next < len(data):
        raise ValueError("it has no directory")
    file = io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    return directory


def size_of(tags: "ImageFileDirectory_v2") -> tuple[int, int]:
    """Tell width and height [px].

    Raises:
        ValueError: they are missing.
    """
    width, height = _number(tags, 256, 0), _number(tags, 257, 0)
    if width < 1 or height < 1:
        raise ValueError("its size is missing")
    return width, height


def count_pages(data: bytes, most: int) -> int:
    """Count the pages up to a limit; a chain that leaves the file or turns back ends there."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count_kind, next_kind, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    at, seen = 8 if big else 4, set[int]()
    while len(seen) < most:
        try:
            (start,) = struct.unpack_from(order + next_kind, data, at)
            if start == 0 or start in seen or start >= len(data):
                break
            (entries,) = struct.unpack_from(order + count_kind, data, start)
        except struct.error:
            break
        seen.add(start)
        at = start + struct.calcsize(order + count_kind) + entries * entry
    return max(1, len(seen))


def read_tiff(
    data: bytes,
    tags: "ImageFileDirectory_v2",
    most_bytes: int,  # of all samples together
) -> Tiff | None:
    """Decode the first page; None where it is of the kinds that are left to Pillow.

    Raises:
        ValueError: it holds numbers whose range is not known.
        Exception: whatever Pillow raises where the file is damaged.
    """
    bits, kinds = set(_numbers(tags, 258, (1,))), set(_numbers(tags, 339, (1,)))
    photometric, compression = _number(tags, 262, -1), _number(tags, 259, 1)
    if bits not in ({8}, {16}) or photometric not in _CHANNELS or compression not in _COMPRESSIONS:
        if max(bits, default=0) > 8 and photometric != 3:
            raise ValueError(f"it has {max(bits)} bits in photometric kind {photometric}; convert it to RGB of 8 or 16")
        return None
    if kinds != {1}:
        raise ValueError(f"it holds {_KINDS.get(max(kinds), 'unknown')} numbers, whose range is not known; convert it")
    (width, height), each, item = size_of(tags), _number(tags, 277, 1), bits.pop() // 8
    if not 1 <= each <= _MOST_SAMPLES or width * height * each * item > most_bytes:
        raise ValueError(f"its {each} samples of {8 * item} bits are too many")
    samples = _read_planes(data, tags, item)
    colors = _CHANNELS[photometric]
    if samples.shape[2] < colors:
        raise ValueError(f"it has {samples.shape[2]} samples, expected {colors} or more")
    color, extra = samples[..., :colors], samples[..., colors:]
    color = np.invert(color) if photometric == 0 else color
    alpha = None
    uses = _numbers(
        tags, 338, (2,) * (extra.shape[2] == 1)
    )  # one that nothing is said of is an alpha, as OpenCV writes
    for use, plane in zip(uses, np.moveaxis(extra, 2, 0), strict=False):
        if use in (1, 2):  # associated, unassociated; others are selections, depths, spot colours
            alpha = plane
            color = _straight(color, alpha) if use == 1 else color
            break
    return Tiff(color[..., 0] if colors == 1 else color, alpha, is_cmyk=photometric == 5)


def _straight(color: Samples, alpha: Samples) -> Samples:
    """Divide colours by the alpha that they were multiplied with."""
    one = greatest(color)
    divided = color.astype(np.float32) * one / np.maximum(alpha, 1)[..., None].astype(np.float32)
    straight: Samples = np.minimum(np.rint(divided), one).astype(color.dtype)
    return straight


def _read_planes(data: bytes, tags: "ImageFileDirectory_v2", item: int) -> Samples:
    """Read all samples [H,W,S], of `item` bytes each."""
    each = _number(tags, 277, 1)
    if _number(tags, 317, 1) not in (1, 2):
        raise ValueError(f"its predictor {_number(tags, 317, 1)} is for floating-point numbers, or unknown")
    offsets, counts = (_numbers(tags, name, ()) for name in ((324, 325) if 324 in tags else (273, 279)))
    counts = counts or tuple(max(0, len(data) - offset) for offset in offsets)
    if sum(counts) > 2 * len(data) and _number(tags, 259, 1) != 1:
        raise ValueError("its strips overlap")
    if _number(tags, 284, 1) == 1 or each == 1:
        return _read_plane(data, tags, offsets, counts, each, item)
    share = len(offsets) // each  # strips or tiles of a plane; all of the first sample come first
    parts = [slice(i * share, (i + 1) * share) for i in range(each)]
    return np.concatenate([_read_plane(data, tags, offsets[p], counts[p], 1, item) for p in parts], axis=2)


def _read_plane(
    data: bytes,
    tags: "ImageFileDirectory_v2",
    offsets: tuple[int, ...],
    counts: tuple[int, ...],
    channels: int,
    item: int,
) -> Samples:  # [H,W,channels]
    width, height = _number(tags, 256, 0), _number(tags, 257, 0)
    stored = _decompress(data, tags, offsets, counts, channels * item)
    order = "<" if data[:2] == b"II" else ">"
    differences = _number(tags, 317, 1) == 2
    samples: Samples = stored.view(f"{order}u{item}").astype(f"u{item}", copy=differences)
    samples = samples.reshape(height, width, channels)
    if differences:  # each sample was stored as its difference to the one on the left
        across = _number(tags, 322, width) if 324 in tags else width
        for left in range(0, width, across):
            part = samples[:, left : left + across]
            np.cumsum(part, axis=1, dtype=samples.dtype, out=part)
    return samples


def _decompress(
    data: bytes, tags: "ImageFileDirectory_v2", offsets: tuple[int, ...], counts: tuple[int, ...], pixel: int
) -> NDArray[np.uint8]:  # [H, W*pixel] the bytes of the pixels, `pixel` bytes each
    from PIL.TiffImagePlugin import TiffImageFile

    width, height, compression = _number(tags, 256, 0), _number(tags, 257, 0), _number(tags, 259, 1)
    tiled = 324 in tags
    across = _number(tags, 322, 0) if tiled else width
    down = min(_number(tags, 323 if tiled else 278, height), 1 << 24 if tiled else height)
    if across < 1 or down < 1 or len(offsets) < -(-width // across) * -(-height // down):
        raise ValueError("it lacks a part of its pixels")
    if compression == 1:  # some writers miscount
        rows = [down if tiled else min(down, height - i * down) for i in range(len(offsets))]
        counts = tuple(max(0, row) * across * pixel for row in rows)
    strips = [data[offset : offset + count] for offset, count in zip(offsets, counts, strict=False)]
    if compression == 1 and sum(map(len, strips)) < sum(counts):
        raise ValueError("it is truncated")
    sizes = [len(strip) for strip in strips]
    starts = [8, *(8 + int(end) for end in np.cumsum(sizes))]
    grey = {256: [width * pixel], 257: [height], 258: [8], 259: [compression], 262: [1], 277: [1]}
    if tiled:
        grey |= {322: [across * pixel], 323: [down], 324: starts[:-1], 325: sizes}
    else:
        grey |= {273: starts[:-1], 278: [down], 279: sizes}
    grey[266] = [_number(tags, 266, 1)]
    file = b"".join([b"II*\0", struct.pack("<I", starts[-1]), *strips, _directory(grey, starts[-1])])
    image = TiffImageFile(io.BytesIO(file))
    # Pillow's own limit of pixels, which would count bytes here, is not asked where the canvas is there already.
    image.im = Image.core.new("L", image.size)  # type: ignore[attr-defined]
    image.load()
    return np.asarray(image)


def _directory(tags: dict[int, list[int]], start: int) -> bytes:
    """Lay out a little-endian directory of 32-bit numbers that lies at `start`."""
    entries, beyond = [], b""
    end = start + 2 + 12 * len(tags) + 4
    for name, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        value = packed if len(numbers) == 1 else struct.pack("<I", end + len(beyond))
        beyond += b"" if len(numbers) == 1 else packed
        entries.append(struct.pack("<HHI", name, 4, len(numbers)) + value)
    return struct.pack("<H", len(tags)) + b"".join(entries) + struct.pack("<I", 0) + beyond


def _number(tags: "ImageFileDirectory_v2", name: int, default: int) -> int:
    return _numbers(tags, name, (default,))[0]


def _numbers(tags: "ImageFileDirectory_v2", name: int, default: tuple[int, ...]) -> tuple[int, ...]:
    """Read a tag of whole numbers.

    Raises:
        ValueError: it holds something else.
    """
    value = tags.get(name)
    numbers = default if value is None else value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int) for number in numbers) or (value is not None and not numbers):
        raise ValueError(f"its tag {name} holds no whole numbers")
    return tuple(numbers)
