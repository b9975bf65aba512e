"""How a setting is declared, and how its value is checked: one place for options, trainings and their commands.

A settings class is a frozen dataclass whose fields are made by `setting`. This module names no setting, and imports no
heavy package.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Literal, TypeVar, Union, cast, get_args, get_origin

from .errors import did_you_mean

Value = TypeVar("Value")
Settings = TypeVar("Settings")


def setting(
    default: Value,
    help: str,
    range: tuple[float, float] | None = None,
    metavar: str | None = None,
    read: Callable[[object], Value] | None = None,
) -> Value:
    """Declare a field that a user may set.

    Args:
        default: its value where none is given.
        help: one line.
        range: closed, that a number must lie in.
        metavar: what the command line shows for the value.
        read: turns what a user may give into the field's value, or raises a ValueError; never asked for None.
    """
    metadata = {"help": help, "range": range, "metavar": metavar, "read": read}
    return dataclasses.field(default=default, metadata=metadata)


def kind_of(field: "dataclasses.Field[object]") -> object:
    """Return the type of a field's value without the `None` that stands for "not given"."""
    if get_origin(field.type) in (UnionType, Union):  # `Literal[...] | None` is the second
        return next(part for part in get_args(field.type) if part is not type(None))
    return field.type


def changed(kind: type[Settings], settings: Settings | None, values: Mapping[str, object]) -> Settings:
    """Return settings of a class, its defaults where None, with other values for some fields.

    Raises:
        ValueError: the settings are of another class, a name is not a field (the known ones are listed), or a value is
            not allowed.
    """
    settings = kind() if settings is None else settings
    if not isinstance(settings, kind):
        raise ValueError(f"options is a {type(settings).__name__}; expected a {kind.__name__}; give a mask as mask=")
    check_names(type(settings), values)
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]


def check_names(
    kind: type, names: Mapping[str, object] | Sequence[str], what: str = "option", origin: str = ""
) -> None:
    """Reject names that are not fields of a settings class.

    Raises:
        ValueError: a name is unknown; the message suggests a similar one and lists the known ones.
    """
    assert dataclasses.is_dataclass(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for name in names:
        if name not in known:
            listed = f"known are {', '.join(known)}"
            raise ValueError(f"{origin}unknown {what} {name!r}: {did_you_mean(name, known)}{listed}")


def check_settings(settings: object) -> None:
    """Check every field of a settings object; a field that has a `read` is set to what it gives.

    Raises:
        ValueError: a value is of the wrong kind, not finite, out of range, or not among the choices.
    """
    assert dataclasses.is_dataclass(settings)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value is not None and field.metadata["read"] is not None:
            value = field.metadata["read"](value)
            object.__setattr__(settings, field.name, value)
        if value is not None or field.default is not None:
            _check(field, value)


def _check(field: "dataclasses.Field[object]", value: object) -> None:
    kind = kind_of(field)
    bounds = field.metadata["range"]
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{field.name} is {value!r}; expected one of {', '.join(get_args(kind))}")
    elif get_origin(kind) is tuple:
        parts = value if isinstance(value, tuple | list) else ()
        item, *rest = get_args(kind)
        fits = isinstance(value, tuple | list) if rest == [...] else len(parts) == len(get_args(kind))
        if not fits or not all(_lies_in(part, item, bounds) for part in parts):
            count = "" if rest == [...] else f"{len(get_args(kind))} "
            order = " (width, height)" if field.name == "size" else ""
            raise ValueError(f"{field.name} is {value!r}; expected {count}{_numbers(item, field)}{order}")
    elif kind in (int, float) and not _lies_in(value, kind, bounds):
        raise ValueError(f"{field.name} is {value!r}; expected a {_numbers(kind, field)}".replace("numbers", "number"))
    elif kind in (bool, str) and not isinstance(value, cast(type, kind)):
        raise ValueError(f"{field.name} is {value!r}; expected {'true or false' if kind is bool else 'a name'}")


def _numbers(kind: object, field: "dataclasses.Field[object]") -> str:
    if kind is str:
        return "names"
    whole, bounds = "whole " if kind is int else "", field.metadata["range"]
    return f"{whole}numbers" + (f" from {bounds[0]:g} to {bounds[1]:g}" if bounds else "")


def _lies_in(value: object, kind: object, bounds: tuple[float, float] | None) -> bool:
    if kind is str:
        return isinstance(value, str)
    if isinstance(value, bool) or not hasattr(value, "__index__" if kind is int else "__float__"):
        return False
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:  # a whole number of hundreds of digits
        return False
    if not math.isfinite(number):
        return False
    return bounds is None or bounds[0] <= number <= bounds[1]
