"""Colours of files: curves, primaries and code points are honoured, names are not, HDR is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpbnet.image import encode_picture, read_mask, read_picture
from hpbnet.image.colors import colors_of_codes, colors_of_profile
from hpbnet.image.picture import to_planes, to_samples
from hpbnet.image.profile import hdr_of, is_srgb, planes_to_srgb, srgb_profile

SRGB = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))  # at D50, as ICC states them
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
PROPHOTO = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB's curve, written out once more [IEC 61966-2-1]."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-12) ** (1 / 2.4) - 0.055)


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def parametric(kind: int, *numbers: float) -> bytes:
    fixed = [round(number * 65536) for number in numbers]
    return b"para" + bytes(4) + struct.pack(f">HH{len(fixed)}i", kind, 0, *fixed)


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(tags: dict[bytes, bytes], space: bytes = b"RGB ", connection: bytes = b"XYZ ", name: str = "x") -> bytes:
    """A profile of the given tags [ICC.1:2022, 7]."""
    text = name.encode("utf-16-be")
    tags = {b"desc": b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text} | tags
    tags[b"wtpt"] = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    body, table = b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 132 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x04400000, b"mntr", space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


def matrix_profile(primaries: tuple[tuple[float, float, float], ...], curve: bytes, name: str = "x") -> bytes:
    xyz = [b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in column)) for column in primaries]
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz, strict=True))
    return profile(tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), name=name)


def png(samples: NDArray[np.uint8 | np.uint16], **chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    depth = 8 * samples.itemsize
    data = encode_picture(to_planes(samples), None, "png", depth=depth)
    start = data.find(b"iCCP") - 4
    if start > 0:  # not sRGB's
        data = data[:start] + data[start + 12 + struct.unpack(">I", data[start : start + 4])[0] :]
    added = b""
    for name, content in chunks.items():
        body = name.encode() + content
        added += struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + added + data[33:]


def icc(content: bytes) -> bytes:
    return b"x\0\0" + zlib.compress(content)


LINEAR = matrix_profile(SRGB, curve(1.0), name="GIMP built-in Linear sRGB")
GREY_RAMP = np.repeat(np.linspace(0, 65535, 4096).astype(np.uint16)[None, :, None], 3, axis=2)


def test_a_linear_profile_named_srgb_is_not_taken_for_srgb() -> None:
    assert not is_srgb(LINEAR)
    grey = np.full((8, 8, 3), 70, np.uint8)
    expected = float(encode_srgb(np.array(70 / 255)))  # 0.56
    for data in (png(grey, iCCP=icc(LINEAR)), png(grey.astype(np.uint16) * 257, iCCP=icc(LINEAR))):
        picture = read_picture(data)
        assert picture.pixels.mean() == pytest.approx(expected, abs=1 / 255) and picture.notices == ()
    assert expected == pytest.approx(0.56, abs=0.005)


def test_a_copy_of_srgb_of_any_name_and_form_changes_nothing() -> None:
    table = encode = np.linspace(0, 1, 1024)
    table = np.where(encode <= 0.04045, encode / 12.92, ((encode + 0.055) / 1.055) ** 2.4)
    sampled = b"curv" + bytes(4) + struct.pack(">I", 1024) + np.rint(table * 65535).astype(">u2").tobytes()
    for copy in (srgb_profile(), matrix_profile(SRGB, SRGB_CURVE, "anything"), matrix_profile(SRGB, sampled)):
        assert is_srgb(copy)
        samples = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        assert (to_samples(read_picture(png(samples, iCCP=icc(copy))).pixels) == samples).all()
    for other in (matrix_profile(SRGB, curve(2.2)), matrix_profile(P3, SRGB_CURVE, "sRGB"), LINEAR):
        assert not is_srgb(other)


@pytest.mark.parametrize(("primaries", "gamma"), [(SRGB, 1.0), (PROPHOTO, 1.0), (PROPHOTO, 1.8), (P3, 2.6)])
def test_sixteen_bits_are_converted_exactly_down_to_the_shadows(
    primaries: tuple[tuple[float, float, float], ...], gamma: float
) -> None:
    generator = np.random.default_rng(0)
    samples = (65535 * generator.random((40, 50, 3)) ** 3).astype(np.uint16)  # many shadows
    stored = matrix_profile(primaries, curve(gamma))
    to_srgb = np.linalg.inv(np.array(SRGB).T) @ np.array(primaries).T
    linear = (samples / 65535) ** (round(gamma * 256) / 256) @ to_srgb.T
    expected = encode_srgb(np.clip(linear, 0, 1))
    found = to_samples(read_picture(png(samples, iCCP=icc(stored))).pixels, 16) / 65535
    assert np.abs(found - expected).max() < 0.5 / 255
    grey = read_picture(png(GREY_RAMP, iCCP=icc(matrix_profile(SRGB, curve(gamma))))).pixels[0, 0, 0].numpy()
    assert np.abs(grey - encode_srgb((GREY_RAMP[0, :, 0] / 65535) ** (round(gamma * 256) / 256))).max() < 0.2 / 255


@pytest.mark.parametrize(
    ("stored", "formula"),
    [
        (parametric(0, 2.0), lambda x: x**2),
        (parametric(1, 2.0, 0.8, 0.2), lambda x: (0.8 * x + 0.2) ** 2),
        (parametric(2, 2.0, 0.5, 0.25, 0.125), lambda x: (0.5 * x + 0.25) ** 2 + 0.125),
        (SRGB_CURVE, lambda x: np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)),
        (
            parametric(4, 2.0, 0.9, 0.0, 0.25, 0.25, 0.1, 0.05),
            lambda x: np.where(x >= 0.25, (0.9 * x) ** 2 + 0.1, 0.25 * x + 0.05),
        ),
        (b"curv" + bytes(8), lambda x: x),
        (b"curv" + bytes(4) + struct.pack(">I3H", 3, 0, 6553, 65535), lambda x: np.interp(x, [0, 0.5, 1], [0, 0.1, 1])),
    ],
)
def test_curves_of_every_form_are_evaluated(stored: bytes, formula: object) -> None:
    colors = colors_of_profile(matrix_profile(SRGB, stored))
    assert colors is not None and callable(formula)
    expected = np.clip(formula(np.linspace(0, 1, 65536)), 0, 1)
    assert np.abs(colors.curves[0] - expected).max() < 1e-4


def test_a_grey_profile_is_converted_at_both_depths() -> None:
    stored = profile({b"kTRC": curve(1.0)}, space=b"GRAY")
    for depth in (8, 16):
        grey = np.full((8, 8), 70 * (257 if depth == 16 else 1), np.uint8 if depth == 8 else np.uint16)
        picture = read_picture(png(grey, iCCP=icc(stored)))
        assert picture.pixels.mean() == pytest.approx(float(encode_srgb(np.array(70 / 255))), abs=1 / 255)


def test_a_profile_of_tables_is_converted_at_sixteen_bits_to_one_step() -> None:
    identity = np.stack(np.meshgrid(*[np.array([0, 65535])] * 3, indexing="ij"), -1)[..., ::-1]  # to blue, green, red
    lut = b"mft2" + bytes(4) + bytes([3, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    ramp = struct.pack(">2H", 0, 65535) * 3
    lut += struct.pack(">2H", 2, 2) + ramp + (identity // 2).astype(">u2").tobytes() + ramp
    stored = profile({b"A2B0": lut, b"A2B1": lut})
    assert colors_of_profile(stored) is None
    samples = np.random.default_rng(0).integers(0, 65536, (20, 20, 3), dtype=np.uint16)
    coarse = read_picture(png((samples // 257).astype(np.uint8), iCCP=icc(stored))).pixels
    fine = planes_to_srgb(to_planes((samples // 257 * 257).astype(np.uint16)), stored)
    assert (coarse - fine).abs().max() < 1.1 / 255 and fine.std() > 0.05


def test_a_profile_of_another_kind_or_torn_is_a_notice_at_both_depths() -> None:
    for broken in (b"no profile at all" * 20, LINEAR[:200], profile({}, space=b"CMYK")):
        for samples in (np.full((8, 8, 3), 70, np.uint8), np.full((8, 8, 3), 70 * 257, np.uint16)):
            picture = read_picture(png(samples, iCCP=icc(broken)))
            assert picture.pixels.mean() == pytest.approx(70 / 255)
            assert len(picture.notices) == 1 and "taken as sRGB" in picture.notices[0]


# -- code points --------------------------------------------------------------------------------------------------


IN_P3 = (204, 102, 77)  # of 255
CSS = np.array(  # Display P3 to sRGB, in linear light [CSS Color 4, sample code]
    [[1.2249401, -0.2249402, 0.0], [-0.0420569, 1.0420571, 0.0], [-0.0196376, -0.0786361, 1.0982735]]
)
LIGHT = ((np.array(IN_P3) / 255 + 0.055) / 1.055) ** 2.4
IN_SRGB = 255 * encode_srgb(CSS @ LIGHT)


@pytest.mark.parametrize("depth", [8, 16])
def test_display_p3_by_code_points_is_converted(depth: int) -> None:
    samples = np.tile(np.array(IN_P3) * (1 if depth == 8 else 257), (8, 8, 1)).astype(
        np.uint8 if depth == 8 else np.uint16
    )
    picture = read_picture(png(samples, cICP=bytes([12, 13, 0, 1])))
    found = picture.pixels[0, :, 0, 0] * 255
    assert np.abs(found.numpy() - IN_SRGB).max() < 0.1


def test_code_points_go_before_a_profile_and_srgb_ones_change_nothing() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for transfer in (1, 13):
        found = read_picture(png(samples, cICP=bytes([1, transfer, 0, 1]), iCCP=icc(LINEAR)))
        assert (to_samples(found.pixels) == samples).all() and found.notices == ()
    assert "colour space (200, 13) is not known" in read_picture(png(samples, cICP=bytes([200, 13, 0, 1]))).notices[0]


def avif(samples: NDArray[np.uint8], primaries: int, transfer: int, icc_profile: bytes | None = None) -> bytes:
    """An AVIF whose boxes state other code points."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "AVIF", quality=100, subsampling="4:4:4", icc_profile=icc_profile)
    data = bytearray(file.getvalue())
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


@pytest.mark.parametrize(("transfer", "kind"), [(16, r"PQ \(HDR10\)"), (18, "HLG")])
def test_hdr_is_refused_in_the_words_that_clips_have(transfer: int, kind: str) -> None:
    samples = np.full((16, 16, 3), 128, np.uint8)
    files = [
        png(samples, cICP=bytes([9, transfer, 0, 1])),
        png(samples.astype(np.uint16), cICP=bytes([9, transfer, 0, 1])),
    ]
    files.append(avif(samples, 9, transfer))
    stated = matrix_profile(SRGB, SRGB_CURVE)
    tagged = profile({b"cicp": b"cicp" + bytes(4) + bytes([9, transfer, 0, 1]), b"rTRC": SRGB_CURVE})
    assert hdr_of(stated) is None
    files.append(png(samples, iCCP=icc(tagged)))
    for data in files:
        with pytest.raises(ValueError, match=f"the data is a {kind} picture; convert it to SDR first"):
            read_picture(data)
    assert read_mask(avif(samples, 9, transfer)).mean() == pytest.approx(128 / 255, abs=0.02)


def test_a_pq_curve_in_a_profile_is_refused_whatever_its_name() -> None:
    x = np.linspace(0, 1, 1024)
    power = x ** (1 / 78.84375)
    light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)  # BT.2100
    table = b"curv" + bytes(4) + struct.pack(">I", 1024) + np.rint(light * 65535).astype(">u2").tobytes()
    with pytest.raises(ValueError, match=r"PQ \(HDR10\) picture"):
        read_picture(png(np.full((8, 8, 3), 128, np.uint8), iCCP=icc(matrix_profile(P3, table, "sRGB"))))


def test_display_p3_in_an_avif_is_converted() -> None:
    color = np.tile(np.array(IN_P3, np.uint8), (16, 16, 1))
    found = read_picture(avif(color, 12, 13)).pixels.mean(dim=(0, 2, 3)) * 255
    assert np.abs(found.numpy() - IN_SRGB).max() < 3
    assert colors_of_codes(200, 13) is None


def test_a_profile_and_code_points_of_one_space_are_not_heeded_twice() -> None:
    color = np.tile(np.array(IN_P3, np.uint8), (16, 16, 1))
    found = read_picture(avif(color, 12, 13, matrix_profile(P3, SRGB_CURVE))).pixels.mean(dim=(0, 2, 3)) * 255
    assert np.abs(found.numpy() - IN_SRGB).max() < 3


def test_gamma_and_chromaticities_of_a_png_are_honoured() -> None:
    samples = np.full((8, 8, 3), 70, np.uint8)
    linear = struct.pack(">I", 100_000)
    expected = float(encode_srgb(np.array(70 / 255)))
    assert read_picture(png(samples, gAMA=linear)).pixels.mean() == pytest.approx(expected, abs=1 / 255)
    usual = read_picture(png(samples, gAMA=struct.pack(">I", 45455)))
    assert (to_samples(usual.pixels) == 70).all()
    assert (to_samples(read_picture(png(samples, gAMA=linear, sRGB=b"\0")).pixels) == 70).all()
    p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    color = np.tile(np.array(IN_P3, np.uint8), (8, 8, 1))
    found = read_picture(png(color, gAMA=struct.pack(">I", 45455), cHRM=p3)).pixels[0, :, 0, 0] * 255
    assert np.abs(found.numpy() - IN_SRGB).max() < 0.1
    assert (to_samples(read_picture(png(samples, gAMA=bytes(4), cHRM=bytes(32))).pixels) == 70).all()
