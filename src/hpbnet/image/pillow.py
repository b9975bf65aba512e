"""Pictures that Pillow reads, and HEIC by its extra: the header first, then the pixels."""

import io
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import missing_extra
from .decoded import MOST_FRAMES, Decoded, File, frames_notice, to_srgb, upright
from .inspect import RAW_SUFFIXES, count_gif_frames, count_scans, strip_jpeg
from .quiet import quiet

_PLUGINS = {  # of Pillow, imported in this order until one knows the file: to import all takes a tenth of a second
    "JPEG": "Jpeg",
    "PNG": "Png",
    "WEBP": "WebP",
    "AVIF": "Avif",
    "GIF": "Gif",
    "BMP": "Bmp",
    "PPM": "Ppm",
    "JPEG2000": "Jpeg2K",
    "TIFF": "Tiff",
}
_CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
_ORIENTATION = 0x0112  # the Exif tag
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_USUAL_SCANS, _MOST_SCANS = 12, 100  # of a JPEG; cameras and optimizers write up to a dozen
_MOST_WORK = 1_000_000_000  # scans times pixels, which take some 4 s
_TINT = 8  # of 255; a palette of greys has less


def open_image(file: File) -> Image.Image:
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
        raise ValueError(f"{file.name} is not a picture that can be read ({known}){remedy}")
    return image


def _identify(data: bytes) -> Image.Image | None:
    """Have the one format that the first bytes are of read the header; None where there is none.

    `Image.open` refuses large pictures by a limit of the whole process, and takes every error for another format.
    """
    for format, plugin in _PLUGINS.items():
        import_module(f"PIL.{plugin}ImagePlugin")
        factory, accepts = Image.OPEN.get(format, (None, None))
        if factory is not None and accepts is not None and accepts(data[:16]) is True:
            return factory(io.BytesIO(data), "")
    return None


def _without_metadata(data: bytes) -> bytes:
    """Leave out what a header may be refused for without need."""
    if data.startswith(b"\xff\xd8"):
        return strip_jpeg(data)
    return data.replace(b"Exif", b"free") if is_iso(data) else data  # the item's type, which a decoder then ignores


def _open_heic(file: File) -> Image.Image:
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise missing_extra("HEIC pictures", "pillow-heif", "heif") from None
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


def is_iso(data: bytes) -> bool:
    """Tell whether a file is of the family of AVIF and HEIC."""
    return data[4:8] == b"ftyp"


def _is_heic(data: bytes) -> bool:
    brands = data[16 : int.from_bytes(data[:4], "big")]
    return is_iso(data) and data[8:12] in _HEIC_BRANDS and b"avif" not in brands


def require_few_scans(file: File, image: Image.Image) -> None:
    """Refuse a JPEG whose many passes over a large picture would take more than some seconds."""
    if file.data.count(b"\xff\xda") <= _USUAL_SCANS:  # quickly, and never too few
        return
    scans = count_scans(file.data)
    if scans > _MOST_SCANS or (scans > _USUAL_SCANS and scans * image.width * image.height > _MOST_WORK):
        size = f"{image.width}x{image.height} px"
        raise ValueError(f"{file.name} has {scans} scans of {size}, which would take too long; save it anew")


def decode_image(image: Image.Image, file: File, orientation: object = None) -> Decoded:
    """Decode an opened image; the orientation is its own metadata's where none is given."""
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
            return Decoded(upright(np.asarray(color).astype(np.uint16), orientation), notices=notices)
        if file.managed:
            color, told = to_srgb(color, image.info.get("icc_profile"), file)
            notices += told
        elif color.mode == "CMYK":
            color = color.convert("RGB")
        samples = upright(np.asarray(color), orientation)
        alpha_samples = None if alpha is None else upright(np.asarray(alpha), orientation)
    return Decoded(samples, alpha_samples, notices=notices, labels=labels)


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


def _frame_notices(image: Image.Image, file: File) -> tuple[str, ...]:
    if image.format == "GIF" and file.data:
        return frames_notice(count_gif_frames(file.data, MOST_FRAMES + 1), file.name)
    counted = image.format == "TIFF" and file.data  # already
    if image.format == "MPO" or counted:  # a phone's MPO holds previews and depth
        return ()
    try:
        return frames_notice(int(getattr(image, "n_frames", 1)), file.name)
    except Exception:  # the first frame is whole, whatever follows
        return ()


def _orientation_of(image: Image.Image) -> object:
    """Read a loaded image's orientation; 1 where its metadata cannot be read."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
