"""What a session's pictures become: previews, fast, and downloads at full size."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from ..image import Picture, encode_picture
from ..image.picture import Samples
from ..options import ComposeOptions, VideoOptions
from ..pipeline import Pipeline, run_steps
from ..recipe import write_recipe
from .downloads import Download, as_download, check_format, check_quality, encode_result
from .limits import Limits
from .moving import preview_frame
from .networks import Names, names_in, pipeline_of
from .preview import LEAST_SIDE, MOST_SIDE, PREVIEW_QUALITY, SIDE, Box, Framing
from .problems import Problem
from .requests import read_object
from .schema import settings_from
from .server import Server
from .sessions import Session
from .workers import GoOn


def result_routes(server: Server) -> APIRouter:
    """Make the routes of previews and downloads."""
    router = APIRouter(prefix="/studio", tags=["studio"])

    @router.post("/sessions/{id}/preview")
    async def preview(id: str, request: Request) -> Response:
        """Compose the session's pictures at a reduced size -> JPEG.

        Body: {"settings": {...}, "side": 1280, "sequence": n}. An older request that still waits is answered with 409.
        """
        session, body = server.sessions.get(id), await read_object(request)
        side, sequence = _whole(body, "side", SIDE, LEAST_SIDE, MOST_SIDE), _whole(body, "sequence", 0, 0, 2**53)
        settings = _object(body, "settings")
        session.newest = max(session.newest, sequence)
        async with session.lock:
            if sequence < session.newest:
                raise Problem(409, "a newer preview was asked for", "stale")
            shown = await server.workers.run(lambda go_on: _preview(server.pipeline, session, settings, side, go_on))
        return Response(shown.data, media_type="image/jpeg", headers=_headers(shown, sequence))

    @router.post("/sessions/{id}/download")
    async def download(id: str, request: Request) -> Response:
        """Compose at full size -> a file. Body: {"settings": {...}, "format": "png", "quality": 95}."""
        session, body = server.sessions.get(id), await read_object(request)
        format, quality = check_format(body.get("format", "png")), check_quality(body.get("quality", 95))
        settings = _object(body, "settings")
        async with session.lock:  # held only while the files are read: previews go on while a download is made
            taken = await server.workers.run(lambda go_on: _take(server.pipeline, session, settings, format))
        return attachment(*await server.workers.run(lambda go_on: _download(taken, format, quality, go_on)))

    return router


def attachment(file: Download, notices: tuple[str, ...]) -> Response:
    """Answer with a file to be saved."""
    headers = {
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "X-Hpbnet-Notices": notices_header(notices),
    }
    return Response(file.data, media_type=file.media_type, headers=headers)


def notices_header(notices: tuple[str, ...]) -> str:
    """Write notices as a percent-encoded JSON list."""
    return quote(json.dumps(list(notices), ensure_ascii=False))


@dataclass(frozen=True)
class Chosen:
    """What a page's settings ask for."""

    pipeline: Pipeline
    networks: Names
    picture: ComposeOptions
    video: VideoOptions


def chosen(pipeline: Pipeline, limits: Limits, settings: dict[str, object]) -> Chosen:
    """Read a page's settings, which are those of pictures and of videos, and names of networks.

    Raises:
        ValueError: a name is unknown, a value not allowed, or the result too large.
    """
    names = names_in(settings)
    picture = settings_from(ComposeOptions, settings, (VideoOptions,))
    video = settings_from(VideoOptions, settings, (ComposeOptions,))
    limits.check_result(picture.size)
    return Chosen(pipeline_of(pipeline, names), names, picture, video)


@dataclass(frozen=True)
class _Shown:
    """A preview, encoded."""

    data: bytes
    box: Box | None
    framing: Framing
    size: tuple[int, int]  # of the full result, height and width
    notices: tuple[str, ...]


def _preview(pipeline: Pipeline, session: Session, settings: dict[str, object], side: int, go_on: GoOn) -> _Shown:
    asked = chosen(pipeline, session.limits, settings)
    if "video" in (session.need("portrait").kind, session.need("background").kind):
        frame = preview_frame(asked.pipeline, asked.networks, session, asked.video, side, go_on)
        return _Shown(frame.data, frame.box, frame.framing, frame.size, frame.notices)
    subject, background = session.subject(), session.origin("background")
    shown = session.preview.compose(asked.pipeline, asked.networks, subject, background, asked.picture, side, go_on)
    data = encode_picture(shown.composition.image, None, "jpg", quality=PREVIEW_QUALITY)
    return _Shown(data, shown.placed.box, shown.placed.framing, shown.size, shown.composition.notices)


def _in_sight(box: Box) -> bool:
    left, top, width, height = box
    return left < 1 and top < 1 and left + width > 0 and top + height > 0


def _headers(shown: _Shown, sequence: int) -> dict[str, str]:
    names = ("left", "top", "width", "height")
    box = None if shown.box is None else {name: round(each, 5) for name, each in zip(names, shown.box, strict=True)}
    if box and (
        box["left"] >= 1 or box["top"] >= 1 or box["left"] + box["width"] <= 0 or box["top"] + box["height"] <= 0
    ):
        box = None
    scale, x, y = shown.framing
    placement = {"box": box, "scale": round(scale, 5), "x": round(x, 5), "y": round(y, 5)}
    return {
        "X-Hpbnet-Sequence": str(sequence),
        "X-Hpbnet-Notices": notices_header(shown.notices),
        "X-Hpbnet-Placement": json.dumps(placement),
        "X-Hpbnet-Size": f"{shown.size[1]}x{shown.size[0]}",
    }


@dataclass(frozen=True)
class _Taken:
    """What a download is made of."""

    asked: Chosen
    portrait: bytes | Picture | None = None
    background: bytes | Picture | None = None
    mask: bytes | None = None
    hint: Samples | None = None
    folder: Path | None = None  # for temporary files


def _take(pipeline: Pipeline, session: Session, settings: dict[str, object], format: str) -> _Taken:
    """Read the files that a download needs.

    Raises:
        Problem: one is not there.
    """
    asked = chosen(pipeline, session.limits, settings)
    if format == "settings":
        return _Taken(asked)
    start, size = asked.video.start, session.need("portrait").size
    mask = session.source("mask")
    assert not isinstance(mask, Picture)
    hint = session.strokes(size) if "hint" in session.held else None
    portrait, background = session.source("portrait", start), None
    if format != "cutout":
        session.need("background")
        background = session.source("background", start)
    return _Taken(asked, portrait, background, mask, hint, session.folder)


def _download(taken: _Taken, format: str, quality: int, go_on: GoOn) -> tuple[Download, tuple[str, ...]]:
    pipeline, options, networks = taken.asked.pipeline, taken.asked.picture, taken.asked.networks
    if taken.portrait is None or taken.folder is None:
        return as_download(format, write_recipe(options, harmonizer=networks[0], matting=networks[1]).encode()), ()
    if taken.background is None:
        cut = pipeline.matte(taken.portrait, taken.mask, taken.hint, options.person)
        go_on()
        return as_download(format, cut.encode()), cut.notices
    steps = pipeline.steps(taken.portrait, taken.background, options, taken.mask, taken.hint)
    composition = run_steps(steps, go_on)
    go_on()
    return as_download(format, encode_result(composition, format, quality, taken.folder)), composition.notices


def _object(body: dict[str, object], name: str) -> dict[str, object]:
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise Problem(422, f"{name} is a {type(value).__name__}; expected an object")
    return value


def _whole(body: dict[str, object], name: str, default: int, least: int, most: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Problem(422, f"{name} is {str(value)[:40]!r}; expected a whole number from {least} to {most}")
    return value
