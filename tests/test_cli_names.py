"""Names of pictures in folder jobs: what pairs, what is taken, what is left out, how long a name may be."""

import io
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpbnet.cli import main


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with empty folders of portraits and masks."""
    monkeypatch.chdir(tmp_path)
    for folder in ("portraits", "masks"):
        (tmp_path / folder).mkdir()
    return tmp_path


def put(folder: Path, name: str, format: str = "PNG") -> None:
    """Write a portrait or a mask, by the folder's name."""
    picture = np.random.default_rng(0).integers(60, 200, (40, 32, 3), dtype=np.uint8)
    if folder.name == "masks":
        picture[:] = 0
        picture[8:, 8:24] = 255
    Image.fromarray(picture).save(folder / name, format)


JOB = ["matte", "portraits", "--mask", "masks", "-o", "out"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_accents_pair(desk: Path, forms: tuple[str, str]) -> None:
    portrait, mask = (unicodedata.normalize(form, "Zoë é.png") for form in forms)
    assert portrait != mask
    put(desk / "portraits", portrait)
    put(desk / "masks", mask)
    assert main(JOB) == 0 and os.listdir(desk / "out") == [portrait]


def test_two_forms_of_one_name_in_a_folder_are_refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("NFC", "NFD"):
        put(desk / "portraits", unicodedata.normalize(form, "é.png"))
    assert main(JOB) == 2 and "have one stem and would become one result" in capsys.readouterr().err


def test_every_spelling_of_jpeg_is_taken(desk: Path) -> None:
    for suffix in ("jfif", "jpe", "JPG", "jpeg"):
        put(desk / "portraits", f"{suffix.lower()}.{suffix}", "JPEG")
        put(desk / "masks", f"{suffix.lower()}.png")
    assert main(JOB) == 0
    assert sorted(os.listdir(desk / "out")) == ["jfif.png", "jpe.png", "jpeg.png", "jpg.png"]


def test_what_a_folder_job_leaves_out_is_counted(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(desk / "portraits", "ann.png")
    put(desk / "masks", "ann.png")
    put(desk / "masks", "old.png")
    for name in ("a.txt", "b.mp4", "c.dng", "d.psd", ".hidden"):
        (desk / "portraits" / name).touch()
    assert main(JOB) == 0
    told = capsys.readouterr().err
    assert "note: portraits: 4 left out, no pictures by their names (a.txt, b.mp4, c.dng, ...)" in told
    assert "note: masks: 1 left out, without a picture (old.png)" in told
    assert told.rstrip().endswith("1 done, 0 skipped, 0 failed")


@pytest.mark.parametrize("length", [250, 255])
def test_a_result_may_have_a_name_as_long_as_the_system_takes(desk: Path, length: int) -> None:
    name = "x" * (length - 4) + ".png"
    put(desk / "portraits", name)
    put(desk / "masks", name)
    assert main(JOB) == 0 and os.listdir(desk / "out") == [name]
    assert main(["matte", f"portraits/{name}", "--mask", f"masks/{name}", "-o", name.replace("x", "y")]) == 0


def test_a_result_that_is_a_link_is_written_through(desk: Path) -> None:
    put(desk / "portraits", "ann.png")
    put(desk / "masks", "ann.png")
    (desk / "link.png").symlink_to("real.png")
    assert main(["matte", "portraits/ann.png", "--mask", "masks/ann.png", "-o", "link.png"]) == 0
    assert (desk / "link.png").is_symlink() and (desk / "real.png").read_bytes().startswith(b"\x89PNG")


def damaged_files() -> dict[str, bytes]:
    """One file of each format, cut or spoiled in the middle."""
    files = {}
    picture = np.random.default_rng(0).integers(60, 200, (40, 32, 3), dtype=np.uint8)
    for suffix, format in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("avif", "AVIF"), ("tif", "TIFF")):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format)
        files[f"{suffix}-cut.{suffix}"] = file.getvalue()[: len(file.getvalue()) // 2]
        spoiled = bytearray(file.getvalue())
        spoiled[20:40] = bytes(range(100, 120))
        files[f"{suffix}-spoiled.{suffix}"] = bytes(spoiled)
    return files


def test_no_damaged_file_stops_a_folder(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ann.png", "zoe.png"):
        put(desk / "portraits", name)
        put(desk / "masks", name)
    damaged = damaged_files()
    for name, data in damaged.items():
        (desk / "portraits" / name).write_bytes(data)
        put(desk / "masks", Path(name).stem + ".png")
    assert main(JOB) == 1
    told = capsys.readouterr().err.splitlines()
    assert {"ann.png", "zoe.png"} <= set(os.listdir(desk / "out"))
    failed = [line for line in told if line.startswith("hpbnet: ")]
    assert len(failed) >= len(damaged) - 2 and all(
        "is damaged" in line or "is not a picture" in line for line in failed
    )
