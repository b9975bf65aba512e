"""Training: the config, the run directory, exact resume."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hpbnet import load_network
from hpbnet.networks.harmonizer import Harmonization
from hpbnet.networks.perceptual import squeezenet
from hpbnet.training.composites import Composites, crop, resize
from hpbnet.training.config import TrainConfig, read_config
from hpbnet.training.cuts import Cut, clean_foreground, read_people, write_cut
from hpbnet.training.harmonizer import (
    HarmonizerTraining,
    apply_change,
    coarse_error,
    feature_distance,
    harmonizer_loss,
    train_harmonizer,
)
from hpbnet.training.mattes import Chances, Mattes
from hpbnet.training.matting import MattingTraining, matting_loss, train_matting
from hpbnet.training.optimise import learning_rate
from hpbnet.training.run import Run
from hpbnet.training.scenes import light_by_scene
from hpbnet.training.start import train
from hpbnet.triplet import Triplet

QUICK = {
    "steps": 4,
    "batch_size": 2,
    "workers": 0,
    "threads": 1,
    "checkpoint_every": 2,
    "validate_every": 4,
    "log_every": 1,
}


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four synthetic portraits (bright discs) with mattes, two scenes, and their indices."""
    folder = tmp_path_factory.mktemp("portraits")
    rng = np.random.default_rng(0)
    header = "name,source,split,width,height,face_x,face_y,face_w,face_h,background_std,iou,coverage"
    rows = [header]
    for kind in ("images", "alpha", "scenes"):
        (folder / kind).mkdir()
    for index in range(4):
        alpha = cv2.GaussianBlur(cv2.circle(np.zeros((200, 200), np.uint8), (100, 110), 60, 255, -1), (0, 0), 1.5)
        scene = cv2.resize(rng.integers(0, 255, (5, 5, 3), np.uint8), (200, 200))
        photo = np.where(alpha[:, :, None] > 127, np.uint8(180 + 10 * index), scene)
        cv2.imwrite(str(folder / "images" / f"p{index}.webp"), photo)
        cv2.imwrite(str(folder / "alpha" / f"p{index}.webp"), alpha)
        cv2.imwrite(str(folder / "scenes" / f"s{index}.webp"), scene)
        rows.append(f"p{index},synthetic,{'val' if index == 3 else 'train'},200,200,70,70,60,60,40,,0.3")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    scenes = ["s0.webp,train,0.4,0.0,0.0", "s1.webp,train,0.4,0.0,0.0", "s2.webp,train,0.1,2.0,-1.5"]
    (folder / "scenes" / "index.csv").write_text(
        "\n".join(["file,split,mean_luma,log2_rg_linear,log2_bg_linear", *scenes])
    )
    return folder


@pytest.fixture(scope="module")
def people(portraits: Path) -> Path:
    """The synthetic portraits as cuts: three to learn from, one of them no person, and one for validation."""
    folder = portraits / "people"
    folder.mkdir()
    rows = ["name,source,split,kind,plain"]
    for index, kind in enumerate(("portrait", "person", "object", "person")):
        photo = cv2.cvtColor(cv2.imread(str(portraits / "images" / f"p{index}.webp")), cv2.COLOR_BGR2RGB)
        alpha = cv2.imread(str(portraits / "alpha" / f"p{index}.webp"), cv2.IMREAD_GRAYSCALE)
        write_cut(folder / f"p{index}.npy", Cut(photo, alpha, clean_foreground(photo, alpha), np.full_like(alpha, 255)))
        rows.append(f"p{index},synthetic,{'val' if index == 3 else 'train'},{kind},0")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of one shard with four random items."""
    folder = tmp_path_factory.mktemp("pool")
    shard = folder / "000"
    shard.mkdir()
    rng = np.random.default_rng(1)
    reals = np.stack([cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (256, 256)) for _ in range(4)])
    masks = np.zeros((4, 256, 256), np.uint8)
    masks[:, 64:, 64:192] = 255
    np.save(shard / "reals.npy", reals)
    np.save(shard / "masks.npy", masks)
    np.save(shard / "composites.npy", np.where(masks[..., None] > 0, reals // 2, reals))
    (shard / "rows.jsonl").write_text('{"plain": false, "recipe": "paper"}\n' * 4)
    return folder


def matting_config(people: Path, **changes: object) -> MattingTraining:
    sizes = {"size": 64, "channels": (4, 4, 4, 4, 4), "blocks": (0, 0, 0, 0, 0)}
    places = {"data": str(people), "scenes": str(people.parent / "scenes")}
    return MattingTraining(**(QUICK | sizes | places | changes))  # type: ignore[arg-type]


def harmonizer_config(pool: Path, **changes: object) -> HarmonizerTraining:
    places = {"data": str(pool), "validation": str(pool), "channels": (8, 8, 8, 8), "fine": (8,), "size": 64}
    return HarmonizerTraining(**(QUICK | places | changes))  # type: ignore[arg-type]


def test_config_reads_file_then_overrides(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"steps": 7, "batch_size": 3}')
    config = read_config(MattingTraining, tmp_path / "c.json", {"steps": "9", "scenes": "12", "learning_rate": "1"})
    assert (config.steps, config.batch_size, config.scenes, config.learning_rate) == (9, 3, "12", 1.0)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"stops": "1"}, "unknown field .stops.: did you mean .steps.. known are .*steps"),
        ({"steps": "many"}, "steps is 'many'; expected a whole number"),
        ({"precision": "float16"}, "precision is 'float16'; expected one of float32, bfloat16"),
    ],
)
def test_config_names_what_is_wrong(overrides: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_config(TrainConfig, None, overrides)


def test_a_config_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"c\.json holds a list; expected a JSON object of fields .*steps"):
        read_config(TrainConfig, tmp_path / "c.json", {})


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    config = TrainConfig(steps=100, warmup=10, learning_rate=1.0)
    assert learning_rate(0, config) == 0.1
    assert learning_rate(10, config) == 1.0
    assert learning_rate(100, config) == 0.0


def test_a_resumed_matting_run_ends_with_the_same_weights(people: Path, tmp_path: Path) -> None:
    whole = train_matting(matting_config(people), tmp_path / "whole")
    with pytest.raises(FloatingPointError):  # stops in the middle, past the checkpoint of step 2
        stop_at_step(3, lambda: train_matting(matting_config(people), tmp_path / "cut"))
    resumed = train_matting(matting_config(people), tmp_path / "cut")
    assert_same_weights(whole, resumed)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]  # no step logged twice; the last is the validation's line


def test_what_stops_a_training_is_told_in_one_sentence(pool: Path, tmp_path: Path) -> None:
    first = train("harmonizer", harmonizer_config(pool, steps=1, validate_every=1), tmp_path / "first")
    with pytest.raises(ValueError, match="the weights to begin with are another network's"):
        train("harmonizer", harmonizer_config(pool, channels=(8, 8, 8, 16), start=str(first)), tmp_path / "second")
    with pytest.raises(ValueError, match="total not finite at step 1"):
        stop_at_step(1, lambda: train("harmonizer", harmonizer_config(pool), tmp_path / "third"))


def test_matting_without_scenes_says_what_to_set(people: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set scenes=FOLDER"):
        train_matting(matting_config(people, scenes=""), tmp_path / "run")


@pytest.mark.parametrize("fine", [(), (8,)])
def test_a_resumed_harmonizer_run_ends_with_the_same_weights(fine: tuple[int, ...], pool: Path, tmp_path: Path) -> None:
    config = harmonizer_config(pool, dropout=0.5, fine=fine)
    whole = train_harmonizer(config, tmp_path / "whole")
    with pytest.raises(FloatingPointError):
        stop_at_step(3, lambda: train_harmonizer(config, tmp_path / "cut"))
    assert_same_weights(whole, train_harmonizer(config, tmp_path / "cut"))


def test_a_stage_for_the_confidence_alone_leaves_the_change_as_it_was(pool: Path, tmp_path: Path) -> None:
    first = train_harmonizer(harmonizer_config(pool, steps=2), tmp_path / "first")
    second = train_harmonizer(harmonizer_config(pool, start=str(first), confidence_only=True), tmp_path / "second")
    before, after = load_network(first).state_dict(), load_network(second).state_dict()
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"confidence_head"}


def test_a_validation_measures_each_recipe_by_itself(pool: Path, tmp_path: Path) -> None:
    for recipe in ("paper", "wide"):
        shutil.copytree(pool / "000", tmp_path / "val" / recipe / "000")
        rows = f'{{"plain": false, "recipe": "{recipe}"}}\n' * 4
        (tmp_path / "val" / recipe / "000" / "rows.jsonl").write_text(rows)
    train_harmonizer(harmonizer_config(pool, steps=1, validation=str(tmp_path / "val")), tmp_path / "run")
    *_, line = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    measured = json.loads(line)
    assert {name.rsplit("_", 1)[0] for name in measured} >= {"paper", "wide", "held_out"}
    assert measured["paper_ratio"] == measured["wide_ratio"] == pytest.approx(1, abs=0.2)
    assert measured["paper_contrast"] == pytest.approx(
        0.5, abs=0.1
    )  # the pool's people are at half of their brightness


def test_a_third_fine_scale_is_refused(pool: Path) -> None:
    with pytest.raises(ValueError, match="expected at most 2 whole numbers"):
        harmonizer_config(pool, fine=(8, 8, 8))


def stop_at_step(step: int, train: object) -> None:
    """Run a training whose losses stop being finite at a step."""
    log = Run.log

    def failing(self: Run, at: int, values: dict[str, float]) -> None:
        log(self, at, {"total": float("nan")} if at == step else values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "log", failing)
        train()  # type: ignore[operator]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_network(one).state_dict(), load_network(other).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_folder_of_another_config_is_refused(people: Path, tmp_path: Path) -> None:
    train_matting(matting_config(people, steps=2), tmp_path / "run")
    with pytest.raises(ValueError, match="another learning_rate"):
        train_matting(matting_config(people, learning_rate=0.5), tmp_path / "run")


def test_training_items_depend_on_seed_and_index_alone(pool: Path, portraits: Path) -> None:
    first = Composites(pool, 64, 3, str(portraits / "scenes"))
    for index in range(24):  # enough to meet every kind of item
        item, again = first[index], Composites(pool, 64, 3, str(portraits / "scenes"))[index]
        assert all(torch.equal(a, b) for a, b in zip(item, again, strict=True))
        assert item.composite.shape == item.truth.shape == (3, 64, 64)


def test_pools_below_one_folder_are_drawn_by_their_recipe_whatever_their_size(pool: Path, tmp_path: Path) -> None:
    shutil.copytree(pool / "000", tmp_path / "paper" / "000")
    shutil.copytree(pool / "000", tmp_path / "paper" / "001")
    shutil.copytree(pool / "000", tmp_path / "wide" / "000")
    (tmp_path / "wide" / "000" / "rows.jsonl").write_text('{"plain": false, "recipe": "wide"}\n' * 4)
    both = Composites(tmp_path, 64, 0)
    assert both.pool.recipes == ["paper"] * 8 + ["wide"] * 4
    assert both.cumulative[[7, 11]] == pytest.approx([0.3 / 0.5, 1.0])


def test_relit_items_give_their_light_to_new_ones(pool: Path, tmp_path: Path) -> None:
    shutil.copytree(pool / "000", tmp_path / "relit" / "000")
    (tmp_path / "relit" / "000" / "rows.jsonl").write_text('{"plain": false, "recipe": "relit"}\n' * 4)
    items = Composites(tmp_path, 64, 0)
    items.chances = replace(items.chances, wide=0.0, graded=0.0, mask=0.0, jpeg=0.0)
    composites = [items[index].composite for index in range(6)]
    assert torch.equal(items[2].composite, composites[2])
    assert len({bytes(composite.numpy()) for composite in composites}) == 6  # four stored items, another transfer each
    item, mask = items[0], items[0].mask[0] == 0
    assert (item.composite[:, mask].int() - item.truth[:, mask].int()).abs().max() <= 1
    assert (item.composite[:, ~mask].int() - item.truth[:, ~mask].int()).abs().float().mean() > 5


def test_items_of_another_recipe_keep_their_disturbance(pool: Path, tmp_path: Path) -> None:
    shutil.copytree(pool / "000", tmp_path / "scene" / "000")
    (tmp_path / "scene" / "000" / "rows.jsonl").write_text('{"plain": false, "recipe": "scene"}\n' * 4)
    items = Composites(tmp_path, 64, 0)
    items.chances = replace(items.chances, graded=0.0, jpeg=0.0)
    for index in range(8):
        item = items[index]
        inside = item.mask[0] == 255
        assert (item.composite[:, inside] * 2.0 - item.truth[:, inside]).abs().max() <= 4  # people are halved


def test_a_crop_takes_the_same_square_of_all_three_pictures() -> None:
    smooth = torch.nn.functional.interpolate(torch.rand(1, 1, 6, 6), (64, 64), mode="bilinear")
    for seed in range(12):
        item = Triplet(smooth.expand(1, 3, 64, 64), smooth * 0.5, 1 - smooth.expand(1, 3, 64, 64))
        composite, mask, truth = crop(item, 32, np.random.default_rng(seed), 1)
        assert composite.shape == truth.shape == (1, 3, 32, 32)
        assert mask.shape == (1, 1, 32, 32)
        assert (composite + truth - 1).abs().max() < 1e-5
        assert (composite[:, :1] * 0.5 - mask).abs().max() < 1e-5


def test_a_person_who_fills_the_square_is_not_cropped() -> None:
    picture, everywhere = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    shrunk = resize(picture, 32)
    for seed in range(8):
        composite, _, _ = crop(Triplet(picture, everywhere, picture), 32, np.random.default_rng(seed))
        assert min((composite - shrunk).abs().mean(), (composite.flip(3) - shrunk).abs().mean()) < 0.1


def test_a_part_of_a_scenes_light_falls_on_the_person() -> None:
    person, mask = torch.full((1, 3, 16, 16), 0.5), torch.ones(1, 1, 16, 16)
    mask[..., :8] = 0
    neon = torch.tensor([0.5, 0.1, 0.3]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    red, green, blue = light_by_scene(person, mask, neon, np.random.default_rng(0))[0, :, 0, 0].tolist()
    assert red > blue > green > 0.1  # its hue, not all of it
    darker = light_by_scene(person, mask, torch.full_like(person, 0.1), np.random.default_rng(0))
    assert 0.1 < darker[0, 0, 0, 0] < 0.45
    unchanged = light_by_scene(person, mask, person, np.random.default_rng(0))
    assert (unchanged - person).abs().max() < 1e-5


def test_a_folder_without_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no shards"):
        Composites(tmp_path, 64, 0)


def test_matting_loss_is_least_at_the_truth() -> None:
    alpha, sure = (torch.rand(1, 1, 32, 32) > 0.5).float(), torch.ones(1, 1, 32, 32)
    right = matting_loss((alpha - 0.5) * 40, alpha, sure)["total"]
    assert right < 1e-6
    assert matting_loss((0.5 - alpha) * 40, alpha, sure)["total"] > right


def test_matting_loss_ignores_what_is_not_sure() -> None:
    alpha, sure = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    sure[..., 8:24, 8:24] = 0
    logits = torch.full((1, 1, 32, 32), -40.0)
    logits[..., 12:20, 12:20] = 40
    assert matting_loss(logits, alpha, sure)["cross_entropy"] < 1e-6
    assert matting_loss(logits, alpha, torch.ones_like(sure))["cross_entropy"] > 1


def test_a_matting_run_may_begin_with_a_smaller_network(people: Path, tmp_path: Path) -> None:
    small = train_matting(matting_config(people, steps=1, validate_every=9), tmp_path / "small")
    grown = matting_config(people, steps=1, validate_every=9, blocks=(0, 1, 1, 1, 1), start=str(small))
    assert train_matting(grown, tmp_path / "grown").exists()


def test_matting_items_depend_on_their_number_alone(people: Path) -> None:
    scenes = sorted((people.parent / "scenes").glob("*.webp"))
    items = Mattes(read_people(people, "train"), scenes, 64, seed=3, batch_size=4)
    again = Mattes(read_people(people, "train"), scenes, 64, seed=3, batch_size=4)
    for number in (40, 7, 0):
        assert all(torch.equal(one, other) for one, other in zip(items[number], again[number], strict=True))
    assert {items[number].portrait.shape for number in range(8, 12)} == {(3, *items.shape(8))}
    assert {(64, 64), (96, 64)} <= {items.shape(4 * batch) for batch in range(30)}


def test_hinted_items_say_what_counts(people: Path) -> None:
    scenes = sorted((people.parent / "scenes").glob("*.webp"))
    chances = Chances(nobody=0.0, hint=1.0, previous=0.0)
    items = Mattes(read_people(people, "train"), scenes, 64, seed=4, chances=chances)
    seen = 0
    for number in range(40):
        hint, alpha = items[number].hint, items[number].alpha
        seen += int((hint != 0).sum())
        assert hint.shape == alpha.shape and set(hint.unique().tolist()) <= {-1, 0, 1}
        kept, removed = alpha[hint == 1].float(), alpha[hint == -1].float()
        assert not len(kept) or kept.mean() > 200
        assert not len(removed) or removed.mean() < 55
    assert seen > 500


def test_unprepared_people_say_what_to_run(portraits: Path) -> None:
    with pytest.raises(ValueError, match=r"tools/prepare_mattes\.py"):
        read_people(portraits / "alpha", "train")


def test_a_perceptual_term_needs_its_network_and_trains(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="squeezenet=FILE"):
        train_harmonizer(harmonizer_config(pool, perceptual=0.1), tmp_path / "none")
    torch.save(squeezenet().state_dict(), tmp_path / "squeezenet.pth")
    term = {"perceptual": 0.1, "squeezenet": str(tmp_path / "squeezenet.pth"), "perceived": 1, "steps": 2}
    train_harmonizer(harmonizer_config(pool, **term), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    terms = [line["perceptual"] for line in lines if "perceptual" in line]
    assert len(terms) == 2
    assert min(terms) > 0


def test_feature_distance_is_zero_at_the_truth_alone() -> None:
    stack, real = squeezenet(), torch.rand(1, 3, 64, 64)
    assert feature_distance(stack, real, real) == 0
    assert feature_distance(stack, real * 0.5, real) > 0


def test_harmonizer_loss_is_zero_but_for_the_confidence_at_the_truth() -> None:
    composite, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    change = torch.zeros(2, 12, 8, 8)
    item = Triplet(composite, mask, composite)
    losses = harmonizer_loss(Harmonization(change, torch.ones(2), torch.zeros(2)), item, HarmonizerTraining())
    assert losses["l1"] == 0
    assert losses["harm"] == 0


def test_the_shortfall_counts_missing_contrast_and_chroma_alone() -> None:
    truth, mask = 0.3 + 0.4 * torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    dull, vivid = (0.5 + factor * (truth - 0.5) for factor in (0.5, 1.5))
    whole = Harmonization(torch.zeros(1, 12, 8, 8), torch.ones(1), torch.zeros(1))
    shortfalls = [
        harmonizer_loss(whole, Triplet(composite, mask, truth), HarmonizerTraining())["shortfall"].item()
        for composite in (dull, vivid, truth)
    ]
    assert shortfalls == [pytest.approx(torch.tensor(2.0).log().item(), abs=0.2), 0, 0]


def test_each_coarser_map_has_an_error_at_its_own_size() -> None:
    composite, mask = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, 1, 32, 32)
    brighter = torch.zeros(1, 12, 4, 4)
    brighter.view(1, 3, 4, 4, 4)[:, :, 3] = 0.1
    assert coarse_error(brighter, Triplet(composite, mask, composite), 5.0).item() == pytest.approx(0.1 + 5 * 0.01)
    assert coarse_error(brighter, Triplet(composite, mask, composite + 0.1), 5.0).item() == pytest.approx(0, abs=1e-6)


def test_apply_change_is_what_the_affine_grid_applies() -> None:
    from hpbnet import AffineGrid

    change, image = 0.05 * torch.randn(1, 12, 8, 8), 0.3 + 0.4 * torch.rand(1, 3, 32, 32)
    matrix = change.view(1, 3, 4, 1, 8, 8) + torch.eye(3, 4).view(1, 3, 4, 1, 1, 1)
    assert (AffineGrid(matrix).apply(image) - (image + apply_change(change, image)).clamp(0, 1)).abs().max() < 1e-5


def test_items_are_triplets_of_bytes(pool: Path) -> None:
    item = Composites(pool, 64, 0)[0]
    assert isinstance(item, Triplet)
    assert all(part.dtype == torch.uint8 for part in item)
