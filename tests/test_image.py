"""Reading and writing pictures: every format in, every format out, every bad file refused in one sentence."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from hpbnet.image import FORMATS, Picture, encode_picture, read_mask, read_picture, write_bytes, write_picture
from hpbnet.image.picture import NamedBytes, to_planes, to_samples
from hpbnet.image.profile import is_srgb, planes_to_srgb, srgb_profile

SAMPLES = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
ACROSS, DOWN = np.meshgrid(np.linspace(20, 230, 64), np.linspace(200, 40, 48))
SMOOTH = np.stack([ACROSS, DOWN, np.full((48, 64), 90)], -1).astype(np.uint8)


def encoded(array: NDArray[np.uint8], format: str, mode: str | None = None, **settings: object) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, format, **settings)
    return file.getvalue()


def as_samples(picture: Picture) -> NDArray[np.generic]:
    return to_samples(picture.pixels, picture.depth)


# -- in: formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_files_are_read_exactly(format: str) -> None:
    picture = read_picture(encoded(SAMPLES, format))
    assert picture.pixels.shape == (1, 3, 12, 16) and picture.pixels.dtype == torch.float32
    assert (as_samples(picture) == SAMPLES).all()
    assert picture.alpha is None and picture.depth == 8 and picture.notices == ()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_files_are_read_closely(format: str) -> None:
    picture = read_picture(encoded(SMOOTH, format, quality=95))
    assert np.abs(as_samples(picture).astype(int) - SMOOTH).mean() < 3


def test_heic_is_read_with_its_extra() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(SMOOTH)).save(file, quality=95)
    assert np.abs(as_samples(read_picture(file.getvalue())).astype(int) - SMOOTH).mean() < 3


def test_heic_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[heif\]'"):
        read_picture(b"\0\0\0\x18ftypheic" + bytes(100))


def test_sources_of_every_kind_agree(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(SAMPLES, "PNG"))
    sources = [path, str(path), path.read_bytes(), Image.fromarray(SAMPLES), SAMPLES, SAMPLES.astype(np.float64) / 255]
    pictures = [read_picture(source).pixels for source in sources]
    for pixels in pictures[1:]:
        torch.testing.assert_close(pixels, pictures[0], rtol=0, atol=1e-6)
    assert read_picture(read_picture(SAMPLES)).pixels.equal(pictures[0])


def test_grey_palette_and_cmyk_become_rgb() -> None:
    grey = read_picture(encoded(SAMPLES, "PNG", mode="L"))
    assert grey.pixels.shape[1] == 3 and grey.pixels[:, 0].equal(grey.pixels[:, 2])
    palette = np.asarray(Image.fromarray(SAMPLES).convert("P").convert("RGB"))
    assert (as_samples(read_picture(encoded(SAMPLES, "PNG", mode="P"))) == palette).all()
    assert read_picture(encoded(SAMPLES, "PNG", mode="1")).pixels.unique().tolist() == [0, 1]
    cmyk = read_picture(encoded(SMOOTH, "JPEG", mode="CMYK", quality=95))
    assert np.abs(as_samples(cmyk).astype(int) - SMOOTH).mean() < 4
    assert "CMYK without a profile" in cmyk.notices[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_read_straight(mode: str) -> None:
    image = Image.fromarray(SAMPLES).convert("L" if mode == "LA" else "P" if mode == "PA" else "RGB")
    image.putalpha(Image.fromarray(SAMPLES[..., 0]))
    picture = read_picture(image)
    assert picture.alpha is not None and (to_samples(picture.alpha)[..., 0] == SAMPLES[..., 0]).all()


def test_transparent_color_of_a_palette_becomes_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=1)
    alpha = read_picture(file.getvalue()).alpha
    assert alpha is not None and alpha.flatten().tolist() == [1, 0]


def test_alpha_that_is_opaque_everywhere_is_no_alpha() -> None:
    assert read_picture(encoded(SAMPLES, "PNG", mode="RGBA")).alpha is None


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation_is_used_with_a_notice(format: str) -> None:
    first, second = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
    file = io.BytesIO()
    first.save(file, format, save_all=True, append_images=[second])
    picture = read_picture(file.getvalue())
    assert picture.pixels.mean() > 0.95
    assert picture.notices == ("the data has 2 frames; the first is used",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(SAMPLES)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that a camera held so would have to undo
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    file = io.BytesIO()
    stored.save(file, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    assert (as_samples(read_picture(file.getvalue())) == SAMPLES).all()


# -- in: profiles -------------------------------------------------------------------------------------------------


def adobe_like_profile() -> bytes:
    """A display profile with swapped primaries: red is told apart from blue at a glance."""
    profile = bytearray(srgb_profile())
    red, blue = profile.find(b"rXYZ"), profile.find(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    description = profile.find("sRGB".encode("utf-16-be"))
    while description >= 0:
        profile[description : description + 8] = "swap".encode("utf-16-be")
        description = profile.find("sRGB".encode("utf-16-be"))
    return bytes(profile.replace(b"sRGB", b"swap"))


def test_profile_is_converted_to_srgb() -> None:
    profile = adobe_like_profile()
    assert not is_srgb(profile) and is_srgb(srgb_profile())
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    for format, tolerance in (("PNG", 2), ("JPEG", 6)):
        picture = read_picture(encoded(red, format, icc_profile=profile))
        assert np.abs(as_samples(picture)[0, 0].astype(int) - (0, 0, 255)).max() <= tolerance
        assert picture.notices == ()


def test_srgb_profile_changes_nothing() -> None:
    assert (as_samples(read_picture(encoded(SAMPLES, "PNG", icc_profile=srgb_profile()))) == SAMPLES).all()


def test_broken_profile_is_a_notice() -> None:
    picture = read_picture(encoded(SAMPLES, "PNG", icc_profile=b"no profile at all"))
    assert (as_samples(picture) == SAMPLES).all()
    assert "taken as sRGB" in picture.notices[0]


def test_profile_table_agrees_with_the_color_engine_to_one_step() -> None:
    profile = adobe_like_profile()
    image = Image.fromarray(SAMPLES)
    source, target = (ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in (profile, srgb_profile()))
    expected = np.asarray(ImageCms.profileToProfile(image, source, target, ImageCms.Intent.RELATIVE_COLORIMETRIC))
    found = planes_to_srgb(to_planes(SAMPLES), profile)
    assert np.abs(to_samples(found).astype(int) - expected).max() <= 1


# -- in: sixteen bits ---------------------------------------------------------------------------------------------

WIDE = np.random.default_rng(1).integers(0, 65536, (12, 16, 4), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_read_exactly(suffix: str, channels: int) -> None:
    stored = {1: WIDE[..., 0], 3: WIDE[..., 2::-1], 4: WIDE[..., [2, 1, 0, 3]]}[channels]
    picture = read_picture(cv2.imencode(suffix, np.ascontiguousarray(stored))[1].tobytes())
    assert picture.depth == 16
    expected = np.repeat(WIDE[..., :1], 3, -1) if channels == 1 else WIDE[..., :3]
    assert (to_samples(picture.pixels, 16) == expected).all()
    if channels == 4:
        assert picture.alpha is not None and (to_samples(picture.alpha, 16)[..., 0] == WIDE[..., 3]).all()


def test_a_pgm_of_sixteen_bits_is_read_exactly() -> None:
    picture = read_picture(b"P5 16 12 65535\n" + WIDE[..., 0].astype(">u2").tobytes())
    assert picture.depth == 16 and (to_samples(picture.pixels, 16) == WIDE[..., :1]).all()


def test_a_png_of_grey_with_alpha_keeps_sixteen_bits() -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in WIDE[..., :2])
    header = b"IHDR" + struct.pack(">IIBBBBB", 16, 12, 16, 4, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(rows), b"IEND"]
    parts = [struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in chunks]
    picture = read_picture(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert (to_samples(picture.pixels, 16) == WIDE[..., :1]).all() and picture.alpha is not None
    assert (to_samples(picture.alpha, 16)[..., 0] == WIDE[..., 1]).all()


@pytest.mark.parametrize("format", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_kept_to_the_end(format: str, channels: int) -> None:
    alpha = to_planes(WIDE[..., 3]) if channels == 4 else None
    data = encode_picture(to_planes(WIDE[..., : min(channels, 3)]), alpha, format, depth=16)
    picture = read_picture(data)
    assert picture.depth == 16 and (to_samples(picture.pixels, 16) == WIDE[..., : 1 if channels == 1 else 3]).all()
    if alpha is not None:
        assert picture.alpha is not None and picture.alpha.equal(alpha)
    if channels >= 3:
        assert is_srgb(Image.open(io.BytesIO(data)).info["icc_profile"])


def test_sixteen_bits_with_a_profile_are_converted_without_banding() -> None:
    ramp = np.zeros((2, 4096, 3), np.uint16)
    ramp[..., 0] = np.linspace(30000, 31000, 4096)
    data = encode_picture(to_planes(ramp), None, "png", depth=16)
    start = data.find(b"iCCP") - 4
    body = b"iCCPswap\0\0" + zlib.compress(adobe_like_profile())
    length = struct.unpack(">I", data[start : start + 4])[0]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    picture = read_picture(data[:start] + chunk + data[start + 12 + length :])
    blue = to_samples(picture.pixels, 16)[0, :, 2].astype(int)
    assert abs(blue - ramp[0, :, 0].astype(int)).max() < 65535 / 255
    assert np.diff(blue).max() <= 4 and len(np.unique(blue)) > 900


def test_sixteen_bit_png_is_turned_upright() -> None:
    data = cv2.imencode(".png", np.ascontiguousarray(np.rot90(WIDE[..., 2::-1])))[1].tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    picture = read_picture(data[:33] + chunk + data[33:])
    assert (to_samples(picture.pixels, 16) == WIDE[..., :3]).all()


def test_truncated_sixteen_bit_png_is_refused() -> None:
    data = encode_picture(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), None, "png", depth=16)
    with pytest.raises(ValueError, match="is damaged"):
        read_picture(data[: len(data) // 2])


# -- in: arrays and masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), "shape"),
        (np.zeros((8, 8, 3), np.int64), "array of int64"),
        (np.full((8, 8, 3), 255.0), r"must lie in \[0,1\]"),
        (np.full((8, 8, 3), np.nan), r"must lie in \[0,1\]"),
        (Image.new("F", (8, 8)), "mode F"),
        ({"pixels": 1}, "not as dict"),
    ],
)
def test_other_arrays_are_refused(array: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_picture(array)  # type: ignore[arg-type]


def test_mask_is_brightness_or_alpha_and_not_color_managed() -> None:
    grey = np.arange(192, dtype=np.uint8).reshape(12, 16)
    assert (to_samples(read_mask(encoded(grey, "PNG", icc_profile=adobe_like_profile())))[..., 0] == grey).all()
    cut_out = np.dstack([SAMPLES, grey])
    assert (to_samples(read_mask(cut_out))[..., 0] == grey).all()
    assert read_mask(grey > 100).unique().tolist() == [0, 1]
    assert read_mask(np.dstack([grey] * 3)).shape == (1, 1, 12, 16)


# -- in: bad files ------------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + start + struct.pack(">I", 100) + b"IDAT"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"these are words, not a picture", "is not a picture that can be read"),
        (b"", "is empty"),
        (encoded(SMOOTH, "JPEG")[:-300], "is damaged"),
        (encoded(SAMPLES, "PNG")[:-80], "is damaged"),
        (encoded(SMOOTH, "WEBP")[:-200], "is damaged|is not a picture"),
        (png_header(30000, 30000), "30000x30000 px; pictures of more than 100 million pixels are refused"),
        (png_header(13000, 13000), "13000x13000 px; pictures of more than 100 million pixels"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "is damaged"),
    ],
    ids=["text", "zero-byte", "truncated jpeg", "truncated png", "truncated webp", "bomb", "too large", "broken heic"],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, data: bytes, message: str) -> None:
    if b"ftypheic" in data:
        pytest.importorskip("pillow_heif")
    path = tmp_path / "portrait.jpg"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as failure:
        read_picture(path)
    assert str(path) in str(failure.value) and "\n" not in str(failure.value)


def test_a_clip_is_told_where_it_belongs(tmp_path: Path) -> None:
    for name, told in (("portrait.MP4", True), ("portrait.jpg", False)):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypisom" + bytes(64))
        with pytest.raises(ValueError, match="is not a picture") as failure:
            read_picture(tmp_path / name)
        assert ("`hpbnet video`" in str(failure.value)) == told


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_out_of_range_is_refused(quality: int) -> None:
    with pytest.raises(ValueError, match=f"quality is {quality}; expected a whole number from 1 to 100"):
        encode_picture(to_planes(SMOOTH), None, "webp", quality=quality)


def test_a_hundred_megapixels_pass_the_header_check() -> None:
    with pytest.raises(ValueError, match="is damaged"):  # it goes on to decode, and finds the header's body missing
        read_picture(png_header(10000, 10000))


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nobody\.jpg"):
        read_picture(tmp_path / "nobody.jpg")
    with pytest.raises(IsADirectoryError):
        read_picture(tmp_path)


# -- out ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written_with_the_srgb_profile(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"out.{format}"
    write_picture(path, to_planes(SMOOTH), depth=16 if format == "jpg" else 8)
    image = Image.open(path)
    assert is_srgb(image.info["icc_profile"])
    assert np.abs(np.asarray(image).astype(int) - SMOOTH).mean() < 2
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", ["png", "webp", "tif", "avif"])
def test_alpha_is_written(format: str) -> None:
    alpha = torch.linspace(0, 1, 64).expand(1, 1, 48, 64)
    picture = read_picture(encode_picture(to_planes(SMOOTH), alpha, format))
    assert picture.alpha is not None and (picture.alpha - alpha).abs().mean() < 0.01


def test_the_same_picture_gives_the_same_file_on_every_day() -> None:
    profile = srgb_profile()
    assert struct.unpack(">6H", profile[24:36]) == (2000, 1, 1, 0, 0, 0)
    for format in FORMATS:
        assert encode_picture(to_planes(SMOOTH), None, format) == encode_picture(to_planes(SMOOTH), None, format)


def test_grey_is_written_as_grey() -> None:
    data = encode_picture(to_planes(SAMPLES[..., 0]))
    assert (
        Image.open(io.BytesIO(data)).mode == "L" and (as_samples(read_picture(data))[..., 0] == SAMPLES[..., 0]).all()
    )


def test_samples_round_and_clip() -> None:
    planes = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).view(1, 1, 1, 4)
    assert to_samples(planes).flatten().tolist() == [0, 0, 1, 255]
    assert to_samples(planes, 16).flatten().tolist() == [0, 103, 154, 65535]
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (to_samples(to_planes(every), 16)[..., 0] == every).all()


def test_unwritable_destinations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot write bmp; use png, jpg, webp, tif, avif"):
        write_picture(tmp_path / "out.bmp", to_planes(SAMPLES))
    with pytest.raises(ValueError, match="JPEG cannot hold transparency"):
        write_picture(tmp_path / "out.jpg", to_planes(SAMPLES), torch.ones(1, 1, 12, 16))
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        write_picture(tmp_path / "no" / "out.png", to_planes(SAMPLES))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        write_picture(tmp_path / "folder.png", to_planes(SAMPLES))


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def half_written(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(OSError, match="No space left on device") as failure:
        write_picture(path, to_planes(SAMPLES))
    assert failure.value.filename == str(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_device_is_written_to_and_never_replaced() -> None:
    with pytest.raises(OSError, match="No space left"):
        write_bytes("/dev/full", b"data")
    write_bytes(os.devnull, b"data")
    assert not Path(os.devnull).is_file()


def test_link_keeps_pointing_at_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    write_bytes(tmp_path / "link.png", b"data")
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "real.png").read_bytes() == b"data"


def test_tensors_are_pictures_too() -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    expected = read_picture(array)
    planes = torch.from_numpy(array).permute(2, 0, 1)
    for tensor in (planes, planes[None], planes.float() / 255):
        picture = read_picture(tensor)
        assert expected.alpha is not None and picture.alpha is not None
        torch.testing.assert_close(picture.pixels, expected.pixels, rtol=0, atol=1e-6)
        torch.testing.assert_close(picture.alpha, expected.alpha, rtol=0, atol=1e-6)
    assert read_mask(torch.ones(1, 1, 20, 30)).shape == (1, 1, 20, 30)
    with pytest.raises(ValueError, match=r"a tensor of shape \(2, 3, 20, 30\) is not a picture"):
        read_picture(torch.zeros(2, 3, 20, 30))


def test_bytes_with_a_name_are_called_by_it() -> None:
    data = encoded(SAMPLES, "PNG")
    assert torch.equal(read_picture(NamedBytes(data, "holiday.png")).pixels, read_picture(data).pixels)
    with pytest.raises(ValueError, match=r"^holiday\.png is not a picture"):
        read_picture(NamedBytes(b"rubbish", "holiday.png"))
