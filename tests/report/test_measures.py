"""Measurements as tables: families, arms, floors, marks of the best and of a loss, numbers and names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthoma.records import Measurement
from synthoma.report.families import FAMILIES, family_of
from synthoma.report.measures import Methods, family_tables, format_value, measure_label
from synthoma.report.tables import Cell


def measured(name: str, value: float | None, arm: str, better: Any = "higher", **more: Any) -> Measurement:
    return Measurement(name, value, None, None, 4, 2, arm, better=better, **{"region": "body", **more})


def test_the_gan_comes_first_the_baselines_last_and_the_best_is_marked() -> None:
    found = [
        measured("mae", 4.0, "source image", "lower"), measured("mae", 2.0, "unet-l1", "lower"),
        measured("mae", 3.0, "synthetic", "lower"), measured("mae", 2.0, "least squares", "lower"),
    ]  # fmt: skip
    (table,) = family_tables("similarity", found, Methods.of(found))
    assert [row[0] for row in table.rows] == ["synthetic", "unet-l1", "source image", "least squares"]
    assert table.main_row == 0
    cells = [row[1] for row in table.rows]
    assert all(isinstance(cell, Cell) for cell in cells)
    assert [cell.best for cell in cells if isinstance(cell, Cell)] == [False, True, False, True]
    assert [cell.flag for cell in cells if isinstance(cell, Cell)] == [
        "worse than unet-l1 and least squares",
        "",
        "",
        "",
    ]


def test_a_floor_stands_below_its_arm_and_competes_with_none() -> None:
    found = [
        measured("kid", 0.1, "unet-l1", "lower", compared="real test"),
        measured("kid", 0.0, "real vs real", "lower", compared="floor of unet-l1"),
        measured("kid", 0.3, "synthetic", "lower", compared="real test"),
        measured("kid", 0.01, "real vs real", "lower", compared="floor of synthetic"),
    ]
    (table,) = family_tables("distribution", found, Methods.of(found))
    assert [row[0] for row in table.rows] == [
        "synthetic", "real vs real, floor of synthetic", "unet-l1", "real vs real, floor of unet-l1",
    ]  # fmt: skip
    assert [row[1].best for row in table.rows if isinstance(row[1], Cell)] == [False, False, True, False]


def test_differences_carry_their_sign_and_a_loss_its_mark() -> None:
    found = [
        measured("ssim-difference", 0.1, "synthetic", compared="source image"),
        measured("ssim-difference", -0.1, "synthetic", compared="least squares"),
    ]
    (table,) = family_tables("similarity", found, Methods.of(found))
    assert table.columns[:2] == ("Difference", "SSIM\u00a0↑")
    assert [row[0] for row in table.rows] == ["synthetic − source image", "synthetic − least squares"]
    cells = [row[1] for row in table.rows if isinstance(row[1], Cell)]
    assert [(cell.text, cell.flag) for cell in cells] == [("+0.100", ""), ("−0.100", "worse")]


def test_no_arm_beats_another_that_was_measured_against_other_images() -> None:
    found = [
        measured("kid", 0.3, "synthetic", "lower", compared="real test"),
        measured("kid", 0.1, "transplant", "lower", compared="real train"),
    ]
    (table,) = family_tables("distribution", found, Methods.of(found))
    assert [(row[1].best, row[1].flag) for row in table.rows if isinstance(row[1], Cell)] == [(False, "")] * 2


def test_wide_families_are_cut_into_tables_that_a_page_holds() -> None:
    names = ("accuracy", "auc", "f1", "brier", "specificity", "sensitivity", "balanced-accuracy", "precision")
    found = [measured(name, 0.5, "real", region="") for name in names]
    tables = family_tables("utility", found, Methods.of(found))
    assert [len(table.columns) for table in tables] == [6, 6]
    assert sum(len(table.columns) - 2 for table in tables) == len(names)


def test_measures_compared_with_different_things_have_tables_of_their_own() -> None:
    found = [
        measured("spectrum-distance", 0.3, "synthetic", "lower", compared="real test"),
        measured("spectrum-distance", 0.1, "real vs real", "lower", compared="floor of synthetic"),
        measured("sharpness", 0.3, "synthetic", "", compared="real test"),
        measured("checkerboard", 0.3, "synthetic", "lower", compared="white noise"),
    ]
    tables = family_tables("structure", found, Methods.of(found))
    assert [table.columns[1:-1] for table in tables] == [
        ("Spectrum distance\u00a0↓", "Sharpness"), ("Checkerboard\u00a0↓",),
    ]  # fmt: skip
    assert tables[1].caption == "Over the body, against white noise"


@given(st.sampled_from(sorted(FAMILIES)), st.text(min_size=1, max_size=12))
def test_every_name_has_one_family(family: str, tail: str) -> None:
    starts = FAMILIES[family][1] or ("zzz",)
    assert family_of(measured(f"{starts[0]}-{tail}", 1.0, "a")) == family


def test_precision_belongs_to_the_generator_in_a_region_and_else_to_the_classifier() -> None:
    assert family_of(measured("improved-precision", 1.0, "synthetic", region="frame")) == "distribution"
    assert family_of(measured("precision", 1.0, "synthetic", region="")) == "utility"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.61274, "0.613"), (19.24, "19.2"), (9.876, "9.88"), (151.2, "151"), (-0.018, "−0.018"), (0.0, "0.000"),
     (-0.0008, "−0.00080"), (0.000012, "1.2e−5"), (1234.5, "1234"), (None, "undefined"), (1.0, "1.00")],
)  # fmt: skip
def test_values_are_written_with_three_digits(value: float | None, text: str) -> None:
    assert format_value(value) == text


def test_names_are_written_as_the_field_does() -> None:
    assert [measure_label(n) for n in ("ssim[flair]", "frechet-distance", "mae-relative", "moon_phase")] == [
        "SSIM, flair", "Fréchet distance", "MAE relative", "Moon phase",
    ]  # fmt: skip
