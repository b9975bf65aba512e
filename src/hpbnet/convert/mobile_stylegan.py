"""Convert the published MobileStyleGAN generator, two OpenVINO networks, to hpbnet's own format.

In these files, names are kept for style layers, depthwise kernels, biases, the constant and the image head. What was
computed at export has none of its own and is known by its order: convolutions with their demodulation
(`Mul_<number>_copy`), and planes of noise that are already multiplied by their strengths.
"""

import math
import re
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint import Checkpoint, Plain
from ..networks.mobile_stylegan import MobileGenerator, MobileStyleGANConfig
from ..networks.stylegan2 import MAPPING_MULTIPLIER
from .openvino_ir import Constant, find_networks, read_constants
from .stylegan2 import Prior

AVERAGE_SAMPLES = 4096  # over which the average w is taken, as the published package does
MAPPING, SYNTHESIS = "MappingNetwork", "SynthesisNetwork"
_FOLDED = re.compile(r"Mul_\d+_copy")
_PROVENANCE: dict[str, Plain] = {
    "origin": "MobileStyleGAN [Belousov 2021], distilled from NVIDIA's StyleGAN2 trained on FFHQ (CC BY-NC-SA 4.0)",
    "licence": "Apache-2.0 as the LICENSE file of random_face 2021.7.21.1 states; its metadata says unknown",
}


def convert_mobile_stylegan(path: str | Path) -> Prior:
    """Read the published generator from the wheel of random_face, or from a folder with its four files.

    Raises:
        ValueError: the wheel or the folder does not hold these networks, or they are of another architecture.
    """
    path = Path(path)
    files = find_networks(path, (MAPPING, SYNTHESIS))
    constants = {}
    for expected in (MAPPING, SYNTHESIS):
        name, constants[expected] = read_constants(files[expected])
        if name != expected:
            raise ValueError(f"{files[expected].origin} holds a network named {name!r}, expected {expected!r}")
    mapping = _mapping_tensors(constants[MAPPING])
    synthesis, widths = _synthesis_tensors(constants[SYNTHESIS])
    layers = len(mapping) // 2
    w_dim, z_dim = mapping[f"mapping.layers.{layers - 1}.weight"].shape[0], mapping["mapping.layers.0.weight"].shape[1]
    config = MobileStyleGANConfig(widths, z_dim=z_dim, w_dim=w_dim, mapping_layers=layers)
    network = _fill(config, mapping | synthesis)
    provenance = _PROVENANCE | {"converted from": path.name}
    return Prior(
        Checkpoint("mobilestylegan", asdict(config), network.state_dict(), provenance), None, config.resolution
    )


def _mapping_tensors(constants: list[Constant]) -> dict[str, Tensor]:
    """Undo the gains that the published weights and biases include."""
    several = [constant.tensor for constant in constants if constant.tensor.numel() > 1]
    weights = [tensor for tensor in several if tensor.ndim == 2]
    biases = [tensor for tensor in several if tensor.ndim == 1]
    if not weights or len(weights) != len(biases):
        raise ValueError(
            f"the mapping network has {len(weights)} weights and {len(biases)} biases, expected a pair each"
        )
    tensors = {}
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors[f"mapping.layers.{index}.weight"] = weight * (math.sqrt(weight.shape[1]) / MAPPING_MULTIPLIER)
        tensors[f"mapping.layers.{index}.bias"] = bias / MAPPING_MULTIPLIER
    return tensors


def _synthesis_tensors(constants: list[Constant]) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Name the tensors of the synthesis network as ours are, and tell the widths of its features."""
    named = {constant.name: constant.tensor for constant in constants}
    folded = [constant.tensor for constant in constants if _FOLDED.fullmatch(constant.name)]
    planes = [constant.tensor for constant in constants if _is_noise(constant)]
    blocks = len({name.split(".")[2] for name in named if re.fullmatch(r"m\.layers\.\d+\.conv1\.bias", name)})
    places = ["first", *(f"blocks.{index}.conv{half}" for index in range(blocks) for half in (1, 2))]
    for kind, count in (("convolutions", len(folded)), ("planes of noise", len(planes))):
        if count != len(places) or not blocks:
            raise ValueError(f"the synthesis network has {count} {kind} for {blocks} blocks, expected {len(places)}")
    names = _names(blocks)
    if missing := sorted(set(names.values()) - set(named)):
        raise ValueError(
            f"this is not a MobileStyleGAN generator: {len(missing)} constants are missing, as {missing[0]}"
        )
    tensors = {f"synthesis.{ours}": named[theirs] for ours, theirs in names.items()}
    for place, convolution, plane in zip(places, folded, planes, strict=True):
        kind = "weight" if place == "first" else "pointwise"
        tensors[f"synthesis.{place}.{kind}"] = convolution
        tensors[f"synthesis.{place}.noise_const"] = plane
    last = ["m.conv1.bias", *(f"m.layers.{index}.conv2.bias" for index in range(blocks))]
    return tensors, tuple(named[name].numel() for name in last)


def _is_noise(constant: Constant) -> bool:
    """Tell a plane of noise, [1,1,R,R], by its shape: the other constants of four dimensions have channels."""
    shape = tuple(constant.tensor.shape)
    return len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] >= 4


def _names(blocks: int) -> dict[str, str]:
    """Map our names in the synthesis network to those that are kept in the published file."""
    names = {"const": "m.input.input", "first.bias": "m.conv1.bias"}
    layers = {"first.affine": "m.conv1.conv.modulation"}
    for index in range(blocks):
        ours, theirs = f"blocks.{index}", f"m.layers.{index}"
        layers[f"{ours}.up"] = f"{theirs}.up.modulation"
        for conv in ("conv1", "conv2"):
            layers[f"{ours}.{conv}.affine"] = f"{theirs}.{conv}.conv.modulation"
            names[f"{ours}.{conv}.depthwise"] = f"{theirs}.{conv}.conv.weight_dw"
            names[f"{ours}.{conv}.bias"] = f"{theirs}.{conv}.bias"
    head, last = f"heads.{8 << blocks}", f"m.layers.{blocks - 1}.to_img"
    names |= {f"{head}.weight": f"{last}.conv.weight", f"{head}.bias": f"{last}.bias"}
    layers[f"{head}.affine"] = f"{last}.conv.modulation"
    return names | {
        f"{ours}.{part}": f"{theirs}.{part}" for ours, theirs in layers.items() for part in ("weight", "bias")
    }


def _fill(config: MobileStyleGANConfig, tensors: dict[str, Tensor]) -> MobileGenerator:
    """Build the generator from its tensors and estimate its average w."""
    network = MobileGenerator(config).eval()
    state = network.state_dict()
    for name, tensor in tensors.items():
        if name not in state or tensor.numel() != state[name].numel():
            expected = list(state[name].shape) if name in state else "no such tensor"
            raise ValueError(f"{name} is of shape {list(tensor.shape)}, expected {expected}")
        state[name] = tensor.reshape(state[name].shape)
    network.load_state_dict(state)
    z = torch.randn(AVERAGE_SAMPLES, config.z_dim, generator=torch.Generator().manual_seed(0))
    network.mapping.track(network.mapping(z), decay=0.0)
    return network
