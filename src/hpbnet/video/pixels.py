"""Frames as arrays of 8-bit pixels, resized quickly."""

from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Array = TypeVar("Array", Pixels, Floats)


def resize(image: Array, size: tuple[int, int], way: int = cv2.INTER_AREA) -> Array:
    """Resize [H,W] or [H,W,C] to a width and height [px], by area averaging unless told otherwise."""
    return cast(Array, cv2.resize(image, size, interpolation=way))


def shrink(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce [H,W,3] to a width and height [px], three times as fast: by whole pixels first, then linearly."""
    height, width = image.shape[:2]
    whole = min(width // size[0], height // size[1])
    while whole > 1 and (width % whole or height % whole):
        whole -= 1
    if whole == 1 and (width > 1.5 * size[0] or height > 1.5 * size[1]):
        return resize(image, size)
    image = resize(image, (width // whole, height // whole)) if whole > 1 else image
    return resize(image, size, cv2.INTER_LINEAR)


def greatest(image: NDArray[np.generic] | cv2.typing.MatLike) -> Pixels:
    """Return the greatest of the three channels of [H,W,3] 8-bit pixels -> [H,W]."""
    red, green, blue = cv2.split(cast(Pixels, image))
    return cast(Pixels, cv2.max(cv2.max(red, green), blue))


def to_unit(pixels: Pixels) -> Floats:
    """Turn bytes into values in [0,1]."""
    return pixels.astype(np.float32) * np.float32(1 / 255)
