"""Networks by name or path: which there are, which weights are embedded, how they are loaded."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import cv2
import numpy as np
import torch
from torch import nn

from .baselines import BASELINES
from .checkpoint import Checkpoint, read_checkpoint
from .errors import did_you_mean
from .networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
from .networks.hpbnet import HPBNet, HPBNetConfig
from .networks.matting import MattingConfig, MattingNetwork
from .networks.mobile_stylegan import MobileGenerator, MobileStyleGANConfig
from .networks.stylegan2 import Generator, StyleGAN2Config

NETWORKS: dict[str, tuple[Callable[[Any], nn.Module], type]] = {
    "matting": (MattingNetwork, MattingConfig),
    "harmonizer": (HarmonizerNetwork, HarmonizerConfig),
    "hpbnet": (HPBNet, HPBNetConfig),
    "stylegan2": (Generator, StyleGAN2Config),
    "mobilestylegan": (MobileGenerator, MobileStyleGANConfig),
    **BASELINES,
}
_KEPT = 31 << 20  # [bytes] just below the largest block that glibc learns from
_MOST, _MOST_SCALES = 65536, 16  # numbers in a config, and how many of them a field holds
_MOST_SIDE, _STRIDE = 4096, 32  # [px] that a network may be run at, and that a side is a multiple of
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
    name, known = str(name_or_path), list(embedded())
    expected = f"expected a .safetensors file or one of: {', '.join(known) or 'none'}"
    raise ValueError(f"{name} is not the name of embedded weights or a file: {did_you_mean(name, known)}{expected}")


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
    values = _config_values(checkpoint, config_kind, origin)
    tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
    try:
        with torch.device("meta"):  # of the sizes alone: a damaged config may ask for more than the memory holds
            kind(config_kind(**values)).load_state_dict(
                {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}, strict=True
            )
    except Exception as error:  # sizes that make no network fail in as many ways as there are layers
        lines = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{origin} does not fit its own config: {lines[min(1, len(lines) - 1)].strip()}") from None
    network = kind(config_kind(**values))
    network.load_state_dict(tensors, strict=True)
    return network.eval().requires_grad_(False)


def _config_values(checkpoint: Checkpoint, config_kind: type, origin: str) -> dict[str, object]:
    """Check the kinds and sizes of a checkpoint's config before anything is built by it."""
    values: dict[str, object] = {name: tuple(v) if isinstance(v, list) else v for name, v in checkpoint.config.items()}
    kinds = get_type_hints(config_kind)
    if unknown := sorted(values.keys() - kinds.keys()):
        raise ValueError(f"{origin}: its config has fields this version does not know: {', '.join(unknown)}")
    for name, value in values.items():
        if not _is_of(value, kinds[name]):
            shown = kinds[name].__name__ if isinstance(kinds[name], type) else kinds[name]
            raise ValueError(f"{origin}: its config has {name}={value!r:.60}, expected {shown}")
        numbers = value if isinstance(value, tuple) else (value,)
        least, most = _bounds(name, len(checkpoint.tensors))
        if any(isinstance(number, int | float) and not least <= number <= most for number in numbers):
            raise ValueError(f"{origin}: its config has {name}={value!r:.60}, expected numbers from {least} to {most}")
        if name == "size" and int(str(value)) % _STRIDE:
            raise ValueError(f"{origin}: its config has size={value}, expected a multiple of {_STRIDE}")
    return values


def _bounds(name: str, tensors: int) -> tuple[int, int]:
    """Tell between which bounds the numbers of a config's field must lie."""
    if name.endswith(("blocks", "layers")):
        return 0, tensors  # each of these parts has a tensor, at the least
    return (8, _MOST_SIDE) if name in ("size", "resolution") else (0, _MOST)


def _is_of(value: object, kind: object) -> bool:
    """Tell whether a value is of a config field's kind: int, float, bool, tuple[int, ...], or one of several."""
    if get_origin(kind) is tuple:
        return (
            isinstance(value, tuple) and len(value) <= _MOST_SCALES and all(_is_of(v, get_args(kind)[0]) for v in value)
        )
    if get_args(kind):
        return any(_is_of(value, each) for each in get_args(kind))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind
