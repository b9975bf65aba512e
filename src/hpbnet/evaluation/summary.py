"""Summarize rows: the scores of each method on the items that all methods have.

Knows which items count for what. Pairs that needed no change (the composite's MSE is at most 1) count apart, since
there every method can only lose. Knows nothing of how a table looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..metrics import HARM_MARGIN
from .identity import SKIN_GROUPS, skin_group
from .rows import UNHARMONIZED, EvaluationRow
from .statistics import DRAWS, Choice, Estimate, Numbers, Resampler

NEEDED_CHANGE_MSE = 1.0
LEAST_DISTURBED = 0.1  # share of the pairs that needed a change

MEANS = (
    *("mse", "psnr", "fmse", "fpsnr", "ssim", "fssim", "ciede2000", "lightness", "chroma"),
    *("lpips_squeeze", "lpips_alex", "lpips_vgg", "dists", "identity"),
)
RATIOS = ("mse", "fmse", "ciede2000", "lightness", "chroma", "lpips_squeeze", "lpips_alex", "lpips_vgg", "dists")


@dataclass(frozen=True)
class Summary:
    """The scores of one method; means, ratios and rates are over the pairs that needed a change."""

    method: str
    weight: str
    means: Mapping[str, Estimate]
    ratios: Mapping[str, Estimate]  # after / before, of means
    gain: Estimate | None  # [dB] mean of PSNR differences
    harm: Estimate | None  # share whose MSE rose by more than 1
    harm_least: Estimate | None  # the same in the least disturbed tenth
    identity_low: Estimate | None  # 5th percentile
    unchanged_to_input: Estimate | None  # [dB] where no change was needed
    unchanged_harm: Estimate | None
    seconds: float | None  # median


@dataclass(frozen=True)
class Duel:
    """Two methods, pair by pair, by their MSE."""

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    share: Estimate | None  # won by the first


@dataclass(frozen=True)
class Group:
    """One method on one part of the pairs that needed a change."""

    method: str
    group: str
    count: int
    mse: Estimate | None
    fmse: Estimate | None
    psnr: Estimate | None
    gain: Estimate | None
    ratio: Estimate | None


class Board:
    """Rows laid out as items x methods, restricted to the items that every method has.

    Raises:
        ValueError: there are no rows, none of the untouched composites, or no item that all methods share.
    """

    def __init__(self, rows: Sequence[EvaluationRow], draws: int = DRAWS) -> None:
        by_method: dict[str, dict[str, EvaluationRow]] = {}
        for row in rows:
            by_method.setdefault(row.method, {})[row.item] = row
        if UNHARMONIZED not in by_method:
            raise ValueError(f"there are no rows of the untouched composites ({UNHARMONIZED}); nothing can be compared")
        self.items = [
            item for item in by_method[UNHARMONIZED] if all(item in rows_of for rows_of in by_method.values())
        ]
        if not self.items:
            raise ValueError(f"no item has rows of all methods ({', '.join(by_method)})")
        self.left_out = len({row.item for row in rows}) - len(self.items)
        self.methods = (UNHARMONIZED, *(name for name in by_method if name != UNHARMONIZED))
        self.rows = {name: [by_method[name][item] for item in self.items] for name in self.methods}
        portraits = sorted({row.portrait for row in self.rows[UNHARMONIZED]})
        self.portraits = len(portraits)
        number = {name: index for index, name in enumerate(portraits)}
        self._resampler = Resampler(np.array([number[row.portrait] for row in self.rows[UNHARMONIZED]]), draws)

    def column(self, method: str, name: str) -> Numbers:
        """One score of one method over the items; NaN where it was not measured."""
        values = [getattr(row.scores, name) for row in self.rows[method]]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    @cached_property
    def needed(self) -> Choice:
        """Items whose composite differs from its truth."""
        return self.column(UNHARMONIZED, "mse") > NEEDED_CHANGE_MSE

    @cached_property
    def least(self) -> Choice:
        """The least disturbed tenth of the items that needed a change."""
        before = np.where(self.needed, self.column(UNHARMONIZED, "mse"), np.inf)
        chosen = np.zeros(len(self.items), dtype=np.bool_)
        chosen[np.argsort(before, kind="stable")[: int(np.ceil(LEAST_DISTURBED * self.needed.sum()))]] = True
        return chosen

    def summary(self, method: str) -> Summary:
        """Summarize one method."""
        resampler, needed = self._resampler, self.needed
        harmed = self._harmed(method)
        seconds = [row.seconds for row in self.rows[method] if row.seconds is not None]
        weights = {row.weight for row in self.rows[method]}
        return Summary(
            method=method,
            weight=weights.pop() if len(weights) == 1 else "",
            means=_there({name: resampler.mean(self.column(method, name), needed) for name in MEANS}),
            ratios=_there({name: self._ratio(method, name, needed) for name in RATIOS}),
            gain=self._gain(method, needed),
            harm=resampler.mean(harmed, needed),
            harm_least=resampler.mean(harmed, self.least),
            identity_low=resampler.quantile(self.column(method, "identity"), 0.05, needed),
            unchanged_to_input=resampler.mean(self.column(method, "psnr_to_input"), ~needed),
            unchanged_harm=resampler.mean(harmed, ~needed),
            seconds=float(np.median(seconds)) if seconds else None,
        )

    def duel(self, first: str, second: str) -> Duel:
        """Compare two methods pair by pair on what needed a change."""
        a, b = self.column(first, "mse"), self.column(second, "mse")
        wins, losses = (a < b) & self.needed, (a > b) & self.needed
        ties = int(self.needed.sum() - wins.sum() - losses.sum())
        share = self._resampler.mean((a < b).astype(np.float64), self.needed)
        return Duel(first, second, int(wins.sum()), int(losses.sum()), ties, share)

    def duels(self) -> list[Duel]:
        """Compare every method with every later one."""
        names = self.methods
        return [self.duel(second, first) for i, first in enumerate(names) for second in names[i + 1 :]]

    def by_skin(self) -> list[Group]:
        """Split by the portrait's skin tone, lightest first: the median angle of its items; empty without faces."""
        angles: dict[str, list[float]] = {}
        for row in self.rows[UNHARMONIZED]:
            if row.typology is not None:
                angles.setdefault(row.portrait, []).append(row.typology)
        tones = {portrait: skin_group(float(np.median(values))) for portrait, values in angles.items()}
        labels = np.array([tones.get(row.portrait, "") for row in self.rows[UNHARMONIZED]])
        return self._split(labels, [name for name, _ in SKIN_GROUPS])

    def by_subset(self) -> list[Group]:
        """Split by the dataset's own parts; empty where it has none."""
        labels = np.array([row.subset for row in self.rows[UNHARMONIZED]])
        return self._split(labels, sorted({str(label) for label in labels} - {""}))

    def _split(self, labels: NDArray[np.str_], names: Sequence[str]) -> list[Group]:
        return [
            self._group(method, name, (labels == name) & self.needed)
            for method in self.methods
            for name in names
            if ((labels == name) & self.needed).any()
        ]

    def _group(self, method: str, name: str, chosen: Choice) -> Group:
        mean = self._resampler.mean
        mse, fmse, psnr = (mean(self.column(method, score), chosen) for score in ("mse", "fmse", "psnr"))
        gain, ratio = self._gain(method, chosen), self._ratio(method, "mse", chosen)
        return Group(method, name, int(chosen.sum()), mse, fmse, psnr, gain, ratio)

    def _gain(self, method: str, chosen: Choice) -> Estimate | None:
        return self._resampler.mean(self.column(method, "psnr") - self.column(UNHARMONIZED, "psnr"), chosen)

    def _ratio(self, method: str, name: str, chosen: Choice) -> Estimate | None:
        return self._resampler.ratio(self.column(method, name), self.column(UNHARMONIZED, name), chosen)

    def _harmed(self, method: str) -> Numbers:
        rise = self.column(method, "mse") - self.column(UNHARMONIZED, "mse")
        return (rise > HARM_MARGIN).astype(np.float64)


def _there(estimates: Mapping[str, Estimate | None]) -> dict[str, Estimate]:
    return {name: estimate for name, estimate in estimates.items() if estimate is not None}
