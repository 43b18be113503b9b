"""LiTS, Medical Segmentation Decathlon, nnU-Net; and what the source nifti learned for them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from synthoma.errors import ScanError, SettingError
from synthoma.scans import FOLDER_SOURCES, DecathlonData, LitsData, NiftiData, NnunetData, find, read
from synthoma.scans.dataset_json import read_dataset


def only(options):
    (case,) = find(options).cases
    return read(case, options)


def contents(options):
    return FOLDER_SOURCES[options.source].contents(options, find(options).cases)


def write_task(writers, root, images, seg, **content):
    """A Decathlon task of one case ``a``."""
    writers.write_dataset(root, **content)
    writers.write_volume(root / "imagesTr" / "a.nii.gz", images)
    if seg is not None:
        writers.write_volume(root / "labelsTr" / "a.nii.gz", seg)
    return root


CT = {"0": "CT"}
LIVER = {"0": "background", "1": "liver", "2": "cancer"}


def test_lits_labels_become_the_liver_with_its_tumours(writers, tmp_path):
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0], labels[0, 0] = 1, 2
    writers.write_volume(tmp_path / "a/volume-0.nii", writers.voxels(1) - 1000)
    writers.write_volume(tmp_path / "b/segmentation-0.nii", labels)
    scan = only(LitsData(path=tmp_path))
    assert (scan.organs, scan.lesions, scan.unit, scan.modality) == (("liver",), ("tumour",), "HU", "CT")
    np.testing.assert_array_equal(scan.masks["liver"], labels > 0)
    np.testing.assert_array_equal(scan.masks["tumour"], labels == 2)
    np.testing.assert_array_equal(scan.channels["ct"], writers.voxels(1) - 1000)


def test_lits_numbers_not_neighbours_belong_together(writers, tmp_path):
    for number in (1, 11):
        writers.write_volume(tmp_path / f"volume-{number}.nii", writers.voxels(number))
    writers.write_volume(tmp_path / "segmentation-11.nii", np.full((3, 4, 5), 2, np.uint8))
    writers.write_volume(tmp_path / "test-volume-1.nii", writers.voxels(3))
    options = LitsData(path=tmp_path)
    found = find(options)
    assert [case.name for case in found.cases] == ["volume-1", "volume-11"]
    one, eleven = (read(case, options) for case in found.cases)
    assert (dict(one.masks), one.notes) == ({}, ("no mask liver", "no mask tumour"))
    assert eleven.masks["tumour"].all()
    assert contents(options) == (("ct",), ("tumour",))


def test_lits_refuses_a_segmentation_of_another_grid(writers, tmp_path):
    writers.write_volume(tmp_path / "volume-0.nii", writers.voxels(1))
    writers.write_volume(tmp_path / "segmentation-0.nii", np.ones((4, 4, 5), np.uint8))
    with pytest.raises(ScanError, match=r"expected segmentation-0\.nii of the shape of volume-0\.nii"):
        only(LitsData(path=tmp_path))


def test_decathlon_channels_of_one_file(writers, tmp_path):
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    labels = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    images = np.stack([writers.voxels(k) for k in range(4)])
    seg = (writers.voxels(9) % 4).astype(np.uint8)
    write_task(writers, tmp_path, images, seg, modality=names, labels=labels, numTraining=1)
    options = DecathlonData(path=tmp_path)
    scan = only(options)
    assert list(scan.channels) == ["flair", "t1w", "t1gd", "t2w"]
    for k, array in enumerate(scan.channels.values()):
        np.testing.assert_array_equal(array, images[k])
    assert scan.lesions == ("edema", "non-enhancing-tumor", "enhancing-tumour")
    np.testing.assert_array_equal(scan.masks["enhancing-tumour"], seg == 3)
    assert (scan.modality, scan.unit, scan.organs) == ("MR", "arbitrary", ())
    np.testing.assert_allclose(scan.grid.affine, writers.LPS)
    assert contents(options) == (tuple(scan.channels), scan.lesions)


def test_decathlon_ct_with_an_organ(writers, tmp_path):
    seg = (writers.voxels(9) % 3).astype(np.uint8)
    write_task(writers, tmp_path, writers.voxels(1), seg, modality=CT, labels=LIVER)
    scan = only(DecathlonData(path=tmp_path))
    assert (scan.modality, scan.unit, scan.organs, scan.lesions) == ("CT", "HU", ("liver",), ("cancer",))
    scan = only(DecathlonData(path=tmp_path, organs=(), modality="OT"))
    assert (scan.modality, scan.unit, scan.organs, scan.lesions) == ("OT", "arbitrary", (), ("liver", "cancer"))
    with pytest.raises(
        SettingError, match=r"data\.organs: expected labels of dataset\.json, found 'livr'\.\nDid you mean 'liver'"
    ):
        only(DecathlonData(path=tmp_path, organs=("livr",)))


@pytest.mark.parametrize("count", [1, 3])
def test_decathlon_needs_a_volume_a_channel(writers, tmp_path, count):
    names = {"0": "T1", "1": "T2"}
    images = np.stack([writers.voxels(k) for k in range(count)])
    write_task(writers, tmp_path, images, None, modality=names, labels=LIVER)
    with pytest.raises(
        ScanError, match=rf"a\.nii\.gz: expected 2 volumes along the fourth axis \(t1, t2\), found {count}"
    ):
        only(DecathlonData(path=tmp_path))


def test_fewer_cases_than_announced_and_unread_test_images_are_said(writers, tmp_path):
    write_task(writers, tmp_path, writers.voxels(1), None, modality=CT, labels=LIVER, numTraining=3)
    writers.write_volume(tmp_path / "imagesTs/b.nii.gz", writers.voxels(2))
    assert find(DecathlonData(path=tmp_path)).notes == (
        "dataset.json speaks of 3 training cases; 1 are here",
        "1 files in imagesTs, which have no labels, are not read",
    )


def write_nnunet(writers, root, labels, seg, channels=("T1", "FLAIR"), **content):
    names = {str(k): name for k, name in enumerate(channels)}
    writers.write_dataset(root, **{"channel_names": names, "labels": labels, "file_ending": ".nii.gz", **content})
    for k in range(len(channels)):
        writers.write_volume(root / f"imagesTr/case_1_{k:04d}.nii.gz", writers.voxels(k + 1))
    if seg is not None:
        writers.write_volume(root / "labelsTr/case_1.nii.gz", seg)
    return root


def test_nnunet_regions_and_the_ignored_label(writers, tmp_path):
    seg = (writers.voxels(9) % 5).astype(np.uint8)
    labels = {"background": 0, "whole tumor": [1, 2, 3], "core": [2, 3], "ignore": 4}
    options = NnunetData(path=write_nnunet(writers, tmp_path, labels, seg))
    scan = only(options)
    assert (scan.patient, list(scan.channels), scan.modality) == ("case_1", ["t1", "flair"], "MR")
    np.testing.assert_array_equal(scan.masks["whole-tumor"], np.isin(seg, (1, 2, 3)))
    np.testing.assert_array_equal(scan.masks["core"], np.isin(seg, (2, 3)))
    assert set(scan.masks) == {"whole-tumor", "core"}
    assert find(options).notes == ("voxels with the label 'ignore' are of no mask",)


def test_nnunet_1_with_the_older_fields(writers, tmp_path):
    seg = (writers.voxels(9) % 3).astype(np.uint8)
    write_nnunet(writers, tmp_path, LIVER, seg, ("CT",))
    content = json.loads((tmp_path / "dataset.json").read_text())
    content["modality"] = content.pop("channel_names")
    del content["file_ending"]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    scan = only(NnunetData(path=tmp_path))
    assert (scan.organs, scan.lesions, scan.modality) == (("liver",), ("cancer",), "CT")


def test_nnunet_of_other_files_is_refused(writers, tmp_path):
    write_nnunet(writers, tmp_path, {"background": 0, "liver": 1}, None, file_ending=".png")
    with pytest.raises(ScanError, match=r"dataset\.json: expected file_ending \.nii\.gz or \.nii, found '\.png'"):
        find(NnunetData(path=tmp_path))


def test_a_case_without_labels_or_a_channel_says_so(writers, tmp_path):
    options = NnunetData(path=write_nnunet(writers, tmp_path, {"background": 0, "tumour": 1}, None))
    (tmp_path / "imagesTr/case_1_0001.nii.gz").unlink()
    scan = only(options)
    assert (scan.missing, scan.notes) == (("flair",), ("no mask tumour",))
    assert contents(options) == (("t1", "flair"), ())


def test_channels_on_other_grids_are_aligned_when_told(writers, tmp_path):
    write_nnunet(writers, tmp_path, {"background": 0, "tumour": 1}, None)
    moved = writers.LPS.copy()
    moved[2, 3] += 3.0
    writers.write_volume(tmp_path / "imagesTr/case_1_0001.nii.gz", writers.voxels(2), moved)
    with pytest.raises(ScanError, match=r"data\.align"):
        only(NnunetData(path=tmp_path))
    scan = only(NnunetData(path=tmp_path, align="resample"))
    np.testing.assert_array_equal(scan.channels["flair"][1:], writers.voxels(2)[:-1])


def test_layouts_that_are_taken_for_each_other_are_told_apart(writers, tmp_path):
    write_nnunet(writers, tmp_path / "n", LIVER, None, ("CT",))
    with pytest.raises(ScanError, match="It looks like the source 'nnunet'"):
        find(DecathlonData(path=tmp_path / "n"))
    write_task(writers, tmp_path / "d", writers.voxels(1), None, modality=CT, labels=LIVER)
    with pytest.raises(ScanError, match="It looks like the source 'decathlon'"):
        find(NnunetData(path=tmp_path / "d"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON, found one that cannot be read"),
        ("[" * 100_000, "expected JSON, found one that cannot be read"),
        ("[]", "expected a JSON object"),
        ("{}", "expected labels such as|expected modality such as|expected labels of at least"),
        ({"modality": CT}, "expected labels of at least one structure, found None"),
        ({"modality": CT, "labels": {"0": "background"}}, "expected labels of at least one structure"),
        ({"modality": {"1": "CT"}, "labels": LIVER}, 'expected modality such as {"0": "T1", "1": "FLAIR"}'),
        ({"modality": {"0": "a b", "1": "A-B"}, "labels": LIVER}, "names that differ"),
        ({"modality": {"0": 7}, "labels": LIVER}, "expected modality such as"),
        ({"channel_names": "CT", "labels": LIVER}, "expected channel_names such as"),
        ({"channel_names": CT, "labels": {"liver": "one"}}, "expected labels such as"),
        ({"channel_names": CT, "labels": {"liver": [1, 0]}}, "expected labels such as"),
        ({"channel_names": CT, "labels": {"liver": []}}, "expected labels such as"),
        ({"channel_names": CT, "labels": {"liver": True}}, "expected labels such as"),
        ({"channel_names": CT, "labels": {"Liver": 1, "liver": 2}}, "expected labels such as"),
        ({"channel_names": CT, "labels": {"liver": 1}, "file_ending": 7}, "expected file_ending to be text"),
    ],
)
def test_a_bad_dataset_json_is_named(tmp_path, content, message):
    file = tmp_path / "dataset.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ScanError, match=rf"dataset\.json: .*{message}|dataset\.json: {message}") as caught:
        read_dataset(file)
    assert len(str(caught.value).splitlines()) <= 2


def test_both_ways_to_write_labels(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"modality": CT, "labels": LIVER}))
    (tmp_path / "b.json").write_text(
        json.dumps({"channel_names": CT, "labels": {"background": 0, "liver": 1, "cancer": 2}})
    )
    one, other = (read_dataset(tmp_path / f"{name}.json") for name in "ab")
    assert one == other
    assert dict(one.labels) == {"liver": (1,), "cancer": (2,)}


def test_nifti_takes_a_volume_of_a_file_of_four_axes(writers, tmp_path):
    images = np.stack([writers.voxels(k) for k in range(3)])
    writers.write_volume(tmp_path / "deep/er/P_all.nii.gz", images)
    channels = {
        "late": {"file": "**/{patient}_all.nii*", "volume": 2},
        "first": {"file": "**/{patient}_all.nii*", "volume": 0},
    }
    scan = only(NiftiData(path=tmp_path, channels=channels))
    np.testing.assert_array_equal(scan.channels["late"], images[2])
    np.testing.assert_array_equal(scan.channels["first"], images[0])
    with pytest.raises(ScanError, match=r"P_all\.nii\.gz: expected a volume 3, counted from 0, found 3 along"):
        only(NiftiData(path=tmp_path, channels={"t1": {"file": "**/{patient}_all.nii.gz", "volume": 3}}))
    with pytest.raises(
        ScanError, match=r"expected a volume of three axes, found 3 volumes along a fourth.\n.*volume: 0"
    ):
        only(NiftiData(path=tmp_path, channels={"t1": "**/{patient}_all.nii.gz"}))
    with pytest.raises(ValidationError, match="two channels have the same file name"):
        NiftiData(path=tmp_path, channels=dict.fromkeys("ab", channels["late"]))


def test_real_header_is_kept_where_it_is_wrong(shared_data):
    """``example_ct_sm`` has the affine of the volume that it was cut from, 246 mm off: what its header says stays."""
    folder = shared_data / "mr-ct/abdomen-nifti"
    small, whole = ({"ct": f"{{patient}}_{name}.nii.gz"} for name in ("ct_sm", "ct"))
    masks = {"liver": {"file": "{patient}_seg.nii.gz", "labels": (5,)}}
    scan = only(NiftiData(path=folder, channels=small, masks=masks, modality="CT", unit="HU"))
    parent = only(NiftiData(path=folder, channels=whole, modality="CT", unit="HU"))
    assert scan.notes == ()
    assert scan.grid.origin_mm == parent.grid.origin_mm
    np.testing.assert_array_equal(scan.channels["ct"], parent.channels["ct"][82:112])
    assert abs(scan.channels["ct"][scan.masks["liver"] > 0].mean() - 45) < 1
