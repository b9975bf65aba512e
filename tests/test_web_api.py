"""The API for programs: pictures, videos, the settings' schema, and the pages that describe it."""

import base64
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="the server needs the extra web")

from hpbnet.options import ComposeOptions, HarmonizeOptions, PersonOptions, VideoOptions
from hpbnet.web import Limits
from hpbnet.web.schema import DOORS, schema_of, settings_from, values_from_text
from webs import BACKGROUND, PORTRAIT, Counting, begin, compose_files, detail, notices_of, opened, png, preview, serving

MASK = np.zeros((90, 72), np.uint8)
MASK[20:70, 10:40] = 255


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving() as client:
        yield client


def form(**files: bytes) -> dict[str, tuple[str, bytes]]:
    return {name: (f"{name}.png", data) for name, data in files.items()}


# -- pictures -----------------------------------------------------------------------------------------------------


def test_compose_answers_with_what_the_pipeline_makes(client: httpx.Client) -> None:
    settings = {"warmth": "0.2", "flip": "true", "size": "100x80", "fit": "contain", "person": "largest"}
    answer = client.post("/v1/compose", files=compose_files(), data=settings)
    options = ComposeOptions(warmth=0.2, flip=True, size=(100, 80), fit="contain", person="largest")
    expected = Counting().pipeline()(PORTRAIT, BACKGROUND, options)
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-hpbnet-size"] == "100x80"
    assert answer.content == expected.encode()
    assert notices_of(answer) == list(expected.notices)


def test_json_goes_in_and_out(client: httpx.Client) -> None:
    body = {"portrait": base64.b64encode(PORTRAIT).decode(), "background": base64.b64encode(BACKGROUND).decode()}
    body |= {"warmth": 0.2, "size": [100, 80], "format": "jpg", "quality": 80}  # type: ignore[dict-item]
    answer = client.post("/v1/compose", json=body, headers={"Accept": "application/json"}).json()
    expected = Counting().pipeline()(PORTRAIT, BACKGROUND, warmth=0.2, size=(100, 80))
    assert base64.b64decode(answer["image"]) == expected.encode("jpg", 80)
    assert (answer["media_type"], answer["width"], answer["height"]) == ("image/jpeg", 100, 80)
    assert answer["notices"] == list(expected.notices)


def test_data_addresses_are_base64_too(client: httpx.Client) -> None:
    body = {"portrait": "data:image/png;base64," + base64.b64encode(PORTRAIT).decode()}
    assert client.post("/v1/matte", json=body).status_code == 200


def test_a_mask_is_used_instead_of_the_network(client: httpx.Client) -> None:
    answer = client.post("/v1/matte", files=form(portrait=PORTRAIT, mask=png(MASK)))
    assert np.array_equal(opened(answer.content)[..., 3], MASK)


def test_harmonize_matches_a_ready_composite(client: httpx.Client) -> None:
    answer = client.post("/v1/harmonize", files=form(composite=PORTRAIT, mask=png(MASK)), data={"strength": "0.5"})
    expected = Counting().pipeline().harmonize(PORTRAIT, png(MASK), strength=0.5)
    assert answer.content == expected.encode()


def test_empty_fields_are_as_if_they_were_not_there(client: httpx.Client) -> None:
    answer = client.post("/v1/compose", files=compose_files(), data={"warmth": "", "harmonizer": "", "format": ""})
    assert answer.content == Counting().pipeline()(PORTRAIT, BACKGROUND).encode()


@pytest.mark.parametrize(
    ("path", "files", "data", "status", "sentence"),
    [
        ("compose", {"portrait": PORTRAIT}, {}, 422, "background is missing; send portrait and background as files"),
        ("compose", {"portrait": b"", "background": b"x"}, {}, 422, "portrait is empty"),
        ("compose", {"portrait": b"x", "background": b"x"}, {}, 422, "portrait.png is not a picture that can be read"),
        ("compose", {"cat": PORTRAIT}, {}, 422, "unknown file 'cat'; expected portrait, background, mask, hint"),
        ("compose", None, {"warmth": "golden"}, 422, "warmth is 'golden'; expected a number from -1 to 1"),
        ("compose", None, {"warmth": "NaN"}, 422, "warmth is nan; expected a number from -1 to 1"),
        ("compose", None, {"warmth": "1" * 400}, 422, "warmth is"),
        ("compose", None, {"size": "large"}, 422, "size is 'large'; expected WIDTHxHEIGHT such as 1920x1080"),
        ("compose", None, {"flip": "perhaps"}, 422, "flip is 'perhaps'; expected true or false"),
        ("compose", None, {"colour": "1"}, 422, "unknown setting 'colour'"),
        ("compose", None, {"format": "exe"}, 422, "format is 'exe'; expected one of png"),
        ("compose", None, {"quality": "101"}, 422, "quality is '101'"),
        ("compose", None, {"harmonizer": "../x.safetensors"}, 422, "harmonizer is '../x.safetensors'"),
        ("compose", None, {"warmth": "0" * 10_001}, 413, "the field warmth is longer than 10000 characters"),
        ("compose", None, {f"f{i}": "0" for i in range(101)}, 413, "the form has more than 100 fields"),
        ("matte", {"portrait": PORTRAIT}, {"format": "jpg"}, 422, "format is 'jpg'; expected one of png"),
        ("matte", {"portrait": PORTRAIT}, {"exposure": "1"}, 422, "unknown setting 'exposure'"),
        ("harmonize", {"composite": PORTRAIT}, {}, 422, "mask is missing; send composite and mask as files"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_sentence(
    client: httpx.Client, path: str, files: dict[str, bytes] | None, data: dict[str, str], status: int, sentence: str
) -> None:
    given = compose_files() if files is None else form(**files)
    assert detail(client.post(f"/v1/{path}", files=given, data=data), status).startswith(sentence)


def test_a_field_given_twice_is_refused(client: httpx.Client) -> None:
    files = [
        ("portrait", ("a.png", PORTRAIT)),
        ("portrait", ("b.png", PORTRAIT)),
        ("background", ("c.png", BACKGROUND)),
    ]
    assert detail(client.post("/v1/compose", files=files), 400) == "the form gives portrait twice"


@pytest.mark.parametrize(
    ("content", "kind", "status", "sentence"),
    [
        (b"", "", 415, "Content-Type is missing; expected multipart/form-data or application/json"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "Content-Type is application/x-www-form-urlencoded"),
        (b"x", "multipart/form-data", 400, "the form's Content-Type names no boundary"),
        (b"x", "multipart/form-data; boundary=b", 400, "the form is damaged"),
        (b'--b\r\nContent-Disposition: form-data; name="portrait"; filename="a"\r\n\r\nabc', "multipart/form-data; boundary=b", 400, "the form is damaged: it ends before its last boundary"),  # noqa: E501
        (b"--b\r\nX: y\r\n\r\nabc\r\n--b--\r\n", "multipart/form-data; boundary=b", 400, "the form is damaged: a part has no name"),  # noqa: E501
        (b"{", "application/json", 400, "the body is no readable JSON"),
        (b"[1]", "application/json", 400, "the body is a JSON list; expected an object"),
        (b"[" * 100_000, "application/json", 400, "the body is no readable JSON"),
        (b'{"portrait": "%%%", "background": ""}', "application/json", 400, "portrait is no base64"),
        (b'{"portrait": 5}', "application/json", 400, "portrait is no base64"),
        (b'{"warmth": NaN}', "application/json", 400, "the body is no readable JSON: NaN is no JSON number"),
    ],
)  # fmt: skip
def test_damaged_bodies_are_told(client: httpx.Client, content: bytes, kind: str, status: int, sentence: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert detail(client.post("/v1/compose", content=content, headers=headers), status).startswith(sentence)


# -- videos -------------------------------------------------------------------------------------------------------


def clip(path: Path, frames: int = 6) -> bytes:
    pytest.importorskip("av", reason="video needs PyAV")
    from clips import film, person

    return film(path, [person(index) for index in range(frames)]).read_bytes()


def until_finished(client: httpx.Client, place: str) -> dict[str, object]:
    for _ in range(600):
        job = client.get(place).json()
        if job["state"] not in ("waiting", "working"):
            return job
        time.sleep(0.05)
    raise AssertionError(job)


def test_a_video_is_made_told_of_and_fetched(client: httpx.Client, tmp_path: Path) -> None:
    files = {"portrait": ("talk.mp4", clip(tmp_path / "talk.mp4")), "background": ("b.png", BACKGROUND)}
    answer = client.post("/v1/videos", files=files, data={"strength": "0.5", "end": "0.2"})
    assert answer.status_code == 202 and answer.json()["state"] in ("waiting", "working")
    place = answer.headers["location"]
    job = until_finished(client, place)
    assert (job["state"], job["seconds"], job["length"], job["left"]) == ("done", 0.2, 0.2, 0.0)
    video = client.get(str(job["result"]))
    assert video.headers["content-type"] == "video/mp4" and video.content[4:8] == b"ftyp"
    assert 'filename="hpbnet-result.mp4"' in video.headers["content-disposition"]
    assert client.delete(place).status_code == 204
    assert detail(client.get(place), 404).startswith("this video is not known here")


def test_a_session_makes_a_video_and_previews_it(client: httpx.Client, tmp_path: Path) -> None:
    address = begin(client, portrait=clip(tmp_path / "talk.mp4"))
    held = client.get(address).json()["portrait"]
    assert (held["kind"], held["width"], held["height"], held["seconds"]) == ("video", 96, 64, 0.24)
    first = preview(client, address, 0, 96, start=0.0)
    assert opened(first.content).shape == (64, 96, 3) and first.headers["x-hpbnet-size"] == "96x64"
    assert preview(client, address, 1, 96, exposure=1.0).content != first.content
    placement = json.loads(preview(client, address, 2, 96, x=0.25, scale=0.5).headers["x-hpbnet-placement"])
    assert (placement["x"], placement["scale"]) == (pytest.approx(0.25, abs=0.04), pytest.approx(0.5, abs=0.08))
    still = client.post(f"{address}/download", json={"format": "png", "settings": {"start": 0.1}})
    assert opened(still.content).shape == (80, 120, 3)
    answer = client.post(f"{address}/video", json={"settings": {"exposure": 0.5, "grain": 1.0}})
    assert until_finished(client, answer.headers["location"])["state"] == "done"
    client.delete(address)
    detail(client.get(answer.headers["location"]), 404)


def test_two_pictures_make_no_video(client: httpx.Client) -> None:
    assert "one of them must be a clip" in detail(client.post("/v1/videos", files=compose_files()), 422)
    assert "one of them must be a clip" in detail(client.post(f"{begin(client)}/video", json={}), 422)
    assert detail(client.post("/v1/videos", files=form(portrait=PORTRAIT)), 422).startswith("background is missing")


def test_a_video_that_fails_says_why(client: httpx.Client, tmp_path: Path) -> None:
    files = {"portrait": ("talk.mp4", clip(tmp_path / "talk.mp4")), "background": ("b.png", BACKGROUND)}
    answer = client.post("/v1/videos", files=files, data={"start": "9"})
    job = until_finished(client, answer.headers["location"])
    assert job["state"] == "failed" and job["error"] == "nothing lies between 9 s and the end of talk.mp4"
    assert detail(client.get(f"{answer.headers['location']}/result"), 409) == job["error"]


def test_a_broken_video_is_refused_at_once(client: httpx.Client, tmp_path: Path) -> None:
    data = clip(tmp_path / "talk.mp4")[:300]
    answer = client.post("/v1/videos", files={"portrait": ("talk.mp4", data), "background": ("b.png", BACKGROUND)})
    sentence = detail(answer, 422)
    assert sentence.startswith("talk.mp4") and "/" not in sentence


def test_playlists_that_name_other_files_are_no_videos(client: httpx.Client, tmp_path: Path) -> None:
    clip(tmp_path / "secret.mp4")
    for text in (
        f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n",
        f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.mp4\n",
    ):
        files = {"portrait": ("talk.mp4", text.encode()), "background": ("b.png", BACKGROUND)}
        assert "is not a picture that can be read" in detail(client.post("/v1/videos", files=files), 422)


def test_videos_wait_in_line_are_limited_and_stop_when_cancelled(tmp_path: Path) -> None:
    slow = Counting(0.05)
    files = {"portrait": ("talk.mp4", clip(tmp_path / "talk.mp4", 40)), "background": ("b.png", BACKGROUND)}
    with serving(slow.pipeline(), Limits(jobs=1)) as client:
        first, second = (client.post("/v1/videos", files=files).headers["location"] for _ in range(2))
        answer = client.post("/v1/videos", files=files)
        assert detail(answer, 429).startswith("2 videos wait already") and answer.headers["retry-after"] == "30"
        assert client.get(second).json()["state"] == "waiting" and client.get(second).json()["ahead"] == 1
        detail(client.get(f"{second}/result"), 409)
        client.delete(first)
        for _ in range(100):
            if client.get(second).json()["state"] == "working":
                break
            time.sleep(0.05)
        client.delete(second)
        asked = -1
        while slow.mattes != asked:  # the frames that were begun are finished, and no more
            asked = slow.mattes
            time.sleep(0.5)
        assert asked < 60


# -- what it tells of itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", DOORS.values())
def test_the_schema_has_every_field_in_order_with_help_default_and_range(settings: type) -> None:
    import dataclasses

    properties = schema_of(settings)["properties"]
    assert isinstance(properties, dict) and [*properties] == [field.name for field in dataclasses.fields(settings)]
    for field in dataclasses.fields(settings):
        described = properties[field.name]
        assert described["description"] == field.metadata["help"] and described["default"] == field.default
        if field.metadata["range"] and field.name != "size":
            assert (described["minimum"], described["maximum"]) == field.metadata["range"]
    json.dumps(properties)


def test_the_schema_names_types_choices_and_null() -> None:
    properties = schema_of(VideoOptions)["properties"]
    assert isinstance(properties, dict)
    assert properties["strength"]["type"] == "number" and properties["scale"]["type"] == ["number", "null"]
    assert properties["flip"]["type"] == "boolean" and properties["crf"]["type"] == ["integer", "null"]
    assert properties["fit"]["enum"] == ["cover", "contain"]
    assert properties["audio"]["enum"] == ["portrait", "background", "none", None]
    assert properties["size"]["items"] == {"type": "integer", "minimum": 16, "maximum": 30000}


def test_defaults_of_the_schema_are_settings_that_are_accepted() -> None:
    for settings in DOORS.values():
        properties = schema_of(settings)["properties"]
        assert isinstance(properties, dict)
        values = {name: described["default"] for name, described in properties.items()}
        assert settings_from(settings, values) == settings()


def test_texts_become_values() -> None:
    texts = {"size": "1920x1080", "flip": "TRUE", "strength": " 0.5 ", "fit": "contain", "person": "2", "x": ""}
    values = values_from_text(ComposeOptions, texts)
    assert values == {"size": (1920, 1080), "flip": True, "strength": 0.5, "fit": "contain", "person": "2"}
    assert settings_from(ComposeOptions, values).person == "2"
    assert settings_from(HarmonizeOptions, {"matting": "matting"}) == HarmonizeOptions()
    assert settings_from(PersonOptions, {"person": 2}).person == "2"


def test_options_and_networks_are_told(client: httpx.Client) -> None:
    options = client.get("/v1/options").json()
    assert [*options] == ["picture", "harmonize", "matte", "video", "live"]
    networks = client.get("/v1/networks").json()
    assert networks["harmonizer"][0]["name"] == networks["default"]["harmonizer"] == "learned"
    assert all(entry["description"] for entry in networks["harmonizer"] + networks["matting"])


def test_health_and_counts_are_told(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "ok"
    client.post("/v1/compose", files=compose_files())
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert re.search(r'^hpbnet_requests_total\{method="POST",route="/v1/compose",status="200"\} [1-9]', text, re.M)
    assert 'route="other",status="404"' in text and "nowhere" not in text
    counts = [int(each) for each in re.findall(r'bucket\{route="/v1/compose",le="[^"]+"\} (\d+)', text)]
    assert counts == sorted(counts)
    assert re.search(r"^hpbnet_memory_bytes \d", text, re.M)
    for line in text.splitlines():
        assert re.fullmatch(
            r'# TYPE \w+ (counter|histogram|gauge)|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [\d.e+]+', line
        ), line


def test_the_description_works_without_a_network(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert addresses == ["data:,", "/docs.css", "/openapi.json"] and "<script" not in page.text
    assert all(client.get(address).status_code == 200 for address in addresses[1:])
    assert "curl -F portrait=@portrait.jpg" in page.text and "light_wrap" in page.text


def test_openapi_describes_settings_files_and_problems(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    body = paths["/v1/compose"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["required"] == ["portrait", "background"]
    assert body["properties"]["warmth"]["minimum"] == -1 and body["properties"]["mask"]["format"] == "binary"
    assert {"200", "413", "422", "429", "504"} <= {*paths["/v1/compose"]["post"]["responses"]}


# -- the camera ---------------------------------------------------------------------------------------------------


def test_frames_are_composed_live_and_errors_are_told(client: httpx.Client) -> None:
    from websockets.sync.client import connect

    address = begin(client)
    frame = png(np.asarray(Image.open(io.BytesIO(PORTRAIT))), "JPEG")
    with connect(str(client.base_url).replace("http", "ws") + address.replace("sessions", "live")) as socket:
        socket.send(frame)
        plain = opened(bytes(socket.recv()))  # type: ignore[arg-type]
        assert plain.shape == (90, 72, 3)
        socket.send(json.dumps({"settings": {"exposure": 1.0, "grain": 0.5, "size": [96, 64]}}))
        socket.send(frame)
        changed = opened(bytes(socket.recv()))  # type: ignore[arg-type]
        assert changed.shape == (64, 96, 3) and changed.mean() > plain.mean()
        socket.send(json.dumps({"exposure": 100}))
        assert json.loads(socket.recv())["detail"] == "exposure is 100; expected a number from -4 to 4"
        socket.send(b"rubbish")
        assert "is not a picture" in json.loads(socket.recv())["detail"]
        socket.send(frame)
        assert opened(bytes(socket.recv())).shape == (64, 96, 3)  # type: ignore[arg-type]


def test_of_frames_that_come_too_fast_the_newest_wins() -> None:
    from websockets.sync.client import connect

    slow = Counting(0.15)
    with serving(slow.pipeline()) as client:
        address = begin(client)
        with connect(str(client.base_url).replace("http", "ws") + address.replace("sessions", "live")) as socket:
            for level in range(12):
                shade = np.full((40, 40, 3), 20 * level, np.uint8)
                socket.send(png(shade))
            time.sleep(1.0)
            assert slow.mattes < 6


def test_a_camera_without_a_session_is_told(client: httpx.Client) -> None:
    from websockets.sync.client import connect

    with connect(str(client.base_url).replace("http", "ws") + "/studio/live/nothing") as socket:
        assert json.loads(socket.recv())["status"] == 404


def test_torch_keeps_its_threads() -> None:
    threads = torch.get_num_threads()
    with serving() as client:
        client.post("/v1/compose", files=compose_files())
    assert torch.get_num_threads() == threads
