"""Datasets of triplets (composite, mask, truth) on disk, and folders of results paired with them by name.

Knows two naming rules: all three files share a stem (what `synthesize` writes), or iHarmony4's, where the composite
`NAME_MASK_VARIANT` belongs to the mask `NAME_MASK` and the truth `NAME`. Nothing is ever paired by order.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import PICTURE_SUFFIXES, stem_of
from ..image import read_mask, read_picture
from ..triplet import Triplet

COMPOSITES, MASKS, TRUTHS = "composite_images", "masks", "real_images"

_WRONG_MASK_MSE = 25.0  # above JPEG noise
_WRONG_MASK_RATIO = 4.0  # outside to inside; a flawed mask leaves errors of the same size on both sides


@dataclass(frozen=True)
class PhotoLight:
    """How the truth's light differs from the photo's, according to a manifest."""

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # white balance in gamma-2.2 light
    graded: bool = False  # more was done than white balance


@dataclass(frozen=True)
class DatasetItem:
    """One triplet on disk."""

    name: str  # unique in the dataset: the composite's stem, after its subset's name where there are several
    composite: Path
    mask: Path
    truth: Path
    portrait: str  # the photo it was made from; items of one portrait are not independent
    subset: str = ""
    face: tuple[float, float, float, float] | None = None  # x, y, width, height [px]
    light: PhotoLight = PhotoLight()


@dataclass(frozen=True)
class Problem:
    """What could not be measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The triplets of a dataset, and what in its folders belongs to none."""

    name: str
    items: tuple[DatasetItem, ...]
    problems: tuple[Problem, ...] = ()


def read_dataset(folder: Path, names: Path | None = None) -> Dataset:
    """List the triplets of a folder.

    Args:
        folder: has composite_images/, masks/ and real_images/, or subsets that do (iHarmony4, whose test lists are
            obeyed if they are there).
        names: a file that lists the composites to use, one a line; by default all are used.

    Raises:
        ValueError: there is no dataset, or nothing of it is listed.
    """
    if not folder.is_dir():
        raise ValueError(f"no dataset at {folder}: there is no such folder")
    subsets = [folder] if (folder / COMPOSITES).is_dir() else sorted(p.parent for p in folder.glob(f"*/{COMPOSITES}"))
    if not subsets:
        raise ValueError(
            f"{folder} is not a dataset: expected {COMPOSITES}/, {MASKS}/ and {TRUTHS}/ in it or in its subsets"
        )
    requested = _read_names(names) if names else None
    items: list[DatasetItem] = []
    problems: list[Problem] = []
    for subset in subsets:
        label = "" if subset == folder else subset.name
        listed = requested if requested is not None else _published_test_list(folder, subset)
        pairs = list(_pair(subset, label, listed))
        items += [pair for pair in pairs if isinstance(pair, DatasetItem)]
        problems += [pair for pair in pairs if isinstance(pair, Problem)]
    if requested is not None:
        known = [item.name for item in items] + [problem.name for problem in problems]
        known += [name.split("/")[-1] for name in known]
        unknown = sorted(requested.difference(known))
        problems += [Problem(name, f"is listed in {names}, but there is no such composite") for name in unknown]
    if not items:
        reason = f"; {problems[0].name} {problems[0].reason}" if problems else ""
        raise ValueError(f"{folder} has no complete triplet{reason}")
    return Dataset(folder.resolve().name, tuple(items), tuple(problems))


def read_triplet(item: DatasetItem) -> Triplet:
    """Read a triplet and check that its parts belong together.

    Raises:
        ValueError: a file is not a picture, sizes differ, the mask is empty or covers the wrong part.
        OSError: a file cannot be opened.
    """
    composite, truth = read_opaque(item.composite), read_opaque(item.truth)
    mask = read_mask(item.mask)
    for what, picture in (("mask", mask), ("truth", truth)):
        if picture.shape[-2:] != composite.shape[-2:]:
            raise ValueError(f"{what} is {size_text(picture)}, the composite {size_text(composite)}")
    if mask.max() == 0:
        raise ValueError("mask is empty: there is no foreground to measure")
    squared = ((composite - truth) * 255).square().mean(dim=1, keepdim=True)
    inside = (squared * mask).sum() / mask.sum()
    outside = (squared * (1 - mask)).sum() / (1 - mask).sum().clamp_min(1e-6)
    if outside > max(_WRONG_MASK_MSE, _WRONG_MASK_RATIO * float(inside)):
        raise ValueError(
            f"wrong mask: the composite differs from the truth more outside it (MSE {outside:.0f}) than inside "
            f"({inside:.0f}); is it inverted, or another picture's?"
        )
    return Triplet(composite, mask, truth)


def read_opaque(path: Path) -> Tensor:
    """Read a picture [1,3,H,W] that must not be transparent."""
    picture = read_picture(path)
    if picture.alpha is not None:
        raise ValueError(f"{path} is transparent in parts; flatten it first")
    return picture.pixels


def pair_outputs(folder: Path, items: tuple[DatasetItem, ...]) -> dict[str, Path]:
    """Pair a folder of results with items strictly by file name without suffix -> item name to file.

    Raises:
        ValueError: a result is missing, belongs to no item, or is there twice.
    """
    if not folder.is_dir():
        raise ValueError(f"no results at {folder}: there is no such folder")
    files: dict[str, Path] = {}
    for path in _pictures(folder, recursive=True):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise ValueError(f"{folder} has {name} twice: {files[name].name} and {path.name}")
        files[name] = path
    expected = {item.name for item in items}
    if files.keys() != expected:  # perhaps the subsets' results are in one folder
        bare = {item.name: item.name.split("/")[-1] for item in items}
        if files.keys() == set(bare.values()) and len(files) == len(items):
            return {name: files[short] for name, short in bare.items()}
    differences = [
        f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", expected - files.keys()), ("without an item", files.keys() - expected))
        if names
    ]
    if differences:
        raise ValueError(f"the results in {folder} do not match the dataset by name: {' and '.join(differences)}")
    return files


def size_text(picture: Tensor) -> str:
    """Write a picture's width and height as WxH."""
    return f"{picture.shape[-1]}x{picture.shape[-2]}"


def _pair(folder: Path, label: str, listed: set[str] | None) -> Iterator[DatasetItem | Problem]:
    """Find mask and truth of every composite of one folder."""
    masks, truths, composites = (_by_stem(folder / part) for part in (MASKS, TRUTHS, COMPOSITES))
    manifest = _read_manifest(folder / "manifest.jsonl")
    for stem, path in composites.items():
        name = f"{label}/{stem}" if label else stem
        if listed is not None and not listed & {stem, name}:
            continue
        mask = masks.get(stem) or masks.get(stem.rsplit("_", 1)[0])
        truth = truths.get(stem) or truths.get(stem.rsplit("_", 2)[0])
        if mask is None or truth is None:
            part, parts = ("mask", MASKS) if mask is None else ("truth", TRUTHS)
            yield Problem(name, f"has no {part} in {folder / parts}")
            continue
        entry = manifest.get(stem, _ManifestEntry(truth.stem))
        portrait = f"{label}/{entry.portrait}" if label else entry.portrait
        yield DatasetItem(name, path, mask, truth, portrait, label, entry.face, entry.light)


@dataclass(frozen=True)
class _ManifestEntry:
    """The part of a manifest's line that an evaluation needs."""

    portrait: str
    face: tuple[float, float, float, float] | None = None
    light: PhotoLight = PhotoLight()


def _read_manifest(path: Path) -> dict[str, _ManifestEntry]:
    if not path.is_file():
        return {}
    entries = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = str(row["name"])
            entries[name] = _ManifestEntry(
                str(row.get("portrait", name)), _box(row.get("face")), _light(row.get("parameters"))
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: no manifest line with a name ({error})") from None
    return entries


def _box(value: object) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, width, height = (float(number) for number in value)
    return x, y, width, height


def _light(parameters: Mapping[str, object] | None) -> PhotoLight:
    """Read what `synthesize` did to the whole photo."""
    if parameters is None:
        return PhotoLight()
    gains, grade = parameters.get("photo_gains"), parameters.get("photo_grade")
    if not isinstance(gains, list) or len(gains) != 3:
        return PhotoLight(graded=grade is not None)
    red, green, blue = (float(gain) for gain in gains)
    return PhotoLight((red, green, blue), grade is not None)


def _published_test_list(folder: Path, subset: Path) -> set[str] | None:
    """Read iHarmony4's list of test composites where it is there."""
    for path in (folder / "IHD_test.txt", subset / f"{subset.resolve().name}_test.txt"):
        if path.is_file():
            return _read_names(path)
    return None


def _read_names(path: Path) -> set[str]:
    """Read composites' names: `SUBSET/composite_images/NAME.jpg`, `NAME.jpg` or `NAME`, one a line."""
    names = set()
    for line in filter(None, map(str.strip, path.read_text().splitlines())):
        listed = Path(line)
        stem = listed.stem if listed.suffix.lower() in PICTURE_SUFFIXES else listed.name
        parents = [part for part in listed.parts[:-1] if part not in (COMPOSITES, ".", "/")]
        names.add("/".join([*parents[-1:], stem]))
    return names


def _by_stem(folder: Path) -> dict[str, Path]:
    return {stem_of(path): path for path in _pictures(folder)}


def _pictures(folder: Path, recursive: bool = False) -> list[Path]:
    paths = folder.rglob("*") if recursive else folder.glob("*")
    return sorted(p for p in paths if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith("."))


def quantize(image: Tensor) -> Tensor:
    """Round to the 256 levels of a saved picture, so that a method and its saved results measure alike."""
    return torch.round(image.clamp(0, 1) * 255) / 255
