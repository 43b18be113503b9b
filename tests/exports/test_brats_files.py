"""BraTS names and labels of 2023, read by our own reader; what does not fit them is refused."""

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
from synthoma.errors import CohortError
from synthoma.exports import export_brats
from synthoma.exports.options import BratsExport
from synthoma.records import Cohort
from synthoma.scans import BratsData, find, read

Make = Callable[..., Cohort]
PARTS = ("body", "necrosis", "oedema", "enhancing")


def glioma(patient: str = "P1", **fields: Any) -> Any:
    """A volume of all channels and parts, no two of which hold a voxel."""
    one = samples((8, 9, 10), [0], patient=patient)
    labels = np.random.default_rng(5).integers(0, 4, (8, 9, 10))
    masks = np.stack([labels >= 0, labels == 1, labels == 2, labels == 3])[None].astype(np.uint8)
    images = np.concatenate([one.images, one.images[:, ::-1] * 0.5], axis=1)
    basic = replace(one, images=images, channels=("t1", "t1ce", "t2", "flair"), masks=masks, mask_names=PARTS, site="A")
    return replace(basic, intensity=dict.fromkeys(basic.channels, (0.0, 900.0)), **fields)


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_our_own_reader_reads_intensities_masks_and_places(
    brains: dict[str, Cohort], tmp_path: Path, kind: str
) -> None:
    cohort = brains[kind]
    out = export_brats(cohort, tmp_path / "out")
    options = BratsData(path=out)
    cases = find(options).cases
    patients = {row["participant_id"]: row["patient"] for row in table_of(out, "participants.tsv", "\t")}
    assert sorted(patients) == [f"BraTS-GLI-{number:05d}" for number in range(4)]
    assert sorted(patients.values()) == list(cohort.patients)
    assert [case.name for case in cases] == [f"{name}-000" for name in patients]
    for case in cases:
        scan, patient = read(case, options), patients[case.patient]
        rows = cohort.rows(patient=patient)
        assert case.convention == "2023"
        assert scan.site == cohort.table["site"][rows[0]] != ""
        assert np.abs(scan.grid.affine - cohort.grids[patient]["prepared"].affine).max() < 1e-3
        for row in rows:
            z = slice(None) if kind != "slices" else int(cohort.table["slice"][row])
            for number, name in enumerate(cohort.channels):
                truth = to_scanner_unit(cohort, row, name, cohort.images[row, number])
                assert np.array_equal(scan.channels[name][z], truth)
            for number, name in enumerate(cohort.lesion_names, start=1):
                mine, later = cohort.masks[row, number] > 0, cohort.masks[row, number + 1 :].any(axis=0)
                assert np.array_equal(scan.masks[name][z], mine & ~later)  # parts resized apart touch by a voxel


def test_names_and_labels_are_those_of_2023(make: Make, tmp_path: Path) -> None:
    out = export_brats(make(glioma(), glioma("P0"), grids={"P1": turned((8, 9, 10))}), tmp_path / "out")
    suffixes = ("t1n", "t1c", "t2w", "t2f", "seg")
    files = {f"BraTS-GLI-0000{k}-000/BraTS-GLI-0000{k}-000-{s}.nii.gz" for k in (0, 1) for s in suffixes}
    assert tree(out) == files | {"samples.csv", "about.json", "participants.tsv"}
    seg = np.asarray(nibabel.load(out / "BraTS-GLI-00001-000/BraTS-GLI-00001-000-seg.nii.gz").dataobj).T
    for label, number in ((1, 1), (2, 2), (3, 3)):  # NCR, ED, ET
        assert np.array_equal(seg == label, glioma().masks[0, number] > 0)
    assert [row["files"].split("/")[0] for row in table_of(out)] == ["BraTS-GLI-00001-000", "BraTS-GLI-00000-000"]


def test_brats_names_stay_and_time_points_are_counted(make: Make, tmp_path: Path) -> None:
    names = ("BraTS-GLI-00123", "BraTS-GLI-00007", "BraTS-GLI-00123")
    out = export_brats(make(*(glioma(name) for name in names)), tmp_path / "out", risk="phantoms")
    assert {path.name for path in out.iterdir() if path.is_dir()} == {
        "BraTS-GLI-00123-000", "BraTS-GLI-00007-000", "BraTS-GLI-00123-001",
    }  # fmt: skip
    assert {case.patient for case in find(BratsData(path=out)).cases} == set(names)
    assert json.loads((out / "about.json").read_text())["accepted_privacy_risk"] == "phantoms"


def test_where_parts_overlap_the_later_of_necrosis_oedema_enhancing_has_the_voxel(make: Make, tmp_path: Path) -> None:
    masks = np.ones((1, 4, 8, 9, 10), np.uint8)
    one = glioma(masks=masks, mask_names=("body", "enhancing", "oedema", "necrosis"))
    out = export_brats(make(one), tmp_path / "out")
    seg = nibabel.load(out / "BraTS-GLI-00000-000/BraTS-GLI-00000-000-seg.nii.gz")
    assert (np.asarray(seg.dataobj) == 3).all()
    assert json.loads((out / "about.json").read_text())["voxels_in_several_masks"] == 720


def test_missing_channels_by_setting_only(make: Make, tmp_path: Path) -> None:
    one = glioma()
    cohort = make(replace(one, images=one.images[:, 3:], channels=("flair",)))
    expected = (
        "channels: expected all of t1, t1ce, t2, flair, found flair.\nAdd --allow-missing to write cases without t1"
    )
    with pytest.raises(CohortError, match=expected):
        export_brats(cohort, tmp_path / "out")
    out = export_brats(cohort, tmp_path / "out", options=BratsExport(allow_missing=True))
    (case,) = find(BratsData(path=out)).cases
    assert case.missing == ("t1", "t1ce", "t2")


@pytest.mark.parametrize(
    ("fields", "more", "message"),
    [
        ({"modality": "CT"}, {}, "modality: expected MR, as BraTS has it, found CT"),
        ({"channels": ("t1", "t1ce", "t2", "adc")}, {}, "channels: expected of t1, t1ce, t2, flair, found adc"),
        (
            {"mask_names": ("body", "a", "b", "c")},
            {},
            "masks of the lesion: expected necrosis, oedema, enhancing, found",
        ),
        ({}, {"origin": "synthetic"}, "volume P1_0-0000: expected a lesion that is known, found none"),
        ({"labels": ("unlabelled",)}, {}, "volume P1_0-0000: expected a lesion that is known, found none"),
    ],
)
def test_what_does_not_fit(make: Make, tmp_path: Path, fields: Any, more: Any, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        export_brats(make(glioma(**fields), **more), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.cohort"]
