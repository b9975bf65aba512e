"""The API for programs: pictures in, a picture out."""

import base64
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ..composition import Composition, CutOut
from ..image import FORMATS
from ..image.picture import NamedBytes
from ..options import ComposeOptions, HarmonizeOptions, PersonOptions
from ..pipeline import Pipeline, run_steps
from .downloads import MEDIA_TYPES, check_format, check_quality, encode_result
from .media import shown_name
from .networks import names_in, pipeline_of
from .problems import Problem
from .requests import Form, read_form
from .results import notices_header
from .schema import request_body, settings_from, values_from_text
from .server import Server
from .workers import GoOn

Result = tuple[bytes, tuple[int, int], tuple[str, ...]]  # a file's bytes, height and width, notices
_PICTURES = (*FORMATS, "tif16")
_OUTPUT = ("format", "quality")


@dataclass(frozen=True)
class Use:
    """One way to use the pipeline: the files that it takes, those that it needs, its settings, and the work."""

    summary: str
    files: tuple[str, ...]
    needed: tuple[str, ...]
    settings: type
    work: Callable[[Pipeline, "Given", GoOn], Result]
    formats: tuple[str, ...] = _PICTURES


@dataclass(frozen=True)
class Given:
    """What a request gives."""

    files: Mapping[str, bytes]
    values: dict[str, object]  # settings by name
    format: str
    quality: int
    folder: Path  # of the request


def _compose(pipeline: Pipeline, given: Given, go_on: GoOn) -> Result:
    options = settings_from(ComposeOptions, given.values)
    portrait, background = given.files["portrait"], given.files["background"]
    steps = pipeline.steps(portrait, background, options, given.files.get("mask"), given.files.get("hint"))
    return _encoded(run_steps(steps, go_on), given, go_on)


def _harmonize(pipeline: Pipeline, given: Given, go_on: GoOn) -> Result:
    options = settings_from(HarmonizeOptions, given.values)
    return _encoded(pipeline.harmonize(given.files["composite"], given.files["mask"], options), given, go_on)


def _matte(pipeline: Pipeline, given: Given, go_on: GoOn) -> Result:
    person = settings_from(PersonOptions, given.values).person
    cut: CutOut = pipeline.matte(given.files["portrait"], given.files.get("mask"), given.files.get("hint"), person)
    go_on()
    return cut.encode(given.format, given.quality), cut.size, cut.notices


def _encoded(composition: Composition, given: Given, go_on: GoOn) -> Result:
    go_on()
    return encode_result(composition, given.format, given.quality, given.folder), composition.size, composition.notices


USES = {
    "compose": Use(
        "Put the person of a portrait into a background.",
        ("portrait", "background", "mask", "hint"),
        ("portrait", "background"),
        ComposeOptions,
        _compose,
        (*_PICTURES, "layers", "ora"),
    ),
    "matte": Use(
        "Cut the person out, with a transparent background.",
        ("portrait", "mask", "hint"),
        ("portrait",),
        PersonOptions,
        _matte,
        tuple(format for format in FORMATS if format != "jpg"),
    ),
    "harmonize": Use(
        "Match the colours of a pasted foreground to its background.",
        ("composite", "mask"),
        ("composite", "mask"),
        HarmonizeOptions,
        _harmonize,
    ),
}


def api_routes(server: Server) -> APIRouter:
    """Make the routes for programs."""
    router = APIRouter(prefix="/v1", tags=["pictures"])
    for name, use in USES.items():
        router.add_api_route(
            f"/{name}",
            _route(server, use),
            methods=["POST"],
            summary=use.summary,
            name=name,
            response_class=Response,
            responses=_RESPONSES,
            openapi_extra=request_body(use.files, use.needed, use.settings, use.formats),
        )
    return router


_ERRORS = {
    400: "The body is damaged.",
    413: "The body or a picture is too large.",
    415: "The body is neither a form nor JSON.",
    422: "A picture cannot be read, a setting is wrong, or no person is found; `detail` says which.",
    429: "Too many requests wait; try again after the seconds that Retry-After says.",
    504: "It took too long, and was stopped.",
}
_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The picture, with notices in the header X-Hpbnet-Notices (a percent-encoded JSON list); or, "
        "where Accept asks for application/json, an object with image (base64), media_type, width, height and notices.",
        "content": {"image/png": {}, "application/json": {}},
    },
    **{code: {"description": text, "content": {"application/problem+json": {}}} for code, text in _ERRORS.items()},
}


def _route(server: Server, use: Use) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        folder = server.folder.make()
        try:
            form = await read_form(request, folder, use.files)

            def work(go_on: GoOn) -> tuple[str, Result]:
                given = read_given(form, use, folder)
                if use.settings is ComposeOptions:
                    server.limits.check_result(settings_from(ComposeOptions, given.values).size)
                pipeline = pipeline_of(server.pipeline, names_in(given.values))
                return given.format, use.work(pipeline, given, go_on)

            format, (data, size, notices) = await server.workers.run(work)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return _answer(request, data, MEDIA_TYPES[format], size, notices)

    return answer


def read_given(form: Form, use: Use, folder: Path) -> Given:
    """Read what a form gives for a use.

    Args:
        form: what came.
        use: what it is for.
        folder: of the request.

    Raises:
        Problem: a file is missing.
        ValueError: a value is none of what is expected.
    """
    for name in use.needed:
        if name not in form.files:
            raise Problem(422, f"{name} is missing; send {' and '.join(use.needed)} as files")
    values = {name: value for name, value in form.values.items() if name not in _OUTPUT}
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    values = {**values, **values_from_text(use.settings, texts)}
    values = {name: value for name, value in values.items() if value != ""}
    format = check_format(form.values.get("format") or "png", use.formats)
    files = {role: _bytes_of(role, path, form.names[role]) for role, path in form.files.items()}
    return Given(files, values, format, check_quality(form.values.get("quality") or 95), folder)


def _bytes_of(role: str, path: Path, name: str) -> NamedBytes:
    data = NamedBytes(path.read_bytes(), shown_name(name, role))
    if not data:
        raise Problem(422, f"{role} is empty")
    return data


def _answer(
    request: Request, data: bytes, media_type: str, size: tuple[int, int], notices: tuple[str, ...]
) -> Response:
    if "application/json" in request.headers.get("accept", ""):
        image = base64.b64encode(data).decode()
        told = {"image": image, "media_type": media_type, "width": size[1], "height": size[0], "notices": list(notices)}
        return JSONResponse(told)
    headers = {"X-Hpbnet-Notices": notices_header(notices), "X-Hpbnet-Size": f"{size[1]}x{size[0]}"}
    return Response(data, media_type=media_type, headers=headers)
