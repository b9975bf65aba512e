"""One frame composed: `(frame, background, state) -> (picture, state)`, of tracking, colouring and drawing.

Two halves, so that they can overlap: `plan` finds the person and its colours (it needs the state), `draw` makes the
picture of the plan (it needs none).
"""

from dataclasses import dataclass, field, replace

from ..affine_grid import AffineGrid
from ..finish import adjust
from ..harmonize import Harmonizer
from ..matte import Matting
from ..options import LiveOptions
from ..shadow import OVERHEAD, KeyLight, main_light
from .canvas import FrameWindow, frame_window
from .cutout import TrackedPerson, move_matte
from .draw import draw_person, draw_shadow
from .pixels import Floats, Pixels
from .threads import Clock, now
from .tone import PACES, Pace, Toner, ToneState, small_layers
from .track import Tracker, TrackState


@dataclass(frozen=True)
class ComposerState:
    """What one frame hands to the next."""

    track: TrackState = field(default_factory=TrackState)
    tone: ToneState = field(default_factory=ToneState)
    window: FrameWindow | None = None  # where frames lie, from the first person on

    @property
    def cuts(self) -> int:
        """New scenes so far."""
        return self.track.cuts + self.tone.cuts


@dataclass(frozen=True)
class FramePlan:
    """What a frame's picture is made of; nothing where nobody is."""

    person: TrackedPerson | None = None
    window: FrameWindow | None = None
    grid: AffineGrid | None = None
    light: AffineGrid | None = None  # what light changes beside it
    key: KeyLight = OVERHEAD  # what throws the person's shadow


class Composer:
    """Composes frames; holds networks and options, and nothing of the frames it has seen.

    Args:
        harmonizer: estimates the colour change.
        matting: finds the person; None where every frame's alpha is given.
        options: of placing and colour.
        pace: how fast the colour change follows.
        still: the portrait is one picture.
    """

    def __init__(
        self,
        harmonizer: Harmonizer,
        matting: Matting | None,
        options: LiveOptions,
        pace: Pace = PACES["steady"],
        still: bool = False,
    ) -> None:
        self.options = options
        self.tracker = Tracker(matting, still)
        self.toner = Toner(harmonizer, pace, options)
        self.clock = Clock()

    def __call__(
        self,
        frame: Pixels,  # [H,W,3] sRGB
        background: Pixels,  # [h,w,3] sRGB, the canvas
        state: ComposerState,
        time: float,  # [s]
        alpha: Floats | None = None,  # [H,W], where it is given
    ) -> tuple[Pixels, ComposerState]:
        """Put the person of a frame on a background -> the picture [h,w,3], and the state for the next frame."""
        plan, state = self.plan(frame, background, state, time, alpha)
        return self.draw(frame, background, plan), state

    def plan(
        self, frame: Pixels, background: Pixels, state: ComposerState, time: float, alpha: Floats | None = None
    ) -> tuple[FramePlan, ComposerState]:
        """Find the person, and what its colours should become."""
        started = now()
        track = self.tracker(frame, state.track, time, alpha)
        started = self.clock.add("matte", started)
        person, window = track.person, state.window
        if person is None:
            _, tone = self.toner(None, background, state.tone, time)
            return FramePlan(), replace(state, track=track, tone=tone)
        size = frame.shape[0], frame.shape[1]
        window = window or self._frame_window(person, size, (background.shape[0], background.shape[1]))
        place = window.part(person.region, size)
        grid, tone = self.toner(
            lambda: small_layers(person, place, background), background, state.tone, time, track.anew
        )
        self.clock.add("estimate", started)
        key = main_light(None if tone.scene_light is None else tone.scene_light.coefficients, self.options.lamp)
        return FramePlan(person, window, grid, tone.shine, key), ComposerState(track, tone, window)

    def draw(self, frame: Pixels, background: Pixels, plan: FramePlan) -> Pixels:
        """Make the picture of a plan; bit-equal to the background where neither a person nor a shadow is."""
        if plan.person is None or plan.window is None or plan.grid is None:
            return background
        started = now()
        _ = plan.person.alpha  # made when it is first asked for
        started = self.clock.add("edge", started)
        if self.options.shadow:
            size = frame.shape[0], frame.shape[1]
            background = draw_shadow(background, plan.person, plan.window, size, self.options.shadow, plan.key)
        grid = adjust(plan.grid, self.options, plan.light)
        picture = draw_person(frame, background, plan.person, plan.window, grid)
        self.clock.add("draw", started)
        return picture

    def _frame_window(self, person: TrackedPerson, size: tuple[int, int], canvas: tuple[int, int]) -> FrameWindow:
        """Decide where frames lie, by the first one that shows a person."""
        alpha = move_matte(person.alpha, person.region, (0, 0, *size), size)
        return frame_window(alpha, size, canvas, self.options, self.tracker.still)
