"""Methods on clips, measured for steadiness: brightness, spectra, flicker, and how far the light is followed.

A method is a harmonizer and how it is used in time. All methods get the same mattes, so that only colours differ. With
a background of its own, a clip shows how a method follows it; without one, its person is disturbed by one constant
colour change and put back before what was filmed, and the truth is known.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..color import LUMA
from ..harmonize import harmonizer_by_name, identity
from ..video.canvas import FrameWindow
from ..video.cutout import CutOut, estimate_matte
from ..video.options import VideoOptions
from ..video.read import Floats, Pixels, open_clip, read_frames, resize
from ..video.sources import Still, open_source, scene_at
from ..video.step import PACES, FrameStep, State
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
DEFAULT_METHODS = ("learned", "learned:independent", "learned:frozen", "reinhard:independent")


@dataclass(frozen=True)
class Method:
    """A harmonizer, and how it is used in time."""

    label: str
    harmonizer: str
    steadiness: str  # a name of `PACES`


@dataclass(frozen=True)
class Track:
    """A method's result over a clip."""

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
    tracks: tuple[Track, ...]
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
    portrait: str | Path,
    background: str | Path | None,
    methods: tuple[Method, ...],
    matting: nn.Module | None,
    results: tuple[tuple[str, Path], ...] = (),
    options: VideoOptions | None = None,
    watch: Callable[[int], None] | None = None,
) -> VideoScores:
    """Measure methods, and ready results of others, on one clip.

    Args:
        portrait: a clip of a person, or a picture if the background is a clip.
        background: a clip or picture; None to put the disturbed person back before what was filmed.
        methods: what to run.
        matting: finds the person; None if the options name a mask or the portrait is transparent.
        results: labels and files of results made elsewhere of the same two, as they were filmed.
        options: mask, start, end, strength and follow count.
        watch: told the number of frames done.

    Raises:
        ValueError: a file that is no video, fewer than 8 frames, no person.
    """
    options = options or VideoOptions()
    chosen = {method: harmonizer_by_name(method.harmonizer) for method in methods}
    mattes = _Flicker(matting)
    steps = {
        method: FrameStep(judge, options=options, pace=PACES[method.steadiness]) for method, judge in chosen.items()
    }
    steps[Method(UNHARMONIZED, "none", "steady")] = FrameStep(
        identity, options=replace(options, strength=1.0, follow=0.0)
    )
    states = {method: State() for method in steps}
    others = [_result_frames(path) for _, path in results]
    colours: list[list[NDArray[np.float64]]] = [[] for _ in range(len(steps) + len(others) + 1)]
    scenes: list[float] = []
    for count, shot in enumerate(_shots(portrait, background, options, matting, mattes), start=1):
        frame = shot.pixels if background is not None else _disturb(shot.pixels)
        shown = []
        for method, step in steps.items():
            picture, states[method] = step(frame, shot.scene, states[method], shot.time, shot.alpha)
            shown.append(picture)
        pictures = [*shown, *(_fitted(next(other, None), shot.scene) for other in others), shot.pixels]
        for track, picture in zip(colours, pictures, strict=True):
            track.append(_mean_colour(picture, shot.alpha))
        scenes.append(float(_mean_colour(shot.scene, 1 - shot.alpha) @ _LUMA))
        if watch is not None:
            watch(count)
    if len(scenes) < 8:
        raise ValueError(f"{portrait}: {len(scenes)} frames with a person; at least 8 are needed")
    labels = [*(method.label for method in steps), *(label for label, _ in results), "as filmed"]
    scene = np.array(scenes)
    tracks = tuple(Track(label, np.array(track), scene) for label, track in zip(labels, colours, strict=True))
    rows = tuple(_measure(track, tracks[-1], known=background is None) for track in tracks[:-1])
    return VideoScores(_rate(portrait, background), rows, tracks, mattes.means())


def _measure(track: Track, filmed: Track, known: bool) -> Steadiness:
    light, scene = track.foreground @ _LUMA, track.background
    low, high = spectrum_interval(light, scene)
    follows = following(light, scene)
    return Steadiness(
        track.label,
        spectrum_distance(light, scene),
        low,
        high,
        unexplained_change(light, [scene, filmed.foreground @ _LUMA]),
        follows.correlation,
        follows.slope,
        temporal_error(track.foreground, filmed.foreground) if known else None,
        flicker(track.foreground, filmed.foreground) if known else None,
    )


class _Flicker:
    """Measures how mattes flicker where the picture stands still, with and without steadying."""

    def __init__(self, matting: nn.Module | None) -> None:
        self.matting = matting
        self.changes: dict[str, list[float]] = {"steady": [], "independent": []}
        self._before: tuple[CutOut, Floats] | None = None

    def add(self, cut: CutOut) -> None:
        """Look at one more frame, at the network's size, beside the one before it if the network saw the same part."""
        if self.matting is None:
            return
        alone = estimate_matte(self.matting, cut.small, None)
        if self._before is not None and self._before[0].region == cut.region:
            was, was_alone = self._before
            self.changes["steady"].append(matte_flicker(was.coarse, cut.coarse, was.small, cut.small))
            self.changes["independent"].append(matte_flicker(was_alone, alone, was.small, cut.small))
        self._before = cut, alone

    def means(self) -> tuple[tuple[str, float], ...]:
        """Return the mean over the clip of both."""
        return tuple((name, float(np.mean(values))) for name, values in self.changes.items() if values)


def _shots(
    portrait: str | Path,
    background: str | Path | None,
    options: VideoOptions,
    matting: nn.Module | None,
    mattes: _Flicker,
) -> Iterator[_Shot]:
    """Pair reduced frames, scenes and mattes; frames without a person are left out."""
    person = open_source(portrait)
    place = None if background is None else open_source(background)
    if isinstance(person, Still) and (place is None or isinstance(place, Still)):
        raise ValueError("at least one clip is needed")
    leader = place if isinstance(person, Still) else person
    assert leader is not None and not isinstance(leader, Still)
    size = _reduced(person.size)
    behind = None if place is None or isinstance(person, Still) else scene_at(place, options, size)
    mask = None if options.mask is None else open_source(cast(Path, options.mask))
    mask_of = None if mask is None else scene_at(mask, replace(options, background_end="freeze"), size)
    finder, state = FrameStep(identity, matting, options), State()
    still = _small(person.pixels, size) if isinstance(person, Still) else None
    own = resize(person.alpha, size[::-1]) if isinstance(person, Still) and person.alpha is not None else None
    for frame in read_frames(leader, options.start, options.end):
        pixels = _small(frame.pixels, size)
        picture, scene = (pixels, pixels) if still is None else (still, pixels)
        if behind is not None:
            found = behind(frame.time - options.start)
            if found is None:
                return
            scene = found
        known = own if still is not None else frame.alpha
        shown = None if mask_of is None else mask_of(frame.time)
        known = known if shown is None else shown[:, :, 1]
        alpha = None if known is None else _small(known, size).astype(np.float32) * np.float32(1 / 255)
        state = finder.find(picture, state, frame.time, alpha)
        if state.cut is None:
            continue
        mattes.add(state.cut)
        refined = FrameWindow(size, (0, 0, *size)).part(state.cut.region, size).draw(state.cut.alpha, (0, 0, *size))
        yield _Shot(frame.time, picture, scene, np.ascontiguousarray(refined))


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


def _small(image: Pixels, size: tuple[int, int]) -> Pixels:
    return image if image.shape[:2] == size else resize(image, size[::-1])


def _rate(portrait: str | Path, background: str | Path | None) -> float:
    source = open_source(portrait)
    if isinstance(source, Still):
        assert background is not None
        source = open_source(background)
    assert not isinstance(source, Still)
    return float(source.rate)


def draw_steadiness(scores: VideoScores, path: str | Path) -> None:
    """Draw the paper's Fig. 8: brightness over time, and the spectra, of the background and of each method."""
    frames = np.arange(len(scores.tracks[0].background)) / scores.rate
    series = [("background", scores.tracks[0].background)]
    series += [(track.label, track.foreground @ _LUMA) for track in scores.tracks]
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
        "series": {track.label: (track.foreground @ _LUMA).round(4).tolist() for track in scores.tracks}
        | {"background": scores.tracks[0].background.round(4).tolist()},
    }
