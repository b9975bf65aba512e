"""Tests of colour spaces and masked statistics."""

import numpy as np
import pytest
import torch

from hpbnet.color import (
    LUMA,
    lab_to_rgb,
    linear_to_srgb,
    luma,
    masked_covariance,
    masked_mean,
    masked_mean_and_deviation,
    planckian_illuminant,
    rgb_to_lab,
    rgb_to_xyz,
    srgb_to_linear,
    xyz_to_rgb,
)


def colour(*channels: float) -> torch.Tensor:
    return torch.tensor(channels, dtype=torch.float32).view(1, 3, 1, 1)


@pytest.mark.parametrize(("srgb", "linear"), [(0.0, 0.0), (0.04045, 0.0031308), (0.5, 0.2140411), (1.0, 1.0)])
def test_the_srgb_curve_has_the_values_of_iec_61966(srgb: float, linear: float) -> None:
    assert srgb_to_linear(torch.tensor(srgb)).item() == pytest.approx(linear, abs=1e-6)
    assert linear_to_srgb(torch.tensor(linear)).item() == pytest.approx(srgb, abs=1e-5)


def test_the_srgb_curve_can_be_undone(generator: torch.Generator) -> None:
    image = torch.rand(2, 3, 8, 8, generator=generator)
    assert torch.allclose(linear_to_srgb(srgb_to_linear(image)), image, atol=1e-6)


def test_the_srgb_curve_has_finite_gradients_at_black() -> None:
    black = torch.zeros(3, requires_grad=True)
    (srgb_to_linear(black).sum() + linear_to_srgb(black).sum()).backward()
    assert black.grad is not None and black.grad.isfinite().all()


# Sharma, CIE 15: sRGB primaries under D65
@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_lab_of_the_primaries(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    assert torch.allclose(rgb_to_lab(colour(*rgb)), colour(*lab), atol=0.03)


def test_lab_agrees_with_scikit_image(generator: torch.Generator) -> None:
    reference = pytest.importorskip("skimage.color")
    image = torch.rand(1, 3, 16, 16, generator=generator)
    expected = reference.rgb2lab(image[0].permute(1, 2, 0).double().numpy())
    assert np.abs(rgb_to_lab(image)[0].permute(1, 2, 0).numpy() - expected).max() < 0.02


def test_greys_have_no_chroma() -> None:
    grey = torch.linspace(0, 1, 32).view(1, 1, 1, 32).expand(1, 3, 1, 32)
    assert rgb_to_lab(grey)[:, 1:].abs().max() < 1e-3


def test_lab_can_be_undone_and_is_not_clamped(generator: torch.Generator) -> None:
    image = torch.rand(2, 3, 16, 16, generator=generator)
    assert torch.allclose(lab_to_rgb(rgb_to_lab(image)), image, atol=2e-5)
    assert lab_to_rgb(colour(60.0, 120.0, 0.0)).max() > 1
    assert lab_to_rgb(colour(-5.0, 0.0, 0.0)).isfinite().all()


def test_xyz_of_white_is_d65_and_can_be_undone(generator: torch.Generator) -> None:
    assert torch.allclose(rgb_to_xyz(colour(1, 1, 1)), colour(0.95046, 1.0, 1.08906), atol=1e-4)
    image = torch.rand(1, 3, 4, 4, generator=generator)
    assert torch.allclose(xyz_to_rgb(rgb_to_xyz(image)), image, atol=1e-5)


def test_luma_is_rec_709() -> None:
    assert sum(LUMA) == pytest.approx(1.0)
    assert luma(colour(0, 1, 0)).item() == pytest.approx(0.7152)


def test_masked_statistics_equal_those_of_the_chosen_pixels(generator: torch.Generator) -> None:
    image = torch.rand(2, 3, 12, 10, generator=generator)
    weight = (torch.rand(2, 1, 12, 10, generator=generator) > 0.4).float()
    mean, deviation = masked_mean_and_deviation(image, weight)
    mean_too, covariance = masked_covariance(image, weight)
    for item in range(2):
        chosen = image[item][:, weight[item, 0] > 0].double().numpy()
        assert np.allclose(mean[item, :, 0, 0], chosen.mean(1), atol=1e-5)
        assert np.allclose(mean_too[item], chosen.mean(1), atol=1e-5)
        assert np.allclose(deviation[item, :, 0, 0], chosen.std(1), atol=1e-5)
        assert np.allclose(covariance[item], np.cov(chosen, bias=True), atol=1e-5)


def test_masked_statistics_without_weight_are_zero(generator: torch.Generator) -> None:
    image, nothing = torch.rand(1, 3, 4, 4, generator=generator), torch.zeros(1, 1, 4, 4)
    assert masked_mean(image, nothing).abs().max() == 0
    assert masked_mean_and_deviation(image, nothing)[1].isfinite().all()
    assert masked_covariance(image, nothing)[1].isfinite().all()


def test_illuminant_a_has_its_published_chromaticity() -> None:
    red, green, blue = planckian_illuminant(torch.tensor([2856.0]))[0].tolist()
    # CIE 15: x 0.44758, y 0.40745, so X 1.0985, Y 1, Z 0.3558; IEC 61966-2-1 makes these linear RGB of it
    assert (red, green, blue) == pytest.approx((1.845, 0.825, 0.231), abs=0.01)


def test_lamps_are_warm_and_the_sky_is_blue() -> None:
    lamp, sky = planckian_illuminant(torch.tensor([2500.0, 9000.0]))
    assert lamp[0] > lamp[1] > lamp[2]
    assert sky[2] > sky[0]
