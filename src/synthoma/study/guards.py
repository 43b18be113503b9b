"""What stands before every page: the host's name, the size of bodies, and the headers of every response."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LARGEST_BODY", "Guards"]

LARGEST_BODY = 32 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[bytes, bytes] = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=(), interest-cohort=()",
    b"x-robots-tag": b"noindex, nofollow",
    b"cache-control": b"no-store",
}
LONG = b"max-age=31536000"


class Guards:
    """ASGI middleware: refuses foreign hosts (DNS rebinding), foreign origins and large bodies; adds the headers."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                extra = dict(HEADERS)
                if scope["scheme"] == "https":
                    extra[b"strict-transport-security"] = LONG
                message["headers"] = [*message["headers"], *((n, v) for n, v in extra.items() if n not in own)]
            await send(message)

        refusal = self._refusal(scope["method"], host, headers)
        body = b""
        if refusal is None and scope["method"] not in ("GET", "HEAD"):
            found = await _whole_body(receive, headers.get(b"content-length"))
            refusal = ("The request is too large.", 413) if found is None else None
            body = found or b""
        if refusal is not None:
            text, status = refusal
            await PlainTextResponse(text, status)(scope, receive, guarded)
            return
        sent = False

        async def replayed() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replayed, guarded)

    def _refusal(self, method: str, host: str, headers: Mapping[bytes, bytes]) -> tuple[str, int] | None:
        name = urlsplit(f"//{host}").hostname if _is_plain(host) else None
        if self.hosts and name not in self.hosts:
            return "This server does not go by that name.", 421
        origin = headers.get(b"origin")
        if method not in ("GET", "HEAD") and origin is not None:
            text = origin.decode("latin-1")
            if not _is_plain(text) or urlsplit(text).netloc != host:
                return "This came from another site.", 403
        return None


def _is_plain(text: str) -> bool:
    """Whether a host or origin has only the letters that such names have."""
    return bool(text) and all(letter.isascii() and (letter.isalnum() or letter in "-._:/[]") for letter in text)


async def _whole_body(receive: Receive, declared: bytes | None) -> bytes | None:
    """The body, or ``None`` when it is larger than is allowed."""
    if declared is not None and (not declared.isdigit() or int(declared) > LARGEST_BODY):
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return bytes(body)
