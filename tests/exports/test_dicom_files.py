"""DICOM: what a cohort holds comes back by our own readers and by highdicom, and nothing of the source's header."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from exported import PLANTED, every_byte, samples, source_uids, table_of, tree, turned
from hypothesis import given
from hypothesis import strategies as st

from dicom_standard import complaints, conditions
from synthoma.cohort import to_scanner_unit
from synthoma.errors import CohortError, OutputError, SettingError
from synthoma.exports import export_dicom
from synthoma.exports.options import DicomExport
from synthoma.exports.volumes import to_int16
from synthoma.records import Cohort, Grid
from synthoma.scans import DicomData, TciaLiverData, find, read

Make = Callable[..., Cohort]
CHANNELS = {"t1": {"description": "^t1$"}, "flair": {"description": "^flair$"}}


def instances(folder: Path) -> list[Any]:
    """Every DICOM file of an export."""
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


@pytest.fixture(scope="module")
def out(livers: dict[str, Cohort], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The liver cohorts as DICOM, the synthetic one released against its audit."""
    folder = tmp_path_factory.mktemp("dicom")
    risks = {"synthetic": "the images are phantoms"}
    return {name: export_dicom(one, folder / name, risk=risks.get(name, "")) for name, one in livers.items()}


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_our_own_reader_reads_intensities_masks_places_and_patients(
    livers: dict[str, Cohort], out: dict[str, Path], kind: str
) -> None:
    cohort, options = livers[kind], TciaLiverData(path=out[kind])
    cases = {case.patient: case for case in find(options).cases}
    assert tuple(sorted(cases)) == cohort.patients
    for patient, case in cases.items():
        scan, rows = read(case, options), cohort.rows(patient=patient)
        grid = cohort.grids[str(cohort.table["scan"][rows[0]])]["prepared"]
        assert scan.unit == "HU"
        assert scan.grid.shape == grid.shape
        assert np.abs(scan.grid.affine - grid.affine).max() < 1e-3
        for row in rows:
            z = int(cohort.table["slice"][row]) if kind != "volumes" else slice(None)
            truth = to_scanner_unit(cohort, row, "ct", cohort.channel("ct")[row])
            assert np.abs(scan.channels["ct"][z] - truth).max() <= 0.5001
            for number, name in enumerate(cohort.mask_names):
                assert np.array_equal(scan.masks[name][z], cohort.masks[row, number]), name
        assert scan.lesions == ("tumour",)
        assert scan.masks["tumour"].sum() == cohort.masks[rows, 1].sum() > 0


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_every_instance_says_what_it_is(livers: dict[str, Cohort], out: dict[str, Path], kind: str) -> None:
    synthetic, cohort = kind == "synthetic", livers[kind]
    lineage = cohort.lineages[str(cohort.table["lineage"][0])]
    found = instances(out[kind])
    assert len(found) > 3 * 12
    for one in found:
        assert one.get("SyntheticData") == ("YES" if synthetic else None)
        assert one.ImageType[0] == "DERIVED"
        assert one.Modality == "SEG" or one.ImageType[1] == "SECONDARY"
        assert (one.BurnedInAnnotation, one.PatientIdentityRemoved) == ("NO", "YES")
        assert one.PatientID in cohort.patients
        assert lineage.recipe_sha256 in one.DerivationDescription
        assert ("the images are phantoms" in one.DerivationDescription) == synthetic
        steps = [item.ManufacturerModelName for item in one.ContributingEquipmentSequence]
        assert steps == (["synthoma generate", "synthoma prepare"] if synthetic else ["synthoma prepare"])
        first = one.ContributingEquipmentSequence[0]
        assert (first.Manufacturer, first.SoftwareVersions) == ("synthoma", lineage.version)
        assert lineage.recipe_sha256 in first.ContributionDescription
    risk = json.loads((out[kind] / "about.json").read_text()).get("accepted_privacy_risk")
    assert risk == ("the images are phantoms" if synthetic else None)


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_nothing_of_the_source_is_in_any_byte(liver_scans: Path, out: dict[str, Path], kind: str) -> None:
    planted = [word.encode() for word in (*PLANTED, *source_uids(liver_scans))]
    assert all(word in every_byte(liver_scans) for word in planted)
    written = every_byte(out[kind])
    assert not [word for word in planted if word in written]
    assert re.search(rb"zzplanted", written, re.IGNORECASE) is None


def test_identifiers_are_fresh_and_belong_together(out: dict[str, Path]) -> None:
    seen: set[str] = set()
    for folder in out.values():
        found = instances(folder)
        uids = [str(one.SOPInstanceUID) for one in found]
        assert len(set(uids)) == len(uids)
        assert not seen & {*uids, *(str(one.StudyInstanceUID) for one in found)}
        seen |= {*uids, *(str(one.StudyInstanceUID) for one in found)}
        for volume in (path for path in folder.iterdir() if path.is_dir()):
            parts = instances(volume)
            assert len({one.StudyInstanceUID for one in parts}) == len({one.FrameOfReferenceUID for one in parts}) == 1
            assert len({one.SeriesInstanceUID for one in parts}) == 2  # CT and its masks
            (seg,) = (one for one in parts if one.Modality == "SEG")
            (series,) = seg.ReferencedSeriesSequence
            named = {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence}
            assert named == {str(one.SOPInstanceUID) for one in parts if one.Modality == "CT"}
    assert all(pydicom.uid.UID(uid).is_valid for uid in seen)


def test_the_same_cohort_gives_the_same_bytes(livers: dict[str, Cohort], out: dict[str, Path], tmp_path: Path) -> None:
    again = export_dicom(livers["volumes"], tmp_path / "again")
    assert tree(again) == tree(out["volumes"])
    assert all((again / name).read_bytes() == (out["volumes"] / name).read_bytes() for name in tree(again))


def test_highdicom_sees_the_same_volume(out: dict[str, Path], livers: dict[str, Cohort]) -> None:
    """An independent reader: the grid of the images and of the segmentation, and the HU."""
    import highdicom

    cohort = livers["volumes"]
    folder = out["volumes"] / "HCC_000_0000"
    volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in sorted((folder / "ct").iterdir())])
    grid = cohort.grids[str(cohort.table["scan"][0])]["prepared"]
    lps = np.diag([-1.0, -1, 1, 1]) @ grid.affine  # (x, y, z) → LPS
    flip = np.array([[-1, 0, 0, 11], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # it takes slices from the head down
    assert np.abs((volume.affine @ flip)[:3, [2, 1, 0, 3]] - lps[:3]).max() < 1e-3
    truth = to_scanner_unit(cohort, 0, "ct", cohort.images[0, 0])
    assert np.abs(volume.array[::-1] - truth).max() <= 0.5001
    seg = highdicom.seg.segread(folder / "seg.dcm")
    assert [str(seg.get_segment_description(number).segment_label) for number in (1, 2)] == ["body", "tumour"]
    masks = seg.get_volume(combine_segments=False)  # cut to the slices that hold a voxel of any
    places = masks.affine[:3, :3] @ np.argwhere(masks.array[..., 1] > 0).T + masks.affine[:3, 3:]
    wanted = lps[:3, :3] @ np.argwhere(cohort.masks[0, 1] > 0)[:, ::-1].T + lps[:3, 3:]
    assert {tuple(place) for place in places.T.round(2)} == {tuple(place) for place in wanted.T.round(2)}


def test_a_sheared_place_and_two_channels_of_mr_come_back(make: Make, tmp_path: Path) -> None:
    grid = turned((8, 9, 10))
    cohort = make(samples((8, 9, 10), [0], site="here"), grids={"P1": grid})
    folder = export_dicom(cohort, tmp_path / "out")
    options = DicomData.model_validate({"path": folder, "channels": CHANNELS, "patient": "patient-id"})
    (case,) = find(options).cases
    scan = read(case, options)
    assert (scan.patient, scan.modality, scan.unit) == ("P1", "MR", "arbitrary")
    corners = np.array([[0, 0, 0, 1], [9, 8, 7, 1], [3, 5, 1, 1]]).T
    flipped = corners.copy()
    flipped[2] = 7 - flipped[2]  # the reader puts slices from foot to head
    assert np.abs(scan.grid.affine @ flipped - grid.affine @ corners).max() < 1e-3
    for number, name in enumerate(("t1", "flair")):
        one = pydicom.dcmread(folder / f"P1_0-0000/{name}/0001.dcm")
        truth = to_scanner_unit(cohort, 0, name, cohort.images[0, number])
        step = float(one.RescaleSlope)
        assert step == pytest.approx((truth.max() - truth.min()) / 65534, rel=1e-6)
        assert np.abs(scan.channels[name][::-1] - truth).max() <= 0.5 * step * 1.01 + 1e-5
        (mapping,) = one.RealWorldValueMappingSequence
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (step, float(one.RescaleIntercept))
        low, high = (float(cohort.table[f"{end}_{name}"][0]) for end in ("low", "high"))
        assert (float(one.WindowCenter), float(one.WindowWidth)) == ((low + high) / 2, high - low)


def test_masks_of_mr_that_overlap_stay_whole(make: Make, tmp_path: Path) -> None:
    from synthoma.scans.dicom import GeometryRule, find_series, read_series
    from synthoma.scans.dicom_seg import read_seg

    one = samples((8, 9, 10), [0])
    masks = one.masks.copy()
    masks[0, 2] |= masks[0, 1]  # the core lies in the oedema
    grid = replace(Grid.unknown((8, 9, 10)), known=True)
    cohort = make(replace(one, masks=masks), grids={"P1": grid})
    folder = export_dicom(cohort, tmp_path / "out")
    series, _ = find_series(folder)
    (images,) = (s for s in series if s.description == "t1")
    (seg,) = (s for s in series if s.segmentation)
    found = read_seg(seg.instances[0].file, read_series(images, GeometryRule(), folder))
    assert list(found) == ["body", "oedema", "core"]
    for number, mask in enumerate(found.values()):
        assert np.array_equal(mask, masks[0, number])
    segments = pydicom.dcmread(folder / "P1_0-0000/seg.dcm").SegmentSequence
    types = [item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for item in segments]
    assert types == ["Whole body", "Edema", "Lesion"]


def test_slices_become_series_of_one_slice_by_setting(livers: dict[str, Cohort], tmp_path: Path) -> None:
    cohort = livers["slices"].select(np.array([3, 20]))
    folder = export_dicom(cohort, tmp_path / "out", options=DicomExport(slices="single"))
    assert tree(folder) == {
        "about.json", "samples.csv",
        "HCC_000_0003/ct/0001.dcm", "HCC_000_0003/seg.dcm", "HCC_001_0006/ct/0001.dcm", "HCC_001_0006/seg.dcm",
    }  # fmt: skip
    grid = cohort.grids[str(cohort.table["scan"][0])]["prepared"]
    one = pydicom.dcmread(folder / "HCC_000_0003/ct/0001.dcm")
    right, front, up, _ = grid.affine @ [0, 0, 3, 1]
    assert [float(value) for value in one.ImagePositionPatient] == pytest.approx([-right, -front, up], abs=1e-6)
    assert (one.pixel_array == np.rint(to_scanner_unit(cohort, 0, "ct", cohort.images[0, 0]))).all()
    assert table_of(folder)[0]["files"] == "HCC_000_0003/ct/0001.dcm;HCC_000_0003/seg.dcm"


def test_without_a_place_the_image_says_so(make: Make, tmp_path: Path) -> None:
    folder = export_dicom(make(samples((9, 10), [3])), tmp_path / "out")
    one = pydicom.dcmread(folder / "P1_0-0003/t1/0001.dcm")
    assert "not known" in one.ImageComments
    assert [float(value) for value in one.PixelSpacing] == pytest.approx([0.9, 0.7])
    assert [float(value) for value in one.ImagePositionPatient] == [0, 0, 0]


def test_images_from_noise_have_no_lesion_to_segment(make: Make, tmp_path: Path) -> None:
    one = samples((9, 10), [3], patient="synthetic-1", intensity={})
    folder = export_dicom(make(one, origin="synthetic"), tmp_path / "out")
    seg = pydicom.dcmread(folder / "synthetic-1_0-0003/seg.dcm")
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["body"]
    image = pydicom.dcmread(folder / "synthetic-1_0-0003/t1/0001.dcm")
    assert (image.SyntheticData, float(image.WindowCenter), float(image.WindowWidth)) == ("YES", 0, 2)
    values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    assert np.abs(values - one.images[0, 0]).max() < 2e-5
    assert table_of(folder)[0]["unit"] == "[-1, 1]"


def test_an_empty_body_and_lesion_are_described_all_the_same(make: Make, tmp_path: Path) -> None:
    one = samples((9, 10), [3])
    folder = export_dicom(make(replace(one, masks=np.zeros_like(one.masks))), tmp_path / "out")
    seg = pydicom.dcmread(folder / "P1_0-0003/seg.dcm")
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["body", "oedema", "core"]
    assert not seg.pixel_array.any()


RESCALE = ["(0028,1052) TagUnexpected", "(0028,1053) TagUnexpected", "(0028,1054) TagUnexpected"]
"""The rescale pair, which the MR Image IOD does not know: the SOP class is a Standard Extended one (PS3.2 3.11)."""


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_dicom_validator_has_no_complaint_of_ct_and_masks(out: dict[str, Path], kind: str) -> None:
    files = [*out[kind].rglob("0001.dcm"), *out[kind].rglob("seg.dcm")]
    assert len(files) == 2 * 3
    assert {str(file): complaints(file) for file in files} == {str(file): [] for file in files}


@pytest.mark.parametrize("origin", ["real", "synthetic"])
def test_dicom_validator_complains_of_the_rescale_pair_of_mr_only(make: Make, tmp_path: Path, origin: str) -> None:
    made = {"made_from": ("P1/0",)} if origin == "synthetic" else {}
    one = samples((4, 9, 10), [0])
    folder = export_dicom(make(one, grids={"P1": turned((4, 9, 10))}, origin=origin, **made), tmp_path / "out")
    for file in folder.rglob("*.dcm"):
        assert complaints(file) == ([] if file.name == "seg.dcm" else RESCALE), file
    whole = replace(
        one, images=np.where(one.images > 0, 1, -1).astype(np.float32), intensity=dict.fromkeys(CHANNELS, (0, 8))
    )
    folder = export_dicom(make(whole, name="whole", origin=origin, **made), tmp_path / "whole")
    for file in folder.rglob("*.dcm"):
        assert complaints(file) == [], file


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("ct/0001.dcm", lambda data: data.pop("SliceThickness"), "(0018,0050) TagMissing"),
        ("ct/0001.dcm", lambda data: setattr(data, "Rows", None), "(0028,0010) TagEmpty"),
        ("ct/0001.dcm", lambda data: setattr(data, "EchoTime", "3"), "(0018,0081) TagUnexpected"),
        ("ct/0001.dcm", lambda data: data.ContributingEquipmentSequence[0].pop("Manufacturer"),
         "(0018,A001) / (0008,0070) TagMissing"),
        ("seg.dcm", lambda data: data.pop("SegmentationType"), "(0062,0001) TagMissing"),
        ("seg.dcm", lambda data: data.SegmentSequence[0].pop("SegmentLabel"), "(0062,0002) / (0062,0005) TagMissing"),
    ],
)  # fmt: skip
def test_dicom_validator_would_notice(
    out: dict[str, Path], tmp_path: Path, file: str, change: Callable[[Any], Any], expected: str
) -> None:
    data = pydicom.dcmread(out["volumes"] / "HCC_000_0000" / file)
    change(data)
    data.save_as(tmp_path / "changed.dcm")
    assert complaints(tmp_path / "changed.dcm") == [expected]


@pytest.mark.parametrize("kind", ["CT", "MR"])
@pytest.mark.parametrize("origin", ["real", "synthetic"])
def test_dciodvfy_finds_no_error(make: Make, tmp_path: Path, kind: str, origin: str) -> None:
    made = {"made_from": ("P1/0",)} if origin == "synthetic" else {}
    one = samples((4, 9, 10), [0], modality=kind, unit="HU" if kind == "CT" else "arbitrary")
    folder = export_dicom(make(one, grids={"P1": turned((4, 9, 10))}, origin=origin, **made), tmp_path / "out")
    for file in folder.rglob("*.dcm"):
        assert conditions(file) == [], file
    data = pydicom.dcmread(folder / "P1_0-0000/t1/0001.dcm")
    del data.Laterality  # 2C
    data.save_as(tmp_path / "less.dcm")
    assert "<Laterality>" in conditions(tmp_path / "less.dcm")[0]


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    st.sampled_from(["HU", "arbitrary"]),
    st.sampled_from([float, np.float32]),
)
def test_whole_numbers_become_the_values_to_half_a_slope(values: list[float], unit: str, written: Any) -> None:
    array = np.array(values, np.float32)
    stored, slope, intercept = to_int16(array, unit, written)
    assert stored.dtype == np.int16
    assert slope > 0
    error = np.abs(stored.astype(np.float64) * slope + intercept - array)
    assert error.max() <= 0.5 * slope * (1 + 1e-5) + np.abs(array).max() * 1e-6
    if np.abs(array).max() <= 32767 and (unit == "HU" or (array == np.rint(array)).all()):
        assert (slope, intercept) == (1, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modality": "OT"}, "volume P1_0-0003: expected the modality CT or MR, found OT"),
        ({"patient": "x" * 65}, "expected a patient's name of 1 to 64 printable letters"),
        ({"channels": ("a b", "a_b"), "intensity": {}}, "channels: expected names that differ as folders"),
    ],
)
def test_what_dicom_cannot_say(make: Make, tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        export_dicom(make(samples((9, 10), [3], **fields)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.cohort"]


def test_rows_and_columns_that_lean_are_refused(make: Make, tmp_path: Path) -> None:
    affine = turned((4, 9, 10)).affine
    affine[:3, 1] += 0.2 * affine[:3, 0]
    cohort = make(samples((9, 10), [3]), grids={"P1": Grid.from_affine((4, 9, 10), affine)})
    with pytest.raises(CohortError, match="volume P1: expected rows and columns at right angles"):
        export_dicom(cohort, tmp_path / "out")


def test_a_reason_that_does_not_fit_a_description_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"accepted privacy risk: expected a reason \d+ letters shorter"):
        export_dicom(make(samples((9, 10), [3])), tmp_path / "out", risk="x" * 1100)


def test_nothing_is_overwritten_unasked(make: Make, tmp_path: Path) -> None:
    cohort = make(samples((9, 10), [3]))
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="expected a new name"):
        export_dicom(cohort, tmp_path / "out")
    export_dicom(cohort, tmp_path / "out", overwrite=True)
