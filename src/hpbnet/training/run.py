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

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..checkpoint import Checkpoint, Plain, write_checkpoint
from ..image import write_picture
from ..models import native_bfloat16
from .config import TrainConfig, write_config

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)
Item_co = TypeVar("Item_co", covariant=True)


class Stateful(Protocol):
    """Anything with a state dict: networks, optimisers, averages."""

    def state_dict(self) -> dict[str, object]: ...  # noqa: D102
    def load_state_dict(self, state: dict[str, object]) -> object: ...  # noqa: D102


class Run:
    """One run directory: its config, its log, its resumable state and its released weights."""

    def __init__(self, directory: str | Path, config: TrainConfig) -> None:
        self.directory = Path(directory)
        self.config = config
        self.directory.mkdir(parents=True, exist_ok=True)
        self._check_same_config()
        write_config(config, self.directory / "config.json")
        self._clock = time.perf_counter()
        self._step_at_clock: int | None = None
        self._first_step = 1  # that this process logs
        for leftover in self.directory.glob(".weights.safetensors.*"):  # of a run killed while it wrote them
            leftover.unlink()

    @property
    def state_file(self) -> Path:
        """Where the resumable state lies."""
        return self.directory / "state.pt"

    def load(self, parts: Mapping[str, Stateful]) -> int:
        """Restore every part from the last checkpoint; return the number of steps done, 0 for a new run."""
        if not self.state_file.exists():
            self._cut_log(0)
            return 0
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step: int = state["step"]
        self._cut_log(step)
        self._first_step = step + 1
        return step

    def save(self, step: int, parts: Mapping[str, Stateful]) -> None:
        """Write the resumable state atomically; a run killed here keeps the last one."""
        partial = self.state_file.with_suffix(".partial")
        torch.save({"step": step} | {name: part.state_dict() for name, part in parts.items()}, partial)
        os.replace(partial, self.state_file)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line to the log, and say it.

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
            line["minutes_left"] = round((self.config.steps - step) / speed / 60, 1)
        self._clock, self._step_at_clock = now, step
        with (self.directory / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
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

    def release(
        self,
        network: str,
        config: Mapping[str, Plain],
        tensors: Mapping[str, Tensor],
        provenance: Mapping[str, Plain],
    ) -> Path:
        """Write the released form of the weights: fp16, averaged, with provenance."""
        path = self.directory / "weights.safetensors"
        half = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
        own: dict[str, Plain] = {"command": " ".join(["hpbnet", *sys.argv[1:]]), "torch": torch.__version__}
        settings: dict[str, Plain] = {"training": json.dumps(asdict(self.config), sort_keys=True)}
        write_checkpoint(path, Checkpoint(network, config, half, own | settings | dict(provenance)))
        return path

    @cached_property
    def _board(self) -> "SummaryWriter | None":
        """Open TensorBoard's file, if it is installed; steps that a resumed run does again replace the old ones."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(self.directory, purge_step=self._first_step)

    def _check_same_config(self) -> None:
        """Refuse to go on with a config that means another run; length and bookkeeping may change."""
        free = {"steps", "workers", "threads", "checkpoint_every", "validate_every", "log_every"}
        file = self.directory / "config.json"
        if not (file.exists() and self.state_file.exists()):
            return
        before, now = json.loads(file.read_text()), json.loads(json.dumps(asdict(self.config)))
        if changed := sorted(name for name in now if name not in free and before.get(name) != now[name]):
            raise ValueError(
                f"{self.directory} holds a run with another {', '.join(changed)}; name another --run folder"
            )

    def _cut_log(self, step: int) -> None:
        """Drop log lines of steps that the resumed run will do again."""
        file = self.directory / "log.jsonl"
        if file.exists():
            whole = [line for line in file.read_text().splitlines() if line.endswith("}")]  # the last may be torn
            partial = file.with_suffix(".partial")
            partial.write_text("".join(f"{line}\n" for line in whole if json.loads(line)["step"] <= step))
            os.replace(partial, file)


class Ema:
    """An exponential moving average of a network's weights; buffers are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network; young averages move faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value, 1 - decay)
            else:
                self.shadow[name].copy_(value)

    def state_dict(self) -> dict[str, object]:
        """Return the averaged weights."""
        return dict(self.shadow)

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the averaged weights."""
        for name, value in state.items():
            assert isinstance(value, Tensor)
            self.shadow[name].copy_(value)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then cosine decay to zero at the run's last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def batches(
    dataset: Dataset[Item_co], config: TrainConfig, first_step: int, rank: int = 0, ranks: int = 1
) -> Iterator[Item_co]:
    """Yield the batches of the steps first_step ... steps - 1; the dataset is indexed by the item's running number.

    Of several processes, each gets its share of every batch: every `ranks`-th item, from its rank on.
    """
    items = range(first_step * config.batch_size + rank, config.steps * config.batch_size, ranks)
    loader: DataLoader[Item_co] = DataLoader(
        dataset,
        batch_size=config.batch_size // ranks,
        sampler=items,
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        persistent_workers=config.workers > 0,
        prefetch_factor=4 if config.workers else None,
    )
    yield from loader


def autocast(config: TrainConfig, device: str = "cpu") -> torch.autocast:
    """Mixed precision as the config asks; a processor that would only imitate bfloat16 stays with float32."""
    quick = device != "cpu" or native_bfloat16()
    return torch.autocast(device, torch.bfloat16, enabled=quick and config.precision == "bfloat16")


def _one_thread(_: int) -> None:
    """Keep a loader process to one thread: the cores belong to the training."""
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(0)
