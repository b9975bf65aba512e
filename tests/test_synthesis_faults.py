"""What goes wrong around synthesis: killed workers, two runs at once, full disks, damaged and hostile files."""

import errno
import os
import shutil
import signal
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpbnet.cli import main
from hpbnet.files import remove_left_parts
from hpbnet.synthesis import engines, shards, write
from hpbnet.synthesis.alphas import list_portraits
from hpbnet.synthesis.engines import Engine, make_all
from hpbnet.synthesis.folders import locked, path_inside, read_json_object
from hpbnet.synthesis.plan import MadeItem, SynthesisPlan
from hpbnet.synthesis.pool import Pool
from hpbnet.synthesis.portraits import Portrait, find_portraits, read_index
from hpbnet.synthesis.shards import count_items, write_pool
from hpbnet.synthesis.write import ItemFiles, synthesize

SIZE = 48
HEAD = "name,source,split,face_x,face_y,face_w,face_h,background_std,iou,coverage\n"


@pytest.fixture
def plan(tmp_path: Path) -> SynthesisPlan:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    alpha = (np.clip((0.5 - x**2 - (y - 0.3) ** 2) * 6 + 0.5, 0, 1) * 255).astype(np.uint8)
    for part in ("photos", "alphas"):
        (tmp_path / part).mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "photos" / f"p{number}.png")
        Image.fromarray(alpha).save(tmp_path / "alphas" / f"p{number}.png")
    return SynthesisPlan(tuple(find_portraits(tmp_path / "photos", tmp_path / "alphas")), "paper", size=SIZE)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work without processes, last item first."""

    def run(
        maker: Callable[[SynthesisPlan, int], MadeItem | ItemFiles],
        plan: SynthesisPlan,
        indices: Sequence[int],
        engine: Engine,
    ) -> Generator[MadeItem | ItemFiles, None, None]:
        yield from (maker(plan, index) for index in reversed(indices))

    monkeypatch.setattr(write, "make_all", run)
    monkeypatch.setattr(shards, "make_all", run)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def die_once(plan: SynthesisPlan, index: int) -> int:
    """Make a number, but for the first time with 2: then the process is killed."""
    mark = Path(plan.relighter)
    if index == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def die(plan: SynthesisPlan, index: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return index


def test_what_a_killed_worker_was_making_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = tuple(Portrait(name, "", tmp_path, tmp_path) for name in "ab")
    plan = SynthesisPlan(people, "paper", relighter=str(tmp_path / "mark"), size=SIZE)
    assert sorted(make_all(die_once, plan, range(6), Engine(2))) == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "mark").exists()
    monkeypatch.setattr(engines, "_ATTEMPTS", 1)
    with pytest.raises(ValueError, match=r"killed 1 times in a row .*start again with fewer workers"):
        list(make_all(die, plan, range(2), Engine(1)))


def test_a_folder_is_written_by_one_process_at_a_time(plan: SynthesisPlan, tmp_path: Path) -> None:
    with locked(tmp_path / "set"):
        with pytest.raises(ValueError, match=r"set: another process is writing there"):
            next(synthesize(plan, tmp_path / "set", 1, Engine()))
        with pytest.raises(ValueError, match=r"set: another process is writing there"):
            next(write_pool(plan, tmp_path / "set", 1, Engine()))
    assert not (tmp_path / "set").exists()  # nothing was written


def test_a_lock_ends_with_its_process_even_where_that_was_forked(tmp_path: Path) -> None:
    ready, begun = os.pipe()
    with locked(tmp_path):
        if (child := os.fork()) == 0:
            os.write(begun, b".")
            signal.pause()  # lives longer than the lock
    try:
        os.read(ready, 1)
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.usefixtures("in_process")
def test_an_interrupted_pool_keeps_every_item(plan: SynthesisPlan, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert len(list(write_pool(plan, whole, 5, Engine()))) == 5
    stream = write_pool(plan, broken, 5, Engine())
    for _ in range(3):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    with (broken / ".000" / "rows.jsonl").open("a") as rows:
        rows.write('{"name": "00')  # cut short
    (broken / ".000" / ".hpbnet-0123").write_bytes(b"part")
    remove_left_parts.cache_clear()  # as in a new process
    (broken / ".001.1234").mkdir()  # what earlier versions left
    assert count_items(broken) == 3
    assert [item.index for item in write_pool(plan, broken, 5, Engine())] == [1, 0]
    assert contents(whole) == contents(broken)
    assert np.load(broken / "000" / "masks.npy").shape == (5, SIZE, SIZE)


@pytest.mark.usefixtures("in_process")
def test_a_full_disk_is_told_with_the_file_and_what_was_made_is_kept(
    plan: SynthesisPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all, calls = shards._write_all, [0]

    def full(file: object, pixels: object) -> None:
        calls[0] += 1
        if calls[0] == 8:  # in the middle of the third item
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(file, pixels)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_write_all", full)
        with pytest.raises(OSError, match="No space left") as caught:
            list(write_pool(plan, tmp_path / "pool", 4, Engine()))
        assert caught.value.filename == str(tmp_path / "pool" / ".000" / "reals.npy")
    assert len(list(write_pool(plan, tmp_path / "pool", 4, Engine()))) == 2
    list(write_pool(plan, tmp_path / "whole", 4, Engine()))
    assert contents(tmp_path / "whole") == contents(tmp_path / "pool")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/../../x", "..\\x", "", "x\0"])
def test_names_in_an_index_stay_in_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the name of a file in"):
        path_inside(tmp_path, name)
    if name and "\0" not in name:
        (tmp_path / "index.csv").write_text(HEAD + f"{name},s,train,1,2,3,4,30,,0.5\n")
        with pytest.raises(ValueError, match=r"index.csv: .*is not the name"):
            read_index(tmp_path, "train")


def test_files_in_a_subfolder_may_be_named(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "a/2024-05-01T10:30.png") == tmp_path / "a" / "2024-05-01T10:30.png"


def test_listed_names_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text(HEAD + "p0,s,train,1,2,3,4,30,,0.5\np1,s,val,1,2,3,4,30,,0.5\n", "utf-8-sig")
    usable, told = list_portraits(tmp_path, "train", {"p0", "p1"}, None, tmp_path / "made")
    assert [portrait.name for portrait in usable] == ["p0"]
    assert told == ["1 listed names that are not usable in split 'train' (p1)"]
    with pytest.raises(ValueError, match=r"2 listed names are not in .*index.csv \(p7, p8\)"):
        list_portraits(tmp_path, "train", {"p0", "p8", "p7"}, None, tmp_path / "made")


@pytest.mark.parametrize("data", [b"\xff\xfe\0", b"name,source\n" + b"x" * 200_000 + b",s\n"])
def test_a_damaged_index_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(data)
    with pytest.raises(ValueError, match=r"index\.csv is damaged"):
        read_index(tmp_path, "train")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("synthesis.json", b"{", r"synthesis.json is not readable as JSON"),
        ("synthesis.json", b"[1]", r"synthesis.json holds a list; expected what `hpbnet synthesize` wrote"),
        ("manifest.jsonl", b"{}\n", r"manifest.jsonl, line 1 is damaged"),
        ("manifest.jsonl", b'{"name": "a"}\n[[[\n', r"manifest.jsonl, line 2 is damaged"),
        ("manifest.jsonl", b"\xff\n", r"manifest.jsonl, line 1 is damaged"),
    ],
)
def test_a_damaged_file_of_a_set_is_named(
    name: str, data: bytes, message: str, plan: SynthesisPlan, tmp_path: Path
) -> None:
    list(synthesize(plan, tmp_path / "set", 1, Engine()))
    (tmp_path / "set" / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        list(synthesize(plan, tmp_path / "set", 2, Engine()))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("masks.npy", 0, r"masks.npy is damaged"),
        ("masks.npy", 300, r"masks.npy is damaged"),
        ("reals.npy", 20, r"reals.npy is damaged"),
        ("rows.jsonl", 40, r"a rows.jsonl is damaged"),
    ],
)
def test_a_damaged_file_of_a_pool_is_named(
    name: str, size: int, message: str, plan: SynthesisPlan, tmp_path: Path
) -> None:
    list(write_pool(plan, tmp_path / "pool", 2, Engine()))
    assert len(Pool(tmp_path / "pool")) == 2
    os.truncate(tmp_path / "pool" / "000" / name, size)
    with pytest.raises(ValueError, match=message):
        Pool(tmp_path / "pool")


@pytest.mark.usefixtures("in_process")
def test_arrays_of_other_shapes_are_no_pool(plan: SynthesisPlan, tmp_path: Path) -> None:
    list(write_pool(plan, tmp_path / "pool", 2, Engine()))
    np.save(tmp_path / "pool" / "000" / "masks.npy", np.zeros((3, SIZE, SIZE), np.uint8))
    with pytest.raises(ValueError, match=r"masks.npy is damaged: it holds uint8 \[3, 48, 48\]"):
        Pool(tmp_path / "pool")


@pytest.mark.usefixtures("in_process")
def test_a_training_on_pictures_hears_of_pools(
    plan: SynthesisPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list(synthesize(plan, tmp_path / "set", 1, Engine()))
    for data, message in (
        ("set", "holds pictures; a training needs arrays, which `hpbnet synthesize --pool` writes"),
        ("none", f"there is no folder {tmp_path / 'none'}"),
    ):
        for task in ("harmonizer", "hpbnet"):
            assert main(["train", task, str(tmp_path / data), "--run", str(tmp_path / "run")]) == 2
            assert message in capsys.readouterr().err
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match="holds no shards"):
        Pool(tmp_path / "set")
    assert not (tmp_path / "run").exists()


def test_deeply_nested_json_is_not_readable(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"x.json is not readable as JSON .*; expected a recipe"):
        read_json_object(tmp_path / "x.json", "a recipe")
