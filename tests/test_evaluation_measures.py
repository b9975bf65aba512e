"""Published weights, and the measures that need them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet.evaluation import backbones
from hpbnet.evaluation.backbones import WeightsFolder, download_backbone, read_tensors, weights_folder
from hpbnet.evaluation.dataset import Dataset, PhotoLight, read_dataset
from hpbnet.evaluation.identity import YuNet, points_from_box, skin_group, typology_angle
from hpbnet.evaluation.measures import Measures, load_measures
from hpbnet.evaluation.run import evaluate
from hpbnet.evaluation.table import render_tables
from hpbnet.fetch import checksum_in_name
from hpbnet.networks.perceptual import squeezenet
from triplets import make_dataset, method, save


@pytest.fixture
def dataset(tmp_path: Path, generator: torch.Generator) -> Dataset:
    return make_dataset(tmp_path / "pairs", generator)


def test_a_backbone_is_downloaded_and_kept_only_if_its_checksum_is_the_one_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, folder = tmp_path / "served", tmp_path / "weights"
    served.mkdir()
    torch.save({"features.0.weight": torch.ones(1)}, served / "net.pth")
    digits = hashlib.sha256((served / "net.pth").read_bytes()).hexdigest()[:8]
    good, wrong = f"alexnet-owt-{digits}.pth", "vgg16-00000000.pth"
    (served / wrong).write_bytes((served / "net.pth").read_bytes())
    (served / "net.pth").rename(served / good)
    monkeypatch.setattr(backbones, "PUBLISHED", {"alexnet": good, "vgg16": wrong})
    kept = download_backbone("alexnet", folder, served.as_uri())
    assert kept == folder / good and WeightsFolder(folder).backbone("alexnet") == kept
    assert list(read_tensors(kept)) == ["features.0.weight"]
    with pytest.raises(ValueError, match=f"its SHA-256 is {digits}, not 00000000"):
        download_backbone("vgg16", folder, served.as_uri())
    assert list(folder.iterdir()) == [kept]


def test_every_published_backbone_has_a_checksum_in_its_name() -> None:
    assert all(checksum_in_name(file) for file in backbones.PUBLISHED.values())
    with pytest.raises(ValueError, match="no backbone 'resnet'; there are squeezenet, alexnet, vgg16, vgg19"):
        download_backbone("resnet", Path())


def test_a_file_whose_name_has_a_hash_is_checked_when_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "alexnet-owt-7be5be79.pth")
    with pytest.raises(ValueError, match="is damaged or another file"):
        read_tensors(tmp_path / "alexnet-owt-7be5be79.pth")


def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a": {"b": 1}}, tmp_path / "strange.pth")
    with pytest.raises(ValueError, match="no table of tensors"):
        read_tensors(tmp_path / "strange.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="no tensors that can be read safely"):
        read_tensors(tmp_path / "broken.pth")


def test_weights_are_looked_for_where_one_says_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(backbones.WEIGHTS_VARIABLE, raising=False)
    assert weights_folder(None) is None
    monkeypatch.setenv(backbones.WEIGHTS_VARIABLE, str(tmp_path))
    assert weights_folder(None) == WeightsFolder(tmp_path)
    (tmp_path / "alexnet-owt-7be5be79.pth").touch()
    (tmp_path / "vgg16_bn-6c64b313.pth").touch()
    assert WeightsFolder(tmp_path).backbone("alexnet") == tmp_path / "alexnet-owt-7be5be79.pth"
    assert WeightsFolder(tmp_path).backbone("vgg16") is None
    with pytest.raises(ValueError, match=r"^weights is .*: there is no such folder"):
        weights_folder(tmp_path / "nowhere")


def test_without_weights_the_columns_are_absent_and_a_notice_says_why() -> None:
    measures = load_measures(None)
    assert measures.networks == ()
    assert len(measures.notices) == 5
    assert "no LPIPS (alex): it needs alexnet and lpips/alex.pth" in measures.notices


def test_heads_with_weights_at_hand_give_their_column(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "w/lpips").mkdir(parents=True)
    torch.save(squeezenet().state_dict(), tmp_path / "w/squeezenet1_1.pth")
    heads = {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate((64, 128, 256, 384, 384, 512, 512))}
    torch.save(heads, tmp_path / "w/lpips/squeeze.pth")
    measures = load_measures(WeightsFolder(tmp_path / "w"))
    rows = evaluate(dataset, [method()], measures, tmp_path / "rows.jsonl").rows
    assert all(row.scores.lpips_squeeze is not None and row.scores.lpips_alex is None for row in rows)
    assert "LPIPS (squeeze) after/before" in render_tables(rows)
    calls: list[int] = []
    evaluate(dataset, [method(calls=calls)], Measures(), tmp_path / "rows.jsonl")
    assert calls == []  # richer rows hold for poorer measures


# faces


def test_the_typology_angle_of_a_known_colour() -> None:
    """Flat colour of L* 65, b* 15: atan(15/15) is 45 degrees, the light group."""
    from hpbnet.color import lab_to_rgb

    picture = lab_to_rgb(torch.tensor([65.0, 12.0, 15.0]).view(1, 3, 1, 1)).expand(1, 3, 80, 80)
    points = points_from_box(picture, (10, 10, 50, 60))
    assert points is not None
    assert typology_angle(picture, points, PhotoLight()) == pytest.approx(45, abs=0.1)
    gains = (1.2, 1.0, 0.8)
    warmer = picture * torch.tensor(gains).view(3, 1, 1) ** (1 / 2.2)
    assert typology_angle(warmer, points, PhotoLight()) != pytest.approx(45, abs=5)
    assert typology_angle(warmer, points, PhotoLight(gains)) == pytest.approx(45, abs=0.1)
    assert typology_angle(picture, points, PhotoLight(graded=True)) is None
    assert [skin_group(angle) for angle in (45, 41, 28, 5, -60)] == [
        "light",
        "intermediate",
        "tan",
        "brown and dark",
        "brown and dark",
    ]


def test_points_come_from_the_box_where_no_detector_is() -> None:
    points = points_from_box(torch.zeros(1, 3, 10, 10), (100, 50, 200, 100))
    assert points is not None
    torch.testing.assert_close(points[2], torch.tensor([100 + 0.496 * 200, 50 + 0.602 * 100]))
    assert points_from_box(torch.zeros(1, 3, 10, 10), None) is None


def test_the_detector_finds_the_same_face_at_any_size(shared: Path) -> None:
    finder = YuNet(shared / "weights/yunet.onnx")
    path = next(iter(sorted((shared / "data/portraits/images").glob("london-cfd*front_*"))))
    with Image.open(path) as file:
        photo, large = file.convert("RGB"), file.convert("RGB").resize((file.width * 3, file.height * 3))
    points, scaled = (finder(torch.from_numpy(np.array(p)).permute(2, 0, 1)[None] / 255, None) for p in (photo, large))
    assert points is not None and scaled is not None
    torch.testing.assert_close(scaled / 3, points, atol=6.0, rtol=0)
    assert finder(torch.zeros(1, 3, 64, 64), (0, 0, 10, 10)) is not None  # no face there: the box is trusted
    with pytest.raises(ValueError, match="not a face detector"):
        YuNet(path)


def test_identity_is_measured_where_face_and_networks_are_at_hand(shared: Path, tmp_path: Path) -> None:
    measures = load_measures(WeightsFolder(shared / "weights"))
    assert measures.networks == ("lpips_squeeze", "identity", "yunet")
    path = next(iter(sorted((shared / "data/portraits/images").glob("london-cfd*front_*"))))
    with Image.open(path) as file:
        photo = torch.from_numpy(np.array(file.convert("RGB").resize((160, 160)))).permute(2, 0, 1) / 255
    save(tmp_path / "real_images/a.png", photo)
    save(tmp_path / "masks/a.png", torch.ones(1, 160, 160))
    save(tmp_path / "composite_images/a.png", photo * torch.tensor([0.5, 0.7, 0.9]).view(3, 1, 1))
    rows = evaluate(read_dataset(tmp_path), [method("best", 1.3)], measures, tmp_path / "rows.jsonl").rows
    assert rows[0].scores.identity is not None and 0.3 < rows[0].scores.identity < 1
    assert rows[0].typology is not None
    assert rows[0].scores.lpips_squeeze is not None and rows[0].scores.lpips_squeeze > 0.02
