"""Tests of the trainings of the compared methods, on tiny networks and a tiny pool."""

import json
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet.baselines import BASELINES
from hpbnet.baselines.s2crnet import S2CRNet
from hpbnet.checkpoint import read_checkpoint
from hpbnet.cli import main
from hpbnet.cli.train import TASKS
from hpbnet.evaluation.rows import read_rows
from hpbnet.models import load_network
from hpbnet.networks.perceptual import squeezenet
from hpbnet.synthesis.pool import Pool
from hpbnet.training import start
from hpbnet.training.baselines import (
    TRAININGS,
    ADFMTraining,
    AdversarialTraining,
    BaselineTraining,
    DoveNetTraining,
    HTTraining,
    IDIHTraining,
    S2CRNetTraining,
    learning_rate,
    train_baseline,
)
from hpbnet.training.items import Items
from test_train_hpbnet import write_pool
from triplets import make_dataset

QUICK = {"steps": 2, "batch_size": 2, "workers": 0, "threads": 1, "checkpoint_every": 1, "log_every": 1}
SIZES: dict[str, dict[str, object]] = {"ht": {"layers": 1}, "idih": {"backbone": False}}


@pytest.fixture(autouse=True)
def _no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return str(write_pool(tmp_path / "pool", size=32))


def tiny(training: type[BaselineTraining], pool: str, **changes: object) -> BaselineTraining:
    places = {"data": pool, "channels": 4, "resolution": 32, "device": "cpu", "precision": "float32"}
    return training(**(QUICK | places | SIZES.get(training.name, {}) | changes))  # type: ignore[arg-type]


def test_every_method_has_a_network_and_a_training() -> None:
    names = [training.name for training in TRAININGS]
    assert names == list(BASELINES)
    assert set(names) <= TASKS.keys() and TASKS.keys() == start.TASKS.keys()


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.name)
def test_a_resumed_run_ends_with_the_same_weights(training: type[BaselineTraining], pool: str, tmp_path: Path) -> None:
    config = tiny(training, pool, validation=pool, validation_items=2)
    whole = read_checkpoint(train_baseline(config, tmp_path / "whole"))
    train_baseline(replace(config, stop_at=1), tmp_path / "cut")
    resumed = read_checkpoint(train_baseline(config, tmp_path / "cut"))
    assert whole.network == training.name and whole.tensors.keys() == resumed.tensors.keys()
    assert all(torch.equal(value, resumed.tensors[name]) for name, value in whole.tensors.items())
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert {"total", "fidelity"} <= lines[0].keys()
    assert ({"adversarial", "critic"} <= lines[0].keys()) == issubclass(training, AdversarialTraining)
    assert {"painted_ratio", "painted_gain", "lifted_ratio", "lifted_gain"} <= lines[-1].keys()
    assert (tmp_path / "whole" / "samples" / "0000002.png").is_file()


def test_defaults_are_the_published_ones() -> None:
    rates = {training.name: training().learning_rate for training in TRAININGS}
    assert rates == {"ht": 1e-4, "dovenet": 2e-4, "adfm": 1.0, "idih": 1e-3, "s2crnet": 2e-4}
    schedules = {training.name: training().schedule for training in TRAININGS}
    assert schedules == {
        "ht": "linear",
        "dovenet": "linear",
        "adfm": "constant",
        "idih": "steps",
        "s2crnet": "constant",
    }
    assert (DoveNetTraining().batch_size, ADFMTraining().batch_size, IDIHTraining().batch_size) == (1, 24, 16)
    assert [training().flips for training in TRAININGS] == [True, False, True, True, True]
    assert (DoveNetTraining().adversarial_weight, S2CRNetTraining().adversarial_weight) == (1.0, 0.01)


def test_learning_rates_follow_their_schedules() -> None:
    linear = HTTraining(steps=100, learning_rate=1.0, warmup=4)
    assert [learning_rate(step, linear) for step in (0, 3, 50, 75)] == [0.25, 1, 1, 0.5]
    steps = IDIHTraining(steps=180, learning_rate=1.0)
    assert [learning_rate(step, steps) for step in (0, 159, 160, 175)] == [1, 1, 0.1, 0.01]
    assert learning_rate(99, ADFMTraining(steps=100)) == 1.0


def test_all_three_pictures_are_cropped_alike(pool: str) -> None:
    config = tiny(ADFMTraining, pool, flips=False)
    item, whole = Items(Pool(pool), config)[0], Items(Pool(pool), replace(config, crop=(1.0, 1.0)))[0]
    assert item.truth.shape == whole.truth.shape == (3, 32, 32)
    assert not torch.equal(item.truth, whole.truth)
    outside, inside = (item.mask == 0).expand(3, -1, -1), (item.mask == 255).expand(3, -1, -1)
    assert torch.equal(item.composite[outside], item.truth[outside])
    assert (2 * item.composite[inside].int() - item.truth[inside].int()).abs().max() <= 3


def test_a_training_goes_on_from_weights_of_its_own_kind(pool: str, tmp_path: Path) -> None:
    first = train_baseline(tiny(ADFMTraining, pool), tmp_path / "first")
    config = tiny(ADFMTraining, pool, start=str(first), learning_rate=0.0, steps=1, seed=5)
    again, before = (read_checkpoint(path).tensors for path in (train_baseline(config, tmp_path / "second"), first))
    assert all(torch.equal(again[name], before[name]) for name in before if name.endswith("0.0.weight"))
    with pytest.raises(ValueError, match="holds a adfm network, expected ht"):
        train_baseline(tiny(HTTraining, pool, start=str(first)), tmp_path / "third")


def test_s2crnet_begins_with_the_published_squeezenet(pool: str, tmp_path: Path) -> None:
    published = {f"features.{name}": value for name, value in squeezenet().features.state_dict().items()}
    torch.save(published, tmp_path / "squeezenet.pth")
    config = S2CRNetTraining(squeezenet=str(tmp_path / "squeezenet.pth"))
    network = config.build()
    assert isinstance(network, S2CRNet)
    assert torch.equal(network.features[0].weight, published["features.0.weight"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"squeezenet=.*squeezenet\.pth: expected the tensors of SqueezeNet 1\.1"):
        replace(config, channels=8).build()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_a_discriminator_the_loss_is_the_fidelity(pool: str, tmp_path: Path, precision: str) -> None:
    config = tiny(DoveNetTraining, pool, adversarial_weight=0.0, batch_norm=True, precision=precision, steps=1)
    train_baseline(config, tmp_path / "run")
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert line["total"] == line["fidelity"] and "critic" not in line


def test_a_size_that_cannot_be_halved_is_refused_before_the_run_begins(pool: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="resolution is 48; expected a power of two"):
        start.train("ht", tiny(HTTraining, pool, resolution=48), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_a_method_compose_and_are_evaluated(
    pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [f"--set={name}={json.dumps(value)}" for name, value in (QUICK | {"channels": 4}).items()]
    assert main(["train", "s2crnet", "pool", "--run", "run", "--set=resolution=32", *settings]) == 0
    weights = "run/weights.safetensors"
    assert load_network(weights).config.resolution == 32  # type: ignore[union-attr]

    rng = np.random.default_rng(0)
    for name in ("portrait", "beach"):
        Image.fromarray(rng.integers(0, 256, (48, 40, 3), np.uint8)).save(f"{name}.png")
    Image.fromarray(np.pad(np.full((30, 20), 255, np.uint8), ((18, 0), (10, 10)))).save("mask.png")
    arguments = ["compose", "portrait.png", "beach.png", "-o", "out.png", "--mask", "mask.png", "--harmonizer", weights]
    assert main(arguments) == 0
    with Image.open("out.png") as picture:
        assert picture.size == (40, 48)

    make_dataset(tmp_path / "pairs", generator)
    assert main(["evaluate", "pairs", "--method", f"s2crnet={weights}", "--painted", "-o", "rows"]) == 0
    assert {row.method for row in read_rows(tmp_path / "rows" / "rows.jsonl")} == {
        "unharmonized",
        "s2crnet",
        "s2crnet (painted)",
    }


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.name)
def test_a_door_offers_the_fields_it_honours(training: type[BaselineTraining]) -> None:
    names = {field.name for field in fields(training)}
    assert ("adversarial_weight" in names) == issubclass(training, AdversarialTraining)
    assert "white_balance" not in names
