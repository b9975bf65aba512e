"""Tests of networks/hpbnet.py (Fig. 3)."""

from dataclasses import asdict, replace

import pytest
import torch

from hpbnet.networks.hpbnet import HPBNet, HPBNetConfig, cut, grow
from hpbnet.networks.stylegan2 import EqualConv, Generator, StyledConv
from hpbnet.networks.unet import UNet

TINY = HPBNetConfig(
    resolution=32,
    unet_channels=4,
    unet_max_channels=8,
    channels=128,
    max_channels=6,
    z_dim=5,
    w_dim=7,
    mapping_layers=2,
)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 32, 32, generator=generator), torch.rand(2, 1, 32, 32, generator=generator)


def test_published_size_joins_the_blocks_8_to_512_and_not_block_4() -> None:
    with torch.device("meta"):
        network = HPBNet()
    assert len(network.joins) == len(network.generator.synthesis.blocks) == 7
    assert network.config.unet.resolutions == network.config.stylegan2.resolutions == [8, 16, 32, 64, 128, 256, 512]
    assert [join.change.weight.shape[0] for join in network.joins] == [512, 512, 512, 512, 256, 128, 64]


def test_an_image_at_every_scale_from_both_halves() -> None:
    painted = HPBNet(TINY)(*inputs())
    for images in (painted.estimates, painted.images):
        assert [tuple(image.shape) for image in images] == [(2, 3, 8, 8), (2, 3, 16, 16), (2, 3, 32, 32)]
    assert painted.image is painted.images[-1]


def test_a_new_network_paints_what_its_prior_paints() -> None:
    network = HPBNet(TINY)
    composite, mask = inputs()
    z = network.to_z(network.unet(composite, mask).bottleneck.mean(dim=(2, 3)))
    assert torch.equal(network(composite, mask).image, network.generator(z) * 0.5 + 0.5)


def test_generator_is_frozen_and_everything_else_is_trained() -> None:
    network = HPBNet(TINY)
    for join in network.joins:
        torch.nn.init.normal_(join.change.weight)
    painted = network(*inputs())
    sum(image.square().sum() for image in painted.images).backward()
    assert not any(parameter.requires_grad for parameter in network.generator.parameters())
    untrained = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
    assert untrained == {"unet.decoder.2.residual.weight", "unet.decoder.2.residual.bias"}  # only the U-Net's own image


def test_unet_only_is_the_same_class_without_the_generator() -> None:
    network = HPBNet(replace(TINY, generator=False))
    painted = network(*inputs())
    assert painted.images == []
    assert painted.image is painted.estimates[-1]
    assert {name.split(".")[0] for name in network.state_dict()} == {"unet"}
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in UNet(TINY.unet).parameters())


def test_same_input_gives_the_same_picture() -> None:
    network = HPBNet(TINY).eval()
    torch.nn.init.ones_(network.generator.synthesis.refine.noise_strength)
    assert torch.equal(network(*inputs()).image, network(*inputs()).image)


def test_a_larger_prior_is_cut_at_the_networks_resolution() -> None:
    prior = Generator(replace(TINY.stylegan2, resolution=128))
    small = cut(prior, TINY.stylegan2)
    z = torch.randn(1, 5)
    w = prior.mapping(z)[:, None]
    expected = prior.synthesis.pyramid(w.expand(-1, prior.config.styles, -1))[2]  # 8, 16, 32
    assert torch.equal(small(z), expected)
    network = HPBNet(TINY)
    network.load_prior(prior)
    assert torch.equal(network.generator(z), expected)
    assert not any(parameter.requires_grad for parameter in network.generator.parameters())


@pytest.mark.parametrize("change", [{"resolution": 16}, {"max_channels": 4}, {"z_dim": 6}])
def test_a_prior_that_does_not_fit_is_refused(change: dict[str, int]) -> None:
    prior = Generator(replace(TINY.stylegan2, **change))
    with pytest.raises(ValueError, match="the prior is"):
        cut(prior, TINY.stylegan2)


def test_config_is_plain_and_rebuilds_the_network() -> None:
    network = HPBNet(TINY)
    again = HPBNet(HPBNetConfig(**asdict(network.config)))
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(*inputs()).image, network(*inputs()).image)


def test_a_new_residual_network_is_the_identity_and_takes_no_prior() -> None:
    network = HPBNet(replace(TINY, residual=True))
    composite, mask = inputs()
    assert torch.allclose(network(composite, mask).image, composite, atol=1e-6)
    with pytest.raises(ValueError, match="a prior paints whole pictures"):
        network.load_prior(Generator(network.config.stylegan2))


def test_without_concatenations_the_generator_sees_the_bottleneck_alone() -> None:
    network = HPBNet(replace(TINY, concatenate=False))
    composite, mask = inputs()
    z = network.to_z(network.unet(composite, mask).bottleneck.mean(dim=(2, 3)))
    assert len(network.joins) == 0
    assert torch.equal(network(composite, mask).image, network.generator(z) * 0.5 + 0.5)
    image = network(composite, mask).image.sum()
    image.backward()
    assert all(parameter.grad is None for parameter in network.unet.decoder.parameters())


@pytest.mark.parametrize("residual", [False, True])
def test_a_grown_network_says_at_the_scales_it_had_what_it_said_before(residual: bool) -> None:
    torch.manual_seed(0)
    network = HPBNet(replace(TINY, unet_channels=8, unet_max_channels=16, residual=residual))
    for scale, join in zip(network.unet.decoder, network.joins, strict=True):
        torch.nn.init.normal_(scale.residual.weight)
        torch.nn.init.normal_(join.change.weight)
    only_the_middle = torch.zeros(3, 3)
    only_the_middle[1, 1] = 1.0
    network.unet.encoder[0].convolutions[0].weight.data *= only_the_middle  # so that there is no border
    composite, mask = inputs()
    before, unchanged = network(composite, mask), {name: value.clone() for name, value in network.state_dict().items()}
    grown = grow(network)
    assert (grown.config.resolution, grown.config.unet_channels) == (64, 4)
    after = grown(*(image.repeat_interleave(2, 2).repeat_interleave(2, 3) for image in (composite, mask)))
    for ours, theirs in ((after.estimates, before.estimates), (after.images, before.images)):
        assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(ours, theirs, strict=False))
        assert ours[-1].shape == (2, 3, 64, 64)
    assert all(torch.equal(value, unchanged[name]) for name, value in network.state_dict().items())


def test_a_network_too_narrow_to_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="unet_channels is 4"):
        grow(HPBNet(TINY))


def test_mixed_precision_keeps_the_features_small() -> None:
    """Float32 parameters added to bfloat16 features would make all that follows float32 again."""
    network = HPBNet(replace(TINY, residual=True))
    kinds = set()
    for module in network.modules():
        if isinstance(module, (EqualConv, StyledConv)):
            module.register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        network(*inputs())
    assert kinds == {torch.bfloat16}
