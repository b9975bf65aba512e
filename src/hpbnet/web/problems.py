"""Errors as `application/problem+json` [RFC 9457]: a status, a title and one sentence that says what to do."""

import logging
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import describe

_TITLES = {
    400: "Bad request",
    401: "Token missing or wrong",
    403: "Not allowed from here",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Conflict",
    413: "Too large",
    415: "Wrong content type",
    421: "Unknown host",
    422: "Cannot be done",
    429: "Too busy",
    500: "Server error",
    503: "Not available",
    504: "Too slow",
    507: "Disk full",
}
_LARGE = "million pixels are refused"  # what pictures and frames of too many pixels are told
_log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        detail: one sentence: what was given, what is expected, or what to do.
        kind: a short name that programs can test, instead of the status alone.
        headers: to send along.
    """

    def __init__(
        self, status: int, detail: str, kind: str = "about:blank", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind, self.headers = status, detail, kind, dict(headers or {})

    def response(self) -> JSONResponse:
        """Return the answer."""
        title = _TITLES.get(self.status, "Error")
        content = {"type": self.kind, "title": title, "status": self.status, "detail": self.detail}
        return JSONResponse(content, self.status, self.headers, "application/problem+json")


def to_problem(error: Exception) -> Problem:
    """Turn any error into the problem that is told: a user's mistake in its own words, a fault of ours without."""
    if isinstance(error, Problem):
        return error
    for kind, make in _KINDS:
        if isinstance(error, kind):
            return make(error)
    _log.error("a request failed", exc_info=error)
    return Problem(500, "something went wrong in the server; its log says what")


def _of_framework(error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, str(error.detail), headers=error.headers)


def _of_parameter(error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return Problem(422, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")


def _of_file(error: Exception) -> Problem:
    _log.warning("a file cannot be read or written", exc_info=error)
    reason = describe(error) if not isinstance(error, OSError) else error.strerror or "unknown reason"
    return Problem(507, f"a temporary file cannot be written or read: {reason}")


_KINDS: tuple[tuple[type[Exception], Callable[[Exception], Problem]], ...] = (
    (HTTPException, _of_framework),
    (RequestValidationError, _of_parameter),
    (MemoryError, lambda _: Problem(503, "the pictures do not fit into the memory; give smaller ones")),
    (ClientDisconnect, lambda _: Problem(400, "the client went away before its request was complete")),
    (ValueError, lambda error: Problem(413 if _LARGE in str(error) else 422, describe(error))),
    (FileNotFoundError, lambda _: Problem(404, "what this needs is not there any more; the session may have ended")),
    (OSError, _of_file),
)


async def _answer(_: Request, error: Exception) -> JSONResponse:
    return to_problem(error).response()


def add_problems(app: FastAPI) -> None:
    """Have an app answer every error as a problem."""
    kinds: list[type[Exception]] = [Problem, *(kind for kind, _ in _KINDS), Exception]
    for kind in kinds:
        app.add_exception_handler(kind, _answer)
