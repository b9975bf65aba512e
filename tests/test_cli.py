"""The commands: thin, quiet, and clear about what went wrong."""

import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hpbnet import image
from hpbnet.cli import COMMANDS, group, jobs, main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a portrait, its mask, a background and a folder of each."""
    generator = np.random.default_rng(0)
    portrait = generator.integers(60, 200, (64, 48, 3), dtype=np.uint8)
    y, x = np.mgrid[:64, :48]
    mask = (((x - 24) / 14) ** 2 + ((y - 44) / 34) ** 2 < 1).astype(np.uint8) * 255
    background = np.repeat(np.linspace(0, 255, 96, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    for folder in ("portraits", "masks", "backgrounds"):
        (tmp_path / folder).mkdir()
    for folder, picture in (("portraits", portrait), ("masks", mask), ("backgrounds", background)):
        Image.fromarray(picture).save(tmp_path / f"{folder.removesuffix('s')}.png")
        for name in ("ann", "bob"):
            Image.fromarray(picture).save(tmp_path / folder / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMPOSE = ["compose", "portrait.png", "background.png", "--mask", "mask.png"]


def opened(path: str | Path) -> Image.Image:
    return Image.open(io.BytesIO(Path(path).read_bytes()))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- the group ----------------------------------------------------------------------------------------------------


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; from hpbnet.cli import main; main(['--help']);"
        "print(time.process_time(), file=sys.stderr); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stderr) < 0.5  # [s] of the processor: a busy machine is not our fault


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_torch(name: str) -> None:
    code = f"import sys; from hpbnet.cli import main; main(['{name}', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"Usage: hpbnet {name}" in done.stdout


def test_the_page_of_commands_is_up_to_date() -> None:
    place = ROOT / "tools" / "document_commands.py"
    spec = importlib.util.spec_from_file_location("document_commands", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page.split() == module.document_commands().split(), "run `make docs`"  # lines break as the terminal likes


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None and command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cmpose"]) == 2
    assert capsys.readouterr().err.startswith("hpbnet: no command 'cmpose'; did you mean 'compose'? commands are ")


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "compose" in capsys.readouterr().out


def test_formats_on_the_command_line_are_those_that_are_written() -> None:
    assert jobs._FORMATS == image.FORMATS


# -- single pictures ----------------------------------------------------------------------------------------------


def test_compose_writes_one_picture(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPOSE, "-o", "out.png"]) == 0
    assert opened("out.png").size == (96, 64)
    assert capsys.readouterr().out == ""


def test_compose_saves_layers_and_tells_as_json(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPOSE, "-o", "out.webp", "--size", "80x60", "--layers", "layers", "--json"]) == 0
    assert files(desk / "layers") == ["alpha.png", "background.png", "foreground.png", "grid.safetensors"]
    report = json.loads(capsys.readouterr().out)
    assert report["output"] == "out.webp" and report["size"] == [80, 60] and report["error"] is None
    assert report["light"].keys() == {"scene", "person"}
    numbers = {"azimuth", "elevation", "contrast", "kelvin", "tint", "level"}
    assert report["light"]["scene"].keys() == report["light"]["person"].keys() == numbers
    assert main([*COMPOSE, "-o", "out.webp", "--light", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["light"] is None


def test_stdin_and_stdout_are_dashes(desk: Path) -> None:
    command = [sys.executable, "-m", "hpbnet", "compose", "-", *COMPOSE[2:], "-o", "-", "--format", "tif"]
    done = subprocess.run(command, input=(desk / "portrait.png").read_bytes(), capture_output=True, check=True)
    picture = Image.open(io.BytesIO(done.stdout))
    assert picture.format == "TIFF" and picture.size == (96, 64)


def test_stdin_serves_every_picture_of_a_folder(desk: Path) -> None:
    command = [sys.executable, "-m", "hpbnet", "compose", "portraits", "-", "--mask", "masks", "-o", "out"]
    subprocess.run(command, input=(desk / "background.png").read_bytes(), capture_output=True, check=True)
    assert files(desk / "out") == ["ann.png", "bob.png"]


def test_harmonize_changes_the_masked_part_only(desk: Path) -> None:
    assert main(["harmonize", "portrait.png", "mask.png", "-o", "out.png", "--exposure", "0.5"]) == 0
    before, after = (np.asarray(opened(name)) for name in ("portrait.png", "out.png"))
    masked = np.asarray(opened("mask.png")) > 0
    assert (before[~masked] == after[~masked]).all() and (before[masked] != after[masked]).any()


def test_matte_writes_transparency_or_alpha_alone(desk: Path) -> None:
    assert main(["matte", "portrait.png", "--mask", "mask.png", "-o", "out.png"]) == 0
    assert opened("out.png").mode == "RGBA"
    assert main(["matte", "portrait.png", "--mask", "mask.png", "--alpha-only", "-o", "alpha.png"]) == 0
    assert (np.asarray(opened("alpha.png")) == np.asarray(opened("mask.png"))).all()


def test_notices_go_to_stderr(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [opened("background.png"), Image.new("RGB", (96, 64))]
    frames[0].save("background.gif", save_all=True, append_images=frames[1:])
    assert main(["compose", "portrait.png", "background.gif", "--mask", "mask.png", "-o", "out.png"]) == 0
    assert "note: background.gif has 2 frames; the first is used\n" in capsys.readouterr().err


def test_models_lists_what_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "covariance" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "reinhard" in [row["name"] for row in rows]


# -- folders ------------------------------------------------------------------------------------------------------


def test_folder_of_portraits_goes_onto_one_background(desk: Path) -> None:
    assert main(["compose", "portraits", "background.png", "--mask", "masks", "-o", "new/out"]) == 0
    assert files(desk / "new" / "out") == ["ann.png", "bob.png"]


def test_folders_pair_by_stem_and_a_failing_file_does_not_stop_the_rest(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "masks" / "ann.png").write_text("no picture")
    opened("portrait.png").save("portraits/zoe.png")
    assert main(["harmonize", "portraits", "masks", "-o", "out", "--format", "jpg", "--json"]) == 1
    told = capsys.readouterr()
    assert files(desk / "out") == ["bob.jpg"]
    assert "masks/ann.png is not a picture" in told.err and "masks/zoe.*: No such file" in told.err
    assert told.err.rstrip().endswith("1 done, 0 skipped, 2 failed")
    assert [json.loads(line)["error"] is None for line in told.out.splitlines()] == [False, True, False]


def test_existing_results_are_skipped_when_asked(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "out").mkdir()
    (desk / "out" / "ann.png").write_bytes(b"mine")
    assert main(["matte", "portraits", "--mask", "masks", "-o", "out", "--skip-existing"]) == 0
    assert (desk / "out" / "ann.png").read_bytes() == b"mine" and files(desk / "out") == ["ann.png", "bob.png"]
    assert capsys.readouterr().err.rstrip().endswith("1 done, 1 skipped, 0 failed")


def test_layers_of_a_folder_go_into_a_folder_each(desk: Path) -> None:
    assert main(["compose", "portraits", "backgrounds", "--mask", "masks", "-o", "out", "--layers", "parts"]) == 0
    assert files(desk / "parts") == ["ann", "bob"] and "grid.safetensors" in files(desk / "parts" / "ann")


# -- mistakes: one line, exit code 2, nothing left behind ---------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + start + struct.pack(">I", 100) + b"IDAT"


def spoil(desk: Path) -> None:
    """Put every kind of bad file on the desk."""
    whole = (desk / "portrait.png").read_bytes()
    opened("portrait.png").save("whole.jpg")
    (desk / "text.jpg").write_text("these are words")
    (desk / "truncated.jpg").write_bytes((desk / "whole.jpg").read_bytes()[:-400])
    (desk / "empty.png").write_bytes(b"")
    (desk / "bomb.png").write_bytes(png_header(30000, 30000))
    (desk / "folder.png").mkdir()
    Image.new("RGB", (1, 1)).save("one.png")
    Image.new("L", (20, 20), 255).save("small-mask.png")
    Image.new("L", (48, 64)).save("black-mask.png")
    (desk / "corrupt.safetensors").write_bytes(whole)
    save_file({"x": torch.zeros(1)}, desk / "foreign.safetensors")


MISTAKES = {
    "text named jpg": (["compose", "text.jpg", *COMPOSE[2:]], "text.jpg is not a picture that can be read"),
    "truncated jpeg": (["compose", "truncated.jpg", *COMPOSE[2:]], "truncated.jpg is damaged"),
    "zero bytes": (["compose", "empty.png", *COMPOSE[2:]], "empty.png is empty"),
    "one pixel": (["compose", "portrait.png", "one.png", *COMPOSE[3:]], "the background is 1x1 px; at least 16x16"),
    "one pixel portrait": (["matte", "one.png", "--mask", "one.png"], "the portrait is 1x1 px"),
    "bomb": (
        ["compose", "portrait.png", "bomb.png", *COMPOSE[3:]],
        "bomb.png is 30000x30000 px; pictures of more than 100 million pixels are refused",
    ),
    "missing": (["compose", "nobody.png", *COMPOSE[2:]], "nobody.png: No such file"),
    "folder as background": (
        ["compose", "portrait.png", "folder.png", *COMPOSE[3:]],
        "folder.png is a folder; it goes",
    ),
    "empty folder": (["compose", "folder.png", *COMPOSE[2:]], "folder.png holds no pictures"),
    "mask of another size": ([*COMPOSE[:-1], "small-mask.png"], "the mask is 20x20 px, the portrait 48x64"),
    "black mask": ([*COMPOSE[:-1], "black-mask.png"], "the mask shows nobody"),
    "black mask to harmonize": (["harmonize", "portrait.png", "black-mask.png"], "the mask shows nobody"),
    "unknown harmonizer": ([*COMPOSE, "--harmonizer", "magic"], "covariance"),
    "corrupt weights": ([*COMPOSE, "--harmonizer", "corrupt.safetensors"], "corrupt.safetensors is not a readable"),
    "foreign weights": ([*COMPOSE, "--harmonizer", "foreign.safetensors"], "foreign.safetensors is a safetensors file"),
    "strength": ([*COMPOSE, "--strength", "7"], "strength is 7.0; expected a number from 0 to 1"),
    "light": ([*COMPOSE, "--light", "7"], "light is 7.0; expected a number from 0 to 1"),
    "light of letters": ([*COMPOSE, "--light", "bright"], "'bright' is not a valid float"),
    "lamp of letters": ([*COMPOSE, "--lamp", "left"], "lamp is 'left'; expected AZIMUTH,ELEVATION[,COLOUR][,STRENGTH]"),
    "lamp out of range": ([*COMPOSE, "--lamp", "400,20"], "lamp's azimuth is 400; expected a number from -180 to 180"),
    "lamp of nan": ([*COMPOSE, "--lamp", "nan,20"], "lamp is 'nan,20'; expected AZIMUTH,ELEVATION"),
    "nan": ([*COMPOSE, "--exposure", "nan"], "exposure is nan; expected a number from -4 to 4"),
    "words for a number": ([*COMPOSE, "--strength", "much"], "'much' is not a valid float"),
    "size": ([*COMPOSE, "--size", "big"], "'big' is not a size; expected WIDTHxHEIGHT such as 1920x1080"),
    "fit": ([*COMPOSE, "--fit", "stretch"], "'stretch' is not one of 'cover', 'contain'"),
    "option": ([*COMPOSE, "--strenght", "1"], "No such option"),
    "two dashes": (["compose", "-", "-"], "only one picture can come from stdin"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told_in_one_line(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(desk)
    before = files(desk)
    arguments, message = MISTAKES[name]
    assert main([*arguments, "-o", "out.png" if name != "empty folder" else "out"]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.startswith("hpbnet: ") and told.err.count("\n") == 1 and told.out == ""
    assert files(desk) == before


OUTPUTS = {
    "no such folder": ("nowhere/out.png", "nowhere/out.png: cannot be written: there is no such folder"),
    "below a file": ("mask.png/out.png", "mask.png/out.png: cannot be written"),
    "unknown suffix": ("out.bmp", "out.bmp: cannot write bmp; use png, jpg, webp, tif, avif"),
    "full disk": ("/dev/full", "/dev/full: No space left on device"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_unwritable_output_is_told_in_one_line(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, message = OUTPUTS[name]
    if name == "full disk" and not Path(path).exists():
        pytest.skip("no /dev/full on this system")
    before = files(desk)
    extra = ["--format", "png"] if name == "full disk" else []
    assert main([*COMPOSE, "-o", path, *extra]) == 2
    told = capsys.readouterr().err
    assert told == f"hpbnet: {told.removeprefix('hpbnet: ')}" and message in told and told.count("\n") == 1
    assert files(desk) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_told_in_one_line(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "locked").mkdir(mode=0o500)
    assert main([*COMPOSE, "-o", "locked/out.png"]) == 2
    assert "locked/out.png: Permission denied" in capsys.readouterr().err


def test_other_mistakes_of_folders_are_told(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matte", "portraits", "--mask", "masks", "-o", "mask.png"]) == 2
    assert "-o must name a folder" in capsys.readouterr().err
    opened("portrait.png").save("portraits/ann.tif")
    assert main(["matte", "portraits", "--mask", "masks", "-o", "out"]) == 2
    assert "would become one result" in capsys.readouterr().err
    assert main(["matte", "portrait.png", "--mask", "mask.png", "-o", "-", "--json"]) == 2
    assert "cannot both write to stdout" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["matte", "portraits", "--mask", "masks", "-o", "portraits"], "mixed with the pictures in portraits"),
        (["matte", "portraits", "--format", "webp", "-o", "portraits"], "mixed with the pictures in portraits"),
        (["harmonize", "portraits", "masks", "-o", "masks"], "mixed with the pictures in masks"),
        (["matte", "portrait.png", "--mask", "mask.png", "-o", "."], ".png would be overwritten by its own result"),
    ],
)
def test_a_folder_of_results_never_goes_over_its_sources(
    desk: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in desk.rglob("*.png")}
    assert main(arguments) == 2
    assert reason in capsys.readouterr().err
    assert {path: path.read_bytes() for path in desk.rglob("*.png")} == before


def test_layers_are_not_left_behind_where_the_result_has_no_folder(desk: Path) -> None:
    before = files(desk)
    assert main([*COMPOSE, "-o", "nowhere/out.png", "--layers", "parts"]) == 2
    assert files(desk) == before


def test_stdin_has_no_name_for_a_result_in_a_folder(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matte", "-", "--mask", "mask.png", "-o", "masks"]) == 2
    assert "-o must name a file" in capsys.readouterr().err


def test_companions_are_checked_before_any_work(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["compose", "portraits", "nowhere", "--mask", "masks", "-o", "out"]
    assert main(folders) == 2 and capsys.readouterr().err.count("nowhere: No such file") == 1
    assert not (desk / "out").exists()
    assert main(["compose", "portrait.png", "backgrounds", "--mask", "mask.png", "-o", "out.png"]) == 2
    assert "backgrounds is a folder; it goes with a folder of pictures" in capsys.readouterr().err


def test_failures_and_notices_in_a_folder_name_the_picture(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (8, 8), 255).save(desk / "masks" / "bob.png")
    assert main(["compose", "portraits", "background.png", "--mask", "masks", "--scale", "4", "-o", "out"]) == 1
    told = capsys.readouterr().err
    assert "hpbnet: portraits/bob.png: the mask is 8x8 px" in told
    assert "note: portraits/ann.png: the portrait is enlarged" in told


def test_one_picture_can_go_into_a_folder_and_many_only_there(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "out").mkdir()
    assert main([*COMPOSE, "-o", "out"]) == 0 and main([*COMPOSE, "-o", "out", "--format", "jpg"]) == 0
    assert files(desk / "out") == ["portrait.jpg", "portrait.png"]
    capsys.readouterr()
    assert main(["matte", "portraits", "--mask", "masks", "-o", "new.png"]) == 2
    assert "portraits is a folder, so -o must name a folder, not new.png" in capsys.readouterr().err
    assert not (desk / "new.png").exists()


def test_out_of_disk_leaves_nothing(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_written(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", half_written)
    before = files(desk)
    assert main([*COMPOSE, "-o", "out.png"]) == 2
    assert files(desk) == before


def test_a_limit_of_pixels_can_be_lowered_and_lifted(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMPOSE, "-o", "out.png", "--max-megapixels", "0.002"]) == 2
    assert "0.002 million pixels" in capsys.readouterr().err
    assert main([*COMPOSE, "-o", "out.png", "--max-megapixels", "200"]) == 0


@pytest.mark.parametrize("name", ["portrait.png", "background.png", "mask.png"])
def test_a_result_never_replaces_its_own_source(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (desk / name).read_bytes()
    assert main([*COMPOSE, "-o", name]) == 2
    assert f"{name} would be overwritten by its own result" in capsys.readouterr().err
    assert (desk / name).read_bytes() == before
    assert main(["matte", "portrait.png", "--mask", "mask.png", "-o", "./portrait.png"]) == 2
    assert main(["harmonize", "portrait.png", "mask.png", "-o", "mask.png"]) == 2
