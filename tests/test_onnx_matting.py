"""Foreign matting networks: tiny ONNX files made here, a small server in place of the release."""

import hashlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet import onnx_matting
from hpbnet.cli import main
from hpbnet.matte import matting_by_name
from hpbnet.onnx_matting import load_onnx_matting
from hpbnet.pipeline import Pipeline

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

PORTRAIT = np.full((96, 72, 3), 40, np.uint8)
cv2.circle(PORTRAIT, (36, 56), 24, (230, 230, 230), -1)  # a bright head


def write_network(
    path: Path, side: int | str = 64, logits: bool = False, channels: int = 3, inputs: tuple[str, ...] = ("input",)
) -> Path:
    """Alpha is the mean of what the network sees, times ten and, unless logits are answered, through a sigmoid."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    given = [helper.make_tensor_value_info(name, kind, [1, channels, side, side]) for name in inputs]
    answer = helper.make_tensor_value_info("alpha", kind, [1, 1, side, side])
    weight = onnx.numpy_helper.from_array(np.full((1, channels, 1, 1), 10 / channels, np.float32), "weight")
    nodes = [helper.make_node("Conv", [inputs[0], "weight"], ["alpha" if logits else "raw"])]
    if not logits:
        nodes.append(helper.make_node("Sigmoid", ["raw"], ["alpha"]))
    graph = helper.make_graph(nodes, "tiny", given, [answer], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def planes(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()


@pytest.mark.parametrize("side", [64, "side"])
@pytest.mark.parametrize("logits", [False, True])
def test_network_finds_the_bright_head(side: int | str, logits: bool, tmp_path: Path) -> None:
    matting = matting_by_name(write_network(tmp_path / "u2net.onnx", side, logits))
    alpha = matting(planes(PORTRAIT))[0, 0]
    assert alpha.shape == (96, 72)
    assert alpha[56, 36] > 0.99 and alpha[4, 4] < 0.01


def test_picture_is_normalised_as_its_family_is(tmp_path: Path) -> None:
    grey = planes(np.full((64, 64, 3), 100, np.uint8))
    grey[..., :1] = 1.0  # the brightest value, by which rembg divides
    for name, deviation in (("u2net", (0.229, 0.224, 0.225)), ("isnet-general-use", (1.0, 1.0, 1.0))):
        network = load_onnx_matting(write_network(tmp_path / f"{name}.onnx", 64))
        logit = 10 * np.mean([(100 / 255 - m) / d for m, d in zip((0.485, 0.456, 0.406), deviation, strict=True)])
        assert network(grey)[0, 0, 32, 32].item() == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)


def test_compose_and_matte_use_it_for_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = str(write_network(tmp_path / "mine.onnx"))
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        Image.fromarray(PORTRAIT).save(tmp_path / "in" / f"{name}.png")
    Image.fromarray(PORTRAIT[::-1]).save(tmp_path / "scene.png")
    portrait, scene = str(tmp_path / "in" / "a.png"), str(tmp_path / "scene.png")
    assert main(["matte", portrait, "--matting", network, "-o", str(tmp_path / "a.png")]) == 0
    assert Image.open(tmp_path / "a.png").getpixel((36, 56))[3] == 255
    assert Image.open(tmp_path / "a.png").getpixel((2, 2))[3] == 0
    assert main(["matte", str(tmp_path / "in"), "--matting", network, "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    arguments = ["compose", str(tmp_path / "in"), scene, "--matting", network, "--harmonizer", "none"]
    assert main([*arguments, "-o", str(tmp_path / "composed")]) == 0
    assert len(list((tmp_path / "composed").iterdir())) == 2
    assert "error" not in capsys.readouterr().err


def test_pipeline_takes_it_by_its_file(tmp_path: Path) -> None:
    pipeline = Pipeline.from_pretrained("none", matting=write_network(tmp_path / "mine.onnx"))
    assert pipeline.matte(PORTRAIT).alpha.max() == 1
    assert pipeline(PORTRAIT, PORTRAIT[::-1].copy()).layers.alpha.max() == 1


def test_what_is_no_matting_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    grey = write_network(tmp_path / "grey.onnx", channels=1)
    two = write_network(tmp_path / "two.onnx", inputs=("input", "other"))
    for file, message in (
        (tmp_path / "text.onnx", "is not an ONNX network that can be run"),
        (tmp_path / "missing.onnx", "no such file; names that can be fetched are u2net, "),
        (grey, "expected one float picture"),
        (two, "expected one float picture"),
    ):
        with pytest.raises(ValueError, match=message):
            load_onnx_matting(file)
    with pytest.raises(
        ValueError, match=r"unknown matting network 'magic': expected an .onnx file or one of matting, u2net,"
    ):
        Pipeline.from_pretrained("none", matting="magic")
    with pytest.raises(ValueError, match="is not a matting network"):
        Pipeline.from_pretrained("none", matting="harmonizer")
    Image.fromarray(PORTRAIT).save(tmp_path / "a.png")
    portrait = str(tmp_path / "a.png")
    assert main(["matte", portrait, "--matting", str(grey), "--mask", portrait, "-o", str(tmp_path / "b.png")]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_missing_extra_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"need onnxruntime, .*pip install -e '\.\[rembg\]'"):
        load_onnx_matting(write_network(tmp_path / "mine.onnx"))


@pytest.fixture
def release(tmp_path: Path) -> str:
    """The URL of a folder that has one file."""
    (tmp_path / "release").mkdir()
    write_network(tmp_path / "release" / "u2netp.onnx")
    return (tmp_path / "release").as_uri()


def test_a_published_network_is_downloaded_once_and_verified(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "rembg"))
    with pytest.raises(ValueError, match="damaged or another file"):
        onnx_matting.fetch_published("u2netp", release)
    assert not list((tmp_path / "cache" / "hpbnet").iterdir())
    expected = hashlib.md5((tmp_path / "release" / "u2netp.onnx").read_bytes()).hexdigest()
    monkeypatch.setitem(onnx_matting.PUBLISHED, "u2netp", ("u2netp.onnx", expected))
    fetched = onnx_matting.fetch_published("u2netp", release)
    assert fetched == tmp_path / "cache" / "hpbnet" / "u2netp.onnx"
    assert onnx_matting.fetch_published("u2netp", "http://127.0.0.1:9") == fetched  # nobody is asked again
    assert load_onnx_matting("u2netp").seen == (64, 64)
    fetched.unlink()
    (tmp_path / "rembg").mkdir()
    write_network(tmp_path / "rembg" / "u2netp.onnx")
    assert onnx_matting.fetch_published("u2netp", "http://127.0.0.1:9").parent == tmp_path / "rembg"


def test_an_unreachable_release_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "rembg"))
    with pytest.raises(ValueError, match=r"cannot download http://.*/u2net\.onnx .*save it yourself as .*u2net\.onnx"):
        onnx_matting.fetch_published("u2net", "http://127.0.0.1:9", tmp_path)
