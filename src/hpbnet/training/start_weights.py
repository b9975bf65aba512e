"""Weights that a training begins with."""

from torch import Tensor

from ..checkpoint import Checkpoint, read_checkpoint


def read_kind(path: str, kind: str) -> Checkpoint:
    """Read a checkpoint of one kind of network.

    Raises:
        ValueError: it holds another kind.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.network != kind:
        raise ValueError(f"{path} holds a {checkpoint.network} network, expected {kind}")
    return checkpoint


def read_start(path: str, kind: str) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint of one kind of network, in float32."""
    return {name: value.float() for name, value in read_kind(path, kind).tensors.items()}
