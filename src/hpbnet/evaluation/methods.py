"""Methods by name, as a command line or the rows of an earlier run give them."""

from collections.abc import Sequence
from pathlib import Path

from ..harmonize import WEIGHTS, Painter, harmonizer_by_name
from ..models import embedded
from .dataset import Dataset
from .rows import UNHARMONIZED, EvaluationRow
from .run import HarmonizerMethod, Method, PainterMethod, file_hash, folder_method

PAINTED = " (painted)"  # ends the name and the source of a painting network's own picture


def open_methods(
    methods: Sequence[str], outputs: Sequence[str], dataset: Dataset, painted: bool = False
) -> list[Method]:
    """Open methods for a dataset.

    Args:
        methods: harmonizers by name and checkpoints by path, each perhaps as LABEL=NAME.
        outputs: folders of results, each as LABEL=FOLDER.
        dataset: what the folders are paired with.
        painted: after each network that paints, add the picture that it paints itself.

    Raises:
        ValueError: no such harmonizer, results that do not match the dataset by name, or nothing is `painted`.
    """
    networks: list[Method] = []
    for label, source in (_split(text) for text in methods if text != UNHARMONIZED):
        networks.append(method := harmonizer_method(label, source))
        if painted and isinstance(method.harmonizer, Painter):
            networks.append(painter_method(label + PAINTED, source + PAINTED))
    if painted and not any(isinstance(method, PainterMethod) for method in networks):
        raise ValueError(
            "painted: no method paints a picture of its own; choose hpbnet, or weights of hpbnet or of a baseline"
        )
    return networks + [folder_method(label, Path(folder), dataset) for label, folder in map(_split_output, outputs)]


def harmonizer_method(label: str, source: str) -> HarmonizerMethod:
    """Open a harmonizer by its name or its checkpoint's path."""
    return HarmonizerMethod(label, source, harmonizer_by_name(source), _weight_hash(source))


def painter_method(label: str, source: str) -> PainterMethod:
    """Open a painting network by its name or its checkpoint's path, each followed by `PAINTED`.

    Raises:
        ValueError: no such network, or it does not paint.
    """
    name = source.removesuffix(PAINTED)
    painter = harmonizer_by_name(name)
    if not isinstance(painter, Painter):
        raise ValueError(f"{name} does not paint a picture of its own")
    return PainterMethod(label, source, painter, _weight_hash(name))


def methods_of_rows(rows: Sequence[EvaluationRow], dataset: Dataset) -> list[Method]:
    """Open again the methods that rows were made with, in the rows' order."""
    sources = {row.method: row.source for row in rows if row.method != UNHARMONIZED}
    return [_reopen(label, source, dataset) for label, source in sources.items()]


def _reopen(label: str, source: str, dataset: Dataset) -> Method:
    if source.endswith(PAINTED):
        return painter_method(label, source)
    if Path(source).is_dir():
        return folder_method(label, Path(source), dataset)
    return harmonizer_method(label, source)


def _weight_hash(source: str) -> str:
    """Hash the weights of a harmonizer; empty for one without weights."""
    weights = embedded().get(WEIGHTS.get(source, source), Path(source))
    return file_hash(weights) if weights.is_file() else ""


def _split(text: str) -> tuple[str, str]:
    """Read LABEL=NAME; without a label a checkpoint is called by its stem."""
    label, separator, source = text.partition("=")
    if separator:
        return label, source
    return (Path(text).stem if Path(text).suffix else text), text


def _split_output(text: str) -> tuple[str, str]:
    label, separator, folder = text.partition("=")
    if not (label and separator and folder):
        raise ValueError(f"outputs {text!r}: expected LABEL=FOLDER")
    return label, folder
