"""The disturbances of the dataset (paper section 3.1, and beyond it), as pure functions of tensors.

Each takes a picture and drawn parameters and returns a picture in [0,1]; what is drawn, and how often, is the recipe's
matter (`synthesis/recipe.py`). Nothing here pastes: a disturbed foreground is blended by whoever holds the alpha.
"""

from torch import Tensor

from .color import lab_to_rgb, masked_mean_and_deviation, rgb_to_lab

WHITE_BALANCE_GAMMA = 2.2  # paper section 3.1: gamma mapping before and after the gains


def adjust_white_balance(
    image: Tensor,  # [B,3,H,W] sRGB in [0,1]
    gains: Tensor,  # [B,3] factors of R, G, B in gamma-2.2 linear light
) -> Tensor:
    """Multiply the channels in linear light (paper section 3.1)."""
    # (g * x^2.2)^(1/2.2) = g^(1/2.2) * x, so the two gamma mappings need not be computed
    factors = gains.clamp_min(0.0) ** (1 / WHITE_BALANCE_GAMMA)
    return (image * factors[:, :, None, None]).clamp(0.0, 1.0)


def transfer_color_reinhard(
    image: Tensor,  # [B,3,H,W] sRGB in [0,1]
    weight: Tensor,  # [B,1,H,W] where the portrait is
    reference: Tensor,  # [B,3,h,w] sRGB in [0,1], any size
    reference_weight: Tensor,  # [B,1,h,w]
) -> Tensor:
    """Move means and deviations in Lab to the reference's [RAGS01]."""
    lab = rgb_to_lab(image)
    mean, deviation = masked_mean_and_deviation(lab, weight)
    new_mean, new_deviation = masked_mean_and_deviation(rgb_to_lab(reference), reference_weight)
    moved = (lab - mean) * (new_deviation / deviation.clamp_min(1e-3)) + new_mean
    return lab_to_rgb(moved).clamp(0.0, 1.0)


def paste(disturbed: Tensor, alpha: Tensor, photo: Tensor) -> Tensor:
    """Blend [B,3,H,W] over the photo it was made from; where alpha is 0 the photo's own values stay."""
    return photo + alpha * (disturbed - photo)
