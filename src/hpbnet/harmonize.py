"""Harmonizers: functions `Layers -> AffineGrid` that decide how the foreground's colours change.

Knows two classical transfers, and how the output of a network becomes a grid. Knows nothing of how a grid is applied.

The classical transfers are cautious. A person differs from a scene by light, which should be matched, and by content
(skin, a red dress, a dark coat), which should not. Therefore
- a difference in tint is measured on weakly coloured pixels only, on both sides: light tints everything, but a strong
  colour belongs to the object. If there are few weakly coloured pixels, the difference is not trusted;
- the difference that portraits have anyway (`_NATURAL_...`) is left alone. Only the excess is removed, in part and up
  to a limit.
The constants have the smallest error on portraits whose truth is known (docs/experiments/classical-transfers.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .affine_grid import AffineGrid
from .baselines import Baseline
from .color import (
    lab_to_rgb,
    masked_covariance,
    masked_mean,
    masked_mean_and_deviation,
    monge_kantorovich,
    rgb_to_lab,
)
from .color_temperature import match_color_temperature
from .errors import did_you_mean
from .layers import Layers
from .models import embedded, load_network
from .networks.harmonizer import HarmonizerNetwork
from .networks.hpbnet import HPBNet

Harmonizer = Callable[[Layers], AffineGrid]

_SIDE = 256  # [px] longer side of the reduced picture on which colours are measured
_NEUTRAL = 22.0  # Lab chroma at which a pixel's weight for the tint has fallen to exp(-1/2)
_LIFTED = 32  # cells along a side of the grid of a painted picture; 16 are too few for hard shadows
_FEW = 0.2  # share of weakly coloured pixels at which half of a difference in tint is trusted
_LEAST_AREA = 0.01  # share of the picture that foreground and background must each cover
_NATURAL_TINT, _TINT_DEVIATION = (8.3, 7.0), (6.5, 11.5)  # Lab a, b of weakly coloured pixels, person minus scene
_TINT_RANGE = 1.5  # differences within this many deviations of the natural tint are left alone
_LIGHTNESS_RANGE = 25.0  # differences in Lab L up to this (one deviation) are left alone
_PART_OF_TINT, _PART_OF_LIGHTNESS, _PART_OF_SPREAD = 0.9, 0.5, 0.3  # share of an excess that is removed
_MOST_TINT, _MOST_LIGHTNESS, _MOST_SPREAD = 10.0, 10.0, 1.25  # [Lab a b], [Lab L], ratio of deviations


@dataclass(frozen=True)
class Judgement:
    """The estimated difference in light between foreground and background."""

    neutral_foreground: Tensor  # [B,1,h,w] weight of each pixel for the tint
    neutral_background: Tensor  # [B,1,h,w]
    certain: Tensor  # [B,1,1,1] 1 where both are large enough to be measured, else 0
    tint_certain: Tensor  # [B,1,1,1] in [0,1], how far a difference in tint is trusted
    shift: Tensor  # [B,3,1,1] change of the foreground in Lab


def reinhard(layers: Layers) -> AffineGrid:
    """Match means and deviations in Lab [RAGS01], in part and with limits; fitted by a grid over luma."""
    small = _small(layers)
    target = reinhard_target(small)
    return AffineGrid.fit(small.foreground, target, small.alpha, depth=12, height=1, width=1)


def reinhard_target(layers: Layers) -> Tensor:
    """Transfer Lab means and the deviation of L to the foreground [B,3,H,W], in part and with limits."""
    foreground, background = rgb_to_lab(layers.foreground), rgb_to_lab(layers.background)
    judged = judge(layers, foreground, background)
    mean, deviation = masked_mean_and_deviation(foreground, layers.alpha)
    _, goal = masked_mean_and_deviation(background, 1 - layers.alpha)
    ratio = (goal[:, :1].clamp_min(1.0) / deviation[:, :1].clamp_min(1.0)) ** (_PART_OF_SPREAD * judged.certain)
    ratio = ratio.clamp(1 / _MOST_SPREAD, _MOST_SPREAD)
    lightness = (foreground[:, :1] - mean[:, :1]) * ratio + mean[:, :1]
    moved = torch.cat([lightness, foreground[:, 1:]], dim=1) + judged.shift
    return lab_to_rgb(moved).clamp(0.0, 1.0)


def covariance(layers: Layers) -> AffineGrid:
    """Match means and covariances in RGB by the Monge-Kantorovich map [PK07], in part; one exact matrix."""
    small = _small(layers)
    judged = judge(small, rgb_to_lab(small.foreground), rgb_to_lab(small.background))
    _, own = masked_covariance(small.foreground, judged.neutral_foreground)
    _, goal = masked_covariance(small.background, judged.neutral_background)
    matrix = partial_monge_kantorovich(own, goal, _PART_OF_SPREAD * judged.tint_certain[:, 0, 0], _MOST_SPREAD)
    mean = masked_mean(small.foreground, small.alpha)
    new_mean = lab_to_rgb(rgb_to_lab(mean) + judged.shift).clamp(0.0, 1.0)
    offset = new_mean[..., 0] - matrix @ mean[..., 0]  # [B,3,1]
    return AffineGrid.uniform(torch.cat([matrix, offset], dim=-1))


def partial_monge_kantorovich(own: Tensor, goal: Tensor, part: Tensor | float = 1.0, most: float = torch.inf) -> Tensor:
    """Return the Monge-Kantorovich map [B,3,3] of covariances, gone a part of the way and with limits.

    Args:
        own: covariance before.
        goal: covariance after.
        part: how far to go, 0 (identity) to 1, as a power of the map; a number or [B,1].
        most: limit of the stretch, and of its inverse, along each axis.
    """
    noise = 1e-5 * torch.eye(3).to(own)  # of the channels: a flat colour must not be stretched without end
    values, vectors = torch.linalg.eigh(monge_kantorovich(own + noise, goal + noise))
    values = (values.clamp_min(1e-6) ** part).clamp(1 / most, most)
    stretched: Tensor = (vectors * values[:, None]) @ vectors.mT
    return stretched


def judge(layers: Layers, foreground: Tensor, background: Tensor) -> Judgement:
    """Estimate the difference in light between the foreground and background of layers, both in Lab [B,3,H,W]."""
    scene = 1 - layers.alpha
    neutral_foreground, neutral_background = layers.alpha * _neutrality(foreground), scene * _neutrality(background)
    person_area, scene_area = _area(layers.alpha), _area(scene)
    certain = ((person_area >= _LEAST_AREA) & (scene_area >= _LEAST_AREA)).to(foreground)
    share = torch.minimum(
        _area(neutral_foreground) / person_area.clamp_min(1e-6), _area(neutral_background) / scene_area.clamp_min(1e-6)
    )
    tint_certain = certain * share**2 / (share**2 + _FEW**2)

    tint = masked_mean(foreground, neutral_foreground) - masked_mean(background, neutral_background)
    natural, deviation = (torch.tensor(pair).to(tint).view(1, 2, 1, 1) for pair in (_NATURAL_TINT, _TINT_DEVIATION))
    excess = _beyond((tint[:, 1:] - natural) / deviation, _TINT_RANGE) * deviation
    lightness = masked_mean(foreground, layers.alpha)[:, :1] - masked_mean(background, scene)[:, :1]
    shift = [
        _limit(-_PART_OF_LIGHTNESS * certain * _beyond(lightness, _LIGHTNESS_RANGE), _MOST_LIGHTNESS),
        _limit(-_PART_OF_TINT * tint_certain * excess, _MOST_TINT),
    ]
    return Judgement(neutral_foreground, neutral_background, certain, tint_certain, torch.cat(shift, dim=1))


def identity(layers: Layers) -> AffineGrid:
    """Change nothing."""
    return AffineGrid.identity(layers.alpha.shape[0])


def learned(network: HarmonizerNetwork) -> Harmonizer:
    """Make a harmonizer of a network that predicts a grid, already reduced by its confidence."""
    size = network.config.size

    @torch.no_grad()
    def harmonize(layers: Layers) -> AffineGrid:
        small = layers.resize(size, size)
        answer = network.judge(small.composite(), small.alpha)
        return AffineGrid(answer.matrix)

    return harmonize


@dataclass(frozen=True)
class Painter:
    """A harmonizer of a network that paints a small picture: a grid fitted to it is applied at any size."""

    network: HPBNet | Baseline

    def __call__(self, layers: Layers) -> AffineGrid:
        """Paint a small picture and fit a grid to it."""
        return self.lift(layers, self.paint(layers))

    @torch.no_grad()
    def paint(self, layers: Layers) -> Tensor:
        """Return the network's own picture, background included -> [B,3,R,R]; HPBNet's after Eq. (3).

        An HPBNet that changes the composite's colours (`residual`) has no colour drift, so Eq. (3) is not applied. It
        also paints the mirror image, and the mean of both is closer to the truth (docs/experiments/hpbnet.md).
        """
        small = self._seen(layers)
        composite, alpha = small.composite(), small.alpha
        if isinstance(self.network, Baseline):
            return self.network.paint(composite, alpha)
        if not self.network.config.residual:
            picture = self.network(composite, alpha).image
            return match_color_temperature(picture, composite, alpha).clamp(0.0, 1.0)
        both = torch.cat([composite, composite.flip(3)]), torch.cat([alpha, alpha.flip(3)])
        picture, mirrored = self.network(*both).image.chunk(2)
        mean: Tensor = (picture + mirrored.flip(3)) / 2
        return mean.clamp(0.0, 1.0)

    def lift(self, layers: Layers, picture: Tensor) -> AffineGrid:
        """Fit the grid that turns the composite into the painted picture [B,3,R,R]."""
        small = self._seen(layers)
        return AffineGrid.fit(small.composite(), picture, small.alpha, height=_LIFTED, width=_LIFTED)

    def _seen(self, layers: Layers) -> Layers:
        size = self.network.config.resolution
        return layers.resize(size, size)


HARMONIZERS: dict[str, Harmonizer] = {"none": identity, "reinhard": reinhard, "covariance": covariance}
WEIGHTS = {"learned": "harmonizer", "hpbnet": "hpbnet"}  # harmonizers by the names of their weights


def harmonizer_by_name(name_or_path: str | Path) -> Harmonizer:
    """Return the harmonizer of a name, or of a checkpoint's path.

    Raises:
        ValueError: the name is unknown and there is no such file, or the file holds a network of another kind.
    """
    name = str(name_or_path)
    if name in HARMONIZERS:
        return HARMONIZERS[name]
    weights = WEIGHTS.get(name, name)
    if weights not in embedded() and not Path(weights).is_file():
        known = [*HARMONIZERS, *(label for label, file in WEIGHTS.items() if file in embedded())]
        expected = f"expected a .safetensors file or one of {', '.join(known)}"
        raise ValueError(f"unknown harmonizer {name!r}: {did_you_mean(name, known)}{expected}")
    network = load_network(weights)
    if isinstance(network, HarmonizerNetwork):
        return learned(network)
    if isinstance(network, HPBNet | Baseline):
        return Painter(network)
    raise ValueError(f"{name} holds a {type(network).__name__}, which is not a harmonizer")


def _small(layers: Layers) -> Layers:
    scale = min(1.0, _SIDE / max(layers.size))
    height, width = layers.size
    return layers.resize(max(1, round(height * scale)), max(1, round(width * scale)))


def _neutrality(lab: Tensor) -> Tensor:
    """Weight each pixel by how close its colour is to grey -> [B,1,H,W] in (0,1]."""
    weight: Tensor = torch.exp(-0.5 * lab[:, 1:].square().sum(dim=1, keepdim=True) / _NEUTRAL**2)
    return weight


def _area(weight: Tensor) -> Tensor:
    return weight.mean(dim=(2, 3), keepdim=True)


def _limit(vector: Tensor, most: float) -> Tensor:
    """Shorten vectors over dimension 1 that are longer than a limit."""
    shortened: Tensor = vector * (most / vector.norm(dim=1, keepdim=True).clamp_min(most))
    return shortened


def _beyond(vector: Tensor, radius: float) -> Tensor:
    """Return the part of vectors over dimension 1 that exceeds a radius; zero within it."""
    length = vector.norm(dim=1, keepdim=True).clamp_min(1e-6)
    rest: Tensor = vector * (1 - radius / length).clamp_min(0.0)
    return rest
