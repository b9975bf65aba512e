"""Light as spherical harmonics of order 2, and the two relighters that use it.

A light is [B,9] (grey) or [B,9,3] (coloured, built-in relighter only) in the convention of [ZHSJ19]: the light that
falls on a surface, by its normal, as coefficients of the orthonormal real basis 1, Y, Z, X, YX, YZ, 3Z2-1, XZ, X2-Y2;
axes X right, Z up, Y away from the camera, so a frontal light has negative Y.

The built-in relighter needs no weights. Its surface is the matte, inflated (a height whose square solves Poisson's
equation over the person, so that a limb becomes round), an ellipsoid where the matte's uppermost part suggests a head,
and a weak relief from luminance: what is darker than its surroundings is taken to lie deeper. The light that the
portrait has is fitted to its luminance over that surface, and shrunk towards a plain frontal one, since skin, hair and
cloth differ too. It knows nothing of faces and casts no shadows.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .checkpoint import read_foreign_tensors
from .color import lab_to_rgb, luma, rgb_to_lab
from .networks.dpr import Dpr, from_published

Relighter = Callable[[Tensor, Tensor, Tensor], Tensor]  # image [B,3,H,W], alpha [B,1,H,W], light [B,9] -> image

_BASIS = tuple(math.sqrt(k / math.pi) / 2 for k in (1, 3, 15, 1.25, 3.75))  # 1; x; xy; 3z2-1; x2-y2
_GAMMA = 2.2
_KNEE = 0.8  # brighter values approach white smoothly instead of being clipped
_SURFACE_SIZE = 64  # [px] longer side of the estimated surface: light is smooth
_BODY_DEPTH, _HEAD_DEPTH = 0.3, 0.8  # of half a cylinder; of the head's width
_HEAD_RADII, _HEAD_CENTRE = (0.6, 0.7), 0.62  # in boxes of the head; the ellipsoid goes on behind hair and chin
_BODY_BLUR = 1.5  # [px] of the surface
_RELIEF, _RELIEF_BAND = 2.0, (3.0, 12.0)  # height [px] of a factor e in luminance, at these scales [px]
_FLAT_BEYOND = 0.35  # share of the surface over which the pull to zero acts
_SWEEPS = 30
_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
_LEAST_SHADE = 0.05
_PLAIN_LIGHT = ((0.0, -0.9, 0.436), 0.5, 0.8)  # what a portrait is usually lit by: direction, ambient, intensity
_SOURCE_RIDGE, _SOURCE_TRUST = 0.1, 0.7
_SOURCE_RANGE = (-2.3, 0.7)  # natural logarithms
# the clamped cosine's weight of each order [RH01], coefficient by coefficient
_ORDER_WEIGHTS = (math.pi, *(2 * math.pi / 3,) * 3, *(math.pi / 4,) * 5)
SKY = math.pi * _BASIS[0]  # coefficient of order 0 of an even white light of intensity 1
DPR_SIDE = 512  # [px] of the pictures that DPR was trained on
_LEAST_LIGHTNESS = 0.02  # keeps ratios of dark lightness finite
DPR_SCALE = 0.7  # the authors of [ZHSJ19] multiply their lights by this


def sh_basis(direction: Tensor) -> Tensor:
    """Evaluate the basis at unit vectors [...,3] -> [...,9]."""
    x, y, z = direction.unbind(-1)
    one, linear, mixed, polar, planar = _BASIS
    return torch.stack(
        [
            torch.full_like(x, one),
            linear * y,
            linear * z,
            linear * x,
            mixed * y * x,
            mixed * y * z,
            polar * (3 * z * z - 1),
            mixed * x * z,
            planar * (x * x - y * y),
        ],
        dim=-1,
    )


def sphere_light(
    direction: Tensor,  # [B,3] unit vectors towards the light
    ambient: Tensor,  # [B] share of the light that comes from everywhere, 0..1
    intensity: Tensor,  # [B] 1: as bright as the lights DPR comes with
) -> Tensor:
    """Return the light [B,9] of a soft lamp and an even sky, as the image of a lit sphere would show it."""
    lamp = sh_basis(direction) * direction.new_tensor(_ORDER_WEIGHTS)
    sky = torch.zeros_like(lamp)
    sky[:, 0] = lamp[:, 0]
    light: Tensor = torch.lerp(lamp, sky, ambient[:, None]) * intensity[:, None]
    return light


def turn_light(
    light: Tensor,  # [B,9,C]
    angle: float,  # [rad] about the vertical; positive moves a lamp on the right away from the camera
) -> Tensor:
    """Turn a light about the vertical axis."""
    one, y, z, x, yx, yz, polar, xz, planar = light.unbind(1)
    sine, cosine = math.sin(angle), math.cos(angle)
    sine2, cosine2 = math.sin(2 * angle), math.cos(2 * angle)
    turned = [
        one,
        cosine * y + sine * x,
        z,
        cosine * x - sine * y,
        cosine2 * yx + sine2 * planar,
        cosine * yz + sine * xz,
        polar,
        cosine * xz - sine * yz,
        cosine2 * planar - sine2 * yx,
    ]
    return torch.stack(turned, dim=1)


def panorama_light(
    radiance: Tensor,  # [B,9,C] in the basis 1, y, z, x, xy, yz, 3z2-1, xz, x2-y2; y up, +z the panorama's centre
) -> Tensor:
    """Turn the radiance of a panorama into the light that falls by normal, in our axes: X = x, Y = z, Z = y.

    The camera looks at the panorama's centre, so that the portrait stands before it and is lit from its edges.
    """
    one, y, z, x, xy, yz, polar, xz, planar = radiance.unbind(1)
    # with z2 = 1 - x2 - y2 the two diagonal functions about the other axis are a rotation and a mirroring of these
    half, root = 0.5, math.sqrt(3) / 2
    second = [xz, yz, -half * polar - root * planar, xy, half * planar - root * polar]
    light = torch.stack([one, z, y, x, *second], dim=1)
    return light * light.new_tensor(_ORDER_WEIGHTS)[None, :, None]


def frontal_direction(generator: torch.Generator) -> Tensor:
    """Draw a direction [3], uniform on the hemisphere before the portrait (Y < 0)."""
    x, y, z = F.normalize(torch.randn(3, generator=generator), dim=0).unbind()
    return torch.stack([x, -y.abs(), z])


def load_dpr(path: Path | str) -> Dpr:
    """Load the authors' file of tensors (`dpr_512.t7`), without unpickling code.

    Raises:
        ValueError: the file is damaged, or holds something else.
        OSError: it cannot be opened.
    """
    try:
        return from_published(read_foreign_tensors(path))
    except RuntimeError as error:
        raise ValueError(f"{path} holds other tensors than DPR's: {str(error).splitlines()[-1].strip()}") from None


def dpr_relighter(network: Dpr) -> Relighter:
    """Return a relighter that changes the lightness of a picture by the network of [ZHSJ19].

    The network knows pictures of 512 px: it draws softer shadows in smaller ones and blotches larger ones. So it sees
    every picture at that size, and its ratio of lightness is applied at the picture's own.
    """

    def relight(image: Tensor, alpha: Tensor, light: Tensor) -> Tensor:
        lab = rgb_to_lab(image)
        lightness, size = lab[:, :1] / 100, image.shape[2:]
        seen = _resize(lightness, [max(1, round(side * DPR_SIDE / max(size) / 16)) * 16 for side in size])
        with torch.inference_mode():
            relit, _ = network(seen, light)
        ratio = _resize((relit + _LEAST_LIGHTNESS) / (seen + _LEAST_LIGHTNESS), size)
        lightness = lightness * ratio
        return lab_to_rgb(torch.cat([lightness * 100, lab[:, 1:]], dim=1)).clamp(0.0, 1.0)

    return relight


def _resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """Average when reducing, interpolate when enlarging."""
    if size[0] * size[1] < image.shape[2] * image.shape[3]:
        return F.interpolate(image, size, mode="area")
    return F.interpolate(image, size, mode="bicubic", align_corners=False).clamp_min(0.0)


def builtin_relighter(image: Tensor, alpha: Tensor, light: Tensor) -> Tensor:
    """Relight by the ratio of two shadings of an estimated surface: under the light, and under the one it has.

    Args:
        light: [B,9] or [B,9,3].
    """
    normals = estimate_normals(image, alpha)
    coloured = light if light.dim() == 3 else light[:, :, None]
    ratio = (shade(normals, coloured) / present_shade(normals, image, alpha)) ** (1 / _GAMMA)
    bright = image * F.interpolate(ratio, image.shape[2:], mode="bilinear")
    return torch.where(bright > _KNEE, 1 - (1 - _KNEE) * torch.exp((_KNEE - bright) / (1 - _KNEE)), bright)


def shade(
    normals: Tensor,  # [B,3,H,W] unit
    light: Tensor,  # [B,9,C]
) -> Tensor:
    """Light that falls on a surface [B,C,H,W]; never quite dark, since a series of order 2 may undershoot zero."""
    fallen = torch.einsum("bhwk,bkc->bchw", sh_basis(normals.permute(0, 2, 3, 1)), light)
    return _LEAST_SHADE * F.softplus(fallen / _LEAST_SHADE)


def present_shade(normals: Tensor, image: Tensor, alpha: Tensor) -> Tensor:
    """Estimate the light that falls on a portrait [B,1,h,w]: its slope by the normals fitted to log luminance.

    Its level is a plain frontal light's: how bright skin and cloth are by themselves is not known.
    """
    slope, centred, weight = _tone_slope(normals, image, alpha)
    plain = sphere_light(*(torch.tensor([value]) for value in _PLAIN_LIGHT))[:, :, None]
    level = (shade(normals, plain).log().flatten(2) * weight).sum(2, keepdim=True)
    logarithm: Tensor = level + _SOURCE_TRUST * slope.transpose(1, 2) @ centred
    return logarithm.clamp(*_SOURCE_RANGE).exp().view(-1, 1, *normals.shape[2:])


def tone_slope(normals: Tensor, image: Tensor, alpha: Tensor) -> Tensor:
    """Fit the log luminance of a person to its normals -> its slope along each axis [B,3,1]."""
    return _tone_slope(normals, image, alpha)[0]


def _tone_slope(normals: Tensor, image: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    size = normals.shape[2:]
    weight = F.interpolate(alpha, size, mode="area").flatten(2) + 1e-6
    weight = weight / weight.sum(2, keepdim=True)
    tone = _GAMMA * F.interpolate(luma(image), size, mode="area").clamp_min(0.05).log().flatten(2)
    centred = normals.flatten(2) - (normals.flatten(2) * weight).sum(2, keepdim=True)
    spread = (centred * weight) @ centred.transpose(1, 2) + _SOURCE_RIDGE * torch.eye(3)
    slope = torch.linalg.solve(spread, (centred * weight) @ tone.transpose(1, 2))
    return slope, centred, weight


def estimate_normals(
    image: Tensor,  # [B,3,H,W] sRGB in [0,1]
    alpha: Tensor,  # [B,1,H,W]
) -> Tensor:
    """Estimate unit normals [B,3,h,w] of the person at a small size: body, head, and relief from luminance."""
    height, width = alpha.shape[2:]
    scale = _SURFACE_SIZE / max(height, width)
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    small = F.interpolate(alpha, size, mode="area")
    body = smooth(torch.maximum(_BODY_DEPTH * inflate(small), _HEAD_DEPTH * head_bump(small)), _BODY_BLUR)
    tone = F.interpolate(luma(image), size, mode="area").clamp_min(0.03).log()
    relief = smooth(tone, _RELIEF_BAND[0]) - smooth(tone, _RELIEF_BAND[1])
    down, right = torch.gradient(body + _RELIEF * relief, dim=(2, 3))
    # towards the camera is -Y; rows go down while Z goes up
    return F.normalize(torch.cat([-right, -torch.ones_like(right), down], dim=1))


def head_bump(alpha: Tensor) -> Tensor:
    """Heights [B,1,h,w] of an ellipsoid over each head that a matte [B,1,h,w] suggests."""
    y, x = torch.meshgrid(torch.arange(alpha.shape[2]) + 0.5, torch.arange(alpha.shape[3]) + 0.5, indexing="ij")
    bumps = []
    for matte in alpha:
        left, top, width, height = head_box(matte[None])
        across = (x - left - width / 2) / max(1.0, _HEAD_RADII[0] * width)
        down = (y - top - _HEAD_CENTRE * height) / max(1.0, _HEAD_RADII[1] * height)
        bumps.append(width * torch.sqrt((1 - across**2 - down**2).clamp_min(0.0)))
    return torch.stack(bumps)[:, None]


def head_box(alpha: Tensor) -> tuple[int, int, int, int]:
    """Guess where the head is in a matte [1,1,H,W]: its uppermost part, about as high as wide; x, y, width, height."""
    inside = alpha[0, 0] > 0.5
    rows = inside.any(1).nonzero()[:, 0]
    if len(rows) == 0:
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    width = int(inside[top:bottom].sum(1)[: max(1, (bottom - top) // 3)].max())
    height = min(round(1.2 * width), bottom - top)
    columns = inside[top : top + max(1, height // 2)].any(0).nonzero()[:, 0]
    left = max(0, int(columns.float().mean()) - width // 2)
    return left, top, min(width, inside.shape[1] - left), height


def inflate(alpha: Tensor) -> Tensor:
    """Blow up a matte [B,1,h,w] into heights [B,1,h,w] in pixels: a bar becomes half a cylinder.

    Solves Poisson's equation with zeros outside the person and a free edge at the frame (the body goes on there), from
    coarse to fine; a weak pull to zero keeps the middle of a frame-filling person flat instead of infinitely high.
    """
    height, width = alpha.shape[2:]
    swelling = torch.zeros(len(alpha), 1, 1, 1)
    for halvings in (3, 2, 1, 0):
        size = (-(-height >> halvings), -(-width >> halvings))
        inside = F.interpolate(alpha, size, mode="area")
        swelling = F.interpolate(swelling, size, mode="bilinear") * (4.0 if halvings < 3 else 0.0)
        pull = 1 / (_FLAT_BEYOND * max(size)) ** 2
        swelling = _sweep(swelling, inside / (4 + pull))
    return (2.0 * swelling).sqrt()


def _sweep(swelling: Tensor, share: Tensor) -> Tensor:
    """Let each pixel take a share of its four neighbours, and of 1, many times: [B,1,h,w]; by OpenCV, for speed."""
    swept = swelling.expand_as(share).numpy().copy()
    for heights, shares in zip(swept[:, 0], share[:, 0].numpy(), strict=True):
        for _ in range(_SWEEPS):
            around = cv2.filter2D(heights, -1, _NEIGHBOURS, borderType=cv2.BORDER_REPLICATE)
            np.multiply(around + np.float32(1), shares, out=heights)
    return torch.from_numpy(swept)


def smooth(image: Tensor, sigma: float) -> Tensor:
    """Blur [B,1,h,w] by a Gaussian [px], borders repeated."""
    reach = round(2.5 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).to(image)
    wide = F.conv2d(F.pad(image, (reach, reach, 0, 0), mode="replicate"), taps[None, None, None])
    return F.conv2d(F.pad(wide, (0, 0, reach, reach), mode="replicate"), taps[None, None, :, None])
