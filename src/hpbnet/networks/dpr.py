"""The portrait relighting network of [ZHSJ19] (Deep Single-Image Portrait Relighting), 512-pixel version.

Knows lightness in, lightness under another light out, and how the authors' tensors are named. Knows nothing of colour,
masks or where a light comes from. An hourglass of four scales whose innermost features carry 27 channels of lighting;
they are replaced by features of the target light.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

LIGHT_COEFFICIENTS = 9  # spherical harmonics of order 2
_SHARED_PREFIXES = ("light.", "HG0.", "HG1.", "HG2.")  # the authors' file repeats the inner modules under these names
_OUTERMOST = "HG3."


@dataclass(frozen=True)
class DprConfig:
    """Widths of the network; the defaults are the published ones."""

    width: int = 16
    light_width: int = 27
    hidden_width: int = 128


class Block(nn.Module):
    """Residual block of two 3x3 convolutions, normalised by the batch's statistics or by each image's own."""

    def __init__(self, width_in: int, width_out: int, norm: type[nn.BatchNorm2d] | type[nn.InstanceNorm2d]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
        self.bn1 = norm(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.bn2 = norm(width_out)
        self.shortcuts = nn.Conv2d(width_in, width_out, 1, bias=False)  # in the file, used only where widths differ

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] -> [B,C',H,W]."""
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        same_width = self.conv1.in_channels == self.conv1.out_channels
        return cast(Tensor, out + (x if same_width else self.shortcuts(x))).relu()


class Lighting(nn.Module):
    """The innermost module: predicts the present light from the features and puts the target light in its place."""

    def __init__(self, light_width: int, hidden_width: int) -> None:
        super().__init__()
        self.predict_FC1 = nn.Conv2d(light_width, hidden_width, 1, bias=False)
        self.predict_relu1 = nn.PReLU()
        self.predict_FC2 = nn.Conv2d(hidden_width, LIGHT_COEFFICIENTS, 1, bias=False)
        self.post_FC1 = nn.Conv2d(LIGHT_COEFFICIENTS, hidden_width, 1, bias=False)
        self.post_relu1 = nn.PReLU()
        self.post_FC2 = nn.Conv2d(hidden_width, light_width, 1, bias=False)

    def forward(self, features: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        """Map features [B,C,h,w] and the target light [B,9,1,1] -> features, the light they had [B,9,1,1]."""
        width = self.predict_FC1.in_channels
        present = self.predict_FC2(self.predict_relu1(self.predict_FC1(features[:, :width].mean((2, 3), keepdim=True))))
        target = self.post_FC2(self.post_relu1(self.post_FC1(light))).relu()
        target = target.expand(-1, -1, *features.shape[2:])
        return torch.cat([target, features[:, width:]], dim=1), present


class Hourglass(nn.Module):
    """One scale of the hourglass around the next smaller one."""

    def __init__(self, width: int, inner_width: int, middle: "Hourglass | Lighting") -> None:
        super().__init__()
        self.upper = Block(width, width, nn.InstanceNorm2d)
        self.low1 = Block(width, inner_width, nn.BatchNorm2d)
        self.middle = middle
        self.low2 = Block(inner_width, width, nn.InstanceNorm2d)

    def forward(self, x: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B,C,H,W] and a light [B,9,1,1] -> [B,C,H,W] and the light it had."""
        low, present = self.middle(self.low1(max_pool2d(x, 2)), light)
        low = interpolate(self.low2(low), scale_factor=2.0, mode="nearest")
        return low + self.upper(x), present


class Dpr(nn.Module):
    """Relight the lightness of a portrait; eval mode only, sides divisible by 16."""

    def __init__(self, config: DprConfig | None = None) -> None:
        super().__init__()
        config = config or DprConfig()
        width = config.width
        self.pre_conv = nn.Conv2d(1, width, 5, padding=2)
        self.pre_bn = nn.BatchNorm2d(width)
        inner: Hourglass | Lighting = Lighting(config.light_width, config.hidden_width)
        innermost = 8 * width + config.light_width
        for outer_width, inner_width in ((4, innermost), (2, 4 * width), (1, 2 * width), (1, width)):
            inner = Hourglass(outer_width * width, inner_width, inner)
        self.hourglass = inner
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1)
        self.bn_1 = nn.BatchNorm2d(width)
        self.conv_2 = nn.Conv2d(width, width, 1)
        self.bn_2 = nn.BatchNorm2d(width)
        self.conv_3 = nn.Conv2d(width, width, 1)
        self.bn_3 = nn.BatchNorm2d(width)
        self.output = nn.Conv2d(width, 1, 1)

    def forward(
        self,
        lightness: Tensor,  # [B,1,H,W] CIE L / 100
        light: Tensor,  # [B,9] SH order 1, Y, Z, X, YX, YZ, 3Z2-1, XZ, X2-Y2; X right, Z up, Y away from the camera
    ) -> tuple[Tensor, Tensor]:
        """Return the lightness under the target light [B,1,H,W] and the light the portrait had [B,9]."""
        x = self.pre_bn(self.pre_conv(lightness)).relu()
        x, present = self.hourglass(x, light[:, :, None, None])
        x = self.bn_1(self.conv_1(x)).relu()
        x = self.bn_2(self.conv_2(x)).relu()
        x = self.bn_3(self.conv_3(x)).relu()
        return self.output(x).sigmoid(), present[:, :, 0, 0]


def from_published(tensors: dict[str, Tensor]) -> Dpr:
    """Build the network from the authors' tensors, strictly: nothing missing, nothing left over."""
    own = {
        name.replace(_OUTERMOST, "hourglass.", 1) if name.startswith(_OUTERMOST) else name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(_SHARED_PREFIXES)
    }
    network = Dpr()
    network.load_state_dict(own, strict=True)
    return network.eval().requires_grad_(False)
