"""`hpbnet studio`: the page in the browser."""

import threading
import webbrowser

import click

from ..web.limits import Limits
from .parameters import takes_networks
from .serve import require_web, run

_PORT = 8765


@click.command("studio")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    show_default=True,
    help="Port to listen at; where it is in use, or 0, a free one is taken.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the browser.")
@takes_networks()
def command(port: int, no_browser: bool, harmonizer: str | None, matting: str | None) -> None:
    """Open the studio: a page in the browser to put a person into another picture.

    It runs on this computer alone. Your pictures stay on it.
    """
    require_web()
    from ..web import Access

    def ready(address: str) -> None:
        click.echo(f"The studio is at {address}. Ctrl-C ends it.", err=True)
        if not no_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    run(Access(), Limits(), port, harmonizer, matting, ready, any_port=True)
