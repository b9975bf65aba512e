"""Train the matting network on people with mattes, prepared by `tools/prepare_mattes.py`."""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.matting import MattingConfig, MattingNetwork, grow
from ..settings import setting
from .config import TrainConfig
from .cuts import Person, read_cut, read_people
from .mattes import Mattes
from .optimise import Ema, autocast, descend, learning_rate, set_learning_rate
from .run import Progress, Release, begin_run
from .start_weights import read_start

_VALIDATION_PHOTOS = 100  # of each kind, spread over all


@dataclass(frozen=True)
class MattingTraining(TrainConfig):
    """What a matting run needs to know."""

    scenes: str = setting("", "Pictures without people, with index.csv (file, split).", None, "FOLDER")
    size: int = setting(256, "Square root of the area of the training items [px].", (32, 4096))
    channels: tuple[int, ...] = setting((20, 40, 80, 128, 192), "Widths of the encoder's scales.", (1, 4096))
    blocks: tuple[int, ...] = setting((0, 1, 3, 6, 5), "Residual blocks of each scale.", (0, 100))
    start: str = setting("", "Weights to begin with, also of a matting network with fewer blocks.", None, "FILE")


def train_matting(config: MattingTraining, directory: Path, progress: Progress | None = None) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    with begin_run(config, directory, progress) as run:
        device = run.group.device
        people, scenes = read_people(Path(config.data), "train"), read_scenes(Path(config.scenes), "train")
        dataset = Mattes(people, scenes, config.size, config.seed, config.batch_size)
        validation = read_people(Path(config.data), "val")
        network = MattingNetwork(MattingConfig(config.channels, config.blocks))
        if config.start:
            grow(network, read_start(config.start, "matting"))
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        ema = Ema(network, config.ema)
        data = f"{len(people)} cut-outs of {', '.join(sorted({person.source for person in people}))}"
        release = Release("matting", asdict(network.config), ema, data)
        run.resume(release, network=network, optimizer=optimizer, ema=ema)

        for done, batch in run.batches(dataset):
            # One optimiser step.
            set_learning_rate(optimizer, learning_rate(done, config))
            network.train()
            with autocast(config, device):
                portrait = batch.portrait.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
                logits = network(portrait, batch.previous.to(device).float(), batch.hint.to(device).float())
            alpha, sure = (plane.to(device).float() / 255 for plane in (batch.alpha, batch.sure))
            losses = matting_loss(logits.float(), alpha, sure)
            descend(losses["total"], network, optimizer, run.group, config.clip)
            step = done + 1
            ema.update(network, step)

            # Bookkeeping.
            run.record(step, losses)
            if run.validates(step):
                run.record_metrics(step, validate(network, ema, validation, config.size))
            run.checkpoint(step)
    return run.weights


def matting_loss(logits: Tensor, alpha: Tensor, sure: Tensor) -> dict[str, Tensor]:
    """Cross-entropy against the soft alpha, absolute error, those of a Laplacian pyramid and of gradients.

    All are [B,1,H,W]; what is not `sure` (0 to 1) counts for nothing, its surroundings included at coarse levels.
    """
    predicted = logits.sigmoid()
    cross_entropy = (F.binary_cross_entropy_with_logits(logits, alpha, reduction="none") * sure).mean()
    absolute = ((predicted - alpha).abs() * sure).mean()
    edges, error, weight = torch.zeros_like(absolute), predicted - alpha, sure
    for level in range(4):
        small, weight_below = F.avg_pool2d(error, 2), -F.max_pool2d(-weight, 2)
        same = F.interpolate(small, size=error.shape[-2:], mode="bilinear", align_corners=False)
        edges = edges + ((error - same).abs() * weight).mean() * 2**level
        error, weight = small, weight_below
    across, down = (torch.diff(predicted - alpha, dim=axis).abs() for axis in (3, 2))
    gradients = (across * sure[..., 1:]).mean() + (down * sure[..., 1:, :]).mean()
    total = 0.5 * cross_entropy + absolute + edges + gradients
    return {"total": total, "cross_entropy": cross_entropy, "l1": absolute, "edges": edges, "gradients": gradients}


@torch.inference_mode()
def validate(network: MattingNetwork, ema: Ema, people: list[Person], size: int) -> dict[str, float]:
    """Mean absolute error and IoU of the averaged weights on whole validation photos of about size x size."""
    probe = MattingNetwork(network.config).eval()
    probe.load_state_dict(ema.shadow)
    values: dict[str, float] = {}
    for kind in ("portrait", "person"):
        errors, overlaps = [], []
        chosen = [person for person in people if person.kind == kind]
        for photo, alpha in whole_photos(chosen[:: max(1, len(chosen) // _VALIDATION_PHOTOS)], size):
            own = probe(photo).sigmoid()
            errors.append((own - alpha).abs().mean().item())
            both, either = (own > 0.5) & (alpha > 0.5), (own > 0.5) | (alpha > 0.5)
            overlaps.append((both.sum() / either.sum().clamp(min=1)).item())
        if errors:
            values |= {f"{kind}_mae": float(np.mean(errors)), f"{kind}_iou": float(np.mean(overlaps))}
    return values


def whole_photos(people: list[Person], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each photo [1,3,h,w] and its alpha [1,1,h,w] in [0,1], about size x size large, the aspect kept."""
    for person in people:
        cut = read_cut(person.file)
        height, width = cut.alpha.shape
        scale = size / (height * width) ** 0.5 / MattingNetwork.stride
        shape = [max(1, round(side * scale)) * MattingNetwork.stride for side in (height, width)]
        pixels = torch.from_numpy(np.array(cut.photo)).permute(2, 0, 1)[None].float() / 255
        matte = torch.from_numpy(np.array(cut.alpha))[None, None].float() / 255
        yield (
            F.interpolate(pixels, shape, mode="bilinear", antialias=True, align_corners=False),
            F.interpolate(matte, shape, mode="bilinear", antialias=True, align_corners=False),
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
