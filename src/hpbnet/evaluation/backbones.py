"""The published weights that metrics need: where they are, and which can be downloaded.

Knows file names only. A torchvision file carries the beginning of its SHA-256 in its name; a file whose name has one
is always verified, and only such files are ever downloaded.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..checkpoint import read_foreign_tensors
from ..fetch import checksum_in_name, fetch

WEIGHTS_VARIABLE = "HPBNET_METRIC_WEIGHTS"
TORCHVISION = "https://download.pytorch.org/models"

PUBLISHED = {  # torchvision's file names; the hexadecimal digits are the beginning of the file's SHA-256
    "squeezenet": "squeezenet1_1-b8a52dc0.pth",
    "alexnet": "alexnet-owt-7be5be79.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
_STEMS = {"squeezenet": "squeezenet1_1", "alexnet": "alexnet", "vgg16": "vgg16", "vgg19": "vgg19"}


@dataclass(frozen=True)
class WeightsFolder:
    """A folder with some of the published weights."""

    path: Path

    def backbone(self, name: str) -> Path | None:
        """Find a backbone: torchvision's file name, with or without its hash."""
        stem = _STEMS[name]
        files = [*self.path.glob(f"{stem}.pth"), *sorted(self.path.glob(f"{stem}-*.pth"))]
        return files[0] if files else None

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
        files = sorted(self.path.glob("*yunet*.onnx"))
        return files[0] if files else None

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
        source = "weights" if given else WEIGHTS_VARIABLE
        raise ValueError(f"{source} is {named}: there is no such folder")
    return WeightsFolder(named)


def named_folder() -> Path | None:
    """Return the folder that the environment names, if any."""
    return Path(os.environ[WEIGHTS_VARIABLE]) if os.environ.get(WEIGHTS_VARIABLE) else None


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Read a published file of tensors; if its name carries a checksum, the file is verified first.

    Raises:
        ValueError: the file is damaged, not the published one, or has something else in it.
        OSError: it cannot be opened.
    """
    if checksum := checksum_in_name(path.name):
        checksum.verify(path)
    return read_foreign_tensors(path)


def download_backbone(name: str, folder: Path, base: str = TORCHVISION) -> Path:
    """Download one of torchvision's backbones by its short name.

    Raises:
        ValueError: no such backbone, or it cannot be downloaded, or is not the published file.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no backbone {name!r}; there are {', '.join(PUBLISHED)}")
    file = PUBLISHED[name]
    checksum = checksum_in_name(file)
    assert checksum is not None, file
    return fetch(f"{base}/{file}", folder / file, checksum)
