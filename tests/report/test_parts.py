"""The parts of the page: tables of cohorts and settings, learning curves, curves, the log."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthoma.errors import InputError
from synthoma.records import Cohort
from synthoma.report import ReportContent, read_log
from synthoma.report.figures import curve_charts
from synthoma.report.learning import learning_charts
from synthoma.report.tables import channel_table, cohort_table, lineage_table, settings_table


def svg_of(uri: str) -> str:
    return base64.b64decode(uri.split(",", 1)[1]).decode()


def test_the_cohort_table_counts_patients_once(real: Cohort) -> None:
    rows = [tuple(str(cell) for cell in row) for row in cohort_table(real).rows]
    assert rows[-1] == ("all", "", "", "18", "54")
    assert sum(int(row[4]) for row in rows[:-1]) == 54
    assert [row[0] for row in rows[:-1]] == ["train"] * 4 + ["validation"] * 4 + ["test"] * 4
    oslo = len({p for p, s, x in zip(*(real.table[c] for c in ("patient", "split", "site")), strict=True)
                if (s, x) == ("test", "Oslo")})  # fmt: skip
    assert ("test", "Oslo", "tumour", str(oslo), str(2 * oslo)) in rows


def test_the_channel_table_leads_back_to_the_scanner(real: Cohort) -> None:
    table = {**real.table, "low_t1": np.zeros(len(real)), "high_t1": np.full(len(real), 900.0)}
    del table["low_flair"]
    rows = channel_table(replace(real, table=table)).rows
    assert rows[0] == ("t1", "0", "900")
    assert rows[2][:2] == ("flair", "not recorded")


def test_values_of_two_scanners_are_never_one_median(real: Cohort) -> None:
    ct = np.arange(len(real)) < 20
    low = np.where(ct, -1000.0, 3.0)
    table = {**real.table, "modality": np.where(ct, "CT", "MR"), "unit": np.where(ct, "HU", "arbitrary")}
    table |= {f"low_{name}": low for name in real.channels}
    found = channel_table(replace(real, table=table))
    first = real.channels[0]
    assert [row[:2] for row in found.rows[:2]] == [(f"{first}, CT, HU", "-1000"), (f"{first}, MR, arbitrary", "3")]
    assert len(found.rows) == 2 * len(real.channels)
    assert "(" not in found.caption.split("became")[0]


def test_lineages_are_listed_once_with_the_patients_they_saw(real: Cohort, content: ReportContent) -> None:
    table = lineage_table({"real": real, "a": content.synthetic["reconstruct"], "b": content.synthetic["transplant"]})
    assert table is not None
    assert [(row[1], row[3], row[4]) for row in table.rows] == [("prepare", "real", "18"), ("generate", "a, b", "9")]
    assert "and 1 more" in str(table.rows[0][2])


def test_settings_in_words() -> None:
    table, note = settings_table("steps: [{step: n4, shrink: 2}, {step: resize}]\ngan: {a: {b: yes}, c: [t1, mask]}\n")
    assert table is not None
    assert table.rows == (("Steps", "n4 (shrink 2) → resize"), ("Gan", "a (b yes); c [t1, mask]"))
    assert note == ""
    for wrong, said in (("", "no recipe was given"), ("a: [1", "no valid YAML"), ("- a", "holds no settings")):
        table, note = settings_table(wrong)
        assert table is None
        assert said in note


def test_learning_curves_mark_the_checkpoint_that_was_kept() -> None:
    log = [{"kind": "validation", "epoch": e, "ssim": s, "psnr_db": 20.0, "best": b}
           for e, s, b in ((1, 0.41, True), (2, 0.5234, True), (3, 0.5, False))]  # fmt: skip
    charts = learning_charts(log, {})
    assert [chart.caption for chart in charts] == ["SSIM, validation patients", "PSNR, validation patients"]
    assert "best 0.523 at epoch 2" in charts[0].alt
    assert "this run, best 0.5234" in svg_of(charts[0].uri)


def test_losses_are_means_of_epochs_and_gaps_do_no_harm() -> None:
    log: list[dict[str, Any]] = [
        {"kind": "train", "epoch": 1, "losses": {"l1": 0.2}}, {"kind": "train", "epoch": 1, "losses": {"l1": 0.4}},
        {"kind": "train", "epoch": 2, "losses": {"l1": float("nan"), "gan": 1.0}}, {"kind": "train", "epoch": 3},
        {"kind": "checkpoint"}, {},
    ]  # fmt: skip
    (losses,) = learning_charts(log, {"rival": []})
    assert "l1 from 0.3 to 0.3" in losses.alt
    assert learning_charts([], {}) == []


def test_a_curve_is_drawn_with_its_axis_inside_or_beside_it() -> None:
    inside = {"spectrum": {"frequency": [0.1, 0.2], "real": [3.0, 1.0]}}
    beside = {"spectrum": {"real": [3.0, 1.0]}, "spectrum_frequency": [0.1, 0.2]}
    assert curve_charts(inside) == curve_charts(beside)
    charts, left = curve_charts({**inside, "nested": {"a": {"b": 1}}, "uneven": {"x": [1], "y": [1, 2]}, "rows": [{}]})
    assert [chart.caption for chart in charts] == ["Spectrum"]
    assert left == ["nested", "uneven", "rows"]


def test_reads_a_log_and_drops_a_half_written_last_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [{"kind": "train", "epoch": 1}, {"kind": "validation", "epoch": 1}]
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n\n{"kind": "tra', encoding="utf-8")
    assert read_log(path) == lines
    path.write_text('{"kind": "tr\n{}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"log\.jsonl, line 1: expected a JSON object, found"):
        read_log(path)
    path.write_text("[1]\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1"):
        read_log(path)
    with pytest.raises(InputError, match="expected a training log"):
        read_log(tmp_path / "none.jsonl")
