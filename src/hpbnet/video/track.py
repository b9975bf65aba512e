"""Where the person of a frame is: `(frame, state) -> state`, with the matte of the frame before.

Our own network is told the matte before; any other matting sees each frame alone, at its full size. What is smoothed is
the matte, never pixels, by time constants in seconds, and it begins anew where a new scene begins.
"""

from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch

from ..affine_grid import Window
from ..image.picture import to_planes
from ..matte import LEAST_COVERAGE, Matting, NetworkMatting, check_coverage, made_quick
from .cutout import (
    LOOK_PIXELS,
    TrackedPerson,
    estimate_matte,
    find_region,
    move_matte,
    person_of_alpha,
    reduce,
    steady_matte,
)
from .cuts import is_cut, thumbnail
from .motion import carry_matte
from .pixels import Floats, Pixels

LOOK_SECONDS = 1.0  # [s] between two looks at the whole frame
_LEAST_GIVEN, _LEAST_ALPHA = 1e-4, 0.1  # share of a frame, and greatest alpha, of a person that a mask shows


@dataclass(frozen=True)
class TrackState:
    """What tracking hands from one frame to the next."""

    person: TrackedPerson | None = None  # of that frame; None where nobody is
    anew: bool = True  # the person was not followed from the frame before
    time: float = -inf  # [s] of that frame
    portrait: Pixels | None = None  # thumbnail of the frame
    looked: float = -inf  # [s] when the network last saw the whole frame
    carried: bool = False  # the matte is the one before, moved: the network shall see the next frame
    cuts: int = 0  # new scenes so far


class Tracker:
    """Finds the person of each frame; holds the matting, and nothing of the frames it has seen.

    Args:
        matting: finds the person; None where every frame's alpha is given.
        still: all frames are the same picture, in which the person is found once.
    """

    def __init__(self, matting: Matting | None, still: bool = False) -> None:
        self.matting, self.still = matting, still
        self.network = made_quick(matting.network) if isinstance(matting, NetworkMatting) else None

    @torch.no_grad()
    def __call__(
        self,
        frame: Pixels,  # [H,W,3] sRGB
        state: TrackState,
        time: float,  # [s]
        alpha: Floats | None = None,  # [H,W], where it is given
    ) -> TrackState:
        """Find the person of a frame.

        Raises:
            ValueError: a still shows nobody, or there is neither a matting nor an alpha.
        """
        portrait = thumbnail(frame)
        if state.portrait is not None and not self.still and is_cut(state.portrait, portrait):
            state = TrackState(time=state.time, cuts=state.cuts + 1)
        anew = state.person is None
        if self.still:
            state = replace(state, person=state.person or self._find_once(frame, alpha))
        elif alpha is not None:
            person = person_of_alpha(frame, alpha)
            state = replace(state, person=None if _shows_nobody(person) else person)
        elif self.network is None:
            state = replace(state, person=self._find_alone(frame))
        else:
            state = self._follow(frame, state, time)
        if state.person is None:
            return TrackState(time=time, portrait=portrait, cuts=state.cuts)
        return replace(state, time=time, portrait=portrait, anew=anew)

    def _find_once(self, frame: Pixels, alpha: Floats | None) -> TrackedPerson:
        """Find the person of a still."""
        if alpha is None:
            found = self._matting()(to_planes(frame))
            check_coverage(found)
            alpha = found[0, 0].numpy()
        person = person_of_alpha(frame, alpha)
        if _shows_nobody(person):
            raise ValueError(f"the portrait or its mask shows nobody: no alpha is above {_LEAST_ALPHA}, or too few")
        return person

    def _find_alone(self, frame: Pixels) -> TrackedPerson | None:
        """Find the person of a frame by a matting that knows nothing of other frames."""
        person = person_of_alpha(frame, self._matting()(to_planes(frame))[0, 0].numpy())
        return person if coverage(person, frame.shape[:2]) >= LEAST_COVERAGE else None

    def _matting(self) -> Matting:
        if self.matting is None:
            raise ValueError("no matting network is loaded: give a mask, or a portrait with transparency")
        return self.matting

    def _follow(self, frame: Pixels, state: TrackState, time: float) -> TrackState:
        """Find the person by the network, told where it was.

        Now and then it looks at the whole frame, told nothing: what it has come to overlook it may see again. Of two
        frames it need see but one where the matte can be carried along with the picture.
        """
        before, size = state.person, (frame.shape[0], frame.shape[1])
        if before is not None and not state.carried and time - state.looked < LOOK_SECONDS:
            part = part_of(frame, before.region)
            small = reduce(part)
            moved_matte = carry_matte(before.coarse, before.small, small)
            if moved_matte is not None:
                person = TrackedPerson(part, before.region, small, moved_matte)
                return replace(state, person=_unless_too_small(person, size), carried=True)
        region = None if before is None else before.region
        known = [] if before is None else [(before.coarse, before.region)]
        if time - state.looked >= LOOK_SECONDS or before is None:
            whole, wide = (0, 0, *size), reduce(frame, LOOK_PIXELS)
            seen = self._estimate(wide, None)
            known.append((seen, whole))
            region = find_region(_merged(known, whole, seen.shape), whole, size, region)
            state = replace(state, looked=time)
        if region is None:
            return replace(state, person=None)
        small, coarse = self._see(frame, region, known)
        moved = find_region(coarse, region, size, region)
        if moved is not None and moved != region:  # the person has reached the edge of what was seen
            region = moved
            small, coarse = self._see(frame, region, known)
        if before is not None and before.region == region:
            coarse = steady_matte(coarse, small, before.coarse, before.small, time - state.time)
        person = TrackedPerson(part_of(frame, region), region, small, coarse)
        return replace(state, person=_unless_too_small(person, size), carried=False)

    def _see(self, frame: Pixels, region: Window, known: list[tuple[Floats, Window]]) -> tuple[Pixels, Floats]:
        """Let the network see a part of a frame, told what is known -> that part at its size, and its matte."""
        small = reduce(part_of(frame, region))
        return small, self._estimate(small, _merged(known, region, small.shape[:2]))

    def _estimate(self, small: Pixels, previous: Floats | None) -> Floats:
        assert self.network is not None
        return estimate_matte(self.network, small, previous)


def _merged(known: list[tuple[Floats, Window]], region: Window, shape: tuple[int, int]) -> Floats:
    """Say what is known of a part of a frame, of a shape: the greater alpha where several mattes know it."""
    mattes = [move_matte(matte, place, region, shape) for matte, place in known]
    return mattes[0] if len(mattes) == 1 else np.maximum(*mattes)


def part_of(frame: Pixels, region: Window) -> Pixels:
    """Cut a region out of a frame."""
    return frame[region[0] : region[2], region[1] : region[3]]


def coverage(person: TrackedPerson, size: tuple[int, ...]) -> float:
    """Return the share of a frame of `size` (height, width) that a person fills."""
    top, left, bottom, right = person.region
    return float(person.coarse.mean()) * (bottom - top) * (right - left) / (size[0] * size[1])


def _unless_too_small(person: TrackedPerson, size: tuple[int, int]) -> TrackedPerson | None:
    return person if coverage(person, size) >= LEAST_COVERAGE else None


def _shows_nobody(person: TrackedPerson) -> bool:
    """Tell whether a given alpha shows nobody; it may show less of a person than what counts as found."""
    assert person.given is not None
    return coverage(person, person.given.shape) < _LEAST_GIVEN or float(person.given.max()) <= _LEAST_ALPHA
