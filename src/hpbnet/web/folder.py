"""The one temporary folder of a server: everything that is uploaded lies in it, and it goes with the server.

A killed server cannot remove its folder; the next one does. A folder is locked while its server lives.
"""

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: nothing is locked there, and nothing cleaned up after a kill
    fcntl = None  # type: ignore[assignment]

_PREFIX = "hpbnet-web-"


class ServerFolder:
    """A temporary folder that only this user can read, made when it is first needed."""

    def __init__(self) -> None:
        self._once = threading.Lock()
        self._path: Path | None = None
        self._lock: IO[bytes] | None = None

    def make(self) -> Path:
        """Make a folder in it, with a random name."""
        with self._once:
            if self._path is None:
                _remove_stale()
                self._path = Path(tempfile.mkdtemp(prefix=_PREFIX))
                self._lock = _locked(self._path)
        return Path(tempfile.mkdtemp(dir=self._path))

    def close(self) -> None:
        """Remove it with all that it holds."""
        with self._once:
            if self._path is not None:
                shutil.rmtree(self._path, ignore_errors=True)
            if self._lock is not None:
                self._lock.close()
            self._path = self._lock = None


def _locked(folder: Path) -> IO[bytes] | None:
    """Lock a folder; None where another process has locked it, or nothing can be locked."""
    if fcntl is None:
        return None
    file = (folder / ".lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _remove_stale() -> None:
    """Remove the folders of servers that were killed."""
    if fcntl is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / ".lock").is_file():
                continue
            lock = _locked(folder)
        except OSError:
            continue
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
