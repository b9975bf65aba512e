"""Train the harmonizer on disturbed portraits whose truth is known."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from ..checkpoint import Plain, read_checkpoint, read_foreign_tensors
from ..metrics import lpips
from ..networks.change import apply_change
from ..networks.harmonizer import HarmonizerConfig, HarmonizerNetwork
from ..networks.perceptual import FeatureStack, load_frozen, squeezenet
from ..synthesis.pool import Pool
from .composites import Composites, HeldOut
from .config import TrainConfig
from .run import Ema, Run, autocast, batches, learning_rate

_HARDLY_VISIBLE = (5 / 255) ** 2  # mean squared error below which a change hardly shows


@dataclass(frozen=True)
class HarmonizerTraining(TrainConfig):
    """What a harmonizer run needs to know; `data` holds pools of items (`synthesis/shards.py`)."""

    validation: str = ""  # a pool of validation portraits; no validation without it
    scenes: str = ""  # folder of pictures without people, with index.csv; no exchanged backgrounds without it
    illuminants: str = ""  # [N,3] measured illuminant chromaticities (.npy); black bodies without it
    channels: tuple[int, ...] = (48, 88, 144, 224)
    size: int = 128  # side of the square that the network judges [px]
    dropout: float = 0.0  # of the deepest features: few portraits are soon known by heart
    start: str = ""  # checkpoint whose weights the run begins with
    squared: float = 5.0  # weight of the squared error beside the absolute one
    chroma: float = 0.5  # weight of the absolute error of chroma
    detail: float = 0.5  # weight of the absolute error of a Laplacian pyramid
    smooth: float = 0.02  # weight of the map's own gradients
    perceptual: float = 0.0  # weight of the distance of SqueezeNet's features, each of unit length
    perceived: int = 4  # items of a batch that it is measured on; all would double a step's time
    squeezenet: str = ""  # file of its published weights, which that needs
    relative: float = 0.02  # weight of the log of the error relative to the composite's own
    doubt_ratio: float = 0.02  # weight of the mean error of the change as dared; trains the confidence alone
    doubt_harm: float = 0.02  # weight of the log by which a picture is made worse
    doubt_only: bool = False  # train confidence and expected error alone: a short last stage
    licence: str = "see WEIGHTS_LICENSE"


def train_harmonizer(config: HarmonizerTraining, directory: Path) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = HarmonizerNetwork(HarmonizerConfig(config.channels, size=config.size, dropout=config.dropout))
    if config.start:
        network.load_state_dict({name: value.float() for name, value in read_checkpoint(config.start).tensors.items()})
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = network.doubt_head if config.doubt_only else network
    network.requires_grad_(False)
    trained.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        trained.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    ema = Ema(network, config.ema)
    run = Run(directory, config)
    parts = {"network": network, "optimizer": optimizer, "ema": ema}
    step = run.load(parts)
    stack = load_squeezenet(config.squeezenet) if config.perceptual else None
    validation = Pool(config.validation) if config.validation else None
    dataset = Composites(Path(config.data), config.size, config.seed, config.scenes, config.illuminants)

    for batch in batches(dataset, config, step):
        # One optimiser step.
        torch.manual_seed(config.seed + step)  # for dropout: a resumed run forgets the same
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        composite, mask, real = batch.composite.float() / 255, batch.mask.float() / 255, batch.real.float() / 255
        composite = composite.contiguous(memory_format=torch.channels_last)
        with autocast(config):
            said = network.judge(composite, mask) if config.doubt_only else network(composite, mask)
        losses = harmonizer_loss(said.change, said.confidence, said.log_error, composite, mask, real, config)
        if stack is not None:
            few = slice(config.perceived)
            picture = composite[few] + mask[few] * apply_change(said.change[few], composite[few])
            with autocast(config):
                losses["perceptual"] = feature_distance(stack, picture.clamp(0, 1), real[few])
            losses["total"] = losses["total"] + config.perceptual * losses["perceptual"]
        optimizer.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), config.clip)
        optimizer.step()
        step += 1
        ema.update(network, step)

        # Bookkeeping.
        if step % config.log_every == 0:
            run.log(step, {name: value.item() for name, value in losses.items()})
        if validation and (step % config.validate_every == 0 or step == config.steps):
            run.log(step, validate(ema, network.config, config, validation))
        if step % config.checkpoint_every == 0 or step == config.steps:
            provenance: dict[str, Plain] = {
                "data": "disturbed portraits (MODEL_CARD.md)",
                "steps": step,
                "licence": config.licence,
            }
            run.release("harmonizer", asdict(network.config), ema.shadow, provenance)
            run.save(step, parts)  # last: a run killed before it does these steps again
    return run.directory / "weights.safetensors"


def harmonizer_loss(
    change: Tensor,  # [B,12,h,w]
    confidence: Tensor,  # [B]
    log_error: Tensor,  # [B]
    composite: Tensor,  # [B,3,H,W]
    mask: Tensor,  # [B,1,H,W]
    real: Tensor,  # [B,3,H,W]
    config: HarmonizerTraining,
) -> dict[str, Tensor]:
    """Error of the whole change over the foreground, and how well its doubts are founded."""
    shift = apply_change(change, composite)
    error = composite + shift - real
    share = mask / mask.mean(dim=(1, 2, 3), keepdim=True).clamp_min(0.05)
    absolute = (error.abs() * share).mean()
    squared = (error.square() * share).mean()
    chroma = ((error - error.mean(dim=1, keepdim=True)).abs() * share).mean()
    detail = pyramid_error(error * mask)
    smooth = (change[:, :, 1:] - change[:, :, :-1]).abs().mean() + (change[..., 1:] - change[..., :-1]).abs().mean()

    area = mask.sum(dim=(1, 2, 3)).clamp_min(1.0) * 3
    full = (error.square() * mask).sum(dim=(1, 2, 3)) / area
    before = ((composite - real).square() * mask).sum(dim=(1, 2, 3)) / area
    relative = ((full + _HARDLY_VISIBLE) / (before + _HARDLY_VISIBLE)).log().mean()

    # Doubt: the share of the change that errs least and makes no picture worse, and the error that remains.
    shrunk = (composite + confidence[:, None, None, None] * shift.detach()).clamp(0, 1) - real
    after = (shrunk.square() * mask).sum(dim=(1, 2, 3)) / area
    harm = ((after + _HARDLY_VISIBLE) / (before + _HARDLY_VISIBLE)).log().clamp_min(0).mean()
    ratio = after.mean() / before.mean().clamp_min(1e-6)
    calibration = (log_error - (after.detach() + 1e-5).log()).abs().mean()

    parts = (absolute, config.squared * squared, config.chroma * chroma, config.detail * detail, config.smooth * smooth)
    doubt = config.doubt_ratio * ratio + config.doubt_harm * harm + 0.01 * calibration
    total = sum(parts) + config.relative * relative + doubt
    assert isinstance(total, Tensor)
    return {
        "total": total,
        "ratio": ratio,
        "full_ratio": full.mean() / before.mean().clamp_min(1e-6),
        "relative": relative,
        "l1": absolute,
        "harm": harm,
        "calibration": calibration,
    }


def load_squeezenet(path: str) -> FeatureStack:
    """Load the published SqueezeNet 1.1 from a file of tensors, frozen."""
    if not path:
        raise ValueError("perceptual needs squeezenet=FILE: the published weights of SqueezeNet 1.1")
    return load_frozen(squeezenet(), read_foreign_tensors(path))


def feature_distance(stack: FeatureStack, picture: Tensor, real: Tensor) -> Tensor:
    """Mean over activations of the squared distance of features of unit length: LPIPS without its learned weights."""
    with torch.no_grad():
        wanted = stack(real)
    found = stack(picture)
    heads = [torch.full((1, 1, 1, 1), 1 / len(found)) for _ in found]
    return lpips([each.float() for each in found], [each.float() for each in wanted], heads).mean()


def pyramid_error(error: Tensor) -> Tensor:
    """Mean absolute value of three Laplacian bands of an error [B,3,H,W]; pyramids are linear."""
    total = error.new_zeros(())
    for _ in range(3):
        coarse = F.avg_pool2d(error, 2)
        up = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        total, error = total + (error - up).abs().mean(), coarse
    return total


@torch.inference_mode()
def validate(ema: Ema, network_config: HarmonizerConfig, config: HarmonizerTraining, pool: Pool) -> Mapping[str, float]:
    """MSE ratio and harm of the averaged weights on pool items of validation portraits and on held-out kinds."""
    probe = HarmonizerNetwork(network_config).eval()
    probe.load_state_dict(ema.shadow)
    results: dict[str, float] = {}
    for kind in ("pool", "held_out"):
        loader = DataLoader(HeldOut(pool, config.size, kind == "held_out"), batch_size=16)
        before, after = [], []
        for batch in loader:
            composite, mask, real = batch.composite.float() / 255, batch.mask.float() / 255, batch.real.float() / 255
            said = probe.judge(composite, mask)
            shift = said.confidence[:, None, None, None] * apply_change(said.change, composite)
            result = composite + mask * ((composite + shift).clamp(0, 1) - composite)
            before.append((composite - real).square().mean(dim=(1, 2, 3)) * 255**2)
            after.append((result - real).square().mean(dim=(1, 2, 3)) * 255**2)
        errors, first = torch.cat(after), torch.cat(before)
        results[f"{kind}_ratio"] = (errors.mean() / first.mean()).item()
        results[f"{kind}_gain"] = (10 * (first.clamp_min(0.65) / errors.clamp_min(0.65)).log10()).mean().item()
        results[f"{kind}_harm"] = (errors > first + 1).float().mean().item()
    return results
