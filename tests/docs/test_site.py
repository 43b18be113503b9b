"""The site builds without a warning, asks nobody for anything, and no link in it is dead."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Of a tag what a browser loads by itself."""


def test_every_page_is_in_the_navigation_and_no_other() -> None:
    named = re.findall(r"[\w-]+\.md", NAVIGATION)
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))


def test_every_picture_has_its_command_and_is_shown() -> None:
    """A picture in the documentation is made by a script beside it, which names it."""
    made = " ".join(script.read_text(encoding="utf-8") for script in (DOCS / "images").glob("*.py"))
    shown = " ".join(page.read_text(encoding="utf-8") for page in [*DOCS.glob("*.md"), ROOT / "README.md"])
    for picture in (DOCS / "images").glob("*.png"):
        assert picture.name in made
        assert f"images/{picture.name}" in shown


class Page(HTMLParser):
    """What a page loads, where it leads, and what can be pointed at in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given[LOADED[tag]])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.places |= {given[name] for name in ("id", "name") if name in given}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not here: make docs, or pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_no_page_asks_others_for_anything(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not [one for one in page.loaded if re.match(r"(https?:)?//", one)], path.name
    for style in site.rglob("*.css"):
        fetched = re.findall(r"(?:url\(|@import\s)\s*['\"]?((?:https?:)?//[^)'\"]+)", style.read_text(encoding="utf-8"))
        assert not fetched, style.name


@pytest.mark.slow
def test_no_link_is_dead(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    assert sum(len(page.links) for page in pages.values()) > 1000
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            if re.match(r"\w+:", link) or path.name == "404.html":
                continue
            name, anchor = urldefrag(unquote(link))
            target = (path.parent / name).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].places):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead


@pytest.mark.slow
def test_the_reference_is_filled_in(pages: dict[Path, Page]) -> None:
    text = {path.name: path.read_text(encoding="utf-8") for path in pages}
    assert "gan.discriminator_width" in text["settings.html"]
    assert "frechet-distance-infinity" in text["metrics.html"]
    assert "Usage: synthoma study serve" in re.sub(r"<[^>]+>", "", text["commands.html"])
    assert "LeakError" in text["exit-codes.html"]
    assert "open_cohort" in text["python.html"]
    assert not [name for name, content in text.items() if "<!-- reference:" in content]
