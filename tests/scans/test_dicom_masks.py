"""The source ``dicom`` with segmentations: which scan they are of, which of their segments are which masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydantic import ValidationError

from synthoma.errors import ScanError, SettingError
from synthoma.scans import DicomData, find, read
from synthoma.scans.dicom import contents
from synthoma.scans.dicom_seg_header import numbered

SHAPE = (3, 8, 8)
MR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}
CHANNELS = {"t1": {"description": "t1"}, "flair": {"description": "flair"}}


def some(key: int, share: float = 0.6) -> np.ndarray:
    return (np.random.default_rng(key).random(SHAPE) > share).astype(np.uint8)


@pytest.fixture
def study(writers, tmp_path):
    """``study(name)``: T1 and FLAIR of a patient below ``tmp_path/name``; the files of each, in order."""

    def write(name: str = "a", **flair: object) -> dict[str, list[Path]]:
        files = {}
        for number, series in enumerate(("t1", "flair")):
            key = 10 * sum(name.encode()) + number
            more = {"PatientID": name, "SeriesDescription": f"ax {series}", "StudyInstanceUID": f"1.5.{key - number}"}
            given = {**MR, **more, **(flair if series == "flair" else {})}
            folder = writers.write_slices(tmp_path / name / series, writers.voxels(key, SHAPE), f"1.2.{key}", **given)
            files[series] = sorted(folder.iterdir())
        return files

    return write


def read_all(path: Path, **settings: object):
    options = DicomData.model_validate({"path": path, "patient": "folder", **settings})
    found = find(options)
    return found, [read(case, options) for case in found.cases]


def reasons(found) -> dict[str, tuple[str, str]]:
    return {out.name: (out.reason, out.remedy) for out in found.left_out}


def edited(path: Path, change) -> None:
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)


def forget(data) -> None:
    """The segmentation names no image."""
    data.__delattr__("ReferencedSeriesSequence")
    for frame in data.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence


def test_a_segmentation_of_one_channel_is_of_the_scan(writers, study, tmp_path):
    """T1 and FLAIR are the channels, the masks were drawn on FLAIR: the study of a PACS."""
    liver, mass = some(1), some(2)
    writers.write_seg(tmp_path / "a/SEG", study()["flair"], {"Liver": liver, "Mass": mass})
    options = DicomData.model_validate({"path": tmp_path, "channels": CHANNELS})
    found, (scan,) = read_all(tmp_path, channels=CHANNELS)
    assert (scan.modality, list(scan.channels), scan.patient, found.left_out) == ("MR", ["t1", "flair"], "a", ())
    assert (scan.organs, scan.lesions, scan.notes) == (("liver",), ("mass",), ())
    np.testing.assert_array_equal(scan.masks["liver"], liver)
    np.testing.assert_array_equal(scan.masks["mass"], mass)
    assert "a/SEG" in {file.path for file in scan.source}
    assert contents(options, found.cases) == (("t1", "flair"), ("mass",))


def test_of_series_that_are_scans_only_the_one_drawn_on_has_masks(writers, study, tmp_path):
    writers.write_seg(tmp_path / "a/SEG", study()["flair"], {"Mass": some(2)})
    found, scans = read_all(tmp_path)
    assert [list(scan.channels) for scan in scans] == [["mr"], ["mr"]]
    (with_,) = [scan for scan in scans if scan.masks]
    (without,) = [scan for scan in scans if not scan.masks]
    assert "a/flair/image_0" in {file.path for file in with_.source}
    assert without.notes == ("no masks",)
    assert contents(DicomData(path=tmp_path), found.cases) == (("mr",), ("mass",))


def test_masks_are_segments_by_label_or_number(writers, study, tmp_path):
    parts = {"Enhancing_Core": some(1), "Liver": some(2), "Segment 3": some(3), "Vessel": some(4)}
    writers.write_seg(tmp_path / "a/SEG", study()["t1"], parts)
    masks = {"tumour": ["enhancing core", 3], "liver": "LIVER", "portal": 4}
    _, (scan,) = read_all(tmp_path, channels=CHANNELS, masks=masks)
    assert (list(scan.masks), scan.organs, scan.lesions) == (
        ["tumour", "liver", "portal"],
        ("liver",),
        ("tumour", "portal"),
    )
    np.testing.assert_array_equal(scan.masks["tumour"], parts["Enhancing_Core"] | parts["Segment 3"])
    np.testing.assert_array_equal(scan.masks["portal"], parts["Vessel"])
    _, (scan,) = read_all(tmp_path, channels=CHANNELS, masks={"tumour": 1}, organs=())
    assert scan.notes == ("a/SEG: segments that are not read: liver, segment-3, vessel",)
    _, (scan,) = read_all(tmp_path, channels=CHANNELS, masks=masks, organs=["portal"])
    assert (scan.organs, scan.lesions) == (("portal",), ("tumour", "liver"))


def test_the_segment_body_is_the_body(writers, study, tmp_path):
    writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Body": some(1, 0.2), "Mass": some(2)})
    _, (scan,) = read_all(tmp_path, channels=CHANNELS)
    assert (list(scan.masks), scan.organs, scan.lesions) == (["body", "mass"], (), ("mass",))
    _, (scan,) = read_all(tmp_path, channels=CHANNELS, masks={"body": 2, "lesion": 1})
    assert (scan.organs, scan.lesions) == ((), ("lesion",))
    np.testing.assert_array_equal(scan.masks["body"], some(2))


def test_a_segment_that_a_patient_lacks(writers, study, tmp_path):
    """A lesion was looked for in vain; of an organ, or the body, one knows nothing."""
    writers.write_seg(tmp_path / "a/SEG", study("a")["t1"], {"Mass": some(1), "Liver": some(2)})
    writers.write_seg(tmp_path / "b/SEG", study("b")["t1"], {"Portal vein": some(3)})
    masks = {"tumour": ["mass", "tumor"], "liver": "liver", "portal-vein": "portal vein"}
    found, (first, second) = read_all(tmp_path, channels=CHANNELS, masks=masks)
    assert [case.lesions for case in found.cases] == [("tumour",)] * 2
    assert list(first.masks) == ["tumour", "liver"]
    assert first.notes == ("a/SEG: no segment portal vein: mask portal-vein is not there",)
    assert list(second.masks) == ["tumour", "portal-vein"]
    assert not second.masks["tumour"].any()
    assert second.notes == (
        "b/SEG: no segment mass or tumor: mask tumour is empty",
        "b/SEG: no segment liver: mask liver is not there",
    )


def test_without_a_lesion_it_is_said_how_to_name_one(writers, study, tmp_path):
    """A viewer that codes everything as tissue."""
    writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Liver": some(1)})
    found, (scan,) = read_all(tmp_path, channels=CHANNELS)
    assert (scan.lesions, found.cases[0].lesions) == ((), ())
    note = "a/SEG: no segment of a lesion by codes and labels (liver); data.masks says it otherwise"
    assert scan.notes == (note,)
    _, (scan,) = read_all(tmp_path, channels=CHANNELS, organs=[])
    assert scan.lesions == ("liver",)


def test_names_that_no_file_has_are_slips_of_the_pen(writers, study, tmp_path):
    writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Liver": some(1), "Mass": some(2)})
    expected = r"expected a segment mas for data\.masks\.tumour, found liver, mass\.\nDid you mean 'mass'"
    with pytest.raises(ScanError, match=expected):
        find(DicomData(path=tmp_path, masks={"tumour": ["mas"]}))
    with pytest.raises(ScanError, match=r"expected a segment 3 or 7 for data\.masks\.tumour, found liver, mass"):
        find(DicomData(path=tmp_path, masks={"tumour": [3, 7]}))
    with pytest.raises(SettingError, match=r"data\.organs: expected names of masks, found 'livver'\.\nDid you mean"):
        find(DicomData(path=tmp_path, organs=["livver"]))
    with pytest.raises(SettingError, match=r"data\.organs: expected names of masks, found 'liver'"):
        find(DicomData(path=tmp_path, masks={"tumour": ["mass"]}, organs=["liver"]))


def test_segments_that_overlap_are_each_whole_and_said(writers, study, tmp_path):
    one, other = some(1), some(2)
    writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Mass": one, "Cyst": other, "Liver": some(3)})
    _, (scan,) = read_all(tmp_path, channels=CHANNELS)
    np.testing.assert_array_equal(scan.masks["mass"], one)
    np.testing.assert_array_equal(scan.masks["cyst"], other)
    both = int((one & other).sum())
    assert scan.notes == (f"a/SEG: {both} voxels are of several lesions, of each of them: mass, cyst",)


def test_segmentations_of_other_series_are_left_out_with_the_reason(writers, study, tmp_path):
    first, gone = study("a"), study("b")["t1"]
    writers.write_seg(tmp_path / "a/SEG", first["t1"], {"Mass": some(1)})
    writers.write_seg(tmp_path / "a/SEG of flair", first["flair"], {"Mass": some(2)})
    writers.write_seg(tmp_path / "b/SEG", gone, {"Mass": some(2)})
    for path in gone:
        path.unlink()
    only = {"t1": CHANNELS["t1"]}
    found, (scan,) = read_all(tmp_path, channels=only)
    np.testing.assert_array_equal(scan.masks["mass"], some(1))
    remedy = "Let its series be one of data.channels; preprocessing.channels says which of them a cohort has."
    assert reasons(found) == {
        "a/SEG of flair": ("a segmentation of the series of a/flair/image_0, which is in no scan", remedy),
        "b/SEG": (
            "a segmentation of a series that is not here (…1.2.980.0)",
            "Put the series that it names into the folder.",
        ),
        "b/flair/image_0": ("no series of its study fits a channel (t1)", ""),
    }  # fmt: skip


def test_a_segmentation_of_a_series_that_is_left_out(writers, study, tmp_path):
    writers.write_seg(tmp_path / "a/SEG", study()["flair"], {"Mass": some(2)})
    writers.write_slices(tmp_path / "b", writers.voxels(1, (5, 8, 8)), "1.2.7", **MR)
    found, (scan,) = read_all(tmp_path, min_slices=4)
    assert reasons(found)["a/SEG"] == ("a segmentation of the series of a/flair/image_0, which is in no scan", "")
    assert not scan.masks


def test_real_segmentations_are_found_by_their_headers(shared_data):
    """What dcmqi wrote, which 3D Slicer exports with; the segments overlap."""
    root = shared_data / "dicom-odd/dcmqi"
    found, scans = read_all(root, segmentations={"several": "join"}, masks={"tumour": ["light blue"], "liver": 1})
    (scan,) = [scan for scan in scans if scan.masks]
    assert (scan.masks["tumour"].sum(), scan.organs, scan.lesions) == (6693, ("liver",), ("tumour",))
    assert any("segments that are not read: orange" in note for note in scan.notes)
    assert any("not here" in out.reason for out in found.left_out)


def test_only_segmentations_is_an_error(writers, study, tmp_path):
    files = study()
    writers.write_seg(tmp_path / "a/SEG", files["t1"], {"Mass": some(1)})
    for path in (*files["t1"], *files["flair"]):
        path.unlink()
    with pytest.raises(ScanError, match=r"found none; left out a/SEG \(a segmentation of a series that is not here"):
        find(DicomData(path=tmp_path))


def test_a_segmentation_that_names_no_image_is_of_the_series_at_its_place(writers, study, tmp_path):
    files = study(ImageOrientationPatient=[0, 1, 0, -1, 0, 0])
    mask = some(1)
    edited(writers.write_seg(tmp_path / "a/SEG", files["t1"], {"Mass": mask}), forget)
    found, scans = read_all(tmp_path)
    (scan,) = [scan for scan in scans if scan.masks]
    np.testing.assert_array_equal(scan.masks["mass"], mask)
    assert "a/t1/image_0" in {file.path for file in scan.source}
    assert not found.left_out


def test_a_segmentation_that_names_no_image_and_several_series_lie_there(writers, study, tmp_path):
    edited(writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Mass": some(1)}), forget)
    reason = "a segmentation that names no image and lies on 2 series of its study"
    assert reasons(read_all(tmp_path)[0]) == {"a/SEG": (reason, "Make them the channels of one scan: data.channels.")}
    found, (scan,) = read_all(tmp_path, channels=CHANNELS)
    np.testing.assert_array_equal(scan.masks["mass"], some(1))
    assert not found.left_out


def test_a_segmentation_that_names_no_image_and_lies_elsewhere(writers, study, tmp_path):
    def away(data) -> None:
        forget(data)
        for frame in data.PerFrameFunctionalGroupsSequence:
            x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
            frame.PlanePositionSequence[0].ImagePositionPatient = [x, y, z + 100]

    edited(writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Mass": some(1)}), away)
    found, scans = read_all(tmp_path)
    reason = "a segmentation that names no image and lies on no series of its study"
    assert reasons(found) == {"a/SEG": (reason, "")}
    assert not any(scan.masks for scan in scans)


def test_two_segmentations_of_one_scan_are_a_question(writers, study, tmp_path):
    files = study()
    for name, key, mask in (("one", "t1", some(1)), ("two", "flair", some(2))):
        path = writers.write_seg(tmp_path / f"a/SEG {name}", files[key], {"Mass": mask})
        edited(path, lambda data, name=name: setattr(data, "SeriesDescription", f"reader {name}"))
    with pytest.raises(ScanError, match=r"2 segmentations of one scan: a/SEG one, a/SEG two"):
        read_all(tmp_path, channels=CHANNELS)
    study("b")
    found, _ = read_all(tmp_path, channels=CHANNELS)
    remedy = "Choose one by data.segmentations.description, or set data.segmentations.several=join."
    assert reasons(found) == {"a/SEG one": ("2 segmentations of one scan: a/SEG one, a/SEG two", remedy)}
    found, (scan, _) = read_all(tmp_path, channels=CHANNELS, segmentations={"description": "reader TWO$"})
    np.testing.assert_array_equal(scan.masks["mass"], some(2))
    reason = "a segmentation that data.segmentations.description does not fit"
    assert reasons(found) == {"a/SEG one": (reason, "")}
    found, (scan, _) = read_all(tmp_path, channels=CHANNELS, segmentations={"several": "join"})
    assert (list(scan.masks), found.cases[0].lesions) == (["mass-1", "mass-2"], ("mass",))
    np.testing.assert_array_equal(scan.masks["mass-2"], some(2))
    joined = {"segmentations": {"several": "join"}, "masks": {"lesion": "mass"}}
    _, (scan, _) = read_all(tmp_path, channels=CHANNELS, **joined)
    np.testing.assert_array_equal(scan.masks["lesion"], some(1) | some(2))


def test_masks_of_another_grid_go_with_their_channel(writers, study, tmp_path):
    files = study(PixelSpacing=[1.4, 1.4])
    mask = some(2)
    writers.write_seg(tmp_path / "a/SEG", files["flair"], {"Mass": mask})
    with pytest.raises(ScanError, match="expected flair on the grid of t1"):
        read_all(tmp_path, channels=CHANNELS)
    _, (scan,) = read_all(tmp_path, channels=CHANNELS, align="resample")
    assert scan.grid.spacing_mm == pytest.approx((1.6, 0.7, 0.7))
    assert any("mass of a/SEG resampled (nearest) onto the grid of t1" in note for note in scan.notes)
    np.testing.assert_array_equal(scan.masks["mass"][:, ::2, ::2], mask[:, :4, :4])


def test_segmentations_can_be_passed_by(writers, study, tmp_path):
    writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Mass": some(1)})
    found, (scan,) = read_all(tmp_path, channels=CHANNELS, segmentations={"read": False})
    assert (scan.masks, scan.notes) == ({}, ("no masks",))
    assert reasons(found) == {"a/SEG": ("a segmentation, which data.segmentations.read=false passes by", "")}


def test_a_segmentation_that_makes_no_sense_costs_its_masks_only(writers, study, tmp_path):
    path = writers.write_seg(tmp_path / "a/SEG", study()["t1"], {"Mass": some(1)})
    edited(path, lambda data: data.SegmentSequence[0].__delattr__("SegmentNumber"))
    found, (scan,) = read_all(tmp_path, channels=CHANNELS)
    assert list(reasons(found)) == ["a/SEG"]
    assert reasons(found)["a/SEG"][0].startswith("expected")
    assert not scan.masks


def test_uneven_slices_that_are_kept_take_their_masks_by_the_images_named(writers, tmp_path):
    mask = some(1)
    for k, z in enumerate((0.0, 2.0, 7.0)):
        uids = {"SOPInstanceUID": f"1.2.6.{k}", "SeriesInstanceUID": "1.2.6"}
        writers.write_dicom(tmp_path / f"ct/{k}", writers.voxels(6, SHAPE)[k], ImagePositionPatient=[0, 0, z], **uids)
    path = writers.write_seg(tmp_path / "SEG", sorted((tmp_path / "ct").iterdir()), {"Mass": mask})
    with pytest.raises(ScanError, match="uneven steps"):
        read_all(tmp_path)
    _, (scan,) = read_all(tmp_path, geometry={"irregular": "keep"})
    np.testing.assert_array_equal(scan.masks["mass"], mask)
    edited(path, forget)
    with pytest.raises(ScanError, match="expected frames that each name one image, found frame 1"):
        read_all(tmp_path, geometry={"irregular": "keep"})


def test_settings(tmp_path):
    assert DicomData(path=tmp_path, masks={"a": "x", "b": 2}).masks == {"a": ("x",), "b": (2,)}
    for masks, message in (({"a": []}, "at least 1"), ({"a": [0]}, "greater than"), ({"a": ""}, "at least 1")):
        with pytest.raises(ValidationError, match=message):
            DicomData(path=tmp_path, masks=masks)
    with pytest.raises(ValidationError, match="no regular expression"):
        DicomData.model_validate({"path": tmp_path, "segmentations": {"description": "("}})


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["mass", "liver"], ["mass", "liver"]),
        (["mass", "liver", "mass"], ["mass-1", "liver", "mass-2"]),
        (["mass", "mass-1", "mass"], ["mass-2", "mass-1", "mass-3"]),
    ],
)
def test_equal_labels_are_numbered(labels, names):
    assert numbered(labels) == names
