"""The settings of pictures, videos, live use and ready composites, each with default, help and range.

Command-line options, the page's controls, the JSON Schema and the documentation are generated from these classes. A
class has exactly the fields that its use honours. Pictures, masks and hints are arguments, and networks belong to the
pipeline: neither is a setting.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from .settings import check_settings, setting

MOST_PIXELS = 100_000_000  # of a result: width times height

Codec = Literal["h264", "hevc", "vp9", "av1", "prores"]


@dataclass(frozen=True)
class Lamp:
    """A lamp of the user's own."""

    azimuth: float  # [deg] 0 from the camera, positive to the picture's right, -180 to 180
    elevation: float = 0.0  # [deg] upwards, -90 to 90
    color: str = "#ffffff"  # sRGB as #rrggbb, or a temperature such as 3200K
    strength: float = 1.0  # 0 to 4; 1: as much light on what faces it as a portrait has anyway

    def __str__(self) -> str:
        """Write it as `read_lamp` reads it."""
        return f"{self.azimuth:g},{self.elevation:g},{self.color},{self.strength:g}"


def parse_lamp(given: object) -> Lamp:
    """Read AZIMUTH,ELEVATION[,COLOUR][,STRENGTH]: a text, a tuple or list of its parts, or a lamp.

    Raises:
        ValueError: it is none of these, or a number is out of range.
    """
    parts = str(given).split(",") if isinstance(given, str | Lamp) else given
    if not isinstance(parts, tuple | list):
        raise ValueError(f"lamp is {given!r}; {_LAMP_FORM}")
    words = [str(part).strip() for part in parts]
    color = words.pop(2) if len(words) > 2 and re.fullmatch(_LAMP_COLOR, words[2]) else "#ffffff"
    numbers = [_number(word) for word in words]
    if not 2 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"lamp is {given!r}; {_LAMP_FORM}")
    bounds = {"azimuth": (-180, 180), "elevation": (-90, 90), "strength": (0, 4)}
    for (name, (low, high)), number in zip(bounds.items(), numbers, strict=False):
        if not low <= number <= high:
            raise ValueError(f"lamp's {name} is {number:g}; expected a number from {low} to {high}")
    if color[-1] in "kK" and not 1700 <= float(color[:-1]) <= 25000:
        raise ValueError(f"lamp's colour is {color}; expected 1700K to 25000K, or #rrggbb")
    return Lamp(numbers[0], numbers[1], color, *numbers[2:])


def read_lamp(given: object) -> str:
    """Return the text of a lamp, as the command line and settings files hold it."""
    return str(parse_lamp(given))


_LAMP_COLOR = r"#[0-9a-fA-F]{6}|\d{1,6}[kK]"
_LAMP_FORM = "expected AZIMUTH,ELEVATION[,COLOUR][,STRENGTH] such as 40,20,#ffcc88,0.8 or 40,20,3200K"


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class ColorOptions:
    """How far the person's colours are changed, and how the person is lit.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """

    strength: float = setting(1.0, "How far the automatic colour change goes.", (0, 1))
    light: float = setting(0.7, "How far the light of the background falls on the person.", (0, 1))
    lamp: str | None = setting(
        None,
        "A lamp on the person: direction [deg] (0,0 from the camera, to the right, upwards), colour (#rrggbb or 3200K) "
        "and strength (0 to 4).",
        None,
        "AZIMUTH,ELEVATION[,COLOUR][,STRENGTH]",
        read_lamp,
    )
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
    light: float = setting(0.7, "How far the light of the background falls on the person.", (0, 1))
    follow: float = setting(
        0.8, "How far the person follows changes of the background's light, beside the harmonizer.", (0, 1)
    )
