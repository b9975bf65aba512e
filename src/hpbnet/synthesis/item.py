"""One item of a dataset: a truth and the same picture with a disturbed person, from one seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..disturb import adjust_white_balance, paste, transfer_color_reinhard
from ..relight import Relighter, frontal_direction, sphere_light
from .recipe import Recipe, uniform


@dataclass(frozen=True)
class Step:
    """One disturbance with what was drawn for it."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Item:
    """A triplet [1,3,H,W], [1,1,H,W], [1,3,H,W] and how it was made."""

    composite: Tensor
    mask: Tensor
    real: Tensor
    steps: tuple[Step, ...]


def make_item(
    photo: Tensor,  # [1,3,H,W] sRGB in [0,1]
    alpha: Tensor,  # [1,1,H,W] straight
    reference: Tensor,  # [1,3,h,w] another portrait, any size
    reference_alpha: Tensor,  # [1,1,h,w]
    *,
    recipe: Recipe,
    relighter: Relighter,
    generator: torch.Generator,
) -> Item:
    """Make an item: the photo white balanced, then its portrait recoloured towards the reference's and relit."""
    gains = tuple(uniform(recipe.photo_gains, generator) for _ in range(3))
    reference_gains = tuple(uniform(recipe.photo_gains, generator) for _ in range(3))
    real = adjust_white_balance(photo, torch.tensor([gains]))
    reference = adjust_white_balance(reference, torch.tensor([reference_gains]))
    recolored = paste(transfer_color_reinhard(real, alpha, reference, reference_alpha), alpha, real)
    direction = frontal_direction(generator)
    ambient, intensity = uniform(recipe.light_ambient, generator), uniform(recipe.light_intensity, generator)
    light = sphere_light(direction[None], torch.tensor([ambient]), torch.tensor([intensity]))
    composite = paste(relighter(recolored, alpha, light), alpha, real)
    steps = (
        Step("white_balance", gains),
        Step("reinhard", reference_gains),
        Step("relight", (*direction.tolist(), ambient, intensity)),
    )
    return Item(composite, alpha, real, steps)
