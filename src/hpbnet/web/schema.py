"""Settings as JSON Schema, and back: the page's controls, the API's documentation and its checks are one list."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Literal, TypeVar, cast, get_args, get_origin

from ..options import ComposeOptions, HarmonizeOptions, LiveOptions, PersonOptions, VideoOptions
from ..recipe import NETWORKS
from ..settings import changed, check_names, kind_of

Settings = TypeVar("Settings")
DOORS: dict[str, type] = {
    "picture": ComposeOptions,
    "harmonize": HarmonizeOptions,
    "matte": PersonOptions,
    "video": VideoOptions,
    "live": LiveOptions,
}
_FILES = {
    "portrait": "The person: a photo, or a cut-out with transparency; for a video also a clip.",
    "background": "What the person is put into; for a video also a clip.",
    "composite": "A picture with a pasted foreground.",
    "mask": "White where the person or the foreground is, of the same size.",
    "hint": "Strokes or a rough mask for the matting: white is kept, black removed, grey or transparent unknown.",
}
_TYPES = {float: "number", int: "integer", bool: "boolean", str: "string"}


def schema_of(settings: type) -> dict[str, object]:
    """Return the JSON Schema of a settings class, its fields in their order."""
    assert dataclasses.is_dataclass(settings)
    properties = {field.name: _property(field) for field in dataclasses.fields(settings)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(field: "dataclasses.Field[object]") -> dict[str, object]:
    kind, bounds = kind_of(field), field.metadata["range"]
    limits = {"minimum": bounds[0], "maximum": bounds[1]} if bounds else {}
    described: dict[str, object] = {"title": field.name.replace("_", " ").capitalize()}
    described["description"] = field.metadata["help"]
    if get_origin(kind) is Literal:
        described |= _type("string", field.default) | {"enum": [*get_args(kind), *_null(field.default)]}
    elif get_origin(kind) is tuple:
        items = get_args(kind)
        described |= _type("array", field.default)
        described |= {"items": {"type": _TYPES[items[0]], **limits}, "minItems": len(items), "maxItems": len(items)}
    else:
        described |= _type(_TYPES[cast(type, kind)], field.default) | limits
    return described | {"default": field.default}


def _type(name: str, default: object) -> dict[str, object]:
    return {"type": [name, "null"] if default is None else name}


def _null(default: object) -> list[None]:
    return [None] if default is None else []


def known_names(*settings: type) -> list[str]:
    """Return the names of the networks and of the settings' fields."""
    fields = [field.name for kind in settings for field in dataclasses.fields(kind)]
    return [*NETWORKS, *dict.fromkeys(fields)]


def settings_from(kind: type[Settings], values: Mapping[str, object], also: tuple[type, ...] = ()) -> Settings:
    """Make settings of JSON values by name.

    Args:
        kind: the class that is made.
        values: what the client sent; names of networks are left out here.
        also: classes whose fields may be among the values, and are left out.

    Raises:
        ValueError: a name is unknown, or a value not allowed.
    """
    own = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    others = {*known_names(*also)} - own
    rest = {name: value for name, value in values.items() if name not in others}
    check_names(kind, rest, "setting")
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: _plain(value) for name, value in rest.items() if value is not None or defaults[name] is None}
    return changed(kind, None, given)


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def values_from_text(kind: type, texts: Mapping[str, str]) -> dict[str, object]:
    """Read the values of a form's fields: numbers, `true` and `false`, sizes as 1920x1080, all as text.

    Raises:
        ValueError: a text is none of what its setting takes.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    return {
        name: _value(fields[name], text.strip()) if name in fields else text
        for name, text in texts.items()
        if text.strip()
    }


def _value(field: "dataclasses.Field[object]", text: str) -> object:
    kind = kind_of(field)
    if get_origin(kind) is tuple:
        parts = text.lower().split("x") if "x" in text.lower() else text.strip("[]() ").split(",")
        if not all(part.strip().isdecimal() and len(part) < 10 for part in parts):
            raise ValueError(f"{field.name} is {text[:60]!r}; expected WIDTHxHEIGHT such as 1920x1080")
        return tuple(int(part) for part in parts)
    if kind is str or get_origin(kind) is Literal:
        return text
    try:
        value: object = json.loads(text.lower() if kind is bool else text)
    except (ValueError, RecursionError):
        return text[:60]  # the check of the settings says what is expected
    return value


def request_body(
    files: tuple[str, ...], needed: tuple[str, ...], settings: type, formats: tuple[str, ...] = ()
) -> dict[str, object]:
    """Describe a request for OpenAPI: files and settings as a form, or as JSON with the files as base64."""
    values = cast(dict[str, object], schema_of(settings)["properties"])
    output: dict[str, object] = {}
    if formats:
        output["format"] = {"type": "string", "enum": list(formats), "default": "png", "description": "Of the answer."}
        quality = {"type": "integer", "minimum": 1, "maximum": 100, "default": 95}
        output["quality"] = quality | {"description": "Of jpg, webp and avif."}
    names = {name: {"type": "string", "description": f"Name of the {name} network."} for name in NETWORKS}
    content = {}
    for kind, extra in (
        ("multipart/form-data", {"format": "binary"}),
        ("application/json", {"contentEncoding": "base64"}),
    ):
        parts = {name: {"type": "string", "description": _FILES[name], **extra} for name in files}
        schema = {"type": "object", "required": list(needed), "properties": {**parts, **output, **names, **values}}
        content[kind] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}
