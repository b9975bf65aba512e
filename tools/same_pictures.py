"""Compose the same pictures and clips with two commits, and compare the results byte for byte.

    python tools/same_pictures.py REF --portraits DIR --backgrounds DIR [--clips FILE ...] [--count 24] [--keep DIR]

The commit REF and the files here compose the same COUNT pairs of a portrait and a background as a Python user would
(`hpbnet.Pipeline`), and put each clip on a background by `hpbnet video`; all with default options, so that options may
have been renamed in between. Portraits and backgrounds are taken in the order of their names, evenly spread over the
folders. Each result that differs gets a line that says by how much; the exit code is 1 if any does.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from checkout import ROOT, checkout, environment
from numpy.typing import NDArray
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

COMPOSE = """
import sys
import hpbnet

pipeline = hpbnet.Pipeline.from_pretrained()
for line in sys.stdin:
    portrait, background, destination = line.rstrip("\\n").split("\\t")
    pipeline(portrait, background).save(destination)
"""

Pairs = Sequence[tuple[Path, Path]]  # portrait or clip, background


def main() -> int:
    """Compose with both commits, compare, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", metavar="REF", help="a commit, branch or tag to compare with")
    parser.add_argument("--portraits", type=Path, required=True, metavar="DIR", help="folder of portraits")
    parser.add_argument("--backgrounds", type=Path, required=True, metavar="DIR", help="folder of backgrounds")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], metavar="FILE", help="short clips of people")
    parser.add_argument("--count", type=int, default=24, help="number of pictures (default: 24)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the results in before/ and after/ of this folder"
    )
    arguments = parser.parse_args()
    portraits = spread(arguments.portraits, arguments.count)
    backgrounds = spread(arguments.backgrounds, arguments.count)
    pairs = list(itertools.islice(zip(itertools.cycle(portraits), itertools.cycle(backgrounds)), arguments.count))
    clips = list(zip(arguments.clips, itertools.cycle(backgrounds)))
    with tempfile.TemporaryDirectory() as folder, checkout(arguments.reference) as tree:
        before, after = ((arguments.keep or Path(folder)).resolve() / name for name in ("before", "after"))
        compose(tree, before, pairs, clips)
        compose(ROOT, after, pairs, clips)
        differences = list(compare(before, after))
    print("\n".join([*differences, f"{len(pairs) + len(clips)} results, {len(differences)} differ"]))
    return 1 if differences else 0


def spread(folder: Path, count: int) -> list[Path]:
    """Choose at most `count` pictures of a folder, evenly spread over their names."""
    paths = sorted(path.resolve() for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"{folder} has no pictures ({', '.join(SUFFIXES)})")
    return [paths[index] for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)]


def compose(tree: Path, folder: Path, pairs: Pairs, clips: Pairs) -> None:
    """Write the results of a commit, whose files are in `tree`, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{portrait}\t{background}\t{folder / f'{index:02}_{portrait.stem}_{background.stem}.png'}\n"
        for index, (portrait, background) in enumerate(pairs)
    ]
    command = [sys.executable, "-c", COMPOSE]
    run(command, tree, folder, "".join(lines))
    for clip, background in clips:
        command = [sys.executable, "-m", "hpbnet", "video", str(clip.resolve()), str(background)]
        command += ["-o", str(folder / f"{clip.stem}_{background.stem}.mp4")]
        run(command, tree, folder)


def run(command: Sequence[str], tree: Path, folder: Path, lines: str = "") -> None:
    """Run a command with the hpbnet of a commit in a folder, and end with its error if it fails."""
    settings = {"env": environment(tree), "cwd": folder}
    done = subprocess.run(command, input=lines, text=True, capture_output=True, check=False, **settings)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:])}\n{done.stderr.strip()}")


def compare(before: Path, after: Path) -> Iterator[str]:
    """Describe every result that is not the same, byte for byte."""
    for old in sorted(before.iterdir()):
        new = after / old.name
        if old.read_bytes() != new.read_bytes():
            frames = itertools.zip_longest(read_frames(old), read_frames(new))
            changes = [describe_change(*pair) for pair in frames]
            words = [f"frame {number}: {change}" for number, change in enumerate(changes) if change]
            summary = (
                f"{len(words)} of {len(changes)} frames differ; {words[0]}" if words else "equal pixels, other bytes"
            )
            yield f"{old.name}: {summary}"


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Read a picture, or a clip's frames, as RGB."""
    if path.suffix == ".png":
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))
        return
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def describe_change(old: NDArray[np.uint8] | None, new: NDArray[np.uint8] | None) -> str:
    """Say by how much two frames differ; empty if they do not."""
    if old is None or new is None:
        return "missing"
    if old.shape != new.shape:
        return f"{old.shape[1]}x{old.shape[0]} px before, {new.shape[1]}x{new.shape[0]} px after"
    change = np.abs(old.astype(int) - new).max(axis=2)
    return f"{(change > 0).mean():.2%} of the pixels, by {change.max()} of 255 at most" if change.any() else ""


if __name__ == "__main__":
    sys.exit(main())
