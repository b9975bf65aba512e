"""Colour profiles: from whatever a picture was saved in to sRGB."""

import functools
import io
import struct

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from .colors import HDR, colors_of_profile, profile_tags
from .picture import to_planes

_BAND_ROWS = 128
_DATE = slice(24, 36)  # of a profile's making, in its header [ICC.1:2022, 7.2]
_A_DAY = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@functools.cache
def srgb_profile() -> bytes:
    """Return the sRGB profile that is written into every picture, the same bytes on every day."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[: _DATE.start] + _A_DAY + profile[_DATE.stop :]


@functools.lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Tell whether a profile's curves and primaries are sRGB's."""
    colors = colors_of_profile(profile)
    return colors is not None and colors.is_srgb


@functools.lru_cache(maxsize=8)
def hdr_of(profile: bytes) -> str | None:
    """Name the kind of HDR that a profile stands for, by its code points or its curve; None for SDR."""
    try:
        codes = profile_tags(profile).get(b"cicp", b"")
    except (ValueError, struct.error):
        return None
    if len(codes) >= 12 and codes[9] in HDR:
        return HDR[codes[9]]
    colors = colors_of_profile(profile)
    return HDR[16] if colors is not None and colors.is_hdr else None


def image_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an 8-bit image of mode L, RGB or CMYK to sRGB.

    Raises:
        ValueError: the profile is broken, or is for another kind of picture.
    """
    if image.mode == "L" and profile[16:20] == b"RGB ":
        image = image.convert("RGB")
    try:
        with io.BytesIO(profile) as source, io.BytesIO(srgb_profile()) as target:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(source),
                ImageCms.ImageCmsProfile(target),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"its colour profile cannot be used ({reason})") from None
    assert converted is not None  # only `inPlace` returns nothing
    return converted


def planes_to_srgb(
    planes: Tensor,  # [1,3,H,W] in the profile's own space
    profile: bytes,
) -> Tensor:  # [1,3,H,W] sRGB
    """Convert float planes by the profile's curves and matrix, or where it is a table, through the colour engine.

    Raises:
        ValueError: the profile is broken, or is for another kind of picture.
    """
    colors = colors_of_profile(profile)
    if colors is not None:
        return colors.to_srgb(planes)
    return torch.cat([_through_engine(band, profile) for band in planes.split(_BAND_ROWS, dim=2)], dim=2)


def _through_engine(band: Tensor, profile: bytes) -> Tensor:
    """Interpolate between the engine's answers for the eight 8-bit colours around each: it converts 8 bits only."""
    scaled = band[0].permute(1, 2, 0) * 255  # [h,W,3]
    low = scaled.floor().clamp(0, 254)
    fraction = scaled - low
    result = torch.zeros_like(band)
    for corner in np.ndindex(2, 2, 2):
        step = torch.tensor(corner, dtype=low.dtype)
        weight = (1 - step - fraction).abs().prod(dim=2)  # [h,W]
        image = Image.fromarray((low + step).to(torch.uint8).numpy())
        result += weight * to_planes(np.asarray(image_to_srgb(image, profile)))
    return result
