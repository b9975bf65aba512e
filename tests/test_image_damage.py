"""Damaged, hostile and odd pictures: metadata costs no pixels, a small file is no long work, nothing is printed."""

import io
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hpbnet.image import MAX_PIXELS, encode_picture, read_mask, read_picture
from hpbnet.image.inspect import count_gif_frames, count_scans
from hpbnet.image.picture import to_planes, to_samples
from hpbnet.image.quiet import quiet, quiet_libraries

ROOT = Path(__file__).parents[1]
SAMPLES = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(image: Image.Image | NDArray[np.uint8], format: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format, **settings)
    return file.getvalue()


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum or zlib.crc32(name + body))


# -- metadata -----------------------------------------------------------------------------------------------------

BROKEN_EXIF = b"Exif\0\0" + b"garbage!" * 8
BROKEN_CHUNKS = {
    "exif": chunk(b"eXIf", BROKEN_EXIF),
    "exif of a wrong checksum": chunk(b"eXIf", b"II*\0\x08\0\0\0", 1),
    "compressed text": chunk(b"zTXt", b"Comment\0\0no zlib at all"),
    "text of an unknown compression": chunk(b"zTXt", b"Comment\0\x07abc"),
    "text of gigabytes": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9)),
    "international text": chunk(b"iTXt", b"Comment\0\1\0\0\0\xff\xfe not compressed"),
    "profile": chunk(b"iCCP", b"x\0\0no zlib at all"),
    "profile of a wrong checksum": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200)), 1),
    "gamma": chunk(b"gAMA", b"\0"),
    "chromaticities": chunk(b"cHRM", b"\0\1\2"),
    "code points": chunk(b"cICP", b"\1"),
    "animation": chunk(b"acTL", b"\0\0"),
    "resolution": chunk(b"pHYs", b"\0"),
    "rendering intent": chunk(b"sRGB", b""),
    "own": chunk(b"abCd", b"words"),
    "many texts": chunk(b"tEXt", b"a\0b") * 20_000,
}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
@pytest.mark.parametrize("depth", [8, 16])
def test_an_unusable_chunk_of_a_png_does_not_cost_the_pixels(name: str, depth: int) -> None:
    samples = SAMPLES if depth == 8 else SAMPLES.astype(np.uint16) * 257
    data = encode_picture(to_planes(samples), None, "png", depth=depth)
    profile = data.find(b"iCCP") - 4
    data = data[:profile] + data[profile + 12 + struct.unpack(">I", data[profile : profile + 4])[0] :]
    started = time.process_time()
    picture = read_picture(data[:33] + BROKEN_CHUNKS[name] + data[33:])
    assert (to_samples(picture.pixels, depth) == samples).all() and time.process_time() - started < 5
    assert all("colour profile" in notice for notice in picture.notices)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG", "AVIF", "TIFF"])
def test_broken_exif_does_not_cost_the_pixels(format: str) -> None:
    settings: dict[str, object] = {"lossless": True} if format == "WEBP" else {}
    image = Image.fromarray(SAMPLES)
    sound = encoded(image, format, exif=Image.Exif().tobytes() + bytes(20), **settings)
    whole = read_picture(encoded(image, format, **settings)).pixels
    broken = [encoded(image, format, exif=BROKEN_EXIF, **settings)] if format not in ("AVIF", "TIFF") else []
    broken.append(sound.replace(b"MM\0*", b"MM\xff\xff").replace(b"II*\0", b"II*\0") if format != "TIFF" else sound)
    for data in broken:
        assert read_picture(data).pixels.equal(whole)


def test_exif_of_an_odd_orientation_changes_nothing() -> None:
    for value in (0, 9, 60000):
        exif = Image.Exif()
        exif[0x0112] = value
        assert (to_samples(read_picture(encoded(SAMPLES, "PNG", exif=exif)).pixels) == SAMPLES).all()


def test_an_orientation_in_xmp_is_undone() -> None:
    packet = b'<rdf:Description tiff:Orientation="3"/>'
    data = encoded(SAMPLES, "PNG")
    turned = data[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet) + data[33:]
    assert (to_samples(read_picture(turned).pixels) == SAMPLES[::-1, ::-1]).all()


def test_a_damaged_application_segment_does_not_cost_a_jpegs_pixels() -> None:
    data = encoded(SAMPLES, "JPEG", quality=95)
    mpf = b"MPF\0" + b"\xff" * 30
    for body in (mpf, BROKEN_EXIF, b"Photoshop 3.0\x00" + b"\xff" * 20, b"http://ns.adobe.com/xap/1.0/\0\xff"):
        for marker in (0xE1, 0xE2, 0xED):
            segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
            assert read_picture(data[:2] + segment + data[2:]).pixels.equal(read_picture(data).pixels)


# -- nothing is printed -------------------------------------------------------------------------------------------


def noisy_files() -> list[bytes]:
    """Files that make Pillow warn, and libtiff, libpng and OpenCV print."""
    palette = encoded(Image.fromarray(SAMPLES).convert("P"), "PNG", transparency=bytes(range(256)))
    wide = SAMPLES.astype(np.uint16) * 257
    lzw = cv2.imencode(".tiff", wide, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    fax = encoded(Image.fromarray(SAMPLES).convert("1"), "TIFF", compression="group4")
    png = bytearray(cv2.imencode(".png", wide)[1].tobytes())
    at = png.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", png[at - 8 : at - 4])
    png[at] = 0x0F
    png[at + length : at + length + 4] = struct.pack(">I", zlib.crc32(png[at - 4 : at + length]))
    return [palette, lzw[:20] + b"\xff" * 40 + lzw[60:], fax[:12] + b"\xff" * 30 + fax[42:], bytes(png), lzw[:-100]]


def test_no_warning_and_nothing_of_a_librarys_reaches_the_user(tmp_path: Path) -> None:
    for number, data in enumerate(noisy_files()):
        (tmp_path / f"{number}.bin").write_bytes(data)
    code = (
        "import sys, warnings; warnings.simplefilter('always')\n"
        "from hpbnet.image import read_picture\n"
        "for name in sys.argv[1:]:\n"
        "    try: read_picture(name)\n"
        "    except ValueError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert run.stderr == "" and all("is damaged" in line for line in run.stdout.splitlines())
    assert len(run.stdout.splitlines()) >= 2


def test_filters_are_as_before_when_threads_have_overlapped() -> None:
    before = list(warnings.filters)
    inside, leave = threading.Barrier(3), threading.Event()

    def hold(first: bool) -> None:
        with quiet():
            inside.wait()
            if not first:
                leave.wait()

    threads = [threading.Thread(target=hold, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    inside.wait()
    threads[0].join()
    assert list(warnings.filters) != before
    leave.set()
    threads[1].join()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_what_others_print_while_a_library_is_quiet_is_shown_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_libraries():
        os.write(2, b"ours\nZIPDecode: Decoding error at scanline 0.\nlibpng error: bad\nTheirs: words\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "ours\nTheirs: words\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_a_picture_is_decoded_has_its_own_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = list(warnings.filters)
    with quiet(), quiet_libraries():
        child = multiprocessing.get_context("fork").Process(target=_print_in_child, args=(before,))
        child.start()
        child.join(20)
        assert child.exitcode == 0
    assert capfd.readouterr().err == "from the child\n"


def _print_in_child(filters: list[object]) -> None:
    os.write(2, b"from the child\n")
    read_picture(SAMPLES)
    os._exit(0 if list(warnings.filters) == filters else 3)


# -- long work ----------------------------------------------------------------------------------------------------


def blank_png(width: int, height: int) -> bytes:
    """A PNG of zeros, some thousand times smaller than its pixels."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_pixels_are_limited_and_the_limit_can_be_lifted() -> None:
    data = blank_png(600, 400)
    with pytest.raises(
        ValueError, match=r"the data is 600x400 px; pictures of more than 0\.2 million pixels are refused"
    ):
        read_picture(data, max_pixels=200_000)
    assert read_picture(data, max_pixels=240_000).size == (400, 600)
    assert read_mask(data, max_pixels=240_000).shape == (1, 1, 400, 600)
    assert MAX_PIXELS == 100_000_000


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000"])
def test_every_format_is_refused_by_its_header_alone(format: str) -> None:
    data = encoded(np.zeros((400, 600, 3), np.uint8), format)
    with pytest.raises(ValueError, match="is 600x400 px; pictures of more than"):
        read_picture(data, max_pixels=100)


def test_a_png_of_149_megapixels_is_refused_at_once() -> None:
    header = struct.pack(">IIBBBBB", 12207, 12207, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    started = time.process_time()
    with pytest.raises(ValueError, match="12207x12207 px; pictures of more than 100 million pixels are refused"):
        read_picture(data)
    assert time.process_time() - started < 1


def progressive(scans: int, side: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(np.full((side, side, 3), 128, np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - count_scans(data)) + b"\xff\xd9"


def test_a_jpeg_of_hundreds_of_scans_is_refused_and_a_usual_one_is_not() -> None:
    for scans, side in ((300, 64), (60, 4200)):
        data = progressive(scans, side)
        started = time.process_time()
        with pytest.raises(ValueError, match=f"has {scans} scans of {side}x{side} px, which would take too long"):
            read_picture(data)
        assert time.process_time() - started < 2
    assert read_picture(progressive(10, 64)).size == (64, 64)
    assert read_picture(progressive(60, 64)).size == (64, 64)
    thumbnail = encoded(SAMPLES, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert count_scans(thumbnail[:2] + segment + thumbnail[2:]) == 1


def test_frames_of_a_gif_are_counted_to_a_limit() -> None:
    frames = [Image.new("L", (8, 8), 20 * i) for i in range(5)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert count_gif_frames(data, 1000) == 5 and count_gif_frames(data, 3) == 3
    assert count_gif_frames(encoded(frames[0], "GIF"), 1000) == 1
    frame = data[data.index(b"\x2c") : -1]
    started = time.process_time()
    long = read_picture(data[:-1] + frame * 100_000 + b";")
    assert time.process_time() - started < 5
    assert long.notices == ("the data has more than 1000 frames; the first is used",)


# -- masks --------------------------------------------------------------------------------------------------------


def palette_mask(colors: list[int]) -> Image.Image:
    image = Image.new("P", (32, 24))
    image.putpalette(colors)
    image.paste(1, (8, 8, 24, 24))
    return image


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF"])
def test_a_map_of_coloured_labels_is_no_mask(format: str) -> None:
    for labels in ([0, 0, 0, 128, 0, 0], [0, 0, 0, 192, 128, 128]):
        with pytest.raises(ValueError, match="the data has a palette of colours, as label maps have"):
            read_mask(encoded(palette_mask(labels), format))
    grey = read_mask(encoded(palette_mask([0, 0, 0, 255, 255, 255]), format))
    assert grey.unique().tolist() == [0, 1] and grey.mean() == pytest.approx(16 * 16 / (24 * 32))


@pytest.mark.parametrize(("value", "told"), [(1, "0%"), (43, "17%"), (127, "50%")])
def test_a_mask_that_nowhere_exceeds_one_half_is_refused(value: int, told: str) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[8:] = value
    for source, name in ((encoded(mask, "PNG"), "data"), (np.dstack([SAMPLES, mask]), "array")):
        with pytest.raises(
            ValueError, match=rf"the mask shows nobody: it is nowhere more than {told} .*\(the {name}; "
        ):
            read_mask(source)
    mask[8:] = 128
    assert read_mask(encoded(mask, "PNG")).max() > 0.5
    assert read_mask(np.zeros((24, 32), np.uint8)).max() == 0  # whether it may be empty is the caller's to say


# -- the mutation run ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux only")
@pytest.mark.parametrize(("kind", "count"), [("pictures", 84), ("weights", 40)])
def test_mutated_files_are_read_or_refused_in_one_line(kind: str, count: int) -> None:
    command = [sys.executable, str(ROOT / "tools" / "fuzz.py"), kind, "--count", str(count), "--seed", "7"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "src")})
    figures = json.loads(run.stdout)[kind]
    assert figures["inputs"] == count == figures["read"] + figures["refused"], figures["examples"]
    assert figures["noise"] == 0 and figures["refused"] > count // 4
