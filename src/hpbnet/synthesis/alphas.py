"""Find the portraits of a dataset-to-be, and make the mattes of those that have none."""

from collections.abc import Collection, Sequence
from pathlib import Path

from ..image import read_picture, write_picture
from ..matte import estimate_alpha
from ..models import load_network
from .folders import locked
from .portraits import Portrait, by_stem, find_portraits, read_index, read_rows


def list_portraits(
    folder: Path,  # of photos, or one with index.csv, images/ and alpha/
    split: str,  # of the index
    names: set[str] | None,  # None: all
    alphas: Path | None,  # of mattes paired by stem
    made: Path,  # where mattes are put if there are none
) -> tuple[list[Portrait], list[str]]:
    """List the portraits to use, each with a matte, and which photos could not be matted and why."""
    if (folder / "index.csv").is_file():
        portraits = [portrait for portrait in read_index(folder, split) if names is None or portrait.name in names]
        if not portraits:
            raise ValueError(f"{folder / 'index.csv'} lists no usable portrait of split {split!r}")
        return portraits, _unusable(folder, split, names, portraits)
    if alphas is not None:
        return find_portraits(folder, alphas, names), []
    chosen = names if names is not None else by_stem(folder).keys()
    skipped = make_alphas(folder, made, chosen)
    return find_portraits(folder, made, chosen & by_stem(made).keys()), skipped


def read_names(path: Path) -> set[str]:
    """Read names, one a line.

    Raises:
        ValueError: the file is not text.
        OSError: it cannot be opened.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text; expected names, one a line") from None
    return {line.strip() for line in lines if line.strip()}


def _unusable(folder: Path, split: str, names: set[str] | None, portraits: Sequence[Portrait]) -> list[str]:
    """Tell which listed names of an index cannot be used.

    Raises:
        ValueError: some are not in the index at all.
    """
    if names is None:
        return []
    if unknown := names - {row.get("name") for row in read_rows(folder / "index.csv")}:
        raise ValueError(f"{len(unknown)} listed names are not in {folder / 'index.csv'} ({_first(unknown)})")
    left = names - {portrait.name for portrait in portraits}
    return [f"{len(left)} listed names that are not usable in split {split!r} ({_first(left)})"] if left else []


def _first(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")


def make_alphas(photos: Path, alphas: Path, names: Collection[str]) -> list[str]:
    """Matte the photos that have no alpha yet; return which are not pictures, and why."""
    missing = {stem: path for stem, path in by_stem(photos).items() if stem in names}
    network, skipped = load_network("matting"), list[str]()
    with locked(alphas):
        for stem, path in missing.items():
            if (alphas / f"{stem}.png").is_file():
                continue
            try:
                pixels = read_picture(path).pixels
            except ValueError as error:
                skipped.append(f"{stem}: {error}")
                continue
            write_picture(alphas / f"{stem}.png", estimate_alpha(network, pixels))
    return skipped
