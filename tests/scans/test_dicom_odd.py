"""Awkward real DICOM files: each is read as what it is, or refused with the reason. None is read wrongly in silence."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from synthoma.errors import ScanError
from synthoma.scans import DicomData, find, read
from synthoma.scans.dicom import DicomVolume, GeometryRule, find_series, read_series

CT = "cornerstone/CTImage.dcm_"
REFERENCE = f"{CT}BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm"
LOSSES = {
    REFERENCE: 0,
    f"{CT}DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm": 0,
    f"{CT}JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": 0,
    f"{CT}JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm": 0,
    f"{CT}JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm": 0,
    f"{CT}JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm": 0,
    f"{CT}RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm": 0,
    f"{CT}JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": 1,
    f"{CT}JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": 5,
    f"{CT}JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": 36,
    f"{CT}JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": 64.5,
}
"""One CT slice in several compressions → the largest error in HU."""
EMRI = "pydicom-data/emri_small"
IMAGES = {
    *(f"{EMRI}{kind}.dcm" for kind in ("", "_big_endian", "_RLE", "_jpeg_ls_lossless", "_jpeg_2k_lossless")),
    *(f"dcmqi/ct-3slice_0{k}.dcm" for k in (1, 2, 3)),
    *("dcmqi/24x38x3_mf.dcm", "highdicom/ct_image.dcm", "highdicom/dx_image.dcm", "pydicom-data/RG3_J2KI.dcm"),
    *("pydicom-data/MR2_J2KI.dcm", "pydicom-data/MR-SIEMENS-DICOM-WithOverlays.dcm"),
    *("pydicom-data/bad_sequence.dcm", "pydicom-data/explicit_VR-UN.dcm"),
}
"""Images of a scanner in other forms."""
SEGMENTATION = "a segmentation"
REFUSED = {
    f"{CT}JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": "can be decoded, found JPEG Full Progression",
    f"{CT}JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": "can be decoded, found JPEG Spectral Selection",
    f"{EMRI}_jpeg_2k_lossless_too_short.dcm": "pixel data, found none: the file is truncated",
    "cornerstone/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": "a perfusion map",
    "cornerstone/no-pixel-data.dcm": "no scan: Basic Text SR (an object without pixels)",
    "cornerstone/no-pixel-spacing.dcm": "no scan: Ultrasound Image",
    "dcm_qa_ct/Philips_localizer_I10": "a localizer",
    "dcm_qa_ct/Philips_S4010_I10": "no scan: Secondary Capture Image",
    "dcmqi/sr.dcm": "no scan: Comprehensive SR (an object without pixels)",
    "dcmqi/rwvm.dcm": "no scan: Real World Value Mapping (an object without pixels)",
    "highdicom/sr_document.dcm": "no scan: Comprehensive 3D SR (an object without pixels)",
    "highdicom/sr_document_with_multiple_groups.dcm": "no scan: Comprehensive 3D SR (an object without pixels)",
    "highdicom/sm_annotations.dcm": "no scan: Microscopy Bulk Simple Annotations (an object without pixels)",
    "highdicom/sm_image_jpegls_nobot.dcm": "no scan: VL Whole Slide Microscopy Image",
    **dict.fromkeys(
        (
            *("pydicom-data/JLSL_16_15_1_1F.dcm", "pydicom-data/JLSL_08_07_0_1F.dcm", "pydicom-data/OT-PAL-8-face.dcm"),
            *("pydicom-data/vlut_04.dcm", "pydicom-data/HTJ2K_08_RGB.dcm", "pydicom-data/JPEG-LL.dcm"),
        ),
        "no scan: Secondary Capture Image",
    ),
    "pydicom-data/parametric_map_float.dcm": "no scan: Parametric Map",
    **dict.fromkeys(
        (
            *("highdicom/seg_image_ct_binary.dcm", "highdicom/seg_image_ct_binary_overlap.dcm"),
            *("highdicom/seg_image_ct_binary_fractional.dcm", "highdicom/seg_image_ct_true_fractional.dcm"),
            *("highdicom/seg_image_ct_binary_single_frame.dcm", "highdicom/seg_image_cr_binary.dcm"),
            *("highdicom/seg_image_sm_control_labelmap.dcm", "dcmqi/liver_seg.dcm", "dcmqi/partial_overlaps_seg.dcm"),
            *("dcmqi/sparse-labelmap-ppv5.dcm", "pydicom-data/liver_deflate.dcm", "pydicom-data/liver_rle.dcm"),
            *("pydicom-data/liver_nonbyte_aligned_rle.dcm", "pydicom-data/liver_j2k.dcm"),
        ),
        SEGMENTATION,
    ),
}
"""No scan, or none that can be read → a piece of the reason."""
NO_DICOM = {"dcm_qa_ct/DICOMDIR", "dcm_qa_ct/DICOMDIR_small"}
"""Tables of contents, passed over without a word."""
NAMES = sorted(LOSSES.keys() | IMAGES | REFUSED.keys() | NO_DICOM)


def outcome(file: Path, folder: Path) -> DicomVolume | str:
    """What becomes of a file that lies in a folder alone: its volume, the reason why not, or nothing."""
    folder.mkdir()
    (folder / file.name).symlink_to(file)
    series, left_out = find_series(folder)
    if not series:
        assert len(left_out) <= 1
        return left_out[0].reason if left_out else ""
    assert not left_out
    try:
        return read_series(series[0], GeometryRule())
    except ScanError as error:
        return str(error)


def test_the_tables_name_every_file_of_the_index(shared_data):
    with (shared_data / "dicom-odd/index.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == NAMES
    for name in LOSSES.keys() | IMAGES:
        assert rows[name]["decodes_pydicom3"] == "yes"


@pytest.mark.parametrize("name", NAMES)
def test_each_file_ends_as_the_index_says(shared_data, tmp_path, name):
    found = outcome(shared_data / "dicom-odd" / name, tmp_path / "alone")
    if name in NO_DICOM:
        assert found == ""
    elif name in REFUSED:
        assert isinstance(found, str)
        assert REFUSED[name] in found
    else:
        assert isinstance(found, DicomVolume), found
        assert found.array.dtype == np.float32
        assert np.isfinite(found.array).all()
        assert found.array.min() < found.array.max()
        assert found.array.shape == found.grid.shape == found.outside.shape


def real_values(file: Path) -> np.ndarray:
    """Stored values by pydicom, rescaled and turned over as the header of these files says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(file)
        stored = np.atleast_3d(data.pixel_array.T).T.astype(np.float64)
    if data.PhotometricInterpretation == "MONOCHROME1":
        stored = 2**data.BitsStored - 1 - stored
    return stored * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_values_are_those_of_the_header(shared_data, tmp_path, name):
    volume = outcome(shared_data / "dicom-odd" / name, tmp_path / "alone")
    expected = real_values(shared_data / "dicom-odd" / name)
    if volume.modality == "CT" and volume.unit == "HU":
        np.testing.assert_array_equal(volume.outside, expected < -1500)
        expected = np.where(volume.outside, -1024, expected)
    np.testing.assert_array_equal(volume.array, expected.astype(np.float32))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_compressions_of_one_slice_lose_what_they_declare(shared_data, tmp_path, name):
    reference = real_values(shared_data / "dicom-odd" / REFERENCE)
    volume = outcome(shared_data / "dicom-odd" / name, tmp_path / "alone")
    circle = reference > -3000
    inside = circle & ~volume.outside
    error = np.abs(volume.array - reference)[inside].max()
    assert error <= LOSSES[name]
    assert (error > 0) == (LOSSES[name] > 0)
    assert any("lossy compression (ratio" in note for note in volume.notes) == (LOSSES[name] > 0)
    if LOSSES[name] < 6:
        np.testing.assert_array_equal(volume.outside, ~circle)
    else:  # ringing at the circle's edge
        assert np.count_nonzero(volume.outside != ~circle) <= 0.01 * circle.size
    assert (volume.array[volume.outside] == -1024).all()


def test_the_geometry_of_frames(shared_data, tmp_path):
    """The enhanced CT of 24 × 38 × 3: sizes, spacing and places are in its functional groups only."""
    volume = outcome(shared_data / "dicom-odd/dcmqi/24x38x3_mf.dcm", tmp_path / "alone")
    data = pydicom.dcmread(shared_data / "dicom-odd/dcmqi/24x38x3_mf.dcm")
    frames = data.PerFrameFunctionalGroupsSequence
    places = [tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient)) for frame in frames]
    assert volume.grid.shape == (3, 38, 24)
    np.testing.assert_allclose(volume.positions, sorted(places, key=lambda place: place[2]))
    assert volume.sop_uids == (data.SOPInstanceUID,) * 3
    assert sorted(volume.frames) == [1, 2, 3]


def test_three_slices_among_all_the_others(shared_data):
    """The generic source on the whole folder: the three files in a row make one scan, each other image its own."""
    options = DicomData(path=shared_data / "dicom-odd/dcmqi", segmentations={"read": False})
    found = find(options)
    scans = [read(case, options) for case in found.cases]
    assert sorted(scan.grid.shape for scan in scans) == [(3, 38, 24), (3, 512, 512)]
    assert {out.name for out in found.left_out} == {
        *("liver_seg.dcm", "partial_overlaps_seg.dcm", "sparse-labelmap-ppv5.dcm", "sr.dcm", "rwvm.dcm")
    }
