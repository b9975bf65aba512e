"""How the light of a background changes over time, and how much of that change the person shows.

A harmonizer judges each picture by itself and answers a dusk weakly: it cannot know that the same place was lighter
before. Here only the background's change since its scene began is followed, in part and within limits, so that a
single picture, and any background that stays as it is, are untouched. What the harmonizer has followed by itself is
taken off. All numbers are of sRGB values, where a gain stands for its 2.2th power in linear light.
"""

from dataclasses import dataclass, replace
from math import exp
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..affine_grid import AffineGrid
from ..color import LUMA
from ..layers import Layers
from .pixels import Floats, Pixels, resize

LIGHT_SECONDS = 0.3  # [s] time constant: shorter than the grid's, for a picture's mean hardly flickers
_TINT_PART = 0.5  # of what is followed of brightness: a place's tint is its things', too
_MOST_DARKER, _MOST_LIGHTER = 1.0, 0.4  # log gains approached, never reached: -3.2 and +1.3 EV
_MOST_TINT = 0.12  # log gain of a channel over that of brightness
_LEAST_WEIGHT = 0.05  # of a pixel behind the person, where nothing else is seen
_DARKEST = 4.0  # of 255, added to means, so that a fade to black has a finite ratio

Logs = NDArray[np.float64]  # [3] natural logarithms of R, G, B


@dataclass(frozen=True)
class LightChange:
    """How the light of a scene has changed since the scene began."""

    weight: Floats  # [h,w] of a thumbnail's pixels: what was seen beside the person then, or motion would be light
    first: Logs  # of the scene's mean colour then
    now: Logs  # of its mean colour, smoothed
    answered: Logs  # of the gain that the harmonizer's first answer gave the person
    answering: Logs  # of the gain of its answers, smoothed as they are


def begin(scene: Pixels, alpha: Tensor, answer: Logs) -> LightChange:
    """Begin a scene.

    Args:
        scene: its first thumbnail [h,w,3].
        alpha: [1,1,k,l] of the person before it.
        answer: gain of the harmonizer's first answer.
    """
    weight = 1 - resize(alpha[0, 0].numpy(), (scene.shape[1], scene.shape[0])) + _LEAST_WEIGHT
    colour = scene_colour(scene, weight)
    return LightChange(weight, colour, colour, answer, answer)


def come_back(light: LightChange, scene: Pixels, answer: Logs) -> LightChange:
    """Go on with a scene that has begun, for somebody who comes into it."""
    return LightChange(light.weight, light.first, scene_colour(scene, light.weight), answer, answer)


def follow(light: LightChange, scene: Pixels, answer: Logs, seconds: float, weight: float) -> LightChange:
    """Move towards the scene's present light, and by a weight, as the grid moves, towards the gain of an answer.

    Args:
        light: before.
        scene: thumbnail [h,w,3].
        answer: gain of the harmonizer's last answer.
        seconds: since then [s].
        weight: 0 stays, 1 jumps.
    """
    now = light.now + (1 - exp(-seconds / LIGHT_SECONDS)) * (scene_colour(scene, light.weight) - light.now)
    return replace(light, now=now, answering=light.answering + weight * (answer - light.answering))


def lit(grid: AffineGrid, light: LightChange, part: float) -> AffineGrid:
    """Let a part of the light's change fall on the person, beside what the harmonizer has followed."""
    gains = np.exp(_missing(_goal(light.now - light.first, part), light.answering - light.answered))
    if (gains == 1).all():
        return grid
    return AffineGrid(grid.matrix * torch.from_numpy(gains).to(grid.matrix).view(1, 3, 1, 1, 1, 1))


def scene_colour(scene: Pixels, weight: Floats) -> Logs:
    """Log of the weighted mean colour of a thumbnail [h,w,3]."""
    mean = np.einsum("hwc,hw->c", scene, weight, dtype=np.float64) / weight.sum(dtype=np.float64)
    return cast(Logs, np.log(mean + _DARKEST))


def answer_gain(grid: AffineGrid, layers: Layers) -> Logs:
    """Log of the gain that a grid gives the person's mean colour in small layers."""
    total = layers.alpha.sum().clamp_min(1e-3)
    before, after = (
        (image * layers.alpha).sum((0, 2, 3)) / total for image in (layers.foreground, grid.apply(layers.foreground))
    )
    floor = _DARKEST / 255
    return cast(Logs, torch.log((after + floor) / (before + floor)).double().numpy())


def _goal(change: Logs, part: float) -> Logs:
    """Choose the log gains that follow a change of the scene's log colour, in part and within limits."""
    brightness = _brightness(change)
    most = _MOST_DARKER if brightness < 0 else _MOST_LIGHTER
    tint = np.clip(part * _TINT_PART * (change - brightness), -_MOST_TINT, _MOST_TINT)
    return cast(Logs, most * np.tanh(part * brightness / most) + tint)


def _missing(goals: Logs, own: Logs) -> Logs:
    """Take off what was followed already, as far as it goes the same way; brightness and tint apart."""
    parts = (_brightness(goals), _brightness(own)), (goals - _brightness(goals), own - _brightness(own))
    left = [goal - np.clip(done, np.minimum(goal, 0), np.maximum(goal, 0)) for goal, done in parts]
    return cast(Logs, left[0] + left[1])


def _brightness(logs: Logs) -> float:
    return float(logs @ np.array(LUMA))
