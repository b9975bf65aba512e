"""Tests of networks/unet.py."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from hpbnet.networks.unet import UNet, UNetConfig

TINY = UNetConfig(resolution=32, channels=4, max_channels=8)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 32, 32, generator=generator), torch.rand(2, 1, 32, 32, generator=generator)


def shaken(network: UNet) -> UNet:
    """Give the residual convolutions, which start at zero, some weights."""
    for scale in network.decoder:
        torch.nn.init.normal_(scale.residual.weight)
    return network


def test_published_size_has_seven_scales_of_three_convolutions() -> None:
    with torch.device("meta"):
        network = UNet()
    assert network.config.resolutions == [8, 16, 32, 64, 128, 256, 512]
    for scales in (network.encoder, network.decoder):
        assert len(scales) == 7
        kernels = [convolution.weight.shape[2:] for scale in scales for convolution in scale.convolutions]
        assert kernels == [(3, 3)] * 21


def test_every_scale_gives_features_and_an_estimate() -> None:
    scales = UNet(TINY)(*inputs())
    assert [tuple(x.shape) for x in scales.estimates] == [(2, 3, 8, 8), (2, 3, 16, 16), (2, 3, 32, 32)]
    assert [tuple(x.shape) for x in scales.features] == [(2, 8, 8, 8), (2, 8, 16, 16), (2, 4, 32, 32)]
    assert scales.bottleneck.shape == (2, 8, 8, 8)


def test_a_new_network_estimates_the_shrunken_composite() -> None:
    composite, mask = inputs()
    first, *_, last = UNet(TINY)(composite, mask).estimates
    small = F.interpolate(composite, size=(8, 8), mode="area")
    assert torch.allclose(first, small, atol=1e-6)
    assert last.mean().item() == pytest.approx(composite.mean().item(), abs=0.01)


def test_each_estimate_is_the_upsampled_last_one_plus_a_residual() -> None:
    network = shaken(UNet(TINY))
    scales = network(*inputs())
    for scale, features, before, estimate in zip(
        network.decoder[1:], scales.features[1:], scales.estimates, scales.estimates[1:], strict=False
    ):
        upsampled = F.interpolate(before, scale_factor=2, mode="bilinear", align_corners=False)
        assert torch.allclose(estimate, upsampled + scale.residual(features), atol=1e-5)


def test_features_keep_their_variance_through_all_scales() -> None:
    """Without normalisation layers, 42 convolutions would else fade or explode."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(resolution=128, channels=16, max_channels=32))
    scales = network(torch.rand(1, 3, 128, 128), torch.ones(1, 1, 128, 128))
    for features in scales.features:
        assert 0.05 < features.std().item() < 5


def test_every_weight_is_trained() -> None:
    network = shaken(UNet(TINY))
    sum(estimate.square().sum() for estimate in network(*inputs()).estimates).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_mask_and_every_scale_of_the_composite_matter() -> None:
    network = shaken(UNet(TINY))
    composite, mask = inputs()
    before = network(composite, mask).estimates[-1]
    assert not torch.allclose(before, network(composite, 1 - mask).estimates[-1])
    checker = composite + 0.2 * (torch.arange(32) % 2 - 0.5)  # gone at half the resolution
    assert not torch.allclose(before, network(checker, mask).estimates[-1], atol=1e-3)


@pytest.mark.parametrize("resolution", [4, 48])
def test_a_resolution_that_is_no_power_of_two_is_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        UNetConfig(resolution=resolution)


def test_a_new_residual_network_is_the_identity_at_every_scale() -> None:
    composite, mask = inputs()
    for estimate in UNet(replace(TINY, residual=True))(composite, mask).estimates:
        assert torch.allclose(estimate, F.interpolate(composite, size=estimate.shape[2:], mode="area"), atol=1e-6)
