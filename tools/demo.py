"""Compose an astronaut into another place: both pictures come with scikit-image, so nothing is downloaded."""

import sys
from pathlib import Path

from skimage import data

import hpbnet
from hpbnet.image import write_picture
from hpbnet.image.picture import to_planes


def main(folder: Path) -> None:
    """Write portrait, background and result into a folder, and say where the result is."""
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(folder / "portrait.jpg", to_planes(data.astronaut()))  # NASA, public domain
    write_picture(folder / "background.jpg", to_planes(data.rocket()))  # SpaceX, CC0
    composition = hpbnet.Pipeline.from_pretrained()(folder / "portrait.jpg", folder / "background.jpg")
    composition.save(folder / "result.png")
    for notice in composition.notices:
        print(f"note: {notice}")
    print(f"The result is {folder / 'result.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
