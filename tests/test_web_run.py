"""`hpbnet studio` and `hpbnet serve`: how they begin, what they say, and what is left when they are killed."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the server needs the extra web")

from hpbnet.cli import main
from hpbnet.web.folder import ServerFolder
from hpbnet.web.run import listen
from webs import BACKGROUND, PORTRAIT, begin, detail, serving

ROOT = Path(__file__).parents[1]


@contextmanager
def process(*arguments: str, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command until its server answers -> the process and the address that it tells."""
    command = [sys.executable, "-m", "hpbnet", *arguments]
    environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert running.stderr is not None
    try:
        line = running.stderr.readline()
        found = re.search(r"http://[\d.]+:\d+", line)
        assert found, line + running.stderr.read()
        yield running, found[0]
    finally:
        running.kill()
        running.wait()
        running.stderr.close()


def test_a_killed_studio_leaves_its_folder_to_the_next_which_knows_nothing_of_old_sessions(tmp_path: Path) -> None:
    with process("studio", "--no-browser", "--port", "0", temporary=tmp_path) as (first, address):
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
            session = begin(client)
        first.kill()
        first.wait()
    (left,) = tmp_path.glob("hpbnet-web-*")
    port = address.rpartition(":")[2]
    with process("studio", "--no-browser", "--port", port, temporary=tmp_path) as (second, again):
        assert again == address  # an open page finds it there
        with httpx.Client(base_url=again, trust_env=False, timeout=60) as client:
            detail(client.get(session), 404)
            assert client.get(begin(client)).status_code == 200
        assert not left.exists()
        second.send_signal(signal.SIGINT)
        assert second.wait(30) == 0
    assert not [*tmp_path.iterdir()]


def test_the_folder_of_a_server_that_lives_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stranger = tmp_path / "hpbnet-web-stranger"
    stranger.mkdir()
    one, other = ServerFolder(), ServerFolder()
    assert one.make().is_dir() and other.make().is_dir() and len([*tmp_path.iterdir()]) == 3
    for folder in (one, other):
        folder.close()
    assert [*tmp_path.iterdir()] == [stranger]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from other computers: give --token"),
        (["--token", "short"], "the token must have at least 8 characters"),
        (["--allow-origin", "example.com"], "origin is 'example.com'; expected one such as https://example.com"),
        (["--workers", "0"], "workers is 0; expected a whole number from 1 to 64"),
        (["--port", "70000"], "Invalid value for '--port'"),
        (["--harmonizer", "nothing"], "unknown harmonizer 'nothing'"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_begin_says_why(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"hpbnet: {sentence}")


def test_a_port_in_use_is_told_or_another_taken() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="the port is in use; give another --port"):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", port, any_port=True) as other:
            assert other.getsockname()[1] != port


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["studio"]) == 2
    assert "the studio and the server need uvicorn, which is not installed" in capsys.readouterr().err
    assert main(["serve"]) == 2


def test_bare_hpbnet_proposes_the_studio(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "hpbnet studio" in capsys.readouterr().out.splitlines()[-1]


def test_help_of_the_server_loads_no_web_framework() -> None:
    code = (
        "import sys; from hpbnet.cli import main; main(['serve', '--help']); main(['studio', '--help']);"
        "sys.exit(bool({'torch', 'fastapi', 'starlette', 'uvicorn', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def curl_lines() -> list[str]:
    """The curl commands of the README and of docs/server.md."""
    pages = [ROOT / "README.md", ROOT / "docs" / "server.md"]
    blocks = [block for page in pages for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)]
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.startswith("$ curl")]


@pytest.mark.parametrize("line", curl_lines())
def test_curl_commands_work_as_written(line: str, tmp_path: Path) -> None:
    if subprocess.run(["which", "curl"], capture_output=True, check=False).returncode:
        pytest.skip("curl is not installed")
    for name, data in (("portrait.jpg", PORTRAIT), ("beach.jpg", BACKGROUND), ("composite.png", PORTRAIT)):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "mask.png").write_bytes(mask())
    if "talk.mp4" in line:
        pytest.importorskip("av", reason="video needs PyAV")
        from clips import film, person

        film(tmp_path / "talk.mp4", [person(index) for index in range(3)])
    with serving() as client:
        words = shlex.split(line.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/")))
        words = [word.replace("JOB", video_of(client, tmp_path)) if "JOB" in word else word for word in words]
        done = subprocess.run(
            [*words, "--noproxy", "*", "-sS", "--fail-with-body"], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout[:500], done.stderr)
        if "-o" in words:
            assert (tmp_path / words[words.index("-o") + 1]).stat().st_size > 100


def test_there_are_curl_commands_for_each_use() -> None:
    text = "\n".join(curl_lines())
    for path in ("/v1/compose", "/v1/matte", "/v1/harmonize", "/v1/videos", "/v1/options"):
        assert path in text


def mask() -> bytes:
    import numpy as np

    from webs import png

    picture = np.zeros((90, 72), np.uint8)
    picture[20:70, 10:40] = 255
    return png(picture)


def video_of(client: httpx.Client, folder: Path) -> str:
    """Make a video and return the name of its job."""
    from clips import film, person

    data = film(folder / "talk.mp4", [person(index) for index in range(3)]).read_bytes()
    files = {"portrait": ("talk.mp4", data), "background": ("b.png", BACKGROUND)}
    job = client.post("/v1/videos", files=files).json()["id"]
    for _ in range(400):
        if client.get(f"/v1/videos/{job}").json()["state"] == "done":
            return str(job)
        time.sleep(0.05)
    raise AssertionError(client.get(f"/v1/videos/{job}").text)


def test_an_address_of_ipv6_is_listened_at() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        listener = listen("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    listener.close()
