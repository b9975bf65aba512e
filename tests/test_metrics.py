"""Metrics against published values and independent implementations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from hpbnet import metrics
from hpbnet.networks import perceptual

# Sharma, Wu and Dalal 2005, Table 1: L, a, b of both colours and their CIEDE2000 difference.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    truth = torch.rand(2, 3, 40, 48, generator=generator)
    output = (truth + 0.2 * torch.randn(2, 3, 40, 48, generator=generator)).clamp(0, 1)
    return output, truth, torch.rand(2, 1, 40, 48, generator=generator)


def pixels(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


def test_mse_and_psnr_agree_with_scikit_image(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    output, truth, _ = pair
    for index in range(2):
        a, b = pixels(output[index]) * 255, pixels(truth[index]) * 255
        assert metrics.mse(output, truth)[index].item() == pytest.approx(mean_squared_error(b, a), rel=1e-5)
        expected = peak_signal_noise_ratio(b, a, data_range=255)
        assert metrics.psnr(output, truth)[index].item() == pytest.approx(expected, rel=1e-5)


def test_mse_of_the_paper_gives_its_psnr_only_roughly() -> None:
    """2711.10 corresponds to 13.80 dB: the paper's 14.50 is a mean of PSNRs, not the PSNR of a mean."""
    assert metrics.psnr_from_mse(torch.tensor([2711.10])).item() == pytest.approx(13.80, abs=0.01)


def test_psnr_is_capped_at_fifty_decibels() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert metrics.psnr(image, image).item() == pytest.approx(50.0)
    assert metrics.psnr_from_mse(torch.tensor([0.6503])).item() == pytest.approx(50.0, abs=1e-3)


def test_fmse_sees_only_the_foreground(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    output, truth, _ = pair
    mask = torch.zeros(2, 1, 40, 48)
    mask[:, :, 10:20, 5:25] = 1
    inside = mean_squared_error(pixels(truth[0])[10:20, 5:25] * 255, pixels(output[0])[10:20, 5:25] * 255)
    assert metrics.fmse(output, truth, mask)[0].item() == pytest.approx(inside, rel=1e-5)
    assert metrics.fpsnr(output, truth, mask)[0].item() == pytest.approx(10 * np.log10(255**2 / inside), rel=1e-5)


def test_fmse_is_the_published_formula_for_a_soft_mask(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    output, truth, mask = pair
    soft, squared = pixels(mask[0]), (pixels(output[0]) * 255 - pixels(truth[0]) * 255) ** 2
    expected = (soft * squared).sum() / (3 * soft.sum())
    assert metrics.fmse(output, truth, mask)[0].item() == pytest.approx(expected, rel=1e-5)


def test_whole_picture_error_is_the_foreground_error_times_its_share_where_the_background_is_untouched() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[:, :, :5] = 1
    truth = torch.rand(1, 3, 20, 20)
    output = truth + 0.1 * mask
    torch.testing.assert_close(metrics.mse(output, truth), metrics.fmse(output, truth, mask) * 0.25)


def test_ssim_agrees_with_scikit_image(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    output, truth, mask = pair
    for index in range(2):
        expected, full = structural_similarity(
            pixels(truth[index]), pixels(output[index]), data_range=1.0, channel_axis=2,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
        )  # fmt: skip
        assert metrics.ssim(output, truth)[index].item() == pytest.approx(expected, abs=1e-5)
        weight = pixels(mask[index])[5:-5, 5:-5, 0]
        expected = (full.mean(axis=2)[5:-5, 5:-5] * weight).sum() / weight.sum()
        assert metrics.fssim(output, truth, mask)[index].item() == pytest.approx(expected, abs=1e-5)


def test_ciede2000_gives_the_published_differences() -> None:
    rows = torch.tensor([[float(x) for x in line.split()] for line in SHARMA.split("\n") if line], dtype=torch.float64)
    first, second = rows[:, :3].T.view(1, 3, -1, 1), rows[:, 3:6].T.view(1, 3, -1, 1)
    expected = rows[:, 6].view(1, 1, -1, 1)
    torch.testing.assert_close(metrics.ciede2000(first, second), expected, atol=5e-5, rtol=0)
    torch.testing.assert_close(metrics.ciede2000(second, first), expected, atol=5e-5, rtol=0)


def test_ciede2000_agrees_with_scikit_image_on_random_colours(generator: torch.Generator) -> None:
    span = torch.tensor([100.0, 160.0, 160.0]).view(1, 3, 1, 1)
    shift = torch.tensor([0.0, 80.0, 80.0]).view(1, 3, 1, 1)
    a, b = (torch.rand(1, 3, 30, 30, generator=generator) * span - shift for _ in range(2))
    expected = torch.from_numpy(deltaE_ciede2000(pixels(a[0]), pixels(b[0])))
    torch.testing.assert_close(metrics.ciede2000(a, b)[0, 0].double(), expected, atol=2e-3, rtol=1e-4)
    assert metrics.mean_ciede2000(a, b, torch.ones(1, 1, 30, 30)).item() == pytest.approx(expected.mean().item())


def test_lightness_and_chroma_errors_are_told_apart() -> None:
    lab = torch.tensor([50.0, 10.0, -10.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    mask = torch.ones(1, 1, 8, 8)
    darker = lab - torch.tensor([7.0, 0.0, 0.0]).view(1, 3, 1, 1)
    warmer = lab + torch.tensor([0.0, 3.0, 4.0]).view(1, 3, 1, 1)
    assert metrics.lightness_error(darker, lab, mask).item() == pytest.approx(7)
    assert metrics.chroma_error(darker, lab, mask).item() == 0
    assert metrics.lightness_error(warmer, lab, mask).item() == 0
    assert metrics.chroma_error(warmer, lab, mask).item() == pytest.approx(5)


def test_lpips_is_the_published_formula_worked_by_hand() -> None:
    """Two pixels, two channels: unit vectors differ by (1,-1) at the first pixel, by nothing at the second."""
    output = torch.tensor([[3.0, 2.0], [0.0, 2.0]]).view(1, 2, 1, 2)
    truth = torch.tensor([[0.0, 1.0], [5.0, 1.0]]).view(1, 2, 1, 2)
    head = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    assert metrics.lpips([output], [truth], [head]).item() == pytest.approx((0.5 + 0.25) / 2)
    assert metrics.lpips([output, output], [truth, truth], [head, 2 * head]).item() == pytest.approx(3 * 0.375)


def test_lpips_agrees_with_an_evaluation_in_numpy(generator: torch.Generator) -> None:
    a, b = (torch.randn(2, 8, 5, 6, generator=generator) for _ in range(2))
    head = torch.rand(1, 8, 1, 1, generator=generator)
    x, y = a.double().numpy(), b.double().numpy()
    unit_x, unit_y = (z / (np.sqrt((z**2).sum(1, keepdims=True)) + 1e-10) for z in (x, y))
    expected = (head.double().numpy() * (unit_x - unit_y) ** 2).sum(1).mean((1, 2))
    np.testing.assert_allclose(metrics.lpips([a], [b], [head]).numpy(), expected, rtol=1e-5)


def test_dists_is_the_published_formula_worked_by_hand() -> None:
    """One channel: means 1 and 2, variances 1 and 4, covariance 2 give texture 4/5 and structure 4/5."""
    x, y = torch.tensor([0.0, 2.0]).view(1, 1, 1, 2), torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    alpha, beta = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), 3.0)
    assert metrics.dists([x], [y], alpha, beta).item() == pytest.approx(1 - 0.8, abs=1e-5)
    y = torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)  # mean 2, variance 1, covariance -1: structure -1, texture 4/5
    assert metrics.dists([x], [y], alpha, beta).item() == pytest.approx(1 - (0.25 * 0.8 - 0.75), abs=1e-5)


def test_dists_weights_fit_the_stack_and_equal_pictures_are_at_zero(shared: Path) -> None:
    weights = torch.load(shared / "weights/dists.pt", weights_only=True)
    with torch.no_grad():
        features = perceptual.vgg16_dists()(torch.rand(1, 3, 64, 64))
        assert metrics.dists(features, features, weights["alpha"], weights["beta"]).item() == pytest.approx(0, abs=1e-4)


def test_harm_is_a_rise_of_more_than_one() -> None:
    before = torch.tensor([100.0, 100.0, 0.0, 5.0])
    after = torch.tensor([101.5, 100.9, 1.1, 0.0])
    assert metrics.harm(after, before).tolist() == [True, False, True, False]


def test_identity_cosine_ignores_length() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    b = torch.tensor([[5.0, 0.0], [-2.0, 2.0]])
    torch.testing.assert_close(metrics.identity_cosine(a, b), torch.tensor([1.0, 0.0]))


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(AssertionError, match="11 pixels"):
        metrics.ssim(torch.rand(1, 3, 8, 20), torch.rand(1, 3, 8, 20))


def test_frechet_distance_of_gaussians_is_the_closed_form(generator: torch.Generator) -> None:
    """Along shared axes it is |difference of means|^2 + sum of (difference of deviations)^2, in whatever rotation."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    a, b = (turn @ torch.diag(torch.tensor(v, dtype=torch.float64) ** 2) @ turn.T for v in ([1, 2, 3], [4, 2, 1]))
    zero, ahead = torch.zeros(3, dtype=torch.float64), turn @ torch.tensor([3.0, 0, 4], dtype=torch.float64)
    assert metrics.frechet_distance(zero, a, ahead, b) == pytest.approx(25 + 9 + 0 + 4)
    assert metrics.frechet_distance(ahead, a, ahead, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_agrees_with_the_root_of_the_product(generator: torch.Generator) -> None:
    """Where the axes differ, the trace of the product's root is the sum of the roots of its eigenvalues."""
    (mean_a, a), (mean_b, b) = (metrics.gaussian(torch.randn(9, 4, generator=generator)) for _ in range(2))
    root = torch.linalg.eigvals(a @ b).real.clamp_min(0).sqrt().sum()
    expected = (mean_a - mean_b).square().sum() + a.trace() + b.trace() - 2 * root
    assert metrics.frechet_distance(mean_a, a, mean_b, b) == pytest.approx(float(expected))
