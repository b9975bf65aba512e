"""Datasets of disturbed portraits: the same seed makes the same bytes, whatever interrupts or shares the work."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hpbnet.cli import main
from hpbnet.relight import builtin_relighter
from hpbnet.synthesis import alphas, shards, write
from hpbnet.synthesis.draws import seeded
from hpbnet.synthesis.engines import Engine
from hpbnet.synthesis.item import (
    MeasuredLights,
    Parameters,
    SourcePhotos,
    disturb,
    draw_parameters,
    make_item,
)
from hpbnet.synthesis.plan import (
    SynthesisPlan,
    face_in_square,
    load_relighter,
    make,
    read_lights,
    scheduled_portrait,
)
from hpbnet.synthesis.pool import Pool
from hpbnet.synthesis.portraits import Square, find_portraits, random_square
from hpbnet.synthesis.recipe import PAPER, RECIPES, WIDE
from hpbnet.synthesis.write import FOLDERS, ItemFiles, contact_sheet, finished, make_files, synthesize

SIZE = 48


def disc(width: int, height: int) -> Tensor:
    """A soft disc [H,W] low in the middle."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return ((0.5 - x**2 - (y - 0.3) ** 2) * 6 + 0.5).clamp(0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photos of different sizes with their alphas."""
    for part in ("photos", "alphas"):
        (tmp_path / part).mkdir()
    for number in range(5):
        width, height = 60 + 4 * number, 72
        colours = torch.rand(4, 4, 3, generator=seeded("photo", number))
        pixels = Image.fromarray((colours * 255).byte().numpy()).resize((width, height), Image.Resampling.BICUBIC)
        pixels.save(tmp_path / "photos" / f"p{number}.png")
        Image.fromarray((disc(width, height) * 255).byte().numpy()).save(tmp_path / "alphas" / f"p{number}.png")
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> SynthesisPlan:
    return SynthesisPlan(tuple(find_portraits(folder / "photos", folder / "alphas")), "wide", size=SIZE, seed=3)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work without processes, last item first."""

    def run(
        maker: Callable[[SynthesisPlan, int], ItemFiles], plan: SynthesisPlan, indices: Sequence[int], engine: Engine
    ) -> Generator[ItemFiles, None, None]:
        yield from (maker(plan, index) for index in reversed(indices))

    monkeypatch.setattr(write, "make_all", run)
    monkeypatch.setattr(shards, "make_all", run)


@pytest.fixture
def sources(generator: torch.Generator) -> SourcePhotos:
    photo, reference = torch.rand(2, 1, 3, SIZE, SIZE, generator=generator)
    alpha = disc(SIZE, SIZE)[None, None]
    return SourcePhotos(photo, alpha, reference, alpha)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_where_alpha_is_zero_the_truth_stays_bit_equal(recipe: object, sources: SourcePhotos) -> None:
    assert recipe in RECIPES.values()
    for seed in range(12):
        item = make_item(sources, recipe, builtin_relighter, seeded(seed)).triplet  # type: ignore[arg-type]
        outside = (sources.alpha == 0).expand_as(item.truth)
        assert torch.equal(item.composite[outside], item.truth[outside])
        assert 0 <= item.composite.min() <= item.composite.max() <= 1


def test_the_paper_draws_gains_a_transfer_and_a_frontal_light() -> None:
    drawn = [draw_parameters(PAPER, seeded(seed), MeasuredLights()) for seed in range(100)]
    gains = np.array([one.photo_gains for one in drawn])
    assert 0.75 <= gains.min() < 0.8 < 1.25 < gains.max() <= 1.3
    assert {one.transfer for one in drawn} == {"reinhard"}
    assert all(one.light and one.light.direction[1] <= 0 and one.light.colour is None for one in drawn)
    assert all(
        one.strength == 1 and not (one.grade or one.capture or one.mask_flaw or one.photo_grade) for one in drawn
    )


def test_the_wide_recipe_draws_what_its_page_says() -> None:
    drawn = [draw_parameters(WIDE, seeded("wide", seed), MeasuredLights()) for seed in range(400)]
    changed = [one for one in drawn if one.strength > 0]
    assert 1 - len(changed) / 400 == pytest.approx(0.12, abs=0.07)
    assert sum(one.photo_grade is not None for one in drawn) / 400 == pytest.approx(0.35, abs=0.07)
    assert sum(one.mask_flaw is not None for one in drawn) / 400 == pytest.approx(0.3, abs=0.07)
    transfers = Counter(one.transfer for one in changed)
    assert transfers["reinhard"] / len(changed) == pytest.approx(0.35, abs=0.07)
    assert transfers["histogram"] / len(changed) == pytest.approx(0.15, abs=0.06)
    assert all(one.transfer or one.light or one.grade for one in changed)


def test_an_item_that_needs_no_change_is_the_truth(sources: SourcePhotos) -> None:
    item = disturb(sources, Parameters((1.0, 1.1, 0.9), (1.0, 1.0, 1.0), strength=0.0), builtin_relighter).triplet
    assert torch.equal(item.composite, item.truth)
    assert not torch.equal(item.truth, sources.photo)


def test_given_lights_and_illuminants_are_used(tmp_path: Path) -> None:
    np.save(tmp_path / "illuminants.npy", np.array([[0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [0.3, 0.4, 0.3]]))
    np.savez(tmp_path / "lights.npz", sh=np.eye(9)[:2])
    lights = read_lights(tmp_path / "illuminants.npy", tmp_path / "lights.npz")
    drawn = [draw_parameters(WIDE, seeded(seed), lights) for seed in range(200)]
    given = {one.light.coefficients for one in drawn if one.light and one.light.colour is None}
    assert {np.argmax(one) for one in given if one} == {0, 1}
    assert all(np.sum(one) == pytest.approx(0.7) for one in given if one)
    tints = {one.light.colour[1] for one in drawn if one.light and one.light.colour}
    assert tints == {1.0}


def test_panoramas_light_in_colour(tmp_path: Path, sources: SourcePhotos) -> None:
    np.savez(tmp_path / "panoramas.npz", sh=np.arange(54.0).reshape(2, 9, 3) + 1)
    lights = read_lights(None, tmp_path / "panoramas.npz")
    item = make_item(sources, PAPER, builtin_relighter, seeded(1), lights)
    assert item.parameters.light
    assert np.shape(item.parameters.light.coefficients) == (9, 3)
    assert not torch.equal(item.triplet.composite, item.triplet.truth)
    np.savez(tmp_path / "wrong.npz", sh=np.ones((2, 8)))
    with pytest.raises(ValueError, match=r"wrong.npz holds \[2, 8\]; expected"):
        read_lights(None, tmp_path / "wrong.npz")


def test_an_item_depends_on_its_seed_and_number_alone(plan: SynthesisPlan) -> None:
    first, again, other = make(plan, 4), make(plan, 4), make(replace(plan, seed=4), 4)
    assert first.row == again.row
    assert np.array_equal(first.composite, again.composite)
    assert first.row != other.row


def test_every_portrait_has_its_turn_in_every_round(plan: SynthesisPlan) -> None:
    rounds = [[scheduled_portrait(plan, 5 * number + place).name for place in range(5)] for number in range(3)]
    assert all(sorted(names) == ["p0", "p1", "p2", "p3", "p4"] for names in rounds)
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


def test_a_square_holds_the_whole_face() -> None:
    for seed in range(200):
        square = random_square((400, 500), (120, 60, 150, 190), seeded(seed))
        assert square.x <= 120
        assert square.x + square.side >= 270
        assert square.y <= 60
        assert square.y + square.side >= 250
        assert min(square.x, square.y) >= 0
        assert square.x + square.side <= 400
        assert square.y + square.side <= 500


def test_a_face_is_told_in_the_items_own_pixels() -> None:
    assert face_in_square((120, 60, 150, 200), Square(20, 10, 200), 100) == [50.0, 25.0, 75.0, 100.0]
    assert face_in_square(None, Square(0, 0, 10), 100) is None


@pytest.mark.usefixtures("in_process")
def test_an_interrupted_set_is_finished_to_the_same_bytes(plan: SynthesisPlan, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert len(list(synthesize(plan, whole, 6, Engine()))) == 6
    stream = synthesize(plan, broken, 6, Engine())
    for _ in range(3):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    with (broken / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"name": "00')  # torn
    sorted(broken.glob("masks/*"))[0].unlink()
    assert len(list(synthesize(plan, broken, 6, Engine()))) == 4
    assert contents(whole) == contents(broken)
    assert list(synthesize(plan, broken, 6, Engine())) == []


@pytest.mark.usefixtures("in_process")
def test_the_layout_is_the_fields_and_lossless(plan: SynthesisPlan, tmp_path: Path) -> None:
    list(synthesize(plan, tmp_path / "set", 3, Engine()))
    names = [f"{index:06d}.png" for index in range(3)]
    for part in FOLDERS:
        assert sorted(path.name for path in (tmp_path / "set" / part).iterdir()) == names
    row = json.loads((tmp_path / "set" / "manifest.jsonl").read_text().splitlines()[1])
    assert row["name"] == "000001"
    assert row["portrait"] in {"p0", "p1", "p2", "p3", "p4"}
    assert row["parameters"]["photo_gains"]
    made = make(plan, 1)
    with Image.open(tmp_path / "set" / "real_images" / names[1]) as written:
        assert np.array_equal(np.asarray(written), made.truth)
    assert contact_sheet(tmp_path / "set").is_file()


@pytest.mark.usefixtures("in_process")
def test_another_plans_folder_is_refused_with_the_difference(plan: SynthesisPlan, tmp_path: Path) -> None:
    list(synthesize(plan, tmp_path / "set", 1, Engine()))
    with pytest.raises(ValueError, match=r"seed 3 -> 9.*another folder"):
        list(synthesize(replace(plan, seed=9), tmp_path / "set", 1, Engine()))
    list(shards.write_pool(plan, tmp_path / "pool", 1, Engine()))
    with pytest.raises(ValueError, match=r"recipe 'wide' -> 'paper'.*another folder"):
        list(shards.write_pool(replace(plan, recipe="paper"), tmp_path / "pool", 1, Engine()))


def test_a_bad_photo_is_skipped_and_named(plan: SynthesisPlan, folder: Path) -> None:
    (folder / "photos" / "p1.png").write_bytes(b"no picture")
    Image.new("L", (60, 72)).save(folder / "alphas" / "p3.png")
    made = [make_files(plan, index) for index in range(5)]
    reasons = " ".join(reason for files in made for reason in files.skipped)
    assert "p1: " in reasons
    assert "p3: the person covers 0%" in reasons
    assert all(json.loads(files.row)["portrait"] not in {"p1", "p3"} for files in made)


def test_when_no_photo_can_be_used_the_last_reason_is_told(plan: SynthesisPlan, folder: Path) -> None:
    for path in (folder / "photos").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"none of 20 photos can be used; the last: p\d"):
        make(plan, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "bread"}, "no recipe 'bread'; there are: paper, wide, relit"),
        ({"size": 100}, "size 100 is not a multiple of 16"),
        ({"portraits": ()}, "0 portraits are too few"),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(plan: SynthesisPlan, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(plan, **change)


@pytest.mark.parametrize(
    "change",
    [{"relighter": "sun"}, {"relighter": "dpr:no.t7"}, {"illuminants": Path("no.npy")}, {"lights": Path("no")}],
)
def test_a_plan_that_cannot_begin_leaves_no_folder_behind(
    folder: Path, plan: SynthesisPlan, change: dict[str, object]
) -> None:
    with pytest.raises((ValueError, OSError)):
        list(synthesize(replace(plan, **change), folder / "set", 1, Engine()))  # type: ignore[arg-type]
    assert not (folder / "set").exists()


def test_an_unknown_relighter_is_refused() -> None:
    with pytest.raises(ValueError, match="no relighter 'sun'; there are: builtin, dpr:PATH"):
        load_relighter("sun")


def test_files_that_hold_no_lights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lights").write_bytes(b"PK\x03\x04 no archive")
    np.savez(tmp_path / "others.npz", other=np.zeros((2, 9)))
    for path in (tmp_path / "lights", tmp_path / "others.npz"):
        with pytest.raises(ValueError, match=r"expected a \.npz with `sh`"):
            read_lights(None, path)
        with pytest.raises(ValueError, match=r"expected a \.npy"):
            read_lights(path, None)


def test_photos_without_alphas_and_listed_names_without_photos_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="1 listed names have no photo"):
        find_portraits(folder / "photos", folder / "alphas", {"p0", "p9"})
    (folder / "alphas" / "p2.png").unlink()
    with pytest.raises(ValueError, match=r"1 photos have no alpha .*p2"):
        find_portraits(folder / "photos", folder / "alphas")
    (folder / "photos" / "p0.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="p0 twice"):
        find_portraits(folder / "photos", folder / "alphas")


@pytest.fixture
def pool(plan: SynthesisPlan, tmp_path: Path, in_process: None) -> Pool:
    list(shards.write_pool(replace(plan, recipe="paper"), tmp_path / "pool", 5, Engine(), shard_size=3))
    return Pool(tmp_path / "pool")


def test_a_pool_that_grows_keeps_its_shards_and_counts_them(pool: Pool, plan: SynthesisPlan, tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    assert shards.count_items(folder) == 5
    more = list(shards.write_pool(replace(plan, recipe="paper"), folder, 8, Engine(), shard_size=3))
    assert sorted(item.index for item in more) == [5, 6, 7]  # the last shard was short and is completed
    assert shards.count_items(folder) == len(Pool(folder)) == 8


def test_a_pool_holds_what_was_made_in_order(pool: Pool, plan: SynthesisPlan) -> None:
    assert len(pool) == 5
    made = make(replace(plan, recipe="paper"), 4)
    composite, mask, truth = pool[4]
    assert torch.equal((composite[0] * 255).round().byte(), torch.from_numpy(made.composite).permute(2, 0, 1))
    assert torch.equal((mask[0, 0] * 255).round().byte(), torch.from_numpy(made.mask))
    assert truth.shape == (1, 3, SIZE, SIZE)
    with pytest.raises(IndexError):
        pool[5]


def test_a_folder_without_shards_is_no_pool(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no shards"):
        Pool(tmp_path)


def test_the_command_writes_with_two_workers_what_one_process_makes(
    plan: SynthesisPlan, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--alphas", str(folder / "alphas"), "--size", str(SIZE), "--count", "4", "--recipe", "wide"]
    out = ["--out", str(folder / "set"), "--workers", "2", "--seed", "3"]
    assert main(["synthesize", str(folder / "photos"), *arguments, *out]) == 0
    assert "4 items of 5 portraits, 0 photos skipped" in capsys.readouterr().out
    for index in range(4):
        files = make_files(plan, index)
        for part, data in zip(FOLDERS, files.pictures, strict=True):
            assert (folder / "set" / part / f"{index:06d}.png").read_bytes() == data
        assert finished(folder / "set")[f"{index:06d}"] == files.row


def test_the_command_tells_a_users_mistake_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", str(folder / "nowhere"), "--alphas", str(folder), "--out", str(folder / "o")]) == 2
    assert capsys.readouterr().err.strip() == f"hpbnet: there is no folder {folder / 'nowhere'}"


def test_a_ray_cluster_that_loses_a_node_loses_no_item(
    plan: SynthesisPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra [distributed] is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # a busy machine would starve the workers

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        for number, _ in enumerate(synthesize(plan, tmp_path / "set", 12, Engine(ray=True))):
            if number == 3:
                cluster.remove_node(second, allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert sorted(finished(tmp_path / "set")) == [f"{index:06d}" for index in range(12)]
    assert make_files(plan, 11).pictures[0] == (tmp_path / "set" / "composite_images" / "000011.png").read_bytes()


def test_photos_without_alphas_are_matted_once_and_bad_ones_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def estimate(network: object, portrait: Tensor) -> Tensor:
        calls.append(network)
        return disc(portrait.shape[3], portrait.shape[2])[None, None]

    monkeypatch.setattr(alphas, "load_network", lambda name: name)
    monkeypatch.setattr(alphas, "estimate_alpha", estimate)
    (folder / "photos" / "bad.jpg").write_bytes(b"no picture")
    for _ in range(2):
        found, skipped = alphas.list_portraits(folder / "photos", "train", None, None, folder / "made")
        assert [portrait.name for portrait in found] == ["p0", "p1", "p2", "p3", "p4"]
        assert [reason.partition(":")[0] for reason in skipped] == ["bad"]
    assert calls == ["matting"] * 5


def test_an_index_is_obeyed(folder: Path) -> None:
    head = "name,source,split,face_x,face_y,face_w,face_h,background_std,iou,coverage\n"
    rows = [
        "p0,s,train,1,2,3,4,30,,0.5",
        "p1,s,val,1,2,3,4,9,0.95,0.5",
        "p2,s,val,,,,,30,0.5,0.5",
        "p3,s,val,,,,,30,,0.99",
    ]
    (folder / "index.csv").write_text(head + "\n".join(rows) + "\n")
    (found,), skipped = alphas.list_portraits(folder, "val", None, None, folder / "made")
    assert (found.name, found.face, found.plain, skipped) == ("p1", (1, 2, 3, 4), True, [])
    with pytest.raises(ValueError, match="lists no usable portrait of split 'test'"):
        alphas.list_portraits(folder, "test", None, None, folder / "made")
    (folder / "index.csv").write_text("name,split\np0,val\n")
    with pytest.raises(ValueError, match=r"index\.csv has no column 'coverage'"):
        alphas.list_portraits(folder, "val", None, None, folder / "made")
    (folder / "index.csv").write_text(head + "p0,s,val,1,2,3,4,grey,,0.5\n")
    with pytest.raises(ValueError, match=r"index\.csv: .*'grey'"):
        alphas.list_portraits(folder, "val", None, None, folder / "made")
