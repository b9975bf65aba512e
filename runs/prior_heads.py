"""Fit image heads of lower resolutions to the published MobileStyleGAN generator, so that it can be cut off there.

    python runs/prior_heads.py prior.safetensors prior_heads.safetensors sheet.png

The published file has the head of 1024 px only. Here, heads of 128, 256 and 512 px learn to paint the network's own
1024-px picture, reduced by area, from its features at 64, 128 and 256 px. Everything above 64 px is local, so that a
window of 20x20 places at 64 px is computed of each picture. Prints the error on pictures that were not fitted; the
sheet shows such pictures, each beside what the fitted heads make of it.
"""

import argparse
import copy
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpbnet.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpbnet.image import write_picture
from hpbnet.models import load_network
from hpbnet.networks.mobile_stylegan import FittedHead, MobileGenerator

RESOLUTIONS = (128, 256, 512)
WINDOW, MARGIN = 20, 3  # places at 64 px; those at the margin see zeros in place of their neighbours
PLACES = 28  # most places of a window kept of the finer features, one beyond each edge for the heads' 3x3
BATCH, STEPS, RATE = 8, 800, 2e-3
PEAK = 2.0  # between black and white
_log = logging.getLogger("heads")


class Samples(NamedTuple):
    """What one head is fitted to: features with one place beyond each edge, w, and the image without."""

    features: Tensor  # [N,C,S+2,S+2] half precision
    w: Tensor  # [N,w_dim]
    images: Tensor  # [N,3,2S,2S]


class Windows:
    """The network above 64 px, on a window of its features."""

    def __init__(self, network: MobileGenerator) -> None:
        self.network = network
        self.blocks = copy.deepcopy(network.synthesis.blocks)

    def __call__(self, x: Tensor, ws: Tensor, top: int, left: int) -> list[Tensor]:
        """Features [1,C,W,W] at 64 px -> at 128, 256 and 512 px, then the image [1,3,16W,16W]."""
        synthesis, layers = self.network.synthesis, []
        for index in range(4, len(synthesis.blocks)):
            scale = 1 << (index - 3)
            rows, columns = (slice(scale * start, scale * (start + WINDOW)) for start in (top, left))
            for name in ("conv1", "conv2"):
                whole = getattr(synthesis.blocks[index], name).noise_const
                getattr(self.blocks[index], name).noise_const = whole[rows, columns]
            x = self.blocks[index](x, ws[:, 3 * index + 1 : 3 * index + 3])
            layers.append(x)
        return [*layers, synthesis.paint(x, ws, self.network.config.resolution)]


@torch.inference_mode()
def gather(network: MobileGenerator, count: int, generator: torch.Generator) -> dict[int, Samples]:
    """Make windows of pictures for every head."""
    windows, rows = Windows(network), {resolution: list[Samples]() for resolution in RESOLUTIONS}
    for _ in range(count):
        w = draw_w(network, generator)
        ws = network.repeat(w)
        coarse = next(x for x in network.synthesis.features(ws) if x.shape[-1] == 64)
        top, left = (int(torch.randint(64 - WINDOW + 1, (), generator=generator)) for _ in range(2))
        coarse = coarse[:, :, top : top + WINDOW, left : left + WINDOW]
        *finer, image = windows(coarse, ws, top, left)
        for resolution, x in zip(RESOLUTIONS, [coarse, *finer], strict=False):
            scale = resolution // 128
            target = F.avg_pool2d(image, network.config.resolution // resolution)
            free = min(PLACES, scale * (WINDOW - 2 * MARGIN))
            start = scale * MARGIN + int(
                torch.randint(scale * (WINDOW - 2 * MARGIN) - free + 1, (), generator=generator)
            )
            end = start + free
            kept = x[:, :, start - 1 : end + 1, start - 1 : end + 1].half()
            rows[resolution].append(Samples(kept, w, target[:, :, 2 * start : 2 * end, 2 * start : 2 * end]))
    return {
        resolution: Samples(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
        for resolution, kept in rows.items()
    }


def draw_w(network: MobileGenerator, generator: torch.Generator) -> Tensor:
    """Draw w [1,w_dim] with a truncation from 0.5 to 1."""
    z = torch.randn(1, network.config.z_dim, generator=generator)
    return network.mapping.truncate(network.mapping(z), 0.5 + 0.5 * float(torch.rand((), generator=generator)))


def paint(head: nn.Module, samples: Samples, chosen: Tensor) -> Tensor:
    """Paint the chosen windows, without the ring whose neighbours are missing."""
    image: Tensor = head(samples.features[chosen].float(), samples.w[chosen])
    return image[:, :, 2:-2, 2:-2]


def fit(head: FittedHead, samples: Samples, held_out: int, generator: torch.Generator) -> None:
    """Fit a head to all samples but the last `held_out`, by mean squared error.

    Channels differ much in strength, so the head sees them at equal strength; its first style takes that over later.
    """
    strength = samples.features.float().square().mean(dim=(0, 2, 3)).sqrt() + 1e-6  # [C]
    samples = samples._replace(features=(samples.features / strength[:, None, None]).half())
    optimizer = torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    count, began = len(samples.w) - held_out, time.process_time()
    for step in range(STEPS):
        chosen = torch.randint(count, (BATCH,), generator=generator)
        loss = F.mse_loss(paint(head, samples, chosen), samples.images[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            others = torch.arange(count, len(samples.w))
            with torch.no_grad():
                error = F.mse_loss(paint(head, samples, others), samples.images[others])
            seconds = time.process_time() - began
            _log.info("step %d: %.2f dB, others %.2f dB, %.0f s", step + 1, dB(loss.detach()), dB(error), seconds)
    with torch.no_grad():
        head.affine.weight /= strength[:, None]
        head.affine.bias /= strength


def dB(error: Tensor) -> float:
    """Turn a mean squared error into a peak signal-to-noise ratio [dB]."""
    return float(10 * (PEAK**2 / error).log10())


@torch.inference_mode()
def show(network: MobileGenerator, sheet: Path, count: int, generator: torch.Generator) -> None:
    """Measure whole pictures that were not fitted, and draw the first six with what each head makes of them."""
    errors, rows = {resolution: list[Tensor]() for resolution in RESOLUTIONS}, []
    for index in range(count):
        ws = network.repeat(draw_w(network, generator))
        layers = {2 * x.shape[-1]: x for x in network.synthesis.features(ws)}
        image = network.synthesis.paint(layers[network.config.resolution], ws, network.config.resolution)
        cells = [F.avg_pool2d(image, 4)]
        for resolution in RESOLUTIONS:
            painted = network.synthesis.paint(layers[resolution], ws, resolution)
            truth = F.avg_pool2d(image, network.config.resolution // resolution)
            errors[resolution].append(F.mse_loss(painted, truth))
            cells.append(F.interpolate(painted, (256, 256), mode="area" if resolution > 256 else "nearest"))
        rows += [torch.cat(cells, dim=3)] if index < 6 else []
    write_picture(sheet, (torch.cat(rows, dim=2) * 0.5 + 0.5).clamp(0, 1))
    for resolution, found in errors.items():
        each = torch.tensor([dB(error) for error in found])
        _log.info("%d px: %.1f dB on %d pictures (from %.1f to %.1f)", resolution, each.mean(), count, *each.aminmax())


def main() -> None:
    """Fit the heads and write the generator with them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--held-out", type=int, default=200)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    published = load_network(options.prior)
    assert isinstance(published, MobileGenerator)
    began = time.process_time()
    samples = gather(published, options.pictures, generator)
    _log.info("%d pictures: %.0f s", options.pictures, time.process_time() - began)
    network = MobileGenerator(replace(published.config, fitted=RESOLUTIONS)).eval()
    network.load_state_dict(published.state_dict(), strict=False)
    for resolution in RESOLUTIONS:
        _log.info("head of %d px", resolution)
        head = network.synthesis.heads[str(resolution)]
        assert isinstance(head, FittedHead)
        fit(head.requires_grad_(True), samples[resolution], options.held_out, generator)
    provenance = {**read_checkpoint(options.prior).provenance, "heads": f"fitted to {options.pictures} of its pictures"}
    write_checkpoint(
        options.output, Checkpoint("mobilestylegan", asdict(network.config), network.state_dict(), provenance)
    )
    show(network, options.sheet, 24, torch.Generator().manual_seed(2))


if __name__ == "__main__":
    main()
