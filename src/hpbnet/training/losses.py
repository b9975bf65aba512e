"""The losses of HPBNet (Eqs. 1, 2, 4) and of StyleGAN2: pure functions of tensors.

A loss of several terms is a dict of them, each weighted as it counts, with their sum under `total`. Images are sRGB,
about in [0,1]. The feature network of the perceptual term is an argument; the paper's is VGG-19.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.hpbnet import Painted

Features = Callable[[Tensor], Sequence[Tensor]]  # [B,3,H,W] sRGB in [0,1] -> feature maps
Adversarial = Literal["non-saturating", "printed"]
Terms = dict[str, Tensor]

PERCEPTUAL_WEIGHT = 0.1  # w_p of Eq. (1)
ADVERSARIAL_WEIGHT = 0.1  # w_a of Eq. (2)
R1_GAMMA = 10.0  # StyleGAN2, configuration F, FFHQ
PATH_LENGTH_WEIGHT = 2.0  # StyleGAN2, configuration F


class Perceptual:
    """The perceptual term of Eq. (1) for one truth, whose features are computed once."""

    def __init__(self, features: Features, truth: Tensor, weight: float = PERCEPTUAL_WEIGHT) -> None:
        self.features, self.weight = features, weight
        with torch.no_grad():
            self.targets = features(truth)

    def loss(self, image: Tensor) -> Tensor:
        """Average over feature maps the L1 distance between a picture's features and the truth's; weighted."""
        pairs = zip(self.features(image), self.targets, strict=True)
        return self.weight * torch.stack([F.l1_loss(ours, theirs) for ours, theirs in pairs]).mean()


def fidelity_loss(
    images: Sequence[Tensor],  # [B,3,R_i,R_i], coarse to fine: I^i of Eq. (1)
    truth: Tensor,  # [B,3,R,R] at the finest scale
    perceptual: Perceptual | None = None,
    squared_weight: float = 0.0,  # of the squared error of every scale; ours
) -> Terms:
    """Eq. (1): the L1 error of every scale per element (w_i = 1), plus that of the finest scale's features."""
    sides = [F.interpolate(truth, size=image.shape[2:], mode="area") for image in images]  # I^i, downsampled
    pairs = list(zip(images, sides, strict=True))
    terms = {"l1": torch.stack([F.l1_loss(image, side) for image, side in pairs]).sum()}
    if squared_weight:
        terms["squared"] = squared_weight * torch.stack([F.mse_loss(image, side) for image, side in pairs]).sum()
    if perceptual is not None:
        terms["perceptual"] = perceptual.loss(images[-1])
    return totalled(terms)


def adversarial_loss(logits: Tensor, form: Adversarial = "non-saturating") -> Tensor:
    """Eq. (2) without its weight: raise the discriminator's logits [B,1] of generated images.

    As printed, E[-softplus(D)] is the saturating logistic loss: its gradient fades where D is sure that an image is
    generated, which is where it is needed. The non-saturating E[softplus(-D)] has the same direction and does not fade.
    """
    if form == "printed":
        return -F.softplus(logits).mean()
    return F.softplus(-logits).mean()


def hpbnet_loss(
    painted: Painted,
    truth: Tensor,  # [B,3,R,R] sRGB in [0,1]
    perceptual: Perceptual | None = None,
    logits: Tensor | None = None,  # [B,1] of the discriminator for `painted.image`; None without one
    *,
    squared_weight: float = 0.0,
    adversarial_weight: float = ADVERSARIAL_WEIGHT,
    form: Adversarial = "non-saturating",
) -> Terms:
    """Eq. (4): Eq. (1) on the U-Net's images and on the generator's, plus Eq. (2).

    The paper writes Eq. (1) for its estimates; on the U-Net's alone the generator's image would have no truth to keep.
    """
    terms: Terms = {}
    for name, images in (("unet", painted.estimates), ("generator", painted.images)):
        if images:
            parts = fidelity_loss(images, truth, perceptual, squared_weight)
            terms |= {f"{name}_{part}": value for part, value in parts.items() if part != "total"}
    if logits is not None:
        terms["adversarial"] = adversarial_weight * adversarial_loss(logits, form)
    return totalled(terms)


def discriminator_loss(real: Tensor, fake: Tensor) -> Terms:
    """Logistic loss of the discriminator: logits [B,1] high for real images, low for generated ones."""
    return totalled({"real": F.softplus(-real).mean(), "fake": F.softplus(fake).mean()})


def r1_penalty(logits: Tensor, images: Tensor, gamma: float = R1_GAMMA) -> Tensor:
    """Half of gamma times the squared gradient of the logits at real images [Mescheder et al. 2018].

    Args:
        logits: [B,1], computed from `images`.
        images: [B,3,H,W], leaves that require a gradient.
        gamma: The weight; an optimiser that applies the penalty every k-th step multiplies by k.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return 0.5 * gamma * gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, ws: Tensor, generator: torch.Generator) -> Tensor:
    """Measure how far images [B,3,H,W] move with a step of their styles [B,n,w_dim], in a random direction -> [B]."""
    direction = torch.randn(images.shape, generator=generator, device=generator.device).to(images)
    direction = direction / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * direction).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, weight: float = PATH_LENGTH_WEIGHT) -> Tensor:
    """Keep path lengths [B] at their running mean (StyleGAN2, section 3.2 there)."""
    return weight * (lengths - mean).square().mean()


def totalled(terms: Terms) -> Terms:
    """Add the sum of all terms as `total`."""
    return terms | {"total": torch.stack(list(terms.values())).sum()}
