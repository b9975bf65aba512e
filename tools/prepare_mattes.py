"""Join photos with what is known of their mattes, once, into a folder that `hpbnet train matting` reads.

    python tools/prepare_mattes.py DATA OUT [--network WEIGHTS]

DATA holds portraits/ and people/ (images/, alpha/, masks/, isnet/, index.csv). For each photo OUT gets NAME.npy:
[H,W,8] bytes, the photo's RGB, alpha, the person's own RGB, and how sure alpha is (0: nothing is learned there).
index.csv lists them. The body comes from a human mask or the first teacher, hair from ISNet where both agree roughly;
where they do not, a band along the edge is unsure. Photos that only ISNet knows are taken where a network of ours, from
an earlier stage, sees the same people. Files that exist are kept. Held out for validation, by id: ccp from 806 on,
human_seg whose id divided by 20 leaves 2 of 5, the davis clip dance-twirl, every fifth photo of flickr8k_people, every
third of alphamatting (objects, not people), and the portraits' own.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hpbnet.matte import Matting, matting_by_name
from hpbnet.training.cuts import Cut, clean_foreground, write_cut

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

LEAST_AGREEMENT = 0.85  # IoU of ISNet and mask, below which ISNet is not used
LEAST_CONSENT = 0.92  # IoU of ISNet and our network, below which a photo that nobody else knows is left out
MOST_DIFFERENCE = 0.35  # of the local means of both, from which the place is unsure
LONGEST = 800  # [px] a larger photo is reduced
# Photos of flickr8k_people, by their place in sorted order, in which ISNet keeps things, loses people, or leaves haze.
FLAWED = {5, 6, 7, 16, 19, 20, 24, 25, 27, 29, 31, 34, 35, 37, 40, 43, 45, 46, 49, 56, 63, 66, 68, 69, 75}
CROWDED = "davis_people__breakdance"  # a clip whose masks leave out the people around
# How far the mask's edge may be off, as a share of the photo's longer side.
MASK_ERROR = {"ccp": 0.02, "human_seg": 0.012, "davis_people": 0.008, "eg1800": 0.02}


@dataclass(frozen=True)
class Source:
    """A photo and the files that know something of its matte."""

    name: str
    source: str
    split: str
    plain: bool
    photo: Path
    alpha: Path  # a teacher's, soft
    mask: Path  # a human's, hard
    isnet: Path

    @property
    def person(self) -> bool:
        """Whether it is one of `people/`: whole or half-length figures."""
        return self.photo.parent.parent.name == "people"


def main() -> None:
    """Parse, join, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", help="weights of an earlier stage, to check photos that only ISNet knows")
    arguments = parser.parse_args()
    matting = matting_by_name(arguments.network) if arguments.network else None
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = ["name,source,split,kind,plain"]
    for source in [*people(arguments.data / "people"), *portraits(arguments.data / "portraits")]:
        file = arguments.out / f"{source.name}.npy"
        cut = None if file.exists() else join(source, matting)
        if cut is not None:
            write_cut(file, cut)
        if file.exists():
            kind = "object" if source.source == "alphamatting" else "person" if source.person else "portrait"
            rows.append(f"{source.name},{source.source},{source.split},{kind},{int(source.plain)}")
    (arguments.out / "index.csv").write_text("\n".join(rows) + "\n")


def people(folder: Path) -> Iterator[Source]:
    """List the people whose matte is known."""
    rows = sorted(csv.DictReader((folder / "index.csv").read_text().splitlines()), key=lambda row: row["name"])
    flickr = 0
    for row in rows:
        name, source = row["name"], row["source"]
        if row["source"] == "africa_scenes" or name.startswith(CROWDED):
            continue
        flickr += source == "flickr8k_people"
        if source == "flickr8k_people" and flickr - 1 in FLAWED:
            continue
        split = "val" if held_out(source, name.split("__")[1], flickr - 1) else "train"
        files = [folder / kind / f"{name}.webp" for kind in ("images", "alpha", "isnet")]
        files[1] = files[1] if files[1].exists() else files[1].with_suffix(".png")
        yield Source(name, source, split, False, *files[:2], folder / "masks" / f"{name}.png", files[2])


def held_out(source: str, key: str, place: int) -> bool:
    """Whether a photo of `people/` is for validation."""
    if source == "ccp":
        return int(key) >= 806
    if source == "human_seg":
        return int(key) // 20 % 5 == 2
    if source == "alphamatting":
        return int(key.removeprefix("GT")) % 3 == 0
    if source in ("africa_portraits", "ccp_unlabelled"):
        return False
    return place % 5 == 0 if source == "flickr8k_people" else key.startswith("dance-twirl")


def portraits(folder: Path) -> Iterator[Source]:
    """List the portraits; where the teacher failed and no human mask mends it they are left out."""
    for row in csv.DictReader((folder / "index.csv").read_text().splitlines()):
        name, mended = row["name"], row["source"] == "eg1800"
        failed = float(row["iou"] or 1) < (0.8 if mended else 0.9)
        if failed or not 0.08 <= float(row["coverage"]) <= 0.92:
            continue
        files = [folder / kind / f"{name}.webp" for kind in ("images", "alpha", "isnet")]
        mask = folder / "masks" / (f"{name}.png" if mended and row["iou"] else "none")
        yield Source(name, row["source"], row["split"], float(row["background_std"]) < 18, *files[:2], mask, files[2])


def join(source: Source, matting: Matting | None) -> Cut | None:
    """Join what is known of a photo's matte; None where that is too little, or contradicts itself too much."""
    photo = cv2.cvtColor(cv2.imread(str(source.photo)), cv2.COLOR_BGR2RGB)
    scale = min(1.0, LONGEST / max(photo.shape[:2]))
    if scale < 1:
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    teacher, mask, isnet = (read(file, photo) for file in (source.alpha, source.mask, source.isnet))
    if mask is not None:
        mask = (mask > (0 if mask.max() <= 2 / 255 else 0.5)).astype(np.float32)
    body = teacher if teacher is not None else mask
    if body is None:
        pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
        own = None if matting is None else matting(pixels)[0, 0].numpy()
        if own is None or iou(own, isnet) < LEAST_CONSENT:
            return None
        body = own
    error = max(2, round(MASK_ERROR.get(source.source, 0.015) * max(photo.shape[:2])))
    sure = np.ones_like(body)
    if mask is not None and body is teacher:
        body, sure = limited(body, mask, error)
    if isnet is not None and iou(isnet, body) >= LEAST_AGREEMENT:
        alpha, agreed = limited(isnet, body, error)
        sure = sure * agreed if body is mask else sure  # a teacher's own edge is learned where ISNet's is not
        alpha = np.where(agreed > 0.5, alpha, body)
    else:
        alpha = body
        if body is mask:
            alpha, sure = (
                cv2.GaussianBlur(body, (0, 0), 1.0),
                (np.abs(signed_depth(body.astype(np.uint8))) > error).astype(np.float32),
            )
    if sure.mean() < 0.75:
        return None
    pixels = (alpha * 255).clip(0, 255).round().astype(np.uint8)
    return Cut(photo, pixels, clean_foreground(photo, pixels), (sure * 255).astype(np.uint8))


def limited(soft: Floats, body: Floats, error: int) -> tuple[Floats, Floats]:
    """Take a soft alpha near the edge of a body and the body elsewhere; with it, where they agree roughly."""
    hard = (body > 0.5).astype(np.uint8)
    depth = signed_depth(hard)
    alpha = np.where(depth > error, 1, np.where(depth < -error, 0, soft)).astype(np.float32)
    side = (2 * error + 1,) * 2
    difference = np.abs(cv2.blur(soft, side) - cv2.blur(hard.astype(np.float32), side))
    lost = cv2.dilate((difference > MOST_DIFFERENCE).astype(np.uint8), np.ones(side, np.uint8))
    return alpha, (1 - lost * (np.abs(depth) <= error)).astype(np.float32)


def signed_depth(hard: Bytes) -> Floats:
    """Distance to the edge of a mask of 0 and 1 [px], positive inside."""
    return cv2.distanceTransform(hard, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - hard, cv2.DIST_L2, 3)


def read(file: Path, photo: Bytes) -> Floats | None:
    """Read a matte [H,W] in [0,1] at the photo's size."""
    if not file.exists():
        return None
    matte = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    height, width = photo.shape[:2]
    return (
        cv2.resize(matte, (width, height), interpolation=cv2.INTER_LINEAR) if matte.shape != (height, width) else matte
    )


def iou(one: Floats, other: Floats) -> float:
    """Intersection over union of two mattes cut at one half."""
    first, second = one > 0.5, other > 0.5
    return float((first & second).sum() / max(1, (first | second).sum()))


if __name__ == "__main__":
    main()
