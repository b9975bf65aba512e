"""Help runs/comparison.sh: choose a learning rate, print Table 2, and time the trainings.

python runs/comparison.py rate RUN RUN ...       the learning rate of the run that validates best
python runs/comparison.py table OUT TABLE ...    one table of several evaluations; OUT/METHOD/weights.safetensors
python runs/comparison.py speed POOL             CPU seconds an item of every training, on one thread
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpbnet.evaluation.rows import read_rows
from hpbnet.evaluation.statistics import Estimate
from hpbnet.evaluation.summary import Board, Summary
from hpbnet.models import load_network
from hpbnet.training.config import read_config
from hpbnet.training.start import TASKS, train

RATIOS = ("lifted_ratio", "pool_ratio")  # how trainings call the error after / before, lifted by a grid
PAPER = {  # Table 2 of the paper, retrained: MSE, PSNR, LPIPS, DISTS
    "unharmonized": (2711.10, 14.50, 0.21, 0.18),
    "HT": (1748.94, 16.17, 0.30, 0.22),
    "DoveNet": (1828.26, 16.20, 0.25, 0.19),
    "ADFM": (1853.00, 16.20, 0.24, 0.18),
    "iDIH-HRNet": (1675.70, 16.60, 0.25, 0.19),
    "S2CRNet": (2142.82, 15.82, 0.23, 0.18),
    "HPBNet": (1181.86, 18.40, 0.14, 0.13),
}
SMALL = Path(__file__).with_name("hpbnet_small.json")
TRAININGS: dict[str, tuple[str, Path | None, dict[str, str]]] = {  # name: task, file of fields, other fields
    **{name: (name, None, {"resolution": "128"}) for name in ("ht", "dovenet", "adfm", "idih", "s2crnet")},
    "unet": ("hpbnet", SMALL, {"generator": "false"}),
    "hpbnet": ("hpbnet", SMALL, {}),
    "learned": ("harmonizer", None, {"size": "128"}),
}
STEPS = 4  # the first and the last are not timed


def best_rate(runs: Sequence[Path]) -> float:
    """Return the learning rate of the run with the least error after / before in its last validation."""
    ratios = {}
    for run in runs:
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        ratio = next(line[name] for line in reversed(lines) for name in RATIOS if name in line)
        ratios[ratio] = json.loads((run / "config.json").read_text())["learning_rate"]
    return float(ratios[min(ratios)])


def table(out: Path, folders: Sequence[Path]) -> str:
    """Lay out the rows of several test sets as one table, and the paper's own below."""
    rows = [
        replace(row, item=f"{folder.name}/{row.item}") for folder in folders for row in read_rows(folder / "rows.jsonl")
    ]
    board = Board(rows)
    header = (
        "| method | MSE | PSNR [dB] | LPIPS | DISTS | MSE after / before | harm | identity | s a picture | parameters |"
    )
    lines = [f"{len(board.items)} items of {board.portraits} portraits.", "", header, "|---" * 10 + "|"]
    lines += [_row(board.summary(method), out) for method in board.methods]
    lines += [
        "",
        "The paper's Table 2, on its own data (retrained):",
        "",
        "| method | MSE | PSNR [dB] | LPIPS | DISTS |",
    ]
    lines += ["|---" * 5 + "|", *(f"| {name} | {' | '.join(map(str, row))} |" for name, row in PAPER.items())]
    return "\n".join(lines)


def _row(summary: Summary, out: Path) -> str:
    means = summary.means
    lpips = next((means[name] for name in ("lpips_alex", "lpips_vgg", "lpips_squeeze") if name in means), None)
    cells = [
        _text(means.get("mse"), 1),
        _text(means.get("psnr"), 2),
        _text(lpips, 4),
        _text(means.get("dists"), 4),
        _text(summary.ratios.get("mse"), 3),
        f"{100 * summary.harm.value:.1f} %" if summary.harm else "-",
        _text(means.get("identity"), 4),
        f"{summary.seconds:.3f}" if summary.seconds is not None else "-",
        _parameters(out / summary.method.removesuffix(" (painted)") / "weights.safetensors"),
    ]
    return f"| {summary.method} | {' | '.join(cells)} |"


def _text(estimate: Estimate | None, digits: int) -> str:
    return "-" if estimate is None else f"{estimate.value:.{digits}f}"


def _parameters(weights: Path) -> str:
    if not weights.is_file():
        return "-"
    return f"{sum(parameter.numel() for parameter in load_network(weights).parameters()):,}"


def speed(pool: Path) -> None:
    """Print the CPU seconds an item of every training: forward, backward, discriminator, optimiser, loading."""
    common = {"batch_size": "8", "steps": str(STEPS), "threads": "1", "workers": "0", "device": "cpu"}
    for name, (task, file, fields) in TRAININGS.items():
        config = read_config(TASKS[task].config, file, common | fields | {"data": str(pool)})
        clock: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            train(task, config, Path(folder), lambda *_, clock=clock: clock.append(time.process_time()))  # type: ignore[misc]
        seconds = (clock[-2] - clock[1]) / (STEPS - 2) / 8
        print(f"| {name} | {seconds:.3f} | {seconds * 24_000 / 3600:.1f} |", flush=True)


if __name__ == "__main__":
    command, *paths = sys.argv[1:] or [""]
    if command == "rate" and paths:
        print(best_rate([Path(path) for path in paths]))
    elif command == "table" and len(paths) > 1:
        print(table(Path(paths[0]), [Path(path) for path in paths[1:]]))
    elif command == "speed" and len(paths) == 1:
        speed(Path(paths[0]))
    else:
        sys.exit(__doc__)
