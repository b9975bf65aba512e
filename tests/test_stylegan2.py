"""Tests of networks/stylegan2.py: against the published formulas, evaluated number by number in float64."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from hpbnet.networks.stylegan2 import (
    Discriminator,
    Generator,
    StyleGAN2Config,
    low_pass,
    minibatch_deviation,
    upsample,
)

Array = NDArray[np.float64]
Weights = Mapping[str, Array]

TINY = StyleGAN2Config(resolution=16, channels=64, max_channels=5, z_dim=6, w_dim=7, mapping_layers=3)
FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def weights_of(network: nn.Module) -> Weights:
    """Fill a network with random numbers (biases and noise strengths too) and return them."""
    generator = torch.Generator().manual_seed(1)
    state = {
        name: torch.randn(value.shape, generator=generator) * (0.5 if "weight" not in name else 1.0)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    return {name: value.double().numpy() for name, value in state.items()}


# --- the formulas, as published, with loops ---------------------------------------------------------------------


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def correlate(x: Array, weight: Array, before: int, after: int, stride: int = 1) -> Array:
    """Slide weight [O,I,k,k] over x [I,H,W] with zeros around."""
    padded = np.pad(x, ((0, 0), (before, after), (before, after)))
    size = weight.shape[2]
    side = (padded.shape[1] - size) // stride + 1
    out = np.zeros((weight.shape[0], side, side))
    for o in range(weight.shape[0]):
        for y in range(side):
            for x0 in range(side):
                window = padded[:, y * stride : y * stride + size, x0 * stride : x0 * stride + size]
                out[o, y, x0] = (window * weight[o]).sum()
    return out


def filtered(x: Array, before: int, after: int, gain: float = 1.0, stride: int = 1) -> Array:
    return np.stack([correlate(c[None], gain * FIR[None, None], before, after, stride)[0] for c in x])


def stuffed(x: Array) -> Array:
    """Put a zero after every sample."""
    out = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]))
    out[:, ::2, ::2] = x
    return out


def dense(x: Array, weights: Weights, name: str, multiplier: float = 1.0) -> Array:
    weight = weights[f"{name}.weight"] * (multiplier / math.sqrt(x.size))
    return weight @ x + weights[f"{name}.bias"] * multiplier


def modulated(x: Array, w: Array, weights: Weights, name: str, demodulate: bool, up: bool = False) -> Array:
    """Equations (1) and (3) of the StyleGAN2 paper: scale the weights, normalise them, convolve."""
    style = dense(w, weights, f"{name}.affine")
    weight = weights[f"{name}.weight"] / math.sqrt(weights[f"{name}.weight"][0].size)
    weight = weight.copy()
    for o in range(weight.shape[0]):
        for i in range(weight.shape[1]):
            weight[o, i] *= style[i]
        if demodulate:
            weight[o] /= math.sqrt((weight[o] ** 2).sum() + 1e-8)
    if not up:
        return correlate(x, weight, weight.shape[2] // 2, weight.shape[2] // 2)
    flipped = weight[:, :, ::-1, ::-1]  # a true convolution, over zeros in between
    convolved = correlate(stuffed(x)[:, :-1, :-1], flipped, 2, 2)  # 2H+1
    return filtered(convolved, 1, 1, gain=4)


def styled(x: Array, w: Array, weights: Weights, name: str, up: bool = False) -> Array:
    x = modulated(x, w, weights, name, demodulate=True, up=up)
    x = x + weights[f"{name}.noise_strength"] * weights[f"{name}.noise_const"]
    return leaky(x + weights[f"{name}.bias"][:, None, None])


def painted(x: Array, w: Array, weights: Weights, name: str) -> Array:
    return modulated(x, w, weights, name, demodulate=False) + weights[f"{name}.bias"][:, None, None]


def generate(z: Array, weights: Weights, psi: float) -> Array:
    w = z / math.sqrt((z**2).mean() + 1e-8)
    for index in range(3):
        w = leaky(dense(w, weights, f"mapping.layers.{index}", 0.01))
    w = weights["mapping.w_avg"] + psi * (w - weights["mapping.w_avg"])
    x = styled(weights["synthesis.const"], w, weights, "synthesis.refine")
    image = painted(x, w, weights, "synthesis.paint")
    for index in range(2):
        name = f"synthesis.blocks.{index}"
        x = styled(x, w, weights, f"{name}.grow", up=True)
        x = styled(x, w, weights, f"{name}.refine")
        image = filtered(stuffed(image), 2, 1, gain=4) + painted(x, w, weights, f"{name}.paint")
    return image


def plain(x: Array, weights: Weights, name: str, down: bool = False) -> Array:
    weight = weights[f"{name}.weight"] / math.sqrt(weights[f"{name}.weight"][0].size)
    bias = weights.get(f"{name}.bias", np.zeros(weight.shape[0]))[:, None, None]
    pad = weight.shape[2] // 2
    if not down:
        return correlate(x, weight, pad, pad) + bias
    return correlate(filtered(x, 1 + pad, 1 + pad), weight, 0, 0, stride=2) + bias


def judge(images: Array, weights: Weights, group: int) -> list[float]:
    features = []
    for image in images:
        x = leaky(plain(image, weights, "from_rgb"))
        for index in range(2):
            name = f"blocks.{index}"
            shortcut = plain(x, weights, f"{name}.skip", down=True)
            y = leaky(plain(x, weights, f"{name}.first"))
            x = (leaky(plain(y, weights, f"{name}.second", down=True)) + shortcut) / math.sqrt(2)
        features.append(x)
    logits = []
    groups = len(images) // group
    for index, x in enumerate(features):
        members = np.stack([features[k] for k in range(len(images)) if k % groups == index % groups])
        deviation = np.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8).mean()
        y = leaky(plain(np.concatenate([x, np.full((1, 4, 4), deviation)]), weights, "conv"))
        y = leaky(dense(y.reshape(-1), weights, "dense"))
        logits.append(float(dense(y, weights, "out")[0]))
    return logits


# --- tests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("psi", [1.0, 0.6])
def test_generator_equals_the_published_formulas(psi: float) -> None:
    network = Generator(TINY).double()
    weights = weights_of(network)
    z = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = np.stack([generate(one, weights, psi) for one in z.numpy()])
    images = network(z, truncation_psi=psi).detach().numpy()
    np.testing.assert_allclose(images, expected, rtol=1e-9, atol=1e-9)


def test_discriminator_equals_the_published_formulas() -> None:
    network = Discriminator(StyleGAN2Config(resolution=16, channels=64, max_channels=5, group=2)).double()
    weights = weights_of(network)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    logits = network(images).detach()[:, 0].tolist()
    np.testing.assert_allclose(logits, judge(images.numpy(), weights, group=2), rtol=1e-9)


def test_published_networks_have_the_published_number_of_weights() -> None:
    """The logs of the published training at 1024 px print these totals."""
    with torch.device("meta"):
        generator, discriminator = Generator(), Discriminator()
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060
    assert sum(p.numel() for p in discriminator.parameters()) == 29_012_513
    assert generator.config.styles == 18


def test_truncation_to_zero_gives_one_average_image() -> None:
    network = Generator(TINY)
    weights_of(network)
    a, b = network(torch.randn(2, 6), truncation_psi=0.0)
    assert torch.allclose(a, b, atol=1e-5)


def test_tracking_moves_the_average_w() -> None:
    mapping = Generator(TINY).mapping
    mapping.track(torch.ones(3, 7), decay=0.75)
    assert torch.allclose(mapping.w_avg, torch.full((7,), 0.25))


def test_stored_noise_is_the_same_each_time_and_drawn_noise_follows_its_seed() -> None:
    network = Generator(TINY)
    weights_of(network)
    z = torch.randn(1, 6)
    assert torch.equal(network(z), network(z))
    drawn = [network(z, noise=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])


def test_pyramid_ends_with_the_image_and_merges_see_every_block() -> None:
    network = Generator(TINY)
    ws = torch.randn(1, TINY.styles, 7)
    seen: list[int] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[-1])
        return x

    images = network.synthesis.pyramid(ws, merges=[look, look])
    assert [image.shape[-1] for image in images] == [8, 16] == seen
    assert torch.equal(images[-1], network.synthesis(ws))


def test_resampling_keeps_a_constant_away_from_the_border() -> None:
    constant = torch.full((1, 2, 8, 8), 3.0)
    assert torch.allclose(upsample(constant)[..., 2:-2, 2:-2], torch.tensor(3.0))
    assert torch.allclose(low_pass(constant, padding=1, stride=2)[..., 1:-1, 1:-1], torch.tensor(3.0))


def test_deviation_of_equal_images_is_nearly_zero_and_of_opposite_ones_one() -> None:
    x = torch.ones(2, 3, 4, 4)
    assert minibatch_deviation(x, 4).max() < 2e-4
    assert torch.allclose(minibatch_deviation(torch.cat([x[:1], -x[:1]]), 2), torch.ones(2, 1, 4, 4))


def test_clamp_bounds_every_convolution() -> None:
    network = Generator(StyleGAN2Config(**{**vars(TINY), "clamp": 1e-3}))
    weights_of(network)
    first = network.synthesis.pyramid(torch.randn(1, TINY.styles, 7))[0]
    assert first.abs().max() <= 1e-3 * (1 + 1.6**2)


def test_gradient_of_the_gradient_exists() -> None:
    """R1 and the path length differentiate a gradient."""
    discriminator = Discriminator(TINY)
    image = torch.randn(2, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(image).sum(), image, create_graph=True)
    gradient.square().sum().backward()
    assert discriminator.from_rgb.weight.grad is not None


@pytest.mark.parametrize("resolution", [4, 100])
def test_a_resolution_that_is_no_power_of_two_is_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        StyleGAN2Config(resolution=resolution)
