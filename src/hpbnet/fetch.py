"""Download a published file once and verify its checksum.

Knows URLs, checksums and the cache folder; knows nothing of what the files hold.
"""

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .files import replacing

_BLOCK = 1 << 20  # [bytes] read at once
_SHA256_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checksum:
    """A published checksum, or the first digits of one."""

    algorithm: Literal["md5", "sha256"]
    digits: str  # hexadecimal, lower case

    def __post_init__(self) -> None:
        assert re.fullmatch("[0-9a-f]{8,64}", self.digits), self.digits

    def of(self, path: Path) -> str:
        """Compute the checksum of a file by the same algorithm, to as many digits."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(self.algorithm, usedforsecurity=False))
        return digest.hexdigest()[: len(self.digits)]

    def verify(self, path: Path, name: str | None = None) -> None:
        """Compare a file with the checksum; `name` stands for the file in the message.

        Raises:
            ValueError: they differ.
        """
        if (actual := self.of(path)) != self.digits:
            kind = {"md5": "MD5", "sha256": "SHA-256"}[self.algorithm]
            raise ValueError(f"{name or path} is damaged or another file: its {kind} is {actual}, not {self.digits}")


def checksum_in_name(name: str) -> Checksum | None:
    """Return the checksum that a file name carries: the SHA-256 of PyTorch's `vgg19-dcbb9e9d.pth` begins with it."""
    match = _SHA256_IN_NAME.search(name)
    return Checksum("sha256", match[1]) if match else None


def fetch(
    url: str,  # https://, http:// or file://
    destination: Path,
    checksum: Checksum,
    timeout: float = 60.0,  # [s] without an answer
) -> Path:
    """Download a file unless it is there already, and return `destination`.

    The file is written under a random name beside its destination and renamed when it is complete and verified, so
    that an interruption leaves nothing behind and several processes may download it at once.

    Raises:
        ValueError: the file cannot be downloaded, or has another checksum.
        OSError: the folder cannot be written.
    """
    if destination.is_file() and checksum.of(destination) == checksum.digits:
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    _log.info("downloading %s", url)
    with replacing(destination) as part:
        try:
            with part.open("wb") as file:
                for block in _read_blocks(url, timeout):
                    file.write(block)
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            remedy = f"you can also save it yourself as {destination}"
            raise ValueError(f"cannot download {url} ({reason}); {remedy}") from None
        checksum.verify(part, url)
    return destination


def cache_folder() -> Path:
    """Return the folder of downloaded networks: `$XDG_CACHE_HOME/hpbnet`, by default `~/.cache/hpbnet`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpbnet"


def _read_blocks(url: str, timeout: float) -> Iterator[bytes]:
    """Read a URL block by block; a connection that ends early is a `ConnectionError`."""
    with urllib.request.urlopen(url, timeout=timeout) as response:
        length, count = response.headers["Content-Length"], 0
        while block := response.read(_BLOCK):
            count += len(block)
            yield block
    if length is not None and count != int(length):
        raise ConnectionError(f"the connection ended after {count} of {length} bytes")
