"""Small triplets on disk and a method that brightens, for the tests of evaluation."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hpbnet.affine_grid import AffineGrid
from hpbnet.evaluation.dataset import Dataset, read_dataset
from hpbnet.evaluation.run import HarmonizerMethod
from hpbnet.layers import Layers

SIZE = 24
NAMES = ("ann_1", "ann_2", "bob_1", "cy_1")


def save(path: Path, picture: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)


def make_triplet(folder: Path, name: str, generator: torch.Generator, darken: float = 0.8) -> None:
    """Write a triplet whose foreground is its truth times `darken`."""
    truth = 0.2 + 0.6 * torch.rand(3, SIZE, SIZE, generator=generator)
    mask = torch.zeros(1, SIZE, SIZE)
    mask[:, 6:, 4:20] = 1
    save(folder / "real_images" / f"{name}.png", truth)
    save(folder / "masks" / f"{name}.png", mask)
    save(folder / "composite_images" / f"{name}.png", torch.lerp(truth, truth * darken, mask))


def make_dataset(folder: Path, generator: torch.Generator) -> Dataset:
    """Write four triplets of three portraits."""
    for index, name in enumerate(NAMES):
        make_triplet(folder, name, generator, darken=0.9 - 0.1 * index)
    lines = [json.dumps({"name": name, "portrait": name.split("_")[0], "face": [4, 6, 16, 18]}) for name in NAMES]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return read_dataset(folder)


def brighten(by: float, calls: list[int] | None = None) -> Callable[[Layers], AffineGrid]:
    def harmonizer(layers: Layers) -> AffineGrid:
        if calls is not None:
            calls.append(1)
        return AffineGrid.uniform(by * torch.eye(3, 4)[None])

    return harmonizer


def method(
    name: str = "bright", by: float = 1.2, weight: str = "w", calls: list[int] | None = None
) -> HarmonizerMethod:
    return HarmonizerMethod(name, name, brighten(by, calls), weight)
