"""Adaptive discriminator augmentation [Karras et al. 2020b], in a simple form, for priors trained on few photos.

Everything that the discriminator sees is flipped, shifted and recoloured with a probability that rises while it
recognises the training photos and falls while it does not. Images are in [-1,1].
"""

import math

import torch
from torch import Tensor

from ..color import luma

TARGET = 0.6  # the share of real images that D should score above zero, minus the share below
RAMP_IMAGES = 500_000  # images in which the probability may go from 0 to 1
SHIFT = 0.125  # of the side, each way
BRIGHTNESS = 0.2  # deviation of an added constant
CONTRAST = 0.5 * math.log(2)  # deviation of a factor's logarithm
SATURATION = 1.0 * math.log(2)


class Adaptive:
    """The probability of augmentation, steered by how well the discriminator knows the training photos."""

    def __init__(self) -> None:
        self.probability = 0.0

    def update(self, overfitting: float, images: int) -> None:
        """Move by what `images` allow.

        Args:
            overfitting: E[sign D(real)] over those images, in [-1,1].
            images: How many the discriminator has seen since the last call.
        """
        step = math.copysign(images / RAMP_IMAGES, overfitting - TARGET)
        self.probability = min(max(self.probability + step, 0.0), 1.0)

    def state_dict(self) -> dict[str, object]:
        """Return the probability."""
        return {"probability": self.probability}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the probability."""
        self.probability = float(str(state["probability"]))


def augment(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Flip, shift and recolour each image [B,3,H,W] with a probability; differentiable."""
    if probability == 0:
        return images
    count, _, height, width = images.shape

    def chosen() -> Tensor:
        return (torch.rand(count, generator=generator) < probability).to(images.device)

    def normal(deviation: float) -> Tensor:
        drawn = torch.randn(count, generator=generator).to(images) * deviation
        return (drawn * chosen())[:, None, None, None]

    coin = (torch.rand(count, generator=generator) < 0.5).to(images.device) & chosen()
    images = torch.where(coin[:, None, None, None], images.flip(3), images)
    down = _shifted(height, chosen(), generator)
    across = _shifted(width, chosen(), generator)
    item = torch.arange(count, device=images.device)[:, None, None]
    images = images.permute(0, 2, 3, 1)[item, down[:, :, None], across[:, None]].permute(0, 3, 1, 2)
    images = (images + normal(BRIGHTNESS)) * normal(CONTRAST).exp()
    grey = luma(images)
    return grey + (images - grey) * normal(SATURATION).exp()


def _shifted(side: int, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Index the pixels of a side, shifted for the chosen images and mirrored at the border -> [B,side]."""
    reach = int(SHIFT * side)
    shift = torch.randint(-reach, reach + 1, chosen.shape, generator=generator).to(chosen.device) * chosen
    index = torch.arange(side, device=chosen.device) + shift[:, None]
    return side - 1 - (side - 1 - index.abs()).abs()
