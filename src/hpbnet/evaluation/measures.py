"""All measures of one output against its truth, with the networks that some of them need.

Knows which measures there are and computes them; knows nothing of datasets, methods or tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import metrics
from ..color import rgb_to_lab
from ..networks import perceptual
from ..networks.face import MobileFaceNet
from ..triplet import Triplet
from .backbones import WeightsFolder, read_tensors
from .dataset import PhotoLight
from .identity import Box, FaceFinder, YuNet, embed, load_embedder, load_face_finder, points_from_box, typology_angle

_LPIPS = {  # heads -> backbone, builder
    "squeeze": ("squeezenet", perceptual.squeezenet),
    "alex": ("alexnet", perceptual.alexnet),
    "vgg": ("vgg16", perceptual.vgg16),
}
_DISTS_SIDE = 256  # [px] DISTS is published for pictures whose shorter side has at most this


@dataclass(frozen=True)
class Scores:
    """What was measured on one output; None where its network is not loaded."""

    mse: float  # whole picture, 0-255 scale
    psnr: float  # [dB]
    fmse: float  # foreground
    fpsnr: float  # [dB]
    ssim: float
    fssim: float
    ciede2000: float  # foreground, mean
    lightness: float  # foreground, mean |dL*|: shading
    chroma: float  # foreground, mean distance in (a*, b*): colour
    psnr_to_input: float  # [dB] to the untouched composite
    lpips_squeeze: float | None = None
    lpips_alex: float | None = None
    lpips_vgg: float | None = None
    dists: float | None = None
    identity: float | None = None  # cosine of the face's embedding to the truth's


@dataclass(frozen=True)
class _Lpips:
    stack: nn.Module
    heads: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Dists:
    stack: nn.Module
    alpha: Tensor
    beta: Tensor


@dataclass(frozen=True)
class Reference:
    """What is computed once for a triplet, whatever the number of methods."""

    triplet: Triplet
    lab: Tensor
    features: Mapping[str, list[Tensor]]
    points: Tensor | None
    embedding: Tensor | None
    typology: float | None  # [deg] skin tone of the truth


@dataclass(frozen=True)
class Measures:
    """The available measures; without networks those that need none."""

    lpips: Mapping[str, _Lpips] = field(default_factory=dict)
    dists: _Dists | None = None
    embedder: MobileFaceNet | None = None
    find_face: FaceFinder = points_from_box
    notices: tuple[str, ...] = ()

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the loaded networks, which decide the columns that a row can have."""
        others = {"dists": self.dists is not None, "identity": self.embedder is not None}
        others["yunet"] = isinstance(self.find_face, YuNet)
        return (*(f"lpips_{name}" for name in self.lpips), *(name for name, there in others.items() if there))

    @torch.no_grad()
    def reference(self, triplet: Triplet, box: Box | None = None, light: PhotoLight | None = None) -> Reference:
        """Prepare a triplet; the dataset may give its face's box and how its truth was lit."""
        truth = triplet.truth
        features = {name: network.stack(truth) for name, network in self.lpips.items()}
        if self.dists:
            features["dists"] = self.dists.stack(_shrink(truth))
        points = self.find_face(truth, box)
        embedding = embed(self.embedder, truth, points) if self.embedder and points is not None else None
        typology = typology_angle(truth, points, light or PhotoLight()) if points is not None else None
        return Reference(triplet, rgb_to_lab(truth), features, points, embedding, typology)

    @torch.no_grad()
    def score(self, output: Tensor, reference: Reference) -> Scores:
        """Measure an output [1,3,H,W] in [0,1]."""
        truth, mask, lab = reference.triplet.truth, reference.triplet.mask, rgb_to_lab(output)
        distances = {
            f"lpips_{name}": metrics.lpips(network.stack(output), reference.features[name], network.heads).item()
            for name, network in self.lpips.items()
        }
        return Scores(
            mse=metrics.mse(output, truth).item(),
            psnr=metrics.psnr(output, truth).item(),
            fmse=metrics.fmse(output, truth, mask).item(),
            fpsnr=metrics.fpsnr(output, truth, mask).item(),
            ssim=metrics.ssim(output, truth).item(),
            fssim=metrics.fssim(output, truth, mask).item(),
            ciede2000=metrics.mean_ciede2000(lab, reference.lab, mask).item(),
            lightness=metrics.lightness_error(lab, reference.lab, mask).item(),
            chroma=metrics.chroma_error(lab, reference.lab, mask).item(),
            psnr_to_input=metrics.psnr(output, reference.triplet.composite).item(),
            dists=self._dists(output, reference),
            identity=self._identity(output, reference),
            **distances,
        )

    def _dists(self, output: Tensor, reference: Reference) -> float | None:
        if self.dists is None:
            return None
        features = self.dists.stack(_shrink(output))
        return metrics.dists(features, reference.features["dists"], self.dists.alpha, self.dists.beta).item()

    def _identity(self, output: Tensor, reference: Reference) -> float | None:
        if self.embedder is None or reference.points is None or reference.embedding is None:
            return None
        return metrics.identity_cosine(embed(self.embedder, output, reference.points), reference.embedding).item()


def load_measures(weights: WeightsFolder | None) -> Measures:
    """Load every network whose files are available; a notice says what is missing for the others."""
    lpips: dict[str, _Lpips] = {}
    notices = []
    for name, (backbone, build) in _LPIPS.items():
        stack_file = weights.backbone(backbone) if weights else None
        heads_file = weights.lpips_heads(name) if weights else None
        if stack_file is None or heads_file is None:
            notices.append(f"no LPIPS ({name}): it needs {backbone} and lpips/{name}.pth")
            continue
        stack = _load(build(), stack_file.as_posix(), read_tensors(stack_file))
        heads = sorted(read_tensors(heads_file).items())  # lin0 .. lin6
        lpips[name] = _Lpips(stack, tuple(head for _, head in heads))
    dists = _load_dists(weights)
    if dists is None:
        notices.append("no DISTS: it needs vgg16 and dists.pt")
    embedder = load_embedder(weights)
    if embedder is None:
        notices.append("no identity: it needs mobilefacenet.ckpt")
    return Measures(lpips, dists, embedder, load_face_finder(weights), tuple(notices))


def _load_dists(weights: WeightsFolder | None) -> _Dists | None:
    stack_file = weights.backbone("vgg16") if weights else None
    scales_file = weights.dists() if weights else None
    if stack_file is None or scales_file is None:
        return None
    scales = read_tensors(scales_file)
    stack = _load(perceptual.vgg16_dists(), stack_file.as_posix(), read_tensors(stack_file))
    return _Dists(stack, scales["alpha"], scales["beta"])


def _load(stack: nn.Module, path: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    try:
        return perceptual.load_frozen(stack, tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _shrink(picture: Tensor) -> Tensor:
    scale = _DISTS_SIDE / min(picture.shape[-2:])
    if scale >= 1:
        return picture
    size = [round(side * scale) for side in picture.shape[-2:]]
    return F.interpolate(picture, size, mode="bilinear", antialias=True)
