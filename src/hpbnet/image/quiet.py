"""Decoders' own words kept from the user: what matters is returned as a notice or raised."""

import contextlib
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import IO

import cv2

_STDERR = 2
_NOISE = re.compile(rb"(tempfile\.tif|libpng (error|warning)|\w*(TIFF|Decode|LZW|ZIP|LZMA|ZSTD|JPEG|Pack|Fax)\w*): ")


class _Settings:
    """What the process is set to while pictures are decoded, and what it was set to before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0  # that decode at the moment
        self._warnings = warnings.catch_warnings()
        self._level = 0

    def enter(self) -> None:
        with self._lock:
            if self._threads == 0:
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore")
                self._level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
            self._threads += 1

    def leave(self) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                cv2.utils.logging.setLogLevel(self._level)
                self._warnings.__exit__(None, None, None)

    def leave_all(self) -> None:
        """In a forked child, where no other thread is left."""
        self._lock = threading.Lock()
        self._threads = min(1, self._threads)
        if self._threads:
            self.leave()


class _StandardError:
    """The process's standard error, kept in a file while libraries that print on their own are at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._outside: int | None = None
        self._file: IO[bytes] | None = None

    def enter(self) -> None:
        with self._lock:
            if self._threads == 0:
                with contextlib.suppress(OSError):  # a process may have none
                    self._outside = os.dup(_STDERR)
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the last thread leaves)
                    os.dup2(self._file.fileno(), _STDERR)
            self._threads += 1

    def leave(self) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0 and self._outside is not None:
                os.dup2(self._outside, _STDERR)
                os.close(self._outside)
                self._outside = None
                if self._file is not None:
                    self._file.seek(0)
                    os.write(_STDERR, b"".join(line for line in self._file if not _NOISE.match(line)))
                    self._file.close()

    def leave_all(self) -> None:
        """In a forked child, where no other thread is left; what is kept is the parent's to show."""
        self._lock = threading.Lock()
        self._threads, self._file = min(1, self._threads), None
        if self._threads:
            self.leave()


_settings, _standard_error = _Settings(), _StandardError()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_settings.leave_all)
    os.register_at_fork(after_in_child=_standard_error.leave_all)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore Python's warnings and OpenCV's log while the block runs.

    Both are settings of the process, which `warnings.catch_warnings` alone loses where threads overlap: the first
    thread in saves them, the last one out restores them.
    """
    _settings.enter()
    try:
        yield
    finally:
        _settings.leave()


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what libtiff and libpng print from the standard error; what others print there is shown after the block."""
    _standard_error.enter()
    try:
        yield
    finally:
        _standard_error.leave()
