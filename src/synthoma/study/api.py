"""What the pages' scripts ask for: a visit, an image, an answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from synthoma.study.answers import AnswerGiven, DraftGiven, Outcome, record, save_draft, standing
from synthoma.study.tokens import ADMINISTRATOR, read_link
from synthoma.study.visits import Reader, Server, SureReader, check_rate, forget, greet, sure_reader

__all__ = ["Invalid", "Wrong", "router"]

REFUSED = {
    Outcome.UNKNOWN: (404, "There is no such item."),
    Outcome.AHEAD: (409, "An item before this one is not answered yet."),
    Outcome.CLOSED: (409, "This was answered in an earlier session and stays as it is."),
    Outcome.OTHER: (409, "This was sent before with another answer; reload the page."),
}


class Wrong(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    """The field."""
    what: str
    """What it should be."""


class Invalid(BaseModel):
    """A request that is not valid; nothing of it is sent back."""

    detail: str
    """In a sentence."""
    errors: list[Wrong]
    """The first of what is wrong."""


MEANINGS = {
    401: "no visit", 403: "not from our page, or no valid link", 404: "not yours", 409: "not now", 413: "too large",
    421: "another host", 429: "too often", 503: "not stored; try again",
}  # fmt: skip


def _documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    described: dict[int | str, dict[str, Any]] = {
        code: {"description": MEANINGS[code]} for code in (*codes, 413, 421, 429)
    }
    described[422] = {"model": Invalid, "description": "not valid"}
    return described


router = APIRouter(prefix="/api")


class LinkGiven(BaseModel):
    """What a private link carries after its #."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(min_length=1, max_length=300)
    """The signed token."""


class Welcome(BaseModel):
    """Where to go from here."""

    next: str
    """A path."""


@router.post("/visit", responses=_documented(403))
async def enter(given: LinkGiven, request: Request, response: Response, server: Server) -> Welcome:
    """Exchange a private link for a cookie."""
    who = read_link(server.secret, server.study.design.study, given.token)
    if who is None or who > len(server.study.design.readers):
        check_rate(server.entries, request.client.host if request.client else "?")
        raise HTTPException(403, "This link is not valid. Ask for it again; it may have been cut off.")
    greet(request, response, server, who)
    return Welcome(next="/admin" if who == ADMINISTRATOR else "/")


@router.delete("/visit", status_code=204, responses=_documented(401, 403), dependencies=[Depends(sure_reader)])
async def leave(request: Request, response: Response) -> None:
    """End a visit on this machine."""
    forget(request, response)


@router.post("/answers", responses=_documented(401, 403, 404, 409, 503))
async def answer(given: AnswerGiven, visit: SureReader, server: Server) -> Welcome:
    """Store an answer, or a change of one. When this is answered, it is on the disk."""
    outcome = await server.write(lambda session: record(session, server.study, visit, given))
    if outcome in REFUSED:
        raise HTTPException(*REFUSED[outcome])
    place = server.study.places[visit.reader - 1][given.item] + 1
    last = place == len(server.study.order(visit.reader))
    return Welcome(next="/done" if last else f"/item/{place + 1}")


@router.post("/drafts", status_code=204, responses=_documented(401, 403, 404, 409, 503))
async def draft(given: DraftGiven, visit: SureReader, server: Server) -> None:
    """Keep what is entered so far, for another machine."""
    outcome = await server.write(lambda session: save_draft(session, server.study, visit, given))
    if outcome in REFUSED:
        raise HTTPException(*REFUSED[outcome])


@router.get("/image/{item}", responses=_documented(401, 404) | {200: {"content": {"application/octet-stream": {}}}})
def image(item: str, visit: Reader, server: Server) -> Response:
    """The values of an image that the reader has reached: int16, little-endian, (z, y, x)."""
    place = server.study.places[visit.reader - 1].get(item)
    reached = server.read(lambda session: standing(session, server.study, visit.reader)).next_place
    if place is None or place > reached:
        raise HTTPException(404, "There is no such item.")
    return Response(
        server.study.image(server.study.order(visit.reader)[place].image), media_type="application/octet-stream"
    )
