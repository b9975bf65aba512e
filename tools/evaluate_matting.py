"""Measure a matting network on the validation portraits, each at the photo's own size.

    python tools/evaluate_matting.py PORTRAITS [WEIGHTS] [--sheet FILE]

PORTRAITS holds images/, alpha/ (a teacher's mattes), masks/ (human masks of some) and index.csv. Prints one JSON
object: mean absolute error of alpha against the teacher, mean gradient error (edges), and IoU against the human masks
of eg1800 where the teacher itself reaches 0.9. The sheet shows the worst photos, then some of the middle: photo,
teacher on green, own on green, own on dark.
"""

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hpbnet import load_network
from hpbnet.matte import estimate_alpha, estimate_foreground
from hpbnet.synthesis.portraits import Portrait, read_index

Floats = NDArray[np.float32]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("weights", nargs="?", default="matting")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    network = load_network(arguments.weights)
    index = csv.DictReader((arguments.portraits / "index.csv").read_text().splitlines())
    trusted = {row["name"]: float(row["iou"] or 0) >= 0.9 for row in index}
    errors, edges, overlaps, rows = [], [], [], []
    for portrait in read_index(arguments.portraits, "val"):
        photo, teacher = read(portrait)
        pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous()
        alpha = estimate_alpha(network, pixels)
        own = alpha[0, 0].numpy()
        errors.append(float(np.abs(own - teacher).mean()))
        edges.append(float(np.abs(gradient(own) - gradient(teacher)).mean()))
        mask_file = arguments.portraits / "masks" / f"{portrait.name}.png"
        if portrait.source == "eg1800" and trusted[portrait.name] and mask_file.exists():
            mask = cv2.resize(
                cv2.imread(str(mask_file), cv2.IMREAD_GRAYSCALE), own.shape[::-1], interpolation=cv2.INTER_NEAREST
            )
            overlaps.append(iou(own > 0.5, mask > 0))
        rows.append((errors[-1], photo, teacher, alpha, pixels))
    print(
        json.dumps(
            {
                "photos": len(errors),
                "mae": round(float(np.mean(errors)), 5),
                "median_ae": round(float(np.median(errors)), 5),
                "gradient": round(float(np.mean(edges)), 5),
                "masks": len(overlaps),
                "iou": round(float(np.mean(overlaps)), 4),
            }
        )
    )
    if arguments.sheet:
        worst = sorted(rows, key=lambda row: -row[0])
        chosen = worst[:12] + worst[len(worst) // 2 :: max(1, len(worst) // 24)][:12]
        cv2.imwrite(
            str(arguments.sheet),
            np.vstack([np.hstack([tile(row) for row in chosen[i : i + 4]]) for i in range(0, 24, 4)]),
        )


def read(portrait: Portrait) -> tuple[Floats, Floats]:
    """Read photo [H,W,3] RGB and teacher alpha [H,W] at the photo's size."""
    photo = cv2.cvtColor(cv2.imread(str(portrait.photo)), cv2.COLOR_BGR2RGB)
    alpha = cv2.imread(str(portrait.alpha), cv2.IMREAD_GRAYSCALE)
    alpha = cv2.resize(alpha, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return photo.astype(np.float32) / 255, alpha.astype(np.float32) / 255


def gradient(alpha: Floats) -> Floats:
    """Gradient magnitude of a blurred alpha."""
    soft = cv2.GaussianBlur(alpha, (0, 0), 1.4)
    return np.hypot(np.gradient(soft, axis=0), np.gradient(soft, axis=1))


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def tile(row: tuple[float, Floats, Floats, torch.Tensor, torch.Tensor]) -> NDArray[np.uint8]:
    """Photo, teacher on green, own on green, own on dark."""
    _, photo, teacher, alpha, pixels = row
    own = alpha[0, 0].numpy()[..., None]
    foreground = estimate_foreground(pixels, alpha)[0].permute(1, 2, 0).numpy()
    green, dark = np.array([0.1, 0.9, 0.2], np.float32), np.array([0.05, 0.05, 0.1], np.float32)
    views = (
        photo,
        photo * teacher[..., None] + green * (1 - teacher[..., None]),
        foreground * own + green * (1 - own),
        foreground * own + dark * (1 - own),
    )
    small = [cv2.resize(view, (150, 190), interpolation=cv2.INTER_AREA) for view in views]
    return (np.hstack(small)[:, :, ::-1] * 255).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
