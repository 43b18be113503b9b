"""The corrected resampled t-test: is a difference over folds more than folds that share training patients make alone?

Two folds of five have three quarters of their training patients in common, so their differences are alike for that
reason too. The plain paired t-test takes them for independent and finds effects that are not there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthoma.evaluation.tests_of_difference import EffectSize, Equivalence, effect_size, equivalence

__all__ = ["Tested", "corrected_resampled_t"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """The mean difference over folds with its tests; ``None`` where ``method`` says why there is none."""

    mean: float
    folds: int
    runs: int
    n_test: float
    n_train: float
    standard_error: float | None = None
    """√((1/J + n_test/n_train) s²)."""
    t: float | None = None
    degrees: int | None = None
    """Degrees of freedom, J − 1."""
    p: float | None = None
    """Two-sided, corrected."""
    low: float | None = None
    high: float | None = None
    """95 % interval of the corrected test."""
    naive_t: float | None = None
    naive_p: float | None = None
    """The plain paired t-test on every fold of every run, as most papers do it. Too small: no verdict reads it."""
    method: str = ""

    def effect(self) -> EffectSize | None:
        """The mean in standard deviations between folds; its interval knows of their overlap. ``None`` without a test.

        The overlap makes J folds worth 1 / (1/J + n_test/n_train) independent ones.
        """
        if self.t is None or self.degrees is None:
            return None
        return effect_size(self.t, self.degrees, 1 / (1 / self.folds + self.n_test / self.n_train))

    def equivalence(self, margin: float) -> Equivalence | None:
        """Two one-sided corrected tests that the true difference lies within ±``margin``; ``None`` without a test."""
        if self.standard_error is None or self.degrees is None:
            return None
        return equivalence(self.mean, self.standard_error, self.degrees, margin)


def corrected_resampled_t(differences: Float, n_test: float, n_train: float) -> Tested:
    """Test that the mean of ``differences`` is 0, knowing that the folds' training sets overlap.

    Nadeau & Bengio, "Inference for the generalization error", Machine Learning 52:239–281, 2003:
    t = d̄ / √((1/J + n_test/n_train) s²) with J − 1 degrees of freedom. The runs of a fold share their patients, so they
    are averaged first: J counts folds. (Fifteen values of five folds in three runs would pass for fifteen folds, and
    five values copied three times for a finding.)

    Args:
        differences: (folds, runs), finite.
        n_test: patients tested in a fold.
        n_train: patients trained on in a fold.

    Raises:
        ValueError: another shape, numbers that are not finite, or no patients.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 2 or not differences.size or not np.isfinite(differences).all():
        raise ValueError(f"expected finite differences (folds, runs), found an array of shape {differences.shape}")
    if not (n_test > 0 and n_train > 0):
        raise ValueError(f"expected patients to test and to train on, found {n_test} and {n_train}")
    folds, runs = differences.shape
    means = differences.mean(axis=1)
    mean = float(means.mean())
    if folds < 2:
        return Tested(mean, folds, runs, n_test, n_train, method="no test: one fold has no spread")
    if np.ptp(means) <= 1e-12 * max(1.0, abs(mean)):
        return Tested(mean, folds, runs, n_test, n_train, method="no test: all folds are equal")
    from scipy.stats import t as student
    from scipy.stats import ttest_1samp

    error = float(np.sqrt((1 / folds + n_test / n_train) * means.var(ddof=1)))
    t, degrees = mean / error, folds - 1
    half = float(student.ppf(0.975, degrees)) * error
    naive = ttest_1samp(differences.ravel(), 0.0)
    known = np.isfinite(naive.statistic)
    return Tested(
        mean, folds, runs, n_test, n_train, error, t, degrees, float(2 * student.sf(abs(t), degrees)), mean - half,
        mean + half, float(naive.statistic) if known else None, float(naive.pvalue) if known else None,
        f"corrected resampled t-test (Nadeau & Bengio 2003) over {folds} folds, n_test / n_train = {n_test:g} / "
        f"{n_train:g} patients, {runs} run{'s' * (runs > 1)} averaged within a fold; naive: the plain paired t-test on "
        f"{folds * runs} differences, which takes folds that share training patients for independent",
    )  # fmt: skip
