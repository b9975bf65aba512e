"""`create_app(pipeline)`: the page, its routes and the API in one application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from .. import __version__
from ..pipeline import Pipeline
from .api import api_routes
from .docs_page import STYLE, render_docs
from .guard import Access, Guard
from .info import info_routes
from .limits import Limits
from .live import live_routes
from .problems import Problem, add_problems
from .results import result_routes
from .server import Server
from .studio import studio_routes
from .videos import video_routes

STATIC = Path(__file__).parent / "static"
_SWEEP_SECONDS = 30.0  # between two looks for what has expired
_EXPOSED = ["X-Hpbnet-Notices", "X-Hpbnet-Placement", "X-Hpbnet-Sequence", "X-Hpbnet-Size", "Retry-After"]


def create_app(pipeline: Pipeline, limits: Limits | None = None, access: Access | None = None) -> FastAPI:
    """Make the application of a server: one model in memory for all who use it.

    Args:
        pipeline: with the networks that are used where a client names none.
        limits: see `Limits`.
        access: see `Access`; by default only this computer.
    """
    limits, access = limits or Limits(), access or Access()
    server = Server.start(Pipeline(pipeline.harmonizer, pipeline.matting, limits.max_pixels), limits)
    app = FastAPI(
        title="hpbnet",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(server),
        description="Put a person into another picture: cut out, place, match colours, composite.",
    )
    app.state.server = server
    add_problems(app)
    for routes in (api_routes, video_routes, info_routes, studio_routes, result_routes, live_routes):
        app.include_router(routes(server))
    app.add_route("/", _page)
    app.add_route("/docs", lambda request: HTMLResponse(render_docs(app, str(request.base_url).rstrip("/"))))
    app.add_route("/docs.css", lambda request: Response(STYLE, media_type="text/css"))
    app.mount("/static", _Static(directory=STATIC, check_dir=False))
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )
    app.add_middleware(Guard, access=access, limits=limits, metrics=server.metrics)
    return app


def _page(request: Request) -> Response:
    if not (STATIC / "index.html").is_file():
        raise Problem(404, "this server has no page; its API is described at /docs")
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


class _Static(StaticFiles):
    """The page's files; a browser asks whether they changed, so that an update is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _lifespan(server: Server) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweep = asyncio.create_task(_sweep(server))
        try:
            yield
        finally:
            sweep.cancel()
            server.close()

    return lifespan


async def _sweep(server: Server) -> None:
    """Remove what nobody used for long."""
    while True:
        await asyncio.sleep(min(_SWEEP_SECONDS, server.limits.idle))
        server.sessions.expire()
        server.jobs.expire()
