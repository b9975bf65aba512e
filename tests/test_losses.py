"""Tests of training/losses.py."""

import math

import pytest
import torch
from torch import Tensor

from hpbnet.networks.hpbnet import Painted
from hpbnet.training.losses import (
    Perceptual,
    adversarial_loss,
    discriminator_loss,
    fidelity_loss,
    hpbnet_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)


def doubled(image: Tensor) -> list[Tensor]:
    """Stand in for VGG-19."""
    return [image * 2]


def test_equation_1_sums_the_mean_error_of_every_scale() -> None:
    truth = torch.full((2, 3, 16, 16), 0.5)
    images = [torch.full((2, 3, 8, 8), 0.6), torch.full((2, 3, 16, 16), 0.3)]
    terms = fidelity_loss(images, truth, Perceptual(doubled, truth))
    assert terms["l1"].item() == pytest.approx(0.1 + 0.2)
    assert terms["perceptual"].item() == pytest.approx(0.1 * 2 * 0.2)
    assert terms["total"].item() == pytest.approx(0.34)


def test_the_squared_error_of_every_scale_may_be_added() -> None:
    truth = torch.full((2, 3, 16, 16), 0.5)
    images = [torch.full((2, 3, 8, 8), 0.6), torch.full((2, 3, 16, 16), 0.3)]
    terms = fidelity_loss(images, truth, squared_weight=5.0)
    assert terms["squared"].item() == pytest.approx(5 * (0.01 + 0.04))
    assert terms["total"].item() == pytest.approx(0.3 + 0.25)
    both = hpbnet_loss(Painted(images, images), truth, squared_weight=5.0)
    assert both["total"].item() == pytest.approx(2 * 0.55)


def test_truth_is_averaged_down_to_each_scale() -> None:
    truth = torch.zeros(1, 3, 16, 16)
    truth[..., ::2] = 1
    assert fidelity_loss([torch.full((1, 3, 8, 8), 0.5), truth], truth)["total"].item() == 0


def test_features_of_the_truth_are_computed_once_and_without_a_gradient() -> None:
    seen: list[bool] = []

    def watched(image: Tensor) -> list[Tensor]:
        seen.append(torch.is_grad_enabled())
        return [image]

    truth = torch.rand(1, 3, 8, 8)
    hpbnet_loss(Painted([truth], [truth]), truth, Perceptual(watched, truth))
    assert seen == [False, True, True]


def test_adversarial_forms_agree_with_the_formulas() -> None:
    logits = torch.tensor([[0.0], [2.0]])
    softplus = [math.log(2), math.log(1 + math.exp(2))]
    assert adversarial_loss(logits, "printed").item() == pytest.approx(-sum(softplus) / 2)
    assert adversarial_loss(logits).item() == pytest.approx((softplus[0] + softplus[1] - 2) / 2)


def test_both_adversarial_forms_raise_the_logits_and_only_the_printed_one_saturates() -> None:
    gradients = []
    for form in ("non-saturating", "printed"):
        logits = torch.tensor([[-10.0]], requires_grad=True)
        adversarial_loss(logits, form).backward()  # type: ignore[arg-type]
        assert logits.grad is not None and logits.grad < 0
        gradients.append(-logits.grad.item())
    assert gradients[0] > 0.999 and gradients[1] < 1e-4


def test_equation_4_adds_both_halves_and_the_adversary() -> None:
    truth = torch.full((1, 3, 8, 8), 0.5)
    painted = Painted(estimates=[truth + 0.1], images=[truth - 0.2])
    terms = hpbnet_loss(painted, truth, Perceptual(doubled, truth), logits=torch.zeros(1, 1))
    expected = {"unet_l1": 0.1, "unet_perceptual": 0.02, "generator_l1": 0.2, "generator_perceptual": 0.04}
    expected["adversarial"] = 0.1 * math.log(2)
    assert {name: value.item() for name, value in terms.items() if name != "total"} == pytest.approx(expected, rel=1e-5)
    assert terms["total"].item() == pytest.approx(sum(expected.values()), rel=1e-5)


def test_unet_only_has_no_generator_terms() -> None:
    truth = torch.rand(1, 3, 8, 8)
    assert set(hpbnet_loss(Painted([truth], []), truth)) == {"unet_l1", "total"}


def test_discriminator_loss_is_two_log_two_for_a_blind_one() -> None:
    terms = discriminator_loss(torch.zeros(3, 1), torch.zeros(3, 1))
    assert terms["total"].item() == pytest.approx(2 * math.log(2))


def test_r1_of_a_linear_critic_is_half_gamma_times_its_squared_weights() -> None:
    weight = torch.randn(3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    logits = (images * weight).sum(dim=(1, 2, 3))[:, None]
    assert r1_penalty(logits, images, gamma=10.0).item() == pytest.approx(5 * weight.square().sum().item(), rel=1e-5)


def test_path_length_of_a_linear_generator_is_the_norm_of_its_projection() -> None:
    jacobian = torch.randn(7, 3 * 4 * 4)
    ws = torch.randn(2, 1, 7, requires_grad=True)
    images = (ws[:, 0] @ jacobian).view(2, 3, 4, 4)
    lengths = path_lengths(images, ws, torch.Generator().manual_seed(0))
    direction = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) / 4
    expected = (direction.flatten(1) @ jacobian.T).norm(dim=1)
    assert torch.allclose(lengths, expected, rtol=1e-4)
    assert path_length_penalty(lengths, lengths.mean() - 1).item() == pytest.approx(
        2 * ((lengths - lengths.mean() + 1) ** 2).mean().item()
    )
