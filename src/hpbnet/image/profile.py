"""Colour profiles: from whatever a picture was saved in to sRGB."""

import functools
import io
import struct

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor
from torch.nn.functional import grid_sample

_LATTICE = 52  # nodes along each axis of the table that carries a profile to 16-bit pictures: every fifth of 256
_BAND_ROWS = 128
_DATE = slice(24, 36)  # of a profile's making, in its header [ICC.1:2022, 7.2]
_A_DAY = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@functools.cache
def srgb_profile() -> bytes:
    """Return the sRGB profile that is written into every picture, the same bytes on every day."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[: _DATE.start] + _A_DAY + profile[_DATE.stop :]


def is_srgb(profile: bytes) -> bool:
    """Tell whether a profile is one of the many copies of sRGB, by its description."""
    with io.BytesIO(profile) as file:
        try:
            return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(file)).lower()
        except (ImageCms.PyCMSError, OSError):
            return False


def image_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an 8-bit image of mode L, RGB or CMYK to sRGB.

    Raises:
        ValueError: the profile is broken, or is for another kind of picture.
    """
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
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(f"its colour profile cannot be used ({error})") from None
    assert converted is not None  # only `inPlace` returns nothing
    return converted


def planes_to_srgb(
    planes: Tensor,  # [1,3,H,W] in the profile's own space
    profile: bytes,
) -> Tensor:  # [1,3,H,W] sRGB
    """Convert float planes through a table of the profile.

    The colour engine at hand converts 8 bits only. A table of its answers, interpolated, has no steps between nodes:
    what is left is an error that varies slowly (Display P3, Adobe RGB: below 1/255), not banding.
    """
    table = image_to_srgb(Image.fromarray(_lattice()), profile)
    volume = np.asarray(table, np.float32).reshape(_LATTICE, _LATTICE, _LATTICE, 3) / np.float32(255)  # r, g, b order
    nodes = torch.from_numpy(volume).permute(3, 0, 1, 2)[None]
    bands = []
    for band in planes.split(_BAND_ROWS, dim=2):
        at = band.permute(0, 2, 3, 1).flip(-1)[:, None] * 2 - 1  # grid_sample wants the last axis (b) first
        bands.append(grid_sample(nodes, at, align_corners=True, padding_mode="border")[:, :, 0])
    return torch.cat(bands, dim=2)


def _lattice() -> NDArray[np.uint8]:
    """List every node's colour as one image [n*n, n, 3]."""
    axis = np.linspace(0, 255, _LATTICE).astype(np.uint8)
    red, green, blue = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack([red, green, blue], -1).reshape(_LATTICE * _LATTICE, _LATTICE, 3)
