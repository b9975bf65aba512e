"""A still of a video's composition at a reduced size: one frame, made as `Pipeline.video` makes its first."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..image import encode_picture
from ..image.picture import to_planes
from ..options import VideoOptions
from ..pipeline import Pipeline
from ..video.canvas import fit_scene
from ..video.draw import drawn_box
from ..video.pixels import Array, Pixels, resize
from ..video.read import Clip, Frame, read_frames
from ..video.sources import Medium, Still, canvas_size, given_alpha, open_medium
from ..video.step import Composer, ComposerState, FramePlan
from ..video.tone import PACES
from .preview import PREVIEW_QUALITY, Box, Framing, fitted
from .sessions import Session
from .workers import GoOn

_UNUSED_HINT = "the strokes on the cut-out are for pictures; a video does not use them"


@dataclass(frozen=True)
class Moment:
    """What one frame's picture is drawn of, at a reduced size."""

    frame: Pixels
    scene: Pixels
    plan: FramePlan
    size: tuple[int, int]  # of the full result, height and width
    notices: tuple[str, ...]


@dataclass(frozen=True)
class FramePreview:
    """A drawn frame."""

    data: bytes  # JPEG
    box: Box | None
    framing: Framing
    size: tuple[int, int]
    notices: tuple[str, ...]


@torch.no_grad()
def preview_frame(
    pipeline: Pipeline, networks: object, session: Session, options: VideoOptions, side: int, go_on: GoOn
) -> FramePreview:
    """Compose the frame at `options.start`.

    Raises:
        ValueError: a file cannot be read.
    """
    composer = Composer(
        pipeline.harmonizer, pipeline.matting, options, PACES["steady"], session.need("portrait").kind == "picture"
    )
    placed = (options.size, options.fit, options.blur, options.flip, options.scale, options.x, options.y)
    lit = (options.light, options.lamp, options.follow)
    key = (tuple(sorted(session.versions.items())), networks, side, options.start, lit, placed)
    moment = session.preview.keep("moment", key, lambda: _moment(session, composer, options, side, go_on))
    go_on()
    picture = composer.draw(moment.frame, moment.scene, moment.plan)
    box, framing = _placement(moment, options)
    notices = moment.notices + ((_UNUSED_HINT,) if "hint" in session.held else ())
    data = encode_picture(to_planes(picture), None, "jpg", quality=PREVIEW_QUALITY)
    return FramePreview(data, box, framing, moment.size, notices)


def _moment(session: Session, composer: Composer, options: VideoOptions, side: int, go_on: GoOn) -> Moment:
    notices: list[str] = []
    person, place = _opened(session, "portrait"), _opened(session, "background")
    frame, shown = _frame_of(person, options.start)
    mask = None if "mask" not in session.held else session.need("mask").path.read_bytes()
    alpha = given_alpha(person, mask, notices.append)(shown)
    go_on()
    start = options.start if isinstance(person, Still) else 0.0
    background, _ = _frame_of(place, start)
    size = canvas_size(person, place, options.size)
    small = fitted(size, side)
    scale = small[0] / size[0]
    frame, alpha = _reduced(frame, scale), None if alpha is None else _reduced(alpha, scale)
    scene = fit_scene(background, small, options.fit, options.blur * scale)
    go_on()
    plan, state = composer.plan(frame, scene, ComposerState(), 0.0, alpha)
    if plan.person is None:
        notices.append("no person was found in this frame")
    framing = () if state.window is None else state.window.notices
    return Moment(frame, scene, plan, size, (*notices, *framing))


def _opened(session: Session, role: str) -> Medium:
    medium = session.need("portrait" if role == "portrait" else "background")
    return open_medium(medium.path if medium.kind == "video" else medium.path.read_bytes())


def _frame_of(medium: Medium, start: float) -> tuple[Pixels, Frame | None]:
    """Return a clip's frame at a time [s], its first where there is none; of a still, the still."""
    if isinstance(medium, Still):
        return medium.pixels, None
    frame = _first(medium, start) or _first(medium, 0.0)
    if frame is None:
        raise ValueError("the video holds no frame that can be decoded")
    return frame.pixels, frame


def _first(clip: Clip, start: float) -> Frame | None:
    frames = read_frames(clip, start)
    try:
        return next(frames, None)
    finally:
        close: Callable[[], None] | None = getattr(frames, "close", None)
        if close is not None:
            close()


def _reduced(image: Array, scale: float) -> Array:
    height, width = image.shape[:2]
    return image if scale >= 1 else resize(image, (max(16, round(width * scale)), max(16, round(height * scale))))


def _placement(moment: Moment, options: VideoOptions) -> tuple[Box | None, Framing]:
    person, window = moment.plan.person, moment.plan.window
    if person is None or window is None:
        return None, (options.scale or 0.8, 0.5 if options.x is None else options.x, options.y or 1.0)
    height, width = moment.scene.shape[:2]
    place = window.part(person.region, (moment.frame.shape[0], moment.frame.shape[1]))
    top, left, bottom, right = drawn_box(person.alpha, replace(place, canvas=(1 << 20, 1 << 20)))
    box = left / width, top / height, (right - left) / width, (bottom - top) / height
    return box, (box[3], box[0] + box[2] / 2, bottom / height)
