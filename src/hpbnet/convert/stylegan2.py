"""Convert published StyleGAN2 weights to hpbnet's own format.

Knows two published layouts: the state dicts of the PyTorch port (a `.pt` with `g_ema`) and the pickles of
stylegan2-ada-pytorch (a `.pkl` with `G_ema`). The pickles contain source code, which NVIDIA's own loader executes and
this one never does: it rebuilds tensors and plain containers, and refuses every other name.
"""

import argparse
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint import Checkpoint
from ..networks.stylegan2 import MAPPING_MULTIPLIER, TAPS, Discriminator, Generator, StyleGAN2Config

Names = dict[str, str]  # our name -> theirs

DEEPEST = 16  # modules inside modules of a pickle
AVERAGE_SAMPLES = 10_000  # over which the average w is taken where a file has none
PICKLE, LEGACY_TORCH = b"\x80", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how such files begin


@dataclass(frozen=True)
class Foreign:
    """A network in a published layout: its tensors and the numbers of its modules, by name."""

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Prior:
    """A converted generator and, where the file has one, its discriminator."""

    generator: Checkpoint
    discriminator: Checkpoint | None
    resolution: int  # of the image [px]


def convert_stylegan2(path: str | Path) -> Prior:
    """Read published StyleGAN2 weights.

    Raises:
        ValueError: the file is of neither layout, holds something other than tensors, or is another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    with path.open("rb") as file:
        begin = file.read(len(LEGACY_TORCH))
    if zipfile.is_zipfile(path) or begin == LEGACY_TORCH:
        return _convert_port(_load_port(path), path)
    if begin.startswith(PICKLE):
        return _convert_nvidia(_load_nvidia(path), path)
    raise ValueError(f"{path} is neither a PyTorch checkpoint (.pt) nor a pickle (.pkl) of stylegan2-ada-pytorch")


# --- the PyTorch port -------------------------------------------------------------------------------------------


def _load_port(path: Path) -> Mapping[str, object]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # its training checkpoints keep their options
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} holds more than tensors, or is damaged: {reason}") from None
    if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
        names = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} has no generator `g_ema`; it has {names[:200]}")
    return content


def _convert_port(content: Mapping[str, object], path: Path) -> Prior:
    tensors = _only_tensors(content["g_ema"])
    blocks = sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in tensors)
    layers = sum(re.fullmatch(r"style\.\d+\.weight", name) is not None for name in tensors)
    convolutions = ["conv1", *(f"convs.{2 * index + 1}" for index in range(blocks))]
    widths = [_dimension(tensors, f"{name}.conv.weight", 1) for name in convolutions]
    config = _config(widths, _dimension(tensors, "style.1.weight", 1), _dimension(tensors, "style.1.weight", 0), layers)
    average = content.get("latent_avg")
    if isinstance(average, Tensor):
        tensors["latent_avg"] = average.flatten()
    generator = _fill(Generator(config), Foreign(tensors, {}), _port_generator(blocks, layers), "latent_avg")
    discriminator = None
    if isinstance(content.get("d"), dict):
        theirs = Foreign(_only_tensors(content["d"]), {})
        discriminator = _fill(Discriminator(config), theirs, _port_discriminator(blocks))
    return _prior(config, generator, discriminator, f"{path.name}, PyTorch port")


def _port_generator(blocks: int, layers: int) -> Names:
    names = {"mapping.w_avg": "latent_avg", "synthesis.const": "input.input"}
    names |= _pairs({f"mapping.layers.{index}": f"style.{index + 1}" for index in range(layers)})
    styled, painted = {"synthesis.refine": "conv1"}, {"synthesis.paint": "to_rgb1"}
    for index in range(blocks):
        styled[f"synthesis.blocks.{index}.grow"] = f"convs.{2 * index}"
        styled[f"synthesis.blocks.{index}.refine"] = f"convs.{2 * index + 1}"
        painted[f"synthesis.blocks.{index}.paint"] = f"to_rgbs.{index}"
    for index, (ours, theirs) in enumerate(styled.items()):
        names[f"{ours}.noise_const"] = f"noises.noise_{index}"
        names[f"{ours}.noise_strength"] = f"{theirs}.noise.weight"
        names[f"{ours}.bias"] = f"{theirs}.activate.bias"
    names |= {f"{ours}.bias": f"{theirs}.bias" for ours, theirs in painted.items()}
    for ours, theirs in (styled | painted).items():
        names[f"{ours}.weight"] = f"{theirs}.conv.weight"
        names |= _pairs({f"{ours}.affine": f"{theirs}.conv.modulation"})
    return names


def _port_discriminator(blocks: int) -> Names:
    names = {"from_rgb.weight": "convs.0.0.weight", "from_rgb.bias": "convs.0.1.bias"}
    for index in range(blocks):
        ours, theirs = f"blocks.{index}", f"convs.{index + 1}"
        names[f"{ours}.first.weight"] = f"{theirs}.conv1.0.weight"
        names[f"{ours}.first.bias"] = f"{theirs}.conv1.1.bias"
        names[f"{ours}.second.weight"] = f"{theirs}.conv2.1.weight"
        names[f"{ours}.second.bias"] = f"{theirs}.conv2.2.bias"
        names[f"{ours}.skip.weight"] = f"{theirs}.skip.1.weight"
    names |= {"conv.weight": "final_conv.0.weight", "conv.bias": "final_conv.1.bias"}
    return names | _pairs({"dense": "final_linear.0", "out": "final_linear.1"})


# --- NVIDIA's pickles -------------------------------------------------------------------------------------------


class _Persistent:
    """The state of a pickled module of NVIDIA's; the source code beside it is ignored."""

    def __init__(self, state: object) -> None:
        self.state = state


class _Ignored:
    """A value that is not needed (NumPy's numbers: gains that follow from the shapes)."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class _Record(dict[str, object]):
    """NVIDIA's dict with attributes; the attributes are not needed."""

    def __setstate__(self, _: object) -> None: ...


def _rebuild_persistent(meta: Mapping[str, object]) -> _Persistent:
    return _Persistent(meta.get("state"))


def _rebuild_tensor(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset).clone()  # bounds are checked by torch


def _rebuild_parameter(tensor: Tensor, *_: object) -> Tensor:
    return tensor


def _rebuild_storage(content: bytes) -> Tensor:
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return torch.empty(0, dtype=storage.dtype).set_(storage)


ALLOWED: Mapping[tuple[str, str], object] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _rebuild_persistent,
    ("dnnlib.util", "EasyDict"): _Record,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _rebuild_storage,
    ("numpy.core.multiarray", "scalar"): _Ignored,
    ("numpy._core.multiarray", "scalar"): _Ignored,
    ("numpy", "dtype"): _Ignored,
}


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; any other name in the pickle is an error, and is never imported."""

    def find_class(self, module: str, name: str) -> object:
        if module.startswith("dnnlib.tflib"):
            raise pickle.UnpicklingError(
                "it is a TensorFlow pickle; convert it with legacy.py of stylegan2-ada-pytorch"
            )
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it needs {module}.{name}, which is neither a tensor nor a plain container")
        return ALLOWED[module, name]


def _load_nvidia(path: Path) -> Mapping[str, Foreign]:
    try:
        with path.open("rb") as file:
            content = _TensorUnpickler(file).load()
    except Exception as error:  # a hostile or damaged pickle may raise anything
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())[:300] or type(error).__name__}") from None
    if not isinstance(content, dict) or not isinstance(content.get("G_ema"), _Persistent):
        names = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} has no generator `G_ema`; it has {names[:200]}")
    return {name: _flatten(content[name]) for name in ("G_ema", "D") if isinstance(content.get(name), _Persistent)}


def _flatten(module: _Persistent, prefix: str = "", depth: int = 0) -> Foreign:
    """Name the tensors and numbers of a module and of all modules inside it."""
    if depth > DEEPEST or not isinstance(module.state, dict):
        raise ValueError("the pickle's modules are nested too deeply, or have no state")
    own = {**_record(module.state.get("_parameters")), **_record(module.state.get("_buffers"))}
    tensors = {prefix + name: value for name, value in own.items() if isinstance(value, Tensor)}
    numbers = {prefix + name: value for name, value in module.state.items() if isinstance(value, int | float)}
    for name, inner in _record(module.state.get("_modules")).items():
        if isinstance(inner, _Persistent):
            below = _flatten(inner, f"{prefix}{name}.", depth + 1)
            tensors.update(below.tensors)
            numbers.update(below.numbers)
    return Foreign(tensors, numbers)


def _convert_nvidia(networks: Mapping[str, Foreign], path: Path) -> Prior:
    theirs = networks["G_ema"]
    if "mapping.embed.weight" in theirs.tensors:
        raise ValueError(f"{path} holds a generator conditioned on labels, which HPBNet cannot use")
    if theirs.numbers.get("mapping.fc0.bias_gain", MAPPING_MULTIPLIER) != MAPPING_MULTIPLIER:
        raise ValueError(f"{path} has a mapping network with another learning-rate multiplier than 0.01")
    blocks = sum(re.fullmatch(r"synthesis\.b\d+\.torgb\.weight", name) is not None for name in theirs.tensors) - 1
    layers = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in theirs.tensors)
    widths = [_dimension(theirs.tensors, f"synthesis.b{4 << index}.conv1.weight", 0) for index in range(blocks + 1)]
    z_dim, w_dim = (_dimension(theirs.tensors, "mapping.fc0.weight", axis) for axis in (1, 0))
    config = _config(widths, z_dim, w_dim, layers)
    config = replace(config, clamp=theirs.numbers.get("synthesis.b4.conv1.conv_clamp"))
    generator = _fill(Generator(config), theirs, _nvidia_generator(blocks, layers))
    discriminator = None
    if "D" in networks:
        discriminator = _fill(Discriminator(config), networks["D"], _nvidia_discriminator(blocks))
    return _prior(config, generator, discriminator, f"{path.name}, stylegan2-ada-pytorch")


def _nvidia_generator(blocks: int, layers: int) -> Names:
    names = {"mapping.w_avg": "mapping.w_avg", "synthesis.const": "synthesis.b4.const"}
    names |= _pairs({f"mapping.layers.{index}": f"mapping.fc{index}" for index in range(layers)})
    styled, painted = {"synthesis.refine": "synthesis.b4.conv1"}, {"synthesis.paint": "synthesis.b4.torgb"}
    for index in range(blocks):
        ours, theirs = f"synthesis.blocks.{index}", f"synthesis.b{8 << index}"
        styled |= {f"{ours}.grow": f"{theirs}.conv0", f"{ours}.refine": f"{theirs}.conv1"}
        painted[f"{ours}.paint"] = f"{theirs}.torgb"
    for ours, theirs in styled.items():
        names |= {f"{ours}.{part}": f"{theirs}.{part}" for part in ("noise_const", "noise_strength")}
    for ours, theirs in (styled | painted).items():
        names |= _pairs({ours: theirs, f"{ours}.affine": f"{theirs}.affine"})
    return names


def _nvidia_discriminator(blocks: int) -> Names:
    names = _pairs({"from_rgb": f"b{4 << blocks}.fromrgb", "conv": "b4.conv", "dense": "b4.fc", "out": "b4.out"})
    for index in range(blocks):
        ours, theirs = f"blocks.{index}", f"b{4 << (blocks - index)}"
        names |= _pairs({f"{ours}.first": f"{theirs}.conv0", f"{ours}.second": f"{theirs}.conv1"})
        names[f"{ours}.skip.weight"] = f"{theirs}.skip.weight"
    return names


# --- both -------------------------------------------------------------------------------------------------------


def _pairs(layers: Names) -> Names:
    """Name the weight and the bias of each layer."""
    return {f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in layers.items() for part in ("weight", "bias")}


def _record(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _only_tensors(state: object) -> dict[str, Tensor]:
    return {name: value for name, value in _record(state).items() if isinstance(value, Tensor)}


def _dimension(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    if name not in tensors or tensors[name].ndim <= axis:
        raise ValueError(f"this is not a StyleGAN2 generator of configuration F: there is no {name}")
    return tensors[name].shape[axis]


def _config(widths: Sequence[int], z_dim: int, w_dim: int, layers: int) -> StyleGAN2Config:
    """Find the config whose widths at 4, 8, ... pixels these are."""
    resolution = 4 << (len(widths) - 1)
    config = StyleGAN2Config(resolution, widths[-1] * resolution, widths[0], z_dim, w_dim, layers)
    expected = [config.width(4 << index) for index in range(len(widths))]
    if list(widths) != expected:
        raise ValueError(f"the channels are {list(widths)}, expected a budget divided by the resolution: {expected}")
    return config


def _fill(network: nn.Module, theirs: Foreign, names: Names, optional: str = "") -> dict[str, Tensor]:
    """Copy published values into a network's tensors; a published tensor that has no place here is an error."""
    state = dict(network.state_dict())
    used = set(names.values())
    filters = {name for name in theirs.tensors if name.endswith(("resample_filter", "kernel"))}
    if missing := sorted(used - set(theirs.tensors) - {optional}):
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    if unknown := sorted(set(theirs.tensors) - used - filters):
        raise ValueError(f"{len(unknown)} tensors are not StyleGAN2's of configuration F, the first is {unknown[0]}")
    for name in filters:
        _check_filter(name, theirs.tensors[name])
    for ours, name in names.items():
        if name in theirs.tensors:
            state[ours] = _shaped(name, theirs.tensors[name], state[ours].shape)
    network.load_state_dict(state)
    if isinstance(network, Generator) and optional and optional not in theirs.tensors:
        _average(network)
    return dict(network.state_dict())


def _shaped(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """Drop or add dimensions of length one."""
    if [side for side in tensor.shape if side != 1] != [side for side in shape if side != 1]:
        raise ValueError(f"{name} is of shape {tuple(tensor.shape)}, expected {tuple(shape)}")
    return tensor.reshape(shape).float()


def _check_filter(name: str, kernel: Tensor) -> None:
    taps = torch.tensor(TAPS)
    expected = torch.outer(taps, taps) / sum(TAPS) ** 2
    if kernel.shape != expected.shape or not torch.allclose(kernel.float() / kernel.float().sum(), expected):
        raise ValueError(f"{name} is another low-pass filter than configuration F's (1, 3, 3, 1)")


@torch.no_grad()
def _average(network: Generator) -> None:
    """Estimate the average w, as the port does where its file has none."""
    z = torch.randn(AVERAGE_SAMPLES, network.config.z_dim, generator=torch.Generator().manual_seed(0))
    network.mapping.track(network.mapping(z), decay=0.0)


def _prior(
    config: StyleGAN2Config, generator: dict[str, Tensor], discriminator: dict[str, Tensor] | None, source: str
) -> Prior:
    numbers, provenance = asdict(config), {"converted from": source}
    critic = None
    if discriminator is not None:
        critic = Checkpoint("stylegan2-discriminator", numbers, discriminator, provenance)
    return Prior(Checkpoint("stylegan2", numbers, generator, provenance), critic, config.resolution)
