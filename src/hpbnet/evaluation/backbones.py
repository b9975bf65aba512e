"""The published weights that metrics need: where they lie, and how they are fetched and checked.

Knows file names only. A torchvision file carries the beginning of its SHA-256 in its name; a file whose name has one
is always checked against it, and only such files are ever downloaded.
"""

import hashlib
import logging
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from ..checkpoint import read_foreign_tensors

WEIGHTS_VARIABLE = "HPBNET_METRIC_WEIGHTS"
TORCHVISION = "https://download.pytorch.org/models"

PUBLISHED = {  # torchvision's file names; the hexadecimal digits are the beginning of the file's SHA-256
    "squeezenet": "squeezenet1_1-b8a52dc0.pth",
    "alexnet": "alexnet-owt-7be5be79.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
_STEMS = {"squeezenet": "squeezenet1_1", "alexnet": "alexnet", "vgg16": "vgg16", "vgg19": "vgg19"}
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsFolder:
    """A folder that holds some of the published weights."""

    path: Path

    def backbone(self, name: str) -> Path | None:
        """Find a backbone: torchvision's file name, with or without its hash."""
        stem = _STEMS[name]
        found = [*self.path.glob(f"{stem}.pth"), *sorted(self.path.glob(f"{stem}-*.pth"))]
        return found[0] if found else None

    def lpips_heads(self, name: str) -> Path | None:
        """Find the LPIPS v0.1 heads `squeeze`, `alex` or `vgg`."""
        return self._file(f"lpips/{name}.pth")

    def dists(self) -> Path | None:
        """Find DISTS's alpha and beta."""
        return self._file("dists.pt")

    def face_network(self) -> Path | None:
        """Find MobileFaceNet."""
        return self._file("mobilefacenet.ckpt")

    def face_detector(self) -> Path | None:
        """Find YuNet."""
        found = sorted(self.path.glob("*yunet*.onnx"))
        return found[0] if found else None

    def _file(self, name: str) -> Path | None:
        path = self.path / name
        return path if path.is_file() else None


def weights_folder(given: Path | None) -> WeightsFolder | None:
    """Choose the folder of metric weights: the one given, else the one that the environment names, else none.

    Raises:
        ValueError: the folder does not exist.
    """
    named = given or named_folder()
    if named is None:
        return None
    if not named.is_dir():
        source = "--weights" if given else WEIGHTS_VARIABLE
        raise ValueError(f"no metric weights at {named} ({source}): there is no such folder")
    return WeightsFolder(named)


def named_folder() -> Path | None:
    """Return the folder that the environment names, if any."""
    return Path(os.environ[WEIGHTS_VARIABLE]) if os.environ.get(WEIGHTS_VARIABLE) else None


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read a published file of tensors, checked by the hash in its name if any.

    Raises:
        ValueError: the file is damaged, not the published one, or holds something else.
        OSError: it cannot be opened.
    """
    check_hash(path)
    return read_foreign_tensors(path)


def check_hash(path: Path) -> None:
    """Compare a file with the beginning of the SHA-256 in its name, where there is one.

    Raises:
        ValueError: they differ.
    """
    expected = _HASH_IN_NAME.search(path.name)
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected[1]):
        raise ValueError(f"{path} is damaged or another file: its SHA-256 begins with {found[:8]}, not {expected[1]}")


def download(url: str, folder: Path, timeout: float = 60.0) -> Path:
    """Fetch a file whose name carries the beginning of its SHA-256; kept only if they agree.

    Raises:
        ValueError: the name carries no hash, the file cannot be fetched, or it is not the published one.
    """
    name = url.rsplit("/", 1)[-1]
    if not _HASH_IN_NAME.search(name):
        raise ValueError(f"{name} carries no hash in its name, so that it could not be checked; fetch it by hand")
    destination = folder / name
    if destination.is_file():
        check_hash(destination)
        return destination
    folder.mkdir(parents=True, exist_ok=True)
    _log.info("fetching %s", url)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as partial:
        fetched = Path(partial) / name
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response, fetched.open("wb") as file:
                _copy(response, file)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise ValueError(f"{url} cannot be fetched: {getattr(error, 'reason', error)}") from None
        check_hash(fetched)
        os.replace(fetched, destination)
    return destination


def download_backbone(name: str, folder: Path, base: str = TORCHVISION) -> Path:
    """Fetch one of torchvision's backbones by its short name."""
    if name not in PUBLISHED:
        raise ValueError(f"no backbone {name!r}; there are {', '.join(PUBLISHED)}")
    return download(f"{base}/{PUBLISHED[name]}", folder)


def _copy(source: BinaryIO, destination: BinaryIO) -> None:
    while block := source.read(1 << 20):
        destination.write(block)
