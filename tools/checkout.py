"""Another commit of this repository in a temporary folder, for the tools that compare two commits."""

import contextlib
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def checkout(reference: str) -> Iterator[Path]:
    """Give a temporary folder with the files of a commit, branch or tag; the repository itself is only read."""
    archive = subprocess.run(["git", "archive", reference], cwd=ROOT, check=False, capture_output=True)
    if archive.returncode:
        raise SystemExit(f"no commit {reference!r} in this repository: {archive.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="hpbnet-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def environment(tree: Path) -> dict[str, str]:
    """Return the environment in which Python imports the hpbnet of a folder of this repository's files."""
    return os.environ | {"PYTHONPATH": str(tree / "src")}
