"""The studio's page in a real browser: what a user does in the first minute, and what may go wrong meanwhile."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from hpbnet.options import ComposeOptions
from studio_browser import BACKGROUND, PORTRAIT, Studio, both, chromium, download, drag, drop, opened, paste, settled


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


def settings_of(page: Page) -> dict[str, object]:
    return json.loads(download(page, "settings"))


def sent_hints(page: Page) -> list[bytes]:
    """Collect what the brush sends."""
    hints: list[bytes] = []

    def keep(request: Request) -> None:
        if "/hint" in request.url and request.method == "PUT":
            hints.append(request.post_data_buffer or b"")

    page.on("request", keep)
    return hints


def test_the_first_minute_gives_the_picture_that_python_gives(page: Page, studio: Studio) -> None:
    hints = sent_hints(page)
    both(page)
    for name, value in {"strength": 700, "exposure": 560, "warmth": 620}.items():
        page.locator(f"#control-{name}").fill(str(value))
    drag(page, (0.35, 0.6), (0.55, 0.65))
    page.keyboard.press("b")
    page.wait_for_selector("#brush-bar:visible")
    page.wait_for_load_state("networkidle")
    drag(page, (0.5, 0.5), (0.5, 0.7))
    settled(page)
    page.click("#brush-remove")
    drag(page, (0.3, 0.2), (0.32, 0.6))
    settled(page)
    page.keyboard.press("Control+z")
    settled(page)
    page.click("#brush-done")
    settings = settings_of(page)
    assert (settings["strength"], settings["exposure"], settings["warmth"]) == (0.7, 0.48, 0.24)
    assert settings["x"] != ComposeOptions().x
    assert len(hints) == 3 and hints[2] == hints[0] != hints[1]
    options = {name: value for name, value in settings.items() if name not in ("harmonizer", "matting")}
    expected = studio.pipeline(PORTRAIT, BACKGROUND, ComposeOptions(**options), hint=hints[2])
    assert download(page, "png") == expected.encode("png")


def test_a_moving_slider_asks_for_one_picture_at_a_time_and_ends_with_its_last_value(page: Page) -> None:
    both(page)
    under_way, most, values = 0, 0, []

    def begun(request: Request) -> None:
        nonlocal under_way, most
        if request.url.endswith("/preview"):
            under_way += 1
            most = max(most, under_way)
            values.append(request.post_data_json["settings"].get("exposure"))

    def ended(request: Request) -> None:
        nonlocal under_way
        under_way -= request.url.endswith("/preview")

    page.on("request", begun)
    page.on("requestfinished", ended)
    slider = page.locator("#control-exposure")
    for value in range(500, 900, 10):
        slider.evaluate("(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value)
    settled(page)
    assert most == 1 and len(values) < 40 and values[-1] == 3.12
    slider.dispatch_event("change")
    page.click("#undo")  # the whole movement is one step
    assert "exposure" not in {name for name, value in settings_of(page).items() if value != 0}


def test_every_change_can_be_undone_and_done_again(page: Page) -> None:
    both(page)
    drag(page, (0.35, 0.6), (0.6, 0.6))
    page.click("#flip")
    page.locator("#control-warmth").fill("750")
    after = settings_of(page)
    assert after["flip"] is True and after["warmth"] == 0.5 and "x" in after
    for _ in range(4):
        page.keyboard.press("Control+z")
    expect(page.locator("body")).to_have_attribute("data-state", "empty")
    for _ in range(4):
        page.keyboard.press("Control+Shift+z")
    settled(page)
    assert settings_of(page) == after
    page.click("#reset")
    assert "x" not in settings_of(page)


def test_a_file_of_settings_can_be_dropped_in_again(page: Page) -> None:
    both(page)
    page.locator("#control-exposure").fill("600")
    recipe = download(page, "settings")
    page.click("#reset")
    drop(page, "#stage", {"settings.json": recipe})
    assert settings_of(page) == json.loads(recipe)
    assert page.locator(".is-changed").count() == 1
    drop(page, "#stage", {"settings.json": b"[1]"})
    expect(page.get_by_role("alert")).to_contain_text("settings.json holds no settings")


def test_a_broken_file_is_refused_in_a_sentence_and_the_old_picture_stays(page: Page) -> None:
    both(page)
    page.set_input_files(
        "#file-portrait", {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xe0no"}
    )
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The portrait cannot be used")
    expect(alert).to_contain_text("broken.jpg")
    expect(page.locator("#redo")).to_be_disabled()
    assert download(page, "cutout")[1:4] == b"PNG"
    page.set_input_files("#file-portrait", {"name": "good.png", "mimeType": "image/png", "buffer": PORTRAIT})
    expect(alert).to_have_count(0)
    settled(page)


def test_a_background_without_a_person_as_portrait_says_what_to_do(page: Page) -> None:
    drop(page, "body", {"first.png": BACKGROUND, "second.png": PORTRAIT})
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    page.get_by_role("button", name="Swap the two pictures").click()
    page.wait_for_selector("body[data-shown]")
    expect(alert).to_have_count(0)


def test_two_tabs_know_nothing_of_each_other(page: Page, browser: Browser, studio: Studio) -> None:
    with opened(browser, studio) as other:
        both(page)
        both(other)
        page.locator("#control-exposure").fill("600")
        other.locator("#control-exposure").fill("400")
        assert settings_of(page)["exposure"] == 0.8
        assert settings_of(other)["exposure"] == -0.8
        other.set_input_files("#file-portrait", {"name": "b.png", "mimeType": "image/png", "buffer": BACKGROUND})
        settled(page)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_server_that_was_killed_and_started_again_is_given_everything_again(page: Page, studio: Studio) -> None:
    both(page)
    page.locator("#control-exposure").fill("600")
    settled(page)
    before = download(page, "png")
    studio.stop()
    page.locator("#control-warmth").fill("600")
    expect(page.get_by_role("alert")).to_contain_text("The studio does not answer")
    studio.start()
    expect(page.get_by_role("alert")).to_have_count(0, timeout=30_000)
    settled(page)
    assert settings_of(page)["warmth"] == 0.2
    page.keyboard.press("Control+z")
    settled(page)
    assert download(page, "png") == before


def test_an_own_mask_is_used_instead_of_the_network(page: Page, studio: Studio) -> None:
    from studio_browser import png, skimage

    both(page)
    page.click("#brush")
    mask = png((skimage.astronaut()[::2, ::2, 0] > 120).astype("uint8") * 255)
    page.set_input_files("#file-mask", {"name": "mask.png", "mimeType": "image/png", "buffer": mask})
    settled(page)
    expect(page.locator("#brush-clear")).to_have_text("Remove the mask")
    assert download(page, "cutout") == studio.pipeline.matte(PORTRAIT, mask).encode()


def test_every_format_of_the_menu_is_saved_under_its_name(page: Page) -> None:
    both(page)
    for format, suffix in {
        "jpg": "jpg",
        "webp": "webp",
        "avif": "avif",
        "tif16": "tif",
        "layers": "zip",
        "ora": "ora",
    }.items():
        page.click("#download")
        with page.expect_download() as waiting:
            page.click(f'[data-format="{format}"]')
        assert re.fullmatch(rf"hpbnet-\w+\.{suffix}", waiting.value.suggested_filename)
        assert waiting.value.path().stat().st_size > 1000


def test_mouse_and_wheel_scale_the_person_zoom_and_compare(page: Page) -> None:
    both(page)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.evaluate("document.querySelector('[data-name=scale] .value').value")
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.7)
    page.mouse.wheel(0, -200)
    settled(page)
    scale = settings_of(page)["scale"]
    assert isinstance(scale, float) and f"auto {scale:.2f}" > before
    page.mouse.move(*centre)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    expect(page.locator("#zoom-value")).to_have_attribute("aria-label", re.compile("press to fit"))
    page.click("#zoom-value")
    expect(page.locator("#zoom-value")).to_have_attribute("aria-label", re.compile("fitted"))
    page.click("#compare")
    drag(page, (0.5, 0.5), (0.8, 0.5))
    share = page.evaluate("document.querySelector('#compare-range').value")
    assert float(share) > 75
    assert settings_of(page)["scale"] == scale  # the line was dragged, not the person


def test_pictures_can_be_pasted(page: Page) -> None:
    both(page)
    with page.expect_request(lambda request: "/background?name=pasted.png" in request.url):
        paste(page, {"pasted.png": PORTRAIT})


def test_the_lamp_is_dragged_on_its_sphere_and_moved_by_keys(page: Page) -> None:
    both(page)
    box = page.locator(".sphere").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 4, y, steps=4)
    page.mouse.up()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert settings_of(page)["lamp"] == "25,5,#ffffff,1"
    page.get_by_role("button", name="Reset Lamp").click()
    assert "lamp" not in settings_of(page)


def test_a_file_that_is_gone_when_it_is_needed_again_is_asked_for(page: Page, studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "gone.png"
    path.write_bytes(PORTRAIT)
    both(page)
    page.set_input_files("#file-portrait", path)
    settled(page)
    path.unlink()
    studio.stop()
    studio.start()
    page.locator("#control-exposure").fill("600")
    expect(page.get_by_role("alert")).to_contain_text("gone.png was moved or changed")
    expect(page.locator("body")).to_have_attribute("data-state", "empty")
