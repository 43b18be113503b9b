"""Who is asking: the cookie of a visit, the token against forged requests, and how often one may ask."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, HTTPException, Request, Response
from sqlalchemy import Engine
from sqlmodel import Session

from synthoma.study.folder import Study
from synthoma.study.limits import Limit
from synthoma.study.tokens import ADMINISTRATOR, VISIT_SECONDS, Visit, csrf_token, read_cookie, write_cookie
from synthoma.study.writer import Writer

__all__ = [
    "Reader",
    "Served",
    "Server",
    "SureReader",
    "administrator",
    "check_rate",
    "forget",
    "greet",
    "served",
    "sure_reader",
]

COOKIES = {"reader": "synthoma_reader", "administrator": "synthoma_administrator"}
Result = TypeVar("Result")


@dataclass
class Served:
    """What the pages need: the study, its database, and who asked how often."""

    study: Study
    secret: str
    engine: Engine
    writer: Writer
    page: Callable[..., str]
    """``page(name, **content)``: a rendered template."""
    entries: Limit = field(default_factory=lambda: Limit(0.2, 20))
    """Wrong links, by address."""
    requests: Limit = field(default_factory=lambda: Limit(30, 150))
    """Everything, by visitor."""

    async def write(self, work: Callable[[Session], Result]) -> Result:
        """Done, and on the disk."""
        return await asyncio.wrap_future(self.writer.submit(work))

    def read(self, work: Callable[[Session], Result]) -> Result:
        """Ask the database."""
        with Session(self.engine) as session:
            return work(session)


def served(request: Request) -> Served:
    """What the application was made with."""
    state: Any = request.app.state
    found: Served = state.served
    return found


Server = Annotated[Served, Depends(served)]


def _visit(request: Request, server: Served, kind: str) -> Visit:
    cookie = request.cookies.get(COOKIES[kind], "")
    visit = read_cookie(server.secret, server.study.design.study, cookie)
    if visit is None or (visit.reader == ADMINISTRATOR) != (kind == "administrator"):
        raise HTTPException(401, "Open your link to begin.")
    if visit.reader > len(server.study.design.readers):
        raise HTTPException(401, "Open your link to begin.")
    check_rate(server.requests, f"{kind} {visit.reader}")
    return visit


def check_rate(limit: Limit, name: str) -> None:
    """Refuse who asks too often, and say when to come back."""
    seconds = limit.wait(name)
    if seconds:
        raise HTTPException(429, "Too many requests; wait a moment.", {"Retry-After": str(math.ceil(seconds))})


async def _reader(request: Request, server: Server) -> Visit:
    return _visit(request, server, "reader")


async def administrator(request: Request, server: Server) -> Visit:
    """The administrator, or a refusal."""
    return _visit(request, server, "administrator")


Reader = Annotated[Visit, Depends(_reader)]


async def sure_reader(server: Server, visit: Reader, x_csrf_token: Annotated[str, Header(max_length=200)]) -> Visit:
    """The reader whose own page sent the request, or a refusal."""
    expected = csrf_token(server.secret, visit).encode()
    if not secrets.compare_digest(expected, x_csrf_token.encode("utf-8", "surrogateescape")):
        raise HTTPException(403, "This page is no longer current; reload it.")
    return visit


SureReader = Annotated[Visit, Depends(sure_reader)]
"""A reader whose own page sent the request."""


def greet(request: Request, response: Response, server: Served, who: int) -> None:
    """Give the visitor a cookie; one who is known already stays in the same session."""
    kind = "administrator" if who == ADMINISTRATOR else "reader"
    known = read_cookie(server.secret, server.study.design.study, request.cookies.get(COOKIES[kind], ""))
    session = known.session if known is not None and known.reader == who else ""
    cookie = write_cookie(server.secret, server.study.design.study, who, session)
    secure = request.url.scheme == "https"
    response.set_cookie(
        COOKIES[kind], cookie, max_age=VISIT_SECONDS, path="/", secure=secure, httponly=True, samesite="strict"
    )


def forget(request: Request, response: Response) -> None:
    """Take the reader's cookie away."""
    secure = request.url.scheme == "https"
    response.delete_cookie(COOKIES["reader"], path="/", secure=secure, httponly=True, samesite="strict")
