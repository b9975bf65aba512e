"""Write a picture: encoded whole in memory, then put in place at once or not at all."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor, cat

from ..files import write_bytes
from .picture import Samples, to_samples
from .profile import srgb_profile

FORMATS = ("png", "jpg", "webp", "tif", "avif")

_SPELLINGS = {"jpeg": "jpg", "tiff": "tif"}
_PLUGINS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "avif": "AVIF"}
_PNG_LEVEL = 3  # zlib: a third of level 6's time for a few percent more bytes
_DEFLATE, _RGB, _UNASSOCIATED_ALPHA = 8, 2, 2  # TIFF 6.0: compression, photometric interpretation, extra samples


def format_of(destination: str | Path) -> str:
    """Tell the format from a file's suffix.

    Raises:
        ValueError: the suffix is missing or unknown; the message lists the known.
    """
    suffix = Path(destination).suffix.lower().lstrip(".")
    known = _SPELLINGS.get(suffix, suffix)
    if known not in FORMATS:
        raise ValueError(f"{destination}: cannot write {suffix or 'a file without a suffix'}; use {', '.join(FORMATS)}")
    return known


def write_picture(
    destination: str | Path,
    pixels: Tensor,  # [1,3,H,W] sRGB in [0,1], or [1,1,H,W] for grey
    alpha: Tensor | None = None,  # [1,1,H,W] straight
    depth: int = 8,  # [bit] 16 is kept by PNG and TIFF, and becomes 8 elsewhere
    quality: int = 95,  # of JPEG, WebP and AVIF
) -> None:
    """Write a picture in the format of the destination's suffix, atomically.

    Raises:
        ValueError: the format is unknown, or cannot hold transparency.
        OSError: the destination cannot be written; nothing is left of it then.
    """
    write_bytes(destination, encode_picture(pixels, alpha, format_of(destination), depth, quality))


def encode_picture(
    pixels: Tensor,  # [1,3,H,W] sRGB in [0,1], or [1,1,H,W] for grey
    alpha: Tensor | None = None,  # [1,1,H,W] straight
    format: str = "png",
    depth: int = 8,
    quality: int = 95,
) -> bytes:
    """Encode a picture, with the sRGB profile."""
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; there are {', '.join(FORMATS)}")
    if alpha is not None and format == "jpg":
        raise ValueError("JPEG cannot hold transparency; use png, webp, tif or avif")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}; expected a whole number from 1 to 100")
    samples = to_samples(pixels if alpha is None else cat([pixels, alpha], dim=1), _kept_depth(format, depth))
    if samples.dtype == np.uint16:
        return _encode_png_16(samples) if format == "png" else _encode_tiff_16(samples)
    settings: dict[str, dict[str, int | str]] = {
        "png": {"compress_level": _PNG_LEVEL},
        "jpg": {"quality": quality, "subsampling": 0 if quality >= 90 else 2},
        "webp": {"quality": quality, "method": 4},
        "tif": {"compression": "tiff_adobe_deflate"},
        "avif": {"quality": quality, "speed": 8},
    }
    file = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    profile = srgb_profile() if samples.shape[2] >= 3 else None
    image.save(file, _PLUGINS[format], icc_profile=profile, **settings[format])
    return file.getvalue()


def _kept_depth(format: str, depth: int) -> int:
    return depth if format in ("png", "tif") else 8


def _encode_png_16(samples: Samples) -> bytes:
    """Encode with OpenCV (Pillow writes 8-bit colour only) and set the profile's chunk behind the header's."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples.shape[2]]
    done, encoded = cv2.imencode(".png", samples[..., order].copy(), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    assert done
    data = encoded.tobytes()
    if samples.shape[2] == 1:
        return data
    header_end = 8 + 25  # signature; length, type, 13 bytes and checksum of IHDR
    body = b"iCCPsRGB\0\0" + zlib.compress(srgb_profile())
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:header_end] + chunk + data[header_end:]


def _encode_tiff_16(samples: Samples) -> bytes:
    """Lay out one deflated strip and its directory [TIFF 6.0]: neither library at hand writes 16 bits and a profile."""
    from PIL import TiffImagePlugin  # a tenth of a second that other formats need not wait for

    height, width, channels = samples.shape
    strip = zlib.compress(samples.astype("<u2").tobytes(), 1)
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    directory[256], directory[257], directory[258] = width, height, (16,) * channels
    directory[259], directory[262], directory[277] = _DEFLATE, _RGB if channels >= 3 else 1, channels
    directory[273], directory[278], directory[279], directory[284] = (
        0,
        height,
        len(strip),
        1,
    )  # from the directory's end
    if channels == 4:
        directory[338] = _UNASSOCIATED_ALPHA
    if channels >= 3:
        directory.tagtype[34675], directory[34675] = 7, srgb_profile()
    return b"II*\0" + struct.pack("<I", 8) + directory.tobytes(8) + strip
