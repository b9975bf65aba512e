"""One frame of a video: `(frame, background, state) -> (picture, state)`.

Two halves, so that they can overlap: `judge` looks at a frame and follows it (matte, grid; it needs the state), `draw`
makes the picture of what was judged (it needs none). The edge of a
cut-out is looked at by whoever needs it first. What is smoothed are the matte and the grid, never pixels; both
by time constants in seconds, and both begin anew where a new scene begins.

The harmonizer is asked a few times a second. Between two answers the grid in use moves towards the last one
exponentially, so that it neither jumps nor flickers, and follows a slow change of the light with a lag of one time
constant. The change of the background's light since its scene began is followed beside it (`light.py`).
"""

from dataclasses import dataclass, replace
from math import exp, inf

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ..affine_grid import AffineGrid, Window
from ..finish import grade
from ..harmonize import Harmonizer, identity
from ..image.picture import to_planes
from ..layers import Layers
from ..matte import LEAST_COVERAGE, check_coverage, estimate_alpha
from .canvas import FrameWindow, frame_window
from .cutout import (
    LOOK_PIXELS,
    CutOut,
    estimate_matte,
    find_region,
    known_cut_out,
    made_quick,
    move_matte,
    own_colors,
    reduce,
    steady_matte,
)
from .cuts import is_cut, thumbnail
from .grids import crop_grid, settle
from .light import Light, Logs, answer_gain, begin, come_back, follow, lit
from .motion import carry_matte
from .options import VideoOptions
from .person import drawn_box, person_planes
from .read import Floats, Pixels, resize
from .threads import Clock, now

GRID_SECONDS = 0.8  # [s] time constant of the grid
LOOK_SECONDS = 1.0  # [s] between two looks at the whole frame
ESTIMATE_SECONDS = 0.4  # [s] between two questions to the harmonizer; half the time constant of its grid
_JUDGED_SIDE = 256  # [px] of the square on which colours are judged
_LEAST_KNOWN, _LEAST_ALPHA = 1e-4, 0.1  # share of a frame, and greatest alpha, of a person that a mask shows


@dataclass(frozen=True)
class Pace:
    """How fast the grid follows."""

    grid_seconds: float = GRID_SECONDS  # time constant; 0 jumps to each answer
    estimate_seconds: float = ESTIMATE_SECONDS  # between two questions; inf asks once, cuts included
    follows: bool = True  # the change of the background's light


PACES = {
    "steady": Pace(),
    "independent": Pace(0.0, 0.0, follows=False),
    "frozen": Pace(0.0, inf, follows=False),
}


@dataclass(frozen=True)
class State:
    """What one frame hands to the next."""

    time: float = -inf  # [s] of that frame
    before: float = -inf  # [s] when the grid last moved
    window: FrameWindow | None = None  # where frames lie, from the first person on
    cut: CutOut | None = None
    portrait: Pixels | None = None  # thumbnail
    scene: Pixels | None = None  # thumbnail
    target: AffineGrid | None = None  # the harmonizer's last answer
    gain: Logs | None = None  # that the answer gives the person
    asked: float = -inf  # [s] when it was given
    grid: AffineGrid | None = None  # in use
    light: Light | None = None  # of the background's scene
    looked: float = -inf  # [s] when the network last saw the whole frame
    carried: bool = False  # the matte is the one before, moved: the network shall see the next frame
    cuts: int = 0  # new scenes so far


@dataclass(frozen=True)
class Judgement:
    """What a frame's picture is made of; nobody is there without a cut-out."""

    cut: CutOut | None = None
    window: FrameWindow | None = None
    grid: AffineGrid | None = None


class FrameStep:
    """The frame step with its networks and options; holds nothing of the frames it has seen."""

    def __init__(
        self,
        harmonizer: Harmonizer,
        matting: nn.Module | None = None,
        options: VideoOptions | None = None,
        still: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.harmonizer = harmonizer
        self.matting = matting
        self.quick = None if matting is None else made_quick(matting)
        self.options = options or VideoOptions()
        self.still = still  # the portrait is one picture
        self.pace = pace or PACES[self.options.steadiness]
        self.follow = self.options.follow if self.pace.follows and harmonizer is not identity else 0.0
        self.clock = Clock()

    def __call__(
        self,
        frame: Pixels,  # [H,W,3] sRGB
        background: Pixels,  # [h,w,3] sRGB, the canvas
        state: State,
        time: float,  # [s]
        alpha: Floats | None = None,  # [H,W], where it is known
    ) -> tuple[Pixels, State]:
        """Put the person of a frame on a background -> the picture [h,w,3], and the state for the next frame."""
        judgement, state = self.judge(frame, background, state, time, alpha)
        return self.draw(frame, background, judgement), state

    @torch.no_grad()
    def judge(
        self, frame: Pixels, background: Pixels, state: State, time: float, alpha: Floats | None = None
    ) -> tuple[Judgement, State]:
        """Find the person, and what its colours should become."""
        state = self.find(frame, state, time, alpha)
        scene = thumbnail(background)
        if state.scene is not None and is_cut(state.scene, scene):
            state = replace(state, grid=None, target=None, light=None, cuts=state.cuts + 1)
        state = replace(state, scene=scene)
        if state.cut is None:
            return Judgement(), state
        window = state.window or self._frame_window(state.cut, frame.shape[:2], background.shape[:2])
        place = window.part(state.cut.region, frame.shape[:2])
        state = self._follow(replace(state, window=window), state.cut, place, background, time)
        assert state.grid is not None and state.light is not None
        grid = lit(state.grid, state.light, self.follow) if self.follow else state.grid
        return Judgement(state.cut, window, grid), replace(state, before=time)

    def _frame_window(self, cut: CutOut, size: tuple[int, int], canvas: tuple[int, int]) -> FrameWindow:
        """Decide where frames lie, by the first one that shows a person."""
        alpha = move_matte(cut.alpha, cut.region, (0, 0, *size), size)
        return frame_window(alpha, size, canvas, self.options, self.still)

    @torch.no_grad()
    def find(self, frame: Pixels, state: State, time: float, alpha: Floats | None = None) -> State:
        """Find the person of a frame; a state without a cut-out where nobody is."""
        portrait = thumbnail(frame)
        if state.portrait is not None and not self.still and is_cut(state.portrait, portrait):
            state = State(state.time, window=state.window, scene=state.scene, light=state.light, cuts=state.cuts + 1)
        started = now()
        cut: CutOut | None
        if alpha is not None or self.still:
            cut = self._known(frame, state.cut, alpha)
        else:
            cut, state = self._look(frame, state, time)
        self.clock.add("matte", started)
        if cut is None or is_nobody(cut, frame.shape[:2]):
            if self.still:
                raise ValueError(f"the portrait or its mask shows nobody: no alpha is above {_LEAST_ALPHA}, or too few")
            light, cuts = state.light, state.cuts
            return State(time, window=state.window, portrait=portrait, scene=state.scene, light=light, cuts=cuts)
        return replace(state, time=time, cut=cut, portrait=portrait)

    def _known(self, frame: Pixels, before: CutOut | None, alpha: Floats | None) -> CutOut:
        """Cut out by an alpha that is given, or found once for a still."""
        if self.still and before is not None:
            return before
        if alpha is None:
            found = estimate_alpha(self._network(self.matting), to_planes(frame))
            check_coverage(found)
            alpha = found[0, 0].numpy()
        return known_cut_out(frame, alpha)

    def _look(self, frame: Pixels, state: State, time: float) -> tuple[CutOut | None, State]:
        """Find the person by the network, told where it was.

        Now and then it looks at the whole frame, told nothing: what it has come to overlook it may see again. Of two
        frames it need see but one where the matte can be carried along with the picture.
        """
        before, size = state.cut, (frame.shape[0], frame.shape[1])
        if before is not None and not state.carried and time - state.looked < LOOK_SECONDS:
            part = part_of(frame, before.region)
            small = reduce(part)
            moved_matte = carry_matte(before.coarse, before.small, small)
            if moved_matte is not None:
                return CutOut(part, before.region, small, moved_matte), replace(state, carried=True)
        region = None if before is None else before.region
        known = [] if before is None else [(before.coarse, before.region)]
        if time - state.looked >= LOOK_SECONDS or before is None:
            whole, wide = (0, 0, *size), reduce(frame, LOOK_PIXELS)
            seen = estimate_matte(self._network(self.quick), wide, None)
            known.append((seen, whole))
            region = find_region(_merged(known, whole, seen.shape), whole, size, region)
            state = replace(state, looked=time)
        if region is None:
            return None, state
        small, coarse = self._see(frame, region, known)
        moved = find_region(coarse, region, size, region)
        if moved is not None and moved != region:  # the person has reached the edge of what was seen
            region = moved
            small, coarse = self._see(frame, region, known)
        if before is not None and before.region == region:
            coarse = steady_matte(coarse, small, before.coarse, before.small, time - state.time)
        return CutOut(part_of(frame, region), region, small, coarse), replace(state, carried=False)

    def _see(self, frame: Pixels, region: Window, known: list[tuple[Floats, Window]]) -> tuple[Pixels, Floats]:
        """Let the network see a part of a frame, told what is known -> that part at its size, and its matte."""
        small = reduce(part_of(frame, region))
        return small, estimate_matte(self._network(self.quick), small, _merged(known, region, small.shape[:2]))

    @staticmethod
    def _network(network: nn.Module | None) -> nn.Module:
        if network is None:
            raise ValueError("no matting network was loaded: give --mask, or a portrait with transparency")
        return network

    def _follow(self, state: State, cut: CutOut, place: FrameWindow, background: Pixels, time: float) -> State:
        """Ask the harmonizer if it is time to, and move the grid and the light towards what is so now."""
        started = now()
        seconds, light = max(0.0, time - state.before), state.light
        if state.target is None or time - state.asked >= self.pace.estimate_seconds - 1e-6:
            layers = judged_layers(cut, place, background)
            target = settle(self.harmonizer(layers), layers.alpha)
            state = replace(state, target=target, gain=answer_gain(target, layers), asked=time)
            if light is None and state.scene is not None and state.gain is not None:
                light = begin(state.scene, layers.alpha, state.gain)
        assert state.target is not None and state.gain is not None and state.scene is not None and light is not None
        if state.grid is None:
            grid, light = state.target, come_back(light, state.scene, state.gain)
        else:
            weight = 1 - exp(-seconds / self.pace.grid_seconds) if self.pace.grid_seconds > 0 else 1.0
            grid = state.grid.lerp(state.target, weight)
            light = follow(light, state.scene, state.gain, seconds, weight)
        self.clock.add("estimate", started)
        return replace(state, grid=grid, light=light)

    @torch.no_grad()
    def draw(self, frame: Pixels, background: Pixels, judgement: Judgement) -> Pixels:
        """Make the picture of a judgement; bit-equal to the background where nobody is."""
        cut, window, grid = judgement.cut, judgement.window, judgement.grid
        if cut is None or window is None or grid is None:
            return background
        started = now()
        place = window.part(cut.region, frame.shape[:2])
        box = drawn_box(cut.alpha, place)
        started = self.clock.add("edge", started)
        top, left, bottom, right = box
        if top >= bottom or left >= right:
            return background
        alpha = np.ascontiguousarray(place.draw(cut.alpha, box), np.float32)
        planes = person_planes(window.draw(frame, box), alpha, cut, place, box)
        person = crop_grid(self._graded(grid), box, window.canvas).apply(planes[None])[0]
        started = self.clock.add("apply", started)
        picture = background.copy()
        colors = cv2.merge([plane.mul(255).add_(0.5).byte().numpy() for plane in person])
        picture[top:bottom, left:right] = cv2.blendLinear(
            colors, picture[top:bottom, left:right].copy(), alpha, 1 - alpha
        )
        self.clock.add("composite", started)
        return picture

    def _graded(self, grid: AffineGrid) -> AffineGrid:
        """Apply the user's strength, exposure and warmth to a grid."""
        grid = grid if self.options.strength == 1.0 else grid.shrink(self.options.strength)
        if not self.options.exposure and not self.options.warmth:
            return grid
        gains = grade(self.options.exposure, self.options.warmth).matrix[0, :, :3, 0, 0, 0]  # [3,3]
        return AffineGrid(torch.einsum("ij,bjkdyx->bikdyx", gains, grid.matrix))


def _merged(known: list[tuple[Floats, Window]], region: Window, shape: tuple[int, int]) -> Floats:
    """Say what is known of a part of a frame, of a shape: the greater alpha where several mattes know it."""
    mattes = [move_matte(matte, place, region, shape) for matte, place in known]
    return mattes[0] if len(mattes) == 1 else np.maximum(*mattes)


def part_of(frame: Pixels, region: Window) -> Pixels:
    """Cut a region out of a frame."""
    return frame[region[0] : region[2], region[1] : region[3]]


def coverage(cut: CutOut, size: tuple[int, int]) -> float:
    """Return the share of a frame of `size` (height, width) that a person fills."""
    top, left, bottom, right = cut.region
    return float(cut.coarse.mean()) * (bottom - top) * (right - left) / (size[0] * size[1])


def is_nobody(cut: CutOut, size: tuple[int, int]) -> bool:
    """Tell whether a cut-out is too little of a frame of `size`; what a mask shows may be less than what is found."""
    if cut.known is None:
        return coverage(cut, size) < LEAST_COVERAGE
    return coverage(cut, size) < _LEAST_KNOWN or float(cut.known.max()) <= _LEAST_ALPHA


def judged_layers(cut: CutOut, place: FrameWindow, background: Pixels) -> Layers:
    """Make the small layers that a harmonizer judges of a cut-out, where it lies, and the canvas."""
    side = _JUDGED_SIDE
    place = place.scaled(side, side)
    whole = (0, 0, side, side)
    alpha = place.draw(cut.coarse, whole)
    colors = place.draw(own_colors(cut) * cut.coarse[:, :, None], whole) / np.maximum(alpha[:, :, None], 1e-4)
    step = max(1, min(background.shape[0], background.shape[1]) // (2 * side))
    scene = resize(background[::step, ::step], (side, side))
    return Layers(
        _planes(np.clip(colors, 0, 1)), torch.from_numpy(np.ascontiguousarray(alpha))[None, None], to_planes(scene)
    )


def _planes(image: Floats) -> Tensor:
    """[H,W,3] -> [1,3,H,W] float32."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].contiguous()
