"""Decoders' own words kept from the user: what matters is returned as a notice or raised."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

import cv2


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


_settings = _Settings()


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
