"""HT: harmonization by a transformer [Guo et al., ICCV 2021], its first version (CNN encoder, transformer, decoder).

Every fourth pixel each way becomes a token of an encoder of nine layers, so the whole picture is seen at once. The
input is not normalised. There is no pretrained part: all is trained from nothing, as published. The position code
counts places from 1 and does not depend on the size of the map. With `patches` it is the authors' later version HT+:
patches of 4x4 pixels enter by one linear layer and leave by one transposed convolution.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .baseline import Baseline, Config, start_small

STRIDE = 4  # [px] between tokens
TEMPERATURE = 10_000.0  # of the position code
WEIGHT = 100.0  # of the loss


@dataclass(frozen=True)
class HTConfig(Config):
    """Sizes; the defaults are the published ones."""

    channels: int = 64  # of the first convolution; tokens have four times as many, a multiple of four
    layers: int = 9
    heads: int = 2
    patches: bool = False  # HT+


class HT(Baseline):
    """Composite and mask -> the harmonized picture; its foreground is pasted at test time."""

    pastes = True

    def __init__(self, config: HTConfig | None = None) -> None:
        super().__init__()
        self.config: HTConfig = config or HTConfig()
        width = 4 * self.config.channels
        if self.config.patches:
            self.encoder: nn.Module = Patches(width)
            self.decoder: nn.Module = nn.ConvTranspose2d(width, 3, STRIDE, STRIDE)
        else:
            self.encoder = encoder(self.config.channels)
            self.decoder = decoder(width)
            start_small(self)
        self.layers = nn.ModuleList(Layer(width, self.config.heads) for _ in range(self.config.layers))

    def forward(self, composite: Tensor, mask: Tensor) -> list[Tensor]:
        """Paint the whole picture."""
        features = self.encoder(torch.cat([composite, mask], dim=1))  # [B,C,h,w]
        height, width = features.shape[2:]
        tokens = features.flatten(2).transpose(1, 2)  # [B,h*w,C]
        position = position_code(height, width, tokens.shape[2]).to(tokens)
        for layer in self.layers:
            tokens = layer(tokens, position)
        picture = self.decoder(tokens.transpose(1, 2).unflatten(2, (height, width)))
        return [picture.float().tanh()]

    def loss(self, estimates: list[Tensor], mask: Tensor, truth: Tensor) -> Tensor:
        """Return 100 times the mean absolute error of the whole, unpasted picture."""
        return WEIGHT * F.l1_loss(estimates[-1], truth)


class Layer(nn.Module):
    """Attention, then two linear layers, each added to its input and normalised after that."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        for linear in (self.query, self.key, self.value, self.out, self.rise, self.fall):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Keep the shape [B,N,C]; the position code is added to queries and keys alone."""
        placed = tokens + position
        query, key, value = (
            linear(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B,heads,N,C/heads]
            for linear, x in ((self.query, placed), (self.key, placed), (self.value, tokens))
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = self.first_norm(tokens + self.out(seen))
        result: Tensor = self.second_norm(tokens + self.fall(F.gelu(self.rise(tokens))))
        return result


class Patches(nn.Module):
    """4x4 pixels of composite and mask -> a token, by one linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(4 * STRIDE * STRIDE, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,4,H,W] -> [B,C,H/4,W/4]."""
        patches = F.unfold(x, STRIDE, stride=STRIDE).transpose(1, 2)  # [B,N,64]
        size = x.shape[2] // STRIDE, x.shape[3] // STRIDE
        embedded: Tensor = self.embed(patches).transpose(1, 2).unflatten(2, size)
        return embedded


class PictureNorm(nn.Module):
    """Normalise over channels and places of a picture together; a gain and an offset for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape [B,C,H,W]."""
        return F.group_norm(x, 1, self.weight, self.bias)


def encoder(channels: int) -> nn.Sequential:
    """[B,4,H,W] -> [B,4C,H/4,W/4]."""
    layers: list[nn.Module] = []
    sizes = [(4, channels, 7, 1, 3), (channels, 2 * channels, 4, 2, 1), (2 * channels, 4 * channels, 4, 2, 1)]
    for inputs, outputs, size, stride, padding in sizes:
        convolution = nn.Conv2d(inputs, outputs, size, stride, padding, padding_mode="reflect")
        layers += [convolution, nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def decoder(width: int) -> nn.Sequential:
    """[B,C,h,w] -> [B,3,4h,4w]."""
    layers: list[nn.Module] = []
    for inputs in (width, width // 2):
        convolution = nn.Conv2d(inputs, inputs // 2, 5, padding=2, padding_mode="reflect")
        layers += [nn.Upsample(scale_factor=2), convolution, PictureNorm(inputs // 2), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width // 4, 3, 7, padding=3, padding_mode="reflect"))


def position_code(height: int, width: int, channels: int) -> Tensor:
    """Code the places of a map, row by row -> [h*w,C]: sines and cosines in turn, of y in the first half, then of x."""
    half = channels // 2
    wavelength = TEMPERATURE ** (2 * torch.arange(half // 2) / half)

    def code(length: int) -> Tensor:
        phase = torch.arange(1, length + 1)[:, None] / wavelength
        return torch.stack([phase.sin(), phase.cos()], dim=2).flatten(1)  # [length,C/2]

    y = code(height)[:, None].expand(-1, width, -1)
    x = code(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=2).flatten(0, 1)
