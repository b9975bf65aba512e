"""What a page has uploaded: held for a while, in a temporary folder of its own, and known by an unguessable name."""

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from torch import Tensor

from ..image import Picture
from ..image.picture import NamedBytes, Samples
from .folder import ServerFolder
from .limits import Limits
from .media import (
    Medium,
    Role,
    check_hint,
    check_mask,
    first_frame,
    inspect,
    marks_something,
    read_upload,
    strokes_at,
    strokes_of,
)
from .preview import Origin, Preview, Subject
from .problems import Problem

ROLES: tuple[Role, ...] = ("portrait", "background", "mask", "hint")
_FRESH = 4  # sessions whose previews are kept in memory; the others are computed again


@dataclass
class Session:
    """One page's pictures."""

    id: str
    folder: Path
    limits: Limits
    held: dict[Role, Medium] = field(default_factory=dict)
    versions: dict[Role, int] = field(default_factory=dict)
    preview: Preview = field(default_factory=Preview)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # one computation at a time
    newest: int = -1  # sequence number of the latest preview that was asked for
    used: float = field(default_factory=time.monotonic)
    jobs: list[str] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)

    def new_path(self, role: Role) -> Path:
        """Return where a file is to be written, under a name of ours."""
        return self.folder / f"{role}-{next(self.numbers)}"

    def take(self, role: Role, path: Path, name: str) -> Medium:
        """Look into a file that was written, and hold it.

        Raises:
            ValueError, Problem: it cannot be used; what was held before stays.
        """
        try:
            medium, picture = inspect(path, name, role, self.limits)
            self._check(role, medium, picture)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if role == "hint" and picture is not None and not marks_something(picture):
            path.unlink(missing_ok=True)
            self.drop("hint")
            return medium
        notices = list(medium.notices)
        for other in _outdated(role):
            if self.drop(other):
                notices.append(f"the {other} was removed: it belonged to what was there before")
        self.drop(role)
        self.held[role] = medium = Medium(
            path, medium.name, medium.kind, medium.width, medium.height, tuple(notices), medium.seconds
        )
        self.versions[role] = next(self.numbers)
        if picture is not None and role in ("portrait", "background"):
            self.preview.keep_reduced(role, (self.versions[role], 0.0), picture)
        return medium

    def drop(self, role: Role) -> bool:
        """Forget a file; tell whether there was one."""
        held = self.held.pop(role, None)
        self.versions[role] = next(self.numbers)
        if held is not None:
            held.path.unlink(missing_ok=True)
        return held is not None

    def need(self, role: Role) -> Medium:
        """Return a file that must be there.

        Raises:
            Problem: it is not (409).
        """
        if role not in self.held:
            raise Problem(409, f"there is no {role} yet; upload one first", "missing")
        return self.held[role]

    def subject(self, start: float = 0.0) -> Subject:
        """Return the portrait and what says where the person is.

        Args:
            start: where in a video the picture is taken [s].
        """
        mask = self.mask if "mask" in self.held else None
        hint = self.strokes if "hint" in self.held else None
        return Subject(
            self.origin("portrait", start), mask, hint, (self.versions.get("mask"), self.versions.get("hint"))
        )

    def origin(self, role: Role, start: float = 0.0) -> Origin:
        """Return a picture, or a video's frame at a time [s], as previews take it."""
        medium = self.need(role)
        moment = start if medium.kind == "video" else 0.0
        return Origin(lambda: self.picture(role, start), medium.size, (self.versions[role], moment))

    def source(self, role: Role, start: float = 0.0) -> bytes | Picture | None:
        """Return a file as the pipeline takes it; None where there is none."""
        medium = self.held.get(role)
        if medium is None:
            return None
        if medium.kind == "video":
            return self.picture(role, start)
        return NamedBytes(medium.path.read_bytes(), medium.name)

    def picture(self, role: Role, start: float = 0.0) -> Picture:
        """Decode a picture, or a video's frame at a time [s]."""
        medium = self.need(role)
        if medium.kind == "video":
            return first_frame(medium.path, start)
        return read_upload(medium.path, medium.name, self.limits)

    def mask(self) -> Tensor:
        """Decode the mask [1,1,H,W]."""
        mask = self.need("mask")
        return read_upload(mask.path, mask.name, self.limits, as_mask=True).pixels[:, :1]

    def strokes(self, size: tuple[int, int]) -> Samples:
        """Decode the hint, at a height and width -> [H,W,4]."""
        hint = self.need("hint")
        return strokes_at(strokes_of(read_upload(hint.path, hint.name, self.limits)), size)

    def _check(self, role: Role, medium: Medium, picture: Picture | None) -> None:
        if role in ("mask", "hint"):
            portrait = self.need("portrait")
            check = check_mask if role == "mask" else check_hint
            check(medium.size, portrait.size)
        if role == "hint" and "mask" in self.held:
            raise Problem(409, "a mask says where the person is; remove the mask to mend the cut-out with strokes")


class Sessions:
    """All sessions of a server."""

    def __init__(self, folder: ServerFolder, limits: Limits, end_jobs: Callable[[list[str]], None]) -> None:
        self._folder, self._limits, self._end_jobs = folder, limits, end_jobs
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def new(self) -> Session:
        """Begin a session; the one that was idle longest ends where there are too many."""
        self.expire()
        while len(self._sessions) >= self._limits.sessions:
            self.end(min(self._sessions.values(), key=lambda session: session.used).id)
        session = Session(secrets.token_urlsafe(16), self._folder.make(), self._limits)
        self._sessions[session.id] = session
        return session

    def get(self, id: str) -> Session:
        """Return a session by its name.

        Raises:
            Problem: there is none (404).
        """
        session = self._sessions.get(id)
        if session is None:
            raise Problem(404, "this session is not known here; it may have expired, or the server was restarted")
        session.used = time.monotonic()
        for other in sorted(self._sessions.values(), key=lambda each: -each.used)[_FRESH:]:
            if not other.lock.locked():
                other.preview.forget()
        return session

    def end(self, id: str) -> None:
        """End a session: stop its jobs and remove its files."""
        session = self._sessions.pop(id, None)
        if session is not None:
            self._end_jobs(session.jobs)
            session.preview = Preview()
            shutil.rmtree(session.folder, ignore_errors=True)

    def expire(self) -> None:
        """End the sessions that nobody used for long."""
        late = time.monotonic() - self._limits.idle
        for session in [*self._sessions.values()]:
            if session.used < late and not session.lock.locked():
                self.end(session.id)


def _outdated(role: Role) -> tuple[Role, ...]:
    """Tell what no longer fits once a file is there: strokes and masks belong to one portrait."""
    return {"portrait": ("mask", "hint"), "mask": ("hint",)}.get(role, ())  # type: ignore[return-value]
