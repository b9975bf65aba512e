"""Line charts, drawn by Matplotlib: it comes with the extra `evaluate`, and is imported when a chart is drawn."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import missing_extra
from ..files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (9.0, 4.2)  # [inch] width and height of one chart
_COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito 2008


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Chart:
    """A chart and its labels."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]


def draw_charts(path: str | Path, charts: tuple[Chart, ...]) -> None:
    """Write charts, one above the other, as a PNG.

    Raises:
        ValueError: Matplotlib is not installed.
        OSError: the file cannot be written.
    """
    figure = new_figure(_SIZE[0], _SIZE[1] * len(charts))
    for chart, axes in zip(charts, figure.subplots(len(charts), squeeze=False)[:, 0], strict=True):
        for index, curve in enumerate(chart.curves):
            axes.plot(curve.x, curve.y, color=_COLORS[index % len(_COLORS)], linewidth=1, label=curve.label)
        axes.set(title=chart.title, xlabel=chart.x_label, ylabel=chart.y_label)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    write_bytes(path, file.getvalue())


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of a size [inch].

    Raises:
        ValueError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("charts", "Matplotlib", "evaluate") from None
    return Figure(figsize=(width, height), dpi=100, layout="constrained")
