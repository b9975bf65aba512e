"""Live use, with a clip or a fake in place of a camera."""

import os
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from hpbnet import webcam
from hpbnet.affine_grid import AffineGrid
from hpbnet.cli import main
from hpbnet.layers import Layers

pytest.importorskip("av", reason="video needs PyAV")

from clips import threshold
from hpbnet.video.write import Film, VideoWriter

SIZE = (48, 64)


class Album:
    """Keeps what it is shown; has had enough after some pictures."""

    def __init__(self, enough: int = 10**6) -> None:
        self.pictures: list[np.ndarray] = []
        self.enough = enough
        self.closed = False

    def show(self, picture: np.ndarray, delay: float) -> bool:
        self.pictures.append(picture)
        return len(self.pictures) < self.enough

    def close(self) -> None:
        self.closed = True


class Numbered:
    """A camera whose frames show their number, at a rate of 200 a second."""

    rate = 200.0

    def __init__(self, count: int = 60) -> None:
        self.count, self.number, self.closed = count, 0, False

    def read(self) -> np.ndarray | None:
        if self.number == self.count:
            return None
        time.sleep(1 / self.rate)
        self.number += 1
        frame = person()
        frame[0, 0] = self.number
        return frame

    def close(self) -> None:
        self.closed = True


def person() -> np.ndarray:
    frame = np.full((*SIZE, 3), (20, 140, 40), np.uint8)
    frame[16:, 20:44] = (200, 60, 50)
    return frame


def identity(layers: Layers) -> AffineGrid:
    return AffineGrid.identity()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((*SIZE, 3), 77, np.uint8)).save("room.png")
    return tmp_path / "room.png"


def test_a_clip_stands_for_a_camera_at_its_own_speed(room: Path) -> None:
    writer = VideoWriter(Film(Path("clip.mp4"), SIZE[1], SIZE[0], Fraction(1, 1000), Fraction(50)))
    for index in range(10):
        writer.write(person(), 20 * index)
    writer.close()
    album, started = Album(), time.perf_counter()
    report = webcam.run_webcam(webcam.open_camera("clip.mp4"), room, lambda size: [album], identity, threshold())
    assert time.perf_counter() - started >= 0.18
    assert report.shown == len(album.pictures) and report.shown + report.dropped == 10
    assert report.gone and album.closed
    picture = album.pictures[-1]
    assert picture.shape == (*SIZE, 3) and (picture[2, 2] == 77).all() and picture[40, 32, 0] > 180


def test_frames_are_dropped_and_never_queued() -> None:
    newest = webcam.Newest(Numbered())
    first = newest.next()
    time.sleep(0.1)
    second = newest.next()
    newest.close()
    assert first is not None and second is not None
    assert second.number > first.number + 2
    assert time.perf_counter() - second.taken < 1.0
    assert newest.camera.closed  # type: ignore[attr-defined]


def test_the_user_can_have_enough(room: Path) -> None:
    album, camera = Album(enough=3), Numbered(10**6)
    report = webcam.run_webcam(camera, room, lambda size: [album], identity, threshold())
    assert report.shown == 3 and not report.gone and camera.closed


def test_delay_and_speed_are_told_with_each_picture(room: Path) -> None:
    told: list[tuple[float, float]] = []
    report = webcam.run_webcam(
        Numbered(5), room, lambda size: [], identity, threshold(), watch=lambda fps, delay: told.append((fps, delay))
    )
    assert len(told) == report.shown and all(fps > 0 and delay > 0 for fps, delay in told)
    assert 0 < report.delay <= report.worst_delay


def test_interrupting_ends_the_session_quietly(room: Path) -> None:
    def stop(fps: float, delay: float) -> None:
        raise KeyboardInterrupt

    camera = Numbered(10**6)
    report = webcam.run_webcam(camera, room, lambda size: [], identity, threshold(), watch=stop)
    assert report.shown == 1 and camera.closed


def test_a_camera_that_gives_nothing_is_named(room: Path) -> None:
    with pytest.raises(ValueError, match="the camera gives no frames"):
        webcam.run_webcam(Numbered(0), room, lambda size: [], identity, threshold())


def test_a_missing_camera_is_one_clear_sentence(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Nothing:
        def __init__(self, index: int) -> None:
            assert index == 7

        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr(webcam.cv2, "VideoCapture", Nothing)
    assert main(["webcam", "--camera", "7", "--background", str(room), "--preview"]) == 2
    assert capsys.readouterr().err.startswith("hpbnet: there is no camera 7")


def test_a_missing_camera_makes_opencv_say_nothing(room: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = webcam.cv2.utils.logging.getLogLevel()
    assert main(["webcam", "--camera", "97", "--background", str(room), "--seconds", "1"]) == 2
    told = capfd.readouterr().err
    assert told.startswith("hpbnet: there is no camera 97") and told.count("\n") == 1
    assert webcam.cv2.utils.logging.getLogLevel() == before


@pytest.mark.parametrize(
    ("option", "says"),
    [(["--camera", "room.png"], "room.png is a picture; a clip is needed"), (["--seconds", "nan"], "--seconds is nan")],
)
def test_what_is_no_camera_or_no_time_is_refused(
    room: Path, option: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["webcam", "--background", str(room), "--seconds", "1", *option]) == 2
    assert says in capsys.readouterr().err


def test_a_missing_virtual_camera_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyvirtualcam", None)
    with pytest.raises(
        ValueError, match=r"virtual cameras need pyvirtualcam, which is not installed; run pip install -e '.\[webcam\]'"
    ):
        webcam.VirtualCamera(SIZE, 30.0)


def test_something_must_show_the_pictures(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webcam", "--background", str(room)]) == 2
    assert "--preview or --virtual-camera" in capsys.readouterr().err


def test_a_session_shares_the_cores_with_other_programs(room: Path) -> None:
    before, seen = (torch.get_num_threads(), cv2.getNumThreads()), []
    half = max(1, (os.cpu_count() or 1) // 2)
    webcam.run_webcam(
        Numbered(3),
        room,
        lambda size: [],
        identity,
        threshold(),
        watch=lambda fps, delay: seen.append((torch.get_num_threads(), cv2.getNumThreads())),
    )
    assert seen and all(threads == (min(before[0], half), min(before[1], half)) for threads in seen)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_a_camera_that_fails_is_an_error_and_no_silence(room: Path) -> None:
    class Broken(Numbered):
        def read(self) -> np.ndarray | None:
            raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        webcam.run_webcam(Broken(), room, lambda size: [], identity, threshold())


def test_a_clip_whose_name_has_colons_stands_for_a_camera(room: Path) -> None:
    name = "2024-05-01T10:30:00.mp4"
    writer = VideoWriter(Film(Path(name), SIZE[1], SIZE[0], Fraction(1, 1000), Fraction(50)))
    writer.write(person(), 0)
    writer.close()
    report = webcam.run_webcam(webcam.open_camera(name), room, lambda size: [], identity, threshold())
    assert report.shown == 1
