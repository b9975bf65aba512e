"""The disturbances: exact values, properties, and what they leave alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hpbnet import disturb
from hpbnet.color import luma, masked_covariance, masked_mean_and_deviation, rgb_to_lab


@pytest.fixture
def image(generator: torch.Generator) -> Tensor:
    """Two smooth random pictures, away from black and white."""
    small = torch.rand(2, 3, 6, 6, generator=generator)
    return 0.3 + 0.4 * torch.nn.functional.interpolate(small, (40, 48), mode="bilinear")


@pytest.fixture
def weight() -> Tensor:
    """A disc in each picture."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 48), indexing="ij")
    return (x**2 + y**2 < 0.6).float().expand(2, 1, -1, -1)


def test_white_balance_multiplies_in_gamma_2_2_light() -> None:
    grey = torch.full((1, 3, 1, 1), 0.5)
    gains = torch.tensor([[0.75, 1.0, 1.3]])
    expected = (0.5**2.2 * gains) ** (1 / 2.2)
    assert torch.allclose(disturb.adjust_white_balance(grey, gains)[:, :, 0, 0], expected, atol=1e-6)


def test_white_balance_by_one_changes_nothing(image: Tensor) -> None:
    assert torch.equal(disturb.adjust_white_balance(image, torch.ones(2, 3)), image)


def test_one_stop_doubles_the_light() -> None:
    grey = torch.full((1, 3, 1, 1), 0.3)
    brighter = disturb.adjust_exposure(grey, torch.tensor([1.0]))
    assert torch.allclose(brighter**2.2, 2 * grey**2.2, atol=1e-4)


@pytest.mark.parametrize("stops", [-2.0, -0.3, 0.1, 0.5, 1.0, 2.0, 4.0])
def test_exposure_keeps_the_order_of_tones_and_reaches_white_only_at_white(stops: float) -> None:
    ramp = torch.linspace(0, 1, 101).expand(1, 3, 1, 101)
    out = disturb.adjust_exposure(ramp, torch.tensor([stops]))[0, 0, 0]
    assert (out.diff() >= -1e-6).all()
    assert 0 <= out.min() <= out.max() <= 1
    if 0 < stops <= 1:
        assert (out.diff() > 0).all()


def test_each_picture_of_a_batch_has_its_own_exposure(image: Tensor) -> None:
    out = disturb.adjust_exposure(image, torch.tensor([0.0, 0.5]))
    assert torch.allclose(out[0], image[0], atol=1e-6)
    assert (out[1] > image[1]).all()


def test_a_neutral_tone_curve_changes_nothing(image: Tensor) -> None:
    out = disturb.adjust_tone_curve(image, torch.tensor([[1.0, 0.0, 0.0, 1.0]] * 2))
    assert (out - image).abs().max() < 1e-3


@pytest.mark.parametrize("contrast", [-2.0, -0.7, 0.6, 1.0])
def test_tone_curves_rise(contrast: float) -> None:
    ramp = torch.linspace(0, 1, 101).expand(1, 3, 1, 101)
    out = disturb.adjust_tone_curve(ramp, torch.tensor([[1.3, contrast, 0.05, 0.9]]))[0, 0, 0]
    assert (out.diff() >= 0).all()
    assert out[0] == pytest.approx(0.05, abs=1e-3)
    assert out[-1] == pytest.approx(0.9, abs=1e-3)


def test_no_saturation_is_grey_of_the_same_luma(image: Tensor) -> None:
    grey = disturb.adjust_saturation(image, torch.zeros(2))
    assert torch.allclose(grey, luma(image).expand_as(image), atol=1e-6)


def test_a_lights_colour_keeps_the_luminance_of_grey() -> None:
    grey = torch.full((1, 3, 1, 1), 0.4)
    cast = disturb.adjust_illuminant(grey, torch.ones(1, 3), torch.tensor([[1.4, 1.0, 0.5]]))
    assert luma(cast**2.2).item() == pytest.approx(0.4**2.2, abs=1e-5)


def test_mixed_channels_are_a_matrix_product_in_linear_light(image: Tensor) -> None:
    assert (disturb.mix_channels(image, torch.eye(3)[None]) - image).abs().max() < 1e-5
    swapped = disturb.mix_channels(image, torch.eye(3)[[1, 0, 2]][None])
    assert (swapped - image[:, [1, 0, 2]]).abs().max() < 1e-5
    half = disturb.mix_channels(image, 0.5 * torch.eye(3)[None])
    assert (half - image * 0.5 ** (1 / 2.2)).abs().max() < 1e-5


def test_reinhard_gives_the_references_means_and_deviations(image: Tensor, weight: Tensor) -> None:
    reference = image.flip(0) * 0.5 + 0.2
    moved = disturb.transfer_color_reinhard(image, weight, reference, weight)
    mean, deviation = masked_mean_and_deviation(rgb_to_lab(moved), weight)
    wanted_mean, wanted_deviation = masked_mean_and_deviation(rgb_to_lab(reference), weight)
    assert torch.allclose(mean, wanted_mean, atol=0.5)
    assert torch.allclose(deviation, wanted_deviation, atol=0.5)


def test_covariance_transfer_gives_the_references_covariance(image: Tensor, weight: Tensor) -> None:
    reference = image.flip(0) * 0.5 + 0.2
    moved = disturb.transfer_color_covariance(image, weight, reference, weight)
    mean, covariance = masked_covariance(moved, weight)
    wanted_mean, wanted_covariance = masked_covariance(reference, weight)
    assert torch.allclose(mean, wanted_mean, atol=1e-3)
    assert torch.allclose(covariance, wanted_covariance, atol=2e-4)


def test_histogram_transfer_gives_the_references_quantiles(image: Tensor, weight: Tensor) -> None:
    reference = image.flip(0) ** 2
    moved = disturb.transfer_histogram(image, weight, reference, weight)
    inside = weight[0, 0] > 0.5
    own, wanted = moved[0, 0][inside].sort().values, reference[0, 0][inside].sort().values
    assert (own - wanted).abs().max() < 0.02


@pytest.mark.parametrize(
    "transfer",
    [disturb.transfer_color_reinhard, disturb.transfer_color_covariance, disturb.transfer_histogram],
)
def test_a_transfer_to_oneself_changes_nothing(transfer: disturb.Transfer, image: Tensor, weight: Tensor) -> None:
    assert (transfer(image, weight, image, weight) - image).abs().max() < 5e-3


def test_tones_that_the_mask_does_not_hold_are_shifted_like_their_neighbours(weight: Tensor) -> None:
    ramp = torch.linspace(0, 1, 48).expand(2, 3, 40, 48)
    inside = ((ramp[:, :1] > 0.3) & (ramp[:, :1] < 0.7)).float()
    moved = disturb.transfer_histogram(ramp, inside, ramp * 0.5, inside)
    assert (moved[0, 0, 0].diff() > 0)[8:].all()


@pytest.mark.parametrize(
    "transfer",
    [disturb.transfer_color_reinhard, disturb.transfer_color_covariance, disturb.transfer_histogram],
)
def test_transfers_survive_flat_pictures_and_empty_masks(transfer: disturb.Transfer) -> None:
    flat, empty = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)
    assert transfer(flat, empty, flat, empty).isfinite().all()


def test_where_alpha_is_zero_the_photo_stays_bit_equal(image: Tensor, weight: Tensor) -> None:
    pasted = disturb.paste(1 - image, weight, image)
    outside = (weight == 0).expand_as(image)
    assert torch.equal(pasted[outside], image[outside])


def test_noise_has_its_deviation_and_its_seed() -> None:
    grey = torch.full((1, 3, 64, 64), 0.5)
    noisy = [disturb.add_noise(grey, torch.tensor([0.02]), torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*noisy)
    assert (noisy[0] - grey).std().item() == pytest.approx(0.02, rel=0.05)


def test_blur_keeps_the_mean_and_lowers_the_spread(image: Tensor) -> None:
    soft = disturb.blur(image, 2.0)
    assert torch.allclose(soft.mean(), image.mean(), atol=0.01)
    assert soft.std() < image.std()


def test_jpeg_changes_little_and_keeps_the_order_of_channels(image: Tensor) -> None:
    back = disturb.compress_jpeg(image, 95)
    assert (back - image).abs().mean() < 0.02


def test_masks_grow_shrink_and_have_holes(weight: Tensor) -> None:
    assert disturb.grow_mask(weight, 2).sum() > weight.sum() > disturb.grow_mask(weight, -2).sum()
    assert torch.equal(disturb.grow_mask(weight, 0), weight)
    holed = disturb.cut_hole(weight, torch.tensor([[0.5, 0.5, 0.1, 0.1]] * 2))
    assert holed[0, 0, 20, 24] == 0
    assert holed[0, 0, 20, 12] == 1


def test_nothing_is_changed_in_place(image: Tensor, weight: Tensor, generator: torch.Generator) -> None:
    before = image.clone(), weight.clone()
    disturb.adjust_exposure(image, torch.ones(2))
    disturb.adjust_tone_curve(image, torch.tensor([[1.2, 0.3, 0.0, 1.0]] * 2))
    disturb.transfer_histogram(image, weight, image, weight)
    disturb.add_noise(image, torch.full((2,), 0.1), generator)
    disturb.grow_mask(weight, 3)
    assert torch.equal(image, before[0])
    assert torch.equal(weight, before[1])


def test_a_bar_of_levels_survives_jpeg_the_better_the_higher_its_quality() -> None:
    levels = torch.from_numpy(np.linspace(0, 1, 32, dtype=np.float32)).expand(1, 3, 16, 32)
    errors = [(disturb.compress_jpeg(levels, quality) - levels).abs().mean().item() for quality in (1, 50, 100)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1 / 255
