"""Listen at an address and answer until it is interrupted."""

import errno
import logging
import socket
from collections.abc import Callable

import uvicorn

from ..pipeline import Pipeline
from .app import create_app
from .guard import Access
from .limits import Limits

_PATIENCE = 3  # [s] that open connections get when the server ends
_QUEUE = 2  # frames of a websocket that wait before the client is slowed down
_MOST_FRAME = 8 << 20  # [bytes] of a websocket's message


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._ready()


def serve(
    pipeline: Pipeline,
    access: Access,
    limits: Limits,
    port: int,
    ready: Callable[[str], None],
    any_port: bool = False,
) -> None:
    """Answer until Ctrl-C.

    Args:
        pipeline: see `create_app`.
        access: likewise.
        limits: likewise.
        port: to listen at; 0 takes a free one.
        ready: told the server's address once it answers.
        any_port: take a free port where the given one is in use.

    Raises:
        OSError: the address cannot be listened at.
    """
    listener = listen(access.host, port, any_port)
    host = f"[{access.host}]" if ":" in access.host else access.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    app = create_app(pipeline, limits, access)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_PATIENCE,
        ws_max_size=_MOST_FRAME,
        ws_max_queue=_QUEUE,
    )
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # a client's damaged form is its own matter
    with listener:
        _Server(config, lambda: ready(address)).run([listener])


def listen(host: str, port: int, any_port: bool = False) -> socket.socket:
    """Open the socket of an address.

    Raises:
        OSError: it cannot be listened at; the reason names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        if any_port and port and error.errno == errno.EADDRINUSE:
            return listen(host, 0)
        reason = "the port is in use; give another --port" if error.errno == errno.EADDRINUSE else error.strerror
        raise OSError(error.errno, reason or str(error), f"{host}:{port}") from None
    return listener
