"""Train the prior: StyleGAN2 with its own losses, lazily regularised, and adaptive augmentation for few photos."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..checkpoint import read_foreign_tensors
from ..files import PICTURE_SUFFIXES
from ..metrics import frechet_distance, gaussian
from ..networks.perceptual import load_frozen, squeezenet
from ..networks.stylegan2 import Discriminator, Generator, StyleGAN2Config
from ..settings import setting
from ..synthesis.draws import seeded
from ..synthesis.portraits import Box, read_index
from .augment import Adaptive, augment
from .config import WEIGHT, TrainConfig
from .distributed import ProcessGroup
from .losses import adversarial_loss, discriminator_loss, path_length_penalty, path_lengths, r1_penalty
from .optimise import Ema, autocast, descend
from .run import Progress, Release, Stateful, begin_run
from .sheet import sheet
from .start_weights import read_start

R1_EVERY, PATH_EVERY = 16, 4  # steps: regularisation is lazy
MIXING = 0.9  # how often two z share an image
PATH_DECAY = 0.99  # of the running mean of path lengths
SHEET = 16  # samples on a sheet
FRAME = 2.1  # side of a photo's square over that of its face


@dataclass(frozen=True)
class StyleGANTraining(TrainConfig):
    """What a prior needs to know. The defaults are StyleGAN2's, configuration F, at 256 px."""

    data: str = setting("", "Aligned portraits, with or without index.csv.", None, "FOLDER")
    sources: tuple[str, ...] = setting((), "Sources of the index to use; all if there are none.")
    resolution: int = setting(256, "Side of the pictures [px], a power of two.", (8, 1024))
    channels: int = setting(32768, "Widths of generator and discriminator.", (1, 1_000_000))
    max_channels: int = setting(512, "Largest width.", (1, 4096))
    z_dim: int = setting(512, "Width of z.", (1, 4096))
    w_dim: int = setting(512, "Width of w.", (1, 4096))
    mapping_layers: int = setting(8, "Layers from z to w.", (1, 64))
    batch_size: int = setting(32, "Items per step, over all processes.", (1, 100_000))
    learning_rate: float = setting(2e-3, "Learning rate of Adam, constant.", (0, 10))
    r1_gamma: float = setting(10.0, "Weight of R1 on the discriminator.", WEIGHT)
    path_length_weight: float = setting(2.0, "0: no path-length regularisation.", WEIGHT)
    augment: bool = setting(True, "Augment adaptively what the discriminator sees.")
    squeezenet: str = setting(
        "",
        "Published weights of SqueezeNet 1.1: validate by the Frechet distance of its features, which is not FID.",
        None,
        "FILE",
    )
    frechet_images: int = setting(2_000, "Images of either kind in that distance.", (2, 1_000_000))
    start: str = setting("", "Weights of a generator (hpbnet convert stylegan2) to begin with.", None, "FILE")
    start_discriminator: str = setting("", "Weights of a discriminator to begin with.", None, "FILE")

    @property
    def network(self) -> StyleGAN2Config:
        """Configure generator and discriminator."""
        sizes = (self.resolution, self.channels, self.max_channels, self.z_dim, self.w_dim, self.mapping_layers)
        return StyleGAN2Config(*sizes)


def train_stylegan(  # noqa: PLR0915 (a training loop stays whole)
    config: StyleGANTraining, directory: Path, progress: Progress | None = None
) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released generator."""
    with begin_run(config, directory, progress) as run:
        group, device = run.group, run.group.device
        faces = Faces(list_faces(Path(config.data), config.sources), config.resolution, config.seed)
        generator, discriminator = build_networks(config, device)
        ema = Ema(generator, config.ema)
        optimizer = lazy_adam(generator, config.learning_rate, PATH_EVERY if config.path_length_weight else 0)
        critic_optimizer = lazy_adam(discriminator, config.learning_rate, R1_EVERY)
        adaptive, paths = Adaptive(), PathMean(device)
        parts: dict[str, Stateful] = {"generator": generator, "discriminator": discriminator, "ema": ema}
        parts |= {"optimizer": optimizer, "critic_optimizer": critic_optimizer, "adaptive": adaptive, "paths": paths}
        run.resume(Release("stylegan2", asdict(config.network), ema, faces.description), **parts)

        for done, batch in run.batches(faces):
            real = batch.to(device).float() / 127.5 - 1
            draw = seeded(config.seed, "z", done)  # the same in every process: each takes its share
            chance = seeded(config.seed, "augment", done, group.rank)
            noise = torch.Generator(device).manual_seed(seeded(config.seed, "noise", done, group.rank).initial_seed())
            p = adaptive.probability
            z = group.share(torch.randn(config.batch_size, 2, config.z_dim, generator=draw))
            cuts = group.share(mixing_cuts(config.batch_size, config.network.styles, draw))

            # Generate.
            with autocast(config, device):
                w = generator.mapping(z.flatten(0, 1)).unflatten(0, (-1, 2))
                fake = generator.synthesis(mixed(w, cuts, config.network.styles), noise)

            # Discriminator.
            discriminator.requires_grad_(True)
            with autocast(config, device):
                real_logits = discriminator(augment(real, p, chance))
                terms = discriminator_loss(real_logits, discriminator(augment(fake.detach(), p, chance)))
            descend(terms["total"], discriminator, critic_optimizer, group)
            if done % R1_EVERY == 0:
                seen = augment(real, p, chance).requires_grad_()
                penalty = r1_penalty(discriminator(seen), seen, config.r1_gamma)
                descend(penalty * R1_EVERY, discriminator, critic_optimizer, group)

            # Generator.
            discriminator.requires_grad_(False)
            with autocast(config, device):
                deceit = adversarial_loss(discriminator(augment(fake, p, chance)))
            descend(deceit, generator, optimizer, group)
            if config.path_length_weight and done % PATH_EVERY == 0:
                half = max(1, z.shape[0] // 2)
                w = generator.mapping(z[:half].flatten(0, 1)).unflatten(0, (-1, 2))
                ws = mixed(w, cuts[:half], config.network.styles)
                lengths = path_lengths(generator.synthesis(ws, noise), ws, noise)
                penalty = path_length_penalty(lengths, paths.update(lengths, group), config.path_length_weight)
                descend(penalty * PATH_EVERY, generator, optimizer, group)

            # Averages.
            (sign,) = group.average([real_logits.sign().mean()])
            generator.mapping.track(w.detach().float().flatten(0, 1))
            if config.augment:
                adaptive.update(sign, config.batch_size)
            step = done + 1
            ema.update(generator, step)

            # Bookkeeping.
            values = {"critic_real": terms["real"], "critic_fake": terms["fake"], "deceit": deceit}
            run.record(step, values | {"augment": p, "sign_real": sign, "path_length": paths.mean})
            if run.validates(step):
                run.show(step, samples(ema, config.network))
                if config.squeezenet:
                    run.record_metrics(step, {"frechet_squeezenet": frechet(ema, config, faces, device)})
            run.checkpoint(step)
    return run.weights


class PathMean:
    """The running mean of path lengths."""

    def __init__(self, device: torch.device) -> None:
        self.mean = torch.zeros((), device=device)

    def update(self, lengths: Tensor, group: ProcessGroup) -> Tensor:
        """Move towards a batch's mean and return the mean."""
        batch = group.average([lengths.mean()])[0]
        self.mean = PATH_DECAY * self.mean + (1 - PATH_DECAY) * batch
        return self.mean

    def state_dict(self) -> dict[str, object]:
        """Return the mean."""
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore the mean."""
        assert isinstance(state["mean"], Tensor)
        self.mean = state["mean"].to(self.mean)


class Face(NamedTuple):
    """A photo, and where its face is and where it comes from, if that is known."""

    photo: Path
    box: Box | None = None  # x, y, width, height [px]
    source: str = ""


class Faces(Dataset[Tensor]):
    """Endless square photos [3,R,R] uint8, half of them mirrored; item k depends on (seed, k) alone."""

    def __init__(self, faces: Sequence[Face], resolution: int, seed: int) -> None:
        self.faces, self.resolution, self.seed = faces, resolution, seed

    @property
    def description(self) -> str:
        """How many photos there are, and where they come from."""
        sources = sorted({face.source for face in self.faces} - {""})
        return f"{len(self.faces)} photos" + (f" of {', '.join(sources)}" if sources else "")

    def __getitem__(self, index: int) -> Tensor:
        """Read item `index`: every photo comes once in each round."""
        turn, place = divmod(index, len(self.faces))
        order = torch.randperm(len(self.faces), generator=seeded(self.seed, "round", turn))
        face = self.faces[int(order[place])]
        try:
            with Image.open(face.photo) as photo:
                box = square_around(face.box, *photo.size)
                square = photo.convert("RGB").resize((self.resolution,) * 2, Image.Resampling.LANCZOS, box=box)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{face.photo} cannot be read as a picture: {error}") from None
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)
        mirrored = bool(torch.rand((), generator=seeded(self.seed, "mirror", index)) < 0.5)
        return pixels.flip(2) if mirrored else pixels


def square_around(face: Box | None, width: int, height: int) -> tuple[float, float, float, float]:
    """Cut a face as FFHQ does, `FRAME` times its size, or the middle of a photo -> left, top, right, bottom [px]."""
    x, y, w, h = face or (0, 0, width, height)
    side = min(FRAME * max(w, h), width, height)
    left, top = max(0.0, x + w / 2 - side / 2), max(0.0, y + h / 2 - side / 2)
    left, top = min(left, width - side), min(top, height - side)
    return left, top, left + side, top + side


def list_faces(folder: Path, sources: Sequence[str]) -> list[Face]:
    """List the training photos of a folder with an `index.csv`, or all pictures below a folder.

    Raises:
        ValueError: there is no such folder, or there are no photos in it.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    if (folder / "index.csv").is_file():
        rows = read_index(folder, "train")
        faces = [Face(row.photo, row.face, row.source) for row in rows if not sources or row.source in sources]
    else:
        faces = [Face(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    if not faces:
        raise ValueError(f"{folder} holds no photos" + (f" of {', '.join(sources)}" if sources else ""))
    return faces


def build_networks(config: StyleGANTraining, device: torch.device) -> tuple[Generator, Discriminator]:
    """Build both networks, with the weights that the run begins with."""
    generator, discriminator = Generator(config.network), Discriminator(config.network)
    if config.start:
        generator.load_state_dict(read_start(config.start, "stylegan2"))
    if config.start_discriminator:
        discriminator.load_state_dict(read_start(config.start_discriminator, "stylegan2-discriminator"))
    return generator.to(device), discriminator.to(device)


def lazy_adam(network: nn.Module, learning_rate: float, every: int) -> torch.optim.Adam:
    """Make Adam for a network regularised every k-th step, whose extra steps are allowed for; 0: never."""
    share = every / (every + 1) if every else 1.0
    return torch.optim.Adam(network.parameters(), lr=learning_rate * share, betas=(0.0, 0.99**share), eps=1e-8)


def mixing_cuts(count: int, styles: int, draw: torch.Generator) -> Tensor:
    """Draw for each image from which style on its second z counts; `styles` where it does not -> [B]."""
    cuts = torch.randint(1, styles, (count,), generator=draw)
    return torch.where(torch.rand(count, generator=draw) < MIXING, cuts, styles)


def mixed(w: Tensor, cuts: Tensor, styles: int) -> Tensor:
    """Deal two w [B,2,w_dim] out to the styles -> ws [B,styles,w_dim]."""
    second = torch.arange(styles, device=w.device) >= cuts[:, None]
    return torch.where(second[:, :, None], w[:, 1:], w[:, :1])


@torch.no_grad()
def samples(ema: Ema, config: StyleGAN2Config) -> Tensor:
    """Lay out samples of the averaged generator, always of the same z -> [1,3,H,W]."""
    network = Generator(config).eval()
    network.load_state_dict(ema.shadow)
    z = torch.randn(SHEET, config.z_dim, generator=torch.Generator().manual_seed(0))
    return sheet((network(one[None], truncation_psi=0.7) * 0.5 + 0.5).clamp(0, 1) for one in z)


@torch.no_grad()
def frechet(ema: Ema, config: StyleGANTraining, faces: Faces, device: torch.device) -> float:
    """Compare samples of the averaged generator, untruncated, with training photos; on the same ones every time."""
    network = Generator(config.network).to(device).eval()
    network.load_state_dict(ema.shadow)
    stack = load_frozen(squeezenet(), read_foreign_tensors(config.squeezenet)).to(device)
    draw = torch.Generator().manual_seed(0)
    generated, real = [], []
    for index in range(config.frechet_images):
        z = torch.randn(1, config.z_dim, generator=draw).to(device)
        generated.append(stack((network(z) * 0.5 + 0.5).clamp(0, 1))[-1].mean(dim=(2, 3)))
        real.append(stack(faces[index][None].to(device).float() / 255)[-1].mean(dim=(2, 3)))
    return frechet_distance(*gaussian(torch.cat(generated)), *gaussian(torch.cat(real)))
