"""The fields that every training shares; each task's config adds its own."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation, precision and bookkeeping of one training run."""

    data: str = ""  # folder that the task trains on
    steps: int = 20_000  # optimiser steps of the whole run
    batch_size: int = 16
    learning_rate: float = 1e-3  # peak, reached after `warmup` steps, cosine decay to zero at `steps`
    warmup: int = 200
    weight_decay: float = 1e-2
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.999  # decay of the averaged weights, which are the ones validated and released
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # where the processor has it
    seed: int = 0
    workers: int = 1  # data-loading processes
    threads: int = 2  # torch threads of the training process
    checkpoint_every: int = 500  # steps
    validate_every: int = 2_000  # steps
    log_every: int = 50  # steps


C = TypeVar("C", bound=TrainConfig)


def read_config(kind: type[C], file: str | Path | None, overrides: dict[str, str]) -> C:
    """Build a config from defaults, a JSON file and `name=value` overrides, in that order.

    Raises:
        ValueError: a field that the config does not have, or a value that it cannot have.
    """
    values: dict[str, object] = {}
    if file is not None:
        try:
            values = json.loads(Path(file).read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} is no readable JSON config: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"{file} holds a {type(values).__name__}, expected a JSON object of fields")
    known = {field.name: field for field in fields(kind)}
    for name, text in overrides.items():
        values[name] = text if known.get(name) and isinstance(known[name].default, str) else _literal(text)
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    for name, value in values.items():
        default = known[name].default
        if isinstance(default, float) and isinstance(value, int):
            values[name] = float(value)
        elif isinstance(default, tuple) and isinstance(value, list):
            values[name] = tuple(value)
        elif not isinstance(value, type(default)):
            raise ValueError(f"{name}={value!r}: expected a value like {default!r}")
        elif get_origin(known[name].type) is Literal and value not in get_args(known[name].type):
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(get_args(known[name].type))}")
    return kind(**values)  # type: ignore[arg-type]  # checked above, field by field


def write_config(config: TrainConfig, path: Path) -> None:
    """Write a config as JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(config), indent=2) + "\n")
    os.replace(partial, path)


def _literal(text: str) -> object:
    """Read a number, a list or true/false as JSON does; anything else stays text."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value
