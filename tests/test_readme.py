"""What the README says runs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpbnet.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the pictures and the clip that the README names."""
    skimage = pytest.importorskip("skimage.data")
    astronaut, rocket = Image.fromarray(skimage.astronaut()), Image.fromarray(skimage.rocket())
    y, x = np.mgrid[:512, :512]
    person = Image.fromarray((np.hypot(x - 225, y - 120) < 90) | (np.hypot((x - 240) / 200, (y - 420) / 230) < 1))
    for name, picture in {"portrait.jpg": astronaut, "composite.png": astronaut, "beach.jpg": rocket}.items():
        picture.save(tmp_path / name)
    rocket.save(tmp_path / "room.jpg")
    person.save(tmp_path / "mask.png")
    for folder in ("photos", "mattes"):
        (tmp_path / folder).mkdir()
    for name in ("one", "two"):
        astronaut.resize((128, 128)).save(tmp_path / "photos" / f"{name}.jpg")
        person.resize((128, 128)).save(tmp_path / "mattes" / f"{name}.png")
    write_clip(tmp_path / "talk.mp4", np.asarray(astronaut.resize((128, 128))))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_clip(path: Path, picture: NDArray[np.uint8]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = picture.shape[:2]
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_python_of_the_readme_runs(desk: Path) -> None:
    assert PYTHON
    names: dict[str, object] = {}
    for block in PYTHON:
        exec(block, names)
    assert (desk / "out.png").exists()


def test_commands_of_the_readme_run(desk: Path) -> None:
    commands = [shlex.split(line) for line in COMMANDS if line.startswith("hpbnet ")]
    assert len(commands) >= 3
    for command in commands:
        assert main(command[1:]) == 0, command
        assert Path(command[command.index("-o") + 1]).exists()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_of_the_readme_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
