"""Live use: the frames of a camera, or of a clip in its place, composed as fast as possible and shown at once.

A separate thread always keeps the camera's newest frame; frames that come while one is being composed are dropped, so
that the delay stays that of one frame.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from .errors import missing_extra
from .harmonize import Harmonizer
from .image.picture import Source
from .matte import Matting
from .options import LiveOptions
from .video.pixels import Pixels
from .video.read import open_clip, read_frames
from .video.sources import Still, canvas_size, open_medium, scene_at
from .video.step import Composer, ComposerState
from .video.threads import shared_cores

_PATIENCE = 5.0  # [s] without a frame after which a camera is taken to be gone


@dataclass(frozen=True)
class Snapshot:
    """A frame as it came from the camera."""

    pixels: Pixels  # [H,W,3] sRGB
    taken: float  # [s] of `time.perf_counter`
    number: int  # frames since the start


class Camera(Protocol):
    """Something that gives frames, each when its time has come."""

    @property
    def rate(self) -> float:
        """Frames a second."""

    def read(self) -> Pixels | None:
        """Wait for the next frame [H,W,3] sRGB; None where there will be none."""

    def close(self) -> None:
        """Let the camera go."""


class Sink(Protocol):
    """Something that shows pictures."""

    def show(self, picture: Pixels, delay: float) -> bool:
        """Show a picture [H,W,3] and the delay since it was taken [s]; False where the user closed the window."""

    def close(self) -> None:
        """Close the window or device."""


@dataclass(frozen=True)
class LiveReport:
    """The counts and delays of a live session."""

    shown: int
    dropped: int
    seconds: float
    delay: float  # [s] median from taken to shown
    worst_delay: float  # [s] 95th percentile
    gone: bool = False  # the camera stopped giving frames


class DeviceCamera:
    """A camera of this machine."""

    def __init__(self, index: int) -> None:
        with _opencv_silent():
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise ValueError(f"there is no camera {index}, or another program uses it")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.rate = float(self._capture.get(cv2.CAP_PROP_FPS)) or 30.0

    def read(self) -> Pixels | None:
        """Wait for the next frame."""
        good, frame = self._capture.read()
        return np.ascontiguousarray(frame[:, :, ::-1], np.uint8) if good else None

    def close(self) -> None:
        """Let the camera go."""
        self._capture.release()


@contextmanager
def _opencv_silent() -> Iterator[None]:
    """Keep OpenCV from printing what it tries: a missing camera is reported in one sentence."""
    log = cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)


class ClipCamera:
    """A clip that plays at its own speed, once."""

    def __init__(self, path: Path) -> None:
        clip = open_clip(path)
        self._frames = read_frames(clip)
        self._began: float | None = None
        self.rate = float(clip.rate)

    def read(self) -> Pixels | None:
        """Wait until the next frame is due."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        self._began = time.perf_counter() - frame.time if self._began is None else self._began
        time.sleep(max(0.0, self._began + frame.time - time.perf_counter()))
        return frame.pixels

    def close(self) -> None:
        """Nothing is open between frames."""


def open_camera(name: str) -> Camera:
    """Open a camera by its number, or a clip by its path.

    Raises:
        ValueError: there is no such camera, or the file is no video.
        OSError: the file cannot be opened.
    """
    return DeviceCamera(int(name)) if name.isdecimal() else ClipCamera(Path(name))


class Newest:
    """Takes a camera's frames in a thread of its own and keeps the newest one only."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.taken = 0
        self.gone = False  # no frame came when one was waited for
        self._newest: Snapshot | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hpbnet-camera", daemon=True)
        self._thread.start()

    def next(self, patience: float = _PATIENCE) -> Snapshot | None:
        """Wait for a frame that was not seen yet; None where there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, patience)
            newest, self._newest = self._newest, None
            if newest is None and self._error is not None:
                raise self._error
            self.gone = newest is None
            return newest

    def close(self) -> None:
        """Stop the thread and let the camera go."""
        self._stop.set()
        self._thread.join(_PATIENCE)
        self.camera.close()

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and (pixels := self.camera.read()) is not None:
                with self._changed:
                    self._newest = Snapshot(pixels, time.perf_counter(), self.taken)
                    self.taken += 1
                    self._changed.notify()
        except BaseException as error:  # handed to the thread that waits for it
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()


class Preview:
    """A window; q or Escape closes it."""

    def __init__(self, title: str = "hpbnet") -> None:
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE)
        except cv2.error:
            raise ValueError(
                "no window can be shown: install opencv-python in place of opencv-python-headless, or omit --preview"
            ) from None

    def show(self, picture: Pixels, delay: float) -> bool:
        """Show a picture with its delay."""
        shown = np.ascontiguousarray(picture[:, :, ::-1])
        cv2.putText(shown, f"{delay * 1000:.0f} ms", (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
        cv2.imshow(self._title, shown)
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

    def close(self) -> None:
        """Close the window."""
        cv2.destroyWindow(self._title)


class VirtualCamera:
    """A camera that other programs see."""

    def __init__(self, size: tuple[int, int], rate: float) -> None:
        try:
            import pyvirtualcam
        except ImportError:
            raise missing_extra("virtual cameras", "pyvirtualcam", "webcam") from None
        try:
            self._device = pyvirtualcam.Camera(width=size[1], height=size[0], fps=rate)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"no virtual camera can be opened (OBS or v4l2loopback gives one): {reason}") from None

    def show(self, picture: Pixels, delay: float) -> bool:
        """Send a picture."""
        self._device.send(picture)
        return True

    def close(self) -> None:
        """Close the device."""
        self._device.close()


def run_webcam(
    camera: Camera,
    background: Source,
    sinks: Callable[[tuple[int, int]], list[Sink]],
    harmonizer: Harmonizer,
    matting: Matting,
    options: LiveOptions | None = None,
    seconds: float | None = None,
    watch: Callable[[float, float], None] | None = None,
) -> LiveReport:
    """Compose a camera's frames and show them until it ends, the window is closed, or the user interrupts.

    Args:
        camera: where frames come from.
        background: a picture, or the path of a clip that is looped.
        sinks: opens what shows the pictures, given their height and width [px].
        harmonizer: estimates the colour change.
        matting: finds the person.
        options: see `LiveOptions`.
        seconds: how long to run [s]; without end by default.
        watch: told the frames a second and the delay [s], with each picture.

    Raises:
        ValueError: the camera gives nothing at all, or the background cannot be read.
        OSError: the background cannot be opened.
    """
    newest = Newest(camera)
    opened: list[Sink] = []
    delays: list[float] = []
    began = time.perf_counter()
    try:
        session = _Session(newest, background, harmonizer, matting, options or LiveOptions())
        opened = sinks(session.size)
        began = time.perf_counter()
        with shared_cores():
            for picture, shot in session.pictures(seconds):
                delays.append(time.perf_counter() - shot.taken)
                still_open = [sink.show(picture, delays[-1]) for sink in opened]
                if watch is not None:
                    watch(len(delays) / (time.perf_counter() - began), delays[-1])
                if not all(still_open):
                    break
    except KeyboardInterrupt:  # the usual way to end it
        pass
    finally:
        newest.close()
        for sink in opened:
            sink.close()
    return _report(delays, newest.taken, time.perf_counter() - began, newest.gone)


class _Session:
    """The pictures of a camera before a background."""

    def __init__(
        self, newest: Newest, background: Source, harmonizer: Harmonizer, matting: Matting, options: LiveOptions
    ) -> None:
        self.newest = newest
        self.first = newest.next()
        if self.first is None:
            raise ValueError("the camera gives no frames")
        place = open_medium(background)
        self.size = canvas_size(Still(self.first.pixels), place, options.size)  # height and width [px]
        self.scene = scene_at(place, options, self.size, "loop", lambda notice: None)
        self.composer = Composer(harmonizer, matting, options)

    def pictures(self, seconds: float | None) -> Iterator[tuple[Pixels, Snapshot]]:
        """Yield composed pictures and the frames they are of, for a time [s] or as long as the camera gives frames."""
        shot, state, began = self.first, ComposerState(), time.perf_counter()
        while shot is not None and (seconds is None or shot.taken - began < seconds):
            scene = self.scene(shot.taken - began)
            assert scene is not None
            picture, state = self.composer(shot.pixels, scene, state, shot.taken)
            yield picture, shot
            shot = self.newest.next()


def _report(delays: list[float], taken: int, seconds: float, gone: bool) -> LiveReport:
    if not delays:
        return LiveReport(0, taken, seconds, 0.0, 0.0, gone)
    worst = sorted(delays)[min(len(delays) - 1, int(0.95 * len(delays)))]
    return LiveReport(len(delays), taken - len(delays), seconds, statistics.median(delays), worst, gone)
