"""Read a picture from a file, bytes, a PIL image, an array or a tensor.

Every file is judged by its header before a pixel is decoded. What the eye should know (first frame only, a profile that
could not be used) is returned as notices; what cannot be read is one ValueError. Metadata never costs the pixels: what
is damaged of it is left out.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .decode import decode_file
from .decoded import Decoded, File, split_alpha
from .picture import NamedBytes, Picture, Samples, Source, greatest, to_planes
from .pillow import decode_image
from .profile import planes_to_srgb

MAX_PIXELS = 100_000_000  # 1.2 GB as floats

_LEAST_MASK = 0.5  # a mask that nowhere exceeds it shows nobody


def read_picture(source: Source | Picture, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture as float32 sRGB planes, upright, with its alpha where it has one.

    Args:
        source: a path, the bytes of a file, a PIL image, an RGB array [H,W], [H,W,3] or [H,W,4] of uint8, uint16 or
            floats in [0,1], or a tensor [C,H,W] or [1,C,H,W] of the same values, with 1, 3 or 4 channels.
        max_pixels: files of more are refused before a pixel is decoded.

    Raises:
        ValueError: the source is not a picture, is damaged, too large, HDR, or a raw photo.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Picture):
        return source
    try:
        return _to_picture(_decode(source, True, max_pixels), _name(source))
    except MemoryError:
        raise ValueError(f"{_name(source)} does not fit into the memory") from None


def _to_picture(decoded: Decoded, name: str) -> Picture:
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
    if isinstance(source, NamedBytes):
        return source.name
    kinds = {bytes: "the data", np.ndarray: "the array", Tensor: "the tensor"}
    return kinds.get(type(source), "the image")


def _decode(source: Source, managed: bool, max_pixels: int) -> Decoded:
    if isinstance(source, Tensor):
        return _decode_array(_interleaved(source))
    if isinstance(source, np.ndarray):
        return _decode_array(source)
    if isinstance(source, Image.Image):
        return decode_image(source, File(b"", _name(source), managed, max_pixels))
    if not isinstance(source, bytes | str | Path):
        kinds = "a path, bytes, a PIL image, a numpy array or a tensor"
        raise ValueError(f"a picture is given as {kinds}, not as {type(source).__name__}")
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    return decode_file(File(data, _name(source), managed, max_pixels))


def _interleaved(tensor: Tensor) -> NDArray[np.generic]:
    """Turn a tensor [C,H,W] or [1,C,H,W] into an array [H,W,C]."""
    planes = tensor[0] if tensor.ndim == 4 and tensor.shape[0] == 1 else tensor
    if planes.ndim != 3 or planes.shape[0] not in (1, 3, 4):
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} is not a picture; expected [C,H,W] or [1,C,H,W]")
    array: NDArray[np.generic] = planes.detach().cpu().permute(1, 2, 0).numpy()
    return array[:, :, 0] if planes.shape[0] == 1 else array


def _decode_array(array: NDArray[np.generic]) -> Decoded:
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ValueError(f"an array of shape {array.shape} is not a picture; expected [H,W], [H,W,3] or [H,W,4]")
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
        raise ValueError(f"an array of {array.dtype} is not a picture; expected uint8, uint16, bool or floats in [0,1]")
    return split_alpha(samples)
