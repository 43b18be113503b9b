"""Joined sources and nodules to a cohort: what the parts share, who is one person, and nobody held out where asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from synthoma.cohort import open_cohort
from synthoma.errors import LeakError, ScanError, SettingError
from synthoma.protocol.prepare import prepare
from synthoma.recipes import Recipe, read_recipe
from synthoma.recipes.recipe import to_yaml
from synthoma.records import Cohort
from synthoma.verbs import prepare as prepare_verb

RECIPE = """
data:
  source: several
  parts:
    mr: {source: nifti, path: FOLDER, channels: {image: "{patient}_mr.nii.gz"}}
    ct: {source: nifti, path: FOLDER, channels: {image: "{patient}_ct.nii.gz"}, modality: CT, unit: HU}
preprocessing:
  require_lesion_mask: false
  steps:
    - {step: reorient}
    - {step: normalise, modality: CT, method: window, window: [-160, 240], keep_outside: true}
    - {step: normalise, modality: MR, keep_outside: true}
    - {step: resize, size: 16}
split: {train: 1, validation: 0, test: 0, folds: 0}
"""


def write(path: Path, key: int, top: int = 300) -> None:
    voxels = np.random.default_rng(key).integers(-200, top, (12, 14, 3)).astype(np.int16)
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.5, 2.0, 1.0])), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MR of the patients 1 and 2, CT of 1."""
    for key, name in enumerate(("1_mr", "2_mr", "1_ct")):
        write(tmp_path / "scans" / f"{name}.nii.gz", key)
    return tmp_path / "scans"


def joined(folder: Path, *changes: str) -> Recipe:
    return read_recipe(RECIPE.replace("FOLDER", str(folder)), "joined", changes)


def made(recipe: Recipe, out: Path) -> Cohort:
    assert recipe.data.source != "phantom-brain"
    return open_cohort(prepare(recipe.data, recipe.preprocessing, recipe.split, out), verify=True)


def test_mr_beside_ct(folder: Path, tmp_path: Path) -> None:
    cohort = made(joined(folder), tmp_path / "x.cohort")
    assert cohort.patients == ("ct-1", "mr-1", "mr-2")
    assert (cohort.channels, cohort.modality, cohort.unit) == (("image",), "CT+MR", "HU+arbitrary")
    assert cohort.images.dtype == np.float32
    assert set(cohort.table["split"].tolist()) == {"train"}
    assert set(cohort.table["fold"].tolist()) == {-1}
    for row in range(len(cohort)):
        ct = cohort.table["patient"][row] == "ct-1"
        assert cohort.table["modality"][row] == ("CT" if ct else "MR")
        assert cohort.table["unit"][row] == ("HU" if ct else "arbitrary")
        assert (cohort.table["low_image"][row] == -160) == ct
    lineage = next(iter(cohort.lineages.values()))
    assert lineage.patients_seen == cohort.patients
    assert not any(str(tmp_path) in note for note in cohort.notes)


def test_settings_of_a_part_are_reached_by_its_name(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "other" / "7_ct.nii.gz", 9)
    recipe = joined(folder, f"data.parts.ct.path={tmp_path / 'other'}", "data.same_patients=true")
    assert read_recipe(to_yaml(recipe), "again") == recipe
    assert made(recipe, tmp_path / "x.cohort").patients == ("1", "2", "7")
    for change, message in (
        ("data.parts.ct.modality=PET", r"joined: data\.parts\.ct\.modality: expected 'MR', 'CT' or 'OT', found 'PET'"),
        ("data.parts.ct.pth=x", r"data\.parts\.ct\.pth: expected a known setting, found 'pth'.\nDid you mean 'path'"),
        ("data.parts.ct.source=nifty", r"data\.parts\.ct\.source: expected one of .*\nDid you mean 'nifti'"),
        ("data.parts.images={source: images}", r"data\.parts\.images\.path: expected a value, found none"),
    ):
        with pytest.raises(SettingError, match=message):
            joined(folder, change)


def test_where_they_lie_does_not_change_the_lineage(folder: Path, tmp_path: Path) -> None:
    before = made(joined(folder), tmp_path / "x.cohort")
    moved = made(joined(folder.rename(tmp_path / "moved")), tmp_path / "y.cohort")
    assert list(before.lineages) == list(moved.lineages)


def test_one_person_of_two_parts_is_on_one_side(folder: Path, tmp_path: Path) -> None:
    for number in range(3, 9):
        write(folder / f"{number}_mr.nii.gz", 10 + number)
        write(folder / f"{number}_ct.nii.gz", 20 + number)
    recipe = joined(folder, "data.same_patients=true", "split={train: 0.5, validation: 0.25, test: 0.25, folds: 2}")
    cohort = made(recipe, tmp_path / "x.cohort")
    assert len(cohort.patients) == 8
    both = cohort.rows(patient="4")
    assert set(cohort.table["modality"][both].tolist()) == {"MR", "CT"}
    assert set(cohort.table["scan"][both].tolist()) == {"mr-4", "ct-4"}
    assert len(set(zip(cohort.table["split"][both].tolist(), cohort.table["fold"][both].tolist(), strict=True))) == 1


def test_one_file_in_two_parts_is_no_two_people(folder: Path, tmp_path: Path) -> None:
    (folder / "8_ct.nii.gz").write_bytes((folder / "1_ct.nii.gz").read_bytes())
    with pytest.raises(LeakError, match="ct-1, ct-8"):
        made(joined(folder), tmp_path / "x.cohort")


def test_parts_agree_on_channels_and_masks(folder: Path, tmp_path: Path) -> None:
    more = "data.parts.mr.channels={second: '{patient}_mr.nii.gz', image: '{patient}_mr2.nii.gz'}"
    for number in (1, 2):
        write(folder / f"{number}_mr2.nii.gz", 30 + number)
    assert made(joined(folder, more), tmp_path / "x.cohort").channels == ("image",)
    with pytest.raises(ScanError) as caught:
        made(joined(folder, "data.parts.ct.channels={ct: '{patient}_ct.nii.gz'}"), tmp_path / "y.cohort")
    first, second = str(caught.value).splitlines()
    assert first == "data.parts, channels: expected a name that all parts share, found mr: image; ct: ct."
    assert second == "Give them the same name in data.parts, or choose by preprocessing.channels."
    masked = [f"data.parts.{part}.masks={{{name}: '{{patient}}_{part}.nii.gz'}}" for part, name in
              (("mr", "liver"), ("ct", "spleen"))]  # fmt: skip
    with pytest.raises(ScanError, match=r"data\.parts, lesion_masks: .* found mr: liver; ct: spleen"):
        made(joined(folder, *masked), tmp_path / "y.cohort")
    cohort = made(joined(folder, masked[0]), tmp_path / "z.cohort")
    assert cohort.lesion_names == ("liver",)
    assert not cohort.masks[cohort.rows(modality="CT")][:, 1].any(), "a part without masks has empty ones"


def test_a_scan_that_no_step_normalises_is_left_out(folder: Path, tmp_path: Path) -> None:
    cohort = made(joined(folder, "data.parts.ct.modality=OT"), tmp_path / "x.cohort")
    assert cohort.patients == ("mr-1", "mr-2")
    assert any("left out ct-1: steps for OT scans: expected one normalise, found none" in n for n in cohort.notes)


def test_several_folders_need_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        prepare_verb("several", tmp_path, tmp_path / "x.cohort")
    first, second = str(caught.value).splitlines()
    assert first == "source: expected one that reads a single folder, found 'several'."
    assert "data.parts.NAME.path" in second
    assert "synthoma run" in second


def nodules(path: Path, out: Path, **settings: Any) -> Cohort:
    steps = [
        "{step: normalise, method: window, window: [0, 255]}" if settings.get("data.set") != "cubes" else
        "{step: normalise, method: window, window: [-1000, 400]}",
        "{step: resize, size: 64, crop: centre}",
    ]  # fmt: skip
    changes = [f"preprocessing.steps=[{', '.join(steps)}]", "preprocessing.sampling.label=scan"]
    changes += [f"{key}={value}" for key, value in settings.items()]
    return open_cohort(prepare_verb("lidc-nodules", path, out, settings=changes), verify=True)


def test_the_real_nodules_are_a_cohort(shared_data: Path, tmp_path: Path) -> None:
    cohort = nodules(shared_data / "lidc-nodules", tmp_path / "x.cohort")
    assert (len(cohort), len(cohort.patients), cohort.images.shape[1:]) == (3961, 396, (1, 64, 64))
    assert (cohort.modality, cohort.unit, cohort.mask_names) == ("CT", "arbitrary", ("body", "nodule"))
    with np.load(shared_data / "lidc-nodules" / "segmented_slices64.npz", allow_pickle=False) as archive:
        labels = Counter("malignant" if label else "benign" for label in archive["label"].tolist())
        image, exam = archive["image"][0], str(archive["exam_id"][0])
    assert Counter(cohort.table["label"].tolist()) == labels
    rows = [row for row in cohort.rows(patient=exam) if np.array_equal(cohort.masks[row, 1], image > 0)]
    assert any(np.allclose((cohort.images[row, 0] + 1) * 127.5, image, atol=1e-3) for row in rows)
    sides: dict[str, set[str]] = {}
    for patient, split in zip(cohort.table["patient"].tolist(), cohort.table["split"].tolist(), strict=True):
        sides.setdefault(patient, set()).add(split)
    assert max(map(len, sides.values())) == 1


def test_the_real_cubes_are_a_cohort(shared_data: Path, tmp_path: Path) -> None:
    cohort = nodules(shared_data / "lidc-nodules", tmp_path / "x.cohort", **{"data.set": "cubes"})
    assert (len(cohort), len(cohort.patients), cohort.unit) == (100 * 48, 100, "HU")
    assert set(cohort.table["label"].tolist()) == {"benign", "malignant", "indeterminate"}
    assert set(cohort.table["spacing_mm"].tolist()) == {"1 1"}


def test_real_mr_beside_ct(shared_data: Path, tmp_path: Path) -> None:
    changes = ("preprocessing.steps.resize.size=96", *(
        f"data.parts.{part}.channels={{image: '{{patient}}_{part}_sm.nii.gz'}}" for part in ("mr", "ct")
    ))  # fmt: skip
    cohort = made(joined(shared_data / "mr-ct" / "abdomen-nifti", *changes), tmp_path / "x.cohort")
    assert cohort.patients == ("ct-example", "mr-example")
    assert Counter(cohort.table["modality"].tolist()) == {"CT": 30, "MR": 20}
    assert cohort.images.shape[1:] == (1, 96, 96)
    assert cohort.images.dtype == np.float32
    assert {both["prepared"].orientation for both in cohort.grids.values()} == {"LPS"}
