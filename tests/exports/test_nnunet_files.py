"""nnU-Net's raw layout: read by our own reader and checked by its rules; patients stay together in every fold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from exported import samples, table_of, tree, turned

from synthoma.cohort import to_scanner_unit
from synthoma.errors import CohortError, OutputError, SettingError
from synthoma.exports import export_nnunet
from synthoma.exports.options import NnunetExport
from synthoma.records import Cohort
from synthoma.scans import NnunetData, find, read

Make = Callable[..., Cohort]


def integrity(folder: Path) -> list[str]:
    """What nnU-Net's ``verify_dataset_integrity`` (version 2) would complain of, written from its documentation: names,
    count, labels, geometry to 1e-4, NaN, and that labels are consecutive whole numbers from the background on."""
    content = json.loads((folder / "dataset.json").read_text())
    complaints = [
        f"lacks {key}" for key in ("channel_names", "labels", "numTraining", "file_ending") if key not in content
    ]
    ending, channels = content["file_ending"], content["channel_names"]
    labels = sorted(content["labels"].values())
    if content["labels"].get("background") != 0 or labels != list(range(len(labels))):
        complaints.append(f"labels {labels}")
    if sorted(channels, key=int) != [str(number) for number in range(len(channels))]:
        complaints.append(f"channels {list(channels)}")
    cases = {path.name.removesuffix(ending)[:-5] for path in (folder / "imagesTr").iterdir()}
    annotated = {path.name.removesuffix(ending) for path in (folder / "labelsTr").iterdir()}
    if cases != annotated or len(cases) != content["numTraining"]:
        complaints.append(f"{len(cases)} images, {len(annotated)} labels, {content['numTraining']} announced")
    for case in sorted(cases):
        seg = SimpleITK.ReadImage(str(folder / "labelsTr" / f"{case}{ending}"))
        found = set(np.unique(SimpleITK.GetArrayFromImage(seg)).tolist())
        if not found <= set(labels):
            complaints.append(f"{case}: labels {found}")
        for number in range(len(channels)):
            image = SimpleITK.ReadImage(str(folder / "imagesTr" / f"{case}_{number:04d}{ending}"))
            if image.GetSize() != seg.GetSize() or not np.isfinite(SimpleITK.GetArrayFromImage(image)).all():
                complaints.append(f"{case}: shape or NaN")
            complaints += [
                f"{case}: {name}"
                for name in ("GetSpacing", "GetOrigin", "GetDirection")
                if not np.allclose(getattr(image, name)(), getattr(seg, name)(), atol=1e-4)
            ]
    return complaints


def test_the_check_finds_what_is_wrong(brains: dict[str, Cohort], tmp_path: Path) -> None:
    out = export_nnunet(brains["volumes"], tmp_path / "out", options=NnunetExport(splits="none"))
    file = out / "labelsTr/BraTS2021_00002.nii.gz"
    image = nibabel.load(file)
    moved = image.affine + np.diag([0, 0, 0.2, 0])
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + 1, moved), file)
    announced = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps(announced | {"numTraining": 5}))
    found = " ".join(integrity(out))
    assert "4 images, 4 labels, 5 announced" in found
    assert "BraTS2021_00002: labels {1, 2, 3, 4}" in found
    assert "BraTS2021_00002: GetSpacing" in found


def splits_of(folder: Path) -> list[dict[str, list[str]]]:
    return list(json.loads((folder / "splits_final.json").read_text()))


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_our_own_reader_reads_intensities_masks_places_and_patients(
    brains: dict[str, Cohort], tmp_path: Path, kind: str
) -> None:
    cohort = brains[kind]
    out = export_nnunet(cohort, tmp_path / "Dataset101_Brain", options=NnunetExport(splits="none"))
    assert integrity(out) == []
    options = NnunetData(path=out)
    found = find(options)
    assert found.notes == ()
    assert tuple(case.patient for case in found.cases) == cohort.patients
    for case in found.cases:
        scan, rows = read(case, options), cohort.rows(patient=case.patient)
        grid = cohort.grids[case.patient]["prepared"]
        assert np.abs(scan.grid.affine - grid.affine).max() < 1e-3
        assert (scan.modality, tuple(scan.channels), scan.lesions) == ("MR", cohort.channels, cohort.lesion_names)
        for row in rows:
            z = slice(None) if kind != "slices" else int(cohort.table["slice"][row])
            for number, name in enumerate(cohort.channels):
                truth = to_scanner_unit(cohort, row, name, cohort.images[row, number])
                assert np.array_equal(scan.channels[name][z], truth)
            for number, name in enumerate(cohort.lesion_names, start=1):
                mine, later = cohort.masks[row, number] > 0, cohort.masks[row, number + 1 :].any(axis=0)
                assert np.array_equal(scan.masks[name][z], mine & ~later)  # parts resized apart touch by a voxel


def test_ct_is_whole_numbers_and_named_so_that_nnunet_windows_it(livers: dict[str, Cohort], tmp_path: Path) -> None:
    cohort = livers["volumes"]
    out = export_nnunet(cohort, tmp_path / "Dataset102_Liver")
    content = json.loads((out / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT"}
    assert content["labels"] == {"background": 0, "tumour": 1}
    assert nibabel.load(out / "imagesTr/HCC_002_0000.nii.gz").get_data_dtype() == np.int16
    options = NnunetData(path=out)
    scan = read(find(options).cases[0], options)
    truth = to_scanner_unit(cohort, 1, "ct", cohort.images[1, 0])
    assert (scan.unit, scan.modality) == ("HU", "CT")
    assert np.abs(scan.channels["ct"] - truth).max() <= 0.5001


def test_test_patients_are_held_out_and_the_validation_patients_are_a_fold(
    livers: dict[str, Cohort], tmp_path: Path
) -> None:
    cohort = livers["slices"]
    out = export_nnunet(cohort, tmp_path / "out", options=NnunetExport(slices="single"))
    assert integrity(out) == []
    who = {row["case"]: row for row in table_of(out)}
    (split,) = splits_of(out)
    assert {who[case]["patient"] for case in split["train"]} == {"HCC_002"}
    assert {who[case]["patient"] for case in split["val"]} == {"HCC_001"}
    assert {who[path.name[:-7]]["patient"] for path in (out / "labelsTs").iterdir()} == {"HCC_000"}
    assert len(list((out / "imagesTs").iterdir())) == len(cohort.rows(patient="HCC_000"))
    assert {row["part"] for row in who.values() if row["split"] == "test"} == {"Ts"}
    assert len(who) == len(cohort)


@pytest.mark.parametrize("slices", ["stack", "single"])
def test_folds_keep_a_patient_on_one_side(brains: dict[str, Cohort], tmp_path: Path, slices: Any) -> None:
    cohort = brains["slices"]
    out = export_nnunet(cohort, tmp_path / "out", options=NnunetExport(splits="folds", slices=slices))
    who = {row["case"]: row["patient"] for row in table_of(out)}
    splits = splits_of(out)
    assert len(splits) == 3
    for split in splits:
        assert not {who[case] for case in split["train"]} & {who[case] for case in split["val"]}
        assert {*split["train"], *split["val"]} == set(who)
    assert sorted(case for split in splits for case in split["val"]) == sorted(who)
    assert not (out / "imagesTs").exists()


def test_without_validation_patients_the_folds_of_the_others_are_taken(make: Make, tmp_path: Path) -> None:
    parts = {"A": ("train", 0), "B": ("train", 1), "C": ("test", 0)}
    cohort = make(*(samples((8, 9, 10), [0], patient=name) for name in parts))
    for column in (0, 1):
        values = np.array([parts[str(name)][column] for name in cohort.table["patient"]])
        cohort = replace(cohort, table={**cohort.table, ("split", "fold")[column]: values})
    out = export_nnunet(cohort, tmp_path / "out")
    assert splits_of(out) == [{"train": ["B"], "val": ["A"]}, {"train": ["A"], "val": ["B"]}]
    assert (out / "labelsTs/C.nii.gz").is_file()


def test_a_cohort_without_a_split_has_none(make: Make, tmp_path: Path) -> None:
    cohort = make(samples((8, 9, 10), [0]))
    out = export_nnunet(cohort, tmp_path / "out")
    assert "splits_final.json" not in tree(out)
    with pytest.raises(SettingError, match="splits: expected a cohort with folds, found one without"):
        export_nnunet(cohort, tmp_path / "other", options=NnunetExport(splits="folds"))
    assert not (tmp_path / "other").exists()


def test_the_declared_order_decides_where_two_masks_hold_a_voxel(make: Make, tmp_path: Path) -> None:
    masks = np.ones((1, 3, 8, 9, 10), np.uint8)
    masks[0, 2, 4:] = 0
    cohort = make(replace(samples((8, 9, 10), [0]), masks=masks), grids={"P1": turned((8, 9, 10))})
    first = export_nnunet(cohort, tmp_path / "first")
    seg = np.asarray(nibabel.load(first / "labelsTr/P1.nii.gz").dataobj).T
    assert (seg[:4] == 2).all()
    assert (seg[4:] == 1).all()
    other = export_nnunet(cohort, tmp_path / "other", options=NnunetExport(masks=("core", "oedema")))
    assert (np.asarray(nibabel.load(other / "labelsTr/P1.nii.gz").dataobj) == 2).all()
    assert json.loads((other / "dataset.json").read_text())["labels"] == {"background": 0, "core": 1, "oedema": 2}
    about = json.loads((other / "about.json").read_text())
    assert (about["labels"], about["voxels_in_several_masks"]) == ({"1": "core", "2": "oedema"}, 4 * 9 * 10)
    whole = export_nnunet(cohort, tmp_path / "whole", options=NnunetExport(masks=("body",)))
    assert json.loads((whole / "dataset.json").read_text())["labels"] == {"background": 0, "body": 1}


def test_int16_of_mr_has_a_slope(brains: dict[str, Cohort], tmp_path: Path) -> None:
    cohort = brains["volumes"]
    out = export_nnunet(cohort, tmp_path / "out", options=NnunetExport(numbers="int16"))
    image = nibabel.load(out / "imagesTr/BraTS2021_00001_0003.nii.gz")
    row = int(cohort.rows(patient="BraTS2021_00001")[0])
    truth = to_scanner_unit(cohort, row, "flair", cohort.channel("flair")[row])
    assert image.get_data_dtype() == np.int16
    assert np.abs(image.get_fdata().T - truth).max() <= 0.51 * (truth.max() - truth.min()) / 65534 + 1e-3
    itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out / "imagesTr/BraTS2021_00001_0003.nii.gz")))
    assert np.allclose(itk, image.get_fdata().T, atol=1e-2)


def test_second_volumes_of_a_patient_are_numbered(make: Make, tmp_path: Path) -> None:
    parts = [samples((8, 9, 10), [0], patient=name) for name in ("P1", "P1", "p1", "P1-2")]
    out = export_nnunet(make(*parts), tmp_path / "out")
    cases = [row["case"] for row in table_of(out)]
    assert cases[:2] == ["P1", "P1-2"]
    assert len({case.lower() for case in cases}) == 4
    assert integrity(out) == []


def test_cases_whose_lesion_nobody_knows_are_left_out_and_named(make: Make, tmp_path: Path) -> None:
    known = samples((8, 9, 10), [0])
    out = export_nnunet(make(known, samples((8, 9, 10), [0], patient="P2", labels=("unlabelled",))), tmp_path / "out")
    assert json.loads((out / "about.json").read_text())["left_out"] == ["P2_1-0000"]
    assert [row["patient"] for row in table_of(out)] == ["P1"]
    with pytest.raises(CohortError, match="expected a training case with labels, found none of 1"):
        export_nnunet(make(known, origin="synthetic", name="noise"), tmp_path / "other")


def test_the_accepted_risk_is_written_down(brains: dict[str, Cohort], tmp_path: Path) -> None:
    out = export_nnunet(brains["synthetic"], tmp_path / "out", risk="phantoms only")
    assert "phantoms only" in json.loads((out / "dataset.json").read_text())["description"]
    assert json.loads((out / "about.json").read_text())["accepted_privacy_risk"] == "phantoms only"


def test_what_cannot_be_labels(make: Make, tmp_path: Path) -> None:
    cohort = make(samples((8, 9, 10), [0]))
    with pytest.raises(SettingError, match=r"expected masks of the cohort, found 'odema'\.\nDid you mean 'oedema'"):
        export_nnunet(cohort, tmp_path / "out", options=NnunetExport(masks=("odema",)))
    with pytest.raises(CohortError, match="masks: expected 1 to 254 that differ, to become labels, found core, core"):
        export_nnunet(cohort, tmp_path / "out", options=NnunetExport(masks=("core", "core")))
    one = samples((8, 9, 10), [0])
    bare = make(replace(one, masks=one.masks[:, :1], mask_names=("body",)), name="bare")
    with pytest.raises(CohortError, match="masks: expected 1 to 254 that differ, to become labels, found none"):
        export_nnunet(bare, tmp_path / "out")
    export_nnunet(cohort, tmp_path / "out")
    with pytest.raises(OutputError, match="expected a new name"):
        export_nnunet(cohort, tmp_path / "out")
