"""Put a person into another picture: matte, place, harmonize, composite."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .affine_grid import AffineGrid
    from .composition import Composition, CutOut
    from .layers import Layers
    from .models import load_network
    from .options import ComposeOptions, HarmonizeOptions, VideoOptions
    from .pipeline import Pipeline

__version__ = "0.1.0"

_MODULES = {
    "AffineGrid": "affine_grid",
    "ComposeOptions": "options",
    "Composition": "composition",
    "CutOut": "composition",
    "HarmonizeOptions": "options",
    "Layers": "layers",
    "Pipeline": "pipeline",
    "VideoOptions": "options",
    "load_network": "models",
}

__all__ = [
    "AffineGrid",
    "ComposeOptions",
    "Composition",
    "CutOut",
    "HarmonizeOptions",
    "Layers",
    "Pipeline",
    "VideoOptions",
    "__version__",
    "load_network",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `hpbnet --help` need not load torch (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
