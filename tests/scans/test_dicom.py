"""Series of DICOM files that are written here: order, places, values, and what is refused with which words."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from synthoma.errors import MissingPartError, ScanError
from synthoma.scans import dicom_parse, dicom_pixels
from synthoma.scans.dicom import DicomVolume, GeometryRule, find_series, read_series
from synthoma.scans.tree import File

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # it writes the nonsense that it is given

NO_RESCALE = {"RescaleSlope": None, "RescaleIntercept": None}
MR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", **NO_RESCALE}
RESAMPLE = GeometryRule(irregular="resample")
TO_RAS = np.diag([-1, -1, 1, 1])


def write_stack(writers, root: Path, stored: np.ndarray, order: list[int] | None = None, **elements) -> list[str]:
    """``stored`` (z, y, x), 2 mm apart along z, in files whose names say nothing of the order; their SOP UIDs by z."""
    uids = [f"1.2.3.7.{k}" for k in range(len(stored))]
    for name, k in enumerate(order or range(len(stored))):
        given = {"ImagePositionPatient": [0, 0, 2 * k], "InstanceNumber": k + 1, "SOPInstanceUID": uids[k]}
        given |= {keyword: value[k] if isinstance(value, list) else value for keyword, value in elements.items()}
        writers.write_dicom(root / f"-{name}", stored[k], **given)
    return uids


def only(root: Path, rule: GeometryRule | None = None) -> DicomVolume:
    """The volume of the one series below ``root``."""
    (series,), left_out = find_series(root)
    assert not left_out
    return read_series(series, rule or GeometryRule(), root)


def refusal(root: Path, rule: GeometryRule | None = None) -> str:
    with pytest.raises(ScanError) as caught:
        only(root, rule)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 2
    assert lines[0].startswith(str(root))
    assert "Real" not in str(caught.value)
    assert "4711" not in str(caught.value)
    return str(caught.value)


@st.composite
def places(draw):
    """Rotation, spacing (z, y, x), origin and order of an oblique series."""
    numbers = st.floats(-1, 1, allow_nan=False)
    quaternion = np.array(draw(st.tuples(*[numbers] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)))
    spacing = draw(st.tuples(st.floats(0.4, 8), st.floats(0.2, 3), st.floats(0.2, 3)))
    origin = np.array(draw(st.tuples(*[st.floats(-500, 500)] * 3)))
    order = draw(st.permutations(range(4)))
    return Rotation.from_quat(quaternion).as_matrix(), spacing, origin, order


@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.generate,),  # each case writes files: to shrink one takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=places(), sign=st.sampled_from([1, -1]))
def test_every_voxel_of_an_oblique_series_lies_in_its_place(writers, tmp_path_factory, place, sign):
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, for each file by itself; right to 1e-3 mm."""
    rotation, spacing, origin, order = place
    row, column = rotation[0], rotation[1]
    normal = np.cross(row, column) * sign  # instance numbers run either way
    root = tmp_path_factory.mktemp("oblique")
    stored = writers.voxels(3, (4, 3, 5))
    where = [[round(float(v), 6) for v in origin + k * spacing[0] * normal] for k in range(4)]
    turned = [round(float(v), 10) for v in (*row, *column)]
    write_stack(
        writers,
        root,
        stored,
        order,
        ImagePositionPatient=where,
        ImageOrientationPatient=[turned] * 4,
        PixelSpacing=[[spacing[1], spacing[2]]] * 4,
        SliceThickness=99,
    )
    volume = only(root)
    expected = stored if sign > 0 else stored[::-1]
    np.testing.assert_array_equal(volume.array, expected.astype(np.float32) - 1024)
    assert volume.grid.known
    for k, r, c in np.ndindex(4, 3, 5):
        file = k if sign > 0 else 3 - k
        lps = np.array(where[file]) + c * spacing[2] * row + r * spacing[1] * column
        ras = volume.grid.affine @ (c, r, k, 1)
        np.testing.assert_allclose(ras[:3], lps * (-1, -1, 1), atol=1e-3)
    assert volume.sop_uids == tuple(f"1.2.3.7.{k if sign > 0 else 3 - k}" for k in range(4))
    assert volume.frames == (1,) * 4
    np.testing.assert_allclose(volume.positions, where if sign > 0 else where[::-1], atol=1e-6)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (20, -35, 70), (90, 0, 0), (170, 10, 5)])
def test_a_regular_series_is_what_simpleitk_reads(writers, tmp_path, degrees):
    import SimpleITK as sitk  # noqa: N813

    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    stored = writers.voxels(4, (6, 7, 5))
    where = [
        (np.array([10.0, -20, 30]) + 2.5 * k * np.cross(rotation[0], rotation[1])).round(9).tolist() for k in range(6)
    ]
    turned = [rotation[:2].ravel().round(12).tolist()] * 6
    write_stack(
        writers,
        tmp_path,
        stored,
        [3, 0, 5, 2, 4, 1],
        ImagePositionPatient=where,
        ImageOrientationPatient=turned,
        PixelSpacing=[[0.7, 1.3]] * 6,
    )
    volume = only(tmp_path)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = sitk.ReadImage(names)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    for index in ((0, 0, 0), (4, 6, 5), (2, 1, 3)):
        ras = (volume.grid.affine @ (*index, 1))[:3]
        np.testing.assert_allclose(ras * (-1, -1, 1), image.TransformIndexToPhysicalPoint(index), atol=1e-3)


def test_any_tree_and_archives_in_archives(writers, tmp_path):
    """Names that begin with a minus, none with an ending, foreign files among them, and the same out of a zip."""
    loose, packed = tmp_path / "loose", tmp_path / "packed"
    stored = writers.voxels(5, (4, 3, 5))
    write_stack(writers, loose, stored, [2, 0, 3, 1])
    (loose / "deep" / "er").mkdir(parents=True)
    (loose / "-2").rename(loose / "deep" / "er" / "-2")
    for name, content in {
        "a.txt": b"text",
        "empty": b"",
        "x.xml": b"<a/>",
        "z.bin": bytes(300),
        "big": b"\x08" * 9**6,
    }.items():
        (loose / name).write_bytes(content)
    packed.mkdir()
    with zipfile.ZipFile(packed / "inner.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in loose.rglob("*"):
            archive.write(file, f"CT/{file.relative_to(loose)}")
    with zipfile.ZipFile(packed / "outer.zip", "w") as archive:
        archive.write(packed / "inner.zip", "patient/inner.zip")
    (packed / "inner.zip").unlink()
    volume, again = only(loose), only(packed)
    np.testing.assert_array_equal(volume.array, stored.astype(np.float32) - 1024)
    np.testing.assert_array_equal(volume.array, again.array)
    assert volume.grid == again.grid
    assert sorted(file.path for file in volume.sources) == ["-0", "-1", "-3", "deep/er/-2"]
    assert {file.path for file in again.sources} == {f"outer.zip/patient/inner.zip/CT/{f.path}" for f in volume.sources}
    assert {file.sha256 for file in again.sources} == {file.sha256 for file in volume.sources}


def test_finding_reads_no_pixels_and_reading_reads_each_file_once(writers, tmp_path, monkeypatch):
    stored = writers.voxels(5, (3, 300, 300))
    write_stack(writers, tmp_path, stored)
    read: list[Path] = []
    whole = File.read
    monkeypatch.setattr(File, "read", lambda file: read.append(file.path) or whole(file))
    (series,), _ = find_series(tmp_path)
    assert read == []
    assert series.slices == 3
    assert {instance.transfer_syntax for instance in series.instances} == {"1.2.840.10008.1.2.1"}
    read_series(series, GeometryRule())
    assert sorted(read) == sorted(tmp_path.iterdir())


def test_a_header_longer_than_what_is_read_at_first(writers, tmp_path):
    """A comment of 100,000 letters stands before the pixels."""
    stored = writers.voxels(5, (3, 4, 5))
    write_stack(writers, tmp_path, stored, ImageComments="x" * 100_000)
    np.testing.assert_array_equal(only(tmp_path).array, stored.astype(np.float32) - 1024)


def test_slope_and_intercept_of_each_slice(writers, tmp_path):
    stored = writers.voxels(6, (3, 4, 5), "uint16")
    write_stack(writers, tmp_path, stored, RescaleSlope=[1, 0.5, 2.25], RescaleIntercept=[-1024, 10, -0.75])
    volume = only(tmp_path)
    for k, (slope, intercept) in enumerate([(1, -1024), (0.5, 10), (2.25, -0.75)]):
        np.testing.assert_array_equal(volume.array[k], np.float32(stored[k].astype(float) * slope + intercept))
    assert volume.unit == "HU"


@pytest.mark.parametrize(("kind", "low", "high"), [("uint8", 0, 255), ("uint16", 0, 4095), ("int16", -2048, 2047)])
def test_monochrome1_is_turned_over_within_its_stored_bits(writers, tmp_path, kind, low, high):
    stored = np.linspace(low, high, 24).astype(kind).reshape(2, 3, 4)
    bits = {"BitsStored": 8, "HighBit": 7} if kind == "uint8" else {"BitsStored": 12, "HighBit": 11}
    write_stack(writers, tmp_path, stored, PhotometricInterpretation="MONOCHROME1", **{**MR, **bits})
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.array, high + low - stored.astype(np.float32))
    assert volume.unit == "arbitrary"
    assert "MONOCHROME1: turned over, high is bright" in volume.notes


def test_monochrome1_leaves_hounsfield_numbers_alone(writers, tmp_path):
    stored = writers.voxels(7, (2, 3, 4))
    write_stack(writers, tmp_path, stored, PhotometricInterpretation="MONOCHROME1")
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.array, stored.astype(np.float32) - 1024)
    assert "MONOCHROME1: Hounsfield numbers kept" in volume.notes


def test_rubbish_in_unused_bits(writers, tmp_path):
    """12 bits stored; overlays used to hide in the other four."""
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 170
    bits = {"BitsStored": 12, "HighBit": 11}
    write_stack(writers, tmp_path, values | np.uint16(0x9000), **{**MR, **bits})
    np.testing.assert_array_equal(only(tmp_path).array, values)


def water_in_a_circle(padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Two slices, HU = stored − 1024: ``padding`` round a circle of water with a streak of metal (−1724 HU, as deep as
    padding) and air in it; and where the circle is."""
    y, x = np.mgrid[:32, :32]
    circle = (y - 15.5) ** 2 + (x - 15.5) ** 2 < 14**2
    stored = np.where(circle, 1024, padding)
    stored[14:16, 10:20] = -700
    stored[20, 10:20] = 0
    return np.stack([stored] * 2), np.stack([circle] * 2)


def declare_padding(root: Path, value: int) -> None:
    """In the type that holds the value, whatever the sign of the pixels."""
    for path in root.iterdir():
        data = pydicom.dcmread(path)
        data.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        data.save_as(path)


@pytest.mark.parametrize("declared", [None, -2000, 63536, -32768])
def test_padding_is_told_from_air(writers, tmp_path, declared):
    """−2000 undeclared, declared, declared as unsigned, and declared as a value that does not occur (LIDC-IDRI)."""
    stored, circle = water_in_a_circle(-2000)
    write_stack(writers, tmp_path, stored.astype("int16"))
    if declared is not None:
        declare_padding(tmp_path, declared)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.outside, ~circle)
    np.testing.assert_array_equal(volume.array, np.where(circle, stored - 1024, -1024))
    assert f"{(~circle).mean():.1%} of the voxels lie outside the scan circle, set to -1024 HU" in volume.notes


@pytest.mark.parametrize("declared", [63536, -2000])
def test_padding_of_unsigned_pixels(writers, tmp_path, declared):
    stored, circle = water_in_a_circle(63536)
    stored[stored == -700] = 0
    write_stack(writers, tmp_path, stored.astype("uint16"))
    declare_padding(tmp_path, declared)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.outside, ~circle)
    np.testing.assert_array_equal(volume.array, np.where(circle, stored - 1024, -1024))


def test_a_declared_padding_value_that_is_tissue_is_not_believed(writers, tmp_path):
    stored, _ = water_in_a_circle(0)
    write_stack(writers, tmp_path, stored.astype("int16"))
    declare_padding(tmp_path, 1024)
    volume = only(tmp_path)
    assert not volume.outside.any()
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert "the declared padding value would be tissue (0 HU): not believed" in volume.notes


def test_mr_padding_is_marked_and_its_values_stay(writers, tmp_path):
    stored = writers.voxels(8, (2, 4, 5), "uint16")
    stored[:, 0] = 0
    write_stack(writers, tmp_path, stored, PixelPaddingValue=0, **MR)
    volume = only(tmp_path)
    np.testing.assert_array_equal(volume.outside, stored == 0)
    np.testing.assert_array_equal(volume.array, stored)


def enhanced(path: Path, stored: np.ndarray, where: list, numbers: list[int], slopes: list[float]) -> Path:
    """An enhanced MR of ``stored`` (frame, y, x): spacing and orientation shared, position and slope a frame."""
    from pydicom import Dataset, Sequence

    def one(**elements) -> Sequence:
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        return Sequence([item])

    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = one(PixelSpacing=[0.5, 0.75], SliceThickness=9)
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    for position, slope in zip(where, slopes, strict=True):
        frame = Dataset()
        frame.PlanePositionSequence = one(ImagePositionPatient=position)
        frame.PixelValueTransformationSequence = one(RescaleSlope=slope, RescaleIntercept=1, RescaleType="US")
        frames.append(frame)
    return {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1",
        "Modality": "MR",
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(frames),
        **dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")),
        **NO_RESCALE,
    }


def test_frames_of_an_enhanced_file(writers, tmp_path):
    """Sagittal frames out of order, along −x of the patient (the normal of 0/1/0, 0/0/−1)."""
    stored = writers.voxels(9, (4, 3, 5), "uint16")
    lefts = [6.0, -3.0, 3.0, 0.0]
    groups = enhanced(tmp_path, stored, [[left, 7, 8] for left in lefts], [1, 2, 3, 4], [1, 2, 3, 4])
    writers.write_dicom(tmp_path / "mf", stored, **groups)
    volume = only(tmp_path)
    order = [0, 2, 3, 1]
    expected = [np.float32(stored[k]) * (k + 1) + 1 for k in order]
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.frames == (1, 3, 4, 2)
    assert len(set(volume.sop_uids)) == 1
    np.testing.assert_allclose(volume.positions, [[lefts[k], 7, 8] for k in order])
    # LPS: x along the row is +y 0.75 mm, y down the column is −z 0.5 mm, z is −x 3 mm
    lps = np.array([[0, 0, -3, 6], [0.75, 0, 0, 7], [0, -0.5, 0, 8], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.grid.affine, TO_RAS @ lps, atol=1e-9)


def test_frames_of_several_orientations(writers, tmp_path):
    stored = writers.voxels(9, (2, 3, 5), "uint16")
    groups = enhanced(tmp_path, stored, [[0, 0, 0], [1, 0, 0]], [1, 2], [1, 1])
    own = groups["PerFrameFunctionalGroupsSequence"]
    own[1].PlaneOrientationSequence = pydicom.Sequence([pydicom.Dataset()])
    own[1].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    writers.write_dicom(tmp_path / "mf", stored, **groups)
    assert "expected slices of one orientation, found 0/1/0/0/0/-1 and 1/0/0/0/1/0 (normals 90.0° apart)" in refusal(
        tmp_path
    )


def test_instance_numbers_where_positions_are_void(writers, tmp_path):
    stored = writers.voxels(10, (4, 3, 5))
    for name, void in {"absent": None, "zero": [0, 0, 0]}.items():
        root = tmp_path / name
        write_stack(writers, root, stored, [3, 1, 0, 2], ImagePositionPatient=[void] * 4, SpacingBetweenSlices=2.5)
        volume = only(root)
        np.testing.assert_array_equal(volume.array, stored - 1024)
        assert not volume.grid.known
        assert volume.grid.spacing_mm == (2.5, 1, 1)
        assert (
            "slices without positions: ordered by instance number, their distance is not known for sure" in volume.notes
        )
    root = tmp_path / "neither"
    write_stack(writers, root, stored, ImagePositionPatient=None, InstanceNumber=None)
    assert "expected positions or instance numbers that tell the slices' order, found neither" in refusal(root)
    root = tmp_path / "some"
    write_stack(writers, root, stored, ImagePositionPatient=[None, [0, 0, 2], None, [0, 0, 6]])
    assert "expected position of every slice or of none, found none in 2 of 4 slices" in refusal(root)


def test_a_single_slice(writers, tmp_path):
    write_stack(writers, tmp_path, writers.voxels(11, (1, 4, 5)), SliceThickness=3.5)
    volume = only(tmp_path)
    assert volume.grid.spacing_mm == (3.5, 1, 1)
    assert volume.grid.known
    assert "a single slice: its thickness of 3.5 mm is what the header says" in volume.notes


def test_copies_are_dropped_and_other_slices_at_one_place_refused(writers, tmp_path):
    stored = writers.voxels(12, (4, 3, 5))
    copied = np.concatenate([stored, stored[1:3]])
    heights = [0, 2, 4, 6, 2, 4]
    where = [[0, 0, z] for z in heights]
    write_stack(writers, tmp_path / "same", copied, ImagePositionPatient=where)
    volume = only(tmp_path / "same")
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert "2 duplicate slices dropped" in volume.notes
    assert len(volume.sources) == 6
    copied[4, 0, 0] += 1
    write_stack(writers, tmp_path / "other", copied, ImagePositionPatient=where)
    said = refusal(tmp_path / "other")
    assert "expected one slice at each place, found 5 different slices at 4 places" in said
    volume = only(tmp_path / "other", RESAMPLE)
    np.testing.assert_array_equal(volume.array, stored - 1024)
    assert "1 slices dropped that differ from the first at their place" in volume.notes


def test_one_file_twice_and_one_uid_for_all(writers, tmp_path):
    stored = writers.voxels(13, (3, 4, 5))
    write_stack(writers, tmp_path / "twice", stored)
    (tmp_path / "twice" / "copy").write_bytes((tmp_path / "twice" / "-1").read_bytes())
    volume = only(tmp_path / "twice")
    assert volume.array.shape == (3, 4, 5)
    assert "1 files repeat the SOP UID of another and were passed over" in volume.notes
    write_stack(writers, tmp_path / "one", stored, SOPInstanceUID="1.2.3")
    np.testing.assert_array_equal(only(tmp_path / "one").array, stored - 1024)


def test_a_series_of_several_sizes_or_orientations(writers, tmp_path):
    stored = writers.voxels(14, (3, 4, 5))
    write_stack(writers, tmp_path, stored)
    writers.write_dicom(tmp_path / "scout", writers.voxels(15, (6, 7)), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    series, left_out = find_series(tmp_path)
    assert [one.slices for one in series] == [3, 1]
    assert not left_out
    for one in series:
        with pytest.raises(ScanError) as caught:
            read_series(one, GeometryRule())
        assert "expected slices of one size and orientation, found 3 files 4 × 5" in str(caught.value)
        assert "1 files 6 × 7 of 1 × 1 mm, orientation 1/0/0/0/0/-1" in str(caught.value)
    np.testing.assert_array_equal(read_series(series[0], GeometryRule(mixed="split")).array, stored - 1024)


def test_orientations_that_differ_by_rounding_are_one(writers, tmp_path):
    stored = writers.voxels(14, (3, 4, 5))
    turned = [[1, 1e-5 * k, 0, -1e-5 * k, 1, 0] for k in range(3)]
    write_stack(writers, tmp_path, stored, ImageOrientationPatient=turned)
    np.testing.assert_array_equal(only(tmp_path).array, stored - 1024)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"ImagePositionPatient": [0, 0, "nan"]}, "ImagePositionPatient should be 3 finite numbers"),
        ({"ImagePositionPatient": [0, 0, 1e300]}, "ImagePositionPatient should be 3 finite numbers"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "two unit vectors at right angles, not 1/0/0/1/0/0"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "two unit vectors at right angles"),
        ({"ImageOrientationPatient": [1, 0, 0]}, "ImageOrientationPatient should be 6 finite numbers"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing should be positive, not 0/1"),
        ({"Rows": 0}, "expected rows, columns and frames, found 0 × 5 × 1"),
        ({"PixelData": None}, "an image without pixel data"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "a colour image (RGB)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screen capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"}, "no scan: RT Structure Set"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "no scan: Multi-frame Grayscale Byte Secondary Capture Image"),
    ],
)
def test_headers_that_make_no_scan(writers, tmp_path, elements, said):
    writers.write_dicom(tmp_path / "bad", writers.voxels(1, (4, 5)), **elements)
    writers.write_dicom(tmp_path / "good", writers.voxels(2, (4, 5)))
    series, left_out = find_series(tmp_path)
    assert [one.instances[0].file.path.name for one in series] == ["good"]
    assert [out.name for out in left_out] == ["bad"]
    assert said in left_out[0].reason


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"RescaleSlope": 0}, "expected a rescale slope, found 0"),
        ({"Rows": 3000}, "expected 30,000 bytes of pixels, found 40: the file is truncated"),
        ({"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2}, "expected at most 4,294,967,296 bytes"),
        ({"NumberOfFrames": 2_000_000_000}, "expected at most 4,294,967,296 bytes"),
        ({"BitsAllocated": 12, "BitsStored": 12}, "expected pixels of 8, 16 or 32 bits, found 12 bits"),
        ({"BitsAllocated": 64}, "expected pixels of 8, 16 or 32 bits, found 64 bits"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "found a lookup table"),
    ],
)
def test_pixels_that_are_not_what_the_header_claims(writers, tmp_path, elements, said):
    writers.write_dicom(tmp_path / "bad", writers.voxels(1, (4, 5)), **elements)
    assert said in refusal(tmp_path)


def test_a_file_cut_anywhere_is_refused(writers, tmp_path):
    path = writers.write_dicom(tmp_path / "x.dcm", writers.voxels(1, (4, 5)))
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        series, left_out = find_series(tmp_path)
        if series:
            assert not left_out
            assert "truncated" in refusal(tmp_path)
        else:
            assert [out.name for out in left_out] == ["x.dcm"]


def test_a_compressed_frame_of_another_size(shared_data, tmp_path, monkeypatch):
    """Its header, of which alone the decoder allocates, claims 60,000 × 60,000; the decoder never sees it."""
    folder = shared_data / "dicom-odd/cornerstone"
    starts = {
        "JPEG2000LosslessOnly": b"\xff\x4f\xff\x51",
        "JPEGLSLossless": b"\xff\xd8",
        "JPEGProcess14SV1": b"\xff\xd8",
    }
    frame = {"JPEG2000LosslessOnly": b"\xff\x51", "JPEGLSLossless": b"\xff\xf7", "JPEGProcess14SV1": b"\xff\xc3"}
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "as_array", lambda *_, **__: pytest.fail("decoded"))
    for name, start in starts.items():
        (path,) = folder.glob(f"CTImage.dcm_{name}TransferSyntax*")
        content = bytearray(path.read_bytes())
        at = content.index(frame[name], content.index(start, content.index(b"\xe0\x7f\x10\x00")))
        at, wide = (at + 6, 4) if "2000" in name else (at + 5, 2)
        content[at : at + 2 * wide] = (60_000).to_bytes(wide, "big") * 2
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(content)
        assert "expected 512 × 512 pixels, found a compressed frame of 60000 × 60000" in refusal(tmp_path / name)


def test_damaged_compressed_pixels_end_no_process(shared_data, tmp_path):
    """The RLE decoder in Rust panics (no ``Exception``) on some of these; each is refused or, with luck, read."""
    (path,) = (shared_data / "dicom-odd/pydicom-data").glob("emri_small_RLE*")
    good = path.read_bytes()
    at = good.index(b"\xe0\x7f\x10\x00")
    refused = 0
    for seed in range(30):
        content = bytearray(good)
        for index in np.random.default_rng(seed).integers(at + 100, len(content), 40):
            content[index] ^= 0xFF
        (tmp_path / "x").write_bytes(content)
        try:
            only(tmp_path)
        except ScanError:
            refused += 1
    assert refused > 10


def test_a_deflated_data_set_without_bound(shared_data, tmp_path, monkeypatch):
    (path,) = (shared_data / "dicom-odd/cornerstone").glob("*_Deflated*")
    (tmp_path / "x").write_bytes(path.read_bytes())
    monkeypatch.setattr(dicom_parse, "_MOST_INFLATED", 500_000)
    assert "at most 500,000 bytes when inflated, found more" in refusal(tmp_path)
    monkeypatch.undo()
    (tmp_path / "x").write_bytes(path.read_bytes()[:-1000])
    assert "expected a complete deflated data set, found one that ends too early" in refusal(tmp_path)


def test_a_missing_decoder_is_a_missing_part(shared_data, tmp_path, monkeypatch):
    (path,) = (shared_data / "dicom-odd/cornerstone").glob("*_JPEGLSLossless*")
    (tmp_path / "x").write_bytes(path.read_bytes())
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "is_available", False)
    with pytest.raises(MissingPartError) as caught:
        only(tmp_path)
    assert "expected a decoder for JPEG-LS Lossless Image Compression, found none" in str(caught.value)
    assert str(caught.value).endswith("pip install 'synthoma[dicom]'")


def test_a_series_too_large_to_hold(writers, tmp_path, monkeypatch):
    write_stack(writers, tmp_path, writers.voxels(1, (3, 4, 5)))
    monkeypatch.setattr("synthoma.scans.dicom_volume.MOST_DECODED_BYTES", 200)
    assert "expected at most 200 bytes of voxels, found 3 × 4 × 5" in refusal(tmp_path)
    assert dicom_pixels.MOST_DECODED_BYTES == 2**32


def test_identifying_tags_are_never_read(writers, tmp_path):
    write_stack(writers, tmp_path, writers.voxels(1, (3, 4, 5)), SeriesDescription="of Somebody")
    (series,), _ = find_series(tmp_path)
    volume = read_series(series, GeometryRule())
    for text in (repr(series), repr(volume), str(volume.notes)):
        assert "Somebody" not in text
        assert "4711" not in text
    data = dicom_parse.parse_whole((tmp_path / "-0").read_bytes(), tmp_path)
    assert "PatientName" not in data
