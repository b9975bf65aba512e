"""Put files in place whole or not at all: the one way in which this package writes what it may replace.

A file is made beside its destination under a random name, created exclusively, then flushed to the disk and renamed.
What a killed process left is removed by the next one that writes into the same folder: a part file is locked while its
process lives. Knows nothing of what the files hold, but for the names that pictures have.
"""

import contextlib
import errno
import functools
import os
import secrets
import unicodedata
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: nothing is locked there, and nothing cleaned up after a kill
    fcntl = None  # type: ignore[assignment]

PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "tif", "tiff", "avif", "heic", "heif", "gif", "bmp"),
        *("dib", "ppm", "pgm", "pbm", "pnm", "jp2", "j2k", "jpx"),
    )
)
_PREFIX = ".hpbnet-"


def stem_of(path: Path) -> str:
    """Return a file's name without suffix, accents composed (NFC): systems write one name in two ways."""
    return unicodedata.normalize("NFC", path.stem)


@contextlib.contextmanager
def replacing(
    destination: str | Path,
    suffix: str = "",  # of the part file's name, for writers that go by it
) -> Iterator[Path]:
    """Give the path of an empty part file; it takes the destination's place when the block ends without an error.

    A destination that is a link keeps pointing at what is written. A device or pipe is written to and never replaced:
    its own path is given then.

    Raises:
        OSError: the destination cannot be written, or the block failed so; the destination is unchanged.
    """
    path = Path(os.path.realpath(destination))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, a file was expected", str(destination))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "cannot be written: there is no such folder", str(destination))
    part = path
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        with _part_file(path, suffix) as (part, handle):
            yield part
            flush_to_disk(part)
            os.chmod(part, _mode(path, handle))
            os.replace(part, path)
        flush_to_disk(path.parent)
    except OSError as error:
        if error.filename not in (None, str(part), str(path), str(path.parent), part, path):  # of another file
            raise
        raise OSError(error.errno, error.strerror or str(error), str(destination)) from None  # not the part file's name


def write_bytes(destination: str | Path, data: bytes) -> None:
    """Put a whole file in place, or leave everything as it was.

    Raises:
        OSError: the destination cannot be written.
    """
    with replacing(destination) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def _part_file(path: Path, suffix: str) -> Iterator[tuple[Path, int]]:
    """Create and lock a part file beside a path, and remove it where it was not renamed."""
    remove_left_parts(path.parent)
    while True:
        part = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{suffix}")
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)  # an existing name or link is an error
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process took it for one left behind, before it was locked
            break
        os.close(handle)
    try:
        yield part, handle
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


@functools.lru_cache(maxsize=256)
def remove_left_parts(folder: Path) -> None:
    """Remove the part files of processes that were killed, once in a process and folder."""
    if fcntl is None:
        return
    for part in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, or another's
            handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _mode(path: Path, handle: int) -> int:
    """Tell the permissions of what is replaced, or those that a new file has."""
    return (os.stat(path) if path.exists() else os.fstat(handle)).st_mode & 0o777


def flush_to_disk(path: Path) -> None:
    """Have the system write a file, or a folder's list of files, to the disk."""
    with contextlib.suppress(*((OSError,) if path.is_dir() else ())):  # not every system flushes or lists a folder
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
