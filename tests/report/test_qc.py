"""The page of quality control: what it shows is what is there, and it stays small however many cases there are."""

from __future__ import annotations

import csv
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthoma.records import BODY, Grid, Samples, Scan
from synthoma.report.qc import CASES, EXTREME, PAGE, RANDOM, REJECTED, QualityControl
from synthoma.report.qc_case import CaseQuality, Rejected, compare, look_at, look_from, look_parts
from synthoma.report.qc_checks import CaseRow, checks, outliers
from synthoma.report.qc_figures import as_read, histogram_panels, lineup
from synthoma.report.qc_words import lead

SHAPE = (20, 24, 30)
LPS = np.diag([-1.0, -1.0, 2.0, 1.0])


def scan_of(
    seed: int = 0,
    *,
    affine: np.ndarray = LPS,
    known: bool = True,
    lesion: bool = True,
    gain: float = 1.0,
    **more: object,
) -> Scan:
    """A head of noise with a brighter lesion off every axis of symmetry."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:20, :24, :30]
    body = ((z - 9.5) / 9) ** 2 + ((y - 11.5) / 10) ** 2 + ((x - 14.5) / 12) ** 2 < 1
    mask = ((z - 12) ** 2 + (y - 8) ** 2 + (x - 20) ** 2 < 11).astype(np.uint8) * lesion
    image = np.where(body, 400 + 60 * rng.normal(size=SHAPE) + 300.0 * mask, 0).astype(np.float32) * np.float32(gain)
    grid = Grid.from_affine(SHAPE, affine) if known else Grid.unknown(SHAPE)
    masks = {"core": mask} if lesion else {}
    return Scan({"t1": image, "flair": image * 2 + 1}, masks, grid, f"P{seed}", **more)


def prepared_of(scan: Scan, body: bool = True) -> Scan:
    inside = scan.channels["t1"] > 0
    channels = {
        name: np.where(inside, np.clip(array / array.max() * 2 - 1, -1, 1), -1).astype(np.float32)
        for name, array in scan.channels.items()
    }
    masks = {**scan.masks, **({BODY: inside.astype(np.uint8)} if body else {})}
    return scan.with_(channels=channels, masks=masks, intensity=dict.fromkeys(channels, (0.0, 1.0)))


def samples_of(scan: Scan, shape: tuple[int, ...] = (24, 30)) -> Samples:
    n = 3
    return Samples(
        images=np.zeros((n, 2, *shape), np.float32), masks=np.zeros((n, 2, *shape), np.uint8),
        channels=("t1", "flair"), mask_names=(BODY, "core"), slices=(8, 9, 10),
        labels=("tumour", "tumour", "tumour-free"), patient=scan.patient, site="",
        spacing_mm=None, intensity={}, unit="arbitrary", modality="MR",
    )  # fmt: skip


def case_of(name: str, **settings: object) -> CaseQuality:
    scan = scan_of(**settings)
    return compare(name, look_at(scan), prepared_of(scan), samples_of(scan))


@pytest.fixture(scope="module")
def case() -> CaseQuality:
    return case_of("P0")


def shifted(x: float = 0, y: float = 0, z: float = 0) -> np.ndarray:
    affine = LPS.copy()
    affine[:3, 3] = x, y, z
    return affine


def turned(scan: Scan, order: tuple[int, ...], flips: tuple[int, ...]) -> Scan:
    """The same patient with the array's axes in another order and direction, each voxel at its place."""

    def walk(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(array, order)[tuple(slice(None, None, flip) for flip in flips)])

    new_shape = tuple(scan.grid.shape[axis] for axis in order)
    index = np.eye(4)  # from new (x, y, z) indices to old ones
    index[:3, :3] = 0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        index[2 - old, 2 - new] = flip
        index[2 - old, 3] = 0 if flip > 0 else scan.grid.shape[old] - 1
    return scan.with_(
        channels={name: walk(array) for name, array in scan.channels.items()},
        masks={name: walk(array) for name, array in scan.masks.items()},
        grid=Grid.from_affine(new_shape, scan.grid.affine @ index),
    )


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_a_scan_looks_the_same_however_its_file_stores_it(view: str) -> None:
    scan = scan_of()
    expected = look_at(scan, axis=view)
    assert (
        expected.thumbnails["t1"].pixels.shape == {"axial": (24, 30), "coronal": (20, 30), "sagittal": (20, 24)}[view]
    )
    for order, flips in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        look = look_at(turned(scan, order, flips), axis=view)
        for name, thumbnail in expected.thumbnails.items():
            np.testing.assert_array_equal(look.thumbnails[name].lesion, thumbnail.lesion)
            # the percentiles are taken of some of the voxels, which are others in another order
            assert np.abs(look.thumbnails[name].pixels.astype(int) - thumbnail.pixels).max() <= 3
            assert look.thumbnails[name].aspect == pytest.approx(thumbnail.aspect)
        np.testing.assert_allclose(look.point_mm, expected.point_mm)
        assert look.upright.pixels.shape == (20, 30)


def test_an_axial_picture_has_the_front_above_and_the_patients_right_on_the_left() -> None:
    scan = scan_of()
    for x, y, expected in ((-11, 0, "right"), (0, -11, "bottom")):  # towards the patient's left (−x), towards the back
        image = np.zeros(SHAPE, np.float32)
        place = np.linalg.inv(scan.grid.affine) @ [-14.5 + x, -11.5 + y, 24, 1]
        image[10, round(place[1]), round(place[0])], image[3, 0, 0] = 9, 5
        row, column = np.argwhere(look_at(scan.with_(channels={"t1": image}, masks={})).thumbnails["t1"].pixels)[0]
        assert column > 20 if expected == "right" else row > 18


def test_the_prepared_scan_is_shown_at_the_same_place(case: CaseQuality) -> None:
    assert case.before.plane == "slice 13 of 20"
    scan = prepared_of(scan_of()).with_()
    half = scan.with_(
        channels={name: array[4::2] for name, array in scan.channels.items()},
        masks={name: array[4::2] for name, array in scan.masks.items()},
        grid=Grid.from_affine((8, 24, 30), LPS @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 4], [0, 0, 0, 1.0]])),
    )
    look = look_at(half, case.before.point_mm)
    assert look.plane == "slice 5 of 8"  # slice 12 of the array is (12 − 4) / 2 of the new one
    np.testing.assert_array_equal(look.thumbnails["t1"].lesion, case.after.thumbnails["t1"].lesion)


def test_numbers_of_a_case(case: CaseQuality) -> None:
    scan = prepared_of(scan_of())
    voxels = int(scan.masks["core"].sum())
    assert case.numbers["lesion_ml"] == pytest.approx(voxels * 2 / 1000)
    assert case.numbers["lesion_kept"] == 1
    assert case.numbers["lesion_inside"] == 1
    assert case.numbers["body_share"] == pytest.approx(scan.masks[BODY].mean())
    assert case.numbers["height_mm"] == pytest.approx(19)
    assert case.labels == {"tumour": 2, "tumour-free": 1}
    out = scan_of().with_(masks={"core": np.ones(SHAPE, np.uint8)})
    low = compare("x", look_at(out), prepared_of(out), samples_of(out)).numbers["lesion_inside"]
    assert low == pytest.approx(scan.masks[BODY].mean())


def test_histograms_count_what_is_not_background(case: CaseQuality) -> None:
    scan = scan_of()
    low, high = case.before.ranges["t1"]
    inside = scan.channels["t1"][scan.channels["t1"] != 0]
    assert (low, high) == pytest.approx(np.percentile(inside, [0.5, 99.5]), rel=0.02)
    assert case.before.histograms["t1"].counts.sum() == pytest.approx(1, abs=1e-5)
    assert case.after.histograms["t1"].low == -1
    (before, after), _ = histogram_panels([case, case])
    assert before.title == "T1 as read"
    assert after.title == "T1 prepared"
    assert before.svg.count("<polyline") == 3


def test_a_look_survives_json_exactly(case: CaseQuality) -> None:
    again = look_from(json.loads(json.dumps(look_parts(case.before))))
    assert again.grid == case.before.grid
    assert again.point_mm == case.before.point_mm
    for name, thumbnail in case.before.thumbnails.items():
        assert np.array_equal(again.thumbnails[name].pixels, thumbnail.pixels)
        assert again.thumbnails[name].pixels.dtype == np.uint8
        assert np.array_equal(again.histograms[name].counts, case.before.histograms[name].counts)
    assert look_parts(again) == look_parts(case.before)


def test_patches_are_shown_beside_the_scan_that_they_were_cut_from() -> None:
    scan = scan_of()
    samples = samples_of(scan, (16, 16))
    images, masks = samples.images.copy(), samples.masks.copy()
    masks[2, 1, 4:8, 4:8], images[2, 0] = 1, 1
    cut = compare("x", look_at(scan), prepared_of(scan), replace(samples, images=images, masks=masks)).cut
    assert (cut["t1"].pixels == 255).all()
    assert cut["t1"].lesion.sum() == 16
    assert compare("x", look_at(scan), prepared_of(scan), samples_of(scan)).cut == {}


def rows_of(*cases: CaseQuality) -> list[CaseRow]:
    return [CaseRow.of(case) for case in cases]


def test_equal_cases_do_not_stand_out() -> None:
    rows = rows_of(*(case_of(f"P{seed}", seed=seed) for seed in range(5)))
    assert outliers(rows) == {}
    found = checks(rows, 0, {})
    assert all(check.good for check in found)
    assert [check.title for check in found[:4]] == ["Cases", "Orientation", "Spacing", "Place"]
    assert lead(rows, [], found, 5) == "All 5 cases found were prepared: 15 samples of 5 patients. Nothing stands out."


def test_what_is_unlike_the_others_is_named_with_its_figures() -> None:
    usual = [case_of(f"P{seed}", seed=seed) for seed in range(4)]
    ras = np.diag([1.0, 1.0, 2.0, 1.0])
    ras[:3, 3] = -29, -23, 0
    thick = np.diag([-1.0, -1.0, 6.0, 1.0])
    thick[2, 3] = -38
    half = prepared_of(scan_of(8))
    shrunk = half.with_(masks={**half.masks, "core": half.masks["core"] * (np.arange(30) > 20).astype(np.uint8)})
    body = prepared_of(scan_of(9))
    missed = body.with_(masks={**body.masks, BODY: body.masks[BODY] * (body.masks["core"] == 0).astype(np.uint8)})
    odd = outliers(rows_of(
        *usual,
        case_of("far", seed=5, affine=shifted(z=246)),
        case_of("turned", seed=6, affine=ras),
        case_of("thick", seed=7, affine=thick),
        compare("shrunk", look_at(scan_of(8)), shrunk, samples_of(shrunk)),
        compare("missed", look_at(scan_of(9)), missed, samples_of(missed)),
    ))  # fmt: skip
    assert odd["far"] == {"position": "z +246 mm from the middle of all"}
    assert odd["turned"] == {"orientation": "RAS; most are LPS"}
    assert odd["thick"]["spacing"] == "1 × 1 × 6 mm; the middle is 1 × 1 × 2"
    assert set(odd["shrunk"]) == {"lesion_kept"}
    assert odd["missed"] == {"lesion_inside": "0.0 %"}
    assert set(odd) == {"far", "turned", "thick", "shrunk", "missed"}


def test_modalities_are_compared_apart() -> None:
    mr = [case_of(f"m{seed}", seed=seed) for seed in range(3)]
    ct = [case_of(f"c{s}", seed=s, affine=shifted(z=400), modality="CT", unit="HU", gain=3.0) for s in range(3)]
    assert outliers(rows_of(*mr, *ct)) == {}
    titles = [before.title for before, _ in histogram_panels([*mr, *ct])]
    assert titles == ["T1, CT as read", "T1, MR as read", "FLAIR, CT as read", "FLAIR, MR as read"]


def test_scans_are_lined_up_at_their_heights(case: CaseQuality) -> None:
    other = case_of("far", seed=1, affine=shifted(z=100))
    svg = lineup([case, other], lambda name: "z +100 mm" if name == "far" else "")
    boxes = re.findall(r'<image [^>]*y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    (low, _, tall), (high, _, same) = [[float(n) for n in box] for box in boxes]
    assert same == pytest.approx(tall)
    assert (low - high) / tall == pytest.approx(100 / 40, rel=0.01)  # 40 mm high, 100 mm apart
    assert svg.count("class=odd") == 1
    assert lineup([case_of("x", known=False)], lambda _: "") == ""


def written(quality: QualityControl, folder: Path, title: str = "x.cohort") -> str:
    folder.mkdir(exist_ok=True)
    quality.write(folder, title, 3, {"data": {"source": "brats"}, "preprocessing": {}, "split": None})
    return (folder / PAGE).read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_shows_names_as_text(case: CaseQuality, tmp_path: Path) -> None:
    quality = QualityControl()
    quality.add(replace(case, name="<script>alert(1)</script>"))
    quality.add(case)
    quality.reject(Rejected("bad", "a/b.nii", 'x.nii: expected "1, 2", found\n3.', "Mend <it>."))
    page = written(quality, tmp_path, "<b>.cohort")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    sources = re.findall(r'(?:src|href)="([^"]{5})', page)
    assert sources
    assert set(sources) == {"data:"}
    assert not re.search(r"https?://", page.replace("http://www.w3.org", ""))
    assert "url(" not in page
    assert page.count("<path d=") >= 4, "lesions are outlined before and after"
    assert "2 of 3 cases found were prepared" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    with (tmp_path / REJECTED).open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"name": "bad", "file": "a/b.nii", "reason": 'x.nii: expected "1, 2", found\n3.', "remedy": "Mend <it>."}
        ]


def test_equal_cases_make_equal_pages_in_any_order(case: CaseQuality, tmp_path: Path) -> None:
    pages = []
    for number, order in enumerate((range(30), reversed(range(30)))):
        quality = QualityControl(seed=4)
        for at in order:
            quality.add(replace(case, name=f"P{at:02d}", numbers={**case.numbers, "lesion_ml": 1.0 + at}))
        pages.append(written(quality, tmp_path / str(number)))
    assert pages[0] == pages[1]


def test_cases_are_drawn_by_the_seed(case: CaseQuality) -> None:
    drawn = []
    for seed in (0, 0, 1):
        quality = QualityControl(seed)
        for at in range(40):
            quality.add(replace(case, name=f"P{at}"))
        extreme, random = quality.shown()
        assert extreme == [], "where all are alike, none is extreme"
        drawn.append([shown.case.name for shown in random])
    assert len(drawn[0]) == RANDOM
    assert drawn[0] == drawn[1] != drawn[2]


def test_three_thousand_patients(case: CaseQuality, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = {
        name: replace(t, pixels=rng.integers(0, 256, (144, 144), dtype=np.uint8), lesion=np.zeros((144, 144), np.uint8))
        for name, t in case.before.thumbnails.items()
    }
    looks = replace(case.before, thumbnails={**noise, "t2": noise["t1"], "t1ce": noise["t1"]})
    quality = QualityControl()
    for at in range(3000):
        numbers = {name: value * float(rng.uniform(0.8, 1.2)) for name, value in case.numbers.items()}
        quality.add(replace(case, name=f"P{at}", before=looks, after=looks, numbers=numbers, notes=(f"note {at}",)))
        if at % 3 == 0:
            quality.reject(Rejected(f"R{at}", "", "expected a mask, found none.", "Draw one."))
    held = {id(shown.case) for group in quality.shown() for shown in group}
    assert len(held) <= EXTREME + RANDOM
    assert sum(bool(c.before.thumbnails) for c in quality.lines) == 0, "histograms hold no pictures"
    page = written(quality, tmp_path)
    assert len(page.encode()) < 5e6
    assert page.count("<tr>") < 200
    assert "40 of 3000 cases" in page
    assert "950 more are in <code>rejected.csv</code>" in page
    with (tmp_path / CASES).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3000
    assert table[7]["notes"] == "note 7"
    assert table[7]["as_read_spacing_mm"] == "2 1 1"


def test_without_geometry_nothing_is_said_of_it(tmp_path: Path) -> None:
    quality = QualityControl()
    for seed in range(3):
        quality.add(case_of(f"P{seed}", seed=seed, known=False, lesion=False))
    page = written(quality, tmp_path)
    assert "The files carry none" in page
    assert "Where the scans lie" not in page
    assert "Spacing, mm" not in page
    assert "largest lesion" not in page


def test_windows_and_neighbours_are_shown_beside_the_channel_that_they_come_from() -> None:
    names = {"ct": 1, "t1-post": 2}
    assert [as_read(name, names) for name in ("ct-lung", "ct@-1", "ct-lung@+1", "t1-post", "t1-post@-2", "flair")] == [
        "ct", "ct", "ct", "t1-post", "t1-post", "flair",
    ]  # fmt: skip
