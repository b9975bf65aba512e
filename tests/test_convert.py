"""Tests of convert.py: small random weights laid out as each published format names and shapes them."""

import argparse
import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpbnet.checkpoint import read_checkpoint
from hpbnet.cli import main
from hpbnet.convert import convert_stylegan2
from hpbnet.networks.stylegan2 import Discriminator, Generator, StyleGAN2Config

CONFIG = StyleGAN2Config(resolution=16, channels=96, max_channels=8, z_dim=5, w_dim=7, mapping_layers=3)
WIDTHS = {4: 8, 8: 8, 16: 6}
FILTER = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64

State = dict[str, Tensor]


def shaken(network: nn.Module) -> nn.Module:
    """Fill a network with random numbers, biases and noise strengths too."""
    torch.manual_seed(0)
    network.load_state_dict({name: torch.randn(value.shape) for name, value in network.state_dict().items()})
    return network


@pytest.fixture
def generator() -> Generator:
    network = shaken(Generator(CONFIG))
    assert isinstance(network, Generator)
    return network


@pytest.fixture
def discriminator() -> Discriminator:
    network = shaken(Discriminator(CONFIG))
    assert isinstance(network, Discriminator)
    return network


# --- the two layouts --------------------------------------------------------------------------------------------


def port_layout(network: Generator) -> State:
    """Name and shape a generator as the PyTorch port does."""
    ours = network.state_dict()
    theirs: State = {"input.input": ours["synthesis.const"][None]}
    for index in range(3):
        theirs[f"style.{index + 1}.weight"] = ours[f"mapping.layers.{index}.weight"]
        theirs[f"style.{index + 1}.bias"] = ours[f"mapping.layers.{index}.bias"]
    places = ["refine", "blocks.0.grow", "blocks.0.refine", "blocks.1.grow", "blocks.1.refine"]
    for index, (name, place) in enumerate(zip(["conv1", *(f"convs.{i}" for i in range(4))], places, strict=True)):
        layer = f"synthesis.{place}"
        theirs[f"{name}.conv.weight"] = ours[f"{layer}.weight"][None]
        theirs[f"{name}.conv.modulation.weight"] = ours[f"{layer}.affine.weight"]
        theirs[f"{name}.conv.modulation.bias"] = ours[f"{layer}.affine.bias"]
        theirs[f"{name}.noise.weight"] = ours[f"{layer}.noise_strength"].reshape(1)
        theirs[f"{name}.activate.bias"] = ours[f"{layer}.bias"]
        theirs[f"noises.noise_{index}"] = ours[f"{layer}.noise_const"][None, None]
        if "grow" in place:
            theirs[f"{name}.conv.blur.kernel"] = FILTER * 4
    for name, place in {"to_rgb1": "paint", "to_rgbs.0": "blocks.0.paint", "to_rgbs.1": "blocks.1.paint"}.items():
        layer = f"synthesis.{place}"
        theirs[f"{name}.bias"] = ours[f"{layer}.bias"].reshape(1, 3, 1, 1)
        theirs[f"{name}.conv.weight"] = ours[f"{layer}.weight"][None]
        theirs[f"{name}.conv.modulation.weight"] = ours[f"{layer}.affine.weight"]
        theirs[f"{name}.conv.modulation.bias"] = ours[f"{layer}.affine.bias"]
        if name != "to_rgb1":
            theirs[f"{name}.upsample.kernel"] = FILTER * 4
    assert theirs["convs.2.conv.weight"].shape == (1, 6, 8, 3, 3)
    return theirs


def port_discriminator_layout(network: Discriminator) -> State:
    ours = network.state_dict()
    theirs = {"convs.0.0.weight": ours["from_rgb.weight"], "convs.0.1.bias": ours["from_rgb.bias"]}
    for index in (1, 2):
        theirs[f"convs.{index}.conv1.0.weight"] = ours[f"blocks.{index - 1}.first.weight"]
        theirs[f"convs.{index}.conv1.1.bias"] = ours[f"blocks.{index - 1}.first.bias"]
        theirs[f"convs.{index}.conv2.0.kernel"] = FILTER
        theirs[f"convs.{index}.conv2.1.weight"] = ours[f"blocks.{index - 1}.second.weight"]
        theirs[f"convs.{index}.conv2.2.bias"] = ours[f"blocks.{index - 1}.second.bias"]
        theirs[f"convs.{index}.skip.0.kernel"] = FILTER
        theirs[f"convs.{index}.skip.1.weight"] = ours[f"blocks.{index - 1}.skip.weight"]
    theirs |= {"final_conv.0.weight": ours["conv.weight"], "final_conv.1.bias": ours["conv.bias"]}
    for index, layer in enumerate(("dense", "out")):
        theirs[f"final_linear.{index}.weight"] = ours[f"{layer}.weight"]
        theirs[f"final_linear.{index}.bias"] = ours[f"{layer}.bias"]
    return theirs


def nvidia_layout(network: Generator) -> State:
    ours = network.state_dict()
    theirs = {"mapping.w_avg": ours["mapping.w_avg"], "synthesis.b4.const": ours["synthesis.const"]}
    for index in range(3):
        for part in ("weight", "bias"):
            theirs[f"mapping.fc{index}.{part}"] = ours[f"mapping.layers.{index}.{part}"]
    places = {"b4.conv1": "refine", "b8.conv0": "blocks.0.grow", "b8.conv1": "blocks.0.refine"}
    places |= {"b16.conv0": "blocks.1.grow", "b16.conv1": "blocks.1.refine"}
    for name, place in places.items():
        for part in ("weight", "bias", "noise_const", "noise_strength", "affine.weight", "affine.bias"):
            theirs[f"synthesis.{name}.{part}"] = ours[f"synthesis.{place}.{part}"]
        theirs[f"synthesis.{name}.resample_filter"] = FILTER
    for name, place in {"b4": "paint", "b8": "blocks.0.paint", "b16": "blocks.1.paint"}.items():
        theirs[f"synthesis.{name}.resample_filter"] = FILTER
        for part in ("weight", "bias", "affine.weight", "affine.bias"):
            theirs[f"synthesis.{name}.torgb.{part}"] = ours[f"synthesis.{place}.{part}"]
    return theirs


def nvidia_discriminator_layout(network: Discriminator) -> State:
    ours = network.state_dict()
    names = {"b16.fromrgb": "from_rgb", "b4.conv": "conv", "b4.fc": "dense", "b4.out": "out"}
    names |= {"b16.conv0": "blocks.0.first", "b16.conv1": "blocks.0.second"}
    names |= {"b8.conv0": "blocks.1.first", "b8.conv1": "blocks.1.second"}
    theirs = {f"{name}.{part}": ours[f"{place}.{part}"] for name, place in names.items() for part in ("weight", "bias")}
    theirs |= {"b16.skip.weight": ours["blocks.0.skip.weight"], "b8.skip.weight": ours["blocks.1.skip.weight"]}
    return theirs | {"b16.conv1.resample_filter": FILTER, "b16.resample_filter": FILTER}


# --- writing NVIDIA's pickles without NVIDIA's code -------------------------------------------------------------


class EasyDict(dict[str, object]):
    __module__, __qualname__ = "dnnlib.util", "EasyDict"


def _reconstruct_persistent_obj(meta: object) -> object:
    raise AssertionError("only NVIDIA's loader calls this")


class Module:
    """Pickles as NVIDIA's persistent classes do: by a dict with the class's source code and its state."""

    def __init__(self, state: dict[str, object]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        source = "raise AssertionError('source code of a pickle was executed')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Net", "state": self.state}
        return _reconstruct_persistent_obj, (meta,), None


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `pickle` find the two names that NVIDIA's pickles refer to while one is written."""
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    for name, thing in {"torch_utils.persistence": _reconstruct_persistent_obj, "dnnlib.util": EasyDict}.items():
        package = name.split(".")[0]
        module = types.ModuleType(name)
        setattr(module, thing.__name__, thing)
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        monkeypatch.setitem(sys.modules, name, module)
    yield


def nested(state: State, numbers: dict[str, object] | None = None, prefix: str = "") -> Module:
    """Hang flat names into modules of modules, with the odd things that real modules hold beside their tensors."""
    parameters: OrderedDict[str, object] = OrderedDict()
    buffers: OrderedDict[str, object] = OrderedDict()
    inner: dict[str, State] = {}
    for name, value in state.items():
        head, _, rest = name.partition(".")
        if rest:
            inner.setdefault(head, {})[rest] = value
        elif head in {"w_avg", "noise_const", "resample_filter"}:
            buffers[head] = value
        else:
            parameters[head] = nn.Parameter(value)
    modules = OrderedDict((name, nested(below, numbers, f"{prefix}{name}.")) for name, below in inner.items())
    extra = {"training": False, "_non_persistent_buffers_set": set(), "_init_kwargs": EasyDict(channels=3)}
    extra |= {"weight_gain": np.float64(0.01), "conv_clamp": None, "_forward_hooks": OrderedDict()}
    extra |= {name.rpartition(".")[2]: value for name, value in (numbers or {}).items() if name.startswith(prefix)}
    return Module({"_parameters": parameters, "_buffers": buffers, "_modules": modules, **extra})


def written(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


# --- round trips ------------------------------------------------------------------------------------------------


def same_images(checkpoint_state: object, config: dict[str, object], generator: Generator, psi: float) -> bool:
    again = Generator(StyleGAN2Config(**config))  # type: ignore[arg-type]
    again.load_state_dict(checkpoint_state)  # type: ignore[arg-type]
    z = torch.randn(2, 5)
    return torch.equal(again(z, psi), generator(z, psi))


@pytest.mark.parametrize("zipped", [True, False])
def test_port_state_dict_gives_the_same_images(
    tmp_path: Path, generator: Generator, discriminator: Discriminator, zipped: bool
) -> None:
    content = {
        "g_ema": port_layout(generator),
        "d": port_discriminator_layout(discriminator),
        "latent_avg": generator.mapping.w_avg,
        "args": argparse.Namespace(size=16),
    }
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    prior = convert_stylegan2(tmp_path / "a.pt")
    assert prior.generator.network == "stylegan2"
    assert same_images(prior.generator.tensors, dict(prior.generator.config), generator, psi=0.7)
    assert prior.discriminator is not None
    critic = Discriminator(StyleGAN2Config(**prior.discriminator.config))  # type: ignore[arg-type]
    critic.load_state_dict(dict(prior.discriminator.tensors))
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(critic(images), discriminator(images))


def test_port_without_an_average_w_gets_one_from_many_samples(tmp_path: Path, generator: Generator) -> None:
    torch.save({"g_ema": port_layout(generator)}, tmp_path / "a.pt")
    prior = convert_stylegan2(tmp_path / "a.pt")
    assert prior.discriminator is None
    expected = generator.mapping(torch.randn(10_000, 5)).mean(dim=0)
    assert torch.allclose(prior.generator.tensors["mapping.w_avg"], expected, atol=0.05 * expected.abs().max().item())


@pytest.mark.usefixtures("nvidia")
def test_nvidia_pickle_gives_the_same_images_and_no_code_of_it_runs(
    tmp_path: Path, generator: Generator, discriminator: Discriminator
) -> None:
    content = {
        "training_set_kwargs": EasyDict(resolution=16),
        "G": None,
        "D": nested(nvidia_discriminator_layout(discriminator)),
        "G_ema": nested(nvidia_layout(generator)),
    }
    prior = convert_stylegan2(written(tmp_path / "a.pkl", content))
    assert same_images(prior.generator.tensors, dict(prior.generator.config), generator, psi=0.7)
    assert prior.discriminator is not None
    for name, value in discriminator.state_dict().items():
        assert torch.equal(prior.discriminator.tensors[name], value)


@pytest.mark.usefixtures("nvidia")
def test_nvidia_clamp_is_kept(tmp_path: Path, generator: Generator) -> None:
    numbers: dict[str, object] = {"synthesis.b4.conv1.conv_clamp": 256}
    prior = convert_stylegan2(written(tmp_path / "a.pkl", {"G_ema": nested(nvidia_layout(generator), numbers)}))
    assert prior.generator.config["clamp"] == 256


# --- refusals ---------------------------------------------------------------------------------------------------


class Hostile:
    """Calls a function of the operating system when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


class Evaluates:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1 + 1",)


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path, generator: Generator) -> None:
    for zipped in (True, False):
        torch.save({"g_ema": generator.state_dict()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        whole = (tmp_path / "a.pt").read_bytes()
        for length in (20, len(whole) // 2, len(whole) - 8):
            (tmp_path / "a.pt").write_bytes(whole[:length])
            with pytest.raises(ValueError, match=r"a\.pt"):
                convert_stylegan2(tmp_path / "a.pt")


@pytest.mark.usefixtures("nvidia")
def test_malicious_pickle_is_refused_and_not_executed(tmp_path: Path, generator: Generator) -> None:
    trace = tmp_path / "trace"
    for hostile in (Hostile(trace), Evaluates(), {"G_ema": nested(nvidia_layout(generator)), "x": Hostile(trace)}):
        with pytest.raises(ValueError, match="neither a tensor nor a plain container"):
            convert_stylegan2(written(tmp_path / "a.pkl", hostile))
    torch.save({"g_ema": {}, "x": Hostile(trace)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds more than tensors"):
        convert_stylegan2(tmp_path / "a.pt")
    assert not trace.exists()


def test_malice_inside_a_tensors_own_bytes_is_refused(tmp_path: Path) -> None:
    """A storage is a pickle within the pickle."""
    trace = tmp_path / "trace"
    inner = io.BytesIO()
    torch.save(Hostile(trace), inner, _use_new_zipfile_serialization=False)

    class Storage:
        def __reduce__(self) -> tuple[object, ...]:
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    with pytest.raises(ValueError, match=r"cannot read .*a\.pkl"):
        convert_stylegan2(written(tmp_path / "a.pkl", Storage()))
    assert not trace.exists()


def test_tensorflow_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    pickled = b"\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81."
    (tmp_path / "a.pkl").write_bytes(pickled)
    with pytest.raises(ValueError, match=r"TensorFlow pickle; convert it with legacy\.py"):
        convert_stylegan2(tmp_path / "a.pkl")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file at"):
        convert_stylegan2(tmp_path / "none.pkl")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match="neither a PyTorch checkpoint"):
        convert_stylegan2(tmp_path / "a.txt")
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps({"G_ema": 1})[:-3])
    with pytest.raises(ValueError, match=r"cannot read .*cut\.pkl"):
        convert_stylegan2(tmp_path / "cut.pkl")
    torch.save({"model": {}}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match="no generator `g_ema`; it has model"):
        convert_stylegan2(tmp_path / "b.pt")


@pytest.mark.usefixtures("nvidia")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping.embed.weight": torch.zeros(7, 3)}, "conditioned on labels"),
        ({"synthesis.b8.skip.weight": torch.zeros(8, 8, 1, 1)}, "not StyleGAN2's of configuration F"),
        ({"synthesis.b8.resample_filter": torch.ones(4, 4)}, "another low-pass filter"),
        ({"synthesis.b8.conv1.weight": torch.zeros(4, 8, 3, 3)}, "expected a budget"),
        ({"synthesis.b8.conv0.affine.bias": torch.zeros(3)}, r"of shape \(3,\), expected \(8,\)"),
        ({"mapping.fc1.weight": None}, "missing, the first is mapping.fc1.weight"),
    ],
)
def test_another_architecture_is_refused(
    tmp_path: Path, generator: Generator, change: dict[str, Tensor | None], message: str
) -> None:
    layout = {name: value for name, value in (nvidia_layout(generator) | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        convert_stylegan2(written(tmp_path / "a.pkl", {"G_ema": nested(layout)}))


@pytest.mark.usefixtures("nvidia")
def test_another_learning_rate_multiplier_is_refused(tmp_path: Path, generator: Generator) -> None:
    content = {"G_ema": nested(nvidia_layout(generator), {"mapping.fc0.bias_gain": 1.0})}
    with pytest.raises(ValueError, match="another learning-rate multiplier"):
        convert_stylegan2(written(tmp_path / "a.pkl", content))


# --- the command ------------------------------------------------------------------------------------------------


def test_command_writes_checkpoints(
    tmp_path: Path, generator: Generator, discriminator: Discriminator, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"g_ema": port_layout(generator), "d": port_discriminator_layout(discriminator)}, tmp_path / "a.pt")
    outputs = [tmp_path / "prior.safetensors", tmp_path / "critic.safetensors"]
    arguments = ["stylegan2", str(tmp_path / "a.pt"), "-o", str(outputs[0]), "--discriminator", str(outputs[1])]
    assert main(["convert", *arguments]) == 0
    assert "16 px" in capsys.readouterr().out
    assert [read_checkpoint(path).network for path in outputs] == ["stylegan2", "stylegan2-discriminator"]
    assert read_checkpoint(outputs[0]).config["channels"] == 96


def test_command_says_that_there_is_no_discriminator(
    tmp_path: Path, generator: Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"g_ema": port_layout(generator)}, tmp_path / "a.pt")
    arguments = ["stylegan2", str(tmp_path / "a.pt"), "-o", str(tmp_path / "b"), "--discriminator", str(tmp_path / "c")]
    assert main(["convert", *arguments]) == 2
    assert "has no discriminator" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
