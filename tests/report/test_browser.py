"""The report in a real browser: no request, no overflow on a phone, nothing cut in print."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from synthoma.report import ReportContent, write_report

pytestmark = pytest.mark.slow

A4 = 182
"""Millimetres between the margins that the page asks for."""


@pytest.fixture(scope="module")
def report(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("browser") / "report.html", content)


def opened(browser: Browser, report: Path, width: int) -> tuple[Page, list[str]]:
    """The page with everything unfolded, and what it asked the network for."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    return page, [url for url in asked if not url.startswith(("data:", report.as_uri()))]


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_asks_for_nothing_and_does_not_overflow(browser: Browser, report: Path, width: int) -> None:
    page, asked = opened(browser, report, width)
    assert asked == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider than the page scrolls within a frame of its own, and nothing else is.
    outside = page.evaluate(
        "width => [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > width + 1"
        " && !e.closest('.scroll, svg, .hidden')).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))",
        width,
    )
    assert outside == []
    page.close()


def test_is_small(report: Path) -> None:
    assert report.stat().st_size < 5_000_000


def test_no_table_is_cut_in_print(browser: Browser, report: Path, tmp_path: Path) -> None:
    width = round(A4 / 25.4 * 96)
    page, _ = opened(browser, report, width)
    page.emulate_media(media="print")
    wide = page.evaluate(
        "width => [...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > width + 1)"
        ".map(t => (t.caption ? t.caption.textContent : t.textContent).slice(0, 60))",
        width,
    )
    folded = [caption for caption in wide if caption.startswith("Every measurement")]
    assert wide == folded, "appendices that were folded are printed folded"
    page.close()
    fresh = browser.new_page()
    fresh.goto(report.as_uri())
    fresh.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    fresh.close()
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext")
    done = subprocess.run(["pdftotext", tmp_path / "report.pdf", "-"], capture_output=True, check=True)
    text = " ".join(done.stdout.decode().split())
    for last in ("Patients (images)", "Test patients", "not measured", "Software and reproducibility", "CLAIM 2024"):
        assert last in text, "the last columns and the last lines are on the paper"


@pytest.mark.parametrize("name", ["study", "paper"])
def test_the_paper_sections_are_reached_from_the_top(browser: Browser, report: Path, name: str) -> None:
    page, _ = opened(browser, report, 390)
    page.evaluate("name => { location.hash = name; }", name)
    assert page.locator(f"#{name} h2").is_visible()
    assert page.evaluate("name => Math.abs(document.getElementById(name).getBoundingClientRect().top) < 900", name)
    page.close()
