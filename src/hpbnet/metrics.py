"""Measures of the difference between an output and the truth, as pure functions of tensors.

Pictures are sRGB [B,3,H,W] in [0,1], masks [B,1,H,W]; each returns one number per picture, [B], unless it says
otherwise. Squared errors are on the 0-255 scale, as published. Knows no network: LPIPS and DISTS take features,
CIEDE2000 takes Lab.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PSNR_CAP = 50.0  # [dB] above it a picture counts as equal, or one perfect pair would outweigh all others
HARM_MARGIN = 1.0  # smaller rises of the squared error are invisible, or come from 8-bit rounding

_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5  # Wang et al. 2004
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_DISTS_C = 1e-6
_POW25_7 = 25.0**7


def mse(output: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error over the whole picture, 0-255 scale."""
    return ((output - truth) * 255).square().mean(dim=(1, 2, 3))


def fmse(output: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the foreground, weighted by its mask, 0-255 scale."""
    error = (mask * ((output - truth) * 255).square()).sum(dim=(1, 2, 3))
    return error / (3 * mask.sum(dim=(1, 2, 3)).clamp_min(1e-6))


def psnr_from_mse(error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio [dB] of a squared error on the 0-255 scale, capped at `PSNR_CAP`."""
    floor = 255**2 / 10 ** (PSNR_CAP / 10)
    return 10 * torch.log10(255**2 / error.clamp_min(floor))


def psnr(output: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the whole picture [dB], capped."""
    return psnr_from_mse(mse(output, truth))


def fpsnr(output: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the foreground [dB], capped."""
    return psnr_from_mse(fmse(output, truth, mask))


def harm(after: Tensor, before: Tensor) -> Tensor:
    """Tell where a method made a picture worse: its MSE exceeds the composite's by more than `HARM_MARGIN`."""
    return after - before > HARM_MARGIN


def ssim_map(output: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity around every pixel that has a whole 11x11 window -> [B,3,H-10,W-10]."""
    assert min(output.shape[-2:]) >= _SSIM_WINDOW, f"SSIM needs {_SSIM_WINDOW} pixels a side, not {output.shape[-2:]}"
    position = torch.arange(_SSIM_WINDOW, dtype=output.dtype, device=output.device) - _SSIM_WINDOW // 2
    window = torch.exp(-(position**2) / (2 * _SSIM_SIGMA**2))
    window = window / window.sum()

    def blur(image: Tensor) -> Tensor:
        channels = image.shape[1]
        image = F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(image, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    mean_a, mean_b = blur(output), blur(truth)
    square_a, square_b = blur(output**2) - mean_a**2, blur(truth**2) - mean_b**2
    covariance = blur(output * truth) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    return numerator / ((mean_a**2 + mean_b**2 + _SSIM_C1) * (square_a + square_b + _SSIM_C2))


def ssim(output: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity [Wang et al. 2004], Gaussian window, mean of the three channels."""
    return ssim_map(output, truth).mean(dim=(1, 2, 3))


def fssim(output: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Structural similarity over the foreground: the map's mean weighted by the mask."""
    edge = _SSIM_WINDOW // 2
    return _weighted(ssim_map(output, truth).mean(dim=1, keepdim=True), mask[:, :, edge:-edge, edge:-edge])


def lightness_error(lab_output: Tensor, lab_truth: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of L* over the foreground: the error of shading."""
    return _weighted((lab_output - lab_truth)[:, :1].abs(), mask)


def chroma_error(lab_output: Tensor, lab_truth: Tensor, mask: Tensor) -> Tensor:
    """Mean distance in the (a*, b*) plane over the foreground: the error of colour."""
    return _weighted((lab_output - lab_truth)[:, 1:].square().sum(dim=1, keepdim=True).sqrt(), mask)


def mean_ciede2000(lab_output: Tensor, lab_truth: Tensor, mask: Tensor) -> Tensor:
    """Mean CIEDE2000 colour difference over the foreground."""
    return _weighted(ciede2000(lab_output, lab_truth), mask)


def ciede2000(lab_a: Tensor, lab_b: Tensor) -> Tensor:
    """CIEDE2000 colour difference of every pixel of two Lab pictures -> [B,1,H,W] [Sharma et al. 2005]."""
    lightness_a, a1, b1 = lab_a.chunk(3, dim=-3)
    lightness_b, a2, b2 = lab_b.chunk(3, dim=-3)
    stretch = 1.5 - 0.5 * _saturating((a1.hypot(b1) + a2.hypot(b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    chroma_a, chroma_b = a1.hypot(b1), a2.hypot(b2)
    hue_a, hue_b = (torch.remainder(torch.atan2(b, a), 2 * math.pi) for a, b in ((a1, b1), (a2, b2)))
    grey = chroma_a * chroma_b == 0

    turn = hue_b - hue_a
    turn = turn - 2 * math.pi * (turn > math.pi) + 2 * math.pi * (turn < -math.pi)
    turn = torch.where(grey, 0.0, turn)
    hue_shift = 2 * (chroma_a * chroma_b).sqrt() * torch.sin(turn / 2)
    hue = torch.where(grey, hue_a + hue_b, hue_a + turn / 2)  # half way along the shorter arc
    chroma, lightness = (chroma_a + chroma_b) / 2, (lightness_a + lightness_b) / 2

    weight = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    off_middle = (lightness - 50) ** 2
    term_l = (lightness_b - lightness_a) / (1 + 0.015 * off_middle / (20 + off_middle).sqrt())
    term_c = (chroma_b - chroma_a) / (1 + 0.045 * chroma)
    term_h = hue_shift / (1 + 0.015 * chroma * weight)
    degrees = torch.remainder(torch.rad2deg(hue), 360)
    rotation = -2 * _saturating(chroma) * torch.sin(math.radians(60) * torch.exp(-(((degrees - 275) / 25) ** 2)))
    return (term_l**2 + term_c**2 + term_h**2 + rotation * term_c * term_h).clamp_min(0).sqrt()


def lpips(
    features_output: Sequence[Tensor],  # [B,C_i,H_i,W_i] each
    features_truth: Sequence[Tensor],
    heads: Sequence[Tensor],  # [1,C_i,1,1] each, not negative
) -> Tensor:
    """Learned perceptual image patch similarity [Zhang et al. 2018] of two pictures' features."""
    assert len(features_output) == len(features_truth) == len(heads)
    total = torch.zeros(features_output[0].shape[0], device=features_output[0].device)
    for output, truth, head in zip(features_output, features_truth, heads, strict=True):
        squared = (_unit(output) - _unit(truth)).square()
        total = total + (head * squared).sum(dim=1).mean(dim=(1, 2))
    return total


def dists(
    features_output: Sequence[Tensor],  # [B,C_i,H_i,W_i] each, the picture itself first
    features_truth: Sequence[Tensor],
    alpha: Tensor,  # [1, sum C_i, 1, 1] weight of texture
    beta: Tensor,  # [1, sum C_i, 1, 1] weight of structure
) -> Tensor:
    """Deep image structure and texture similarity [Ding et al. 2020]; 0 where both are equal."""
    widths = [feature.shape[1] for feature in features_output]
    scale = alpha.sum() + beta.sum()
    alphas, betas = (alpha / scale).split(widths, dim=1), (beta / scale).split(widths, dim=1)
    similarity = torch.zeros(features_output[0].shape[0], device=features_output[0].device)
    for x, y, texture, structure in zip(features_output, features_truth, alphas, betas, strict=True):
        mean_x, mean_y = x.mean(dim=(2, 3), keepdim=True), y.mean(dim=(2, 3), keepdim=True)
        variance_x = (x - mean_x).square().mean(dim=(2, 3), keepdim=True)
        variance_y = (y - mean_y).square().mean(dim=(2, 3), keepdim=True)
        covariance = (x * y).mean(dim=(2, 3), keepdim=True) - mean_x * mean_y
        same_texture = (2 * mean_x * mean_y + _DISTS_C) / (mean_x**2 + mean_y**2 + _DISTS_C)
        same_structure = (2 * covariance + _DISTS_C) / (variance_x + variance_y + _DISTS_C)
        similarity = similarity + (texture * same_texture + structure * same_structure).sum(dim=(1, 2, 3))
    return 1 - similarity


def identity_cosine(embedding_output: Tensor, embedding_truth: Tensor) -> Tensor:
    """Cosine of two face embeddings [B,N] -> [B]."""
    return F.cosine_similarity(embedding_output, embedding_truth, dim=1)


def gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a Gaussian to features [N,C] -> mean [C], covariance [C,C], in double precision."""
    features = features.double()
    return features.mean(dim=0), torch.cov(features.T)


def frechet_distance(
    mean_a: Tensor,  # [C]
    covariance_a: Tensor,  # [C,C]
    mean_b: Tensor,
    covariance_b: Tensor,
) -> float:
    """Squared Frechet distance of two Gaussians [Dowson and Landau 1982], as FID takes it [Heusel et al. 2017].

    It is FID only with the features of Inception. With other features, its numbers can rank runs of one kind, but not
    be compared with published ones. With fewer samples than a few times C it is far too large; the bias falls with N.
    """
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * shared
    return float(distance.clamp_min(0))


def _weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of [B,1,H,W] under a weight -> [B]."""
    return (values * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp_min(1e-6)


def _unit(feature: Tensor) -> Tensor:
    """Scale every pixel's feature vector to length 1."""
    return feature / (feature.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _saturating(chroma: Tensor) -> Tensor:
    seventh = chroma**7
    return (seventh / (seventh + _POW25_7)).sqrt()
