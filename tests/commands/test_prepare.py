"""``synthoma prepare`` as a user types it: what is said of good and bad folders."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from synthoma.cohort import open_cohort


def case(scans: Path, index: int, channel: str) -> Path:
    """The file of one channel of a phantom."""
    name = f"BraTS2021_{index:05d}"
    return scans / name / f"{name}_{channel}.nii.gz"


def rewrite(path: Path, array: np.ndarray) -> None:
    """Another array under the same name and affine."""
    nib.save(nib.Nifti1Image(array, nib.load(path).affine), path)


def voxels(path: Path, dtype: str = "float32") -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj).astype(dtype)


def test_a_folder_becomes_a_cohort_and_a_summary(typed, study, real):
    cohort = open_cohort(real, verify=True)
    assert (cohort.channels, len(cohort.patients)) == (("t1", "flair"), 8)
    assert set(cohort.table["site"].tolist()) == {"A", "B"}  # of participants.tsv
    said = typed("info", real)
    assert said.code == 0
    for text in ("48 samples of 8 patients, 32 × 32 pixels", "channels  t1, flair", "test ", "tumour-free"):
        assert text in said.out
    assert "  modality  MR   unit  arbitrary\n" in said.out
    assert json.loads(typed("info", real, "--json").out)["samples"] == 48


def test_folds_give_way_when_nobody_asked_for_them(typed, some_scans, tmp_path, small):
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "a.cohort", *small)
    assert said.code == 0
    assert "no folds: 4 patients are too few for 5" in said.out
    assert set(open_cohort(tmp_path / "a.cohort").table["fold"].tolist()) == {-1}
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "b.cohort", *small, "--set", "split.folds=5")
    assert said.code == 2
    assert "expected at least 5 patients for train, validation and test and 5 folds, found 4." in said.err


def test_too_few_patients_to_split(typed, some_scans, tmp_path, small):
    for index in (2, 3):
        shutil.rmtree(case(some_scans, index, "t1").parent)
    words = ("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *small)
    said = typed(*words)
    assert said.code == 2
    assert "found 2.\nGive more patients" in said.err
    assert not (tmp_path / "x.cohort").exists()
    assert typed(*words, "--no-split").code == 0
    assert set(open_cohort(tmp_path / "x.cohort").table["split"].tolist()) == {""}


def test_a_case_without_segmentation_is_kept_and_said_even_if_it_is_the_first(typed, some_scans, tmp_path, small):
    case(some_scans, 0, "seg").unlink()
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *small)
    assert said.code == 0
    assert "BraTS2021_00000: no segmentation" in said.out
    cohort = open_cohort(tmp_path / "x.cohort")
    assert cohort.mask_names == ("body", "necrosis", "oedema", "enhancing")
    first = cohort.rows(patient="BraTS2021_00000")
    assert len(first)
    assert set(cohort.table["label"][first].tolist()) == {"unlabelled"}
    assert not cohort.masks[first][:, 1:].any()
    assert cohort.masks[cohort.rows(patient="BraTS2021_00001")][:, 1:].any()


def test_a_recipe_that_needs_lesions_leaves_such_a_case_out(typed, some_scans, tmp_path, small):
    case(some_scans, 0, "seg").unlink()
    words = ("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", "--recipe", "first-look", *small)
    said = typed(*words)
    assert said.code == 0
    assert "Left out (1):\n  BraTS2021_00000: expected a lesion mask, found none." in said.out


def test_a_missing_channel_leaves_the_case_out_even_if_it_is_the_first(typed, some_scans, tmp_path, small):
    case(some_scans, 0, "t2").unlink()
    words = [word for word in small if "channels" not in word]
    words = small[: small.index("--set", 3)]  # without the setting of channels
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *words)
    assert said.code == 0
    assert "expected the channel 't2', found flair, t1, t1ce." in said.out
    cohort = open_cohort(tmp_path / "x.cohort")
    assert (cohort.channels, len(cohort.patients)) == (("t1", "t1ce", "t2", "flair"), 3)


def test_a_channel_that_most_cases_lack_is_not_asked_of_the_others(typed, some_scans, tmp_path, small):
    for index in (0, 1, 3):
        case(some_scans, index, "t2").unlink()
    words = small[: small.index("--set", 3)]
    assert typed("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *words).code == 0
    cohort = open_cohort(tmp_path / "x.cohort")
    assert (cohort.channels, len(cohort.patients)) == (("t1", "t1ce", "flair"), 4)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def corrupt(path: Path) -> None:
    path.write_bytes(gzip.compress(b"no NIfTI at all" * 100))


def with_nan(path: Path) -> None:
    array = voxels(path)
    array[3, 3, 3] = np.nan
    rewrite(path, array)


def constant(path: Path) -> None:
    rewrite(path, np.full_like(voxels(path), 7))


def other_shape(path: Path) -> None:
    rewrite(path, voxels(path)[:-1])


def unknown_label(path: Path) -> None:
    array = voxels(path, "uint8")
    array[3, 3, 3] = 9
    rewrite(path, array)


@pytest.mark.parametrize(
    ("damage", "channel", "reason"),
    [
        (truncate, "t1", "cannot be read"),
        (corrupt, "flair", "found other or truncated content"),
        (with_nan, "t1", "NaN"),
        (constant, "flair", "the constant 7 in every voxel"),
        (other_shape, "seg", "expected seg of the shape of t1"),
        (other_shape, "flair", "expected flair of the shape of t1"),
        (unknown_label, "seg", "expected the labels 0, 1, 2, 4"),
    ],
)
def test_a_damaged_case_is_left_out_with_the_reason(typed, some_scans, tmp_path, small, damage, channel, reason):
    damage(case(some_scans, 1, channel))
    words = ("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *small)
    said = typed(*words)
    assert said.code == 0
    lines = said.out.splitlines()
    assert sum(line.startswith("  BraTS2021_00001: ") and reason in line for line in lines) == 1, said.out
    assert "Left out (1):" in said.out
    assert "Traceback" not in said.out + said.err
    strict = typed(*words, "--strict", "--overwrite")
    assert strict.code == 2
    assert reason in strict.err
    assert len(strict.err.splitlines()) <= 2
    assert len(open_cohort(tmp_path / "x.cohort").patients) == 3  # the old one is still there


def test_a_truncated_tiff(typed, tmp_path, small):
    rng = np.random.default_rng(0)
    for patient in ("TCGA_CS_4942_19970222", "TCGA_DU_5855_19951217"):
        (tmp_path / "scans" / patient).mkdir(parents=True)
        for k in (1, 2):
            name = tmp_path / "scans" / patient / f"{patient}_{k}"
            tifffile.imwrite(f"{name}.tif", rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
            tifffile.imwrite(f"{name}_mask.tif", np.zeros((40, 40), np.uint8))
    truncate_tiff = tmp_path / "scans/TCGA_CS_4942_19970222/TCGA_CS_4942_19970222_2.tif"
    truncate_tiff.write_bytes(truncate_tiff.read_bytes()[:700])
    words = ("prepare", "tcga-lgg", tmp_path / "scans", "--out", tmp_path / "x.cohort", "--no-split", "--strict")
    said = typed(*words, "--set", "preprocessing.steps.skull_strip.extent=head", *small)
    assert said.code == 2
    assert "TCGA_CS_4942_19970222_2.tif: expected" in said.err
    assert len(said.err.splitlines()) <= 2


def test_an_empty_folder(typed, tmp_path):
    (tmp_path / "scans").mkdir()
    said = typed("prepare", "brats", tmp_path / "scans", "--out", tmp_path / "x.cohort")
    assert said.code == 2
    assert "found an empty folder." in said.err


def test_a_wrong_folder_says_what_was_expected_and_what_is_there(typed, tmp_path, scans):
    said = typed("prepare", "tcga-lgg", scans, "--out", tmp_path / "x.cohort")
    assert said.code == 2
    assert "expected kaggle_3m" in said.err
    assert "It looks like the source 'brats': set data.source=brats." in said.err
    said = typed("prepare", "brats", tmp_path / "nowhere", "--out", tmp_path / "x.cohort")
    assert (said.code, "nowhere: expected a folder, found nothing there." in said.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bratz",), "settings: data.source: expected one of .*, found 'bratz'.\nDid you mean 'brats'?"),
        (("phantom-brain",), "source: expected one that reads files, found 'phantom-brain'."),
        (
            ("brats", "--set", "preprocesing.steps.resize.size=64"),
            "found 'preprocesing.steps.resize.size'.\nDid you mean 'preprocessing'?",
        ),
        (("brats", "--set", "preprocessing.steps.resize.sise=64"), "found 'sise'.\nDid you mean 'size'?"),
        (("brats", "--set", "preprocessing.steps.resise.size=64"), "found 'resise'.\nDid you mean 'resize'?"),
        (("brats", "--set", "split.test=nine"), "split.test: expected a valid number"),
        (("brats", "--set", "split.test=0.5"), "split: train + validation + test must be 1, got 1.4."),
        (
            ("brats", "--set", "nonsense"),
            "--set nonsense: expected KEY=VALUE, such as training.epochs=20, found no '='.",
        ),
        (("brats", "--set", "a=[1"), "--set a=[1: expected valid YAML"),
        (("brats", "--recipe", "demmo"), "recipe 'demmo': expected a ready recipe or a file, found neither.\nDid you"),
    ],
)
def test_a_wrong_setting_is_named_with_the_nearest(typed, tmp_path, scans, words, message):
    source, *rest = words
    said = typed("prepare", source, scans, "--out", tmp_path / "x.cohort", *rest)
    assert said.code == 2
    head, _, tail = message.partition(".*")
    assert head in said.err
    assert tail in said.err
    assert len(said.err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists_is_not_overwritten_unasked(typed, tmp_path, some_scans, small):
    out = tmp_path / "x.cohort"
    out.mkdir()
    (out / "mine").write_text("precious")
    said = typed("prepare", "brats", some_scans, "--out", out, *small)
    assert said.code == 2
    assert (
        said.err
        == f"error: {out}: expected a new name, found one that exists.\nAdd --overwrite, or choose another --out.\n"
    )
    assert (out / "mine").read_text() == "precious"
    assert typed("prepare", "brats", some_scans, "--out", out, *small, "--overwrite").code == 0
    assert not (out / "mine").exists()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_where_the_folder_should_go(typed, tmp_path, some_scans, small, below):
    (tmp_path / "file").write_text("precious")
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "file" / below / "x.cohort", *small)
    assert said.code == 2
    assert "expected to write here, found a file where a folder should be." in said.err
    assert (tmp_path / "file").read_text() == "precious"


def test_a_closed_folder(typed, tmp_path, some_scans, small, monkeypatch):
    def closed(*_args: object, **_more: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", closed)
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *small)
    assert said.code == 2
    assert "expected to write here, found no permission to write.\nChoose another place with --out." in said.err


def test_one_image_under_two_patients_is_refused(typed, some_scans, tmp_path, small):
    for channel in ("t1", "t1ce", "t2", "flair", "seg"):
        shutil.copy(case(some_scans, 0, channel), case(some_scans, 3, channel))
    said = typed("prepare", "brats", some_scans, "--out", tmp_path / "x.cohort", *small)
    assert said.code == 4
    assert "BraTS2021_00000, BraTS2021_00003" in said.err
    assert not (tmp_path / "x.cohort").exists()


def test_many_workers_make_the_same_cohort(typed, some_scans, tmp_path, small):
    words = ("prepare", "brats", some_scans, *small)
    assert typed(*words, "--out", tmp_path / "a.cohort").code == 0
    assert typed(*words, "--out", tmp_path / "b.cohort", "--workers", 2).code == 0
    for name in ("images.npy", "masks.npy", "samples.csv", "cohort.json"):
        assert (tmp_path / "a.cohort" / name).read_bytes() == (tmp_path / "b.cohort" / name).read_bytes()


@pytest.mark.slow
def test_the_real_folder_of_both_conventions(typed, shared_data, tmp_path):
    words = ("prepare", "brats", shared_data / "brats", "--out", tmp_path / "b.cohort")
    said = typed(*words, "--set", "preprocessing.steps.resize.size=64")
    assert said.code == 0, said.err
    cohort = open_cohort(tmp_path / "b.cohort")
    assert cohort.patients == ("BraTS-GLI-00001", "BraTS-MET-00110", "TCGA-FG-6692")
    assert set(cohort.table["split"].tolist()) == {"train", "validation", "test"}
    assert "Left out (2):\n  brats_2013_pat0001_1: no BraTS names" in said.out
    assert "  extra: only segmentations" in said.out
    assert "BraTS-MET-00110-000: no segmentation" in said.out
    assert "pixdim" not in said.err


def test_the_help_names_every_source() -> None:
    from synthoma.commands.prepare import SOURCES_HELP
    from synthoma.scans import FOLDER_SOURCES

    assert set(SOURCES_HELP.rstrip(".").replace(" or ", ", ").split(", ")) == set(FOLDER_SOURCES)
