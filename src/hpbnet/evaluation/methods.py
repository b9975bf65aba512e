"""Methods by name, as a command line or the rows of an earlier run give them."""

from collections.abc import Sequence
from pathlib import Path

from ..harmonize import WEIGHTS, harmonizer_by_name
from ..models import embedded
from .dataset import Dataset
from .rows import UNHARMONIZED, Row
from .run import HarmonizerMethod, Method, file_hash, folder_method


def open_methods(methods: Sequence[str], outputs: Sequence[str], dataset: Dataset) -> list[Method]:
    """Open methods for a dataset.

    Args:
        methods: harmonizers by name and checkpoints by path, each perhaps as LABEL=NAME.
        outputs: folders of results, each as LABEL=FOLDER.
        dataset: what the folders are paired with.

    Raises:
        ValueError: no such harmonizer, or results that do not match the dataset by name.
    """
    opened: list[Method] = [harmonizer_method(*_split(text)) for text in methods if text != UNHARMONIZED]
    return opened + [folder_method(label, Path(folder), dataset) for label, folder in map(_split_output, outputs)]


def harmonizer_method(label: str, source: str) -> HarmonizerMethod:
    """Open a harmonizer by its name or its checkpoint's path."""
    harmonizer = harmonizer_by_name(source)
    weights = embedded().get(WEIGHTS.get(source, source), Path(source))
    return HarmonizerMethod(label, source, harmonizer, file_hash(weights) if weights.is_file() else "")


def methods_of_rows(rows: Sequence[Row], dataset: Dataset) -> list[Method]:
    """Open again the methods that rows were made with, in the rows' order."""
    sources = {row.method: row.source for row in rows if row.method != UNHARMONIZED}
    return [
        folder_method(label, Path(source), dataset) if Path(source).is_dir() else harmonizer_method(label, source)
        for label, source in sources.items()
    ]


def _split(text: str) -> tuple[str, str]:
    """Read LABEL=NAME; without a label a checkpoint is called by its stem."""
    label, separator, source = text.partition("=")
    if separator:
        return label, source
    return (Path(text).stem if Path(text).suffix else text), text


def _split_output(text: str) -> tuple[str, str]:
    label, separator, folder = text.partition("=")
    if not (label and separator and folder):
        raise ValueError(f"--outputs {text!r}: expected NAME=FOLDER")
    return label, folder
