"""The photos on which cut-outs are measured, none of them seen in training: `evaluate_matting.py` says what for.

Knows where photos, truths and given answers lie and which group of people a photo belongs to. Knows no matting.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpbnet.evaluation.dataset import PhotoLight
from hpbnet.evaluation.identity import YuNet, skin_group, typology_angle
from hpbnet.matte import estimate_foreground

Floats = NDArray[np.float32]

PASTED = 60  # pictures
LOW, TALL = 0.5, 0.75  # share of the picture's height between which people are of middle size
# By eye, of human_seg and flickr8k_people: who is none of these stands or sits alone and shows the front.
POSES = {
    "behind": {"1718184338_5968d88edb", "148", "149"},
    "seated": {"1794818900_e0ffdd268e", "2056930414_d2b0f1395a", "2068960566_21e85ae0dc", "2085403342_a17b0654fe"}
    | {"1977827746_4e13d7e19f", "2097420505_439f63c863", "249", "256", "50", "52", "53", "54"},
    "group": {"2078311270_f01c9eaf4c", "251", "252", "253", "254", *(str(number) for number in range(240, 249))},
}
POSED = ("human_seg", "flickr8k_people")  # the sources whose poses are known


class Case(NamedTuple):
    """One photo and what is known of it."""

    set: str
    name: str
    folder: str  # of the data in which the photo lies
    photo: Tensor  # [1,3,H,W]
    truth: Floats  # [H,W]
    mask: Floats | None = None  # [H,W] a human's, where the truth is a teacher's


def selfies(data: Path, _: Path) -> Iterator[Case]:
    """List the validation portraits whose teacher is trusted."""
    folder = data / "portraits"
    for row in csv.DictReader((folder / "index.csv").read_text().splitlines()):
        if row["split"] != "val" or not 0.08 <= float(row["coverage"]) <= 0.92 or float(row["iou"] or 1) < 0.9:
            continue
        photo = read_photo(folder / "images" / f"{row['name']}.webp")
        truth = read_alpha(folder / "alpha" / f"{row['name']}.webp", photo)
        file = folder / "masks" / f"{row['name']}.png"
        mask = read_alpha(file, photo) if row["source"] == "eg1800" and row["iou"] and file.exists() else None
        yield Case("selfies", row["name"], "portraits", photo, truth, mask)


def people(data: Path, prepared: Path) -> Iterator[Case]:
    """List the people that are held out."""
    for row in csv.DictReader((prepared / "index.csv").read_text().splitlines()):
        if row["split"] == "val" and row["kind"] == "person":
            photo = read_photo(data / "people" / "images" / f"{row['name']}.webp")
            file = data / "people" / "masks" / f"{row['name']}.png"
            if not file.exists():
                file = data / "people" / "alpha" / f"{row['name']}.webp"
            yield Case("people", row["name"], "people", photo, read_alpha(file, photo))


def pasted(data: Path, _: Path) -> Iterator[Case]:
    """Make pictures of selfies that are small in a scene: each stands on the lower edge or hangs above it."""
    rng = np.random.default_rng(16)
    rows = list(csv.DictReader((data / "portraits" / "index.csv").read_text().splitlines()))
    names = [row["name"] for row in rows if row["split"] == "val" and 0.15 <= float(row["coverage"]) <= 0.8]
    scenes = validation_scenes(data)
    for name in rng.permutation(names)[:PASTED]:
        photo = read_photo(data / "portraits" / "images" / f"{name}.webp")
        alpha = torch.from_numpy(read_alpha(data / "portraits" / "alpha" / f"{name}.webp", photo))[None, None]
        person = torch.cat([estimate_foreground(photo, alpha), alpha], dim=1)[0].permute(1, 2, 0).numpy()
        scene = read_photo(scenes[rng.integers(len(scenes))])[0].permute(1, 2, 0).numpy()
        height, width = scene.shape[:2]
        tall = rng.uniform(0.3, 0.6) * height
        wide = tall * person.shape[1] / person.shape[0]
        size = min(round(wide), width), round(tall)
        person = cv2.resize(person, size, interpolation=cv2.INTER_AREA)
        left = int(rng.integers(0, width - size[0] + 1))
        top = height - size[1] - int(rng.integers(0, 2) * rng.uniform(0, 0.3) * height)
        box = np.s_[top : top + size[1], left : left + size[0]]
        picture, truth = scene.copy(), np.zeros((height, width), np.float32)
        truth[box] = person[..., 3].clip(0, 1)
        picture[box] += truth[box][..., None] * (person[..., :3] - picture[box])
        pixels = torch.from_numpy(picture.clip(0, 1)).permute(2, 0, 1)[None].contiguous()
        yield Case("pasted", str(name), "pasted", pixels, truth)


def empty(data: Path, _: Path) -> Iterator[Case]:
    """List the scenes without people."""
    for file in validation_scenes(data):
        photo = read_photo(file)
        yield Case("empty", file.stem, "backgrounds", photo, np.zeros(photo.shape[-2:], np.float32))


def heads(data: Path, _: Path) -> Iterator[Case]:
    """List sharp portraits of 1,024 px."""
    for file in sorted((data / "portraits-1024" / "images").iterdir()):
        photo = read_photo(file)
        truth = read_alpha(next((data / "portraits-1024" / "alpha").glob(f"{file.stem}.*")), photo)
        yield Case("heads", file.stem, "portraits-1024", photo, truth)


def edges(data: Path, prepared: Path) -> Iterator[Case]:
    """List the true mattes and the heads."""
    for file in sorted((data / "people" / "images").glob("alphamatting*")):
        photo = read_photo(file)
        truth = read_alpha(next((data / "people" / "alpha").glob(f"{file.stem}.*")), photo)
        yield Case("edges", file.stem, "people", photo, truth)
    yield from (case._replace(set="edges") for case in heads(data, prepared))


SETS: dict[str, Callable[[Path, Path], Iterator[Case]]] = {
    "selfies": selfies,
    "people": people,
    "pasted": pasted,
    "empty": empty,
    "heads": heads,
    "edges": edges,
}


def answer_file(pattern: str, case: Case) -> Path | None:
    """Find the answer that others gave to a photo: `pattern` has {set}, {folder} and {name}."""
    file = Path(pattern.format(set=case.set, folder=case.folder, name=case.name))
    return file if file.exists() else None


def groups(case: Case, faces: YuNet | None) -> list[str]:
    """Name the groups that a photo of people belongs to: by skin tone, by size in the frame, by pose."""
    named = []
    points = faces(case.photo, None) if faces else None
    angle = typology_angle(case.photo, points, PhotoLight()) if points is not None else None
    if angle is not None:
        named.append(f"skin: {skin_group(angle)}")
    if case.set == "people":
        tall = cv2.boundingRect((case.truth > 0.5).astype(np.uint8))[3] / case.truth.shape[0]
        named.append("height: low" if tall < LOW else "height: middle" if tall < TALL else "height: tall")
        source, key = case.name.split("__")
        if source in POSED:
            named.append("pose: " + next((pose for pose, keys in POSES.items() if key in keys), "front"))
    return named


def validation_scenes(data: Path) -> list[Path]:
    """List the scenes that no training sees."""
    rows = csv.DictReader((data / "backgrounds" / "index.csv").read_text().splitlines())
    return [data / "backgrounds" / row["file"] for row in rows if row["split"] == "val"]


def read_photo(file: Path) -> Tensor:
    """Read a photo [1,3,H,W]."""
    pixels = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


def read_alpha(file: Path, photo: Tensor) -> Floats:
    """Read an alpha or a mask [H,W] at the photo's size."""
    alpha = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).astype(np.float32)
    alpha = alpha / (alpha.max() if alpha.max() < 3 and alpha.max() > 0 else 255)
    size = photo.shape[3], photo.shape[2]
    resized = alpha if alpha.shape == size[::-1] else cv2.resize(alpha, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(resized.clip(0, 1), np.float32)
