"""The relighting network: its tensors load strictly, and light comes from where it should."""

from pathlib import Path

import pytest
import torch

from hpbnet.color import rgb_to_lab
from hpbnet.networks.dpr import Dpr, DprConfig, from_published
from hpbnet.relight import dpr_relighter, load_dpr, sphere_light
from hpbnet.synthesis.portraits import read_index, read_square


def published(network: Dpr) -> dict[str, torch.Tensor]:
    """Name a network's tensors as the authors do, the shared inner modules repeated."""
    tensors = {name.replace("hourglass.", "HG3.", 1): tensor for name, tensor in network.state_dict().items()}
    inner = {name.removeprefix("HG3.middle."): t for name, t in tensors.items() if name.startswith("HG3.middle.")}
    return tensors | {f"HG2.{name}": tensor for name, tensor in inner.items()}


def test_output_has_the_inputs_size_and_range() -> None:
    network = Dpr(DprConfig(width=4, light_width=6, hidden_width=8)).eval()
    lightness, light = network(torch.rand(2, 1, 32, 48), torch.rand(2, 9))
    assert lightness.shape == (2, 1, 32, 48)
    assert light.shape == (2, 9)
    assert 0 <= lightness.min() <= lightness.max() <= 1


def test_a_batch_of_two_equals_two_singles() -> None:
    network = Dpr(DprConfig(width=4, light_width=6, hidden_width=8)).eval()
    images, lights = torch.rand(2, 1, 32, 32), torch.rand(2, 9)
    both, _ = network(images, lights)
    for index in range(2):
        single, _ = network(images[index : index + 1], lights[index : index + 1])
        assert torch.allclose(single, both[index : index + 1], atol=1e-5)


def test_the_light_matters() -> None:
    network = Dpr(DprConfig(width=4, light_width=6, hidden_width=8)).eval()
    image = torch.rand(1, 1, 32, 32)
    assert not torch.equal(network(image, torch.zeros(1, 9))[0], network(image, torch.ones(1, 9))[0])


def test_published_tensors_load_strictly() -> None:
    tensors = published(Dpr())
    from_published(tensors)
    with pytest.raises(RuntimeError, match=r"output\.bias"):
        from_published({name: tensor for name, tensor in tensors.items() if name != "output.bias"})
    with pytest.raises(RuntimeError, match="surplus"):
        from_published(tensors | {"surplus": torch.zeros(1)})


def test_a_file_of_something_else_is_no_relighter(tmp_path: Path) -> None:
    torch.save({"output.bias": torch.zeros(1)}, tmp_path / "other.t7")
    with pytest.raises(ValueError, match=r"other\.t7 holds other tensors than DPR's"):
        load_dpr(tmp_path / "other.t7")
    (tmp_path / "broken.t7").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"broken\.t7 holds no tensors"):
        load_dpr(tmp_path / "broken.t7")
    with pytest.raises(FileNotFoundError):
        load_dpr(tmp_path / "none.t7")


def test_published_weights_light_the_side_the_light_is_on(shared: Path) -> None:
    network = load_dpr(shared / "weights" / "dpr_512.t7")
    folder = shared / "data" / "portraits"
    face = next(face for face in read_index(folder, "val") if face.source == "london-cfd")
    photo, alpha, _ = read_square(face, 128, torch.Generator().manual_seed(0))
    lights = sphere_light(directions(), torch.full((4,), 0.2), torch.full((4,), 0.8))
    relit, _ = network(rgb_to_lab(photo)[:, :1].expand(4, -1, -1, -1) / 100, lights)
    inside = relit * (alpha > 0.5)
    left, right, top, bottom = (inside[:, 0, rows, columns].mean((1, 2)) for rows, columns in halves())
    assert right[0] / left[0] > 1.2 * right[1] / left[1]
    assert top[2] / bottom[2] > 1.2 * top[3] / bottom[3]


def directions() -> torch.Tensor:
    """Light from the right, the left, above and below."""
    return torch.tensor([[0.9, -0.436, 0.0], [-0.9, -0.436, 0.0], [0.0, -0.436, 0.9], [0.0, -0.436, -0.9]])


def halves() -> list[tuple[slice, slice]]:
    """The left, right, upper and lower halves of 128 pixels."""
    first, second, whole = slice(64), slice(64, 128), slice(128)
    return [(whole, first), (whole, second), (first, whole), (second, whole)]


def test_a_large_picture_is_relit_as_a_small_one(shared: Path) -> None:
    relight = dpr_relighter(load_dpr(shared / "weights" / "dpr_512.t7"))
    small = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8) * 0.6 + 0.2, (512, 512), mode="bicubic").clamp(0, 1)
    large = torch.nn.functional.interpolate(small, (1024, 1024), mode="bilinear")
    light = sphere_light(directions()[:1], torch.full((1,), 0.2), torch.full((1,), 0.8))
    alpha = torch.ones(1, 1, 1024, 1024)
    reduced = torch.nn.functional.avg_pool2d(relight(large, alpha, light), 2)
    assert (reduced - relight(small, alpha[..., ::2, ::2], light)).abs().mean() < 0.01
