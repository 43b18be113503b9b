"""Several sources as one: two hospitals' patient 001 are two people, and every message names its part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from synthoma.errors import ScanError
from synthoma.scans import NiftiData, SeveralData, TcgaLggData, find, read


@pytest.fixture
def parts(writers: Any, tmp_path: Path) -> dict[str, NiftiData]:
    """MR and CT of the patients ``001`` and ``002`` (CT of the first only), in one folder."""
    for key, name in enumerate(("001_mr", "002_mr", "001_ct")):
        writers.write_volume(tmp_path / "scans" / f"{name}.nii.gz", writers.voxels(key))
    both = {
        "mr": {"channels": {"image": "{patient}_mr.nii.gz"}},
        "ct": {"channels": {"image": "{patient}_ct.nii.gz"}, "modality": "CT", "unit": "HU"},
    }
    return {part: NiftiData(path=tmp_path / "scans", **settings) for part, settings in both.items()}


def test_equal_names_are_two_people_unless_told(parts: dict[str, NiftiData], writers: Any) -> None:
    for same, patients in ((False, ["ct-001", "mr-001", "mr-002"]), (True, ["001", "001", "002"])):
        options = SeveralData(parts=parts, same_patients=same)
        cases = find(options).cases
        assert [case.name for case in cases] == ["ct-001", "mr-001", "mr-002"]
        assert [case.patient for case in cases] == patients
        scans = [read(case, options) for case in cases]
        assert [scan.patient for scan in scans] == patients
        assert [(scan.modality, scan.unit) for scan in scans] == [("CT", "HU"), *[("MR", "arbitrary")] * 2]
        assert [scan.source[0].path for scan in scans] == ["ct/001_ct.nii.gz", "mr/001_mr.nii.gz", "mr/002_mr.nii.gz"]
        for key, scan in zip((2, 0, 1), scans, strict=True):
            np.testing.assert_array_equal(scan.channels["image"], writers.voxels(key))


def test_a_tcga_barcode_is_one_person_everywhere(writers: Any, tmp_path: Path) -> None:
    stack = writers.voxels(1, (2, 6, 7, 3), "uint8")
    writers.write_tcga_patient(tmp_path / "kaggle_3m", "TCGA_CS_4942_19970222", stack)
    writers.write_volume(tmp_path / "nifti" / "TCGA-CS-4942_ct.nii.gz", writers.voxels(2))
    options = SeveralData(
        parts={
            "mr": TcgaLggData(path=tmp_path),
            "ct": NiftiData(path=tmp_path / "nifti", channels={"flair": "{patient}_ct.nii.gz"}),
        }
    )
    found = {case.name: case.patient for case in find(options).cases}
    assert found == {"ct-TCGA-CS-4942": "TCGA-CS-4942", "mr-TCGA_CS_4942_19970222": "TCGA-CS-4942"}


def test_what_is_left_out_and_noted_names_its_part(parts: dict[str, NiftiData], writers: Any) -> None:
    root = parts["mr"].path
    writers.write_volume(root / "003_mr.nii.gz", writers.voxels(5), np.diag([1.0, 1, 1, 1]))
    (root / "extra").mkdir()
    writers.write_volume(root / "extra" / "other.nii.gz", writers.voxels(6))
    found = find(SeveralData(parts=parts))
    assert [out.name for out in found.left_out] == ["ct-extra", "mr-extra"]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("mr: ")


def test_an_error_names_the_setting_of_the_part(parts: dict[str, NiftiData], tmp_path: Path) -> None:
    absent = parts["mr"].model_copy(update={"path": tmp_path / "data.nowhere"})
    with pytest.raises(ScanError) as caught:
        find(SeveralData(parts={**parts, "old": absent}))
    first, second = str(caught.value).splitlines()
    assert first == f"{tmp_path / 'data.nowhere'}: expected a folder, found nothing there."
    assert second == "Check data.parts.old.path."
    options = SeveralData(parts=parts)
    case = find(options).cases[0]
    case.files["image"].write_bytes(b"")
    with pytest.raises(ScanError, match=r"001_ct\.nii\.gz: expected"):
        read(case, options)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least 1 item"),
        (["a/b"], "part names begin the names of patients: letters, digits, - and _ only, got 'a/b'"),
        ([""], "letters, digits, - and _ only, got ''"),
        (["a", "a-b"], "part names must not begin with another and '-', got 'a' and 'a-b'"),
    ],
)
def test_names_that_could_be_mistaken_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SeveralData(parts={name: TcgaLggData(path=Path("x")) for name in names})


def test_parts_are_not_nested(parts: dict[str, NiftiData]) -> None:
    inner = SeveralData(parts=parts).model_dump(mode="json")
    with pytest.raises(ValidationError, match="'several' found using 'source' does not match any of the expected tags"):
        SeveralData.model_validate({"parts": {"x": inner}})
