"""The figure of an evaluation: rows of input, each method and the truth, as the paper's Fig. 6.

Which items are shown and the numbers under them come from the rows; the pictures are made again by the same methods.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..image import read_picture, write_picture
from ..image.picture import to_samples
from ..triplet import Triplet
from .dataset import Dataset, read_triplet
from .rows import UNHARMONIZED, EvaluationRow
from .run import Method
from .summary import Board

CELL = 256  # [px] longest side of a picture in the figure
_GAP, _LINE = 6, 18  # [px]
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def choose_items(rows: Sequence[EvaluationRow], method: str, count: int, worst: bool) -> list[str]:
    """Choose items that needed a change, by a method's MSE: the highest, or evenly from lowest to highest.

    Raises:
        ValueError: the rows have no such method.
    """
    board = Board(rows)
    if method not in board.methods:
        raise ValueError(f"no rows of {method!r}; there are {', '.join(board.methods)}")
    error = board.column(method, "mse")
    candidates = np.flatnonzero(board.needed) if board.needed.any() else np.arange(len(error))
    ranked = candidates[np.argsort(error[candidates], kind="stable")]
    if worst:
        return [board.items[index] for index in ranked[::-1][:count]]
    places = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [board.items[ranked[place]] for place in places]


def draw_figure(
    path: Path,
    rows: Sequence[EvaluationRow],
    dataset: Dataset,
    methods: Sequence[Method],
    *,
    count: int = 6,
    worst: bool = False,
) -> None:
    """Draw a figure; the last method decides which items are shown.

    Raises:
        ValueError: an item of the rows is not in the dataset, or cannot be read any more.
        OSError: the figure cannot be written.
    """
    methods = [method for method in methods if method.name != UNHARMONIZED]
    error = {row.key: row.scores.mse for row in rows}
    items = {item.name: item for item in dataset.items}
    chosen = choose_items(rows, methods[-1].name if methods else UNHARMONIZED, count, worst)
    lines = []
    for name in chosen:
        if name not in items:
            raise ValueError(f"{name} of the rows is not in the dataset {dataset.name}")
        triplet = read_triplet(items[name])
        pictures = {"input": triplet.composite}
        pictures |= {method.name: method.output(items[name], triplet).picture for method in methods}
        captions = {"input": _caption(error, name, UNHARMONIZED), "truth": name}
        captions |= {method.name: _caption(error, name, method.name) for method in methods}
        lines.append(_draw_line(pictures | {"truth": triplet.truth}, captions, triplet))
    write_picture(path, read_picture(_stack(["input", *(m.name for m in methods), "truth"], lines)).pixels)


def _caption(error: Mapping[tuple[str, str], float], item: str, method: str) -> str:
    return f"MSE {error[item, method]:.1f}" if (item, method) in error else ""


def _draw_line(pictures: Mapping[str, Tensor], captions: Mapping[str, str], triplet: Triplet) -> Image.Image:
    """Draw one item's pictures side by side, each over its caption."""
    scale = CELL / max(triplet.truth.shape[-2:])
    size = (max(1, round(triplet.truth.shape[3] * scale)), max(1, round(triplet.truth.shape[2] * scale)))
    line = Image.new("RGB", (_across(len(pictures)), size[1] + _LINE), _PAPER)
    for column, (name, picture) in enumerate(pictures.items()):
        left = _GAP + column * (CELL + _GAP)
        resampling = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
        cell = Image.fromarray(to_samples(picture)).resize(size, resampling)
        line.paste(cell, (left + (CELL - size[0]) // 2, 0))
        _write(line, captions.get(name, ""), left, size[1] + 1)
    return line


def _stack(header: Sequence[str], lines: Sequence[Image.Image]) -> Image.Image:
    """Put lines under a header."""
    height = _LINE + 2 * _GAP + sum(line.height + _GAP for line in lines)
    sheet = Image.new("RGB", (_across(len(header)), height), _PAPER)
    for column, name in enumerate(header):
        _write(sheet, name, _GAP + column * (CELL + _GAP), _GAP)
    top = _LINE + 2 * _GAP
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height + _GAP
    return sheet


def _write(image: Image.Image, text: str, left: int, top: int) -> None:
    """Write a line of text no wider than a cell."""
    font = ImageFont.load_default(13)
    while text and font.getlength(text) > CELL:
        text = text[:-2] + "…" if text.endswith("…") else text[:-1] + "…"
    ImageDraw.Draw(image).text((left, top), text, _INK, font)


def _across(columns: int) -> int:
    return _GAP + columns * (CELL + _GAP)
