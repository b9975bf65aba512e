"""Estimates with 95 % intervals, by resampling the portraits that items were made from.

Items of one portrait rise and fall together, so that resampling items would promise too much. Knows numbers only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Choice = NDArray[np.bool_]

DRAWS = 1000
_BLOCK = 100  # draws at once, so that thousands of items need little memory


@dataclass(frozen=True)
class Estimate:
    """A number, and the bounds that contain it in 95 of 100 draws of portraits."""

    value: float
    low: float
    high: float


class Resampler:
    """Draws portraits with replacement and estimates statistics of their items."""

    def __init__(self, portraits: NDArray[np.int64], draws: int = DRAWS, seed: int = 0) -> None:
        self._portraits = portraits  # [items] which portrait each item was made from
        count = int(portraits.max()) + 1
        draw = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
        self._times = np.concatenate([np.ones((1, count)), draw])  # [1 + draws, portraits]; the first takes all once

    def mean(self, values: Numbers, chosen: Choice) -> Estimate | None:
        """Mean over the chosen items; None where there is none."""
        return self.ratio(values, np.ones_like(values), chosen)

    def ratio(self, numerator: Numbers, denominator: Numbers, chosen: Choice) -> Estimate | None:
        """Ratio of two means over the chosen items."""
        chosen = chosen & np.isfinite(numerator) & np.isfinite(denominator)
        if not chosen.any():
            return None
        count = self._times.shape[1]
        sums = [np.bincount(self._portraits[chosen], x[chosen], count) for x in (numerator, denominator)]
        above, below = (self._times @ total for total in sums)
        return _estimate(np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0))

    def quantile(self, values: Numbers, share: float, chosen: Choice) -> Estimate | None:
        """Value below which a share of the chosen items lies."""
        chosen = chosen & np.isfinite(values)
        if not chosen.any():
            return None
        order = np.argsort(values[chosen])
        ranked, portraits = values[chosen][order], self._portraits[chosen][order]
        quantiles = []
        for start in range(0, len(self._times), _BLOCK):
            reached = self._times[start : start + _BLOCK, portraits].cumsum(axis=1)
            total = reached[:, -1:]
            index = (reached < np.maximum(share * total, 1e-9)).sum(axis=1).clip(0, len(ranked) - 1)
            quantiles.append(np.where(total[:, 0] > 0, ranked[index], np.nan))
        return _estimate(np.concatenate(quantiles))


def _estimate(statistic: Numbers) -> Estimate:
    """Split the statistic of all items from those of the draws."""
    draws = statistic[1:][np.isfinite(statistic[1:])]
    low, high = np.percentile(draws, [2.5, 97.5]) if draws.size else (np.nan, np.nan)
    return Estimate(float(statistic[0]), float(low), float(high))
