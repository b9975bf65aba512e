"""Datasets, runs and figures: pairing by name, and rows that survive interruptions."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet.affine_grid import AffineGrid
from hpbnet.evaluation.dataset import Dataset, PhotoLight, pair_outputs, read_dataset, read_triplet
from hpbnet.evaluation.figure import CELL, choose_items, draw_figure
from hpbnet.evaluation.measures import Measures
from hpbnet.evaluation.rows import UNHARMONIZED, read_rows, row_from_json, row_to_json
from hpbnet.evaluation.run import evaluate, folder_method
from hpbnet.layers import Layers
from triplets import NAMES, SIZE, brighten, make_dataset, make_triplet, method, save


@pytest.fixture
def dataset(tmp_path: Path, generator: torch.Generator) -> Dataset:
    return make_dataset(tmp_path / "pairs", generator)


# datasets


def test_a_folder_is_paired_by_stem_and_knows_its_portraits(dataset: Dataset) -> None:
    assert [item.name for item in dataset.items] == list(NAMES)
    assert [item.portrait for item in dataset.items] == ["ann", "ann", "bob", "cy"]
    assert dataset.items[0].face == (4, 6, 16, 18)
    assert dataset.problems == ()


def test_a_manifest_tells_how_the_photo_was_lit(tmp_path: Path, generator: torch.Generator) -> None:
    lines = []
    for name, grade in (("a", None), ("b", {"stops": -1.0})):
        make_triplet(tmp_path, name, generator)
        parameters = {"photo_gains": [0.9, 1.0, 1.1], "photo_grade": grade}
        lines.append(json.dumps({"name": name, "portrait": "p", "face": None, "parameters": parameters}))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    lights = [item.light for item in read_dataset(tmp_path).items]
    assert lights == [PhotoLight((0.9, 1.0, 1.1)), PhotoLight((0.9, 1.0, 1.1), graded=True)]
    (tmp_path / "manifest.jsonl").write_text("[]\n")
    with pytest.raises(ValueError, match=r"manifest\.jsonl, line 1: no manifest line"):
        read_dataset(tmp_path)


def test_a_triplet_is_read_as_its_files_were_written(dataset: Dataset) -> None:
    triplet = read_triplet(dataset.items[0])
    assert triplet.mask.mean() == pytest.approx(18 * 16 / SIZE**2)
    torch.testing.assert_close(triplet.composite[:, :, :6], triplet.truth[:, :, :6], atol=0.5 / 255, rtol=0)
    torch.testing.assert_close(
        triplet.composite[:, :, 6:, 4:20], 0.9 * triplet.truth[:, :, 6:, 4:20], atol=1 / 255, rtol=0
    )


def make_iharmony4(folder: Path, generator: torch.Generator) -> None:
    for subset, stem in (("HCOCO", "c100007_1001628_1"), ("HCOCO", "c100007_1001628_2"), ("Hday2night", "d9_1_2_3")):
        base, mask = stem.rsplit("_", 2)[0], stem.rsplit("_", 1)[0]
        make_triplet(folder / subset, "x", generator)
        for part, name in (
            ("composite_images", f"{stem}.jpg"),
            ("masks", f"{mask}.png"),
            ("real_images", f"{base}.jpg"),
        ):
            (folder / subset / part / "x.png").rename(folder / subset / part / name)


def test_iharmony4_is_paired_by_its_published_names(tmp_path: Path, generator: torch.Generator) -> None:
    make_iharmony4(tmp_path, generator)
    items = read_dataset(tmp_path).items
    assert [item.name for item in items] == [
        "HCOCO/c100007_1001628_1",
        "HCOCO/c100007_1001628_2",
        "Hday2night/d9_1_2_3",
    ]
    assert [item.mask.name for item in items] == ["c100007_1001628.png", "c100007_1001628.png", "d9_1_2.png"]
    assert [item.truth.name for item in items] == ["c100007.jpg", "c100007.jpg", "d9_1.jpg"]
    assert [item.portrait for item in items] == ["HCOCO/c100007", "HCOCO/c100007", "Hday2night/d9_1"]


def test_iharmony4s_test_list_is_obeyed(tmp_path: Path, generator: torch.Generator) -> None:
    make_iharmony4(tmp_path, generator)
    (tmp_path / "IHD_test.txt").write_text("HCOCO/composite_images/c100007_1001628_2.jpg\n")
    assert [item.name for item in read_dataset(tmp_path).items] == ["HCOCO/c100007_1001628_2"]
    (tmp_path / "HCOCO/HCOCO_test.txt").write_text("c100007_1001628_1.jpg\n")
    assert [item.name for item in read_dataset(tmp_path / "HCOCO").items] == ["c100007_1001628_1"]


def test_a_list_of_names_chooses_and_names_what_is_not_there(dataset: Dataset, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("bob_1.png\ndora_7\n")
    chosen = read_dataset(dataset.items[0].composite.parents[1], names)
    assert [item.name for item in chosen.items] == ["bob_1"]
    assert [problem.name for problem in chosen.problems] == ["dora_7"]


def test_a_composite_without_mask_or_truth_is_a_problem_that_names_it(dataset: Dataset) -> None:
    dataset.items[1].mask.unlink()
    dataset.items[2].truth.unlink()
    again = read_dataset(dataset.items[0].composite.parents[1])
    assert [item.name for item in again.items] == ["ann_1", "cy_1"]
    assert [(p.name, p.reason.split(" in ")[0]) for p in again.problems] == [
        ("ann_2", "has no mask"),
        ("bob_1", "has no truth"),
    ]


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected composite_images/, masks/ and real_images/"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda item: save(item.mask, torch.ones(1, SIZE, SIZE - 1)), "mask is 23x24, the composite 24x24"),
        (lambda item: save(item.truth, torch.ones(3, SIZE + 1, SIZE)), "truth is 24x25, the composite 24x24"),
        (lambda item: save(item.mask, torch.zeros(1, SIZE, SIZE)), "mask is empty"),
        (lambda item: item.composite.write_bytes(b"no picture"), "is not a picture"),
        (lambda item: item.composite.write_bytes(item.composite.read_bytes()[:300]), "damaged"),
    ],
)
def test_a_triplet_whose_parts_do_not_fit_is_refused(dataset: Dataset, spoil: Callable[..., None], reason: str) -> None:
    spoil(dataset.items[3])
    with pytest.raises(ValueError, match=reason):
        read_triplet(dataset.items[3])


def test_an_inverted_mask_is_noticed(dataset: Dataset) -> None:
    item = dataset.items[3]
    with Image.open(item.mask) as mask:
        inverted = 255 - np.array(mask)
    Image.fromarray(inverted).save(item.mask)
    with pytest.raises(ValueError, match=r"wrong mask: .* is it inverted"):
        read_triplet(item)


# results of other programs


def test_results_are_paired_by_name_whatever_their_order_and_format(dataset: Dataset, tmp_path: Path) -> None:
    for name in reversed(NAMES):
        save(tmp_path / "theirs" / f"{name}.{'bmp' if name == 'cy_1' else 'png'}", torch.rand(3, SIZE, SIZE))
    files = pair_outputs(tmp_path / "theirs", dataset.items)
    assert {name: path.stem for name, path in files.items()} == {name: name for name in NAMES}


def test_missing_and_extra_results_are_named(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("ann_1", "ann_2", "cy_1", "zoe_1"):
        save(tmp_path / "theirs" / f"{name}.png", torch.rand(3, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"1 missing \(bob_1\) and 1 without an item \(zoe_1\)"):
        pair_outputs(tmp_path / "theirs", dataset.items)


def test_a_result_that_is_there_twice_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    for name in (*NAMES, "ann_1"):
        save(tmp_path / "theirs" / f"{name}.png", torch.rand(3, SIZE, SIZE))
    save(tmp_path / "theirs" / "ann_1.jpg", torch.rand(3, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"ann_1 twice: ann_1\.jpg and ann_1\.png"):
        pair_outputs(tmp_path / "theirs", dataset.items)


def test_results_of_several_subsets_may_lie_in_one_folder(tmp_path: Path, generator: torch.Generator) -> None:
    make_iharmony4(tmp_path / "data", generator)
    items = read_dataset(tmp_path / "data").items
    for item in items:
        save(tmp_path / "theirs" / f"{item.composite.stem}.png", torch.rand(3, SIZE, SIZE))
    assert pair_outputs(tmp_path / "theirs", items)["Hday2night/d9_1_2_3"].stem == "d9_1_2_3"


# runs


def test_saved_results_measure_exactly_as_the_method_that_made_them(dataset: Dataset, tmp_path: Path) -> None:
    bright = method()
    for item in dataset.items:
        save(tmp_path / "saved" / f"{item.name}.png", bright.output(item, read_triplet(item)).picture[0])
    saved = folder_method("saved", tmp_path / "saved", dataset)
    report = evaluate(dataset, [bright, saved], Measures(), tmp_path / "rows.jsonl")
    scores = {row.key: row.scores for row in report.rows}
    assert report.problems == () and len(report.rows) == 3 * len(NAMES)
    assert all(scores[name, "bright"] == scores[name, "saved"] for name in NAMES)


def test_untouched_composites_are_always_measured(dataset: Dataset, tmp_path: Path) -> None:
    rows = evaluate(dataset, [], Measures(), tmp_path / "rows.jsonl").rows
    assert {row.method for row in rows} == {UNHARMONIZED}
    triplet = read_triplet(dataset.items[0])
    expected = ((triplet.composite - triplet.truth) * 255).square().mean().item()
    assert rows[0].scores.mse == pytest.approx(expected)
    assert rows[0].scores.psnr_to_input == pytest.approx(50)
    assert rows[0].scores.fmse * rows[0].coverage == pytest.approx(rows[0].scores.mse)


def test_rows_that_still_hold_are_kept_and_others_measured_again(dataset: Dataset, tmp_path: Path) -> None:
    file, calls = tmp_path / "rows.jsonl", list[int]()

    def run(weight: str) -> int:
        calls.clear()
        evaluate(dataset, [method(weight=weight, calls=calls)], Measures(), file)
        return len(calls)

    assert run("w") == 4
    assert run("w") == 0
    assert run("other") == 4
    save(dataset.items[2].truth, 0.3 + 0.1 * torch.rand(3, SIZE, SIZE))
    dataset.items[2].composite.write_bytes(dataset.items[2].truth.read_bytes())
    assert run("other") == 1
    assert len(read_rows(file)) == 8


def test_an_interrupted_run_goes_on_where_it_stopped(dataset: Dataset, tmp_path: Path) -> None:
    file, calls = tmp_path / "rows.jsonl", list[int]()
    whole = evaluate(dataset, [method()], Measures(), tmp_path / "whole.jsonl").rows

    def interrupt(layers: Layers) -> AffineGrid:
        if len(calls) == 2:
            raise KeyboardInterrupt
        return brighten(1.2, calls)(layers)

    with pytest.raises(KeyboardInterrupt):
        evaluate(dataset, [replace(method(), harmonizer=interrupt)], Measures(), file)
    with file.open("a") as rows:
        rows.write('{"item": "bob_1", "met')  # the line that was being written
    calls.clear()
    resumed = evaluate(dataset, [method(calls=calls)], Measures(), file).rows
    assert len(calls) == 2
    assert [replace(row, seconds=None) for row in resumed] == [replace(row, seconds=None) for row in whole]
    assert len(file.read_text().splitlines()) == 8


def test_what_cannot_be_measured_is_named_and_the_rest_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    for name in NAMES:
        save(tmp_path / "theirs" / f"{name}.png", torch.rand(3, SIZE, SIZE - (name == "ann_2")))
    theirs = folder_method("theirs", tmp_path / "theirs", dataset)
    dataset.items[3].mask.write_bytes(b"no mask")
    report = evaluate(dataset, [theirs], Measures(), tmp_path / "rows.jsonl")
    assert [problem.name for problem in report.problems] == ["ann_2 (theirs)", "cy_1"]
    assert "result is 23x24, the composite 24x24" in report.problems[0].reason
    assert len(report.rows) == 5


def test_two_methods_of_one_name_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two methods are called bright"):
        evaluate(dataset, [method(), method()], Measures(), tmp_path / "rows.jsonl")


def test_progress_is_told_for_every_item(dataset: Dataset, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    evaluate(dataset, [], Measures(), tmp_path / "rows.jsonl", lambda done, total: told.append((done, total)))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_row_survives_its_line(dataset: Dataset, tmp_path: Path) -> None:
    row = evaluate(dataset, [method()], Measures(), tmp_path / "rows.jsonl").rows[1]
    assert row_from_json(row_to_json(row)) == row
    with pytest.raises(ValueError, match="no row"):
        row_from_json('{"item": "x"}')


# figures


def test_a_figure_shows_input_methods_and_truth_of_the_worst(dataset: Dataset, tmp_path: Path) -> None:
    methods = [method(), method("dark", 0.5)]
    rows = evaluate(dataset, methods, Measures(), tmp_path / "rows.jsonl").rows
    assert choose_items(rows, UNHARMONIZED, 2, worst=True) == ["cy_1", "bob_1"]
    assert choose_items(rows, UNHARMONIZED, 2, worst=False) == ["ann_1", "cy_1"]
    draw_figure(tmp_path / "figure.png", rows, dataset, methods, count=2, worst=True)
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width == 4 * (CELL + 6) + 6
        assert figure.height > 2 * CELL
        pixels = np.array(figure.convert("RGB"), dtype=float)
    means = [pixels[100:200, 6 + k * (CELL + 6) : 6 + k * (CELL + 6) + CELL].mean() for k in range(4)]
    assert means[2] < means[0] < means[1] and means[0] < means[3]  # dark, input, bright; the truth is lighter
