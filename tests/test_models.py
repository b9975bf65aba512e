"""Networks by name or path."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from hpbnet import load_network
from hpbnet.checkpoint import Checkpoint, write_checkpoint
from hpbnet.models import embedded
from hpbnet.networks.matting import MattingConfig, MattingNetwork

TINY = MattingConfig(channels=(4, 4, 4, 4, 4), blocks=(0, 0, 0, 0, 0), size=64)


def written(path: Path, **changes: object) -> Path:
    config = asdict(TINY) | changes
    write_checkpoint(path, Checkpoint("matting", config, MattingNetwork(TINY).state_dict()))
    return path


def test_a_network_is_rebuilt_from_its_own_header(tmp_path: Path) -> None:
    network = load_network(written(tmp_path / "tiny.safetensors"))
    assert isinstance(network, MattingNetwork)
    assert network.config == TINY
    assert not network.training


def test_half_precision_weights_are_loaded_as_float32(tmp_path: Path) -> None:
    half = {name: value.half() for name, value in MattingNetwork(TINY).state_dict().items()}
    write_checkpoint(tmp_path / "half.safetensors", Checkpoint("matting", asdict(TINY), half))
    assert next(load_network(tmp_path / "half.safetensors").parameters()).dtype == torch.float32


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"nonsense is not the name of embedded weights or a file: expected.*matting"):
        load_network("nonsense")


def test_tensors_that_do_not_fit_the_config_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit its own config"):
        load_network(written(tmp_path / "wrong.safetensors", channels=[4, 4, 4, 4, 8]))


def test_a_config_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fields this version does not know: wings"):
        load_network(written(tmp_path / "later.safetensors", wings=2))


def test_a_foreign_network_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.safetensors", Checkpoint("resnet", {}, {"w": torch.zeros(1)}))
    with pytest.raises(ValueError, match="'resnet' network; known are"):
        load_network(tmp_path / "x.safetensors")


def test_every_embedded_weight_loads_and_says_where_it_comes_from() -> None:
    from hpbnet.checkpoint import read_checkpoint

    assert {"matting", "harmonizer"} <= set(embedded())
    for path in embedded().values():
        provenance = read_checkpoint(path).provenance
        assert {"task", "data", "settings", "licence", "steps"} <= set(provenance)
        assert not {"start", "data", "scenes"} & set(json.loads(str(provenance["settings"]))), "no paths of a machine"
        load_network(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"heads": "four"}, "has heads='four', expected int"),
        ({"heads": None}, "has heads=None, expected int"),
        ({"heads": 1.5}, "has heads=1.5, expected int"),
        ({"heads": True}, "has heads=True, expected int"),
        ({"channels": 4}, r"has channels=4, expected tuple\[int, ...\]"),
        ({"channels": ["a"]}, r"has channels=\('a',\), expected tuple\[int, ...\]"),
        ({"channels": [4] * 1000}, "has channels="),
        ({"size": -320}, "has size=-320, expected numbers from 8 to 4096"),
        ({"size": 65}, "has size=65, expected a multiple of 32"),
        ({"size": 65536}, "has size=65536, expected numbers from 8 to 4096"),
        ({"size": 10**30}, "has size=1000"),
        ({"blocks": [0, 10**9, 0, 0, 0]}, r"has blocks=\(0, 1000000000, 0, 0, 0\), expected numbers from 0 to"),
        ({"blocks": [0, 60, 0, 0, 0]}, "does not fit its own config"),
        ({"channels": [65536] * 5}, "does not fit its own config"),
        ({"channels": []}, "does not fit its own config"),
        ({"channels": [4, 4, 4, 4, 0]}, "does not fit its own config"),
        ({"heads": 0}, "does not fit its own config: 0 heads do not share a width of 4"),
        ({"heads": 3}, "does not fit its own config: 3 heads do not share a width of 4"),
    ],
)
def test_a_config_of_other_kinds_or_sizes_is_one_sentence_at_once(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=f"odd.safetensors.*{reason}") as failure:
        load_network(written(tmp_path / "odd.safetensors", **changes))
    assert "\n" not in str(failure.value) and time.process_time() - started < 5
