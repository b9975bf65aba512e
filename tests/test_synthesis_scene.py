"""The recipe `scene`: the person looks natural, and the truth is natural in the scene."""

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hpbnet.cli import main
from hpbnet.synthesis import write
from hpbnet.synthesis.draws import seeded
from hpbnet.synthesis.engines import Engine
from hpbnet.synthesis.lit import find_lit, measured, portrait_strength, scene_strength, strong_portraits
from hpbnet.synthesis.plan import SynthesisPlan, make
from hpbnet.synthesis.portraits import find_portraits
from hpbnet.synthesis.scene import SceneParameters, draw_scene, expose, make_scene_item
from hpbnet.synthesis.write import ItemFiles

SIZE = 64


def disc(size: int = SIZE) -> Tensor:
    """A soft disc [1,1,S,S] low in the middle."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return ((0.45 - x**2 - (y - 0.3) ** 2) * 6 + 0.5).clamp(0, 1)[None, None]


def flat(red: float, green: float, blue: float, size: int = SIZE) -> Tensor:
    """A picture of one colour with a faint pattern."""
    pattern = 0.01 * torch.rand(1, 1, size, size, generator=seeded("pattern"))
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, size, size) + pattern


def photo(person: tuple[float, float, float], scene: tuple[float, float, float]) -> Tensor:
    return torch.lerp(flat(*scene), flat(*person), disc())


def save(path: Path, image: Tensor) -> None:
    planes = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(planes.squeeze()).save(path)


SKIN = (0.75, 0.58, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four portraits in plain light, two by night, and three scenes, one of them dark and red."""
    for part in ("photos", "alphas", "scenes"):
        (tmp_path / part).mkdir()
    for number in range(6):
        image = photo((0.13, 0.08, 0.05), (0.08, 0.04, 0.02)) if number > 3 else photo(SKIN, (0.6, 0.6, 0.6))
        save(tmp_path / "photos" / f"p{number}.png", image)
        save(tmp_path / "alphas" / f"p{number}.png", disc())
    for name, color in (("grey", (0.6, 0.6, 0.6)), ("red", (0.5, 0.03, 0.12)), ("white", (0.9, 0.9, 0.9))):
        save(tmp_path / "scenes" / f"{name}.png", flat(*color, 96))
    rows = ["file,split", "grey.png,train", "red.png,train", "white.png,val"]
    (tmp_path / "scenes" / "index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> SynthesisPlan:
    lit = find_lit(find_portraits(folder / "photos", folder / "alphas"), folder / "scenes", "train", folder / "out")
    return SynthesisPlan(lit.others, "scene", size=SIZE, strong=lit.strong, scenes=lit.scenes)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(
        maker: Callable[[SynthesisPlan, int], ItemFiles], plan: SynthesisPlan, indices: Sequence[int], engine: Engine
    ) -> Generator[ItemFiles, None, None]:
        yield from (maker(plan, index) for index in reversed(indices))

    monkeypatch.setattr(write, "make_all", run)


def test_photos_and_scenes_in_strong_light_are_found(plan: SynthesisPlan) -> None:
    assert {portrait.name for portrait in plan.strong} == {"p4", "p5"}
    assert {portrait.name for portrait in plan.portraits} == {"p0", "p1", "p2", "p3"}
    assert [path.name for path in plan.scenes] == ["red.png"]


def test_half_of_the_items_take_light_and_half_give_it(plan: SynthesisPlan) -> None:
    rows = [json.loads(make(plan, index).row) for index in range(6)]
    assert [row["parameters"]["kind"] for row in rows] == ["taken", "given"] * 3
    assert all(row["portrait"] in ("p4", "p5") for row in rows[::2]) and rows[1]["portrait"] not in ("p4", "p5")
    assert {row["parameters"]["background"] for row in rows} == {None, "red.png"}
    assert all(row["recipe"] == "scene" and row["reference"] is None for row in rows)
    assert rows[1]["parameters"]["scene"]["kelvin"] < 4000 and rows[0]["parameters"]["person"]["level"] < 0.8


def test_the_same_seed_makes_the_same_bytes(plan: SynthesisPlan) -> None:
    for index in (2, 3):
        first, second = make(plan, index), make(plan, index)
        assert first.row == second.row
        assert (first.composite == second.composite).all() and (first.truth == second.truth).all()


def drawn(kind: str, **fields: object) -> SceneParameters:
    base: dict[str, object] = {"photo_gains": (1.0, 1.0, 1.0), "amount": 1.0, "bright": 0.45, "tint": (0.0, 0.0)}
    return SceneParameters(kind, **(base | fields))  # type: ignore[arg-type]


def test_a_person_whose_light_is_taken_off_is_brighter_and_less_warm_before_the_same_scene() -> None:
    night = photo((0.3, 0.15, 0.07), (0.2, 0.08, 0.03))
    item = make_scene_item(night, disc(), None, drawn("taken")).triplet
    assert item.truth.equal(night)
    outside, inside = (disc() == 0).expand_as(night), (disc() == 1)[0, 0]
    assert item.composite[outside].equal(night[outside])
    before, after = (image[0][:, inside].mean(dim=1) for image in (night, item.composite))
    assert after.mean() > 1.5 * before.mean() and after[2] / after[0] > 1.5 * before[2] / before[0]


def test_a_photo_that_needs_no_change_is_its_own_composite() -> None:
    night = photo((0.3, 0.15, 0.07), (0.2, 0.08, 0.03))
    item = make_scene_item(night, disc(), None, drawn("taken", amount=0.0)).triplet
    assert item.composite.equal(item.truth)


def test_a_truth_shows_the_light_that_its_scene_gives() -> None:
    plain, red = photo(SKIN, (0.6, 0.6, 0.6)), flat(0.5, 0.03, 0.12, 96)
    item = make_scene_item(plain, disc(), red, drawn("given")).triplet
    inside, outside = (disc() == 1)[0, 0], (disc() == 0).expand_as(plain)
    assert torch.allclose(item.composite[0][:, inside], plain[0][:, inside], atol=1e-5)
    assert item.composite[outside].equal(item.truth[outside]) and float(item.truth[0, 1][disc()[0, 0] == 0].max()) < 0.1
    person, lit = (image[0][:, inside].mean(dim=1) for image in (item.composite, item.truth))
    assert lit[0] / lit[1] > 1.1 * person[0] / person[1]


def test_a_camera_exposes_and_balances_for_the_person() -> None:
    dim = photo((0.5, 0.4, 0.3), (0.6, 0.6, 0.6))
    inside = (disc() == 1)[0, 0]
    first, second = (expose(dim, disc(), bright, (0.0, 0.0))[0][:, inside].mean(dim=1) for bright in (0.3, 0.5))
    assert ((second / first) ** 2.2).tolist() == pytest.approx([0.5 / 0.3] * 3, rel=0.15)
    warm = expose(dim, disc(), 0.3, (0.15, 0.0))[0][:, inside].mean(dim=1)
    assert warm[0] / warm[2] > 1.05 * first[0] / first[2]


def test_the_recipe_draws_what_its_page_says() -> None:
    taken = [draw_scene("taken", seeded(seed)) for seed in range(300)]
    assert sum(one.amount == 0 for one in taken) / 300 == pytest.approx(0.1, abs=0.05)
    assert all(one.amount == 0 or 0.7 <= one.amount <= 1 for one in taken)
    given = [draw_scene("given", seeded(seed)) for seed in range(300)]
    assert min(one.amount for one in given) >= 0.7 and sum(one.grade is not None for one in given) == pytest.approx(
        75, abs=25
    )
    assert all(one.grade is None and one.background is None for one in taken)


def test_a_scenes_light_is_strong_where_it_is_dark_or_coloured() -> None:
    assert scene_strength(flat(0.6, 0.6, 0.6)) < 0.3
    assert scene_strength(flat(0.5, 0.03, 0.12)) > 1 and scene_strength(flat(0.05, 0.05, 0.06)) > 1


def test_a_colour_counts_where_face_and_scene_share_it(tmp_path: Path) -> None:
    def strength(person: tuple[float, float, float], scene: tuple[float, float, float]) -> float:
        save(tmp_path / "p.png", photo(person, scene))
        (tmp_path / "a").mkdir(exist_ok=True)
        save(tmp_path / "a" / "p.png", disc())
        (portrait,) = find_portraits(tmp_path, tmp_path / "a")
        return portrait_strength(portrait)

    assert strength(SKIN, (0.6, 0.6, 0.6)) < 0.8
    assert strength(SKIN, (0.7, 0.4, 0.2)) < 0.8  # an orange wall
    assert strength((0.8, 0.45, 0.2), (0.7, 0.4, 0.2)) > 1.0  # an orange lamp
    assert strength((0.35, 0.25, 0.2), (0.6, 0.6, 0.6)) < 1.0  # dark skin


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def measure(name: str) -> float:
        asked.append(name)
        if name == "bad":
            raise ValueError("no picture")
        return 1.23456

    cache = tmp_path / "light.jsonl"
    assert list(measured(["a", "bad"], measure, cache)) == [1.235, 0.0]
    assert list(measured(["bad", "b", "a"], measure, cache)) == [0.0, 1.235, 1.235]
    assert asked == ["a", "bad", "b"]


def test_the_strongest_twentieth_serves_where_few_are_strong(folder: Path) -> None:
    portraits = find_portraits(folder / "photos", folder / "alphas")[:4]
    strong, others = strong_portraits(portraits, folder / "light.jsonl")
    assert len(strong) == 1 and len(others) == 3


def test_the_command_makes_a_set_with_a_preview(
    folder: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(folder / "set")
    arguments = ["synthesize", str(folder / "photos"), "--alphas", str(folder / "alphas"), "--recipe", "scene"]
    arguments += ["--backgrounds", str(folder / "scenes"), "--size", "48", "--count", "4", "-o", out]
    assert main([*arguments, "--preview"]) == 0
    assert "2 portraits and 1 scenes are in strong light" in capsys.readouterr().err
    assert (folder / "set" / "preview.png").is_file()
    rows = (folder / "set" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(row)["parameters"]["kind"] for row in rows] == ["taken", "given"] * 2
    before = {path.name: path.read_bytes() for path in (folder / "set" / "composite_images").iterdir()}
    (folder / "set" / "composite_images" / "000003.png").unlink()
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in (folder / "set" / "composite_images").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "scene"], "needs scenes without people"),
        (["--recipe", "wide", "--backgrounds", "scenes"], "backgrounds are for the recipe scene"),
        (["--recipe", "scene", "--backgrounds", "nowhere"], "nowhere"),
        (["--recipe", "scene", "--backgrounds", "scenes", "--split", "val"], "none of 1 scenes"),
        (["--recipe", "scene", "--backgrounds", "scenes", "--split", "test"], "none of 0 scenes"),
    ],
)
def test_what_the_recipe_cannot_use_is_told_in_one_sentence(
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(["synthesize", "photos", "--alphas", "alphas", "--size", "48", "-o", "set", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1
    assert not (folder / "set" / "manifest.jsonl").exists()


def test_a_plan_without_strong_light_is_refused(folder: Path) -> None:
    portraits = tuple(find_portraits(folder / "photos", folder / "alphas"))
    with pytest.raises(ValueError, match="in strong light"):
        SynthesisPlan(portraits, "scene", size=48)
    assert np.isscalar(SynthesisPlan(portraits, "paper", size=48).summary()["portraits_key"])
