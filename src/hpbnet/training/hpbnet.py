"""Train HPBNet, or its U-Net alone, as the paper does (sections 3.2, 3.3, 4.1).

What the paper does not state is chosen here, as fields: the batch size, R1 on the discriminator and how often, the
averaged weights, clipping, the widths of the U-Net.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from ..checkpoint import Checkpoint, Plain, read_checkpoint, read_foreign_tensors
from ..color_temperature import match_color_temperature
from ..disturb import adjust_white_balance, paste
from ..harmonize import Painter
from ..layers import Layers
from ..metrics import mse, psnr
from ..networks.hpbnet import HPBNet, HPBNetConfig, grow
from ..networks.perceptual import VggFeatures, load_frozen, vgg19
from ..networks.stylegan2 import Discriminator, Generator, StyleGAN2Config
from ..synthesis.draws import happens, seeded, uniform, whole
from ..synthesis.pool import Pool, Triplet
from ..synthesis.recipe import PAPER
from .composites import crop, renew
from .config import TrainConfig
from .distributed import Crew, crew
from .losses import Features, Perceptual, discriminator_loss, hpbnet_loss, r1_penalty
from .run import Ema, Run, Stateful, autocast, batches, learning_rate
from .stylegan import descend, sheet

VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"  # the name ends with the beginning of its SHA-256
SHEET = 6  # items on a sheet


@dataclass(frozen=True)
class HPBNetTraining(TrainConfig):
    """What an HPBNet run needs to know; `data` is a pool of items (`synthesis/shards.py`). Defaults are the paper's."""

    validation: str = ""  # a pool of validation portraits; no validation without it
    validation_items: int = 64
    start: str = ""  # HPBNet checkpoint whose weights the run begins with; grown if its resolution is lower
    prior: str = ""  # checkpoint of a StyleGAN2 generator, which sets the generator's sizes
    discriminator: str = ""  # checkpoint of its discriminator; a new one without it
    generator: bool = True  # false: "U-Net only", section 4.2
    joint: bool = False  # train the generator too, where the prior is weak or missing
    residual: bool = False  # change the composite's colours: for small budgets without a prior; ours
    concatenate: bool = True  # false: without the U-Net's features in the generator, an ablation
    resolution: int = 512  # [px]
    unet_channels: int = 32  # assumed
    unet_max_channels: int = 512  # assumed
    channels: int = 32768  # of the generator without a prior, and of the discriminator
    max_channels: int = 512
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    vgg: str = "download"  # VGG-19: "download", or a file of torchvision's or of normalised weights
    perceptual_weight: float = 0.1  # w_p of Eq. (1)
    squared_weight: float = 0.0  # of the squared error beside Eq. (1)'s absolute one; ours
    adversarial_weight: float = 0.1  # w_a of Eq. (2); 0: no discriminator
    adversarial: Literal["non-saturating", "printed"] = "non-saturating"  # Eq. (2) as printed saturates
    r1_gamma: float = 10.0  # assumed
    r1_every: int = 16  # steps; assumed
    flips: bool = True
    crops: bool = False  # cut, turn and stretch: for few portraits, which are else known by heart; ours
    white_balance: bool = True  # augmentation
    gains: tuple[float, float] = (0.75, 1.3)  # least and largest of the white balance, section 3.1
    steps: int = 60_000
    learning_rate: float = 2e-3  # Adam
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    batch_size: int = 8  # assumed
    device: Literal["auto", "cpu", "cuda"] = "auto"
    licence: str = "see WEIGHTS_LICENSE"

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


def train_hpbnet(config: HPBNetTraining, directory: Path) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    with crew(config, config.device) as us:
        return _train(config, directory, us)


def _train(config: HPBNetTraining, directory: Path, us: Crew) -> Path:  # noqa: PLR0915 (a training loop stays whole)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = build_network(config)
    if config.start:
        load_start(network, config.start)
    network.to(us.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on a CPU
    discriminator = build_discriminator(config, network.config.stylegan2).to(us.device)
    features = load_features(config.vgg, us.device) if config.perceptual_weight else None
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    critic_optimizer = torch.optim.Adam(discriminator.parameters(), lr=config.learning_rate, betas=(0.0, 0.99))
    ema = Ema(network, config.ema)
    parts: dict[str, Stateful] = {"network": network, "ema": ema, "optimizer": optimizer}
    if config.adversarial_weight:
        parts |= {"discriminator": discriminator, "critic_optimizer": critic_optimizer}
    with us.turn():
        run = Run(directory, config)
        step = run.load(parts)
    items = Items(Pool(config.data), config)
    validation = Pool(config.validation) if config.validation else None

    for batch in batches(items, config, step, us.rank, us.size):
        item = Item(*(part.to(us.device).float() / 255 for part in batch))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config) if config.schedule == "cosine" else config.learning_rate

        # Harmonize: Eq. (4).
        discriminator.requires_grad_(False)
        with autocast(config, us.device.type):
            painted = network(item.composite, item.mask)
            logits = discriminator(painted.image * 2 - 1) if config.adversarial_weight else None
            perceptual = Perceptual(features, item.real, config.perceptual_weight) if features else None
            terms = hpbnet_loss(
                painted,
                item.real,
                perceptual,
                logits,
                squared_weight=config.squared_weight,
                adversarial_weight=config.adversarial_weight,
                form=config.adversarial,
            )
        descend(terms["total"], network, optimizer, us, config.clip)

        # Discriminator.
        discriminator.requires_grad_(True)
        if config.adversarial_weight:
            with autocast(config, us.device.type):
                real_logits = discriminator(item.real * 2 - 1)
                critic = discriminator_loss(real_logits, discriminator(painted.image.detach() * 2 - 1))
            descend(critic["total"], discriminator, critic_optimizer, us)
            terms |= {"critic": critic["total"]}
            if step % config.r1_every == 0:
                seen = (item.real * 2 - 1).requires_grad_()
                penalty = r1_penalty(discriminator(seen), seen, config.r1_gamma)
                descend(penalty * config.r1_every, discriminator, critic_optimizer, us)
        step += 1
        ema.update(network, step)

        # Bookkeeping.
        saving = step % config.checkpoint_every == 0 or step == config.steps
        if saving or step % config.log_every == 0:
            values = dict(zip(terms, us.average(terms.values()), strict=True))
            if us.first:
                run.log(step, values)
        if us.first and (step % config.validate_every == 0 or step == config.steps) and validation:
            measured, pictures = validate(ema, network.config, config, validation, us.device)
            run.log(step, measured)
            run.show(step, pictures)
        if us.first and saving:
            provenance: dict[str, Plain] = {
                "data": "disturbed portraits (MODEL_CARD.md)",
                "steps": step,
                "licence": config.licence,
            }
            run.release("hpbnet", asdict(network.config), ema.shadow, provenance)
            run.save(step, parts)  # last: a run killed before it does these steps again
    us.wait()
    return directory / "weights.safetensors"


class Item(NamedTuple):
    """What the network sees, and the truth."""

    composite: Tensor  # [3,R,R] uint8
    mask: Tensor  # [1,R,R] uint8
    real: Tensor  # [3,R,R] uint8


class Items(Dataset[Item]):
    """Endless items of a pool, augmented as in section 4.1; item k depends on (seed, k) alone.

    Those of the `relit` recipe give their light to a new item of the `paper` recipe each time.
    """

    def __init__(self, pool: Pool, config: HPBNetTraining) -> None:
        self.pool, self.config = pool, config

    def __getitem__(self, index: int) -> Item:
        """Read item `index`: every item of the pool comes once in each round."""
        turn, place = divmod(index, len(self.pool))
        order = torch.randperm(len(self.pool), generator=seeded(self.config.seed, "round", turn))
        chosen, draw = int(order[place]), seeded(self.config.seed, "augment", index)
        composite, real, mask = self._taken(self.pool[chosen], draw)
        if self.pool.recipes[chosen] == "relit":
            other = whole(len(self.pool), draw)
            _, reference, reference_mask = resized(self.pool[other], self.config.resolution)
            item = renew((composite, real, mask), (reference, reference_mask), PAPER, draw)
            composite, mask, real = item.composite, item.mask, item.real
        if self.config.flips and happens(0.5, draw):
            composite, real, mask = composite.flip(3), real.flip(3), mask.flip(3)
        if self.config.white_balance:
            gains = torch.tensor([[uniform(self.config.gains, draw) for _ in range(3)]])
            composite, real = adjust_white_balance(composite, gains), adjust_white_balance(real, gains)
        return Item(*((image[0] * 255).round().to(torch.uint8) for image in (composite, mask, real)))

    def _taken(self, item: Triplet, draw: torch.Generator) -> Triplet:
        """Bring an item to the network's resolution, or a part of it."""
        if not self.config.crops:
            return resized(item, self.config.resolution)
        return crop(item, self.config.resolution, np.random.default_rng(whole(2**31, draw)), turned=0.5)


def resized(images: Triplet, resolution: int) -> Triplet:
    """Bring square images [1,C,S,S] to a resolution."""
    if images[0].shape[-1] == resolution:
        return images
    size = (resolution, resolution)
    composite, real, mask = (
        F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False) for x in images
    )
    return composite, real, mask


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
        checkpoint = expect(config.prior, "stylegan2")
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
    checkpoint = expect(path, "hpbnet")
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
    checkpoint = expect(config.discriminator, "stylegan2-discriminator")
    network = Discriminator(StyleGAN2Config(**dict(checkpoint.config)))  # type: ignore[arg-type]
    if network.config.resolution != config.resolution:
        raise ValueError(
            f"{config.discriminator} judges {network.config.resolution} px, expected {config.resolution}; "
            "leave it away to begin a new one"
        )
    network.load_state_dict({name: value.float() for name, value in checkpoint.tensors.items()})
    return network


def expect(path: str, kind: str) -> Checkpoint:
    """Read a checkpoint of one kind of network."""
    checkpoint = read_checkpoint(path)
    if checkpoint.network != kind:
        raise ValueError(f"{path} holds a {checkpoint.network} network, expected {kind}")
    return checkpoint


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
        tensors = torch.hub.load_state_dict_from_url(VGG19, map_location="cpu", check_hash=True, weights_only=True)
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
    rows: list[Tensor] = []
    shown: list[Tensor] = []
    for index in torch.linspace(0, len(pool) - 1, min(config.validation_items, len(pool))).long().tolist():
        composite, real, mask = (x.to(device) for x in resized(pool[index], config.resolution))
        answer = probe(composite, mask)
        painted = answer.image.clamp(0, 1)
        drifts = not sizes.residual
        corrected = match_color_temperature(painted, composite, mask).clamp(0, 1) if drifts else painted
        pasted = paste(corrected, mask, composite)
        layers = Layers(composite, mask, composite)
        lifted = layers.recolor(Painter(probe).lift(layers, corrected)).composite()
        results = (composite, painted, pasted, lifted)
        rows.append(torch.stack([torch.stack([mse(x, real), psnr(x, real)]) for x in results])[:, :, 0])  # [4,2]
        if len(shown) < 5 * SHEET:
            shown += [composite, answer.estimates[-1].clamp(0, 1), painted, lifted, real]
    before, *after = torch.stack(rows).mean(dim=0).tolist()
    values: dict[str, float] = {}
    for name, (error, decibels) in zip(("painted", "pasted", "lifted"), after, strict=True):
        values |= {f"{name}_ratio": error / before[0], f"{name}_gain": decibels - before[1]}
    return values, sheet(shown, columns=5)
