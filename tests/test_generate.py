"""Portraits from a generator: the same seed makes the same bytes, and what is unusable is left out and counted."""

import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hpbnet.checkpoint import Checkpoint, write_checkpoint
from hpbnet.cli import main
from hpbnet.networks.mobile_stylegan import MobileGenerator, MobileStyleGANConfig
from hpbnet.synthesis import generate as module
from hpbnet.synthesis.alphas import list_portraits
from hpbnet.synthesis.engines import Engine
from hpbnet.synthesis.generate import Drawn, PortraitPlan, background_spread, face_box, find_flaw, generate, read_rows
from hpbnet.synthesis.plan import SynthesisPlan, make

TINY = MobileStyleGANConfig(widths=(16, 12, 8, 4), z_dim=6, w_dim=5, mapping_layers=2)
SIZE = 64


def person(size: int = SIZE) -> Tensor:
    """The matte [1,1,S,S] of a head and shoulders."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    head = ((x - 0.5) / 0.3) ** 2 + ((y - 0.55) / 0.4) ** 2 < 1
    shoulders = ((x - 0.5) / 0.45) ** 2 + ((y - 1.1) / 0.25) ** 2 < 1
    return (head | shoulders).float()[None, None]


class FakeMatting:
    """Finds the same person in every portrait; nobody in those whose turn it is."""

    def __init__(self, empty: Sequence[int] = ()) -> None:
        self.empty, self.calls = empty, 0

    def __call__(self, portrait: Tensor) -> Tensor:
        self.calls += 1
        return person() * float(self.calls - 1 not in self.empty)


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    checkpoint = Checkpoint("mobilestylegan", asdict(TINY), MobileGenerator(TINY).state_dict(), {"origin": "a test"})
    write_checkpoint(tmp_path / "prior.safetensors", checkpoint)
    return tmp_path / "prior.safetensors"


@pytest.fixture
def plan(prior: Path, monkeypatch: pytest.MonkeyPatch) -> PortraitPlan:
    """A plan that is worked on in this process, with a person in every portrait."""

    def run(maker: object, plan: PortraitPlan, indices: Sequence[int], engine: Engine) -> Generator[Drawn, None, None]:
        yield from (module.draw(plan, index) for index in indices)

    monkeypatch.setattr(module, "make_all", run)
    found = FakeMatting()
    monkeypatch.setattr(module, "_matting", lambda name: found)
    return PortraitPlan(prior, SIZE, seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made(plan: PortraitPlan, folder: Path, count: int) -> Path:
    for _ in generate(plan, folder, count, Engine()):
        pass
    return folder


def test_the_same_seed_makes_the_same_bytes_whatever_interrupts(plan: PortraitPlan, tmp_path: Path) -> None:
    whole = contents(made(plan, tmp_path / "whole", 4))
    stream = generate(plan, tmp_path / "again", 4, Engine())
    next(stream), next(stream)
    stream.close()
    with (tmp_path / "again" / "index.csv").open("a") as file:
        file.write("generated__3_00000")  # a line that the power failure cut
    assert contents(made(plan, tmp_path / "again", 4)) == whole
    other = contents(made(replace(plan, seed=4), tmp_path / "other", 4))
    assert other["images/generated__4_000000.webp"] != whole["images/generated__3_000000.webp"]


def test_a_finished_folder_can_grow(plan: PortraitPlan, tmp_path: Path) -> None:
    made(plan, tmp_path / "out", 2)
    drawn = [each.index for each in generate(plan, tmp_path / "out", 3, Engine())]
    assert drawn == [2]
    assert contents(tmp_path / "out") == contents(made(plan, tmp_path / "whole", 3))


def test_the_index_is_read_by_synthesize(plan: PortraitPlan, tmp_path: Path) -> None:
    folder = made(plan, tmp_path / "out", 20)
    portraits, skipped = list_portraits(folder, "train", None, None, tmp_path / "none")
    assert len(portraits) == 19 and skipped == []  # one in twenty is for validation
    assert [each.name for each in list_portraits(folder, "val", None, None, tmp_path)[0]] == ["generated__3_000019"]
    assert portraits[0].face == face_box(SIZE) == (15, 12, 35, 48)
    item = make(SynthesisPlan(tuple(portraits), "paper", size=48), 0)
    assert item.composite.shape == (48, 48, 3) and item.skipped == ()


def test_an_unusable_portrait_is_left_out_counted_and_replaced(
    plan: PortraitPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeMatting(empty=(1, 4))
    monkeypatch.setattr(module, "_matting", lambda name: fake)
    folder = made(plan, tmp_path / "out", 4)
    assert sorted(read_rows(folder / "index.csv")) == [f"generated__3_00000{index}" for index in (0, 2, 3, 5)]
    assert sorted(read_rows(folder / "left_out.csv").values()) == [
        (f"generated__3_00000{index}", "broken matte: it covers too little or too much") for index in (1, 4)
    ]
    assert len(list((folder / "images").iterdir())) == 4


def test_a_generator_of_other_things_is_refused(
    plan: PortraitPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_matting", lambda name: FakeMatting(empty=range(99)))
    with pytest.raises(ValueError, match=r"0 of 3 portraits can be used \(broken matte"):
        made(plan, tmp_path / "out", 3)


def test_without_truncation_portraits_differ_and_with_all_of_it_they_are_the_average(plan: PortraitPlan) -> None:
    def different(truncation: float) -> int:
        drawn = [module.draw(replace(plan, truncation=(truncation, truncation)), index).files for index in range(4)]
        return len({files[0] for files in drawn if files is not None})

    assert different(1.0) == 4
    assert different(0.0) == 1  # this generator's stored noise is zero
    with pytest.raises(ValueError, match=r"truncation is 0\.9\.\.0\.5, expected a range inside 0\.\.1"):
        replace(plan, truncation=(0.9, 0.5))


# --- what is left out -------------------------------------------------------------------------------------------


def test_a_head_with_shoulders_has_no_flaw() -> None:
    assert find_flaw(person()) == ""


def test_hair_that_reaches_an_edge_is_no_second_person() -> None:
    wide = person()
    wide[..., 10:40, :32] = 1.0
    assert find_flaw(wide) == ""


@pytest.mark.parametrize("left", [True, False])
def test_a_second_person_at_an_edge_is_a_flaw(left: bool) -> None:
    both = person()
    both[..., 20:60, slice(0, 6) if left else slice(-6, None)] = 1.0
    assert find_flaw(both) == "a second person at an edge"


def test_a_hole_in_the_face_is_a_flaw() -> None:
    holed = person()
    holed[..., 24:44, 24:40] = 0.0
    assert find_flaw(holed) == "no face where an aligned one is"


def test_a_matte_in_pieces_is_a_flaw() -> None:
    pieces = person()
    pieces[..., 2:8, 4:10] = 1.0
    assert find_flaw(pieces) == "broken matte: it is in pieces"


def test_an_empty_or_full_matte_is_a_flaw() -> None:
    for level in (0.0, 1.0):
        assert find_flaw(torch.full((1, 1, SIZE, SIZE), level)) == "broken matte: it covers too little or too much"


def test_the_spread_of_the_background_leaves_the_person_out() -> None:
    portrait = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    portrait[:, :, :, :32], alpha = 0.25, torch.zeros(1, 1, SIZE, SIZE)
    alpha[..., 32:] = 1.0
    assert background_spread(portrait, alpha) == 0.0
    portrait[:, :, :32, :32] = 0.75
    assert background_spread(portrait, alpha) == pytest.approx(255 * 0.25, rel=1e-3)


# --- the command ------------------------------------------------------------------------------------------------


def test_command_writes_portraits_and_a_sheet(
    plan: PortraitPlan, prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["generate", str(prior), "--count", "3", "--size", "64", "--truncation", "0.6..0.8", "--seed", "5"]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 0
    assert "3 portraits, 0 left out (none)" in capsys.readouterr().out
    assert (tmp_path / "out" / "sheet.png").is_file()
    settings = json.loads((tmp_path / "out" / "generate.json").read_text())
    assert settings["truncation"] == [0.6, 0.8] and settings["provenance"] == {"origin": "a test"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "128"], "size is 128 px, expected at most the generator's 64 px"),
        (["--truncation", "much"], "'much' is not a range; expected LOW..HIGH"),
        (["--truncation", "0.5..1.5"], "truncation is 0.5..1.5, expected a range inside 0..1"),
    ],
)
def test_command_refuses_what_it_cannot_do(
    plan: PortraitPlan,
    prior: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(["generate", str(prior), "-o", str(tmp_path / "out"), "--size", "64", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_refuses_another_plans_folder_and_another_network(
    plan: PortraitPlan, prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(plan, tmp_path / "out", 1)
    before = contents(tmp_path / "out")
    assert main(["generate", str(prior), "-o", str(tmp_path / "out"), "--count", "1", "--size", "64"]) == 2
    assert "made otherwise (seed 3 -> 0)" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before
    assert main(["generate", "matting", "-o", str(tmp_path / "new"), "--size", "64"]) == 2
    assert "holds a MattingNetwork, expected what `convert mobilestylegan` writes" in capsys.readouterr().err
