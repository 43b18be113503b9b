"""Cohorts as generation writes them, from their folders to evidence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthoma.cohort import create_cohort, open_cohort
from synthoma.evaluation import METRICS, ClassifierOptions, EvaluationOptions, evaluate
from synthoma.records import Cohort, Lineage, Samples

OPTIONS = EvaluationOptions(bootstrap_draws=100, classifier=ClassifierOptions(steps=20, batch=8, checks=2))


def _write(path: Path, real: Cohort, rows: list[int], channel: str, conditions: tuple[str, ...], **how: bool) -> Cohort:
    """The real images of ``rows`` with a little noise, under the columns that the method ``path.stem`` would write."""
    noise = np.random.default_rng(0)
    lineage = Lineage.of("train", parents=("ab",), recipe={}, seed=0, patients_seen=[f"p{i}" for i in range(5)])
    with create_cohort(
        path, channels=(channel,), mask_names=real.mask_names, shape=real.images.shape[2:], lineages=(lineage,),
        conditions=conditions,
    ) as writer:  # fmt: skip
        for number, row in enumerate(rows):
            image = real.channel(channel)[row] + noise.normal(0, 0.05, real.images.shape[2:])
            masks = np.array(real.masks[row])
            patient, source = str(real.table["patient"][row]), str(real.table["id"][row])
            if not conditions:
                masks[:], masks[0], patient, source = 0, 1, f"synthetic-{number + 1:05d}", ""
            writer.add(
                Samples(
                    images=image.clip(-1, 1)[None, None].astype(np.float32), masks=masks[None], channels=(channel,),
                    mask_names=real.mask_names, slices=(int(real.table["slice"][row]),),
                    labels=(str(real.table["label"][row]),), patient=patient, site="north", spacing_mm=(1.0, 1.25),
                    intensity={channel: (0.0, 100.0)}, unit="arbitrary", modality="MR",
                ),
                origin="synthetic", lineage=lineage.id, ids=[f"{path.stem}/{number:05d}"],
                reference=[source if how.get("paired") else ""], made_from=[source],
            )  # fmt: skip
    return open_cohort(path)


@pytest.mark.slow
def test_a_cyclegan_and_a_wgan_from_their_folders(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    real = ellipse_cohort
    test, train = (real.rows(split=side).tolist() for side in ("test", "train"))
    arms = {
        name: _write(tmp_path / f"{name}.cohort", real, rows, channel, conditions, paired=paired)
        for name, rows, channel, conditions, paired in (
            ("translate", test, "flair", ("t1",), True), ("back", test, "t1", ("flair",), True),
            ("cycle", test, "t1", ("t1",), True), ("redraw", train, "flair", ("t1",), False),
            ("sample", train, "flair", (), False),
        )
    }  # fmt: skip
    found = evaluate(real, arms, OPTIONS)
    assert tuple(found.families) == tuple(METRICS)
    for arm in ("translate", "back", "cycle"):
        ssim = found.find("ssim", region="body", arm=arm)
        assert ssim.value > 0.8
        assert (ssim.n_images, ssim.n_patients, ssim.low) == (3, 1, None)  # one patient has no interval
    redraw = found.find("frechet-distance", region="frame", arm="redraw")
    assert redraw.compared == "real train (tumour, tumour-free; flair)"  # fewer than eight are held out
    names = {m.arm for m in found.measurements if m.name == "recognised-as-target"}
    assert {"translate", "back", "redraw", "real (flair)", "source of redraw (untranslated)"} <= names
    assert found.find("recognition-balanced-accuracy", arm="sample").n_patients == 12
    keys = [(m.name, m.region, m.arm, m.compared) for m in found.measurements]
    assert len(set(keys)) == len(keys)
    assert {m.name for m in found.measurements} <= set(found.definitions)


def test_one_patient_a_side_is_judged_by_nobody(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    with create_cohort(tmp_path / "two.cohort", channels=("t1",), mask_names=("body",), shape=(32, 32)) as writer:
        for patient, modality, unit in (("a", "MR", "arbitrary"), ("b", "CT", "HU")):
            images = ellipse_cohort.images[:3, :1] if patient == "a" else ellipse_cohort.images[3:6, :1]
            writer.add(
                Samples(
                    images=np.array(images), masks=np.array(ellipse_cohort.masks[:3, :1]), channels=("t1",),
                    mask_names=("body",), slices=(0, 1, 2), labels=("unlabelled",) * 3, patient=patient, site="",
                    spacing_mm=None, intensity={}, unit=unit, modality=modality,  # type: ignore[arg-type]
                ),
                split="train",
            )  # fmt: skip
        writer.set_lineage(Lineage.of("prepare", parents=("ab",), recipe={}, seed=1, patients_seen="ab"))
    real = open_cohort(tmp_path / "two.cohort")
    made = _write(tmp_path / "translate.cohort", real, [0, 1, 2], "t1", ("t1",))
    found = evaluate(real, {"translate": made}, OPTIONS)
    assert found.measurements == ()
    assert len(found.warnings) == len(METRICS)
    with pytest.raises(KeyError):
        found.find("ssim")
