"""MobileFaceNet: an embedding of a face whose cosine tells whether two pictures show the same person.

Knows the network [Chen et al. 2018] as its published weights are keyed, and how a face is brought to its five reference
points. Knows nothing of detectors.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACE_SIZE = (112, 96)  # height, width [px]; the last convolution is 7x6 after four halvings

REFERENCE_POINTS = (  # x, y [px] of eyes, nose and mouth corners, left to right in the picture [Liu et al. 2017]
    (30.2946, 51.6963),
    (65.5318, 51.5014),
    (48.0252, 71.7366),
    (33.5493, 92.3655),
    (62.7299, 92.2041),
)

_STAGES = (
    (2, 64, 5, 2),
    (4, 128, 1, 2),
    (2, 128, 6, 1),
    (4, 128, 1, 2),
    (2, 128, 2, 1),
)  # expansion, width, count, stride


class MobileFaceNet(nn.Module):
    """Aligned faces -> embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _Convolution(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = _Convolution(64, 64, 3, padding=1, groups=64)
        blocks, channels = [], 64
        for expansion, width, count, stride in _STAGES:
            for index in range(count):
                blocks.append(_Bottleneck(channels, width, stride if index == 0 else 1, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = _Convolution(128, 512, 1)
        self.linear7 = _Convolution(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = _Convolution(512, 128, 1, linear=True)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces [B,3,112,96], sRGB in [0,1], brought to the reference points -> [B,128]."""
        assert faces.shape[1:] == (3, *FACE_SIZE), f"faces are {tuple(faces.shape)}"
        x = (faces * 255 - 127.5) / 128
        x = self.blocks(self.dw_conv1(self.conv1(x)))
        embedding: Tensor = self.linear1(self.linear7(self.conv2(x))).flatten(1)
        return embedding


class _Convolution(nn.Module):
    """Convolution, batch normalisation and, unless linear, a PReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)
        if not linear:
            self.prelu = nn.PReLU(width)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.linear else self.prelu(x)


class _Bottleneck(nn.Module):
    """Inverted residual: expand, filter each channel, project; added to its input where the shapes agree."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.residual = stride == 1 and channels == width
        self.conv = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


def load_face_network(tensors: Mapping[str, Tensor]) -> MobileFaceNet:
    """Build the network from its published tensors, strictly; in eval mode and frozen.

    Raises:
        ValueError: the tensors are not MobileFaceNet's.
    """
    network = MobileFaceNet()
    try:
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise ValueError(f"these weights are not MobileFaceNet's: {str(error).splitlines()[1].strip()}") from None
    return network.eval().requires_grad_(False)


def align_face(image: Tensor, points: Tensor) -> Tensor:
    """Bring a face to the reference points by a similarity transform.

    Args:
        image: [1,3,H,W].
        points: [5,2] x, y [px] of eyes, nose and mouth corners, left to right in the picture; the centre of the
            first pixel is at 0.

    Returns:
        [1,3,112,96].
    """
    matrix = similarity(torch.tensor(REFERENCE_POINTS), points.float())  # reference -> picture
    height, width = FACE_SIZE
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    where = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ matrix.T  # [112,96,2] px in the picture
    size = torch.tensor([image.shape[3], image.shape[2]], dtype=torch.float32)
    grid = (where * 2 + 1) / size - 1
    smooth = _antialias(image, float(matrix[:, 0].norm()))
    return F.grid_sample(smooth, grid[None], mode="bilinear", padding_mode="border", align_corners=False)


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """Least-squares rotation, scale and shift [2,3] from points [N,2] to points [N,2], without reflection."""
    centre_s, centre_t = source.mean(0), target.mean(0)
    s, t = source - centre_s, target - centre_t
    cosine = (s * t).sum() / s.square().sum()
    sine = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / s.square().sum()
    matrix = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    return torch.cat([matrix, (centre_t - matrix @ centre_s)[:, None]], dim=1)


def _antialias(image: Tensor, step: float) -> Tensor:
    """Blur a picture that is going to be sampled every `step` pixels, by an odd box no wider than that."""
    width = int(step)
    width -= 1 - width % 2
    return image if width < 3 else F.avg_pool2d(image, width, 1, width // 2, count_include_pad=False)
