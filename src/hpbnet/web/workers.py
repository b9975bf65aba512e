"""A bounded pool of threads for the work on pictures, and how work that takes too long is stopped.

Python cannot end a thread from outside. So work is made of steps (cut-out, canvas, colours, encoding), and between
two of them it asks whether it may go on. A request that runs out of time is answered with 504 at once; its work stops
before the next step, and until then its place in the pool stays taken.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .problems import Problem

Answer = TypeVar("Answer")
GoOn = Callable[[], None]  # called between two steps; raises where the work is to stop

_RETRY_SECONDS = 2


class Stopped(Exception):
    """Nobody waits for this work any more."""


class Workers:
    """Runs work in at most `count` threads, while at most `waiting` more wait."""

    def __init__(self, count: int, waiting: int, seconds: float) -> None:
        self.count, self.waiting, self.seconds = count, waiting, seconds
        self.pending = 0  # running or waiting
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(count, "hpbnet-web")

    async def run(self, work: Callable[[GoOn], Answer]) -> Answer:
        """Do some work; it is given what it calls between its steps.

        Raises:
            Problem: too many wait already (429), or it takes too long (504).
        """
        self._enter()
        stop = threading.Event()

        def go_on() -> None:
            if stop.is_set():
                raise Stopped

        def checked() -> Answer:
            go_on()
            return work(go_on)

        future = self._threads.submit(checked)
        future.add_done_callback(lambda _: self._leave())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.seconds)
        except TimeoutError:
            raise Problem(
                504, f"this took longer than {self.seconds:g} s and was stopped; give smaller pictures"
            ) from None
        finally:
            stop.set()

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _enter(self) -> None:
        with self._lock:
            if self.pending >= self.count + self.waiting:
                raise Problem(
                    429,
                    f"{self.pending} requests are being worked on or wait; try again in a moment",
                    headers={"Retry-After": str(_RETRY_SECONDS)},
                )
            self.pending += 1

    def _leave(self) -> None:
        with self._lock:
            self.pending -= 1


def never_stop() -> None:
    """Let the work go on always."""
