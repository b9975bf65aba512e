"""The fields that every training shares; each task's config adds its own."""

import dataclasses
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin

from ..files import write_bytes
from ..settings import check_names, check_settings, kind_of, setting
from ..synthesis.folders import read_json_object

PATHS = ("FILE", "FOLDER")  # the `metavar` of fields that name a file or folder of one's own machine
MANY = (1, 100_000_000)
FROM_ZERO = (0, 100_000_000)
WEIGHT = (0, 1_000_000)  # of a loss's term
_LONGEST = 500  # characters of a message, whatever was given


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation, precision and bookkeeping of one training run.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """

    data: str = setting("", "Training data, the command's DATA.", None, "FOLDER")
    steps: int = setting(20_000, "Optimiser steps of the whole learning-rate schedule.", MANY)
    stop_at: int | None = setting(None, "Stop after this step, before the end of the schedule.", MANY)
    batch_size: int = setting(16, "Items per step, over all processes.", (1, 100_000))
    learning_rate: float = setting(
        1e-3, "Peak learning rate, reached after `warmup` steps; cosine decay to zero at `steps`.", (0, 10)
    )
    warmup: int = setting(200, "Steps in which the learning rate rises.", FROM_ZERO)
    weight_decay: float = setting(1e-2, "Weight decay of AdamW.", (0, 10))
    clip: float = setting(1.0, "Gradients are clipped to this norm; 0: not clipped.", (0, 1_000_000))
    ema: float = setting(0.999, "Decay of the averaged weights, which are the ones validated and released.", (0, 1))
    precision: Literal["float32", "bfloat16"] = setting("bfloat16", "bfloat16 is used where the processor has it.")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "Where to train; auto: on a GPU if there is one.")
    seed: int = setting(0, "Random seed of weights, items and augmentation.", (0, 2**31))
    workers: int = setting(1, "Data-loading processes.", (0, 1000))
    threads: int = setting(2, "Threads of the training process.", (1, 1000))
    checkpoint_every: int = setting(500, "Steps between checkpoints.", MANY)
    validate_every: int = setting(2_000, "Steps between validations.", MANY)
    log_every: int = setting(50, "Steps between lines of the log.", MANY)
    licence: str = setting("see WEIGHTS_LICENSE", "Licence of the weights, written into their header.")

    def __post_init__(self) -> None:
        check_settings(self)


C = TypeVar("C", bound=TrainConfig)


def read_config(kind: type[C], file: str | Path | None, overrides: dict[str, str]) -> C:
    """Build a config from defaults, a JSON file and `name=value` overrides, in that order.

    Raises:
        ValueError: the file holds no JSON object, or a field that the config does not have, or a value that it cannot
            have.
    """
    values: dict[str, object] = {}
    if file is not None:
        values = _checked(kind, _read_file(kind, Path(file)), f"{file}: ")
    known = {field.name: field for field in fields(kind)}
    given = {
        name: text if name in known and kind_of(known[name]) is str else _literal(text)
        for name, text in overrides.items()
    }
    values |= _checked(kind, given, "")
    return kind(**values)  # type: ignore[arg-type]


def write_config(config: TrainConfig, path: Path) -> None:
    """Write a config as JSON, whole or not at all."""
    write_bytes(path, (json.dumps(asdict(config), indent=2) + "\n").encode())


def without_paths(config: TrainConfig) -> dict[str, object]:
    """Return the fields that do not name files or folders: those that may be published."""
    values = asdict(config)
    return {field.name: values[field.name] for field in fields(config) if field.metadata["metavar"] not in PATHS}


def _read_file(kind: type[C], file: Path) -> dict[str, object]:
    expected = f"a JSON object of fields ({', '.join(sorted(field.name for field in fields(kind)))})"
    if not file.is_file():
        raise ValueError(f"there is no file {file}; expected {expected}")
    return read_json_object(file, expected)


def _checked(kind: type[C], values: dict[str, object], origin: str) -> dict[str, object]:
    """Check fields and bring their values to their types: a list becomes a tuple, a whole number one with a point."""
    known = {field.name: field for field in fields(kind)}
    check_names(kind, values, "field", origin)
    values = {name: _converted(known[name], value) for name, value in values.items()}
    try:
        kind(**values)  # type: ignore[arg-type]
    except ValueError as error:
        text = str(error)
        raise ValueError(origin + (text if len(text) < _LONGEST else f"{text[:_LONGEST]} ...")) from None
    return values


def _converted(field: "dataclasses.Field[object]", value: object) -> object:
    kind = kind_of(field)
    if kind is float and type(value) is int and math.log10(abs(value) + 1) < 300:
        return float(value)
    if get_origin(kind) is tuple and isinstance(value, list):
        floats = float in get_args(kind)
        return tuple(float(part) if floats and type(part) is int and abs(part) < 2**53 else part for part in value)
    return value


def _literal(text: str) -> object:
    """Read a number, a list or true/false as JSON does; anything else stays text."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
