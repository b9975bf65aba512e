"""Turn settings classes and network names into a command's options, and back."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin

import click

from ..settings import kind_of

Settings = TypeVar("Settings")
Command = Callable[..., int | None]

_FILE = click.Path(path_type=Path)
_HARMONIZER = click.option(
    "--harmonizer", metavar="NAME", help="Colour matching: a name that `hpbnet models` lists, or a weights file."
)
_MATTING = click.option(
    "--matting",
    metavar="NAME",
    help="Network that finds the person: a name that `hpbnet models` lists, a weights file, or an .onnx file.",
)
takes_mask = click.option(
    "--mask", type=_FILE, help="Picture that is white where the person is; used instead of the matting network."
)

takes_hint = click.option(
    "--hint",
    type=_FILE,
    help="Strokes or a rough mask to mend the cut-out: white is kept, black removed, grey or transparent unknown.",
)


def takes_limit(command: Command) -> Command:
    """Give a command the option `--max-megapixels`; it receives `max_pixels`."""

    @functools.wraps(command)
    def gather(max_megapixels: float, **given: object) -> int | None:
        return command(max_pixels=round(max_megapixels * 1e6), **given)

    return click.option(
        "--max-megapixels",
        type=click.FloatRange(0.001, 100_000),
        default=100.0,
        show_default=True,
        help="Refuse larger pictures; each pixel needs 12 bytes of memory or more.",
    )(gather)


def takes_networks(harmonizer: bool = True, matting: bool = True) -> Callable[[Command], Command]:
    """Give a command the options `--harmonizer` and `--matting`; it receives names or None."""

    def decorate(command: Command) -> Command:
        for option, used in ((_MATTING, matting), (_HARMONIZER, harmonizer)):
            command = option(command) if used else command
        return command

    return decorate


def takes_settings(kind: type[Settings]) -> Callable[[Command], Command]:
    """Give a command one option for each field of a settings class, and `--settings FILE` for all of them.

    The command receives the settings as one `settings=` argument. What stands on the command line overrides the file.
    """
    return lambda command: _SETTINGS(takes_setting_fields(kind)(command))


def takes_setting_fields(kind: type[Settings]) -> Callable[[Command], Command]:
    """Give a command one option for each field of a settings class; it receives them as one `settings=` argument."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gather(**given: object) -> int | None:
            return command(settings=kind(**{field.name: given.pop(field.name) for field in fields}), **given)

        wrapped: Command = gather
        for field in reversed(fields):
            wrapped = click.option(*_names(field), **_behaviour(field))(wrapped)  # type: ignore[arg-type]
        return wrapped

    return decorate


def read_settings_file(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    """Take the command's defaults from a settings file."""
    if file is None:
        return
    from ..recipe import read_recipe

    values = read_recipe(file)
    known = {parameter.name for parameter in ctx.command.params}
    if unused := sorted(set(values) - known):
        click.echo(f"note: {file}: {ctx.info_name} does not use {', '.join(unused)}", err=True)
    ctx.default_map = {name: value for name, value in values.items() if name in known}


_SETTINGS = click.option(
    "--settings",
    type=_FILE,
    is_eager=True,
    expose_value=False,
    callback=read_settings_file,
    help="JSON file of settings, as written by `hpbnet export`; other options override it.",
)


def _size(value: str | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Read two whole numbers written as 1920x1080, or a list of two from a settings file."""
    if not isinstance(value, str):
        return tuple(value)  # type: ignore[return-value]  # checked with the other settings
    width, cross, height = value.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{value!r} is not a size; expected WIDTHxHEIGHT such as 1920x1080")
    return int(width), int(height)


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
