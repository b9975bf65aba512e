"""Layers: a foreground, its alpha and a background, passed through all steps and flattened only at the end.

Knows how layers are resized, recoloured and composited, and how a cut-out is placed on a canvas. Knows nothing of how
an alpha, a colour change or a placement is estimated.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .affine_grid import AffineGrid, Window, empty_like
from .color import linear_to_srgb, srgb_to_linear

_SNAP = 1e-3  # alpha this close to 0 or 1 after resampling is a rounding error and is set to it
_SPARE = 3  # up to this ratio of plane to window, the whole plane is enlarged and cropped; else only the window
_DISC_RADIUS = 8  # [px] of the largest disc that is applied at full size


@dataclass(frozen=True)
class Layers:
    """A foreground over a background."""

    foreground: Tensor  # [B,3,H,W] sRGB in [0,1]
    alpha: Tensor  # [B,1,H,W] straight, in [0,1]
    background: Tensor  # [B,3,H,W] sRGB in [0,1]
    shadow: Tensor | None = None  # [1,1,h,w] opacity of a black layer on the background, reduced; None: there is none

    @property
    def size(self) -> tuple[int, int]:
        """Height and width [px]."""
        height, width = self.alpha.shape[-2:]
        return height, width

    def resize(self, height: int, width: int) -> "Layers":
        """Resize all three, downwards by area averaging; the foreground is averaged premultiplied by alpha."""
        if (height, width) == self.size:
            return self
        if height > self.size[0] or width > self.size[1]:
            background, alpha = _enlarge(self.background, height, width), _enlarge(self.alpha, height, width)
            premultiplied = _enlarge(self.foreground * self.alpha, height, width)
        else:
            premultiplied, alpha, background = _average(self, height, width)
        return Layers(_divide(premultiplied, alpha), alpha, background, self.shadow)

    def recolor(self, grid: AffineGrid) -> "Layers":
        """Recolour the foreground by a grid."""
        return replace(self, foreground=grid.apply(self.foreground, box_of(self.alpha, 0.0)))

    def composite(self) -> Tensor:
        """Flatten to one image [B,3,H,W]: bit-equal to the background where alpha and shadow are 0.

        It is bit-equal to the foreground where alpha is 1. Colours are blended in sRGB, the space in which mattes are
        estimated (docs/experiments/blending.md).
        """
        if torch.is_grad_enabled() and (self.foreground.requires_grad or self.alpha.requires_grad):
            return torch.lerp(self.background, self.foreground, self.alpha)
        flat = torch.lerp(self.background, self.foreground, self.alpha, out=empty_like(self.background))
        if self.shadow is not None:
            opacity, (top, left, bottom, right) = enlarge_shadow(self.shadow, *self.size)
            here = slice(None), slice(None), slice(top, bottom), slice(left, right)
            opacity.addcmul_(opacity, self.alpha[here], value=-1)  # what the person leaves of it
            flat[here].addcmul_(self.background[here], opacity, value=-1)
        return flat

    def full_shadow(self) -> Tensor:
        """Return the shadow's opacity at the layers' size [1,1,H,W]; 0 where there is none."""
        full = torch.from_numpy(np.zeros((1, 1, *self.size), np.float32))
        if self.shadow is not None:
            opacity, (top, left, bottom, right) = enlarge_shadow(self.shadow, *self.size)
            full[:, :, top:bottom, left:right] = opacity
        return full


@dataclass(frozen=True)
class Placement:
    """Where a cut-out is placed: a window of the portrait is drawn into a window of the canvas."""

    source: Window  # [px] of the portrait, after mirroring
    target: Window  # [px] of the canvas; may reach beyond it
    flip: bool = False


def box_of(alpha: Tensor, threshold: float) -> Window:
    """Find the smallest window that contains all alpha above a threshold; (0, 0, 0, 0) if there is none."""
    rows = (alpha.amax(dim=(0, 1, 3)) > threshold).nonzero()
    if not len(rows):
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = (alpha[:, :, top:bottom].amax(dim=(0, 1, 2)) > threshold).nonzero()
    return top, int(columns[0]), bottom, int(columns[-1]) + 1


def enlarge_shadow(shadow: Tensor, height: int, width: int) -> tuple[Tensor, Window]:
    """Enlarge a reduced shadow [1,1,h,w] to a canvas -> the part that is not 0 [1,1,k,l], and where that lies [px]."""
    small = shadow[0, 0].numpy()
    top, left, bottom, right = box_of(shadow, 0.0)
    rows, columns = height / small.shape[0], width / small.shape[1]
    top, left = max(0, int((top - 1) * rows)), max(0, int((left - 1) * columns))
    bottom, right = min(height, int((bottom + 1) * rows)), min(width, int((right + 1) * columns))
    back = np.array([[1 / columns, 0, (left + 0.5) / columns - 0.5], [0, 1 / rows, (top + 0.5) / rows - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(small, back, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(part)[None, None], (top, left, bottom, right)


def place(foreground: Tensor, alpha: Tensor, background: Tensor, placement: Placement) -> Layers:
    """Draw a cut-out [1,3,H,W], [1,1,H,W] onto a canvas: area averaging when reduced, bicubic when enlarged.

    Colours are resampled premultiplied by alpha, so that the photo's background does not bleed in. Outside the target
    window, alpha is 0.
    """
    height, width = background.shape[-2:]
    top, left, bottom, right = placement.target
    seen = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
    canvas = [torch.from_numpy(np.zeros((1, c, height, width), np.float32)) for c in (3, 1)]
    if seen[0] < seen[2] and seen[1] < seen[3]:
        window = seen[0] - top, seen[1] - left, seen[2] - top, seen[3] - left
        part = _crop(alpha, placement)
        colours = _crop(foreground, placement) * part
        size = bottom - top, right - left
        opacity = _resample(part, size, window)
        here = slice(seen[0], seen[2]), slice(seen[1], seen[3])
        canvas[0][:, :, *here] = _divide(_resample(colours, size, window), opacity)
        opacity[opacity < _SNAP] = 0.0
        opacity[opacity > 1 - _SNAP] = 1.0
        canvas[1][:, :, *here] = opacity
    return Layers(canvas[0], canvas[1], background)


def fit_background(
    picture: Tensor,  # [1,3,H,W]
    size: tuple[int, int] | None,  # width and height of the canvas [px]; the picture's own if None
    fit: Literal["cover", "contain"] = "cover",
    blur: float = 0.0,
) -> Tensor:
    """Make a canvas [1,3,height,width] of a background.

    Args:
        picture: the background.
        size: width and height [px]; the picture's own if None.
        fit: "cover" crops it to fill the canvas, "contain" shows all of it on a strongly blurred copy.
        blur: radius of the lens blur [px].
    """
    height, width = picture.shape[-2:]
    wide, tall = size or (width, height)
    canvas = picture
    if (tall, wide) != (height, width):
        canvas = _scaled_into(picture, tall, wide, max(wide / width, tall / height))
        if fit == "contain":
            canvas = lens_blur(canvas, max(tall, wide) / 20)
            inner = _scaled_into(picture, tall, wide, min(wide / width, tall / height))
            top, left = (tall - inner.shape[-2]) // 2, (wide - inner.shape[-1]) // 2
            canvas[..., top : top + inner.shape[-2], left : left + inner.shape[-1]] = inner
    return lens_blur(canvas, blur) if blur > 0 else canvas


def lens_blur(picture: Tensor, radius: float) -> Tensor:
    """Blur like a lens that is out of focus: by a disc, in linear light.

    Args:
        picture: [1,3,H,W] sRGB in [0,1].
        radius: of the disc [px].
    """
    height, width = picture.shape[-2:]
    factor = max(1.0, radius / _DISC_RADIUS)  # a large disc is applied to a reduced picture, for speed
    small = _resample(srgb_to_linear(picture), (max(1, ceil(height / factor)), max(1, ceil(width / factor))))
    reach = ceil(radius / factor)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius / factor + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    planes = [cv2.filter2D(plane.numpy(), -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE) for plane in small[0]]
    blurred = torch.from_numpy(np.stack(planes))[None]
    return linear_to_srgb(_resample(blurred, (height, width))).clamp(0.0, 1.0)


def _scaled_into(picture: Tensor, tall: int, wide: int, scale: float) -> Tensor:
    """Resize by a factor and crop the middle to at most a size."""
    height, width = picture.shape[-2:]
    size = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = max(0, size[0] - tall) // 2, max(0, size[1] - wide) // 2
    window = top, left, min(top + tall, size[0]), min(left + wide, size[1])
    return _resample(picture, size, window).clamp_(0.0, 1.0)


def _crop(image: Tensor, placement: Placement) -> Tensor:
    top, left, bottom, right = placement.source
    width = image.shape[-1]
    return (
        image[:, :, top:bottom, width - right : width - left].flip(-1)
        if placement.flip
        else (image[:, :, top:bottom, left:right])
    )


def _divide(premultiplied: Tensor, alpha: Tensor) -> Tensor:
    """Undo the premultiplication, in place; black where alpha is 0."""
    return premultiplied.div_(alpha.clamp_min(1e-4)).clamp_(0.0, 1.0)


def _resample(image: Tensor, size: tuple[int, int], window: Window | None = None) -> Tensor:
    """Resize [1,C,H,W] to a height and width and crop a window of the result, with little memory."""
    rows, columns = image.shape[-2:]
    tall, wide = size
    top, left, bottom, right = window or (0, 0, tall, wide)
    if size == (rows, columns):
        return image[:, :, top:bottom, left:right].clone()
    drawn = np.empty((image.shape[1], bottom - top, right - left), np.float32)
    x, y = columns / wide, rows / tall
    method = cv2.INTER_AREA if x >= 1 and y >= 1 else cv2.INTER_CUBIC
    for plane, result in zip(image[0].contiguous().numpy(), drawn, strict=True):
        if method == cv2.INTER_AREA or tall * wide <= _SPARE * result.size:
            result[:] = cv2.resize(plane, (wide, tall), interpolation=method)[top:bottom, left:right]
        else:
            back = np.array([[x, 0, (left + 0.5) * x - 0.5], [0, y, (top + 0.5) * y - 0.5]])
            flags = method | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(plane, back, result.shape[::-1], result, flags, cv2.BORDER_REPLICATE)
    return torch.from_numpy(drawn)[None]


def _enlarge(image: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=True)


def _average(layers: Layers, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Average the premultiplied foreground, alpha and background by area: rows first, in bands."""
    rows, columns = layers.size
    down = _area_weights(rows, height)
    lines = layers.alpha.new_empty(layers.alpha.shape[0], 7, height, columns)
    group = max(1, min(8, 24 * height // rows))  # target rows computed together
    for first in range(0, height, group):
        last = min(first + group, height)
        band = slice(first * rows // height, ceil(last * rows / height))
        weights, alpha = down[first:last, band], layers.alpha[:, :, band]
        lines[:, :3, first:last] = weights @ (layers.foreground[:, :, band] * alpha)
        lines[:, 3:4, first:last] = weights @ alpha
        lines[:, 4:, first:last] = weights @ layers.background[:, :, band]
    flat = lines.flatten(0, 2)
    drawn = cv2.resize(flat.numpy(), (width, flat.shape[0]), interpolation=cv2.INTER_AREA)
    premultiplied, alpha, background = torch.from_numpy(drawn).view(-1, 7, height, width).split((3, 1, 3), dim=1)
    return premultiplied, alpha, background


def _area_weights(samples: int, cells: int) -> Tensor:
    """Share of each sample in each cell's average -> [cells, samples]."""
    edges = torch.arange(cells + 1, dtype=torch.float64)[:, None] * samples / cells
    sample = torch.arange(samples, dtype=torch.float64)
    overlap = torch.minimum(edges[1:], sample + 1) - torch.maximum(edges[:-1], sample)
    return (overlap.clamp_min(0) * cells / samples).float()
