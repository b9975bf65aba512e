"""What all compared methods are: a network that paints harmonized pictures, with its loss and perhaps a critic.

Pictures are sRGB in [0,1] at this border, whatever a method normalises inside. Masks are 1 on the foreground; the
authors train with hard masks, and soft ones are taken as they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_RESOLUTION = 32  # [px]


@dataclass(frozen=True)
class Config:
    """Sizes of a method's network; each method adds its own.

    Raises:
        ValueError: the pictures are of another size than a network can halve again and again.
    """

    resolution: int = 256  # a power of two, 32 or more [px]

    def __post_init__(self) -> None:
        if self.resolution < LEAST_RESOLUTION or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}; expected a power of two, {LEAST_RESOLUTION} or more")


class Baseline(nn.Module):
    """A compared method: composite and mask -> one or several estimates of the harmonized picture, the best last."""

    config: Config
    pastes = False  # at test time the composite's own background is put back

    def forward(
        self,
        composite: Tensor,  # [B,3,R,R] sRGB in [0,1]
        mask: Tensor,  # [B,1,R,R] in [0,1], 1 on the foreground
    ) -> list[Tensor]:
        """Return the estimates [B,3,R,R], sRGB, about in [0,1]."""
        raise NotImplementedError

    def loss(self, estimates: list[Tensor], mask: Tensor, truth: Tensor) -> Tensor:
        """Return the published loss against the truth, without an adversarial term."""
        raise NotImplementedError

    def paint(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Return the picture as the authors' own test makes it: [B,3,R,R] in [0,1]."""
        picture: Tensor = self(composite, mask)[-1].clamp(0.0, 1.0)
        return torch.lerp(composite, picture, mask) if self.pastes else picture


class Critic(nn.Module):
    """A method's discriminator."""

    def deceit(self, picture: Tensor, mask: Tensor) -> Tensor:
        """Return the adversarial loss of a painted picture [B,3,R,R], without its weight."""
        raise NotImplementedError

    def loss(self, picture: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        """Return the critic's own loss; the picture carries no gradient."""
        raise NotImplementedError


def start_small(network: nn.Module) -> None:
    """Draw the weights of convolutions from a normal distribution of deviation 0.02, as pix2pix does."""
    if next(network.parameters()).is_meta:  # of its sizes alone; the first draw there would take a second
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
