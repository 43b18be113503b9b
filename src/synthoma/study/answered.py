"""The answers as columns, and the bootstrap over readers and patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.study.options import SCALES

__all__ = ["Answered", "between", "columns_of", "resampled"]

Float = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Answered:
    """Answers, one an entry; practice is left out."""

    reader: Ints
    """From 1."""
    place: Ints
    """In the reader's order, from 1."""
    image: NDArray[np.str_]
    patient: NDArray[np.str_]
    """The unit that is resampled. An image made from several patients counts for the first."""
    repeat: NDArray[np.bool_]
    """The second showing of an image."""
    synthetic: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    seconds: Float
    ratings: Mapping[str, Float]
    """Scale → 1 to 5, NaN where it was left open."""

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def readers(self) -> tuple[int, ...]:
        """Who answered anything."""
        return tuple(sorted(set(self.reader.tolist())))

    def where(self, chosen: NDArray[np.bool_]) -> Answered:
        """Some of the answers."""
        ratings = {scale: values[chosen] for scale, values in self.ratings.items()}
        return Answered(
            self.reader[chosen], self.place[chosen], self.image[chosen], self.patient[chosen], self.repeat[chosen],
            self.synthetic[chosen], self.correct[chosen], self.seconds[chosen], ratings,
        )  # fmt: skip

    def count(self) -> tuple[int, int]:
        """How many images and how many patients these are."""
        return len(set(self.image.tolist())), len(set(self.patient.tolist()))


def columns_of(rows: Sequence[Mapping[str, Any]], patients: Mapping[str, Sequence[str]]) -> Answered:
    """From the rows of :func:`synthoma.study.export.read_answers`; ``patients``: image → whose images went into it."""
    rows = [row for row in rows if row["phase"] != "training"]
    whose = {image: (sorted(names) or [image])[0] for image, names in patients.items()}
    return Answered(
        reader=np.array([row["reader"] for row in rows], dtype=np.int64),
        place=np.array([row["place"] for row in rows], dtype=np.int64),
        image=np.array([row["image"] for row in rows], dtype=np.str_),
        patient=np.array([whose[row["image"]] for row in rows], dtype=np.str_),
        repeat=np.array([row["phase"] == "repeat" for row in rows], dtype=bool),
        synthetic=np.array([row["origin"] == "synthetic" for row in rows], dtype=bool),
        correct=np.array([bool(row["correct"]) for row in rows], dtype=bool),
        seconds=np.array([row["seconds"] for row in rows], dtype=np.float64),
        ratings={
            scale: np.array([np.nan if row[scale] is None else row[scale] for row in rows], dtype=np.float64)
            for scale in SCALES
        },
    )


def resampled(
    answers: Answered, statistic: Callable[[Float], Sequence[float]], draws: int, rng: np.random.Generator
) -> Float:
    """A statistic over ``draws`` resamples of readers and, independently, of patients: (draws, m), NaN where undefined.

    The pigeonhole bootstrap (Owen, Ann. Appl. Stat. 1:386–411, 2007): an answer weighs as often as its reader was drawn
    times as often as its patient was. ``statistic`` gets one weight an answer and returns m numbers.
    """
    _, reader = np.unique(answers.reader, return_inverse=True)
    _, patient = np.unique(answers.patient, return_inverse=True)
    readers, patients = int(reader.max()) + 1, int(patient.max()) + 1
    who = rng.multinomial(readers, np.full(readers, 1 / readers), size=draws)
    whose = rng.multinomial(patients, np.full(patients, 1 / patients), size=draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array(
            [statistic((a[reader] * b[patient]).astype(np.float64)) for a, b in zip(who, whose, strict=True)]
        )


def between(values: Float, level: float = 0.95) -> tuple[float | None, float | None]:
    """The percentile interval of resampled values; ``None`` where fewer than 90 % of them are defined."""
    defined = values[np.isfinite(values)]
    if not len(values) or len(defined) < 0.9 * len(values):
        return None, None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
