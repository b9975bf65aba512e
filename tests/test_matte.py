"""Matting at full size: refinement, edge colours, errors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpbnet.matte import (
    NetworkMatting,
    check_coverage,
    estimate_alpha,
    estimate_foreground,
    keep_people,
    matte,
    matte_notices,
    refine_alpha,
    shrink,
)
from hpbnet.matte.looks import Look, enlarged, find_windows, look, look_at_edge


class Disc(nn.Module):
    """A stand-in for the network: white things are people."""

    config = SimpleNamespace(size=64)
    stride = 32

    def forward(self, portrait: Tensor, previous: Tensor | None = None) -> Tensor:
        return (portrait.mean(dim=1, keepdim=True) - 0.5) * 40


def disc(size: int, softness: float = 2.0) -> Tensor:
    """A soft disc [1,1,S,S] over the middle."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    radius = ((y - size / 2) ** 2 + (x - size / 2) ** 2).sqrt()
    return ((size / 3 - radius) / softness + 0.5).clamp(0, 1)[None, None]


def test_shrink_keeps_the_aspect_in_multiples() -> None:
    assert shrink(torch.rand(1, 3, 533, 400), 320, 32).shape == (1, 3, 320, 256)
    assert shrink(torch.rand(1, 3, 9, 4000), 320, 32).shape == (1, 3, 32, 320)


def test_alpha_comes_at_the_size_of_the_portrait() -> None:
    portrait = disc(300).expand(1, 3, 300, 300).contiguous()
    alpha = estimate_alpha(Disc(), portrait)
    assert alpha.shape == (1, 1, 300, 300)
    assert (alpha - disc(300)).abs().mean() < 0.01


def test_refinement_follows_the_edges_of_the_portrait() -> None:
    truth = disc(512)
    portrait = truth * torch.tensor([0.8, 0.3, 0.2]).view(1, 3, 1, 1) + (1 - truth) * 0.1
    small = torch.nn.functional.interpolate(portrait, (128, 128), mode="area")
    coarse = torch.nn.functional.interpolate(truth, (128, 128), mode="area")
    refined = refine_alpha(coarse, small, portrait)
    plain = torch.nn.functional.interpolate(coarse, (512, 512), mode="bilinear")
    assert (refined - truth).abs().mean() < 0.5 * (plain - truth).abs().mean()


def test_refinement_keeps_hair_that_colours_do_not_explain() -> None:
    generator = torch.Generator().manual_seed(2)
    truth, portrait = (
        torch.nn.functional.interpolate(torch.rand(1, planes, 64, 64, generator=generator), (512, 512), mode="bicubic")
        for planes in (1, 3)
    )
    small, coarse = (torch.nn.functional.interpolate(image, (128, 128), mode="area") for image in (portrait, truth))
    refined = refine_alpha(coarse, small, portrait)
    again = torch.nn.functional.interpolate(refined, (128, 128), mode="area")
    assert (again - coarse.clamp(0, 1)).abs().mean() < 0.03  # 0.11 by the guided filter alone


def test_opaque_pixels_keep_their_colours_to_the_bit() -> None:
    portrait, alpha = torch.rand(1, 3, 96, 96), disc(96)
    foreground = estimate_foreground(portrait, alpha)
    opaque = (alpha == 1).expand_as(portrait)
    assert torch.equal(foreground[opaque], portrait[opaque])


def test_the_old_background_does_not_shine_through_soft_edges() -> None:
    alpha = disc(128, softness=14)
    own, old = torch.tensor([0.7, 0.3, 0.2]).view(1, 3, 1, 1), torch.tensor([0.1, 0.9, 0.2]).view(1, 3, 1, 1)
    portrait = alpha * own + (1 - alpha) * old
    band = ((alpha > 0.05) & (alpha < 0.95)).expand_as(portrait)
    error = (estimate_foreground(portrait, alpha) - own).abs()[band].mean()
    before = (portrait - own).abs()[band].mean()
    assert error < 0.1 * before


THEIR_ERROR = 0.1099  # mean error of PyMatting 1.1.16 on the picture below


def edge_picture() -> tuple[Tensor, Tensor, Tensor]:
    """Portrait [1,3,160,160], its alpha and the true foreground; a soft disc of random colours over others."""
    alpha = disc(160, softness=20)
    colors = torch.from_numpy(np.random.default_rng(0).random((1, 3, 20, 20), np.float32))
    own = torch.nn.functional.interpolate(colors, (160, 160), mode="bilinear")
    old = torch.nn.functional.interpolate(colors.flip(1, 2), (160, 160), mode="bilinear")
    return alpha * own + (1 - alpha) * old, alpha, own


def error_at_the_edge(foreground: Tensor, alpha: Tensor, truth: Tensor) -> float:
    band = ((alpha > 0.05) & (alpha < 0.95)).expand_as(truth)
    return (foreground - truth).abs()[band].mean().item()


def test_edge_colours_are_as_good_as_multilevel_estimation() -> None:
    portrait, alpha, truth = edge_picture()
    assert error_at_the_edge(estimate_foreground(portrait, alpha), alpha, truth) < 1.25 * THEIR_ERROR


def test_the_error_of_multilevel_estimation_is_pymattings() -> None:
    pymatting = pytest.importorskip("pymatting", reason="not in the extra dev: it compiles for most of a minute")
    portrait, alpha, truth = edge_picture()
    theirs = pymatting.estimate_foreground_ml(
        portrait[0].permute(1, 2, 0).double().numpy(), alpha[0, 0].double().numpy()
    )
    foreground = torch.from_numpy(theirs).permute(2, 0, 1)[None]
    assert error_at_the_edge(foreground, alpha, truth) == pytest.approx(THEIR_ERROR, rel=0.01)


@pytest.mark.parametrize(("value", "words"), [(0.0, "no person"), (1.0, "no background")])
def test_an_empty_or_full_matte_asks_for_a_mask(value: float, words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words}.*give a mask"):
        check_coverage(torch.full((1, 1, 8, 8), value))


def test_matte_raises_where_there_is_nobody() -> None:
    with pytest.raises(ValueError, match="no person"):
        matte(NetworkMatting(Disc()), torch.zeros(1, 3, 64, 64))


def test_the_same_portrait_gives_the_same_bits() -> None:
    portrait = torch.rand(1, 3, 100, 80).round(decimals=3)
    assert torch.equal(estimate_alpha(Disc(), portrait), estimate_alpha(Disc(), portrait))


@pytest.mark.parametrize("tall", [False, True])
def test_a_person_in_a_long_picture_is_found(tall: bool) -> None:
    portrait = torch.zeros(1, 3, 96, 1500)
    portrait[..., 1000:1096] = disc(96)
    truth = portrait[:, :1]
    if tall:
        portrait, truth = portrait.transpose(2, 3).contiguous(), truth.transpose(2, 3)
    alpha = estimate_alpha(Disc(), portrait)
    assert alpha.shape == truth.shape and (alpha - truth).abs().mean() < 0.01


def test_a_long_picture_without_anybody_in_its_windows_is_looked_at_squeezed() -> None:
    class Whole(Disc):
        """Finds people in squares only."""

        def forward(self, portrait: Tensor, previous: Tensor | None = None) -> Tensor:
            square = portrait.shape[2] == portrait.shape[3]
            return super().forward(portrait) if square else torch.full_like(portrait[:, :1], -40.0)

    stretched = torch.nn.functional.interpolate(disc(96), (96, 900), mode="bilinear").expand(1, 3, 96, 900)
    assert estimate_alpha(Whole(), stretched.contiguous()).mean() > 0.2


def test_even_the_longest_picture_costs_few_looks_of_bounded_size() -> None:
    looks = []

    class Counting(Disc):
        def forward(self, portrait: Tensor, previous: Tensor | None = None) -> Tensor:
            looks.append(portrait.shape)
            return super().forward(portrait)

    assert estimate_alpha(Counting(), torch.rand(1, 3, 16, 30000)).shape == (1, 1, 16, 30000)
    assert len(looks) <= 4 and max(shape.numel() for shape in looks) <= 3 * 8 * 64 * 64


def small_discs(*centres: int, size: int = 60, height: int = 400, width: int = 600) -> Tensor:
    """White discs [1,3,H,W] around some places of the middle row."""
    portrait = torch.zeros(1, 3, height, width)
    for centre in centres:
        top, left = height // 2 - size // 2, centre - size // 2
        portrait[..., top : top + size, left : left + size] = disc(size)
    return portrait


class Recording(Disc):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, portrait: Tensor, previous: Tensor | None = None, hint: Tensor | None = None) -> Tensor:
        self.shapes.append(tuple(portrait.shape[-2:]))
        seen = super().forward(portrait)
        return seen if hint is None else seen + 60 * hint


def test_small_people_are_looked_at_twice() -> None:
    network, portrait = Recording(), small_discs(150, 450)
    alpha = estimate_alpha(network, portrait)
    assert len(network.shapes) == 3
    assert (alpha - portrait[:, :1]).abs().max() < 0.5 and (alpha - portrait[:, :1]).abs().mean() < 1e-3
    assert alpha[..., :100, :].max() == 0


def test_a_person_who_fills_the_picture_is_looked_at_once_and_at_the_edge_where_there_are_pixels_for_it() -> None:
    for size, shapes in ((127, [(64, 64)]), (128, [(64, 64), (128, 128)]), (300, [(64, 64), (128, 128)])):
        network = Recording()
        estimate_alpha(network, disc(size).expand(1, 3, size, size).contiguous())
        assert network.shapes == shapes


class Contrary(Disc):
    """Says the contrary of what it is told."""

    def forward(self, portrait: Tensor, previous: Tensor | None = None) -> Tensor:
        assert previous is not None
        return (0.5 - previous) * 40


def test_a_look_at_the_edge_changes_nothing_away_from_it() -> None:
    portrait = disc(300).expand(1, 3, 300, 300).contiguous()
    seen = look(Disc(), portrait, (0, 0, 300, 300), (64, 64))
    closer = look_at_edge(Contrary(), seen)
    before = torch.nn.functional.interpolate(seen.alpha, scale_factor=2.0, mode="bilinear")
    soft = torch.nn.functional.interpolate(((seen.alpha > 0.03) & (seen.alpha < 0.97)).float(), scale_factor=2.0)
    near = torch.nn.functional.max_pool2d(soft, 17, 1, 8) > 0
    assert closer.small.shape == (1, 3, 128, 128) and 0.05 < near.float().mean() < 0.6
    assert torch.equal(closer.alpha[~near], before[~near])
    assert (closer.alpha - before)[soft > 0].abs().max() > 0.2
    assert closer.alpha.min() >= 0 and closer.alpha.max() <= 1


def test_a_look_that_is_not_sure_of_people_is_not_made_surer() -> None:
    portrait = (0.48 + 0.04 * disc(300)).expand(1, 3, 300, 300).contiguous()
    seen = look(Disc(), portrait, (0, 0, 300, 300), (64, 64))
    assert 0.5 < seen.alpha.max() < 0.9 and look_at_edge(Contrary(), seen) is seen


def test_a_look_at_the_edge_keeps_what_a_hint_changed() -> None:
    portrait = disc(300).expand(1, 3, 300, 300).contiguous()
    plain = look(Disc(), portrait, (0, 0, 300, 300), (64, 64))
    hinted = plain.alpha.clone()
    hinted[..., :32] = 0.4
    mended = look_at_edge(Contrary(), plain._replace(alpha=hinted, alone=plain.alpha))
    without = look_at_edge(Contrary(), plain)
    assert (mended.alpha[..., :62] - 0.4).abs().max() < 1e-6
    assert torch.equal(mended.alpha[..., 66:], without.alpha[..., 66:])


def test_parts_are_found_largest_first_and_joined_where_they_overlap() -> None:
    alpha = torch.zeros(1, 1, 100, 200)
    alpha[..., 40:60, 20:40] = 1
    alpha[..., 20:80, 150:180] = 1
    first, second = find_windows(alpha, (200, 400))
    assert first[1] < 300 and first[3] > 360 and first[0] <= 40 - 15
    assert second[1] < 40 and second[3] > 80
    alpha[..., 40:60, 130:150] = 1
    assert len(find_windows(alpha, (200, 400))) == 2
    assert find_windows(torch.zeros(1, 1, 9, 9), (90, 90)) == []


def test_a_part_grows_where_people_cross_its_border() -> None:
    alpha = torch.zeros(1, 1, 10, 10)
    alpha[..., 3:, 4:6] = 1
    assert enlarged(Look((100, 100, 200, 200), torch.zeros(1, 3, 10, 10), alpha), (400, 400))[:2] == (100, 100)
    assert enlarged(Look((100, 100, 200, 200), torch.zeros(1, 3, 10, 10), alpha), (400, 400))[2] > 240
    assert enlarged(Look((100, 100, 200, 200), torch.zeros(1, 3, 10, 10), alpha), (200, 200)) == (100, 100, 200, 200)


@pytest.mark.parametrize(("value", "expected"), [(1.0, 1.0), (-1.0, 0.0)])
def test_a_hint_mends_what_it_touches_and_nothing_else(value: float, expected: float) -> None:
    portrait = small_discs(150, 450)
    portrait[..., 190:210, 290:310] = 0.4 if value > 0 else 1.0
    hint = torch.zeros(1, 1, 400, 600)
    hint[..., 190:210, 290:310] = value
    before, after = estimate_alpha(Recording(), portrait), estimate_alpha(Recording(), portrait, hint)
    assert (after[..., 195:205, 295:305] - expected).abs().max() < 0.05
    assert (after - before)[..., :220].abs().max() < 0.02 and (after - before)[..., 380:].abs().max() < 0.02


def test_people_are_kept_by_size_or_from_left_to_right() -> None:
    alpha = torch.zeros(1, 1, 100, 300)
    alpha[..., 20:60, 10:40], alpha[..., 10:90, 120:180], alpha[..., 50:53, 250:252] = 1.0, 1.0, 1.0
    alpha[..., 20:60, 40:44] = 0.3  # the soft edge of the first
    assert torch.equal(keep_people(alpha, "all"), alpha)
    assert keep_people(alpha, "largest").sum() == 80 * 60 + 6  # with a speck that is too small for somebody else
    assert keep_people(alpha, 1).sum() == pytest.approx(40 * 30 + 40 * 4 * 0.3)
    assert torch.equal(keep_people(alpha, 2), keep_people(alpha, "largest"))
    with pytest.raises(ValueError, match="no person 3: the portrait shows 2"):
        keep_people(alpha, 3)


def test_a_faint_or_tiny_person_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"greatest alpha 0\.49.*hint"):
        check_coverage(torch.full((1, 1, 8, 8), 0.49))
    tiny = torch.zeros(1, 1, 100, 100)
    tiny[..., :5, :5] = 1
    with pytest.raises(ValueError, match=r"large enough \(0\.2%.*crop"):
        check_coverage(tiny)


def test_a_cut_out_that_is_one_blur_is_noticed() -> None:
    assert matte_notices(disc(100)) == ()
    (notice,) = matte_notices(disc(100) * 0.6)
    assert "half transparent" in notice and "hint" in notice
