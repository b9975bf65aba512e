"""Stages of work that overlap: each in its own thread, with short queues between them."""

import os
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import cv2
import torch

Item = TypeVar("Item")

_WAITING = 2  # items that wait between two stages


class Clock:
    """Adds up the processor time that each part of the work took in its own thread [s]."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, part: str, started: float) -> float:
        """Add the time since `started` (of `now`) to a part; return now."""
        done = now()
        self.seconds[part] = self.seconds.get(part, 0.0) + done - started
        return done


def now() -> float:
    """Return the processor time of this thread [s]: waiting for others does not count."""
    return time.thread_time()


def timed(items: Iterator[Item], clock: Clock, part: str) -> Iterator[Item]:
    """Add the time spent on making each item to a part of the work."""
    while True:
        started = now()
        item = next(items, None)
        clock.add(part, started)
        if item is None:
            return
        yield item


@contextmanager
def shared_cores() -> Iterator[None]:
    """Let torch and OpenCV use half the cores: threads that wait for each other on a busy core hardly get on."""
    before, before_opencv = torch.get_num_threads(), cv2.getNumThreads()
    half = max(1, (os.cpu_count() or 1) // 2)
    torch.set_num_threads(min(before, half))
    cv2.setNumThreads(min(before_opencv, half))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(before_opencv)


def ahead(items: Iterable[Item], waiting: int = _WAITING) -> Generator[Item, None, None]:
    """Work through an iterable in a thread of its own, at most `waiting` items ahead; its errors are raised here.

    Who asks for the items closes the generator when done with it, errors included: the thread ends by that.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None, bool]] = queue.Queue(waiting)
    stop = threading.Event()

    def put(entry: tuple[Item | None, BaseException | None, bool]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                if not put((item, None, False)):
                    break
            else:
                put((None, None, True))
        except BaseException as error:  # handed to the thread that waits for it
            put((None, error, True))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, name="hpbnet-video", daemon=True)
    thread.start()
    try:
        while True:
            item, error, done = ready.get()
            if error is not None:
                raise error
            if done:
                return
            yield cast(Item, item)
    finally:
        stop.set()
        thread.join()
