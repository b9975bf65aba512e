"""Read and write checkpoints: one `.safetensors` file whose header explains itself.

The header holds the format, the network's name, its config and its provenance (task, settings, data, steps, metrics,
licence).
Published weights of others, which are pickles, are read for their tensors alone.
"""

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .files import replacing

FORMAT = "hpbnet-1"
_TABLES = ("config", "provenance")  # the header's fields that are JSON objects

Plain = str | int | float | bool | list[int] | list[float] | list[str] | None


@dataclass(frozen=True)
class Checkpoint:
    """A network's name, config, provenance and tensors."""

    network: str
    config: Mapping[str, Plain]
    tensors: Mapping[str, Tensor]
    provenance: Mapping[str, Plain] = field(default_factory=dict)


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: either the whole file stands at `path` or nothing has changed."""
    header = {
        "format": FORMAT,
        "network": checkpoint.network,
        "config": json.dumps(dict(checkpoint.config), sort_keys=True),
        "provenance": json.dumps(dict(checkpoint.provenance), sort_keys=True),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    with replacing(path) as part:
        try:
            save_file(tensors, part, metadata=header)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(errno.EIO, f"cannot be written: {error}", str(path)) from None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint written by `write_checkpoint`.

    Raises:
        ValueError: the file is missing, is no safetensors file, was not written by hpbnet, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                found = header.get("format", "no format at all")
                raise ValueError(f"{path} is a safetensors file but not an hpbnet checkpoint: its header names {found}")
            network, config, provenance = _read_header(header, path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, RuntimeError, TypeError, AttributeError) as error:  # odd kinds of numbers
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not a readable safetensors file: {reason}") from None
    for name, tensor in tensors.items():
        if tensor.is_complex() or not tensor.float().isfinite().all():
            raise ValueError(f"{path} is damaged: its tensor {name} holds numbers that are not finite or not real")
    return Checkpoint(network, config, tensors, provenance)


def _read_header(header: Mapping[str, str], path: Path) -> tuple[str, dict[str, Plain], dict[str, Plain]]:
    """Read name, config and provenance from a checkpoint's header."""
    if missing := [name for name in ("network", "config", "provenance") if name not in header]:
        raise ValueError(f"{path} is damaged: its header lacks {', '.join(missing)}")
    config, provenance = (_read_table(header[name], f"{path} is damaged: its {name}") for name in _TABLES)
    return header["network"], config, provenance


def _read_table(text: str, what: str) -> dict[str, Plain]:
    """Read a JSON object of plain values."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is not JSON") from None
    if not isinstance(table, dict):
        raise ValueError(f"{what} is a {type(table).__name__}, expected a JSON object")
    for name, value in table.items():
        if not _is_plain(value):
            raise ValueError(f"{what} has an unusable value in {name!r}: expected text, a number or a list of them")
    return table


def _is_plain(value: object) -> bool:
    """Tell whether a value is one that a header may hold: text, a finite number, a list of these, or nothing."""
    values = value if isinstance(value, list) else [value]
    return value is None or all(
        isinstance(each, str | int) or (isinstance(each, float) and isfinite(each)) for each in values
    )


def read_foreign_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read somebody else's file of PyTorch tensors by name; nothing but tensors is unpickled.

    Raises:
        ValueError: the file is damaged, or holds something else.
        OSError: it cannot be opened.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch.load raises a dozen kinds; all mean that this file cannot be used
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} holds no tensors that can be read safely: {reason}") from None
    content = content.get("net_state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ValueError(f"{path} holds no table of tensors")
    return content
