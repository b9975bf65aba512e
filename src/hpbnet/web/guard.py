"""Who may talk to a server: hosts, origins, tokens; how large bodies may be; the headers that every answer has.

Plain ASGI, so that bodies are counted while they are read, and websockets are guarded as well.
"""

import asyncio
import hmac
import re
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Limits
from .metrics import Metrics
from .problems import Problem

COOKIE = "hpbnet-token"
_SAFE = ("GET", "HEAD", "OPTIONS")
_PLAIN_HOST = re.compile(r"[\w.:\[\]-]{1,260}", re.ASCII)
_OPEN = ("/health",)  # answers without a token
_PATIENCE = 60.0  # [s] without a byte after which a body is taken to be given up
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'{sockets}; "
    "script-src 'self'; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Access:
    """Who may talk to a server.

    Args:
        host: that the server listens at; one that is not of this computer alone needs a token.
        token: that a client must know; None for none.
        origins: other websites whose pages may call it, as https://example.com.

    Raises:
        ValueError: other computers could reach it without a token, or an origin is none.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or not self.token.isprintable()):
            raise ValueError("the token must have at least 8 characters, all of them printable ASCII")
        if not self.local and self.token is None:
            raise ValueError(
                f"{self.host} can be reached from other computers: give --token with a secret of at least 8 "
                "characters, or use --host 127.0.0.1"
            )
        for origin in self.origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(f"origin is {origin!r}; expected one such as https://example.com")

    @property
    def local(self) -> bool:
        """Whether only this computer can reach the server."""
        return is_local(self.host)

    def knows_host(self, host: str) -> bool:
        """Tell whether a Host header names this server; another name that leads here is DNS rebinding."""
        name = _host_name(host)
        return name is not None and (not self.local or is_local(name))

    def allows_origin(self, headers: Headers, scheme: str) -> bool:
        """Tell whether the page that sends a request may do so: it is ours, is allowed, or there is no page."""
        own = f"{scheme}://{headers.get('host', '')}"
        if origins := headers.getlist("origin"):
            return all(origin == own or origin in self.origins for origin in origins)
        return all(site in ("same-origin", "none") for site in headers.getlist("sec-fetch-site"))

    def knows_token(self, given: str | None) -> bool:
        """Tell whether a client's token is right."""
        if self.token is None:
            return True
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())


def is_local(host: str) -> bool:
    """Tell whether a host is this computer alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class Guard:
    """Lets through what may pass, answers the rest with a problem, and counts both."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, metrics: Metrics) -> None:
        self.app, self.access, self.limits, self.metrics = app, access, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request or websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started, headers, status = time.perf_counter(), Headers(scope=scope), 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), headers, scope)
            await send(message)

        try:
            self._check(scope, headers)
            if scope["type"] == "http" and (entry := self._entry(scope)) is not None:
                await entry(scope, receive, tell)
                return
            await self.app(scope, self._counted(scope, headers, receive), tell)
        except Problem as problem:
            if scope["type"] == "websocket":
                await send(
                    {"type": "websocket.close", "code": 4000 + problem.status % 1000, "reason": problem.detail[:120]}
                )
            else:
                await problem.response()(scope, receive, tell)
        finally:
            if scope["type"] == "http":
                route = getattr(scope.get("route"), "path", "other")
                self.metrics.add(scope["method"], route, status, time.perf_counter() - started)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse other hosts, other sites' pages, and clients without the token."""
        if len(headers.getlist("host")) > 1 or not self.access.knows_host(headers.get("host", "")):
            raise Problem(421, f"this server is not {headers.get('host', '')[:100]!r}; open it as http://127.0.0.1")
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        looks = scope["type"] == "http" and scope["method"] in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        if not looks and not self.access.allows_origin(headers, scheme):
            raise Problem(403, "a page of another website asked; start the server with --allow-origin to let it")
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS" and "origin" in headers
        if scope["path"] in _OPEN or preflight or _query_token(scope) is not None:
            return
        if not self.access.knows_token(_token(headers)):
            raise Problem(
                401,
                "this server needs its token: send `Authorization: Bearer TOKEN`, or open the page as /?token=TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _entry(self, scope: Scope) -> ASGIApp | None:
        """Take the token from the page's address into a cookie that only this server sees."""
        token = _query_token(scope)
        if token is None:
            return None
        if not self.access.knows_token(token):
            raise Problem(401, "this is not the server's token", headers={"WWW-Authenticate": "Bearer"})
        response = RedirectResponse("/", 303)
        if self.access.token is not None:
            secure = scope["scheme"] == "https"
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
        return response

    def _counted(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Count a body while it is read, and stop where it is too large or does not go on."""
        if scope["type"] != "http":
            return receive
        large = scope["path"].startswith(("/v1/videos", "/studio/sessions"))
        limit = self.limits.max_video_body if large else self.limits.max_body
        most, count = round(limit * 1e6), 0
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > most:
            raise _too_large(limit)

        async def counted() -> Message:
            nonlocal count
            try:
                message = await asyncio.wait_for(receive(), _PATIENCE) if count >= 0 else await receive()
            except TimeoutError:
                raise Problem(408, f"nothing of the request's body came for {_PATIENCE:g} s") from None
            if message["type"] == "http.request":
                count += len(message.get("body", b""))
                if count > most:
                    raise _too_large(limit)
                if not message.get("more_body", False):
                    count = -1  # the next message tells that the client went away, which may take long
            return message

        return counted

    def _add_headers(self, headers: MutableHeaders, asked: Headers, scope: Scope) -> None:
        host = asked.get("host", "")
        sockets = f" ws://{host} wss://{host}" if _PLAIN_HOST.fullmatch(host) else ""
        headers["Content-Security-Policy"] = _POLICY.format(sockets=sockets)
        for name, value in _HEADERS.items():
            headers[name] = value
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Cross-Origin-Resource-Policy", "cross-origin" if self.access.origins else "same-origin")


def _too_large(limit: float) -> Problem:
    return Problem(413, f"the request's body is too large; at most {limit:g} MB are accepted")


def _query_token(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
        return None
    return dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")


def _token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if cookie is None else cookie.value
