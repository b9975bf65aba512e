"""Train the harmonizer on disturbed portraits whose truth is known."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from ..checkpoint import read_foreign_tensors
from ..color import luma
from ..metrics import lpips
from ..networks.change import apply_change
from ..networks.harmonizer import Harmonization, HarmonizerConfig, HarmonizerNetwork, moments
from ..networks.perceptual import FeatureStack, load_frozen, squeezenet
from ..settings import setting
from ..synthesis.pool import Pool
from ..triplet import Triplet
from .composites import HELD_OUT, Composites, HeldOut
from .config import WEIGHT, TrainConfig
from .optimise import Ema, autocast, descend, learning_rate, set_learning_rate
from .run import Progress, Release, begin_run
from .start_weights import read_start

_LEAST_VIVID = 0.02  # added to contrast and chroma; below it nobody misses any
_HARDLY_VISIBLE = (5 / 255) ** 2  # mean squared error below which a change hardly shows


@dataclass(frozen=True)
class HarmonizerTraining(TrainConfig):
    """What a harmonizer run needs to know; `data` holds pools of items (`synthesis/shards.py`)."""

    data: str = setting(
        "", "Pools that `hpbnet synthesize --pool` made, one or several below a folder.", None, "FOLDER"
    )
    validation: str = setting("", "Pool of validation portraits; no validation without it.", None, "FOLDER")
    scenes: str = setting("", "Pictures without people, with index.csv, to exchange backgrounds.", None, "FOLDER")
    illuminants: str = setting("", "Measured illuminants, .npy [N,3]; black bodies without it.", None, "FILE")
    start: str = setting("", "Weights of a harmonizer to begin with.", None, "FILE")
    channels: tuple[int, ...] = setting((48, 88, 144, 224), "Widths at strides 4, 8, 16, 32.", (4, 4096))
    fine: tuple[int, ...] = setting(
        (16,),
        "Widths at strides 2 and 1, to refine the map at every scale; []: the map of the first generation.",
        (4, 4096),
    )
    size: int = setting(128, "Side of the square that the network sees [px], a multiple of 32.", (32, 4096))
    dropout: float = setting(0.0, "Dropout of the deepest features, against overfitting.", (0, 0.99))
    squared: float = setting(5.0, "Weight of the squared error beside the absolute one.", WEIGHT)
    chroma: float = setting(0.5, "Weight of the absolute error of chroma.", WEIGHT)
    detail: float = setting(0.5, "Weight of the absolute error of a Laplacian pyramid.", WEIGHT)
    coarse: float = setting(0.2, "Weight of the errors of each map before its refinement.", WEIGHT)
    dull: float = setting(0.05, "Weight of the log by which contrast and chroma are below the truth's.", WEIGHT)
    smooth: float = setting(0.02, "Weight of the gradients of the map of changes.", WEIGHT)
    perceptual: float = setting(0.0, "Weight of the distance of SqueezeNet's features, each of unit length.", WEIGHT)
    perceived: int = setting(
        4, "Items of a batch on which it is measured; measuring all of them doubles a step's time.", (1, 100_000)
    )
    squeezenet: str = setting("", "Published weights of SqueezeNet 1.1, for `perceptual`.", None, "FILE")
    relative: float = setting(0.02, "Weight of the log of the error relative to the composite's own.", WEIGHT)
    confidence_ratio: float = setting(0.02, "Weight of the error of the change scaled by the confidence.", WEIGHT)
    confidence_harm: float = setting(0.02, "Weight of the log by which a picture is made worse.", WEIGHT)
    confidence_only: bool = setting(False, "Train confidence and expected error alone: a short last stage.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % 32:
            raise ValueError(f"size is {self.size}; expected a multiple of 32")
        if len(self.channels) != 4:
            raise ValueError(f"channels is {self.channels!r}; expected 4 whole numbers")
        assert self.network  # which checks `fine`

    @property
    def network(self) -> HarmonizerConfig:
        """Configure the network."""
        return HarmonizerConfig(self.channels, self.fine, size=self.size, dropout=self.dropout)


def train_harmonizer(config: HarmonizerTraining, directory: Path, progress: Progress | None = None) -> Path:
    """Train, resume where a killed run stopped, and return the path of the released weights."""
    with begin_run(config, directory, progress) as run:
        device = run.group.device
        dataset = Composites(Path(config.data), config.size, config.seed, config.scenes, config.illuminants)
        validation = Pool(config.validation) if config.validation else None
        network = HarmonizerNetwork(config.network)
        if config.start:
            network.load_state_dict(read_start(config.start, "harmonizer"))
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = network.confidence_head if config.confidence_only else network
        network.requires_grad_(False)
        trained.requires_grad_(True)
        optimizer = torch.optim.AdamW(
            trained.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        ema = Ema(network, config.ema)
        features = load_squeezenet(config.squeezenet).to(device) if config.perceptual else None
        release = Release("harmonizer", asdict(network.config), ema, dataset.pool.description)
        run.resume(release, network=network, optimizer=optimizer, ema=ema)

        for done, batch in run.batches(dataset):
            # One optimiser step.
            torch.manual_seed(config.seed + done + (run.group.rank << 32))  # for dropout: a resumed run draws the same
            set_learning_rate(optimizer, learning_rate(done, config))
            composite, mask, truth = batch.to_floats(device)
            composite = composite.contiguous(memory_format=torch.channels_last)
            with autocast(config, device):
                answer = network.judge(composite, mask) if config.confidence_only else network(composite, mask)
            losses = harmonizer_loss(answer, Triplet(composite, mask, truth), config)
            if features is not None:
                few = slice(config.perceived)
                picture = composite[few] + mask[few] * apply_change(answer.change[few], composite[few])
                with autocast(config, device):
                    losses["perceptual"] = feature_distance(features, picture.clamp(0, 1), truth[few])
                losses["total"] = losses["total"] + config.perceptual * losses["perceptual"]
            descend(losses["total"], trained, optimizer, run.group, config.clip)
            step = done + 1
            ema.update(network, step)

            # Bookkeeping.
            run.record(step, losses)
            if validation and run.validates(step):
                run.record_metrics(step, validate(ema, network.config, config, validation, device))
            run.checkpoint(step)
    return run.weights


def harmonizer_loss(
    answer: Harmonization,
    triplet: Triplet,  # [B,C,H,W] in [0,1]
    config: HarmonizerTraining,
) -> dict[str, Tensor]:
    """Return the error of the whole change over the foreground, and of the confidence and the expected error."""
    composite, mask, truth = triplet
    change, confidence = answer.change, answer.confidence
    shift = apply_change(change, composite)
    error = composite + shift - truth
    share = mask / mask.mean(dim=(1, 2, 3), keepdim=True).clamp_min(0.05)
    absolute = (error.abs() * share).mean()
    squared = (error.square() * share).mean()
    chroma = ((error - error.mean(dim=1, keepdim=True)).abs() * share).mean()
    detail = pyramid_error(error * mask)
    coarse = sum((coarse_error(map_, triplet, config.squared) for map_ in answer.coarser), absolute.new_zeros(()))
    shortfall = (vividness(truth, mask) / vividness((composite + shift).clamp(0, 1), mask)).log().clamp_min(0).mean()
    smooth = (change[:, :, 1:] - change[:, :, :-1]).abs().mean() + (change[..., 1:] - change[..., :-1]).abs().mean()

    area = mask.sum(dim=(1, 2, 3)).clamp_min(1.0) * 3
    full = (error.square() * mask).sum(dim=(1, 2, 3)) / area
    before = ((composite - truth).square() * mask).sum(dim=(1, 2, 3)) / area
    relative = ((full + _HARDLY_VISIBLE) / (before + _HARDLY_VISIBLE)).log().mean()

    # Confidence: the share of the change that errs least and makes no picture worse, and the error that remains.
    shrunk = (composite + confidence[:, None, None, None] * shift.detach()).clamp(0, 1) - truth
    after = (shrunk.square() * mask).sum(dim=(1, 2, 3)) / area
    harm = ((after + _HARDLY_VISIBLE) / (before + _HARDLY_VISIBLE)).log().clamp_min(0).mean()
    ratio = after.mean() / before.mean().clamp_min(1e-6)
    calibration = (answer.log_error - (after.detach() + 1e-5).log()).abs().mean()

    errors = (absolute, config.squared * squared, config.chroma * chroma, config.detail * detail)
    parts = (*errors, config.smooth * smooth, config.coarse * coarse, config.dull * shortfall)
    confident = config.confidence_ratio * ratio + config.confidence_harm * harm + 0.01 * calibration
    total = sum(parts) + config.relative * relative + confident
    assert isinstance(total, Tensor)
    return {
        "total": total,
        "ratio": ratio,
        "full_ratio": full.mean() / before.mean().clamp_min(1e-6),
        "relative": relative,
        "l1": absolute,
        "shortfall": shortfall,
        "harm": harm,
        "calibration": calibration,
    }


def coarse_error(
    change: Tensor,  # [B,12,h,w]
    triplet: Triplet,  # [B,C,H,W], multiples of h and w
    squared: float,
) -> Tensor:
    """Mean absolute error over the foreground, and `squared` times the squared one, at the size of the map."""
    composite, mask, truth = triplet.map(lambda image: F.avg_pool2d(image, image.shape[-1] // change.shape[-1]))
    error = composite + apply_change(change, composite) - truth
    share = mask / mask.mean(dim=(1, 2, 3), keepdim=True).clamp_min(0.05)
    return ((error.abs() + squared * error.square()) * share).mean()


def vividness(
    image: Tensor,  # [B,3,H,W] sRGB in [0,1]
    mask: Tensor,  # [B,1,H,W]
) -> Tensor:
    """Contrast and chroma of the foreground [B,2]: the deviation of its luma, and its mean distance from grey."""
    grey = luma(image)
    _, contrast = moments(grey, mask)
    chroma, _ = moments(((image - grey).square().sum(dim=1, keepdim=True) + 1e-6).sqrt(), mask)
    return torch.cat([contrast, chroma], dim=1) + _LEAST_VIVID


def load_squeezenet(path: str) -> FeatureStack:
    """Load the published SqueezeNet 1.1 from a file of tensors, frozen."""
    if not path:
        raise ValueError("perceptual needs squeezenet=FILE: the published weights of SqueezeNet 1.1")
    return load_frozen(squeezenet(), read_foreign_tensors(path))


def feature_distance(stack: FeatureStack, picture: Tensor, truth: Tensor) -> Tensor:
    """Mean over activations of the squared distance of features of unit length: LPIPS without its learned weights."""
    with torch.no_grad():
        goal = [feature.float() for feature in stack(truth)]
    own = [feature.float() for feature in stack(picture)]
    heads = [torch.full((1, 1, 1, 1), 1 / len(own), device=truth.device) for _ in own]
    return lpips(own, goal, heads).mean()


def pyramid_error(error: Tensor) -> Tensor:
    """Mean absolute value of three Laplacian bands of an error [B,3,H,W]; pyramids are linear."""
    total = error.new_zeros(())
    for _ in range(3):
        coarse = F.avg_pool2d(error, 2)
        up = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        total, error = total + (error - up).abs().mean(), coarse
    return total


@torch.inference_mode()
def validate(
    ema: Ema, network_config: HarmonizerConfig, config: HarmonizerTraining, pool: Pool, device: torch.device
) -> Mapping[str, float]:
    """Measure the averaged weights on each recipe's items of validation portraits, and on held-out kinds.

    Ratio is MSE after / before, gain that of the PSNR [dB], harm the share of items made worse; contrast and chroma are
    medians, relative to the truth's.
    """
    probe = HarmonizerNetwork(network_config).to(device).eval()
    probe.load_state_dict(ema.shadow)
    results: dict[str, float] = {}
    for kind in (*sorted(set(pool.recipes)), HELD_OUT):
        before, after, vivid = [], [], []
        for batch in DataLoader(HeldOut(pool, config.size, kind), batch_size=16):
            composite, mask, truth = batch.to_floats(device)
            answer = probe.judge(composite, mask)
            shift = answer.confidence[:, None, None, None] * apply_change(answer.change, composite)
            result = composite + mask * ((composite + shift).clamp(0, 1) - composite)
            before.append((composite - truth).square().mean(dim=(1, 2, 3)) * 255**2)
            after.append((result - truth).square().mean(dim=(1, 2, 3)) * 255**2)
            vivid.append(vividness(result, mask) / vividness(truth, mask))
        errors, first = torch.cat(after), torch.cat(before)
        results[f"{kind}_ratio"] = (errors.mean() / first.mean()).item()
        results[f"{kind}_gain"] = (10 * (first.clamp_min(0.65) / errors.clamp_min(0.65)).log10()).mean().item()
        results[f"{kind}_harm"] = (errors > first + 1).float().mean().item()
        results[f"{kind}_contrast"], results[f"{kind}_chroma"] = torch.cat(vivid).median(dim=0).values.tolist()
    return results
