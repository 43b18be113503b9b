"""Recognition: does a classifier that learned from real images take synthetic ones for what they claim to be?

The other way round from utility: nothing synthetic is learned from. A generator passes that draws what tells the
classes apart; that it draws anything else well is not said here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import arm_name, source_rows, the_one
from synthoma.evaluation.statistics import clopper_pearson, patient_bootstrap
from synthoma.records import Cohort, Measurement

if TYPE_CHECKING:
    from synthoma.evaluation.classifier import Labelled

__all__ = ["Arm", "Question", "evaluate_recognition", "questions"]

BALANCED = "recognition-balanced-accuracy"
ACCURACY = "recognition-accuracy"
AS_TARGET = "recognised-as-target"
DEFINITIONS = {
    BALANCED: "Mean over the two classes of the share of images that are taken for what they claim to be, by a "
    "classifier trained on real training patients; ½ is chance. Beside it the same of real test images.",
    ACCURACY: "Share of the images, of both classes together, that are taken for what they claim to be.",
    AS_TARGET: "Share of the images that are taken for the class that they were made to be of. Beside it the share of "
    "real test images of that class (all should be) and of the images before translation (none should be).",
}
REAL = "real"
Part = tuple[Cohort, NDArray[np.intp], tuple[str, ...], bool]
"""(cohort, rows, channels, whether they are of the second class)."""


@dataclass(frozen=True)
class Question:
    """Two classes of real images that a classifier is trained to tell apart."""

    column: str
    """``channel``, or the column of the table that holds the class: ``label``, ``modality``, ``site``."""
    classes: tuple[str, str]
    """The second is the positive one: the target of a translation."""
    channels: tuple[str, ...] = ()
    """Of the images; empty when the channel is what is asked for."""

    def text(self, real: Cohort) -> str:
        """For ``Measurement.compared``."""
        end = f" of {', '.join(self.channels)}" if self.channels and len(real.channels) > 1 else ""
        return f"{self.column}{end}: {self.classes[0]} or {self.classes[1]}"

    def parts(self, real: Cohort, rows: NDArray[np.intp]) -> list[Part]:
        """The real samples of ``rows`` of either class."""
        if self.column == "channel":
            return [(real, rows, (name,), i == 1) for i, name in enumerate(self.classes)]
        values = real.table[self.column][rows]
        return [(real, rows[values == name], self.channels, i == 1) for i, name in enumerate(self.classes)]


@dataclass(frozen=True)
class Arm:
    """A set of images that is asked about."""

    name: str
    parts: Sequence[Part]
    independent: bool = False
    """From noise, each image by itself: the image is the unit, not the patient."""
    note: str = ""


def questions(real: Cohort, synthetic: Mapping[str, Cohort]) -> dict[Question, list[Arm]]:
    """What can be asked of which cohort; round trips are passed over.

    By channel of a translation from one channel to another; by label, modality or site where all samples claim one
    value and were all made from another one; by label where the real cohort has two.
    """
    found: dict[Question, list[Arm]] = {}
    trained_on = set(real.table["patient"][real.rows(split="train")].tolist())
    for name, cohort in synthetic.items():
        if cohort.is_round_trip:
            continue
        known = bool(trained_on & set(cohort.table["patient"].tolist()))
        note = "; the classifier knows real images of patients that these were made from" if known else ""
        noise = not np.any(cohort.table["made_from"] != "")
        for question, parts, source in _of(real, cohort):
            arms = found.setdefault(question, [])
            arms.append(Arm(arm_name(name), parts, noise, note))
            if source is not None:
                arms.append(Arm(f"source of {arm_name(name)} (untranslated)", [source], noise, note))
    return found


def _of(real: Cohort, cohort: Cohort) -> Iterator[tuple[Question, list[Part], Part | None]]:
    """The questions that a cohort answers, its images, and what they were translated from."""
    everything, sources = np.arange(len(cohort)), source_rows(real, cohort)
    shown = tuple(name for name in cohort.conditions if name in real.channels)
    whole: Part = (cohort, everything, cohort.channels, True)
    source: Part | None = None
    one = len(shown) == len(cohort.channels) == 1 and shown != cohort.channels
    if sources is not None and cohort.is_translation and one:
        source = (real, sources, shown, True)
        yield Question("channel", (shown[0], cohort.channels[0])), [whole], source
    changed = []
    for column in ("label", "modality", "site"):
        if sources is None:
            break
        before, after = the_one(real.table[column][sources]), the_one(cohort.table[column])
        if before and after and before != after and after in real.table[column]:
            changed.append(column)
            source = (real, sources, shown, True) if shown == cohort.channels else None
            yield Question(column, (before, after), cohort.channels), [whole], source
    labels = sorted(set(real.table["label"].tolist()))
    if "label" not in changed and len(labels) == 2 and set(cohort.table["label"].tolist()) <= set(labels):
        classes = (labels[0], labels[1])
        sides = [np.flatnonzero(cohort.table["label"] == label) for label in classes]
        parts = [(cohort, rows, cohort.channels, i == 1) for i, rows in enumerate(sides) if len(rows)]
        yield Question("label", classes, cohort.channels), parts, None


def evaluate_recognition(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """One classifier a question, trained on real training patients, chosen by real validation patients."""
    if real.images.ndim != 4:
        return Evidence(warnings=("recognition: the classifier reads 2D images only.",), definitions=DEFINITIONS)
    by = options.recognition.by
    asked = {question: arms for question, arms in questions(real, synthetic).items() if question.column in by}
    measurements: list[Measurement] = []
    verdicts: list[Verdict] = []
    nothing = f"recognition: no cohort claims one of two classes that real images could teach ({', '.join(by)})."
    warnings = [] if asked else [nothing]
    for question, arms in asked.items():
        problem = _unfit(real, question)
        if problem:
            warnings.append(f"recognition, {question.text(real)}: {problem}")
            continue
        found, claims = _ask(real, question, arms, options, features)
        measurements, verdicts = measurements + found, verdicts + claims
    return Evidence(tuple(measurements), {}, tuple(warnings), tuple(verdicts), DEFINITIONS)


def _unfit(real: Cohort, question: Question) -> str:
    for side in ("train", "validation", "test"):
        for (_, rows, _, _), name in zip(question.parts(real, real.rows(split=side)), question.classes, strict=True):
            if not len(rows):
                return f"{side} has no real image of '{name}', so nothing was asked."
    return ""


def _ask(
    real: Cohort, question: Question, arms: Sequence[Arm], options: EvaluationOptions, features: Features
) -> tuple[list[Measurement], list[Verdict]]:
    """Train once; ask of the real test images first, then of every arm."""
    from synthoma.evaluation.classifier import joined, train_classifier

    train, validation = (
        joined(_labelled(question.parts(real, real.rows(split=side)), options)) for side in ("train", "validation")
    )
    everyone = [Arm(REAL, question.parts(real, real.rows(split="test"))), *arms]
    sets = [joined(_labelled(arm.parts, options)) for arm in everyone]
    trained = train_classifier(train, validation, joined(sets), options.classifier, options.seed, features)
    ends = np.cumsum([len(part.positive) for part in sets])[:-1]
    called = [probability >= 0.5 for probability in np.split(trained.probability, ends)]
    method = f"{trained.method} (cut at {trained.threshold:.3g}); {len(train.positive)} real training images"
    empty = Measurement("", None, None, None, 0, 0, "", "", "", "higher", method, question.text(real))
    found: list[Measurement] = []
    verdicts: list[Verdict] = []
    for arm, part, calls in zip(everyone, sets, called, strict=True):
        own = _measure(arm, part, calls == part.positive, empty, options)
        if arm.name == REAL:
            own += _of_each_class(question, part, calls == part.positive, empty, options, arms)
            teacher = own[0]
        elif not arm.name.startswith("source of "):
            verdicts.append(_verdict(own[0], teacher, question))
        found += own
    return found, verdicts


def _labelled(parts: Sequence[Part], options: EvaluationOptions) -> list[Labelled]:
    from synthoma.evaluation.classifier import labelled

    return [
        labelled(cohort, rows, channels, np.full(len(cohort), side), options.max_images, options.seed)
        for cohort, rows, channels, side in parts
    ]


def _measure(
    arm: Arm, part: Labelled, right: NDArray[np.bool_], empty: Measurement, options: EvaluationOptions
) -> list[Measurement]:
    """Balanced accuracy and accuracy of an arm of both classes, the share recognised of an arm of one."""
    positive = part.positive
    both = bool(positive.any() and not positive.all())
    names = (BALANCED, ACCURACY) if both else (AS_TARGET,)
    equal = 2 * int(positive.sum()) == len(positive)

    def statistic(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        sides = [right[rows][positive[rows] == side] for side in (False, True)]
        balanced = np.mean([side.mean() for side in sides]) if all(map(len, sides)) else np.nan
        return np.array([balanced, right[rows].mean()] if both else [right[rows].mean()])

    values, low, high, how = patient_bootstrap(statistic, part.patients, options.seed, options.bootstrap_draws)
    measurements = []
    for i, name in enumerate(names):
        ends, text = (low[i], high[i]), how
        if arm.independent and (name != BALANCED or equal):  # with equal classes the two accuracies are one
            ends = clopper_pearson(int(right.sum()), len(right))
            text = f"95 % Clopper–Pearson interval of {len(right)} independent images"
        known = bool(np.isfinite(ends).all())
        measurements.append(
            replace(
                empty, name=name, arm=arm.name, value=float(values[i]), low=float(ends[0]) if known else None,
                high=float(ends[1]) if known else None, n_images=len(right),
                n_patients=len(set(part.patients.tolist())),
                method=f"{empty.method}{arm.note}; {text}; synthoma {__version__}",
            )
        )  # fmt: skip
    return measurements


def _of_each_class(
    question: Question, part: Labelled, right: NDArray[np.bool_], empty: Measurement, options: EvaluationOptions,
    arms: Sequence[Arm],
) -> list[Measurement]:  # fmt: skip
    """Of the real test images: the share recognised of each class that an arm consists of alone."""
    alone = {arm.parts[0][3] for arm in arms if len(arm.parts) == 1}
    found = []
    for side in sorted(alone):
        rows = np.flatnonzero(part.positive == side)
        name = f"{REAL} ({question.classes[int(side)]})"
        one = replace(part, images=part.images[rows], positive=part.positive[rows], patients=part.patients[rows])
        found += _measure(Arm(name, ()), one, right[rows], empty, options)
    return found


def _verdict(found: Measurement, teacher: Measurement, question: Question) -> Verdict:
    claim = f"{found.arm} is recognised as what it claims to be ({question.column}) by a classifier of real images"
    text = f"{100 * (found.value or 0):.0f} % of {found.n_images} images"
    if found.low is not None and found.high is not None:
        text += f", 95 % interval {100 * found.low:.0f} to {100 * found.high:.0f} %"
    text += f"; real test images: {100 * (teacher.value or 0):.0f} %"
    if teacher.low is None or teacher.low <= 0.5:
        return Verdict(claim, "cannot tell", f"{text}: the classifier may not know real ones better than chance.")
    if found.value is not None and found.value <= 0.5:
        return Verdict(claim, "not supported", f"{text}: chance is 50 %.")
    return Verdict(claim, "supported" if found.low is not None and found.low > 0.5 else "cannot tell", f"{text}.")
