"""The studio's page on a phone, by keyboard alone, with a camera, with videos, and for everyone (axe-core)."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from studio_browser import PORTRAIT, Studio, both, chromium, opened, settled, skimage, until


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio()
    yield studio
    studio.stop()


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Iterator[Page]:
    with opened(browser, studio) as page:
        yield page


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of an astronaut who moves sideways."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("clips") / "talk.mp4"
    picture = np.ascontiguousarray(skimage.astronaut()[::4, ::4])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = picture.shape[:2]
        for shift in range(10):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, shift, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_phone_shows_picture_and_sliders_together_without_scrolling_sideways(
    browser: Browser, studio: Studio
) -> None:
    with opened(browser, studio, 360, 740, is_mobile=True, has_touch=True, device_scale_factor=2) as page:
        page.locator("#examples button").first.tap()
        page.wait_for_selector("body[data-shown]")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.locator("#control-warmth").scroll_into_view_if_needed()
        expect(page.locator("#canvas")).to_be_in_viewport(ratio=0.9)
        sides = page.eval_on_selector_all("button", "all => all.flatMap(one => [one.offsetHeight, one.offsetWidth])")
        assert min(side for side in sides if side) >= 24  # [px] for a finger
        page.locator("#brush").tap()
        expect(page.locator("#brush-bar")).to_be_in_viewport(ratio=1)


def test_a_wide_screen_is_used_for_the_picture(browser: Browser, studio: Studio) -> None:
    with opened(browser, studio, 2560, 1440) as page:
        both(page)
        box = page.locator("#canvas").bounding_box()
        assert box is not None and box["width"] * box["height"] > 0.75 * 2560 * 1440


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    press = page.keyboard.press
    page.wait_for_selector("#examples button")
    for _ in range(30):
        if page.evaluate("document.activeElement.closest('#examples') !== null"):
            break
        press("Tab")
    press("Enter")
    page.wait_for_selector("body[data-shown]")
    expect(page.locator("#canvas")).to_be_focused()
    press("ArrowRight")
    press("+")
    settled(page)
    expect(page.locator("[data-name=x] .value")).not_to_have_value(re.compile("auto"))
    press("c")
    expect(page.locator("#compare")).to_have_attribute("aria-pressed", "true")
    press("c")
    press("b")
    expect(page.locator("#brush-bar")).to_be_visible()
    press("]")
    press("Escape")
    expect(page.locator("#brush-bar")).to_be_hidden()
    press("1")
    expect(page.locator("#zoom-value")).to_have_text("100 %")
    press("0")
    press("Control+z")
    press("Control+z")
    expect(page.locator("[data-name=x] .value")).to_have_value(re.compile("auto"))
    press("Control+s")
    expect(page.locator("[data-format=png]")).to_be_focused()
    with page.expect_download():
        press("Enter")
    press("?")
    expect(page.locator("#keys")).to_be_visible()
    press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_the_camera_gives_a_background_and_a_live_picture(page: Page) -> None:
    page.click("[data-take=background]")
    until(lambda: page.evaluate("document.querySelector('#camera video').videoWidth"))
    page.click("#camera [value=take]")
    expect(page.locator("[data-role=background] img")).to_be_visible()
    page.click("#live")
    expect(page.locator("#live-rate")).to_have_text(re.compile(r"Live, \d+ pictures a second"))
    page.locator("#control-exposure").fill("700")
    with page.expect_download() as waiting:
        page.click("#live-save")
    assert waiting.value.path().read_bytes()[1:4] == b"PNG"
    page.click("#live-stop")
    expect(page.locator("#live-bar")).to_be_hidden()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_video_is_made_with_progress_shown_and_saved(page: Page, clip: Path) -> None:
    page.set_input_files("#file-background", clip)
    page.set_input_files("#file-portrait", {"name": "portrait.png", "mimeType": "image/png", "buffer": PORTRAIT})
    page.wait_for_selector("body[data-shown]")
    page.click("#make-video")
    expect(page.locator("#clip progress")).to_be_visible()
    page.wait_for_selector("#clip[data-state=done]")
    until(lambda: page.evaluate("Math.abs(document.querySelector('#clip-result').duration - 1) < 0.2"))
    with page.expect_download() as waiting:
        page.click("#clip a")
    assert waiting.value.path().stat().st_size > 1000
    page.click("#clip-close")
    expect(page.locator("#clip-result")).to_be_hidden()


def test_a_video_in_work_can_be_cancelled(page: Page, clip: Path) -> None:
    page.set_input_files("#file-background", clip)
    page.set_input_files("#file-portrait", clip)
    page.wait_for_selector("body[data-shown]")
    with page.expect_response(lambda response: "/v1/videos/" in response.url) as asked:
        page.click("#make-video")
    page.click("#clip-close")
    expect(page.locator("#clip")).to_be_hidden()
    gone = "async address => (await fetch(address)).status"
    until(lambda: page.evaluate(gone, asked.value.url) == 404)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, studio: Studio, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()

    def findings(page: Page) -> list[str]:
        page.wait_for_timeout(200)  # colours move to their ends
        found = axe.run(page).response["violations"]
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    with opened(browser, studio, color_scheme=scheme, reduced_motion="reduce") as page:
        assert findings(page) == []
        both(page)
        page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
        assert findings(page) == []
        page.click("#brush")
        settled(page)
        assert findings(page) == []
        page.click("#brush-done")
        page.click("#download")
        assert findings(page) == []
        page.keyboard.press("Escape")
        page.click("#help")
        assert findings(page) == []


def test_the_theme_is_the_systems_until_it_is_switched(browser: Browser, studio: Studio) -> None:
    with opened(browser, studio, color_scheme="dark") as page:
        root = page.locator("html")
        expect(root).to_have_attribute("data-theme", "dark")
        page.click("#theme")
        expect(root).to_have_attribute("data-theme", "light")
        page.reload()
        expect(root).to_have_attribute("data-theme", "light")
