"""``synthoma export --as …``: each format as a user types it, its settings, and the settings of another."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

import synthoma
from synthoma.cohort import open_cohort
from synthoma.errors import SettingError
from synthoma.scans import BratsData, DicomData, ImagesData, NnunetData, find


@pytest.mark.parametrize(
    ("kind", "more", "data"),
    [
        ("dicom", (), lambda out: DicomData(path=out, patient="patient-id")),
        ("nnunet", ("--splits", "none"), lambda out: NnunetData(path=out)),
        ("brats", ("--allow-missing",), lambda out: BratsData(path=out)),
        ("png", (), lambda out: ImagesData(path=out)),
    ],
)
def test_each_format_is_read_again(typed, real, tmp_path, kind, more, data):
    out = tmp_path / "files"
    said = typed("export", real, "--as", kind, "--out", out, *more)
    assert (said.code, said.out) == (0, f"{out}: written as {kind}; {out / 'samples.csv'} says which sample is where\n")
    assert len({case.patient for case in find(data(out)).cases}) == len(open_cohort(real).patients)
    again = typed("export", real, "--as", kind, "--out", out, *more)
    assert (again.code, "one that exists" in again.err) == (2, True)


def test_settings_reach_the_format(typed, real, tmp_path):
    out = tmp_path / "files"
    words = ("--slices", "single", "--numbers", "int16", "--masks", "enhancing,necrosis", "--splits", "folds")
    assert typed("export", real, "--as", "nnunet", "--out", out, *words).code == 0
    labels = json.loads((out / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "enhancing": 1, "necrosis": 2}
    first = nibabel.load(sorted((out / "imagesTr").iterdir())[0])
    assert first.shape[2] == 1
    assert first.get_data_dtype() == np.int16


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--as", "dicom", "--splits", "none"), "expected a setting of dicom (slices), found 'splits'"),
        (("--as", "png", "--slices", "single"), "expected no setting, since png has none, found 'slices'"),
        (("--as", "nifti", "--allow-missing"), "expected a setting of nifti (slices, numbers), found 'allow_missing'"),
        (("--as", "safetensors", "--slices", "single"), "expected no setting, since safetensors has none"),
        (("--as", "nnunet", "--masks", "necrose"), "found 'necrose'.\nDid you mean 'necrosis'?"),
        (("--as", "brats"), "channels: expected all of t1, t1ce, t2, flair, found t1, flair"),
    ],
)
def test_settings_that_do_not_fit(typed, real, tmp_path, words, found):
    said = typed("export", real, "--out", tmp_path / "files", *words)
    assert said.code == 2
    assert found in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_bad_value_from_python(real, tmp_path):
    with pytest.raises(SettingError, match="export: slices: expected 'stack' or 'single', found 'pile'"):
        synthoma.export(real, tmp_path / "files", kind="dicom", settings={"slices": "pile"})
