"""Scenes without people and the light in them, for training items of the harmonizer."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import disturb
from ..color import luma, masked_mean, planckian_illuminant
from ..synthesis.folders import path_inside
from ..synthesis.plan import read_numbers
from ..synthesis.portraits import read_rows


def brighter(scene: Tensor, truth: Tensor, weight: Tensor) -> float:
    """How many stops a scene is brighter than the weighted part of a photo, by their mean luma."""
    new, own = masked_mean(luma(scene), weight).clamp_min(0.02), masked_mean(luma(truth), weight).clamp_min(0.02)
    return float((new / own).log2()) * disturb.GAMMA


def light_by_scene(truth: Tensor, mask: Tensor, scene: Tensor, rng: np.random.Generator) -> Tensor:
    """Put a part of a scene's mean light on a photo that was taken in white light: of its colour, of its brightness.

    The brightness is relative to the photo's own surroundings. Only a part, for a mean is no light: things have colours
    of their own, and lamps are seen that do not shine on the person.
    """
    ambient = (scene**disturb.GAMMA).mean(dim=(2, 3)).clamp_min(1e-3)  # [1,3]
    ambient = (ambient / ambient.mean()).clamp(0.35, 2.5)
    lit = disturb.adjust_illuminant(truth, torch.ones(1, 3), ambient ** float(rng.uniform(0.4, 0.6)))
    stops = np.clip(0.4 * brighter(scene, truth, 1 - mask), -1.5, 0.6)
    return disturb.adjust_exposure(lit, number(stops))


def list_scenes(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the training scenes in neutral light, and those dark or with a strong cast of their own.

    Raises:
        ValueError: the index is damaged, lacks a column, or names a file outside the folder.
        OSError: there is no index.
    """
    neutral: list[Path] = []
    lit: list[Path] = []
    index = folder / "index.csv"
    try:
        for row in read_rows(index):
            if row["split"] == "train":
                plain = abs(float(row["log2_rg_linear"])) < 0.4 and abs(float(row["log2_bg_linear"])) < 0.5
                path = path_inside(folder, row["file"])
                (neutral if plain and float(row["mean_luma"]) > 0.15 else lit).append(path)
    except KeyError as error:
        raise ValueError(f"{index} has no column {error}") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{index}: {error}") from None
    return neutral, lit


def read_illuminants(path: str) -> Tensor:
    """Read measured illuminants [N,3], mean 1 each; without a file, black bodies from 2500 to 9000 [K]."""
    if not path:
        colours = planckian_illuminant(1 / torch.linspace(1 / 9000, 1 / 2500, 64))
    else:
        colours = read_numbers(Path(path))
        if colours.dim() != 2 or colours.shape[1] != 3:
            raise ValueError(f"{path} holds {list(colours.shape)}; expected [N,3] illuminants")
    return colours / colours.mean(dim=1, keepdim=True)


def number(value: float) -> Tensor:
    """A batch of one number."""
    return torch.tensor([value], dtype=torch.float32)
