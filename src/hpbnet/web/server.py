"""What all routes share: the pipeline, the limits, the workers, the sessions and the videos in work."""

from dataclasses import dataclass

from ..pipeline import Pipeline
from .folder import ServerFolder
from .jobs import Jobs
from .limits import Limits
from .metrics import Metrics
from .sessions import Sessions
from .workers import Workers


@dataclass(frozen=True)
class Server:
    """The state of one server."""

    pipeline: Pipeline
    limits: Limits
    folder: ServerFolder
    workers: Workers
    sessions: Sessions
    jobs: Jobs
    metrics: Metrics

    @staticmethod
    def start(pipeline: Pipeline, limits: Limits) -> "Server":
        """Begin with nothing but the pipeline."""
        folder = ServerFolder()
        jobs = Jobs(folder, limits)
        workers = Workers(limits.workers, limits.waiting, limits.seconds)
        return Server(pipeline, limits, folder, workers, Sessions(folder, limits, jobs.end_all), jobs, Metrics())

    def close(self) -> None:
        """Stop all work and remove all files."""
        self.jobs.close()
        self.workers.close()
        self.folder.close()
