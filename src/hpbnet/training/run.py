"""A run directory that explains itself, and what every training loop shares.

    RUN/config.json     the whole config
    RUN/log.jsonl       one line a logged step: losses, images a second
    RUN/samples/        a sheet of pictures at every validation
    RUN/events.out...   the same for TensorBoard, where the extra [train] is installed
    RUN/state.pt        networks, averages, optimisers, step: all that an exact resume needs
    RUN/weights.safetensors   the released form: averaged weights with provenance in the header

Exact resume: item k of a run is drawn from a generator seeded with (seed, k), and batch k of the loader holds items
k x batch_size ..., so nothing but the step number is needed to go on where a killed run stopped.
"""

import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..checkpoint import Checkpoint, Plain, write_checkpoint
from ..files import write_bytes
from ..image import write_picture
from ..synthesis.folders import append_line, locked, read_json_lines, read_json_object
from .config import TrainConfig, without_paths, write_config
from .distributed import ProcessGroup, join_processes
from .optimise import Ema

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)
Item_co = TypeVar("Item_co", covariant=True)
Progress = Callable[[int, int], None]  # steps done, and steps until this process stops

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
BOOKKEEPING = ("steps", "stop_at", "workers", "threads", "device", "checkpoint_every", "validate_every", "log_every")


class Stateful(Protocol):
    """Anything with a state dict: networks, optimisers, averages."""

    def state_dict(self) -> dict[str, object]: ...  # noqa: D102
    def load_state_dict(self, state: dict[str, object]) -> object: ...  # noqa: D102


@dataclass(frozen=True)
class Release:
    """What a run releases: the averaged weights of a network, its config, and a sentence about the data."""

    network: str
    config: Mapping[str, Plain]
    ema: Ema
    data: str


@contextmanager
def begin_run(config: TrainConfig, directory: str | Path, progress: Progress | None = None) -> Iterator["Run"]:
    """Begin a training: join the processes, set threads and seed; at the end let go of the run directory.

    Raises:
        ValueError: the batch does not divide among the processes, or there is no such device.
    """
    with join_processes(config) as group, ExitStack() as held:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        yield Run(directory, config, group, progress, held)
        group.wait()


class Run:
    """One run directory: its config, its log, its resumable state and its released weights.

    Nothing is written before `resume`, so that a training which cannot begin leaves nothing behind.
    """

    def __init__(
        self,
        directory: str | Path,
        config: TrainConfig,
        group: ProcessGroup = ALONE,
        progress: Progress | None = None,
        held: ExitStack | None = None,  # closed at the end of the training
    ) -> None:
        self.directory, self.config, self.group = Path(directory), config, group
        self.step = 0  # steps done when this process began
        self.last = min(config.steps, config.stop_at or config.steps)
        self.metrics: dict[str, float] = {}  # of the last validation
        self._progress, self._held = progress, held or ExitStack()
        self._clock = time.perf_counter()
        self._step_at_clock: int | None = None

    @property
    def state_file(self) -> Path:
        """Where the resumable state lies."""
        return self.directory / "state.pt"

    @property
    def weights(self) -> Path:
        """Where the released weights lie."""
        return self.directory / "weights.safetensors"

    def resume(self, release: Release, **parts: Stateful) -> None:
        """Take the run directory and restore every part from its last checkpoint, if there is one.

        Raises:
            ValueError: another process writes there, it holds another run, or a file in it is damaged.
            OSError: it cannot be written.
        """
        self._release, self._parts = release, parts
        with self.group.one_at_a_time():
            if self.group.first:
                self._held.enter_context(locked(self.directory))
                self._check_same_config()
                write_config(self.config, self.directory / "config.json")
            self._load()
            if self.group.first:
                self._cut_log()

    def batches(self, dataset: Dataset[Item_co]) -> Iterator[tuple[int, Item_co]]:
        """Yield the number of steps done, and the next batch."""
        self._tell(self.step)
        loader = batches(dataset, self.config, self.step, self.last, self.group)
        for done, batch in enumerate(loader, start=self.step):
            yield done, batch
            self._tell(done + 1)

    def record(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        """Log the values of a step, averaged over all processes, where it is due and before every checkpoint."""
        if self._due(step, self.config.checkpoint_every) or step % self.config.log_every == 0:
            means = self.group.average(values.values())
            if self.group.first:
                self.log(step, dict(zip(values, means, strict=True)))

    def validates(self, step: int) -> bool:
        """Tell whether this process validates after a step."""
        return self.group.first and self._due(step, self.config.validate_every)

    def record_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log what a validation measured; it becomes part of the provenance."""
        self.metrics = dict(metrics)
        self.log(step, metrics)

    def checkpoint(self, step: int) -> None:
        """Release the weights and save the state, where it is due."""
        if self.group.first and self._due(step, self.config.checkpoint_every):
            self.release(step)
            self.save(step)  # last: a run killed before it does these steps again

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line to the log.

        Raises:
            FloatingPointError: a value is not finite; the last good checkpoint stays.
        """
        if bad := [name for name, value in values.items() if not math.isfinite(value)]:
            raise FloatingPointError(
                f"{', '.join(bad)} not finite at step {step}; {self.state_file} holds the last good state"
            )
        now = time.perf_counter()
        line = {"step": step, **{name: round(value, 6) for name, value in values.items()}}
        if self._step_at_clock is not None and step > self._step_at_clock:
            speed = (step - self._step_at_clock) / (now - self._clock)
            line["images_per_second"] = round(speed * self.config.batch_size, 2)
            line["minutes_left"] = round((self.last - step) / speed / 60, 1)
        self._clock, self._step_at_clock = now, step
        append_line(self.directory / "log.jsonl", json.dumps(line) + "\n")
        log.info("%s", "  ".join(f"{name} {value:g}" for name, value in line.items()))
        if self._board:
            for name, value in line.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def show(self, step: int, picture: Tensor) -> None:
        """Write a sheet of samples [1,3,H,W], sRGB in [0,1]."""
        (self.directory / "samples").mkdir(exist_ok=True)
        write_picture(self.directory / "samples" / f"{step:07d}.png", picture.cpu())
        if self._board:
            self._board.add_image("samples", picture[0].cpu(), step)
            self._board.flush()

    def release(self, step: int) -> None:
        """Write the released form of the weights: averaged, 16 bits a number, with provenance but without paths."""
        tensors = self._release.ema.shadow.items()
        half = {name: value.half() if value.is_floating_point() else value for name, value in tensors}
        provenance: dict[str, Plain] = {
            "task": self._release.network,
            "data": self._release.data,
            "settings": json.dumps(without_paths(self.config), sort_keys=True),
            "steps": step,
            "metrics": json.dumps({name: round(value, 4) for name, value in self.metrics.items()}, sort_keys=True),
            "torch": torch.__version__,
            "licence": self.config.licence,
        }
        write_checkpoint(self.weights, Checkpoint(self._release.network, self._release.config, half, provenance))

    def save(self, step: int) -> None:
        """Write the resumable state atomically; a run killed here keeps the last one."""
        state = {"step": step, "metrics": self.metrics} | {
            name: part.state_dict() for name, part in self._parts.items()
        }
        file = io.BytesIO()  # not straight to the disk: torch has no clear error for a full one
        torch.save(state, file)
        write_bytes(self.state_file, file.getvalue())

    @cached_property
    def _board(self) -> "SummaryWriter | None":
        """Open TensorBoard's file, if it is installed; steps that a resumed run does again replace the old ones."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(self.directory, purge_step=self.step + 1)

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.last

    def _tell(self, done: int) -> None:
        if self._progress and self.group.first:
            self._progress(done, self.last)

    def _check_same_config(self) -> None:
        """Refuse to go on with a config that means another run; length and bookkeeping may change."""
        file = self.directory / "config.json"
        if not (file.exists() and self.state_file.exists()):
            return
        before = read_json_object(file, "the config of a run; name another run folder")
        now = json.loads(json.dumps(asdict(self.config)))
        if changed := sorted(name for name in now if name not in BOOKKEEPING and before.get(name) != now[name]):
            raise ValueError(
                f"{self.directory} holds a run with another {', '.join(changed)}; name another --run folder"
            )

    def _load(self) -> None:
        """Restore every part from the state, if there is one."""
        if not self.state_file.exists():
            return
        try:
            state = torch.load(self.state_file, map_location="cpu", weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            self.step = int(state["step"])
            self.metrics = {str(name): float(value) for name, value in state.get("metrics", {}).items()}
        except OSError:
            raise
        except Exception as error:  # torch raises a dozen kinds; all mean that this file cannot be used
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{self.state_file} is damaged or another network's ({reason}); delete it to begin anew"
            ) from error

    def _cut_log(self) -> None:
        """Drop log lines of steps that the resumed run will do again."""
        file = self.directory / "log.jsonl"
        if file.exists():
            rows = list(read_json_lines(file, "step"))
            if not all(isinstance(row["step"], int) for _, row in rows):
                raise ValueError(f"{file} is damaged: a line's step is not a whole number")
            write_bytes(file, "".join(line for line, row in rows if int(str(row["step"])) <= self.step).encode())


def batches(
    dataset: Dataset[Item_co], config: TrainConfig, first_step: int, last_step: int, group: ProcessGroup = ALONE
) -> Iterator[Item_co]:
    """Yield the batches of the steps first_step ... last_step - 1; the dataset is indexed by the item's running number.

    Of several processes, each gets its share of every batch: every `size`-th item, from its rank on.
    """
    items = range(first_step * config.batch_size + group.rank, last_step * config.batch_size, group.size)
    loader: DataLoader[Item_co] = DataLoader(
        dataset,
        batch_size=config.batch_size // group.size,
        sampler=items,
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )
    yield from loader


def _one_thread(_: int) -> None:
    """Keep a loader process to one thread: the cores belong to the training."""
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(0)
