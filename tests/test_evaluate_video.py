"""Steadiness, measured: exact values for the measures, and whole runs on tiny clips."""

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpbnet.cli import main
from hpbnet.evaluation import steadiness
from hpbnet.evaluation.chart import Chart, Curve, draw_charts

pytest.importorskip("av", reason="video needs PyAV")

from hpbnet.evaluation.video import evaluate_video, parse_method, render_steadiness
from hpbnet.options import SteadinessOptions
from hpbnet.video.write import Film, VideoWriter

HEIGHT, WIDTH, FRAMES = 48, 64, 10
TIMES = np.arange(60) / 30


def wave(hertz: float) -> np.ndarray:
    return 100 + 20 * np.sin(2 * np.pi * hertz * TIMES)


def test_a_spectrum_peaks_at_its_frequency_and_sums_to_one() -> None:
    frequencies, shares = steadiness.spectrum(wave(3.0), 30.0)
    assert frequencies[shares.argmax()] == pytest.approx(3.0)
    assert shares.sum() == pytest.approx(1.0)
    assert (steadiness.spectrum(np.full(60, 7.0), 30.0)[1] == 0).all()


def test_the_distance_of_spectra_is_zero_for_the_same_shape_and_near_one_for_others() -> None:
    assert steadiness.spectrum_distance(wave(3.0), 5 + 0.1 * wave(3.0)) == pytest.approx(0, abs=1e-9)
    assert steadiness.spectrum_distance(wave(3.0), wave(9.0)) > 0.95
    assert steadiness.spectrum_distance(wave(3.0), np.full(60, 7.0)) == pytest.approx(0.5)


def test_the_interval_of_a_distance_holds_the_distance() -> None:
    noise = np.random.default_rng(0).normal(size=60)
    low, high = steadiness.spectrum_interval(wave(3.0) + noise, wave(4.0))
    assert low < steadiness.spectrum_distance(wave(3.0) + noise, wave(4.0)) < high


def test_temporal_error_is_of_changes_and_not_of_levels() -> None:
    truth = np.zeros((4, 3))
    assert steadiness.temporal_error(truth + 50, truth) == 0
    flickering = truth + np.array([0.0, 2.0, 0.0, 2.0])[:, None]
    assert steadiness.temporal_error(flickering, truth) == pytest.approx(2.0)


def test_a_constant_colour_error_is_temporal_error_but_no_flicker() -> None:
    truth = np.stack([wave(2.0)] * 3, axis=1)
    assert steadiness.temporal_error(1.2 * truth, truth) > 0.5
    assert steadiness.flicker(1.2 * truth, truth) == pytest.approx(0, abs=1e-9)
    jumping = truth + np.where(np.arange(60) % 2, 1.0, -1.0)[:, None]
    assert steadiness.flicker(jumping, truth) == pytest.approx(2.0, rel=0.02)


def test_change_that_the_background_explains_does_not_count() -> None:
    assert steadiness.unexplained_change(0.3 * wave(2.0), [wave(2.0)]) == pytest.approx(0, abs=1e-9)
    assert steadiness.unexplained_change(wave(7.0), [wave(2.0)]) > 5


def test_following_in_full_has_slope_one() -> None:
    follows = steadiness.following(0.5 * wave(1.0), wave(1.0))
    assert (follows.correlation, follows.slope) == (pytest.approx(1.0), pytest.approx(1.0))
    assert steadiness.following(np.full(60, 9.0), wave(1.0)).correlation == 0


def test_matte_flicker_counts_still_pixels_only() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    moved = frame.copy()
    moved[:2] = 200
    alpha = np.zeros((4, 4), np.float32)
    after = alpha.copy()
    after[:2], after[2:] = 1.0, 0.1
    assert steadiness.matte_flicker(alpha, after, frame, moved) == pytest.approx(25.5)


def test_a_chart_is_written_with_a_line_in_its_colour(tmp_path: Path) -> None:
    draw_charts(tmp_path / "chart.png", (Chart("t", "x", "y", (Curve("one", TIMES, wave(1.0)),) * 2),))
    with Image.open(tmp_path / "chart.png") as chart:
        pixels = np.asarray(chart).reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - (0, 114, 178)).max(axis=1) < 8).sum() > 100


def test_without_matplotlib_nothing_is_measured(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["evaluate-video", "person.mp4", "place.mp4", "--mask", "mask.png", "-o", "out"]) == 2
    assert "charts need Matplotlib, which is not installed; run pip install -e '.[evaluate]'" in capsys.readouterr().err
    assert not (desk / "out").exists()


@pytest.mark.parametrize(
    ("text", "label", "name", "way"),
    [
        ("reinhard", "reinhard:steady", "reinhard", "steady"),
        ("covariance:frozen", "covariance:frozen", "covariance", "frozen"),
        ("ours=runs/a.safetensors:independent", "ours", "runs/a.safetensors", "independent"),
        ("runs/a.safetensors", "a:steady", "runs/a.safetensors", "steady"),
    ],
)
def test_methods_are_read(text: str, label: str, name: str, way: str) -> None:
    method = parse_method(text)
    assert (method.label, method.harmonizer, method.steadiness) == (label, name, way)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected HARMONIZER:steady\|independent\|frozen"):
        parse_method("reinhard:sometimes")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person who moves a little, its mask, and a background that grows light."""
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[12:, 20:44] = 255
    Image.fromarray(mask).save("mask.png")
    shade = np.random.default_rng(0).integers(60, 160, (HEIGHT, WIDTH, 1), dtype=np.uint8).repeat(3, 2)
    person = [np.roll(shade, index % 2, axis=1) for index in range(FRAMES)]
    place = [np.clip(shade * (0.4 + 0.1 * index), 0, 255).astype(np.uint8) for index in range(FRAMES)]
    for name, frames in (("person.mp4", person), ("place.mp4", place)):
        writer = VideoWriter(Film(Path(name), WIDTH, HEIGHT, Fraction(1, 25), Fraction(25), crf=10))
        for index, pixels in enumerate(frames):
            writer.write(pixels, index)
        writer.close()
    return tmp_path


def test_methods_are_compared_on_a_changing_background(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--method", "reinhard:independent", "--method", "first=reinhard:frozen"]
    arguments = ["evaluate-video", "person.mp4", "place.mp4", "--mask", "mask.png", *asked, "-o", "out"]
    assert main([*arguments, "--result", "same=person.mp4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    rows = {row["label"]: row for row in printed["rows"]}
    assert rows.keys() == {"reinhard:independent", "first", "unharmonized", "same"}
    assert rows["first"]["slope"] < rows["reinhard:independent"]["slope"]
    assert rows["same"]["temporal_error"] is None
    assert len(printed["series"]["background"]) == FRAMES
    assert json.loads((desk / "out" / "scores.json").read_text()) == printed
    with Image.open(desk / "out" / "steadiness.png") as chart:
        assert chart.size == (900, 840)


def test_the_default_follows_the_background_and_a_frozen_one_does_not(desk: Path) -> None:
    methods = (parse_method("covariance"), parse_method("covariance:frozen"))
    scores = evaluate_video(desk / "person.mp4", desk / "place.mp4", methods, None, mask=desk / "mask.png")
    slope = {row.label: row.slope for row in scores.rows}
    assert slope["covariance:steady"] > slope["covariance:frozen"] + 0.1


def test_without_a_background_the_truth_is_known(desk: Path) -> None:
    methods = (parse_method("covariance"), parse_method("none"))
    scores = evaluate_video(
        desk / "person.mp4", None, methods, None, options=SteadinessOptions(light=0.0), mask=desk / "mask.png"
    )
    error = {row.label: row.temporal_error for row in scores.rows}
    assert error["none:steady"] is not None and error["unharmonized"] == pytest.approx(error["none:steady"])
    assert "temporal" in render_steadiness(scores) and "covariance:steady" in render_steadiness(scores)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mask.png", "mask.png"], "at least one clip is needed"),
        (["person.mp4", "place.mp4", "--end", "0.1"], "at least 8 are needed"),
        (["person.mp4", "place.mp4", "--method", "nothing"], "unknown harmonizer 'nothing'"),
        (["person.mp4", "place.mp4", "--result", "file.mp4"], "expected LABEL=FILE"),
    ],
)
def test_bad_input_is_one_line(desk: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert main(["evaluate-video", *arguments, "--mask", "mask.png"]) == 2
    assert says in capsys.readouterr().err.strip().splitlines()[-1]
