"""The studio's server: sessions, previews and downloads."""

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="the server needs the extra web")

from hpbnet.image import read_picture
from hpbnet.options import ComposeOptions
from hpbnet.pipeline import Pipeline
from hpbnet.recipe import read_recipe
from hpbnet.web import Limits
from hpbnet.web.preview import Origin, Preview, Subject, fitted
from hpbnet.web.workers import never_stop
from webs import (
    BACKGROUND,
    PORTRAIT,
    Counting,
    background,
    begin,
    compose_files,
    detail,
    notices_of,
    opened,
    png,
    portrait,
    preview,
    serving,
)

NETWORKS = Counting()
SLIDERS = {"exposure": 0.3, "warmth": -0.2, "strength": 0.5, "light_wrap": 0.3}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for temporary files that no other server writes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield Path(tempfile.gettempdir())


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(NETWORKS.pipeline()) as client:
        yield client


def same_pictures(inputs: tuple[bytes, bytes], options: ComposeOptions, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The preview of a size that needs no reduction, and what the pipeline makes."""
    pipeline = Counting().pipeline()
    origins = [Origin(lambda data=data: read_picture(data), read_picture(data).size, 0) for data in inputs]
    shown = Preview().compose(pipeline, (None, None), Subject(origins[0]), origins[1], options, side, never_stop)
    return shown.composition.image, pipeline(*inputs, options).image


# -- sessions -----------------------------------------------------------------------------------------------------


def test_a_session_tells_what_it_holds(client: httpx.Client) -> None:
    address = begin(client)
    held = client.get(address).json()
    assert held["portrait"] == {"name": "portrait.png", "width": 72, "height": 90, "kind": "picture", "notices": []}
    assert held["background"]["width"] == 120 and held["mask"] is held["hint"] is None


def test_names_of_sessions_cannot_be_guessed(client: httpx.Client) -> None:
    names = {client.post("/studio/sessions").json()["id"] for _ in range(20)}
    assert len(names) == 20 and all(len(name) == 22 for name in names)  # 128 bits in base64


def test_an_ended_session_is_gone_with_its_files(client: httpx.Client, folder: Path) -> None:
    address = begin(client)
    files = len([*folder.glob("hpbnet-web-*/*/portrait-*")])
    assert client.delete(address).status_code == 204
    assert len([*folder.glob("hpbnet-web-*/*/portrait-*")]) == files - 1
    for answer in (client.get(address), preview(client, address), client.delete(address)):
        assert detail(answer, 404).startswith("this session is not known here")


def test_sessions_end_when_nobody_uses_them() -> None:
    with serving(limits=Limits(idle=1.0)) as client:
        address = begin(client)
        time.sleep(1.2)
        client.post("/studio/sessions")
        detail(client.get(address), 404)


def test_the_session_idle_longest_ends_where_there_are_too_many() -> None:
    with serving(limits=Limits(sessions=2)) as client:
        first, second = begin(client), begin(client)
        client.get(first)
        third = begin(client)
        assert [client.get(address).status_code for address in (first, second, third)] == [200, 404, 200]


def test_nothing_is_left_of_a_server(folder: Path) -> None:
    before = {*folder.iterdir()}
    with serving() as client:
        begin(client)
        client.post("/v1/compose", files=compose_files())
        new = {*folder.iterdir()} - before
        assert [path.name.startswith("hpbnet-web-") for path in new] == [True]
        assert new.pop().stat().st_mode & 0o777 == 0o700
    assert {*folder.iterdir()} - before == set()


def test_a_broken_file_is_refused_by_name_and_the_old_one_stays(client: httpx.Client) -> None:
    address = begin(client)
    answer = client.put(f"{address}/portrait?name=holiday.jpg", content=b"\xff\xd8rubbish")
    assert detail(answer, 422).startswith("holiday.jpg is")
    assert client.get(address).json()["portrait"]["name"] == "portrait.png"
    assert preview(client, address).status_code == 200


def test_an_empty_file_and_an_unknown_role_are_refused(client: httpx.Client) -> None:
    address = begin(client)
    assert (
        detail(client.put(f"{address}/portrait", content=b""), 400) == "the body is empty; send the bytes of the file"
    )
    detail(client.put(f"{address}/secret", content=PORTRAIT), 422)


def test_a_preview_needs_both_pictures(client: httpx.Client) -> None:
    address = f"/studio/sessions/{client.post('/studio/sessions').json()['id']}"
    assert detail(preview(client, address), 409) == "there is no portrait yet; upload one first"


def test_examples_can_be_taken_and_looked_at(client: httpx.Client) -> None:
    examples = client.get("/studio/examples").json()
    names = {entry["name"] for kind in ("portraits", "backgrounds") for entry in examples[kind]}
    assert len(examples["pairs"]) == 2
    assert all({pair["portrait"], pair["background"]} <= names for pair in examples["pairs"])
    address = begin(client)
    assert client.put(f"{address}/background?example=evening").json()["width"] == 1200
    assert opened(client.get("/studio/examples/figure").content).shape == (320, 320, 3)
    assert detail(client.put(f"{address}/background?example=../x"), 404).startswith("there is no example '../x'")


# -- previews -----------------------------------------------------------------------------------------------------


def test_a_preview_is_small_and_tells_where_the_person_is(client: httpx.Client) -> None:
    answer = preview(client, begin(client), sequence=7, side=60, x=0.25)
    assert opened(answer.content).shape == (40, 60, 3) and answer.headers["content-type"] == "image/jpeg"
    placement = json.loads(answer.headers["x-hpbnet-placement"])
    assert answer.headers["x-hpbnet-sequence"] == "7" and answer.headers["x-hpbnet-size"] == "120x80"
    assert placement["x"] == pytest.approx(0.25, abs=0.01)
    assert placement["box"]["left"] + placement["box"]["width"] / 2 == pytest.approx(0.25, abs=0.01)
    assert placement["box"]["height"] == placement["scale"] == pytest.approx(0.8, abs=0.02)


def test_placement_in_force_sent_back_changes_nothing(client: httpx.Client) -> None:
    address = begin(client)
    automatic = preview(client, address)
    placement = json.loads(automatic.headers["x-hpbnet-placement"])
    again = preview(client, address, 1, scale=placement["scale"], x=placement["x"], y=placement["y"])
    assert again.content == automatic.content


def test_a_person_out_of_sight_has_no_box(client: httpx.Client) -> None:
    answer = preview(client, begin(client), x=3.0)
    assert json.loads(answer.headers["x-hpbnet-placement"])["box"] is None
    assert "the person lies outside the picture" in notices_of(answer)[-1]


@pytest.mark.parametrize(
    "options",
    [
        ComposeOptions(),
        ComposeOptions(**SLIDERS),
        ComposeOptions(size=(100, 100), fit="contain", blur=3.0),
        ComposeOptions(flip=True, scale=1.4, x=0.2, y=1.2),
        ComposeOptions(light=0.2, lamp="60,20,3200K,2"),
    ],
)
def test_a_preview_that_needs_no_reduction_is_the_result(options: ComposeOptions) -> None:
    shown, result = same_pictures((PORTRAIT, BACKGROUND), options, 4000)
    assert torch.equal(shown, result)


def test_a_reduced_preview_looks_like_the_result() -> None:
    inputs = png(portrait(360, 288)), png(background(320, 480))
    shown, result = same_pictures(inputs, ComposeOptions(blur=8.0), 120)
    small = torch.nn.functional.interpolate(result, shown.shape[-2:], mode="area")
    assert (shown - small).abs().mean() < 0.02


def test_notices_of_a_preview_are_those_of_the_result() -> None:
    inputs = png(portrait(60, 48)), png(background(600, 900))
    pipeline = Counting().pipeline()
    origins = [Origin(lambda data=data: read_picture(data), read_picture(data).size, 0) for data in inputs]
    options = ComposeOptions(y=0.5)
    shown = Preview().compose(pipeline, (None, None), Subject(origins[0]), origins[1], options, 90, never_stop)
    assert shown.composition.notices == pipeline(*inputs, options).notices
    assert "enlarged 9.8 times" in "".join(shown.composition.notices)


def test_only_what_changed_is_computed_again(client: httpx.Client) -> None:
    address = begin(client)
    preview(client, address)
    mattes, grids = NETWORKS.mattes, NETWORKS.grids
    preview(client, address, 1, **SLIDERS)
    assert (NETWORKS.mattes, NETWORKS.grids) == (mattes, grids)
    preview(client, address, 2, lamp="10,10")
    assert (NETWORKS.mattes, NETWORKS.grids) == (mattes, grids)
    preview(client, address, 2, x=0.3)
    assert (NETWORKS.mattes, NETWORKS.grids) == (mattes, grids + 1)
    client.put(f"{address}/background", content=png(background(60, 60)))
    assert preview(client, address, 3, x=0.3).headers["x-hpbnet-size"] == "60x60"
    assert (NETWORKS.mattes, NETWORKS.grids) == (mattes, grids + 2)
    client.put(f"{address}/portrait", content=png(portrait(50, 40)))
    preview(client, address, 4)
    assert NETWORKS.mattes == mattes + 1


def test_an_older_preview_that_waits_is_answered_with_409(client: httpx.Client) -> None:
    address = begin(client)
    assert preview(client, address, 5).status_code == 200
    answer = preview(client, address, 4)
    assert detail(answer, 409) == "a newer preview was asked for" and answer.json()["type"] == "stale"


def test_every_setting_reaches_the_preview(client: httpx.Client) -> None:
    address = begin(client)
    plain = preview(client, address).content
    for place, (name, value) in enumerate(
        {"exposure": 1.0, "blur": 4.0, "flip": True, "scale": 0.4, "size": [60, 60], "lamp": "60,20,#ff0000,3"}.items()
    ):
        assert preview(client, address, place + 1, **{name: value}).content != plain, name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": 2}, "strength is 2; expected a number from 0 to 1"),
        ({"strenght": 1}, "unknown setting 'strenght': did you mean 'strength'?"),
        ({"harmonizer": "/etc/passwd"}, "harmonizer is '/etc/passwd'; expected one of learned"),
        ({"matting": "u2net"}, "matting is 'u2net'; expected one of matting"),
        ({"size": [1, 2, 3]}, "size is (1, 2, 3); expected 2 whole numbers"),
        ({"exposure": None}, None),
        ({"follow": 0.5, "start": 1.0}, None),
    ],
)
def test_wrong_settings_are_told(client: httpx.Client, settings: dict[str, object], sentence: str | None) -> None:
    answer = preview(client, begin(client), **settings)
    if sentence is None:
        assert answer.status_code == 200
    else:
        assert detail(answer, 422).startswith(sentence)


def test_sizes_are_fitted_and_never_too_small() -> None:
    assert fitted((1000, 2000), 500) == (250, 500)
    assert fitted((100, 200), 500) == (100, 200)
    assert fitted((100, 5000), 128) == (16, 800)
    assert fitted((10_000, 10_000), 8192) == (4000, 4000)  # of memory for a preview there is an end


def test_reduced_copies_of_the_inputs_are_shown(client: httpx.Client) -> None:
    address = begin(client)
    assert opened(client.get(f"{address}/portrait?side=45").content).shape == (45, 36, 3)
    assert opened(client.get(f"{address}/background?side=4000").content).shape == (80, 120, 3)
    cut_out = opened(client.get(f"{address}/cutout?side=45").content)
    assert cut_out.shape == (45, 36, 4) and cut_out[16, 18, 3] == 255 and cut_out[0, 0, 3] == 0
    on_white = opened(client.get(f"{address}/cutout?side=45&ground=white").content)
    assert tuple(on_white[0, 0]) == (255, 255, 255)
    assert detail(client.get(f"{address}/cutout?ground=pink"), 422).startswith(
        "ground is 'pink'; expected one of white"
    )
    detail(client.get(f"{address}/cutout?side=0"), 422)


# -- masks and hints ----------------------------------------------------------------------------------------------


def strokes(height: int, width: int, keep: bool = True) -> bytes:
    picture = np.zeros((height, width, 4), np.uint8)
    picture[: height // 4, : width // 4] = 255 if keep else (0, 0, 0, 255)
    return png(picture)


def test_a_mask_says_where_the_person_is(client: httpx.Client) -> None:
    mask = np.zeros((90, 72), np.uint8)
    mask[20:70, 10:40] = 255
    address = begin(client, mask=png(mask))
    alpha = opened(client.get(f"{address}/cutout?side=90").content)[..., 3]
    assert np.array_equal(alpha, mask)
    assert client.delete(f"{address}/mask").status_code == 204
    assert not np.array_equal(opened(client.get(f"{address}/cutout?side=90").content)[..., 3], mask)


def test_masks_and_hints_of_another_shape_are_refused(client: httpx.Client) -> None:
    address = begin(client)
    answer = client.put(f"{address}/mask", content=png(np.full((40, 40), 255, np.uint8)))
    assert detail(answer, 422) == "the mask is 40x40 px, the portrait 72x90; they must be the same size"
    answer = client.put(f"{address}/hint", content=strokes(40, 40))
    assert detail(answer, 422) == "the hint is 40x40 px, the portrait 72x90; they must have the same aspect ratio"


def test_a_hint_with_a_network_that_takes_none_is_told(client: httpx.Client) -> None:
    address = begin(client, hint=strokes(45, 36))
    assert detail(preview(client, address), 422).startswith("this matting network takes no hint")
    client.delete(f"{address}/hint")
    assert preview(client, address, 1).status_code == 200


def test_a_hint_without_strokes_is_none(client: httpx.Client) -> None:
    address = begin(client, hint=png(np.zeros((45, 36, 4), np.uint8)))
    assert client.get(address).json()["hint"] is None


def test_a_mask_or_a_new_portrait_replaces_strokes(client: httpx.Client) -> None:
    address = begin(client, hint=strokes(45, 36))
    answer = client.put(f"{address}/portrait", content=PORTRAIT)
    assert answer.json()["notices"] == ["the hint was removed: it belonged to what was there before"]
    client.put(f"{address}/mask", content=png(np.full((90, 72), 255, np.uint8)))
    answer = client.put(f"{address}/hint", content=strokes(45, 36))
    assert detail(answer, 409).startswith("a mask says where the person is")


def test_strokes_mend_the_cut_out_of_our_network(client: httpx.Client) -> None:
    address = begin(client, portrait=png(portrait(256, 200)))
    hint = strokes(128, 100)
    before = opened(client.get(f"{address}/cutout?side=256&matting=matting").content)[..., 3]
    client.put(f"{address}/hint", content=hint)
    after = opened(client.get(f"{address}/cutout?side=256&matting=matting").content)[..., 3]
    assert after[20:50, 10:40].mean() > 250 > before[20:50, 10:40].mean() + 50


# -- downloads ----------------------------------------------------------------------------------------------------


def download(client: httpx.Client, address: str, format: str, **settings: object) -> httpx.Response:
    answer = client.post(f"{address}/download", json={"settings": settings, "format": format, "quality": 90})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tif", "avif"])
def test_a_download_is_what_the_pipeline_makes_bit_for_bit(client: httpx.Client, format: str) -> None:
    expected = Counting().pipeline()(PORTRAIT, BACKGROUND, ComposeOptions(**SLIDERS))
    answer = download(client, begin(client), format, **SLIDERS)
    assert answer.content == expected.encode(format, 90)
    assert answer.headers["content-disposition"] == f'attachment; filename="hpbnet-result.{format}"'
    assert notices_of(answer) == list(expected.notices)


def test_a_tiff_of_16_bits_can_be_had_of_8_bits(client: httpx.Client) -> None:
    picture = read_picture(download(client, begin(client), "tif16").content)
    assert picture.depth == 16
    assert torch.allclose(picture.pixels, Counting().pipeline()(PORTRAIT, BACKGROUND).image, atol=1e-5)


def test_the_cut_out_is_the_pipelines(client: httpx.Client) -> None:
    assert download(client, begin(client), "cutout").content == Counting().pipeline().matte(PORTRAIT).encode()


def test_layers_are_packed_with_the_person_and_the_result(client: httpx.Client) -> None:
    archive = zipfile.ZipFile(io.BytesIO(download(client, begin(client), "layers").content))
    assert archive.testzip() is None
    names = ["alpha.png", "background.png", "foreground.png", "grid.safetensors", "person.png", "result.png"]
    assert sorted(archive.namelist()) == names
    assert archive.read("result.png") == Counting().pipeline()(PORTRAIT, BACKGROUND).encode()


def standing() -> bytes:
    """A cut-out figure whose feet are in sight."""
    picture = np.zeros((90, 72, 4), np.uint8)
    picture[10:70, 26:46] = (*(200, 60, 50), 255)
    return png(picture)


@pytest.mark.parametrize("shadow", [0.0, 0.9])
def test_an_open_raster_file_is_as_its_standard_says(client: httpx.Client, shadow: float) -> None:
    data = download(client, begin(client, portrait=standing()), "ora", shadow=shadow).content
    archive = zipfile.ZipFile(io.BytesIO(data))
    first = archive.infolist()[0]
    assert (first.filename, first.compress_type, archive.read("mimetype")) == ("mimetype", 0, b"image/openraster")
    assert data[30:54] == b"mimetypeimage/openraster"  # where file types are looked up
    root = ElementTree.fromstring(archive.read("stack.xml"))
    assert (root.tag, root.get("w"), root.get("h"), root.get("version")) == ("image", "120", "80", "0.0.6")
    names = [layer.get("name") for layer in root.findall("stack/layer")]
    assert names == ["Person", "Shadow", "Background"] if shadow else names == ["Person", "Background"]
    flat = np.zeros((80, 120, 3))
    for layer in reversed(root.findall("stack/layer")):  # the first is the uppermost
        pixels = np.asarray(Image.open(io.BytesIO(archive.read(str(layer.get("src"))))).convert("RGBA")).astype(float)
        alpha = pixels[..., 3:] / 255
        flat = pixels[..., :3] * alpha + flat * (1 - alpha)
    merged = opened(archive.read("mergedimage.png")).astype(float)
    assert np.abs(flat - merged).max() <= 2.0
    assert max(opened(archive.read("Thumbnails/thumbnail.png")).shape) <= 256


def test_a_shadow_on_the_ground_is_in_the_preview() -> None:
    shown, result = same_pictures((standing(), BACKGROUND), ComposeOptions(shadow=0.9), 4000)
    plain, _ = same_pictures((standing(), BACKGROUND), ComposeOptions(), 4000)
    assert torch.equal(shown, result) and not torch.equal(shown, plain)


def test_settings_are_read_back_by_the_command_line(client: httpx.Client, tmp_path: Path) -> None:
    answer = download(client, begin(client), "settings", warmth=0.2, size=[64, 64], harmonizer="reinhard")
    (tmp_path / "settings.json").write_bytes(answer.content)
    recipe = read_recipe(tmp_path / "settings.json")
    assert (recipe["warmth"], recipe["size"], recipe["harmonizer"]) == (0.2, [64, 64], "reinhard")
    assert "matting" not in recipe


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"format": "bmp"}, "format is 'bmp'; expected one of png, jpg"),
        ({"quality": 0}, "quality is '0'; expected a whole number from 1 to 100"),
        ({"settings": []}, None),
        ({"settings": [1]}, "settings is a list; expected an object"),
    ],
)
def test_wrong_downloads_are_told(client: httpx.Client, body: dict[str, object], sentence: str | None) -> None:
    answer = client.post(f"{begin(client)}/download", json=body)
    assert answer.status_code == 200 if sentence is None else detail(answer, 422).startswith(sentence)


def test_a_portrait_without_a_person_is_told() -> None:
    with serving(Pipeline(Counting().harmonizer, lambda portrait: portrait[:, :1] * 0)) as client:
        assert detail(preview(client, begin(client)), 422).startswith("no person found in the portrait")
