"""Read the constants of an OpenVINO network: an XML file that lists them, and a binary file that holds their numbers.

Knows the format of version 10 and later as far as constants go, and nothing of what the network computes. The XML is
read by the standard library; a document type, and with it every entity, is refused.
"""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
import torch
from torch import Tensor

MOST_BYTES = 1 << 28  # of one file of a network: a larger one is not what is converted here
_FLOAT = "f32"
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Constant:
    """A constant of float numbers; constants come in the order of the file, which is that of the computation."""

    name: str
    tensor: Tensor


@dataclass(frozen=True)
class NetworkFiles:
    """The two files of a network."""

    xml: bytes
    weights: bytes
    origin: str  # for errors


def find_networks(path: Path, names: tuple[str, ...]) -> dict[str, NetworkFiles]:
    """Read the files NAME.xml and NAME.bin of networks from a wheel (a ZIP archive) or from a folder.

    Raises:
        ValueError: the path is neither, or a file is missing, there twice or too large.
    """
    wanted = [f"{name}{suffix}" for name in names for suffix in (".xml", ".bin")]
    if path.is_dir():
        found = {file: _only_one(path, file, [str(each) for each in sorted(path.rglob(file))]) for file in wanted}
        contents = {file: _read_limited(Path(place)) for file, place in found.items()}
    elif path.is_file() and zipfile.is_zipfile(path):
        contents = _read_archive(path, wanted)
    elif path.exists():
        raise ValueError(f"{path} is neither a wheel nor a folder with {', '.join(wanted)}")
    else:
        raise ValueError(f"there is no file or folder {path}")
    return {
        name: NetworkFiles(contents[f"{name}.xml"], contents[f"{name}.bin"], f"{name}.xml in {path}") for name in names
    }


def _read_archive(path: Path, wanted: list[str]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            found = {file: _only_one(path, file, [n for n in names if n.split("/")[-1] == file]) for file in wanted}
            for name in found.values():
                _check_size(f"{name} in {path}", archive.getinfo(name).file_size)
            return {file: archive.read(name) for file, name in found.items()}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:  # damaged or encrypted
        raise ValueError(f"{path} is a damaged archive: {error}") from None


def _only_one(path: Path, file: str, places: list[str]) -> str:
    if len(places) != 1:
        raise ValueError(f"{path} holds {len(places) or 'no'} files named {file}, expected one")
    return places[0]


def _read_limited(path: Path) -> bytes:
    _check_size(str(path), path.stat().st_size)
    return path.read_bytes()


def _check_size(name: str, size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"{name} has {size >> 20} MiB, expected at most {MOST_BYTES >> 20} MiB")


def read_constants(files: NetworkFiles) -> tuple[str, list[Constant]]:
    """Return a network's own name and its constants of float numbers.

    Raises:
        ValueError: the XML is damaged, has a document type or is not an OpenVINO network, or a constant lies outside
            the binary file.
    """
    layers = _Layers(files.origin)
    parser = expat.ParserCreate()
    parser.StartElementHandler = layers.start
    parser.StartDoctypeDeclHandler = layers.refuse_document_type
    try:
        parser.Parse(files.xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"{files.origin} is not readable XML: {error}") from None
    if layers.network is None:
        raise ValueError(f"{files.origin} is not an OpenVINO network: it has no <net> element")
    return layers.network, [_read_constant(name, data, files) for name, data in layers.constants]


@dataclass
class _Layers:
    """Collects the constants while the XML is parsed."""

    origin: str
    network: str | None = None
    constants: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    layer: Mapping[str, str] = field(default_factory=dict)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self.network is None:
            if tag != "net":
                raise ValueError(f"{self.origin} is not an OpenVINO network: it begins with <{tag}>, not with <net>")
            self.network = attributes.get("name", "")
        elif tag == "layer":
            self.layer = attributes
        elif tag == "data" and self.layer.get("type") == "Const" and attributes.get("element_type") == _FLOAT:
            self.constants.append((self.layer.get("name", ""), attributes))

    def refuse_document_type(self, *_: object) -> None:
        raise ValueError(f"{self.origin} has a document type, which may define entities; it is not read")


def _read_constant(name: str, data: Mapping[str, str], files: NetworkFiles) -> Constant:
    try:
        offset, size = int(data["offset"]), int(data["size"])
        shape = [int(side) for side in data["shape"].split(",") if side.strip()]
    except (KeyError, ValueError):
        raise ValueError(f"{files.origin}: constant {name} has no whole numbers as offset, size and shape") from None
    if min([offset, *shape]) < 0 or size != _FLOAT_BYTES * math.prod(shape) or offset + size > len(files.weights):
        where = f"{size} bytes at {offset} for shape {shape}"
        raise ValueError(f"{files.origin}: constant {name} has {where}, in a file of {len(files.weights)} bytes")
    numbers = np.frombuffer(files.weights, "<f4", size // _FLOAT_BYTES, offset).reshape(shape)
    return Constant(name, torch.from_numpy(numbers.astype(np.float32)))
