"""``synthoma export`` as a user types it."""

from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest

import synthoma
from synthoma.cohort import open_cohort, to_scanner_unit
from synthoma.errors import SettingError


def test_a_cohort_of_slices_becomes_volumes(typed, real, tmp_path):
    out = tmp_path / "files"
    said = typed("export", real, "--as", "nifti", "--out", out)
    assert said.code == 0, said.err
    cohort = open_cohort(real)
    assert said.out == f"{out}: written as nifti; {out / 'samples.csv'} says which sample is where\n"
    scan, place = str(cohort.table["scan"][0]), int(cohort.table["slice"][0])
    image = nibabel.load(out / scan / "flair.nii.gz")
    assert np.array_equal(image.affine, cohort.grids[scan]["prepared"].affine.astype(np.float32))
    values = np.asarray(image.dataobj).T[place]
    assert np.array_equal(values, to_scanner_unit(cohort, 0, "flair", cohort.channel("flair")[0]))
    again = typed("export", real, "--out", out)
    assert (again.code, "one that exists" in again.err, len(again.err.splitlines())) == (2, True, 2)
    assert typed("export", real, "--out", out, "--overwrite").code == 0


def test_what_cannot_be_exported(typed, real, tmp_path):
    said = typed("export", real, "--as", "analyze", "--out", tmp_path / "files")
    assert said.code == 2
    assert "'analyze' is not one of 'nifti', 'dicom'" in said.err
    said = typed("export", tmp_path, "--out", tmp_path / "files")
    assert said.code == 2
    assert "expected a cohort folder" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_no_cohort_but_says_how_it_leaves(typed, study, tmp_path):
    said = typed("export", study / "gan", "--as", "png", "--out", tmp_path / "files")
    how = "Its generator is exported by --as bundle, safetensors or torch-export; a cohort by its own folder."
    assert (said.code, said.err) == (2, f"error: {study / 'gan'}: expected a cohort folder, found a run.\n{how}\n")
    shutil.copytree(study / "gan", tmp_path / "gan")
    shutil.copytree(study / "reconstruct.cohort", tmp_path / "synthetic" / "reconstruct.cohort")
    said = typed("export", tmp_path / "gan", "--out", tmp_path / "files")
    assert said.err.endswith(f"; the cohorts that it made are in {tmp_path / 'synthetic'}: reconstruct.cohort.\n")
    assert not (tmp_path / "files").exists()


def test_the_verb_for_python(real, tmp_path):
    assert synthoma.export(real, tmp_path / "files") == tmp_path / "files"
    with pytest.raises(SettingError, match=r"kind: expected one of nifti, dicom, .*, found 'analyze'"):
        synthoma.export(real, tmp_path / "other", kind="analyze")


def test_synthetic_volumes_lie_where_the_real_ones_do(typed, scans, small_gan, tmp_path):
    """Scans → volumes → conditional GAN → NIfTI: the reconstruction is where the scanner saw the patient."""
    real, gan, made, out = (tmp_path / name for name in ("real.cohort", "gan", "reconstruct.cohort", "files"))
    steps = "[{step: skull_strip}, {step: normalise}, {step: resize_volume, size: 24, crop: body}]"
    volumes = ["--set", f"preprocessing.steps={steps}", "--set", "preprocessing.sampling.kind=volumes"]
    assert typed("prepare", "brats", scans, "--out", real, *volumes, "--set", "split.folds=0").code == 0
    for words in (
        ("train", real, "--out", gan, *small_gan),
        ("generate", gan, real, "--out", made),
        ("export", made, "--out", out, "--accept-privacy-risk", "phantoms"),
    ):
        said = typed(*words)
        assert said.code == 0, said.err
    assert "24 × 24 × 24 voxels" in typed("info", real).out
    cohort, synthetic = open_cohort(real), open_cohort(made)
    assert synthetic.images.shape[1:] == (1, 24, 24, 24)
    for row, scan in enumerate(synthetic.table["scan"]):
        image = nibabel.load(out / f"reconstruct_{row:05d}" / "flair.nii.gz")
        assert int(image.header["sform_code"]) == 1
        assert np.array_equal(image.affine, cohort.grids[scan]["prepared"].affine.astype(np.float32))
        lesion = np.asarray(nibabel.load(out / f"reconstruct_{row:05d}" / "seg.nii.gz").dataobj) > 0
        whole = nibabel.load(scans / scan / f"{scan}_seg.nii.gz")
        truth = np.asarray(whole.dataobj) > 0
        centres = [
            i.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + i.affine[:3, 3]
            for i, mask in ((image, lesion), (whole, truth))
        ]
        assert np.linalg.norm(centres[0] - centres[1]) < 2  # mm; voxels are 4 and 7 mm


def test_nothing_synthetic_leaves_without_an_audit(typed, study, tmp_path):
    for name, *words in (("files", study / "reconstruct.cohort"), ("weights", study, "--as", "safetensors")):
        said = typed("export", *words, "--out", tmp_path / name)
        assert (said.code, len(said.err.splitlines())) == (4, 2)
        assert "expected a privacy audit without near-duplicates" in said.err
        assert ", found no audit" in said.err
        said = typed("export", *words, "--out", tmp_path / name, "--accept-privacy-risk", "phantoms")
        assert said.code == 0, said.err
    assert "phantoms (no privacy audit)" in (tmp_path / "weights" / "README.md").read_text()
