"""Train HPBNet, or its U-Net alone, as the paper does (sections 3.2, 3.3, 4.1).

What the paper does not state is chosen here, as fields: the batch size, R1 on the discriminator and how often, the
averaged weights, clipping, the widths of the U-Net.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import read_foreign_tensors
from ..color_temperature import match_color_temperature
from ..disturb import adjust_white_balance, paste
from ..fetch import Checksum, cache_folder, fetch
from ..harmonize import Painter
from ..networks.hpbnet import HPBNet, HPBNetConfig, grow
from ..networks.perceptual import VggFeatures, load_frozen, vgg19
from ..networks.stylegan2 import Discriminator, Generator, StyleGAN2Config
from ..settings import setting
from ..synthesis.draws import uniform, whole
from ..synthesis.pool import Pool
from ..triplet import Triplet
from .composites import crop
from .config import FROM_ZERO, MANY, WEIGHT
from .items import Comparison, Items, PoolTraining, resized
from .losses import Features, Perceptual, discriminator_loss, hpbnet_loss, r1_penalty
from .optimise import Ema, autocast, descend, learning_rate, set_learning_rate
from .run import Progress, Release, Stateful, begin_run
from .sheet import sheet
from .start_weights import read_kind

VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
_VGG19_SHA256 = "dcbb9e9d"  # the first digits, as the published name states them
SHEET = 6  # items on a sheet


@dataclass(frozen=True)
class HPBNetTraining(PoolTraining):
    """What an HPBNet run needs to know. Defaults are the paper's."""

    start: str = setting("", "HPBNet weights to begin with; enlarged if their resolution is lower.", None, "FILE")
    prior: str = setting("", "Weights of a StyleGAN2 generator, which set the generator's sizes.", None, "FILE")
    discriminator: str = setting("", "Weights of its discriminator; a new one without it.", None, "FILE")
    generator: bool = setting(True, 'With the generator; false: "U-Net only", section 4.2.')
    joint: bool = setting(False, "Train the generator too, where the prior is weak or missing.")
    residual: bool = setting(False, "Change the composite's colours: for small budgets without a prior; ours.")
    concatenate: bool = setting(True, "Give the generator the U-Net's features; false: an ablation.")
    resolution: int = setting(512, "Side of the pictures [px], a power of two.", (8, 1024))
    unet_channels: int = setting(32, "Width of the U-Net's finest scale; assumed.", (1, 4096))
    unet_max_channels: int = setting(512, "Largest width of the U-Net; assumed.", (1, 4096))
    channels: int = setting(32768, "Widths of the generator without a prior and of the discriminator.", (1, 1_000_000))
    max_channels: int = setting(512, "Largest width of these two.", (1, 4096))
    z_dim: int = setting(512, "Width of z.", (1, 4096))
    w_dim: int = setting(512, "Width of w.", (1, 4096))
    mapping_layers: int = setting(8, "Layers from z to w.", (1, 64))
    vgg: str = setting("download", 'VGG-19: "download", or a file of torchvision\'s weights.', None, "FILE")
    perceptual_weight: float = setting(0.1, "w_p of Eq. (1).", WEIGHT)
    squared_weight: float = setting(0.0, "Weight of a squared error beside the absolute one of Eq. (1); ours.", WEIGHT)
    adversarial_weight: float = setting(0.1, "w_a of Eq. (2); 0: no discriminator.", WEIGHT)
    adversarial: Literal["non-saturating", "printed"] = setting("non-saturating", "Eq. (2) as printed saturates.")
    r1_gamma: float = setting(10.0, "Weight of R1 on the discriminator; assumed.", WEIGHT)
    r1_every: int = setting(16, "Steps between R1 penalties; assumed.", MANY)
    crops: bool = setting(
        False, "Augment by cropping, rotating and stretching, against overfitting on few portraits; ours."
    )
    white_balance: bool = setting(True, "Augment by white balance.")
    gains: tuple[float, float] = setting(
        (0.75, 1.3), "Smallest and largest gain of the white-balance augmentation, section 3.1.", (0.01, 100)
    )
    steps: int = setting(60_000, "Optimiser steps of the whole learning-rate schedule.", MANY)
    learning_rate: float = setting(2e-3, "Learning rate of Adam.", (0, 10))
    schedule: Literal["constant", "cosine"] = setting("constant", "Learning-rate schedule after `warmup`.")
    warmup: int = setting(0, "Steps in which the learning rate rises, if the schedule is cosine.", FROM_ZERO)
    weight_decay: float = setting(0.0, "Weight decay of Adam.", (0, 10))
    batch_size: int = setting(8, "Items per step, over all processes; the paper does not state it.", (1, 100_000))

    @property
    def network(self) -> HPBNetConfig:
        """Configure the network, apart from what a prior sets."""
        return HPBNetConfig(
            resolution=self.resolution,
            unet_channels=self.unet_channels,
            unet_max_channels=self.unet_max_channels,
            generator=self.generator,
            channels=self.channels,
            max_channels=self.max_channels,
            z_dim=self.z_dim,
            w_dim=self.w_dim,
            mapping_layers=self.mapping_layers,
            residual=self.residual,
            concatenate=self.concatenate,
        )

    def cut(self, item: Triplet, draw: torch.Generator) -> Triplet:
        """Bring an item to the network's resolution, or a part of it."""
        if not self.crops:
            return super().cut(item, draw)
        return crop(item, self.resolution, np.random.default_rng(whole(2**31, draw)), turned=0.5)

    def augment(self, item: Triplet, draw: torch.Generator) -> Triplet:
        """Mirror an item, and balance its white anew, as in section 4.1."""
        composite, mask, truth = super().augment(item, draw)
        if self.white_balance:
            gains = torch.tensor([[uniform(self.gains, draw) for _ in range(3)]])
            composite, truth = (adjust_white_balance(image, gains) for image in (composite, truth))
        return Triplet(composite, mask, truth)


def train_hpbnet(config: HPBNetTraining, directory: Path, progress: Progress | None = None) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    with begin_run(config, directory, progress) as run:
        device = run.group.device
        items = Items(Pool(config.data), config)
        validation = Pool(config.validation) if config.validation else None
        network = build_network(config)
        if config.start:
            load_start(network, config.start)
        network.to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a CPU
        discriminator = build_discriminator(config, network.config.stylegan2).to(device)
        features = load_features(config.vgg, device) if config.perceptual_weight else None
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        critic_optimizer = torch.optim.Adam(discriminator.parameters(), lr=config.learning_rate, betas=(0.0, 0.99))
        ema = Ema(network, config.ema)
        parts: dict[str, Stateful] = {"network": network, "ema": ema, "optimizer": optimizer}
        if config.adversarial_weight:
            parts |= {"discriminator": discriminator, "critic_optimizer": critic_optimizer}
        run.resume(Release("hpbnet", asdict(network.config), ema, items.pool.description), **parts)

        for done, batch in run.batches(items):
            item = batch.to_floats(device)
            rate = learning_rate(done, config) if config.schedule == "cosine" else config.learning_rate
            set_learning_rate(optimizer, rate)

            # Harmonize: Eq. (4).
            discriminator.requires_grad_(False)
            with autocast(config, device):
                painted = network(item.composite, item.mask)
                logits = discriminator(painted.image * 2 - 1) if config.adversarial_weight else None
                perceptual = Perceptual(features, item.truth, config.perceptual_weight) if features else None
                terms = hpbnet_loss(
                    painted,
                    item.truth,
                    perceptual,
                    logits,
                    squared_weight=config.squared_weight,
                    adversarial_weight=config.adversarial_weight,
                    form=config.adversarial,
                )
            descend(terms["total"], network, optimizer, run.group, config.clip)

            # Discriminator.
            discriminator.requires_grad_(True)
            if config.adversarial_weight:
                with autocast(config, device):
                    real_logits = discriminator(item.truth * 2 - 1)
                    critic = discriminator_loss(real_logits, discriminator(painted.image.detach() * 2 - 1))
                descend(critic["total"], discriminator, critic_optimizer, run.group)
                terms |= {"critic": critic["total"]}
                if done % config.r1_every == 0:
                    seen = (item.truth * 2 - 1).requires_grad_()
                    penalty = r1_penalty(discriminator(seen), seen, config.r1_gamma)
                    descend(penalty * config.r1_every, discriminator, critic_optimizer, run.group)
            step = done + 1
            ema.update(network, step)

            # Bookkeeping.
            run.record(step, terms)
            if validation and run.validates(step):
                metrics, pictures = validate(ema, network.config, config, validation, device)
                run.record_metrics(step, metrics)
                run.show(step, pictures)
            run.checkpoint(step)
    return run.weights


def build_network(config: HPBNetTraining) -> HPBNet:
    """Build the network with its prior; the generator learns only where the training is joint.

    Raises:
        ValueError: the generator would be frozen without ever having learned.
    """
    if not config.generator:
        return HPBNet(config.network)
    if not config.prior and not config.joint:
        raise ValueError("a frozen generator needs a prior: set prior=FILE, joint=true or generator=false")
    if not config.prior:
        network = HPBNet(config.network)
    else:
        checkpoint = read_kind(config.prior, "stylegan2")
        prior = Generator(StyleGAN2Config(**dict(checkpoint.config)))  # type: ignore[arg-type]
        prior.load_state_dict({name: value.float() for name, value in checkpoint.tensors.items()})
        sizes = asdict(prior.config)
        shared = {name: sizes[name] for name in asdict(config.network) if name in sizes and name != "resolution"}
        network = HPBNet(replace(config.network, **shared))
        network.load_prior(prior)
    network.generator.requires_grad_(config.joint)
    return network


def load_start(network: HPBNet, path: str) -> None:
    """Begin with a checkpoint's weights; a network of a lower resolution is grown to this one's.

    Raises:
        ValueError: it holds another kind of network, or one of other sizes.
    """
    checkpoint = read_kind(path, "hpbnet")
    start = HPBNet(HPBNetConfig(**dict(checkpoint.config)))  # type: ignore[arg-type]
    start.load_state_dict({name: value.float() for name, value in checkpoint.tensors.items()})
    while start.config.resolution < network.config.resolution:
        start = grow(start)
    sizes = asdict(start.config)
    differing = [name for name, value in asdict(network.config).items() if value != sizes[name]]
    if differing:
        wrong = ", ".join(f"{name}={sizes[name]}" for name in differing)
        raise ValueError(f"{path} was trained with {wrong}; expected the sizes of this run")
    network.load_state_dict(start.state_dict())


def build_discriminator(config: HPBNetTraining, sizes: StyleGAN2Config) -> Discriminator:
    """Build the discriminator: the prior's own, or a new one of its sizes."""
    if not config.discriminator:
        return Discriminator(sizes)
    checkpoint = read_kind(config.discriminator, "stylegan2-discriminator")
    network = Discriminator(StyleGAN2Config(**dict(checkpoint.config)))  # type: ignore[arg-type]
    if network.config.resolution != config.resolution:
        raise ValueError(
            f"{config.discriminator} judges {network.config.resolution} px, expected {config.resolution}; "
            "leave it away to begin a new one"
        )
    network.load_state_dict({name: value.float() for name, value in checkpoint.tensors.items()})
    return network


def load_features(source: str, device: torch.device) -> Features:
    """Load VGG-19 from a file, or from where torchvision publishes it, checked by its hash.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be opened, or fetched.
    """
    if source != "download":
        tensors = read_foreign_tensors(source)
        if "features.0.weight" not in tensors:
            return load_frozen(VggFeatures(), tensors).to(device)
    else:
        name = VGG19.rsplit("/", 1)[1]
        tensors = read_foreign_tensors(fetch(VGG19, cache_folder() / name, Checksum("sha256", _VGG19_SHA256)))
    return load_frozen(vgg19(), tensors).to(device)


@torch.no_grad()
def validate(
    ema: Ema, sizes: HPBNetConfig, config: HPBNetTraining, pool: Pool, device: torch.device
) -> tuple[Mapping[str, float], Tensor]:
    """Measure the averaged weights on validation items, and show some: composite, U-Net, painted, lifted, truth.

    `painted` is the network's whole picture; `pasted` its foreground, after Eq. (3) unless it is `residual`, over the
    composite's background; `lifted` the composite's own foreground recoloured by the grid fitted to that.
    """
    probe = HPBNet(sizes).to(device).eval()
    probe.load_state_dict(ema.shadow)
    comparison = Comparison("painted", "pasted", "lifted")
    shown: list[Tensor] = []
    for index in torch.linspace(0, len(pool) - 1, min(config.validation_items, len(pool))).long().tolist():
        item = resized(pool[index], config.resolution).map(lambda image: image.to(device))
        composite, mask, truth = item
        answer = probe(composite, mask)
        painted = answer.image.clamp(0, 1)
        drifts = not sizes.residual
        corrected = match_color_temperature(painted, composite, mask).clamp(0, 1) if drifts else painted
        pasted = paste(corrected, mask, composite)
        lifted = item.layers.recolor(Painter(probe).lift(item.layers, corrected)).composite()
        comparison.add(item, painted, pasted, lifted)
        if len(shown) < 5 * SHEET:
            shown += [composite, answer.estimates[-1].clamp(0, 1), painted, lifted, truth]
    return comparison.values, sheet(shown, columns=5)
