"""The phantom liver on disk: the files are valid DICOM, as the archive's are, and say what was rendered."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from dicom_standard import complaints, conditions
from synthoma.errors import OutputError
from synthoma.phantoms import LiverPhantomOptions, write_liver_phantom
from synthoma.phantoms.dicom_seg import SEGMENTS, write_segmentation
from synthoma.phantoms.liver import LiverScan, draw, render
from synthoma.storage import file_sha256

SMALL = {"patients": 2, "seed": 1, "size": 64, "spacing_mm": 10.0}
SLICES = 22


def _hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def scans() -> list[LiverScan]:
    options = LiverPhantomOptions(**SMALL)
    return [render(draw(options, index), options.size, options.spacing_mm) for index in (0, 1)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_liver_phantom(tmp_path_factory.mktemp("phantom") / "tree", LiverPhantomOptions(**SMALL))


def _files(tree: Path, patient: int) -> tuple[list[Path], Path]:
    files = sorted((tree / f"PHANTOM-LIVER-000{patient}").rglob("*.dcm"))
    segmentation = [file for file in files if file.name == "1-1.dcm"]
    assert len(segmentation) == 1
    return [file for file in files if file not in segmentation], segmentation[0]


def test_folders_are_those_of_the_archive(tree: Path) -> None:
    assert sorted(path.name for path in tree.iterdir()) == ["PHANTOM-LIVER-0001", "PHANTOM-LIVER-0002"]
    for patient in (1, 2):
        images, segmentation = _files(tree, patient)
        assert [file.name for file in images] == [f"1-{number:03}.dcm" for number in range(1, SLICES + 1)]
        assert len({file.parent for file in images}) == 1
        assert segmentation.parent.parent == images[0].parent.parent != tree / f"PHANTOM-LIVER-000{patient}"


def test_images_hold_the_rendered_values(tree: Path, scans: list[LiverScan]) -> None:
    for index, scan in enumerate(scans):
        images = [pydicom.dcmread(file) for file in _files(tree, index + 1)[0]]
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
        for z, image in enumerate(images):
            stored = image.pixel_array * int(image.RescaleSlope) + int(image.RescaleIntercept)
            np.testing.assert_array_equal(stored, scan.hu[z])
            assert image.PixelSpacing == pytest.approx(scan.spacing_mm[1:], abs=1e-6)
            place = (*scan.origin_mm[:2], scan.origin_mm[2] + z * SMALL["spacing_mm"])
            assert [float(value) for value in image.ImagePositionPatient] == pytest.approx(place, abs=1e-5)
            assert (image.Modality, image.BodyPartExamined) == ("CT", "ABDOMEN")


def test_segments_hold_the_rendered_masks_on_their_slices(tree: Path, scans: list[LiverScan]) -> None:
    for index, scan in enumerate(scans):
        files, segmentation = _files(tree, index + 1)
        images = sorted((pydicom.dcmread(file) for file in files), key=lambda image: image.ImagePositionPatient[2])
        read = highdicom.seg.segread(segmentation)
        uids = [image.SOPInstanceUID for image in images]
        masks = read.get_pixels_by_source_instance(
            uids, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
        )
        assert [read.get_segment_description(number).segment_label for number in read.segment_numbers] == [
            SEGMENTS[name].label for name in scan.masks
        ]
        for number, name in enumerate(scan.masks):
            np.testing.assert_array_equal(masks[..., number], scan.masks[name])
        assert read.StudyInstanceUID == images[0].StudyInstanceUID
        assert read.FrameOfReferenceUID == images[0].FrameOfReferenceUID
        assert read.PatientID == f"PHANTOM-LIVER-000{index + 1}"


def test_frames_lie_where_their_slices_do(tree: Path) -> None:
    files, segmentation = _files(tree, 1)
    places = {pydicom.dcmread(f).SOPInstanceUID: pydicom.dcmread(f).ImagePositionPatient for f in files}
    for frame in pydicom.dcmread(segmentation).PerFrameFunctionalGroupsSequence:
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert frame.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(places[uid])


def test_a_patient_without_a_carcinoma_has_an_empty_mass(tmp_path: Path) -> None:
    options = LiverPhantomOptions(**(SMALL | {"patients": 1, "tumour_free": 1.0}))
    dataset = pydicom.dcmread(_files(write_liver_phantom(tmp_path / "tree", options), 1)[1])
    labels = [segment.SegmentLabel for segment in dataset.SegmentSequence]
    assert labels == ["Liver", "Mass", "Portal vein", "Abdominal aorta"]
    frames = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert set(frames) == {1, 3, 4}


def test_all_identifiers_differ(tree: Path) -> None:
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in tree.rglob("*.dcm")]
    assert len(uids) == len(set(uids)) == 2 * (SLICES + 1)


def test_the_validator_passes_images_and_segmentations(tree: Path) -> None:
    for patient in (1, 2):
        images, segmentation = _files(tree, patient)
        for file in (images[0], images[-1], segmentation):
            assert complaints(file) == []


def test_dciodvfy_finds_no_error(tree: Path) -> None:
    images, segmentation = _files(tree, 1)
    for file in (images[0], segmentation):
        assert conditions(file) == []


def test_the_validator_would_notice(tree: Path, tmp_path: Path) -> None:
    images, segmentation = _files(tree, 1)
    for source, change in ((images[0], "SliceThickness"), (segmentation, "SegmentationType")):
        dataset = pydicom.dcmread(source)
        del dataset[change]
        dataset.save_as(tmp_path / "less.dcm")
        assert len(complaints(tmp_path / "less.dcm")) == 1
    dataset = pydicom.dcmread(segmentation)
    del dataset.SegmentSequence[0].SegmentLabel
    dataset.save_as(tmp_path / "less.dcm")
    assert complaints(tmp_path / "less.dcm") == ["(0062,0002) / (0062,0005) TagMissing"]


def test_the_same_seed_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    again = write_liver_phantom(tmp_path / "again", LiverPhantomOptions(**(SMALL | {"patients": 1})))
    whole = _hashes(tree)
    assert _hashes(again) == {name: value for name, value in whole.items() if name.startswith("PHANTOM-LIVER-0001")}


@pytest.mark.slow
def test_workers_do_not_change_the_bytes(tree: Path, tmp_path: Path) -> None:
    again = write_liver_phantom(tmp_path / "again", LiverPhantomOptions(**SMALL, workers=2))
    assert _hashes(again) == _hashes(tree)


def test_an_existing_folder_is_refused(tree: Path) -> None:
    before = _hashes(tree)
    with pytest.raises(OutputError, match="found one that exists"):
        write_liver_phantom(tree, LiverPhantomOptions(**SMALL))
    assert _hashes(tree) == before


def test_masks_that_do_not_fit_are_refused(tree: Path, tmp_path: Path) -> None:
    images = _files(tree, 1)[0]
    with pytest.raises(ValueError, match=r"mask liver: expected one \(z, y, x\) of the slices, found \(3, 64, 64\)"):
        write_segmentation(tmp_path / "1-1.dcm", images, {"liver": np.ones((3, 64, 64), np.bool_)}, seed=0)
    with pytest.raises(ValueError, match="masks: expected one with a voxel at least, found none"):
        write_segmentation(tmp_path / "1-1.dcm", images, {"liver": np.zeros((SLICES, 64, 64), np.bool_)}, seed=0)
    assert list(tmp_path.iterdir()) == []
