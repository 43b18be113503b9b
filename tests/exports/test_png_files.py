"""PNG and its table: pixels are read back one for one, the scanner's unit by the two numbers of the row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import imageio.v3
import numpy as np
import pytest
from exported import samples, table_of, tree
from PIL import Image

from synthoma.cohort import to_scanner_unit
from synthoma.errors import CohortError, OutputError
from synthoma.exports import export_png
from synthoma.records import Cohort
from synthoma.scans import ImagesData, find, read

Make = Callable[..., Cohort]


def test_pixels_are_read_back_one_for_one_by_other_readers(make: Make, tmp_path: Path) -> None:
    cohort = make(samples((9, 10), [3, 5]))
    out = export_png(cohort, tmp_path / "out")
    rows = table_of(out)
    assert len(rows) == 4
    for number, row in enumerate(rows):
        i, name = divmod(number, 2)
        wanted = np.rint((cohort.images[i, name].astype(np.float64) + 1) / 2 * 65535).astype(np.uint16)
        for pixels in (np.asarray(Image.open(out / row["path"])), imageio.v3.imread(out / row["path"])):
            assert (pixels.dtype, pixels.shape) == (np.uint16, (9, 10))
            assert np.array_equal(pixels, wanted)
        low, high = float(row["low"]), float(row["high"])
        truth = to_scanner_unit(cohort, i, row["channel"], cohort.images[i, name])
        assert np.abs(low + wanted / 65535 * (high - low) - truth).max() <= 0.5001 * (high - low) / 65535 + 2e-5
        for k, mask in enumerate(cohort.mask_names):
            grey = imageio.v3.imread(out / row[f"mask_{mask}"])
            assert grey.dtype == np.uint8
            assert np.array_equal(grey, 255 * cohort.masks[i, k])
        assert np.array_equal(imageio.v3.imread(out / row["mask"]) > 0, cohort.lesion(i))
        assert not Image.open(out / row["path"]).info
    said = json.loads((out / "about.json").read_text())
    assert (said["black"], said["white"]) == (0, 65535)


@pytest.mark.parametrize("kind", ["slices", "volumes", "synthetic"])
def test_our_own_reader_reads_images_masks_labels_and_patients(
    livers: dict[str, Cohort], tmp_path: Path, kind: str
) -> None:
    cohort = livers[kind]
    options = ImagesData(path=export_png(cohort, tmp_path / "out"))
    read_again = 0
    cases = find(options).cases
    assert {case.patient for case in cases} == set(cohort.patients)
    assert {case.label for case in cases} == set(cohort.table["label"].tolist())
    for case in cases:
        scan, rows = read(case, options), cohort.rows(patient=case.patient, label=case.label)
        images = np.concatenate([cohort.images[row, 0].reshape(-1, 32, 32) for row in rows])
        lesions = np.concatenate([cohort.masks[row, 1].reshape(-1, 32, 32) for row in rows])
        assert np.abs(scan.channels["ct"] / 65535 * 2 - 1 - images).max() <= 1 / 65535 + 1e-6
        assert np.array_equal(scan.masks["lesion"], lesions)
        read_again += len(images)
    assert read_again == len(cohort) * (12 if kind == "volumes" else 1)


def test_images_from_noise_have_no_lesion_and_keep_their_range(make: Make, tmp_path: Path) -> None:
    one = samples((9, 10), [3], patient="synthetic-1", intensity={})
    out = export_png(make(one, origin="synthetic"), tmp_path / "out")
    row = table_of(out)[0]
    assert (row["mask"], row["mask_oedema"], row["low"], row["high"], row["unit"]) == ("", "", "-1.0", "1.0", "[-1, 1]")
    assert row["mask_body"]
    assert not [name for name in tree(out) if "oedema" in name]
    (case,) = find(ImagesData(path=out)).cases
    assert case.patient == "synthetic-1"


def test_a_second_image_of_one_slice_is_of_another_scan(make: Make, tmp_path: Path) -> None:
    out = export_png(make(samples((9, 10), [3, 4]), samples((9, 10), [4])), tmp_path / "out")
    assert [row["scan"] for row in table_of(out)[::2]] == ["P1", "P1", "P1-2"]
    assert len(find(ImagesData(path=out)).cases) == 2


def test_what_cannot_be_files(make: Make, tmp_path: Path) -> None:
    one = samples((9, 10), [3], intensity={})
    for fields, what in (({"channels": ("a b", "a_b")}, "channels"), ({"channels": ("mask", "t1")}, "channels")):
        with pytest.raises(CohortError, match=f"{what}: expected names that differ as files, none of them 'mask'"):
            export_png(make(replace(one, **fields)), tmp_path / "out")
    with pytest.raises(CohortError, match="masks: expected names that differ as files"):
        export_png(make(replace(one, mask_names=("body", "lesion", "core"))), tmp_path / "out")
    cohort = make(one)
    export_png(cohort, tmp_path / "out")
    with pytest.raises(OutputError, match="expected a new name"):
        export_png(cohort, tmp_path / "out")
