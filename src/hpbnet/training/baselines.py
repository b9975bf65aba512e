"""Train the paper's compared methods (section 4.3) by one loop.

What differs between them is one class each below: the network, its sizes, the published optimiser, schedule, batch and
augmentation as defaults, and the discriminator of the adversarial ones. Their losses are in `baselines/`. The authors
count epochs of iHarmony4; here a run has `steps`, and schedules are stretched to it. What they do not have is ours:
averaged weights, which are the ones validated and released, as for all trainings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..baselines import Baseline
from ..baselines.adfm import ADFM, ADFMConfig
from ..baselines.baseline import LEAST_RESOLUTION, Critic
from ..baselines.dovenet import DoveNet, DoveNetConfig, DoveNetCritic
from ..baselines.ht import HT, HTConfig
from ..baselines.idih import IDIH, IDIHConfig
from ..baselines.s2crnet import S2CRNet, S2CRNetConfig, S2CRNetCritic
from ..checkpoint import read_foreign_tensors
from ..harmonize import Painter
from ..settings import setting
from ..synthesis.draws import uniform, whole
from ..synthesis.pool import Pool
from ..triplet import Triplet
from .config import FROM_ZERO, MANY, WEIGHT
from .items import Comparison, Items, PoolTraining, resized
from .losses import totalled
from .optimise import Ema, autocast, descend, set_learning_rate
from .run import Progress, Release, Stateful, begin_run
from .sheet import sheet
from .start_weights import read_start

SHEET = 6  # items on a sheet
BETAS = (0.5, 0.999)  # of Adam, as in pix2pix
Parameters = Iterable[nn.Parameter]
_CROP = "Smallest and largest side of the random crop, over the picture's; 1: not cropped."
_SCHEDULE = "Learning-rate schedule; linear: to zero in the second half; steps: to 0.1 at 8/9 and 0.01 at 35/36 of it."
_BATCH = "Items per step, over all processes."


@dataclass(frozen=True)
class BaselineTraining(PoolTraining):
    """What the run of a compared method needs to know."""

    name: ClassVar[str]

    resolution: int = setting(256, "Side of the pictures [px], a power of two.", (LEAST_RESOLUTION, 1024))
    channels: int = setting(64, "Width of the first layers; other widths are multiples of it.", (4, 4096))
    crop: tuple[float, float] = setting((1.0, 1.0), _CROP, (0.1, 1))
    steps: int = setting(60_000, "Optimiser steps of the whole learning-rate schedule.", MANY)
    schedule: Literal["constant", "linear", "steps"] = setting("constant", _SCHEDULE)
    warmup: int = setting(0, "Steps in which the learning rate rises.", FROM_ZERO)
    weight_decay: float = setting(0.0, "Weight decay.", (0, 10))
    clip: float = setting(0.0, "Gradients are clipped to this norm; 0: not clipped.", (0, 1_000_000))

    def cut(self, item: Triplet, draw: torch.Generator) -> Triplet:
        """Crop a random square, and bring it to the network's resolution."""
        size = item.composite.shape[-1]
        side = round(uniform(self.crop, draw) * size)
        top, left = whole(size - side + 1, draw), whole(size - side + 1, draw)
        square = item.map(lambda image: image[:, :, top : top + side, left : left + side])
        return resized(square, self.resolution)

    def build(self) -> Baseline:
        """Build the network that a run without `start` begins with."""
        raise NotImplementedError

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make the network's optimiser."""
        raise NotImplementedError


@dataclass(frozen=True)
class AdversarialTraining(BaselineTraining):
    """What a run with a discriminator also needs to know."""

    adversarial_weight: float = setting(1.0, "Weight of the adversarial term; 0: no discriminator.", WEIGHT)

    def build_critic(self) -> Critic:
        """Build the discriminator."""
        raise NotImplementedError

    def critic_optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make the discriminator's optimiser."""
        raise NotImplementedError


@dataclass(frozen=True)
class HTTraining(BaselineTraining):
    """HT: Adam, constant then linear to zero, mirrored items."""

    name = "ht"

    layers: int = setting(9, "Layers of the transformer.", (1, 64))
    patches: bool = setting(False, "HT+: patches of 4x4 pixels instead of convolutions.")
    learning_rate: float = setting(1e-4, "Learning rate of Adam.", (0, 10))
    schedule: Literal["constant", "linear", "steps"] = setting("linear", _SCHEDULE)

    def build(self) -> Baseline:
        """Build HT."""
        return HT(HTConfig(self.resolution, self.channels, self.layers, patches=self.patches))

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make Adam with the momentum of pix2pix."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, betas=BETAS, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class DoveNetTraining(AdversarialTraining):
    """DoveNet: Adam, constant then linear to zero, items as they are; two discriminators."""

    name = "dovenet"

    batch_norm: bool = setting(False, "As in the authors' released weights; false: instance norm, as in the paper.")
    flips: bool = setting(False, "Mirror half of the items.")
    learning_rate: float = setting(2e-4, "Learning rate of Adam, for both networks.", (0, 10))
    schedule: Literal["constant", "linear", "steps"] = setting("linear", _SCHEDULE)
    batch_size: int = setting(1, _BATCH, (1, 100_000))

    def build(self) -> Baseline:
        """Build DoveNet's generator."""
        return DoveNet(self._sizes)

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make Adam with the momentum of pix2pix."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, betas=BETAS, weight_decay=self.weight_decay)

    def build_critic(self) -> Critic:
        """Build both discriminators."""
        return DoveNetCritic(self._sizes)

    critic_optimizer = optimizer

    @property
    def _sizes(self) -> DoveNetConfig:
        return DoveNetConfig(self.resolution, self.channels, self.batch_norm)


@dataclass(frozen=True)
class ADFMTraining(BaselineTraining):
    """ADFM: Adadelta with its defaults, random crops (256 px of 420 to 512 px), mirrored items."""

    name = "adfm"

    crop: tuple[float, float] = setting((0.5, 0.61), _CROP, (0.1, 1))
    learning_rate: float = setting(1.0, "Learning rate of Adadelta.", (0, 10))
    batch_size: int = setting(24, _BATCH, (1, 100_000))

    def build(self) -> Baseline:
        """Build ADFM."""
        return ADFM(ADFMConfig(self.resolution, self.channels))

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make Adadelta."""
        return torch.optim.Adadelta(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class IDIHTraining(BaselineTraining):
    """iDIH-HRNet18: Adam, a tenth of the rate near the end, random crops of half the area or more, mirrored items."""

    name = "idih"

    backbone: bool = setting(True, "With HRNet18 and OCR; false: iDIH alone.")
    backbone_channels: int = setting(18, "Width of HRNet's finest branch.", (1, 4096))
    crop: tuple[float, float] = setting((0.71, 1.0), _CROP, (0.1, 1))
    learning_rate: float = setting(1e-3, "Learning rate of Adam, also of the backbone.", (0, 10))
    schedule: Literal["constant", "linear", "steps"] = setting("steps", _SCHEDULE)
    batch_size: int = setting(16, "Items per step, over all processes; at least 2 for each.", (2, 100_000))

    def build(self) -> Baseline:
        """Build iDIH, with its backbone or alone."""
        return IDIH(IDIHConfig(self.resolution, self.channels, self.backbone, self.backbone_channels))

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make Adam."""
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class S2CRNetTraining(AdversarialTraining):
    """S2CRNet: AdamW, mirrored items; a small discriminator with RMSprop."""

    name = "s2crnet"

    squeezenet: str = setting("", "Published weights of SqueezeNet 1.1 to begin with, as the authors do.", None, "FILE")
    adversarial_weight: float = setting(0.01, "Weight of the adversarial term; 0: no discriminator.", WEIGHT)
    learning_rate: float = setting(2e-4, "Learning rate of AdamW, and of the discriminator's RMSprop.", (0, 10))
    weight_decay: float = setting(1e-2, "Weight decay of AdamW.", (0, 10))
    batch_size: int = setting(8, _BATCH, (1, 100_000))

    def build(self) -> Baseline:
        """Build S2CRNet.

        Raises:
            ValueError: `squeezenet` holds another network.
        """
        network = S2CRNet(S2CRNetConfig(self.resolution, self.channels))
        if self.squeezenet:
            try:
                network.load_squeezenet(read_foreign_tensors(self.squeezenet))
            except ValueError as error:
                raise ValueError(f"squeezenet={self.squeezenet}: {error}") from None
        return network

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make AdamW."""
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)

    def build_critic(self) -> Critic:
        """Build the discriminator."""
        return S2CRNetCritic(S2CRNetConfig(self.resolution, self.channels))

    def critic_optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Make RMSprop."""
        return torch.optim.RMSprop(parameters, lr=self.learning_rate)


TRAININGS: tuple[type[BaselineTraining], ...] = (
    HTTraining,
    DoveNetTraining,
    ADFMTraining,
    IDIHTraining,
    S2CRNetTraining,
)


def train_baseline(config: BaselineTraining, directory: Path, progress: Progress | None = None) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    with begin_run(config, directory, progress) as run:
        device = run.group.device
        items = Items(Pool(config.data), config)
        validation = Pool(config.validation) if config.validation else None
        network = config.build()
        if config.start:
            network.load_state_dict(read_start(config.start, config.name))
        network.to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU
        optimizer = config.optimizer(network.parameters())
        ema = Ema(network, config.ema)
        parts: dict[str, Stateful] = {"network": network, "ema": ema, "optimizer": optimizer}
        critic, weight = None, 0.0
        if isinstance(config, AdversarialTraining) and config.adversarial_weight:
            critic, weight = config.build_critic().to(device), config.adversarial_weight
            critic_optimizer = config.critic_optimizer(critic.parameters())
            parts |= {"critic": critic, "critic_optimizer": critic_optimizer}
        run.resume(Release(config.name, asdict(network.config), ema, items.pool.description), **parts)

        for done, batch in run.batches(items):
            torch.manual_seed(config.seed + done + (run.group.rank << 32))  # for dropout and the critic's mixtures
            composite, mask, truth = batch.to_floats(device)
            rate = learning_rate(done, config)
            set_learning_rate(optimizer, rate)

            # Harmonize.
            with autocast(config, device):
                estimates = network(composite.contiguous(memory_format=torch.channels_last), mask)
            estimates = [estimate.float() for estimate in estimates]
            terms = {"fidelity": network.loss(estimates, mask, truth)}
            if critic:
                critic.requires_grad_(False)
                with autocast(config, device):
                    terms["adversarial"] = weight * critic.deceit(estimates[-1], mask)
            terms = totalled(terms)
            descend(terms["total"], network, optimizer, run.group, config.clip)

            # Discriminator.
            if critic:
                critic.requires_grad_(True)
                set_learning_rate(critic_optimizer, rate)
                loss = critic.loss(estimates[-1].detach(), truth, mask)
                descend(loss, critic, critic_optimizer, run.group)
                terms["critic"] = loss
            step = done + 1
            ema.update(network, step)

            # Bookkeeping.
            run.record(step, terms)
            if validation and run.validates(step):
                probe = config.build().to(device).eval()
                probe.load_state_dict(ema.shadow)
                metrics, pictures = validate(Painter(probe), config, validation, device)
                run.record_metrics(step, metrics)
                run.show(step, pictures)
            run.checkpoint(step)
    return run.weights


def learning_rate(step: int, config: BaselineTraining) -> float:
    """Rise in `warmup` steps, then follow the schedule of the whole run."""
    share = step / config.steps
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    fall = {
        "constant": 1.0,
        "linear": min(1.0, 2 - 2 * share),
        "steps": 1.0 if share < 8 / 9 else 0.1 if share < 35 / 36 else 0.01,  # epochs 160 and 175 of 180
    }
    return config.learning_rate * rise * fall[config.schedule]


@torch.no_grad()
def validate(
    painter: Painter, config: BaselineTraining, pool: Pool, device: torch.device
) -> tuple[Mapping[str, float], Tensor]:
    """Measure a painter on validation items, and show some: composite, painted, lifted, truth.

    `painted` is the network's own picture, `lifted` the composite's own foreground recoloured by the grid fitted to it.
    """
    comparison = Comparison("painted", "lifted")
    shown: list[Tensor] = []
    for index in torch.linspace(0, len(pool) - 1, min(config.validation_items, len(pool))).long().tolist():
        item = resized(pool[index], config.resolution).map(lambda image: image.to(device))
        painted = painter.paint(item.layers)
        lifted = item.layers.recolor(painter.lift(item.layers, painted)).composite()
        comparison.add(item, painted, lifted)
        if len(shown) < 4 * SHEET:
            shown += [item.composite, painted, lifted, item.truth]
    return comparison.values, sheet(shown, columns=4)
