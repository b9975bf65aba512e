"""The trainings by name, and what a user is told when one does not fit into memory."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .config import TrainConfig
from .harmonizer import HarmonizerTraining, train_harmonizer
from .hpbnet import HPBNetTraining, train_hpbnet
from .matting import MattingTraining, train_matting
from .stylegan import StyleGANTraining, train_stylegan

C = TypeVar("C", bound=TrainConfig)
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # how torch says so, in lower case
OTHER_NETWORK = "loading state_dict"  # of what torch says where weights do not fit


@dataclass(frozen=True)
class Task(Generic[C]):
    """A training: the config it takes and the loop that runs it."""

    config: type[C]
    train: Callable[[C, Path], Path]


TASKS: dict[str, Task[Any]] = {
    "harmonizer": Task(HarmonizerTraining, train_harmonizer),
    "hpbnet": Task(HPBNetTraining, train_hpbnet),
    "matting": Task(MattingTraining, train_matting),
    "stylegan": Task(StyleGANTraining, train_stylegan),
}


def train(task: str, config: TrainConfig, directory: Path) -> Path:
    """Run a training by name and return the path of the released weights.

    Raises:
        ValueError: it does not fit into memory (says which fields to lower), begins with the weights of another
            network, or its losses stopped being finite.
    """
    try:
        return TASKS[task].train(config, directory)
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if OTHER_NETWORK in str(error):
            reason = str(error).splitlines()[-1].strip()
            raise ValueError(f"the weights to begin with are another network's: {reason}") from error
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in NO_MEMORY):
            raise
        values = asdict(config)
        first, *others = (
            f"{name} (now {values[name]})" for name in ("batch_size", "resolution", "size") if name in values
        )
        raise ValueError(f"out of memory: lower {' or '.join([first, *others])}") from error
