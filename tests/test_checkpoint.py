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
    with pytest.raises(ValueError, match=r"broken\.safetensors is not a readable safetensors file"):
        read_checkpoint(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="not an hpbnet checkpoint"):
        read_checkpoint(tmp_path / "foreign.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.safetensors")


def with_header(path: Path, **changes: str | None) -> Path:
    """Write a small checkpoint whose header differs in some fields; None leaves a field out."""
    header = {"format": "hpbnet-1", "network": "matting", "config": "{}", "provenance": "{}"} | changes
    save_file({"w": torch.zeros(1)}, path, {name: text for name, text in header.items() if text is not None})
    return path


@pytest.mark.parametrize("field", ["network", "config", "provenance"])
def test_a_header_that_lacks_a_field_is_named(tmp_path: Path, field: str) -> None:
    with pytest.raises(ValueError, match=f"a.safetensors is damaged: its header lacks {field}"):
        read_checkpoint(with_header(tmp_path / "a.safetensors", **{field: None}))


@pytest.mark.parametrize("field", ["config", "provenance"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is a list, expected a JSON object"),
        ("null", "is a NoneType, expected a JSON object"),
        ('{"a": {"b": 1}}', "has an unusable value in 'a'"),
        ('{"a": [[1]]}', "has an unusable value in 'a'"),
        ('{"a": NaN}', "has an unusable value in 'a'"),
        ('{"a": 1e999}', "has an unusable value in 'a'"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
    ],
)
def test_a_header_of_other_kinds_is_one_sentence(tmp_path: Path, field: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"a.safetensors is damaged: its {field} {reason}") as failure:
        read_checkpoint(with_header(tmp_path / "a.safetensors", **{field: text}))
    assert "\n" not in str(failure.value) and len(str(failure.value)) < 300


@pytest.mark.parametrize(
    "tensor",
    [torch.tensor([1.0, float("nan")]), torch.tensor([float("inf")]).half(), torch.ones(1, dtype=torch.complex64)],
    ids=["nan", "infinite", "complex"],
)
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    write_checkpoint(tmp_path / "a.safetensors", Checkpoint("matting", {}, {"ok": torch.zeros(1), "w": tensor}))
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged: its tensor w holds numbers that are not finite"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_checkpoint_may_have_a_name_of_255_bytes_and_a_link_is_kept(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 243 + ".safetensors")
    (tmp_path / "link").symlink_to(path)
    write_checkpoint(tmp_path / "link", Checkpoint("matting", {}, {"w": torch.ones(1)}))
    assert (tmp_path / "link").is_symlink() and read_checkpoint(path).tensors["w"].item() == 1
