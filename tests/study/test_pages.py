"""Who may see and do what: links, visits, items, answers, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import secrets

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from synthoma.study.database import Answer
from synthoma.study.guards import LARGEST_BODY
from synthoma.study.tokens import links_text

HOSTILE = "</script><script>alert(1)</script>\"'; DROP TABLE synthoma_answer; -- {{7*7}} \x00\u202e"


@pytest.fixture
def stored(app):
    """``stored()`` → the rows of the answers' table."""

    def rows():
        with Session(app[0].state.served.engine) as session:
            return session.exec(select(Answer).order_by(Answer.id)).all()

    return rows


@pytest.fixture
def stranger(app):
    """A browser without a visit."""
    return TestClient(app[0], base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_a_link_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(visit):
    reader = visit(1)
    assert reader.entered.json() == {"next": "/"}
    cookie = reader.entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # plain http on this machine
    assert visit(0).entered.json() == {"next": "/admin"}


def test_behind_tls_the_cookie_is_for_tls_only(app):
    study = app[1]
    client = TestClient(app[0], base_url="https://127.0.0.1")
    token = links_text(study.secret(), study.design.study, 1, "").split("#")[1].split("\n")[0]
    answer = client.post("/api/visit", json={"token": token})
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize("token", ["x", "a.b", "WyJ4IiwxXQ.aaaa", "%00", "ü" * 200])
def test_a_wrong_link_is_refused(stranger, token):
    answer = stranger.post("/api/visit", json={"token": token})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert stranger.get("/").status_code == 401


def test_a_link_of_another_study_is_refused(visit, stranger, create):
    other = create(name="other.study")
    token = links_text(other.secret(), other.design.study, 1, "").split("#")[1].split("\n")[0]
    assert stranger.post("/api/visit", json={"token": token}).status_code == 403


def test_guessing_links_is_slowed_down(stranger, visit):
    codes = [stranger.post("/api/visit", json={"token": f"guess-{i}"}).status_code for i in range(30)]
    assert codes[:20] == [403] * 20
    assert codes[-1] == 429
    answer = stranger.post("/api/visit", json={"token": "guess"})
    assert int(answer.headers["retry-after"]) >= 1
    assert visit(1).entered.status_code == 200  # who has a link gets in all the same


def test_asking_too_often_is_slowed_down(visit, app):
    app[0].state.served.requests.clock = lambda: 0.0  # however long this takes
    reader = visit(1)
    codes = {reader.client.get("/").status_code for _ in range(250)}
    assert codes == {200, 429}
    assert visit(2).client.get("/").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/item/1", "/done", "/admin", "/admin/answers.csv", "/api/image/0123456789abcdef"]
)
def test_without_a_visit_there_is_nothing_to_see(stranger, path):
    answer = stranger.get(path, follow_redirects=False)
    assert answer.status_code == 401
    assert len(answer.content) < 2000


def test_readers_are_no_administrators_nor_the_other_way_round(visit):
    reader, administrator = visit(1), visit(0)
    assert reader.client.get("/admin").status_code == 401
    assert reader.client.get("/admin/answers.csv").status_code == 401
    assert administrator.client.get("/admin").status_code == 200
    assert administrator.client.get("/").status_code == 401
    reader.client.cookies.set("synthoma_administrator", reader.client.cookies["synthoma_reader"])
    assert reader.client.get("/admin").status_code == 401
    assert reader.client.get("/openapi.json").status_code == 404
    assert reader.client.get("/docs").status_code == 404


def test_a_study_from_begin_to_end(visit, stored):
    reader = visit(1)
    assert "Begin" in reader.client.get("/").text
    for place in range(len(reader.order)):
        page = reader.client.get(f"/item/{place + 1}")
        assert page.status_code == 200
        image = reader.client.get(f"/api/image/{reader.order[place].id}")
        assert len(image.content) == 2 * 24 * 24
        given = reader.answer(place, call="synthetic" if place % 2 else "real")
        last = place + 1 == len(reader.order)
        assert given.json() == {"next": "/done" if last else f"/item/{place + 2}"}
    assert "Thank you" in reader.client.get("/done").text
    assert "Thank you" in reader.client.get("/").text
    assert [row.presentation for row in stored()] == [one.id for one in reader.order]


def test_the_server_never_needs_the_key(app, visit):
    (app[1].path / "key.json").unlink()
    reader = visit(1)
    assert reader.client.get("/item/1").status_code == 200
    assert reader.client.get(f"/api/image/{reader.order[0].id}").status_code == 200
    assert reader.answer(0).status_code == 200
    assert visit(0).client.get("/admin/answers.csv").status_code == 200


def test_nobody_jumps_ahead(visit):
    reader = visit(1)
    answer = reader.client.get("/item/5", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/item/1")
    assert reader.client.get("/done", follow_redirects=False).headers["location"] == "/"
    assert reader.client.get(f"/api/image/{reader.order[1].id}").status_code == 404
    assert reader.answer(1).status_code == 409
    assert reader.answer(0).status_code == 200
    assert reader.client.get(f"/api/image/{reader.order[1].id}").status_code == 200


def test_items_of_another_reader_do_not_exist(visit, stored):
    one, two = visit(1), visit(2)
    other = two.order[0].id
    assert two.client.get(f"/api/image/{other}").status_code == 200
    missing, foreign = (one.client.get(f"/api/image/{name}") for name in ("0123456789abcdef", other))
    assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content) == (404, missing.content)
    assert one.answer(0, item=other).status_code == 404
    draft = {"item": other, "edits": 1, "seconds": 1, "note": "x"}
    assert one.client.post("/api/drafts", json=draft, headers=one.headers).status_code == 404
    assert stored() == []


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/%2e%2e/secret", "/static//etc/passwd",
        "/api/image/..%2f..%2fsecret", "/api/image/../../secret", "/api/image/%00", "/item/../../key.json",
        "/item/1e9", "/item/-1", "/item/99999999999999999999999", "/images/x.raw", "/key.json", "/study.json",
    ],
)  # fmt: skip
def test_no_path_leads_out(visit, path):
    answer = visit(1).client.get(path)
    assert answer.status_code == 404
    assert b"import" not in answer.content


def test_a_change_is_a_new_row_and_the_first_stays(visit, stored):
    reader = visit(1)
    reader.answer(0, realism=2)
    reader.answer(0, realism=5, note="on second thoughts")
    assert [(row.realism, row.note) for row in stored()] == [(2, ""), (5, "on second thoughts")]
    page = reader.client.get("/item/1").text
    assert "on second thoughts" in page
    assert '"realism": 5' in page


def test_an_earlier_session_stays_as_it_is(visit, stored):
    morning = visit(1)
    morning.answer(0, realism=2)
    evening = visit(1)
    assert "Answered in an earlier session" in evening.client.get("/item/1").text
    refused = evening.answer(0, realism=5)
    assert refused.status_code == 409
    assert "earlier session" in refused.json()["detail"]
    assert evening.answer(1).status_code == 200
    assert len(stored()) == 2


def test_opening_the_link_again_stays_in_the_session(app, visit):
    study, reader = app[1], visit(1)
    reader.answer(0)
    token = links_text(study.secret(), study.design.study, 1, "").split("#")[1].split("\n")[0]
    assert reader.client.post("/api/visit", json={"token": token}).status_code == 200
    assert reader.answer(0, realism=1).status_code == 200


def test_an_answer_sent_again_is_stored_once(visit, stored):
    reader = visit(1)
    key = secrets.token_hex(16)
    first, again = reader.answer(0, key=key), reader.answer(0, key=key, seconds=9.0)
    assert first.json() == again.json() == {"next": "/item/2"}
    assert len(stored()) == 1
    assert reader.answer(0, key=key, realism=1).status_code == 409
    assert visit(2).answer(0, key=key).status_code == 200  # keys of two readers have nothing to do with each other


def test_leaving_takes_the_cookie_away(visit):
    reader = visit(1)
    assert reader.client.delete("/api/visit", headers=reader.headers).status_code == 204
    assert reader.client.get("/").status_code == 401


@pytest.mark.parametrize("headers", [{}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": "ü".encode()}])
def test_a_forged_request_is_refused(visit, stored, headers):
    reader = visit(1)
    reader.headers = headers
    assert reader.answer(0).status_code in (403, 422)
    assert reader.client.delete("/api/visit", headers=headers).status_code in (403, 422)
    assert stored() == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Origin": "http://127.0.0.1"}, 200),
        ({"Host": "evil.example"}, 421), ({"Host": "127.0.0.1.evil.example"}, 421), ({"Host": ""}, 421),
        ({"Host": "user@127.0.0.1"}, 421),
    ],
)  # fmt: skip
def test_other_sites_and_other_names_are_refused(visit, headers, code):
    reader = visit(1)
    reader.headers |= headers
    assert reader.answer(0).status_code == code


def test_a_body_too_large_is_refused(visit, stored):
    reader = visit(1)
    assert reader.answer(0, note="x" * LARGEST_BODY).status_code == 413
    parts = (b"x" * 1000 for _ in range(1000))  # no length is declared
    answer = reader.client.post("/api/answers", content=parts, headers=reader.headers)
    assert answer.status_code == 413
    lie = reader.headers | {"Content-Length": "-5", "Content-Type": "application/json"}
    assert reader.client.post("/api/answers", content=b"{}", headers=lie).status_code == 413
    assert stored() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"realism": 0}, {"realism": 6}, {"realism": "4"}, {"realism": 4.5}, {"realism": True}, {"realism": None},
        {"lesion": 0}, {"call": "unsure"}, {"confidence": 9}, {"note": "x" * 2001}, {"note": None},
        {"seconds": -1}, {"seconds": 1e9}, {"key": "short"}, {"key": "G" * 32}, {"item": "../../../secret"},
        {"more": 1},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(visit, stored, wrong):
    answer = visit(1).answer(0, **wrong)
    assert answer.status_code in (404, 422)
    assert '"input"' not in answer.text  # nothing of what was sent comes back
    assert stored() == []


BROKEN = [
    b"", b"[]", b"nonsense", b'{"seconds": NaN}', b'{"seconds": Infinity}', b"\xff\xfe", b"[" * 20000,
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_json_is_refused(visit, body):
    reader = visit(1)
    headers = reader.headers | {"Content-Type": "application/json"}
    assert reader.client.post("/api/answers", content=body, headers=headers).status_code in (400, 422)


def test_half_a_letter_is_refused(visit, stored):
    reader = visit(1)
    fields = json.loads(reader.answer(0).request.content)
    body = json.dumps(fields | {"key": secrets.token_hex(16), "note": "\ud800"}).encode()  # escaped, as JSON allows
    headers = reader.headers | {"Content-Type": "application/json"}
    assert reader.client.post("/api/answers", content=body, headers=headers).status_code == 422
    assert len(stored()) == 1


def test_a_hostile_note_is_a_note(visit, stored, app):
    reader = visit(1)
    assert reader.answer(0, note=HOSTILE).status_code == 200
    kept = HOSTILE.replace("\x00", "").replace("\u202e", "")
    assert stored()[0].note == kept
    page = reader.client.get("/item/1").text
    assert "<script>alert" not in page
    assert "{{7*7}}" in page  # nothing evaluated it
    assert "alert(1)" not in visit(0).client.get("/admin").text
    rows = csv.DictReader(io.StringIO(visit(0).client.get("/admin/answers.csv").text))
    assert next(rows)["note"] == kept


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@x"])
def test_a_note_is_no_formula(visit, note):
    visit(1).answer(0, note=note)
    rows = list(csv.DictReader(io.StringIO(visit(0).client.get("/admin/answers.csv").text)))
    assert rows[0]["note"] == f"'{note}"
    assert "origin" not in rows[0]


def test_a_draft_waits_for_the_next_machine(visit):
    reader = visit(1)
    for edits in (1, 2):
        draft = {"item": reader.order[0].id, "edits": edits, "seconds": 2.5, "realism": 3, "note": "half a thought"}
        assert reader.client.post("/api/drafts", json=draft, headers=reader.headers).status_code == 204
    page = visit(1).client.get("/item/1").text
    assert "half a thought" in page
    assert '"edits": 2' in page
    ahead = {"item": reader.order[3].id, "edits": 1, "seconds": 0}
    assert reader.client.post("/api/drafts", json=ahead, headers=reader.headers).status_code == 409


def test_every_response_has_its_guards(visit, stranger):
    for answer in (
        stranger.get("/"), stranger.get("/enter"), stranger.get("/nowhere"), visit(1).client.get("/item/1"),
        stranger.get("/static/viewer.js"), stranger.get("/", headers={"Host": "x"}),
        stranger.post("/api/visit", content=b"x" * 99999),
    ):  # fmt: skip
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy  # no third party
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert "etag" not in answer.headers
        assert "last-modified" not in answer.headers


def test_pages_have_no_inline_script_style_or_foreign_address(visit):
    reader = visit(1)
    for path in ("/", "/item/1", "/enter"):
        page = reader.client.get(path).text
        assert "style=" not in page
        assert "onclick" not in page
        assert "//" not in page.replace("<!doctype html>", "")
        for part in page.split("<script")[1:]:
            assert part.startswith((' type="module" src="/static/', ' type="application/json"'))


def test_a_database_that_fails_is_said_and_nothing_is_claimed(visit, app, monkeypatch):
    from sqlalchemy.exc import OperationalError

    from synthoma.study import api

    def fail(*_):
        raise OperationalError("x", {}, Exception("disk I/O error"))

    monkeypatch.setattr(api, "record", fail)
    answer = visit(1).answer(0)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "try again" in answer.json()["detail"]


def test_the_administrator_sees_progress_and_no_origin(visit, app):
    reader = visit(2)
    reader.answer(0)
    page = visit(0).client.get("/admin").text
    assert "1 of 12" in page
    assert "0 of 12" in page
    assert "synthetic" not in page.lower().replace("real and synthetic", "")
