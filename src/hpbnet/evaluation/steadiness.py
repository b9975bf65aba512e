"""Numbers about how a result moves in time [paper, section 4.5]: pure functions of series, one value a frame.

Knows brightness, spectra and flicker. Knows nothing of files, mattes or harmonizers.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]  # [T]

_STILL = 4.0  # change of a pixel, of 255, up to which it counts as still


@dataclass(frozen=True)
class Following:
    """How the foreground's brightness follows the background's."""

    correlation: float  # Pearson's, of the two series
    slope: float  # of log brightness over log brightness: 1 follows in full, 0 not at all


def spectrum(series: Series, rate: float) -> tuple[Series, Series]:
    """Return frequencies [Hz] above 0 and the amplitudes there, which sum to 1 (to 0 for a constant series).

    The mean is removed and a Hann window applied, so that neither level nor ends leak into the spectrum:
    A(k) = |sum_t h(t) (x(t) - mean x) exp(-2 pi i k t / T)|, divided by the sum of A over k >= 1.
    """
    centred = (series - series.mean()) * np.hanning(len(series) + 2)[1:-1]
    amplitudes = np.abs(np.fft.rfft(centred))[1:]
    total = amplitudes.sum()
    shares = amplitudes / total if total > 1e-9 * len(series) else np.zeros_like(amplitudes)
    frequencies = np.fft.rfftfreq(len(series), 1 / rate)[1:]
    return cast(Series, frequencies), cast(Series, shares)


def spectrum_distance(foreground: Series, background: Series) -> float:
    """Return the distance of two normalised spectra: half the sum over k >= 1 of |A_f(k) - A_b(k)|, in [0,1]."""
    (_, one), (_, other) = spectrum(foreground, 1.0), spectrum(background, 1.0)
    return float(np.abs(one - other).sum() / 2)


def spectrum_interval(foreground: Series, background: Series, parts: int = 6) -> tuple[float, float]:
    """Return the 95 % interval of the spectrum distance, from its scatter over half-overlapping parts of the clip.

    The whole clip's distance plus or minus 1.96 standard deviations over the parts, divided by the root of the number
    of parts that do not overlap.
    """
    length = max(8, 2 * len(foreground) // (parts + 1))
    starts = range(0, max(1, len(foreground) - length + 1), max(1, length // 2))
    scatter = [spectrum_distance(foreground[i : i + length], background[i : i + length]) for i in starts]
    whole = spectrum_distance(foreground, background)
    half = 1.96 * float(np.std(scatter)) / max(1.0, (len(scatter) + 1) / 2) ** 0.5
    return max(0.0, whole - half), min(1.0, whole + half)


def temporal_error(result: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return how far frame-to-frame changes differ from the truth's, root mean square over frames and channels.

    Args:
        result: mean colour of the foreground in each frame [T,3], of 255.
        truth: likewise.
    """
    return float(np.sqrt(np.mean((np.diff(result, axis=0) - np.diff(truth, axis=0)) ** 2)))


def flicker(result: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return the temporal error that no constant gain of each channel explains, root mean square.

    A colour error that stays the same scales the person's own motion and counts as temporal error, though nothing
    flickers. Here the truth's changes are scaled by the least-squares gain first.
    """
    changes, true = np.diff(result, axis=0), np.diff(truth, axis=0)
    gains = (changes * true).sum(axis=0) / np.maximum((true**2).sum(axis=0), 1e-9)
    return float(np.sqrt(np.mean((changes - gains * true) ** 2)))


def unexplained_change(foreground: Series, causes: list[Series]) -> float:
    """Return the frame-to-frame change of the foreground that no cause explains, root mean square.

    What is explained is the least-squares combination of the causes' own changes: of the background, and of the
    foreground as it was filmed.
    """
    change = np.diff(foreground)
    others = np.stack([np.diff(cause) for cause in causes], axis=1)
    weights, *_ = np.linalg.lstsq(others, change, rcond=None)
    return float(np.sqrt(np.mean((change - others @ weights) ** 2)))


def following(foreground: Series, background: Series) -> Following:
    """Say how the foreground's brightness follows the background's; a correlation of 0 where one is constant."""
    if min(foreground.std(), background.std()) < 1e-6:
        return Following(0.0, 0.0)
    light, scene = np.log(np.maximum(foreground, 1.0)), np.log(np.maximum(background, 1.0))
    slope = np.cov(scene, light)[0, 1] / np.var(scene, ddof=1)
    return Following(float(np.corrcoef(foreground, background)[0, 1]), float(slope))


def matte_flicker(
    before: NDArray[np.float32],  # [h,w]
    after: NDArray[np.float32],
    frame_before: NDArray[np.uint8],  # [h,w,3]
    frame_after: NDArray[np.uint8],
) -> float:
    """Return the mean change of alpha, of 255, over the pixels that stand still between two frames."""
    still = np.abs(frame_after.astype(np.int16) - frame_before).max(axis=2) <= _STILL
    return float(255 * np.abs(after - before)[still].mean()) if still.any() else 0.0
