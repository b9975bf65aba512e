"""The network that finds faces' normals, and the surface that is made with it."""

import pytest
import torch
from torch import Tensor

from hpbnet.light.normals import person_normals
from hpbnet.models import load_network
from hpbnet.networks.normals import NormalsConfig, NormalsNetwork
from hpbnet.relight import estimate_normals

TINY = NormalsConfig(channels=(4, 4, 4, 4))


def tiny(bias: float = 0.0) -> NormalsNetwork:
    torch.manual_seed(0)
    network = NormalsNetwork(TINY).eval().requires_grad_(False)
    assert network.head.bias is not None
    network.head.bias[:4] += bias
    return network


def person(height: int, width: int) -> tuple[Tensor, Tensor]:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    alpha = torch.zeros(1, 1, height, width)
    alpha[:, :, height // 8 :, width // 4 : -width // 4] = 1
    return image, alpha


def test_the_network_gives_weights_and_unit_normals_towards_the_camera() -> None:
    answer = tiny()(torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64))
    assert answer.weight.shape == (2, 1, 64, 64)
    assert 0 <= float(answer.weight.min()) <= float(answer.weight.max()) <= 1
    assert torch.allclose(answer.normals.norm(dim=1), torch.ones(2, 64, 64), atol=1e-5)
    assert (answer.normals[:, 1] < 0).all()


def test_where_no_face_is_found_the_inflated_matte_stays() -> None:
    image, alpha = person(100, 60)
    assert torch.allclose(person_normals(image, alpha, tiny(-100.0)), estimate_normals(image, alpha), atol=1e-5)
    assert not torch.allclose(person_normals(image, alpha, tiny(100.0)), estimate_normals(image, alpha), atol=0.1)


@pytest.mark.parametrize("size", [(300, 40), (40, 300), (9, 9), (64, 64)])
def test_people_of_any_shape_have_a_surface(size: tuple[int, int]) -> None:
    normals = person_normals(*person(*size), tiny())
    assert normals.shape == estimate_normals(*person(*size)).shape
    assert torch.allclose(normals.norm(dim=1), torch.ones(()), atol=1e-5)


def test_what_is_outside_the_person_does_not_count() -> None:
    image, alpha = person(64, 64)
    other = torch.where(alpha > 0, image, torch.ones(()))
    network = tiny()
    first, second = (network(picture, alpha).normals for picture in (image, other))
    assert torch.equal(first, second)


def test_the_weights_load_and_are_finite_and_small() -> None:
    network = load_network("normals")
    assert isinstance(network, NormalsNetwork)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert 2 * sum(tensor.numel() for tensor in network.state_dict().values()) < 2 << 20
