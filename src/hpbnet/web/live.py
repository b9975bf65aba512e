"""The camera in the page: frames come in over a websocket, are composed, and go back; the newest frame wins."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, replace
from functools import partial

import cv2
import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from ..image import read_picture
from ..image.picture import to_samples
from ..options import ComposeOptions, LiveOptions, PlacementOptions, VideoOptions
from ..pipeline import Pipeline
from ..video.pixels import Pixels
from ..video.sources import Still, canvas_size, open_medium, scene_at
from ..video.step import Composer, ComposerState
from ..video.tone import PACES, Toner
from .networks import names_in, pipeline_of
from .problems import Problem, to_problem
from .requests import parse_object
from .schema import settings_from
from .server import Server
from .sessions import Session
from .workers import GoOn

_MOST_PIXELS = 1920 * 1200  # of a frame
_QUALITY = 80  # of the JPEG that goes back
_PLACED = tuple(each.name for each in fields(PlacementOptions) if each.name != "shadow")


def live_routes(server: Server) -> APIRouter:
    """Make the route of the camera."""
    router = APIRouter()

    @router.websocket("/studio/live/{id}")
    async def live(socket: WebSocket, id: str) -> None:
        """Compose frames: bytes of a JPEG or WebP in, a JPEG out; text is an object of settings, or an error."""
        await socket.accept()
        try:
            session = server.sessions.get(id)
            camera = LiveCamera(server.pipeline, session)
            session.need("background")
        except Problem as problem:
            await socket.send_text(_told(problem))
            await socket.close(1008)
            return
        await _Exchange(server, socket, session, camera).run()

    return router


@dataclass
class LiveCamera:
    """Composes one camera's frames before a session's background."""

    pipeline: Pipeline
    session: Session
    options: LiveOptions = field(default_factory=LiveOptions)
    _composer: Composer | None = None
    _state: ComposerState = field(default_factory=ComposerState)
    _scene: tuple[Hashable, Callable[[float], Pixels | None], float] | None = None  # of what, at a time, since when
    _began: float = field(default_factory=time.monotonic)
    _networks: Pipeline | None = None

    def change(self, text: str, go_on: GoOn) -> None:
        """Take settings: a JSON object; fields that only pictures have are left out.

        Raises:
            Problem, ValueError: it is none, or a value is not allowed.
        """
        go_on()
        values = parse_object(text.encode())
        nested = values.get("settings", values)
        if not isinstance(nested, dict):
            raise ValueError("settings is no object")
        options = settings_from(LiveOptions, nested, (ComposeOptions, VideoOptions))
        self.session.limits.check_result(options.size)
        networks = pipeline_of(self.pipeline, names_in(nested))
        if any(getattr(options, name) != getattr(self.options, name) for name in _PLACED):
            self._state, self._scene = replace(self._state, window=None), None
        if self._composer is not None and networks.matting is self._composer_pipeline().matting:
            self._composer.options = options  # the tracker stays: preparing its network takes longer than a frame
            self._composer.toner = Toner(networks.harmonizer, PACES["steady"], options)
        else:
            self._composer = None
        self.options, self._networks = options, networks

    def compose(self, data: bytes, go_on: GoOn) -> bytes:
        """Compose a frame.

        Raises:
            ValueError: it is no picture, or too large.
        """
        frame = np.ascontiguousarray(to_samples(read_picture(data, _MOST_PIXELS).pixels), np.uint8)
        go_on()
        moment = time.monotonic() - self._began
        scene = self._scene_at(frame, moment)
        go_on()
        if self._composer is None:
            networks = self._composer_pipeline()
            self._composer = Composer(networks.harmonizer, networks.matting, self.options)
        picture, self._state = self._composer(frame, scene, self._state, moment)
        done, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        assert done
        return encoded.tobytes()

    def _composer_pipeline(self) -> Pipeline:
        return self._networks or self.pipeline

    def _scene_at(self, frame: Pixels, moment: float) -> Pixels:
        """Return the background at a time [s], on a canvas of the frame's size or the one that is wished for."""
        background = self.session.need("background")
        key = (background.path, frame.shape, self.options.size, self.options.fit, self.options.blur)
        if self._scene is None or self._scene[0] != key:
            source = background.path if background.kind == "video" else background.path.read_bytes()
            medium = open_medium(source)
            size = canvas_size(Still(frame), medium, self.options.size)
            self._scene = key, scene_at(medium, self.options, size, "loop", lambda notice: None), moment
        _, at, since = self._scene
        scene = at(moment - since)
        assert scene is not None
        return scene


class _Exchange:
    """One websocket: a task takes what comes, and keeps the newest frame only; another composes."""

    def __init__(self, server: Server, socket: WebSocket, session: Session, camera: LiveCamera) -> None:
        self.server, self.socket, self.session, self.camera = server, socket, session, camera
        self._frame: bytes | None = None
        self._settings: str | None = None
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Exchange frames until the client goes away."""
        work = asyncio.create_task(self._work())
        try:
            await self._take()
        except WebSocketDisconnect:
            pass
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await work

    async def _take(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                self._frame = message["bytes"]
            elif message.get("text") is not None:
                self._settings = message["text"]
            self._came.set()

    async def _work(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            settings, frame = self._settings, self._frame
            self._settings = self._frame = None
            self.session.used = time.monotonic()
            answer = await self._answer(settings, frame)
            try:
                if isinstance(answer, str):
                    await self.socket.send_text(answer)
                elif answer is not None:
                    await self.socket.send_bytes(answer)
            except (WebSocketDisconnect, RuntimeError):  # the client is gone
                return

    async def _answer(self, settings: str | None, frame: bytes | None) -> bytes | str | None:
        """Take settings and compose a frame -> a JPEG, or the text of an error."""
        try:
            if settings is not None:
                await self.server.workers.run(partial(self.camera.change, settings))
            return None if frame is None else await self.server.workers.run(partial(self.camera.compose, frame))
        except Exception as error:  # told to the client, and logged where it is our fault
            return _told(to_problem(error))


def _told(problem: Problem) -> str:
    return json.dumps({"title": "Cannot be done", "status": problem.status, "detail": problem.detail})
