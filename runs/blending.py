"""Measure whether to blend in sRGB or in linear light (docs/experiments/blending.md); needs PyMatting.

Heads with strands of hair are rendered at 8x8 samples a pixel before one scene and before another. The area average of
linear light is the truth of both. The matte of the first picture, made in several ways, is composited onto the second
scene in both spaces, and the mean absolute error in the band 0.02 < alpha < 0.98 is printed, in 8-bit levels.
"""

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray
from pymatting import estimate_alpha_cf, estimate_foreground_ml

Floats = NDArray[np.float64]
SAMPLES, SIDE = 8, 160
LEVELS = {"dark": 0.15, "mid": 0.45, "light": 0.8}
BLURS = (0.0, 0.5, 1.0)  # [px] of the lens


def encode(linear: Floats) -> Floats:
    """Linear light to sRGB."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def decode(srgb: Floats) -> Floats:
    """sRGB to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def draw_coverage(rng: np.random.Generator, blur: float) -> Floats:
    """A head with strands 0.3 to 1.5 px wide -> the share of each pixel that it covers [SIDE,SIDE,1]."""
    side = SIDE * SAMPLES
    mask, centre = np.zeros((side, side), np.uint8), (side // 2, int(side * 0.62))
    cv2.ellipse(mask, centre, (int(side * 0.22), int(side * 0.30)), 0, 0, 360, 255, -1)
    for _ in range(260):
        angle = rng.uniform(np.pi, 2 * np.pi)
        point = np.array([centre[0] + np.cos(angle) * side * 0.21, centre[1] + np.sin(angle) * side * 0.29])
        points, direction = [point], angle + rng.normal(0, 0.5)
        for _ in range(12):
            direction += rng.normal(0, 0.15)
            point = point + np.array([np.cos(direction), np.sin(direction)]) * SAMPLES * rng.uniform(0.8, 3)
            points.append(point)
        cv2.polylines(mask, [np.int32(points)], False, 255, int(max(2, SAMPLES * rng.uniform(0.3, 1.5))), cv2.LINE_AA)
    fine = mask.astype(np.float32) / 255
    fine = cv2.GaussianBlur(fine, (0, 0), blur * SAMPLES) if blur else fine
    return cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)[..., None]


def draw_texture(rng: np.random.Generator, level: float, cells: int) -> Floats:
    """A softly varying surface of about one brightness."""
    noise = cv2.resize(rng.normal(0, 1, (cells, cells, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.clip(level + 0.08 * rng.normal(0, 1, 3), 0.02, 0.98) + 0.05 * noise, 0.01, 0.99)


def trimap(alpha: Floats) -> Floats:
    """What a user would mark: sure inside, sure outside, and unknown between."""
    inside = cv2.erode((alpha[..., 0] > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    outside = cv2.dilate((alpha[..., 0] > 0.01).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    return np.where(inside, 1.0, np.where(outside, 0.0, 0.5))


def mattes(alpha: Floats, foreground: Floats, photo: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Foreground (sRGB) and alpha of a photo, made in several ways."""
    light, marks = decode(photo), trimap(alpha)
    in_srgb, in_linear = estimate_alpha_cf(photo, marks), estimate_alpha_cf(light, marks)
    return {
        "true coverage, true colours": (foreground, alpha),
        "true coverage, colours estimated in linear": (
            encode(np.clip(estimate_foreground_ml(light, alpha[..., 0]), 0, 1)),
            alpha,
        ),
        "matte and colours estimated in linear": (
            encode(np.clip(estimate_foreground_ml(light, in_linear), 0, 1)),
            in_linear[..., None],
        ),
        "matte and colours estimated in sRGB": (estimate_foreground_ml(photo, in_srgb), in_srgb[..., None]),
    }


def main() -> None:
    """Print a table: how the matte was made, error blended in sRGB, error blended in linear light."""
    errors: dict[str, list[tuple[float, float]]] = {}
    for (person, old, new), (seed, blur) in itertools.product(
        itertools.product(LEVELS, LEVELS, LEVELS), enumerate(BLURS)
    ):
        if person == old:
            continue
        rng = np.random.default_rng(seed)
        alpha = draw_coverage(rng, blur)
        foreground = draw_texture(rng, LEVELS[person], 8)
        before, after = draw_texture(rng, LEVELS[old], 6), draw_texture(rng, LEVELS[new], 6)
        photo = np.round(encode(decode(foreground) * alpha + decode(before) * (1 - alpha)) * 255) / 255
        truth = encode(decode(foreground) * alpha + decode(after) * (1 - alpha))
        band = (alpha[..., 0] > 0.02) & (alpha[..., 0] < 0.98)
        for name, (colours, opacity) in mattes(alpha, foreground, photo).items():
            in_srgb = colours * opacity + after * (1 - opacity)
            in_linear = encode(decode(colours) * opacity + decode(after) * (1 - opacity))
            error = tuple(float(np.abs(image - truth)[band].mean() * 255) for image in (in_srgb, in_linear))
            errors.setdefault(name, []).append((error[0], error[1]))
    for name, rows in errors.items():
        in_srgb, in_linear = np.mean(rows, axis=0)
        print(f"{name:45s} n={len(rows)}  sRGB {in_srgb:.2f}  linear {in_linear:.2f}")


if __name__ == "__main__":
    main()
