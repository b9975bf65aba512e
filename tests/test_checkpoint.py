"""Checkpoints: what is written is what is read, and foreign files are named as such."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hpbnet.checkpoint import Checkpoint, read_checkpoint, write_checkpoint


def test_a_checkpoint_survives_the_round_trip(tmp_path: Path) -> None:
    written = Checkpoint("matting", {"size": 320, "channels": [1, 2]}, {"w": torch.arange(4.0)}, {"steps": 7})
    write_checkpoint(tmp_path / "a.safetensors", written)
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert (read.network, read.config, read.provenance) == ("matting", written.config, {"steps": 7})
    assert torch.equal(read.tensors["w"], torch.arange(4.0))


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, Checkpoint("matting", {}, {"w": torch.zeros(1)}))
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hpbnet.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, Checkpoint("matting", {}, {"w": torch.ones(1)}))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("content", [b"", b"not a tensor in sight", b"\xff" * 64])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.safetensors is no readable safetensors file"):
        read_checkpoint(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no hpbnet checkpoint"):
        read_checkpoint(tmp_path / "foreign.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.safetensors")
