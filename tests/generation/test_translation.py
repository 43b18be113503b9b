"""The CycleGAN's cohorts: from which samples, to what, with which reference and in which unit.

With the base ``input`` an untrained generator gives back what it is shown: so the images tell which channels it saw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from synthoma.cohort import check_augmentation
from synthoma.errors import CohortError, LeakError
from synthoma.gans import CycleOptions
from synthoma.records import Cohort

Made = Callable[..., Cohort]
TRAIN, TEST = ("m0", "m1", "c0", "c1"), ("m3", "c3")


def between(source: dict[str, Any], target: dict[str, Any]) -> CycleOptions:
    small = {"width": 2, "blocks": 1, "discriminator_width": 2, "base": "input"}
    return CycleOptions.model_validate(small | {"source": source, "target": target})


CHANNELS = between({"channels": ("t1",)}, {"channels": ("flair",)})
MODALITIES = between({"modality": "MR"}, {"modality": "CT"})
LABELS = between({"label": "tumour-free"}, {"label": "tumour"})
SITES = between({"site": "north"}, {"site": "south"})


def samples_of(cohort: Cohort, patients: tuple[str, ...], **equal: str) -> list[str]:
    rows = [row for row in cohort.rows(**equal).tolist() if cohort.table["patient"][row] in patients]
    return [str(cohort.table["id"][row]) for row in rows]


def rows_of(cohort: Cohort, made: Cohort) -> list[int]:
    return [int(cohort.rows(id=name)[0]) for name in made.table["made_from"].tolist()]


def column(made: Cohort, name: str) -> list[Any]:
    values: list[Any] = made.table[name].tolist()
    return values


@pytest.mark.parametrize(
    ("way", "shown", "made_channel", "patients", "referenced"),
    [
        ("translate", "t1", "flair", TEST, True),
        ("back", "flair", "t1", TEST, True),
        ("cycle", "t1", "t1", TEST, True),
        ("redraw", "t1", "flair", TRAIN, False),
    ],
)
def test_between_two_channels_the_true_pair_is_known(
    way: str,
    shown: str,
    made_channel: str,
    patients: tuple[str, ...],
    referenced: bool,
    made_by: Made,
    mixed_cohort: Cohort,
) -> None:
    """All that describes the sample stays; the windows are its own of the channel that is made."""
    made = made_by(CHANNELS, mixed_cohort, way)
    assert (made.conditions, made.channels) == ((shown,), (made_channel,))
    assert column(made, "made_from") == samples_of(mixed_cohort, patients)
    assert column(made, "reference") == (column(made, "made_from") if referenced else [""] * len(made))
    rows = rows_of(mixed_cohort, made)
    for name in ("patient", "scan", "site", "modality", "unit", "label", "split", "fold", "slice", "spacing_mm"):
        assert column(made, name) == mixed_cohort.table[name][rows].tolist()
    for end in ("low", "high"):
        name = f"{end}_{made_channel}"
        assert column(made, name) == mixed_cohort.table[name][rows].tolist()
    assert np.array_equal(made.masks, mixed_cohort.masks[rows])
    assert np.array_equal(made.channel(made_channel), mixed_cohort.channel(shown)[rows])


@pytest.mark.parametrize(
    ("way", "source", "modality", "unit"), [("translate", "m3", "CT", "HU"), ("back", "c3", "MR", "arbitrary")]
)
def test_between_modalities_a_sample_becomes_one_of_the_other(
    way: str, source: str, modality: str, unit: str, made_by: Made, mixed_cohort: Cohort
) -> None:
    """In its unit, with the median of its training windows; there is no true pair."""
    made = made_by(MODALITIES, mixed_cohort, way)
    assert (made.conditions, made.channels) == (("t1", "flair"), ("t1", "flair"))
    assert column(made, "made_from") == samples_of(mixed_cohort, (source,))
    assert set(column(made, "reference")) == {""}
    assert (made.modality, made.unit) == (modality, unit)
    rows = rows_of(mixed_cohort, made)
    for name in ("patient", "site", "label", "split", "fold", "slice", "spacing_mm"):
        assert column(made, name) == mixed_cohort.table[name][rows].tolist()
    low = 5 + (0 if modality == "MR" else -1000)  # between the training patients' 0 and 10
    windows = {"low_t1": low, "high_t1": low + 100, "low_flair": low + 1, "high_flair": low + 201}
    for name, value in windows.items():
        assert set(column(made, name)) == {value}
    assert np.array_equal(made.images, mixed_cohort.images[rows])
    assert np.array_equal(made.masks, mixed_cohort.masks[rows])


def test_there_and_back_is_the_source_again(made_by: Made, mixed_cohort: Cohort) -> None:
    made = made_by(MODALITIES, mixed_cohort, "cycle")
    rows = rows_of(mixed_cohort, made)
    assert column(made, "reference") == column(made, "made_from") == samples_of(mixed_cohort, ("m3",))
    assert (made.modality, made.unit) == ("MR", "arbitrary")
    for name in ("low_t1", "high_t1", "low_flair", "high_flair", "site", "label"):
        assert column(made, name) == mixed_cohort.table[name][rows].tolist()


def test_redraw_goes_both_ways_where_the_channels_are_the_same(made_by: Made, mixed_cohort: Cohort) -> None:
    """Each class is then made from the other, so that a classifier cannot tell them by having been drawn."""
    made = made_by(MODALITIES, mixed_cohort, "redraw")
    rows = rows_of(mixed_cohort, made)
    assert column(made, "made_from") == samples_of(mixed_cohort, ("m0", "m1")) + samples_of(mixed_cohort, ("c0", "c1"))
    other = {"MR": "CT", "CT": "MR"}
    assert column(made, "modality") == [other[name] for name in mixed_cohort.table["modality"][rows].tolist()]
    assert column(made, "unit") == ["HU"] * 6 + ["arbitrary"] * 6
    assert (made.modality, made.unit) == ("CT+MR", "HU+arbitrary")
    assert set(column(made, "reference")) == {""}
    assert set(column(made, "split")) == {"train"}
    check_augmentation(made, ["m3", "c3"])


def test_between_labels_the_label_changes_and_the_scanner_does_not(made_by: Made, mixed_cohort: Cohort) -> None:
    """Each keeps its own modality, unit and windows, also in a cohort of two modalities."""
    made = made_by(LABELS, mixed_cohort, "translate")
    rows = rows_of(mixed_cohort, made)
    assert column(made, "made_from") == samples_of(mixed_cohort, TEST, label="tumour-free")
    assert set(column(made, "label")) == {"tumour"}
    assert set(column(made, "reference")) == {""}
    for name in ("modality", "unit", "site", "low_t1", "high_t1", "low_flair", "high_flair"):
        assert column(made, name) == mixed_cohort.table[name][rows].tolist()
    assert not made.masks[:, 1:].any()  # nobody drew the tumour that was made


def test_a_tumour_that_is_made_to_vanish_leaves_no_mask(made_by: Made, mixed_cohort: Cohort) -> None:
    made = made_by(LABELS, mixed_cohort, "back")
    rows = rows_of(mixed_cohort, made)
    assert set(column(made, "label")) == {"tumour-free"}
    assert mixed_cohort.masks[rows, 1:].any(axis=(1, 2, 3)).all()
    assert not made.masks[:, 1:].any()
    assert np.array_equal(made.masks[:, 0], mixed_cohort.masks[rows, 0])
    assert column(made, "reference") == [""] * 4


def test_between_sites_each_modality_gets_the_windows_of_its_own_there(made_by: Made, mixed_cohort: Cohort) -> None:
    made = made_by(SITES, mixed_cohort, "redraw")
    rows = rows_of(mixed_cohort, made)
    north, south = ("m1", "c1"), ("m0", "c0")
    assert column(made, "made_from") == [n for names in (north, south) for n in _both(mixed_cohort, names)]
    assert column(made, "site") == ["south"] * 6 + ["north"] * 6
    for name in ("modality", "unit", "label"):
        assert column(made, name) == mixed_cohort.table[name][rows].tolist()
    low = {("south", "MR"): 0, ("south", "CT"): -1000, ("north", "MR"): 10, ("north", "CT"): -990}
    places = zip(column(made, "site"), column(made, "modality"), strict=True)
    assert column(made, "low_t1") == [low[place] for place in places]


def _both(cohort: Cohort, patients: tuple[str, ...]) -> list[str]:
    return samples_of(cohort, patients)


def test_two_conditions_at_once(made_by: Made, mixed_cohort: Cohort) -> None:
    """T1 of the north by MR → FLAIR of CT: another channel, another modality, and so no pair."""
    gan = between({"channels": ("t1",), "modality": "MR", "site": "north"}, {"channels": ("flair",), "modality": "CT"})
    made = made_by(gan, mixed_cohort, "translate")
    assert column(made, "made_from") == samples_of(mixed_cohort, ("m3",))
    assert (made.channels, made.conditions, made.unit, made.modality) == (("flair",), ("t1",), "HU", "CT")
    assert set(column(made, "reference")) == {""}
    assert set(column(made, "low_flair")) == {-994.0}
    redrawn = made_by(gan, mixed_cohort, "redraw")  # FLAIR cannot be made to look like T1 under the name FLAIR
    assert column(redrawn, "made_from") == samples_of(mixed_cohort, ("m1",))


def test_a_pair_within_one_domain_is_known_where_the_other_holds_it_too(made_by: Made, mixed_cohort: Cohort) -> None:
    """T1 anywhere → FLAIR of the north: the samples of the north have their pair, the others become of the north."""
    gan = between({"channels": ("t1",)}, {"channels": ("flair",), "site": "north"})
    everyone = made_by(gan, mixed_cohort, "translate", reconstruct_split="train")
    sites = mixed_cohort.table["site"][rows_of(mixed_cohort, everyone)].tolist()
    assert column(everyone, "reference") == [
        name if site == "north" else "" for name, site in zip(column(everyone, "made_from"), sites, strict=True)
    ]
    assert set(column(everyone, "site")) == {"north"}
    own = mixed_cohort.table["low_flair"][rows_of(mixed_cohort, everyone)].tolist()
    kinds = column(everyone, "modality")
    north = {"MR": 11.0, "CT": -989.0}
    assert column(everyone, "low_flair") == [
        low if site == "north" else north[kind] for low, site, kind in zip(own, sites, kinds, strict=True)
    ]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_whose_samples_are_translated_is_a_setting(split: str, made_by: Made, mixed_cohort: Cohort) -> None:
    for way in ("translate", "back", "cycle"):
        made = made_by(MODALITIES, mixed_cohort, way, reconstruct_split=split)
        assert set(column(made, "split")) == {split}
        kind = "CT" if way == "back" else "MR"
        assert rows_of(mixed_cohort, made) == mixed_cohort.rows(split=split, modality=kind).tolist()


def test_translations_of_test_patients_may_not_join_a_training_set(made_by: Made, mixed_cohort: Cohort) -> None:
    with pytest.raises(LeakError, match="m3"):
        check_augmentation(made_by(MODALITIES, mixed_cohort, "translate"), ["m3", "c3"])


def test_nobody_to_translate(made_by: Made, mixed_cohort: Cohort) -> None:
    without = mixed_cohort.select(np.setdiff1d(np.arange(len(mixed_cohort)), mixed_cohort.rows(patient="m3")))
    with pytest.raises(CohortError, match="expected samples to 'translate', found none"):
        made_by(MODALITIES, without, "translate", trained_on=mixed_cohort)
    assert len(made_by(MODALITIES, without, "back", trained_on=mixed_cohort)) == 3


def test_a_cohort_that_does_not_know_the_other_domain(made_by: Made, mixed_cohort: Cohort) -> None:
    """Whose windows should a translation have, then? The message names the setting."""
    only_mr = mixed_cohort.select(mixed_cohort.rows(modality="MR"))
    with pytest.raises(CohortError, match=r"gan\.target\.modality: expected training samples of modality 'CT'"):
        made_by(MODALITIES, only_mr, "translate", trained_on=mixed_cohort)
    assert len(made_by(MODALITIES, only_mr, "cycle", trained_on=mixed_cohort)) == 3


def test_real_samples_only(made_by: Made, mixed_cohort: Cohort) -> None:
    mixed = mixed_cohort.select(np.arange(len(mixed_cohort)))
    mixed.table["origin"][mixed.rows(patient="m0")] = "synthetic"
    sources = column(made_by(MODALITIES, mixed, "redraw", trained_on=mixed_cohort), "made_from")
    assert sources == samples_of(mixed_cohort, ("m1",)) + samples_of(mixed_cohort, ("c0", "c1"))
