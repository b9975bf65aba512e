"""Tests of training/distributed.py: two processes take the step that one would."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor

from hpbnet.networks.hpbnet import HPBNet, HPBNetConfig
from hpbnet.training import start
from hpbnet.training.config import TrainConfig
from hpbnet.training.distributed import ProcessGroup, join_processes
from hpbnet.training.harmonizer import HarmonizerTraining, train_harmonizer
from hpbnet.training.losses import hpbnet_loss
from hpbnet.training.run import batches

CPU = torch.device("cpu")
CONFIG = TrainConfig(batch_size=4, workers=0, steps=3)
SIZES = HPBNetConfig(16, 4, 6, True, 64, 4, 4, 4, 2)


def gradients(group: ProcessGroup) -> dict[str, Tensor]:
    """Gradients of the whole network for one batch, of which this process sees its share."""
    torch.manual_seed(0)
    network = HPBNet(SIZES)
    for join in network.joins:
        torch.nn.init.normal_(join.change.weight, std=0.1)
    draw = torch.Generator().manual_seed(1)
    composite, mask, real = (group.share(torch.rand(4, channels, 16, 16, generator=draw)) for channels in (3, 1, 3))
    hpbnet_loss(network(composite, mask), real)["total"].backward()
    group.average_gradients(network)
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def work(rank: int, port: int, folder: str) -> None:
    """Run one of two processes, as `torchrun` would start it."""
    import os

    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with join_processes(replace(CONFIG, device="cpu")) as group:
        torch.save(gradients(group), f"{folder}/{rank}.pt")
        means = group.average([torch.tensor(float(rank)), torch.tensor(4.0)])
        assert means == [0.5, 4.0]
        with group.one_at_a_time(), open(f"{folder}/order", "a") as file:
            file.write(str(rank))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(work, args=(free_port(), str(tmp_path)), nprocs=2)
    alone = gradients(ProcessGroup(0, 1, CPU))
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert alone.keys() == both[0].keys() and len(alone) > 20
    for name, value in alone.items():
        assert torch.equal(both[0][name], both[1][name])
        assert torch.allclose(value, both[0][name], rtol=1e-4, atol=1e-7), name
    assert (tmp_path / "order").read_text() == "01"


def train_share(rank: int, port: int, folder: str) -> None:
    """Run one of two processes of a training."""
    import os

    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    config = HarmonizerTraining(
        data=f"{folder}/pool", channels=(8, 8, 8, 8), size=32, steps=2, batch_size=4, workers=0, threads=1, log_every=1
    )
    assert train_harmonizer(config, Path(folder) / "run").is_file()


def test_two_processes_of_a_harmonizer_training_write_one_run(tmp_path: Path) -> None:
    shard = tmp_path / "pool" / "000"
    shard.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, 16:48] = 255
    for name, array in {"reals": pictures, "composites": pictures // 2, "masks": masks}.items():
        np.save(shard / f"{name}.npy", array)
    (shard / "rows.jsonl").write_text('{"plain": false, "recipe": "paper"}\n' * 2)
    multiprocessing.spawn(train_share, args=(free_port(), str(tmp_path)), nprocs=2)
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


class Numbers(torch.utils.data.Dataset[int]):
    def __getitem__(self, index: int) -> int:
        return index


def test_processes_share_each_batch() -> None:
    whole = [batch.tolist() for batch in batches(Numbers(), CONFIG, 1, 3)]
    shares = [
        [batch.tolist() for batch in batches(Numbers(), CONFIG, 1, 3, ProcessGroup(rank, 2, CPU))] for rank in range(2)
    ]
    assert whole == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert shares == [[[4, 6], [8, 10]], [[5, 7], [9, 11]]]


def test_one_process_alone_needs_nothing() -> None:
    with join_processes(CONFIG) as group:
        assert group.first and group.size == 1
        assert group.average([torch.tensor(2.0)]) == [2.0]
        assert torch.equal(group.share(torch.arange(3)).cpu(), torch.arange(3))


def test_a_batch_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(ValueError, match="batch_size=4 does not divide among 3"),
        join_processes(replace(CONFIG, device="cpu")),
    ):
        pass


def test_a_missing_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"), join_processes(replace(CONFIG, device="cuda")):
        pass


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize(("task", "fields"), [("hpbnet", "resolution \\(now 64\\)"), ("matting", "size \\(now")])
def test_memory_that_is_too_small_names_the_fields_to_lower(
    error: Exception, task: str, fields: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def train(config: TrainConfig, directory: Path, progress: object) -> Path:
        raise error

    kind = start.TASKS[task].config
    monkeypatch.setitem(start.TASKS, task, start.Task(kind, train))
    config = kind(batch_size=9, **({"resolution": 64} if task == "hpbnet" else {}))
    with pytest.raises(ValueError, match=rf"lower batch_size \(now 9\) or {fields}"):
        start.train(task, config, tmp_path)


def test_other_errors_of_a_training_stay_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def train(config: TrainConfig, directory: Path, progress: object) -> Path:
        raise RuntimeError("shapes do not match")

    monkeypatch.setitem(start.TASKS, "matting", start.Task(TrainConfig, train))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        start.train("matting", TrainConfig(), tmp_path)
