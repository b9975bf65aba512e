"""The studio's page and the HTTP API: `create_app(pipeline)`. Needs the extra `web`."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import create_app
    from .guard import Access
    from .limits import Limits
    from .run import serve

__all__ = ["Access", "Limits", "create_app", "serve"]

_MODULES = {"Access": "guard", "Limits": "limits", "create_app": "app", "serve": "run"}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: `hpbnet serve --help` needs the limits, and no web framework."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
