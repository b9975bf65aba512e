"""Tables of an evaluation, from its rows: Markdown that also reads well in a terminal.

Knows columns, units and digits; every number comes from `summary`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .rows import EvaluationRow
from .statistics import Estimate
from .summary import Board, Group, Summary

_NAMES = {
    "mse": "MSE", "psnr": "PSNR [dB]", "lpips_squeeze": "LPIPS (squeeze)", "lpips_alex": "LPIPS (alex)",
    "lpips_vgg": "LPIPS (vgg)", "dists": "DISTS", "fmse": "fMSE", "fpsnr": "fPSNR [dB]", "ssim": "SSIM",
    "fssim": "fSSIM", "ciede2000": "CIEDE2000", "lightness": "shading dL*", "chroma": "colour da*b*",
}  # fmt: skip
_DIGITS = {"mse": 1, "fmse": 1, "psnr": 2, "fpsnr": 2, "ciede2000": 2, "lightness": 2, "chroma": 2}
_DEEP = ("lpips_squeeze", "lpips_alex", "lpips_vgg", "dists")


@dataclass(frozen=True)
class Table:
    """One table: what it says, its columns and its cells."""

    title: str
    header: Sequence[str]
    cells: Sequence[Sequence[str]]


def render_tables(rows: Sequence[EvaluationRow]) -> str:
    """Make all tables of an evaluation.

    Raises:
        ValueError: the rows cannot be compared.
    """
    board = Board(rows)
    summaries = [board.summary(method) for method in board.methods]
    tables = [
        _as_published(summaries),
        _against_composite(summaries),
        _foreground(summaries),
        _unchanged(summaries),
        _identity(summaries),
        _duels(board),
        _groups(
            "Skin tone of the portrait (individual typology angle; the photo's own light confounds it)", board.by_skin()
        ),
        _groups("Parts of the dataset", board.by_subset()),
    ]
    return "\n\n".join([_caption(board), *(_render(table) for table in tables if table)]) + "\n"


def tables_as_json(rows: Sequence[EvaluationRow]) -> str:
    """Give the same numbers as one JSON object."""
    board = Board(rows)
    return json.dumps(
        {
            "items": len(board.items),
            "portraits": board.portraits,
            "needed_change": int(board.needed.sum()),
            "left_out": board.left_out,
            "methods": [asdict(board.summary(method)) for method in board.methods],
            "duels": [asdict(duel) for duel in board.duels()],
            "skin": [asdict(group) for group in board.by_skin()],
            "subsets": [asdict(group) for group in board.by_subset()],
        }
    )


def _caption(board: Board) -> str:
    needed = int(board.needed.sum())
    text = f"{len(board.items)} items from {board.portraits} portraits; {needed} needed a change (composite MSE > 1)"
    text += ", and all means are over these." if needed < len(board.items) else "."
    text += " Brackets: 95 % intervals, portraits resampled."
    if board.left_out:
        text += f" {board.left_out} items without rows of every method are left out."
    return text


def _as_published(summaries: Sequence[Summary]) -> Table:
    """Like the paper's Table 2."""
    names = [name for name in ("mse", "psnr", *_DEEP) if any(name in s.means for s in summaries)]
    cells = [[s.method, *(_cell(s.means.get(name), _DIGITS.get(name, 4)) for name in names)] for s in summaries]
    return Table("Whole picture", ["method", *(_NAMES[name] for name in names)], cells)


def _against_composite(summaries: Sequence[Summary]) -> Table:
    names = [name for name in ("mse", *_DEEP) if any(name in s.ratios for s in summaries)]
    header = ["method", *(f"{_NAMES[name]} after/before" for name in names), "PSNR gain [dB]", "harm [%]"]
    header.append("harm, least disturbed tenth [%]")
    cells = [
        [
            s.method,
            *(_cell(s.ratios.get(name), 3) for name in names),
            _cell(s.gain, 2, signed=True),
            _cell(s.harm, 1, 100),
            _cell(s.harm_least, 1, 100),
        ]
        for s in summaries
    ]
    return Table("Against the untouched composite (ratios of means; harm: MSE rises by more than 1)", header, cells)


def _foreground(summaries: Sequence[Summary]) -> Table:
    names = ("fmse", "fpsnr", "fssim", "ssim", "ciede2000", "lightness", "chroma")
    cells = [
        [
            s.method,
            *(_cell(s.means.get(name), _DIGITS.get(name, 4)) for name in names),
            f"{s.seconds:.4f}" if s.seconds is not None else "-",
            s.weight or "-",
        ]
        for s in summaries
    ]
    header = ["method", *(_NAMES[name] for name in names), "median s", "weights"]
    return Table("Foreground (SSIM: whole picture)", header, cells)


def _unchanged(summaries: Sequence[Summary]) -> Table | None:
    if not any(s.unchanged_to_input for s in summaries):
        return None
    cells = [[s.method, _cell(s.unchanged_to_input, 2), _cell(s.unchanged_harm, 1, 100)] for s in summaries]
    title = "Pairs that needed no change (PSNR is capped at 50 dB)"
    return Table(title, ["method", "PSNR to the input [dB]", "MSE rises by more than 1 [%]"], cells)


def _identity(summaries: Sequence[Summary]) -> Table | None:
    if not any("identity" in s.means for s in summaries):
        return None
    cells = [[s.method, _cell(s.means.get("identity"), 4), _cell(s.identity_low, 4)] for s in summaries]
    return Table("Identity (cosine of face embeddings to the truth)", ["method", "mean", "5th percentile"], cells)


def _duels(board: Board) -> Table | None:
    duels = board.duels()
    cells = [
        [d.first, d.second, str(d.wins), str(d.losses), str(d.ties), _cell(d.share, 1, 100)] for d in duels
    ]  # fmt: skip
    header = ["first", "second", "first better", "second better", "equal", "first better [%]"]
    return Table("Pair by pair, by MSE", header, cells) if duels else None


def _groups(title: str, groups: Sequence[Group]) -> Table | None:
    if not groups:
        return None
    cells = []
    for group in groups:
        gains = [other.gain.value for other in groups if other.method == group.method and other.gain]
        behind = group.gain.value - max(gains) if group.gain and gains else 0.0
        numbers = (_cell(group.mse, 1), _cell(group.fmse, 1), _cell(group.psnr, 2), _cell(group.ratio, 3))
        gain = _cell(group.gain, 2, signed=True)
        cells.append([group.method, group.group, str(group.count), *numbers, gain, f"{behind:+.2f}"])
    header = ["method", "group", "items", "MSE", "fMSE", "PSNR [dB]", "MSE after/before", "PSNR gain [dB]"]
    return Table(title, [*header, "gain behind the best group [dB]"], cells)


def _cell(estimate: Estimate | None, digits: int, scale: float = 1.0, signed: bool = False) -> str:
    if estimate is None:
        return "-"
    value, low, high = (number * scale for number in (estimate.value, estimate.low, estimate.high))
    sign = "+" if signed else ""
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def _render(table: Table) -> str:
    """Lay a table out in Markdown, columns padded to line up."""
    lines = [table.header, *table.cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    padded = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"**{table.title}**", "", padded[0], rule, *padded[1:]])
