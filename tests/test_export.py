"""Files for other programs: a LUT, settings, and networks as ONNX."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hpbnet
from hpbnet.affine_grid import AffineGrid
from hpbnet.checkpoint import Checkpoint, write_checkpoint
from hpbnet.cli import main
from hpbnet.export import color_cube, export_onnx
from hpbnet.layers import Layers
from hpbnet.networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
from hpbnet.options import ComposeOptions, VideoOptions
from hpbnet.pipeline import Pipeline
from hpbnet.recipe import read_recipe, write_recipe

GENERATOR = np.random.default_rng(3)
PORTRAIT = GENERATOR.integers(60, 200, (64, 48, 3), dtype=np.uint8)
MASK = np.zeros((64, 48), np.float32)
MASK[20:, 10:40] = 1


def warmer_to_the_right(layers: Layers) -> AffineGrid:
    matrix = torch.eye(3, 4).view(1, 3, 4, 1, 1, 1).repeat(1, 1, 1, 1, 1, 2)
    matrix[0, 0, 0, 0, 0] = torch.tensor([0.8, 1.2])
    return AffineGrid(matrix)


def looked_up(text: str, color: tuple[int, int, int]) -> list[float]:
    """Read a colour, given by its three indices of 33, from the text of a .cube file."""
    rows = [line for line in text.splitlines() if line and line[0].isdigit()]
    red, green, blue = color
    return [float(value) for value in rows[red + 33 * (green + 33 * blue)].split()]


def test_the_lut_of_one_matrix_is_that_matrix() -> None:
    dim = Pipeline(
        lambda layers: AffineGrid.uniform(torch.diag(torch.tensor([0.5, 0.25, 1.0]))[None] @ torch.eye(3, 4))
    )
    cube = color_cube(dim(PORTRAIT, PORTRAIT, mask=MASK, light=0.0))
    text = cube.to_text()
    assert text.splitlines()[:2] == ['TITLE "hpbnet"', "LUT_3D_SIZE 33"] and len(text.splitlines()) == 4 + 33**3
    assert looked_up(text, (32, 32, 32)) == pytest.approx([0.5, 0.25, 1.0])
    assert looked_up(text, (16, 0, 8)) == pytest.approx([0.25, 0.0, 0.25])
    assert cube.variation < 0.01
    assert looked_up(
        color_cube(dim(PORTRAIT, PORTRAIT, mask=MASK, strength=0.0, light=0.0)).to_text(), (32, 16, 0)
    ) == [1, 0.5, 0]


def test_the_lut_says_how_much_the_change_varies_over_the_person() -> None:
    composition = Pipeline(warmer_to_the_right)(PORTRAIT, PORTRAIT, mask=MASK)
    cube = color_cube(composition)
    assert 2 < cube.variation < 20 and f"{cube.variation:.1f} of 255" in cube.notice


@pytest.fixture
def refined(tmp_path: Path) -> Path:
    """Small random weights of the second generation of the harmonizer."""
    config = HarmonizerConfig(channels=(8, 8, 8, 8), fine=(8,), code=8)
    network = HarmonizerNetwork(config)
    for head in (network.local_head, network.global_head, *network.coarse_heads):
        torch.nn.init.normal_(head.weight, std=0.1)
    write_checkpoint(tmp_path / "refined", Checkpoint("harmonizer", asdict(config), network.state_dict()))
    return tmp_path / "refined"


@pytest.mark.parametrize("name", ["matting", "harmonizer", "refined"])
def test_onnx_files_answer_as_the_networks_do(name: str, refined: Path, tmp_path: Path) -> None:
    name = str(refined) if name == "refined" else name
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    export_onnx(name, tmp_path / "network.onnx")
    session = runtime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    network = hpbnet.load_network(name)
    generator = torch.Generator().manual_seed(0)
    for size in ((64, 96), (160, 128)) if name == "matting" else ((128, 128),):
        picture = torch.rand(1, 3, *size, generator=generator)
        mask = (torch.rand(1, 1, *size, generator=generator) > 0.5).float()
        with torch.inference_mode():
            expected = network(picture).sigmoid() if name == "matting" else network.judge(picture, mask).matrix
        inputs = {"portrait": picture} if name == "matting" else {"composite": picture, "mask": mask}
        (answer,) = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        np.testing.assert_allclose(answer, expected.numpy(), rtol=0, atol=1e-4)


def test_networks_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only matting and harmonizer are exported"):
        export_onnx("hpbnet", tmp_path / "network.onnx")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, picture in (("portrait", PORTRAIT), ("mask", (MASK * 255).astype(np.uint8)), ("background", PORTRAIT)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


PICTURES = ["portrait.png", "background.png", "--mask", "mask.png"]


def test_exported_settings_make_the_same_picture(files: Path) -> None:
    chosen = ["--harmonizer", "reinhard", "--strength", "0.4", "--size", "80x60", "--flip"]
    assert main(["export", "--settings", "look.json", *chosen]) == 0
    assert main(["compose", *PICTURES, *chosen, "-o", "one.png"]) == 0
    assert main(["compose", *PICTURES, "--settings", "look.json", "-o", "two.png"]) == 0
    assert (files / "one.png").read_bytes() == (files / "two.png").read_bytes()
    assert main(["compose", *PICTURES, "--settings", "look.json", "--strength", "1", "-o", "three.png"]) == 0
    assert (files / "three.png").read_bytes() != (files / "two.png").read_bytes()


def test_settings_that_a_command_does_not_use_are_named(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "look.json").write_text(write_recipe(VideoOptions(strength=0.5, crf=30)))
    assert main(["compose", *PICTURES, "--settings", "look.json", "-o", "out.png"]) == 0
    assert "note: look.json: compose does not use audio" not in capsys.readouterr().err  # it is not in the file
    (files / "look.json").write_text('{"strength": 0.5, "crf": 30}')
    assert main(["compose", *PICTURES, "--settings", "look.json", "-o", "out.png"]) == 0
    assert "note: look.json: compose does not use crf" in capsys.readouterr().err


def test_the_cube_command_writes_a_file(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *PICTURES, "--harmonizer", "covariance", "--cube", "look.cube"]) == 0
    assert (files / "look.cube").read_text().startswith('TITLE "hpbnet"\nLUT_3D_SIZE 33\n')
    assert "A LUT changes equal colours equally everywhere" in capsys.readouterr().err


MISTAKES = {
    "not json": ("{", "look.json is not readable JSON"),
    "nested": ("[" * 100_000, "look.json is not readable JSON"),
    "a list": ("[1]", "look.json holds a list; expected a JSON object"),
    "unknown": (
        '{"strenght": 1}',
        "look.json: unknown setting 'strenght'; known are harmonizer, matting, person, size",
    ),
    "kind": ('{"fit": 3}', "is not one of 'cover', 'contain'"),
    "range": ('{"strength": 7}', "strength is 7"),
    "size": ('{"size": [1, 2, 3]}', "size is (1, 2, 3); expected 2 whole numbers"),
    "object": ('{"size": {}}', "look.json: size is {}; expected"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_bad_settings_files_are_told_in_one_line(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = MISTAKES[name]
    (files / "look.json").write_text(text)
    assert main(["compose", *PICTURES, "--settings", "look.json", "-o", "out.png"]) == 2
    told = capsys.readouterr().err
    assert message in told and told.startswith("hpbnet: ") and told.count("\n") == 1
    assert not (files / "out.png").exists()


def test_a_byte_order_mark_is_no_mistake(files: Path) -> None:
    (files / "look.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"strength": 0.5}).encode())
    assert read_recipe("look.json") == {"strength": 0.5}
    assert ComposeOptions(**read_recipe("look.json")).strength == 0.5  # type: ignore[arg-type]


def test_nothing_to_export_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export"]) == 2 and "nothing to export" in capsys.readouterr().err
    assert main(["export", "--cube", "look.cube"]) == 2 and "needs PORTRAIT" in capsys.readouterr().err
    assert main(["export", *PICTURES, "--cube", "look"]) == 2 and "ends in .cube" in capsys.readouterr().err
