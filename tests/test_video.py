"""Whole videos: what the command and the library write, and how they refuse."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hpbnet.cli import main
from hpbnet.cli.video import Bar
from hpbnet.harmonize import HARMONIZERS
from hpbnet.matte import NetworkMatting
from hpbnet.networks.matting import MattingConfig
from hpbnet.options import FrameOptions, VideoOptions

av = pytest.importorskip("av", reason="video needs PyAV")

from clips import HEIGHT, WIDTH, Threshold, film, film_with_tone, mask_of, packets, person, ramp, threshold  # noqa: E402
from hpbnet.video.read import open_clip, read_frames  # noqa: E402
from hpbnet.video.run import compose_frames, compose_video, cut_out_video  # noqa: E402
from hpbnet.video.write import VideoWriter  # noqa: E402

IDENTITY = HARMONIZERS["none"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip of a person and its masks, a clip and a picture to go behind it."""
    people = [person(index) for index in range(8)]
    film_with_tone(tmp_path / "person.mp4", people)
    film(tmp_path / "mask.mkv", [np.repeat(mask_of(each)[:, :, None], 3, 2) for each in people])
    film(tmp_path / "place.mp4", [np.full((HEIGHT, WIDTH, 3), 30 + 20 * index, np.uint8) for index in range(4)])
    Image.fromarray(ramp(WIDTH, HEIGHT)).save(tmp_path / "place.png")
    cut_out = np.dstack([person(), mask_of(person())])
    Image.fromarray(cut_out, "RGBA").save(tmp_path / "person.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


VIDEO = ["video", "person.mp4", "place.png", "--mask", "mask.mkv", "--harmonizer", "none", "-o", "out.mp4"]


def test_sound_is_copied_bit_by_bit_and_times_are_kept(desk: Path) -> None:
    assert main(VIDEO) == 0
    assert packets(desk / "out.mp4") == packets(desk / "person.mp4")
    ours, theirs = (list(read_frames(open_clip(desk / name))) for name in ("out.mp4", "person.mp4"))
    assert [frame.time for frame in ours] == pytest.approx([frame.time for frame in theirs], abs=1e-4)
    assert np.abs(ours[3].pixels[0].astype(int) - ramp(WIDTH, HEIGHT)[0]).max() <= 4


def test_a_part_has_its_own_beginning_and_its_own_sound(desk: Path) -> None:
    assert main([*VIDEO, "--start", "0.08", "--end", "0.24"]) == 0
    clip = open_clip(desk / "out.mp4")
    assert [round(frame.time * 1000) for frame in read_frames(clip)] == [0, 40, 80, 120]
    assert 0 < len(packets(desk / "out.mp4")) < len(packets(desk / "person.mp4"))


@pytest.mark.parametrize(("end", "turns"), [("loop", 2), ("freeze", 1), ("stop", 1)])
def test_a_looped_background_sounds_anew_with_its_pictures(desk: Path, end: str, turns: int) -> None:
    film_with_tone(desk / "sea.mp4", [ramp(WIDTH, HEIGHT)] * 20)
    film(desk / "long.mp4", [person()] * 50)
    arguments = ["video", "long.mp4", "sea.mp4", "--mask", "still.png", "--harmonizer", "none", "-o", "out.mp4"]
    Image.fromarray(mask_of(person())).save("still.png")
    assert main([*arguments, "--audio", "background", "--background-end", end]) == 0
    heard, once = packets(desk / "out.mp4"), packets(desk / "sea.mp4")
    assert heard[: len(once) - 2] == once[:-2]
    if turns == 1:
        assert len(heard) <= len(once)
    else:
        assert abs(len(heard) - 2 * 48000 / 1024) <= 3  # as long as the pictures: 2 s
        assert once[5] in heard[len(once) :]
        with av.open(str(desk / "out.mp4")) as container:
            times = [packet.pts for packet in container.demux(container.streams.audio[0]) if packet.size]
        assert (np.diff(times) > 0).all()
        assert np.diff(times).max() <= 2 * 1024  # no hole between two turns


def test_sound_that_the_container_cannot_hold_is_dropped_with_a_notice(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*VIDEO[:-1], "out.webm"]) == 0
    assert open_clip(desk / "out.webm").audio is None
    assert ".webm cannot hold aac sound: the result is silent." in capsys.readouterr().err


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "prores"])
def test_every_codec_is_written(desk: Path, codec: str) -> None:
    assert main([*VIDEO[:-1], "out.mkv", "--codec", codec, "--end", "0.1", "--audio", "none"]) == 0
    assert len(list(read_frames(open_clip(desk / "out.mkv")))) == 3


@pytest.mark.parametrize(
    ("end", "frames"),
    [
        ("loop", [30, 50, 70, 90, 30, 50, 70, 90]),
        ("freeze", [30, 50, 70, 90, 90, 90, 90, 90]),
        ("stop", [30, 50, 70, 90]),
    ],
)
def test_the_background_loops_freezes_or_stops(desk: Path, end: str, frames: list[int]) -> None:
    arguments = ["video", "person.mp4", "place.mp4", "--mask", "mask.mkv", "--harmonizer", "none", "-o", "out.mp4"]
    assert main([*arguments, "--background-end", end, "--crf", "4"]) == 0
    shown = [int(frame.pixels[2, 2, 0]) for frame in read_frames(open_clip(desk / "out.mp4"))]
    assert shown == pytest.approx(frames, abs=2)


def test_a_background_of_another_rate_is_chosen_by_time(desk: Path) -> None:
    film(desk / "slow.mp4", [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (40, 120, 200)], [0, 130, 200])
    arguments = ["video", "person.mp4", "slow.mp4", "--mask", "mask.mkv", "--harmonizer", "none", "-o", "out.mp4"]
    assert main([*arguments, "--background-end", "freeze"]) == 0
    shown = [int(frame.pixels[2, 2, 0]) for frame in read_frames(open_clip(desk / "out.mp4"))]
    assert shown == pytest.approx([40, 40, 40, 40, 120, 200, 200, 200], abs=2)


def test_a_still_portrait_over_a_moving_background(desk: Path) -> None:
    assert main(["video", "person.png", "place.mp4", "--harmonizer", "none", "-o", "out.mp4"]) == 0
    frames = list(read_frames(open_clip(desk / "out.mp4")))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == pytest.approx([30, 50, 70, 90], abs=2)
    assert all(frame.pixels[-20, WIDTH // 2, 0] > 180 for frame in frames)


@pytest.mark.parametrize(
    "option",
    [
        ["--size", "64x48"],
        ["--fit", "contain", "--size", "100x40"],
        ["--blur", "2"],
        ["--flip"],
        ["--scale", "0.5"],
        ["--x", "0.3"],
        ["--y", "0.9"],
        ["--strength", "0.5"],
        ["--exposure", "0.5"],
        ["--warmth", "0.5"],
        ["--crf", "30"],
        ["--steadiness", "independent"],
        ["--harmonizer", "reinhard"],
        ["--follow", "0"],
    ],
)
def test_every_option_changes_the_picture(desk: Path, option: list[str]) -> None:
    base = ["video", "person.mp4", "place.png", "--mask", "mask.mkv", "--end", "0.1"]
    harmonizer = ["--harmonizer", "reinhard"] if option[0] in ("--strength", "--harmonizer") else []
    assert main([*base, "--harmonizer", "none", "-o", "plain.mp4"]) == 0
    assert main([*base, *(harmonizer or ["--harmonizer", "none"]), *option, "-o", "out.mp4"]) == 0
    plain, changed = (next(read_frames(open_clip(desk / name))).pixels for name in ("plain.mp4", "out.mp4"))
    if option[0] not in ("--steadiness", "--follow"):  # which change nothing where nothing does
        assert plain.shape != changed.shape or (plain != changed).any()


def test_interrupting_keeps_a_playable_part_and_says_so(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = VideoWriter.write

    def interrupted(self: VideoWriter, pixels: np.ndarray, pts: int, alpha: np.ndarray | None = None) -> None:
        if self.frames == 3:
            raise KeyboardInterrupt
        written(self, pixels, pts, alpha)

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    assert main(VIDEO) == 130
    assert "interrupted: out.mp4 holds the first 0.1 s" in capsys.readouterr().err
    assert len(list(read_frames(open_clip(desk / "out.mp4")))) == 3


def test_a_full_disk_leaves_nothing_and_says_so(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: VideoWriter, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(VideoWriter, "write", full)
    before = set(desk.iterdir())
    assert main(VIDEO) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert set(desk.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["person.png", "place.png", "-o", "out.mp4"], "are both pictures; for a video one of them must be a clip"),
        (["missing.mp4", "place.png", "-o", "out.mp4"], "missing.mp4: no such file"),
        (["tone.m4a", "place.png", "-o", "out.mp4"], "holds sound only"),
        (["broken.mp4", "place.png", "-o", "out.mp4"], "not a video that can be read"),
        (["hdr.mkv", "place.png", "-o", "out.mp4"], "PQ (HDR10) video"),
        (["person.mp4", "place.png", "-o", "out.avi"], "videos are written as"),
        (["person.mp4", "place.png", "-o", "no/where/out.mp4"], "no/where/out.mp4"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--start", "99"], "nothing lies between 99 s"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--start", "2", "--end", "1"], "the end must come after"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--codec", "hevc", "--crf", "60"], "at most 51 for hevc"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--audio", "mine"], "'mine' is not one of 'portrait'"),
        (["person.mp4", "place.png", "-o", "folder.mp4"], "folder.mp4: is a folder"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--mask", "black.png"], "the mask shows nobody"),
        (["clear.png", "place.mp4", "-o", "out.mp4"], "the portrait's transparency shows nobody"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    desk: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (desk / "broken.mp4").write_bytes((desk / "person.mp4").read_bytes()[:300])
    (desk / "folder.mp4").mkdir()
    Image.new("L", (WIDTH, HEIGHT)).save("black.png")
    Image.new("RGBA", (WIDTH, HEIGHT)).save("clear.png")
    with av.open("tone.m4a", "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        block.sample_rate = 48000
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    with av.open("hdr.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        stream.codec_context.color_trc = 16
        frame = av.VideoFrame.from_ndarray(person(), "rgb24").reformat(format="yuv420p10le")
        frame.color_trc = 16
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    mask = [] if "--mask" in arguments or arguments[0] == "clear.png" else ["--mask", "mask.mkv"]
    assert main(["video", *arguments, *mask]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and says in lines[0]
    assert not (desk / "out.mp4").exists()


def test_a_report_counts_what_happened(desk: Path) -> None:
    report = compose_video(desk / "person.mp4", desk / "place.png", desk / "out.mp4", IDENTITY, threshold())
    assert (report.frames, report.repeated, report.empty, report.size) == (8, 0, 0, (HEIGHT, WIDTH))
    assert {"decode", "matte", "estimate", "draw", "encode"} <= dict(report.shares).keys()


def test_a_mask_of_another_size_is_refused(desk: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(desk / "small.png")
    with pytest.raises(ValueError, match="the mask is 8x8 px, the portrait 96x64; they must be the same size"):
        compose_video(desk / "person.mp4", desk / "place.png", desk / "out.mp4", IDENTITY, mask=desk / "small.png")


def test_a_cut_out_can_be_the_mask_of_a_clip(desk: Path) -> None:
    film(desk / "still.mp4", [person()] * 3)
    assert (
        main(["video", "still.mp4", "place.png", "--mask", "person.png", "--harmonizer", "none", "-o", "out.mp4"]) == 0
    )
    frame = next(read_frames(open_clip(desk / "out.mp4"))).pixels.astype(int)
    assert np.abs(frame[HEIGHT // 2, WIDTH // 2] - (200, 60, 50)).max() <= 10
    assert np.abs(frame[2, 2] - ramp(WIDTH, HEIGHT)[2, 2]).max() <= 6


def test_a_still_without_a_person_is_an_error_and_no_empty_video(desk: Path) -> None:
    class Blind(Threshold):
        config, stride = MattingConfig(), 32

        def forward(self, portrait: Tensor, previous: Tensor | None = None) -> Tensor:
            return torch.full_like(portrait[:, :1], -20.0)

    Image.fromarray(ramp(WIDTH, HEIGHT)).save("nobody.jpg")
    with pytest.raises(ValueError, match="no person found in the portrait"):
        compose_video("nobody.jpg", "place.mp4", "out.mp4", IDENTITY, NetworkMatting(Blind()))
    assert not [thread for thread in threading.enumerate() if thread.name == "hpbnet-video"]
    assert not (desk / "out.mp4").exists()


def test_a_stills_framing_is_told_as_for_a_picture(desk: Path) -> None:
    report = compose_video("person.png", "place.mp4", "out.mp4", IDENTITY, None, VideoOptions(scale=3.0))
    assert any("enlarged" in notice for notice in report.notices)


def test_pictures_and_formats_of_pictures_are_no_clips(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matte", "place.png", "--mask", "person.png", "-o", "out.mov"]) == 2
    assert "place.png is a picture; a clip is needed" in capsys.readouterr().err
    assert main(["matte", "person.mp4", "--mask", "mask.mkv", "-o", "out.mov", "--format", "png"]) == 2
    assert "--format is for pictures" in capsys.readouterr().err
    (desk / "out.mov").write_bytes(b"mine")
    assert main(["matte", "person.mp4", "--mask", "mask.mkv", "-o", "out.mov", "--skip-existing"]) == 0
    assert (desk / "out.mov").read_bytes() == b"mine"


def test_the_size_of_a_video_is_told_as_a_pictures(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*VIDEO, "--end", "0.1", "--json", "--size", "65x48"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [64, 48]


def test_a_cut_out_clip_is_transparent_and_keeps_the_persons_colours(desk: Path) -> None:
    assert main(["matte", "person.mp4", "--mask", "mask.mkv", "-o", "cut.mov"]) == 0
    frames = list(read_frames(open_clip(desk / "cut.mov")))
    assert len(frames) == 8
    assert frames[2].alpha is not None
    assert np.abs(frames[2].alpha.astype(int) - mask_of(person(2))).mean() < 2
    assert np.abs(frames[2].pixels[HEIGHT // 2, WIDTH // 2].astype(int) - (200, 60, 50)).max() <= 4
    assert main(["video", "cut.mov", "place.png", "--harmonizer", "none", "-o", "out.mp4"]) == 0  # needs no mask


def test_a_cut_out_as_webm_can_be_composed_again(desk: Path) -> None:
    if "libvpx-vp9" not in av.codecs_available:
        pytest.skip("FFmpeg has no libvpx, which alone sees the alpha of VP9")
    assert main(["matte", "person.mp4", "--mask", "mask.mkv", "-o", "cut.webm"]) == 0
    assert main(["video", "cut.webm", "place.png", "--harmonizer", "none", "--light", "0", "-o", "out.mp4"]) == 0
    frame = list(read_frames(open_clip(desk / "out.mp4")))[2].pixels.astype(int)
    assert np.abs(frame[HEIGHT // 2, WIDTH // 2] - (200, 60, 50)).max() <= 10
    assert np.abs(frame[2, 2] - ramp(WIDTH, HEIGHT)[2, 2]).max() <= 6


def test_memory_does_not_grow_with_the_clip(desk: Path) -> None:
    resource = pytest.importorskip("resource", reason="peak memory is read where the system tells it")
    assert resource.RUSAGE_SELF == 0
    program = """if True:
        import resource, sys
        from hpbnet.cli import main
        def peak(clip):
            assert main(["video", clip, "place.png", "--mask", "small.png", "--harmonizer", "none", "-o", "o.mp4"]) == 0
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        short = peak("short.mp4")
        print(peak("long.mp4") - short)
    """
    size = (120, 160)
    frames = [person(index, size) for index in range(20)]
    film(desk / "short.mp4", frames * 2)
    film(desk / "long.mp4", frames * 14)
    Image.fromarray(mask_of(person(0, size))).save("small.png")
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=desk)
    assert float(run.stdout) < 6  # MB; the 240 frames more and their pictures hold 28


def test_the_alpha_alone_is_written_as_a_grey_clip(desk: Path) -> None:
    assert main(["matte", "person.mp4", "--mask", "mask.mkv", "--alpha-only", "-o", "alpha.mp4"]) == 0
    frame = next(read_frames(open_clip(desk / "alpha.mp4")))
    assert np.abs(frame.pixels[:, :, 0].astype(int) - mask_of(person())).mean() < 4


# -- inputs, networks and settings ----------------------------------------------------------------------------------


def test_frames_are_those_of_the_video(desk: Path) -> None:
    options = VideoOptions(start=0.08, background_end="freeze", codec="vp9", crf=1)
    arguments = "person.mp4", "place.mp4"
    compose_video(*arguments, "out.webm", IDENTITY, options=options, mask="mask.mkv")
    chosen = FrameOptions(start=0.08, background_end="freeze")
    frames = list(compose_frames(*arguments, IDENTITY, options=chosen, mask="mask.mkv"))
    written = list(read_frames(open_clip("out.webm")))
    assert [frame.time for frame in frames] == pytest.approx([frame.time for frame in written], abs=2e-3)
    assert frames[0].pixels.dtype == np.uint8 and frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    for made, read in zip(frames, written, strict=True):
        assert np.abs(made.pixels[4:20, 4:20].astype(int) - read.pixels[4:20, 4:20]).mean() < 3


def test_frames_end_their_threads_when_they_are_not_wanted_any_more(desk: Path) -> None:
    frames = compose_frames("person.mp4", "place.png", IDENTITY, mask="mask.mkv")
    assert next(frames).time == 0
    frames.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "hpbnet-video"]


def test_pictures_and_masks_may_be_arrays_images_or_bytes(desk: Path) -> None:
    film(desk / "still.mp4", [person()] * 3)
    mask = mask_of(person())
    expected = [frame.pixels for frame in compose_frames("still.mp4", "place.png", IDENTITY, mask=_saved(mask))]
    for given in (mask, mask > 128, Image.fromarray(mask), _saved(mask).read_bytes()):
        shown = list(compose_frames("still.mp4", ramp(WIDTH, HEIGHT), IDENTITY, mask=given))
        assert all((frame.pixels == pixels).all() for frame, pixels in zip(shown, expected, strict=True))
    cut_out = np.dstack([person(), mask])
    for portrait in (cut_out, Image.fromarray(cut_out, "RGBA")):
        first = next(compose_frames(portrait, "place.mp4", IDENTITY))
        assert first.pixels[0, 0, 0] == pytest.approx(30, abs=2)


def _saved(mask: np.ndarray) -> Path:
    Image.fromarray(mask).save("saved.png")
    return Path("saved.png")


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros((8, 8), np.uint8), "the mask is 8x8 px, the portrait 96x64; they must be the same size"),
        (np.full((HEIGHT, WIDTH), 40, np.uint8), "the mask shows nobody"),
        (np.zeros((2, 2, 2, 2)), "is not a picture"),
        (7, "a picture is given as"),
    ],
)
def test_a_mask_that_is_none_is_refused(desk: Path, mask: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compose_video("person.mp4", "place.png", "out.mp4", IDENTITY, mask=mask)  # type: ignore[arg-type]
    assert not (desk / "out.mp4").exists()


def test_a_matting_that_sees_each_frame_alone_is_used(desk: Path) -> None:
    seen = []

    def red(portrait: Tensor) -> Tensor:
        seen.append(portrait.shape)
        return (portrait[:, :1] > portrait[:, 1:2]).float()

    report = compose_video("person.mp4", "place.png", "out.mp4", IDENTITY, red)
    assert seen == [(1, 3, HEIGHT, WIDTH)] * 8 and report.empty == 0
    frame = list(read_frames(open_clip("out.mp4")))[5].pixels.astype(int)
    assert np.abs(frame[HEIGHT // 2, WIDTH // 2 + 5] - (200, 60, 50)).max() <= 10
    assert np.abs(frame[2, 2] - ramp(WIDTH, HEIGHT)[2, 2]).max() <= 6
    assert cut_out_video("person.mp4", "cut.mov", red).empty == 0
    nobody = compose_video("person.mp4", "place.png", "none.mp4", IDENTITY, lambda portrait: portrait[:, :1] * 0)
    assert nobody.empty == 8 and nobody.notices == ("No person was found in any frame.",)


def test_without_matting_mask_or_transparency_the_message_says_what_to_give(desk: Path) -> None:
    with pytest.raises(ValueError, match="no matting network is loaded: give a mask, or a portrait with transparency"):
        compose_video("person.mp4", "place.png", "out.mp4", IDENTITY)
    assert not (desk / "out.mp4").exists()


OPAQUE = "The portrait's alpha channel is almost fully opaque; it was ignored and the person was detected instead."


def test_an_opaque_clip_or_picture_is_looked_at_by_the_network(desk: Path) -> None:
    opaque = np.full((HEIGHT, WIDTH), 255, np.uint8)
    film(desk / "opaque.mov", [np.dstack([person(index), opaque]) for index in range(3)], alpha=True)
    report = compose_video("opaque.mov", "place.png", "out.mp4", IDENTITY, threshold())
    assert report.notices == (OPAQUE,) and report.empty == 0
    frame = next(read_frames(open_clip("out.mp4"))).pixels.astype(int)
    assert np.abs(frame[2, 2] - ramp(WIDTH, HEIGHT)[2, 2]).max() <= 6
    assert not compose_video("opaque.mov", "place.png", "out.mp4", IDENTITY, mask="person.png").notices
    almost = opaque.copy()
    almost[0, 0] = 0
    Image.fromarray(np.dstack([person(), almost]), "RGBA").save("almost.png")

    def red(portrait: Tensor) -> Tensor:
        return (portrait[:, :1] > portrait[:, 1:2]).float()

    assert OPAQUE in compose_video("almost.png", "place.mp4", "out.mp4", IDENTITY, red).notices


def test_a_background_with_transparency_is_told(desk: Path) -> None:
    report = compose_video("person.mp4", "person.png", "out.mp4", IDENTITY, mask="mask.mkv")
    assert report.notices == ("The background's transparency was ignored.",)


def test_a_person_who_is_hardly_visible_is_told(desk: Path) -> None:
    film(desk / "faint.mov", [np.dstack([person(), mask_of(person()) // 4])] * 3, alpha=True)
    report = compose_video("faint.mov", "place.png", "out.mp4", IDENTITY)
    assert report.notices == ("The person is almost invisible: alpha is never above 25%.",)


def test_a_damaged_clip_is_told_with_both_lengths(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = film(desk / "long.mkv", [np.roll(ramp(), 5 * index, axis=1) for index in range(50)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    film(desk / "person.mkv", [person(index % 3) for index in range(50)])
    Image.fromarray(mask_of(person())).save("mask.png")
    arguments = ["video", "person.mkv", "long.mkv", "--mask", "mask.png", "--harmonizer", "none", "-o", "out.mp4"]
    assert main(arguments) == 0
    told = capsys.readouterr().err
    assert told.count("long.mkv is damaged or cut short: ") == 1 and "s of its 2.0 s could be read" in told
    assert len(list(read_frames(open_clip("out.mp4")))) == 50  # what could be read is looped


@pytest.mark.parametrize("command", ["video", "matte"])
def test_names_with_colons_and_the_longest_are_read_and_written(desk: Path, command: str) -> None:
    source, result = "2024-05-01T10:30:00.mp4", "2024-05-01T11:00:00" + "n" * 232 + ".mov"
    (desk / "person.mp4").rename(source)
    between = ["place.png", "--harmonizer", "none"] if command == "video" else []
    assert main([command, source, *between, "--mask", "mask.mkv", "-o", result]) == 0
    assert len(list(read_frames(open_clip(result)))) == 8


@pytest.mark.parametrize("name", ["empty.gif", "empty.mp4"])
def test_an_empty_file_is_no_interruption(desk: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / name).touch()
    for arguments in ([name, "place.png"], ["person.mp4", name], ["person.mp4", "place.png", "--mask", name]):
        mask = [] if "--mask" in arguments else ["--mask", "mask.mkv"]
        assert main(["video", *arguments, *mask, "-o", "out.mp4"]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and f"{name} is not a video that can be read" in told[0]


def test_the_bar_shows_seconds_with_one_digit(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as show:
        show(15, 15 / 31, 1.0)
        time.sleep(0.11)  # the bar is drawn at most ten times a second
        show(30, 30 / 31, 1.0)
        shown = capsys.readouterr().err
    assert "| 1.0 of 1.0 s [" in shown and "fps" in shown
    assert not re.search(r"\d\.\d{2}", shown)
    with Bar() as show:
        show(1, 1 / 31, None)
        time.sleep(0.11)
        show(2, 2 / 31, None)
    assert re.search(r"0\.1 s \[00:00", capsys.readouterr().err)


def test_one_frame_is_told_as_one(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*VIDEO, "--end", "0.03"]) == 0
    assert "out.mp4: 1 frame, 0.0 s of video" in capsys.readouterr().err
