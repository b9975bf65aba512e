"""A map of affine colour changes, as the harmonizer and a `residual` U-Net predict it, applied to an image."""

import torch.nn.functional as F
from torch import Tensor


def apply_change(
    change: Tensor,  # [B,12,h,w] what is added to the identity's 3x4 matrix
    image: Tensor,  # [B,3,H,W]
) -> Tensor:
    """Return what a map of changes adds to an image [B,3,H,W]; a smaller map is resized to the image."""
    full = change
    if change.shape[-2:] != image.shape[-2:]:
        full = F.interpolate(change, size=image.shape[-2:], mode="bilinear", align_corners=False)
    full = full.view(-1, 3, 4, *image.shape[-2:])
    return (full[:, :, :3] * image[:, None]).sum(dim=2) + full[:, :, 3]
