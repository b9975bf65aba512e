"""What the matting network may be told of a picture, simulated from the truth: strokes, rough masks, earlier mattes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .photographs import Pixels, Rng

Hint = NDArray[np.float32]  # [H,W] 1 keep, -1 remove, 0 unknown

_OPAQUE = 240  # alpha, of 255, from which a pixel may be marked


def imagine_hint(alpha: Pixels, rng: Rng) -> Hint:
    """Draw what a user may mark in a picture whose alpha [H,W] is known: strokes in and around, or a rough mask."""
    if rng.random() < 0.25:
        return _rough_mask(alpha, rng)
    hint = mark(alpha, 1.0, rng) if rng.random() < 0.8 else np.zeros(alpha.shape, np.float32)
    return np.where(hint == 0, mark(255 - alpha, -1.0, rng), hint) if rng.random() < 0.5 else hint


def mark(alpha: Pixels, value: float, rng: Rng) -> Hint:
    """Draw one or two strokes over what an alpha [H,W] shows."""
    hint = np.zeros(alpha.shape, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        _stroke(hint, alpha > _OPAQUE, value, rng)
    return hint


def _stroke(hint: Hint, where: NDArray[np.bool_], value: float, rng: Rng) -> None:
    """Draw a line of two or three corners into a hint, as far as it stays where it is true."""
    rows, columns = np.nonzero(where)
    if len(rows) < 20:
        return
    height, width = hint.shape
    first = int(rng.integers(len(rows)))
    point = np.array([columns[first], rows[first]], float)
    corners = [point]
    for _ in range(int(rng.integers(1, 3))):
        point = point + rng.normal(0, 0.12, 2) * (width, height)
        corners.append(point)
    line = np.zeros((height, width), np.uint8)
    thickness = max(1, round(float(rng.uniform(0.01, 0.06)) * min(height, width)))
    cv2.polylines(line, [np.round(corners).astype(np.int32)], isClosed=False, color=255, thickness=thickness)
    hint[(line > 0) & where] = value


def _rough_mask(keep: Pixels, rng: Rng) -> Hint:
    """Keep well inside, remove well outside, unknown between."""
    side = 2 * max(1, round(float(rng.uniform(0.01, 0.06)) * max(keep.shape))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    hard = (keep > 127).astype(np.uint8)
    hint = np.zeros(keep.shape, np.float32)
    hint[cv2.dilate(hard, kernel) == 0] = -1
    hint[cv2.erode(hard, kernel) > 0] = 1
    return hint


def imagine_previous(alpha: Pixels, rng: Rng) -> Pixels:
    """Make what the matte of the previous frame may have been: moved, grown or shrunk, softened, or plainly wrong."""
    height, width = alpha.shape
    if rng.random() < 0.08:
        return np.zeros_like(alpha)
    move = rng.normal(0, 0.02, 2) * (width, height)
    scale = 1 + rng.normal(0, 0.02)
    matrix = np.array([[scale, rng.normal(0, 0.02), move[0]], [rng.normal(0, 0.02), scale, move[1]]])
    previous = cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    kernel = np.ones((int(rng.integers(0, 5)) * 2 + 1,) * 2, np.uint8)
    previous = (cv2.erode if rng.random() < 0.5 else cv2.dilate)(previous, kernel)
    if rng.random() < 0.3:  # a part went missing, or something was taken for a part
        x, y, w, h = rng.uniform(0, 0.8, 2).tolist() + rng.uniform(0.05, 0.3, 2).tolist()
        box = np.s_[int(y * height) : int((y + h) * height), int(x * width) : int((x + w) * width)]
        previous[box] = rng.choice([0, 255])
    return np.asarray(cv2.GaussianBlur(previous, (0, 0), rng.uniform(0.3, 2.5)), np.uint8)
