"""Draw a contact sheet of real composites: validation portraits on validation backgrounds of strongly different light.

    python tools/real_composites.py PORTRAITS BACKGROUNDS SHEET [--count 40] [--own-matte] [--method NAME ...]

PORTRAITS holds images/, alpha/ and index.csv, BACKGROUNDS pictures and index.csv. Without `--own-matte` the portraits'
own alphas are used, so that the sheet shows the harmonizers alone. One cell a pair, one picture a method.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hpbnet import Pipeline
from hpbnet.synthesis.portraits import read_index

SIZE = (300, 260)  # width, height of a picture [px]


def main() -> None:
    """Parse, compose, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("backgrounds", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--across", type=int, default=2)
    parser.add_argument("--own-matte", action="store_true")
    parser.add_argument("--method", action="append")
    arguments = parser.parse_args()
    methods = arguments.method or ["none", "covariance", "learned"]
    matting = "matting" if arguments.own_matte else None
    pipelines = [Pipeline.from_pretrained(method, matting) for method in methods]
    portraits = [portrait for portrait in read_index(arguments.portraits, "val") if not portrait.plain]
    scenes = spread_scenes(arguments.backgrounds, arguments.count)
    cells = []
    for index, scene in enumerate(scenes):
        portrait = portraits[index * len(portraits) // len(scenes)]
        mask = None if arguments.own_matte else matte_at_size(portrait.photo, portrait.alpha)
        pictures = [pipeline(portrait.photo, scene, mask=mask, size=SIZE).image for pipeline in pipelines]
        cells.append(np.hstack([(picture[0].permute(1, 2, 0).numpy() * 255).round() for picture in pictures]))
    rows = [np.hstack(cells[start : start + arguments.across]) for start in range(0, len(cells), arguments.across)]
    cv2.imwrite(
        str(arguments.sheet),
        np.vstack([row for row in rows if row.shape == rows[0].shape])[:, :, ::-1].astype(np.uint8),
    )


def spread_scenes(folder: Path, count: int) -> list[Path]:
    """Choose validation scenes evenly over brightness and warmth; the extremes come in."""
    with (folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    by_luma = sorted(rows, key=lambda row: float(row["mean_luma"]))
    by_warmth = sorted(rows, key=lambda row: float(row["log2_rg_linear"]) - float(row["log2_bg_linear"]))
    half = count // 2
    chosen = [by_luma[i * (len(rows) - 1) // max(1, half - 1)] for i in range(half)]
    chosen += [by_warmth[i * (len(rows) - 1) // max(1, count - half - 1)] for i in range(count - half)]
    return [folder / row["file"] for row in chosen]


def matte_at_size(photo: Path, alpha: Path) -> NDArray[np.uint8]:
    """Read an alpha at its photo's size."""
    height, width = cv2.imread(str(photo)).shape[:2]
    matte = cv2.imread(str(alpha), cv2.IMREAD_GRAYSCALE)
    return np.asarray(cv2.resize(matte, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


if __name__ == "__main__":
    main()
