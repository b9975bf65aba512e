"""Video files: times, colours, transparency, sound, names, and what happens when a file is damaged."""

import re
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="video needs PyAV")

from clips import HEIGHT, MILLISECOND, WIDTH, film, film_with_tone, person, ramp  # noqa: E402
from hpbnet.video.read import open_clip, read_frames  # noqa: E402
from hpbnet.video.sound import Sound  # noqa: E402
from hpbnet.video.write import Film, VideoWriter, choose_codec  # noqa: E402


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.mkv", "clip.mov"])
def test_a_grey_ramp_and_uneven_times_survive_the_round_trip(tmp_path: Path, name: str) -> None:
    times = [0, 33, 70, 100, 166]
    path = film(tmp_path / name, [ramp()] * 5, times)
    frames = list(read_frames(open_clip(path)))
    assert [round(frame.time * 1000) for frame in frames] == times
    assert all(np.abs(frame.pixels.astype(int) - ramp()).max() <= 2 for frame in frames)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (1, 1, 1, 1)


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("full", [1, 2])
def test_colour_matrix_and_range_of_the_source_are_respected(tmp_path: Path, matrix: int, full: int) -> None:
    flat = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    flat[:] = (200, 60, 50)
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, full
        frame = av.VideoFrame.from_ndarray(flat, "rgb24")
        frame = frame.reformat(format="yuv444p", dst_colorspace=matrix, src_color_range=2, dst_color_range=full)
        frame.colorspace, frame.color_range = matrix, full
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (read,) = read_frames(open_clip(tmp_path / "clip.mkv"))
    assert np.abs(read.pixels.astype(int) - flat).max() <= 2


@pytest.mark.parametrize(("name", "most"), [("clip.mov", 2), ("clip.mkv", 2), ("clip.webm", 6)])
def test_transparency_survives_prores_and_vp9(tmp_path: Path, name: str, most: int) -> None:
    if name == "clip.webm" and "libvpx-vp9" not in av.codecs_available:
        pytest.skip("FFmpeg has no libvpx, which alone sees the alpha of VP9")
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[10:50, 20:60], alpha[20:30, 30:40] = 128, 255
    path = film(tmp_path / name, [np.dstack([person(), alpha])] * 2, alpha=True)
    frame = next(read_frames(open_clip(path)))
    assert frame.alpha is not None
    assert np.abs(frame.alpha.astype(int) - alpha).max() <= most


def turned(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write a display matrix into the track header of an MP4, as phones do."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of header
    data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def test_rotation_metadata_turns_the_picture_upright(tmp_path: Path) -> None:
    one, unit = 1 << 16, 1 << 30
    upright = np.zeros((WIDTH, HEIGHT, 3), np.uint8)
    upright[: WIDTH // 2] = 255  # light above
    lying = np.ascontiguousarray(np.rot90(upright))  # as the sensor saw it; a quarter turn clockwise shows it upright
    path = turned(film(tmp_path / "phone.mp4", [lying] * 2), (0, one, 0, -one, 0, 0, HEIGHT * one, 0, unit))
    clip = open_clip(path)
    assert (clip.width, clip.height) == (HEIGHT, WIDTH)
    pixels = next(read_frames(clip)).pixels
    assert pixels[:40].min() > 200 and pixels[-40:].max() < 50


def test_start_and_end_choose_frames_by_time(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mp4", [person(index) for index in range(20)])
    times = [round(frame.time * 1000) for frame in read_frames(open_clip(path), 0.2, 0.4)]
    assert times == [200, 240, 280, 320, 360]


def test_frames_that_fail_to_decode_are_repeated_and_counted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(tmp_path / "whole.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    data = bytearray((tmp_path / "whole.mov").read_bytes())
    headers = [index for index in range(len(data) - 8) if data[index : index + 8] == b"\x89PNG\r\n\x1a\n"]
    data[headers[2] : headers[2] + 8] = bytes(8)
    (tmp_path / "broken.mov").write_bytes(data)
    frames = list(read_frames(open_clip(tmp_path / "broken.mov")))
    assert [frame.repeated for frame in frames] == [False, False, True, False, False, False]
    assert [round(frame.time * 1000) for frame in frames] == [0, 40, 80, 120, 160, 200]
    assert (frames[2].pixels == frames[1].pixels).all()


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mkv", [person(index) for index in range(30)])
    (tmp_path / "short.mkv").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(list(read_frames(open_clip(tmp_path / "short.mkv")))) < 30


def test_odd_sizes_lose_their_last_row_and_say_so(tmp_path: Path) -> None:
    writer = VideoWriter(Film(tmp_path / "odd.mp4", 65, 49, MILLISECOND, Fraction(25)))
    writer.write(np.zeros((49, 65, 3), np.uint8), 0)
    writer.close()
    assert open_clip(tmp_path / "odd.mp4").size == (48, 64)
    assert "65x49" in writer.notices[0]


def test_a_stream_that_changes_its_size_keeps_the_clips(tmp_path: Path) -> None:
    parts = [film_with_tone(tmp_path / f"{size[0]}.ts", [person(0, size)] * 5) for size in ((64, 96), (32, 48))]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(read_frames(open_clip(tmp_path / "both.ts")))
    assert len(frames) == 10 and {frame.pixels.shape for frame in frames} == {(64, 96, 3)}
    assert np.abs(frames[-1].pixels[32, 48].astype(int) - (200, 60, 50)).max() < 12


def test_a_film_with_alpha_of_odd_size_says_so_too(tmp_path: Path) -> None:
    writer = VideoWriter(Film(tmp_path / "odd.mov", 65, 49, MILLISECOND, Fraction(25), alpha=True))
    writer.write(np.zeros((49, 65, 3), np.uint8), 0, np.zeros((49, 65), np.uint8))
    writer.close()
    assert "65x49" in writer.notices[0] and writer.size == open_clip(tmp_path / "odd.mov").size == (48, 64)


def test_an_abandoned_film_leaves_nothing(tmp_path: Path) -> None:
    writer = VideoWriter(Film(tmp_path / "clip.mp4", WIDTH, HEIGHT, MILLISECOND, Fraction(25)))
    writer.write(person(), 0)
    writer.abandon()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "alpha", "says"),
    [
        ("clip.avi", None, False, "videos are written as .mp4"),
        ("clip.mp4", None, True, "holds no transparency"),
        ("clip.webm", "h264", False, "holds vp9, av1, not h264"),
        ("clip.mov", "h264", True, "h264 holds no transparency"),
    ],
)
def test_names_and_codecs_that_do_not_go_together_are_refused(name: str, codec: object, alpha: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        choose_codec(Path(name), codec, alpha)  # type: ignore[arg-type]


def test_ten_bit_video_is_read_as_eight(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "ten.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 64, "yuv444p10le"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        frame = av.VideoFrame.from_ndarray(ramp(), "rgb24")
        frame = frame.reformat(format="yuv444p10le", dst_colorspace=1, src_color_range=2, dst_color_range=1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (read,) = read_frames(open_clip(tmp_path / "ten.mkv"))
    assert np.abs(read.pixels.astype(int) - ramp()).max() <= 2


# -- names and files that FFmpeg must not misunderstand -------------------------------------------------------------


def test_a_name_with_colons_is_a_file_and_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film(Path("2024-05-01T10:30:00.mp4"), [person()] * 3)
    assert len(list(read_frames(open_clip("2024-05-01T10:30:00.mp4")))) == 3


@pytest.mark.parametrize("length", [250, 255])
def test_the_longest_names_are_written(tmp_path: Path, length: int) -> None:
    path = film(tmp_path / ("n" * (length - 4) + ".mp4"), [person()] * 2)
    assert len(list(read_frames(open_clip(path)))) == 2 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile other.ts\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_playlist_does_not_open_other_files(tmp_path: Path, name: str, text: str) -> None:
    film_with_tone(tmp_path / "other.ts", [person()] * 5)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name} is (in no video format that is read|not a video that can be read)"):
        open_clip(tmp_path / name)


def test_two_writers_of_one_name_leave_one_whole_film(tmp_path: Path) -> None:
    writers = [VideoWriter(Film(tmp_path / "clip.mp4", WIDTH, HEIGHT, MILLISECOND, Fraction(25))) for _ in range(2)]
    for index in range(10):
        for writer, level in zip(writers, (40, 200), strict=True):
            writer.write(np.full((HEIGHT, WIDTH, 3), level, np.uint8), 40 * index)
    for writer in writers:
        writer.close()
        assert len(list(read_frames(open_clip(tmp_path / "clip.mp4")))) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_output_that_is_a_link_keeps_pointing_at_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "clip.mp4").symlink_to(tmp_path / "kept" / "real.mp4")
    film(tmp_path / "clip.mp4", [person()] * 2)
    assert (tmp_path / "clip.mp4").is_symlink()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["real.mp4"]


def test_a_disk_that_is_full_is_said_of_the_result_and_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="the size of files is limited where the system can")
    noise = np.random.default_rng(0).integers(0, 255, (20, HEIGHT, WIDTH, 3), dtype=np.uint8)
    writer = VideoWriter(Film(tmp_path / "clip.mkv", WIDTH, HEIGHT, Fraction(1, 25), Fraction(25), crf=1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # [bytes] of a file, as a full disk would allow
    try:
        with pytest.raises(OSError, match=re.escape(f"File too large: '{tmp_path / 'clip.mkv'}'")):
            for index, pixels in enumerate(noise):
                writer.write(pixels, index)
            writer.close()
        writer.abandon()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


# -- damaged and unusual files --------------------------------------------------------------------------------------


def test_a_clip_damaged_in_the_middle_gives_all_that_decodes_and_tells_both_lengths(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mkv", [np.roll(ramp(), 5 * index, axis=1) for index in range(50)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        decoded = 0
        for packet in container.demux(video=0):
            with suppress(av.error.FFmpegError):
                decoded += sum(not frame.is_corrupt for frame in packet.decode())
    told: list[str] = []
    frames = list(read_frames(open_clip(path), tell=told.append))
    assert 5 < decoded < 45 and sum(not frame.repeated for frame in frames) == decoded
    (sentence,) = told
    assert re.search(r"clip.mkv is damaged or cut short: [01]\.\d s of its 2\.0 s could be read\.", sentence)


def test_a_whole_clip_is_not_called_damaged(tmp_path: Path) -> None:
    told: list[str] = []
    slides = film(tmp_path / "slides.mp4", [person()] * 3, [0, 100, 3000])
    talk = film_with_tone(tmp_path / "talk.mkv", [person()] * 10)
    for path in (slides, talk):
        list(read_frames(open_clip(path), tell=told.append))
    list(read_frames(open_clip(talk), 0.1, 0.2, told.append))
    assert not told


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:200], lambda data: data[:-60]])
def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    for name in ("clip.mov", "clip.gif"):
        path = film(tmp_path / "whole.mov", [person()] * 3)
        (tmp_path / name).write_bytes(damage(path.read_bytes()))
        with pytest.raises(
            ValueError, match=rf"{name} (is not a video that can be read|holds no video|holds no frame)"
        ):
            open_clip(tmp_path / name)


def test_a_header_that_ends_early_is_no_interruption(shared: Path) -> None:
    with pytest.raises(ValueError, match=r"b_15_moov.mov is not a video that can be read"):
        open_clip(shared / "cases" / "b_15_moov.mov")


def test_joined_transport_streams_keep_their_second_half_and_its_sound(tmp_path: Path) -> None:
    part = film_with_tone(tmp_path / "a.ts", [person(index) for index in range(50)])
    (tmp_path / "both.ts").write_bytes(part.read_bytes() * 2)
    one, both = open_clip(part), open_clip(tmp_path / "both.ts")
    times = [frame.time for frame in read_frames(both)]
    assert len(times) == 100 and np.allclose(np.diff(times), 0.04, atol=0.002)
    assert both.seconds == pytest.approx(4.0, abs=0.05) and not one.joins
    parts = (read_frames(one, 0.2, 0.4), read_frames(both, 2.2, 2.4))
    early, late = ([frame.time for frame in part] for part in parts)
    assert len(late) == 5 and np.allclose(np.array(late), np.array(early) + 2.0, atol=0.002)
    sounds = Sound(both), Sound(one)
    heard, once = (list(sound.packets()) for sound in sounds)
    assert 0 <= 2 * len(once) - len(heard) <= 3  # where the first half's sound is longer than its pictures
    assert heard[-1][0] == pytest.approx(once[-1][0] + 2.0, abs=0.03)  # with its pictures
    assert (np.diff([time for time, _ in heard]) > 0).all()
    for sound in sounds:
        sound.close()


def test_a_songs_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp3"), "w") as container:
        sound, cover = container.add_stream("mp3", rate=44100), container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(person(), "rgb24").reformat(format="yuvj420p")))
        block = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        block.sample_rate = 44100
        container.mux(sound.encode(block))
        container.mux(cover.encode(None))
        container.mux(sound.encode(None))
    with pytest.raises(ValueError, match="holds sound only"):
        open_clip(tmp_path / "song.mp3")


def encoded(path: Path, codec: str, pixel_format: str, frames: list[np.ndarray], **metadata: str) -> Path:
    """Encode RGBA frames as FFmpeg does."""
    with av.open(str(path), "w") as container:
        quick = {"auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "8"}
        options = quick if codec.startswith("libvpx") else {}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1  # threads of libvpx that wait for a busy core take seconds
        stream.metadata.update(metadata)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgba").reformat(format=pixel_format)))
        container.mux(stream.encode(None))
    return path


TRANSPARENT = [
    ("clip.mov", "prores_ks", "yuva444p10le", {}),
    ("clip.mov", "qtrle", "argb", {}),
    ("clip.webm", "libvpx-vp9", "yuva420p", {"alpha_mode": "1"}),
    ("clip.webm", "libvpx", "yuva420p", {"alpha_mode": "1"}),
]


@pytest.mark.parametrize(("name", "codec", "pixel_format", "metadata"), TRANSPARENT)
def test_transparency_counts_where_it_leaves_something_out(
    tmp_path: Path, name: str, codec: str, pixel_format: str, metadata: dict[str, str]
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"FFmpeg has no {codec}")
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    full = np.dstack([person(), alpha])
    opaque = open_clip(encoded(tmp_path / name, codec, pixel_format, [full] * 10, **metadata))
    assert (opaque.transparent, opaque.opaque) == (False, True)
    assert all(frame.alpha is None for frame in read_frames(opaque))
    alpha = alpha.copy()
    alpha[:, :40] = 0
    clip = open_clip(encoded(tmp_path / name, codec, pixel_format, [np.dstack([person(), alpha])] * 3, **metadata))
    assert (clip.transparent, clip.opaque) == (True, False)
    frame = next(read_frames(clip))
    assert frame.alpha is not None and np.abs(frame.alpha.astype(int) - alpha).mean() < 3
    later = [full] * 15 + [np.dstack([person(), alpha])] * 15  # somebody steps out of the picture
    assert open_clip(encoded(tmp_path / name, codec, pixel_format, later, **metadata)).transparent


def test_an_opaque_gif_is_no_mask(tmp_path: Path) -> None:
    pictures = [Image.fromarray(person(index)) for index in range(3)]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=40)
    clip = open_clip(tmp_path / "clip.gif")
    assert (clip.transparent, clip.opaque) == (False, True)


def test_frames_of_more_than_a_hundred_megapixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(person()).save(tmp_path / "wide.gif")
    data = bytearray((tmp_path / "wide.gif").read_bytes())
    data[6:10] = (12000).to_bytes(2, "little") + (9000).to_bytes(2, "little")
    (tmp_path / "wide.gif").write_bytes(data)
    with pytest.raises(ValueError, match=r"wide.gif is 12000x9000 px; frames of more than 100 million pixels"):
        open_clip(tmp_path / "wide.gif")


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_a_value_error_or_a_shorter_clip(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    whole = [film_with_tone(tmp_path / name, [person()] * 8).read_bytes() for name in ("a.mp4", "a.mkv", "a.ts")]
    kinds: set[str] = set()
    for number in range(30):
        data = bytearray(whole[number % 3])
        places = random.integers(0, 600 if number % 2 else len(data), 16)
        for place in places:
            data[place] = random.integers(256)
        path = tmp_path / ("damaged" + (".mp4", ".mkv", ".ts")[number % 3])
        path.write_bytes(data)
        try:
            clip = open_clip(path)
            frames = list(read_frames(clip, 0.1 * (number % 2)))
            assert all(after.time > before.time for before, after in pairwise(frames))
            if clip.audio is not None:
                sound = Sound(clip)
                list(sound.packets())
                sound.close()
            kinds.add("read")
        except ValueError as error:
            assert str(path) in str(error)
            kinds.add("refused")
    assert kinds == {"read", "refused"}
