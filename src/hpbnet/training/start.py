"""The trainings by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .config import TrainConfig
from .harmonizer import HarmonizerTraining, train_harmonizer
from .hpbnet import HPBNetTraining, train_hpbnet
from .matting import MattingTraining, train_matting
from .stylegan import StyleGANTraining, train_stylegan

C = TypeVar("C", bound=TrainConfig)


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
