"""Networks by name or path: which there are, which weights are embedded, how they are loaded."""

import functools
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from .checkpoint import Checkpoint, read_checkpoint
from .networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
from .networks.hpbnet import HPBNet, HPBNetConfig
from .networks.matting import MattingConfig, MattingNetwork
from .networks.stylegan2 import Generator, StyleGAN2Config

NETWORKS: dict[str, tuple[Callable[[Any], nn.Module], type]] = {
    "matting": (MattingNetwork, MattingConfig),
    "harmonizer": (HarmonizerNetwork, HarmonizerConfig),
    "hpbnet": (HPBNet, HPBNetConfig),
    "stylegan2": (Generator, StyleGAN2Config),
}
_KEPT = 31 << 20  # [bytes] just below the largest block that glibc learns from
_WEIGHTS = Path(__file__).parent / "weights"


@functools.cache
def native_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 itself; where it does not, float32 is faster."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch.cpu, not in every version
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def embedded() -> dict[str, Path]:
    """Return the weights that come with the package, by name."""
    return {path.stem: path for path in sorted(_WEIGHTS.glob("*.safetensors"))}


def find_weights(name_or_path: str | Path) -> Path:
    """Return the file of an embedded weight's name, or the path itself.

    Raises:
        ValueError: neither a name nor a file.
    """
    if (found := embedded().get(str(name_or_path))) is not None:
        return found
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    known = ", ".join(embedded()) or "none"
    raise ValueError(f"{name_or_path} names no weights: expected a .safetensors file or one of: {known}")


def load_network(name_or_path: str | Path) -> nn.Module:
    """Build the network that a checkpoint describes and load its weights strictly; float32, evaluation mode.

    Raises:
        ValueError: no such weights, a foreign or damaged file, or one whose tensors do not fit its own config.
    """
    _keep_freed_memory()
    path = find_weights(name_or_path)
    return build_network(read_checkpoint(path), str(path))


def _keep_freed_memory() -> None:
    """Have the C library keep what pictures leave behind, instead of asking the system for the same pages again.

    glibc keeps up to twice the largest block that it has seen freed; this one is never touched. The small pictures on
    which mattes and edge colours are found then take half the time. Other libraries ignore it.
    """
    np.empty(_KEPT, np.uint8)


@functools.cache
def allow_fork() -> None:
    """Let processes that are forked from this one compute, with one thread each.

    The threads of OpenMP and OpenCV do not exist in a forked child, and waiting for them would never end.
    """
    threads = cv2.getNumThreads()
    os.register_at_fork(
        before=lambda: cv2.setNumThreads(1),  # ends OpenCV's threads while they can still be ended
        after_in_parent=lambda: cv2.setNumThreads(threads),
        after_in_child=lambda: torch.set_num_threads(1),
    )


def build_network(checkpoint: Checkpoint, origin: str = "the checkpoint") -> nn.Module:
    """Build and fill the network of a checkpoint; `origin` names it in errors."""
    if checkpoint.network not in NETWORKS:
        raise ValueError(f"{origin} holds a {checkpoint.network!r} network; known are {', '.join(NETWORKS)}")
    kind, config_kind = NETWORKS[checkpoint.network]
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in checkpoint.config.items()}
    if unknown := sorted(set(values) - {field.name for field in fields(config_kind)}):
        raise ValueError(f"{origin}: its config has fields this version does not know: {', '.join(unknown)}")
    network = kind(config_kind(**values))
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in checkpoint.tensors.items()}, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(f"{origin} does not fit its own config: {first}") from None
    return network.eval().requires_grad_(False)
