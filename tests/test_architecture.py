"""Imports go down the floors, are relative inside the package, and never go sideways."""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "hpbnet"

FLOORS = [
    {"files", "errors", "color"},
    {"image", "checkpoint", "metrics", "affine_grid", "networks", "settings", "fetch"},
    {"layers", "options", "models", "color_temperature", "onnx_matting"},
    {"matte", "harmonize", "disturb", "relight", "finish", "framing", "convert", "composition", "recipe", "triplet"},
    {"synthesis", "video", "export"},
    {"pipeline", "webcam", "training", "evaluation"},
    {"web"},
    {"cli"},
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The top-level module or subpackage that a file belongs to; the package's own `__init__` is the front door."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path) -> list[tuple[int, str]]:
    """Line and room of every relative import in a file, imports inside functions included."""
    here = path.relative_to(PACKAGE).parts[:-1]
    rooms = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            base = here[: len(here) - (node.level - 1)]
            target = (*base, *(node.module.split(".") if node.module else ()))
            names = [target] if target else [(alias.name,) for alias in node.names]
            rooms += [(node.lineno, name[0]) for name in names]
    return rooms


def test_the_readme_lists_every_module_from_the_highest_floor_down() -> None:
    tree = (PACKAGE.parents[1] / "README.md").read_text().split("## Source tree")[1].split("## ")[0]
    listed = [name.removesuffix(".py") for name in re.findall(r"^    (\w+(?:\.py|(?=/)))", tree, re.MULTILINE)]
    assert sorted(listed) == sorted({room_of(path) for path in FILES} - {"__init__", "__main__"})
    floors = [FLOOR_OF[name] for name in listed]
    assert floors == sorted(floors, reverse=True)


def test_every_module_has_a_floor() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms <= FLOOR_OF.keys(), f"give these a floor: {rooms - FLOOR_OF.keys()}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        assert not [name for name in names if name.split(".")[0] == "hpbnet"], f"line {getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_and_never_sideways(path: Path) -> None:
    room = room_of(path)
    if room in {"__init__", "__main__"}:  # the front door names what lies behind it, lazily
        return
    for line, target in imported_rooms(path):
        if target == "__version__" or (target == room and path.parent != PACKAGE):  # a package's own modules
            continue
        assert target in FLOOR_OF, f"{path.name}:{line} imports {target}, which is not in the package"
        assert FLOOR_OF[target] < FLOOR_OF[room], f"{path.name}:{line} imports {target} from floor {FLOOR_OF[target]}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "networks").glob("*.py")), ids=lambda path: path.name)
def test_networks_import_torch_and_each_other_only(path: Path) -> None:
    allowed = {"torch"} | sys.stdlib_module_names
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] in allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"line {node.lineno}"


@pytest.mark.parametrize("name", ["stylegan2", "unet", "hpbnet"])
def test_published_networks_do_not_import_ours(name: str) -> None:
    modules = {
        node.module
        for node in ast.walk(ast.parse((PACKAGE / "networks" / f"{name}.py").read_text()))
        if isinstance(node, ast.ImportFrom) and node.level == 1
    }
    assert not modules & {"harmonizer", "matting"}
