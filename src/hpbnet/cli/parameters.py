"""Turn a dataclass of settings into a command's options, and back."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args, get_origin

import click

from ..options import kind_of

Settings = TypeVar("Settings")
Command = Callable[..., int | None]


def _size(value: str) -> tuple[int, int]:
    """Read two whole numbers written as 1920x1080."""
    width, cross, height = value.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{value!r} is no size such as 1920x1080")
    return int(width), int(height)


def takes_settings(settings: type[Settings], only: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Give a command one option for each field of a dataclass; it receives them as one `settings=` argument."""
    every = dataclasses.fields(settings)  # type: ignore[arg-type]
    fields = [field for field in every if field.name in only or not only]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gather(**given: object) -> int | None:
            return command(settings=settings(**{field.name: given.pop(field.name) for field in fields}), **given)

        wrapped: Command = gather
        for field in reversed(fields):
            wrapped = click.option(*_names(field), **_behaviour(field))(wrapped)  # type: ignore[arg-type]
        return wrapped

    return decorate


def _names(field: "dataclasses.Field[object]") -> tuple[str, str]:
    return f"--{field.name.replace('_', '-')}", field.name


def _behaviour(field: "dataclasses.Field[object]") -> dict[str, object]:
    bounds = field.metadata.get("range")
    kind = kind_of(field)
    help = str(field.metadata["help"])
    if bounds and get_origin(kind) is not tuple:
        help = f"{help} From {bounds[0]:g} to {bounds[1]:g}."
    return {
        "type": _type(kind),
        "default": field.default,
        "is_flag": kind is bool,
        "show_default": field.default is not None and kind is not bool,
        "metavar": field.metadata.get("metavar"),
        "help": help,
    }


def _type(kind: object) -> object:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if get_origin(kind) is tuple:
        return _size
    return {int: click.INT, float: click.FLOAT, bool: click.BOOL}.get(kind, click.STRING)  # type: ignore[call-overload]
