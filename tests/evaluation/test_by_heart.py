"""A generator that is shown a patient: training patients drawn like strangers are no memory, those drawn closer are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from synthoma.evaluation.by_heart import measure_by_heart, truths
from synthoma.evaluation.error_ratio import ALPHA, EACH, LEAST_RATIO, compare
from synthoma.records import Cohort, Lineage

SIDE = 12
SPLITS = ("train",) * 4 + ("test",) * 6


def ratio_of(values, trained, sites=None, seed=0):
    sites = np.full(len(values), "A") if sites is None else np.asarray(sites)
    return compare(values, np.asarray(trained), sites, np.array([f"p{i:02d}" for i in range(len(values))]), seed)


def test_p_is_that_of_scipy_and_the_ratio_one_of_geometric_means():
    random = np.random.default_rng(0)
    values, trained = random.normal(size=9), np.arange(9) < 4
    found = ratio_of(values, trained)
    exact = permutation_test(
        (values[~trained], values[trained]), lambda a, b: a.mean() - b.mean(), alternative="greater", n_resamples=np.inf
    )
    assert found.labellings == 126
    assert found.p == pytest.approx(exact.pvalue)
    assert found.ratio == pytest.approx(np.exp(values[~trained].mean() - values[trained].mean()))


def test_with_many_patients_random_divisions_stand_for_all():
    random = np.random.default_rng(1)
    values, trained = random.normal(size=40), np.arange(40) < 20
    found = ratio_of(values - 0.4 * trained, trained)
    exact = permutation_test(
        ((values - 0.4 * trained)[~trained], (values - 0.4 * trained)[trained]), lambda a, b: a.mean() - b.mean(),
        alternative="greater", n_resamples=50_000, rng=0,
    )  # fmt: skip
    assert found.labellings > 10**9
    assert found.p == pytest.approx(exact.pvalue, abs=0.01)
    assert ratio_of(values, trained) == ratio_of(values, trained)


@pytest.mark.parametrize(("trained", "held_out", "spread"), [(4, 12, 0.1), (6, 6, 0.3), (8, 4, 0.5), (6, 4, 1.0)])
def test_generators_that_know_nobody_are_rarely_accused(trained, held_out, spread):
    """Either question keeps its level and both together keep α; where patients differ as phantoms do, nobody is."""
    random, repeats = np.random.default_rng(2), 300
    member = np.arange(trained + held_out) < trained
    sites = np.where(np.arange(trained + held_out) % 2 == 0, "A", "B")
    shift = np.where(sites == "A", 0.0, 0.7)  # another scanner is harder for everybody
    found = [ratio_of(shift + random.normal(0, spread, len(member)), member, sites, n) for n in range(repeats)]
    significant, accused = (sum(flags) for flags in ([f.p <= EACH for f in found], [f.memorised for f in found]))
    covering = sum((f.low or 0) <= 1 <= (f.high or np.inf) for f in found)
    assert binomtest(significant, repeats).proportion_ci(0.999).low < EACH
    assert binomtest(covering, repeats).proportion_ci(0.999).high > 0.95
    assert binomtest(accused, repeats).proportion_ci(0.999).low < ALPHA
    assert accused == 0 or spread >= 0.5


def test_what_every_training_leaves_is_not_called_memory_and_what_is_four_times_as_near_is():
    random, member = np.random.default_rng(3), np.arange(16) < 6
    for true, memorised in ((1.4, False), (4.0, True)):
        found = ratio_of(random.normal(0, 0.1, 16) - np.log(true) * member, member)
        assert found.p <= EACH
        assert found.low <= true <= found.high
        assert (found.memorised, found.cleared) == (memorised, not memorised)


def test_one_patient_known_by_heart_among_many_is_found():
    random, member = np.random.default_rng(4), np.arange(30) < 20
    values = random.normal(0, 0.1, 30)
    values[7] -= np.log(8)
    found = ratio_of(values, member)
    assert found.alone == ("p07",)
    assert found.ratio < LEAST_RATIO
    assert found.memorised
    assert not found.cleared


def test_too_few_patients_decide_nothing():
    found = ratio_of(np.array([-2.0, -2, -2, -2, 0, 0]), np.arange(6) < 4)  # 15 divisions
    assert found.labellings == 15
    assert not found.decidable
    assert not found.cleared
    large = ratio_of(np.array([-3.0, 0, 0, -3, 1, -3, 1, 1]), np.arange(8) < 4)  # ratio e^1.5, p 0.14
    assert large.decidable
    assert large.ratio > LEAST_RATIO
    assert not large.memorised
    assert not large.cleared


def test_only_sites_with_both_are_compared():
    member, sites = np.arange(8) < 4, np.array(["A"] * 4 + ["B"] * 4)
    assert ratio_of(np.zeros(8), member, sites) is None
    found = ratio_of(np.array([0, 0, 9, 9, 0, 0, 0, 0.0]), member, ["A", "A", "C", "C", "A", "A", "A", "B"])
    assert (found.trained, found.held_out, found.ratio) == (2, 3, 1)


def table_of(**columns):
    n = len(columns["patient"])
    rest = {
        "site": "",
        "label": "tumour",
        "modality": "MR",
        "split": "",
        "made_from": "",
        "reference": "",
        "lineage": "",
    }
    return {name: np.full(n, text) for name, text in rest.items()} | {k: np.asarray(v) for k, v in columns.items()}


@pytest.fixture
def real() -> Cohort:
    """Ten patients with two images each, of which four train."""
    random = np.random.default_rng(5)
    patients = np.repeat([f"p{i}" for i in range(len(SPLITS))], 2)
    masks = np.zeros((20, 2, SIDE, SIDE), dtype=np.uint8)
    masks[:, 0, 2:10, 2:10], masks[:, 1, 4:7, 4:7] = 1, 1
    return Cohort(
        path=None, images=random.uniform(-0.5, 0.5, (20, 2, SIDE, SIDE)), masks=masks, channels=("t1", "flair"),
        table=table_of(id=[f"{p}/{i}" for i, p in enumerate(patients)], patient=patients, split=np.repeat(SPLITS, 2)),
        mask_names=("body", "lesion"), unit="arbitrary", modality="MR", conditions=(), lineages={},
    )  # fmt: skip


def drawn(real: Cohort, split: str, error: float) -> Cohort:
    """FLAIR of a split's patients from their T1 and lesion, ``error`` beside the truth in the body, 1 outside."""
    trained = Lineage.of("train", parents=(), recipe={}, seed=0, patients_seen=[f"p{i}" for i in range(4)])
    made = Lineage.of("generate", parents=[trained.id, "f" * 64], recipe=split, seed=0, patients_seen=())
    rows = real.rows(split=split)
    table = {name: column[rows] for name, column in real.table.items()}
    table |= {"made_from": table["id"], "lineage": np.full(len(rows), made.id), "split": np.full(len(rows), split)}
    images = real.images[rows][:, 1:] + np.where(real.masks[rows][:, :1] > 0, error, 1.0)
    return replace(
        real, table=table | {"id": np.array([f"x/{i:05d}" for i in range(len(rows))])}, images=images,
        masks=real.masks[rows].copy(), channels=("flair",), conditions=("t1", "mask"),
        lineages={trained.id: trained, made.id: made},
    )  # fmt: skip


def test_the_error_is_that_of_the_body_and_cohorts_of_the_same_weights_are_put_together(real):
    arms = {"redraw": drawn(real, "train", 0.05), "reconstruct": drawn(real, "test", 0.2)}
    found = measure_by_heart(real, arms, 0)
    content = found.curves["redraw"]
    assert found.curves["synthetic"] == content  # the arm of reconstruct
    assert content["ratio"] == pytest.approx(4)
    assert content["p"] == pytest.approx(1 / 210)
    assert (content["training_patients"], content["held_out_patients"], content["state"]) == (4, 6, "memorised")
    assert content["held_out_rmse"] == pytest.approx(0.2)
    assert content["pairs"][0] == {"arm": "redraw", "synthetic": "x/00000", "real": "p0/0", "rmse": 0.05}
    (verdict,) = found.verdicts
    assert verdict.claim == "redraw: no training patient's flair is known by heart"
    assert verdict.verdict == "not supported"
    ratio, area = found.measurements
    assert (ratio.name, ratio.value, ratio.n_patients) == ("memorisation-error-ratio", pytest.approx(4), 10)
    assert (area.name, area.value) == ("membership-auc-reconstruction", 1)


def test_strangers_drawn_as_well_clear_a_generator(real):
    arms = {"redraw": drawn(real, "train", 0.15), "reconstruct": drawn(real, "test", 0.2)}
    found = measure_by_heart(real, arms, 0)
    assert found.curves["redraw"]["state"] == "cleared"
    assert found.verdicts[0].verdict == "supported"
    other = arms["reconstruct"].lineages
    swapped = {name: replace(line, parents=(line.parents[0], "0" * 64)) if line.parents else line
               for name, line in other.items()}  # fmt: skip
    apart = measure_by_heart(real, arms | {"reconstruct": replace(arms["reconstruct"], lineages=swapped)}, 0)
    assert apart.curves["redraw"]["missing"] == "held-out"
    assert apart.curves["synthetic"]["missing"] == "training"
    assert {verdict.verdict for verdict in apart.verdicts} == {"cannot tell"}


def test_a_site_without_strangers_tells_nothing(real):
    apart = replace(real, table=dict(real.table) | {"site": np.where(real.table["split"] == "train", "A", "B")})
    arms = {"redraw": drawn(apart, "train", 0.05), "reconstruct": drawn(apart, "test", 0.2)}
    found = measure_by_heart(apart, arms, 0)
    assert found.curves["redraw"]["missing"] == "shared site"
    assert found.measurements == []


def test_what_has_no_truth(real):
    made = drawn(real, "train", 0.1)
    assert truths(real, made).tolist() == real.rows(split="train").tolist()
    for name, value in (("label", "tumour-free"), ("site", "B"), ("modality", "CT"), ("made_from", "p0/0;p1/2")):
        assert set(truths(real, replace(made, table=dict(made.table) | {name: np.full(8, value)}))) == {-1}
    changed = made.masks.copy()
    changed[:3, 1] = 0  # lesions taken out
    assert truths(real, replace(made, masks=changed)).tolist() == [-1, -1, -1, *real.rows(split="train")[3:]]
    assert set(truths(real, replace(made, conditions=("flair",)))) == {-1}  # it was shown its own answer
    assert set(truths(real, replace(made, channels=("t2",)))) == {-1}
    noise = replace(made, conditions=(), table=dict(made.table) | {"made_from": np.full(8, "")})
    assert measure_by_heart(real, {"sample": noise}, 0).curves == {}
