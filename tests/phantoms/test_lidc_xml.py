"""Outlines along the first pixels outside, and the readers' XML that holds them."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import defusedxml.ElementTree
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from synthoma.phantoms.lidc_xml import CHARACTERISTICS, Mark, Outline, outline_hole, outline_part, reading_xml
from synthoma.seeding import generator

_NAME = "{http://www.nih.gov}"


def _blobs(seed: int) -> list[npt.NDArray[np.bool_]]:
    """Connected masks without holes, smooth and ragged, also at the edge of the image."""
    rng = generator(seed, "blobs")
    field: npt.NDArray[np.float64] = ndimage.gaussian_filter(rng.standard_normal((30, 34)), rng.uniform(0.8, 4))
    parts, count = ndimage.label(field > np.quantile(field, 0.8))
    return [ndimage.binary_fill_holes(parts == number) for number in range(1, count + 1)]


def _draw(points: tuple[tuple[int, int], ...], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The line in an image with a margin of 3 pixels."""
    line = np.zeros((shape[0] + 6, shape[1] + 6), bool)
    for x, y in points:
        line[y + 3, x + 3] = True
    return line


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_an_outline_is_closed_and_its_steps_go_to_neighbours(seed: int) -> None:
    for mask in _blobs(seed):
        for points in (outline_part(mask), outline_hole(mask)):
            assert points[0] == points[-1]
            assert np.abs(np.diff(points, axis=0)).max(initial=0) <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_a_part_lies_wholly_inside_its_outline_and_touches_it_everywhere(seed: int) -> None:
    for mask in _blobs(seed):
        line, inside = _draw(outline_part(mask), mask.shape), np.pad(mask, 3)
        assert not (line & inside).any()
        assert (line <= ndimage.binary_dilation(inside)).all()
        enclosed = ndimage.binary_fill_holes(line) & ~line
        assert (inside <= enclosed).all()
        # What is enclosed beyond the mask are notches and bays too narrow for a line.
        np.testing.assert_array_equal(enclosed | line, ndimage.binary_fill_holes(ndimage.binary_dilation(inside)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_the_line_of_a_hole_is_part_of_the_hole(seed: int) -> None:
    for mask in _blobs(seed):
        line = _draw(outline_hole(mask), mask.shape)
        np.testing.assert_array_equal(ndimage.binary_fill_holes(line), np.pad(mask, 3))


def test_outlines_of_small_masks() -> None:
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert set(outline_part(mask)) == {(2, 1), (3, 2), (2, 3), (1, 2)}
    assert set(outline_hole(mask)) == {(2, 2)}
    mask[2, 3] = True
    assert set(outline_part(mask)) == {(2, 1), (3, 1), (4, 2), (3, 3), (2, 3), (1, 2)}
    assert len(outline_part(mask)) == 7
    at_edge = np.zeros((3, 3), bool)
    at_edge[0, 0] = True
    assert set(outline_part(at_edge)) == {(0, -1), (1, 0), (0, 1), (-1, 0)}


@pytest.fixture
def root() -> Element:
    ratings = {name: number % 5 + 1 for number, name in enumerate(CHARACTERISTICS)}
    ring, hole = ((3, 2), (4, 3), (3, 4), (2, 3), (3, 2)), ((3, 3), (3, 3))
    sessions = [
        [Mark("Nodule <1>", (Outline(1, ring), Outline(1, hole, inclusion=False), Outline(2, ring)), ratings)],
        [Mark("small", (Outline(0, ((7, 8),)),)), Mark("vessel", (Outline(2, ((5, 6),)),), nodule=False)],
        [],
        [],
    ]
    xml = reading_xml(
        sessions, study_uid="1.2.3", series_uid="1.2.4", sop_uids=("1.5", "1.6", "1.7"), z_mm=(-10.0, -7.5, -5.0)
    )
    parsed: Element = defusedxml.ElementTree.fromstring(xml)
    return parsed


def test_the_header_names_series_and_study(root: Element) -> None:
    assert root.tag == f"{_NAME}LidcReadMessage"
    header = root[0]
    assert header.tag == f"{_NAME}ResponseHeader"
    assert header.findtext(f"{_NAME}SeriesInstanceUid") == "1.2.4"
    assert header.findtext(f"{_NAME}StudyInstanceUID") == "1.2.3"
    assert [child.tag for child in root[1:]] == [f"{_NAME}readingSession"] * 4


def test_a_nodule_has_ratings_and_outlines_with_their_slices(root: Element) -> None:
    nodule = root[1].find(f"{_NAME}unblindedReadNodule")
    assert nodule is not None
    assert nodule.findtext(f"{_NAME}noduleID") == "Nodule <1>"
    ratings = nodule.find(f"{_NAME}characteristics")
    assert ratings is not None
    assert [child.tag.removeprefix(_NAME) for child in ratings] == list(CHARACTERISTICS)
    assert [child.text for child in ratings] == ["1", "2", "3", "4", "5", "1", "2", "3", "4"]
    outlines = nodule.findall(f"{_NAME}roi")
    assert [one.findtext(f"{_NAME}imageSOP_UID") for one in outlines] == ["1.6", "1.6", "1.7"]
    assert [float(one.findtext(f"{_NAME}imageZposition", "")) for one in outlines] == [-7.5, -7.5, -5.0]
    assert [one.findtext(f"{_NAME}inclusion") for one in outlines] == ["TRUE", "FALSE", "TRUE"]
    points = [
        (point.findtext(f"{_NAME}xCoord"), point.findtext(f"{_NAME}yCoord"))
        for point in outlines[0].findall(f"{_NAME}edgeMap")
    ]
    assert points == [("3", "2"), ("4", "3"), ("3", "4"), ("2", "3"), ("3", "2")]


def test_what_is_small_or_no_nodule_has_one_point_and_no_ratings(root: Element) -> None:
    small, other = root[2].find(f"{_NAME}unblindedReadNodule"), root[2].find(f"{_NAME}nonNodule")
    assert small is not None
    assert other is not None
    assert small.find(f"{_NAME}characteristics") is None
    assert len(small.findall(f"{_NAME}roi/{_NAME}edgeMap")) == 1
    assert other.findtext(f"{_NAME}imageSOP_UID") == "1.7"
    assert other.findtext(f"{_NAME}locus/{_NAME}xCoord") == "5"
