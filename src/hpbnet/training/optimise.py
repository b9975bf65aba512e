"""One optimiser step: learning rate, precision, gradients of all processes, averaged weights."""

import math

import torch
from torch import Tensor, nn

from ..models import native_bfloat16
from .config import TrainConfig
from .distributed import ProcessGroup


class Ema:
    """An exponential moving average of a network's weights; buffers are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network; young averages move faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value, 1 - decay)
            else:
                self.shadow[name].copy_(value)

    def state_dict(self) -> dict[str, object]:
        """Return the averaged weights."""
        return dict(self.shadow)

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the averaged weights."""
        for name, value in state.items():
            assert isinstance(value, Tensor)
            self.shadow[name].copy_(value)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then cosine decay to zero at the run's last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def descend(
    loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, group: ProcessGroup, clip: float = 0.0
) -> None:
    """Take one optimiser step of one network, with gradients averaged over all processes."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    group.average_gradients(network)
    if clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Mixed precision as the config asks; a processor that would only imitate bfloat16 stays with float32."""
    quick = device.type != "cpu" or native_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=quick and config.precision == "bfloat16")
