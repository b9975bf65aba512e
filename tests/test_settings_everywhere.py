"""Every settings field is honoured by every use that has it, and means the same in each of them."""

import dataclasses
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet.affine_grid import AffineGrid
from hpbnet.cli import main
from hpbnet.image.picture import to_planes, to_samples
from hpbnet.layers import Layers
from hpbnet.matte import Matting
from hpbnet.options import ClipOptions, ComposeOptions, HarmonizeOptions, LiveOptions, MatteOptions, VideoOptions
from hpbnet.pipeline import Pipeline

av = pytest.importorskip("av", reason="PyAV is not installed")

GENERATOR = np.random.default_rng(5)
Y, X = np.mgrid[:120, :96]
MASK = np.clip(20 - 20 * np.hypot((X - 48) / 28, (Y - 90) / 66), 0, 1).astype(np.float32)
FIGURE = np.clip(20 - 20 * np.hypot((X - 48) / 38, (Y - 55) / 50), 0, 1).astype(np.float32)  # cut nowhere
PORTRAIT = np.stack([90 + X, 200 - Y, 120 + 0 * X], axis=2).astype(np.uint8)
SCENE = np.repeat(np.repeat(GENERATOR.integers(60, 256, (9, 12, 3), dtype=np.uint8), 16, 0), 16, 1)  # 144x192
SCENE = np.clip(SCENE * (1.0, 0.7, 0.4) + GENERATOR.normal(0, 8, SCENE.shape), 0, 255).astype(np.uint8)  # warm, grainy

PLACED: dict[str, object] = {
    "size": (160, 160),
    "fit": "contain",
    "blur": 4.0,
    "flip": True,
    "scale": 0.4,
    "x": 0.3,
    "y": 0.8,
    "shadow": 0.9,
    "strength": 0.3,
    "light": 0.0,
    "lamp": "60,20,#ff8800,2",
    "exposure": 0.7,
    "warmth": -0.6,
}
FINISHED: dict[str, object] = {"light_wrap": 0.8, "grain": 0.0, "softness": 1.0}
OVER_TIME = {"follow", "start", "end", "codec", "crf", "audio", "background_end", "steadiness"}  # tests/test_video.py
NEEDED: dict[str, dict[str, object]] = {"fit": {"size": (160, 160)}}  # without another size, fit changes nothing


def dim(layers: Layers) -> AffineGrid:
    return AffineGrid.uniform(torch.diag(torch.tensor([0.6, 0.8, 0.7]))[None] @ torch.eye(3, 4))


def mask_for(name: str) -> np.ndarray:
    """A shadow needs a lower edge that the photo does not cut."""
    return FIGURE if name == "shadow" else MASK


def matting_for(name: str) -> Matting:
    def white_is_a_person(portrait: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(mask_for(name))[None, None].to(portrait)

    return white_is_a_person


@pytest.fixture(scope="module")
def scene_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "scene.mkv", SCENE)


@pytest.fixture(scope="module")
def person_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "person.mkv", PORTRAIT)


def write_clip(path: Path, picture: np.ndarray, frames: int = 3) -> Path:
    """Write a lossless clip of equal frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "bgr0"
        stream.time_base = Fraction(1, 10)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_field_is_walked() -> None:
    assert names(ComposeOptions) == PLACED.keys() | FINISHED.keys() | {"person"}  # tests/test_pipeline.py
    assert names(VideoOptions) == PLACED.keys() | OVER_TIME
    assert names(LiveOptions) == PLACED.keys() | {"follow"}
    assert names(HarmonizeOptions) == {"strength", "light", "lamp", "exposure", "warmth"} | FINISHED.keys()
    assert names(ClipOptions) == {"start", "end", "codec", "crf"}
    assert names(MatteOptions) == names(ClipOptions) | {"person"}


@pytest.mark.parametrize("name", sorted(PLACED))
def test_a_field_means_the_same_in_a_picture_and_in_a_video(name: str, scene_clip: Path) -> None:
    pipeline = Pipeline(dim)
    fields = NEEDED.get(name, {}) | {name: PLACED[name]}
    composition = pipeline(PORTRAIT, SCENE, mask=mask_for(name), grain=0.0, **fields)
    plain = pipeline(PORTRAIT, SCENE, mask=mask_for(name), grain=0.0, **NEEDED.get(name, {}))
    frame = next(pipeline.frames(PORTRAIT, scene_clip, mask=mask_for(name), follow=0.0, **fields))
    picture = to_samples(composition.image).astype(int)
    assert composition.image.shape != plain.image.shape or np.abs(picture - to_samples(plain.image)).mean() > 0.5
    assert frame.pixels.shape == picture.shape
    difference = cv2.blur(frame.pixels.astype(np.float32) - picture, (5, 5))  # each resamples grain in its own way
    assert np.abs(difference).mean() < 1.0  # of 255; a video draws edges at a smaller size


@pytest.mark.parametrize("name", sorted(PLACED))
def test_a_field_means_the_same_in_a_video_and_live(name: str, scene_clip: Path, person_clip: Path) -> None:
    from hpbnet.webcam import run_webcam

    fields = NEEDED.get(name, {}) | {name: PLACED[name]}
    pipeline = Pipeline(dim, matting_for(name))
    frame = next(pipeline.frames(person_clip, SCENE, size=fields.pop("size", (192, 144)), **fields))
    fields = NEEDED.get(name, {}) | {name: PLACED[name]}
    shown: list[np.ndarray] = []

    class Screen:
        def show(self, picture: np.ndarray, delay: float) -> bool:
            shown.append(picture)
            return False

        def close(self) -> None:
            pass

    class Camera:
        rate = 10.0

        def __init__(self) -> None:
            self.frames: Iterator[np.ndarray] = iter([PORTRAIT])

        def read(self) -> np.ndarray | None:
            time.sleep(0.05)
            return next(self.frames, None)

        def close(self) -> None:
            pass

    options = LiveOptions(**({"size": (192, 144)} | fields))  # type: ignore[arg-type]
    run_webcam(Camera(), SCENE, lambda size: [Screen()], dim, matting_for(name), options)
    assert np.abs(shown[0].astype(int) - frame.pixels).max() <= 1


@pytest.mark.parametrize("name", sorted(PLACED.keys() | FINISHED.keys()))
def test_a_field_means_the_same_in_python_and_for_a_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, picture in (
        ("in", PORTRAIT),
        ("masks", np.rint(mask_for(name) * 255).astype(np.uint8)),
        ("scenes", SCENE),
    ):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture).save(tmp_path / folder / "ann.png")
    fields = NEEDED.get(name, {}) | {name: (PLACED | FINISHED)[name]}
    options = []
    for field, value in fields.items():
        text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        options += [f"--{field.replace('_', '-')}"] + ([] if value is True else [text])
    arguments = ["compose", "in", "scenes", "--mask", "masks", "--harmonizer", "covariance", "-o", "out", *options]
    assert main(arguments) == 0
    pipeline = Pipeline.from_pretrained("covariance", matting=None)
    expected = pipeline("in/ann.png", "scenes/ann.png", mask="masks/ann.png", **fields)
    assert (tmp_path / "out" / "ann.png").read_bytes() == expected.encode("png")
    assert (np.asarray(Image.open(tmp_path / "out" / "ann.png")) == to_samples(expected.image)).all()


@pytest.mark.parametrize("name", sorted(names(HarmonizeOptions)))
def test_a_field_of_a_ready_composite_changes_it(name: str) -> None:
    smooth = np.kron(SCENE, np.ones((3, 3, 1), np.uint8))
    composite = np.clip(smooth + GENERATOR.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)  # grain
    mask = np.zeros(composite.shape[:2], np.float32)
    mask[150:300, 200:400] = 1
    composite[150:300, 200:400] = smooth[150:300, 200:400] // 2 + 40
    pipeline = Pipeline(dim)
    value = {"grain": 1.0}.get(name, (PLACED | FINISHED)[name])
    if name == "softness":
        scene = to_planes(composite)
        composite = np.array(to_samples(torch.nn.functional.avg_pool2d(scene, 9, 1, 4)))
        composite[150:300, 200:400] = GENERATOR.integers(0, 256, (150, 200, 3), dtype=np.uint8)
    plain, changed = pipeline.harmonize(composite, mask), pipeline.harmonize(composite, mask, **{name: value})
    outside = mask == 0
    assert not changed.image.equal(plain.image)
    assert changed.image[0, :, outside].equal(to_planes(composite)[0, :, outside])


def test_a_video_never_replaces_its_own_source(scene_clip: Path, person_clip: Path) -> None:
    before = scene_clip.read_bytes(), person_clip.read_bytes()
    with pytest.raises(ValueError, match="would be overwritten by its own result"):
        Pipeline(dim).video(PORTRAIT, scene_clip, scene_clip, mask=MASK)
    with pytest.raises(ValueError, match="would be overwritten by its own result"):
        Pipeline(dim, matting_for("x")).matte_video(person_clip, person_clip)
    assert (scene_clip.read_bytes(), person_clip.read_bytes()) == before
