"""The readers' XML: every mark of the real files, and what is refused."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from synthoma.errors import ScanError
from synthoma.scans.lidc_xml import parse_reading, series_of

SERIES = "1.2.3.4"


@pytest.fixture
def xml(writers: Any) -> str:
    """Two readers: one marks a nodule with a hole, a small nodule and a non-nodule; the other nothing."""
    outlines = writers.lidc_outline(writers.lidc_line(2, 3, 8, 9), "1.5", -12.5)
    outlines += writers.lidc_outline(writers.lidc_line(5, 5, 5, 5), "1.5", -12.5, "FALSE")
    marks = writers.lidc_nodule(" Nodule 001 ", outlines, 4)
    marks += writers.lidc_nodule("0", writers.lidc_outline([(3, 4)], "1.6", 10))
    marks += writers.lidc_non_nodule("0", 7, 8, "1.7", 2.5)
    return str(writers.lidc_xml(SERIES, marks, ""))


def parse(text: str | bytes) -> Any:
    return parse_reading(text.encode() if isinstance(text, str) else text, "069.xml")


def test_marks_are_read_as_they_stand(xml):
    reading = parse(xml)
    assert (reading.series_uid, reading.sessions) == (SERIES, 2)
    nodule, small, other = reading.marks
    assert [(mark.reader, mark.name, mark.kind) for mark in reading.marks] == [
        (1, "Nodule 001", "nodule"),
        (1, "0", "small-nodule"),
        (1, "0", "non-nodule"),
    ]
    assert len(nodule.ratings) == 9
    assert (nodule.ratings["malignancy"], nodule.ratings["texture"]) == (4, 3)
    assert [outline.inclusion for outline in nodule.outlines] == [True, False]
    assert nodule.outlines[0].points.tolist() == [[1, 2], [9, 2], [9, 10], [1, 10], [1, 2]]
    assert (nodule.outlines[0].sop_uid, nodule.outlines[0].z_mm) == ("1.5", -12.5)
    assert (small.outlines[0].points.tolist(), small.ratings) == ([[3, 4]], {})
    assert (other.outlines[0].points.tolist(), other.outlines[0].z_mm) == ([[7, 8]], 2.5)


@pytest.mark.parametrize("given", ["", "0"])
def test_ratings_of_0_or_none_stand_for_no_rating(writers, given):
    """As some nodules below 3 mm have them."""
    point = writers.lidc_outline([(13, 14)], "1.6", 10)
    marks = writers.lidc_nodule("a", point, given).replace(">3<", f">{given}<")
    line = writers.lidc_nodule("b", writers.lidc_outline(writers.lidc_line(2, 3, 8, 9), "1.6", 10), given)
    small, nodule = parse(writers.lidc_xml(SERIES, marks + line)).marks
    assert (small.kind, small.ratings) == ("small-nodule", {})
    assert nodule.kind == "nodule"
    assert "malignancy" not in nodule.ratings
    assert len(nodule.ratings) == 8


def test_the_series_is_told_by_the_first_bytes(xml):
    assert series_of(xml.encode(), "x.xml") == SERIES
    start = xml.encode()[: xml.index("<readingSession>") + 5]
    assert series_of(start, "x.xml") == SERIES
    with pytest.raises(ScanError, match=r"x\.xml: expected the SeriesInstanceUid of a CT series, found none"):
        series_of(xml.encode()[: xml.index("<Series")], "x.xml")


BOMB = '<!DOCTYPE a [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{10 * f"&{a};"}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
REFUSED: dict[str, tuple[str, str, str]] = {
    "entities": ("?>", f"?>{BOMB}]>", r"which declares nothing, found a document type \(DOCTYPE\)"),
    "a DTD elsewhere": ("?>", '?><!DOCTYPE x SYSTEM "file:///etc/passwd">', "found a document type"),
    "another encoding": ("UTF-8", "nonsense", "no well-formed XML"),
    "another namespace": ("http://www.nih.gov", "http://example.org", "in the namespace 'http://example.org'"),
    "no namespace": (' xmlns="http://www.nih.gov"', "", "LidcReadMessage without a namespace"),
    "a chest film": ("LidcReadMessage", "IdriReadMessage", "IdriReadMessage, the reading of a chest film"),
    "no series": ("<SeriesInstanceUid>1.2.3.4</SeriesInstanceUid>", "", "SeriesInstanceUid of a CT series, found none"),
    "a series in words": ("1.2.3.4", "one", "SeriesInstanceUid of a CT series, found 'one'"),
}
REFUSED_WHOLE: dict[str, tuple[str, str, str]] = {
    "no session": ("readingSession", "session", "expected 4 reading sessions, found none"),
    "cut": ("</readingSession></LidcReadMessage>", "", r"complete, found no well-formed XML \(no element found"),
    "no slice": ("<imageSOP_UID>1.6</imageSOP_UID>", "", r"reader 1, mark '0': expected a slice \(imageSOP_UID\)"),
    "a slice in words": ("<imageSOP_UID>1.6<", "<imageSOP_UID>../x<", r"expected a slice .* found '\.\./x'"),
    "no height": ("-12.500000 <", "<", "mark 'Nodule 001', imageZposition: expected a position in mm, found ''"),
    "no number": ("-12.500000 <", "nan<", "imageZposition: expected a position in mm, found 'nan'"),
    "a rating of 6": ("<malignancy>4<", "<malignancy>6<", "malignancy: expected a rating from 1 to 5, found '6'"),
    "a rating of -1": ("<texture>3<", "<texture>-1<", "texture: expected a rating from 1 to 5, found '-1'"),
    "a rating in words": ("<margin>3<", "<margin>a\nb<", "margin: expected a rating from 1 to 5, found 'a b'"),
    "internalStructure 5": ("<internalStructure>3", "<internalStructure>5", "a rating from 1 to 4, found '5'"),
    "no point": ("<edgeMap><xCoord>3</xCoord><yCoord>4</yCoord></edgeMap>", "", "points in each outline, found none"),
    "half a point": ("<yCoord>8</yCoord></locus>", "</locus>", "yCoord: expected a pixel's number, found ''"),
    "half a pixel": ("<xCoord>7<", "<xCoord>7.5<", "xCoord: expected a pixel's number, found '7.5'"),
    "very far": ("<xCoord>7<", "<xCoord>70000<", "xCoord: expected at most 65535, found 70000"),
    "endless": ("<xCoord>7<", f"<xCoord>{'7' * 9999}<", "xCoord: expected a pixel's number, found '7777"),
    "maybe inside": ("FALSE", "PERHAPS", "inclusion: expected TRUE or FALSE, found 'PERHAPS'"),
    "no outline": ("roi>", "region>", "mark 'Nodule 001': expected an outline or a point, found none"),
}


@pytest.mark.parametrize("kind", [*REFUSED, *REFUSED_WHOLE])
def test_what_is_refused(xml, kind):
    old, new, message = (REFUSED | REFUSED_WHOLE)[kind]
    assert old in xml
    content = xml.replace(old, new).encode()
    begun = time.perf_counter()
    with pytest.raises(ScanError, match=message) as caught:
        parse_reading(content, "069.xml")
    assert time.perf_counter() - begun < 5
    assert str(caught.value).startswith("069.xml")
    assert len(str(caught.value).splitlines()) <= 2
    assert len(str(caught.value)) < 400
    if kind in REFUSED:
        with pytest.raises(ScanError, match=r"^069\.xml: expected"):
            series_of(content, "069.xml")
    else:
        assert series_of(content, "069.xml") == SERIES


def test_any_byte_may_be_wrong(xml, writers):
    """A reading or a ScanError, whatever is flipped, cut or doubled."""
    import numpy as np

    content = xml.encode()
    rng = np.random.default_rng(7)
    outcomes = set()
    for _ in range(300):
        bad = bytearray(content)
        at, to = sorted(rng.integers(0, len(bad), 2).tolist())
        kind = rng.integers(3)
        if kind == 0:
            for place in rng.integers(0, len(bad), 3):
                bad[place] = int(rng.integers(256))
        elif kind == 1:
            del bad[at:to]
        else:
            bad[at:at] = bad[at:to]
        for act in (lambda data: parse_reading(data, "x.xml"), lambda data: series_of(data[:4096], "x.xml")):
            try:
                outcomes.add(type(act(bytes(bad))).__name__)
            except ScanError as error:
                outcomes.add(f"refused in {min(len(str(error).splitlines()), 3)} lines")
    assert outcomes <= {"Reading", "str", "refused in 1 lines", "refused in 2 lines"}
    assert {"Reading", "str", "refused in 1 lines"} <= outcomes


def test_too_large_a_file_is_not_parsed(xml, monkeypatch):
    from synthoma.scans import lidc_xml

    monkeypatch.setattr(lidc_xml, "_LARGEST_BYTES", len(xml) - 1)
    with pytest.raises(ScanError, match=r"of at most 0 MiB, found 0 MiB"):
        parse(xml)


KINDS = {"nodule>=3mm": "nodule", "nodule<3mm": "small-nodule", "non-nodule": "non-nodule"}


@pytest.mark.parametrize("patient", ["LIDC-IDRI-0001", "LIDC-IDRI-0003"])
def test_every_mark_of_the_real_files(shared_data: Path, patient):
    """Against a table that was made from the same files by other code."""
    folder = shared_data / "lidc" / patient
    (file,) = folder.glob("*.xml")
    marks = parse(file.read_bytes()).marks
    with (shared_data / "lidc" / "outlines.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["patient"] == patient]
    assert len(marks) == len(rows) == {"LIDC-IDRI-0001": 26, "LIDC-IDRI-0003": 51}[patient]
    for mark, row in zip(marks, rows, strict=True):
        assert (str(mark.reader), mark.name, mark.kind) == (row["reader"], row["mark"], KINDS[row["kind"]])
        assert [str(mark.ratings.get(name, "")) for name in ("malignancy", "texture")] == [
            row["malignancy"],
            row["texture"],
        ]
        heights = [outline.z_mm for outline in mark.outlines]
        assert (len(heights), min(heights), max(heights)) == (
            int(row["outlines"]),
            float(row["z_min"]),
            float(row["z_max"]),
        )
        assert sum(not outline.inclusion for outline in mark.outlines) == int(row["excluded_outlines"])
