"""What every source promises; runs over the table of sources."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from synthoma.errors import ScanError
from synthoma.scans import SOURCES, DataOptions, SeveralData, TcgaLggData, find, read


def options_for(source_name: str, path: Path) -> BaseModel:
    """The least settings of a source."""
    if source_name == "several":
        return SeveralData(parts={"one": TcgaLggData(path=path)})
    needed = {"channels": {"t1": "{patient}_t1.nii"}} if source_name == "nifti" else {}
    return SOURCES[source_name].options(path=path, **needed)


def test_every_source_has_a_builder(writers):
    assert set(writers.BUILDERS) == set(SOURCES)


def test_finds_all_cases_sorted_with_unique_names(built):
    found = find(built.options)
    assert tuple(case.name for case in found.cases) == built.names == tuple(sorted(set(built.names)))
    assert tuple(case.patient for case in found.cases) == built.patients


def test_finds_the_same_twice_and_in_another_place(built, tmp_path):
    assert find(built.options) == find(built.options)
    options = built.moved(tmp_path / "moved").options
    for case, name in zip(find(options).cases, built.names, strict=True):
        assert case.name == name
        assert not any(str(tmp_path) in file.path for file in read(case, options).source)


def test_reads_true_voxels_of_the_right_types(built):
    scan = read(find(built.options).cases[0], built.options)
    assert set(scan.channels) == built.channels
    assert set(scan.masks) == built.masks
    assert scan.grid.shape == built.shape
    for name, array in scan.channels.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, built.first_voxels[name])
    for mask in scan.masks.values():
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}


def test_case_and_scan_agree(built):
    for case in find(built.options).cases:
        scan = read(case, built.options)
        assert (scan.patient, scan.site, scan.label) == (case.patient, case.site, case.label)
        assert set(case.missing) <= set(scan.missing)
        assert not set(scan.missing) & set(scan.channels)
        assert not scan.intensity
        if not scan.masks:
            assert any("mask" in note or "segmentation" in note for note in scan.notes)


def named(built, path: str) -> Path:
    """The file that a scan names as its source."""
    if isinstance(built.options, SeveralData):
        part, _, path = path.partition("/")
        return built.options.parts[part].path / path
    return built.root / path


def test_sources_are_the_files_with_their_hashes(built):
    case = find(built.options).cases[0]
    scan = read(case, built.options)
    paths = [named(built, file.path) for file in scan.source]
    instances = {instance.file.path for series in case.series.values() for instance in series.instances}
    assert set(paths) == set(case.files.values()) | instances
    for path, file in zip(paths, scan.source, strict=True):
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_reading_twice_gives_equal_scans(built):
    case = find(built.options).cases[0]
    once, again = read(case, built.options), read(case, built.options)
    for field in dataclasses.fields(once):
        if field.name not in ("channels", "masks"):
            assert getattr(once, field.name) == getattr(again, field.name)
    for kind in ("channels", "masks"):
        assert list(getattr(once, kind)) == list(getattr(again, kind))
        for name, array in getattr(once, kind).items():
            np.testing.assert_array_equal(array, getattr(again, kind)[name])


def test_find_reads_no_voxels(built):
    """A file cut to 60 bytes holds no voxel; find does not mind, read does."""
    before = find(built.options)
    for path in before.cases[0].files.values():
        built.hurt(path)
    assert find(built.options).cases == before.cases
    with pytest.raises(ScanError):
        read(before.cases[0], built.options)


def test_every_file_truncated_or_corrupt_or_gone_is_named(built):
    case = find(built.options).cases[0]
    for path in sorted(set(case.files.values())):
        good = path.read_bytes()
        bad = {"half": good[: len(good) // 2], "empty": b"", "other": b"not an image at all" * 40}
        for content in bad.values():
            path.write_bytes(content)
            with pytest.raises(ScanError, match="expected") as caught:
                read(case, built.options)
            assert path.name in str(caught.value)
            assert len(str(caught.value).splitlines()) <= 2
        path.unlink()
        with pytest.raises(ScanError, match="No such file"):
            read(case, built.options)
        path.write_bytes(good)
    read(case, built.options)


def test_no_folder_and_an_empty_folder(source_name, tmp_path):
    with pytest.raises(ScanError, match="expected a folder, found nothing there"):
        find(options_for(source_name, tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScanError, match=r"empty: .*, found an empty folder\.\nCheck data\.(parts\.one\.)?path"):
        find(options_for(source_name, tmp_path / "empty"))
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ScanError, match=r"file\.txt: expected a folder.*, found a"):
        find(options_for(source_name, tmp_path / "file.txt"))


def test_wrong_folder_says_what_was_expected_and_found(source_name, tmp_path):
    for name in "gfedcba":
        (tmp_path / f"{name}.txt").write_text("x")
    with pytest.raises(ScanError, match=r"expected .*, found a\.txt, b\.txt, c\.txt, d\.txt, e\.txt, …"):
        find(options_for(source_name, tmp_path))


@pytest.mark.parametrize("other", sorted(SOURCES))
def test_folder_of_another_source_is_recognised(built, source_name, other):
    """But BraTS cases are NIfTI files too, a stack has a table, archives are DICOM; joined sources have no look."""
    if other == source_name or "several" in (other, source_name):
        return
    if (source_name, other) in (("brats", "nifti"), ("lidc-nodules", "images")):
        return
    if source_name in ("lidc", "ircadb", "tcia-liver") and other == "dicom":
        return
    with pytest.raises(ScanError, match=f"It looks like the source '{source_name}': set data.source={source_name}"):
        find(options_for(other, built.root))


def test_settings_are_told_apart_by_source(built, source_name):
    content = built.options.model_dump(mode="json")
    assert TypeAdapter(DataOptions).validate_python(content) == built.options
    assert content["source"] == source_name
    with pytest.raises(ValidationError, match="Extra inputs"):
        TypeAdapter(DataOptions).validate_python({**content, "pathh": "x"})
    with pytest.raises(ValidationError, match=", ".join(f"'{name}'" for name in SOURCES)):
        TypeAdapter(DataOptions).validate_python({**content, "source": "photographs"})


def test_every_setting_is_documented(source_name):
    fields = SOURCES[source_name].options.model_fields
    assert [name for name, field in fields.items() if not field.description and name != "source"] == []


def test_import_is_light():
    heavy = {"nibabel", "tifffile", "PIL", "scipy", "torch"}
    code = f"import sys, synthoma.scans; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
