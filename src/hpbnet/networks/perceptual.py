"""Feature stacks that perceptual losses and metrics look through: VGG, AlexNet, SqueezeNet.

Knows architectures and which of their activations count; the layers are numbered as in the published files, so that
those load strictly. Knows neither where weights are nor the formulas of LPIPS and DISTS (those are in `metrics`).

Every stack takes sRGB [B,3,H,W] in [0,1]. Sources: Simonyan and Zisserman 2015 (VGG), Krizhevsky 2014 (AlexNet),
Iandola et al. 2016 (SqueezeNet 1.1), Zhang et al. 2018 (LPIPS: which activations), Ding et al. 2020 (DISTS: pooling).
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

VGG_LAYERS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
Stack = TypeVar("Stack", bound=nn.Module)

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # widths; 0 is a pooling
_VGG19_TO_RELU3_1 = (64, 64, 0, 128, 128, 0, 256)


class VggFeatures(nn.Sequential):
    """VGG-19 up to relu3_1 with normalised activations: what a perceptual loss compares.

    The first layer turns RGB in [0,1] into mean-free BGR in [0,255]; convolutions pad by reflection.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
        taps, channels = [], 3
        for width in _VGG19_TO_RELU3_1:
            if width == 0:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, width, 3), nn.ReLU()]
            taps.append(len(layers) - 1)
            channels = width
        super().__init__(*layers)
        self.taps = tuple(taps)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five activations named by `VGG_LAYERS`, finest first."""
        return _tapped(self, self.taps, image)


class FeatureStack(nn.Module):
    """Layers numbered as in torchvision's `features`, some of whose activations are returned."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: list[nn.Module], taps: tuple[int, ...], return_image: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.taps = taps
        self.return_image = return_image
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the tapped activations, finest first; before them the image itself where DISTS asks for it."""
        features = _tapped(self.features, self.taps, (image - self.mean) / self.deviation)
        return [image, *features] if self.return_image else features


class L2Pool(nn.Module):
    """Blurred pooling of squares, DISTS's alias-free replacement of max pooling."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.tensor([0.25, 0.5, 0.25])  # a Hann window of five whose ends are zero, normalised
        self.register_buffer("kernel", window[:, None] * window[None, :], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve [B,C,H,W]."""
        kernel = self.kernel.expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> [B,2*expanded,H,W]."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], dim=1)


def squeezenet() -> FeatureStack:
    """Build SqueezeNet 1.1 with LPIPS's seven activations."""
    layers = [
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(),
        _pool(), Fire(64, 16, 64), Fire(128, 16, 64),
        _pool(), Fire(128, 32, 128), Fire(256, 32, 128),
        _pool(), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    ]  # fmt: skip
    return FeatureStack(layers, taps=(1, 4, 7, 9, 10, 11, 12))


def alexnet() -> FeatureStack:
    """Build AlexNet with LPIPS's five activations."""
    layers = [
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    ]  # fmt: skip
    return FeatureStack(layers, taps=(1, 4, 7, 9, 11))


def vgg16() -> FeatureStack:
    """Build VGG-16 with LPIPS's five activations: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""
    return FeatureStack(_vgg(_VGG16, lambda: nn.MaxPool2d(2)), taps=(3, 8, 15, 22, 29))


def vgg16_dists() -> FeatureStack:
    """Build DISTS's VGG-16: L2 pooling, and the image itself before the five activations."""
    return FeatureStack(_vgg(_VGG16, L2Pool), taps=(3, 8, 15, 22, 29), return_image=True)


def vgg19() -> FeatureStack:
    """Build torchvision's VGG-19 up to relu3_1, with the activations of `VGG_LAYERS` (these are not normalised)."""
    return FeatureStack(_vgg(_VGG19_TO_RELU3_1, lambda: nn.MaxPool2d(2)), taps=(1, 3, 6, 8, 11))


def load_frozen(stack: Stack, tensors: Mapping[str, Tensor]) -> Stack:
    """Load published tensors strictly and freeze the stack; what the stack ends before (a classifier) is left out.

    Raises:
        ValueError: a tensor is missing or of another shape.
    """
    expected = stack.state_dict()
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise ValueError(f"these weights are not for {type(stack).__name__}: {missing[0]} is missing")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            shape = tuple(tensors[name].shape)
            raise ValueError(f"these weights are not for this stack: {name} is {shape}, not {tuple(tensor.shape)}")
    stack.load_state_dict({name: tensors[name] for name in expected}, strict=True)
    return stack.eval().requires_grad_(False)


def _tapped(layers: nn.Sequential, taps: tuple[int, ...], x: Tensor) -> list[Tensor]:
    """Run layers up to the last tap and collect the tapped activations."""
    features = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in taps:
            features.append(x)
    return features


def _vgg(widths: tuple[int, ...], pool: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        if width == 0:
            layers.append(pool())
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    return layers


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
