"""The analysis of a reader study: from the answers to measurements and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthoma import __version__
from synthoma.errors import InputError, describe
from synthoma.records import Measurement
from synthoma.study.analysis_calls import ALL, calls, times
from synthoma.study.analysis_images import SSIM, Features, correlations, image_measures
from synthoma.study.analysis_ratings import between_readers, by_origin, distribution, odds_ratio, within_readers
from synthoma.study.answered import Answered, columns_of
from synthoma.study.export import mean_ratings, read_answers
from synthoma.study.folder import Key, Study
from synthoma.study.options import SCALES

__all__ = ["DEFINITIONS", "Analysis", "analyse", "analyse_study"]

SYNTHETIC = "synthetic"
FEW_READERS = 5
"""With fewer, an interval over readers says little about other readers (Obuchowski & Rockette need as many)."""
DRAWS = 2000
DEFINITIONS: Mapping[str, str] = {
    **{f"reader-{scale}": f"Mean rating of {scale}, 1 to 5, over readers and images." for scale in SCALES},
    **{f"reader-{scale}-difference": f"Mean rating of {scale}: synthetic minus real." for scale in SCALES},
    **{
        f"reader-{scale}-superiority": "How often a reader rates a synthetic image above a real one, ties half; "
        "0.5 is no difference."
        for scale in SCALES
    },
    "reader-odds-ratio": "Odds of a higher rating of synthetic over real images; 1 is no difference.",
    "reader-accuracy": "Share of right calls, real or synthetic; 0.5 is chance.",
    "reader-sensitivity": "Share of synthetic images that were called synthetic.",
    "reader-specificity": "Share of real images that were called real.",
    "reader-equivalence-p": "Below 0.05 the accuracy is shown to lie within the margin around chance.",
    "reader-icc-single": "Agreement of one reader with another, ICC(2,1) of Shrout & Fleiss; 1 is perfect.",
    "reader-icc-mean": "Reliability of the readers' mean rating, ICC(2,k); 1 is perfect.",
    "reader-equal-ratings": "Share of pairs of readers who gave an image the same rating; high where ratings crowd at "
    "one end, whatever the ICC.",
    **{f"reader-kappa-{scale}": f"Readers' agreement with themselves in {scale}, quadratic kappa." for scale in SCALES},
    "reader-same-call": "Share of repeated images that got the same call again.",
    "reader-pearson": "Pearson's r of the mean rating of each synthetic image and a measure of it.",
    "reader-spearman": "Spearman's ρ of the mean rating of each synthetic image and a measure of it.",
    "reader-seconds": "How long an image was visible, geometric mean.",
    "reader-seconds-ratio": "Time for synthetic images over that for real ones, within readers.",
    "reader-accuracy-difference": "Accuracy on the images that a reader looked at longest minus that on the others.",
    "reader-pace-spearman": "Whether readers speed up along their order (below 0) or slow down.",
}  # fmt: skip


@dataclass(frozen=True)
class Analysis:
    """What a study found."""

    study: str
    title: str
    margin: float
    """Of equivalence to chance."""
    readers: tuple[int, ...]
    answers: int
    measurements: tuple[Measurement, ...]
    verdicts: tuple[Mapping[str, str], ...]
    """Each with ``claim``, ``verdict`` and ``because``."""
    notes: tuple[str, ...]
    """What a reader must know, and what was not measured and why."""
    distribution: Mapping[str, Mapping[str, Sequence[int]]]
    """Scale → origin → counts of the ratings 1 to 5."""
    points: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
    """Measure → scale → (measure, mean rating) of each synthetic image."""

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        content = asdict(self)
        return {"version": __version__, **content, "definitions": self.definitions}

    @property
    def definitions(self) -> dict[str, str]:
        """Of the measurements that are there."""
        return {name: DEFINITIONS[name] for name in dict.fromkeys(m.name for m in self.measurements)}


def analyse_study(
    study: Study,
    key: Key,
    *,
    margin: float = 0.1,
    database: str = "",
    real: Path | None = None,
    synthetic: Path | None = None,
    features: Features | None = None,
    draws: int = DRAWS,
) -> Analysis:
    """Analyse the answers that a study has.

    Args:
        study: an open study.
        key: its key.
        margin: how far from ½ an accuracy still counts as chance; declare it before the study.
        database: URL of the database; that in the folder when empty.
        real, synthetic: where the cohorts are now, if they were moved.
        features: gives the feature distance (:func:`synthoma.study.analysis_images.lite0`).
        draws: of the bootstrap.

    Raises:
        InputError: there is no answer yet.
        CohortError: a cohort is not the one that the study was made from.
    """
    rows = read_answers(study, key, database=database)
    measures, notes = image_measures(key, real=real, synthetic=synthetic, features=features)
    patients = {name: entry.patients for name, entry in key.images.items()}
    due = {
        reader: sum(one.phase != "training" for one in order) for reader, order in enumerate(study.design.readers, 1)
    }
    return analyse(
        rows, patients, measures, due, study=study.design.study, title=study.design.title, margin=margin, draws=draws,
        seed=key.options.seed, notes=(*key.notes, *notes), where=str(study.path),
    )  # fmt: skip


def analyse(
    rows: Sequence[Mapping[str, Any]],
    patients: Mapping[str, Sequence[str]],
    measures: Mapping[str, Mapping[str, float]],
    due: Mapping[int, int],
    *,
    study: str = "",
    title: str = "Reader study",
    margin: float = 0.1,
    draws: int = DRAWS,
    seed: int = 1,
    notes: Sequence[str] = (),
    where: str = "study",
) -> Analysis:
    """Analyse answers.

    Args:
        rows: of :func:`synthoma.study.export.read_answers`.
        patients: image → whose images went into it.
        measures: name → synthetic image → value.
        due: reader → how many answers they were asked for, practice apart.
        notes: what is known already.
        where: named in errors.

    Raises:
        InputError: no image is rated yet, or none of one origin.
    """
    answers = columns_of(rows, patients)
    first = answers.where(~answers.repeat)
    if not (first.synthetic.any() and (~first.synthetic).any()):
        remedy = "Practice does not count. See synthoma study status."
        raise InputError(describe(where, "answers on real and on synthetic images", f"{len(first)} answers", remedy))
    given = Counter(answers.reader.tolist())
    finished = [reader for reader in answers.readers if given[reader] >= due.get(reader, 0)]
    counted = finished if len(finished) > 1 else list(answers.readers)
    models = [odds_ratio(answers, scale, SYNTHETIC) for scale in SCALES]
    by_image = {scale: mean_ratings(rows, scale) for scale in SCALES}  # type: ignore[arg-type]
    related, points = correlations(by_image, measures, patients)
    measurements = [
        *by_origin(answers, SYNTHETIC, draws, seed),
        *(model for model in models if isinstance(model, Measurement)),
        *calls(answers, margin, draws, seed),
        *between_readers(answers, counted),
        *within_readers(answers, draws, seed),
        *related,
        *times(answers, SYNTHETIC, draws, seed),
    ]
    said = [*notes, *_caveats(answers, due, given, counted), *(model for model in models if isinstance(model, str))]
    return Analysis(
        study, title, margin, answers.readers, len(answers), tuple(measurements),
        tuple(_verdicts(measurements, margin, len(answers.readers))), tuple(said), distribution(answers), points,
    )  # fmt: skip


def _caveats(answers: Answered, due: Mapping[int, int], given: Mapping[int, int], counted: Sequence[int]) -> list[str]:
    told = []
    short = [reader for reader in due if given.get(reader, 0) < due[reader]]
    if short:
        names = ", ".join(f"reader {reader} ({given.get(reader, 0)} of {due[reader]})" for reader in short)
        told.append(f"not finished: {names}; agreement between readers is that of {_readers(counted)}")
    n = len(answers.readers)
    if n == 1:
        told.append("one reader: intervals are over patients alone and say nothing about other readers")
    elif n < FEW_READERS:
        told.append(
            f"{n} readers: intervals over readers describe these {n}; of readers in general they are too narrow"
        )
    share = float(answers.synthetic[~answers.repeat].mean())
    if abs(share - 0.5) > 0.05:
        told.append(
            f"{share:.0%} of the images shown are synthetic: read the accuracy with sensitivity and specificity"
        )
    return told


def _readers(readers: Sequence[int]) -> str:
    return "readers " + ", ".join(map(str, readers)) if len(readers) > 1 else f"reader {readers[0]}"


def _verdicts(measurements: Sequence[Measurement], margin: float, readers: int) -> list[dict[str, str]]:
    """What the study claims of readers, and whether these answers bear it out."""
    found = {(m.name, m.arm, m.compared): m for m in measurements}
    right, p = found["reader-accuracy", ALL, "chance"], found["reader-equivalence-p", ALL, "chance"]
    able = [m.arm for m in measurements if m.name == "reader-accuracy" and m.arm != ALL and _tells(m, readers)]
    verdict = "cannot tell"
    if right.low is not None and right.high is not None and p.value is not None:
        if able or (p.value >= 0.05 and _beyond(right)):
            verdict = "not supported"
        elif p.value < 0.05:
            verdict = "supported"
    because = (
        f"Accuracy {_said(right)} of {readers} reader{'s' if readers > 1 else ''}; within 0.5 ± {margin:g}: "
        f"p = {p.value:.3f}{'; ' + ', '.join(able) + ' can' if able else ''}"
    )
    told = [{"claim": "Synthetic images pass for real with readers", "verdict": verdict, "because": because}]
    r = found.get(("reader-pearson", "realism", SSIM))
    if r is not None and r.value is not None:
        known = r.low is not None and r.high is not None
        verdict = "cannot tell"
        if known and r.low > 0:  # type: ignore[operator]
            verdict = "supported"
        elif known and r.high < 0:  # type: ignore[operator]
            verdict = "not supported"
        told.append(
            {
                "claim": "Readers' ratings of realism rise with SSIM",
                "verdict": verdict,
                "because": f"Pearson's r {_said(r)} over {r.n_images} synthetic images",
            }
        )
    return told


def _beyond(m: Measurement) -> bool:
    """Whether an accuracy's interval leaves chance out."""
    return m.low is not None and m.high is not None and (m.low > 0.5 or m.high < 0.5)


def _tells(m: Measurement, readers: int) -> bool:
    """Whether one of so many readers can tell, either way round: exact binomial test, Bonferroni. Readers who can and
    readers who are fooled would otherwise make chance together."""
    from scipy.stats import binomtest

    return bool(binomtest(round((m.value or 0) * m.n_images), m.n_images).pvalue * readers < 0.05)


def _said(m: Measurement) -> str:
    ends = "no interval" if m.low is None or m.high is None else f"{m.low:.2f} to {m.high:.2f}"
    return f"{m.value:.2f} ({ends})".replace("-", "−")
