"""The parts of the page: choice of rows, pictures, tables of measurements, curves, the log."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthoma.errors import InputError
from synthoma.records import Cohort, Measurement
from synthoma.report import ReportContent, read_log
from synthoma.report.figures import curve_charts
from synthoma.report.gallery import edit_gallery, real_strip, reconstruction_galleries, spread_ranks
from synthoma.report.learning import learning_charts
from synthoma.report.measures import FAMILIES, Methods, family_of, family_tables, format_value, measure_label
from synthoma.report.page import picture_width
from synthoma.report.pictures import Frame, difference_picture, grey_picture, plane_index
from synthoma.report.tables import Cell, channel_table, cohort_table, lineage_table, settings_table
from synthoma.similarity import psnr_db, ssim


def pixels_of(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def svg_of(uri: str) -> str:
    return base64.b64decode(uri.split(",", 1)[1]).decode()


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), st.integers(3, 9))
def test_ranks_hold_best_median_worst_and_no_rank_twice(patients: list[str], count: int) -> None:
    ranks = spread_ranks(patients, count)
    n = len(patients)
    assert ranks == sorted(set(ranks))
    assert len(ranks) == min(n, count)
    assert {0, (n - 1) // 2, n - 1} <= set(ranks)
    shown = {patients[rank] for rank in ranks}
    assert len(shown) >= min(len(set(patients)), count - 3)


def test_ranks_of_distinct_patients_are_evenly_spaced() -> None:
    assert spread_ranks([f"p{i}" for i in range(61)], 7) == [0, 10, 20, 30, 40, 50, 60]


def test_gallery_shows_the_best_the_median_and_the_worst(real: Cohort, content: ReportContent) -> None:
    made = content.synthetic["reconstruct"]
    (shown,) = reconstruction_galleries(real, made, {"unet-l1": content.synthetic["unet-l1"]})
    scores = {}
    for row in real.rows(split="test"):
        i = made.table["reference"].tolist().index(real.table["id"][row])
        pair = (real.channel("flair")[row], made.channel("flair")[i], 2.0, real.body(row))
        scores[ssim(*pair)] = (real.table["patient"][row], f"SSIM {ssim(*pair):.3f} · {psnr_db(*pair):.1f} dB")
    for position, score in ((0, max(scores)), (-1, min(scores))):
        assert shown.rows[position].header == scores[score][0]
        assert shown.rows[position].pictures[2].caption == scores[score][1]
    assert [text for row in shown.rows for text in row.details if "median" in text] == ["rank 9 of 18 · median"]
    assert {row.header for row in shown.rows} == {f"P{n}" for n in range(12, 18)}
    assert "Not cherry-picked: all 18 images of 6 test patients" in shown.rule
    assert shown.columns == ("T1, condition", "FLAIR, real", "FLAIR, synthetic", "FLAIR, unet-l1", "|real − synthetic|")


def test_images_of_training_patients_are_called_so(real: Cohort, content: ReportContent) -> None:
    made = content.synthetic["reconstruct"]
    table = {**real.table, "split": np.full(len(real), "train", dtype=object)}
    (shown,) = reconstruction_galleries(replace(real, table=table), made, {})
    assert "non-test patients" in shown.rule
    assert "may have been trained on those shown" in shown.rule


def test_a_rival_without_an_image_leaves_its_place_empty(real: Cohort, content: ReportContent) -> None:
    rival = content.synthetic["unet-l1"].select(np.arange(2))
    (shown,) = reconstruction_galleries(real, content.synthetic["reconstruct"], {"unet-l1": rival})
    assert {len(row.pictures) for row in shown.rows} == {len(shown.columns)}
    assert any(row.pictures[3].caption == "not made" for row in shown.rows)


def test_transplants_stand_beside_their_host_and_donor(real: Cohort, content: ReportContent) -> None:
    shown = edit_gallery(real, content.synthetic["transplant"], "transplant")
    assert shown is not None
    assert shown.columns == ("FLAIR, lesion's donor", "T1, real (condition)", "FLAIR, real", "FLAIR, synthetic")
    assert len(shown.rows) == 4
    for row in shown.rows:
        assert row.header != "P00"
        assert row.details == ("slice 60", "lesion of P00, slice 82")
        assert row.pictures[-1].outline
    removed = edit_gallery(real, content.synthetic["remove"], "remove")
    assert removed is not None
    assert removed.columns[0] == "T1, real (condition)"
    assert all(picture.outline for row in removed.rows for picture in row.pictures)


def test_three_dimensional_cohorts_show_the_slice_with_most_lesion(real: Cohort, content: ReportContent) -> None:
    def deep(cohort: Cohort) -> Cohort:
        masks = np.repeat(cohort.masks[:, :, None], 12, axis=2)
        masks[:, 1:, :7] = 0
        return replace(cohort, images=np.repeat(cohort.images[:, :, None], 12, axis=2), masks=masks)

    volumes = deep(real)
    assert plane_index(volumes.lesion(1), volumes.body(1)) == 7
    assert plane_index(np.zeros((3, 4, 4)), np.arange(3)[:, None, None] * np.ones((3, 4, 4))) == 2
    (shown,) = reconstruction_galleries(volumes, deep(content.synthetic["reconstruct"]), {})
    assert shown.rows[0].pictures[0].width > 30
    assert any(row.details[0] == "slice 7" for row in shown.rows)
    for method in ("remove", "transplant"):
        edited = edit_gallery(volumes, deep(content.synthetic[method]), method)
        assert edited is not None
        assert all(row.details[0] == "slice 7" for row in edited.rows)  # where the lesion is, or was
        assert all(row.pictures[-1].outline for row in edited.rows)
    assert real_strip(volumes) is not None


def test_grey_values_are_the_window_without_a_stretch() -> None:
    image = np.array([[-1.0, 0.0, 1.0, 3.0, -3.0]])
    assert pixels_of(grey_picture(image, Frame(0, 1, 0, 5), "x").uri).tolist() == [[0, 128, 255, 255, 0]]
    faint = np.full((4, 4), -0.5)
    assert set(pixels_of(grey_picture(faint, Frame(0, 4, 0, 4), "x").uri).ravel()) == {64}


def test_differences_have_one_scale() -> None:
    x, y = np.zeros((1, 3)), np.array([[0.0, -0.25, 0.9]])
    assert pixels_of(difference_picture(x, y, Frame(0, 1, 0, 3), "x").uri).tolist() == [[0, 128, 255]]


def test_the_outline_surrounds_the_lesion_where_it_is_shown() -> None:
    lesion = np.zeros((20, 20), dtype=bool)
    lesion[8:12, 6:10] = True
    frame = Frame(5, 20, 5, 20)
    points = grey_picture(np.zeros((20, 20)), frame, "x", lesion).outline.strip("MZ").split()
    xy = np.array([[float(v) for v in point.split(",")] for point in points])
    assert xy.min(axis=0).tolist() == [1.0, 3.0]  # the lesion's left and upper edge, 5 pixels off the frame's
    assert xy.max(axis=0).tolist() == [5.0, 7.0]
    assert grey_picture(np.zeros((20, 20)), frame, "x", np.zeros((20, 20))).outline == ""


def test_a_frame_holds_every_body_and_shrinks_large_images() -> None:
    masks = np.zeros((2, 600, 600), dtype=bool)
    masks[0, 10:300, 20:30] = masks[1, 50:60, 5:580] = True
    frame = Frame.around(masks)
    assert (frame.top, frame.bottom, frame.left, frame.right) == (7, 303, 2, 583)
    assert frame.shrink == 3
    assert max(frame.cut(np.ones((600, 600))).shape) <= 256
    assert Frame.around(np.zeros((1, 5, 7))) == Frame(0, 5, 0, 7)


@given(st.integers(1, 8), st.integers(8, 256))
def test_pictures_fit_the_page_at_a_whole_zoom_where_one_fits(columns: int, pixels: int) -> None:
    width = picture_width(columns, pixels)
    assert width > 0
    assert columns * width + 132 <= 1040
    if pixels * columns + 6 * columns + 132 <= 1040:
        assert width % pixels == 0


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
