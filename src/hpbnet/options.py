"""The one list of what a user may choose when composing; the command line and the web form are made from it.

Knows each choice's default, range and help. Knows nothing of how it is carried out, and loads nothing heavy.
"""

import dataclasses
import math
from types import UnionType
from typing import TYPE_CHECKING, Literal, TypeVar, Union, cast, get_args, get_origin

if TYPE_CHECKING:
    from .image import Source

Value = TypeVar("Value")

_MOST_PIXELS = 150_000_000  # as many as a picture that is read may have


def setting(default: Value, help: str, range: tuple[float, float] | None = None, metavar: str | None = None) -> Value:
    """Declare a field that a user may set: its default, one line of help, and the closed range it must lie in."""
    return dataclasses.field(default=default, metadata={"help": help, "range": range, "metavar": metavar})


def kind_of(field: "dataclasses.Field[object]") -> object:
    """Tell the type of a field's value without the `None` that stands for "not given"."""
    if get_origin(field.type) in (UnionType, Union):  # `Literal[...] | None` is the second
        return next(part for part in get_args(field.type) if part is not type(None))
    return field.type


def help_of(settings: type, name: str) -> str:
    """Return the one line of help of a field made by `setting`."""
    assert dataclasses.is_dataclass(settings)
    return str(next(field for field in dataclasses.fields(settings) if field.name == name).metadata["help"])


def check_settings(settings: object) -> None:
    """Check a dataclass made of `setting` fields.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """
    assert dataclasses.is_dataclass(settings)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is not None or field.default is not None:
            _check(field, value)


def _check(field: "dataclasses.Field[object]", value: object) -> None:
    kind = kind_of(field)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{field.name} is {value!r}; expected one of {', '.join(get_args(kind))}")
    elif get_origin(kind) is tuple:
        parts = value if isinstance(value, tuple | list) else ()
        if len(parts) != len(get_args(kind)) or not all(_lies_in(part, int, field.metadata["range"]) for part in parts):
            raise ValueError(f"{field.name} is {value!r}; expected {len(get_args(kind))} {_numbers(int, field)}")
    elif kind in (int, float) and not _lies_in(value, kind, field.metadata["range"]):
        raise ValueError(f"{field.name} is {value!r}; expected a {_numbers(kind, field)}".replace("numbers", "number"))
    elif kind in (bool, str) and not isinstance(value, cast(type, kind)):
        raise ValueError(f"{field.name} is {value!r}; expected {'true or false' if kind is bool else 'a name'}")


def _numbers(kind: object, field: "dataclasses.Field[object]") -> str:
    whole, bounds = "whole " if kind is int else "", field.metadata["range"]
    return f"{whole}numbers" + (f" from {bounds[0]:g} to {bounds[1]:g}" if bounds else "")


def _lies_in(value: object, kind: object, bounds: tuple[float, float] | None) -> bool:
    if isinstance(value, bool) or not hasattr(value, "__index__" if kind is int else "__float__"):
        return False
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        return False
    return bounds is None or bounds[0] <= number <= bounds[1]


@dataclasses.dataclass(frozen=True)
class ComposeOptions:
    """How a portrait is put into a background; every field has a default.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """

    size: tuple[int, int] | None = setting(
        None, "Width and height of the result [px]; the background's by default.", (16, 30000), "WxH"
    )
    fit: Literal["cover", "contain"] = setting(
        "cover", "Crop the background to fill the result, or show all of it on a blurred copy."
    )
    blur: float = setting(0.0, "Blur of the background, as a lens would [px].", (0, 200))
    mask: "Source | None" = setting(  # noqa: RUF009 (the type is a string: `image` would load torch)
        None, "Picture that is white where the person is; used instead of automatic matting.", None, "FILE"
    )
    matte: str | None = setting(
        None, "Network that finds the person: an .onnx file, or a name such as birefnet-portrait.", None, "NAME"
    )
    flip: bool = setting(False, "Mirror the portrait.")
    scale: float | None = setting(
        None, "Height of the cut-out, as a share of the result's; chosen by default.", (0.01, 10)
    )
    x: float | None = setting(
        None, "Centre of the cut-out across the result, 0 left to 1 right; chosen by default.", (-2, 3)
    )
    y: float | None = setting(None, "Lower edge of the cut-out, 0 top to 1 bottom; chosen by default.", (-2, 3))
    harmonizer: str | None = setting(None, "How colours are matched: a name or a weights file.", None, "NAME")
    painted: bool = setting(
        False, "Show the picture that the harmonizer's own network paints (hpbnet), background included, enlarged."
    )
    strength: float = setting(1.0, "How far the automatic change of colour goes.", (0, 1))
    exposure: float = setting(0.0, "Brightness of the person, after the automatic change [EV].", (-4, 4))
    warmth: float = setting(0.0, "Warmth of the person, after the automatic change: -1 bluish, 1 golden.", (-1, 1))
    light_wrap: float = setting(0.0, "How much the background's light spills over the person's edge.", (0, 1))
    grain: float = setting(1.0, "How far the person's grain is brought up to that of a grainy background.", (0, 1))
    softness: float = setting(0.0, "How far the person is softened to the background's sharpness.", (0, 1))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.mask is not None and self.matte is not None:
            raise ValueError("mask and matte both say where the person is; give one of them")
        if self.size and self.size[0] * self.size[1] > _MOST_PIXELS:
            raise ValueError(f"size is {self.size}; expected at most {_MOST_PIXELS // 10**6} million pixels")
