"""Measure every stage: one JSON object per line, {"stage", "size", "seconds" (median), "peak_mb"}.

    python tools/bench.py [SIZE ...] [--compare REF [--rounds N]]

By default the start of the command and all sizes are measured, each size in its own process, so that its peak memory is
its own. With --compare the files here and another commit are measured alternately, since a computer's own speed drifts,
and each line is {"stage", "size", "before", "after" (medians, seconds), "ratio" (median of after / before over the
rounds), "lowest", "highest", "peak_mb_before", "peak_mb_after"}. Each commit is measured by its own tools/bench.py; a
stage that only one of them has is left out. Run it with nothing else busy.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from checkout import ROOT, checkout, environment

SIZES = ("512x512", "1920x1080", "4000x3000")
REPEATS = 5


def report(stage: str, size: str, seconds: list[float], peak_mb: float) -> None:
    """Print one row."""
    row = {"stage": stage, "size": size, "seconds": round(statistics.median(seconds), 4), "peak_mb": round(peak_mb)}
    print(json.dumps(row), flush=True)


def measure(stage: str, size: str, step: Callable[[], object]) -> None:
    """Time a step after one warm-up, and report it with the highest memory of the process while it ran."""
    step()
    reset_peak()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    report(stage, size, seconds, peak_megabytes())


def reset_peak() -> None:
    """Let the process's highest memory start again from now, where the system can (Linux)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_megabytes() -> float:
    """Return the highest resident memory since the last reset [MB]."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def bench_size(size: str) -> None:
    """Measure every stage at one size, in this process."""
    import torch
    from skimage import data

    import hpbnet
    from hpbnet.image.picture import to_planes, to_samples
    from hpbnet.matte import estimate_foreground

    width, height = map(int, size.split("x"))
    side = max(width, height)
    portrait, background = (
        to_samples(
            torch.nn.functional.interpolate(to_planes(picture), (side, side), mode="bilinear")[..., :height, :width]
        )
        for picture in (data.astronaut(), data.rocket())
    )
    pipeline = hpbnet.Pipeline.from_pretrained()
    matting = pipeline.matting
    assert matting is not None
    planes = to_planes(portrait)
    measure("total", size, lambda: to_samples(pipeline(portrait, background).image))
    with torch.no_grad():
        alpha = matting(planes)
        measure("matte", size, lambda: matting(planes))
        measure("foreground", size, lambda: estimate_foreground(planes, alpha))
        layers = hpbnet.Layers(estimate_foreground(planes, alpha), alpha, to_planes(background))
        grid = pipeline.harmonizer(layers)
        measure("estimate", size, lambda: pipeline.harmonizer(layers))
        measure("apply", size, lambda: layers.recolor(grid))
        measure("composite", size, layers.composite)


def bench_process(stage: str, size: str, command: list[str]) -> None:
    """Time a whole process, the interpreter's start included."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    report(stage, size, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def bench_start() -> None:
    """Measure `--help`, and the first picture from a cold start."""
    hpbnet = [sys.executable, "-m", "hpbnet"]
    bench_process("help", "", [*hpbnet, "--help"])  # before anything large is loaded here: a child starts with our size

    from skimage import data

    from hpbnet.image import write_picture
    from hpbnet.image.picture import to_planes

    with tempfile.TemporaryDirectory() as folder:
        portrait, background = Path(folder) / "portrait.jpg", Path(folder) / "background.jpg"
        write_picture(portrait, to_planes(data.astronaut()))
        write_picture(background, to_planes(data.rocket()))
        compose = ["compose", str(portrait), str(background), "-o", str(Path(folder) / "out.png")]
        bench_process("cold_start", "512x512", [*hpbnet, *compose])


def compare(reference: str, sizes: Sequence[str], rounds: int) -> None:
    """Measure another commit and the files here alternately, and print ratios."""
    before: dict[tuple[str, str], list[dict[str, float]]] = {}
    after: dict[tuple[str, str], list[dict[str, float]]] = {}
    with checkout(reference) as tree:
        for number in range(rounds):
            order = [(tree, before), (ROOT, after)]
            for folder, rows in order if number % 2 == 0 else order[::-1]:
                for key, row in measured(folder, sizes).items():
                    rows.setdefault(key, []).append(row)
    for (stage, size), rows in after.items():
        if (stage, size) in before:
            print(json.dumps({"stage": stage, "size": size} | comparison(before[stage, size], rows)), flush=True)


def measured(tree: Path, sizes: Sequence[str]) -> dict[tuple[str, str], dict[str, float]]:
    """Run the bench of a folder with the repository's files -> its rows by stage and size."""
    rows = {}
    for size in sizes or [""]:  # "": everything
        command = [sys.executable, str(tree / "tools" / "bench.py"), *([size] if size else [])]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=environment(tree), text=True)
        if done.returncode:
            raise SystemExit(f"tools/bench.py of {tree} failed")
        for row in map(json.loads, done.stdout.splitlines()):
            rows[row["stage"], row["size"]] = row
    return rows


def comparison(before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]) -> dict[str, float]:
    """Compare the rows of one stage, a pair per round."""
    ratios = [new["seconds"] / old["seconds"] for old, new in zip(before, after, strict=True)]
    return {
        "before": statistics.median(row["seconds"] for row in before),
        "after": statistics.median(row["seconds"] for row in after),
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "peak_mb_before": max(row["peak_mb"] for row in before),
        "peak_mb_after": max(row["peak_mb"] for row in after),
    }


def main() -> None:
    """Parse, and measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"WIDTHxHEIGHT; by default {', '.join(SIZES)}")
    parser.add_argument("--compare", metavar="REF", help="a commit, branch or tag to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="with --compare: runs of each commit (default: 3)")
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.compare, arguments.sizes, arguments.rounds)
    elif len(arguments.sizes) == 1:
        bench_size(arguments.sizes[0])
    else:
        if not arguments.sizes:
            bench_start()
        for size in arguments.sizes or SIZES:
            subprocess.run([sys.executable, __file__, size], check=True)


if __name__ == "__main__":
    main()
