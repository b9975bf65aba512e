"""A browser, a server that can be stopped and started again, and what a user does with the page, for its tests."""

import base64
import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra web")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
skimage = pytest.importorskip("skimage.data", reason="needs the extra demo")

import uvicorn  # noqa: E402

from hpbnet.pipeline import Pipeline  # noqa: E402
from hpbnet.web import create_app  # noqa: E402
from hpbnet.web.run import listen  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, JSHandle, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 60_000  # [ms] that a busy machine gets for one step
_ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
_DROP = """files => {
    const transfer = new DataTransfer();
    for (const [name, data] of files) {
        transfer.items.add(new File([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], name));
    }
    return transfer;
}"""


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


PORTRAIT = png(skimage.astronaut()[::2, ::2])
BACKGROUND = png(skimage.rocket()[::2, ::2])


class Studio:
    """A server in a thread; started again, it listens at the same port and knows nothing of before."""

    def __init__(self) -> None:
        self.pipeline = Pipeline.from_pretrained()
        self.port = 0
        self.start()

    def start(self) -> None:
        listener = listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(create_app(self.pipeline), log_level="critical", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Start Chromium, with a camera that draws a test picture."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: "Browser", studio: Studio, width: int = 1280, height: int = 800, **context: object
) -> "Iterator[Page]":
    """Open the page in a window of its own; no script may fail while it is open."""
    window = browser.new_context(viewport={"width": width, "height": height}, **context)
    window.set_default_timeout(SECONDS)
    errors: list[str] = []
    page = window.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(studio.address)
    page.wait_for_selector("body[data-begun]")
    yield page
    window.close()
    assert not errors, errors


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition. Playwright's own waiting for one is forbidden by the page's policy."""
    end = time.monotonic() + SECONDS / 1000
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def drop(page: "Page", target: str, files: dict[str, bytes]) -> None:
    """Drop files on an element."""
    transfer = transfer_of(page, files)
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(target, event, {"dataTransfer": transfer})


def paste(page: "Page", files: dict[str, bytes]) -> None:
    """Paste files."""
    event = "new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true })"
    page.evaluate(f"clipboardData => document.body.dispatchEvent({event})", transfer_of(page, files))


def transfer_of(page: "Page", files: dict[str, bytes]) -> "JSHandle":
    return page.evaluate_handle(_DROP, [[name, base64.b64encode(data).decode()] for name, data in files.items()])


def both(page: "Page") -> None:
    """Drop a portrait and a background, and wait for the result."""
    drop(page, "body", {"portrait.png": PORTRAIT, "background.png": BACKGROUND})
    page.wait_for_selector("body[data-shown]")
    settled(page)


def settled(page: "Page") -> None:
    """Wait until the picture shows all that was done."""
    page.wait_for_selector('#stage[aria-busy="false"]')


def download(page: "Page", format: str) -> bytes:
    page.click("#download")
    with page.expect_download() as waiting:
        page.click(f'[data-format="{format}"]')
    return waiting.value.path().read_bytes()


def drag(page: "Page", start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the canvas, from and to shares of it."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    (x, y), (to_x, to_y) = ((box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in (start, end))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=6)
    page.mouse.up()
