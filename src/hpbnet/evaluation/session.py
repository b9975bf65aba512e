"""A whole evaluation in one call: dataset, methods, measures, rows and tables on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .backbones import WEIGHTS_VARIABLE, WeightsFolder, download_backbone, named_folder, weights_folder
from .dataset import Dataset, Problem, read_dataset
from .measures import load_measures
from .methods import methods_of_rows, open_methods
from .rows import EvaluationRow, read_rows
from .run import Method, Progress, evaluate
from .table import render_tables

ROWS, TABLE = "rows.jsonl", "table.md"


@dataclass(frozen=True)
class Request:
    """What to measure, and where the rows go."""

    dataset: Path
    methods: tuple[str, ...] = ()  # harmonizers and checkpoints, each perhaps as LABEL=NAME
    outputs: tuple[str, ...] = ()  # folders of results, each as LABEL=FOLDER
    painted: bool = False  # also measure the pictures that painting networks make themselves
    folder: Path | None = None  # of rows and table
    names: Path | None = None  # file that lists the composites to use; by default all
    weights: Path | None = None  # folder of metric weights
    download: tuple[str, ...] = ()  # backbones to download into it
    fresh: bool = False  # measure everything again, even if its rows are known


@dataclass(frozen=True)
class Session:
    """The results of an evaluation, from which tables and figures are made."""

    rows: Sequence[EvaluationRow]
    problems: Sequence[Problem]
    dataset: Dataset | None
    methods: Sequence[Method]
    notices: tuple[str, ...] = ()


def measure(request: Request, progress: Progress = lambda done, total: None) -> Session:
    """Measure, and write rows.jsonl and table.md into the folder.

    Raises:
        ValueError: no such dataset, method or weights, or results that do not match the dataset by name.
    """
    dataset = read_dataset(request.dataset, request.names)
    methods = open_methods(request.methods, request.outputs, dataset, request.painted)
    measures = load_measures(_weights(request))
    folder = request.folder or Path("out") / f"evaluate-{dataset.name}"
    if request.fresh:
        (folder / ROWS).unlink(missing_ok=True)
    report = evaluate(dataset, methods, measures, folder / ROWS, progress)
    if report.rows:
        (folder / TABLE).write_text(render_tables(report.rows))
    return Session(report.rows, report.problems, dataset, methods, measures.notices)


def reopen(rows_file: Path, dataset: Path | None = None, names: Path | None = None) -> Session:
    """Read an evaluation's rows; with its dataset the methods are opened too, so that figures can be drawn.

    Raises:
        ValueError: no rows, or no such dataset or method.
    """
    rows = read_rows(rows_file)
    if not rows:
        raise ValueError(f"{rows_file} has no rows of an evaluation")
    if dataset is None:
        return Session(rows, (), None, ())
    data = read_dataset(dataset, names)
    return Session(rows, (), data, methods_of_rows(rows, data))


def _weights(request: Request) -> WeightsFolder | None:
    """Find the metric weights; download the requested ones first."""
    if request.download:
        given = request.weights or named_folder()
        if given is None:
            raise ValueError(f"download needs a folder to save to: give weights, or set {WEIGHTS_VARIABLE}")
        for name in request.download:
            download_backbone(name, given)
    return weights_folder(request.weights)
