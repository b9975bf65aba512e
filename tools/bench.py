"""Measure every stage: one JSON object a line, {"stage", "size", "seconds" (median), "peak_mb"}.

Each size runs in its own process, so that its peak memory is its own. Run it with nothing else busy.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
    from hpbnet.matte import estimate_alpha, estimate_foreground

    width, height = map(int, size.split("x"))
    side = max(width, height)
    portrait, background = (
        to_samples(
            torch.nn.functional.interpolate(to_planes(picture), (side, side), mode="bilinear")[..., :height, :width]
        )
        for picture in (data.astronaut(), data.rocket())
    )
    pipeline = hpbnet.Pipeline.from_pretrained()
    assert pipeline.matting is not None
    planes = to_planes(portrait)
    measure("total", size, lambda: to_samples(pipeline(portrait, background).image))
    with torch.no_grad():
        alpha = estimate_alpha(pipeline.matting, planes)
        measure("matte", size, lambda: estimate_alpha(pipeline.matting, planes))
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


def main() -> None:
    """Measure help, a cold start, and each size in its own process."""
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
    for size in SIZES:
        subprocess.run([sys.executable, __file__, size], check=True)


if __name__ == "__main__":
    bench_size(sys.argv[1]) if len(sys.argv) > 1 else main()
