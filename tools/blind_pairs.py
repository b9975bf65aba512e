"""Compare methods blind: draw pairs of composites with hidden methods, and score the answers that were written down.

    python tools/blind_pairs.py draw PORTRAITS BACKGROUNDS FOLDER --key KEY.json [--count 40] [--seed 0] \\
        --method untouched=none,light=0,grain=0 --method before=learned,light=0 --method now=learned
    python tools/blind_pairs.py score ANSWERS.txt KEY.json

PORTRAITS holds images/, alpha/ and index.csv, BACKGROUNDS pictures and index.csv; half of the scenes are strong in
light or colour, half are ordinary. The last method is compared with each other one. FOLDER gets sheets of numbered
pairs; look at them and write one line a pair, such as `17 L`, `18 R` or `19 =`, before the key is opened.
"""

import argparse
import csv
import json
import random
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from real_composites import matte_at_size

from hpbnet import Pipeline
from hpbnet.synthesis.portraits import read_index

SIZE = (480, 360)  # width, height of a picture [px]
PAIRS_A_SHEET = 8  # in two columns
Pixels = NDArray[np.uint8]


def main() -> None:
    """Parse, then draw or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    for name in ("portraits", "backgrounds", "folder"):
        drawing.add_argument(name, type=Path)
    drawing.add_argument("--key", type=Path, required=True)
    drawing.add_argument("--method", action="append", required=True, metavar="LABEL=HARMONIZER[,FIELD=VALUE...]")
    drawing.add_argument("--count", type=int, default=40)
    drawing.add_argument("--seed", type=int, default=0)
    scoring = commands.add_parser("score")
    scoring.add_argument("answers", type=Path)
    scoring.add_argument("key", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "score":
        print(score(arguments.answers.read_text(), json.loads(arguments.key.read_text())))
    else:
        draw(arguments)


def draw(arguments: argparse.Namespace) -> None:
    """Compose every scene by every method, and write sheets and the key."""
    methods = [read_method(text) for text in arguments.method]
    pipelines = {name: Pipeline.from_pretrained(name, None) for _, name, _ in methods}
    portraits = [each for each in read_index(arguments.portraits, "val") if not each.plain]
    rng = random.Random(arguments.seed)
    rng.shuffle(portraits)
    pairs, key = [], {}
    for portrait, (kind, scene) in zip(portraits, choose_scenes(arguments.backgrounds, arguments.count), strict=False):
        mask = matte_at_size(portrait.photo, portrait.alpha)
        pictures = {}
        for label, name, settings in methods:
            image = pipelines[name](portrait.photo, scene, mask=mask, size=SIZE, **settings).image
            pictures[label] = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        *others, now = pictures
        for other in others:
            sides = [now, other]
            rng.shuffle(sides)
            pairs.append((sides, [pictures[side] for side in sides], f"{kind} {portrait.photo.stem} {scene.name}"))
    rng.shuffle(pairs)
    for number, (sides, _, about) in enumerate(pairs, start=1):
        key[str(number)] = {"left": sides[0], "right": sides[1], "now": now, "about": about}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), PAIRS_A_SHEET):
        part = [pictures for _, pictures, _ in pairs[start : start + PAIRS_A_SHEET]]
        cv2.imwrite(str(arguments.folder / f"{start + 1:03}.png"), sheet(part, start + 1)[:, :, ::-1])
    arguments.key.write_text(json.dumps(key, indent=1))


def read_method(text: str) -> tuple[str, str, dict[str, float]]:
    """Read LABEL=HARMONIZER[,FIELD=VALUE...]."""
    label, _, rest = text.partition("=")
    name, *fields = rest.split(",")
    return label, name, {field: float(value) for field, _, value in (each.partition("=") for each in fields)}


def choose_scenes(folder: Path, count: int) -> list[tuple[str, Path]]:
    """Choose validation scenes: half from the third that is darkest or most coloured, half from the plainest half."""
    with (folder / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]

    def strength(row: dict[str, str]) -> float:
        color = abs(float(row["log2_rg_linear"])) + abs(float(row["log2_bg_linear"]))
        return color + 6 * max(0.0, 0.35 - float(row["mean_luma"]))

    rows.sort(key=strength, reverse=True)
    strong, plain = rows[: len(rows) // 3], rows[len(rows) // 2 :]
    chosen = [("strong", strong[i * len(strong) // (count // 2)]) for i in range(count // 2)]
    chosen += [("plain", plain[i * len(plain) // (count - count // 2)]) for i in range(count - count // 2)]
    return [(kind, folder / row["file"]) for kind, row in chosen]


def sheet(pairs: list[list[Pixels]], first: int) -> Pixels:
    """Draw numbered pairs in two columns."""
    cells = []
    for number, (left, right) in enumerate(pairs, start=first):
        cell = np.pad(np.hstack([left, np.zeros((len(left), 6, 3), np.uint8), right]), ((24, 4), (4, 4), (0, 0)))
        cv2.putText(cell, f"{number}   L | R", (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
        cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (len(cells) % 2)
    return np.vstack([np.hstack(cells[start : start + 2]) for start in range(0, len(cells), 2)])


def score(answers: str, key: dict[str, dict[str, str]]) -> str:
    """Count how often the new method was preferred, ties half, and list the pairs that it lost."""
    points: dict[tuple[str, str], list[float]] = defaultdict(list)
    lost = []
    for line in answers.splitlines():
        if not line.strip():
            continue
        number, choice = line.split()[:2]
        row = key[number]
        other = row["left"] if row["right"] == row["now"] else row["right"]
        winner = {"L": row["left"], "R": row["right"], "=": None}[choice.upper()]
        point = 0.5 if winner is None else float(winner == row["now"])
        for kind in (row["about"].split()[0], "all"):
            points[other, kind].append(point)
        if point == 0:
            lost.append(f"lost to {other}: {number} {row['about']}")
    lines = [
        f"preferred to {other:12} {kind:7} {np.mean(each):.2f} of {len(each)} "
        f"(won {each.count(1.0)}, tied {each.count(0.5)}, lost {each.count(0.0)})"
        for (other, kind), each in sorted(points.items())
    ]
    return "\n".join([*lines, *lost])


if __name__ == "__main__":
    main()
