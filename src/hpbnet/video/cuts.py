"""Cuts: whether a frame follows the one before it, or a new scene begins.

A cut changes almost every pixel of a thumbnail at once; motion, even of the camera, changes it little from one frame to
the next. Where the change is in between, the colours there are (histogram) must have changed, too.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .pixels import Pixels, resize

THUMBNAIL = (48, 32)  # width and height [px]
_BINS = 8  # of a histogram over each channel
_SURE = 35.0  # of 255: a mean change of the pixels that only a cut makes; a camera walking at night reaches 12
_LEAST_DIFFERENCE, _LEAST_HISTOGRAM = 20.0, 0.25  # the two together are a cut, too; the second a share of the pixels


def thumbnail(pixels: Pixels) -> Pixels:
    """Reduce a frame [H,W,3] to what cuts are judged on."""
    step = max(1, min(pixels.shape[0] // (2 * THUMBNAIL[1]), pixels.shape[1] // (2 * THUMBNAIL[0])))
    return resize(pixels[::step, ::step], THUMBNAIL)


def is_cut(before: Pixels, after: Pixels) -> bool:
    """Tell whether a new scene begins between two thumbnails."""
    difference = float(cv2.absdiff(before, after).mean())
    if difference < _LEAST_DIFFERENCE or difference > _SURE:
        return difference > _SURE
    return _histogram_distance(before, after) > _LEAST_HISTOGRAM


def _histogram_distance(before: Pixels, after: Pixels) -> float:
    """Share of pixels, on average over the channels, that would have to change their bin."""
    distances = [
        np.abs(_histogram(before[:, :, channel]) - _histogram(after[:, :, channel])).sum() / 2 for channel in range(3)
    ]
    return float(np.mean(distances))


def _histogram(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    counts = np.bincount((plane >> 5).ravel(), minlength=_BINS)
    return np.convolve(counts / plane.size, (0.25, 0.5, 0.25), "same")  # a small change of light must not jump a bin
