"""What is drawn for an item, from which distribution: the named recipes."""

from dataclasses import dataclass

import torch

Range = tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """Ranges of uniform draws."""

    name: str
    photo_gains: Range = (0.75, 1.3)  # white balance of the whole photo, before anything else (paper section 3.1)
    light_ambient: Range = (0.15, 0.65)
    light_intensity: Range = (0.55, 1.0)


PAPER = Recipe("paper")


def uniform(bounds: Range, generator: torch.Generator) -> float:
    """Draw one number."""
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))


RECIPES = {PAPER.name: PAPER}
