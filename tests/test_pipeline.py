"""The main job, with a mask instead of a network and a harmonizer that only dims."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from hpbnet.affine_grid import AffineGrid
from hpbnet.harmonize import Painter
from hpbnet.image import encode_picture, read_picture
from hpbnet.image.picture import to_planes, to_samples
from hpbnet.layers import Layers
from hpbnet.networks.hpbnet import Painted
from hpbnet.networks.matting import MattingConfig, MattingNetwork
from hpbnet.options import ComposeOptions
from hpbnet.pipeline import CutOut, Pipeline

GENERATOR = np.random.default_rng(0)
PORTRAIT = GENERATOR.integers(60, 200, (96, 80, 3), dtype=np.uint8)
Y, X = np.mgrid[:96, :80]
MASK = np.clip(20 - 20 * np.hypot((X - 40) / 24, (Y - 70) / 50), 0, 1).astype(np.float32)  # a head with a soft edge
BACKGROUND = GENERATOR.integers(0, 256, (72, 120, 3), dtype=np.uint8)


def dim(layers: Layers) -> AffineGrid:
    return AffineGrid.uniform(torch.eye(3, 4)[None] * 0.5)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(dim)


def test_background_is_untouched_where_alpha_is_zero(pipeline: Pipeline, tmp_path: Path) -> None:
    composition = pipeline(PORTRAIT, BACKGROUND, mask=MASK)
    assert composition.image.shape == (1, 3, 72, 120) and composition.size == (72, 120)
    empty = composition.layers.alpha[0, 0] == 0
    assert 0.2 < empty.float().mean() < 0.9
    assert composition.image[0, :, empty].equal(to_planes(BACKGROUND)[0, :, empty])
    composition.save(tmp_path / "out.png")
    assert (np.asarray(Image.open(tmp_path / "out.png"))[empty] == BACKGROUND[empty]).all()


def test_identical_input_gives_identical_output(pipeline: Pipeline) -> None:
    first, second = (pipeline(PORTRAIT, BACKGROUND, mask=MASK) for _ in range(2))
    assert first.image.equal(second.image)


def test_image_is_the_layers_flattened_and_the_grid_says_how_they_were_recolored(pipeline: Pipeline) -> None:
    composition = pipeline(PORTRAIT, BACKGROUND, mask=MASK)
    assert composition.layers.composite().equal(composition.image)
    plain = pipeline(PORTRAIT, BACKGROUND, mask=MASK, strength=0)
    assert plain.layers.recolor(composition.grid).composite().equal(composition.image)


class Repainting(nn.Module):
    """Paints the composite's mirror image."""

    config = SimpleNamespace(resolution=32, residual=False)

    def forward(self, composite: torch.Tensor, mask: torch.Tensor) -> Painted:
        return Painted([composite.flip(3)], [])


def test_a_painting_networks_own_picture_is_shown_where_asked_for() -> None:
    pipeline = Pipeline(Painter(Repainting()))  # type: ignore[arg-type]
    flat = np.full_like(BACKGROUND, 90)
    flat[:, 60:] = 180
    composition = pipeline.harmonize(flat, np.pad(np.ones((20, 20), np.float32), ((0, 52), (0, 100))), painted=True)
    assert composition.size == composition.image.shape[2:] == (72, 120)
    left, right = composition.image[..., 10:50].mean(), composition.image[..., 70:110].mean()
    assert left == pytest.approx(180 / 255, abs=0.05) and right == pytest.approx(90 / 255, abs=0.05)
    assert composition.layers.background.equal(to_planes(flat))
    assert composition.notices == ("shown is the network's own picture, enlarged; strength and finish do not touch it",)
    assert pipeline(PORTRAIT, BACKGROUND, mask=MASK, painted=True).image.shape == (1, 3, 72, 120)


def test_a_harmonizer_that_does_not_paint_has_no_picture_of_its_own(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="this harmonizer has none; choose hpbnet"):
        pipeline.harmonize(PORTRAIT, MASK, painted=True)


def test_strength_goes_from_nothing_to_all(pipeline: Pipeline) -> None:
    means = []
    for strength in (0.0, 0.5, 1.0):
        composition = pipeline(PORTRAIT, BACKGROUND, mask=MASK, strength=strength)
        means.append(composition.image[0, :, composition.layers.alpha[0, 0] == 1].mean().item())
    assert means[1] == pytest.approx(means[0] * 0.75, rel=1e-4) and means[2] == pytest.approx(means[0] * 0.5, rel=1e-4)


def test_sources_of_every_kind_give_the_same_picture(pipeline: Pipeline, tmp_path: Path) -> None:
    Image.fromarray(PORTRAIT).save(tmp_path / "portrait.png")
    (tmp_path / "background.png").write_bytes(encode_picture(to_planes(BACKGROUND)))
    mask = (MASK > 0.5).astype(np.uint8) * np.uint8(255)
    expected = pipeline(PORTRAIT, BACKGROUND, mask=mask).image
    found = pipeline(str(tmp_path / "portrait.png"), (tmp_path / "background.png").read_bytes(), mask=mask > 0).image
    assert found.equal(expected)
    assert pipeline(Image.fromarray(PORTRAIT), tmp_path / "background.png", mask=Image.fromarray(mask)).image.equal(
        found
    )


def test_sources_are_not_changed(pipeline: Pipeline) -> None:
    before = PORTRAIT.copy(), BACKGROUND.copy(), MASK.copy()
    pipeline(PORTRAIT, BACKGROUND, mask=MASK, flip=True, blur=3, exposure=1)
    for array, copy in zip((PORTRAIT, BACKGROUND, MASK), before, strict=True):
        assert (array == copy).all()


def test_portrait_with_transparency_needs_no_mask(pipeline: Pipeline) -> None:
    cut_out = np.dstack([PORTRAIT, np.rint(MASK * 255).astype(np.uint8)])
    assert pipeline(cut_out, BACKGROUND).layers.alpha.mean() > 0.1
    with pytest.raises(ValueError, match="made without matting: give a mask"):
        pipeline(PORTRAIT, BACKGROUND)


def test_transparency_that_leaves_out_next_to_nothing_is_no_mask() -> None:
    class Upper(MattingNetwork):
        def forward(self, portrait: torch.Tensor, previous: torch.Tensor | None = None) -> torch.Tensor:
            logits = torch.full_like(portrait[:, :1], -20.0)
            logits[:, :, : logits.shape[2] // 2] = 20.0
            return logits

    screenshot = np.dstack([PORTRAIT, np.full(PORTRAIT.shape[:2], 255, np.uint8)])
    screenshot[0, 0, 3] = 0  # a round corner
    found = Pipeline(dim, Upper(MattingConfig()).eval()).matte(screenshot)
    assert 0.3 < found.alpha.mean() < 0.7 and "not taken for a mask" in found.notices[0]
    assert Pipeline(dim).matte(screenshot).alpha.mean() > 0.99


def test_matting_network_is_used_where_there_is_no_mask() -> None:
    torch.manual_seed(0)
    network = MattingNetwork(MattingConfig(channels=(8, 8, 8, 8, 8), blocks=(0, 1, 1, 1, 1), size=64)).eval()
    cut_out = Pipeline(dim, network).matte(PORTRAIT)
    assert isinstance(cut_out, CutOut) and cut_out.size == (96, 80)
    assert 0 < cut_out.alpha.mean() < 1
    assert Pipeline(dim, network)(PORTRAIT, BACKGROUND).image.isfinite().all()


def test_cut_out_survives_a_file(pipeline: Pipeline, tmp_path: Path) -> None:
    cut_out = pipeline.matte(PORTRAIT, MASK)
    cut_out.save(tmp_path / "person.png")
    again = pipeline.matte(tmp_path / "person.png")
    torch.testing.assert_close(again.alpha, cut_out.alpha, rtol=0, atol=0.51 / 255)
    torch.testing.assert_close(again.foreground, cut_out.foreground, rtol=0, atol=0.51 / 255)
    cut_out.alpha_only().save(tmp_path / "alpha.png")
    assert np.asarray(Image.open(tmp_path / "alpha.png")).shape == (96, 80)


CHANGES = {
    "size": (60, 50),
    "fit": "contain",
    "blur": 4.0,
    "flip": True,
    "scale": 0.4,
    "x": 0.2,
    "y": 0.8,
    "strength": 0.3,
    "exposure": 0.5,
    "warmth": 0.5,
    "light_wrap": 0.7,
    "grain": 0.0,
    "softness": 1.0,
    "harmonizer": "reinhard",
    "mask": MASK[:, ::-1],
    "matte": "tiny.onnx",  # tests/test_onnx_matting.py
    "painted": True,  # above: it needs a harmonizer that paints
}


FINISHES = {"exposure", "warmth", "light_wrap", "grain", "softness"}


def test_every_option_is_exercised() -> None:
    assert CHANGES.keys() == ComposeOptions.__dataclass_fields__.keys()


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - FINISHES - {"matte", "painted"}))
def test_option_changes_the_picture(pipeline: Pipeline, name: str) -> None:
    base: dict[str, object] = {"mask": MASK} | ({"size": (72, 72)} if name == "fit" else {})
    plain = pipeline(PORTRAIT, BACKGROUND, **base)
    changed = pipeline(PORTRAIT, BACKGROUND, **{**base, name: CHANGES[name]})
    assert changed.image.shape != plain.image.shape or not changed.image.equal(plain.image)
    assert changed.image.isfinite().all() and changed.image.min() >= 0 and changed.image.max() <= 1


@pytest.mark.parametrize("name", sorted(FINISHES))
def test_finishing_changes_the_person_and_not_the_background(pipeline: Pipeline, name: str) -> None:
    portrait, mask = (np.repeat(np.repeat(array, 3, 0), 3, 1) for array in (PORTRAIT // 3 + 60, MASK))
    scene = GENERATOR.integers(120, 256, (240, 300, 3), dtype=np.uint8)  # brighter and noisier than the person
    if name == "softness":
        portrait = np.repeat(np.repeat(PORTRAIT, 3, 0), 3, 1)
        scene = cv2.GaussianBlur(np.repeat(np.repeat(scene[::20, ::20], 20, 0), 20, 1), (0, 0), 2.0)
    plain = pipeline(portrait, scene, mask=mask)
    finished = pipeline(portrait, scene, mask=mask, **{name: CHANGES[name]})
    person, empty = finished.layers.alpha[0, 0] > 0, finished.layers.alpha[0, 0] == 0
    assert not finished.image[0, :, person].equal(plain.image[0, :, person])
    assert finished.image[0, :, empty].equal(to_planes(scene)[0, :, empty])
    assert finished.image.isfinite().all() and finished.image.min() >= 0 and finished.image.max() <= 1


def test_exposure_and_warmth_mean_what_they_say(pipeline: Pipeline) -> None:
    def mean(**options: float) -> torch.Tensor:
        composition = pipeline(PORTRAIT, BACKGROUND, mask=MASK, **options)
        return composition.image[0, :, composition.layers.alpha[0, 0] == 1].mean(dim=1)

    plain = mean()
    assert (mean(exposure=0.5) > plain).all() and (mean(exposure=-0.5) < plain).all()
    warm = mean(warmth=0.5)
    assert warm[0] / warm[2] > plain[0] / plain[2]


def test_options_as_a_value_and_as_keywords_agree(pipeline: Pipeline) -> None:
    options = ComposeOptions(mask=MASK, strength=0.5, size=(64, 64))
    composition = pipeline(PORTRAIT, BACKGROUND, options)
    assert composition.image.equal(pipeline(PORTRAIT, BACKGROUND, mask=MASK, strength=0.5, size=(64, 64)).image)
    assert pipeline(PORTRAIT, BACKGROUND, options, strength=0.1).options.strength == 0.1
    with pytest.raises(ValueError, match="strength is 7"):
        pipeline(PORTRAIT, BACKGROUND, options, strength=7)


def test_sixteen_bits_are_kept_to_the_end(pipeline: Pipeline, tmp_path: Path) -> None:
    wide = GENERATOR.integers(0, 65536, BACKGROUND.shape, dtype=np.uint16)
    composition = pipeline(PORTRAIT, wide, mask=MASK)
    composition.save(tmp_path / "out.png")
    written = read_picture(tmp_path / "out.png")
    empty = composition.layers.alpha[0, 0] == 0
    assert written.depth == 16 and (to_samples(written.pixels, 16)[empty] == wide[empty]).all()
    composition.save(tmp_path / "out.jpg")
    assert read_picture(tmp_path / "out.jpg").depth == 8


def test_layers_are_saved(pipeline: Pipeline, tmp_path: Path) -> None:
    composition = pipeline(PORTRAIT, BACKGROUND, mask=MASK)
    composition.save_layers(tmp_path / "new" / "layers")
    read = {path.stem: path for path in (tmp_path / "new" / "layers").iterdir()}
    assert read.keys() == {"foreground", "alpha", "background", "grid"}
    parts = [read_picture(read[name]).pixels for name in ("foreground", "alpha", "background")]
    again = Layers(parts[0], parts[1][:, :1], parts[2]).composite()
    torch.testing.assert_close(again, composition.image, rtol=0, atol=1.5 / 255)
    assert load_file(read["grid"])["matrix"].equal(composition.grid.matrix)


def test_notices_say_what_the_eye_should_know(pipeline: Pipeline) -> None:
    large = np.repeat(np.repeat(BACKGROUND, 4, 0), 4, 1)
    notices = pipeline(PORTRAIT, large, mask=MASK).notices
    assert any("enlarged" in notice for notice in notices)
    glass = np.dstack([BACKGROUND, BACKGROUND[..., 0]])
    assert "the background's transparency is ignored" in pipeline(PORTRAIT, glass, mask=MASK).notices


def test_ready_composite_is_harmonized_inside_its_mask_only(pipeline: Pipeline) -> None:
    composition = pipeline.harmonize(PORTRAIT, MASK)
    image, before = composition.image[0], to_planes(PORTRAIT)[0]
    assert image[:, MASK == 0].equal(before[:, MASK == 0])
    assert image[:, MASK == 1].mean() < before[:, MASK == 1].mean()


def test_bad_sources_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="the portrait is 4x4 px; at least 16x16 are needed"):
        pipeline(PORTRAIT[:4, :4], BACKGROUND, mask=MASK)
    with pytest.raises(ValueError, match="the mask is 40x96 px, the portrait 80x96; they must agree"):
        pipeline(PORTRAIT, BACKGROUND, mask=MASK[:, :40])
    with pytest.raises(ValueError, match="the mask is all black"):
        pipeline.harmonize(PORTRAIT, MASK * 0)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match="covariance"):
        Pipeline.from_pretrained(harmonizer="magic", matting=None)
    with pytest.raises(ValueError, match="unknown matting network 'magic'"):
        Pipeline.from_pretrained(matting="magic")
