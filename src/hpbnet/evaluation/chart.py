"""Line charts, drawn with OpenCV: enough for series over time and spectra, and no further dependency."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..image import write_bytes

_SIZE = (420, 900)  # [px] height and width of one chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 210, 34, 46  # [px] margins; the legend stands at the right
_COLOURS = (  # Okabe and Ito's palette, told apart by colour-blind people, too
    (0, 0, 0),
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Chart:
    """A chart and its words."""

    title: str
    across: str
    up: str
    curves: tuple[Curve, ...]


def draw_charts(path: str | Path, charts: tuple[Chart, ...]) -> None:
    """Write charts, one above the other, as a PNG."""
    picture = np.vstack([_draw(chart) for chart in charts])
    good, data = cv2.imencode(".png", picture[:, :, ::-1])
    assert good
    write_bytes(path, data.tobytes())


def _draw(chart: Chart) -> NDArray[np.uint8]:
    canvas = np.full((*_SIZE, 3), 255, np.uint8)
    x = np.concatenate([curve.x for curve in chart.curves])
    y = np.concatenate([curve.y for curve in chart.curves])
    low, high = _widened(x), _widened(y, 0.05)
    frame = (_LEFT, _TOP), (_SIZE[1] - _RIGHT, _SIZE[0] - _BOTTOM)
    _axes(canvas, chart, low, high, frame)
    for index, curve in enumerate(chart.curves):
        colour = _COLOURS[index % len(_COLOURS)]
        points = np.stack(
            [
                frame[0][0] + (curve.x - low[0]) / (low[1] - low[0]) * (frame[1][0] - frame[0][0]),
                frame[1][1] - (curve.y - high[0]) / (high[1] - high[0]) * (frame[1][1] - frame[0][1]),
            ],
            axis=1,
        )
        cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], False, colour, 1, cv2.LINE_AA, shift=4)
        row = _TOP + 12 + 20 * index
        cv2.line(canvas, (frame[1][0] + 10, row), (frame[1][0] + 30, row), colour, 2)
        _write(canvas, curve.label, (frame[1][0] + 36, row + 4))
    return canvas


def _axes(
    canvas: NDArray[np.uint8],
    chart: Chart,
    low: tuple[float, float],
    high: tuple[float, float],
    frame: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    (left, top), (right, bottom) = frame
    cv2.rectangle(canvas, (left, top), (right, bottom), (120, 120, 120), 1)
    for step in range(5):
        across, up = left + (right - left) * step // 4, bottom - (bottom - top) * step // 4
        cv2.line(canvas, (across, bottom), (across, bottom + 4), (120, 120, 120), 1)
        cv2.line(canvas, (left - 4, up), (left, up), (120, 120, 120), 1)
        _write(canvas, f"{low[0] + (low[1] - low[0]) * step / 4:.3g}", (across - 12, bottom + 18))
        _write(canvas, f"{high[0] + (high[1] - high[0]) * step / 4:.3g}", (8, up + 4))
    _write(canvas, chart.title, (left, 20), 0.5)
    _write(canvas, chart.across, ((left + right) // 2 - 40, _SIZE[0] - 10))
    _write(canvas, chart.up, (8, 20))


def _widened(values: NDArray[np.float64], margin: float = 0.0) -> tuple[float, float]:
    least, most = float(values.min()), float(values.max())
    room = (most - least) * margin if most > least else 0.5
    return least - room, most + room


def _write(canvas: NDArray[np.uint8], text: str, place: tuple[int, int], scale: float = 0.4) -> None:
    cv2.putText(canvas, text, place, _FONT, scale, (30, 30, 30), 1, cv2.LINE_AA)
