"""Downloads: complete and verified, or not there at all."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hpbnet.fetch import Checksum, cache_folder, checksum_in_name, fetch

CONTENT = bytes(range(256)) * 10_000  # more than two blocks
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


@dataclass
class Server:
    """A local server of `/file`, `/short` (ends early), `/slow` (never answers), and of nothing else."""

    url: str
    requests: list[str]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    requests: list[str] = []
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            requests.append(self.path)
            if self.path == "/slow":
                stopped.wait(10)
                return
            if self.path not in ("/file", "/short"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/file" else CONTENT[:1000])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield Server(f"http://127.0.0.1:{server.server_port}", requests)
        stopped.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def server(running: Server) -> Server:
    running.requests.clear()
    return running


def test_checksums_are_the_published_ones_of_abc(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # RFC 1321, A.5, and FIPS 180-2, B.1
    Checksum("md5", "900150983cd24fb0d6963f7d28e17f72").verify(tmp_path / "abc")
    Checksum("sha256", "ba7816bf").verify(tmp_path / "abc")
    with pytest.raises(ValueError, match="abc is damaged or another file: its SHA-256 is ba7816bf, not ba7816be"):
        Checksum("sha256", "ba7816be").verify(tmp_path / "abc")


def test_a_file_name_may_carry_the_beginning_of_its_sha256() -> None:
    assert checksum_in_name("alexnet-owt-7be5be79.pth") == Checksum("sha256", "7be5be79")
    assert checksum_in_name("squeezenet1_1.pth") is None
    assert checksum_in_name("net-1234567.pth") is None


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_file_is_downloaded_once(server: Server, tmp_path: Path, algorithm: str) -> None:
    checksum = Checksum(algorithm, hashlib.new(algorithm, CONTENT).hexdigest())  # type: ignore[arg-type]
    destination = tmp_path / "new" / "folder" / "net.bin"
    for _ in range(2):
        assert fetch(f"{server.url}/file", destination, checksum) == destination
    assert destination.read_bytes() == CONTENT
    assert server.requests == ["/file"]
    assert [path.name for path in destination.parent.iterdir()] == ["net.bin"]


def test_a_file_of_this_machine_has_a_url_too(tmp_path: Path) -> None:
    (tmp_path / "source.bin").write_bytes(CONTENT)
    fetch((tmp_path / "source.bin").as_uri(), tmp_path / "copy.bin", SHA256)
    assert (tmp_path / "copy.bin").read_bytes() == CONTENT


def test_a_damaged_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"damaged")
    assert fetch(f"{server.url}/file", tmp_path / "net.bin", SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "checksum", "reason"),
    [
        (
            "/missing",
            SHA256,
            r"cannot download http://.*/missing \(Not Found\); you can also save it yourself as .*net",
        ),
        ("/short", SHA256, r"\(the connection ended after 1000 of 2560000 bytes\)"),
        ("/slow", SHA256, r"\(timed out\)"),
        ("/file", Checksum("md5", "0" * 32), r"/file is damaged or another file: its MD5 is \w{32}, not 0{32}$"),
    ],
)
def test_what_fails_leaves_the_folder_as_it_was(
    server: Server, tmp_path: Path, path: str, checksum: Checksum, reason: str
) -> None:
    (tmp_path / "net.bin").write_bytes(b"before")
    with pytest.raises(ValueError, match=reason):
        fetch(f"{server.url}{path}", tmp_path / "net.bin", checksum, timeout=0.2 if path == "/slow" else 10)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot download http://127\.0\.0\.1:9/net \(.*refused\)"):
        fetch("http://127.0.0.1:9/net", tmp_path / "net", SHA256)


def test_an_interruption_leaves_nothing_behind(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Checksum, "verify", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server.url}/file", tmp_path / "net.bin", SHA256)
    assert not list(tmp_path.iterdir())


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hpbnet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "hpbnet")
