"""What a server tells of itself: settings, networks, examples, health and counts."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from .. import __version__
from .examples import example_thumbnail, list_examples
from .metrics import memory_in_use
from .networks import describe_networks
from .schema import DOORS, schema_of
from .server import Server


def info_routes(server: Server) -> APIRouter:
    """Make the routes that tell of a server."""
    router = APIRouter()

    @router.get("/v1/options", tags=["about"])
    async def options() -> dict[str, object]:
        """Return the settings of each use as JSON Schema: names, help, defaults, ranges and choices."""
        return {name: schema_of(settings) for name, settings in DOORS.items()}

    @router.get("/v1/networks", tags=["about"])
    async def networks() -> dict[str, object]:
        """Return the networks that settings may name."""
        return describe_networks()

    @router.get("/health", tags=["about"])
    async def health() -> dict[str, str]:
        """Tell that the server is there."""
        return {"status": "ok", "version": __version__}

    @router.get("/metrics", tags=["about"], response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Return counts and latencies as Prometheus reads them."""
        gauges = {
            "sessions": float(len(server.sessions)),
            "requests_pending": float(server.workers.pending),
            "videos_pending": float(server.jobs.waiting()),
            "memory_bytes": memory_in_use(),
        }
        return PlainTextResponse(server.metrics.to_text(gauges), media_type="text/plain; version=0.0.4")

    @router.get("/studio/examples", tags=["studio"])
    def examples() -> dict[str, object]:
        """Return the names and titles of pictures to try."""
        return list_examples()

    @router.get("/studio/examples/{name}", tags=["studio"])
    def thumbnail(name: str) -> Response:
        """Return a small JPEG of a picture to try."""
        return Response(example_thumbnail(name), media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    return router
