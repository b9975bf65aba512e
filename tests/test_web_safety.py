"""Limits and attacks: each is answered with the right status and a sentence, and nothing of another session is read."""

import json
import random
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the server needs the extra web")

from hpbnet.web import Access, Limits
from hpbnet.web.guard import is_local
from webs import BACKGROUND, PORTRAIT, Counting, begin, compose_files, detail, png, preview, serving

TOKEN = "correct-horse"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for temporary files that no other server writes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield Path(tempfile.gettempdir())


def uploads() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob("hpbnet-web-*/*/*"))


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    limits = Limits(max_body=0.2, max_video_body=0.3, max_megapixels=0.05, max_video_seconds=0.2)
    with serving(limits=limits) as client:
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    with serving(access=Access(token=TOKEN, origins=("https://example.com",))) as client:
        yield client


# -- sizes --------------------------------------------------------------------------------------------------------


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/compose", content=b"x" * 250_000, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert detail(answer, 413) == "the request's body is too large; at most 0.2 MB are accepted"


def test_a_body_that_does_not_say_its_size_is_counted(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="portrait"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert detail(client.post("/v1/compose", content=endless(), headers=headers), 413).endswith(
        "at most 0.2 MB are accepted"
    )
    address, before = begin(client), uploads()
    assert detail(client.put(f"{address}/portrait", content=endless()), 413).endswith("at most 0.3 MB are accepted")
    assert uploads() == before


def test_a_picture_of_many_bytes_is_refused_where_videos_may_be_larger(client: httpx.Client) -> None:
    answer = client.put(f"{begin(client)}/portrait?name=a.jpg", content=b"\xff\xd8" + b"x" * 250_000)
    assert detail(answer, 413) == "a.jpg is larger than 0.2 MB, which is the most for a picture"


def bomb(width: int, height: int) -> bytes:
    """A PNG that states many pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_picture_of_many_pixels_is_refused_before_it_is_decoded(client: httpx.Client) -> None:
    answer = client.put(f"{begin(client)}/portrait?name=big.png", content=bomb(30000, 30000))
    assert detail(answer, 413) == "big.png is 30000x30000 px; pictures of more than 0.05 million pixels are refused"
    answer = client.post("/v1/compose", files=compose_files(portrait=bomb(30000, 30000)))
    assert "pictures of more than 0.05 million pixels are refused" in detail(answer, 413)


def test_a_large_result_is_refused() -> None:
    with serving(limits=Limits(max_megapixels=0.05)) as client:
        answer = client.post("/v1/compose", files=compose_files(), data={"size": "4000x4000"})
        assert detail(answer, 413) == "size is 4000x4000 px; results of more than 0.05 million pixels are refused"
        answer = preview(client, begin(client), size=[4000, 4000])
        assert "results of more than 0.05 million pixels are refused" in detail(answer, 413)


def test_a_long_video_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="video needs PyAV")
    from clips import film, person

    data = film(tmp_path / "talk.mp4", [person(index) for index in range(25)]).read_bytes()
    files = {"portrait": ("talk.mp4", data), "background": ("b.png", BACKGROUND)}
    assert detail(client.post("/v1/videos", files=files), 413) == "talk.mp4 is 1 s long; at most 0.2 s are accepted"


def test_a_large_object_of_settings_is_refused() -> None:
    with serving() as client:
        body = b'{"settings": {"person": "' + b"x" * 1_000_000 + b'"}}'
        headers = {"Content-Type": "application/json"}
        answer = client.post(f"{begin(client)}/preview", content=body, headers=headers)
        assert detail(answer, 413) == "the JSON object is larger than 1 MB"


# -- time and crowds ----------------------------------------------------------------------------------------------


def test_a_request_that_takes_too_long_is_stopped() -> None:
    slow = Counting(0.4)
    with serving(slow.pipeline(), Limits(seconds=0.15)) as client:
        started = time.perf_counter()
        answer = client.post("/v1/compose", files=compose_files())
        assert detail(answer, 504) == "this took longer than 0.15 s and was stopped; give smaller pictures"
        assert time.perf_counter() - started < 0.38
        time.sleep(0.6)
        assert (slow.mattes, slow.grids) == (1, 0)  # it stopped before the next step


def test_where_too_many_wait_more_are_asked_to_try_again() -> None:
    slow = Counting(0.5)
    with serving(slow.pipeline(), Limits(workers=1, waiting=1)) as client:
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(
                httpx.post(f"{client.base_url}/v1/compose", files=compose_files(), timeout=30, trust_env=False)
            )

        threads = [threading.Thread(target=ask) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == 3 and sorted(answer.status_code for answer in answers)[:2] == [200, 200]
        assert detail(refused[0], 429).startswith("2 requests are being worked on or wait")
        assert refused[0].headers["retry-after"] == "2"
        assert client.post("/v1/compose", files=compose_files()).status_code == 200


def test_the_server_answers_while_it_works() -> None:
    with serving(Counting(0.6).pipeline()) as client:
        work = threading.Thread(target=client.post, args=("/v1/compose",), kwargs={"files": compose_files()})
        work.start()
        time.sleep(0.1)
        started = time.perf_counter()
        assert httpx.get(f"{client.base_url}/health", trust_env=False).status_code == 200
        assert time.perf_counter() - started < 0.4
        work.join()


# -- other websites, other names, other people --------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[::2]", "a b", "localhost@evil"]
)
def test_another_host_name_is_dns_rebinding(client: httpx.Client, host: str) -> None:
    sentence = detail(client.get("/health", headers={"Host": host}), 421)
    assert sentence == f"this server is not {host!r}; open it as http://127.0.0.1"


def test_names_of_this_computer_are_known(client: httpx.Client) -> None:
    for host in ("127.0.0.1", "localhost:1234", "LOCALHOST", "[::1]:8000", "127.8.8.8"):
        assert client.get("/health", headers={"Host": host}).status_code == 200
    assert not is_local("0.0.0.0") and not is_local("192.168.1.5") and not is_local("localhost.evil")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_pages_of_other_websites_change_nothing(client: httpx.Client, headers: dict[str, str]) -> None:
    assert detail(client.post("/studio/sessions", headers=headers), 403).startswith("a page of another website asked")
    assert detail(client.post("/v1/matte", files={"portrait": PORTRAIT}, headers=headers), 403)
    address = begin(client)
    assert detail(client.delete(address, headers=headers), 403) and client.get(address).status_code == 200
    if "Sec-Fetch-Mode" not in headers:
        assert detail(client.get(f"{address}/portrait", headers=headers), 403)


def test_our_own_page_may_do_everything(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    for headers in ({"Origin": own}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert client.post("/studio/sessions", headers=headers).status_code == 201
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code in (
        200,
        404,
    )


def test_forms_of_other_kinds_change_nothing(client: httpx.Client) -> None:
    """A page elsewhere could send these without asking the browser first."""
    address = begin(client)
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post(f"{address}/download", content=b'{"format": "png"}', headers={"Content-Type": kind})
        assert detail(answer, 415) == f"Content-Type is {kind}; expected application/json"


def test_an_allowed_origin_is_let_in_and_told_so(guarded: httpx.Client) -> None:
    headers = {"Origin": "https://example.com", "Authorization": f"Bearer {TOKEN}"}
    answer = guarded.post("/v1/compose", files=compose_files(), headers=headers)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://example.com"
    assert "X-Hpbnet-Notices" in answer.headers["access-control-expose-headers"]
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    assert guarded.options("/v1/compose", headers=asked).status_code == 200
    asked["Origin"] = "https://example.org"
    detail(guarded.options("/v1/compose", headers=asked), 403)


def test_without_an_allowed_origin_no_other_page_reads_an_answer(client: httpx.Client) -> None:
    answer = client.get("/v1/options")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_every_answer_has_the_headers_that_protect_the_page(client: httpx.Client) -> None:
    for answer in (client.get("/"), client.get("/v1/options"), client.get("/nowhere"), client.post("/v1/compose")):
        policy = answer.headers["content-security-policy"]
        assert (
            policy.startswith("default-src 'self'; ") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert f"ws://{client.base_url.host}:{client.base_url.port} " in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")


def test_a_host_cannot_write_into_the_policy() -> None:
    access = Access("0.0.0.0", TOKEN)
    assert access.knows_host("any.example") and not access.local
    with serving(access=Access(token=TOKEN)) as client:
        answer = client.get("/health", headers={"Host": "localhost; script-src *"})
        assert "script-src *" not in answer.headers["content-security-policy"]


# -- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_is_needed_and_each_way_to_give_it_works(guarded: httpx.Client) -> None:
    answer = guarded.post("/studio/sessions")
    assert (
        detail(answer, 401).startswith("this server needs its token") and answer.headers["www-authenticate"] == "Bearer"
    )
    assert guarded.get("/health").status_code == 200
    for wrong in ("Bearer wrong", "Basic correct-horse", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe4"):
        answer = guarded.post("/studio/sessions", headers={"Authorization": wrong.encode("latin-1")})  # type: ignore[dict-item]
        assert answer.status_code == 401
    assert guarded.post("/studio/sessions", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 201
    detail(guarded.get("/", params={"token": "wrong"}), 401)
    entry = guarded.get("/", params={"token": TOKEN})
    cookie = entry.headers["set-cookie"].lower()
    assert entry.status_code == 303 and entry.headers["location"] == "/"
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in entry.headers["location"]
    assert guarded.post("/studio/sessions").status_code == 201  # the client keeps cookies
    guarded.cookies.clear()


def test_a_websocket_needs_the_token_and_our_own_page(guarded: httpx.Client) -> None:
    from websockets.sync.client import connect

    own = {"Authorization": f"Bearer {TOKEN}"}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    for headers in ({}, own | {"Origin": "http://evil.example"}, own | {"Host": "evil.example"}):
        assert guarded.get("/studio/live/x", headers=upgrade | headers).status_code == 403
    address = str(guarded.base_url).replace("http", "ws") + "/studio/live/x"
    with connect(address, additional_headers=own) as socket:
        assert json.loads(socket.recv())["status"] == 404


@pytest.mark.parametrize(
    ("host", "token", "origins", "sentence"),
    [
        ("0.0.0.0", None, (), "0.0.0.0 can be reached from other computers: give --token"),
        ("::", None, (), ":: can be reached from other computers"),
        ("my-computer", None, (), "my-computer can be reached from other computers"),
        ("127.0.0.1", "short", (), "the token must have at least 8 characters"),
        ("127.0.0.1", "t\u00f6ken-with-umlaut", (), "the token must have at least 8 characters"),
        ("127.0.0.1", None, ("example.com",), "origin is 'example.com'; expected one such as https://example.com"),
        ("127.0.0.1", None, ("*",), "origin is '*'"),
    ],
)
def test_an_open_server_needs_a_token(host: str, token: str | None, origins: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace("*", r"\*").replace(".", r"\.")):
        Access(host, token, origins)


# -- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/studio/sessions/../../etc/passwd",
        "/studio/sessions/..%2f..%2fetc",
        "/studio/examples/..%2f..%2fapp.py",
        "/v1/videos/..%2f..%2fx/result",
        "//evil.example/",
    ],
)
def test_no_path_leads_out(client: httpx.Client, path: str) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port)) as raw:  # httpx would tidy the path
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] == b"404" and b"root:" not in answer and b"create_app" not in answer


@pytest.mark.parametrize(
    "name", ["../../../../tmp/evil.png", "/etc/passwd", "..\\..\\evil.png", "a\x00b", "x" * 500, "\u202egnp.exe"]
)
def test_a_files_name_is_shown_and_never_used(client: httpx.Client, name: str) -> None:
    address = begin(client)
    shown = client.put(f"{address}/portrait", params={"name": name}, content=PORTRAIT).json()["name"]
    assert (
        "/" not in shown and "\\" not in shown and "\x00" not in shown and "\u202e" not in shown and len(shown) <= 200
    )
    files = {"portrait": (name.replace("\x00", ""), PORTRAIT), "background": ("b", BACKGROUND)}
    assert client.post("/v1/compose", files=files).status_code == 200
    assert not Path("/tmp/evil.png").exists()


def test_nothing_of_another_session_can_be_read(client: httpx.Client) -> None:
    own, other = begin(client), begin(client, portrait=png(np.full((40, 40, 3), 9, np.uint8)))
    for role in ("portrait", "background", "cutout"):
        for guess in (f"{own}/../{other.split('/')[-1]}/{role}", f"{own[:-1]}/{role}", f"{own}%00/{role}"):
            assert client.get(guess).status_code == 404 or guess.startswith(f"{own}/..")
    assert client.get(f"{own}/portrait").content != client.get(f"{other}/portrait").content


# -- noise --------------------------------------------------------------------------------------------------------


def damaged(generator: random.Random) -> tuple[bytes, str]:
    """A form with a few bytes changed, cut or repeated, and its content type, now and then damaged too."""
    request = httpx.Request("POST", "http://x", files=compose_files(), data={"warmth": "0.2", "size": "40x40"})
    body, kind = bytearray(request.read()), request.headers["content-type"]
    for _ in range(generator.randint(1, 6)):
        place, length = generator.randrange(len(body) or 1), generator.randint(1, 400)
        match generator.randrange(5):
            case 0:
                body[place : place + length] = generator.randbytes(length)
            case 1:
                del body[place : place + length]
                body += b"\r\n"
            case 2:
                body[place:place] = body[place : place + length]
            case 3:
                body[generator.randrange(min(300, len(body)))] = generator.randrange(256)
            case 4:
                del body[generator.randrange(len(body) or 1) :]
                body += b"-"
    if generator.random() < 0.1:
        kind = kind[: generator.randrange(len(kind))].strip()
    return bytes(body), kind


def test_damaged_forms_are_the_clients_mistake(client: httpx.Client) -> None:
    generator = random.Random(5)
    told = set()
    for _ in range(60):
        body, kind = damaged(generator)
        answer = client.post("/v1/compose", content=body, headers={"Content-Type": kind})
        if answer.status_code != 200:  # what was changed may not matter
            assert 400 <= answer.status_code < 500
            told.add(detail(answer, answer.status_code)[:24])
    assert len(told) > 5
    assert client.post("/v1/compose", files=compose_files()).status_code == 200


def test_half_a_request_does_no_harm(client: httpx.Client) -> None:
    for part in (
        b"POST /v1/compose HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc",
        b"GET",
        b"\x16\x03\x01",
    ):
        with socket.create_connection((client.base_url.host, client.base_url.port)) as raw:
            raw.sendall(part)
    assert client.get("/health").status_code == 200
