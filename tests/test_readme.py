"""The examples of the README and of the pages in docs/ run, and their links lead to files."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpbnet.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WITH_EXAMPLES = [page for page in PAGES if re.search(r"```(?:python|sh)\n", page.read_text())]
LINKS = [(page, link) for page in PAGES for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text())]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the pictures, clips and folders that the pages name."""
    skimage = pytest.importorskip("skimage.data")
    astronaut, rocket = Image.fromarray(skimage.astronaut()), Image.fromarray(skimage.rocket())
    y, x = np.mgrid[:512, :512]
    person = Image.fromarray((np.hypot(x - 225, y - 120) < 90) | (np.hypot((x - 240) / 200, (y - 420) / 230) < 1))
    for name, picture in {"portrait.jpg": astronaut, "composite.png": astronaut, "beach.jpg": rocket}.items():
        picture.save(tmp_path / name)
    rocket.save(tmp_path / "room.jpg")
    astronaut.save(tmp_path / "group.jpg")
    strokes = np.full((512, 512), 128, np.uint8)
    strokes[80:160, 200:260], strokes[:40, :40] = 255, 0
    Image.fromarray(strokes).save(tmp_path / "strokes.png")
    person.save(tmp_path / "mask.png")
    (tmp_path / "photos").mkdir()
    for name in ("one", "two"):
        astronaut.resize((256, 256)).save(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "backgrounds").mkdir()
    Image.new("RGB", (256, 256), (255, 60, 200)).save(tmp_path / "backgrounds" / "neon.png")
    (tmp_path / "backgrounds" / "index.csv").write_text("file,source,split\nneon.png,drawn,train\n")
    write_dataset(tmp_path, astronaut.resize((256, 256)), person.convert("L").resize((256, 256)))
    for name in ("talk.mp4", "waves.mp4"):
        write_clip(tmp_path / name, np.asarray(astronaut.resize((128, 128))))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_dataset(folder: Path, truth: Image.Image, mask: Image.Image) -> None:
    """Write the folder `set` of four items whose person is too dark, and the folder `results` for it."""
    dark = Image.composite(truth.point(lambda level: level * 0.6), truth, mask)
    parts = {"set/composite_images": dark, "set/masks": mask, "set/real_images": truth, "results": truth}
    for part, picture in parts.items():
        (folder / part).mkdir(parents=True)
        for index in range(4):
            picture.save(folder / part / f"{index:06d}.png")


def write_clip(path: Path, picture: NDArray[np.uint8]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = picture.shape[:2]
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def shortened(command: list[str]) -> list[str]:
    """Make fewer items than a page says, only check the fields of a training, and start no server."""
    if "--count" in command:
        command[command.index("--count") + 1] = "4"
    instead = {"train": ["--dry-run"], "studio": ["--help"]}
    return [*command, *instead.get(command[0], [])]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path, desk: Path) -> None:
    names: dict[str, object] = {}
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", page.read_text(), re.DOTALL):
        if language == "python":
            saved = [Path(name) for name in re.findall(r'\.save\("([^"]+)"', block)]
            for path in saved:
                path.unlink(missing_ok=True)
            exec(block, names)
            assert all(path.exists() for path in saved)
            continue
        for line in block.splitlines():
            command = shlex.split(line, comments=True)
            if command[:1] != ["hpbnet"]:  # make, source
                continue
            assert main(shortened(command[1:])) == 0, line
            if "-o" in command:
                assert Path(command[command.index("-o") + 1]).exists(), line


def test_the_readme_has_commands_and_python() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(re.findall(r"^hpbnet ", readme, re.MULTILINE)) >= 10
    assert len(re.findall(r"```python\n", readme)) >= 6


@pytest.mark.parametrize(("page", "link"), LINKS, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_links_lead_to_files(page: Path, link: str) -> None:
    assert (page.parent / link).exists()
