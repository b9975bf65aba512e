"""Where a clip's frames lie on the canvas of the result, on 8-bit pixels.

Knows geometry only. A framing is decided once and kept, or the person would swim.
"""

from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..affine_grid import Window
from ..framing import Framing, plan_placement
from ..image.picture import to_planes, to_samples
from ..layers import fit_background
from .pixels import Array, Floats, Pixels, resize


@dataclass(frozen=True)
class FrameWindow:
    """Where a whole frame lies on the canvas."""

    canvas: tuple[int, int]  # height and width [px]
    target: tuple[float, float, float, float]  # top, left, bottom, right [px] of the canvas; may reach beyond it
    flip: bool = False
    notices: tuple[str, ...] = ()  # what the eye should know of it

    def map(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the 2x3 map from the pixels of a frame of `size` (height, width) to those of the canvas."""
        top, left, bottom, right = self.target
        down, across = (bottom - top) / size[0], (right - left) / size[1]
        if self.flip:
            return np.array([[-across, 0, right - across / 2 - 0.5], [0, down, top + down / 2 - 0.5]])
        return np.array([[across, 0, left + across / 2 - 0.5], [0, down, top + down / 2 - 0.5]])

    def draw(self, image: Array, window: Window) -> Array:
        """Draw a frame, or a smaller picture of it, into a window of the canvas; black or 0 outside it."""
        top, left, bottom, right = window
        height, width = image.shape[:2]
        if not self.flip and self.target == (0, 0, height, width) and bottom <= height and right <= width:
            return image[top:bottom, left:right]
        tall, wide = round(self.target[2] - self.target[0]), round(self.target[3] - self.target[1])
        if 0 < tall < height and 0 < wide < width:
            image = resize(image, (wide, tall))
        move = self.map(image.shape[:2])
        move[:, 2] -= left, top
        size = right - left, bottom - top
        return cast(Array, cv2.warpAffine(image, move, size, flags=cv2.INTER_LINEAR))

    def part(self, region: Window, size: tuple[int, int]) -> "FrameWindow":
        """Return where a part [px] of frames of `size` (height, width) lies."""
        top, left, bottom, right = self.target
        down, across = (bottom - top) / size[0], (right - left) / size[1]
        first, last = (size[1] - region[3], size[1] - region[1]) if self.flip else (region[1], region[3])
        target = top + region[0] * down, left + first * across, top + region[2] * down, left + last * across
        return FrameWindow(self.canvas, target, self.flip)

    def scaled(self, height: int, width: int) -> "FrameWindow":
        """Return the same framing on a canvas of another size."""
        down, across = height / self.canvas[0], width / self.canvas[1]
        top, left, bottom, right = self.target
        return FrameWindow((height, width), (top * down, left * across, bottom * down, right * across), self.flip)


def frame_window(
    alpha: Floats,  # [h,w] of the first frame with a person
    size: tuple[int, int],  # of the clip's frames, height and width [px]
    canvas: tuple[int, int],  # height and width [px]
    framing: Framing,
    still: bool,
) -> FrameWindow:
    """Decide where frames lie: a clip as it was filmed, over the canvas' full height; a still as `compose` would.

    The user's scale, x and y are about the person that the alpha shows.
    """
    if not still and framing.scale is framing.x is framing.y is None:
        wide = round(size[1] * canvas[0] / size[0])
        left = (canvas[1] - wide) // 2
        return FrameWindow(canvas, (0, left, canvas[0], left + wide), framing.flip)
    full = resize(alpha, size[::-1], cv2.INTER_LINEAR)
    blank = torch.empty(1, 1, 1, 1).expand(1, 3, *canvas)
    placement, notices = plan_placement(torch.from_numpy(full)[None, None], blank, framing)
    source, target = placement.source, placement.target
    down = (target[2] - target[0]) / (source[2] - source[0])
    across = (target[3] - target[1]) / (source[3] - source[1])
    top, left = round(target[0] - source[0] * down), round(target[1] - source[1] * across)
    target = top, left, top + round(size[0] * down), left + round(size[1] * across)
    return FrameWindow(canvas, target, framing.flip, notices)


def fit_scene(pixels: Pixels, canvas: tuple[int, int], fit: Literal["cover", "contain"], blur: float) -> Pixels:
    """Make a canvas of a background frame, as `layers.fit_background` does."""
    height, width = pixels.shape[:2]
    if blur == 0 and (height, width) == canvas:
        return pixels
    if blur > 0 or fit == "contain":
        return cast(Pixels, to_samples(fit_background(to_planes(pixels), canvas[::-1], fit, blur)))
    scale = max(canvas[0] / height, canvas[1] / width)
    tall, wide = max(canvas[0], round(height * scale)), max(canvas[1], round(width * scale))
    top, left = (tall - canvas[0]) // 2, (wide - canvas[1]) // 2
    whole = resize(pixels, (wide, tall), cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.ascontiguousarray(whole[top : top + canvas[0], left : left + canvas[1]])
