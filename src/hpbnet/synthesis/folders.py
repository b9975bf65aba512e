"""Folders that one process writes, and the small files in them: locks, JSON, names that stay inside.

Every error is one sentence that names the file.
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..files import remove_left_parts

try:
    import fcntl
except ImportError:  # Windows has no such locks: two runs in one folder are not noticed there
    fcntl = None  # type: ignore[assignment]

_HELD: set[int] = set()  # handles of locked folders, which forked processes must not keep locked


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be; the lock ends with the process.

    Raises:
        ValueError: another process has it.
        OSError: it cannot be made.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(folder):
            remove_left_parts(folder)
            yield
    finally:
        if new:
            with contextlib.suppress(OSError):  # nothing was written: leave nothing behind
                folder.rmdir()


def read_json_object(path: Path, expected: str) -> dict[str, object]:
    """Read a file that holds one JSON object.

    Raises:
        ValueError: it holds something else; the message names the file and what was expected.
        OSError: it cannot be opened.
    """
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); expected {expected}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}; expected {expected}")
    return value


def read_json_lines(path: Path, key: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each line of a file with its JSON object, which must have a key; a last line cut short is left out.

    Raises:
        ValueError: a line is damaged.
        OSError: the file cannot be opened.
    """
    for number, data in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not data.endswith(b"\n"):
            return
        try:
            line = data.decode()
            value = json.loads(line)
            value[key]
        except (ValueError, RecursionError, LookupError, TypeError):
            raise ValueError(f"{path}, line {number} is damaged: expected a JSON object with {key!r}") from None
        yield line, value


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a file named in an index.

    Raises:
        ValueError: the name leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise ValueError(f"{name!r} is not the name of a file in {folder}")
    return folder / name


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the file system name a file, say when the disk is full."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def append_line(path: Path, line: str) -> None:
    """Append a whole line at once to a file."""
    with naming(path), path.open("ab", buffering=0) as file:
        file.write(line.encode())


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    _HELD.add(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(handle)
            _HELD.discard(handle)
            raise ValueError(f"{folder}: another process is writing there; wait for it or choose another") from None
        # else the file system has no locks
    try:
        yield
    finally:
        _HELD.discard(handle)
        os.close(handle)


def _let_go() -> None:
    """Close locks that came along into a forked process, or they would outlive the one that made them."""
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
