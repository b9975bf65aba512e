"""Kill long runs again and again, and check that nothing is lost and nothing is left behind.

    python tools/kill_runs.py FOLDER [--synthesize 10] [--pool 5] [--training 5]

Each run is started, killed (SIGKILL) some moments after it has written something, started again, and so on; then it is
left to finish. What it made must be equal to what an undisturbed run makes, byte for byte, or tensor for tensor where a
file holds times; no other files and no worker processes may be left. Portraits and networks are tiny and made here.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

SIDE = 64  # [px]
PATIENCE = 180.0  # [s] that a run may take to write something
TRAINING = {
    "steps": 40,
    "batch_size": 4,
    "workers": 1,
    "threads": 1,
    "checkpoint_every": 1,
    "log_every": 1,
    "device": "cpu",
}
WIDTHS = {"channels": 64, "max_channels": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "resolution": 16}
HPBNET = {"unet_channels": 4, "unet_max_channels": 8, "joint": True, "perceptual_weight": 0}


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was killed."""

    name: str
    kills: int
    lost: list[str]  # files that differ from those of an undisturbed run, or are missing
    left: list[str]  # files that should not be there
    orphans: int  # processes that outlived the one that was killed


def main() -> int:
    """Kill all kinds of runs and print a line each; 1 if something was lost or left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--synthesize", type=int, default=10)
    parser.add_argument("--pool", type=int, default=5)
    parser.add_argument("--training", type=int, default=5)
    options = parser.parse_args()
    outcomes = list(kill_all(options.folder, options.synthesize, options.pool, options.training))
    return 1 if any(outcome.lost or outcome.left or outcome.orphans for outcome in outcomes) else 0


def kill_all(folder: Path, synthesize: int, pool: int, training: int) -> Iterator[Outcome]:
    """Kill a synthesis, a pool and three trainings, each so many times."""
    make_portraits(folder)
    made = [str(folder / "photos"), "--alphas", str(folder / "alphas"), "--size", str(SIDE), "--workers", "2"]
    kinds = {
        "synthesize": (["synthesize", *made, "--recipe", "wide", "--count", "60", "--out"], synthesize),
        "pool": (["synthesize", *made, "--pool", "--count", "60", "--out"], pool),
        "harmonizer": (train("harmonizer", folder / "pool", {"size": SIDE, "channels": [8] * 4}), training),
        "hpbnet": (train("hpbnet", folder / "pool", WIDTHS | HPBNET), training),
        "stylegan": (train("stylegan", folder / "photos", WIDTHS), training),
    }
    for name, (arguments, kills) in kinds.items():
        if kills or name == "pool":
            outcome = kill_one(name, arguments, folder / name, kills)
            print(json.dumps(asdict(outcome)), flush=True)
            yield outcome


def train(task: str, data: Path, settings: dict[str, object]) -> list[str]:
    """Return the command of a tiny training, but for its run folder."""
    fields = (f"{name}={json.dumps(value)}" for name, value in (TRAINING | settings).items())
    return ["train", task, str(data), *(part for field in fields for part in ("--set", field)), "--run"]


def kill_one(name: str, arguments: Sequence[str], folder: Path, kills: int) -> Outcome:
    """Run a command undisturbed into FOLDER.whole, and with kills into FOLDER, and compare."""
    rng, whole = random.Random(name), folder.with_name(f"{name}.whole")
    run([*arguments, str(whole)]).wait()
    killed = orphans = 0
    for _ in range(kills):
        process = run([*arguments, str(folder)])
        if wait_for_change(process, folder):
            time.sleep(rng.uniform(0.0, 0.3))
            children = children_of(process.pid)
            process.kill()
            killed += 1
            orphans += len(still_running(children))
        process.wait()
    last = run([*arguments, str(folder)])
    assert last.wait() == 0, f"{name} failed after {killed} kills; its messages are in {last.args}"
    expected, found = contents(whole), contents(folder)
    lost = [path for path, content in expected.items() if found.get(path) != content]
    return Outcome(name, killed, lost, sorted(set(found) - set(expected)), orphans)


def run(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start the command."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        [sys.executable, "-m", "hpbnet", *arguments], env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet
    )


def wait_for_change(process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    """Wait until a run has written something new; False if it ended first."""
    before, start = snapshot(folder), time.monotonic()
    while process.poll() is None:
        if snapshot(folder) != before:
            return True
        assert time.monotonic() < start + PATIENCE, f"nothing was written into {folder}"
        time.sleep(0.01)
    return False


def snapshot(folder: Path) -> list[tuple[str, int]]:
    """List the files that hold made items or steps, and their sizes."""
    listed = []
    for path in folder.rglob("*"):
        if path.suffix in {".png", ".npy", ".jsonl", ".safetensors"}:
            try:
                listed.append((str(path), path.stat().st_size))
            except FileNotFoundError:  # it was renamed meanwhile
                continue
    return sorted(listed)


def contents(folder: Path) -> dict[str, object]:
    """Return what lies below a folder, without what differs from run to run by nature: times and speeds."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.name.startswith("events.out"):
            continue
        if path.suffix == ".safetensors":
            found[name] = {key: tensor.numpy().tobytes() for key, tensor in load_file(path).items()}
        elif path.suffix == ".pt":
            found[name] = torch.load(path, weights_only=True)["step"]
        elif path.name == "log.jsonl":
            found[name] = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        else:
            found[name] = path.read_bytes()
    return found


def children_of(parent: int) -> list[int]:
    """List the processes that a process has started (Linux)."""
    threads = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for listed in threads for child in listed.read_text().split()]


def still_running(processes: Sequence[int], patience: float = 90.0) -> list[int]:
    """Return which processes run on, some seconds after their parent was killed, and end them."""
    limit, left = time.monotonic() + patience, list(processes)
    while left and time.monotonic() < limit:
        left = [process for process in left if Path(f"/proc/{process}").exists() and not is_zombie(process)]
        time.sleep(0.05)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return left


def is_zombie(process: int) -> bool:
    """Tell whether a process has ended and only waits to be asked how."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def make_portraits(folder: Path, count: int = 5) -> None:
    """Write photos of soft discs before random colours, and their alphas."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : 2 * SIDE * 1j, -1 : 1 : 2 * SIDE * 1j]
    alpha = np.clip((0.5 - x**2 - (y - 0.3) ** 2) * 6 + 0.5, 0, 1)
    for part in ("photos", "alphas"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colors = Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8))
        colors.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC).save(folder / "photos" / f"p{number}.png")
        Image.fromarray((alpha * 255).astype(np.uint8)).save(folder / "alphas" / f"p{number}.png")


if __name__ == "__main__":
    sys.exit(main())
