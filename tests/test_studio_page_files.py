"""The studio's page as files: nothing from outside, nothing inline, small modules, every icon there."""

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[1] / "src" / "hpbnet" / "web" / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg"))
PAGE = (STATIC / "index.html").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_names_nothing_outside(path: Path) -> None:
    addresses = re.findall(r"https?://[^\s\"')]+", path.read_text())
    assert [address for address in addresses if not address.startswith("http://www.w3.org/")] == []


def test_the_page_has_no_inline_scripts_styles_or_handlers() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", PAGE)


@pytest.mark.parametrize("path", sorted(STATIC.rglob("*.js")), ids=lambda path: path.name)
def test_a_module_is_small_and_imports_what_is_there(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < 300
    for name in re.findall(r'from "\./([\w-]+\.js)"', text):
        assert (path.parent / name).is_file()


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    known = set(re.findall(r'symbol id="i-(\w+)"', (STATIC / "icons.svg").read_text()))
    used = set(re.findall(r"icons\.svg#i-(\w+)", PAGE))
    for path in STATIC.rglob("*.js"):
        used |= set(re.findall(r'\bicon\("(\w+)"\)', path.read_text()))
    assert used <= known


def test_every_element_that_a_module_looks_for_is_on_the_page() -> None:
    ids = set(re.findall(r'\bid="([\w-]+)"', PAGE))
    wanted = set()
    for path in STATIC.rglob("*.js"):
        wanted |= set(re.findall(r'(?:find|on|setIcons)\("#([\w-]+)', path.read_text()))
    assert wanted <= ids
