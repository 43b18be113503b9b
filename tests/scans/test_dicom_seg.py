"""Segmentation objects on their series: by UID and by place."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from synthoma.errors import ScanError
from synthoma.scans.anatomy import is_organ, names_lesion, plain_name
from synthoma.scans.dicom import GeometryRule, find_series, read_series
from synthoma.scans.dicom_seg import read_seg, read_segments
from synthoma.scans.dicom_seg_header import read_header
from synthoma.scans.tree import File

SHAPE = (3, 8, 8)


@pytest.fixture
def ct(writers, tmp_path):
    """The files of a CT of 3 slices, and its volume."""
    folder = writers.write_slices(tmp_path / "ct", writers.voxels(1, SHAPE), "1.2.5", PatientID="P")
    return sorted(folder.iterdir()), volume_of(folder)


def volume_of(folder: Path, **rule: object):
    (series,), _ = find_series(folder)
    return read_series(series, GeometryRule(**rule))


def some(key: int, shape=SHAPE) -> np.ndarray:
    return (np.random.default_rng(key).random(shape) > 0.6).astype(np.uint8)


def edited(path: Path, change) -> File:
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)
    return File(path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_come_back(writers, tmp_path, ct, kind):
    files, volume = ct
    liver = some(1)
    segments = {"Liver": liver, "Mass": some(2) * (1 - liver), "Portal vein": some(3) * (1 - some(2)) * (1 - liver)}
    path = writers.write_seg(tmp_path / "seg.dcm", files, segments, kind=kind)
    found, notes = read_segments(File(path), volume)
    assert notes == ()
    assert [(one.name, one.meaning, one.lesion) for one in found] == [
        ("liver", "liver", False),
        ("mass", "mass", True),
        ("portal-vein", "portal-vein", False),
    ]
    for one, expected in zip(found, segments.values(), strict=True):
        np.testing.assert_array_equal(one.mask, expected)
        assert one.mask.dtype == np.uint8


def test_overlapping_segments_stay_whole_and_equal_labels_are_numbered(writers, tmp_path, ct):
    files, volume = ct
    one, other = some(1), some(2)
    path = writers.write_seg(tmp_path / "seg.dcm", files, {"Mass": one, "mass": other})
    masks = read_seg(File(path), volume)
    assert list(masks) == ["mass-1", "mass-2"]
    np.testing.assert_array_equal(masks["mass-1"], one)
    np.testing.assert_array_equal(masks["mass-2"], other)


def test_a_fraction_of_a_half_is_inside(writers, tmp_path, ct):
    files, volume = ct
    shares = np.full(SHAPE, 0.49, np.float32)
    shares[0], shares[1, 0] = 0.5, 1
    path = writers.write_seg(tmp_path / "seg.dcm", files, {"Mass": shares}, kind="FRACTIONAL", max_fractional_value=200)
    expected = np.zeros(SHAPE)
    expected[0] = expected[1, 0] = 1
    np.testing.assert_array_equal(read_seg(File(path), volume)["mass"], expected)


def test_the_order_of_frames_and_files_does_not_matter(writers, tmp_path, ct):
    files, volume = ct
    mask = some(4)
    path = writers.write_seg(tmp_path / "seg.dcm", files[::-1], {"Mass": mask[::-1]})
    np.testing.assert_array_equal(read_seg(File(path), volume)["mass"], mask)


def test_an_empty_slice_has_no_frame(writers, tmp_path, ct):
    files, volume = ct
    mask = some(5)
    mask[1] = 0
    path = writers.write_seg(tmp_path / "seg.dcm", files, {"Mass": mask}, omit_empty_frames=True)
    assert pydicom.dcmread(path).NumberOfFrames == 2
    np.testing.assert_array_equal(read_seg(File(path), volume)["mass"], mask)


def test_another_series_is_refused_with_both_uids(writers, tmp_path, ct):
    _, volume = ct
    other = writers.write_slices(tmp_path / "other", writers.voxels(1, SHAPE), "1.2.999999999999999", PatientID="P")
    path = writers.write_seg(tmp_path / "seg.dcm", sorted(other.iterdir()), {"Mass": some(1)})
    message = r"seg\.dcm: expected a segmentation of series 1\.2\.5\.0, found one of series …9999999999\.0\.$"
    with pytest.raises(ScanError, match=message):
        read_segments(File(path), volume, "1.2.5.0")
    with pytest.raises(ScanError, match=r"expected a segmentation of images such as 1\.2\.5\.1, found one of images"):
        read_segments(File(path), volume)


def test_frames_on_slices_that_are_gone_are_counted(writers, tmp_path, ct):
    files, _ = ct
    mask = some(6)
    path = writers.write_seg(tmp_path / "seg.dcm", files, {"Mass": mask})
    files[2].unlink()
    (found,), notes = read_segments(File(path), volume_of(files[0].parent))
    assert notes == ("1 of 3 frames of the segmentation lie on slices that are not here",)
    np.testing.assert_array_equal(found.mask, mask[:2])


def test_without_references_the_place_decides(writers, tmp_path, ct):
    files, volume = ct
    mask = some(7)
    path = writers.write_seg(tmp_path / "seg.dcm", files, {"Mass": mask})

    def forget(data):
        del data.ReferencedSeriesSequence
        for frame in data.PerFrameFunctionalGroupsSequence:
            del frame.DerivationImageSequence

    np.testing.assert_array_equal(read_seg(edited(path, forget), volume)["mass"], mask)
    header = read_header(File(path))
    assert (header.series, header.images) == ((), frozenset())


def shift_a_frame(data):
    place = data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    x, y, z = place.ImagePositionPatient
    place.ImagePositionPatient = [x, y, z + 1.6]


def shift_all(data):
    for frame in data.PerFrameFunctionalGroupsSequence:
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [x + 0.7, y, z]


def turn(data):
    plane = data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def no_place(data):
    for frame in data.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence


def cut(data):
    data.PixelData = data.PixelData[:-4]


def boast(data):
    data.NumberOfFrames = 10**7


def another_segment(data):
    data.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shift_a_frame, "expected frame 2, on slice 3, to name the image there, found the image of slice 2"),
        (shift_all, r"expected frames on the pixels of the series \(8 × 8\), found frame 1 of 8 × 8, 1\.00 pixels off"),
        (turn, r"expected frames on the pixels of the series"),
        (no_place, "expected frames with a place in the patient, found no position"),
        (cut, "bytes of pixels, found .*: the file is truncated"),
        (boast, "expected a description of each of 10000000 frames, found 3"),
        (another_segment, "expected frame 1 of a segment that is described, found number 7"),
    ],
)
def test_contradictions_and_damage_are_named(writers, tmp_path, ct, change, message):
    files, volume = ct
    path = writers.write_seg(tmp_path / "seg.dcm", files, {"Mass": np.ones(SHAPE, np.uint8)})
    with pytest.raises(ScanError, match=rf"seg\.dcm: .*{message}|seg\.dcm: {message}") as caught:
        read_segments(edited(path, change), volume)
    assert len(str(caught.value).splitlines()) <= 2


def test_an_image_is_no_segmentation(ct):
    files, volume = ct
    with pytest.raises(ScanError, match=f"{files[0].name}: expected a segmentation, found CT Image Storage"):
        read_segments(File(files[0]), volume)


def test_masks_of_a_resampled_series_are_resampled_with_it(writers, tmp_path):
    """Uneven slices onto an even grid: the mask goes where the image goes."""
    stored = np.zeros((4, 8, 8), np.int16)
    stored[1:, 2:6, 2:6] = 1000
    for k, z in enumerate((0.0, 2.0, 4.0, 8.0)):
        uids = {"SOPInstanceUID": f"1.2.6.{k}", "SeriesInstanceUID": "1.2.6"}
        writers.write_dicom(tmp_path / "ct" / f"{k}.dcm", stored[k], ImagePositionPatient=[0, 0, z], **uids)
    folder = tmp_path / "ct"
    mask = (stored > 0).astype(np.uint8)
    path = writers.write_seg(tmp_path / "seg.dcm", sorted(folder.iterdir()), {"Mass": mask})
    volume = volume_of(folder, irregular="resample")
    assert volume.array.shape == (5, 8, 8)
    found = read_seg(File(path), volume)["mass"]
    np.testing.assert_array_equal(found, volume.array >= -24)


@pytest.mark.parametrize(
    ("label", "plain", "organ", "lesion"),
    [
        ("Portal vein", "portal-vein", True, False),
        ("Liver", "liver", True, False),
        ("Liver tumour 2", "liver-tumour-2", False, True),
        ("Mass", "mass", False, True),
        ("Enhancing_Tumor", "enhancing-tumor", False, True),
        ("PZ", "pz", True, False),
        ("massive", "massive", False, False),
        ("Région", "r-gion", False, False),
    ],
)
def test_names(label, plain, organ, lesion):
    assert plain_name(label) == plain
    assert (is_organ(plain), names_lesion(plain)) == (organ, lesion)


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """Name of a real file → its volume, and a reader of real segmentations."""
    root = shared_data / "dicom-odd"

    def volume(*names: str | Path):
        folder = tmp_path_factory.mktemp("real")
        for name in names:
            shutil.copy(root / name, folder)
        return volume_of(folder, irregular="resample", longest_gap_mm=300)

    return root, volume


THREE = tuple(f"dcmqi/ct-3slice_0{k}.dcm" for k in (1, 2, 3))


def test_real_liver_and_its_compressed_copies(real):
    root, volume = real
    ct = volume(*THREE)
    (liver,), notes = read_segments(File(root / "dcmqi/liver_seg.dcm"), ct)
    assert (liver.name, liver.lesion, notes) == ("liver", False, ())
    assert [int(mask.sum()) for mask in liver.mask] == [36233, 35645, 35220]
    assert all(32.5 < ct.array[k][liver.mask[k] > 0].mean() < 41 for k in range(3))
    np.testing.assert_array_equal(read_seg(File(root / "pydicom-data/liver_j2k.dcm"), ct)["liver"], liver.mask)


def test_real_overlaps(real):
    root, volume = real
    found, _ = read_segments(File(root / "dcmqi/partial_overlaps_seg.dcm"), volume(*THREE))
    assert [one.name for one in found] == ["green", "orange", "purple", "light-blue", "dark-blue"]
    assert [one.name for one in found if one.lesion] == ["light-blue"]
    assert [[int(mask.sum()) for mask in one.mask] for one in found] == [
        [0, 9602, 0], [0, 11888, 0], [117, 117, 10509], [6693, 0, 0], [4713, 0, 0]
    ]  # fmt: skip
    assert (found[0].mask & found[1].mask).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pydicom-data/liver_deflate.dcm", r"a compression that can be decoded, found 1\.2\.840\.10008\.1\.2\.8\.1"),
        ("pydicom-data/liver_rle.dcm", "RLE Lossless pixels, found damaged ones, or such that no decoder reads"),
        ("pydicom-data/liver_nonbyte_aligned_rle.dcm", "frames on the pixels of the series .* 510 × 510"),
        ("highdicom/seg_image_ct_binary.dcm", "a segmentation of images such as"),
        ("dcmqi/sr.dcm", "expected"),
    ],
)
def test_real_refusals(real, name, message):
    root, volume = real
    with pytest.raises(ScanError, match=message):
        read_segments(File(root / name), volume(*THREE))


def test_real_segmentations_of_one_slice(real):
    root, volume = real
    ct = volume("highdicom/ct_image.dcm")
    (bone,), _ = read_segments(File(root / "highdicom/seg_image_ct_binary_single_frame.dcm"), ct)
    assert bone.mask.sum() == 1832
    assert ct.array[bone.mask > 0].mean() > 300
    for name in ("seg_image_cr_binary", "seg_image_sm_control_labelmap"):
        with pytest.raises(ScanError, match="expected a segmentation of images such as"):
            read_segments(File(root / f"highdicom/{name}.dcm"), ct)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("seg_image_ct_binary", {"first-segment"}),
        ("seg_image_ct_binary_fractional", {"first-segment"}),
        ("seg_image_ct_true_fractional", {"first-segment"}),
        ("seg_image_ct_binary_overlap", {"first-segment", "second-segment"}),
    ],
)
def test_real_segmentations_of_four_slices(shared_data, tmp_path, name, expected):
    """The CT that they were drawn on is in pydicom's own test files."""
    folder = Path(str(get_testdata_file("dicomdirtests/77654033/CT2/17106"))).parent
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    path = shared_data / "dicom-odd/highdicom" / f"{name}.dcm"
    volume = volume_of(tmp_path, irregular="resample", longest_gap_mm=300)
    masks = read_seg(File(path), volume)
    assert set(masks) == expected
    data = pydicom.dcmread(path)
    assert all(mask.shape == volume.grid.shape for mask in masks.values())
    kept = [k for k, uid in enumerate(volume.sop_uids) if uid]
    for frame, pixels in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True):
        image = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at = [k for k in kept if volume.sop_uids[k] == image]
        if at:
            segment = data.SegmentSequence[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
            most = data.get("MaximumFractionalValue", 1)
            np.testing.assert_array_equal(masks[plain_name(segment.SegmentLabel)][at[0]], pixels >= most / 2)


def test_real_label_map_of_some_slices(real, tmp_path):
    """Without its reference, which is to another copy of the CT, the place decides; value 0 is no segment."""
    root, volume = real
    ct = volume("dcmqi/24x38x3_mf.dcm")
    name = root / "dcmqi/sparse-labelmap-ppv5.dcm"
    with pytest.raises(ScanError, match="expected a segmentation of images such as"):
        read_segments(File(name), ct)
    data = pydicom.dcmread(name)
    del data.ReferencedSeriesSequence
    for frame in data.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    data.save_as(tmp_path / "seg.dcm")
    (liver,), _ = read_segments(File(tmp_path / "seg.dcm"), ct)
    assert liver.name == "liver"
    marked = [k for k in range(3) if liver.mask[k].any()]
    assert len(marked) == 2
    np.testing.assert_array_equal(
        np.sort(liver.mask[marked].sum(axis=(1, 2))), np.sort(data.pixel_array.sum(axis=(1, 2)))
    )
