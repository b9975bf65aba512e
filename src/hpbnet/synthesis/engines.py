"""Where items are made: processes of this machine, or a Ray cluster. Either runs the same function for every index."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import cv2
import torch

from ..errors import missing_extra

Plan = TypeVar("Plan")
Result = TypeVar("Result")
Maker = Callable[[Plan, int], Result]
Results = Generator[Result, None, None]

_WAITING_PER_CORE = 4  # tasks handed over ahead of time
_ATTEMPTS = 3  # times in a row that worker processes may be killed without one item made between


@dataclass(frozen=True)
class Engine:
    """Where to work."""

    workers: int | None = None  # processes; by default one here, or as many as a Ray cluster has cores
    ray: bool = False
    address: str | None = None  # of a Ray cluster; None starts one here


def make_all(maker: Maker[Plan, Result], plan: Plan, indices: Sequence[int], engine: Engine) -> Results[Result]:
    """Yield what a function makes of every index, in any order; what a killed process was making is made again.

    Raises:
        ValueError: worker processes are killed again and again, or Ray is not installed.
    """
    if engine.ray:
        yield from _make_on_ray(maker, plan, indices, engine)
    else:
        yield from _make_in_processes(maker, plan, indices, engine.workers or 1)


def _make_in_processes(maker: Maker[Plan, Result], plan: Plan, indices: Sequence[int], workers: int) -> Results[Result]:
    """Work in processes of this machine; when one dies, all begin anew with what is missing."""
    missing, failures = dict.fromkeys(indices), 0
    while missing:
        try:
            with closing(_make_in_one_pool(maker, plan, list(missing), min(workers, len(missing)))) as pool:
                for index, result in pool:
                    del missing[index]
                    failures = 0
                    yield result
        except BrokenProcessPool:
            failures += 1
            if failures == _ATTEMPTS:
                raise ValueError(
                    f"worker processes were killed {_ATTEMPTS} times in a row (too little memory?); what was made is "
                    "kept: start again with fewer workers"
                ) from None


def _make_in_one_pool(
    maker: Maker[Plan, Result], plan: Plan, indices: Sequence[int], workers: int
) -> Results[tuple[int, Result]]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_prepare_worker)
    try:
        upcoming = iter(indices)
        waiting: dict[Future[Result], int] = {}

        def hand_over(count: int) -> None:
            waiting.update({pool.submit(maker, plan, index): index for index in islice(upcoming, count)})

        hand_over(workers * _WAITING_PER_CORE)
        while waiting:
            for ready in wait(waiting, return_when=FIRST_COMPLETED).done:
                index, result = waiting.pop(ready), ready.result()
                hand_over(1)
                yield index, result
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    """Have a worker's process use one thread (sums depend on how they are split) and end with its parent."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted parent ends its workers itself
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _make_alone(maker: Maker[Plan, Result], plan: Plan, index: int) -> Result:
    """Make one item on one thread of a Ray worker."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return maker(plan, index)


def _make_on_ray(maker: Maker[Plan, Result], plan: Plan, indices: Sequence[int], engine: Engine) -> Results[Result]:
    """Work on a Ray cluster; what a lost node was making is made again elsewhere.

    The nodes read photos, alphas and weights by the paths in the plan, so these lie on storage that all of them see.
    """
    try:
        import ray
    except ImportError:
        raise missing_extra("clusters", "ray", "distributed") from None
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(address=engine.address, log_to_driver=False, logging_level="warning")
    try:
        task = ray.remote(num_cpus=1, max_retries=-1)(_make_alone)
        shared = ray.put(plan)
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        upcoming: Iterator[int] = iter(indices)
        ahead = engine.workers or cores * _WAITING_PER_CORE  # no more than `workers` items are in work at a time
        waiting = [task.remote(maker, shared, index) for index in islice(upcoming, ahead)]
        while waiting:
            (ready,), waiting = ray.wait(waiting)
            waiting += [task.remote(maker, shared, index) for index in islice(upcoming, 1)]
            yield ray.get(ready)
    finally:
        if started_here:
            ray.shutdown()
