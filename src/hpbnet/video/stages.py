"""The stages of a video's work: frames paired by time, the person found and coloured, the pictures drawn."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np

from ..harmonize import Harmonizer
from ..image.picture import Source
from ..matte import Matting
from ..options import FrameOptions, PartOptions
from .canvas import fit_scene
from .draw import draw_cut_out
from .pixels import Floats, Pixels
from .read import Clip, Frame, read_frames
from .report import Tally
from .sources import Medium, Still, canvas_size, given_alpha, scene_at
from .step import Composer, ComposerState, FramePlan
from .threads import Clock, ahead, now, timed
from .tone import PACES
from .track import Tracker, TrackState


@dataclass(frozen=True)
class Moment:
    """What belongs together at one time: a frame, its background, and what was made of them."""

    frame: Frame
    scene: Pixels | None = None
    alpha: Floats | None = None  # of the frame, where it is given
    plan: FramePlan | None = None
    picture: Pixels | None = None
    opacity: Pixels | None = None  # of the picture, if it has any


Stage = Generator[Moment, None, None]  # work ahead of who asks for it, in its thread until it is closed


def compose_stages(
    person: Medium,
    place: Medium,
    harmonizer: Harmonizer,
    matting: Matting | None,
    options: FrameOptions,
    mask: Source | None,
) -> tuple[Tally, Stage]:
    """Set up the stages that put a person into a place."""
    composer = Composer(harmonizer, matting, options, PACES[options.steadiness], isinstance(person, Still))
    tally, canvas = Tally(composer.clock), canvas_size(person, place, options.size)
    for medium in (person, place):
        for notice in medium.notices if isinstance(medium, Still) else ():
            tally.tell(notice)
    if isinstance(person, Still):
        moments = _still_moments(person, cast(Clip, place), canvas, options, mask, tally)
    else:
        behind = scene_at(place, options, canvas, options.background_end, tally.tell)
        moments = _portrait_moments(person, behind, options, mask, tally)
    return tally, ahead(_drawn(ahead(_planned(ahead(moments), composer, tally)), composer))


def cut_out_stages(
    clip: Clip, matting: Matting | None, options: PartOptions, mask: Source | None, alpha_only: bool
) -> tuple[Tally, Stage]:
    """Set up the stages that cut a person out."""
    tally = Tally(Clock())
    moments = _portrait_moments(clip, None, options, mask, tally)
    return tally, ahead(_cut_out(ahead(moments), matting, tally, alpha_only))


def _still_moments(
    portrait: Still,
    background: Clip,
    canvas: tuple[int, int],
    options: FrameOptions,
    mask: Source | None,
    tally: Tally,
) -> Iterator[Moment]:
    """Show a picture before each frame of a background."""
    alpha = given_alpha(portrait, mask, tally.tell)(None)
    frames = read_frames(background, options.start, options.end, tally.tell)
    for frame in timed(frames, tally.clock, "decode"):
        tally.repeated += frame.repeated
        scene = fit_scene(frame.pixels, canvas, options.fit, options.blur)
        yield Moment(replace(frame, pixels=portrait.pixels), scene, alpha)


def _portrait_moments(
    portrait: Clip,
    behind: Callable[[float], Pixels | None] | None,
    options: PartOptions,
    mask: Source | None,
    tally: Tally,
) -> Iterator[Moment]:
    """Pair the frames of a portrait with backgrounds and masks by time."""
    alpha_of = given_alpha(portrait, mask, tally.tell)
    first: float | None = None
    for frame in timed(read_frames(portrait, options.start, options.end, tally.tell), tally.clock, "decode"):
        tally.repeated += frame.repeated
        started = now()
        first = frame.time if first is None else first
        scene = None if behind is None else behind(frame.time - first)
        if behind is not None and scene is None:
            return
        alpha = alpha_of(frame)
        tally.clock.add("background", started)
        yield Moment(frame, scene, alpha)


def _planned(moments: Stage, composer: Composer, tally: Tally) -> Iterator[Moment]:
    state = ComposerState()
    with closing(moments):
        for moment in moments:
            frame, scene = moment.frame, moment.scene
            assert scene is not None
            plan, state = composer.plan(frame.pixels, scene, state, frame.time, moment.alpha)
            tally.count(plan.person is None, moment.alpha, state.cuts)
            tally.framing = () if state.window is None else state.window.notices
            yield replace(moment, plan=plan)


def _drawn(moments: Stage, composer: Composer) -> Iterator[Moment]:
    with closing(moments):
        for moment in moments:
            assert moment.plan is not None and moment.scene is not None
            picture = composer.draw(moment.frame.pixels, moment.scene, moment.plan)
            yield replace(moment, picture=picture, plan=None)


def _cut_out(moments: Stage, matting: Matting | None, tally: Tally, alpha_only: bool) -> Iterator[Moment]:
    """Make the person's own colours and the alpha of each frame."""
    tracker, state = Tracker(matting), TrackState()
    with closing(moments):
        for moment in moments:
            pixels, started = moment.frame.pixels, now()
            state = tracker(pixels, state, moment.frame.time, moment.alpha)
            started = tally.clock.add("matte", started)
            tally.count(state.person is None, moment.alpha, state.cuts)
            colors, opacity = np.zeros_like(pixels), np.zeros(pixels.shape[:2], np.uint8)
            if state.person is not None:
                colors, opacity = draw_cut_out(pixels, state.person)
            tally.clock.add("draw", started)
            picture = cast(Pixels, cv2.merge([opacity] * 3)) if alpha_only else colors
            yield replace(moment, picture=picture, opacity=None if alpha_only else opacity)
