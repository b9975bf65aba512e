"""Find the portraits of a dataset-to-be, and make the mattes of those that have none."""

from collections.abc import Collection
from pathlib import Path

from ..image import read_picture, write_picture
from ..matte import estimate_alpha
from ..models import load_network
from .portraits import Portrait, by_stem, find_portraits, read_index


def list_portraits(
    folder: Path,  # of photos, or one with index.csv, images/ and alpha/
    split: str,  # of the index
    names: set[str] | None,  # None: all
    alphas: Path | None,  # of mattes paired by stem
    made: Path,  # where mattes are put if there are none
) -> tuple[list[Portrait], list[str]]:
    """List the portraits to use, each with a matte, and which photos could not be matted and why."""
    if (folder / "index.csv").is_file():
        portraits = [face for face in read_index(folder, split) if names is None or face.name in names]
        if not portraits:
            raise ValueError(f"{folder / 'index.csv'} lists no usable portrait of split {split!r}")
        return portraits, []
    if alphas is not None:
        return find_portraits(folder, alphas, names), []
    wanted = names if names is not None else by_stem(folder).keys()
    skipped = make_alphas(folder, made, wanted)
    return find_portraits(folder, made, wanted & by_stem(made).keys()), skipped


def read_names(path: Path) -> set[str]:
    """Read names, one a line."""
    return {line.strip() for line in path.read_text().splitlines() if line.strip()}


def make_alphas(photos: Path, alphas: Path, names: Collection[str]) -> list[str]:
    """Matte the photos that have no alpha yet; return which are no pictures and why."""
    alphas.mkdir(parents=True, exist_ok=True)
    network, skipped = load_network("matting"), list[str]()
    for stem, path in by_stem(photos).items():
        place = alphas / f"{stem}.png"
        if place.is_file() or stem not in names:
            continue
        try:
            write_picture(place, estimate_alpha(network, read_picture(path).pixels))
        except ValueError as error:
            skipped.append(f"{stem}: {error}")
    return skipped
