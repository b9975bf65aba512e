"""Measure a cut-out on photos that no training sees; one command, one JSON.

    python tools/evaluate_matting.py DATA PREPARED [WEIGHTS] [--sheets FOLDER] [--sets NAME ...] [--first N]

DATA holds portraits/, portraits-1024/, people/ and backgrounds/; PREPARED is what tools/prepare_mattes.py wrote: its
index says which people are held out. The sets:

    selfies   validation portraits: error of alpha against a teacher's, IoU with the human masks of eg1800
    people    whole and half-length people held out by source and id: IoU with human masks, lost: IoU below 0.3
    pasted    validation selfies at 30 to 60 % of a validation scene's height: IoU, lost
    empty     validation scenes: the share with a false person of more than 2 % of the picture
    edges     true mattes and 1,024-px heads: SAD [thousands of pixels] and gradient error in the unknown band, when the
              truth at the network's size is brought to full size
    heads     1,024-px heads: the same for the whole cut-out
    strokes   the 30 worst of selfies, people and pasted: error left after one stroke over the worst place

FOLDER gets two sheets of each set: the worst 24, and 12 at 1:1 on a bright and a dark ground.
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpbnet.matte import estimate_foreground, refine_alpha, shrink

Floats = NDArray[np.float32]
Result = dict[str, dict[str, float]]
Matting = Callable[..., Tensor]  # portrait [1,3,H,W], optional hint [1,1,H,W] -> alpha [1,1,H,W]

LOST = 0.3  # IoU below which a person is lost
FALSE_PERSON = 0.02  # share of an empty scene from which a person is seen in it
PASTED = 60  # pictures
STROKES = 30


class Row(NamedTuple):
    """One measured photo."""

    name: str
    photo: Tensor  # [1,3,H,W]
    truth: Floats  # [H,W]
    alpha: Floats  # [H,W]
    mask: Floats | None = None  # [H,W] a human's, where the truth is a teacher's

    @property
    def error(self) -> float:
        """Mean absolute error of alpha."""
        return float(np.abs(self.alpha - self.truth).mean())

    @property
    def iou(self) -> float:
        """Intersection over union with the mask or the truth, both cut at one half."""
        own, truth = self.alpha > 0.5, (self.truth if self.mask is None else self.mask) > 0.5
        return float((own & truth).sum() / max(1, (own | truth).sum()))


def selfies(matting: Matting, data: Path, _: Path) -> Iterator[Row]:
    """Measure the validation portraits whose teacher is trusted."""
    folder = data / "portraits"
    for row in csv.DictReader((folder / "index.csv").read_text().splitlines()):
        if row["split"] != "val" or not 0.08 <= float(row["coverage"]) <= 0.92 or float(row["iou"] or 1) < 0.9:
            continue
        photo = read_photo(folder / "images" / f"{row['name']}.webp")
        truth = read_alpha(folder / "alpha" / f"{row['name']}.webp", photo)
        file = folder / "masks" / f"{row['name']}.png"
        mask = read_alpha(file, photo) if row["source"] == "eg1800" and row["iou"] and file.exists() else None
        yield Row(row["name"], photo, truth, matting(photo)[0, 0].numpy(), mask)


def people(matting: Matting, data: Path, prepared: Path) -> Iterator[Row]:
    """Measure the people that are held out."""
    for row in csv.DictReader((prepared / "index.csv").read_text().splitlines()):
        if row["split"] == "val" and row["kind"] == "person":
            photo = read_photo(data / "people" / "images" / f"{row['name']}.webp")
            file = data / "people" / "masks" / f"{row['name']}.png"
            if not file.exists():
                file = data / "people" / "alpha" / f"{row['name']}.webp"
            yield Row(row["name"], photo, read_alpha(file, photo), matting(photo)[0, 0].numpy())


def pasted(matting: Matting, data: Path, _: Path) -> Iterator[Row]:
    """Measure selfies that are small in a scene: each stands on the lower edge or hangs above it."""
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
        yield Row(str(name), pixels, truth, matting(pixels)[0, 0].numpy())


def empty(matting: Matting, data: Path, _: Path) -> Iterator[Row]:
    """Measure scenes without people."""
    for file in validation_scenes(data):
        photo = read_photo(file)
        alpha = matting(photo)[0, 0].numpy()
        yield Row(file.stem, photo, np.zeros_like(alpha), alpha)


def heads(matting: Matting, data: Path, _: Path) -> Iterator[Row]:
    """Measure sharp portraits of 1,024 px."""
    for file in sorted((data / "portraits-1024" / "images").iterdir()):
        photo = read_photo(file)
        truth = read_alpha(next((data / "portraits-1024" / "alpha").glob(f"{file.stem}.*")), photo)
        yield Row(file.stem, photo, truth, matting(photo)[0, 0].numpy())


def edges(_: Matting, data: Path, __: Path) -> Iterator[Row]:
    """Measure how a matte that is right at the network's size is brought to full size."""
    files = sorted((data / "people" / "images").glob("alphamatting*"))
    for file in [*files, *sorted((data / "portraits-1024" / "images").iterdir())]:
        photo = read_photo(file)
        truth = read_alpha(next((file.parents[1] / "alpha").glob(f"{file.stem}.*")), photo)
        small = shrink(photo, 320, 32)
        size = small.shape[3], small.shape[2]
        coarse = torch.from_numpy(cv2.resize(truth, size, interpolation=cv2.INTER_AREA))[None, None]
        yield Row(file.stem, photo, truth, refine_alpha(coarse, small, photo)[0, 0].numpy())


SETS = {"selfies": selfies, "people": people, "pasted": pasted, "empty": empty, "heads": heads, "edges": edges}


def measure(name: str, rows: list[Row]) -> dict[str, float]:
    """Sum up a set."""
    if name == "empty":
        false = [float((row.alpha > 0.5).mean()) for row in rows]
        return {"photos": len(rows), "false": round(float(np.mean(np.array(false) > FALSE_PERSON)), 4)}
    if name in ("heads", "edges"):
        bands = [band_errors(row) for row in rows]
        values = {"photos": len(rows), "sad": mean([band[0] for band in bands], 3)}
        return values | {"gradient": mean([band[1] for band in bands], 3)}
    overlaps = [row.iou for row in rows if row.mask is not None or name != "selfies"]
    errors = [row.error for row in rows]
    return {
        "photos": len(rows),
        "error": mean(errors, 5),
        "median_error": round(float(np.median(errors)), 5),
        "iou": mean(overlaps, 4),
        "lost": round(float(np.mean(np.array(overlaps) < LOST)), 4),
        "half_transparent": mean([float(((row.alpha > 0.1) & (row.alpha < 0.9)).mean()) for row in rows], 5),
    } | by_source(name, rows)


def by_source(name: str, rows: list[Row]) -> dict[str, float]:
    """IoU of each source of the people."""
    sources = sorted({row.name.split("__")[0] for row in rows}) if name == "people" else []
    return {f"iou_{one}": mean([row.iou for row in rows if row.name.startswith(one)], 4) for one in sources}


def band_errors(row: Row) -> tuple[float, float]:
    """SAD and gradient error in the unknown band, each in thousands."""
    unknown = ((row.truth > 0.02) & (row.truth < 0.98)).astype(np.uint8)
    band = cv2.dilate(unknown, np.ones((2 * max(row.truth.shape) // 200 + 1,) * 2, np.uint8)) > 0
    difference = gradient(row.alpha) - gradient(row.truth)
    return float(np.abs(row.alpha - row.truth)[band].sum()) / 1e3, float((difference**2)[band].sum()) / 1e3


def gradient(alpha: Floats) -> Floats:
    """Gradient magnitude of a blurred alpha."""
    soft = cv2.GaussianBlur(alpha, (0, 0), 1.4)
    return np.hypot(np.gradient(soft, axis=0), np.gradient(soft, axis=1)).astype(np.float32)


def strokes(matting: Matting, rows: list[Row]) -> dict[str, float]:
    """Error of the worst photos after one stroke, as a share of that before; the median, and without the stroke."""
    worst = sorted(rows, key=lambda row: -row.error)[:STROKES]
    after = [float(np.abs(matting(row.photo, hint_of(row))[0, 0].numpy() - row.truth).mean()) for row in worst]
    shares = np.array(after) / [row.error for row in worst]
    before = mean([row.error for row in worst], 5)
    return {
        "before": before,
        "after": mean(after, 5),
        "ratio": mean(after, 5) / before,
        "median": float(np.median(shares)),
    }


def hint_of(row: Row) -> Tensor:
    """One stroke over the largest wrong place, as a user would draw it: along its middle, short of its border."""
    wrong = (row.truth > 0.5) != (row.alpha > 0.5)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8))
    hint = np.zeros(row.truth.shape, np.float32)
    if count > 1:
        place = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
        depth = cv2.distanceTransform(cv2.copyMakeBorder(place, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)[
            1:-1, 1:-1
        ]
        value = 1.0 if row.truth[place > 0].mean() > 0.5 else -1.0
        hint[depth > 0.5 * depth.max()] = value
    return torch.from_numpy(hint)[None, None]


def mean(values: list[float], digits: int) -> float:
    """Mean, rounded."""
    return round(float(np.mean(values)), digits) if values else float("nan")


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


def sheet(rows: list[Row]) -> NDArray[np.uint8]:
    """The worst 24: photo, truth on green, own on green, own on dark."""
    worst = sorted(rows, key=lambda row: -row.error)[:24]
    tiles = [tile(row) for row in worst]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 3)
    return np.vstack([np.hstack(tiles[i : i + 3]) for i in range(0, len(tiles), 3)])


def tile(row: Row, height: int = 220, width: int = 165) -> NDArray[np.uint8]:
    """One photo of a sheet."""
    own = torch.from_numpy(row.alpha)[None, None]
    foreground = estimate_foreground(row.photo, own)[0].permute(1, 2, 0).numpy()
    photo = row.photo[0].permute(1, 2, 0).numpy()
    green, dark = (np.array(color, np.float32) for color in ((0.1, 0.9, 0.2), (0.05, 0.05, 0.1)))
    views = [
        photo,
        over(photo, row.truth, green),
        over(foreground, row.alpha, green),
        over(foreground, row.alpha, dark),
    ]
    out = np.zeros((height, 4 * width, 3), np.float32)
    for place, view in enumerate(views):
        scale = min(height / view.shape[0], width / view.shape[1])
        small = cv2.resize(view, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        out[: small.shape[0], place * width : place * width + small.shape[1]] = small[:height, :width]
    pixels = np.ascontiguousarray((out[:, :, ::-1] * 255).clip(0, 255).astype(np.uint8))
    cv2.putText(pixels, f"{row.name[:24]} {row.error:.3f}", (4, height - 5), 0, 0.4, (255, 255, 255), 1)
    return pixels


def crops(rows: list[Row], side: int = 240) -> NDArray[np.uint8]:
    """Twelve photos at 1:1 where most of the edge is soft: photo, own on a bright and on a dark ground."""
    views = []
    for row in rows[:: max(1, len(rows) // 12)][:12]:
        own = torch.from_numpy(row.alpha)[None, None]
        foreground = estimate_foreground(row.photo, own)[0].permute(1, 2, 0).numpy()
        photo = row.photo[0].permute(1, 2, 0).numpy()
        soft = cv2.blur(((row.alpha > 0.05) & (row.alpha < 0.95)).astype(np.float32), (side, side))
        height, width = soft.shape
        y, x = np.unravel_index(int(soft.argmax()), soft.shape)
        top, left = (int(np.clip(at - side // 2, 0, max(0, end - side))) for at, end in ((y, height), (x, width)))
        box = np.s_[top : top + side, left : left + side]
        grounds = [np.full(3, value, np.float32) for value in (0.95, 0.05)]
        view = np.hstack([photo[box], *(over(foreground[box], row.alpha[box], ground) for ground in grounds)])
        framed = np.zeros((side, 3 * side, 3), np.float32)
        framed[: view.shape[0], : view.shape[1]] = view
        views.append((framed[:, :, ::-1] * 255).clip(0, 255).astype(np.uint8))
    views += [np.zeros_like(views[0])] * (-len(views) % 3)
    return np.vstack([np.hstack(views[i : i + 3]) for i in range(0, len(views), 3)])


def over(color: Floats, alpha: Floats, ground: Floats) -> Floats:
    """Composite on a plain ground."""
    return np.asarray(color * alpha[..., None] + ground * (1 - alpha[..., None]), np.float32)


def evaluate(matting: Matting, data: Path, prepared: Path, names: list[str], sheets: Path | None, first: int) -> Result:
    """Measure the sets by name; `first` photos of each, 0 for all."""
    result: Result = {}
    seen: list[Row] = []
    for name in names:
        if name == "strokes":
            result[name] = strokes(matting, seen)
            continue
        rows = []
        for row in SETS[name](matting, data, prepared):
            rows.append(row)
            if len(rows) == first:
                break
        result[name] = measure(name, rows)
        seen += rows if name in ("selfies", "people", "pasted") else []
        if sheets:
            sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(sheets / f"{name}.png"), sheet(rows))
            cv2.imwrite(str(sheets / f"{name}_crops.png"), crops(rows))
    return result


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("weights", nargs="?", default="matting")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--sets", nargs="+", default=[*SETS, "strokes"], choices=[*SETS, "strokes"])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    from hpbnet.matte import matting_by_name

    matting = matting_by_name(arguments.weights)
    folders, names = (arguments.data, arguments.prepared), arguments.sets
    print(json.dumps(evaluate(matting, *folders, names, arguments.sheets, arguments.first), indent=1))


if __name__ == "__main__":
    main()
