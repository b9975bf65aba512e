"""Networks by name or path."""

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
    with pytest.raises(ValueError, match=r"nonsense names no weights.*matting"):
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
        assert {"command", "data", "licence", "steps"} <= set(read_checkpoint(path).provenance)
        load_network(path)
