"""One item of a dataset: a truth and the same picture with a disturbed person, all of it from one seed.

Everything is drawn first (`draw_parameters`) and then applied (`disturb`), so that what a manifest records is what made
the picture.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..disturb import (
    add_noise,
    adjust_white_balance,
    blur,
    compress_jpeg,
    cut_hole,
    grow_mask,
    paste,
    transfer_color_covariance,
    transfer_color_reinhard,
    transfer_histogram,
)
from ..relight import SKY, Relighter, builtin_relighter, frontal_direction, sphere_light, turn_light
from ..triplet import Triplet
from .draws import Triple, choose, happens, three, uniform, whole
from .grading import Grade, apply_grade, draw_grade, draw_illuminant
from .recipe import PERSON, SCENE, Recipe

TRANSFERS = {
    "reinhard": transfer_color_reinhard,
    "covariance": transfer_color_covariance,
    "histogram": transfer_histogram,
}


@dataclass(frozen=True)
class DrawnLight:
    """A drawn light."""

    direction: Triple
    ambient: float
    intensity: float
    colour: Triple | None = None  # linear RGB of the lamp where white is 1, 1, 1; None: grey, by the relighter
    coefficients: tuple[tuple[float, ...], ...] | None = None  # a given light [9][1 or 3] in place of a lamp


@dataclass(frozen=True)
class Capture:
    """A drawn mismatch of cameras."""

    kind: str  # noise, blur or jpeg
    amount: float
    seed: int


@dataclass(frozen=True)
class MaskFlaw:
    """A drawn flaw of the mask."""

    kind: str  # grown, shrunk, blurred, hard or hole
    reach: float  # [px] of 256
    hole: tuple[float, float, float, float]  # see `cut_hole`


@dataclass(frozen=True)
class Parameters:
    """All that was drawn for an item; None where a part is left out."""

    photo_gains: Triple
    reference_gains: Triple
    photo_grade: Grade | None = None
    transfer: str | None = None
    light: DrawnLight | None = None
    grade: Grade | None = None
    capture: Capture | None = None
    strength: float = 1.0  # 0: the item needs no change
    mask_flaw: MaskFlaw | None = None


@dataclass(frozen=True)
class SynthesizedItem:
    """A triplet [1,C,H,W] and what was drawn for it."""

    triplet: Triplet
    parameters: Parameters


class SourcePhotos(NamedTuple):
    """The pictures an item is made from."""

    photo: Tensor  # [1,3,H,W] sRGB in [0,1]
    alpha: Tensor  # [1,1,H,W] straight
    reference: Tensor  # [1,3,h,w] another portrait, any size
    reference_alpha: Tensor  # [1,1,h,w]


class MeasuredLights(NamedTuple):
    """Measured lights to draw from, where there are any."""

    illuminants: Tensor | None = None  # [N,3] linear RGB as factors of a neutral light
    spheres: Tensor | None = None  # [N,9,1] or, coloured, [N,9,3] in place of random sphere lights


def make_item(
    photos: SourcePhotos,
    recipe: Recipe,
    relighter: Relighter,
    generator: torch.Generator,
    lights: MeasuredLights | None = None,
) -> SynthesizedItem:
    """Draw an item's parameters and apply them."""
    return disturb(photos, draw_parameters(recipe, generator, lights or MeasuredLights()), relighter)


def draw_parameters(recipe: Recipe, generator: torch.Generator, lights: MeasuredLights) -> Parameters:
    """Draw all of an item's parameters."""
    photo_gains, reference_gains = three(recipe.photo_gains, generator), three(recipe.photo_gains, generator)
    scene = happens(recipe.photo_grade, generator)
    photo_grade = draw_grade(SCENE, generator, lights.illuminants) if scene else None
    flaw = draw_mask_flaw(recipe, generator) if happens(recipe.mask_flaw, generator) else None
    if happens(recipe.unchanged, generator):
        return Parameters(photo_gains, reference_gains, photo_grade, strength=0.0, mask_flaw=flaw)
    transfer, light = choose(recipe.transfer, generator), choose(recipe.light, generator)
    graded = happens(recipe.grade, generator) or (transfer == "none" and light == "none")
    return Parameters(
        photo_gains,
        reference_gains,
        photo_grade,
        transfer=None if transfer == "none" else transfer,
        light=None if light == "none" else _draw_light(recipe, light == "coloured", generator, lights),
        grade=draw_grade(PERSON, generator, lights.illuminants) if graded else None,
        capture=_draw_capture(recipe, generator) if happens(recipe.capture, generator) else None,
        strength=uniform(recipe.strength, generator) if happens(recipe.partial, generator) else 1.0,
        mask_flaw=flaw,
    )


def disturb(photos: SourcePhotos, drawn: Parameters, relighter: Relighter) -> SynthesizedItem:
    """Make an item from its parameters: balance the photo, disturb the portrait, paste it where it was."""
    alpha = photos.alpha
    truth = adjust_white_balance(photos.photo, torch.tensor([drawn.photo_gains]))
    if drawn.photo_grade:
        truth = apply_grade(truth, drawn.photo_grade)
    portrait = truth
    if drawn.transfer:
        reference = adjust_white_balance(photos.reference, torch.tensor([drawn.reference_gains]))
        portrait = TRANSFERS[drawn.transfer](portrait, alpha, reference, photos.reference_alpha)
    if drawn.light:
        portrait = relight_portrait(paste(portrait, alpha, truth), alpha, drawn.light, relighter)
    if drawn.grade:
        portrait = apply_grade(portrait, drawn.grade)
    if drawn.capture:
        portrait = apply_capture(portrait, drawn.capture)
    portrait = torch.lerp(truth, portrait, drawn.strength)
    mask = apply_mask_flaw(alpha, drawn.mask_flaw) if drawn.mask_flaw else alpha
    return SynthesizedItem(Triplet(paste(portrait, alpha, truth), mask, truth), drawn)


def relight_portrait(image: Tensor, alpha: Tensor, light: DrawnLight, relighter: Relighter) -> Tensor:
    """Put a portrait under a drawn light; a coloured one needs the built-in relighter."""
    if light.coefficients:
        given = torch.tensor([light.coefficients])
        return (
            relighter(image, alpha, given[:, :, 0]) if given.shape[2] == 1 else builtin_relighter(image, alpha, given)
        )
    ambient, intensity = torch.tensor([light.ambient]), torch.tensor([light.intensity])
    grey = sphere_light(torch.tensor([light.direction]), ambient, intensity)
    if light.colour is None:
        return relighter(image, alpha, grey)
    sky = sphere_light(torch.tensor([light.direction]), torch.ones(1), ambient * intensity)
    coloured = sky[:, :, None] + (grey - sky)[:, :, None] * torch.tensor(light.colour)
    return builtin_relighter(image, alpha, coloured)


def _draw_light(recipe: Recipe, coloured: bool, generator: torch.Generator, lights: MeasuredLights) -> DrawnLight:
    x, y, z = frontal_direction(generator).tolist()
    ambient, intensity = uniform(recipe.ambient, generator), uniform(recipe.intensity, generator)
    if coloured:
        return DrawnLight(
            (x, y, z), ambient, intensity, draw_illuminant(recipe.tint_mired, generator, lights.illuminants)
        )
    if lights.spheres is not None:
        given = lights.spheres[whole(len(lights.spheres), generator)]
        if given.shape[1] == 3:  # a panorama: any part of it may lie behind the person, and its exposure is unknown
            given = turn_light(given[None], uniform((-math.pi, math.pi), generator))[0]
            given = given * intensity * SKY / given[0].mean().clamp_min(1e-6)
        return DrawnLight((x, y, z), ambient, intensity, coefficients=tuple(map(tuple, given.tolist())))
    return DrawnLight((x, y, z), ambient, intensity)


def _draw_capture(recipe: Recipe, generator: torch.Generator) -> Capture:
    kind = choose((("noise", 1.0), ("blur", 1.0), ("jpeg", 1.0)), generator)
    amounts = {"noise": recipe.noise, "blur": recipe.blur, "jpeg": recipe.jpeg}
    return Capture(kind, uniform(amounts[kind], generator), whole(2**31, generator))


def draw_mask_flaw(recipe: Recipe, generator: torch.Generator) -> MaskFlaw:
    """Draw a flaw of the mask."""
    kinds = ("grown", "shrunk", "blurred", "hard", "hole")
    kind = choose([(kind, 1.0) for kind in kinds], generator)
    x, y = uniform((0.2, 0.8), generator), uniform((0.2, 0.9), generator)
    across, down = uniform((0.02, 0.08), generator), uniform((0.02, 0.08), generator)
    return MaskFlaw(kind, uniform(recipe.mask_reach, generator), (x, y, across, down))


def apply_capture(image: Tensor, capture: Capture) -> Tensor:
    """Make a picture look as if another camera had taken it."""
    if capture.kind == "noise":
        generator = torch.Generator().manual_seed(capture.seed)
        return add_noise(image, torch.tensor([capture.amount]), generator)
    if capture.kind == "blur":
        return blur(image, capture.amount * image.shape[3] / 256)
    return compress_jpeg(image, round(capture.amount))


def apply_mask_flaw(mask: Tensor, flaw: MaskFlaw) -> Tensor:
    """Make a mask imperfect."""
    reach = flaw.reach * mask.shape[3] / 256
    if flaw.kind == "hard":
        return (mask > 0.5).float()
    if flaw.kind == "hole":
        return cut_hole(mask, torch.tensor([flaw.hole]))
    if flaw.kind == "blurred":
        return blur(mask, reach)
    return grow_mask(mask, max(1, round(reach)) * (1 if flaw.kind == "grown" else -1))
