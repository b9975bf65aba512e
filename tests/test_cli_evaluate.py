"""`hpbnet evaluate` from the command line."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from hpbnet import metrics
from hpbnet.checkpoint import Checkpoint, write_checkpoint
from hpbnet.cli import main
from hpbnet.evaluation.dataset import Dataset, read_triplet
from hpbnet.evaluation.rows import read_rows
from hpbnet.harmonize import Painter
from hpbnet.layers import Layers
from hpbnet.networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
from hpbnet.networks.hpbnet import HPBNet, HPBNetConfig
from triplets import NAMES, SIZE, make_dataset, save


@pytest.fixture
def dataset(tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPBNET_METRIC_WEIGHTS", raising=False)
    return make_dataset(tmp_path / "pairs", generator)


def keep_results(dataset: Dataset, folder: Path, names: tuple[str, ...] = NAMES) -> None:
    """Write the truths as somebody's results, in the order given."""
    by_name = {item.name: item for item in dataset.items}
    for name in names:
        with Image.open(by_name[name].truth) as truth:
            folder.mkdir(exist_ok=True)
            truth.save(folder / f"{name}.png")


def test_methods_and_folders_are_measured_into_rows_and_a_table(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_results(dataset, tmp_path / "perfect", NAMES[::-1])
    assert (
        main(["evaluate", "pairs", "--method", "covariance", "--method", "r=reinhard", "--outputs", "perfect=perfect"])
        == 0
    )
    out, err = capsys.readouterr()
    assert "4 items from 3 portraits" in out
    assert "| perfect      | 0.0 [0.0, 0.0]" in out and "| r " in out and "| covariance " in out
    assert "no LPIPS (squeeze): it needs squeezenet" in err
    rows = [json.loads(line) for line in (tmp_path / "out/evaluate-pairs/rows.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * 4
    assert {row["method"] for row in rows} == {"unharmonized", "covariance", "r", "perfect"}
    assert (tmp_path / "out/evaluate-pairs/table.md").read_text() == out


def test_a_missing_result_is_an_error_that_names_it(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_results(dataset, tmp_path / "one", NAMES[::-1])
    keep_results(dataset, tmp_path / "two", NAMES[:3])
    assert main(["evaluate", "pairs", "--outputs", "one=one", "--outputs", "two=two"]) == 2
    assert "the results in two do not match the dataset by name: 1 missing (cy_1)" in capsys.readouterr().err
    assert main(["evaluate", "pairs", "--outputs", "one=one"]) == 0


def test_what_cannot_be_measured_is_named_counted_and_in_the_exit_code(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(dataset.items[1].mask, torch.ones(1, SIZE - 2, SIZE))
    assert main(["evaluate", "pairs", "-o", "rows"]) == 1
    out, err = capsys.readouterr()
    assert "note: ann_2: mask is 24x22, the composite 24x24" in err
    assert "1 could not be measured" in err
    assert "3 items" in out


def test_tables_and_figures_are_made_from_rows_alone(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_results(dataset, tmp_path / "perfect")
    asked = ["evaluate", "pairs", "-o", "rows", "--method", "covariance", "--outputs", "perfect=perfect"]
    assert main([*asked, "--figure", "first.png", "--worst", "--figure-rows", "2"]) == 0
    first = capsys.readouterr().out
    assert main(["evaluate", "--from-rows", "rows/rows.jsonl"]) == 0
    assert capsys.readouterr().out == first
    again = [
        "evaluate",
        "pairs",
        "--from-rows",
        "rows/rows.jsonl",
        "--figure",
        "again.png",
        "--worst",
        "--figure-rows",
        "2",
    ]
    assert main(again) == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "first.png").read_bytes()


def test_numbers_can_be_had_as_json(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "pairs", "--method", "covariance", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["items"] == 4 and [method["method"] for method in numbers["methods"]] == [
        "unharmonized",
        "covariance",
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "no dataset at nowhere"),
        ([], "give a DATASET"),
        (["--from-rows", "rows.jsonl", "--figure", "f.png"], "give a DATASET"),
        (["pairs", "--method", "sorcery"], "sorcery"),
        (["pairs", "--outputs", "perfect"], "outputs 'perfect': expected LABEL=FOLDER"),
        (["pairs", "--outputs", "x=nowhere"], "no results at nowhere"),
        (["pairs", "--weights", "nowhere"], "weights is nowhere: there is no such folder"),
        (
            ["pairs", "--download", "vgg16"],
            "download needs a folder to save to: give weights, or set HPBNET_METRIC_WEIGHTS",
        ),
        (["pairs", "--method", "reinhard", "--painted"], "painted: no method paints a picture of its own"),
        (["pairs", "--method", "reinhard", "--method", "reinhard"], "two methods are called reinhard"),
        (["--from-rows", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["--from-rows", "words.txt"], "words.txt has no rows of an evaluation"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_two(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    Path("words.txt").write_text("words")
    assert main(["evaluate", *arguments]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("hpbnet: ") and complaint in err


def test_a_checkpoint_is_a_method_known_by_the_hash_of_its_file(dataset: Dataset, tmp_path: Path) -> None:
    network = HarmonizerNetwork(HarmonizerConfig(channels=(8, 8, 8, 8), code=8, size=64))
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(network.config).items()}
    write_checkpoint("tiny.safetensors", Checkpoint("harmonizer", plain, network.state_dict()))
    assert main(["evaluate", "pairs", "--method", "tiny.safetensors", "-o", "rows"]) == 0
    rows = [row for row in read_rows(tmp_path / "rows/rows.jsonl") if row.method == "tiny"]
    expected = hashlib.sha256((tmp_path / "tiny.safetensors").read_bytes()).hexdigest()
    assert len(rows) == 4 and all(expected.startswith(row.weight) and row.weight for row in rows)
    assert all(row.source == "tiny.safetensors" and row.seconds is not None for row in rows)


def test_a_painting_network_is_also_measured_by_its_own_picture(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = HPBNet(HPBNetConfig(resolution=8, unet_channels=2, generator=False))
    write_checkpoint("tiny.safetensors", Checkpoint("hpbnet", asdict(network.config), network.state_dict()))
    asked = ["evaluate", "pairs", "--method", "tiny.safetensors", "-o", "rows"]
    assert main([*asked, "--painted", "--figure", "first.png"]) == 0
    rows = {row.key: row for row in read_rows(tmp_path / "rows/rows.jsonl")}
    lifted, painted = rows["cy_1", "tiny"], rows["cy_1", "tiny (painted)"]
    assert painted.weight == lifted.weight and painted.seconds is not None

    triplet = read_triplet(dataset.items[3])
    composite = triplet.composite  # an untrained network paints the composite at its own resolution
    picture = Painter(network).paint(Layers(composite, triplet.mask, composite))
    picture = torch.nn.functional.interpolate(picture, (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 1)
    assert painted.scores.mse == pytest.approx(metrics.mse(picture, triplet.truth).item(), rel=0.02)
    assert painted.scores.mse > lifted.scores.mse + 100

    assert main([*asked[:2], "--from-rows", "rows/rows.jsonl", "--figure", "again.png"]) == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "first.png").read_bytes()
    assert "| tiny (painted) |" in capsys.readouterr().out
