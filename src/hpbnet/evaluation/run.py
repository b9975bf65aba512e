"""Measure methods on a dataset, row by row, so that an interruption loses nothing.

Knows three kinds of method: a harmonizer, a painting network's own picture, and a folder of results of any program.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import __version__
from ..errors import describe
from ..harmonize import Harmonizer, Painter, identity
from ..triplet import Triplet
from .dataset import Dataset, DatasetItem, Problem, pair_outputs, quantize, read_opaque, read_triplet, size_text
from .measures import Measures, Reference
from .rows import UNHARMONIZED, EvaluationRow, read_rows, row_to_json, write_rows

Progress = Callable[[int, int], None]  # done, total

_HASH_DIGITS = 12


@dataclass(frozen=True)
class MethodOutput:
    """A method's picture of one item."""

    picture: Tensor  # [1,3,H,W], 256 levels in [0,1]
    seconds: float | None


class Method(Protocol):
    """Something that makes a picture of an item."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def source(self) -> str:
        """What it was made from."""

    def weight(self, item: DatasetItem) -> str:
        """Hash what the picture depends on besides the item."""

    def output(self, item: DatasetItem, triplet: Triplet) -> MethodOutput:
        """Make the picture."""


@dataclass(frozen=True)
class HarmonizerMethod:
    """A harmonizer: estimate a grid, recolor, composite."""

    name: str
    source: str
    harmonizer: Harmonizer
    weight_hash: str = ""

    def weight(self, item: DatasetItem) -> str:
        """Hash of the checkpoint, the same for all items."""
        return self.weight_hash

    def output(self, item: DatasetItem, triplet: Triplet) -> MethodOutput:
        """Harmonize a triplet's composite, timed."""
        start = time.perf_counter()
        layers = triplet.layers
        with torch.no_grad():
            picture = layers.recolor(self.harmonizer(layers)).composite()
        return MethodOutput(quantize(picture), time.perf_counter() - start)


@dataclass(frozen=True)
class PainterMethod:
    """The picture that a network paints itself, resized to the composite; its background is repainted, too."""

    name: str
    source: str
    painter: Painter
    weight_hash: str = ""

    def weight(self, item: DatasetItem) -> str:
        """Hash of the checkpoint, the same for all items."""
        return self.weight_hash

    def output(self, item: DatasetItem, triplet: Triplet) -> MethodOutput:
        """Paint a triplet's composite, timed."""
        start = time.perf_counter()
        size = triplet.composite.shape[2:]
        painted = F.interpolate(self.painter.paint(triplet.layers), size, mode="bicubic", antialias=True)
        return MethodOutput(quantize(painted), time.perf_counter() - start)


@dataclass(frozen=True)
class FolderMethod:
    """A folder of results, paired with the items by file name."""

    name: str
    source: str
    files: dict[str, Path] = field(repr=False)

    def weight(self, item: DatasetItem) -> str:
        """Hash of the result's own file."""
        return file_hash(self.files[item.name])

    def output(self, item: DatasetItem, triplet: Triplet) -> MethodOutput:
        """Read a result."""
        picture = read_opaque(self.files[item.name])
        if picture.shape != triplet.truth.shape:
            raise ValueError(f"result is {size_text(picture)}, the composite {size_text(triplet.truth)}")
        return MethodOutput(quantize(picture), None)


@dataclass(frozen=True)
class EvaluationReport:
    """The rows of the requested methods, and what could not be measured."""

    rows: tuple[EvaluationRow, ...]
    problems: tuple[Problem, ...]


def folder_method(name: str, folder: Path, dataset: Dataset) -> FolderMethod:
    """Pair a folder of results with a dataset; a missing or extra file is an error that names it."""
    return FolderMethod(name, str(folder), pair_outputs(folder, dataset.items))


def unharmonized() -> HarmonizerMethod:
    """Make the method that changes nothing."""
    return HarmonizerMethod(UNHARMONIZED, UNHARMONIZED, identity)


def file_hash(*paths: Path) -> str:
    """Beginning of the SHA-256 of one or several files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:_HASH_DIGITS]


def evaluate(
    dataset: Dataset,
    methods: Sequence[Method],
    measures: Measures,
    rows_file: Path,
    progress: Progress = lambda done, total: None,
) -> EvaluationReport:
    """Measure methods, and the untouched composites, on a dataset.

    Rows that are in `rows_file` already are kept where weights, data, version and measures are the same; each new row
    is appended at once. What cannot be measured becomes a problem, and the others go on.

    Raises:
        ValueError: two methods have one name, or `rows_file` is no rows file.
    """
    methods = [unharmonized(), *(method for method in methods if method.name != UNHARMONIZED)]
    names = [method.name for method in methods]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two methods are called {twice}; name one of them: NAME=METHOD")
    known = {row.key: row for row in read_rows(rows_file)} if rows_file.is_file() else {}
    rows_file.parent.mkdir(parents=True, exist_ok=True)
    write_rows(rows_file, known.values())  # without a line cut short
    rows: list[EvaluationRow] = []
    problems = list(dataset.problems)
    with rows_file.open("a") as file:
        for done, item in enumerate(dataset.items):
            progress(done, len(dataset.items))
            measured, failures = _measure_item(item, methods, measures, known)
            for row in measured:
                rows.append(row)
                if known.get(row.key) != row:
                    file.write(f"{row_to_json(row)}\n")
                    file.flush()
            problems += failures
    progress(len(dataset.items), len(dataset.items))
    return EvaluationReport(tuple(rows), tuple(problems))


def _measure_item(
    item: DatasetItem, methods: Sequence[Method], measures: Measures, known: dict[tuple[str, str], EvaluationRow]
) -> tuple[list[EvaluationRow], list[Problem]]:
    """Measure on one item every method whose row is not known."""
    rows: list[EvaluationRow] = []
    problems: list[Problem] = []
    try:
        data = file_hash(item.composite, item.mask, item.truth)
        kept = {
            method.name: row
            for method in methods
            if (row := known.get((item.name, method.name))) and _holds(row, item, method, data, measures)
        }
        if len(kept) == len(methods):
            return list(kept.values()), []
        triplet = read_triplet(item)
    except (ValueError, OSError) as error:
        return [], [Problem(item.name, describe(error))]
    reference = measures.reference(triplet, item.face, item.light)
    for method in methods:
        row = kept.get(method.name)
        try:
            rows.append(row or _make_row(item, method, measures, reference, data))
        except (ValueError, OSError) as error:
            problems.append(Problem(f"{item.name} ({method.name})", describe(error)))
    return rows, problems


def _make_row(item: DatasetItem, method: Method, measures: Measures, reference: Reference, data: str) -> EvaluationRow:
    """Run or read one method on one item, and measure."""
    output = method.output(item, reference.triplet)
    mask = reference.triplet.mask
    return EvaluationRow(
        item=item.name,
        method=method.name,
        scores=measures.score(output.picture, reference),
        portrait=item.portrait,
        subset=item.subset,
        source=method.source,
        weight=method.weight(item),
        data=data,
        version=__version__,
        networks=measures.networks,
        width=mask.shape[3],
        height=mask.shape[2],
        coverage=mask.mean().item(),
        seconds=output.seconds,
        typology=reference.typology,
    )


def _holds(row: EvaluationRow, item: DatasetItem, method: Method, data: str, measures: Measures) -> bool:
    """Tell whether measuring again would give the same row."""
    same = (row.weight, row.data, row.source, row.version) == (method.weight(item), data, method.source, __version__)
    return same and set(measures.networks) <= set(row.networks)
