"""Where items are made: processes of this machine, or a Ray cluster. Either runs the same function for every index."""

import multiprocessing
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import cv2
import torch

from .job import Job

Result = TypeVar("Result")
Maker = Callable[[Job, int], Result]
Results = Generator[Result, None, None]

_WAITING_PER_CORE = 4  # tasks handed to Ray ahead of time


@dataclass(frozen=True)
class Engine:
    """Where to work."""

    workers: int = 1
    ray: bool = False
    address: str | None = None  # of a Ray cluster; None starts one here


def run(maker: Maker[Result], job: Job, indices: Sequence[int], engine: Engine) -> Results[Result]:
    """Yield what a function makes of every index, in any order."""
    if engine.ray:
        yield from _run_on_ray(maker, job, indices, engine.address)
    elif indices:
        with multiprocessing.get_context("spawn").Pool(min(engine.workers, len(indices))) as pool:
            yield from pool.imap_unordered(partial(_work_alone, maker, job), indices)


def _work_alone(maker: Maker[Result], job: Job, index: int) -> Result:
    """Make one item on one thread of a worker's process: sums depend on how they are split."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return maker(job, index)


def _run_on_ray(maker: Maker[Result], job: Job, indices: Sequence[int], address: str | None) -> Results[Result]:
    """Work on a Ray cluster; what a lost node was making is made again elsewhere.

    The nodes read photos, alphas and weights by the paths in the job, so these lie on storage that all of them see.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("--engine ray needs the extra: pip install 'hpbnet[distributed]'") from None
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    try:
        task = ray.remote(num_cpus=1, max_retries=-1)(_work_alone)
        shared = ray.put(job)
        ahead = max(1, int(ray.cluster_resources().get("CPU", 1))) * _WAITING_PER_CORE
        waiting = [task.remote(maker, shared, index) for index in indices[:ahead]]
        for upcoming in (*indices[ahead:], *[None] * len(waiting)):
            (ready,), waiting = ray.wait(waiting)
            if upcoming is not None:
                waiting.append(task.remote(maker, shared, upcoming))
            yield ray.get(ready)
    finally:
        if started_here:
            ray.shutdown()
