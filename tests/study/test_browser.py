"""The pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect
from sqlmodel import Session, select

from synthoma.study import open_key
from synthoma.study.answers import standing
from synthoma.study.blinding import fingerprint
from synthoma.study.database import Answer, open_database

pytestmark = pytest.mark.slow


RATED = ("realism", "anatomy", "lesion", "call", "confidence")


def is_complaint(said: ConsoleMessage) -> bool:
    """An error of a script or of the policy; a line that was cut is none of the page's making."""
    return said.type == "error" and "net::ERR_" not in said.text


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """``opened(link)``: a page of a new browser, where the study is open; complaints of scripts are errors."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def page_of(link: str, **settings: Any) -> Page:
        contexts.append(browser.new_context(**({"viewport": {"width": 1400, "height": 900}} | settings)))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
        page.goto(link)
        expect(page.get_by_role("heading", name="Reader study")).to_be_visible()
        page.wait_for_url(lambda url: not url.endswith("/enter"))
        return page

    yield page_of
    for context in contexts:
        context.close()
    assert complaints == []


def ready(page: Page) -> Page:
    """Wait until the image is drawn."""
    page.wait_for_selector("canvas[data-ready=yes]")
    return page


def begin(page: Page) -> Page:
    """By the keyboard alone, from the first page to the first open item."""
    page.wait_for_selector("#go:focus")
    page.keyboard.press("Enter")
    return ready(page)


def type_answer(page: Page, keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before)


def drawn(page: Page) -> np.ndarray:
    """The pixels of the canvas, (y, x), one colour."""
    url = page.evaluate("document.getElementById('image').toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("L")).astype(int)


def answers_of(study: Any, reader: int) -> list[Answer]:
    """The answers that hold, in the reader's order."""
    with Session(open_database(study.database)) as session:
        held = standing(session, study, reader).answers
        session.expunge_all()
    return [held[shown.id] for shown in study.order(reader) if shown.id in held]


def test_a_whole_study_by_keyboard(create, serve, opened):
    study = create(items=4, training=1, repeats=0.25)
    typed = ("453s2", "31" + "0" + "r5", "555s1", "24" + "0" + "r4", "111s3", "543r2")
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        assert "Practice 1" in page.inner_text("h1")
        for number, keys in enumerate(typed, start=1):
            assert page.url.endswith(f"/item/{number}")
            type_answer(ready(page), keys)
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        assert page.url.endswith("/done")
    stored = answers_of(study, 1)
    for keys, row in zip(typed, stored, strict=True):
        lesion = None if keys[2] == "0" else int(keys[2])
        call = {"r": "real", "s": "synthetic"}[keys[3]]
        assert (row.realism, row.anatomy, row.lesion, row.call, row.confidence) == (
            int(keys[0]), int(keys[1]), lesion, call, int(keys[4]),
        )  # fmt: skip
        assert 0 < row.seconds < 60


def test_the_token_leaves_the_address_bar_and_scripts_cannot_read_the_cookie(create, serve, opened):
    study = create()
    with serve(study) as server:
        page = opened(server.links["reader 1"])
        assert page.url == f"{server.base}/"
        page.go_back()
        assert server.token("reader 1") not in page.url
        page.goto(f"{server.base}/item/1")
        assert page.evaluate("document.cookie") == ""
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_a_wrong_link_is_said_and_the_right_one_may_be_pasted(create, serve, browser):
    study = create()
    with serve(study) as server:
        page = browser.new_page()
        page.goto(f"{server.base}/enter#WyJ4IiwxXQ.wrong")
        expect(page.get_by_role("status")).to_contain_text("not valid")
        page.goto(f"{server.base}/item/1")
        expect(page.locator("h1")).to_have_text("Who is there?")
        page.goto(f"{server.base}/enter")
        page.get_by_label("Your link").fill(server.links["reader 2"])
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#go")).to_be_visible()
        page.close()


def test_the_window_changes_the_pixels(create, write, tmp_path, serve, opened):
    real, synthetic = write(tmp_path, unit="HU")
    study = create(real, synthetic)
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        automatic = drawn(page)
        box = page.locator("#image").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x, y + 80, steps=4)  # a lower level: brighter
        page.mouse.up()
        brighter = drawn(page)
        assert brighter.mean() > automatic.mean() + 3
        page.mouse.down()
        page.mouse.move(x - 150, y + 80, steps=4)  # a narrower window: more black and white
        page.mouse.up()
        narrow = drawn(page)
        assert ((narrow == 0) | (narrow == 255)).mean() > ((brighter == 0) | (brighter == 255)).mean()
        page.keyboard.press("a")
        assert np.array_equal(drawn(page), automatic)
        page.keyboard.press("i")
        assert np.abs(drawn(page)[450:460, 450:460] - (255 - automatic[450:460, 450:460])).max() <= 1
        page.keyboard.press("i")
        for key, text in (("l", "W 1500  L -600"), ("t", "W 400  L 40"), ("b", "W 80  L 40")):
            page.keyboard.press(key)
            assert text in page.inner_text("#readout")
        values = np.frombuffer(study.image(study.order(1)[0].image), "<i2").reshape(24, 24)
        page.keyboard.press("l")
        shade = np.clip((values[12, 12] + 600 + 750) / 1500 * 255, 0, 255)
        side = min(box["width"], box["height"]) / 24
        here = drawn(page)[round(box["height"] / 2 + side / 2), round(box["width"] / 2 + side / 2)]
        assert abs(int(here) - shade) <= 2  # the middle of a pixel has that pixel's value
        page.keyboard.press("+")
        page.keyboard.press("Control+ArrowRight")
        assert not np.array_equal(drawn(page), automatic)
        page.keyboard.press("f")
        page.keyboard.press("a")
        assert np.array_equal(drawn(page), automatic)


def test_slices_of_a_volume(create, write, tmp_path, serve, opened):
    real, synthetic = write(tmp_path, shape=(7, 24, 24))
    study = create(real, synthetic)
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        assert "slice 4 of 7" in page.inner_text("#readout")
        middle = drawn(page)
        page.keyboard.press("ArrowUp")
        assert "slice 3 of 7" in page.inner_text("#readout")
        assert not np.array_equal(drawn(page), middle)
        page.keyboard.press("ArrowDown")
        assert np.array_equal(drawn(page), middle)
        page.mouse.move(500, 400)
        page.mouse.wheel(0, 120)
        expect(page.locator("#slice-now")).not_to_have_text("4 of 7")
        page.keyboard.press("PageDown")
        assert "slice 7 of 7" in page.inner_text("#readout")
        page.locator("#slice").fill("1")
        assert "slice 1 of 7" in page.inner_text("#readout")
        assert "slice 1 of 7" in page.locator("#image").get_attribute("aria-label")


def test_a_reload_in_the_middle_loses_nothing(create, serve, opened):
    study = create()
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        page.keyboard.press("4")
        page.keyboard.press("2")
        page.keyboard.press("n")
        page.keyboard.type("the ventricle is too wide")
        page.keyboard.press("Escape")
        page.keyboard.press("i")
        page.keyboard.press("+")
        page.wait_for_timeout(1200)
        before = drawn(page)
        page.reload()
        ready(page)
        assert page.input_value("#note") == "the ventricle is too wide"
        assert page.is_checked("[name=realism][value='4']")
        assert page.is_checked("[name=anatomy][value='2']")
        assert np.array_equal(drawn(page), before)
        type_answer(page, "3r5")
        row = answers_of(study, 1)[0]
        assert (row.realism, row.anatomy, row.lesion, row.note) == (4, 2, 3, "the ventricle is too wide")
        assert row.seconds > 1


def test_going_on_at_another_machine(create, serve, opened):
    study = create()
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        type_answer(page, "444r4")
        ready(page)
        page.keyboard.press("2")
        page.keyboard.press("n")
        page.keyboard.type("at the first machine")
        page.keyboard.press("Escape")
        page.keyboard.press("p")
        page.wait_for_selector("#leave")
        page.click("#leave")
        page.wait_for_url("**/enter")
        other = begin(opened(server.links["reader 1"]))
        assert other.url.endswith("/item/2")
        assert other.input_value("#note") == "at the first machine"
        assert other.is_checked("[name=realism][value='2']")
        other.keyboard.press("Backspace")
        other.wait_for_url("**/item/1")
        expect(other.locator(".note-closed")).to_be_visible()
        assert other.locator("[name=realism]").first.is_disabled()


def test_going_back_and_changing(create, serve, opened):
    study = create()
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        type_answer(page, "444r4")
        ready(page)
        page.keyboard.press("Backspace")
        page.wait_for_url("**/item/1")
        ready(page)
        assert page.is_checked("[name=call][value=real]")
        type_answer(page, "s")
        assert page.url.endswith("/item/2")
    with Session(open_database(study.database)) as session:
        assert session.exec(select(Answer.call).order_by(Answer.id)).all() == ["real", "synthetic"]


def test_two_readers_at_once(create, serve, opened):
    study = create(items=4, training=0, repeats=0)
    with serve(study) as server:
        pages = {reader: begin(opened(server.links[f"reader {reader}"])) for reader in (1, 2)}
        for _ in range(4):
            for reader, page in pages.items():
                type_answer(ready(page), f"{reader}{reader}{reader}r{reader}")
        for page in pages.values():
            assert page.url.endswith("/done")
    for reader in (1, 2):
        rows = answers_of(study, reader)
        assert [row.realism for row in rows] == [reader] * 4
        assert [row.presentation for row in rows] == [shown.id for shown in study.order(reader)]


def test_without_the_server_the_answer_waits(create, serve, opened):
    study = create()
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        page.context.set_offline(True)
        page.route("**/api/answers", lambda route: route.abort())
        for key in "444r4":
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.locator("#word")).to_contain_text("Trying again")
        assert page.url.endswith("/item/1")
        page.context.set_offline(False)
        page.unroute("**/api/answers")
        page.wait_for_url("**/item/2")
        assert len(answers_of(study, 1)) == 1


def test_what_is_still_open_is_said(create, serve, opened):
    study = create()
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        page.keyboard.press("4")
        page.keyboard.press("Enter")
        expect(page.locator("#word")).to_have_text("Still open: anatomy, lesion, real or synthetic, how sure.")
        assert page.url.endswith("/item/1")


def test_by_touch_on_a_phone(create, serve, opened):
    study = create()
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with serve(study) as server:
        page = opened(server.links["reader 1"], **phone)
        page.tap("#go")
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for name, value in zip(RATED, ("4", "5", "0", "synthetic", "2"), strict=True):
            target = page.locator(f".scale label:has([name={name}][value='{value}'])")
            target.scroll_into_view_if_needed()
            assert target.bounding_box()["height"] >= 44
            target.tap()
        page.tap("#send")
        page.wait_for_url("**/item/2")
        row = answers_of(study, 1)[0]
        assert (row.realism, row.anatomy, row.lesion, row.call, row.confidence) == (4, 5, None, "synthetic", 2)


def test_a_screen_reader_finds_its_way(create, serve, opened):
    """Names, roles, and the radios' own keys; the contrast of every text that is seen."""
    study = create()
    with serve(study) as server:
        page = begin(opened(server.links["reader 1"]))
        for name in ("Realism", "Anatomy", "Lesion", "Real or", "How sure"):
            group = page.get_by_role("group", name=re.compile(f"^{name}"))
            assert group.get_by_role("radio").count() in (2, 5, 6)
        expect(page.get_by_role("radio", name="1, not at all")).to_have_count(1)
        expect(page.get_by_label("Note")).to_have_count(1)
        expect(page.get_by_role("toolbar")).to_have_accessible_name("Image tools")
        page.locator("[name=realism][value='1']").focus()
        page.keyboard.press("ArrowRight")  # as radios do everywhere
        assert page.is_checked("[name=realism][value='1']") or page.is_checked("[name=realism][value='2']")
        assert page.locator("[role=status][aria-live=polite]").count() == 1
        for state in ("", "help"):
            if state:
                page.locator("#image").focus()
                page.keyboard.press("?")
                expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
            assert page.evaluate(CONTRASTS) == []


CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const ground = (el) => {
    for (; el; el = el.parentElement) {
      const colour = rgb(getComputedStyle(el).backgroundColor);
      if (colour.length < 4 || colour[3] > .9) return colour;
    }
    return [0, 0, 0];
  };
  const bad = [];
  for (const el of document.querySelectorAll('body *')) {
    const own = [...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !el.checkVisibility() || el.closest('.hidden, canvas, script')) continue;
    const [a, b] = [light(rgb(getComputedStyle(el).color)), light(ground(el))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(el.textContent.trim() + ' ' + ratio.toFixed(2));
  }
  return bad;
}"""
"""Every text that is seen against the ground behind it, as WCAG counts: those below 4.5 to 1."""


def test_nothing_that_the_browser_was_sent_tells_the_origin(create, write, tmp_path, serve, opened):
    """Every response of a whole study: sizes, headers, times and bytes, each asked for the origin."""
    real, synthetic = write(tmp_path, patients=60, shape=(32, 32))
    study = create(real, synthetic, items=48, readers=1, repeats=0, training=2)
    key = open_key(study)
    seen: list[dict[str, Any]] = []
    with serve(study) as server:
        page = opened(server.links["reader 1"])
        page.on("response", lambda answer: seen.append({"answer": answer, "page": page.url}))
        begin(page)
        for _ in study.order(1):
            type_answer(ready(page), "333r3")
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        rows: list[dict[str, Any]] = []
        everything = b""
        for one in seen:
            answer = one["answer"]
            path = answer.url.removeprefix(server.base)
            if not path.startswith(("/api/image/", "/item/")) or answer.request.method != "GET":
                continue
            headers = answer.all_headers()
            timing = answer.request.timing
            rows.append({"path": path, "headers": headers, "wait": timing["responseStart"] - timing["requestStart"]})
            if path.startswith("/api/image/"):
                rows[-1]["body"] = page.request.get(answer.url).body()
            else:
                everything += page.request.get(answer.url).body()
    order = study.order(1)
    origin = {f"/api/image/{one.id}": key.images[one.image].origin for one in order}
    origin |= {f"/item/{n}": key.images[one.image].origin for n, one in enumerate(order, start=1)}
    for word in (*(one.image for one in order), *(e.sample for e in key.images.values()), "reconstruct", "p001"):
        assert word.encode() not in everything
    for kind in ("/api/image/", "/item/"):
        some = [row for row in rows if row["path"].startswith(kind)]
        assert len(some) >= len(order)
        assert len({tuple(sorted(set(row["headers"]) - {"date"})) for row in some}) == 1
        values = {(n, v) for row in some for n, v in row["headers"].items() if n not in ("date", "content-length")}
        assert len({name for name, _ in values}) == len(values)  # each header has one value for all
        synthetic_ = np.array([origin[row["path"]] == "synthetic" for row in some])
        for what in ("size", "wait"):
            numbers = [float(row["headers"]["content-length"] if what == "size" else row["wait"]) for row in some]
            assert_no_better_than_chance(np.array(numbers), synthetic_, f"{kind} {what}")
    images = [row for row in rows if "body" in row]
    assert {row["headers"]["content-length"] for row in images} == {str(study.design.format.size)}
    synthetic_ = np.array([origin[row["path"]] == "synthetic" for row in images])
    prints = [fingerprint(np.frombuffer(row["body"], "<i2").reshape(study.design.format.shape)) for row in images]
    for name in prints[0]:
        assert_no_better_than_chance(np.array([one[name] for one in prints]), synthetic_, name)
    for bit in range(4):
        share = [((np.frombuffer(row["body"], "<i2") >> bit) & 1).mean() for row in images]
        assert_no_better_than_chance(np.array(share), synthetic_, f"bit {bit}")
    ids = [int(hashlib.sha256(row["path"].encode()).hexdigest()[:8], 16) for row in images]
    plain = [int(row["path"].rpartition("/")[2], 16) for row in images]
    for numbers in (ids, plain, range(len(images))):
        assert_no_better_than_chance(np.array(numbers, dtype=float), synthetic_, "names and places")


def assert_no_better_than_chance(numbers: np.ndarray, labels: np.ndarray, what: str) -> None:
    """The rank-sum test at one in ten thousand: it is asked some thirty times."""
    from scipy.stats import mannwhitneyu

    if len(set(numbers.tolist())) > 1:
        p = mannwhitneyu(numbers[labels], numbers[~labels]).pvalue
        assert p > 1e-4, f"{what} tells the origin (p = {p:.1e})"
