"""The main job, with a mask instead of a network and a harmonizer that only dims."""

import io
import multiprocessing
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hpbnet.affine_grid import AffineGrid
from hpbnet.composition import CutOut
from hpbnet.image import encode_picture, read_picture
from hpbnet.image.picture import to_planes, to_samples
from hpbnet.layers import Layers
from hpbnet.matte import NetworkMatting
from hpbnet.networks.matting import MattingConfig, MattingNetwork
from hpbnet.options import ComposeOptions, VideoOptions
from hpbnet.pipeline import Pipeline, run_steps

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
    with pytest.raises(ValueError, match="no matting network is loaded: give a mask"):
        pipeline(PORTRAIT, BACKGROUND)


def test_transparency_that_leaves_out_next_to_nothing_is_no_mask() -> None:
    class Upper(MattingNetwork):
        def forward(self, portrait: torch.Tensor, previous: torch.Tensor | None = None) -> torch.Tensor:
            logits = torch.full_like(portrait[:, :1], -20.0)
            logits[:, :, : logits.shape[2] // 2] = 20.0
            return logits

    screenshot = np.dstack([PORTRAIT, np.full(PORTRAIT.shape[:2], 255, np.uint8)])
    screenshot[0, 0, 3] = 0  # a round corner
    found = Pipeline(dim, NetworkMatting(Upper(MattingConfig()).eval())).matte(screenshot)
    assert 0.3 < found.alpha.mean() < 0.7 and "almost fully opaque; it was ignored" in found.notices[0]
    assert Pipeline(dim).matte(screenshot).alpha.mean() > 0.99


def test_matting_network_is_used_where_there_is_no_mask() -> None:
    torch.manual_seed(0)
    network = MattingNetwork(MattingConfig(channels=(8, 8, 8, 8, 8), blocks=(0, 1, 1, 1, 1), size=64)).eval()
    cut_out = Pipeline(dim, NetworkMatting(network)).matte(PORTRAIT)
    assert isinstance(cut_out, CutOut) and cut_out.size == (96, 80)
    assert 0 < cut_out.alpha.mean() < 1
    assert Pipeline(dim, NetworkMatting(network))(PORTRAIT, BACKGROUND).image.isfinite().all()


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
    "light": 0.0,
    "lamp": "60,20,#ff8800",
    "exposure": 0.5,
    "warmth": 0.5,
    "light_wrap": 0.7,
    "grain": 0.0,
    "softness": 1.0,
    "shadow": 0.8,  # tests/test_shadow.py: it needs feet
    "person": "2",  # below: it needs two people
}


FINISHES = {"exposure", "warmth", "light_wrap", "grain", "softness"}


def test_every_option_is_exercised() -> None:
    assert CHANGES.keys() == ComposeOptions.__dataclass_fields__.keys()


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - FINISHES - {"person", "shadow"}))
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
    options = ComposeOptions(strength=0.5, size=(64, 64))
    composition = pipeline(PORTRAIT, BACKGROUND, options, mask=MASK)
    assert composition.image.equal(pipeline(PORTRAIT, BACKGROUND, mask=MASK, strength=0.5, size=(64, 64)).image)
    assert pipeline(PORTRAIT, BACKGROUND, options, mask=MASK, strength=0.1).options.strength == 0.1
    with pytest.raises(ValueError, match="strength is 7"):
        pipeline(PORTRAIT, BACKGROUND, options, strength=7)


def two_people() -> np.ndarray:
    mask = np.zeros((96, 160), np.float32)
    mask[30:, 10:50] = 1  # the left one is smaller
    mask[10:, 90:150] = 1
    return mask


@pytest.mark.parametrize(
    ("person", "box"), [("all", (10, 150)), ("largest", (90, 150)), ("1", (10, 50)), (2, (90, 150))]
)
def test_people_are_chosen(pipeline: Pipeline, person: str, box: tuple[int, int]) -> None:
    group = np.full((96, 160, 3), 120, np.uint8)
    alpha = pipeline.matte(group, two_people(), person=person).alpha
    columns = (alpha[0, 0].amax(dim=0) > 0.5).nonzero()
    assert (int(columns[0]), int(columns[-1]) + 1) == box
    whole = pipeline(group, BACKGROUND, mask=two_people()).layers.alpha.mean()
    chosen = pipeline(group, BACKGROUND, mask=two_people(), person=person, scale=0.5).layers.alpha.mean()
    assert whole > 0 and chosen > 0


@pytest.mark.parametrize("person", ["0", "nobody", "-1", "1.5", True])
def test_people_that_cannot_be_meant_are_refused(pipeline: Pipeline, person: object) -> None:
    with pytest.raises(ValueError, match="person is "):
        pipeline(PORTRAIT, BACKGROUND, mask=MASK, person=person)
    with pytest.raises(ValueError, match="there is no person 7: the portrait shows 1"):
        pipeline(PORTRAIT, BACKGROUND, mask=MASK, person=7)


def test_a_hint_keeps_and_removes(pipeline: Pipeline) -> None:
    torch.manual_seed(0)
    network = MattingNetwork(MattingConfig(channels=(8, 8, 8, 8, 8), blocks=(0, 1, 1, 1, 1), size=64)).eval()
    pipeline = Pipeline(dim, NetworkMatting(network))
    hint = np.full((96, 80), 128, np.uint8)
    hint[40:60, 30:50], hint[:20] = 255, 0
    alpha = pipeline.matte(PORTRAIT, hint=hint).alpha[0, 0]
    assert alpha[45:55, 35:45].min() > 0.9 and alpha[:12].max() < 0.1
    glass = np.dstack([np.where(hint == 128, 255, hint)] * 3 + [np.where(hint == 128, 0, 255)]).astype(np.uint8)
    torch.testing.assert_close(pipeline.matte(PORTRAIT, hint=glass).alpha[0, 0], alpha)
    with pytest.raises(ValueError, match="the hint is a coloured picture; expected strokes"):
        pipeline.matte(PORTRAIT, hint=PORTRAIT)
    for useless in (np.full_like(hint, 128), np.zeros_like(hint)):
        with pytest.raises(ValueError, match="the hint marks nothing to keep"):
            pipeline.matte(PORTRAIT, hint=useless)
    with pytest.raises(ValueError, match="the hint is 40x96 px, the portrait 80x96"):
        pipeline.matte(PORTRAIT, hint=hint[:, :40])
    with pytest.raises(ValueError, match="a mask and a hint were given"):
        pipeline.matte(PORTRAIT, mask=MASK, hint=hint)
    with pytest.raises(ValueError, match="takes no hint"):
        Pipeline(dim, lambda portrait: portrait[:, :1]).matte(PORTRAIT, hint=hint)


def test_a_misspelt_option_names_the_one_that_was_meant(pipeline: Pipeline) -> None:
    with pytest.raises(
        ValueError, match="unknown option 'strenght': did you mean 'strength'\\? known are person, size, fit,"
    ):
        pipeline(PORTRAIT, BACKGROUND, mask=MASK, strenght=0.5)
    with pytest.raises(ValueError, match="unknown option 'scale': known are strength, "):
        pipeline.harmonize(PORTRAIT, MASK, scale=0.5)


@pytest.mark.parametrize("options", [{"strength": 0.5}, "mask.png", VideoOptions()])
def test_options_of_another_kind_are_refused(pipeline: Pipeline, options: object) -> None:
    with pytest.raises(ValueError, match=r"options is a \w+; expected a ComposeOptions; give a mask as mask="):
        pipeline(PORTRAIT, BACKGROUND, options)  # type: ignore[arg-type]


def test_colours_are_clamped_once() -> None:
    halved = Pipeline(lambda layers: AffineGrid.uniform(torch.eye(3, 4)[None] * 2.0))  # over white, then darker again
    bright = np.full_like(PORTRAIT, 200)
    darker = halved(bright, BACKGROUND, mask=MASK, exposure=-2.2, light=0)
    inside = darker.layers.alpha[0, 0] == 1
    torch.testing.assert_close(darker.image[0, :, inside], torch.full_like(darker.image[0, :, inside], 200 / 255))


def test_a_ready_composite_is_untouched_where_nothing_is_asked_for() -> None:
    grainy = GENERATOR.integers(0, 256, (200, 240, 3), dtype=np.uint8)
    grainy[80:160, 60:180] = 128
    mask = np.zeros((200, 240), np.float32)
    mask[80:160, 60:180] = 1
    pipeline = Pipeline.from_pretrained("none", matting=None)
    assert pipeline.harmonize(grainy, mask, light=0).image.equal(to_planes(grainy))
    assert not pipeline.harmonize(grainy, mask, light=0, grain=1.0).image.equal(to_planes(grainy))


def test_what_shows_nobody_never_passes(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="the mask shows nobody: it is nowhere more than 17% opaque or white"):
        pipeline(PORTRAIT, BACKGROUND, mask=MASK * 0.17)
    ghost = np.dstack([PORTRAIT, np.rint(MASK * 100).astype(np.uint8)])
    with pytest.raises(ValueError, match="the portrait's transparency shows nobody"):
        pipeline(ghost, BACKGROUND)


def test_results_show_themselves_in_a_notebook(pipeline: Pipeline) -> None:
    composition, cut_out = pipeline(PORTRAIT, BACKGROUND, mask=MASK), pipeline.matte(PORTRAIT, MASK)
    assert composition.to_pil().size == (120, 72) and cut_out.to_pil().mode == "RGBA"
    assert (np.asarray(composition.to_pil()) == to_samples(composition.image)).all()
    for result, mode in ((composition, "RGB"), (cut_out, "RGBA")):
        assert Image.open(io.BytesIO(result._repr_png_())).mode == mode


def test_answers_that_are_not_finite_are_refused() -> None:
    broken = Pipeline(lambda layers: AffineGrid.uniform(torch.full((1, 3, 4), torch.nan)))
    with pytest.raises(ValueError, match="the harmonizer's answer holds numbers that are not finite"):
        broken(PORTRAIT, BACKGROUND, mask=MASK)
    with pytest.raises(ValueError, match="the matting network's answer holds numbers that are not finite"):
        Pipeline(dim, lambda portrait: portrait[:, :1] * torch.nan).matte(PORTRAIT)


def test_threads_share_one_pipeline() -> None:
    pipeline = Pipeline.from_pretrained(matting=None)
    portraits = [np.roll(PORTRAIT, shift, axis=1) for shift in range(24)]

    def compose(portrait: np.ndarray) -> torch.Tensor:
        return pipeline(portrait, BACKGROUND, mask=MASK).image

    expected = [compose(portrait) for portrait in portraits]
    with ThreadPoolExecutor(8) as threads:
        for image, other in zip(threads.map(compose, portraits), expected, strict=True):
            torch.testing.assert_close(image, other, rtol=0, atol=1e-6)


def _composed_in_child(results: "multiprocessing.Queue[float]") -> None:
    results.put(float(Pipeline.from_pretrained()(PORTRAIT, BACKGROUND, mask=MASK).image.mean()))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_process_composes_too(method: str) -> None:
    expected = float(Pipeline.from_pretrained()(PORTRAIT, BACKGROUND, mask=MASK).image.mean())
    context = multiprocessing.get_context(method)
    results: multiprocessing.Queue[float] = context.Queue()
    child = context.Process(target=_composed_in_child, args=(results,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forking a process with threads
        child.start()
    assert results.get(timeout=60) == pytest.approx(expected, abs=1e-5)
    child.join(10)


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
    assert "The background's transparency was ignored." in pipeline(PORTRAIT, glass, mask=MASK).notices


def test_ready_composite_is_harmonized_inside_its_mask_only(pipeline: Pipeline) -> None:
    composition = pipeline.harmonize(PORTRAIT, MASK)
    image, before = composition.image[0], to_planes(PORTRAIT)[0]
    assert image[:, MASK == 0].equal(before[:, MASK == 0])
    assert image[:, MASK == 1].mean() < before[:, MASK == 1].mean()


def test_bad_sources_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="the portrait is 4x4 px; at least 16x16 are needed"):
        pipeline(PORTRAIT[:4, :4], BACKGROUND, mask=MASK)
    with pytest.raises(ValueError, match="the mask is 40x96 px, the portrait 80x96; they must be the same size"):
        pipeline(PORTRAIT, BACKGROUND, mask=MASK[:, :40])
    with pytest.raises(ValueError, match="the mask shows nobody"):
        pipeline.harmonize(PORTRAIT, MASK * 0)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match="covariance"):
        Pipeline.from_pretrained(harmonizer="magic", matting=None)
    with pytest.raises(ValueError, match="unknown matting network 'magic'"):
        Pipeline.from_pretrained(matting="magic")


def test_work_can_be_stopped_between_its_steps() -> None:
    asked: list[Layers] = []

    def harmonizer(layers: Layers) -> AffineGrid:
        asked.append(layers)
        return AffineGrid.identity()

    pipeline, mask = Pipeline(harmonizer), np.zeros((40, 40), np.uint8)
    mask[10:, 10:30] = 255
    picture = np.full((40, 40, 3), 90, np.uint8)
    whole = run_steps(pipeline.steps(picture, picture, ComposeOptions(), mask))
    assert torch.equal(whole.image, pipeline(picture, picture, mask=mask).image)
    taken = 0

    def stop() -> None:
        nonlocal taken
        taken += 1
        if taken == 3:
            raise TimeoutError

    asked.clear()
    with pytest.raises(TimeoutError):
        run_steps(pipeline.steps(picture, picture, ComposeOptions(), mask), stop)
    assert not asked
