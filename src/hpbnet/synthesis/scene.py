"""Items of the recipe `scene`: the person looks natural, and the truth is natural in this scene.

Even items take light away: a real photo in strong light is the truth, and the person is put into a plain light by the
ratio of shadings, then exposed and balanced as a camera would. Odd items give light: a natural portrait before a scene
in strong light is the composite, and the truth is the person under that scene's light.

Everything is drawn first (`draw_scene`) and then applied (`make_scene_item`), as in `item.py`.
"""

from dataclasses import asdict, dataclass, replace
from math import log2

import torch
import torch.nn.functional as F
from torch import Tensor

from ..color import luma, srgb_to_linear
from ..disturb import adjust_exposure, adjust_white_balance, paste
from ..layers import Layers
from ..light import Light, light_person, person_light, shade_ratio, surface
from ..matte import estimate_foreground
from ..options import ColorOptions
from ..relight import sphere_light
from ..triplet import Triplet
from .draws import Triple, happens, three, uniform
from .grading import Grade, apply_grade, draw_grade
from .item import MaskFlaw, apply_mask_flaw, draw_mask_flaw
from .recipe import LIT, SCENE, WIDE, SceneRecipe

_PLAIN = ((0.0, -0.9, 0.436), 0.65)  # direction and even share of the light that is left on a person
_BRIGHTEST = 0.9  # quantile of a person's luminance that a camera exposes for
_MOST_STOPS = 2.5  # that a camera exposes up, and down by half of it
_BALANCED = 0.8  # share of a person's difference from a usual tint that a camera's white balance removes
_MOST_BALANCE = 0.6  # [log2]
_USUAL = (0.45, 0.12)  # log2 warmth and magenta of people in white light, clothes included
_LEAST_SIDE = 0.6  # of a scene's shorter side that an item shows
_DARKEST = 0.004


@dataclass(frozen=True)
class SceneParameters:
    """All that was drawn for an item, and what was measured for it."""

    kind: str  # taken: the photo's light is taken off the person; given: the scene's light is given to the truth
    photo_gains: Triple
    amount: float  # share of the light taken or given; 0: the item needs no change
    bright: float  # luminance that a camera gives the brightest tenth of the person (taken)
    tint: tuple[float, float]  # log2 warmth and magenta that its white balance leaves (taken)
    window: tuple[float, float, float] = (0.0, 0.0, 1.0)  # place 0..1 and side of the square of the scene (given)
    mirrored: bool = False  # the scene (given)
    grade: Grade | None = None  # of the scene (given)
    mask_flaw: MaskFlaw | None = None
    background: str | None = None  # file of the scene (given)
    person: dict[str, float] | None = None  # the light that was read on the person: `LightReport`
    scene: dict[str, float] | None = None  # and that of the scene (given)


@dataclass(frozen=True)
class SceneItem:
    """A triplet [1,C,H,W] and what was drawn for it."""

    triplet: Triplet
    parameters: SceneParameters


def draw_scene(
    kind: str, generator: torch.Generator, illuminants: Tensor | None = None, recipe: SceneRecipe = LIT
) -> SceneParameters:
    """Draw all of an item's parameters, except for the photos."""
    gains, bright = three(recipe.photo_gains, generator), uniform(recipe.bright, generator)
    tint = uniform(recipe.warmth, generator), uniform(recipe.magenta, generator)
    window = uniform((0, 1), generator), uniform((0, 1), generator), uniform((_LEAST_SIDE, 1), generator)
    mirrored, graded = happens(0.5, generator), happens(recipe.scene_grade, generator)
    grade = draw_grade(SCENE, generator, illuminants)
    flaw = draw_mask_flaw(WIDE, generator) if happens(recipe.mask_flaw, generator) else None
    amount = 0.0 if happens(recipe.unchanged, generator) else uniform(recipe.amount, generator)
    if kind == "taken":
        return SceneParameters(kind, gains, amount, bright, tint, mask_flaw=flaw)
    amount = amount or 1.0  # a person whom a scene does not light is not a truth
    return SceneParameters(kind, gains, amount, bright, tint, window, mirrored, grade if graded else None, flaw)


def make_scene_item(
    photo: Tensor,  # [1,3,S,S] sRGB in [0,1]
    alpha: Tensor,  # [1,1,S,S]
    scene: Tensor | None,  # [1,3,h,w] where light is given
    drawn: SceneParameters,
) -> SceneItem:
    """Make an item from its parameters."""
    if scene is None:
        item, lights = _take(photo, alpha, drawn)
    else:
        item, lights = _give(photo, alpha, cut_scene(scene, photo.shape[3], drawn), drawn)
    mask = apply_mask_flaw(alpha, drawn.mask_flaw) if drawn.mask_flaw else alpha
    reports = {name: asdict(light.report()) for name, light in lights.items()}
    parameters = replace(drawn, person=reports["person"], scene=reports.get("scene"))
    return SceneItem(Triplet(item.composite, mask, item.truth), parameters)


def _take(photo: Tensor, alpha: Tensor, drawn: SceneParameters) -> tuple[Triplet, dict[str, Light]]:
    """Take its light off the person of a photo."""
    truth = adjust_white_balance(photo, torch.tensor([drawn.photo_gains]))
    person = surface(Layers(truth, alpha, truth))
    own = person_light(person.foreground, person.alpha, person.normals)
    if drawn.amount == 0:
        return Triplet(truth, alpha, truth), {"person": own}
    goal = own.lerp(_plain_light(), drawn.amount)
    plain = shade_ratio(person, own, goal).apply(truth)
    natural = torch.lerp(truth, expose(plain, alpha, drawn.bright, drawn.tint), drawn.amount)
    return Triplet(paste(natural, alpha, truth), alpha, truth), {"person": own}


def _give(photo: Tensor, alpha: Tensor, scene: Tensor, drawn: SceneParameters) -> tuple[Triplet, dict[str, Light]]:
    """Give a scene's light to a person."""
    layers = Layers(estimate_foreground(photo, alpha), alpha, scene)
    lighting = light_person(layers, ColorOptions(light=drawn.amount))
    assert lighting is not None
    lit = layers.recolor(lighting.grid)
    lights = {"person": lighting.person, "scene": lighting.scene}
    return Triplet(layers.composite(), alpha, lit.composite()), lights


def cut_scene(scene: Tensor, size: int, drawn: SceneParameters) -> Tensor:
    """Cut a drawn square of a scene, balance and grade it -> [1,3,size,size]."""
    height, width = scene.shape[2:]
    side = round(drawn.window[2] * min(height, width))
    left, top = (round(place * (room - side)) for place, room in zip(drawn.window, (width, height), strict=False))
    square = scene[:, :, top : top + side, left : left + side]
    square = F.interpolate(square, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0.0, 1.0)
    square = adjust_white_balance(square.flip(3) if drawn.mirrored else square, torch.tensor([drawn.photo_gains]))
    return apply_grade(square, drawn.grade) if drawn.grade else square


def expose(image: Tensor, alpha: Tensor, bright: float, tint: tuple[float, float]) -> Tensor:
    """Expose and balance [1,3,H,W] for the person in it, as a camera does that sees nothing else.

    Args:
        image: the person under a plain light.
        alpha: [1,1,H,W].
        bright: luminance, linear, that the brightest tenth of the person gets.
        tint: log2 warmth and magenta that are left.
    """
    linear, inside = srgb_to_linear(image), alpha[0, 0] > 0.9
    if not inside.any():
        return image
    red, green, blue = torch.log2(linear[0, :, inside].mean(dim=1) + _DARKEST).tolist()
    warm, magenta = (red - blue) / 2 - _USUAL[0], (red + blue) / 2 - green - _USUAL[1]
    warm = tint[0] - min(max(_BALANCED * warm, -_MOST_BALANCE), _MOST_BALANCE)
    magenta = tint[1] - min(max(_BALANCED * magenta, -_MOST_BALANCE), _MOST_BALANCE)
    gains = torch.tensor([[magenta / 3 + warm, -2 * magenta / 3, magenta / 3 - warm]]).exp2()
    balanced = adjust_white_balance(image, gains)
    seen = float(luma(srgb_to_linear(balanced))[0, 0][inside].quantile(_BRIGHTEST))
    stops = min(max(log2(bright / max(seen, _DARKEST)), -_MOST_STOPS / 2), _MOST_STOPS)
    return adjust_exposure(balanced, torch.tensor([stops]))


def _plain_light() -> Light:
    """A soft white light from above the camera, of the usual level."""
    direction, ambient = _PLAIN
    grey = sphere_light(torch.tensor([direction]), torch.tensor([ambient]), torch.ones(1))
    shape = (grey[:, 1:] / grey[:, :1])[:, :, None].expand(-1, -1, 3)
    return Light.of(torch.zeros(1, 3), shape)
