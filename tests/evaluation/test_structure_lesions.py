"""Lesions of synthetic images: contrast, size, what a segmenter marks; and how the slices of volumes fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthoma.evaluation import EvaluationOptions
from synthoma.evaluation.features import Features
from synthoma.evaluation.lesions import dice, lesion_contrast, lesion_size, slice_anisotropy
from synthoma.evaluation.options import SegmenterOptions
from synthoma.evaluation.structure import evaluate_structure

OPTIONS = EvaluationOptions(bootstrap_draws=200)
SEGMENT = OPTIONS.model_copy(update={"segmenter": SegmenterOptions(steps=120, width=6, learning_rate=4e-3)})


def same(image, _row):
    return image


@pytest.fixture(scope="module")
def erased(real, synthesise):
    """Images whose lesions are gone: the healthy intensity stands there."""

    def change(image, row):
        lesion = real.lesion(row)
        return np.where(lesion, image - 0.7, image)

    return synthesise(change, split="train", paired=False)


@pytest.fixture(scope="module")
def segmented(real, synthesise, erased):
    arms = {"kept": synthesise(same, split="train", paired=False), "erased": erased}
    return evaluate_structure(real, arms, SEGMENT, Features())


def test_contrast_golden(real):
    """Lesion 120, 130, 140 against 90, 100, 110, 100 around it: 3.6742 (mean difference over their deviation)."""
    first = real.select(np.array([0]))
    masks, images = np.zeros_like(first.masks), np.full_like(first.images, -1)
    masks[0, 1, 24, 20:23] = 1
    images[0, 1, 24, 20:23] = np.array([120, 130, 140]) / 200
    ring = [(24, 26), (24, 27), (24, 16), (24, 15)]
    for (y, x), value in zip(ring, (90, 100, 110, 100), strict=True):
        masks[0, 0, y, x] = 1
        images[0, 1, y, x] = value / 200
    masks[0, 0, 24, 23:25] = 1  # nearer than 3: edema, no healthy tissue
    few = replace(first, images=images, masks=masks)
    assert np.isnan(lesion_contrast(few, 0, "flair"))  # 4 voxels around are too few
    wide = replace(few, images=np.repeat(images, 3, axis=3), masks=np.repeat(masks, 3, axis=3))
    wide = replace(wide, table={**wide.table, "spacing_mm": np.array([f"1 {1 / 3}"])})
    # three times the voxels of the same values; the deviation is over 12 instead of 4
    values = np.repeat([90, 100, 110, 100], 3)
    assert lesion_contrast(wide, 0, "flair") == pytest.approx(30 / values.std(ddof=1), rel=1e-4)
    assert 30 / np.std([90, 100, 110, 100], ddof=1) == pytest.approx(3.6742346142)


def test_size_is_in_mm(real):
    row = int(np.flatnonzero(real.table["label"] == "tumour")[0])
    scaled = replace(real, table={**real.table, "spacing_mm": np.full(len(real), "0.5 2")})
    assert lesion_size(scaled, row) == real.lesion(row).sum()
    unknown = replace(real, table={**real.table, "spacing_mm": np.full(len(real), "")})
    assert lesion_size(unknown, row) == real.lesion(row).sum()
    healthy = int(np.flatnonzero(real.table["label"] == "tumour-free")[0])
    assert np.isnan(lesion_size(real, healthy))


def test_dice_golden():
    first, second = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    first[:2, :2], second[:2, :3] = True, True
    assert dice(first, second) == 0.8
    assert dice(first, ~first) == 0
    assert np.isnan(dice(~(first | ~first), first & ~first))


def test_slices_of_a_ramp_and_of_a_shuffled_volume():
    z, y, x = np.mgrid[:10, :12, :12]
    body = np.ones((10, 12, 12), dtype=bool)
    ramp = 2.0 * z + y + 0 * x
    assert slice_anisotropy(ramp, body, None) == pytest.approx(2)
    assert slice_anisotropy(ramp, body, (4.0, 1.0, 1.0)) == pytest.approx(0.5)
    smooth = np.sin(z / 3) + np.sin(y / 3)
    shuffled = smooth[np.random.default_rng(0).permutation(10)]
    assert slice_anisotropy(shuffled, body, None) > 1.2 * slice_anisotropy(smooth, body, None)
    assert np.isnan(slice_anisotropy(np.ones((10, 12, 12)), body, None))
    assert np.isnan(slice_anisotropy(ramp, ~body, None))


def test_contrast_tells_where_lesions_are_gone(real, synthesise, erased):
    arms = {"kept": synthesise(same, split="train", paired=False), "erased": erased}
    found = evaluate_structure(real, arms, OPTIONS, Features())
    kept, gone = (found.find("lesion-contrast", arm=arm) for arm in ("kept", "erased"))
    truth = found.find("lesion-contrast", arm=kept.compared)
    assert kept.value > 3 * abs(gone.value)
    assert truth.value == pytest.approx(kept.value, rel=0.3)
    near, far = (found.find("lesion-contrast-distance", arm=arm).value for arm in ("kept", "erased"))
    floor = found.find("lesion-contrast-distance", arm="real vs real", compared="floor of erased").value
    assert far > 3 * near
    assert far > 3 * floor
    assert found.find("lesion-size", arm="kept").unit == "mm²"
    assert not [m for m in found.measurements if m.name == "dice"]  # off unless asked for
    for measurement in found.measurements:
        assert measurement.name in found.definitions
        assert measurement.compared


def test_a_segmenter_finds_what_is_there_and_misses_what_is_not(segmented):
    kept = segmented.find("dice", arm="kept")
    truth = segmented.find("dice", arm=kept.compared)
    assert kept.value > 0.6
    assert truth.value > 0.5
    assert segmented.find("dice-shuffled", arm="kept").value < kept.value - 0.2
    assert segmented.find("dice", arm="erased").value < 0.3
    assert segmented.find("lesion-vanished", arm="erased").value > 0.6
    assert segmented.find("lesion-vanished", arm="kept").value < 0.2
    appeared = segmented.find("lesion-appeared", arm="kept")
    assert appeared.n_images == 12
    assert appeared.value < 0.5
    assert "U-Net of 120 steps on real training patients" in kept.method
    (lost,) = (text for text in segmented.warnings if "segmenter" in text)
    shares = [segmented.find("lesion-vanished", arm=name).value for name in ("erased", kept.compared)]
    assert lost == (
        f"erased: a segmenter of real images misses {100 * shares[0]:.0f} % of the lesions, {100 * shares[1]:.0f} % in "
        "real images: the generator loses them."
    )


def test_the_segmenter_sees_training_patients_only_and_repeats(real, synthesise, segmented, erased, monkeypatch):
    from synthoma.evaluation import segmenter as module

    seen = []
    true = module.train_segmenter
    monkeypatch.setattr(
        module, "train_segmenter", lambda cohort, rows, *rest: seen.append(rows) or true(cohort, rows, *rest)
    )
    arms = {"kept": synthesise(same, split="train", paired=False), "erased": erased}
    again = evaluate_structure(real, arms, SEGMENT, Features())
    (rows,) = seen  # once for both arms
    assert set(real.table["split"][rows]) == {"train"}
    assert again == segmented


def test_without_lesions_to_learn_from_it_is_said(real, synthesise):
    masks = real.masks.copy()
    masks[real.rows(split="train"), 1] = 0
    found = evaluate_structure(replace(real, masks=masks), {"reconstruct": synthesise(same)}, SEGMENT, Features())
    assert any("no lesions of training patients to learn from" in text for text in found.warnings)
    assert not [m for m in found.measurements if m.name == "dice"]


def test_volumes_have_slices_and_lesions_but_no_spectra(real, synthesise):
    def solid(cohort, shuffle):
        first = np.arange(0, len(cohort), 4)
        stack = [np.stack([array[i : i + 4] for i in first]) for array in (cohort.images, cohort.masks)]
        images, masks = (np.moveaxis(array, 1, 2) for array in stack)
        table = {name: column[first] for name, column in cohort.table.items()} | {
            "spacing_mm": np.full(len(first), "3 1 1")
        }
        if shuffle:
            images = images * np.where(np.arange(4) % 2, 0.2, 1.0)[None, None, :, None, None]
        return replace(cohort, images=images, masks=masks, table=table)

    truth = solid(real, shuffle=False)
    made = solid(synthesise(same), shuffle=True)
    found = evaluate_structure(truth, {"reconstruct": made}, OPTIONS, Features())
    assert any("2D images only" in text for text in found.warnings)
    worse = found.find("slice-anisotropy", arm="synthetic")
    assert worse.value != found.find("slice-anisotropy", arm=worse.compared).value
    assert found.find("lesion-size", arm="synthetic").unit == "mm³"
