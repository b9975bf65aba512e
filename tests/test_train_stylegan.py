"""Tests of training/stylegan.py and training/augment.py on tiny networks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet.checkpoint import read_checkpoint
from hpbnet.models import load_network
from hpbnet.networks.perceptual import squeezenet
from hpbnet.networks.stylegan2 import Generator
from hpbnet.training.augment import RAMP_IMAGES, Adaptive, augment
from hpbnet.training.optimise import Ema
from hpbnet.training.stylegan import (
    Faces,
    StyleGANTraining,
    lazy_adam,
    list_faces,
    mixed,
    mixing_cuts,
    square_around,
    train_stylegan,
)


@pytest.fixture
def tiny(tmp_path: Path) -> StyleGANTraining:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(photos / f"{index}.png")
    return StyleGANTraining(
        data=str(photos),
        resolution=16,
        channels=64,
        max_channels=4,
        z_dim=4,
        w_dim=4,
        mapping_layers=2,
        steps=5,
        batch_size=4,
        workers=0,
        threads=1,
        precision="float32",
        checkpoint_every=2,
        validate_every=5,
        log_every=1,
        device="cpu",
    )


def test_training_writes_a_run_that_loads_as_a_generator(tiny: StyleGANTraining, tmp_path: Path) -> None:
    network = load_network(train_stylegan(tiny, tmp_path / "run"))
    assert isinstance(network, Generator) and network.config == tiny.network
    assert network.mapping.w_avg.any()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"critic_real", "critic_fake", "deceit", "augment", "path_length"} <= lines[0].keys()
    assert (tmp_path / "run" / "samples" / "0000005.png").is_file()


def test_validation_measures_a_frechet_distance_where_there_are_features(
    tiny: StyleGANTraining, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.save({name: 3 * value for name, value in squeezenet().state_dict().items()}, tmp_path / "squeezenet.pth")
    config = replace(tiny, resolution=32, steps=1, squeezenet=str(tmp_path / "squeezenet.pth"), frechet_images=4)
    train_stylegan(config, tmp_path / "run")
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 1 and last["frechet_squeezenet"] > 0


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny: StyleGANTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_checkpoint(train_stylegan(tiny, tmp_path / "whole"))

    class Killed(Exception): ...

    update = Ema.update

    def die(self: Ema, network: torch.nn.Module, step: int) -> None:
        if step == 4:
            raise Killed
        update(self, network, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Ema, "update", die)
        train_stylegan(tiny, tmp_path / "broken")
    resumed = read_checkpoint(train_stylegan(tiny, tmp_path / "broken"))
    assert all(torch.equal(whole.tensors[name], resumed.tensors[name]) for name in whole.tensors)


def test_mixed_precision_takes_a_finite_step(tiny: StyleGANTraining, tmp_path: Path) -> None:
    weights = train_stylegan(replace(tiny, steps=1, precision="bfloat16"), tmp_path / "run")
    assert all(tensor.isfinite().all() for tensor in read_checkpoint(weights).tensors.values())


def test_a_prior_goes_on_from_given_weights(tiny: StyleGANTraining, tmp_path: Path) -> None:
    first = train_stylegan(replace(tiny, steps=1), tmp_path / "first")
    config = replace(tiny, steps=1, start=str(first), learning_rate=0.0, path_length_weight=0.0, augment=False)
    again = read_checkpoint(train_stylegan(config, tmp_path / "second")).tensors
    before = read_checkpoint(first).tensors
    assert all(torch.allclose(again[name], before[name], atol=2e-3) for name in before if name != "mapping.w_avg")


def test_faces_are_square_and_come_once_a_round(tiny: StyleGANTraining) -> None:
    faces = Faces(list_faces(Path(tiny.data), ()), 8, seed=0)
    assert faces[0].shape == (3, 8, 8) and faces[0].dtype == torch.uint8
    assert len({faces[index].float().mean().item() for index in range(3)}) == 3
    assert torch.equal(faces[4], faces[4])


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no photos of ffhq256"):
        list_faces(tmp_path, ("ffhq256",))


def test_an_index_gives_the_training_photos_of_the_named_sources(shared: Path) -> None:
    faces = list_faces(shared / "data" / "portraits", ("ffhq256",))
    assert len(faces) > 500 and all(face.photo.is_file() and face.box for face in faces[:20])
    assert len(faces) < len(list_faces(shared / "data" / "portraits", ()))


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        (None, (50, 0, 250, 200)),  # the middle
        ((100, 60, 40, 40), (78, 38, 162, 122)),
        ((0, 0, 40, 40), (0, 0, 84, 84)),  # moved into the photo
        ((100, 60, 150, 150), (75, 0, 275, 200)),  # no larger than the photo
    ],
)
def test_a_face_is_cut_with_some_room_around_it(face: tuple[int, ...] | None, expected: tuple[float, ...]) -> None:
    assert square_around(face, 300, 200) == pytest.approx(expected)  # type: ignore[arg-type]


def test_styles_are_mixed_at_the_cut() -> None:
    w = torch.stack([torch.zeros(2, 3), torch.ones(2, 3)], dim=1)  # [B,2,w_dim]
    ws = mixed(w, torch.tensor([1, 4]), 4)
    assert ws[0, :, 0].tolist() == [0, 1, 1, 1]
    assert ws[1, :, 0].tolist() == [0, 0, 0, 0]
    cuts = mixing_cuts(2000, 10, torch.Generator().manual_seed(0))
    assert (cuts == 10).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert cuts.min() == 1


def test_lazy_regularisation_adjusts_adam() -> None:
    group = lazy_adam(torch.nn.Linear(1, 1), 2e-3, 16).param_groups[0]
    assert group["lr"] == pytest.approx(2e-3 * 16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    assert lazy_adam(torch.nn.Linear(1, 1), 2e-3, 0).param_groups[0]["lr"] == 2e-3


def test_augmentation_of_probability_zero_changes_nothing() -> None:
    images = torch.randn(4, 3, 8, 8)
    assert augment(images, 0.0, torch.Generator()) is images


def test_augmentation_is_seeded_differentiable_and_per_image() -> None:
    images = torch.rand(64, 3, 16, 16, requires_grad=True)
    first, again = (augment(images, 0.5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    untouched = torch.stack(
        [torch.allclose(a, b, atol=1e-6) * torch.ones(()) for a, b in zip(first, images, strict=True)]
    )
    assert 0 < untouched.mean() < 0.4
    first.sum().backward()
    assert images.grad is not None and images.grad.any()


def test_shifts_mirror_at_the_border() -> None:
    ramp = torch.arange(16.0).expand(32, 3, 16, 16)
    out = augment(ramp, 1.0, torch.Generator().manual_seed(0))
    steps = (out[:, 0, :, 1:] - out[:, 0, :, :-1]).abs()
    inner = steps[:, 4, 4:-4]
    assert torch.allclose(inner, inner[:, :1].expand_as(inner), rtol=1e-3)  # still a ramp, if of another contrast


def test_probability_follows_what_the_critic_knows() -> None:
    adaptive = Adaptive()
    adaptive.update(-1.0, 1000)
    assert adaptive.probability == 0
    adaptive.update(0.9, RAMP_IMAGES // 4)
    assert adaptive.probability == pytest.approx(0.25)
    adaptive.update(0.1, RAMP_IMAGES // 8)
    assert adaptive.probability == pytest.approx(0.125)
    other = Adaptive()
    other.load_state_dict(adaptive.state_dict())
    assert other.probability == adaptive.probability
