"""Read and write pictures: files, bytes, PIL images, arrays and tensors in; files and bytes out.

Knows file formats, orientation, colour profiles and bit depth. Inside the package a picture is float32 [1,3,H,W] sRGB.
"""

from ..files import write_bytes
from .picture import Picture, Source
from .read import MAX_PIXELS, read_mask, read_picture
from .write import FORMATS, encode_picture, format_of, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Picture",
    "Source",
    "encode_picture",
    "format_of",
    "read_mask",
    "read_picture",
    "write_bytes",
    "write_picture",
]
