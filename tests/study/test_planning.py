"""The plan of a study: against published counts, exact intervals and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from synthoma.commands import main
from synthoma.errors import SettingError
from synthoma.study.agreement import accuracy, icc
from synthoma.study.planning import (
    accuracy_width,
    calls_for_equivalence,
    calls_for_width,
    items_for_agreement,
    items_for_width,
    plan_lines,
    plan_table,
)


@pytest.mark.parametrize(("margin", "calls"), [(0.1, 214), (0.15, 96)])
def test_calls_to_show_equivalence(margin, calls):
    assert calls_for_equivalence(margin) == calls


@pytest.mark.parametrize("width", [0.1, 0.2, 0.3])
def test_calls_of_one_reader_are_as_few_as_can_be(width):
    n = calls_for_width(width)

    def exact(calls):
        found = accuracy(calls // 2, calls)
        return found.high - found.low

    assert exact(n) <= width < exact(n - 2)


def test_bonetts_formula_by_hand():
    """8 · 1.96² · 0.4² · 1.6² / (2 · 0.2²) + 1 = 158.4 for two ratings, ρ = 0.6."""
    assert items_for_agreement(0.2, 2, 0.6) == 159
    assert items_for_agreement(0.2, 1) is None


@pytest.mark.slow
def test_the_width_of_an_icc_is_as_planned():
    rng = np.random.default_rng(1)
    n = items_for_agreement(0.2, 3, 0.6)
    widths = []
    for _ in range(200):
        x = np.sqrt(0.6) * rng.normal(size=(n, 1)) + np.sqrt(0.4) * rng.normal(size=(n, 3))
        found = icc(x)["2,1"]
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(0.2, abs=0.02)


def test_items_are_the_fewest():
    for readers in (1, 3, 8):
        n = items_for_width(0.15, readers, general=False)
        assert accuracy_width(n, readers, general=False) <= 0.15 < accuracy_width(n - 1, readers, general=False)


def test_no_number_of_items_makes_up_for_too_few_readers():
    rows = {row.readers: row for row in plan_table(0.2)}
    assert rows[1].others is rows[1].agreement is None
    assert rows[3].others is None
    assert rows[8].others is not None
    assert rows[8].others > rows[8].these
    assert rows[1].these > rows[3].these > rows[12].these
    assert rows[2].agreement > rows[3].agreement > rows[8].agreement


@pytest.mark.slow
def test_the_width_of_an_accuracy_is_as_planned():
    """Right and wrong answers that correlate by 0.2 on one image, readers fixed."""
    rng, n, readers = np.random.default_rng(2), 100, 3
    found = []
    for _ in range(4000):
        # thresholding Gaussians that correlate by sin(0.2 π/2) gives answers that correlate by 0.2
        shared = np.sin(0.2 * np.pi / 2)
        z = np.sqrt(shared) * rng.normal(size=(n, 1)) + np.sqrt(1 - shared) * rng.normal(size=(n, readers))
        found.append((z > 0).mean())
    assert accuracy_width(n, readers, general=False) == pytest.approx(2 * 1.96 * np.std(found), rel=0.05)


def test_the_table_as_it_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        main(["study", "create", "--plan", "0.2"])
    said = capsys.readouterr().out
    assert left.value.code in (0, None)
    assert said.splitlines() == plan_lines(0.2, 0.1)
    assert "these readers" in said
    assert max(map(len, said.splitlines())) < 200


@pytest.mark.parametrize("width", [0, 0.01, 1, 3])
def test_a_width_that_is_none(width, capsys):
    with pytest.raises(SettingError, match="--plan: expected a width"):
        plan_table(width)
    with pytest.raises(SystemExit) as left:
        main(["study", "create", "--plan", str(width)])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert "--plan: expected a width" in said
    assert "Traceback" not in said
