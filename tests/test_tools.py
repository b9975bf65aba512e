"""The tools that compare two commits."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    for name in ("bench", "checkout", "evaluate_matting", "matting_cases", "same_pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def load(name: str) -> ModuleType:
    return __import__(name)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone")
def test_a_commit_is_checked_out_and_removed_again() -> None:
    checkout = load("checkout")
    with checkout.checkout("HEAD") as tree:
        assert (tree / "src" / "hpbnet" / "__init__.py").is_file()
        assert checkout.environment(tree)["PYTHONPATH"] == str(tree / "src")
    assert not tree.exists()
    with pytest.raises(SystemExit, match="no commit 'nonsense'"), checkout.checkout("nonsense"):
        pass


def test_results_that_differ_are_named_with_how_much(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    pixels = np.zeros((4, 5, 3), np.uint8)
    changed = pixels.copy()
    changed[0, 0, 1] = 7
    for folder, last in ((before, pixels), (after, changed)):
        folder.mkdir()
        for name, picture in (("same", pixels), ("small", pixels[: 4 if folder == before else 3]), ("other", last)):
            Image.fromarray(picture).save(folder / f"{name}.png")
    assert list(load("same_pictures").compare(before, after)) == [
        "other.png: 1 of 1 frames differ; frame 0: 5.00% of the pixels, by 7 of 255 at most",
        "small.png: 1 of 1 frames differ; frame 0: 5x4 px before, 5x3 px after",
    ]


def test_pairs_are_spread_over_a_folder(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.png").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.stem for path in load("same_pictures").spread(tmp_path, 3)] == ["0", "4", "8"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="has no pictures"):
        load("same_pictures").spread(tmp_path / "empty", 3)


def test_a_comparison_is_of_rounds_and_not_of_means() -> None:
    before = [{"seconds": seconds, "peak_mb": 100} for seconds in (1.0, 2.0, 4.0)]  # the computer slows down
    after = [{"seconds": seconds, "peak_mb": 80} for seconds in (0.5, 1.0, 3.0)]
    row = load("bench").comparison(before, after)
    assert (row["ratio"], row["lowest"], row["highest"]) == (0.5, 0.5, 0.75)
    assert (row["peak_mb_before"], row["peak_mb_after"]) == (100, 80)


def test_people_are_grouped_by_height_and_pose_and_answers_are_found_by_a_pattern(tmp_path: Path) -> None:
    cases = load("matting_cases")
    truth = np.zeros((100, 50), np.float32)
    truth[20:80, 10:30] = 1
    seated = cases.Case("people", "human_seg__52", "people", torch.rand(1, 3, 100, 50), truth)
    street = seated._replace(name="ccp__0806", truth=truth * (np.arange(100) < 60)[:, None])
    assert cases.groups(seated, None) == ["height: middle", "pose: seated"]
    assert cases.groups(seated._replace(name="human_seg__140"), None)[1] == "pose: front"
    assert cases.groups(street, None) == ["height: low"]
    (tmp_path / "people").mkdir()
    Image.fromarray((truth * 255).astype(np.uint8)).save(tmp_path / "people" / "human_seg__52.png")
    answer = load("evaluate_matting").given(f"{tmp_path}/{{set}}/{{name}}.png")
    assert np.array_equal(answer(seated), truth) and answer(street) is None
