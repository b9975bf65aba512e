"""Tests of Eq. (3)."""

import pytest
import torch

from hpbnet.color_temperature import match_color_temperature


def half_mask(size: int = 8) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size)
    mask[..., : size // 2] = 1
    return mask


def test_the_ratio_of_background_sums_multiplies_the_whole_picture() -> None:
    composite = torch.full((1, 3, 8, 8), 0.6)
    painted = torch.tensor([0.3, 0.6, 0.4]).view(1, 3, 1, 1).expand(1, 3, 8, 8).clone()
    painted[..., :4] = 0.1
    matched = match_color_temperature(painted, composite, half_mask())
    assert torch.allclose(matched[0, :, 0, 7], torch.full((3,), 0.6))
    assert torch.allclose(matched[0, :, 0, 0], torch.tensor([0.2, 0.1, 0.15]))


def test_a_cast_over_the_whole_picture_is_undone(generator: torch.Generator) -> None:
    composite = torch.rand(2, 3, 16, 16, generator=generator)
    cast = torch.tensor([0.8, 1.0, 1.2]).view(1, 3, 1, 1)
    mask = torch.rand(2, 1, 16, 16, generator=generator)
    assert torch.allclose(match_color_temperature(composite * cast, composite, mask), composite, atol=1e-5)


def test_the_foreground_is_no_evidence(generator: torch.Generator) -> None:
    composite = torch.rand(1, 3, 8, 8, generator=generator)
    painted = composite.clone()
    painted[..., :4] *= 0.5
    assert torch.allclose(match_color_temperature(painted, composite, half_mask()), painted)


@pytest.mark.parametrize("nothing", ["background", "painted light", "true light"])
def test_without_evidence_the_picture_is_left_as_it_is(nothing: str, generator: torch.Generator) -> None:
    composite, painted = torch.rand(2, 1, 3, 8, 8, generator=generator)
    mask = half_mask()
    if nothing == "background":
        mask = torch.ones(1, 1, 8, 8)
    elif nothing == "painted light":
        painted = painted * mask
    else:
        composite = composite * mask
    matched = match_color_temperature(painted, composite, mask)
    assert torch.equal(matched, painted)
