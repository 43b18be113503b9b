"""The phantom lungs: anatomy by the numbers, nodules by their grade, readers who disagree, files that repeat."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydantic import ValidationError
from scipy import ndimage

from synthoma.errors import OutputError
from synthoma.phantoms import LungPhantomOptions, write_lung_phantom
from synthoma.phantoms.abdomen_shapes import Grid
from synthoma.phantoms.chest import ChestPlan, chest_grid, draw_chest, lung_distance, render_chest
from synthoma.phantoms.lung import LungParameters, LungScan, draw, first_grade, render, site_of
from synthoma.phantoms.lung_nodule import draw_nodule, paint_nodule
from synthoma.phantoms.lung_readers import read_chest
from synthoma.seeding import generator
from synthoma.storage import file_sha256

OPTIONS = LungPhantomOptions(patients=3, seed=11, size=96, spacing_mm=5.0)
Drawn = list[tuple[LungParameters, ChestPlan]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return [draw(OPTIONS, index) for index in range(OPTIONS.patients)]


@pytest.fixture(scope="module")
def scans(drawn: Drawn) -> list[LungScan]:
    return [render(parameters, plan, OPTIONS) for parameters, plan in drawn]


def _at(grid: Grid, place: tuple[float, float, float]) -> tuple[int, int, int]:
    z, y, x = (round((place[2 - axis] - grid.first_mm[2 - axis]) / grid.spacing_mm[axis]) for axis in range(3))
    return z, y, x


def test_lungs_have_the_volume_and_density_of_lungs(drawn: Drawn, scans: list[LungScan]) -> None:
    """Total capacity of adults: 4 to 8 l; a CT is taken after breathing in. Mean density about −850 HU."""
    for (parameters, plan), scan in zip(drawn, scans, strict=True):
        lungs = lung_distance(parameters.chest, plan, scan.grid)[0] < 0
        litres = lungs.sum() * np.prod(scan.grid.spacing_mm) / 1e6
        assert 2.5 < litres < 8.5
        deep = ndimage.binary_erosion(lungs, iterations=2) & (scan.hu > -2048)
        assert -890 < np.median(scan.hu[deep]) < -800
        assert (scan.hu[deep] > -500).mean() < 0.12  # vessels
        # Two lungs, of which the left makes room for the heart.
        parts, _ = ndimage.label(lungs)
        left, right = np.sort(np.bincount(parts.ravel())[1:])[-2:]
        assert left + right > 0.99 * lungs.sum()
        assert 0.55 < left / right < 1


def test_the_back_of_the_lungs_is_denser(drawn: Drawn) -> None:
    for parameters, plan in drawn:
        grid = chest_grid(parameters.chest, 64, 384.0, 20.0)
        image = render_chest(parameters.chest, plan, grid)
        lungs = lung_distance(parameters.chest, plan, grid)[0] < -8
        y = np.broadcast_to(grid.axis(1)[:, None], grid.shape)
        middle = np.median(y[lungs])
        front, back = (np.median(image[lungs & side]) for side in (y < middle, y > middle))
        assert 10 < back - front < 90


def test_vessels_and_heart_are_bright_with_a_contrast_agent_only(drawn: Drawn) -> None:
    for parameters, plan in drawn:
        scale = parameters.chest.build.scale
        place = (25 * scale[0], -4 * scale[1], -45 * scale[2])
        grid = Grid((2, 96, 96), (5.0, 4.0, 4.0), (-190.0, -230.0, place[2]))
        aorta = render_chest(parameters.chest, plan, grid)[_at(grid, place)]
        assert aorta == pytest.approx(parameters.chest.contrast.aorta, abs=30)
    agents = [draw_chest(generator(1, i), i) for i in range(40)]
    assert all((one.contrast.aorta > 140) == one.agent for one in agents)
    assert 15 < sum(one.agent for one in agents) < 38


def test_a_chest_holds_air_fat_flesh_and_bone_in_the_shares_of_a_chest(drawn: Drawn, scans: list[LungScan]) -> None:
    for scan in scans:
        inside = scan.hu[scan.grid.shape[0] // 3 : 2 * scan.grid.shape[0] // 3]
        inside = inside[inside > -2048]
        shares = {
            name: float(((inside >= low) & (inside < high)).mean())
            for name, low, high in (
                ("lung", -950, -600),
                ("fat", -150, -40),
                ("flesh", 0, 90),
                ("bright", 120, 4000),
                ("cortex", 400, 4000),
            )
        }
        assert 0.15 < shares["lung"] < 0.48, shares
        assert 0.05 < shares["fat"] < 0.35, shares
        assert 0.05 < shares["flesh"] < 0.35, shares
        assert 0.02 < shares["bright"] < 0.15, shares
        assert 0.004 < shares["cortex"] < 0.06, shares


def test_patients_differ_and_none_depends_on_the_others(drawn: Drawn, scans: list[LungScan]) -> None:
    assert [parameters.name for parameters, _ in drawn][:2] == ["PHANTOM-LUNG-0001", "PHANTOM-LUNG-0002"]
    alone, plan = draw(LungPhantomOptions(patients=1, seed=11, size=96, spacing_mm=5.0, workers=3), 2)
    assert alone == drawn[2][0]
    again = render(alone, plan, OPTIONS)
    np.testing.assert_array_equal(again.hu, scans[2].hu)
    assert again.sessions == scans[2].sessions
    assert len({parameters.chest.build.scale for parameters, _ in drawn}) == 3


def test_the_same_patient_at_another_resolution_has_the_same_anatomy(drawn: Drawn) -> None:
    parameters, plan = drawn[1]
    coarse, fine = (chest_grid(parameters.chest, size, 384.0, 25.0) for size in (64, 128))
    # Four fine pixels cover a coarse one.
    images = [render_chest(parameters.chest, plan, grid) for grid in (coarse, fine)]
    halved = images[1].reshape(coarse.shape[0], 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.corrcoef(images[0].ravel(), halved.ravel())[0, 1] > 0.985


def test_grades_share_patients_as_declared_and_say_nothing_of_the_site() -> None:
    grades = [first_grade(LungPhantomOptions(seed=2, malignant=0.5), index) for index in range(80)]
    assert set(grades) == {1, 2, 3, 4, 5}
    pairs = [(site_of(index).name, grade >= 4) for index, grade in enumerate(grades)]
    assert sorted(pairs) == sorted(20 * [(site, malignant) for site in "AB" for malignant in (False, True)])
    for share, count in ((0.0, 0), (0.25, 20), (0.7, 56), (1.0, 80)):
        options = LungPhantomOptions(seed=2, malignant=share)
        assert sum(first_grade(options, index) >= 4 for index in range(80)) == count


def test_the_first_nodule_has_the_declared_grade(drawn: Drawn) -> None:
    for index, (parameters, _) in enumerate(drawn):
        assert parameters.nodules[0].grade == first_grade(OPTIONS, index)
        assert parameters.scan.site == site_of(index)


def test_size_and_spikes_grow_with_the_grade(drawn: Drawn) -> None:
    parameters, plan = drawn[0]
    means = []
    for grade in (0, 1, 3, 5):
        nodules = [draw_nodule(generator(grade, "draw", i), i, grade, parameters.chest, plan, []) for i in range(40)]
        means.append((np.mean([n.diameter_mm for n in nodules]), np.mean([n.spikes for n in nodules])))
    sizes, spikes = zip(*means, strict=True)
    assert sizes[0] < 3 < sizes[1] < sizes[2] < sizes[3]
    assert spikes[0] == 0
    assert spikes[1] < spikes[2] < spikes[3]


def test_nodules_lie_in_the_lung_and_change_nothing_else(drawn: Drawn) -> None:
    for parameters, plan in drawn:
        grid = chest_grid(parameters.chest, 128, 384.0, 2.5)
        lungs, cavity = lung_distance(parameters.chest, plan, grid)
        for nodule in parameters.nodules:
            image = np.full(grid.shape, -860.0, np.float32)
            part = paint_nodule(image, grid, nodule, parameters.chest, plan)
            changed = np.abs(image + 860) > 20
            assert changed.any()
            place = np.array(nodule.centre_mm)
            voxels = np.argwhere(changed)
            where = np.stack([grid.axis(axis)[voxels[:, axis]] for axis in (2, 1, 0)], axis=1)
            assert np.linalg.norm(where - place, axis=1).max() < 1.3 * nodule.diameter_mm + 4
            assert cavity[changed].max() < 1.5
            assert lungs[changed].max() < 4
            assert part.distance[part.distance < 0].size > 0 or nodule.diameter_mm < 4


@pytest.fixture(scope="module")
def masses(drawn: Drawn) -> npt.NDArray[np.float64]:
    """HU in the middle of a solid, a ground-glass, a calcified and a hollow nodule of 20 mm."""
    parameters, plan = drawn[0]
    grid = chest_grid(parameters.chest, 192, 384.0, 2.5)
    base = dataclasses.replace(
        parameters.nodules[0], diameter_mm=20.0, texture="solid", calcification="absent", cavity=0.0, solid_hu=40.0
    )
    kinds = [base] + [
        dataclasses.replace(base, **change)
        for change in ({"texture": "ground glass"}, {"calcification": "central"}, {"cavity": 0.5})
    ]
    middles = []
    for kind in kinds:
        image = np.full(grid.shape, -860.0, np.float32)
        paint_nodule(image, grid, kind, parameters.chest, plan)
        z, y, x = _at(grid, kind.centre_mm)
        middles.append(float(image[z, y - 1 : y + 2, x - 1 : x + 2].mean()))
    return np.array(middles)


def test_texture_calcium_and_cavity_show_in_hounsfield_units(masses: npt.NDArray[np.float64]) -> None:
    solid, glass, calcified, hollow = masses
    assert 0 < solid < 90
    assert -720 < glass < -450
    assert calcified > 350
    assert hollow < -850


def _filled(points: tuple[tuple[int, int], ...], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    line = np.zeros((shape[0] + 2, shape[1] + 2), bool)
    for x, y in points:
        line[y + 1, x + 1] = True
    return np.asarray((ndimage.binary_fill_holes(line) & ~line)[1:-1, 1:-1])


def test_readers_agree_on_where_and_differ_on_how_much(drawn: Drawn) -> None:
    """Overlap of two readers' outlines as in LIDC-IDRI-0001 and 0003: 0.44 to 0.82."""
    overlaps = []
    for parameters, plan in drawn:
        grid = chest_grid(parameters.chest, 256, 330.0, 2.5)
        nodule = dataclasses.replace(parameters.nodules[0], diameter_mm=14.0, cavity=0.0)
        part = paint_nodule(np.full(grid.shape, -860.0, np.float32), grid, nodule, parameters.chest, plan)
        sessions = read_chest(parameters.seed, [(nodule, part)], grid, plan.lungs, plan.grid)
        masks = []
        for marks in sessions:
            for mark in (mark for mark in marks if mark.nodule):
                mask = np.zeros(grid.shape, bool)
                for outline in mark.outlines:
                    mask[outline.slice] |= _filled(outline.points, grid.shape[1:])
                masks.append(mask)
                assert mask[_at(grid, nodule.centre_mm)]
                heights = [outline.slice for outline in mark.outlines]
                assert heights == list(range(heights[0], heights[-1] + 1))
        assert len(masks) >= 2
        overlaps += [(a & b).sum() / (a | b).sum() for i, a in enumerate(masks) for b in masks[:i]]
    assert 0.5 < np.median(overlaps) < 0.92
    assert max(overlaps) < 1.0


def test_a_cavity_is_cut_out_and_a_small_nodule_is_a_point(drawn: Drawn) -> None:
    parameters, plan = drawn[0]
    grid = chest_grid(parameters.chest, 256, 330.0, 2.5)
    base = dataclasses.replace(parameters.nodules[0], texture="solid", attached="")
    hollow, small = (
        dataclasses.replace(base, diameter_mm=24.0, cavity=0.5),
        dataclasses.replace(base, diameter_mm=2.5, cavity=0.0),
    )
    image = np.full(grid.shape, -860.0, np.float32)
    nodules = [(nodule, paint_nodule(image, grid, nodule, parameters.chest, plan)) for nodule in (hollow, small)]
    sessions = read_chest(3, nodules, grid, plan.lungs, plan.grid)
    marks = [mark for session in sessions for mark in session if mark.nodule]
    large = [mark for mark in marks if mark.ratings is not None]
    assert len(large) >= 2
    for mark in large:
        assert any(not outline.inclusion for outline in mark.outlines)
        assert mark.ratings is not None
        assert mark.ratings["internalStructure"] in (1, 4)
    points = [mark for mark in read_chest(3, nodules[1:], grid, plan.lungs, plan.grid)[0] if mark.nodule]
    for mark in points:
        assert [len(outline.points) for outline in mark.outlines] == [1]
        assert mark.ratings is None


def test_ratings_follow_the_grade_and_scatter_by_about_one(drawn: Drawn) -> None:
    parameters, plan = drawn[0]
    grid = chest_grid(parameters.chest, 128, 330.0, 2.5)
    base = dataclasses.replace(parameters.nodules[0], diameter_mm=12.0, texture="solid", cavity=0.0)
    part = paint_nodule(np.full(grid.shape, -860.0, np.float32), grid, base, parameters.chest, plan)
    means = []
    for grade in (1, 3, 5):
        nodule = dataclasses.replace(base, grade=grade)
        ratings = [
            mark.ratings["malignancy"]
            for seed in range(12)
            for session in read_chest(seed, [(nodule, part)], grid, plan.lungs, plan.grid)
            for mark in session
            if mark.ratings
        ]
        assert all(1 <= rating <= 5 for rating in ratings)
        means.append(float(np.mean(ratings)))
        assert len(set(ratings)) > 1
    np.testing.assert_allclose(means, (1.25, 3, 4.75), atol=0.45)


SMALL: dict[str, Any] = {"patients": 2, "seed": 3, "size": 64, "spacing_mm": 5.0}


def _hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lung_phantom(tmp_path_factory.mktemp("phantom") / "tree", LungPhantomOptions(**SMALL))


def test_the_tree_is_that_of_the_archive(tree: Path) -> None:
    assert sorted(path.name for path in tree.iterdir()) == ["PHANTOM-LUNG-0001", "PHANTOM-LUNG-0002"]
    for number, patient in enumerate(sorted(tree.iterdir()), 1):
        (study,) = (path for path in patient.iterdir() if path.is_dir())
        (series,) = study.iterdir()
        files = sorted(series.glob("*.dcm"))
        assert [file.name for file in files] == [f"1-{i:03}.dcm" for i in range(1, len(files) + 1)]
        assert [path.name for path in series.glob("*.xml")] == [f"{number:03}.xml"]
        image = pydicom.dcmread(files[0])
        assert (image.StudyInstanceUID, image.SeriesInstanceUID) == (study.name, series.name)
        assert image.PatientID == patient.name
        truth = json.loads((patient / "truth.json").read_text())
        assert {"grade", "centre_mm", "diameter_mm"} <= truth["nodules"][0].keys()


def test_files_do_not_depend_on_workers_and_follow_the_seed(tree: Path, tmp_path: Path) -> None:
    again = write_lung_phantom(tmp_path / "again", LungPhantomOptions(**SMALL | {"workers": 2}))
    assert _hashes(again) == _hashes(tree)


def test_another_seed_makes_another_patient(drawn: Drawn) -> None:
    other, _ = draw(LungPhantomOptions(**OPTIONS.model_dump() | {"seed": 12}), 0)
    assert other.chest != drawn[0][0].chest
    assert other.nodules[0].centre_mm != drawn[0][0].nodules[0].centre_mm


def test_nothing_is_overwritten_unasked(tree: Path) -> None:
    with pytest.raises(OutputError, match="expected a new name"):
        write_lung_phantom(tree, LungPhantomOptions(**SMALL))


@pytest.mark.parametrize("wrong", [{"size": 1024}, {"spacing_mm": 0.1}, {"malignant": 1.5}, {"colour": "red"}])
def test_options_have_bounds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LungPhantomOptions(**wrong)
