"""Which colours the person of a frame gets: `(layers, state) -> (grid, state)`, steadily over time.

The harmonizer is asked a few times a second. Between two answers the grid in use moves towards the last one
exponentially, so that it neither jumps nor flickers, and follows a slow change of the light with a lag of one time
constant. The scene's light is read at the same times, and its grid moves in the same way. The change of the
background's light since its scene began is followed beside it (`light.py`). All begins anew where a new scene begins.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, inf

import numpy as np
import torch
from torch import Tensor

from ..affine_grid import AffineGrid
from ..harmonize import Harmonizer, identity
from ..image.picture import to_planes
from ..layers import Layers
from ..light import Light, light_person
from ..options import LiveOptions
from .canvas import FrameWindow
from .cutout import TrackedPerson, own_colors
from .cuts import is_cut, thumbnail
from .grids import settle
from .light import LightChange, Logs, answer_gain, begin, come_back, follow, lit
from .pixels import Floats, Pixels, resize

GRID_SECONDS = 0.8  # [s] time constant of the grid
ESTIMATE_SECONDS = 0.4  # [s] between two questions to the harmonizer; half the time constant of its grid
_JUDGED_SIDE = 256  # [px] of the square on which colours are judged


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
class ToneState:
    """What colouring hands from one frame to the next."""

    time: float = -inf  # [s] when the grid last moved
    scene: Pixels | None = None  # thumbnail of the background
    target: AffineGrid | None = None  # the harmonizer's last answer
    gain: Logs | None = None  # that the answer gives the person
    asked: float = -inf  # [s] when it was given
    grid: AffineGrid | None = None  # in use
    shine_target: AffineGrid | None = None  # what the scene's light and the lamp ask for; None without light
    shine: AffineGrid | None = None  # in use
    scene_target: Light | None = None  # the scene's light as it was read last
    scene_light: Light | None = None  # in use
    light: LightChange | None = None  # of the background's scene
    cuts: int = 0  # new scenes so far


class Toner:
    """Gives each frame's grid; holds the harmonizer and its pace, and nothing of the frames it has seen."""

    def __init__(self, harmonizer: Harmonizer, pace: Pace, options: LiveOptions) -> None:
        self.harmonizer, self.pace, self.options = harmonizer, pace, options
        self.follow = options.follow if pace.follows and harmonizer is not identity else 0.0

    @torch.no_grad()
    def __call__(
        self,
        layers: Callable[[], Layers] | None,  # made where the harmonizer is asked; None where nobody is
        background: Pixels,  # [h,w,3] sRGB
        state: ToneState,
        time: float,  # [s]
        anew: bool = False,  # another person than in the frame before
    ) -> tuple[AffineGrid | None, ToneState]:
        """Return the grid of a frame; None where nobody is."""
        scene = thumbnail(background)
        if state.scene is not None and is_cut(state.scene, scene):
            state = replace(state, grid=None, target=None, shine=None, light=None, cuts=state.cuts + 1)
        if anew or layers is None:
            state = ToneState(light=state.light, cuts=state.cuts)
        if layers is None:
            return None, replace(state, scene=scene)
        state = self._follow(state, layers, scene, time, background.shape[0] / background.shape[1])
        assert state.grid is not None and state.light is not None
        grid = lit(state.grid, state.light, self.follow) if self.follow else state.grid
        return grid, replace(state, scene=scene, time=time)

    def _follow(
        self, state: ToneState, layers: Callable[[], Layers], scene: Pixels, time: float, aspect: float
    ) -> ToneState:
        """Ask the harmonizer if it is time to, and move the grids and the light towards what is so now."""
        seconds, light = max(0.0, time - state.time), state.light
        if state.target is None or time - state.asked >= self.pace.estimate_seconds - 1e-6:
            small = layers()
            target = settle(self.harmonizer(small), small.alpha)
            lighting = light_person(_in_shape(small, aspect), self.options)
            shine = None if lighting is None else settle(lighting.grid, small.alpha)
            gain = answer_gain(target if shine is None else target.then(shine), small)
            scene_target = None if lighting is None else lighting.scene
            state = replace(state, target=target, shine_target=shine, scene_target=scene_target, gain=gain, asked=time)
            light = light or begin(scene, small.alpha, gain)
        assert state.target is not None and state.gain is not None and light is not None
        if state.grid is None:
            return replace(
                state,
                grid=state.target,
                shine=state.shine_target,
                scene_light=state.scene_target,
                light=come_back(light, scene, state.gain),
            )
        weight = 1 - exp(-seconds / self.pace.grid_seconds) if self.pace.grid_seconds > 0 else 1.0
        light = follow(light, scene, state.gain, seconds, weight)
        shine = state.shine_target if state.shine is None else _moved(state.shine, state.shine_target, weight)
        shown = state.scene_target
        if shown is not None and state.scene_light is not None:
            shown = state.scene_light.lerp(shown, weight)
        grid = state.grid.lerp(state.target, weight)
        return replace(state, grid=grid, shine=shine, scene_light=shown, light=light)


def _moved(grid: AffineGrid, target: AffineGrid | None, weight: float) -> AffineGrid | None:
    return None if target is None else grid.lerp(target, weight)


def small_layers(person: TrackedPerson, place: FrameWindow, background: Pixels) -> Layers:
    """Make the small layers that a harmonizer sees of a person, the place where it lies, and the canvas."""
    side = _JUDGED_SIDE
    place = place.scaled(side, side)
    whole = (0, 0, side, side)
    alpha = place.draw(person.coarse, whole)
    colors = place.draw(own_colors(person) * person.coarse[:, :, None], whole) / np.maximum(alpha[:, :, None], 1e-4)
    step = max(1, min(background.shape[0], background.shape[1]) // (2 * side))
    scene = resize(background[::step, ::step], (side, side))
    return Layers(
        _planes(np.clip(colors, 0, 1)), torch.from_numpy(np.ascontiguousarray(alpha))[None, None], to_planes(scene)
    )


def _in_shape(small: Layers, aspect: float) -> Layers:
    """Give square layers the shape of the canvas, height over width: a surface is not to be squeezed."""
    side = max(small.size)
    return small.resize(max(8, round(side * min(1.0, aspect))), max(8, round(side * min(1.0, 1 / aspect))))


def _planes(image: Floats) -> Tensor:
    """[H,W,3] -> [1,3,H,W] float32."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].contiguous()
