"""Train the matting network on portraits with (teacher) mattes."""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.matting import MattingConfig, MattingNetwork
from ..settings import setting
from ..synthesis.portraits import Portrait, read_index
from .config import TrainConfig
from .mattes import Mattes, read_portrait
from .optimise import Ema, autocast, descend, learning_rate, set_learning_rate
from .run import Progress, Release, begin_run
from .start_weights import read_start


@dataclass(frozen=True)
class MattingTraining(TrainConfig):
    """What a matting run needs to know."""

    scenes: str = setting("", "Pictures without people, with index.csv (file, split).", None, "FOLDER")
    size: int = setting(256, "Side of the training items [px].", (32, 4096))
    channels: tuple[int, ...] = setting((20, 40, 80, 128, 192), "Widths of the encoder's scales.", (1, 4096))
    blocks: tuple[int, ...] = setting((0, 1, 2, 4, 2), "Residual blocks of each scale.", (0, 100))
    start: str = setting("", "Weights of a matting network to begin with.", None, "FILE")


def train_matting(config: MattingTraining, directory: Path, progress: Progress | None = None) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    with begin_run(config, directory, progress) as run:
        device = run.group.device
        portraits, scenes = read_index(Path(config.data), "train"), read_scenes(Path(config.scenes), "train")
        dataset = Mattes(portraits, scenes, config.size, config.seed)
        validation = read_index(Path(config.data), "val")
        network = MattingNetwork(MattingConfig(config.channels, config.blocks))
        if config.start:
            network.load_state_dict(read_start(config.start, "matting"))
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        ema = Ema(network, config.ema)
        data = f"{len(portraits)} portraits of {', '.join(sorted({portrait.source for portrait in portraits}))}"
        release = Release("matting", asdict(network.config), ema, data)
        run.resume(release, network=network, optimizer=optimizer, ema=ema)

        for done, batch in run.batches(dataset):
            # One optimiser step.
            set_learning_rate(optimizer, learning_rate(done, config))
            network.train()
            with autocast(config, device):
                portrait = batch.portrait.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
                logits = network(portrait, batch.previous.to(device).float())
            losses = matting_loss(logits.float(), batch.alpha.to(device).float() / 255)
            descend(losses["total"], network, optimizer, run.group, config.clip)
            step = done + 1
            ema.update(network, step)

            # Bookkeeping.
            run.record(step, losses)
            if run.validates(step):
                run.record_metrics(step, validate(network, ema, validation, config.size))
            run.checkpoint(step)
    return run.weights


def matting_loss(logits: Tensor, alpha: Tensor) -> dict[str, Tensor]:
    """Cross-entropy against the soft alpha, absolute error, and that of a Laplacian pyramid; [B,1,H,W] each."""
    predicted = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, alpha)
    absolute = (predicted - alpha).abs().mean()
    edges = sum((band(predicted, level) - band(alpha, level)).abs().mean() * 2**level for level in range(4))
    assert isinstance(edges, Tensor)
    return {
        "total": 0.5 * cross_entropy + absolute + edges,
        "cross_entropy": cross_entropy,
        "l1": absolute,
        "edges": edges,
    }


def band(alpha: Tensor, level: int) -> Tensor:
    """One level of a Laplacian pyramid of [B,1,H,W]."""
    small = F.avg_pool2d(alpha, 2**level) if level else alpha
    return small - F.interpolate(F.avg_pool2d(small, 2), size=small.shape[-2:], mode="bilinear", align_corners=False)


@torch.inference_mode()
def validate(network: MattingNetwork, ema: Ema, portraits: list[Portrait], size: int) -> dict[str, float]:
    """Mean absolute error of the averaged weights on whole validation photos squeezed to size x size."""
    probe = MattingNetwork(network.config).eval()
    probe.load_state_dict(ema.shadow)
    errors = [(probe(photo).sigmoid() - alpha).abs().mean().item() for photo, alpha in whole_photos(portraits, size)]
    return {"val_mae": float(np.mean(errors))}


def whole_photos(portraits: list[Portrait], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each photo [1,3,S,S] and its alpha [1,1,S,S] in [0,1]."""
    for portrait in portraits:
        photo, alpha, _ = read_portrait(portrait.photo, portrait.alpha)
        pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
        matte = torch.from_numpy(alpha)[None, None].float() / 255
        yield (
            F.interpolate(pixels, (size, size), mode="bilinear", antialias=True, align_corners=False),
            F.interpolate(matte, (size, size), mode="bilinear", antialias=True, align_corners=False),
        )


def read_scenes(folder: Path, split: str) -> list[Path]:
    """List the pictures of a split.

    Raises:
        ValueError: the folder has no index.
    """
    if not (folder / "index.csv").is_file():
        raise ValueError(f"no index.csv in {folder}: set scenes=FOLDER to pictures without people")
    with (folder / "index.csv").open(newline="") as file:
        return [folder / row["file"] for row in csv.DictReader(file) if row["split"] == split]
