"""Outlines filled exactly, marks of readers joined to nodules, masks by vote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthoma.scans.lidc_consensus import cluster, consensus, fill_outline, fill_outlines, filled, label_of, malignancy
from synthoma.scans.lidc_xml import Mark, Outline


def array(points: Iterable[tuple[int, int]]) -> np.ndarray:
    return np.array(list(points), dtype=np.int64)


def box(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
    """The closed line round the pixels ``left`` … ``right``, ``top`` … ``bottom``: the first pixels outside them."""
    x0, y0, x1, y1 = left - 1, top - 1, right + 1, bottom + 1
    upper = [(x, y0) for x in range(x0, x1)] + [(x1, y) for y in range(y0, y1)]
    return upper + [(x, y1) for x in range(x1, x0, -1)] + [(x0, y) for y in range(y1, y0 - 1, -1)]


def inside(points: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """As (x, y)."""
    return {(x, y) for y, x in fill_outline(array(points))[0].tolist()}


def mark(reader: int, *outlines: Sequence[tuple[int, int]], uid: str = "1", malignancy: int = 0) -> Mark:
    """A nodule of one slice; with ``malignancy`` 0 it is not rated."""
    drawn = tuple(Outline(uid, 0.0, array(points)) for points in outlines)
    return Mark(reader, "x", "nodule", drawn, {"malignancy": malignancy} if malignancy else {})


def picture(rows: str) -> set[tuple[int, int]]:
    """The pixels (x, y) marked ``#``."""
    return {(x, y) for y, row in enumerate(rows.split()) for x, letter in enumerate(row) if letter == "#"}


DIAMOND = [(2, 1), (3, 2), (2, 3), (1, 2)]
"""Round one pixel, cornerwise; not closed by its first point."""
CONCAVE = [(0, 0), (0, 8), (8, 8), (8, 0), (6, 0), (6, 6), (2, 6), (2, 0), (0, 0)]
"""A U of corners only: the line between them is straight."""


def test_the_line_is_outside():
    assert inside(DIAMOND) == {(2, 2)}
    assert inside([*DIAMOND, DIAMOND[0]]) == {(2, 2)}, "closed by its first point or not"
    assert inside(box(5, 7, 5, 7)) == {(5, 7)}
    assert inside(box(3, 2, 6, 4)) == {(x, y) for x in range(3, 7) for y in range(2, 5)}


def test_a_concave_outline_holds_nothing_of_its_bay():
    u = picture("""......... .#.....#. .#.....#. .#.....#. .#.....#. .#.....#. .#.....#. .#######. .........""")
    assert inside(CONCAVE) == u
    assert inside(CONCAVE[::-1]) == u, "either way round"


def test_a_bay_whose_mouth_is_closed_by_the_line_stays_outside():
    """A C whose ends touch: filling whatever the line encloses would fill the middle too."""
    outer = [(4, 8), (0, 8), (0, 0), (8, 0), (8, 8), (4, 8)]
    bay = [(4, 5), (5, 5), (5, 3), (3, 3), (3, 5), (4, 5), (4, 8)]
    c = picture("""......... .#######. .#######. .##...##. .##...##. .##...##. .###.###. .###.###. .........""")
    assert inside(outer + bay) == c


def test_lines_that_enclose_nothing():
    for points in ([(4, 4)], [(4, 4), (5, 4)], [(0, 0), (9, 5)], [(1, 1), (2, 1), (2, 2), (1, 2)], [(3, 3)] * 5):
        assert inside(points) == set()


def test_an_outline_traced_twice_or_crossing_itself_is_filled():
    assert inside(box(3, 2, 6, 4) * 2) == inside(box(3, 2, 6, 4)), "even-odd filling would leave it empty"
    eight = [(0, 0), (8, 8), (8, 0), (0, 8), (0, 0)]
    assert inside(eight) == {(x, y) for x in range(1, 8) for y in range(9) if x < y < 8 - x or 8 - x < y < x}


def test_beside_the_image_the_first_pixels_outside_may_be_minus_one():
    assert inside(box(0, 0, 2, 1)) == {(x, y) for x in range(3) for y in range(2)}


corners = st.lists(st.tuples(st.integers(-3, 25), st.integers(-3, 25)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=80)
@given(corners)
def test_inside_is_where_the_line_turns_round_a_pixel(points):
    """Against the sum of the angles under which a pixel sees the edges, and the line of scikit-image."""
    from skimage.draw import line as straight

    within, line = fill_outline(array(points))
    on_line = as_set(line)
    closed = np.array([*points, points[0]])
    for (x0, y0), (x1, y1) in zip(closed[:-1].tolist(), closed[1:].tolist(), strict=True):
        steps = int(np.gcd(x1 - x0, y1 - y0)) or 1
        assert {(y0 + k * (y1 - y0) // steps, x0 + k * (x1 - x0) // steps) for k in range(steps + 1)} <= on_line
        near = {(y + dy, x + dx) for y, x in on_line for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
        assert as_set(np.stack(straight(y0, x0, y1, x1), axis=1)) <= near, "rounding differs by a pixel at most"
    grid = np.argwhere(np.ones((33, 33))) - 4  # y, x
    towards = (closed[None] - grid[:, None, ::-1]) @ np.array([1, 1j])
    with np.errstate(invalid="ignore", divide="ignore"):  # pixels of the line
        turns = np.angle(towards[:, 1:] / towards[:, :-1]).sum(axis=1) / (2 * np.pi)
    assert as_set(within) == as_set(grid[np.abs(np.nan_to_num(turns)) > 0.5]) - on_line


def as_set(pixels: np.ndarray) -> set[tuple[int, int]]:
    return {(y, x) for y, x in pixels.tolist()}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.4, 0.7))
def test_what_is_outlined_comes_back(seed, threshold):
    """Any blob without holes, traced along the first pixels outside it, is filled to itself."""
    from scipy import ndimage
    from skimage.measure import find_contours

    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((24, 24)), 2.0)
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    parts, count = ndimage.label(noise > threshold)
    blob = np.pad(ndimage.binary_fill_holes(parts == 1), 2) if count else None
    if blob is None or not blob.any():
        return
    # The outer line of the padded blob: 8-connected pixels outside that touch it by a side.
    ring = ndimage.binary_dilation(blob) & ~blob
    contour = max(find_contours(np.where(blob, 1.0, 0.0), 0.001), key=len)  # hugs the outside pixels
    line = np.rint(contour[:, ::-1]).astype(np.int64)
    keep = np.any(np.diff(line, axis=0, prepend=line[-2:-1]) != 0, axis=1)
    line = line[keep]
    assert as_set(line[:, ::-1]) == as_set(np.argwhere(ring))
    within, _ = fill_outline(line)
    assert as_set(within) == as_set(np.argwhere(blob))


def test_holes_are_cut_with_their_line():
    ring = Outline("1", 0.0, array(box(0, 0, 8, 8)))
    hole = Outline("1", 0.0, array(box(4, 4, 4, 4)), inclusion=False)
    other = Outline("2", 1.0, array(box(4, 4, 4, 4)), inclusion=False)
    pixels = fill_outlines(Mark(1, "x", "nodule", (hole, ring, other), {}))
    assert set(pixels) == {"1"}, "a hole in nothing is nothing"
    expected = np.ones((9, 9), bool)
    expected[3:6, 3:6] = False
    assert np.array_equal(pixels["1"], np.argwhere(expected))
    everything = Outline("1", 0.0, array(box(0, 0, 8, 8)), inclusion=False)
    assert fill_outlines(Mark(1, "x", "nodule", (ring, everything), {})) == {}


def test_two_outlines_of_one_mark_on_a_slice_are_both_of_it():
    pixels = fill_outlines(mark(1, box(0, 0, 1, 1), box(1, 1, 2, 2)))
    assert pixels["1"].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 1], [2, 2]]


def groups(*marks: Mark) -> list[list[int]]:
    """Numbers of the marks of each nodule."""
    return [[marks.index(own) for own in nodule.marks] for nodule in cluster(marks)]


def test_marks_of_different_readers_that_share_a_pixel_are_one_nodule():
    a, b = mark(1, box(0, 0, 3, 3)), mark(2, box(3, 3, 6, 6))
    assert groups(a, b) == [[0, 1]]
    assert groups(a, mark(2, box(4, 3, 6, 6))) == [[0], [1]], "side by side, their lines crossing"
    assert groups(a, mark(2, box(0, 0, 3, 3), uid="2")) == [[0], [1]], "on another slice"


def test_marks_of_one_reader_stay_apart_unless_another_joins_them():
    small, beside, whole = mark(1, box(0, 0, 3, 3)), mark(1, box(3, 0, 6, 3)), mark(2, box(0, 0, 6, 3))
    assert groups(small, beside) == [[0], [1]]
    assert groups(small, beside, whole) == [[0, 1, 2]]
    assert groups(small, whole, mark(3, box(20, 20, 21, 21)), beside) == [[0, 1, 3], [2]]


def test_chains_join_in_any_order():
    boxes = [mark(1 + i % 4, box(3 * i, 0, 3 * i + 3, 3)) for i in range(6)]
    far = mark(1, box(40, 0, 41, 3))
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = [*boxes, far]
        rng.shuffle(order)
        found = {frozenset(id(own) for own in nodule.marks) for nodule in cluster(order)}
        assert found == {frozenset(map(id, boxes)), frozenset([id(far)])}


def test_marks_that_enclose_no_pixel_are_of_no_nodule():
    assert groups(mark(1, [(3, 3)]), mark(2, box(3, 3, 3, 3)), mark(3, [(3, 3), (3, 4)])) == [[1]]


def test_consensus_is_a_share_of_the_readers():
    marks = [mark(1 + i, box(0, 0, i, 0)) for i in range(4)]  # 1, 2, 3 and 4 pixels of one row
    (nodule,) = cluster(marks)
    assert nodule.readers == (1, 2, 3, 4)
    for level, pixels in ((0.25, 4), (0.26, 3), (0.5, 3), (0.51, 2), (0.75, 2), (1, 1)):
        assert len(consensus(nodule, level, 4)["1"]) == pixels
    (two,) = cluster(marks[:2])
    assert len(consensus(two, 0.5, 2)["1"]) == 2
    assert len(consensus(two, 0.5, 4)["1"]) == 1
    assert consensus(two, 0.75, 4) == {}
    thirds = cluster(marks[:3])[0]
    assert len(consensus(thirds, 1 / 3, 3)["1"]) == 3, "a third of three is one reader, whatever the rounding"


def test_a_reader_of_two_marks_has_one_vote():
    nodule = cluster([mark(1, box(0, 0, 2, 0)), mark(1, box(2, 0, 4, 0)), mark(2, box(0, 0, 4, 0))])[0]
    assert len(nodule.marks) == 3
    assert nodule.readers == (1, 2)
    assert consensus(nodule, 1, 2)["1"].tolist() == [[0, x] for x in range(5)]
    assert consensus(nodule, 1.5, 2) == {}, "pixel (2, 0), twice of reader 1, counts once for it"


def test_filled_puts_pixels_on_their_slices_only():
    part, other = {"b": np.array([[0, 1]]), "gone": np.array([[0, 0]])}, {"b": np.array([[0, 1], [2, 3]])}
    mask = filled([part, other], ["a", "b", ""], (3, 4, 5))
    assert mask.dtype == np.uint8
    assert np.argwhere(mask).tolist() == [[1, 0, 1], [1, 2, 3]]


@pytest.mark.parametrize(
    ("ratings", "label"),
    [
        ((1, 2, 2, 5), "benign"),
        ((2,), "benign"),
        ((2, 3), "indeterminate"),
        ((3,), "indeterminate"),
        ((3, 4), "indeterminate"),
        ((4,), "malignant"),
        ((3, 4, 4, 5), "malignant"),
        ((5, 5, 5, 4), "malignant"),
        ((), "indeterminate"),
    ],
)
def test_the_label_is_that_of_the_median(ratings, label):
    whole = box(0, 0, 3, 3)
    nodule = cluster([mark(k + 1, whole, malignancy=rating) for k, rating in enumerate(ratings or (0,))])[0]
    assert malignancy(nodule) == ratings
    assert label_of(malignancy(nodule)) == label


def test_a_readers_own_ratings_count_once():
    whole = box(0, 0, 6, 3)
    own = [mark(1, box(0, 0, 3, 3), malignancy=5), mark(1, box(3, 0, 6, 3), malignancy=4)]
    nodule = cluster([*own, mark(2, whole, malignancy=1), mark(3, whole, malignancy=1)])[0]
    assert malignancy(nodule) == (4.5, 1, 1)
    assert label_of(malignancy(nodule)) == "benign"
