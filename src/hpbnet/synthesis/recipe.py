"""What is drawn for an item, from which distribution: the named recipes.

`paper` is section 3.1 of the paper: gains 0.75-1.3 on the whole photo and on the reference, Reinhard's transfer towards
the reference's portrait, a random frontal sphere light by the relighter; every item, at full strength, with its soft
matte as mask.

`wide` draws for each item, independently:

    truth    gains as above; in 35 % a grade of the whole photo (dusk, dim rooms, coloured lamps, flat or hard tones)
    nothing  12 % of the items need no change
    colour   35 % none, 35 % Reinhard, 15 % covariance, 15 % histogram transfer
    light    40 % none, 35 % the relighter's sphere light, 25 % a coloured directional light on estimated normals
    grade    40 % a grade of the person alone; always where neither colour nor light changed
    capture  20 % noise, blur or JPEG in the person alone
    strength 25 % the whole disturbance at 0.4-1 of its strength
    mask     30 % the mask handed over is not the one that pasted: grown, shrunk, blurred, hard, or with a hole

`scene` is made otherwise (`scene.py`): the person looks natural, the truth is natural in this scene. In turn

    taken    a photo in strong light (`lit.py`) is the truth; the light is taken off the person, who is then exposed and
             balanced as a camera would: the brightest tenth at 0.32-0.55, a tint of up to 0.15 stops left; in 10 % of
             them nothing is changed
    given    a portrait in ordinary light before a scene in strong light, 25 % of them graded; the truth is the person
             under 70-100 % of the light that `light.scene_light` reads
    mask     as in `wide`

`relit` changes the light alone: pools of it keep a slow relighter's result, and a training draws all the rest anew.

A grade is one to five of: white balance gains, a light's colour (measured illuminants where given, else black bodies),
exposure, a tone curve, saturation; the ranges are in `GradeRanges`.
"""

from dataclasses import dataclass

from .draws import Range

Chances = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class GradeRanges:
    """Ranges of a grade's draws, and how often each part is drawn."""

    probability: float = 0.5  # of each part; if none falls, the exposure does
    gains: Range = (0.75, 1.3)
    stops: Range = (-1.2, 0.8)
    mired: Range = (110.0, 370.0)  # colour of the light as 1e6 / colour temperature: 9100 K to 2700 K
    gamma: Range = (0.75, 1.35)
    contrast: Range = (-0.7, 0.6)
    black: Range = (0.0, 0.08)
    white: Range = (0.9, 1.0)
    saturation: Range = (0.6, 1.4)


PERSON = GradeRanges()
# a whole photo may be much darker: dusk, a dim room, a person against the light
SCENE = GradeRanges(probability=0.45, stops=(-2.2, 0.6), mired=(90.0, 450.0), saturation=(0.5, 1.5))


@dataclass(frozen=True)
class Recipe:
    """Ranges of uniform draws, and chances; the defaults are the paper's."""

    name: str
    photo_gains: Range = (0.75, 1.3)  # of the whole photo and of the reference, in gamma-2.2 linear light
    photo_grade: float = 0.0
    unchanged: float = 0.0
    transfer: Chances = (("reinhard", 1.0),)
    light: Chances = (("sphere", 1.0),)
    ambient: Range = (0.15, 0.65)  # share of the light that comes from everywhere
    intensity: Range = (0.55, 1.0)
    tint_mired: Range = (90.0, 450.0)  # colour of a coloured light
    grade: float = 0.0
    capture: float = 0.0
    noise: Range = (0.005, 0.04)
    blur: Range = (0.4, 1.5)  # [px] of 256
    jpeg: Range = (25.0, 80.0)
    partial: float = 0.0
    strength: Range = (0.4, 1.0)
    mask_flaw: float = 0.0
    mask_reach: Range = (0.6, 3.0)  # [px] of 256


@dataclass(frozen=True)
class SceneRecipe:
    """Ranges of the draws of the recipe `scene`, and chances."""

    name: str = "scene"
    photo_gains: Range = (0.9, 1.12)  # of the whole photo (taken), or of the scene (given)
    amount: Range = (0.7, 1.0)  # share of the light that is taken or given
    unchanged: float = 0.1  # of the photos in strong light
    bright: Range = (0.32, 0.55)  # luminance of the brightest tenth of a person whom a camera exposes
    warmth: Range = (-0.15, 0.15)  # [log2] that its white balance leaves
    magenta: Range = (-0.06, 0.06)
    scene_grade: float = 0.25  # of the scenes in strong light
    mask_flaw: float = 0.3


PAPER = Recipe("paper")
WIDE = Recipe(
    "wide",
    photo_grade=0.35,
    unchanged=0.12,
    transfer=(("none", 0.35), ("reinhard", 0.35), ("covariance", 0.15), ("histogram", 0.15)),
    light=(("none", 0.4), ("sphere", 0.35), ("coloured", 0.25)),
    grade=0.4,
    capture=0.2,
    partial=0.25,
    mask_flaw=0.3,
)
RELIT = Recipe("relit", photo_gains=(1.0, 1.0), transfer=(("none", 1.0),))
RECIPES = {recipe.name: recipe for recipe in (PAPER, WIDE, RELIT)}
LIT = SceneRecipe()
NAMES = (*RECIPES, LIT.name)
