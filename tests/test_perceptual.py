"""Feature stacks: published layer numbers, strict loading, known activations."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hpbnet.checkpoint import read_foreign_tensors
from hpbnet.metrics import lpips
from hpbnet.networks import perceptual
from hpbnet.networks.perceptual import L2Pool, VggFeatures, load_frozen

LPIPS_CHANNELS = {
    "squeezenet": [64, 128, 256, 384, 384, 512, 512],
    "alexnet": [64, 192, 384, 256, 256],
    "vgg16": [64, 128, 256, 512, 512],
    "vgg16_dists": [3, 64, 128, 256, 512, 512],
    "vgg19": [64, 64, 128, 128, 256],
}


@pytest.fixture
def image(generator: torch.Generator) -> Tensor:
    return torch.rand(1, 3, 64, 64, generator=generator)


@pytest.mark.parametrize("name", LPIPS_CHANNELS)
def test_stacks_return_the_activations_that_the_published_heads_expect(name: str, image: Tensor) -> None:
    with torch.no_grad():
        features = getattr(perceptual, name)()(image)
    assert [feature.shape[1] for feature in features] == LPIPS_CHANNELS[name]


def test_vgg_stacks_number_their_layers_as_torchvision_does() -> None:
    weights = [name for name in perceptual.vgg16().state_dict() if name.endswith("weight")]
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert weights == [f"features.{index}.weight" for index in indices]
    weights = [name for name in perceptual.vgg19().state_dict() if name.endswith("weight")]
    assert weights == [f"features.{index}.weight" for index in (0, 2, 5, 7, 10)]


def test_alexnet_numbers_its_layers_as_torchvision_does() -> None:
    shapes = {name: tuple(t.shape) for name, t in perceptual.alexnet().state_dict().items() if t.ndim == 4}
    assert shapes == {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
    }


def test_l2_pooling_keeps_the_energy_of_a_constant() -> None:
    pooled = L2Pool()(torch.full((1, 2, 9, 9), 3.0))
    assert pooled.shape == (1, 2, 5, 5)
    torch.testing.assert_close(pooled[:, :, 1:-1, 1:-1], torch.full((1, 2, 3, 3), 3.0))


def test_loading_names_the_tensor_that_is_missing_or_misshapen() -> None:
    tensors = dict(perceptual.alexnet().state_dict())
    with pytest.raises(ValueError, match=r"features\.10\.bias is missing"):
        load_frozen(perceptual.alexnet(), {name: t for name, t in tensors.items() if name != "features.10.bias"})
    with pytest.raises(ValueError, match=r"features\.0\.weight is \(1,\), not"):
        load_frozen(perceptual.alexnet(), tensors | {"features.0.weight": torch.zeros(1)})


def test_loading_leaves_the_classifier_out_and_freezes() -> None:
    tensors = perceptual.squeezenet().state_dict() | {"classifier.1.weight": torch.zeros(1000, 512, 1, 1)}
    stack = load_frozen(perceptual.squeezenet(), tensors)
    assert not stack.training
    assert not any(parameter.requires_grad for parameter in stack.parameters())


def test_vgg_features_pass_gradients_to_the_image_and_not_to_weights(image: Tensor) -> None:
    stack = VggFeatures().requires_grad_(False)
    image.requires_grad_()
    sum(feature.mean() for feature in stack(image)).backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


def test_published_vgg19_has_activations_of_mean_one(shared: Path) -> None:
    """The weights were rescaled so that each activation averages 1 over photographs [Gatys et al.]."""
    stack = load_frozen(VggFeatures(), read_foreign_tensors(shared / "weights/vgg19_relu3_1.pth"))
    means = torch.stack([torch.stack([f.mean() for f in stack(photo)]) for photo in _photos(shared)]).mean(0)
    assert means.min() > 0.5 and means.max() < 2.0, means


def test_published_first_layer_makes_mean_free_bgr(shared: Path) -> None:
    stack = load_frozen(VggFeatures(), read_foreign_tensors(shared / "weights/vgg19_relu3_1.pth"))
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    expected = torch.tensor([-103.939, -116.779, 255 - 123.68]).view(1, 3, 1, 1)
    torch.testing.assert_close(stack[0](red), expected, atol=0.01, rtol=0)


def test_squeezenet_lpips_is_zero_for_equal_and_grows_with_blur(shared: Path) -> None:
    stack = load_frozen(perceptual.squeezenet(), read_foreign_tensors(shared / "weights/squeezenet1_1.pth"))
    heads = list(read_foreign_tensors(shared / "weights/lpips/squeeze.pth").values())
    photo = _photos(shared)[0]
    blurred = [nn.functional.avg_pool2d(photo, size, 1, size // 2) for size in (1, 3, 7)]
    distances = [lpips(stack(photo), stack(other), heads).item() for other in blurred]
    assert distances[0] == 0
    assert 0.02 < distances[1] < distances[2] < 1


def _photos(shared: Path) -> list[Tensor]:
    from PIL import Image

    photos = []
    for path in sorted((shared / "data/portraits-1024").rglob("*.*"))[:3]:
        with Image.open(path) as file:
            pixels = torch.tensor(list(file.convert("RGB").resize((128, 128)).tobytes())).view(1, 128, 128, 3)
        photos.append(pixels.permute(0, 3, 1, 2) / 255)
    return photos
