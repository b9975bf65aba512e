"""The page's own routes: sessions, their pictures, previews and downloads."""

from collections.abc import Callable

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from ..composition import CutOut
from ..image import Picture, encode_picture
from .examples import example_file
from .media import Medium, Role
from .networks import names_in, pipeline_of
from .preview import LEAST_SIDE, MOST_SIDE, PREVIEW_QUALITY, SIDE, fitted, reduce_picture
from .requests import read_file
from .server import Server
from .sessions import ROLES, Session
from .workers import GoOn

_GROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5), "green": (0.0, 0.69, 0.25)}
_side = Query(SIDE, ge=LEAST_SIDE, le=MOST_SIDE, description="Longer side of the picture, at most [px].")
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
            path.write_bytes(await run_in_threadpool(example_file, example))
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

    return router


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
    return encode_picture(picture.pixels, None, "jpg", quality=PREVIEW_QUALITY)


def _described(medium: Medium | None) -> dict[str, object] | None:
    if medium is None:
        return None
    told: dict[str, object] = {"name": medium.name, "width": medium.width, "height": medium.height}
    told |= {"kind": medium.kind, "notices": list(medium.notices)}
    return told | ({"seconds": medium.seconds} if medium.kind == "video" else {})
