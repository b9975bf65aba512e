"""What the README says runs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpbnet.cli import main
from hpbnet.models import embedded

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the pictures that the README names."""
    if "matting" not in embedded():
        pytest.skip("the matting weights are not in the package yet")
    skimage = pytest.importorskip("skimage.data")
    astronaut = Image.fromarray(skimage.astronaut())
    astronaut.save(tmp_path / "portrait.jpg")
    astronaut.save(tmp_path / "composite.png")
    y, x = np.mgrid[:512, :512]
    Image.fromarray(np.hypot(x - 225, y - 120) < 90).save(tmp_path / "mask.png")
    for name in ("beach.jpg", "room.jpg"):
        Image.fromarray(skimage.rocket()).save(tmp_path / name)
    for folder, picture in (("photos", astronaut), ("mattes", Image.open(tmp_path / "mask.png"))):
        (tmp_path / folder).mkdir()
        for stem in ("one", "two"):
            picture.save(tmp_path / folder / f"{stem}.png")
    film(tmp_path / "talk.mp4", astronaut)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def film(path: Path, picture: Image.Image) -> None:
    """Write a clip of three equal frames."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
        for _ in range(3):
            clip.mux(stream.encode(av.VideoFrame.from_image(picture)))
        clip.mux(stream.encode())


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


def test_tree_of_the_readme_names_what_exists() -> None:
    tree = README.split("## The house")[1]
    for name in re.findall(r"^    (\w[\w./]*)", tree, re.MULTILINE):
        assert (ROOT / "src" / "hpbnet" / name).exists() or (ROOT / name).exists(), name
