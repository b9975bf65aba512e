"""From a file's bytes to upright samples, each format in its own way, with no words of a library's."""

from dataclasses import replace

import cv2
import numpy as np
from PIL import Image

from .decoded import (
    MOST_FRAMES,
    Decoded,
    File,
    frames_notice,
    orientation_in,
    split_alpha,
    to_srgb,
    upright,
    with_codes,
    with_profile,
)
from .inspect import color_codes, is_raw, is_tiff
from .picture import Samples
from .pillow import decode_image, is_iso, open_image, require_few_scans
from .png import SIGNATURE, Png, read_png
from .quiet import quiet, quiet_libraries
from .tiff import count_pages, read_directory, read_tiff, size_of

_MOST_BYTES = 8  # of a TIFF's pixel: four samples of 16 bits, and more of a smaller picture


def decode_file(file: File) -> Decoded:
    """Decode a file's first picture.

    Raises:
        ValueError: it is not a picture, is damaged, too large, takes too long, is HDR, or a raw photo.
    """
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
        image = open_image(file)
        file.require_size(*image.size)
        if file.data.startswith(b"\xff\xd8"):
            require_few_scans(file, image)
        codes = color_codes(file.data) if is_iso(file.data) else None
        return with_codes(decode_image(image, file), file, codes, "icc_profile" in image.info)


def _decode_png(file: File) -> Decoded:
    try:
        png = read_png(file.data)
    except Exception as error:
        raise file.damage(error) from None
    bare = replace(file, data=png.data)
    image = open_image(bare)
    file.require_size(*image.size)
    image.info["icc_profile"] = png.profile
    image.info["exif"] = png.exif
    orientation = orientation_in(png.exif) if png.exif else png.orientation
    notices = frames_notice(png.frames, file.name)
    if png.bad_profile and file.managed:
        notices += (f"{file.name}: its colour profile is damaged; its colours are taken as sRGB",)
    if png.data[24:25] == b"\x10":
        decoded = _decode_png_16(png, image, bare, orientation)
    else:
        decoded = decode_image(image, bare, orientation)
    if file.managed and png.colors is not None and not png.colors.is_srgb:
        decoded = replace(decoded, colors=png.colors)
    return with_codes(replace(decoded, notices=notices + decoded.notices), file, png.codes)


def _decode_png_16(png: Png, image: Image.Image, file: File, orientation: object) -> Decoded:
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
    samples: Samples = upright(decoded.view(np.uint16), orientation)
    return with_profile(split_alpha(samples), png.profile, file)


def _decode_tiff(file: File) -> Decoded:
    try:
        tags = read_directory(file.data)
        file.require_size(*size_of(tags))
        tiff = read_tiff(file.data, tags, _MOST_BYTES * file.max_pixels)
    except Exception as error:
        raise error if str(error).startswith(file.name) else file.damage(error) from None
    notices = frames_notice(count_pages(file.data, MOST_FRAMES + 1), file.name)
    if tiff is None:
        image = open_image(file)
        file.require_size(*image.size)
        decoded = decode_image(image, file)
        return replace(decoded, notices=notices + decoded.notices)
    orientation = tags.get(274, 1)
    profile = tags.get(34675)
    profile = profile if isinstance(profile, bytes) else None
    alpha = None if tiff.alpha is None else upright(tiff.alpha, orientation)
    if tiff.samples.dtype == np.uint16 and not tiff.is_cmyk:
        decoded = with_profile(Decoded(upright(tiff.samples, orientation), alpha), profile, file)
    else:
        eight = tiff.samples if tiff.samples.dtype == np.uint8 else (tiff.samples // 256).astype(np.uint8)
        image = Image.fromarray(eight, "CMYK") if tiff.is_cmyk else Image.fromarray(eight)
        color, told = to_srgb(image, profile, file) if file.managed else (image.convert("RGB"), ())
        decoded, notices = Decoded(upright(np.asarray(color), orientation), alpha), notices + told
    return replace(decoded, notices=notices + decoded.notices)
