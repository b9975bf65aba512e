"""Measure whether matching grain and softness helps, and how much light wraps around people in photos.

    python runs/finishing.py PORTRAITS BACKGROUNDS METRIC_WEIGHTS [--count 60]

Validation portraits whose own background is real are the truth. For texture the truth (or the person alone) is given
the grain or softness of another camera, the finish has to bring the person to the rest, and what is measured does not
share code with what is measured by: noise from a Haar wavelet's diagonal band, sharpness from the steepest gradients,
LPIPS of the whole picture. For light wrap, the luma of the person's outermost rim against that of the skin and cloth
further in is regressed on how much brighter the scene behind is: in photos, and in composites with some wrap.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from hpbnet import metrics
from hpbnet.color import luma
from hpbnet.evaluation.backbones import WeightsFolder, read_tensors
from hpbnet.finish import light_wrap, match_grain, match_softness
from hpbnet.image import read_picture
from hpbnet.layers import Layers, fit_background
from hpbnet.matte import estimate_foreground
from hpbnet.networks import perceptual
from hpbnet.synthesis.portraits import Portrait, read_index

NOISE, BLUR = 0.02, 1.2  # deviation, 0-1 scale; [px]
WRAPS = (0.0, 0.25, 0.5, 1.0)
FINISHES: dict[str, Callable[[Layers], Layers]] = {
    "off": lambda layers: layers,
    "grain": lambda layers: match_grain(layers, 1.0),
    "softness": lambda layers: match_softness(layers, 1.0),
}
RIM_START = 2  # [px] inside of which the edge of a matte is sure
Change = Callable[[Tensor, torch.Generator], Tensor]


def same(image: Tensor, generator: torch.Generator) -> Tensor:
    """Nothing at all."""
    return image


def grainy(image: Tensor, generator: torch.Generator) -> Tensor:
    """A fast film: noise in every channel, most of it shared, one neighbour wide."""
    noise = 0.8 * torch.randn(1, 1, *image.shape[-2:], generator=generator)
    noise = noise + 0.6 * torch.randn(image.shape, generator=generator)
    return (image + NOISE * noise).clamp(0, 1)


def soft(image: Tensor, generator: torch.Generator) -> Tensor:
    """A soft lens."""
    return each_plane(image, lambda plane: cv2.GaussianBlur(plane, (0, 0), BLUR))


def enlarged(image: Tensor, generator: torch.Generator) -> Tensor:
    """A camera of half the resolution."""
    height, width = image.shape[-2:]
    half = each_plane(image, lambda plane: cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return each_plane(half, lambda plane: cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC))


def compressed(image: Tensor, generator: torch.Generator) -> Tensor:
    """A grainy picture sent as a small JPEG."""
    pixels = (grainy(image, generator)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255).permute(2, 0, 1)[None]


def denoised(image: Tensor, generator: torch.Generator) -> Tensor:
    """A telephone's beauty filter."""
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    smooth = cv2.bilateralFilter(pixels, 7, 0.06, 3)
    return torch.from_numpy(smooth).permute(2, 0, 1)[None].contiguous()


CASES: dict[str, tuple[Change, Change]] = {  # what all of the truth went through; what the person alone
    "one camera": (same, same),
    "grainy scene, clean person": (grainy, same),
    "grainy, compressed scene, clean person": (compressed, same),
    "soft scene, sharp person": (soft, same),
    "enlarged scene, sharp person": (enlarged, same),
    "person denoised": (same, denoised),
    "clean scene, grainy person": (same, grainy),
    "sharp scene, soft person": (same, soft),
}


def each_plane(image: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Apply an OpenCV function to each channel, result in [0,1]."""
    return torch.from_numpy(np.stack([change(plane) for plane in image[0].numpy()]))[None].clamp(0, 1)


def read(portrait: Portrait) -> tuple[Tensor, Tensor]:
    """Photo [1,3,H,W] and alpha [1,1,H,W] at its size."""
    photo = read_picture(portrait.photo).pixels
    alpha = read_picture(portrait.alpha).pixels[:, 0, :, :].numpy()
    drawn = cv2.resize(alpha[0], photo.shape[:1:-1], interpolation=cv2.INTER_CUBIC)
    return photo, torch.from_numpy(drawn.clip(0, 1))[None, None]


def noise_of(image: Tensor, inside: np.ndarray) -> float:
    """Robust deviation of a Haar wavelet's diagonal band."""
    grey = luma(image)[0, 0].numpy()
    band = (grey[:-1, :-1] - grey[1:, :-1] - grey[:-1, 1:] + grey[1:, 1:]) / 2
    return float(np.median(np.abs(band[inside[:-1, :-1]]))) / 0.6745


def sharpness_of(image: Tensor, inside: np.ndarray) -> float:
    """Mean of the steepest tenth of the gradients."""
    grey = luma(image)[0, 0].numpy()
    steep = np.hypot(np.gradient(grey, axis=0), np.gradient(grey, axis=1))[inside]
    return float(np.sort(steep)[-max(1, steep.size // 10) :].mean())


def textures(faces: list[tuple[Tensor, Tensor]], weights: Path) -> None:
    """Print a row for each case and finish."""
    folder = WeightsFolder(weights)
    backbone, head_file = folder.backbone("squeezenet"), folder.lpips_heads("squeeze")
    assert backbone and head_file, "METRIC_WEIGHTS holds no SqueezeNet LPIPS"
    stack = perceptual.load_frozen(perceptual.squeezenet(), read_tensors(backbone))
    heads = tuple(read_tensors(head_file).values())
    print("case | finish | noise error [octaves] | sharpness error [octaves] | LPIPS | changed | LPIPS worse")
    for name, (on_all, on_person) in CASES.items():
        rows: dict[str, list[tuple[float, float, float]]] = {finish: [] for finish in FINISHES}
        for index, (photo, alpha) in enumerate(faces):
            generator = torch.Generator().manual_seed(index)
            truth, person = on_all(photo, generator), on_person(photo, generator)
            inside = cv2.erode((alpha[0, 0].numpy() > 0.99).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
            truth_noise, truth_sharpness, features = noise_of(truth, inside), sharpness_of(truth, inside), stack(truth)
            before = Layers(person, alpha, truth)
            for finish, done in FINISHES.items():
                layers = done(before)
                if finish != "off" and torch.equal(layers.foreground, before.foreground):
                    rows[finish].append(rows["off"][-1])
                    continue
                image = layers.composite()
                noise = abs(np.log2((noise_of(image, inside) + 1e-3) / (truth_noise + 1e-3)))
                sharpness = abs(np.log2(sharpness_of(image, inside) / truth_sharpness))
                rows[finish].append((noise, sharpness, metrics.lpips(stack(image), features, heads).item()))
        off = np.array(rows["off"])
        for finish, scored in rows.items():
            scores = np.array(scored)
            changed, worse = (scores != off).any(axis=1).mean(), (scores[:, 2] > off[:, 2] + 1e-3).mean()
            means = " | ".join(f"{mean:.3f}" for mean in scores.mean(axis=0))
            print(f"{name} | {finish} | {means} | {changed:.0%} | {worse:.0%}", flush=True)


def rims(faces: list[tuple[Tensor, Tensor]], scenes: list[Tensor]) -> None:
    """Print the slope of the rim's luma over the scene's excess: photos, then composites with more and more wrap."""
    print("rim: slope of (rim - inner luma) over (scene - inner luma) where the scene is brighter; pixels")
    print("photos | {:.3f} | {}".format(*slope([(photo, alpha) for photo, alpha in faces])))
    for amount in WRAPS:
        pictures = []
        for index, (photo, alpha) in enumerate(faces):
            scene = fit_background(scenes[index % len(scenes)], (photo.shape[-1], photo.shape[-2]))
            layers = Layers(estimate_foreground(photo, alpha), alpha, scene)
            pictures.append((light_wrap(layers, amount).composite(), alpha))
        print("composites, wrap {:g} | {:.3f} | {}".format(amount, *slope(pictures)), flush=True)


def slope(pictures: list[tuple[Tensor, Tensor]]) -> tuple[float, int]:
    """Regress over the rims of all pictures, each picture's mean taken out."""
    excesses, answers = [], []
    for image, alpha in pictures:
        grey, opaque = luma(image)[0, 0].numpy(), alpha[0, 0].numpy()
        unit = max(grey.shape) / 100
        within = cv2.distanceTransform((opaque > 0.98).astype(np.uint8), cv2.DIST_L2, 5)
        beyond = cv2.distanceTransform((opaque < 0.02).astype(np.uint8), cv2.DIST_L2, 5)
        rim = (within > RIM_START) & (within < RIM_START + 0.6 * unit)
        inner = (within > RIM_START + 1.5 * unit) & (within < RIM_START + 3 * unit)
        scene = (beyond > 1) & (beyond < 1 + 3 * unit)
        means, seen = zip(*(local_mean(grey, part, 1.5 * unit) for part in (rim, inner, scene)), strict=True)
        chosen = rim & np.logical_and.reduce([share > 0.02 for share in seen]) & (means[2] > means[1] + 0.02)
        if chosen.sum() < 50:
            continue
        excess, answer = (means[2] - means[1])[chosen], (means[0] - means[1])[chosen]
        excesses.append(excess - excess.mean())
        answers.append(answer - answer.mean())
    x, y = np.concatenate(excesses), np.concatenate(answers)
    return float((x * y).sum() / (x * x).sum()), len(x)


def local_mean(grey: np.ndarray, part: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian mean of what belongs to a part, and how much of it is near."""
    weight = part.astype(np.float32)
    share = cv2.GaussianBlur(weight, (0, 0), sigma)
    return cv2.GaussianBlur(grey * weight, (0, 0), sigma) / np.maximum(share, 1e-6), share


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("backgrounds", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--count", type=int, default=60)
    arguments = parser.parse_args()
    portraits = [p for p in read_index(arguments.portraits, "val") if not p.plain and p.source != "ffhq256"]
    step = max(1, len(portraits) // arguments.count)
    faces = [read(portrait) for portrait in portraits[::step][: arguments.count]]
    files = sorted(arguments.backgrounds.glob("*.webp"))
    scenes = [read_picture(path).pixels for path in files[:: max(1, len(files) // 40)][:40]]
    print(f"{len(faces)} portraits, {len(scenes)} scenes")
    rims(faces, scenes)
    textures(faces, arguments.weights)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    main()
