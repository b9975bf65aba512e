"""What a user may choose for a video, beside what `ComposeOptions` has; the command line is made from it."""

from dataclasses import dataclass
from typing import Literal

from ..options import ComposeOptions, setting

Codec = Literal["h264", "hevc", "vp9", "av1", "prores"]

SHOWN = (  # the options that a video takes; the others of `ComposeOptions` are for pictures
    "size",
    "fit",
    "blur",
    "mask",
    "flip",
    "scale",
    "x",
    "y",
    "harmonizer",
    "strength",
    "exposure",
    "warmth",
    "audio",
    "background_end",
    "codec",
    "crf",
    "start",
    "end",
    "steadiness",
    "follow",
)


@dataclass(frozen=True)
class VideoOptions(ComposeOptions):
    """How a person is put into a video; every field has a default.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """

    audio: Literal["portrait", "background", "none"] | None = setting(
        None, "Whose sound is copied; by default the portrait's, if it is a clip."
    )
    background_end: Literal["loop", "freeze", "stop"] = setting(
        "loop", "What follows where the background is shorter than the portrait."
    )
    codec: Literal["h264", "hevc", "vp9", "av1", "prores"] | None = setting(
        None, "Codec of the result; by default H.264, VP9 in .webm, with alpha ProRes in .mov."
    )
    crf: int | None = setting(None, "Quality, smaller is better; by default 20 for h264.", (0, 63))
    start: float = setting(0.0, "Where in the clip to begin [s].", (0, 1e6))
    end: float | None = setting(None, "Where in the clip to end [s]; by default its end.", (0, 1e6))
    steadiness: Literal["steady", "independent", "frozen"] = setting(
        "steady", "Follow the light smoothly, judge each frame by itself, or keep the first frame's colours."
    )

    follow: float = setting(
        0.8, "How far the person follows the background's light as it changes, beside the harmonizer.", (0, 1)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end is {self.end:g} s and start {self.start:g} s; the end must come after the start")
