"""`hpbnet serve`: the HTTP API and the studio's page, for programs and for machines without a desktop."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ..web.limits import Limits
from .parameters import takes_networks, takes_setting_fields

if TYPE_CHECKING:
    from ..web import Access


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--token", envvar="HPBNET_TOKEN", help="Secret that clients must send; needed where other computers can connect."
)
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="Website whose pages may call. May be repeated.")
@takes_networks()
@takes_setting_fields(Limits)
def command(
    host: str,
    port: int,
    token: str | None,
    allow_origin: tuple[str, ...],
    harmonizer: str | None,
    matting: str | None,
    settings: Limits,
) -> None:
    """Answer requests over HTTP: the API, described at /docs, and the studio's page.

    The token may also be given by the environment variable HPBNET_TOKEN.
    """
    require_web()
    from ..web import Access

    access = Access(host, token, allow_origin)

    def ready(address: str) -> None:
        click.echo(f"hpbnet answers at {address}; its API is described at {address}/docs. Ctrl-C ends it.", err=True)

    run(access, settings, port, harmonizer, matting, ready)


def require_web() -> None:
    """Refuse where the extra is not installed.

    Raises:
        ValueError: says how to install it.
    """
    from ..errors import missing_extra

    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise missing_extra("the studio and the server", str(error.name), "web") from None


def run(
    access: "Access",
    limits: Limits,
    port: int,
    harmonizer: str | None,
    matting: str | None,
    ready: Callable[[str], None],
    any_port: bool = False,
) -> None:
    """Load the networks and answer until Ctrl-C, which is the usual way to end it."""
    from ..pipeline import DEFAULT_MATTING, Pipeline
    from ..web import serve

    pipeline = Pipeline.from_pretrained(harmonizer, matting or DEFAULT_MATTING)
    try:
        serve(pipeline, access, limits, port, ready, any_port)
    except KeyboardInterrupt:
        click.echo("", err=True)
