"""NIfTI files: values, labels and places come back, by nibabel and by our own reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from exported import samples, table_of, tree, turned

from synthoma.cohort import to_scanner_unit
from synthoma.errors import CohortError, OutputError
from synthoma.exports import export_nifti
from synthoma.preprocessing import Normalise, PreprocessingOptions, ResizeVolume, preprocess, sample
from synthoma.preprocessing import VolumeSampling as Volumes
from synthoma.records import Cohort, Grid, Scan
from synthoma.scans import NiftiData, find, read

Make = Callable[..., Cohort]


def load(path: Path) -> tuple[Any, Any]:
    """Array (z, y, x) and the image."""
    image = nibabel.load(path)
    return np.asanyarray(image.dataobj).T, image


def test_a_volume_comes_back_at_its_place_in_the_scanners_unit(make: Make, tmp_path: Path) -> None:
    grid = turned((8, 9, 10))
    cohort = make(samples((8, 9, 10), [0]), grids={"P1": grid})
    out = export_nifti(cohort, tmp_path / "out")
    files = ["t1.nii.gz", "flair.nii.gz", "body.nii.gz", "seg.nii.gz"]
    assert tree(out) == {"samples.csv", "about.json", *(f"P1_0-0000/{name}" for name in files)}
    for name in ("t1", "flair"):
        array, image = load(out / f"P1_0-0000/{name}.nii.gz")
        assert array.dtype == np.float32
        assert np.array_equal(array, to_scanner_unit(cohort, 0, name, cohort.channel(name)[0]))
        assert np.array_equal(image.affine, grid.affine.astype(np.float32))  # as NIfTI-1 holds it
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
        assert np.allclose(image.get_qform(), grid.affine, atol=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"
    low, high = cohort.table["low_t1"][0], cohort.table["high_t1"][0]
    assert (low, high) == (10, 250)
    seg, image = load(out / "P1_0-0000/seg.nii.gz")
    assert seg.dtype == np.uint8
    assert np.array_equal(image.affine, grid.affine.astype(np.float32))
    assert np.array_equal(seg == 1, cohort.masks[0, 1] > 0)
    assert np.array_equal(seg == 2, cohort.masks[0, 2] > 0)
    assert np.array_equal(load(out / "P1_0-0000/body.nii.gz")[0], cohort.masks[0, 0])
    assert table_of(out) == [
        {
            "id": "P1/0-0000",
            "patient": "P1",
            "label": "tumour",
            "origin": "real",
            "unit": "arbitrary",
            "slice": "",
            "files": ";".join(f"P1_0-0000/{name}" for name in files),
        }
    ]
    about = json.loads((out / "about.json").read_text())
    assert (about["labels"], about["voxels_in_several_masks"]) == ({"1": "oedema", "2": "core"}, 0)


def test_simpleitk_sees_the_same_place(make: Make, tmp_path: Path) -> None:
    import SimpleITK

    grid = turned((8, 9, 10))
    out = export_nifti(make(samples((8, 9, 10), [0]), grids={"P1": grid}), tmp_path / "out")
    image = SimpleITK.ReadImage(str(out / "P1_0-0000/t1.nii.gz"))
    for x, y, z in ((0, 0, 0), (9, 8, 7), (3, 5, 1)):
        right, front, up, _ = grid.affine @ [x, y, z, 1]
        assert image.TransformIndexToPhysicalPoint((x, y, z)) == pytest.approx((-right, -front, up), abs=1e-4)  # LPS


def test_our_own_reader_reads_the_scan_that_was_prepared(make: Make, tmp_path: Path) -> None:
    """Scan → steps → cohort → files → Scan: the values and the place of the prepared scan."""
    rng = np.random.default_rng(0)
    shape = (12, 20, 16)
    body = np.zeros(shape, np.uint8)
    body[2:10, 3:17, 3:14] = 1
    core, oedema = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    core[4:7, 6:12, 6:9], oedema[4:7, 6:12, 9:12] = 1, 1
    image = (rng.normal(100, 20, shape) * body).astype(np.float32)
    scan = Scan({"t1": image}, {"body": body, "oedema": oedema, "core": core}, turned(shape), "P1")
    steps = (Normalise(low_percent=0, high_percent=100), ResizeVolume(size=24, crop="body"))
    options = PreprocessingOptions(steps=steps, sampling=Volumes())
    prepared = preprocess(scan, options)
    out = export_nifti(make(sample(prepared, options), grids={"P1": prepared.grid}), tmp_path / "out")
    masks = {"body": "{patient}/body.nii.gz"} | {
        name: {"file": "{patient}/seg.nii.gz", "labels": [label]} for label, name in ((1, "oedema"), (2, "core"))
    }
    data = NiftiData.model_validate({"path": out, "channels": {"t1": "{patient}/t1.nii.gz"}, "masks": masks})
    (case,) = find(data).cases
    again = read(case, data)
    assert np.array_equal(again.grid.affine.astype(np.float32), prepared.grid.affine.astype(np.float32))
    assert again.grid.close_to(prepared.grid, 1e-5)
    assert again.grid.known
    low, high = prepared.intensity["t1"]
    assert np.allclose(again.channels["t1"], low + (prepared.channels["t1"] + 1) / 2 * (high - low), rtol=1e-6)
    for name in ("body", "oedema", "core"):
        assert np.array_equal(again.masks[name], prepared.masks[name])
    # where the body is, the values are those of the scanner, only resampled
    inside = again.channels["t1"][again.masks["body"] > 0]
    assert 80 < inside.mean() < 105


def test_slices_lie_at_their_place_in_their_scan(make: Make, tmp_path: Path) -> None:
    grid = turned((7, 9, 10))
    first, second = samples((9, 10), [1, 4, 6]), samples((9, 10), [4])
    third = samples((9, 10), [4], patient="P2")
    cohort = make(first, second, third, grids={"P1": grid, "P2": turned((5, 9, 10))})
    out = export_nifti(cohort, tmp_path / "out")
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"P1", "P1-2", "P2"}
    array, image = load(out / "P1/t1.nii.gz")
    assert array.shape == (7, 9, 10)
    assert np.array_equal(image.affine, grid.affine.astype(np.float32))
    for row, place in enumerate((1, 4, 6)):
        assert np.array_equal(array[place], to_scanner_unit(cohort, row, "t1", cohort.channel("t1")[row]))
    assert (array[[0, 2, 3, 5]] == 10).all()  # what −1 stands for
    assert (load(out / "P1/flair.nii.gz")[0][0] == -3.5).all()
    seg = load(out / "P1/seg.nii.gz")[0]
    assert np.array_equal(seg[4] == 2, cohort.masks[1, 2] > 0)
    assert not seg[[0, 2, 3, 5]].any()
    assert not load(out / "P1/body.nii.gz")[0][0].any()
    assert np.array_equal(load(out / "P1-2/t1.nii.gz")[0][4], to_scanner_unit(cohort, 3, "t1", cohort.images[3, 0]))
    rows = table_of(out)
    assert [row["id"] for row in rows] == cohort.table["id"].tolist()
    assert [row["slice"] for row in rows] == ["1", "4", "6", "4", "4"]
    assert [row["files"].split("/")[0] for row in rows] == ["P1", "P1", "P1", "P1-2", "P2"]


def test_hounsfield_units_are_whole_numbers(make: Make, tmp_path: Path) -> None:
    ct = samples((9, 10), [2], unit="HU", modality="CT", intensity={"t1": (-1000.0, 400.0), "flair": (-4e4, 4e4)})
    cohort = make(ct, grids={"P1": turned((4, 9, 10))})
    out = export_nifti(cohort, tmp_path / "out")
    array, image = load(out / "P1/t1.nii.gz")
    assert (array.dtype, image.header.get_data_dtype()) == (np.int16, np.int16)
    assert np.abs(array[2] - to_scanner_unit(cohort, 0, "t1", cohort.images[0, 0])).max() <= 0.5001
    assert (array[0] == -1000).all()
    array, image = load(out / "P1/flair.nii.gz")  # beyond what 16 bits hold with a slope of 1
    truth = to_scanner_unit(cohort, 0, "flair", cohort.images[0, 1])
    step, _ = nibabel.load(out / "P1/flair.nii.gz").dataobj.slope, image.dataobj.inter
    assert 1 < step < 1.3
    assert np.abs(array[2] - truth).max() <= 0.5 * step + 0.02
    assert table_of(out)[0]["unit"] == "HU"


@pytest.mark.parametrize("shape", [(9, 10), (8, 9, 10)])
@pytest.mark.parametrize("spacing", [True, False])
def test_without_a_place_only_the_spacing_is_told(make: Make, tmp_path: Path, shape: Any, spacing: bool) -> None:
    unknown = {"P2": Grid.unknown((8, 9, 10))}
    fields = {} if spacing else {"spacing_mm": None}
    one, two = (samples(shape, [3], patient=name, **fields) for name in ("P1", "P2"))
    out = export_nifti(make(one, two, grids=unknown), tmp_path / "out")
    for name in ("P1_0-0003", "P2_1-0003"):
        array, image = load(out / f"{name}/t1.nii.gz")
        assert array.shape == ((1, *shape) if len(shape) == 2 else shape)
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (0, 0)
        expected = (0.7, 0.9, 3.3)[: len(shape)] if spacing else ()
        zooms = (*expected, *(1.0,) * (3 - len(expected)))
        assert image.header.get_zooms() == pytest.approx(zooms)
        assert np.allclose(np.abs(np.diag(image.affine)[:3]), zooms)
    data = NiftiData.model_validate({"path": out, "channels": {"t1": "{patient}/t1.nii.gz"}})
    assert "the header gives no orientation" in read(find(data).cases[0], data).notes[0]


def test_images_from_noise_stay_in_their_range(make: Make, tmp_path: Path) -> None:
    made = samples((8, 9, 10), [0], patient="synthetic-00001", intensity={}, spacing_mm=None, unit="HU")
    cohort = make(made, origin="synthetic")
    out = export_nifti(cohort, tmp_path / "out")
    array, _ = load(out / "synthetic-00001_0-0000/t1.nii.gz")
    assert array.dtype == np.float32
    assert np.array_equal(array, cohort.images[0, 0])
    assert (table_of(out)[0]["unit"], table_of(out)[0]["origin"]) == ("[-1, 1]", "synthetic")
    assert not (out / "synthetic-00001_0-0000/seg.nii.gz").exists()  # an empty one would say: no lesion
    from_a_scan = make(samples((8, 9, 10), [0]), origin="synthetic", made_from=["P9/0000"])
    assert (export_nifti(from_a_scan, tmp_path / "other") / "P1_0-0000/seg.nii.gz").exists()


def test_a_sheared_grid_keeps_its_sform(make: Make, tmp_path: Path) -> None:
    affine = turned((8, 9, 10)).affine
    affine[:3, 2] += 0.8 * affine[:3, 0]  # a gantry that is tilted
    grid = Grid.from_affine((8, 9, 10), affine)
    _, image = load(
        export_nifti(make(samples((8, 9, 10), [0]), grids={"P1": grid}), tmp_path / "o") / "P1_0-0000/t1.nii.gz"
    )
    assert np.array_equal(image.affine, grid.affine.astype(np.float32))
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)


def test_the_later_mask_has_a_voxel_that_two_hold(make: Make, tmp_path: Path) -> None:
    masks = np.ones((1, 3, 8, 9, 10), np.uint8)
    masks[0, 2, 4:] = 0
    out = export_nifti(make(samples((8, 9, 10), [0], masks=masks), grids={"P1": turned((8, 9, 10))}), tmp_path / "out")
    seg, _ = load(out / "P1_0-0000/seg.nii.gz")
    assert (seg[:4] == 2).all()
    assert (seg[4:] == 1).all()
    assert json.loads((out / "about.json").read_text())["voxels_in_several_masks"] == 4 * 9 * 10


def test_without_masks_of_a_lesion_there_is_no_seg(make: Make, tmp_path: Path) -> None:
    one = samples((8, 9, 10), [0])
    out = export_nifti(make(replace(one, masks=one.masks[:, :1], mask_names=("body",))), tmp_path / "out")
    assert {path.name for path in (out / "P1_0-0000").iterdir()} == {"t1.nii.gz", "flair.nii.gz", "body.nii.gz"}


def test_names_become_names_of_folders_that_differ(make: Make, tmp_path: Path) -> None:
    parts = [samples((9, 10), [3], patient=name) for name in ("../../a b", "..-..-a b", "A:B", "a:b")]
    out = export_nifti(make(*parts), tmp_path / "deep" / "out")
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert len({name.lower() for name in folders}) == 4
    assert all("/" not in name and not name.startswith(".") for name in folders)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "x.cohort"}


def test_the_same_cohort_gives_the_same_bytes(make: Make, tmp_path: Path) -> None:
    cohort = make(samples((8, 9, 10), [0]), grids={"P1": turned((8, 9, 10))})
    first, second = (export_nifti(cohort, tmp_path / name) for name in ("a", "b"))
    assert tree(first) == tree(second)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in tree(first))


@pytest.mark.parametrize(
    ("shape", "slices", "grid", "message"),
    [
        ((9, 10), [5], (5, 9, 10), "scan P1: expected slices 0 to 4, found 5"),
        ((9, 10), [2], (5, 9, 11), r"scan P1: expected a grid of the images' shape \(9, 10\), found \(9, 11\)"),
        (
            (8, 9, 10),
            [0],
            (9, 9, 10),
            r"scan P1: expected a grid of the images' shape \(8, 9, 10\), found \(9, 9, 10\)",
        ),
    ],
)
def test_a_grid_that_is_not_that_of_the_images(
    make: Make, tmp_path: Path, shape: Any, slices: Any, grid: Any, message: str
) -> None:
    cohort = make(samples(shape, slices), grids={"P1": turned(grid)})
    with pytest.raises(CohortError, match=message):
        export_nifti(cohort, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.cohort"]  # nothing half-written


@pytest.mark.parametrize("channels", [("t1", "seg"), ("Body", "t1"), ("t1 a", "t1_a")])
def test_channels_whose_files_would_have_one_name(make: Make, tmp_path: Path, channels: tuple[str, str]) -> None:
    one = samples((9, 10), [3], channels=channels, intensity={})
    found = f"found {', '.join(channels)}"
    with pytest.raises(CohortError, match=f"channels: expected names that differ as files, from 'body' and .*{found}"):
        export_nifti(make(one), tmp_path / "out")


def test_nothing_is_overwritten_unasked(make: Make, tmp_path: Path) -> None:
    cohort = make(samples((9, 10), [3]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="expected a new name, found one that exists"):
        export_nifti(cohort, tmp_path / "out")
    export_nifti(cohort, tmp_path / "out", overwrite=True)
    assert "mine.txt" not in tree(tmp_path / "out")
