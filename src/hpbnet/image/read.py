"""Read a picture from a file, bytes, a PIL image or an array.

Every file is judged by its header before a pixel is decoded. What the eye should know (first frame only, a profile that
could not be used) is returned as notices; what cannot be read is one ValueError. Metadata never costs the pixels: what
is damaged of it is left out.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .colors import HDR, Colors, colors_of_codes
from .inspect import (
    RAW_SUFFIXES,
    color_codes,
    count_gif_frames,
    count_scans,
    is_raw,
    is_tiff,
    strip_jpeg,
)
from .picture import Picture, Samples, Source, greatest, to_planes
from .png import SIGNATURE, Png, read_png
from .profile import hdr_of, image_to_srgb, is_srgb, planes_to_srgb
from .quiet import quiet, quiet_libraries
from .tiff import count_pages, read_directory, read_tiff, size_of

MAX_PIXELS = 100_000_000  # 1.2 GB as floats

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "PPM", "JPEG2000")
_CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
_ORIENTATION = 0x0112  # the Exif tag
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_USUAL_SCANS, _MOST_SCANS = 12, 100  # of a JPEG; cameras and optimizers write up to a dozen
_MOST_WORK = 1_000_000_000  # scans times pixels, which take some 4 s
_MOST_FRAMES = 1000  # that are counted
_LEAST_MASK = 0.5  # a mask that nowhere exceeds it shows nobody
_TINT = 8  # of 255; a palette of greys has less


@dataclass(frozen=True)
class _Decoded:
    """Upright samples, still in their own colour space where `profile` or `colors` is given."""

    samples: Samples  # [H,W] or [H,W,3]
    alpha: Samples | None = None  # [H,W]
    profile: bytes | None = None
    colors: Colors | None = None
    notices: tuple[str, ...] = ()
    labels: bool = False  # the samples are a palette's colours


@dataclass(frozen=True)
class _File:
    """A file's bytes and what was learned before they are decoded."""

    data: bytes
    name: str
    managed: bool  # colours are converted to sRGB
    max_pixels: int

    def require_size(self, width: int, height: int) -> None:
        """Refuse what holds too many pixels, or none."""
        if width < 1 or height < 1:
            raise ValueError(f"{self.name} is damaged: it is {width}x{height} px")
        if width * height > self.max_pixels:
            most = f"{self.max_pixels / 1e6:g} million pixels"
            raise ValueError(f"{self.name} is {width}x{height} px; pictures of more than {most} are refused")

    def damage(self, error: BaseException) -> ValueError:
        """Say that the file is damaged, in one line."""
        if isinstance(error, MemoryError) or "insufficient memory" in str(error).lower():
            return ValueError(f"{self.name} does not fit into the memory")
        return ValueError(f"{self.name} is damaged: {' '.join(str(error).split()) or type(error).__name__}")


def read_picture(source: Source | Picture, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture as float32 sRGB planes, upright, with its alpha where it has one.

    Args:
        source: a path, the bytes of a file, a PIL image, or an RGB array [H,W], [H,W,3] or [H,W,4] of uint8, uint16 or
            floats in [0,1].
        max_pixels: files of more are refused before a pixel is decoded.

    Raises:
        ValueError: the source is no picture, is damaged, too large, HDR, or a raw photo.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Picture):
        return source
    try:
        return _to_picture(_decode(source, True, max_pixels), _name(source))
    except MemoryError:
        raise ValueError(f"{_name(source)} does not fit into the memory") from None


def _to_picture(decoded: _Decoded, name: str) -> Picture:
    pixels = to_planes(decoded.samples)
    pixels = pixels.expand(1, 3, -1, -1).contiguous() if pixels.shape[1] == 1 else pixels
    notices = decoded.notices
    if decoded.colors is not None:
        pixels = decoded.colors.to_srgb(pixels)
    elif decoded.profile is not None:
        try:
            pixels = planes_to_srgb(pixels, decoded.profile)
        except ValueError as error:
            notices += (f"{name}: {error}; its colours are taken as sRGB",)
    opaque = decoded.alpha is None or bool((decoded.alpha == greatest(decoded.alpha)).all())
    alpha = None if decoded.alpha is None or opaque else to_planes(decoded.alpha)
    return Picture(pixels, alpha, 16 if decoded.samples.dtype == np.uint16 else 8, notices)


def read_mask(source: Source, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read a mask [1,1,H,W] in [0,1]: a picture's alpha where it has one, else its brightness, not colour-managed.

    Raises:
        ValueError: as `read_picture`; or the picture is a map of coloured labels, or too dark to be a mask.
        OSError: the file cannot be opened.
    """
    decoded = _decode(source, False, max_pixels)
    if decoded.alpha is not None and not (decoded.alpha == greatest(decoded.alpha)).all():
        mask = to_planes(decoded.alpha)
    elif decoded.labels:
        raise ValueError(f"{_name(source)} has a palette of colours, as label maps have; a mask is white and black")
    else:
        mask = to_planes(decoded.samples).mean(dim=1, keepdim=True)
    most = float(mask.max())
    if 0 < most <= _LEAST_MASK:  # it would leave a ghost of the person
        shown = f"it is nowhere more than {most:.0%} opaque or white"
        raise ValueError(f"the mask shows nobody: {shown} ({_name(source)}; white is 1, 255 or 65535)")
    return mask


def _name(source: Source) -> str:
    """Name a source in errors and notices."""
    if isinstance(source, str | Path):
        return str(source)
    return "the data" if isinstance(source, bytes) else "the image" if isinstance(source, Image.Image) else "the array"


def _decode(source: Source, managed: bool, max_pixels: int) -> _Decoded:
    if isinstance(source, np.ndarray):
        return _decode_array(source)
    if isinstance(source, Image.Image):
        return _decode_image(source, _File(b"", _name(source), managed, max_pixels))
    if not isinstance(source, bytes | str | Path):
        kinds = "a path, bytes, a PIL image or a numpy array"
        raise ValueError(f"a picture is given as {kinds}, not as {type(source).__name__}")
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    return _decode_file(_File(data, _name(source), managed, max_pixels))


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


def _decode_file(file: _File) -> _Decoded:
    if not file.data:
        raise ValueError(f"{file.name} is empty")
    with quiet():
        if is_raw(file.data, file.name):
            raise ValueError(f"{file.name} is a raw photo: develop it first, and give the JPEG or TIFF")
        if file.data.startswith(SIGNATURE):
            return _decode_png(file)
        if is_tiff(file.data):
            with quiet_libraries():
                return _decode_tiff(file)
        image = _open(file)
        file.require_size(*image.size)
        if file.data.startswith(b"\xff\xd8"):
            _require_few_scans(file, image)
        return _with_codes(_decode_image(image, file), file, color_codes(file.data) if _is_iso(file.data) else None)


def _require_few_scans(file: _File, image: Image.Image) -> None:
    """Refuse a JPEG whose many passes over a large picture would take more than some seconds."""
    scans = count_scans(file.data)
    if scans > _MOST_SCANS or (scans > _USUAL_SCANS and scans * image.width * image.height > _MOST_WORK):
        size = f"{image.width}x{image.height} px"
        raise ValueError(f"{file.name} has {scans} scans of {size}, which would take too long; save it anew")


def _is_iso(data: bytes) -> bool:
    return data[4:8] == b"ftyp"


def _is_heic(data: bytes) -> bool:
    brands = data[16 : int.from_bytes(data[:4], "big")]
    return _is_iso(data) and data[8:12] in _HEIC_BRANDS and b"avif" not in brands


def _with_codes(decoded: _Decoded, file: _File, codes: tuple[int, int] | None) -> _Decoded:
    """Heed the colours that a file states by code points, where it has no profile that was heeded."""
    if codes is None or not file.managed:
        return decoded
    if codes[1] in HDR:
        raise _hdr(file.name, HDR[codes[1]])
    colors = colors_of_codes(*codes)
    if colors is None:
        unknown = f"{file.name}: its colour space ({codes[0]}, {codes[1]}) is not known; it is taken as sRGB"
        return replace(decoded, notices=(*decoded.notices, unknown))
    return decoded if colors.is_srgb else replace(decoded, colors=colors)


def _hdr(name: str, kind: str) -> ValueError:
    return ValueError(f"{name} is a {kind} picture; convert it to SDR first (tone mapping is not ours)")


# -- PNG ----------------------------------------------------------------------------------------------------------


def _decode_png(file: _File) -> _Decoded:
    try:
        png = read_png(file.data)
    except Exception as error:
        raise file.damage(error) from None
    bare = replace(file, data=png.data)
    image = _open(bare)
    file.require_size(*image.size)
    image.info["icc_profile"] = png.profile
    image.info["exif"] = png.exif
    orientation = _orientation(png.exif) if png.exif else png.orientation
    notices = _frames_notice(png.frames, file.name)
    if png.bad_profile and file.managed:
        notices += (f"{file.name}: its colour profile is damaged; its colours are taken as sRGB",)
    if png.data[24:25] == b"\x10":
        decoded = _decode_png_16(png, image, bare, orientation)
    else:
        decoded = _decode_image(image, bare, orientation)
    if file.managed and png.colors is not None and not png.colors.is_srgb:
        decoded = replace(decoded, colors=png.colors)
    return _with_codes(replace(decoded, notices=notices + decoded.notices), file, png.codes)


def _decode_png_16(png: Png, image: Image.Image, file: _File, orientation: object) -> _Decoded:
    """Decode with OpenCV: Pillow reads colour at 8 bits."""
    try:
        image.verify()  # OpenCV returns half a file as if it were whole
        with quiet_libraries():
            decoded = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception as error:
        raise file.damage(error) from None
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError(f"{file.name} is damaged: its 16-bit pixels cannot be decoded")
    if decoded.ndim == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    samples: Samples = _upright(decoded.view(np.uint16), orientation)
    return _with_profile(_split_alpha(samples), png.profile, file)


def _with_profile(decoded: _Decoded, profile: bytes | None, file: _File) -> _Decoded:
    """Give samples of 16 bits the profile that they are to be converted by."""
    if not profile or not file.managed:
        return decoded
    _require_sdr(profile, file.name)
    return decoded if is_srgb(profile) else replace(decoded, profile=profile)


def _require_sdr(profile: bytes, name: str) -> None:
    kind = hdr_of(profile)
    if kind is not None:
        raise _hdr(name, kind)


# -- TIFF ---------------------------------------------------------------------------------------------------------


def _decode_tiff(file: _File) -> _Decoded:
    try:
        tags = read_directory(file.data)
        file.require_size(*size_of(tags))
        tiff = read_tiff(file.data, tags)
    except Exception as error:
        raise error if str(error).startswith(file.name) else file.damage(error) from None
    notices = _frames_notice(count_pages(file.data, _MOST_FRAMES + 1), file.name)
    if tiff is None:
        image = _open(file)
        file.require_size(*image.size)
        decoded = _decode_image(image, file)
        return replace(decoded, notices=notices + decoded.notices)
    orientation = tags.get(274, 1)
    profile = tags.get(34675)
    profile = profile if isinstance(profile, bytes) else None
    alpha = None if tiff.alpha is None else _upright(tiff.alpha, orientation)
    if tiff.samples.dtype == np.uint16 and not tiff.is_cmyk:
        decoded = _with_profile(_Decoded(_upright(tiff.samples, orientation), alpha), profile, file)
    else:
        eight = tiff.samples if tiff.samples.dtype == np.uint8 else (tiff.samples // 256).astype(np.uint8)
        image = Image.fromarray(eight, "CMYK") if tiff.is_cmyk else Image.fromarray(eight)
        color, told = _to_srgb(image, profile, file) if file.managed else (image.convert("RGB"), ())
        decoded, notices = _Decoded(_upright(np.asarray(color), orientation), alpha), notices + told
    return replace(decoded, notices=notices + decoded.notices)


# -- whatever Pillow reads ----------------------------------------------------------------------------------------


def _open(file: _File) -> Image.Image:
    """Read a file's header, with no pixel decoded."""
    if _is_heic(file.data):
        return _open_heic(file)
    try:
        image = _identify(file.data)
    except Exception as error:
        try:
            image = _identify(_without_metadata(file.data))
        except Exception:
            raise file.damage(error) from None
    if image is None:
        known = "JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP, PPM, JPEG 2000 or HEIC"
        suffix = Path(file.name).suffix.lower()
        remedy = "; for a clip there is `hpbnet video`" if suffix in _CLIPS else ""
        remedy = "; a raw photo must be developed first" if suffix in RAW_SUFFIXES else remedy
        raise ValueError(f"{file.name} is no picture that can be read ({known}){remedy}")
    return image


def _identify(data: bytes) -> Image.Image | None:
    """Have the one format that the first bytes are of read the header; None where there is none.

    `Image.open` refuses large pictures by a limit of the whole process, and takes every error for another format.
    """
    Image.init()
    for format in _FORMATS:
        factory, accepts = Image.OPEN.get(format, (None, None))
        if factory is not None and accepts is not None and accepts(data[:16]) is True:
            return factory(io.BytesIO(data), "")
    return None


def _without_metadata(data: bytes) -> bytes:
    """Leave out what a header may be refused for without need."""
    if data.startswith(b"\xff\xd8"):
        return strip_jpeg(data)
    return data.replace(b"Exif", b"free") if _is_iso(data) else data  # the item's type, which a decoder then ignores


def _open_heic(file: _File) -> Image.Image:
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise ValueError(f"{file.name} is a HEIC picture: install the extra with pip install 'hpbnet[heif]'") from None
    try:
        picture = open_heif(io.BytesIO(file.data))
        size = picture.size
    except Exception as error:
        raise file.damage(error) from None
    file.require_size(*size)
    try:
        image: Image.Image = picture.to_pillow()
        return image
    except Exception as error:
        raise file.damage(error) from None


def _decode_image(image: Image.Image, file: _File, orientation: object = None) -> _Decoded:
    with quiet():
        try:
            image.load()
            color, alpha, labels = _split_image(image, file.name)
        except Exception as error:
            raise error if str(error).startswith(file.name) else file.damage(error) from None
        if orientation is None:
            orientation = _orientation_of(image)  # after loading: a TIFF is turned upright by that
        notices = _frame_notices(image, file)
        if image.mode.startswith("I"):
            return _Decoded(_upright(np.asarray(color).astype(np.uint16), orientation), notices=notices)
        if file.managed:
            color, told = _to_srgb(color, image.info.get("icc_profile"), file)
            notices += told
        elif color.mode == "CMYK":
            color = color.convert("RGB")
        samples = _upright(np.asarray(color), orientation)
        alpha_samples = None if alpha is None else _upright(np.asarray(alpha), orientation)
    return _Decoded(samples, alpha_samples, notices=notices, labels=labels)


def _split_image(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, bool]:
    """Split into colour of mode L, RGB, CMYK or I;16, and alpha of mode L; and tell whether a palette has colours."""
    if image.mode == "I" and image.format == "PPM":  # 16 bits
        return image, None, False
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise ValueError(f"{name} has pixels of mode {image.mode}, whose range is not known; convert it to RGB")
    labels = image.mode in ("P", "PA") and _is_tinted(image)
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        alpha = image.convert("RGBA").getchannel("A")
        straight = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        return straight.convert("L" if grey else "RGB"), alpha, labels
    if image.mode in ("L", "RGB", "CMYK") or image.mode.startswith("I;16"):
        return image, None, labels
    return image.convert("L" if image.mode == "1" else "RGB"), None, labels


def _is_tinted(image: Image.Image) -> bool:
    """Tell whether the colours of its palette that an image has pixels of are other than greys."""
    palette = np.array(image.getpalette("RGB") or [], int).reshape(-1, 3)
    used = palette[np.flatnonzero(image.histogram()[: len(palette)])]
    return bool(np.ptp(used, axis=1).max(initial=0) > _TINT)


def _to_srgb(image: Image.Image, profile: bytes | None, file: _File) -> tuple[Image.Image, tuple[str, ...]]:
    notices: tuple[str, ...] = ()
    if profile and not is_srgb(profile):
        _require_sdr(profile, file.name)
        try:
            return image_to_srgb(image, profile), ()
        except ValueError as error:
            notices = (f"{file.name}: {error}; its colours are taken as sRGB",)
    elif image.mode == "CMYK":
        notices = (f"{file.name} is CMYK without a profile: its colours are approximate",)
    return (image.convert("RGB") if image.mode == "CMYK" else image), notices


def _frame_notices(image: Image.Image, file: _File) -> tuple[str, ...]:
    if image.format == "GIF" and file.data:
        return _frames_notice(count_gif_frames(file.data, _MOST_FRAMES + 1), file.name)
    counted = image.format == "TIFF" and file.data  # already
    if image.format == "MPO" or counted:  # a phone's MPO holds previews and depth
        return ()
    try:
        return _frames_notice(int(getattr(image, "n_frames", 1)), file.name)
    except Exception:  # the first frame is whole, whatever follows
        return ()


def _frames_notice(frames: int, name: str) -> tuple[str, ...]:
    told = str(frames) if frames <= _MOST_FRAMES else f"more than {_MOST_FRAMES}"
    return (f"{name} has {told} frames; the first is used",) if frames > 1 else ()


def _orientation_of(image: Image.Image) -> object:
    """Read a loaded image's orientation; 1 where its metadata cannot be read."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1


def _orientation(exif: bytes) -> object:
    """Read the orientation from Exif data; 1 where it cannot be read."""
    tags = Image.Exif()
    try:
        tags.load(exif)
        return tags.get(_ORIENTATION, 1)
    except Exception:
        return 1


def _upright(samples: Samples, orientation: object) -> Samples:
    """Undo the camera's orientation [Exif 2.32, tag 0x0112]; what is none of its eight values changes nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples
