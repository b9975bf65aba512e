"""Training items for the harmonizer: a disturbed portrait before its own, untouched background.

Starts from pools of items made once (`synthesis/shards.py`). Those of the `relit` recipe give their light to a new item
of the `wide` or the `paper` recipe, with all else drawn anew; those of the `paper` recipe are varied on the fly; the
others are disturbed enough. What a network learns from one kind of disturbance is that kind, and what it learns from
well-lit neutral truths is that people are well lit and neutral; and it knows each portrait after some rounds, unless it
never comes back the same. So any item draws its framing (mirrored, turned and stretched), a grade of the whole truth
like a dim room, a sunset or a coloured lamp, and its compression; and one of the `paper` recipe draws

- its background: the photo's own, or another scene of like brightness;
- its disturbance: relit as in the paper, or any of grade, colour transfer and side light of the foreground, or none,
  or a person in neutral light before a scene under a grade, whose truth has the grade on both, or before a dusk,
  a neon sign, a snowfield as they are, whose truth has a part of the scene's mean light on the person;
- a flaw of its mask.

Grades and flaws are those of the recipes (`synthesis/grading.py`, `synthesis/item.py`).

Item k depends on (seed, k) alone.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from .. import disturb
from ..color import lab_to_rgb, masked_mean, rgb_to_lab
from ..synthesis.draws import choose
from ..synthesis.grading import apply_grade, draw_grade
from ..synthesis.item import TRANSFERS, MeasuredLights, SourcePhotos, apply_mask_flaw, draw_mask_flaw, make_item
from ..synthesis.pool import Pool
from ..synthesis.recipe import PAPER, PERSON, RELIT, SCENE, WIDE, Recipe
from ..triplet import Triplet
from .scenes import brighter, light_by_scene, list_scenes, number, read_illuminants

_LEAST_LIGHTNESS = 2.0  # L*; keeps ratios of dark lightness finite
_GENTLE = 0.4  # strength of a further disturbance of a person that is relit already


@dataclass(frozen=True)
class ItemChances:
    """How often each thing happens to an item."""

    paper_pool: float = 0.3  # the item starts from a pool of the `paper` recipe, where there is one;
    wide_pool: float = 0.2
    scene_pool: float = 0.3
    relit_pool: float = 0.5  # new at every draw, so least prone to overfitting
    wide: float = 0.7  # a new item is of the `wide` recipe
    plain: float = 0.5  # an item before a plain backdrop is kept; it teaches less
    turned: float = 0.5  # the picture is turned and stretched a little
    exchanged: float = 0.15  # the background is another scene
    relit: float = 0.72  # the pool's own disturbance
    ungraded: float = 0.12  # the scene's light has not reached the person: half of them in a scene lit by itself
    unchanged: float = 0.04
    mask: float = 0.3  # the mask is not the one that blended
    graded: float = 0.3  # the truth is graded
    jpeg: float = 0.2


class Composites(Dataset[Triplet]):
    """Endless training items; index = running number of the item."""

    def __init__(self, pool: Path, size: int, seed: int, scenes: str = "", illuminants: str = "") -> None:
        self.pool, self.size, self.seed, self.chances = Pool(pool), size, seed, ItemChances()
        keep, recipes = np.where(self.pool.plain.numpy(), self.chances.plain, 1.0), np.array(self.pool.recipes)
        for recipe in set(self.pool.recipes):
            keep[recipes == recipe] *= getattr(self.chances, f"{recipe}_pool") / keep[recipes == recipe].sum()
        self.cumulative = np.cumsum(keep / keep.sum())
        self.scenes, self.lit_scenes = list_scenes(Path(scenes)) if scenes else ([], [])
        self.illuminants = read_illuminants(illuminants)
        self.lights = MeasuredLights(self.illuminants / self.illuminants.median(dim=0).values)

    def __getitem__(self, index: int) -> Triplet:
        """Draw item `index`."""
        rng = np.random.default_rng((self.seed, index))
        place = self._draw(rng)
        item = crop(self.pool[place], self.size, rng, self.chances.turned)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        recipe = self.pool.recipes[place]
        if recipe == RELIT.name:
            new = WIDE if rng.random() < self.chances.wide else PAPER
            item, recipe = self._renew(item, new, rng, generator), new.name
        if recipe == PAPER.name:
            item = self._vary(item, rng, generator)
        composite, mask, truth = item
        if rng.random() < self.chances.graded:
            composite, truth = self._grade(torch.cat([composite, truth]), generator).chunk(2)
        if rng.random() < self.chances.jpeg:
            composite = disturb.compress_jpeg(composite, int(rng.integers(50, 95)))
        return Triplet(composite, mask, truth).to_bytes()

    def _vary(self, item: Triplet, rng: np.random.Generator, generator: torch.Generator) -> Triplet:
        """Draw another disturbance, background, truth or mask for an item of the `paper` recipe."""
        composite, mask, truth = item
        if self.scenes and rng.random() < self.chances.exchanged:
            scene = self._scene(truth, mask, rng)
            truth, composite = disturb.paste(truth, mask, scene), disturb.paste(composite, mask, scene)
        kind = rng.random()
        foreground = truth
        if kind < self.chances.relit:
            strength = 1.0 if rng.random() < 0.75 else rng.uniform(0.25, 1.0)
            foreground = torch.lerp(truth, composite, strength)
            if rng.random() < 0.3:
                foreground = self._disturb(foreground, mask, rng, generator, _GENTLE)
        elif kind < self.chances.relit + self.chances.ungraded:
            if self.lit_scenes and rng.random() < 0.5:
                scene = self._cut_scene(self.lit_scenes, rng)
                truth = disturb.paste(light_by_scene(truth, mask, scene, rng), mask, scene)
            else:
                truth = self._grade(truth, generator)
            if rng.random() < 0.5:
                foreground = self._disturb(foreground, mask, rng, generator, _GENTLE)
        elif kind < 1 - self.chances.unchanged:
            foreground = self._disturb(truth, mask, rng, generator)
        composite = disturb.paste(foreground, mask, truth)
        if rng.random() < self.chances.mask:
            mask = apply_mask_flaw(mask, draw_mask_flaw(WIDE, generator))
        return Triplet(composite, mask, truth)

    def _renew(self, item: Triplet, recipe: Recipe, rng: np.random.Generator, generator: torch.Generator) -> Triplet:
        """Make a new item of a relit portrait."""
        return renew(item, self._reference(rng), recipe, generator, self.lights)

    def _reference(self, rng: np.random.Generator) -> Triplet:
        """Draw another portrait at half the size, which is enough for its statistics."""
        return self.pool[self._draw(rng)].map(lambda image: F.avg_pool2d(image, 2))

    def _draw(self, rng: np.random.Generator) -> int:
        return min(int(np.searchsorted(self.cumulative, rng.random())), len(self.pool) - 1)

    def _grade(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Grade whole pictures alike, as the recipes grade a whole photo."""
        return apply_grade(pictures, draw_grade(SCENE, generator, self.lights.illuminants))

    def _disturb(
        self, image: Tensor, mask: Tensor, rng: np.random.Generator, generator: torch.Generator, strength: float = 1.0
    ) -> Tensor:
        """Change the foreground by a colour transfer, a side light, a grade, or several of them."""
        chosen = rng.permutation(3)[: rng.integers(1, 4)]
        changed = self._transfer(image, mask, rng, generator) if 0 in chosen else image
        changed = self._side_light(changed, rng) if 1 in chosen else changed
        if 2 in chosen:
            changed = apply_grade(changed, draw_grade(PERSON, generator, self.lights.illuminants))
        return torch.lerp(image, changed, strength)

    def _transfer(self, image: Tensor, mask: Tensor, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        reference = self._reference(rng)
        transfer = TRANSFERS[choose(WIDE.transfer[1:], generator)]  # the first is none
        return torch.lerp(image, transfer(image, mask, reference.truth, reference.mask), rng.uniform(0.5, 1.0))

    def _side_light(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Light falling off across the person, with the light's colour: a smooth gain in linear light."""
        direction, stops = rng.uniform(0, 2 * np.pi), rng.normal(0, 1.1)
        y, x = torch.meshgrid(*(torch.linspace(-1, 1, self.size),) * 2, indexing="ij")
        ramp = (np.cos(direction) * x + np.sin(direction) * y) * rng.uniform(0.7, 2.0)
        first, second = self.illuminants[rng.integers(len(self.illuminants), size=2)]
        tint = ((second / first) ** 0.5).float().view(1, 3, 1, 1)
        tint = tint / masked_mean(tint, torch.ones(1, 1, 1, 1)).mean()
        side = torch.sigmoid(2 * ramp)[None, None]
        gain = 2.0 ** (float(stops) * (side - 0.5)) * (1 + side * (tint - 1))
        return disturb.soft_clip(image * gain ** (1 / disturb.GAMMA), gain.amax(dim=(1, 2, 3), keepdim=True))

    def _scene(self, truth: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
        """Expose a neutral scene like the photo's own background."""
        scene = self._cut_scene(self.scenes, rng)
        stops = np.clip(brighter(scene, truth, 1 - mask), -1.5, 1.5) + rng.normal(0, 0.2)
        return disturb.adjust_exposure(scene, number(-stops))

    def _cut_scene(self, scenes: list[Path], rng: np.random.Generator) -> Tensor:
        """Cut a square of a scene, perhaps out of focus."""
        path = scenes[rng.integers(len(scenes))]
        decoded = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if decoded is None:
            raise ValueError(f"{path} cannot be read as a picture")
        pixels = np.asarray(decoded)[:, :, ::-1]
        side = int(rng.uniform(0.5, 1.0) * min(pixels.shape[:2]))
        top, left = (int(rng.integers(0, edge - side + 1)) for edge in pixels.shape[:2])
        square = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        scene = picture(cv2.resize(square, (self.size, self.size), interpolation=cv2.INTER_AREA))
        return disturb.blur(scene, float(rng.uniform(0.005, 0.02)) * self.size) if rng.random() < 0.4 else scene


HELD_OUT = "held_out"


class HeldOut(Dataset[Triplet]):
    """Validation items: those of one recipe of a pool, or, by the name `held_out`, kinds that no training item has.

    Held out of training: another camera's colour filters (a family), and the person low and small in the frame before
    mirrored surroundings (a framing). Their masks are hard and cut too large, which training items' seldom are.
    """

    def __init__(self, pool: Pool, size: int, kind: str, count: int = 192) -> None:
        self.pool, self.size, self.held_out = pool, size, kind == HELD_OUT
        places = [place for place, recipe in enumerate(pool.recipes) if self.held_out or recipe == kind]
        self.indices = [places[round(at)] for at in np.linspace(0, len(places) - 1, min(count, len(places)))]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Triplet:
        """Item `index`."""
        item = self.pool[self.indices[index]]
        if self.held_out:
            rng = np.random.default_rng((0, index))
            matrix = torch.from_numpy(np.eye(3) * rng.uniform(0.7, 1.4) + rng.normal(0, 0.2, (1, 3, 3))).float()
            composite = disturb.paste(disturb.mix_channels(item.truth, matrix), item.mask, item.truth)
            item = Triplet(composite, disturb.grow_mask((item.mask > 0.3).float(), 3), item.truth)
            side, top = (round(share * item.mask.shape[3]) for share in (3 / 16, 3 / 8))
            around = (side, side, top, 0)
            item = item.map(lambda image: F.pad(image, around, mode="reflect"))
        return item.map(lambda image: resize(image, self.size)).to_bytes()


def renew(
    item: Triplet,  # [1,C,S,S] of a `relit` pool
    reference: Triplet,  # another, any size
    recipe: Recipe,
    generator: torch.Generator,
    lights: MeasuredLights | None = None,
) -> Triplet:
    """Make a new item of a recipe from one of a `relit` pool; the relighter's result is the one that is stored."""
    lightness = [rgb_to_lab(image)[:, :1] + _LEAST_LIGHTNESS for image in (item.composite, item.truth)]
    ratio = lightness[0] / lightness[1]

    def stored(image: Tensor, alpha: Tensor, light: Tensor) -> Tensor:
        lab = rgb_to_lab(image)
        return lab_to_rgb(torch.cat([lab[:, :1] * ratio, lab[:, 1:]], dim=1)).clamp(0.0, 1.0)

    photos = SourcePhotos(item.truth, item.mask, reference.truth, reference.mask)
    return make_item(photos, recipe, stored, generator, lights).triplet


def crop(item: Triplet, size: int, rng: np.random.Generator, turned: float = 0.0) -> Triplet:
    """Cut the same random square out of all three pictures, perhaps mirrored or turned, and resize it [px]."""
    whole = item.composite.shape[3]
    side = rng.uniform(0.65, 1.0) * whole if rng.random() < 0.7 else float(whole)
    left, top = rng.uniform(0, whole - side, 2)
    if item.mask[:, :, int(top) : int(top + side), int(left) : int(left + side)].mean() >= 0.85:
        side, left, top = float(whole), 0.0, 0.0  # without a background there is nothing to fit to
    angle, stretch = (rng.normal(0, 0.12), np.exp(rng.normal(0, 0.06))) if rng.random() < turned else (0.0, 1.0)
    scale = side / (2 * size) * np.array([-stretch if rng.random() < 0.5 else stretch, 1 / stretch])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    middle = np.array([left, top]) + (side - 1) / 2
    place = np.column_stack([turn, middle - turn @ np.full(2, size - 0.5)])  # from the result at twice its size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def cut(image: Tensor) -> Tensor:
        pixels = image[0].permute(1, 2, 0).numpy()
        double = cv2.warpAffine(pixels, place, (2 * size, 2 * size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        reduced = np.atleast_3d(cv2.resize(double, (size, size), interpolation=cv2.INTER_AREA))
        return torch.from_numpy(reduced).permute(2, 0, 1)[None]

    return item.map(cut)


def resize(image: Tensor, size: int) -> Tensor:
    """Resize [1,C,H,W] to a square [px], averaging where it shrinks."""
    return F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)


def picture(pixels: NDArray[np.uint8] | NDArray[np.generic]) -> Tensor:
    """Turn [H,W,3] bytes into [1,3,H,W] in [0,1]."""
    return torch.from_numpy(np.array(pixels, np.uint8)).permute(2, 0, 1)[None].float() / 255
