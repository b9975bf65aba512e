"""Our own networks: shapes, neutral starts, independence of the batch."""

import pytest
import torch

from hpbnet.networks.change import apply_change
from hpbnet.networks.harmonizer import HarmonizerConfig, HarmonizerNetwork, moments, statistics, tone_change
from hpbnet.networks.matting import NO_PREVIOUS, MattingConfig, MattingNetwork, grow

TINY = HarmonizerConfig(channels=(8, 8, 8, 8), code=8, size=64)
REFINED = HarmonizerConfig(channels=(8, 8, 8, 8), fine=(8, 4), code=8, size=64)


def pair(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, 64, 64, generator=generator), torch.rand(batch, 1, 64, 64, generator=generator)


def test_matting_gives_logits_at_the_input_size() -> None:
    network = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4)))
    assert network(torch.rand(2, 3, 64, 96)).shape == (2, 1, 64, 96)


def test_matting_without_a_previous_matte_is_matting_told_there_is_none() -> None:
    network = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4))).eval()
    portrait = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(portrait), network(portrait, torch.full((1, 1, 64, 64), NO_PREVIOUS)))


def test_matting_without_a_hint_is_matting_told_nothing() -> None:
    network = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4))).eval()
    portrait = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(portrait), network(portrait, hint=torch.zeros(1, 1, 64, 64)))


def test_a_grown_network_says_what_the_smaller_one_said() -> None:
    torch.manual_seed(0)
    small = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4), blocks=(0, 1, 1, 1, 1))).eval()
    large = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4), blocks=(0, 1, 2, 3, 4))).eval()
    portrait, hint = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    tensors = {name: value.clone() for name, value in small.state_dict().items()}
    tensors["stem.0.weight"] = tensors["stem.0.weight"][:, :16]  # as it was before there were hints
    grow(large, tensors)
    grow(small, tensors)
    assert torch.equal(large(portrait, hint=hint), small(portrait))


@pytest.mark.parametrize(("config", "side"), [(TINY, 16), (REFINED, 64)])
def test_an_untrained_harmonizer_changes_nothing(config: HarmonizerConfig, side: int) -> None:
    said = HarmonizerNetwork(config)(*pair(2))
    assert said.matrix.shape == (2, 3, 4, 1, side, side)
    assert torch.equal(said.matrix, torch.eye(3, 4).view(1, 3, 4, 1, 1, 1).expand_as(said.matrix))
    assert said.confidence.shape == said.log_error.shape == (2,)


def test_confidence_shrinks_the_matrix_towards_identity() -> None:
    said = HarmonizerNetwork(TINY)(*pair(1))
    bold = said._replace(change=torch.ones(1, 12, 2, 2), confidence=torch.tensor([0.25]))
    assert torch.allclose(bold.matrix[0, :, :, 0, 0, 0], torch.eye(3, 4) + 0.25)


@pytest.mark.parametrize("config", [TINY, REFINED])
def test_a_batch_of_two_says_what_two_singles_say(config: HarmonizerConfig) -> None:
    network = HarmonizerNetwork(config).eval()
    torch.nn.init.normal_(network.local_head.weight, std=0.1)
    composite, mask = pair(2)
    together = network(composite, mask).matrix
    for index in range(2):
        alone = network(composite[index : index + 1], mask[index : index + 1]).matrix
        assert (together[index] - alone[0]).abs().max() < 1e-4


def test_a_map_is_refined_from_the_deepest_scale_to_the_finest() -> None:
    network = HarmonizerNetwork(REFINED).eval()
    torch.nn.init.normal_(network.coarse_heads[0].weight, std=0.1)
    answer = network(*pair(1))
    assert [change.shape[-1] for change in answer.coarser] == [2, 4, 8, 16, 32]
    enlarged = torch.nn.functional.interpolate(answer.coarser[1], scale_factor=2.0, mode="bilinear")
    assert torch.equal(enlarged, answer.coarser[2])  # the other heads still add nothing
    assert answer.change.abs().max() > 0


def test_the_answer_to_the_mirror_image_is_the_mirrored_answer() -> None:
    network = HarmonizerNetwork(REFINED).eval()
    torch.nn.init.normal_(network.local_head.weight, std=0.1)
    composite, mask = pair(1)
    answer, mirrored = network.judge(composite, mask), network.judge(composite.flip(3), mask.flip(3))
    assert (answer.change - mirrored.change.flip(3)).abs().max() < 1e-5


def toned(picture: torch.Tensor, *tones: float) -> torch.Tensor:
    """Change a picture by the numbers that reach the hyperbolic tangent as `tones`."""
    mean, _ = moments(picture, torch.ones_like(picture[:, :1]))
    change = tone_change(torch.tensor([tones]).atanh(), mean)
    return picture + apply_change(change.view(1, 12, 1, 1), picture)


def test_exposure_and_white_balance_are_factors() -> None:
    picture, _ = pair(1)
    factors = torch.tensor([0.3, 0.0, 0.0]).exp().view(1, 3, 1, 1)  # 0.1 of all, and 0.2, -0.1, -0.1 of R, G, B
    assert (toned(picture, 0.1, 0.3, 0.0, 0.0, 0.0, 0.0) - picture * factors).abs().max() < 1e-5


def test_saturation_scales_the_distance_from_grey_and_keeps_it() -> None:
    picture, luma = pair(1)[0], torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
    grey, factor = (picture * luma).sum(dim=1, keepdim=True), torch.tensor(0.5).exp()
    assert (toned(picture, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0) - (grey + factor * (picture - grey))).abs().max() < 1e-5


def test_contrast_keeps_the_mean_luma() -> None:
    picture, luma = pair(1)[0], torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
    before, after = ((image * luma).sum(dim=1) for image in (picture, toned(picture, 0.0, 0.0, 0.0, 0.0, 0.0, -0.5)))
    assert (after.mean() - before.mean()).abs() < 1e-5
    assert (after.std() / before.std()).item() == pytest.approx(torch.tensor(-0.5).exp().item(), abs=1e-5)


def test_moments_ignore_what_the_mask_leaves_out() -> None:
    image = torch.cat([torch.full((1, 1, 4, 2), 0.25), torch.full((1, 1, 4, 2), 9.0)], dim=3)
    weight = torch.cat([torch.ones(1, 1, 4, 2), torch.zeros(1, 1, 4, 2)], dim=3)
    mean, deviation = moments(image, weight)
    assert mean.item() == 0.25
    assert deviation.item() < 2e-3


def test_statistics_are_finite_without_foreground_or_background() -> None:
    composite, _ = pair(1)
    for value in (0.0, 1.0):
        assert statistics(composite, torch.full((1, 1, 64, 64), value)).isfinite().all()
