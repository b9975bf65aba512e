"""Videos in work: one after the other in a thread of their own, with progress, and stopped when nobody wants them."""

import logging
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..video.run import Progress
from .folder import ServerFolder
from .limits import Limits
from .problems import Problem, to_problem

State = Literal["waiting", "working", "done", "failed", "cancelled"]
Work = Callable[[Path, Progress], tuple[str, ...]]  # writes the result's file, tells progress, returns notices
_RETRY_SECONDS = 30
_log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Nobody wants this video any more."""


@dataclass
class Job:
    """One video."""

    id: str
    folder: Path
    result: Path
    work: Work
    state: State = "waiting"
    seconds: float = 0.0  # done
    length: float | None = None  # in all
    began: float = 0.0
    ended: float = 0.0
    notices: tuple[str, ...] = ()
    error: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def describe(self, ahead: int) -> dict[str, object]:
        """Return what a client is told.

        Args:
            ahead: jobs that come before this one.
        """
        told: dict[str, object] = {"id": self.id, "state": self.state, "seconds": round(self.seconds, 3)}
        told |= {"length": self.length, "left": self._left(), "ahead": ahead if self.state == "waiting" else 0}
        if self.state == "done":
            told |= {"result": f"/v1/videos/{self.id}/result", "notices": list(self.notices)}
        return told | ({"error": self.error} if self.error else {})

    def _left(self) -> float | None:
        """Estimate the time left [s]; None where nothing is known yet."""
        if self.state == "done":
            return 0.0
        if self.state != "working" or not self.seconds or not self.length:
            return None
        elapsed = time.monotonic() - self.began
        return round(elapsed * max(0.0, self.length - self.seconds) / self.seconds, 1)


class Jobs:
    """The videos of a server."""

    def __init__(self, folder: ServerFolder, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def check_room(self) -> None:
        """Refuse a further video where too many wait; asked before its upload is read.

        Raises:
            Problem: 429.
        """
        if self.waiting() > self._limits.jobs:
            raise Problem(
                429,
                f"{self.waiting()} videos wait already; try again when one is done",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )

    def waiting(self) -> int:
        """Count the videos that are not finished."""
        with self._lock:
            return sum(job.state in ("waiting", "working") for job in self._jobs.values())

    def new_folder(self) -> Path:
        """Make a folder for a video's files."""
        return self._folder.make()

    def add(self, folder: Path, suffix: str, work: Work) -> Job:
        """Have a video made; its folder is removed with it.

        Raises:
            Problem: too many wait (429).
        """
        self.expire()
        try:
            self.check_room()
        except Problem:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        job = Job(secrets.token_urlsafe(16), folder, folder / f"result{suffix}", work)
        with self._lock:
            self._jobs[job.id] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hpbnet-jobs", daemon=True)
                self._thread.start()
        self._queue.put(job)
        return job

    def get(self, id: str) -> Job:
        """Return a job.

        Raises:
            Problem: there is none (404).
        """
        self.expire()
        with self._lock:
            job = self._jobs.get(id)
        if job is None:
            raise Problem(404, "this video is not known here; it may have expired, or the server was restarted")
        return job

    def describe(self, job: Job) -> dict[str, object]:
        """Return what a client is told of a job."""
        with self._lock:
            unfinished = [each.id for each in self._jobs.values() if each.state in ("waiting", "working")]
        return job.describe(unfinished.index(job.id) if job.id in unfinished else 0)

    def end(self, job: Job) -> None:
        """Stop a job, where it is in work, and remove it with its files."""
        job.stop.set()
        with self._lock:
            self._jobs.pop(job.id, None)
            idle = job.state != "working"
            job.state = "cancelled" if idle else job.state
        if idle:  # else its thread does so when it has stopped
            shutil.rmtree(job.folder, ignore_errors=True)

    def end_all(self, ids: list[str]) -> None:
        """Stop and remove jobs by their names."""
        for id in ids:
            job = self._jobs.get(id)
            if job is not None:
                self.end(job)

    def expire(self) -> None:
        """Remove the results that nobody asked for since long."""
        late = time.monotonic() - self._limits.idle
        for job in [*self._jobs.values()]:
            if job.ended and job.ended < late:
                self.end(job)

    def close(self) -> None:
        """Stop everything."""
        self.end_all([*self._jobs])
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(5.0)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                wanted = job.state == "waiting" and not job.stop.is_set()
                job.state = "working" if wanted else "cancelled"
            if wanted:
                self._run(job)

    def _run(self, job: Job) -> None:
        job.began = time.monotonic()

        def progress(frames: int, seconds: float, length: float | None) -> None:
            if job.stop.is_set():
                raise Cancelled
            if seconds > self._limits.max_video_seconds:
                raise Problem(413, f"the video is longer than {self._limits.max_video_seconds:g} s")
            job.seconds, job.length = seconds, length

        try:
            job.notices = job.work(job.result, progress)
            job.state = "done"
        except Cancelled:
            job.state = "cancelled"
        except Exception as error:  # told to the client; the thread goes on with the next
            job.error, job.state = to_problem(error).detail, "failed"
        job.ended = time.monotonic()
        with self._lock:
            gone = job.id not in self._jobs
        if gone or job.state != "done":
            shutil.rmtree(job.folder, ignore_errors=True)
            return
        for path in job.folder.iterdir():  # what it was made of
            if path != job.result:
                path.unlink()
