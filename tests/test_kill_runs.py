"""A short part of tools/kill_runs.py: a pool killed in the making is equal to one that was not."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are listed by Linux's /proc")
def test_a_killed_pool_loses_nothing_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("kill_runs", ROOT / "tools" / "kill_runs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kill_runs", module)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    module.make_portraits(tmp_path)
    made = [str(tmp_path / "photos"), "--alphas", str(tmp_path / "alphas"), "--size", "64", "--workers", "2"]
    outcome = module.kill_one("pool", ["synthesize", *made, "--pool", "--count", "30", "--out"], tmp_path / "pool", 1)
    assert outcome.kills >= 1
    assert not (outcome.lost or outcome.left or outcome.orphans)
