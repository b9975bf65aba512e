"""The settings of pictures, videos, live use and ready composites, each with default, help and range.

Command-line options, the page's controls, the JSON Schema and the documentation are generated from these classes. A
class has exactly the fields that its use honours. Pictures, masks and hints are arguments, and networks belong to the
pipeline: neither is a setting.
"""

from dataclasses import dataclass
from typing import Literal

from .settings import check_settings, setting

MOST_PIXELS = 100_000_000  # of a result: width times height

Codec = Literal["h264", "hevc", "vp9", "av1", "prores"]


@dataclass(frozen=True)
class ColorOptions:
    """How far the person's colours are changed.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """

    strength: float = setting(1.0, "How far the automatic colour change goes.", (0, 1))
    exposure: float = setting(0.0, "Brightness of the person, after the automatic change [EV].", (-4, 4))
    warmth: float = setting(0.0, "Warmth of the person, after the automatic change: -1 bluish, 1 golden.", (-1, 1))

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class HarmonizeOptions(ColorOptions):
    """How the foreground of a ready composite is changed."""

    light_wrap: float = setting(0.0, "How much background light spills over the person's edge.", (0, 1))
    grain: float = setting(0.0, "How far the person's film grain is matched to a grainy background.", (0, 1))
    softness: float = setting(0.0, "How far the person is blurred to match the background's sharpness.", (0, 1))


@dataclass(frozen=True)
class PlacementOptions:
    """How large the result is, where the person stands in it, and the shadow there."""

    size: tuple[int, int] | None = setting(
        None,
        "Width and height of the result [px]; by default those of the background, in videos those of the clip.",
        (16, 30000),
        "WxH",
    )
    fit: Literal["cover", "contain"] = setting(
        "cover", "Crop the background to fill the result, or show all of it on a blurred copy."
    )
    blur: float = setting(0.0, "Lens blur of the background, as a radius [px].", (0, 200))
    flip: bool = setting(False, "Mirror the portrait.")
    scale: float | None = setting(
        None, "Height of the person as a share of the result's height; by default chosen automatically.", (0.01, 10)
    )
    x: float | None = setting(
        None, "Horizontal centre of the person, 0 left to 1 right; by default chosen automatically.", (-2, 3)
    )
    y: float | None = setting(
        None, "Lower edge of the person, 0 top to 1 bottom; by default chosen automatically.", (-2, 3)
    )
    shadow: float = setting(0.0, "How dark the person's shadow on the ground is, where the feet are in sight.", (0, 1))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.size and self.size[0] * self.size[1] > MOST_PIXELS:
            raise ValueError(f"size is {self.size}; expected at most {MOST_PIXELS // 10**6} million pixels")


@dataclass(frozen=True)
class PersonOptions:
    """Which of the people in a portrait are cut out."""

    person: str = setting(
        "all", "Which people are kept: all, largest, or a number from 1, left to right; people who touch count as one."
    )

    def __post_init__(self) -> None:
        if isinstance(self.person, int) and not isinstance(self.person, bool):
            object.__setattr__(self, "person", str(self.person))
        check_settings(self)
        if self.person not in ("all", "largest") and not (self.person.isdecimal() and int(self.person) > 0):
            raise ValueError(f"person is {self.person!r}; expected all, largest, or a whole number from 1")


@dataclass(frozen=True)
class ComposeOptions(HarmonizeOptions, PlacementOptions, PersonOptions):
    """How a person is put into a picture."""

    grain: float = setting(1.0, "How far the person's film grain is matched to a grainy background.", (0, 1))

    def __post_init__(self) -> None:
        PersonOptions.__post_init__(self)
        PlacementOptions.__post_init__(self)


@dataclass(frozen=True)
class LiveOptions(ColorOptions, PlacementOptions):
    """How a person of a camera is put before a background."""

    follow: float = setting(
        0.8, "How far the person follows changes of the background's light, beside the harmonizer.", (0, 1)
    )

    def __post_init__(self) -> None:
        PlacementOptions.__post_init__(self)


@dataclass(frozen=True)
class PartOptions:
    """Which part of a clip is used."""

    start: float = setting(0.0, "Where in the clip to begin [s].", (0, 1e6))
    end: float | None = setting(None, "Where in the clip to end [s]; by default its end.", (0, 1e6))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end is {self.end:g} s and start {self.start:g} s; the end must come after the start")


@dataclass(frozen=True)
class ClipOptions(PartOptions):
    """Which part of a clip is used, and how the result is encoded."""

    codec: Codec | None = setting(  # noqa: RUF009 (ruff does not see that the alias is a Literal)
        None, "Video codec; by default H.264, VP9 for .webm, and ProRes for .mov with transparency."
    )
    crf: int | None = setting(
        None, "Constant rate factor: smaller is better quality; by default 20 for H.264.", (0, 63)
    )


@dataclass(frozen=True)
class MatteOptions(ClipOptions, PersonOptions):
    """Which people are cut out of a picture; which part of a clip is used, and how it is encoded."""

    def __post_init__(self) -> None:
        PersonOptions.__post_init__(self)
        ClipOptions.__post_init__(self)


@dataclass(frozen=True)
class FrameOptions(PartOptions, LiveOptions):
    """How a person is put into the frames of a video, or a person of a video into a picture."""

    background_end: Literal["loop", "freeze", "stop"] = setting(
        "loop", "What to do when the background is shorter than the portrait."
    )
    steadiness: Literal["steady", "independent", "frozen"] = setting(
        "steady", "Smooth the colour change over time, judge each frame alone, or keep the first frame's."
    )

    def __post_init__(self) -> None:
        PartOptions.__post_init__(self)
        PlacementOptions.__post_init__(self)


@dataclass(frozen=True)
class VideoOptions(ClipOptions, FrameOptions):
    """How the frames are made, and how they are encoded, with whose sound."""

    audio: Literal["portrait", "background", "none"] | None = setting(
        None, "Whose sound is copied; by default the portrait's, if it is a clip."
    )

    def __post_init__(self) -> None:
        FrameOptions.__post_init__(self)


@dataclass(frozen=True)
class SteadinessOptions(PartOptions):
    """How methods are measured on a clip."""

    strength: float = setting(1.0, "How far the automatic colour change goes.", (0, 1))
    follow: float = setting(
        0.8, "How far the person follows changes of the background's light, beside the harmonizer.", (0, 1)
    )
