"""The trainings by name, and the errors that can stop one, in one sentence each."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .baselines import TRAININGS, train_baseline
from .config import TrainConfig
from .harmonizer import HarmonizerTraining, train_harmonizer
from .hpbnet import HPBNetTraining, train_hpbnet
from .matting import MattingTraining, train_matting
from .run import Progress
from .stylegan import StyleGANTraining, train_stylegan

C = TypeVar("C", bound=TrainConfig)
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # how torch says so, in lower case
OTHER_NETWORK = "loading state_dict"  # part of what torch says where weights do not fit
LOADER_KILLED = "DataLoader worker (pid"  # how it begins to say that a data-loading process died
IN_LOADER = "Caught "  # how it begins to repeat an error of a data-loading process, traceback included


@dataclass(frozen=True)
class Task(Generic[C]):
    """A training: the config it takes and the loop that runs it."""

    config: type[C]
    train: Callable[[C, Path, Progress | None], Path]


TASKS: dict[str, Task[Any]] = {
    "harmonizer": Task(HarmonizerTraining, train_harmonizer),
    "hpbnet": Task(HPBNetTraining, train_hpbnet),
    "matting": Task(MattingTraining, train_matting),
    "stylegan": Task(StyleGANTraining, train_stylegan),
    **{training.name: Task(training, train_baseline) for training in TRAININGS},
}


def train(task: str, config: TrainConfig, directory: Path, progress: Progress | None = None) -> Path:
    """Run a training by name and return the path of the released weights.

    Raises:
        ValueError: it does not fit into memory (the message names the fields to lower), begins with the weights of
            another network, its losses stopped being finite, or a data-loading process was killed.
        OSError: a file cannot be read or written.
    """
    try:
        return TASKS[task].train(config, directory, progress)
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        text = str(error)
        if text.startswith(LOADER_KILLED):
            raise ValueError(
                "a data-loading process was killed (too little memory?): lower workers or batch_size, and start again "
                "with the same run folder to go on from its last checkpoint"
            ) from error
        if OTHER_NETWORK in text:
            raise ValueError(f"the weights to begin with are another network's: {_last_line(text)}") from error
        if isinstance(error, MemoryError) or any(sign in text.lower() for sign in NO_MEMORY):
            raise ValueError(f"out of memory: lower {_sizes(config)}") from error
        if isinstance(error, ValueError | OSError) and text.startswith(IN_LOADER):
            raise ValueError(_last_line(text).partition(": ")[2]) from error
        raise


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip()


def _sizes(config: TrainConfig) -> str:
    """Name the fields that decide how much memory a training takes."""
    values = asdict(config)
    return " or ".join(
        f"{name} (now {values[name]})" for name in ("batch_size", "resolution", "size") if name in values
    )
