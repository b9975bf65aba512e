"""Modules import from lower levels only, and by relative imports inside the package."""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "hpbnet"

LEVELS = [
    {"files", "errors", "color"},
    {"image", "checkpoint", "metrics", "affine_grid", "networks", "baselines", "settings", "fetch"},
    {"layers", "options", "models", "color_temperature", "onnx_matting", "relight"},
    {"matte", "harmonize", "light", "disturb", "finish", "framing", "convert", "recipe", "triplet", "shadow"},
    {"synthesis", "video", "composition"},
    {"pipeline", "webcam", "training", "evaluation", "export"},
    {"web"},
    {"cli"},
]
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the top-level module or subpackage that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """Return line and top-level module of every relative import in a file, also inside functions."""
    here = path.relative_to(PACKAGE).parts[:-1]
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            base = here[: len(here) - (node.level - 1)]
            target = (*base, *(node.module.split(".") if node.module else ()))
            names = [target] if target else [(alias.name,) for alias in node.names]
            modules += [(node.lineno, name[0]) for name in names]
    return modules


def test_the_readme_lists_every_module_from_the_highest_level_down() -> None:
    tree = (PACKAGE.parents[1] / "README.md").read_text().split("## Source tree")[1].split("## ")[0]
    listed = [name.removesuffix(".py") for name in re.findall(r"^    (\w+(?:\.py|(?=/)))", tree, re.MULTILINE)]
    assert sorted(listed) == sorted({module_of(path) for path in FILES} - {"__init__", "__main__"})
    levels = [LEVEL_OF[name] for name in listed]
    assert levels == sorted(levels, reverse=True)


def test_every_module_has_a_level() -> None:
    modules = {module_of(path) for path in FILES} - {"__init__", "__main__"}
    assert modules <= LEVEL_OF.keys(), f"give these a level: {modules - LEVEL_OF.keys()}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        assert not [name for name in names if name.split(".")[0] == "hpbnet"], f"line {getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_lower_levels(path: Path) -> None:
    module = module_of(path)
    if module in {"__init__", "__main__"}:  # they import public names when these are used
        return
    for line, target in imported_modules(path):
        if target == "__version__" or (target == module and path.parent != PACKAGE):  # a package's own modules
            continue
        assert target in LEVEL_OF, f"{path.name}:{line} imports {target}, which is not in the package"
        assert LEVEL_OF[target] < LEVEL_OF[module], f"{path.name}:{line} imports {target} from level {LEVEL_OF[target]}"


@pytest.mark.parametrize(
    "path",
    [*sorted((PACKAGE / "networks").glob("*.py")), *sorted((PACKAGE / "baselines").glob("*.py"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_networks_import_torch_and_each_other_only(path: Path) -> None:
    allowed = {"torch"} | sys.stdlib_module_names
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] in allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"line {node.lineno}"
