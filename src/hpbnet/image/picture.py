"""A picture as the package holds it, and its fast conversion from and to interleaved integers."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Samples = NDArray[np.uint8 | np.uint16 | np.float32]
Source = str | Path | bytes | Image.Image | NDArray[np.generic] | Tensor

_BAND_BYTES = 1 << 20  # a band's integers and floats then stay in the processor's cache


class NamedBytes(bytes):
    """The bytes of a file, and the name by which errors and notices call it."""

    name: str

    def __new__(cls, data: bytes, name: str) -> "NamedBytes":
        """Give bytes a name."""
        named = super().__new__(cls, data)
        named.name = name
        return named


@dataclass(frozen=True)
class Picture:
    """Pixels, and what was learned about them while reading."""

    pixels: Tensor  # [1,3,H,W] sRGB in [0,1]
    alpha: Tensor | None = None  # [1,1,H,W] straight; None where everything is opaque
    depth: int = 8  # [bit] per channel in the source, 8 or 16
    notices: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.pixels.shape[-2:]
        return height, width


def greatest(samples: Samples) -> int:
    """Tell which value of these samples stands for 1."""
    return {1: 255, 2: 65535}.get(samples.itemsize, 1)


def to_planes(
    samples: Samples,  # [H,W] or [H,W,C]
) -> Tensor:  # [1,C,H,W]
    """Turn interleaved samples into float32 planes; integers are divided by their greatest value."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    height, width, channels = samples.shape
    planes = np.empty((channels, height, width), np.float32)
    one = np.float32(greatest(samples))
    rows = max(1, _BAND_BYTES // (width * channels * samples.itemsize))
    for top in range(0, height, rows):
        band = np.ascontiguousarray(samples[top : top + rows])
        for channel, plane in enumerate(cv2.split(band)):
            np.divide(plane, one, out=planes[channel, top : top + rows])
    return torch.from_numpy(planes)[None]


def to_samples(
    planes: Tensor,  # [1,C,H,W] in [0,1]
    depth: int = 8,
) -> Samples:  # [H,W,C]
    """Round float planes to interleaved integers of 8 or 16 bits; values outside [0,1] are clipped."""
    arrays: NDArray[np.float32] = planes[0].detach().float().cpu().numpy()
    channels, height, width = arrays.shape
    samples: Samples = np.empty((height, width, channels), np.uint8 if depth == 8 else np.uint16)
    one, kind = float(greatest(samples)), cv2.CV_8U if depth == 8 else cv2.CV_16U
    rows = max(1, _BAND_BYTES // (width * channels * arrays.itemsize))
    for top in range(0, height, rows):
        band = [cv2.multiply(plane[top : top + rows], np.array([one]), dtype=kind) for plane in arrays]
        samples[top : top + rows] = cv2.merge(band).reshape(-1, width, channels)
    return samples
