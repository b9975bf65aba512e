"""Tests of training/hpbnet.py on tiny networks and a tiny pool."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from hpbnet.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpbnet.fetch import Checksum
from hpbnet.models import load_network
from hpbnet.networks.hpbnet import HPBNet
from hpbnet.networks.perceptual import VggFeatures
from hpbnet.networks.stylegan2 import Discriminator, Generator
from hpbnet.synthesis.pool import Pool
from hpbnet.training import hpbnet as training
from hpbnet.training.config import TrainConfig
from hpbnet.training.hpbnet import HPBNetTraining, build_discriminator, build_network, train_hpbnet
from hpbnet.training.items import Items
from hpbnet.training.run import Run


def write_pool(folder: Path, count: int = 5, size: int = 16) -> Path:
    """Write a pool whose people are darker than they should be."""
    shard = folder / "000"
    shard.mkdir(parents=True)
    rng = np.random.default_rng(0)
    reals = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    masks[:, 4:] = 255
    np.save(shard / "reals.npy", reals)
    np.save(shard / "masks.npy", masks)
    np.save(shard / "composites.npy", np.where(masks[..., None] > 0, reals // 2, reals).astype(np.uint8))
    rows = [{"name": str(index), "plain": False, "recipe": "paper"} for index in range(count)]
    (shard / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def _no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without TensorBoard: importing it takes longer than training here."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def tiny(tmp_path: Path) -> HPBNetTraining:
    pool = write_pool(tmp_path / "pool")
    return HPBNetTraining(
        data=str(pool),
        validation=str(pool),
        joint=True,
        resolution=16,
        unet_channels=4,
        unet_max_channels=6,
        channels=64,
        max_channels=4,
        z_dim=4,
        w_dim=4,
        mapping_layers=2,
        perceptual_weight=0.0,
        r1_every=2,
        steps=5,
        batch_size=2,
        workers=0,
        threads=1,
        precision="float32",
        checkpoint_every=2,
        validate_every=100,
        log_every=1,
        device="cpu",
    )


def test_defaults_are_the_papers() -> None:
    config = HPBNetTraining()
    assert (config.resolution, config.learning_rate, config.steps) == (512, 2e-3, 60_000)
    assert (config.perceptual_weight, config.adversarial_weight) == (0.1, 0.1)
    assert config.flips and config.white_balance and config.generator and not config.joint
    assert config.schedule == "constant" and config.weight_decay == 0


def test_training_writes_a_run_that_loads_as_a_network(tiny: HPBNetTraining, tmp_path: Path) -> None:
    weights = train_hpbnet(tiny, tmp_path / "run")
    network = load_network(weights)
    assert isinstance(network, HPBNet) and network.config.resolution == 16
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "total" in line]
    assert [line["step"] for line in losses] == [1, 2, 3, 4, 5]
    assert {"unet_l1", "generator_l1", "adversarial", "critic"} <= losses[0].keys()
    assert {"painted_ratio", "painted_gain", "pasted_ratio", "lifted_ratio", "lifted_gain"} <= lines[-1].keys()
    assert (tmp_path / "run" / "samples" / "0000005.png").is_file()
    assert read_checkpoint(weights).provenance["steps"] == 5


def test_a_run_killed_anywhere_ends_with_the_weights_of_one_that_was_not(tiny: HPBNetTraining, tmp_path: Path) -> None:
    config = replace(tiny, validation="", steps=4)
    whole = read_checkpoint(train_hpbnet(config, tmp_path / "whole"))
    (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
    child = [sys.executable, "-c", KILLED, str(tmp_path)]
    subprocess.run(child, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    for name in ("step", "state", "rename", "weights", "log"):
        resumed = read_checkpoint(train_hpbnet(config, tmp_path / name))
        assert whole.tensors.keys() == resumed.tensors.keys()
        assert all(torch.equal(whole.tensors[key], resumed.tensors[key]) for key in whole.tensors), name
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4], name
        files = {path.name for path in (tmp_path / name).iterdir() if not path.name.startswith("events")}
        assert files == {"config.json", "log.jsonl", "state.pt", "weights.safetensors"}


# Each child is forked after its imports, trains, and kills itself where the name says: in the middle of step 3; with
# half of step 4's state written, or all but its name; with half of its weights written; with half a line logged.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from hpbnet.training import optimise, run
from hpbnet.training.hpbnet import HPBNetTraining, train_hpbnet

sys.modules["torch.utils.tensorboard"] = None  # quicker
folder = Path(sys.argv[1])
config = HPBNetTraining(**{k: tuple(v) if isinstance(v, list) else v
                           for k, v in json.loads((folder / "config.json").read_text()).items()})
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
count = {"save": 0}
update, write, release, replace, log = optimise.Ema.update, run.write_bytes, run.Run.release, os.replace, run.Run.log

def step(self, network, number):
    die() if number == 3 else update(self, network, number)

def second():
    count["save"] += 1
    return count["save"] == 2

def state(path, data):
    if path.name == "state.pt" and second():
        path.with_name(".hpbnet-0123456789abcdef").write_bytes(data[: len(data) // 2])
        die()
    write(path, data)

def rename(source, target):
    die() if Path(target).name == "state.pt" and second() else replace(source, target)

def weights(self, number):
    if second():
        (self.directory / ".hpbnet-fedcba9876543210").write_bytes(b"half")
        die()
    return release(self, number)

def torn(self, number, values):
    if number == 3:
        with (self.directory / "log.jsonl").open("a") as file:
            file.write('{"step": 3, "tot')
        die()
    log(self, number, values)

patches = {"step": (optimise.Ema, "update", step), "state": (run, "write_bytes", state),
           "rename": (os, "replace", rename), "weights": (run.Run, "release", weights), "log": (run.Run, "log", torn)}
children = {}
for name, patch in patches.items():
    if (child := os.fork()) == 0:
        setattr(*patch)
        train_hpbnet(config, folder / name)
        os._exit(0)
    children[name] = child
for name, child in children.items():
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, name
"""


def test_unet_only_trains_without_a_prior_and_without_a_critic(tiny: HPBNetTraining, tmp_path: Path) -> None:
    config = replace(tiny, generator=False, joint=False, adversarial_weight=0.0, validation="", steps=1)
    names = read_checkpoint(train_hpbnet(config, tmp_path / "run")).tensors
    assert all(name.startswith("unet.") for name in names)


def test_relit_items_are_made_anew_by_the_papers_recipe(tiny: HPBNetTraining, tmp_path: Path) -> None:
    folder = write_pool(tmp_path / "relit", count=3)
    rows = folder / "000" / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"paper"', '"relit"'))
    config = replace(tiny, flips=False, white_balance=False)
    items, stored = Items(Pool(folder), config), [Pool(folder)[index] for index in range(3)]
    first, again, later = items[0], items[0], items[3]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    outside = (first.mask == 0).expand(3, -1, -1)
    assert torch.equal(first.composite[outside], first.truth[outside])
    assert not any(torch.equal(first.truth.float() / 255, item.truth[0]) for item in stored)  # its white balance is new
    assert any(not torch.equal(a, b) for a, b in zip(first, later, strict=True))


def test_a_training_goes_on_from_given_weights_of_its_own_sizes(tiny: HPBNetTraining, tmp_path: Path) -> None:
    first = train_hpbnet(replace(tiny, steps=1, validation=""), tmp_path / "first")
    config = replace(tiny, steps=1, validation="", start=str(first), learning_rate=0.0, seed=5)
    again, before = (read_checkpoint(path).tensors for path in (train_hpbnet(config, tmp_path / "second"), first))
    assert all(torch.allclose(again[name], before[name], atol=2e-3) for name in before)
    with pytest.raises(ValueError, match="trained with residual=False; expected the sizes of this run"):
        train_hpbnet(replace(config, residual=True), tmp_path / "third")


def test_a_training_goes_on_at_twice_the_resolution(tiny: HPBNetTraining, tmp_path: Path) -> None:
    config = replace(tiny, steps=1, validation="", unet_channels=8)
    first = train_hpbnet(config, tmp_path / "first")
    config = replace(config, resolution=32, unet_channels=4, start=str(first), learning_rate=0.0)
    small, grown = (load_network(path) for path in (first, train_hpbnet(config, tmp_path / "second")))
    assert isinstance(grown, HPBNet) and grown.config.resolution == 32
    assert torch.allclose(grown.generator.synthesis.const, small.generator.synthesis.const, atol=2e-3)  # type: ignore[union-attr]


def test_crops_show_parts_of_the_picture_to_composite_and_truth_alike(tiny: HPBNetTraining) -> None:
    items = Items(Pool(tiny.data), replace(tiny, white_balance=False, crops=True))
    whole = Items(Pool(tiny.data), replace(tiny, white_balance=False))
    for index in range(4):
        item = items[index]
        assert item.composite.shape == (3, 16, 16)
        assert not torch.equal(item.truth, whole[index].truth)
        outside, inside = (item.mask == 0).expand(3, -1, -1), (item.mask == 255).expand(3, -1, -1)
        assert (item.composite[outside].int() - item.truth[outside].int()).abs().max() <= 1
        assert (2 * item.composite[inside].int() - item.truth[inside].int()).abs().max() <= 3


@pytest.mark.parametrize(
    "change",
    [
        {"concatenate": False},
        {"squared_weight": 5.0},
        {"gains": (0.4, 2.5)},
        {"precision": "bfloat16"},
        {"schedule": "cosine"},
        {"adversarial": "printed"},
        {"clip": 0.0},
    ],
)
def test_every_way_to_train_takes_a_finite_step(
    tiny: HPBNetTraining, tmp_path: Path, change: dict[str, object]
) -> None:
    config = replace(tiny, steps=1, validation_items=2, **change)  # type: ignore[arg-type]
    tensors = read_checkpoint(train_hpbnet(config, tmp_path / "run")).tensors
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_published_vgg_is_downloaded_with_its_hash_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def fetch(url: str, destination: Path, checksum: Checksum) -> Path:
        asked.extend([url, destination.name, checksum])
        torch.save(torchvision_layout(), tmp_path / "vgg19.pth")
        return tmp_path / "vgg19.pth"

    monkeypatch.setattr(training, "fetch", fetch)
    training.load_features("download", torch.device("cpu"))
    name = "vgg19-dcbb9e9d.pth"
    assert asked == [f"https://download.pytorch.org/models/{name}", name, Checksum("sha256", "dcbb9e9d")]


def test_a_frozen_generator_stays_as_its_prior_and_the_rest_learns(tiny: HPBNetTraining, tmp_path: Path) -> None:
    sizes = replace(tiny.network.stylegan2, resolution=32)
    torch.manual_seed(7)
    prior, critic = Generator(sizes), Discriminator(tiny.network.stylegan2)
    paths = [str(tmp_path / "prior.safetensors"), str(tmp_path / "critic.safetensors")]
    write_checkpoint(paths[0], Checkpoint("stylegan2", vars(sizes), prior.state_dict()))
    write_checkpoint(paths[1], Checkpoint("stylegan2-discriminator", vars(critic.config), critic.state_dict()))
    config = replace(tiny, joint=False, prior=paths[0], discriminator=paths[1], channels=1, z_dim=9, validation="")
    before = build_network(config)
    weights = read_checkpoint(train_hpbnet(config, tmp_path / "run")).tensors
    for name, value in before.generator.state_dict().items():
        assert torch.equal(weights[f"generator.{name}"], value.half()), name
    assert weights["joins.0.change.weight"].any() and weights["unet.decoder.1.residual.weight"].any()
    assert all(
        torch.equal(a, b)
        for a, b in zip(build_discriminator(config, sizes).parameters(), critic.parameters(), strict=True)
    )


def test_a_validation_folder_without_items_is_told_before_the_first_step(tiny: HPBNetTraining, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        train_hpbnet(replace(tiny, validation=str(tmp_path / "none")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_frozen_generator_without_a_prior_is_refused(tiny: HPBNetTraining) -> None:
    with pytest.raises(ValueError, match="a frozen generator needs a prior"):
        build_network(replace(tiny, joint=False))


def test_checkpoints_of_other_networks_are_refused(tiny: HPBNetTraining, tmp_path: Path) -> None:
    sizes = replace(tiny.network.stylegan2, resolution=32)
    path = str(tmp_path / "critic.safetensors")
    write_checkpoint(path, Checkpoint("stylegan2-discriminator", vars(sizes), Discriminator(sizes).state_dict()))
    with pytest.raises(ValueError, match="holds a stylegan2-discriminator network, expected stylegan2"):
        build_network(replace(tiny, prior=path))
    with pytest.raises(ValueError, match="judges 32 px, expected 16"):
        build_discriminator(replace(tiny, discriminator=path), sizes)


def test_items_depend_on_their_number_alone_and_cover_the_pool(tiny: HPBNetTraining) -> None:
    items = Items(Pool(tiny.data), replace(tiny, flips=False, white_balance=False))
    seen = {items[index].truth.float().mean().item() for index in range(5)}
    assert len(seen) == 5
    again = Items(Pool(tiny.data), tiny)
    assert all(torch.equal(a, b) for a, b in zip(again[3], again[3], strict=True))


def test_white_balance_augments_composite_and_truth_alike(tiny: HPBNetTraining) -> None:
    items = Items(Pool(tiny.data), replace(tiny, flips=False))
    plain = Items(Pool(tiny.data), replace(tiny, flips=False, white_balance=False))
    for index in range(4):
        item, before = items[index], plain[index]
        background = (item.mask == 0).expand(3, -1, -1)
        assert torch.equal(item.composite[background], item.truth[background])
        dark = (before.truth > 10) & (before.truth < 200)
        ratio = item.truth[dark].float() / before.truth[dark].float()
        low, high = 0.75 ** (1 / 2.2), 1.3 ** (1 / 2.2)
        assert ratio.min() > low - 0.06 and ratio.max() < high + 0.06


def test_perceptual_features_load_from_either_layout(tmp_path: Path) -> None:
    image = torch.rand(1, 3, 16, 16)
    torch.save(VggFeatures().state_dict(), tmp_path / "normalised.pth")
    assert len(training.load_features(str(tmp_path / "normalised.pth"), torch.device("cpu"))(image)) == 5
    torch.save(torchvision_layout(), tmp_path / "vgg19.pth")
    assert len(training.load_features(str(tmp_path / "vgg19.pth"), torch.device("cpu"))(image)) == 5


def torchvision_layout() -> dict[str, Tensor]:
    """Name the first convolutions of VGG-19 as torchvision does, with a classifier that is of no use."""
    widths = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}
    tensors = {f"features.{i}.weight": torch.zeros(wide, narrow, 3, 3) for i, (narrow, wide) in widths.items()}
    tensors |= {f"features.{i}.bias": torch.zeros(wide) for i, (_, wide) in widths.items()}
    return tensors | {"classifier.0.weight": torch.zeros(2, 2)}


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(
    tiny: HPBNetTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny, validation="", checkpoint_every=1)
    train_hpbnet(replace(config, steps=1), tmp_path / "run")
    monkeypatch.setattr(
        training, "hpbnet_loss", lambda painted, *_, **__: {"total": painted.image.sum() * float("nan")}
    )
    with pytest.raises(FloatingPointError, match="holds the last good state"):
        train_hpbnet(config, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] == 1 and all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.parametrize("resumed", [False, True])
def test_tensorboard_gets_what_is_logged_and_shown(
    tiny: HPBNetTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    said: list[tuple[object, ...]] = []

    class Writer:
        def __init__(self, folder: Path, purge_step: int) -> None:
            said.append(("open", folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            said.append((name, value, step))

        def add_image(self, name: str, picture: Tensor, step: int) -> None:
            said.append((name, tuple(picture.shape[:1]), step))

        def flush(self) -> None: ...

    if resumed:
        train_hpbnet(replace(tiny, steps=2, validation_items=1), tmp_path / "run")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    train_hpbnet(replace(tiny, steps=3, validation_items=1), tmp_path / "run")
    assert said[0] == ("open", tmp_path / "run", 3 if resumed else 1)
    assert ("samples", (3,), 3) in said
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert ("lifted_gain", last["lifted_gain"], 3) in said


def test_tensorboard_reads_what_a_run_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra [train] is not installed"
    )
    run = Run(tmp_path, TrainConfig())
    run.log(5, {"total": 0.25})
    run.show(5, torch.full((1, 3, 4, 4), 0.5))
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("total")] == [(5, 0.25)]
    assert [event.step for event in events.Images("samples")] == [5]
    assert (tmp_path / "samples" / "0000005.png").is_file()
