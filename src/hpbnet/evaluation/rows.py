"""The rows of an evaluation: one line of JSON an item and method. Every table and figure is made from them.

Knows how rows are written, read back and kept; knows nothing of how scores come about or are summed up.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..files import write_bytes
from .measures import Scores

UNHARMONIZED = "unharmonized"  # the method that changes nothing; every comparison is made against its rows


@dataclass(frozen=True)
class EvaluationRow:
    """What one method did to one item."""

    item: str
    method: str
    scores: Scores
    portrait: str
    subset: str
    source: str  # harmonizer's name, checkpoint or folder, as it was given
    weight: str  # beginning of the SHA-256 of the weights or, for a folder, of the result's file; empty for neither
    data: str  # beginning of the SHA-256 of the triplet's files
    version: str  # of hpbnet
    networks: tuple[str, ...]  # of the measures that were at hand
    width: int
    height: int
    coverage: float  # mean of the mask
    seconds: float | None  # None for a folder
    typology: float | None  # individual typology angle of the truth's skin [deg]

    @property
    def key(self) -> tuple[str, str]:
        """Item and method: a rows file has one row for each."""
        return self.item, self.method


_SCORES = tuple(entry.name for entry in fields(Scores))
_OTHERS = tuple(entry.name for entry in fields(EvaluationRow) if entry.name != "scores")


def row_to_json(row: EvaluationRow) -> str:
    """Write a row as one line; what was not measured is left out."""
    plain = {name: getattr(row, name) for name in _OTHERS} | asdict(row.scores)
    return json.dumps({name: value for name, value in plain.items() if value is not None})


def row_from_json(line: str) -> EvaluationRow:
    """Read a row back.

    Raises:
        ValueError: the line is no row.
    """
    plain = json.loads(line)
    try:
        scores = Scores(**{name: plain.pop(name) for name in _SCORES if name in plain})
        networks = tuple(plain.pop("networks"))
        return EvaluationRow(scores=scores, networks=networks, **({"seconds": None, "typology": None} | plain))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"no row of an evaluation: {error}") from None


def read_rows(path: Path) -> list[EvaluationRow]:
    """Read a rows file; a last line that an interruption cut short is left out.

    Raises:
        ValueError: another line is no row.
        OSError: the file cannot be opened.
    """
    lines = path.read_text().split("\n")
    rows: dict[tuple[str, str], EvaluationRow] = {}
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line's end is empty or cut short
        try:
            row = row_from_json(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        rows[row.key] = row
    return list(rows.values())


def write_rows(path: Path, rows: Iterable[EvaluationRow]) -> None:
    """Write a rows file anew, atomically."""
    write_bytes(path, "".join(f"{row_to_json(row)}\n" for row in rows).encode())
