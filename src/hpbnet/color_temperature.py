"""Match the colour temperature of a painted picture to its composite's, Eq. (3) of the paper.

Only a network that also repaints the background (HPBNet) needs this. The difference between the painted and the true
background shows the colour drift of the network.
"""

import torch
from torch import Tensor

_LEAST_SHARE = 1e-3  # share of the picture that must be background for an estimate
_MOST_GAIN = 4.0  # of a channel: two stops; a larger gain means a sum near zero, not a colour cast


def match_color_temperature(
    painted: Tensor,  # [B,3,H,W] the network's output, background included
    composite: Tensor,  # [B,3,H,W] what it was given
    mask: Tensor,  # [B,1,H,W] 1 where the foreground is
) -> Tensor:
    """Multiply each channel by the ratio of background sums, the true one over the painted one.

    If the background is too small or too dark for an estimate, the channel stays as it is. The result is not clamped.
    """
    background = 1 - mask
    true = (composite * background).sum(dim=(2, 3), keepdim=True)
    drifted = (painted * background).sum(dim=(2, 3), keepdim=True)
    least = _LEAST_SHARE * painted.shape[-2] * painted.shape[-1]
    seen = background.sum(dim=(2, 3), keepdim=True) >= least
    judged = seen & (drifted > 1e-2 * least) & (true > 1e-2 * least)
    gain = (true / torch.where(judged, drifted, 1.0)).clamp(1 / _MOST_GAIN, _MOST_GAIN)
    return painted * torch.where(judged, gain, 1.0)
