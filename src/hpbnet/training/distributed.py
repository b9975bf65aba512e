"""Several processes, one training: what `torchrun` starts share their gradients.

Process r of n takes every n-th item of a batch, from item r on; gradients are averaged, so n processes take the steps
that one would. Started without `torchrun`, a training is a process group of one, which costs nothing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .config import TrainConfig


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training, as one of them sees them."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Take this process's items out of something drawn for the whole batch."""
        return batch[self.rank :: self.size].to(self.device)

    def average_gradients(self, network: nn.Module) -> None:
        """Average the gradients of all processes, in place."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, values in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view_as(gradient))

    def average(self, values: Iterable[Tensor | float]) -> list[float]:
        """Average scalars over all processes."""
        scalars = [torch.as_tensor(value).detach().float().to(self.device) for value in values]
        flat = torch.stack(scalars)
        if self.size > 1:
            dist.all_reduce(flat)
        return (flat / self.size).tolist()

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Let the processes do something one after the other, the first first."""
        for rank in range(self.size):
            if rank == self.rank:
                yield
            self.wait()

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_processes(config: TrainConfig) -> Iterator[ProcessGroup]:
    """Join the processes that `torchrun` started, or be alone.

    Raises:
        ValueError: the batch does not divide among the processes, or there is no such device.
    """
    rank, size, local = (int(os.environ.get(name, alone)) for name, alone in ENVIRONMENT.items())
    if config.batch_size % size:
        raise ValueError(f"batch_size={config.batch_size} does not divide among {size} processes")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but there is no CUDA device here; there is: cpu")
    cuda = config.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if size > 1:
        dist.init_process_group("nccl" if cuda else "gloo", rank=rank, world_size=size)
    try:
        yield ProcessGroup(rank, size, device)
    finally:
        if size > 1:
            dist.destroy_process_group()


ENVIRONMENT = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}  # set by torchrun; their values without it
