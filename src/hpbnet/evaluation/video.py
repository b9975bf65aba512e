"""How steady methods are on clips: brightness, spectra, flicker, and how far the background's light is followed.

A method is a harmonizer and how it is used in time. All methods get the same mattes, so that only colours differ. With
a background of its own, a clip shows how a method follows it; without one, its person is disturbed by one constant
colour change and put back before what was filmed, and the truth is known.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..color import LUMA
from ..harmonize import harmonizer_by_name, identity
from ..image.picture import Source
from ..matte import Matting, NetworkMatting
from ..options import LiveOptions, SteadinessOptions
from ..video.canvas import FrameWindow
from ..video.cutout import TrackedPerson, estimate_matte
from ..video.pixels import Array, Floats, Pixels, resize
from ..video.read import Clip, open_clip, read_frames
from ..video.sources import Medium, Still, given_alpha, open_medium, scene_at
from ..video.step import Composer, ComposerState
from ..video.threads import shared_cores
from ..video.tone import PACES
from ..video.track import Tracker, TrackState
from .chart import Chart, Curve, draw_charts
from .rows import UNHARMONIZED
from .steadiness import (
    Series,
    flicker,
    following,
    matte_flicker,
    spectrum,
    spectrum_distance,
    spectrum_interval,
    temporal_error,
    unexplained_change,
)

_SIDE = 320  # [px] longer side at which clips are measured
_GAINS = np.array([1.25, 1.0, 0.7], np.float32)  # of R, G, B: the constant disturbance where the truth is wanted
_LUMA = np.array(LUMA)
_LEAST_FRAMES = 8
DEFAULT_METHODS = ("learned", "learned:independent", "learned:frozen", "reinhard:independent")


@dataclass(frozen=True)
class Method:
    """A harmonizer, and how it is used in time."""

    label: str
    harmonizer: str
    steadiness: str  # a name of `PACES`


@dataclass(frozen=True)
class ColorTrace:
    """The mean colours of a method's result over a clip."""

    label: str
    foreground: NDArray[np.float64]  # [T,3] mean colour, of 255
    background: Series  # [T] mean luma, of 255


@dataclass(frozen=True)
class Steadiness:
    """What was measured of a method."""

    label: str
    spectrum_distance: float  # half the sum of |A_f - A_b| over frequencies, see `steadiness.spectrum_distance`
    spectrum_low: float  # its 95 % interval
    spectrum_high: float
    unexplained: float  # change of foreground luma a frame that neither the scene nor the filming explains, of 255
    correlation: float  # of foreground and background brightness
    slope: float  # of their logarithms
    temporal_error: float | None = None  # against the truth, of 255; None where it is not known
    flicker: float | None = None  # the part of it that no constant gain of each channel explains


@dataclass(frozen=True)
class VideoScores:
    """What was measured of a clip."""

    rate: float  # [1/s]
    rows: tuple[Steadiness, ...]
    traces: tuple[ColorTrace, ...]
    matte_flicker: tuple[tuple[str, float], ...]  # steady and independent, mean change of alpha of 255 a frame


@dataclass(frozen=True)
class _Shot:
    """One frame, reduced, with what all methods share."""

    time: float
    pixels: Pixels
    scene: Pixels
    alpha: Floats


def parse_method(text: str) -> Method:
    """Read [LABEL=]HARMONIZER[:steady|independent|frozen].

    Raises:
        ValueError: no such way to use it in time.
    """
    label, equals, rest = text.partition("=")
    rest = rest if equals else text
    name, colon, steadiness = rest.rpartition(":")
    if not colon or ("/" in steadiness or "\\" in steadiness):
        name, steadiness = rest, "steady"
    if steadiness not in PACES:
        raise ValueError(f"{text!r}: expected HARMONIZER:{'|'.join(PACES)}, not {steadiness!r}")
    return Method(label if equals else f"{Path(name).stem}:{steadiness}", name, steadiness)


def evaluate_video(
    portrait: Source,
    background: Source | None,
    methods: tuple[Method, ...],
    matting: Matting | None,
    results: tuple[tuple[str, Path], ...] = (),
    options: SteadinessOptions | None = None,
    mask: Source | None = None,
    watch: Callable[[int], None] | None = None,
) -> VideoScores:
    """Measure methods, and ready results of others, on one clip.

    Args:
        portrait: a clip of a person, or a picture if the background is a clip.
        background: a clip or picture; None to put the disturbed person back before what was filmed.
        methods: what to run.
        matting: finds the person; None if there is a mask or the portrait is transparent.
        results: labels and files of results made elsewhere of the same two, as they were filmed.
        options: see `SteadinessOptions`.
        mask: white where the person is: a picture, or the path of a picture or clip.
        watch: told the number of frames done.

    Raises:
        ValueError: a file that is no video, fewer than 8 frames, no person.
        OSError: a file cannot be opened.
    """
    options = options or SteadinessOptions()
    person, place = open_medium(portrait), None if background is None else open_medium(background)
    composers = _composers(methods, options)
    states = {method: ComposerState() for method in composers}
    others = [_result_frames(path) for _, path in results]
    colours: list[list[NDArray[np.float64]]] = [[] for _ in range(len(composers) + len(others) + 1)]
    scenes: list[float] = []
    mattes = _Flicker(matting)
    with shared_cores():
        for count, shot in enumerate(_shots(person, place, options, matting, mask, mattes), start=1):
            frame = shot.pixels if place is not None else _disturb(shot.pixels)
            shown = []
            for method, composer in composers.items():
                picture, states[method] = composer(frame, shot.scene, states[method], shot.time, shot.alpha)
                shown.append(picture)
            pictures = [*shown, *(_fitted(next(other, None), shot.scene) for other in others), shot.pixels]
            for trace, picture in zip(colours, pictures, strict=True):
                trace.append(_mean_colour(picture, shot.alpha))
            scenes.append(float(_mean_colour(shot.scene, 1 - shot.alpha) @ _LUMA))
            if watch is not None:
                watch(count)
    if len(scenes) < _LEAST_FRAMES:
        raise ValueError(f"{len(scenes)} frames show a person; at least {_LEAST_FRAMES} are needed")
    labels = [*(method.label for method in composers), *(label for label, _ in results), "as filmed"]
    scene = np.array(scenes)
    traces = tuple(ColorTrace(label, np.array(trace), scene) for label, trace in zip(labels, colours, strict=True))
    rows = tuple(_measure(trace, traces[-1], known=place is None) for trace in traces[:-1])
    return VideoScores(float(_leader(person, place).rate), rows, traces, mattes.means())


def _composers(methods: tuple[Method, ...], options: SteadinessOptions) -> dict[Method, Composer]:
    """Make what composes frames by each method, and what leaves their colours as they are."""
    chosen = LiveOptions(strength=options.strength, light=options.light, follow=options.follow)
    composers = {
        method: Composer(harmonizer_by_name(method.harmonizer), None, chosen, PACES[method.steadiness])
        for method in methods
    }
    unchanged = Composer(identity, None, LiveOptions(light=0.0, follow=0.0))
    return composers | {Method(UNHARMONIZED, "none", "steady"): unchanged}


def _measure(trace: ColorTrace, filmed: ColorTrace, known: bool) -> Steadiness:
    light, scene = trace.foreground @ _LUMA, trace.background
    low, high = spectrum_interval(light, scene)
    follows = following(light, scene)
    return Steadiness(
        trace.label,
        spectrum_distance(light, scene),
        low,
        high,
        unexplained_change(light, [scene, filmed.foreground @ _LUMA]),
        follows.correlation,
        follows.slope,
        temporal_error(trace.foreground, filmed.foreground) if known else None,
        flicker(trace.foreground, filmed.foreground) if known else None,
    )


class _Flicker:
    """Measures how mattes flicker where the picture stands still, with and without steadying."""

    def __init__(self, matting: Matting | None) -> None:
        self.network = matting.network if isinstance(matting, NetworkMatting) else None
        self.changes: dict[str, list[float]] = {"steady": [], "independent": []}
        self._before: tuple[TrackedPerson, Floats] | None = None

    def add(self, person: TrackedPerson) -> None:
        """Look at one more frame, at the network's size, beside the one before it if the network saw the same part."""
        if self.network is None:
            return
        alone = estimate_matte(self.network, person.small, None)
        if self._before is not None and self._before[0].region == person.region:
            was, was_alone = self._before
            self.changes["steady"].append(matte_flicker(was.coarse, person.coarse, was.small, person.small))
            self.changes["independent"].append(matte_flicker(was_alone, alone, was.small, person.small))
        self._before = person, alone

    def means(self) -> tuple[tuple[str, float], ...]:
        """Return the mean over the clip of both."""
        return tuple((name, float(np.mean(values))) for name, values in self.changes.items() if values)


def _leader(portrait: Medium, background: Medium | None) -> Clip:
    """Return the clip whose times count."""
    leader = background if isinstance(portrait, Still) else portrait
    if not isinstance(leader, Clip):
        raise ValueError("the portrait and the background are both pictures; at least one clip is needed")
    return leader


def _shots(
    portrait: Medium,
    background: Medium | None,
    options: SteadinessOptions,
    matting: Matting | None,
    mask: Source | None,
    mattes: _Flicker,
) -> Iterator[_Shot]:
    """Pair reduced frames, scenes and mattes; frames without a person are left out."""
    size = _reduced(portrait.size)
    still = _small(portrait.pixels, size) if isinstance(portrait, Still) else None
    behind = None if background is None or still is not None else scene_at(background, LiveOptions(), size, "loop", _no)
    alpha_of = given_alpha(portrait, mask, _no)
    tracker, state = Tracker(matting), TrackState()
    for frame in read_frames(_leader(portrait, background), options.start, options.end):
        pixels = _small(frame.pixels, size)
        picture, scene = (pixels, pixels) if still is None else (still, pixels)
        if behind is not None:
            shown = behind(frame.time - options.start)
            assert shown is not None  # it loops
            scene = shown
        known = alpha_of(frame if still is None else None)
        alpha = None if known is None else _small(known, size)
        state = tracker(picture, state, frame.time, alpha)
        person = state.person
        if person is None:
            continue
        mattes.add(person)
        refined = FrameWindow(size, (0, 0, *size)).part(person.region, size).draw(person.alpha, (0, 0, *size))
        yield _Shot(frame.time, picture, scene, np.ascontiguousarray(refined))


def _no(notice: str) -> None:
    """Keep no notice."""


def _result_frames(path: Path) -> Iterator[Pixels]:
    """Read a result; it begins where the portrait's part began."""
    for frame in read_frames(open_clip(path)):
        yield frame.pixels


def _fitted(picture: Pixels | None, scene: Pixels) -> Pixels:
    if picture is None:
        raise ValueError("a --result has fewer frames than the portrait's clip")
    return _small(picture, (scene.shape[0], scene.shape[1]))


def _disturb(pixels: Pixels) -> Pixels:
    return cast(Pixels, np.clip(pixels * _GAINS + 0.5, 0, 255).astype(np.uint8))


def _mean_colour(picture: Pixels, weight: Floats) -> NDArray[np.float64]:
    total = weight.sum(dtype=np.float64)
    return cast(NDArray[np.float64], np.einsum("hwc,hw->c", picture, weight, dtype=np.float64) / max(total, 1e-6))


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _SIDE / max(size))
    return max(2, round(size[0] * scale)), max(2, round(size[1] * scale))


def _small(image: Array, size: tuple[int, int]) -> Array:
    return image if image.shape[:2] == size else resize(image, size[::-1])


def draw_steadiness(scores: VideoScores, path: str | Path) -> None:
    """Draw the paper's Fig. 8: brightness over time, and the spectra, of the background and of each method."""
    frames = np.arange(len(scores.traces[0].background)) / scores.rate
    series = [("background", scores.traces[0].background)]
    series += [(trace.label, trace.foreground @ _LUMA) for trace in scores.traces]
    brightness = tuple(Curve(label, frames, values) for label, values in series)
    spectra = tuple(Curve(label, *spectrum(values, scores.rate)) for label, values in series)
    draw_charts(
        path,
        (
            Chart("Mean brightness of the foreground, of 255", "time [s]", "luma", brightness),
            Chart("Spectra of the brightness, each summing to 1", "frequency [Hz]", "share", spectra),
        ),
    )


def render_steadiness(scores: VideoScores) -> str:
    """Make a table of the rows, and a line on how the mattes flicker where both are known."""
    lines = [
        f"{'method':24} {'spectrum':>9} {'interval':>13} {'unexplained':>11} {'corr.':>6} {'slope':>6} "
        f"{'temporal':>9} {'flicker':>9}"
    ]
    for row in scores.rows:
        error, restless = ("-" if value is None else f"{value:.3f}" for value in (row.temporal_error, row.flicker))
        interval = f"{row.spectrum_low:.2f} to {row.spectrum_high:.2f}"
        lines.append(
            f"{row.label:24} {row.spectrum_distance:9.3f} {interval:>13} {row.unexplained:11.3f} "
            f"{row.correlation:6.2f} {row.slope:6.2f} {error:>9} {restless:>9}"
        )
    mattes = ", ".join(f"{name} {value:.2f}" for name, value in scores.matte_flicker)
    return "\n".join([*lines, f"matte flicker where nothing moves, of 255: {mattes}"] if mattes else lines)


def scores_as_plain(scores: VideoScores) -> dict[str, object]:
    """Return what JSON can hold: rows, and every series."""
    return {
        "rate": scores.rate,
        "rows": [asdict(row) for row in scores.rows],
        "matte_flicker": dict(scores.matte_flicker),
        "series": {trace.label: (trace.foreground @ _LUMA).round(4).tolist() for trace in scores.traces}
        | {"background": scores.traces[0].background.round(4).tolist()},
    }
