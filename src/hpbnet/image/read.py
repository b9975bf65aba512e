"""Read a picture from a file, bytes, a PIL image or an array.

Every file is judged by its header before a pixel is decoded. What the eye should know (first frame only, a profile that
could not be used) is returned as notices; what cannot be read is one ValueError.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .picture import Picture, Samples, Source, greatest, to_planes
from .profile import image_to_srgb, is_srgb, planes_to_srgb

MAX_PIXELS = 150_000_000  # lets the largest cameras through (medium format: 102 MP, 151 MP backs not quite)

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM", "JPEG2000")
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
_ORIENTATION = 0x0112  # the Exif tag
_BITS, _PHOTOMETRIC = 258, 262  # TIFF tags
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


@dataclass(frozen=True)
class _Decoded:
    """Upright samples, still in their own colour space where `profile` is given."""

    samples: Samples  # [H,W] or [H,W,3]
    alpha: Samples | None = None  # [H,W]
    profile: bytes | None = None
    notices: tuple[str, ...] = ()


def read_picture(source: Source | Picture) -> Picture:
    """Read a picture as float32 sRGB planes, upright, with its alpha where it has one.

    Args:
        source: a path, the bytes of a file, a PIL image, or an RGB array [H,W], [H,W,3] or [H,W,4] of uint8, uint16 or
            floats in [0,1].

    Raises:
        ValueError: the source is no picture, is damaged, or holds more than 150 million pixels.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Picture):
        return source
    decoded = _decode(source, managed=True)
    pixels = to_planes(decoded.samples)
    pixels = pixels.expand(1, 3, -1, -1).contiguous() if pixels.shape[1] == 1 else pixels
    if decoded.profile:
        pixels = planes_to_srgb(pixels, decoded.profile)
    opaque = decoded.alpha is None or bool((decoded.alpha == greatest(decoded.alpha)).all())
    alpha = None if decoded.alpha is None or opaque else to_planes(decoded.alpha)
    return Picture(pixels, alpha, 16 if decoded.samples.dtype == np.uint16 else 8, decoded.notices)


def read_mask(source: Source) -> Tensor:
    """Read a mask [1,1,H,W] in [0,1]: a picture's alpha where it has one, else its brightness, not colour-managed."""
    decoded = _decode(source, managed=False)
    if decoded.alpha is not None and not (decoded.alpha == greatest(decoded.alpha)).all():
        return to_planes(decoded.alpha)
    return to_planes(decoded.samples).mean(dim=1, keepdim=True)


def _decode(source: Source, managed: bool) -> _Decoded:
    if isinstance(source, np.ndarray):
        return _decode_array(source)
    if isinstance(source, Image.Image):
        return _decode_image(source, "the image", managed)
    if isinstance(source, bytes):
        return _decode_bytes(source, "the data", managed)
    if isinstance(source, str | Path):
        return _decode_bytes(Path(source).read_bytes(), str(source), managed)
    kinds = "a path, bytes, a PIL image or a numpy array"
    raise ValueError(f"a picture is given as {kinds}, not as {type(source).__name__}")


def _decode_array(array: NDArray[np.generic]) -> _Decoded:
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ValueError(f"an array of shape {array.shape} is no picture; expected [H,W], [H,W,3] or [H,W,4]")
    samples: Samples
    if array.dtype == np.bool_:
        samples = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype in (np.uint8, np.uint16):
        samples = array  # type: ignore[assignment]
    elif array.dtype.kind == "f":
        samples = array.astype(np.float32)
        if not (samples.min() >= 0 and samples.max() <= 1):  # written so that NaN fails
            raise ValueError(f"a float array must lie in [0,1]; this one spans [{samples.min()}, {samples.max()}]")
    else:
        raise ValueError(f"an array of {array.dtype} is no picture; expected uint8, uint16, bool or floats in [0,1]")
    return _split_alpha(samples)


def _split_alpha(samples: Samples) -> _Decoded:
    if samples.ndim == 3 and samples.shape[2] == 4:
        return _Decoded(samples[..., :3], samples[..., 3])
    return _Decoded(samples)


def _decode_bytes(data: bytes, name: str, managed: bool) -> _Decoded:
    if not data:
        raise ValueError(f"{name} is empty")
    image = _open(data, name)
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}x{image.height} px"
        raise ValueError(f"{name} is {size}; pictures of more than {MAX_PIXELS // 10**6} million pixels are refused")
    wide = _decode_16_bit(data, image, name) if _has_16_bits(image, data) else None
    return wide if wide is not None else _decode_image(image, name, managed)


def _open(data: bytes, name: str) -> Image.Image:
    """Read a file's header, with no pixel decoded."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return _open_heic(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit is lower; odd Exif fields do not matter
            return Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels, which is refused") from None
    except UnidentifiedImageError:
        known = "JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP, PPM, JPEG 2000 or HEIC"
        remedy = "; for a clip there is `hpbnet video`" if name.lower().endswith(_CLIPS) else ""
        raise ValueError(f"{name} is no picture that can be read ({known}){remedy}") from None
    except _DAMAGE as error:
        raise ValueError(f"{name} is damaged: {error}") from None


def _open_heic(data: bytes, name: str) -> Image.Image:
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise ValueError(f"{name} is a HEIC picture: install the extra with pip install 'hpbnet[heif]'") from None
    try:
        picture = open_heif(io.BytesIO(data))
        if picture.size[0] * picture.size[1] > MAX_PIXELS:
            return Image.new("1", picture.size)  # stands for its header: refused by size before it is decoded
        image: Image.Image = picture.to_pillow()
        return image
    except _DAMAGE as error:
        raise ValueError(f"{name} is damaged: {error}") from None


def _has_16_bits(image: Image.Image, data: bytes) -> bool:
    """Tell from the header; Pillow itself reads colour at 8 bits only."""
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        return set(tags.get(_BITS, (8,))) == {16} and tags.get(_PHOTOMETRIC) in (1, 2)
    return False


def _decode_16_bit(data: bytes, image: Image.Image, name: str) -> _Decoded | None:
    """Decode with OpenCV; None where it cannot, and Pillow's 8 bits must do."""
    if image.format == "PNG":
        _verify(data, name)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        return None
    if decoded.ndim == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    samples: Samples = decoded.view(np.uint16)
    # OpenCV turns a TIFF upright by itself, and only that.
    samples = samples if image.format == "TIFF" else _upright(samples, image.getexif().get(_ORIENTATION, 1))
    profile = image.info.get("icc_profile")
    notices: tuple[str, ...] = ()
    if profile and (samples.ndim == 2 or is_srgb(profile)):
        notices = () if is_srgb(profile) else (f"{name}: its grey profile is taken as sRGB's",)
        profile = None
    return replace(_split_alpha(samples), profile=profile, notices=notices + _frame_notices(image, name))


def _verify(data: bytes, name: str) -> None:
    """Check a PNG's chunks: OpenCV would return the half of a truncated file as if it were whole."""
    try:
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()
    except _DAMAGE as error:
        raise ValueError(f"{name} is damaged: {error}") from None


def _decode_image(image: Image.Image, name: str, managed: bool) -> _Decoded:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            orientation = image.getexif().get(_ORIENTATION, 1)  # after loading: a TIFF is turned upright by that
    except _DAMAGE as error:
        raise ValueError(f"{name} is damaged: {error}") from None
    notices = _frame_notices(image, name)
    if image.mode.startswith("I;16"):
        return _Decoded(_upright(np.asarray(image).astype(np.uint16), orientation), notices=notices)
    color, alpha = _split_image(image, name)
    if managed:
        color, notice = _to_srgb(color, image.info.get("icc_profile"), name)
        notices += notice
    elif color.mode == "CMYK":
        color = color.convert("RGB")
    samples = _upright(np.asarray(color), orientation)
    return _Decoded(samples, None if alpha is None else _upright(np.asarray(alpha), orientation), notices=notices)


def _split_image(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    """Split into colour of mode L, RGB or CMYK, and alpha of mode L."""
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise ValueError(f"{name} has pixels of mode {image.mode}, whose range is not known; convert it to RGB")
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        alpha = image.convert("RGBA").getchannel("A")
        straight = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        return straight.convert("L" if grey else "RGB"), alpha
    if image.mode in ("L", "RGB", "CMYK"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    notices: tuple[str, ...] = ()
    if profile and not is_srgb(profile):
        try:
            return image_to_srgb(image, profile), ()
        except ValueError as error:
            notices = (f"{name}: {error}; its colours are taken as sRGB",)
    elif image.mode == "CMYK":
        notices = (f"{name} is CMYK without a profile: its colours are approximate",)
    return (image.convert("RGB") if image.mode == "CMYK" else image), notices


def _frame_notices(image: Image.Image, name: str) -> tuple[str, ...]:
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a phone's MPO: previews, depth
    return (f"{name} has {frames} frames; the first is used",) if frames > 1 else ()


def _upright(samples: Samples, orientation: int) -> Samples:
    """Undo the camera's orientation [Exif 2.32, tag 0x0112]."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples
