"""Colour spaces and masked colour statistics, as pure functions of tensors.

Knows sRGB, linear light, CIE XYZ and CIE Lab under D65. Knows nothing of pictures, layers or networks.
Sources: IEC 61966-2-1 (sRGB transfer and primaries), CIE 15:2004 (Lab).
"""

import torch
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709 weights of R, G, B

_RGB_TO_XYZ = (
    (0.4123907993, 0.3575843394, 0.1804807884),
    (0.2126390059, 0.7151686788, 0.0721923154),
    (0.0193308187, 0.1191947798, 0.9505321522),
)
_WHITE = (0.9504559271, 1.0, 1.0890577508)  # D65, equal to the rows' sums, so that grey has a = b = 0
_LAB_EPSILON = 216 / 24389
_LAB_KAPPA = 24389 / 27
_PLANCKIAN_X = ((-0.2661239e9, -0.2343589e6, 0.8776956e3, 0.179910), (-3.0258469e9, 2.1070379e6, 0.2226347e3, 0.240390))
_PLANCKIAN_Y = (
    (-1.1063814, -1.34811020, 2.18555832, -0.20219683),  # below 2222 K
    (-0.9549476, -1.37418593, 2.09137015, -0.16748867),  # 2222 to 4000 K
    (3.0817580, -5.87338670, 3.75112997, -0.37001483),  # above
)


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Undo the sRGB transfer function; any shape, values in [0,1]."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Apply the sRGB transfer function; any shape, values in [0,1]."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def luma(rgb: Tensor) -> Tensor:
    """Rec. 709 luma of an image [B,3,H,W] -> [B,1,H,W]."""
    red, green, blue = rgb.chunk(3, dim=-3)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def rgb_to_xyz(linear: Tensor) -> Tensor:
    """Linear RGB [B,3,H,W] -> CIE XYZ, white at Y = 1."""
    return _mix(linear, torch.tensor(_RGB_TO_XYZ, dtype=torch.float64))


def xyz_to_rgb(xyz: Tensor) -> Tensor:
    """CIE XYZ [B,3,H,W] -> linear RGB, not clamped."""
    return _mix(xyz, torch.tensor(_RGB_TO_XYZ, dtype=torch.float64).inverse())


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB [B,3,H,W] in [0,1] -> CIE Lab, L in [0,100]."""
    white = torch.tensor(_WHITE, dtype=rgb.dtype, device=rgb.device).view(3, 1, 1)
    ratio = rgb_to_xyz(srgb_to_linear(rgb)) / white
    cube_root = ratio.clamp_min(_LAB_EPSILON) ** (1 / 3)
    x, y, z = torch.where(ratio > _LAB_EPSILON, cube_root, (_LAB_KAPPA * ratio + 16) / 116).chunk(3, dim=-3)
    return torch.cat([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIE Lab [B,3,H,W] -> sRGB, not clamped: values outside [0,1] lie outside the gamut."""
    lightness, a, b = lab.chunk(3, dim=-3)
    y = (lightness + 16) / 116
    cube_root = torch.cat([y + a / 500, y, y - b / 200], dim=-3)
    cube = cube_root**3
    ratio = torch.where(cube > _LAB_EPSILON, cube, (116 * cube_root - 16) / _LAB_KAPPA)
    white = torch.tensor(_WHITE, dtype=lab.dtype, device=lab.device).view(3, 1, 1)
    return linear_to_srgb(xyz_to_rgb(ratio * white))


def planckian_illuminant(cct: Tensor) -> Tensor:
    """Linear sRGB [N,3], luminance 1, of a black body at [N] 1667..25000 [K] (cubic approximation of [KKM02])."""
    cct = cct.double()
    low, high = (_polynomial(c, 1 / cct) for c in _PLANCKIAN_X)
    x = torch.where(cct < 4000, low, high)
    warm, middle, cold = (_polynomial(c, x) for c in _PLANCKIAN_Y)
    y = torch.where(cct < 2222, warm, torch.where(cct < 4000, middle, cold))
    xyz = torch.stack([x / y, torch.ones_like(x), (1 - x - y) / y], dim=1)
    return xyz_to_rgb(xyz[:, :, None, None])[:, :, 0, 0].clamp_min(1e-3).float()


def masked_mean(image: Tensor, weight: Tensor) -> Tensor:
    """Mean over space of [B,C,H,W], weighted by [B,1,H,W] -> [B,C,1,1]; zero where the weight is zero everywhere."""
    return (image * weight).sum(dim=(-2, -1), keepdim=True) / weight.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)


def masked_mean_and_deviation(image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over space of [B,C,H,W], weighted by [B,1,H,W] -> two [B,C,1,1]."""
    mean = masked_mean(image, weight)
    return mean, masked_mean((image - mean) ** 2, weight).sqrt()


def masked_covariance(image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B,C] and covariance [B,C,C] of the channels of [B,C,H,W] under a weight [B,1,H,W]."""
    mean = masked_mean(image, weight)
    centred = (image - mean).flatten(-2)
    share = (weight / weight.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)).flatten(-2)
    return mean.flatten(-3), (centred * share) @ centred.transpose(-2, -1)


def monge_kantorovich(
    own: Tensor,  # [B,3,3] covariance before
    goal: Tensor,  # [B,3,3] covariance after
    least: float = 1e-12,  # eigenvalues of `own` are raised to it: a flat colour must not be stretched without end
) -> Tensor:
    """Return the symmetric map [B,3,3] that takes one covariance to another with the least movement [PK07]."""
    root, inverse_root = _matrix_roots(own, least)
    middle, _ = _matrix_roots(root @ goal @ root, least=0.0)
    return inverse_root @ middle @ inverse_root


def _matrix_roots(matrix: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Square root and inverse square root of symmetric [B,3,3], eigenvalues kept from a floor up."""
    values, vectors = torch.linalg.eigh(matrix)
    roots = values.clamp_min(least).sqrt()
    return (vectors * roots[:, None]) @ vectors.mT, (vectors / roots[:, None].clamp_min(1e-12)) @ vectors.mT


def _mix(image: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the channels of [...,3,H,W] by a 3x3 matrix."""
    return torch.einsum("ij,...jhw->...ihw", matrix.to(image), image)


def _polynomial(coefficients: tuple[float, float, float, float], x: Tensor) -> Tensor:
    """Evaluate a cubic, highest power first."""
    a, b, c, d = coefficients
    return ((a * x + b) * x + c) * x + d
