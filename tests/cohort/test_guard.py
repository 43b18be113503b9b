"""The leak guard refuses what it must, allows what it may, and names the patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthoma.cohort import (
    check_augmentation,
    check_generator,
    check_splits,
    check_training,
    create_cohort,
    open_cohort,
    patient_of,
)
from synthoma.errors import CohortError, LeakError
from synthoma.records import Cohort, Lineage, Samples

Make = Callable[..., Samples]


def with_column(cohort: Cohort, name: str, values: Sequence[Any]) -> Cohort:
    return replace(cohort, table={**cohort.table, name: np.array(values)})


def test_a_clean_cohort_passes(cohort: Cohort) -> None:
    check_splits(cohort)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("split", ["train"] * 5 + ["test"] + ["validation"] * 3 + ["test"] * 3),
        ("fold", [0] * 3 + [1, 1, 0] + [0] * 3 + [1] * 3),
    ],
)
def test_a_patient_on_two_sides(cohort: Cohort, column: str, values: list[Any]) -> None:
    with pytest.raises(LeakError, match=r"splits: expected each patient on one side, found on two: b\.") as caught:
        check_splits(with_column(cohort, column, values))
    assert caught.value.exit_code == 4


def test_five_patients_are_named(write: Callable[..., Cohort]) -> None:
    cohort = write({f"p{i}": ("train", 0) for i in range(7)})
    with pytest.raises(LeakError, match=r"on two: p0, p1, p2, p3, p4 and 2 more\."):
        check_splits(with_column(cohort, "split", ["train", "train", "test"] * 7))


def written(path: Path, settings: dict[str, Any], patients: Sequence[Samples]) -> Cohort:
    with create_cohort(path, **settings) as writer:
        for samples in patients:
            writer.add(samples)
    return open_cohort(path)


def test_one_image_for_two_patients(tmp_path: Path, samples: Make, settings: Callable[..., Any]) -> None:
    first, second = samples("a"), samples("b")
    second.images[1] = first.images[2]
    with pytest.raises(LeakError, match="images: expected each of one patient, found the same one for several: a, b"):
        written(tmp_path / "x.cohort", settings(), [first, second])
    first.images[2], second.images[1] = -1, -1  # background says nothing of a patient
    check_splits(written(tmp_path / "x.cohort", settings(), [first, second]))


def test_one_patient_may_repeat_an_image(tmp_path: Path, samples: Make, settings: Callable[..., Any]) -> None:
    """Two equal slices of one patient lie on one side: no leak."""
    one = samples("a")
    one.images[1] = one.images[0]
    check_splits(written(tmp_path / "x.cohort", settings(), [one]))


def test_training_rows(cohort: Cohort) -> None:
    train, test = cohort.rows(split="train"), cohort.rows(split="test")
    check_training(cohort, train, test)
    with pytest.raises(LeakError, match=r"none of a held-out patient, found samples of d\."):
        check_training(cohort, np.append(train, test[0]), test[1:])
    hashes = cohort.table["image_sha256"].tolist()
    hashes[test[0]] = hashes[train[0]]
    with pytest.raises(LeakError, match=r"found samples of d\."):
        check_training(with_column(cohort, "image_sha256", hashes), train, test)


@pytest.fixture
def synthetic(tmp_path: Path, samples: Make, settings: Callable[..., Any]) -> Callable[..., Cohort]:
    """A cohort made by a generator trained on ``saw``; the real cohort held all of p0 … p9."""

    def make(
        saw: Sequence[str],
        *,
        patient: str = "new",
        made_from: str = "",
        reference: str = "",
        put_in: Sequence[str] = (),
        step: str = "train",
        known: bool = True,
    ) -> Cohort:
        everyone = [f"p{i}" for i in range(10)]
        prepare = Lineage.of("prepare", parents=(), recipe={}, seed=0, patients_seen=everyone)
        train = Lineage.of(step, parents=(prepare.id,), recipe={}, seed=0, patients_seen=saw)
        generate = Lineage.of(
            "generate", parents=(train.id, prepare.id), recipe={}, seed=0, patients_seen=(*saw, *put_in)
        )
        path = tmp_path / "synthetic.cohort"
        with create_cohort(path, overwrite=True, lineages=(prepare, train, generate), **settings()) as writer:
            writer.add(
                samples(patient),
                origin="synthetic",
                lineage=generate.id if known else "",
                made_from=(made_from,) * 3,
                reference=(reference,) * 3,
            )
        return open_cohort(path)

    return make


def test_generator_that_saw_the_evaluation_patients(synthetic: Callable[..., Cohort]) -> None:
    made = synthetic(("p1", "p2"))
    check_generator(made, ("p3", "p4"))
    message = r"a generator that never saw a patient of the evaluation set, found that it used p2\."
    with pytest.raises(LeakError, match=message) as caught:
        check_generator(made, ("p2", "p3"))
    assert caught.value.exit_code == 4
    assert "synthetic.cohort" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_reconstructing_a_test_patient_is_legitimate(synthetic: Callable[..., Cohort]) -> None:
    made = synthetic(("p1",), patient="p9", made_from="p9/0010", reference="p9/0010")
    check_generator(made, ("p8", "p9"))
    with pytest.raises(LeakError, match="owe nothing to a held-out patient, found that it used p9"):
        check_augmentation(made, ("p8", "p9"))


@pytest.mark.parametrize(
    "influence",
    [
        {"patient": "p9"},
        {"made_from": "p1/0003;p9/0010"},
        {"reference": "p9/0010"},
        {"put_in": ("p9",)},
        {"saw": ("p1", "p9")},
    ],
)
def test_every_influence_counts_for_augmentation(synthetic: Callable[..., Cohort], influence: dict[str, Any]) -> None:
    made = synthetic(**({"saw": ("p1",)} | influence))
    check_augmentation(made, ("p2", "p8"))
    with pytest.raises(LeakError, match=r"found that it used p9\."):
        check_augmentation(made, ("p8", "p9"))


def test_a_generator_without_training_is_judged_by_its_own_lineage(synthetic: Callable[..., Cohort]) -> None:
    with pytest.raises(LeakError, match="p1"):
        check_generator(synthetic(("p1",), step="import"), ("p1",))


def test_nobody_can_tell(synthetic: Callable[..., Cohort], cohort: Cohort) -> None:
    made = synthetic(("p1",), known=False)
    for check in (check_generator, check_augmentation):
        with pytest.raises(CohortError, match="a lineage for each synthetic sample, found none"):
            check(made, ("p2",))
        with pytest.raises(CohortError, match="expected synthetic samples, found none"):
            check(cohort, ("p2",))


def test_patient_of() -> None:
    assert patient_of("TCGA_CS_4941/0012") == "TCGA_CS_4941"
    assert patient_of("site/patient/0012") == "site/patient"
