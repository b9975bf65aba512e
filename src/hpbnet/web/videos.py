"""Videos over HTTP: a request begins a job, which is asked for, fetched and cancelled by its name."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from ..options import ComposeOptions, VideoOptions
from ..pipeline import Pipeline
from ..video.run import Progress
from .jobs import Job
from .media import Medium, Role, inspect
from .networks import Names, names_in, pipeline_of
from .problems import Problem
from .requests import read_form, read_object
from .schema import request_body, settings_from, values_from_text
from .server import Server

_FILES: tuple[Role, ...] = ("portrait", "background", "mask")
_SUFFIXES = {"vp9": ".webm", "prores": ".mov"}  # of containers by codec; else .mp4
_MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime"}


def video_routes(server: Server) -> APIRouter:
    """Make the routes of videos."""
    router = APIRouter(tags=["videos"])
    described = request_body(_FILES, ("portrait", "background"), VideoOptions)

    @router.post("/v1/videos", status_code=202, openapi_extra=described)
    async def begin(request: Request) -> Response:
        """Put the person of a clip or picture into a clip or picture -> a job that makes the video."""
        server.jobs.check_room()
        folder = server.jobs.new_folder()
        try:
            form = await read_form(request, folder, _FILES)
            for name in ("portrait", "background"):
                if name not in form.files:
                    raise Problem(422, f"{name} is missing; send portrait and background as files")
            texts = {name: value for name, value in form.values.items() if isinstance(value, str)}
            values = {**form.values, **values_from_text(VideoOptions, texts)}

            def look(go_on: Callable[[], None]) -> dict[Role, Medium]:
                return {
                    role: inspect(form.files[role], form.names[role], role, server.limits)[0]
                    for role in _FILES
                    if role in form.files
                }

            media = await server.workers.run(look)
            job = begin_video(server, folder, media, {name: each for name, each in values.items() if each != ""})
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _accepted(server, job)

    @router.get("/v1/videos/{id}")
    async def describe(id: str) -> dict[str, object]:
        """Tell how far a job is: seconds of video done and in all, and the time left [s]."""
        return server.jobs.describe(server.jobs.get(id))

    @router.get("/v1/videos/{id}/result")
    async def result(id: str) -> Response:
        """Return the video of a job that is done."""
        job = server.jobs.get(id)
        if job.state != "done":
            raise Problem(409, job.error or f"the video is {job.state}; ask for /v1/videos/{id} until it is done")
        return FileResponse(
            job.result, media_type=_MEDIA_TYPES[job.result.suffix], filename=f"hpbnet-result{job.result.suffix}"
        )

    @router.delete("/v1/videos/{id}", status_code=204)
    async def cancel(id: str) -> None:
        """Stop a job and remove its files."""
        server.jobs.end(server.jobs.get(id))

    @router.post("/studio/sessions/{id}/video", status_code=202, tags=["studio"])
    async def begin_of_session(id: str, request: Request) -> Response:
        """Make a video of what a session holds -> a job. Body: {"settings": {...}}."""
        session, body = server.sessions.get(id), await read_object(request)
        settings = body.get("settings") or {}
        if not isinstance(settings, dict):
            raise Problem(422, f"settings is a {type(settings).__name__}; expected an object")
        server.jobs.check_room()
        folder = server.jobs.new_folder()
        try:
            async with session.lock:
                held = {role: session.need(role) for role in _FILES if role != "mask" or role in session.held}
                copies = await server.workers.run(lambda go_on: _copied(held, folder))
            job = begin_video(server, folder, copies, settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        session.jobs.append(job.id)
        return _accepted(server, job)

    return router


def begin_video(server: Server, folder: Path, media: dict[Role, Medium], values: dict[str, object]) -> Job:
    """Begin a job.

    Raises:
        ValueError: a setting is wrong, or there is no video among the files.
        Problem: too many wait.
    """
    names = names_in(values)
    options = settings_from(VideoOptions, values, (ComposeOptions,))
    server.limits.check_result(options.size)
    if not any(media[role].kind == "video" for role in ("portrait", "background")):
        raise ValueError("the portrait and the background are both pictures; for a video one of them must be a clip")
    suffix = _SUFFIXES.get(options.codec or "", ".mp4")
    return server.jobs.add(folder, suffix, partial(_make, server.pipeline, names, media, options))


def _make(
    pipeline: Pipeline,
    names: Names,
    media: dict[Role, Medium],
    options: VideoOptions,
    result: Path,
    progress: Progress,
) -> tuple[str, ...]:
    mask = media.get("mask")
    try:
        report = pipeline_of(pipeline, names).video(
            _source(media["portrait"]),
            _source(media["background"]),
            result,
            options,
            mask=None if mask is None else _source(mask),
            progress=progress,
        )
    except ValueError as error:
        raise ValueError(_with_names(str(error), media)) from None
    return tuple(_with_names(notice, media) for notice in report.notices)


def _with_names(sentence: str, media: dict[Role, Medium]) -> str:
    """Put the user's names for files in place of ours."""
    for medium in media.values():
        sentence = sentence.replace(str(medium.path), medium.name)
    return sentence


def _source(medium: Medium) -> Path | bytes:
    return medium.path if medium.kind == "video" else medium.path.read_bytes()


def _copied(media: dict[Role, Medium], folder: Path) -> dict[Role, Medium]:
    """Link or copy a session's files, so that the job keeps them when the session changes."""
    copies: dict[Role, Medium] = {}
    for role, medium in media.items():
        path = folder / role
        try:
            path.hardlink_to(medium.path)
        except OSError:
            shutil.copyfile(medium.path, path)
        copies[role] = Medium(
            path, medium.name, medium.kind, medium.width, medium.height, medium.notices, medium.seconds
        )
    return copies


def _accepted(server: Server, job: Job) -> Response:
    headers = {"Location": f"/v1/videos/{job.id}"}
    return JSONResponse(server.jobs.describe(job), 202, headers)
