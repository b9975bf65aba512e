"""Read and write checkpoints: one `.safetensors` file whose header explains itself.

The header holds the format, the network's name, its config and its provenance (command, data, steps, metrics, licence).
Published weights of others, which are pickles, are read for their tensors alone.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "hpbnet-1"

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
    path = Path(path)
    header = {
        "format": FORMAT,
        "network": checkpoint.network,
        "config": json.dumps(dict(checkpoint.config), sort_keys=True),
        "provenance": json.dumps(dict(checkpoint.provenance), sort_keys=True),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, partial, metadata=header)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint written by `write_checkpoint`.

    Raises:
        ValueError: the file is missing, is no safetensors file, or was not written by hpbnet.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                found = header.get("format", "no format at all")
                raise ValueError(f"{path} is a safetensors file but no hpbnet checkpoint: its header names {found}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is no readable safetensors file: {error}") from None
    return Checkpoint(header["network"], json.loads(header["config"]), tensors, json.loads(header["provenance"]))


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
