"""The network MobileStyleGAN: its parts by their formulas, and what a user can do with the whole."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hpbnet.networks.mobile_stylegan import (
    FittedHead,
    MobileGenerator,
    MobileStyleGANConfig,
    SeparableConv,
    cut_off,
    inverse_haar,
)

TINY = MobileStyleGANConfig(widths=(16, 12, 8, 4), fitted=(16,), hidden=4, z_dim=6, w_dim=5, mapping_layers=2)


@pytest.fixture
def network() -> MobileGenerator:
    """A tiny generator with random numbers everywhere, noise included."""
    torch.manual_seed(0)
    network = MobileGenerator(TINY).eval()
    network.load_state_dict({name: torch.randn(value.shape) for name, value in network.state_dict().items()})
    return network


def random_z(count: int = 2) -> Tensor:
    return torch.randn(count, TINY.z_dim, generator=torch.Generator().manual_seed(3))


def test_the_published_network_has_as_many_numbers_as_its_file() -> None:
    with torch.device("meta"):
        network = MobileGenerator()
    assert network.config.resolution == 1024 and network.config.heads == [1024]
    assert sum(p.numel() for p in network.mapping.parameters()) == 2_101_248
    assert sum(p.numel() for p in network.synthesis.parameters()) == 7_306_380
    assert sum(b.numel() for b in network.synthesis.buffers()) == 699_024  # noise


def test_an_inverse_haar_step_follows_its_formula() -> None:
    mean, vertical, horizontal, diagonal = 8.0, 2.0, 4.0, 1.0  # LL, LH, HL, HH
    image = inverse_haar(torch.tensor([mean, vertical, horizontal, diagonal]).view(1, 4, 1, 1))
    assert image.flatten().tolist() == [7.5, 2.5, 4.5, 1.5]  # top left, top right, bottom left, bottom right


def test_an_inverse_haar_step_groups_the_differences_by_channel() -> None:
    channels = torch.tensor([2.0, 10.0, 1.0, 0.0, 0.0, 0.0, 0.0, 3.0])  # two means, then LH HL HH, LH HL HH
    image = inverse_haar(channels.view(1, 8, 1, 1))
    assert image[0, 0].tolist() == [[1.5, 1.5], [0.5, 0.5]]
    assert image[0, 1].tolist() == [[6.5, 3.5], [3.5, 6.5]]


def test_a_separable_convolution_modulates_each_picture_by_its_own_style() -> None:
    torch.manual_seed(0)
    layer = SeparableConv(8, 4, 16, w_dim=5)
    layer.noise_const.normal_()
    x, w = torch.randn(3, 8, 16, 16), torch.randn(3, 5)
    scaled = x * layer.affine(w)[:, :, None, None] / math.sqrt(9 * 8)
    filtered = F.conv2d(F.conv2d(scaled, layer.depthwise, padding=1, groups=8), layer.pointwise)
    expected = F.leaky_relu(filtered + layer.noise_const + layer.bias[:, None, None], 0.2)
    torch.testing.assert_close(layer(x, w), expected, atol=1e-5, rtol=1e-5)


def test_every_picture_depends_on_its_own_w_alone(network: MobileGenerator) -> None:
    z = random_z()
    together = network(z)
    assert together.shape == (2, 3, 64, 64)
    torch.testing.assert_close(together[1:], network(z[1:]), atol=1e-4, rtol=1e-4)


def test_no_truncation_is_the_mapping_and_full_truncation_the_average_picture(network: MobileGenerator) -> None:
    average = network.synthesis(network.repeat(network.mapping.w_avg[None]))
    torch.testing.assert_close(network(random_z(1), truncation_psi=0.0), average)
    whole = network.synthesis(network.repeat(network.mapping(random_z(1))))
    assert torch.equal(network(random_z(1), truncation_psi=1.0), whole)


def test_every_style_reaches_the_picture_with_a_gradient(network: MobileGenerator) -> None:
    ws = network.repeat(network.mapping(random_z(1))).detach().clone().requires_grad_(True)
    network.synthesis(ws).square().mean().backward()
    assert ws.grad is not None
    reached = ws.grad.abs().sum(dim=2)[0] > 0
    heads_of_other_resolutions = [3, 6]  # styles of the heads behind the first two blocks
    assert reached.nonzero().flatten().tolist() == [
        index for index in range(TINY.styles) if index not in heads_of_other_resolutions
    ]


def test_gradients_are_those_of_finite_differences(network: MobileGenerator) -> None:
    double = network.double()
    ws = double.repeat(double.mapping(random_z(1).double())).detach().clone().requires_grad_(True)
    direction = torch.randn(ws.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def energy(at: Tensor) -> Tensor:
        image: Tensor = double.synthesis(at)
        return image.square().mean()

    (gradient,) = torch.autograd.grad(energy(ws), ws)
    step = 1e-6
    with torch.no_grad():
        difference = (energy(ws + step * direction) - energy(ws - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-4, atol=1e-8)


def test_stored_noise_is_the_default_and_fresh_noise_is_as_strong(network: MobileGenerator) -> None:
    z = random_z(1)
    assert torch.equal(network(z), network(z))
    fresh = [network(z, noise=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(fresh[0], fresh[1])
    assert not torch.equal(fresh[0], fresh[2]) and not torch.equal(fresh[0], network(z))
    layer = SeparableConv(4, 4, 64, w_dim=5)
    with torch.no_grad():
        layer.pointwise.zero_()
        layer.noise_const.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(0))
        drawn = layer(torch.zeros(1, 4, 64, 64), torch.zeros(1, 5), torch.Generator().manual_seed(5))
    assert drawn.clamp(min=0).square().mean().sqrt().item() == pytest.approx(0.3 / math.sqrt(2), rel=0.05)


def test_a_network_is_cut_off_where_it_has_a_head(network: MobileGenerator) -> None:
    smaller = cut_off(network, 16)
    assert smaller.config.resolution == 16 and smaller.config.widths == (16, 12) and smaller.config.heads == [16]
    ws = network.repeat(network.mapping(random_z()))
    first = next(network.synthesis.features(ws))
    assert torch.equal(smaller(random_z()), network.synthesis.paint(first, ws, 16))
    assert isinstance(smaller.synthesis.heads["16"], FittedHead)


def test_a_network_is_not_cut_off_where_it_has_no_head(network: MobileGenerator) -> None:
    with pytest.raises(ValueError, match="paints 16, 64 px, not 32 px"):
        cut_off(network, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (16,)}, "two or more multiples of 4"),
        ({"widths": (16, 10)}, "two or more multiples of 4"),
        ({"fitted": (128,)}, r"fitted at \[128\], expected resolutions of \[16, 32, 64\]"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]
