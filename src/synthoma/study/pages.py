"""The pages: enter, begin, an item, the end, and the administrator's."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from synthoma.study.answers import drafted, standing
from synthoma.study.database import Answer
from synthoma.study.progress import answers_csv, progress
from synthoma.study.tokens import Visit, csrf_token
from synthoma.study.visits import Reader, Served, Server, administrator

__all__ = ["router", "wrong"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/enter")
async def enter(server: Server) -> str:
    """The script of this page takes the link's token out of the address bar and asks for a visit."""
    return server.page("enter", title=server.study.design.title)


@router.get("/")
def begin(visit: Reader, server: Server) -> str:
    """What the study is, how far the reader is, and the way on."""
    order = server.study.order(visit.reader)
    place = server.read(lambda session: standing(session, server.study, visit.reader)).next_place
    return server.page(
        "begin",
        **_common(server, visit),
        done=place,
        total=len(order),
        training=sum(shown.phase == "training" for shown in order),
        volumes=server.study.design.format.shape[0] > 1,
    )


@router.get("/item/{number}", response_model=None)
def item(number: int, visit: Reader, server: Server) -> str | Response:
    """One image and its questions; ``number`` counts from 1."""
    order = server.study.order(visit.reader)
    if not 1 <= number <= len(order):
        raise HTTPException(404, "There is no such item.")
    shown = order[number - 1]
    now = server.read(lambda session: standing(session, server.study, visit.reader))
    if number - 1 > now.next_place:
        return RedirectResponse(f"/item/{now.next_place + 1}", 303)
    given = now.answers.get(shown.id)
    draft = server.read(lambda session: drafted(session, server.study, visit.reader, shown.id))
    training = sum(one.phase == "training" for one in order)
    practice = shown.phase == "training"
    return server.page(
        "item",
        **_common(server, visit),
        practice=practice,
        place=number if practice else number - training,
        places=training if practice else len(order) - training,
        number=number,
        previous=number - 1,
        following=number + 1 if given is not None and number < len(order) else 0,
        closed=given is not None and given.session != visit.session,
        format=server.study.design.format,
        state={
            "item": shown.id,
            "format": server.study.design.format.model_dump(mode="json"),
            "given": _given(given),
            "draft": draft if given is None else None,
            "closed": given is not None and given.session != visit.session,
            "previous": f"/item/{number - 1}" if number > 1 else "",
            "following": (f"/item/{number + 1}" if number < len(order) else "/done") if given is not None else "",
        },
    )


@router.get("/done", response_model=None)
def done(visit: Reader, server: Server) -> str | Response:
    """Thanks."""
    total = len(server.study.order(visit.reader))
    if server.read(lambda session: standing(session, server.study, visit.reader)).next_place < total:
        return RedirectResponse("/", 303)
    return server.page("done", **_common(server, visit), total=total)


@router.get("/admin", dependencies=[Depends(administrator)])
def admin(server: Server) -> str:
    """How far everybody is; no origin, which the server does not know."""
    rows = server.read(lambda session: progress(session, server.study))
    return server.page("admin", title=server.study.design.title, rows=rows, study=server.study.design)


@router.get("/admin/answers.csv", dependencies=[Depends(administrator)])
def admin_answers(server: Server) -> Response:
    """Every answer so far, without origins."""
    text = server.read(lambda session: answers_csv(session, server.study))
    name = f'attachment; filename="answers-{server.study.design.study}.csv"'
    return Response(text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})


def wrong(server: Served, status: int, text: str) -> HTMLResponse:
    """A page for what went wrong."""
    return HTMLResponse(server.page("wrong", title=server.study.design.title, text=text, status=status), status)


def _common(server: Served, visit: Visit) -> dict[str, Any]:
    design = server.study.design
    return {
        "title": design.title,
        "notice": design.notice,
        "reader": visit.reader,
        "csrf": csrf_token(server.secret, visit),
    }


def _given(answer: Answer | None) -> dict[str, Any] | None:
    """An answer as the form holds it: 0 stands for no lesion."""
    if answer is None:
        return None
    fields = {name: getattr(answer, name) for name in ("realism", "anatomy", "call", "confidence", "note", "seconds")}
    return fields | {"lesion": answer.lesion or 0, "edits": 0}
