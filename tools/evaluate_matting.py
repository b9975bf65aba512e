"""Measure a cut-out on photos that no training sees; one command, one JSON.

    python tools/evaluate_matting.py DATA PREPARED [WEIGHTS] [--sheets FOLDER] [--sets NAME ...] [--first N]
    python tools/evaluate_matting.py DATA PREPARED --answers 'DATA/{folder}/isnet/{name}.webp' --sets people selfies
    python tools/evaluate_matting.py DATA PREPARED --where 'DATA/{folder}/isnet/{name}.webp' --sets people selfies

DATA holds portraits/, portraits-1024/, people/ and backgrounds/; PREPARED is what tools/prepare_mattes.py wrote: its
index says which people are held out. With `--answers`, mattes that others made are measured in place of a network's;
with `--where`, a network is measured on the same photos. The sets:

    selfies   validation portraits: error of alpha against a teacher's, IoU with the human masks of eg1800
    people    whole and half-length people held out by source and id: IoU with human masks, lost: IoU below 0.3
    pasted    validation selfies at 30 to 60 % of a validation scene's height: IoU, lost
    empty     validation scenes: the share with a false person of more than 2 % of the picture
    edges     true mattes and 1,024-px heads: SAD [thousands of pixels] and gradient error in the unknown band, when the
              truth at the network's size is brought to full size
    heads     1,024-px heads: the same for the whole cut-out, and the median over the heads
    strokes   the 30 worst of selfies, people and pasted: error left after one stroke over the worst place

`--faces` is a YuNet detector: with it, selfies and people are also measured by skin tone (individual typology angle of
the cheeks). People are also measured by their height in the frame (below 50 %, 50 to 75 %, above), and by pose.
FOLDER gets two sheets of each set: the worst 24, and 12 at 1:1 on a bright and a dark ground.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from matting_cases import SETS, Case, Floats, answer_file, groups, read_alpha
from numpy.typing import NDArray
from torch import Tensor

from hpbnet.evaluation.identity import YuNet
from hpbnet.matte import estimate_foreground, matting_by_name, refine_alpha, shrink

Result = dict[str, dict[str, float]]
Matting = Callable[..., Tensor]  # portrait [1,3,H,W], optional hint [1,1,H,W] -> alpha [1,1,H,W]
Answer = Callable[[Case], Floats | None]  # alpha [H,W], None where there is none

LOST = 0.3  # IoU below which a person is lost
FALSE_PERSON = 0.02  # share of an empty scene from which a person is seen in it
STROKES = 30


class Row(NamedTuple):
    """One measured photo."""

    name: str
    photo: Tensor  # [1,3,H,W]
    truth: Floats  # [H,W]
    alpha: Floats  # [H,W]
    mask: Floats | None  # [H,W] a human's, where the truth is a teacher's
    groups: list[str]

    @property
    def error(self) -> float:
        """Mean absolute error of alpha."""
        return float(np.abs(self.alpha - self.truth).mean())

    @property
    def iou(self) -> float:
        """Intersection over union with the mask or the truth, both cut at one half."""
        own, truth = self.alpha > 0.5, (self.truth if self.mask is None else self.mask) > 0.5
        return float((own & truth).sum() / max(1, (own | truth).sum()))


def answered(cases: Iterator[Case], answer: Answer, where: str | None, faces: YuNet | None) -> Iterator[Row]:
    """Have photos answered; those without an answer, or not asked for, are left out."""
    for case in cases:
        alpha = answer(case) if where is None or answer_file(where, case) else None
        if alpha is not None:
            named = groups(case, faces) if case.set in ("people", "selfies") else []
            yield Row(case.name, case.photo, case.truth, alpha, case.mask, named)


def answer_of(matting: Matting) -> Answer:
    """Answer with a network; of edges with the truth at its size, brought to full size."""

    def answer(case: Case) -> Floats:
        if case.set != "edges":
            return np.asarray(matting(case.photo)[0, 0].numpy())
        small = shrink(case.photo, 320, 32)
        coarse = cv2.resize(case.truth, (small.shape[3], small.shape[2]), interpolation=cv2.INTER_AREA)
        return np.asarray(refine_alpha(torch.from_numpy(coarse)[None, None], small, case.photo)[0, 0].numpy())

    return answer


def given(pattern: str) -> Answer:
    """Answer with files that others made."""

    def answer(case: Case) -> Floats | None:
        file = answer_file(pattern, case)
        return None if file is None else read_alpha(file, case.photo)

    return answer


def measure(name: str, rows: list[Row]) -> dict[str, float]:
    """Sum up a set."""
    if name == "empty":
        false = [float((row.alpha > 0.5).mean()) for row in rows]
        return {"photos": len(rows), "false": round(float(np.mean(np.array(false) > FALSE_PERSON)), 4)}
    if name in ("heads", "edges"):
        bands = [band_errors(row) for row in rows]
        values = {"photos": len(rows), "sad": mean([band[0] for band in bands], 3)}
        values |= {"gradient": mean([band[1] for band in bands], 3)}
        middle = np.median(np.array(bands), axis=0)
        return values | {"median_sad": round(float(middle[0]), 3), "median_gradient": round(float(middle[1]), 3)}
    trusted = [row for row in rows if row.mask is not None or name != "selfies"]
    overlaps = [row.iou for row in trusted]
    errors = [row.error for row in rows]
    return {
        "photos": len(rows),
        "error": mean(errors, 5),
        "median_error": round(float(np.median(errors)), 5),
        "iou": mean(overlaps, 4),
        "lost": mean([float(overlap < LOST) for overlap in overlaps], 4),
        "half_transparent": mean([float(((row.alpha > 0.1) & (row.alpha < 0.9)).mean()) for row in rows], 5),
    } | by_group(name, rows)


def by_group(name: str, rows: list[Row]) -> dict[str, float]:
    """Error and IoU of each group and of each source of the people, and how many photos that are."""
    values: dict[str, float] = {}
    named = {row.name: [*row.groups, *([row.name.split("__")[0]] if name == "people" else [])] for row in rows}
    for group in sorted({one for several in named.values() for one in several}):
        own = [row for row in rows if group in named[row.name]]
        values |= {f"{group}: photos": len(own), f"{group}: error": mean([row.error for row in own], 4)}
        if name == "people":
            values |= {f"{group}: iou": mean([row.iou for row in own], 4)}
    return values


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


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("weights", nargs="?", default="matting")
    parser.add_argument("--answers", help="files of mattes to measure, with {set}, {folder} and {name}")
    parser.add_argument("--where", help="only photos for which such a file exists")
    parser.add_argument("--faces", type=Path, help="YuNet as ONNX: also measure by skin tone")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--sets", nargs="+", default=[*SETS, "strokes"], choices=[*SETS, "strokes"])
    parser.add_argument("--first", type=int, default=0, help="photos of each set; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    matting = matting_by_name(arguments.weights)
    answer = given(arguments.answers) if arguments.answers else answer_of(matting)
    faces = YuNet(arguments.faces) if arguments.faces else None
    result: Result = {}
    seen: list[Row] = []
    for name in arguments.sets:
        if name == "strokes":
            result[name] = strokes(matting, seen)
            continue
        cases = SETS[name](arguments.data, arguments.prepared)
        rows = list(islice(answered(cases, answer, arguments.where, faces), arguments.first or None))
        result[name] = measure(name, rows)
        seen += rows if name in ("selfies", "people", "pasted") else []
        if arguments.sheets:
            arguments.sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(arguments.sheets / f"{name}.png"), sheet(rows))
            cv2.imwrite(str(arguments.sheets / f"{name}_crops.png"), crops(rows))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
