"""Statistics and tables worked by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from hpbnet.evaluation.measures import Scores
from hpbnet.evaluation.rows import UNHARMONIZED, EvaluationRow
from hpbnet.evaluation.statistics import Resampler
from hpbnet.evaluation.summary import Board
from hpbnet.evaluation.table import render_tables, tables_as_json


def row(item: str, name: str, mse: float, **more: float | str | None) -> EvaluationRow:
    psnr = 10 * math.log10(255**2 / max(mse, 0.65025))
    scores = Scores(mse, psnr, mse, psnr, 0.9, 0.9, 1.0, 1.0, 1.0, float(more.pop("psnr_to_input", 30.0) or 0))
    scores = replace(scores, identity=more.pop("identity", None))
    plain = EvaluationRow(item, name, scores, item, "", name, "", "d", "v", (), 8, 8, 0.5, 0.1, None)
    return replace(plain, **more)  # type: ignore[arg-type]


def test_intervals_of_a_mean_agree_with_theory() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    estimate = Resampler(np.arange(400), draws=4000).mean(values, np.full(400, True))
    assert estimate is not None
    half = 1.96 * values.std() / math.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.02)


def test_items_of_one_portrait_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(2).normal(0, 1, 50)
    once = Resampler(np.arange(50)).mean(values, np.full(50, True))
    tenfold = Resampler(np.repeat(np.arange(50), 10)).mean(np.repeat(values, 10), np.full(500, True))
    assert once is not None and tenfold is not None
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_quantiles_agree_with_numpy() -> None:
    values = np.random.default_rng(3).permutation(np.arange(200.0))
    estimate = Resampler(np.arange(200)).quantile(values, 0.05, np.full(200, True))
    assert estimate is not None
    assert estimate.value == np.quantile(values, 0.05, method="inverted_cdf")
    assert estimate.low < estimate.value < estimate.high


def test_after_over_before_is_a_ratio_of_means() -> None:
    rows = [row("a", UNHARMONIZED, 1000), row("b", UNHARMONIZED, 10), row("a", "m", 100), row("b", "m", 10)]
    summary = Board(rows).summary("m")
    assert summary.ratios["mse"].value == pytest.approx(110 / 1010)
    assert summary.gain is not None and summary.gain.value == pytest.approx(5)


def test_harm_is_counted_among_what_needed_a_change_and_in_its_least_disturbed_tenth() -> None:
    before = [
        0.5,
        *(10.0 * k for k in range(1, 21)),
    ]  # one pair needs none; of twenty, the tenth are those of 10 and 20
    after = [4.0, 12.0, 20.5, *([1.0] * 17), 300.0]
    rows = [row(f"i{k:02}", UNHARMONIZED, mse) for k, mse in enumerate(before)]
    rows += [row(f"i{k:02}", "m", mse, psnr_to_input=33.0 if k == 0 else 20.0) for k, mse in enumerate(after)]
    summary = Board(rows).summary("m")
    assert summary.harm is not None and summary.harm.value == pytest.approx(2 / 20)  # 12 over 10, and 300 over 200
    assert summary.harm_least is not None and summary.harm_least.value == pytest.approx(1 / 2)
    assert summary.unchanged_harm is not None and summary.unchanged_harm.value == 1
    assert summary.unchanged_to_input is not None and summary.unchanged_to_input.value == pytest.approx(33)
    assert summary.means["mse"].value == pytest.approx(np.mean(after[1:]))


def test_duels_count_pair_by_pair() -> None:
    rows = [row(item, UNHARMONIZED, 100) for item in "abcd"]
    rows += [row(item, "m", mse) for item, mse in zip("abcd", (10, 20, 30, 40), strict=True)]
    rows += [row(item, "n", mse) for item, mse in zip("dcba", (50, 30, 10, 5), strict=True)]  # another order
    duel = Board(rows).duel("m", "n")
    assert (duel.wins, duel.losses, duel.ties) == (1, 2, 1)
    assert duel.share is not None and duel.share.value == pytest.approx(1 / 4)


def test_items_that_a_method_lacks_are_left_out_for_all() -> None:
    rows = [row("a", UNHARMONIZED, 100), row("b", UNHARMONIZED, 100), row("b", "m", 50)]
    board = Board(rows)
    assert board.items == ["b"] and board.left_out == 1
    assert "1 items without rows of every method are left out" in render_tables(rows)


def test_rows_without_untouched_composites_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no rows of the untouched composites"):
        Board([row("a", "m", 1)])


def test_identity_is_summed_up_by_mean_and_fifth_percentile() -> None:
    cosines = np.linspace(0.5, 1, 101)
    rows = [row(f"{k}", name, 9, identity=c) for name in (UNHARMONIZED, "m") for k, c in enumerate(cosines)]
    summary = Board([*rows, row("x", UNHARMONIZED, 9), row("x", "m", 9)]).summary("m")  # x has no face
    assert summary.means["identity"].value == pytest.approx(0.75)
    assert summary.identity_low is not None and summary.identity_low.value == pytest.approx(0.525)


def test_skin_groups_are_compared_by_gain() -> None:
    angles = {"a": 60.0, "b": 45.0, "c": 30.0, "d": 20.0, "e": -40.0, "f": None}
    rows = [row(item, UNHARMONIZED, 1000, typology=angle) for item, angle in angles.items()]
    rows += [row(item, "m", 100 if item != "e" else 1000, typology=angle) for item, angle in angles.items()]
    groups = {group.group: group for group in Board(rows).by_skin() if group.method == "m"}
    assert {name: group.count for name, group in groups.items()} == {
        "light": 2,
        "intermediate": 1,
        "tan": 1,
        "brown and dark": 1,
    }
    assert "| -10.00 " in render_tables(rows)


def test_items_of_a_portrait_share_its_skin_tone() -> None:
    angles = {"a": 60.0, "b": 20.0, "c": 50.0, "d": None}  # one portrait in four lights; the last was graded
    rows = [row(item, UNHARMONIZED, 1000, typology=angle, portrait="p") for item, angle in angles.items()]
    assert [(group.group, group.count) for group in Board(rows).by_skin()] == [("light", 4)]


def test_tables_show_what_was_measured_and_leave_out_what_was_not() -> None:
    rows = [row(item, name, mse) for name, mse in ((UNHARMONIZED, 100.0), ("m", 25.0)) for item in "abc"]
    text = render_tables(rows)
    assert "| m            | 25.0 [25.0, 25.0]    | 34.15 [34.15, 34.15] |" in text
    assert "| m            | 0.250 [0.250, 0.250]" in text and "+6.02 [+6.02, +6.02]" in text
    assert "LPIPS" not in text and "Identity" not in text and "Skin" not in text and "no change" not in text
    numbers = json.loads(tables_as_json(rows))
    assert numbers["methods"][1]["ratios"]["mse"]["value"] == pytest.approx(0.25)
