"""The page's own routes: sessions, their pictures, previews and downloads."""

import json
from collections.abc import Callable
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from ..composition import CutOut
from ..image import Picture, encode_picture
from ..options import ComposeOptions, VideoOptions
from ..pipeline import Pipeline, run_steps
from ..recipe import write_recipe
from .downloads import Download, as_download, check_format, check_quality, encode_result
from .examples import example_file
from .media import Medium, Role
from .networks import Names, names_in, pipeline_of
from .preview import Shown, reduce_picture, fitted
from .problems import Problem
from .requests import read_file, read_object
from .schema import settings_from
from .server import Server
from .sessions import ROLES, Session
from .workers import GoOn

_SIDE, _LEAST_SIDE, _MOST_SIDE = 1280, 16, 8192  # [px] of a preview
_QUALITY = 88  # of a preview
_GROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5), "green": (0.0, 0.69, 0.25)}
_side = Query(_SIDE, ge=_LEAST_SIDE, le=_MOST_SIDE, description="Longer side of the picture, at most [px].")
_time = Query(0.0, ge=0, le=1e6, description="Where in a video [s].")


def studio_routes(server: Server) -> APIRouter:
    """Make the routes of a server's page."""
    router = APIRouter(prefix="/studio", tags=["studio"])

    @router.post("/sessions", status_code=201)
    async def begin() -> dict[str, str]:
        """Begin a session: what a page uploads belongs to it."""
        return {"id": server.sessions.new().id}

    @router.get("/sessions/{id}")
    async def describe(id: str) -> dict[str, object]:
        """Tell what a session holds."""
        session = server.sessions.get(id)
        return {"id": id} | {role: _described(session.held.get(role)) for role in ROLES}

    @router.delete("/sessions/{id}", status_code=204)
    async def end(id: str) -> None:
        """End a session and remove its files."""
        server.sessions.end(server.sessions.get(id).id)

    @router.put("/sessions/{id}/{role}")
    async def upload(id: str, role: Role, request: Request, name: str = "", example: str = "") -> dict[str, object]:
        """Give a session a portrait, background, mask or hint: the bytes of a file, or the name of an example."""
        session = server.sessions.get(id)
        path = session.new_path(role)
        if example:
            path.write_bytes(example_file(example))
        else:
            await read_file(request, path)
        async with session.lock:
            medium = await server.workers.run(lambda go_on: session.take(role, path, name or example))
        return _described(medium) or {}

    @router.delete("/sessions/{id}/{role}", status_code=204)
    async def remove(id: str, role: Role) -> None:
        """Remove a file of a session."""
        session = server.sessions.get(id)
        async with session.lock:
            session.drop(role)

    @router.post("/sessions/{id}/preview")
    async def preview(id: str, request: Request) -> Response:
        """Compose the session's pictures at a reduced size -> JPEG.

        Body: {"settings": {...}, "side": 1280, "sequence": n}. An older request that still waits is answered with 409.
        """
        session, body = server.sessions.get(id), await read_object(request)
        side, sequence = _whole(body, "side", _SIDE, _LEAST_SIDE, _MOST_SIDE), _whole(body, "sequence", 0, 0, 2**53)
        settings = _object(body, "settings")
        session.newest = max(session.newest, sequence)
        async with session.lock:
            if sequence < session.newest:
                raise Problem(409, "a newer preview was asked for", "stale")
            shown, data = await server.workers.run(
                lambda go_on: _preview(server.pipeline, session, settings, side, go_on)
            )
        return Response(data, media_type="image/jpeg", headers=_headers(shown, sequence))

    @router.get("/sessions/{id}/cutout")
    async def cut_out(
        id: str, side: int = _side, ground: str = "", person: str = "all", matting: str = "", time: float = _time
    ) -> Response:
        """Return the cut-out at a reduced size, on the portrait's frame -> PNG with transparency, or on a ground."""
        session = server.sessions.get(id)
        if ground and ground not in _GROUNDS:
            raise ValueError(f"ground is {ground[:60]!r}; expected one of {', '.join(_GROUNDS)}")

        def work(go_on: GoOn) -> bytes:
            names = names_in({"matting": matting})
            pipeline, subject = pipeline_of(server.pipeline, names), session.subject(time)
            cut = session.preview.cut_out(pipeline, names, subject, person, side)
            return _encode_cut_out(cut, fitted(subject.portrait.size, side), ground)

        async with session.lock:
            return Response(await server.workers.run(work), media_type="image/png")

    def proxy(role: Role) -> Callable[..., object]:
        async def picture(id: str, side: int = _side, time: float = _time) -> Response:
            """Return a session's picture, or a video's frame, at a reduced size -> JPEG."""
            session = server.sessions.get(id)
            session.need(role)
            async with session.lock:
                data = await server.workers.run(lambda go_on: _proxy(session, role, side, time))
            return Response(data, media_type="image/jpeg")

        return picture

    router.add_api_route("/sessions/{id}/portrait", proxy("portrait"), methods=["GET"], name="portrait")
    router.add_api_route("/sessions/{id}/background", proxy("background"), methods=["GET"], name="background")

    @router.post("/sessions/{id}/download")
    async def download(id: str, request: Request) -> Response:
        """Compose at full size -> a file. Body: {"settings": {...}, "format": "png", "quality": 95}."""
        session, body = server.sessions.get(id), await read_object(request)
        format, quality = check_format(body.get("format", "png")), check_quality(body.get("quality", 95))
        settings = _object(body, "settings")
        async with session.lock:
            file, notices = await server.workers.run(
                lambda go_on: _download(server.pipeline, session, settings, format, quality, go_on)
            )
        return attachment(file, notices)

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


def chosen(pipeline: Pipeline, settings: dict[str, object]) -> tuple[Pipeline, Names, ComposeOptions, float]:
    """Read a page's settings -> pipeline, names of its networks, options, and where in a video to look [s]."""
    names = names_in(settings)
    options = settings_from(ComposeOptions, settings, (VideoOptions,))
    video = settings_from(VideoOptions, settings, (ComposeOptions,))
    return pipeline_of(pipeline, names), names, options, video.start


def _preview(
    pipeline: Pipeline, session: Session, settings: dict[str, object], side: int, go_on: GoOn
) -> tuple[Shown, bytes]:
    pipeline, names, options, start = chosen(pipeline, settings)
    shown = session.preview.compose(
        pipeline, names, session.subject(start), session.origin("background", start), options, side, go_on
    )
    return shown, encode_picture(shown.composition.image, None, "jpg", quality=_QUALITY)


def _headers(shown: Shown, sequence: int) -> dict[str, str]:
    (left, top, width, height), (scale, x, y) = shown.placed.box, shown.placed.framing
    seen = left < 1 and top < 1 and left + width > 0 and top + height > 0
    box = {"left": round(left, 5), "top": round(top, 5), "width": round(width, 5), "height": round(height, 5)}
    placement = {"box": box if seen else None, "scale": round(scale, 5), "x": round(x, 5), "y": round(y, 5)}
    return {
        "X-Hpbnet-Sequence": str(sequence),
        "X-Hpbnet-Notices": notices_header(shown.composition.notices),
        "X-Hpbnet-Placement": json.dumps(placement),
        "X-Hpbnet-Size": f"{shown.size[1]}x{shown.size[0]}",
    }


def _encode_cut_out(cut: CutOut, size: tuple[int, int], ground: str) -> bytes:
    small = reduce_picture(Picture(cut.foreground, cut.alpha), size)
    assert small.alpha is not None
    if not ground:
        return encode_picture(small.pixels, small.alpha)
    color = small.pixels.new_tensor(_GROUNDS[ground]).view(1, 3, 1, 1)
    return encode_picture(color.lerp(small.pixels, small.alpha))


def _proxy(session: Session, role: Role, side: int, time: float) -> bytes:
    origin = session.origin(role, time)
    picture = reduce_picture(session.preview.reduced(role, origin, side), fitted(origin.size, side))
    return encode_picture(picture.pixels, None, "jpg", quality=_QUALITY)


def _download(
    pipeline: Pipeline, session: Session, settings: dict[str, object], format: str, quality: int, go_on: GoOn
) -> tuple[Download, tuple[str, ...]]:
    pipeline, names, options, start = chosen(pipeline, settings)
    if format == "settings":
        recipe = write_recipe(options, harmonizer=names[0], matting=names[1])
        return as_download(format, recipe.encode()), ()
    size = session.need("portrait").size
    portrait, mask = session.source("portrait", start), session.source("mask")
    hint = session.strokes(size) if "hint" in session.held else None
    assert portrait is not None and not isinstance(mask, Picture)
    if format == "cutout":
        cut = pipeline.matte(portrait, mask, hint, options.person)
        go_on()
        return as_download(format, cut.encode()), cut.notices
    session.need("background")
    background = session.source("background", start)
    assert background is not None
    composition = run_steps(pipeline.steps(portrait, background, options, mask, hint), go_on)
    go_on()
    return as_download(format, encode_result(composition, format, quality)), composition.notices


def _described(medium: Medium | None) -> dict[str, object] | None:
    if medium is None:
        return None
    told: dict[str, object] = {"name": medium.name, "width": medium.width, "height": medium.height}
    told |= {"kind": medium.kind, "notices": list(medium.notices)}
    return told | ({"seconds": medium.seconds} if medium.kind == "video" else {})


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
