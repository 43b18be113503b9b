"""What the folds found, put together: against numbers computed here by other means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from synthoma.cohort import SplitOptions
from synthoma.evaluation import EvaluationOptions, Evidence, read_evidence, write_evidence
from synthoma.protocol.folds import Fold, folds_of, write_fold
from synthoma.protocol.pooled import pool, pool_stage
from synthoma.records import Measurement

OPTIONS = EvaluationOptions(bootstrap_draws=500)
SIZE = {"train": 8, "validation": 2, "test": 3}
Values = NDArray[np.float64]


def one(
    name: str,
    value: float | None,
    arm: str = "synthetic",
    region: str = "body",
    compared: str = "real test",
    n: int = 3,
) -> Measurement:
    return Measurement(name, value, None, None, 10 * n, n, arm, region, "", "higher", "as always", compared)


def folds(values: Values, make: Any, design: str = "kfold") -> dict[Fold, Evidence]:
    """Evidence of each fold (fold, run) from its value; of repeats (repeat, 1)."""
    if design == "holdout":
        return {fold: make(fold, values[fold.run, 0]) for fold in folds_of(design, len(values), 0)}
    sites = [f"s{i}" for i in range(len(values))]
    found = folds_of(design, values.shape[1], len(values), sites)
    return {fold: make(fold, values[sites.index(fold.site) if fold.site else fold.fold, fold.run]) for fold in found}


def sizes(found: Mapping[Fold, Evidence]) -> dict[Fold, dict[str, int]]:
    return dict.fromkeys(found, SIZE)


def differences(values: Values, design: str = "kfold") -> Evidence:
    found = folds(values, lambda _, v: Evidence((one("ssim-difference", v, compared="unet"),)), design)
    return pool(found, sizes(found), OPTIONS)


@pytest.mark.parametrize("design", ["kfold", "leave-one-site-out"])
def test_mean_spread_and_both_tests(design: str) -> None:
    values = np.random.default_rng(3).normal(0.02, 0.01, (5, 3))
    found = differences(values, design)
    assert found.find("ssim-difference").value == pytest.approx(values.mean())
    assert found.find("ssim-difference-sd").value == pytest.approx(values.mean(axis=0).std(ddof=1))
    means = values.mean(axis=1)
    t = means.mean() / np.sqrt((1 / 5 + 3 / 8) * means.var(ddof=1))
    p = 2 * stats.t.sf(abs(t), 4)
    assert found.find("ssim-difference-p").value == pytest.approx(p)
    assert found.find("ssim-difference-p-holm").value == pytest.approx(p)
    naive = found.find("ssim-difference-p-naive")
    assert naive.value == pytest.approx(stats.ttest_1samp(values.ravel(), 0).pvalue)
    assert naive.value < p
    assert "Too small" in found.definitions[naive.name]
    half = stats.t.ppf(0.975, 4) * means.mean() / t
    headline = found.find("ssim-difference")
    assert (headline.low, headline.high) == (pytest.approx(means.mean() - half), pytest.approx(means.mean() + half))
    assert headline.n_patients == 15
    assert found.find("ssim-difference-sd").n_images == 450


def test_repeats_of_the_split_are_the_folds_of_the_test_and_the_runs_of_the_spread() -> None:
    values = np.random.default_rng(4).normal(0.02, 0.01, (6, 1))
    found = differences(values, "holdout")
    assert found.find("ssim-difference-sd").value == pytest.approx(values.std(ddof=1))
    t = values.mean() / np.sqrt((1 / 6 + 3 / 8) * values.var(ddof=1))
    assert found.find("ssim-difference-p").value == pytest.approx(2 * stats.t.sf(abs(t), 5))
    assert found.find("ssim-difference").n_patients == 3
    assert "6 repeats of the split" in found.find("ssim-difference").method


def test_one_run_has_no_spread_over_runs() -> None:
    found = differences(np.random.default_rng(5).normal(0, 1, (5, 1)))
    assert [m.name for m in found.measurements if m.name.endswith("-sd")] == []
    assert "mean over 1 run of 5 folds" in found.find("ssim-difference").method


@pytest.mark.parametrize(
    ("centre", "spread", "verdict"),
    [(0.5, 0.01, "supported"), (-0.5, 0.01, "not supported"), (0.01, 0.1, "cannot tell")],
)
def test_verdicts_read_the_corrected_test_after_holm(centre: float, spread: float, verdict: str) -> None:
    values = centre + spread * np.random.default_rng(0).standard_normal((5, 2))
    (found,) = differences(values).verdicts
    assert found.verdict == verdict
    assert found.claim == "synthetic has a higher SSIM over the body than unet, over all folds"
    assert "over 5 folds and 2 runs, corrected p" in found.because


def test_a_naive_finding_is_no_verdict() -> None:
    """Constructed so that the plain test finds an effect and the corrected one does not."""
    by_fold = np.array([[0.05], [0.01], [0.03], [-0.005], [0.02]])
    found = differences(by_fold + 0.001 * np.random.default_rng(1).standard_normal((5, 3)))
    naive, corrected = (found.find(f"ssim-difference-{name}").value for name in ("p-naive", "p"))
    assert naive is not None
    assert corrected is not None
    assert naive < 0.05 < corrected
    assert found.verdicts[0].verdict == "cannot tell"
    assert f"the uncorrected test would say {naive:.3g}" in found.verdicts[0].because


def test_holm_over_all_comparisons_of_the_protocol() -> None:
    from statsmodels.stats.multitest import multipletests

    values = np.random.default_rng(2).normal([0.1, 0.06, 0.03, 0.0], 0.05, (6, 4))

    def make(fold: Fold, _: float) -> Evidence:
        return Evidence(tuple(one("ssim-difference", values[fold.fold, i], compared=f"rival {i}") for i in range(4)))

    found = folds(np.zeros((6, 1)), make)
    pooled = pool(found, sizes(found), OPTIONS)
    names = ("ssim-difference-p", "ssim-difference-p-holm")
    p, holm = ([pooled.find(name, compared=f"rival {i}").value for i in range(4)] for name in names)
    np.testing.assert_allclose(holm, multipletests(p, method="holm")[1])
    assert "Holm over 4 comparisons" in pooled.find("ssim-difference-p-holm", compared="rival 0").method


def test_similarity_is_the_mean_over_patients_of_their_means_over_runs() -> None:
    random = np.random.default_rng(6)
    by_patient = {f"p{i}": random.uniform(0.5, 1, 2) for i in range(7)}  # fold 0: p0 … p2, fold 1: the others
    rival = {name: values - 0.1 for name, values in by_patient.items()}

    def make(fold: Fold, _: float) -> Evidence:
        own = [f"p{i}" for i in (range(3) if fold.fold == 0 else range(3, 7))]
        values = {name: float(by_patient[name][fold.run]) for name in own}
        others = {name: float(rival[name][fold.run]) for name in own}
        mean = float(np.mean(list(values.values())))
        return Evidence(
            (one("ssim", mean, n=len(own)), one("ssim-median", mean, n=len(own)),
             one("ssim-difference", 0.1, compared="unet", n=len(own)), one("ssim", mean, region="frame")),
            {"similarity_by_patient": {"real test": {"ssim": {"body": {"synthetic": values, "unet": others}}}}},
        )  # fmt: skip

    found = folds(np.zeros((2, 2)), make)
    pooled = pool(found, sizes(found), OPTIONS)
    means = np.array([values.mean() for values in by_patient.values()])
    ssim = pooled.find("ssim", region="body")
    assert ssim.value == pytest.approx(means.mean())
    assert pooled.find("ssim-median").value == pytest.approx(np.median(means))
    assert ssim.n_patients == 7
    assert ssim.low is not None
    assert ssim.high is not None
    assert means.min() < ssim.low < ssim.value < ssim.high < means.max()
    assert "bootstrap of 7 patients" in ssim.method
    difference = pooled.find("ssim-difference")
    assert (difference.value, difference.low, difference.high) == (pytest.approx(0.1),) * 3
    assert pooled.find("ssim", region="frame").low is None
    assert "no interval over patients" in pooled.find("ssim", region="frame").method


def test_classifier_intervals_draw_patients_with_all_their_images_in_all_runs() -> None:
    random = np.random.default_rng(7)

    def make(fold: Fold, _: float) -> Evidence:
        patients = [f"p{5 * fold.fold + i // 4}" for i in range(20)]
        positive = [i % 4 < 2 for i in range(20)]
        real = [float(np.clip(0.5 + (0.1 if p else -0.1) + random.normal(0, 0.2), 0, 1)) for p in positive]
        more = [0.9 if p else 0.1 for p in positive]
        right = float(np.mean([(r >= 0.5) == p for r, p in zip(real, positive, strict=True)]))
        accuracy[fold] = right
        return Evidence(
            (one("accuracy", right, "real", ""), one("accuracy", 1.0, "real+synthetic", ""),
             one("accuracy-difference", 1 - right, "real+synthetic", "", "real (the same test images)")),
            {"predictions": {"patient": patients, "positive": positive,
                             "arms": {"real": real, "real+synthetic": more}}},
        )  # fmt: skip

    accuracy: dict[Fold, float] = {}
    found = folds(np.zeros((4, 2)), make)
    pooled = pool(found, sizes(found), OPTIONS)
    real = pooled.find("accuracy", arm="real")
    assert real.value == pytest.approx(np.mean(list(accuracy.values())))
    assert real.n_patients == 20
    assert real.low is not None
    assert real.high is not None
    assert 0.02 < real.high - real.low < 0.4
    assert "bootstrap of 20 patients" in real.method
    gain = pooled.find("accuracy-difference")
    assert gain.value == pytest.approx(1 - real.value)
    assert (gain.low, gain.high) == (pytest.approx(1 - real.high), pytest.approx(1 - real.low))
    perfect = pooled.find("accuracy", arm="real+synthetic")
    assert (perfect.low, perfect.high) == (1.0, 1.0)


def test_folds_without_a_number_are_counted_and_left_out() -> None:
    def make(fold: Fold, value: float) -> Evidence:
        known = None if fold.fold == 1 else value
        rows = (one("ssim-difference", known, compared="unet"),) if fold.fold < 3 else ()
        return Evidence(rows, warnings=("always",) + ("now and then: 3",) * (fold.fold == 0))

    values = np.random.default_rng(8).normal(0.1, 0.01, (4, 2))
    found = folds(values, make)
    pooled = pool(found, sizes(found), OPTIONS)
    kept = values[[0, 2]]
    assert pooled.find("ssim-difference").value == pytest.approx(kept.mean())
    assert "4 of 8 folds have no such number" in pooled.find("ssim-difference").method
    assert "over 2 folds" in pooled.find("ssim-difference-p").method
    assert pooled.warnings == ("always", "now and then: 3 (in 2 of 8 folds)")
    table = pooled.curves["protocol"]["values"][0]["values"]
    assert table[1] == [None, None]
    assert table[3] == [None, None]
    json.dumps(dict(pooled.curves), allow_nan=False)


def test_a_number_that_no_fold_has_is_none_and_equal_folds_have_no_test() -> None:
    found = folds(np.zeros((3, 1)), lambda *_: Evidence((one("kid", None), one("ssim-difference", 0.25, compared="x"))))
    pooled = pool(found, sizes(found), OPTIONS)
    assert pooled.find("kid").value is None
    assert pooled.find("ssim-difference-p").value is None
    assert pooled.verdicts[0].verdict == "cannot tell"
    assert "all folds are equal" in pooled.verdicts[0].because


def test_p_values_of_folds_are_not_averaged() -> None:
    names = ("exchange-p-holm", "mcnemar-p", "improved-precision")
    found = folds(np.ones((3, 2)), lambda *_: Evidence(tuple(one(name, 0.04) for name in names)))
    assert {m.name for m in pool(found, sizes(found), OPTIONS).measurements} == {
        "improved-precision", "improved-precision-sd",
    }  # fmt: skip


def test_the_stage_reads_folders_and_names_cohorts_so_that_all_can_be_moved(write_cohort: Any, tmp_path: Path) -> None:
    split = SplitOptions(train=0.5, validation=0.25, test=0.25, folds=3, seed=7)
    real = write_cohort(tmp_path / "real.cohort", {f"p{i:02d}": ("north", ("tumour",)) for i in range(12)}, split)
    places = {}
    for fold in folds_of("kfold", 1, 3):
        folder = tmp_path / "folds" / fold.folder
        write_fold(real, folder / "real.cohort", fold, split)
        curves = {"embedding": {"flair": {"seed": fold.fold}}, "privacy": {"a": {}}}
        evidence = Evidence((one("ssim", 0.5 + fold.fold / 10),), curves, definitions={"ssim": "similar"})
        write_evidence(folder, Evidence.join({"similarity": evidence}))
        content = {"real": "real.cohort", "synthetic": {"a": "synthetic/a.cohort"}}
        (folder / "compared.json").write_text(json.dumps(content))
        places[fold] = folder
    pool_stage(places, tmp_path, OPTIONS)
    found = read_evidence(tmp_path)
    assert found.find("ssim").value == pytest.approx(0.6)
    assert found.curves["protocol"]["patients"]["run 0 fold 1"] == {"train": 5, "validation": 3, "test": 4}
    assert found.warnings[0] == "Pictures are of run 0 fold 0."
    assert found.curves["embedding"] == {"flair": {"seed": 0}}
    assert set(found.curves) == {"protocol", "embedding"}  # what a release is judged by stays with each fold
    assert found.definitions == {"ssim": "similar"}
    assert (tmp_path / "evidence" / "protocol.json").is_file()
    assert (tmp_path / "evidence.csv").read_text().startswith("name,region,arm,value")
    assert json.loads((tmp_path / "compared.json").read_text()) == {
        "real": "folds/run-0-fold-0/real.cohort", "synthetic": {"a": "folds/run-0-fold-0/synthetic/a.cohort"},
    }  # fmt: skip
