"""Matting networks of others, as ONNX files of the rembg family: found, fetched and run like our own.

Knows the published files by name with their published hashes, and how this family wants its picture: squeezed to a
fixed size, divided by its brightest value, normalised. Needs the extra `[rembg]`; nothing is imported or fetched before
such a network is named.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import missing_extra
from .fetch import Checksum, cache_folder, fetch

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
PUBLISHED = {  # name: (file of the release, its MD5), as rembg's own session classes state them
    "u2net": ("u2net.onnx", "60024c5c889badc19c04ad937298a77b"),
    "u2netp": ("u2netp.onnx", "8e83ca70e441ab06c318d82300c84806"),
    "u2net_human_seg": ("u2net_human_seg.onnx", "c09ddc2e0104f800e3e1bb4652583d1f"),
    "silueta": ("silueta.onnx", "55e59e0d8062d2f5d013f4725ee84782"),
    "isnet-general-use": ("isnet-general-use.onnx", "fc16ebd8b0c10d971d3513d564d01e29"),
    "birefnet-general": ("BiRefNet-general-epoch_244.onnx", "7a35a0141cbbc80de11d9c9a28f52697"),
    "birefnet-general-lite": ("BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx", "4fab47adc4ff364be1713e97b7e66334"),
    "birefnet-portrait": ("BiRefNet-portrait-epoch_150.onnx", "c3a64a6abf20250d090cd055f12a3b67"),
}
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_UNSCALED = "isnet"  # networks so named take the mean away and divide by nothing
_FREE_SIZE = 1024  # [px] side of the picture given to a network that takes any


class OnnxMatting:
    """A foreign network: portrait -> alpha, seen squeezed to the network's own size."""

    def __init__(self, session: "InferenceSession", origin: str) -> None:
        self.session, self.origin = session, origin
        self.seen = _seen_size(session, origin)  # height and width [px]
        unscaled = _UNSCALED in Path(origin).name.lower()
        self.mean = torch.tensor(_MEAN).view(1, 3, 1, 1)
        self.deviation = torch.tensor((1.0, 1.0, 1.0) if unscaled else _DEVIATION).view(1, 3, 1, 1)

    def __call__(self, portrait: Tensor) -> Tensor:
        """Estimate alpha [1,1,H,W] of a portrait [1,3,H,W], sRGB in [0,1]."""
        seen = F.interpolate(portrait, self.seen, mode="bilinear", antialias=True)
        seen = (seen / seen.max().clamp_min(1e-6) - self.mean) / self.deviation
        try:
            answer = self.session.run(None, {self.session.get_inputs()[0].name: seen.numpy()})[0]
        except Exception as error:  # onnxruntime has a dozen kinds of its own
            raise ValueError(f"{self.origin} cannot be run: {_first_line(error)}") from None
        alpha = torch.from_numpy(np.asarray(answer, np.float32))
        if alpha.ndim != 4 or alpha.shape[0] != 1:
            raise ValueError(f"{self.origin} answers with {list(alpha.shape)}; expected an alpha [1,1,H,W]")
        alpha = alpha[:, :1]
        if alpha.min() < -1e-3 or alpha.max() > 1 + 1e-3:  # logits
            alpha = alpha.sigmoid()
        return F.interpolate(alpha, portrait.shape[-2:], mode="bilinear", antialias=True).clamp(0.0, 1.0)


def names_onnx(name_or_path: str | Path) -> bool:
    """Tell whether a name or path is for this module."""
    return str(name_or_path) in PUBLISHED or Path(name_or_path).suffix.lower() == ".onnx"


def load_onnx_matting(name_or_path: str | Path) -> OnnxMatting:
    """Load a network by its file, or by a published name, which is fetched once.

    Raises:
        ValueError: the extra is missing, there is no such file, it cannot be fetched, or it is not a matting network.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        raise missing_extra("ONNX matting networks", "onnxruntime", "rembg") from None
    path = fetch_published(str(name_or_path)) if str(name_or_path) in PUBLISHED else Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; names that can be fetched are {', '.join(PUBLISHED)}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what matters is raised
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen kinds of its own
        raise ValueError(f"{path} is not an ONNX network that can be run: {_first_line(error)}") from None
    return OnnxMatting(session, str(path))


def fetch_published(name: str, base: str = RELEASE, folder: Path | None = None) -> Path:
    """Return the file of a published network: the copy that rembg downloaded, else ours, downloaded once; verified.

    Raises:
        ValueError: it cannot be downloaded, or is not the published file.
    """
    file, digits = PUBLISHED[name]
    checksum = Checksum("md5", digits)
    theirs = rembg_folder() / f"{name}.onnx"
    if theirs.is_file() and checksum.of(theirs) == digits:
        return theirs
    return fetch(f"{base}/{file}", (folder or cache_folder()) / f"{name}.onnx", checksum)


def rembg_folder() -> Path:
    """Where rembg keeps the ones that it fetched."""
    return Path(os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME") or Path.home()) / ".u2net")


def _seen_size(session: "InferenceSession", origin: str) -> tuple[int, int]:
    """Height and width [px] of the picture that a network takes."""
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    if len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
        given = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise ValueError(f"{origin} takes {given}; expected one float picture [1,3,H,W]")
    height, width = (side if isinstance(side, int) and side > 0 else _FREE_SIZE for side in shape[2:])
    return height, width


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
