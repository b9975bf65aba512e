"""Compose an astronaut into another place: both pictures come with scikit-image, so nothing is downloaded."""

import sys
from pathlib import Path

import torch
from skimage import data
from torch.nn.functional import interpolate

import hpbnet
from hpbnet.image import write_picture
from hpbnet.image.picture import to_planes


def main(folder: Path) -> None:
    """Write portrait, background, result and the three side by side into a folder, and say where the result is."""
    folder.mkdir(parents=True, exist_ok=True)
    portrait, background = to_planes(data.astronaut()), to_planes(data.rocket())
    write_picture(folder / "portrait.jpg", portrait)  # NASA, public domain
    write_picture(folder / "background.jpg", background)  # SpaceX, CC0
    composition = hpbnet.Pipeline.from_pretrained()(folder / "portrait.jpg", folder / "background.jpg")
    composition.save(folder / "result.png")
    height = background.shape[-2]
    portrait = interpolate(portrait, (height, height), mode="bilinear", antialias=True)
    write_picture(folder / "side_by_side.jpg", torch.cat([portrait, background, composition.image], dim=-1), quality=88)
    for notice in composition.notices:
        print(f"note: {notice}")
    print(f"The result is {folder / 'result.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
