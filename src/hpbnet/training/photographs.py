"""How people and scenes get into one square and what cameras do to it: geometry, grades, blur, noise, compression."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.integer[Any] | np.floating[Any]]  # bytes [H,W,3] RGB or [H,W], as OpenCV types them
Matrix = NDArray[np.float64]  # 2x3, from photo to item
Size = tuple[int, int]  # height, width [px]
Rng = np.random.Generator

_HALVED = 0.6  # zoom below which a picture is halved first


def log_uniform(low: float, high: float, rng: Rng) -> float:
    """Draw between two positive numbers, each factor as often."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def turn_and_zoom(zoom: float, rng: Rng, spread: float) -> Matrix:
    """Draw a 2x2 matrix: zoom, a turn of about `spread` [deg], mirrored half of the time."""
    angle = np.deg2rad(rng.normal(0, spread))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    return zoom * np.array([[flip * np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), np.cos(angle)]])


def moved(turn: Matrix, source: tuple[float, float], target: tuple[float, float]) -> Matrix:
    """Complete a 2x2 matrix so that the point `source` (x, y) comes to lie on `target`."""
    return np.column_stack([turn, np.array(target) - turn @ np.array(source)])


def warp(pixels: Pixels, matrix: Matrix, size: Size, border: int) -> Pixels:
    """Resample to a size; halved first where it shrinks much, so that hair does not alias."""
    pixels, matrix = np.ascontiguousarray(pixels), matrix.copy()
    while (
        np.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])) < _HALVED and min(pixels.shape[:2]) > 1
    ):
        half = pixels.shape[1] // 2, pixels.shape[0] // 2
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
        matrix[:, :2] *= 2
    return cv2.warpAffine(pixels, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=border)


def regrade(pixels: Pixels, rng: Rng, spread: float, exposure: float = 0.0) -> Pixels:
    """Change gains and gamma of each channel by about `spread`, all of them by `exposure` [log]."""
    gains = np.exp(exposure + rng.normal(0, spread) + rng.normal(0, spread / 2, 3))
    curve = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, spread)) * gains * 255
    return cv2.LUT(np.ascontiguousarray(pixels), curve.clip(0, 255).astype(np.uint8)[None])


def motion_kernel(rng: Rng, longest: float) -> NDArray[np.float32]:
    """Draw the path of a shaken camera or a moved arm: a short line."""
    length = max(2.0, rng.uniform(2, longest))
    side = 2 * int(np.ceil(length / 2)) + 1
    angle, middle = rng.uniform(0, np.pi), (side - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = [tuple(int(v) for v in np.round((middle + sign * reach) * 16)) for sign in (-1, 1)]
    kernel = cv2.line(np.zeros((side, side), np.float32), ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


def photograph_badly(pixels: Pixels, rng: Rng) -> Pixels:
    """Expose, tint, blur, sharpen, add noise, compress: what cameras and messengers do to a picture."""
    pixels = regrade(pixels, rng, 0.15)
    if rng.random() < 0.12:
        pixels = cv2.LUT(pixels, (np.arange(256) * rng.uniform(0.15, 0.6)).astype(np.uint8))
    if rng.random() < 0.15:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.6))
    elif rng.random() < 0.2:  # as phones do
        soft = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.7, 1.5))
        amount = rng.uniform(0.3, 1.2)
        pixels = cv2.addWeighted(pixels, 1 + amount, soft, -amount, 0)
    if rng.random() < 0.25:
        noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(1, 9)
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        pixels = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < 0.05:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    return pixels
