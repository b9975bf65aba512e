"""Settings and network names as a JSON file, which every command reads back.

{"harmonizer": "learned", "matting": "matting", "strength": 0.8, "size": [1920, 1080]}
"""

import dataclasses
import json
from pathlib import Path

from .options import ComposeOptions, HarmonizeOptions, VideoOptions
from .settings import kind_of

NETWORKS = ("harmonizer", "matting")
_MOST_BYTES = 1_000_000


def write_recipe(settings: object, **networks: str | None) -> str:
    """Return the JSON text of a settings object and of network names; values that are None are left out."""
    assert dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    values = {**networks, **dataclasses.asdict(settings)}
    return json.dumps({name: value for name, value in values.items() if value is not None}, indent=2) + "\n"


def read_recipe(path: str | Path) -> dict[str, object]:
    """Read a JSON file of settings, checked by name and kind; ranges are checked where the settings are made.

    Raises:
        ValueError: the file is not JSON object, or holds a name that no command knows.
        OSError: the file cannot be opened.
    """
    values = read_json_object(path)
    known = {
        field.name: field
        for settings in (ComposeOptions, HarmonizeOptions, VideoOptions)
        for field in dataclasses.fields(settings)
    }
    if unknown := sorted(set(values) - known.keys() - set(NETWORKS)):
        raise ValueError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join([*NETWORKS, *known])}")
    for name, value in values.items():
        kind = str if name in NETWORKS else kind_of(known[name])
        if value is None or (kind in (str, bool) and not isinstance(value, kind)) or isinstance(value, dict):
            raise ValueError(f"{path}: {name} is {value!r}; expected a value as the command line takes it")
    return values


def read_json_object(path: str | Path) -> dict[str, object]:
    """Read a small JSON object from a file, with or without a byte order mark.

    Raises:
        ValueError: the file is too large, is not JSON, or holds something else than an object.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{path} is larger than {_MOST_BYTES // 10**6} MB; expected a JSON object of settings")
    try:
        values = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}; expected a JSON object of settings")
    return values
