"""RGB spaces as numbers: curves to linear light and a matrix to sRGB's primaries, and the way from there to sRGB.

Knows what a picture may state about its colours: a matrix profile [ICC.1:2022], code points [ITU-T H.273], PNG's gamma
and chromaticities. Names of profiles say nothing and are never looked at.
"""

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Chromaticity = tuple[float, float]

HDR = {16: "PQ (HDR10)", 18: "HLG"}  # transfer characteristics, H.273 table 3

_STEPS = 65536  # entries of a curve: one for each value that 16 bits have
_BAND_ROWS = 128
_SAME = 1 / 255  # spaces that differ by no more are one
_PQ_MIDDLE = 0.02  # a curve that maps 0.5 below this is PQ's or alike: it gives 0.0092, gamma 2.2 gives 0.22
_D50 = (0.9642, 1.0, 0.8249)  # the profile connection space's white [ICC.1:2022, 7.2.16]
_D65: Chromaticity = (0.3127, 0.3290)
_C: Chromaticity = (0.310, 0.316)
_BRADFORD: Floats = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_PRIMARIES: dict[int, tuple[Chromaticity, Chromaticity, Chromaticity, Chromaticity]] = {  # H.273 table 2
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    2: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),  # unspecified
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_AS_SRGB = (1, 2, 6, 7, 13, 14, 15)  # H.273 table 3; a camera's curve is undone by a display's, as browsers take it
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}


@dataclass(frozen=True)
class Colors:
    """An RGB space."""

    curves: Floats  # [3,65536] linear light of each value, of red, green and blue
    matrix: Floats  # [3,3] from its linear light to sRGB's

    @property
    def is_srgb(self) -> bool:
        """Whether converting changes no colour by more than a step of 8 bits."""
        axis = np.linspace(0, 1, 18)
        colors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(1, 3, 1, -1)
        planes = torch.from_numpy(colors.astype(np.float32))
        return bool((self.to_srgb(planes) - planes).abs().max() <= _SAME)

    @property
    def is_hdr(self) -> bool:
        """Whether the curve is one for light far beyond white."""
        return bool(self.curves[:, _STEPS // 2].max() < _PQ_MIDDLE)

    def to_srgb(
        self,
        planes: Tensor,  # [1,3,H,W] in [0,1]
    ) -> Tensor:  # [1,3,H,W] sRGB, what lies outside its gamut clipped
        """Convert planes to sRGB."""
        curves, matrix = torch.from_numpy(self.curves).float(), torch.from_numpy(self.matrix).float()
        bands = []
        for band in planes.split(_BAND_ROWS, dim=2):
            at = (band[0].clamp(0, 1) * (_STEPS - 1)).round().long()
            linear = torch.stack([curve[plane] for curve, plane in zip(curves, at, strict=True)])
            linear = torch.einsum("ij,jhw->ihw", matrix, linear).clamp(0, 1)
            bands.append(
                torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)
            )
        return torch.cat(bands, dim=1)[None]


def colors_of_codes(primaries: int, transfer: int) -> Colors | None:
    """Give the space of H.273's code points; None where they are not known."""
    gamma = _GAMMAS.get(transfer)
    if primaries not in _PRIMARIES or (gamma is None and transfer not in _AS_SRGB):
        return None
    curve = _srgb_curve() if gamma is None else _axis() ** gamma
    *corners, white = _PRIMARIES[primaries]
    return Colors(np.stack([curve] * 3), _from_srgb() @ _to_connection(corners, white))


def colors_of_gamma(gamma: float, chromaticities: Sequence[Chromaticity] | None = None) -> Colors | None:
    """Give the space of a PNG's gAMA and cHRM (white, red, green, blue); None where they make no sense."""
    if not 0.1 <= gamma <= 10:
        return None
    curve = _srgb_curve() if abs(1 / gamma - 2.2) < 0.05 else _axis() ** (1 / gamma)
    *_, white = _PRIMARIES[1]
    white, *corners = chromaticities or (white, *_PRIMARIES[1][:3])
    try:
        matrix = _from_srgb() @ _to_connection(corners, white)
    except (ZeroDivisionError, np.linalg.LinAlgError):
        return None
    return Colors(np.stack([curve] * 3), matrix) if np.isfinite(matrix).all() else None


@functools.lru_cache(maxsize=8)
def colors_of_profile(profile: bytes) -> Colors | None:
    """Read the curves and primaries of a matrix or grey profile; None where it is of another kind, or broken."""
    try:
        tags = profile_tags(profile)
        if profile[20:24] != b"XYZ " or tags.keys() & {b"A2B0", b"A2B1", b"D2B0", b"D2B1"}:
            return None
        if profile[16:20] == b"GRAY":
            return Colors(np.stack([_curve(tags[b"kTRC"])] * 3), np.eye(3))
        if profile[16:20] != b"RGB ":
            return None
        curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        columns = [struct.unpack(">3i", tags[name][8:20]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    except (struct.error, KeyError, ValueError, IndexError):
        return None
    matrix = _from_srgb() @ (np.array(columns).T / 65536)
    return Colors(curves, matrix) if np.isfinite(curves).all() else None


def profile_tags(profile: bytes) -> dict[bytes, bytes]:
    """List the tags of a profile [ICC.1:2022, 7.3].

    Raises:
        ValueError: it is no profile.
    """
    if profile[36:40] != b"acsp":
        raise ValueError("no profile")
    (count,) = struct.unpack(">I", profile[128:132])
    entries = (struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i]) for i in range(min(count, 100)))
    return {name: profile[start : start + length] for name, start, length in entries}


def _curve(tag: bytes) -> Floats:
    """Evaluate a curve of a profile [ICC.1:2022, 10.6 and 10.18] -> [65536] in [0,1]."""
    x = _axis()
    if tag[:4] == b"curv":
        (count,) = struct.unpack(">I", tag[8:12])
        entries = np.frombuffer(tag[12 : 12 + 2 * count], ">u2").astype(np.float64)
        if len(entries) != count:
            raise ValueError("a torn curve")
        if count < 2:
            return np.asarray(x ** (entries[0] / 256)) if count else x
        return np.asarray(np.interp(x, np.linspace(0, 1, count), entries / 65535))
    if tag[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack(">H", tag[8:10])
    count = (1, 3, 4, 5, 7)[kind]
    g, *numbers = (number / 65536 for number in struct.unpack(f">{count}i", tag[12 : 12 + 4 * count]))
    if kind == 0:
        return np.asarray(x**g)
    a, b, *rest = numbers
    power = np.maximum(a * x + b, 0) ** g
    if kind < 3:
        return np.asarray(np.clip(power + sum(rest), 0, 1))
    c, d, e, f = (*rest, 0.0, 0.0)[:4]
    return np.asarray(np.clip(np.where(x >= d, power + e, c * x + f), 0, 1))


def _axis() -> Floats:
    return np.linspace(0, 1, _STEPS, dtype=np.float64)


def _srgb_curve() -> Floats:
    """Evaluate sRGB's curve to linear light [IEC 61966-2-1]."""
    x = _axis()
    return np.asarray(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4))


@functools.cache
def _from_srgb() -> Floats:
    """Give the matrix [3,3] from the connection space to linear sRGB."""
    *corners, white = _PRIMARIES[1]
    return np.asarray(np.linalg.inv(_to_connection(corners, white)), np.float64)


def _to_connection(corners: Sequence[Chromaticity], white: Chromaticity) -> Floats:
    """Give the matrix [3,3] from linear RGB of these primaries to XYZ at D50, white adapted by Bradford's method."""
    columns = np.array([_xyz(*corner) for corner in corners]).T
    matrix = columns * np.linalg.solve(columns, _xyz(*white))
    response = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ _xyz(*white))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(response) @ _BRADFORD @ matrix)


def _xyz(x: float, y: float) -> Floats:
    return np.array([x / y, 1.0, (1 - x - y) / y])
