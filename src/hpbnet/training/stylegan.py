"""Train the prior: StyleGAN2 with its own losses, lazily regularised, and adaptive augmentation for few photos."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..checkpoint import Plain, read_checkpoint, read_foreign_tensors
from ..metrics import frechet_distance, gaussian
from ..networks.perceptual import load_frozen, squeezenet
from ..networks.stylegan2 import Discriminator, Generator, StyleGAN2Config
from ..synthesis.draws import seeded
from ..synthesis.portraits import SUFFIXES, Box, read_index
from .augment import Adaptive, augment
from .config import TrainConfig
from .distributed import Crew, crew
from .losses import adversarial_loss, discriminator_loss, path_length_penalty, path_lengths, r1_penalty
from .run import Ema, Run, Stateful, autocast, batches

R1_EVERY, PATH_EVERY = 16, 4  # steps: regularisation is lazy
MIXING = 0.9  # how often two z share an image
PATH_DECAY = 0.99  # of the running mean of path lengths
SHEET = 16  # samples on a sheet
FRAME = 2.1  # side of a photo's square over that of its face


@dataclass(frozen=True)
class StyleGANTraining(TrainConfig):
    """What a prior needs to know; `data` is a folder of aligned portraits, with or without an `index.csv`.

    The defaults are StyleGAN2's, configuration F, at 256 px.
    """

    sources: tuple[str, ...] = ()  # of the index, all if empty
    resolution: int = 256  # [px]
    channels: int = 32768
    max_channels: int = 512
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    batch_size: int = 32
    learning_rate: float = 2e-3  # constant
    r1_gamma: float = 10.0
    path_length_weight: float = 2.0  # 0: no path-length regularisation
    augment: bool = True  # adaptively
    ema: float = 0.999
    device: Literal["auto", "cpu", "cuda"] = "auto"
    squeezenet: str = ""  # published SqueezeNet 1.1: validate by the Frechet distance of its features, which is not FID
    frechet_images: int = 2_000  # of either kind
    start: str = ""  # generator checkpoint (hpbnet convert stylegan2) to go on from
    start_discriminator: str = ""
    licence: str = "see WEIGHTS_LICENSE"

    @property
    def network(self) -> StyleGAN2Config:
        """Configure generator and discriminator."""
        sizes = (self.resolution, self.channels, self.max_channels, self.z_dim, self.w_dim, self.mapping_layers)
        return StyleGAN2Config(*sizes)


def train_stylegan(config: StyleGANTraining, directory: Path) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released generator."""
    with crew(config, config.device) as us:
        return _train(config, directory, us)


def _train(config: StyleGANTraining, directory: Path, us: Crew) -> Path:  # noqa: PLR0915 (a training loop stays whole)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    generator, discriminator = build_networks(config, us.device)
    ema = Ema(generator, config.ema)
    optimizer = lazy_adam(generator, config.learning_rate, PATH_EVERY if config.path_length_weight else 0)
    critic_optimizer = lazy_adam(discriminator, config.learning_rate, R1_EVERY)
    adaptive, paths = Adaptive(), PathMean(us.device)
    parts: dict[str, Stateful] = {"generator": generator, "discriminator": discriminator, "ema": ema}
    parts |= {"optimizer": optimizer, "critic_optimizer": critic_optimizer, "adaptive": adaptive, "paths": paths}
    with us.turn():
        run = Run(directory, config)
        step = run.load(parts)
    faces = Faces(list_faces(Path(config.data), config.sources), config.resolution, config.seed)

    for batch in batches(faces, config, step, us.rank, us.size):
        real = batch.to(us.device).float() / 127.5 - 1
        draw = seeded(config.seed, "z", step)  # the same in every process: each takes its share
        chance = seeded(config.seed, "augment", step, us.rank)
        noise = torch.Generator(us.device).manual_seed(seeded(config.seed, "noise", step, us.rank).initial_seed())
        p = adaptive.probability
        z = us.share(torch.randn(config.batch_size, 2, config.z_dim, generator=draw))
        cuts = us.share(mixing_cuts(config.batch_size, config.network.styles, draw))

        # Generate.
        with autocast(config, us.device.type):
            w = generator.mapping(z.flatten(0, 1)).unflatten(0, (-1, 2))
            fake = generator.synthesis(mixed(w, cuts, config.network.styles), noise)

        # Discriminator.
        discriminator.requires_grad_(True)
        with autocast(config, us.device.type):
            real_logits = discriminator(augment(real, p, chance))
            terms = discriminator_loss(real_logits, discriminator(augment(fake.detach(), p, chance)))
        descend(terms["total"], discriminator, critic_optimizer, us)
        if step % R1_EVERY == 0:
            seen = augment(real, p, chance).requires_grad_()
            penalty = r1_penalty(discriminator(seen), seen, config.r1_gamma)
            descend(penalty * R1_EVERY, discriminator, critic_optimizer, us)

        # Generator.
        discriminator.requires_grad_(False)
        with autocast(config, us.device.type):
            deceit = adversarial_loss(discriminator(augment(fake, p, chance)))
        descend(deceit, generator, optimizer, us)
        if config.path_length_weight and step % PATH_EVERY == 0:
            half = max(1, z.shape[0] // 2)
            w = generator.mapping(z[:half].flatten(0, 1)).unflatten(0, (-1, 2))
            ws = mixed(w, cuts[:half], config.network.styles)
            lengths = path_lengths(generator.synthesis(ws, noise), ws, noise)
            penalty = path_length_penalty(lengths, paths.update(lengths, us), config.path_length_weight)
            descend(penalty * PATH_EVERY, generator, optimizer, us)

        # Averages.
        sign, *values = us.average([real_logits.sign().mean(), terms["real"], terms["fake"], deceit])
        generator.mapping.track(w.detach().float().flatten(0, 1))
        if config.augment:
            adaptive.update(sign, config.batch_size)
        step += 1
        ema.update(generator, step)

        # Bookkeeping.
        saving = step % config.checkpoint_every == 0 or step == config.steps
        if us.first and (saving or step % config.log_every == 0):
            names = ("critic_real", "critic_fake", "deceit", "augment", "sign_real", "path_length")
            run.log(step, dict(zip(names, [*values, p, sign, float(paths.mean)], strict=True)))
        if us.first and (step % config.validate_every == 0 or step == config.steps):
            run.show(step, samples(ema, config.network))
            if config.squeezenet:
                run.log(step, {"frechet_squeezenet": frechet(ema, config, faces, us.device)})
        if us.first and saving:
            provenance: dict[str, Plain] = {
                "data": "portraits (MODEL_CARD.md)",
                "steps": step,
                "licence": config.licence,
            }
            run.release("stylegan2", asdict(config.network), ema.shadow, provenance)
            run.save(step, parts)  # last: a run killed before it does these steps again
    us.wait()
    return directory / "weights.safetensors"


class PathMean:
    """The running mean of path lengths."""

    def __init__(self, device: torch.device) -> None:
        self.mean = torch.zeros((), device=device)

    def update(self, lengths: Tensor, us: Crew) -> Tensor:
        """Move towards a batch's mean and return the mean."""
        batch = us.average([lengths.mean()])[0]
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
    """A photo, and where its face is, if that is known."""

    photo: Path
    box: Box | None = None  # x, y, width, height [px]


class Faces(Dataset[Tensor]):
    """Endless square photos [3,R,R] uint8, half of them mirrored; item k depends on (seed, k) alone."""

    def __init__(self, faces: Sequence[Face], resolution: int, seed: int) -> None:
        self.faces, self.resolution, self.seed = faces, resolution, seed

    def __getitem__(self, index: int) -> Tensor:
        """Read item `index`: every photo comes once in each round."""
        turn, place = divmod(index, len(self.faces))
        order = torch.randperm(len(self.faces), generator=seeded(self.seed, "round", turn))
        face = self.faces[int(order[place])]
        with Image.open(face.photo) as photo:
            box = square_around(face.box, *photo.size)
            square = photo.convert("RGB").resize((self.resolution,) * 2, Image.Resampling.LANCZOS, box=box)
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
        ValueError: there are none.
    """
    if (folder / "index.csv").is_file():
        rows = read_index(folder, "train")
        faces = [Face(row.photo, row.face) for row in rows if not sources or row.source in sources]
    else:
        faces = [Face(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not faces:
        raise ValueError(f"{folder} holds no photos" + (f" of {', '.join(sources)}" if sources else ""))
    return faces


def build_networks(config: StyleGANTraining, device: torch.device) -> tuple[Generator, Discriminator]:
    """Build both networks, with the weights that the run begins with."""
    generator, discriminator = Generator(config.network), Discriminator(config.network)
    for network, path in ((generator, config.start), (discriminator, config.start_discriminator)):
        if path:
            network.load_state_dict({name: value.float() for name, value in read_checkpoint(path).tensors.items()})
    return generator.to(device), discriminator.to(device)


def lazy_adam(network: nn.Module, learning_rate: float, every: int) -> torch.optim.Adam:
    """Make Adam for a network regularised every k-th step, whose extra steps are allowed for; 0: never."""
    share = every / (every + 1) if every else 1.0
    return torch.optim.Adam(network.parameters(), lr=learning_rate * share, betas=(0.0, 0.99**share), eps=1e-8)


def descend(loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, us: Crew, clip: float = 0.0) -> None:
    """Take one optimiser step of one network, with gradients averaged over all processes."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    us.average_gradients(network)
    if clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()


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


def sheet(pictures: Iterable[Tensor], columns: int = 8) -> Tensor:
    """Lay pictures [1,3,H,W] out in rows -> [1,3,rows x H, columns x W]."""
    every = list(pictures)
    rows = [torch.cat(every[start : start + columns], dim=3) for start in range(0, len(every), columns)]
    return torch.cat(rows, dim=2)
