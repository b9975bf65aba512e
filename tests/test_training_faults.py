"""What goes wrong around trainings: settings, two at once, killed loaders, full disks, damaged files."""

import dataclasses
import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from hpbnet.checkpoint import read_checkpoint
from hpbnet.cli import main
from hpbnet.cli.train import TASKS, list_fields
from hpbnet.synthesis.folders import locked
from hpbnet.training import run as run_module
from hpbnet.training import start
from hpbnet.training.composites import Composites
from hpbnet.training.config import TrainConfig, read_config
from hpbnet.training.harmonizer import HarmonizerTraining, train_harmonizer
from hpbnet.training.start import train


@pytest.fixture
def config(tmp_path: Path) -> HarmonizerTraining:
    """A tiny training on a pool of two items."""
    shard = tmp_path / "pool" / "000"
    shard.mkdir(parents=True)
    rng = np.random.default_rng(1)
    truths = rng.integers(0, 255, (2, 64, 64, 3), np.uint8)
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, 16:, 16:48] = 255
    for name, array in {"reals": truths, "masks": masks, "composites": truths // 2}.items():
        np.save(shard / f"{name}.npy", array)
    rows = ({"plain": False, "recipe": "paper", "source": source} for source in ("ffhq", "lfw"))
    (shard / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return HarmonizerTraining(
        data=str(tmp_path / "pool"),
        channels=(8, 8, 8, 8),
        size=32,
        steps=4,
        batch_size=2,
        workers=0,
        threads=1,
        checkpoint_every=2,
        log_every=1,
        device="cpu",
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch_size=0", "batch_size is 0; expected a whole number from 1"),
        ("batch_size=true", "batch_size is True; expected a whole number"),
        ("learning_rate=-1", "learning_rate is -1.0; expected a number from 0"),
        ("learning_rate=true", "learning_rate is True; expected a number"),
        ("ema=7", "ema is 7.0; expected a number from 0 to 1"),
        ("threads=0", "threads is 0"),
        ("log_every=-1", "log_every is -1"),
        ("checkpoint_every=0", "checkpoint_every is 0"),
        ("size=0", "size is 0"),
        ("size=65", "size is 65; expected a multiple of 32"),
        ("steps=0", "steps is 0; expected a whole number from 1"),
        ("steps=1" + "0" * 400, "steps is 1000"),
        ("channels=[8, 8]", r"channels is \(8, 8\)"),
        ("channels=7", "channels is 7"),
        ("dropout=1e999", "dropout is inf"),
        ("confidence_only=1", "confidence_only is 1; expected true or false"),
    ],
)
def test_a_value_that_cannot_be_is_refused(setting: str, message: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(ValueError, match=message):
        read_config(HarmonizerTraining, None, {name: value})


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "[" * 100_000,
        '{"steps": 1' + "0" * 5000 + "}",
        '{"stops": 1}',
        "\xff",
        '{"steps": 0}',
        '{"ema": 1e999}',
        "",
    ],
)
def test_a_config_file_that_cannot_be_used_is_named_in_a_short_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"c\.json") as caught:
        read_config(TrainConfig, file, {})
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


def test_a_config_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"steps": 7}', "utf-8-sig")
    assert read_config(TrainConfig, tmp_path / "c.json", {}).steps == 7


@pytest.mark.parametrize("task", TASKS)
def test_every_field_of_every_task_is_explained_and_its_default_is_allowed(task: str) -> None:
    kind = start.TASKS[task].config
    kind()
    rows = dict(list_fields(kind))
    assert len(rows) == len(dataclasses.fields(kind))
    assert all(len(text) > 5 and text[-1] in ".)" for text in rows.values())
    assert {"stop_at", "device=auto"} <= rows.keys()


def test_help_lists_the_fields_of_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "harmonizer", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "dropout=0.0 Dropout of the deepest features, against overfitting. From 0 to 0.99." in text
    assert "steps=20000 Optimiser steps of the whole learning-rate schedule. At least 1." in text


def test_a_run_stopped_early_goes_on_to_the_same_weights(config: HarmonizerTraining, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    whole = train_harmonizer(config, tmp_path / "whole", lambda done, last: calls.append((done, last)))
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    early = train_harmonizer(dataclasses.replace(config, stop_at=3), tmp_path / "cut")
    assert read_checkpoint(early).provenance["steps"] == 3
    late = read_checkpoint(train_harmonizer(config, tmp_path / "cut")).tensors
    assert all(torch.equal(value, late[name]) for name, value in read_checkpoint(whole).tensors.items())


def test_released_weights_tell_how_they_were_made_but_no_paths(config: HarmonizerTraining, tmp_path: Path) -> None:
    weights = train_harmonizer(dataclasses.replace(config, stop_at=1, validation=config.data), tmp_path / "run")
    provenance = read_checkpoint(weights).provenance
    assert provenance.keys() == {"task", "data", "settings", "steps", "metrics", "torch", "licence"}
    assert provenance["data"] == "2 items of the recipe paper; photos of ffhq, lfw"
    assert json.loads(str(provenance["settings"]))["batch_size"] == 2
    assert "paper_ratio" in json.loads(str(provenance["metrics"]))
    assert "/" not in json.dumps(provenance) and "hpbnet train" not in json.dumps(provenance)


def test_a_run_folder_is_written_by_one_training_at_a_time(config: HarmonizerTraining, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(ValueError, match="run: another process is writing there"):
        train("harmonizer", config, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("state.pt", b"", r"state\.pt is damaged or another network's \(.*\); delete it"),
        ("state.pt", b"PK\x03\x04 cut", r"state\.pt is damaged"),
        ("config.json", b"[]", r"config\.json holds a list"),
        ("config.json", b"\xff", r"config\.json is not readable as JSON"),
        ("log.jsonl", b'{"total": 1}\n', r"log\.jsonl, line 1 is damaged"),
        ("log.jsonl", b'{"step": "x"}\n', r"log\.jsonl is damaged"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    name: str, data: bytes, message: str, config: HarmonizerTraining, tmp_path: Path
) -> None:
    train("harmonizer", dataclasses.replace(config, stop_at=1), tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        train("harmonizer", config, tmp_path / "run")


def test_a_full_disk_is_told_and_the_last_state_stays(
    config: HarmonizerTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = run_module.write_bytes, [0]

    def full(path: Path, data: bytes) -> None:
        calls[0] += path.name == "state.pt"
        if calls[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_bytes", full)
        with pytest.raises(OSError, match=r"No space left on device: .*state\.pt"):
            train("harmonizer", config, tmp_path / "run")
    whole = read_checkpoint(train("harmonizer", config, tmp_path / "whole")).tensors
    resumed = read_checkpoint(train("harmonizer", config, tmp_path / "run")).tensors
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_killed_data_loading_process_is_told_in_one_sentence(
    config: HarmonizerTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, draw = os.getpid(), Composites.__getitem__

    def killed(self: Composites, index: int) -> object:
        if os.getpid() != parent and index >= 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Composites, "__getitem__", killed)
        with pytest.raises(ValueError, match=r"a data-loading process was killed .*lower workers or batch_size"):
            train("harmonizer", dataclasses.replace(config, workers=1), tmp_path / "run")
    assert train("harmonizer", config, tmp_path / "run").is_file()  # nothing keeps the folder locked


def test_an_error_in_a_data_loading_process_is_told_in_one_sentence(
    config: HarmonizerTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Composites, index: int) -> object:
        raise ValueError("a.webp cannot be read as a picture: cut off")

    monkeypatch.setattr(Composites, "__getitem__", broken)
    with pytest.raises(ValueError, match=r"^a\.webp cannot be read as a picture: cut off$"):
        train("harmonizer", dataclasses.replace(config, workers=1), tmp_path / "run")


def test_the_command_shows_how_far_a_training_is(
    config: HarmonizerTraining, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in ("data", "stop_at")}
    (tmp_path / "c.json").write_text(json.dumps(values))
    arguments = [
        config.data,
        "--run",
        str(tmp_path / "run"),
        "--config",
        str(tmp_path / "c.json"),
        "--set",
        "stop_at=2",
    ]
    assert main(["train", "harmonizer", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"weights: {tmp_path / 'run' / 'weights.safetensors'}\n"
    assert "0/2" in printed.err and "2/2" in printed.err
