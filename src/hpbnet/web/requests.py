"""What requests hold, read within limits: JSON objects, raw files, and forms of fields and files."""

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from .problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_NAME = 200  # characters of a field's name
_MOST_JSON = 1_000_000  # [bytes] of an object of settings
_MOST_FIELDS, _MOST_FIELD = 100, 10_000  # of a form, and characters of one


@dataclass
class Form:
    """Fields as text or JSON values, and files by the paths that they were written to."""

    values: dict[str, object] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # that the client gave the files


async def read_object(request: Request) -> dict[str, object]:
    """Read a JSON object; an empty body is an empty one.

    Raises:
        Problem: another content type (415), too large (413), or no JSON object (400).
    """
    if _content_type(request) != "application/json":
        raise Problem(415, f"Content-Type is {_content_type(request) or 'missing'}; expected application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_JSON:
            raise Problem(413, f"the JSON object is larger than {_MOST_JSON // 10**6} MB")
    return parse_object(bytes(body))


def parse_object(body: bytes) -> dict[str, object]:
    """Parse a JSON object.

    Raises:
        Problem: it is none (400).
    """
    try:
        value = json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is no readable JSON: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise Problem(400, f"the body is a JSON {type(value).__name__}; expected an object")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


async def read_file(request: Request, path: Path) -> None:
    """Write a raw body to a file; nothing is left of it where that fails."""
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if path.stat().st_size == 0:
        path.unlink()
        raise Problem(400, "the body is empty; send the bytes of the file")


async def read_form(request: Request, folder: Path, files: tuple[str, ...]) -> Form:
    """Read a form, or JSON with files as base64; files are written to a folder, under names of ours.

    Args:
        request: multipart/form-data, or application/json.
        folder: where files are written.
        files: names of the parts that are files.

    Raises:
        Problem: another content type (415), a damaged body (400), or an unknown file.
    """
    kind = _content_type(request)
    if kind == "multipart/form-data":
        return await _read_multipart(request, folder, files)
    if kind == "application/json":
        return await _read_json(request, folder, files)
    raise Problem(415, f"Content-Type is {kind or 'missing'}; expected multipart/form-data or application/json")


async def _read_json(request: Request, folder: Path, files: tuple[str, ...]) -> Form:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    return await run_in_threadpool(_decode_json, bytes(body), folder, files)


def _decode_json(body: bytes, folder: Path, files: tuple[str, ...]) -> Form:
    values = parse_object(body)
    form = Form({name: value for name, value in values.items() if name not in files})
    for name in files:
        if values.get(name) is None:
            continue
        try:
            text = str(values[name])
            data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(400, f"{name} is no base64; expected the bytes of a file as base64") from None
        form.files[name], form.names[name] = folder / name, name
        form.files[name].write_bytes(data)
    return form


async def _read_multipart(request: Request, folder: Path, files: tuple[str, ...]) -> Form:
    boundary = parse_options_header(request.headers.get("content-type", ""))[1].get(b"boundary")
    if not boundary:
        raise Problem(400, "the form's Content-Type names no boundary")
    parts = _Parts(folder, files)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for chunk in request.stream():
            await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except (FormParserError, ValueError, LookupError) as error:
        raise Problem(400, f"the form is damaged: {' '.join(str(error).split())[:200]}") from None
    finally:
        parts.close()
    if not parts.ended:
        raise Problem(400, "the form is damaged: it ends before its last boundary")
    return parts.form


class _Parts:
    """Takes the parts of a form as they come: fields into memory, files into a folder."""

    def __init__(self, folder: Path, files: tuple[str, ...]) -> None:
        self.form, self.ended = Form(), False
        self._folder, self._files = folder, files
        self._header: list[bytes] = [b"", b""]  # name and value of the one that is being read
        self._disposition = b""
        self._name = ""
        self._text = bytearray()
        self._file: IO[bytes] | None = None

    def callbacks(self) -> "MultipartCallbacks":
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": lambda data, start, end: self._add(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Close a file that is still open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._header, self._disposition, self._text = [b"", b""], b"", bytearray()

    def _add_header(self, part: int, data: bytes) -> None:
        self._header[part] += data

    def _end_header(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = [b"", b""]

    def _open(self) -> None:
        _, given = parse_options_header(self._disposition)
        if b"name" not in given:
            raise Problem(400, "the form is damaged: a part has no name")
        self._name = given[b"name"].decode("utf-8", "replace")[:_MOST_NAME]
        if self._name in self.form.files or self._name in self.form.values:
            raise Problem(400, f"the form gives {self._name} twice")
        if self._name in self._files:
            self.form.files[self._name] = self._folder / self._name
            self.form.names[self._name] = given.get(b"filename", b"").decode("utf-8", "replace")
            self._file = self.form.files[self._name].open("wb")
        elif b"filename" in given:
            raise Problem(422, f"unknown file {self._name!r}; expected {', '.join(self._files)}")
        elif len(self.form.values) >= _MOST_FIELDS:
            raise Problem(413, f"the form has more than {_MOST_FIELDS} fields")

    def _add(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            return
        self._text += data
        if len(self._text) > _MOST_FIELD:
            raise Problem(413, f"the field {self._name} is longer than {_MOST_FIELD} characters")

    def _end_part(self) -> None:
        if self._file is None:
            self.form.values[self._name] = self._text.decode("utf-8", "replace")
        self.close()

    def _end(self) -> None:
        self.ended = True


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
