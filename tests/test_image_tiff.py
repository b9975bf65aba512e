"""TIFFs: every layout of 8 and 16 bits is read as tifffile reads it, and what has no known range is refused."""

import io
import itertools
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hpbnet.image import read_mask, read_picture
from hpbnet.image.picture import to_samples

RNG = np.random.default_rng(5)
HEIGHT, WIDTH = 37, 45


def noise(channels: int, bits: int) -> NDArray[np.uint8 | np.uint16]:
    """Smooth in part, so that compression and predictor have something to do."""
    wide = RNG.integers(0, 1 << bits, (HEIGHT, WIDTH, channels)).astype(f"u{bits // 8}")
    wide[:20] = np.arange(WIDTH)[None, :, None] * (1 << bits - 7)
    return wide


def written(samples: NDArray[np.uint8 | np.uint16], **settings: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **settings)
    return file.getvalue()


COMBINATIONS = list(
    itertools.product(
        (8, 16),
        ("contig", "separate"),
        ("minisblack", "miniswhite", "rgb"),
        ((), ("unspecified",), ("unassalpha",), ("assocalpha",), ("unspecified", "unassalpha")),
        ("<", ">"),
        (None, "zlib", "predicted", "lzma", "tiles", "strips", "big"),
    )
)
LAYOUTS: dict[str | None, dict[str, object]] = {
    None: {},
    "zlib": {"compression": "zlib"},
    "predicted": {"compression": "zlib", "predictor": 2, "rowsperstrip": 5},
    "lzma": {"compression": "lzma"},
    "tiles": {"compression": "zlib", "predictor": 2, "tile": (16, 32)},
    "strips": {"rowsperstrip": 8},
    "big": {"bigtiff": True},
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
def test_every_layout_is_read_as_tifffile_reads_it(bits: int, planes: str, photometric: str) -> None:
    checked = 0
    for *head, extras, order, layout in COMBINATIONS:
        if head != [bits, planes, photometric]:
            continue
        colors = 3 if photometric == "rgb" else 1
        samples = noise(colors + len(extras), bits)
        stored = np.moveaxis(samples, 2, 0) if planes == "separate" else samples
        if samples.shape[2] == 1:
            stored = samples[..., 0]
        settings = {"photometric": photometric, "extrasamples": extras, "byteorder": order, **LAYOUTS[layout]}
        if samples.shape[2] > 1:
            settings["planarconfig"] = planes
        data = written(stored, **settings)
        assert (tifffile.imread(io.BytesIO(data)) == stored).all()
        check(data, samples, colors, extras, photometric == "miniswhite")
        checked += 1
    assert checked == 5 * 2 * 7


def check(
    data: bytes, samples: NDArray[np.uint8 | np.uint16], colors: int, extras: tuple[str, ...], inverted: bool
) -> None:
    """Compare a TIFF as it is read with what its samples mean."""
    picture = read_picture(data)
    bits = 8 * samples.itemsize
    one = (1 << bits) - 1
    color = samples[..., :colors].astype(float)
    color = one - color if inverted else color
    use = next((i for i, extra in enumerate(extras) if extra != "unspecified"), None)
    assert picture.depth == bits and (picture.alpha is None) == (use is None)
    if use is not None:
        alpha = samples[..., colors + use].astype(float)
        assert picture.alpha is not None and (to_samples(picture.alpha, bits)[..., 0] == alpha).all()
        if extras[use] == "assocalpha":
            color = np.minimum(color * one / np.maximum(alpha, 1)[..., None], one)
    found = to_samples(picture.pixels, bits).astype(float)
    assert np.abs(found - color).max() <= 0.51  # rounded in float32


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lzw_with_a_predictor_is_read_exactly(channels: int) -> None:
    samples = noise(channels, 16)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    settings = [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, 2]
    data = cv2.imencode(".tiff", np.ascontiguousarray(samples[..., order]), settings)[1].tobytes()
    picture = read_picture(data)
    assert (to_samples(picture.pixels, 16) == (samples[..., :3] if channels > 1 else samples)).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate", "raw", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_eight_bits_of_every_compression_are_read_as_pillow_reads_them(compression: str, mode: str) -> None:
    if compression == "jpeg" and mode == "RGBA":
        pytest.skip("JPEG holds no alpha")
    image = Image.fromarray(noise(3, 8).astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(noise(1, 8)[..., 0]))
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    assert (to_samples(read_picture(file.getvalue()).pixels) == expected).all()


def test_sixteen_bit_cmyk_is_read_at_eight() -> None:
    samples = noise(4, 16)
    for planes in ("contig", "separate"):
        stored = np.moveaxis(samples, 2, 0) if planes == "separate" else samples
        picture = read_picture(written(stored, photometric="separated", planarconfig=planes))
        expected = np.asarray(Image.fromarray((samples // 256).astype(np.uint8), "CMYK").convert("RGB"))
        assert (to_samples(picture.pixels) == expected).all() and "CMYK without a profile" in picture.notices[0]


def test_a_saved_selection_is_no_mask() -> None:
    samples = np.full((20, 20, 4), 65535, np.uint16)
    samples[5:, :, 3] = 0
    selection = written(samples, photometric="rgb", extrasamples=["unspecified"])
    assert read_picture(selection).alpha is None and read_mask(selection).min() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_orientation_is_undone(orientation: int, planes: str) -> None:
    samples = noise(3, 16)
    stored = samples
    if orientation in (3, 4, 7, 8):  # the inverse of what is undone, in its order
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    if orientation in (5, 6, 7, 8):
        stored = stored.swapaxes(0, 1)
    stored = np.ascontiguousarray(np.moveaxis(stored, 2, 0) if planes == "separate" else stored)
    data = written(stored, photometric="rgb", planarconfig=planes, extratags=[(274, 3, 1, orientation, True)])
    assert (to_samples(read_picture(data).pixels, 16) == samples).all()


@pytest.mark.parametrize(
    ("samples", "settings", "reason"),
    [
        (np.zeros((20, 20, 3), np.float32), {"photometric": "rgb"}, "32 bits"),
        (np.zeros((20, 20), np.float16), {"photometric": "minisblack"}, "floating-point numbers, whose range"),
        (np.zeros((20, 20), np.int16), {"photometric": "minisblack"}, "signed numbers, whose range"),
        (np.zeros((20, 20, 3), np.uint32), {"photometric": "rgb"}, "32 bits"),
        (np.zeros((20, 20, 3), np.uint16), {"photometric": "cielab"}, "photometric kind 8"),
        (np.zeros((20, 20, 40), np.uint16), {"photometric": "minisblack", "planarconfig": "contig"}, "40 samples"),
    ],
)
def test_numbers_of_no_known_range_are_refused(
    samples: NDArray[np.generic], settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as failure:
        read_picture(written(samples, **settings))  # type: ignore[arg-type]
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("layout", ["zlib", "predicted", "tiles", "strips"])
def test_a_truncated_file_is_refused(layout: str) -> None:
    data = written(noise(3, 16), photometric="rgb", metadata=None, **LAYOUTS[layout])
    directory_first = data.index(struct.pack("<H", 256))  # tifffile writes the pixels behind it
    assert directory_first < 100
    with pytest.raises(ValueError, match="is damaged"):
        read_picture(data[:-200])


def test_a_tiff_of_sixty_thousand_pages_is_read_at_once() -> None:
    page = written(np.full((20, 20, 3), 90, np.uint8), photometric="rgb", metadata=None)
    (start,) = struct.unpack_from("<I", page, 4)
    (count,) = struct.unpack_from("<H", page, start)
    link = start + 2 + 12 * count
    small = struct.pack("<H", 1) + struct.pack("<HHII", 254, 4, 1, 2)
    pages = [small + struct.pack("<I", len(page) + (i + 1) * 18) for i in range(60_000)]
    data = page[:link] + struct.pack("<I", len(page)) + page[link + 4 :] + b"".join(pages)[:-4] + bytes(4)
    started = time.process_time()
    picture = read_picture(data)
    assert time.process_time() - started < 2 and picture.pixels.mean() == pytest.approx(90 / 255)
    assert picture.notices == ("the data has more than 1000 frames; the first is used",)


@pytest.mark.parametrize("next_page", [0xFFFFFFF0, 8, 3])
def test_a_next_page_that_is_nowhere_does_not_cost_the_first(next_page: int) -> None:
    page = written(np.full((20, 20, 3), 90, np.uint8), photometric="rgb", metadata=None)
    (start,) = struct.unpack_from("<I", page, 4)
    (count,) = struct.unpack_from("<H", page, start)
    link = start + 2 + 12 * count
    data = page[:link] + struct.pack("<I", next_page) + page[link + 4 :]
    assert read_picture(data).pixels.mean() == pytest.approx(90 / 255)


# -- raw photos ---------------------------------------------------------------------------------------------------


def raw_photo(**settings: object) -> bytes:
    """A small preview, with the sensor's samples in a sub-directory."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        preview = np.full((32, 32, 3), 128, np.uint8)
        writer.write(preview, photometric="rgb", subifds=1, subfiletype=1, metadata=None, **settings)
        writer.write(np.zeros((64, 64), np.uint16), photometric="cfa", metadata=None)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        raw_photo(extratags=[(50706, 1, 4, b"\1\4\0\0", True)]),
        raw_photo(),
        written(np.zeros((32, 32, 3), np.uint8), photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)]),
        written(np.zeros((32, 32), np.uint16), photometric="cfa"),
        b"FUJIFILMCCD-RAW " + bytes(100),
        b"II*\0\x10\0\0\0CR\x02\0" + bytes(100),
        b"\0\0\0\x18ftypcrx " + bytes(100),
        b"IIRO\x08\0\0\0" + bytes(100),
    ],
    ids=["dng", "nef", "dng of one page", "sensor", "raf", "cr2", "cr3", "orf"],
)
def test_a_raw_photo_is_to_be_developed_first(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.tif").write_bytes(data)
    with pytest.raises(ValueError, match=r"photo\.tif is a raw photo: develop it first"):
        read_picture(tmp_path / "photo.tif")


def test_a_raw_photos_suffix_is_enough_for_a_tiff_and_not_for_a_jpeg(tmp_path: Path) -> None:
    (tmp_path / "a.NEF").write_bytes(written(np.full((32, 32, 3), 128, np.uint8), photometric="rgb"))
    with pytest.raises(ValueError, match="develop it first"):
        read_picture(tmp_path / "a.NEF")
    Image.new("RGB", (32, 32)).save(tmp_path / "b.dng", "JPEG")
    assert read_picture(tmp_path / "b.dng").size == (32, 32)
