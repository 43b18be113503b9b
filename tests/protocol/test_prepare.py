"""From files to a real cohort: what is left out is said, and nothing depends on the number of workers."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from synthoma.cohort import SplitOptions, open_cohort
from synthoma.errors import CohortError, OutputError, ScanError
from synthoma.preprocessing import PreprocessingOptions
from synthoma.protocol.prepare import prepare
from synthoma.recipes import Recipe
from synthoma.scans import BratsData


@pytest.fixture
def tree(study: Path, tmp_path: Path) -> Path:
    """Six cases of the phantom, to be damaged."""
    shutil.copytree(study / "phantom", tmp_path / "scans", ignore=shutil.ignore_patterns("BraTS2021_00006"))
    return tmp_path / "scans"


@pytest.fixture
def options(recipe: Recipe) -> PreprocessingOptions:
    return recipe.preprocessing


def test_a_damaged_case_is_left_out_with_its_reason(tree: Path, options: PreprocessingOptions, tmp_path: Path) -> None:
    broken = tree / "BraTS2021_00000" / "BraTS2021_00000_t1.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    (tree / "BraTS2021_00002" / "BraTS2021_00002_flair.nii.gz").unlink()
    image = nibabel.load(tree / "BraTS2021_00003" / "BraTS2021_00003_flair.nii.gz")
    constant = nibabel.Nifti1Image(np.full(image.shape, 7, np.int16), image.affine)
    nibabel.save(constant, tree / "BraTS2021_00003" / "BraTS2021_00003_flair.nii.gz")
    cohort = open_cohort(prepare(BratsData(path=tree), options, None, tmp_path / "x.cohort"))
    assert cohort.patients == ("BraTS2021_00001", "BraTS2021_00004", "BraTS2021_00005")
    notes = [note for note in cohort.notes if note.startswith("left out")]
    assert len(notes) == 3
    assert "BraTS2021_00000_t1.nii.gz" in notes[0]
    assert "the channel 'flair'" in notes[1]
    assert "BraTS2021_00003_flair.nii.gz" in notes[2]
    with pytest.raises(ScanError, match=r"BraTS2021_00000_t1\.nii\.gz"):
        prepare(BratsData(path=tree), options, None, tmp_path / "y.cohort", strict=True)
    assert not (tmp_path / "y.cohort").exists()


def test_nothing_usable_is_an_error(tree: Path, options: PreprocessingOptions, tmp_path: Path) -> None:
    for path in tree.rglob("*_seg.nii.gz"):
        path.unlink()
    with pytest.raises(ScanError, match="at least one case that can be used, found none"):
        prepare(BratsData(path=tree), options, None, tmp_path / "x.cohort")
    kept = options.model_copy(update={"require_lesion_mask": False})
    cohort = open_cohort(prepare(BratsData(path=tree), kept, None, tmp_path / "x.cohort"))
    assert set(cohort.table["label"].tolist()) == {"unlabelled"}


def test_a_first_case_without_masks_does_not_cost_the_others_theirs(
    tree: Path, options: PreprocessingOptions, tmp_path: Path
) -> None:
    (tree / "BraTS2021_00000" / "BraTS2021_00000_seg.nii.gz").unlink()
    kept = options.model_copy(update={"require_lesion_mask": False})
    cohort = open_cohort(prepare(BratsData(path=tree), kept, None, tmp_path / "x.cohort"))
    assert cohort.lesion_names == ("necrosis", "oedema", "enhancing")
    assert set(cohort.table["label"][cohort.rows(patient="BraTS2021_00000")].tolist()) == {"unlabelled"}
    assert any("no segmentation" in note for note in cohort.notes)


def test_two_time_points_are_one_patient(tree: Path, options: PreprocessingOptions, tmp_path: Path) -> None:
    for case, name in (("BraTS2021_00000", "BraTS-GLI-00007-000"), ("BraTS2021_00001", "BraTS-GLI-00007-001")):
        for path in (tree / case).iterdir():
            path.rename(path.with_name(path.name.replace(case, name)))
        (tree / case).rename(tree / name)
    cohort = open_cohort(prepare(BratsData(path=tree), options, None, tmp_path / "x.cohort"))
    # the phantom's _t1 names keep the convention of 2021; only the case's name is that of 2023
    rows = cohort.rows(patient="BraTS-GLI-00007")
    assert set(cohort.table["scan"][rows].tolist()) == {"BraTS-GLI-00007-000", "BraTS-GLI-00007-001"}
    assert len(set(cohort.table["id"].tolist())) == len(cohort)


@pytest.mark.slow
def test_workers_change_nothing(tree: Path, options: PreprocessingOptions, tmp_path: Path) -> None:
    for workers in (1, 2):
        prepare(BratsData(path=tree), options, SplitOptions(folds=0), tmp_path / f"{workers}", workers=workers)
    for name in ("samples.csv", "images.npy", "masks.npy", "cohort.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_too_few_patients_to_split(tree: Path, options: PreprocessingOptions, tmp_path: Path) -> None:
    for number in range(2, 6):
        shutil.rmtree(tree / f"BraTS2021_0000{number}")
    with pytest.raises(CohortError, match="at least 3 patients for train, validation and test"):
        prepare(BratsData(path=tree), options, SplitOptions(folds=0), tmp_path / "x.cohort")
    assert not (tmp_path / "x.cohort").exists()


def test_default_folds_give_way_but_asked_for_ones_do_not(
    tree: Path, options: PreprocessingOptions, tmp_path: Path
) -> None:
    shutil.rmtree(tree / "BraTS2021_00000")
    shutil.rmtree(tree / "BraTS2021_00001")
    cohort = open_cohort(prepare(BratsData(path=tree), options, SplitOptions(), tmp_path / "x.cohort"))
    assert "no folds: 4 patients are too few for 5" in cohort.notes
    with pytest.raises(CohortError, match="5 folds"):
        prepare(BratsData(path=tree), options, SplitOptions(folds=5), tmp_path / "y.cohort")


def test_the_same_images_under_two_names_are_refused(tree: Path, options: PreprocessingOptions, tmp_path: Path) -> None:
    from synthoma.errors import LeakError

    for path in (tree / "BraTS2021_00000").iterdir():
        target = tree / "BraTS2021_00099" / path.name.replace("00000", "00099")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    with pytest.raises(LeakError, match="BraTS2021_00000, BraTS2021_00099"):
        prepare(BratsData(path=tree), options, None, tmp_path / "x.cohort")


def test_an_output_that_exists_is_found_before_the_work(
    tree: Path, options: PreprocessingOptions, tmp_path: Path
) -> None:
    (tmp_path / "x.cohort").mkdir()
    with pytest.raises(OutputError, match="--overwrite"):
        prepare(BratsData(path=tree / "not there"), options, None, tmp_path / "x.cohort")


def test_too_few_patients_says_why_others_were_left_out(
    tree: Path, options: PreprocessingOptions, tmp_path: Path
) -> None:
    for number in range(4):
        (tree / f"BraTS2021_0000{number}" / f"BraTS2021_0000{number}_seg.nii.gz").unlink()
    with pytest.raises(CohortError) as caught:
        prepare(BratsData(path=tree), options, SplitOptions(folds=0), tmp_path / "x.cohort")
    first, second = str(caught.value).splitlines()
    assert "at least 3 patients" in first
    assert second.startswith("left out BraTS2021_00000: expected a lesion mask, found none.; left out BraTS2021_00001")


def test_strict_refuses_what_was_left_out_by_its_name(
    tree: Path, options: PreprocessingOptions, tmp_path: Path
) -> None:
    (tree / "extra").mkdir()
    shutil.copy(tree / "BraTS2021_00000" / "BraTS2021_00000_seg.nii.gz", tree / "extra" / "other_seg.nii.gz")
    with pytest.raises(ScanError, match="other: expected a case that can be used, found only a segmentation"):
        prepare(BratsData(path=tree), options, None, tmp_path / "x.cohort", strict=True)


def test_each_file_is_read_once(
    tree: Path, options: PreprocessingOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, counts = Path.read_bytes, dict[str, int]()

    def counting(path: Path) -> bytes:
        counts[path.name] = counts.get(path.name, 0) + 1
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    prepare(BratsData(path=tree), options, None, tmp_path / "x.cohort")
    read = {name: count for name, count in counts.items() if name.endswith(".nii.gz")}
    assert len(read) >= 18
    assert set(read.values()) == {1}
