"""Train the matting network on portraits with (teacher) mattes."""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoint import Plain, read_checkpoint
from ..networks.matting import MattingConfig, MattingNetwork
from ..synthesis.portraits import Portrait, read_index
from .config import TrainConfig
from .mattes import Mattes, read_portrait
from .run import Ema, Run, autocast, batches, learning_rate


@dataclass(frozen=True)
class MattingTraining(TrainConfig):
    """What a matting run needs to know."""

    scenes: str = ""  # folder of pictures without people, with index.csv (file, split)
    size: int = 256  # [px] of the training items
    channels: tuple[int, ...] = (20, 40, 80, 128, 192)
    blocks: tuple[int, ...] = (0, 1, 2, 4, 2)
    start: str = ""  # checkpoint whose weights the run begins with
    licence: str = "see WEIGHTS_LICENSE"


def train_matting(config: MattingTraining, directory: Path) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = MattingNetwork(MattingConfig(config.channels, config.blocks))
    if config.start:
        network.load_state_dict({name: value.float() for name, value in read_checkpoint(config.start).tensors.items()})
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    ema = Ema(network, config.ema)
    run = Run(directory, config)
    parts = {"network": network, "optimizer": optimizer, "ema": ema}
    step = run.load(parts)
    dataset = Mattes(
        read_index(Path(config.data), "train"), read_scenes(Path(config.scenes), "train"), config.size, config.seed
    )
    validation = read_index(Path(config.data), "val")

    for batch in batches(dataset, config, step):
        # One optimiser step.
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        network.train()
        with autocast(config):
            logits = network(
                batch.portrait.float().div_(255).contiguous(memory_format=torch.channels_last), batch.previous.float()
            )
        losses = matting_loss(logits.float(), batch.alpha.float() / 255)
        optimizer.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()
        step += 1
        ema.update(network, step)

        # Bookkeeping.
        if step % config.log_every == 0:
            run.log(step, {name: value.item() for name, value in losses.items()})
        if step % config.validate_every == 0 or step == config.steps:
            run.log(step, validate(network, ema, validation, config.size))
        if step % config.checkpoint_every == 0 or step == config.steps:
            provenance: dict[str, Plain] = {
                "data": "teacher mattes of portraits (MODEL_CARD.md)",
                "steps": step,
                "licence": config.licence,
            }
            run.release("matting", asdict(network.config), ema.shadow, provenance)
            run.save(step, parts)  # last: a run killed before it does these steps again
    return run.directory / "weights.safetensors"


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
