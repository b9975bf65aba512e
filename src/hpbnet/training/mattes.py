"""Training items for the matting network: portraits set into scenes, badly photographed, with their true alpha.

Most of the portraits keep their own photo, the others stand before a foreign scene (so that no source's backdrop is
learned); some share it with a second person; some scenes hold nobody. Item k depends on (seed, k) alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..networks.matting import NO_PREVIOUS
from ..synthesis.portraits import Portrait

Pixels = NDArray[np.integer[Any] | np.floating[Any]]  # bytes [H,W,3] RGB or [H,W] alpha, as OpenCV types them
Rng = np.random.Generator


class MatteItem(NamedTuple):
    """What the network sees, and the truth."""

    portrait: Tensor  # [3,S,S] uint8
    previous: Tensor  # [1,S,S] float16: a plausible matte of the previous frame, or NO_PREVIOUS everywhere
    alpha: Tensor  # [1,S,S] uint8


@dataclass(frozen=True)
class Chances:
    """How often each thing happens to an item."""

    nobody: float = 0.04
    own_scene: float = 0.6
    second_person: float = 0.12
    previous: float = 0.3
    dark: float = 0.15
    jpeg: float = 0.4
    blur: float = 0.2
    noise: float = 0.3


class Mattes(Dataset[MatteItem]):
    """Endless matting items at one size [px]; index = running number of the item."""

    def __init__(
        self,
        portraits: Sequence[Portrait],
        scenes: Sequence[Path],
        size: int,
        seed: int,
        chances: Chances | None = None,
    ) -> None:
        self.portraits, self.scenes, self.size, self.seed = list(portraits), list(scenes), size, seed
        self.chances = chances or Chances()
        weights = np.array([0.5 if portrait.plain else 1.0 for portrait in self.portraits])
        self.weights = weights / weights.sum()

    def __getitem__(self, index: int) -> MatteItem:
        """Draw item `index`."""
        rng = np.random.default_rng((self.seed, index))
        photo, alpha = self._draw(rng)
        photo = photograph_badly(photo, rng, self.chances)
        told = rng.random() < self.chances.previous
        previous = imagine_previous(alpha, rng) / 255 if told else np.full(alpha.shape, NO_PREVIOUS)
        return MatteItem(
            torch.from_numpy(photo.transpose(2, 0, 1).copy()),
            torch.from_numpy(previous)[None].half(),
            torch.from_numpy(alpha)[None],
        )

    def _draw(self, rng: Rng) -> tuple[Pixels, Pixels]:
        if rng.random() < self.chances.nobody:
            return self._scene(rng), np.zeros((self.size, self.size), np.uint8)
        portrait = self.portraits[rng.choice(len(self.portraits), p=self.weights)]
        photo, alpha, foreground = read_portrait(portrait.photo, portrait.alpha)
        if rng.random() < self.chances.own_scene:
            matrix = framing(alpha.shape, self.size, rng, widest=1.0)
            return warp(photo, matrix, self.size, cv2.BORDER_REFLECT_101), warp(
                alpha, matrix, self.size, cv2.BORDER_REFLECT_101
            )
        scene = self._scene(rng)
        matte: Pixels = np.zeros((self.size, self.size), np.uint8)
        if rng.random() < self.chances.second_person:
            other = self.portraits[rng.choice(len(self.portraits), p=self.weights)]
            scene, matte = self._stand(scene, matte, read_portrait(other.photo, other.alpha), rng)
        return self._stand(scene, matte, (photo, alpha, foreground), rng)

    def _stand(
        self, scene: Pixels, matte: Pixels, person: tuple[Pixels, Pixels, Pixels], rng: Rng
    ) -> tuple[Pixels, Pixels]:
        """Put a person into a scene; the matte is the union."""
        _, alpha, foreground = person
        matrix = framing(alpha.shape, self.size, rng, widest=0.55)
        own = warp(alpha, matrix, self.size, cv2.BORDER_CONSTANT)
        pixels = regrade(warp(foreground, matrix, self.size, cv2.BORDER_REPLICATE), rng, 0.2)
        share = own[:, :, None].astype(np.float32) / 255
        composite = pixels * share + scene * (1 - share)
        union = 255 - (255.0 - own) * (255.0 - matte) / 255
        return composite.round().astype(np.uint8), union.round().astype(np.uint8)

    def _scene(self, rng: Rng) -> Pixels:
        """Cut a random part of a random scene."""
        pixels = read_scene(self.scenes[rng.integers(len(self.scenes))])
        height, width = pixels.shape[:2]
        side = rng.uniform(0.4, 1.0) * min(height, width)
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        matrix = np.array([[self.size / side, 0, -x * self.size / side], [0, self.size / side, -y * self.size / side]])
        scene = warp(pixels, matrix, self.size, cv2.BORDER_REFLECT_101)
        if rng.random() < 0.3:
            scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(1, 8))
        return regrade(scene[:, ::-1] if rng.random() < 0.5 else scene, rng, 0.2)


def framing(shape: tuple[int, ...], size: int, rng: Rng, widest: float) -> NDArray[np.float64]:
    """Draw the 2x3 matrix from photo to item, zoom 1.8 (a tight face) to `widest` (1: the whole photo)."""
    height, width = shape
    zoom = np.exp(rng.uniform(np.log(widest), np.log(1.8))) * size / min(height, width)
    angle = np.deg2rad(rng.normal(0, 8))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn = zoom * np.array([[flip * np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), np.cos(angle)]])
    slack = np.maximum(0, np.array([width, height]) * zoom - size) / zoom / 2
    centre = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * slack
    if widest < 1:  # free to leave the photo: heads high and low, shoulders cut at the side
        centre += rng.normal(0, 0.08, 2) * min(width, height)
    return np.column_stack([turn, np.array([size, size]) / 2 - turn @ centre])


def warp(pixels: Pixels, matrix: NDArray[np.float64], size: int, border: int) -> Pixels:
    """Resample to size x size; averaged first where it shrinks, so that hair does not alias."""
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink < 0.7:
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        matrix = np.column_stack([matrix[:, :2] / shrink, matrix[:, 2]])
    return cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def regrade(pixels: Pixels, rng: Rng, spread: float) -> Pixels:
    """Change gains and gamma of each channel by about `spread`."""
    gains = np.exp(rng.normal(0, spread) + rng.normal(0, spread / 2, 3))
    curve = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, spread)) * gains * 255
    return cv2.LUT(np.ascontiguousarray(pixels), curve.clip(0, 255).astype(np.uint8)[None])


def photograph_badly(pixels: Pixels, rng: Rng, chances: Chances) -> Pixels:
    """Expose, tint, blur, add noise, compress: what cameras and messengers do to a picture."""
    pixels = regrade(pixels, rng, 0.15)
    if rng.random() < chances.dark:
        pixels = cv2.LUT(pixels, (np.arange(256) * rng.uniform(0.15, 0.6)).astype(np.uint8))
    if rng.random() < chances.blur:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < chances.noise:
        noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(1, 9)
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < chances.jpeg:
        _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        pixels = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < 0.05:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    return pixels


def imagine_previous(alpha: Pixels, rng: Rng) -> Pixels:
    """Make what the matte of the previous frame may have been: moved, grown or shrunk, softened, or plainly wrong."""
    size = alpha.shape[0]
    if rng.random() < 0.08:
        return np.zeros_like(alpha)
    move = rng.normal(0, 0.02, 2) * size
    scale = 1 + rng.normal(0, 0.02)
    matrix = np.array([[scale, rng.normal(0, 0.02), move[0]], [rng.normal(0, 0.02), scale, move[1]]])
    previous = cv2.warpAffine(alpha, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    width = int(rng.integers(0, 5)) * 2 + 1
    change = cv2.erode if rng.random() < 0.5 else cv2.dilate
    previous = change(previous, np.ones((width, width), np.uint8))
    if rng.random() < 0.3:  # a part went missing, or something was taken for a part
        x, y, w, h = rng.uniform(0, 0.8, 2).tolist() + rng.uniform(0.05, 0.3, 2).tolist()
        box = np.s_[int(y * size) : int((y + h) * size), int(x * size) : int((x + w) * size)]
        previous[box] = rng.choice([0, 255])
    return np.asarray(cv2.GaussianBlur(previous, (0, 0), rng.uniform(0.3, 2.5)), np.uint8)


@cache
def read_portrait(photo: Path, alpha: Path) -> tuple[Pixels, Pixels, Pixels]:
    """Read a photo [H,W,3], its alpha [H,W] at the photo's size, and its foreground cleaned of the old scene."""
    pixels = read_scene(photo)
    matte = np.asarray(cv2.imread(str(alpha), cv2.IMREAD_GRAYSCALE), np.uint8)
    height, width = pixels.shape[:2]
    matte = np.asarray(cv2.resize(matte, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    return pixels, matte, _clean_foreground(pixels, matte)


@cache
def read_scene(path: Path) -> Pixels:
    """Read a scene [H,W,3]."""
    return cv2.cvtColor(np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8), cv2.COLOR_BGR2RGB)


def _clean_foreground(photo: Pixels, alpha: Pixels) -> Pixels:
    """Estimate foreground colours where alpha is soft, from the opaque pixels around."""
    opaque = (alpha > 242).astype(np.float32)[:, :, None] + 1e-4
    spread = cv2.GaussianBlur(photo * opaque, (0, 0), 5) / cv2.GaussianBlur(opaque, (0, 0), 5)[:, :, None]
    share = np.clip(alpha.astype(np.float32) / 255, 0, 1)[:, :, None] ** 2
    return np.asarray((photo * share + spread * (1 - share)).clip(0, 255), np.uint8)
