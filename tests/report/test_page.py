"""The page as a whole: self-contained, well-formed, safe, complete, honest, and there even when pieces are missing."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from synthoma.errors import CohortError, OutputError
from synthoma.records import Cohort, Measurement
from synthoma.report import ReportContent, write_report
from synthoma.report.measures import format_value
from synthoma.report.methods import methods

VOID = {"meta", "img", "input", "br", "hr", "link"}


class Page(HTMLParser):
    """Checks nesting while it reads, and collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute twice in <{tag}>"
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(str(found["id"]))
        self.links += [str(found[name]) for name in ("src", "href") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert write_report(path, content) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_loads_nothing_from_elsewhere(html: str, page: Page) -> None:
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"@import|url\(|srcset|<link|<iframe|<object|<base", html)
    assert "default-src 'none'" in html


def test_is_well_formed(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
    pictures = [found for tag, found in page.tags if tag == "img"]
    assert len(pictures) > 50
    assert all(found.get("alt") for found in pictures)
    assert all(found.get("scope") in ("row", "col") for tag, found in page.tags if tag == "th")
    assert [found["lang"] for tag, found in page.tags if tag == "html"] == ["en"]
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables == sum(tag == "caption" for tag, _ in page.tags) > 8


def test_headings_descend_one_by_one(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_measurement_is_there(content: ReportContent, page: Page) -> None:
    for m in content.measurements:
        assert format_value(m.value) in page.text
        assert m.method in page.text
    assert "Moon phase" in page.text
    assert f"one a row ({len(content.measurements)})" in page.text


def test_a_losing_gan_is_shown_as_losing(html: str, page: Page) -> None:
    row = re.search(r'<tr class="main">\s*<th scope="row">synthetic</th>(.*?)</tr>', html, re.S)
    assert row is not None
    assert "worse than unet-l1 and least squares" in row[1]
    summary = " ".join(page.text[: page.text.index("Verdicts")].split())
    assert "but worse than unet-l1 (0.626) and the least-squares fit (0.631)" in summary
    assert "✗ not supported" in page.text
    assert "✓ supported" in page.text
    assert "? cannot tell" in page.text


def test_a_winning_gan_is_not_called_losing(content: ReportContent, tmp_path: Path) -> None:
    better = [replace(m, value=0.9) if (m.name, m.arm) == ("ssim", "synthetic") else m for m in content.measurements]
    won = [m for m in better if m.name == "ssim"]
    text = write_report(tmp_path / "r.html", replace(content, measurements=won)).read_text(encoding="utf-8")
    assert "worse than" not in Page(text).text.replace("a GAN that does worse than another arm", "")


def test_warns_of_its_own_use(page: Page) -> None:
    for words in ("research only", "not anonymous", "privacy audit has not been run", "images of real patients"):
        assert words in page.text
    assert "With 6 test patients the intervals are wide." in page.text


def test_says_so_no_longer_once_the_privacy_audit_ran(content: ReportContent, tmp_path: Path) -> None:
    audit = Measurement("membership-auc", 0.52, 0.4, 0.6, 18, 6, "synthetic", "", "", "lower", "nearest distance")
    text = write_report(tmp_path / "r.html", replace(content, measurements=[audit])).read_text(encoding="utf-8")
    assert "audit has not been run" not in text


def test_names_are_text_and_never_code(real: Cohort, content: ReportContent, tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>"\'><img src=x onerror=alert(1)>$x^'
    made = content.synthetic["reconstruct"]

    def renamed(cohort: Cohort) -> Cohort:
        table = dict(cohort.table)
        for column in ("patient", "site", "label"):
            table[column] = np.array([f"{evil}{name}" for name in table[column]], dtype=object)
        return replace(cohort, table=table, notes=(evil,), unit=evil)

    measurement = Measurement(evil, 0.5, None, None, 3, 2, evil, evil, evil, "higher", evil, evil)
    ssim = Measurement("ssim", 0.5, 0.4, 0.6, 3, 2, evil, "body", "", "higher", evil, evil)
    hostile = ReportContent(
        title=evil, real=renamed(real), synthetic={"reconstruct": renamed(made), evil: made}, log=content.log,
        variants={evil: content.log}, measurements=[measurement, ssim], curves={evil: {evil: [1.0, 2.0], "a": [1, 2]}},
        warnings=[evil], verdicts=[{"claim": evil, "verdict": evil, "because": evil}],
        recipe_yaml=f"title: '{evil[:9]}'", environment={evil: evil}, definitions={evil: evil},
    )  # fmt: skip
    path = write_report(tmp_path / "r.html", hostile)
    page = Page(path.read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    assert all(str(found["src"]).startswith("data:image/") for tag, found in page.tags if tag == "img")
    assert "alert" in page.text


@pytest.mark.parametrize(
    "piece", ["synthetic", "log", "measurements", "curves", "verdicts", "recipe_yaml", "environment"]
)
def test_a_missing_piece_is_said_to_be_missing(content: ReportContent, tmp_path: Path, piece: str) -> None:
    empty = replace(content, **{piece: type(getattr(content, piece))()}, variants={})
    page = Page(write_report(tmp_path / "r.html", empty).read_text(encoding="utf-8"))
    if piece != "curves":
        assert "not available: " in page.text


def test_nothing_but_a_cohort(real: Cohort, tmp_path: Path) -> None:
    bare = replace(real, lineages={}, notes=())
    page = Page(write_report(tmp_path / "r.html", ReportContent("Bare", bare)).read_text(encoding="utf-8"))
    for what in ("no claim was tested", "no training log", "nothing was measured", "no recipe was given",
                 "no lineage is recorded", "no lesion was transplanted", "no synthetic image"):  # fmt: skip
        assert f"not available: {what}" in page.text
    assert "left no patient out" in page.text


def test_an_empty_cohort(real: Cohort, tmp_path: Path) -> None:
    empty = real.select(np.array([], dtype=np.intp))
    assert "holds no image" in write_report(tmp_path / "r.html", ReportContent("Empty", empty)).read_text()


def test_each_work_is_listed_once_and_both_texts_cite_it_by_one_number(content: ReportContent, html: str) -> None:
    (listed,) = re.findall(r'<ol class="references">(.*?)</ol>', html, re.DOTALL)
    works = re.findall(r"<li>(.*?)</li>", listed)
    assert len(works) == len(set(works))
    (ssim,) = re.findall(r"<dt>SSIM</dt><dd>.*?\[(\d+)\]\.</dd>", html)
    assert works[int(ssim) - 1].startswith("Z. Wang, A. C. Bovik")
    assert html.count("Image quality assessment: from error visibility") == 1
    (text,) = re.findall(r'<pre class="copy".*?>(.*?)</pre>', html, re.DOTALL)
    assert f"Structural similarity (SSIM) [{ssim}] was computed" in text
    (terms,) = re.findall(r'<dl class="terms">(.*?)</dl>', html, re.DOTALL)
    cited = {int(n) for group in re.findall(r" \[([\d, ]+)\]", text + terms) for n in group.split(", ")}
    assert cited == set(range(1, len(works) + 1))
    in_the_folder = methods(content).references()
    assert works[: len(in_the_folder)] == [escape(work) for work in in_the_folder]


def test_refuses_to_overwrite(real: Cohort, tmp_path: Path) -> None:
    path = write_report(tmp_path / "r.html", ReportContent("First", real))
    with pytest.raises(OutputError, match=r"r\.html: expected a new file, found one that exists"):
        write_report(path, ReportContent("Second", real))
    assert "First" in path.read_text(encoding="utf-8")
    assert "Second" in write_report(path, ReportContent("Second", real), overwrite=True).read_text(encoding="utf-8")
    with pytest.raises(OutputError, match="expected a name for a file, found a folder"):
        write_report(tmp_path, ReportContent("Folder", real), overwrite=True)


def test_images_of_another_size_are_named(content: ReportContent, tmp_path: Path) -> None:
    made = content.synthetic["reconstruct"]
    small = replace(made, images=made.images[..., ::2, ::2])
    with pytest.raises(CohortError, match=r"expected images of \(64, 64\), as the real ones, found \(32, 32\)"):
        write_report(tmp_path / "r.html", replace(content, synthetic={"reconstruct": small}))
    assert not (tmp_path / "r.html").exists()


def test_equal_content_gives_equal_bytes_but_the_date(content: ReportContent, html: str, tmp_path: Path) -> None:
    again = write_report(tmp_path / "report.html", content).read_text(encoding="utf-8")
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.sub(date, "", again) == re.sub(date, "", html)
    assert len(re.findall(date, html)) == 2


def test_stays_small(html: str) -> None:
    assert len(html.encode()) < 1_000_000  # 64² here; 256² is sixteen times the pixels and must stay below 6 MB


@pytest.mark.slow
def test_large_images_of_noise_stay_below_six_megabytes(content: ReportContent, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)

    def noisy(cohort: Cohort) -> Cohort:
        shape = (*cohort.images.shape[:2], 256, 256)
        masks = cohort.masks.repeat(4, axis=-1).repeat(4, axis=-2)
        return replace(cohort, images=rng.uniform(-1, 1, shape).astype(np.float32), masks=masks)

    large = replace(
        content, real=noisy(content.real), synthetic={name: noisy(c) for name, c in content.synthetic.items()}
    )
    assert write_report(tmp_path / "r.html", large).stat().st_size < 6_000_000


def test_importing_the_room_is_cheap() -> None:
    heavy = {"matplotlib", "jinja2", "skimage", "scipy", "PIL", "ruamel.yaml"}
    code = f"import sys, synthoma.report; print(*({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
