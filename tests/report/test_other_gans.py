"""Pages of translations, of images from noise, and of a study without held-out patients."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthoma.records import Cohort, Measurement
from synthoma.report import ReportContent, write_report
from synthoma.report.families import family_of
from synthoma.report.learning import learning_charts
from synthoma.report.measures import Methods, family_tables
from synthoma.report.sections import sample_gallery, sections, translation_gallery
from synthoma.report.shown import aspect_of, frame_of
from synthoma.report.tables import Cell, cohort_table
from synthoma.report.terms import definitions
from synthoma.report.words import head_numbers, made_sentence, summary, unjudged
from synthoma.similarity import ssim


def text_of(content: ReportContent, folder: Path) -> str:
    html = write_report(folder / "r.html", content, overwrite=True).read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def value(
    name: str, arm: str, number: float, compared: str, region: str = "frame", better: Any = "lower"
) -> Measurement:
    return Measurement(name, number, number * 0.9, number * 1.1, 18, 6, arm, region, "", better, "how", compared)


CYCLE_MEASUREMENTS = [
    value("ssim", "translate", 0.5, "real test; flair", "body", "higher"),
    value("ssim", "source image", 0.4, "real test; flair", "body", "higher"),
    value("ssim", "back", 0.7, "real test; t1", "body", "higher"),
    value("ssim", "source image", 0.9, "real test; t1", "body", "higher"),
    value("ssim", "cycle", 0.83, "the image it began with, there and back (real test); t1", "body", "higher"),
    value("frechet-distance", "translate", 242.0, "real test (the same patients; flair)"),
    value("frechet-distance", "source of translate (untranslated)", 359.0, "real test (the same patients; flair)"),
    value("frechet-distance", "real vs real", 335.0, "floor of translate"),
    value("recognised-as-target", "translate", 0.9, "channel: t1 or flair", "", "higher"),
    value("recognised-as-target", "source of translate (untranslated)", 0.02, "channel: t1 or flair", "", "higher"),
    value("recognition-balanced-accuracy", "real", 0.97, "channel: t1 or flair", "", "higher"),
]


def test_a_translation_stands_between_its_source_and_the_true_image(real: Cohort, fakes: SimpleNamespace) -> None:
    arms = fakes.cycle_content(real).synthetic
    shown = translation_gallery(real, arms["translate"], "translate", [arms["cycle"]])
    assert shown is not None
    assert shown.columns == ("T1, real source", "FLAIR, translated", "T1, back again", "FLAIR, real")
    scores = {}
    for i, key in enumerate(arms["translate"].table["reference"].tolist()):
        row = real.table["id"].tolist().index(key)
        trip = arms["cycle"].table["reference"].tolist().index(key)
        made, again = arms["translate"].images[i, 0], arms["cycle"].images[trip, 0]
        body = real.body(row)
        scores[ssim(real.channel("flair")[row], made, 2.0, body)] = ssim(real.channel("t1")[row], again, 2.0, body)
    best = max(scores)
    assert [picture.caption for picture in shown.rows[0].pictures] == [
        "", f"SSIM {best:.3f}", f"SSIM {scores[best]:.3f}", "",
    ]  # fmt: skip
    assert shown.rows[0].details[1] == "rank 1 of 18 · best"
    assert "all 18 images of test patients were ordered by SSIM" in shown.rule
    back = translation_gallery(real, arms["back"], "back", [arms["cycle"]])
    assert back is not None
    assert back.columns == ("FLAIR, real source", "T1, translated", "T1, real")  # nobody went there and back from FLAIR


def test_rivals_of_a_translation_have_a_column(real: Cohort, fakes: SimpleNamespace) -> None:
    arms = dict(fakes.cycle_content(real).synthetic)
    arms["pix"] = fakes.made(real, real.rows(split="test")[:4], 0.8)
    ((title, (shown, _), _),) = sections(real, arms)
    assert title == "Translations"
    assert shown.columns[3] == "FLAIR, pix"
    captions = {row.pictures[3].caption for row in shown.rows}
    assert "not made" in captions
    assert len(captions) > 1


def test_a_translation_without_true_images_shows_none(real: Cohort, fakes: SimpleNamespace) -> None:
    modality = np.where(np.arange(len(real)) < 27, "MR", "CT")
    two = replace(
        real, table={**real.table, "modality": modality, "split": np.full(len(real), "train")}, modality="CT+MR"
    )
    made = fakes.translation(two, "t1", "t1", "train", modality="CT").select(np.arange(27))
    trips = fakes.translation(two, "t1", "t1", "train").select(np.arange(27, len(real)))
    shown = translation_gallery(two, made, "translate", [trips])  # of the other domain: none of these came back
    assert shown is not None
    assert shown.columns == ("T1 MR, real source", "T1 CT, translated")
    assert shown.caption == "translate: T1 MR → T1 CT"
    assert "No true image exists" in shown.rule
    assert "These patients were not held out" in shown.rule
    assert made_sentence(made, two) == "From T1 (MR) the GAN, trained on 9 patients, made T1 (CT)."


def test_images_from_noise_stand_above_real_ones_of_their_label(real: Cohort, fakes: SimpleNamespace) -> None:
    shown = sample_gallery(real, fakes.samples(real), "sample")
    assert [(row.header, row.details[0]) for row in shown.rows] == [
        ("tumour", "synthetic, sample"), ("tumour", "real, train patients"),
        ("tumour-free", "synthetic, sample"), ("tumour-free", "real, train patients"),
    ]  # fmt: skip
    assert all(len(row.pictures) == len(shown.columns) == 8 for row in shown.rows)
    assert "sample/00001," not in shown.rows[0].pictures[0].alt
    assert shown.rows[0].pictures[0].alt.endswith("sample/00001")
    assert shown.rows[0].pictures[-1].alt.endswith("sample/00023")
    patients = {re.split(r"[-/]", picture.alt.rpartition(", ")[2])[0] for picture in shown.rows[1].pictures}
    assert len(patients) == 8
    few = sample_gallery(real, fakes.samples(real, 6), "sample")
    assert [bool(picture.uri) for picture in few.rows[0].pictures] == [True] * 3 + [False] * 5
    unknown = fakes.samples(real, 2)
    unknown.table["label"][:] = "cyst"
    assert not any(picture.uri for picture in sample_gallery(real, unknown, "sample").rows[1].pictures)


def test_pixels_that_are_not_square_are_not_shown_square(real: Cohort, tmp_path: Path) -> None:
    tall = replace(real, table={**real.table, "spacing_mm": np.full(len(real), "3 2.5 2")})
    assert aspect_of(tall, 0) == 1.25
    assert frame_of(tall, [0, 1]).aspect == 1.25
    assert aspect_of(replace(real, table={**real.table, "spacing_mm": np.full(len(real), "")}), 0) == 1
    html = write_report(tmp_path / "r.html", ReportContent("Tall", tall)).read_text(encoding="utf-8")
    width, height, ratio = map(
        float, re.findall(r'width="(\d+)" height="(\d+)" style="aspect-ratio: \d+ / ([\d.]+)"', html)[0]
    )
    assert ratio == pytest.approx(1.25 * height)
    assert width > 0


def test_the_page_of_a_translation(real: Cohort, tmp_path: Path, fakes: SimpleNamespace) -> None:
    content = fakes.cycle_content(real, measurements=CYCLE_MEASUREMENTS)
    assert [number.name for number in head_numbers(content)] == [
        "Patients", "Images", "SSIM over the body", "Recognised as target",
    ]  # fmt: skip
    text = " ".join(summary(content))
    assert "From T1 the GAN, trained on 9 patients, made FLAIR." in text
    assert "the mean SSIM is 0.500 (95 % interval 0.450 to 0.550), better than the source image (0.400)" in text
    assert "There and back, the mean SSIM to the image it began with is 0.830" in text
    assert "is 242 (95 % interval 218 to 266), beside 359 for the images before translation and a floor of 335" in text
    assert "(channel: t1 or flair) takes 90 % of the images for what they claim to be" in text
    assert "it is right for 97 % (balanced); of their untranslated sources it takes 2 % for that" in text
    page = text_of(content, tmp_path)
    for words in ("Translations", "translate: T1 → FLAIR", "Recognition", "By channel: t1 or flair", "Zhu, T. Park"):
        assert words in page
    for words in ("with conditional adversarial", "Gulrajani", "not available: no synthetic image"):
        assert words not in page


def test_directions_have_tables_of_their_own() -> None:
    tables = family_tables("similarity", CYCLE_MEASUREMENTS, Methods.of(CYCLE_MEASUREMENTS))
    assert [table.caption for table in tables] == [
        "Over the body, against real test; flair",
        "Over the body, against real test; t1",
        "Over the body, against the image it began with, there and back (real test); t1",
    ]
    assert [[row[0] for row in table.rows] for table in tables] == [
        ["translate", "source image"], ["back", "source image"], ["cycle"],
    ]  # fmt: skip
    flags = [[row[1].flag for row in table.rows if isinstance(row[1], Cell)] for table in tables]
    assert flags == [["", ""], ["worse than source image", ""], [""]]


def test_a_source_stands_below_its_translation_and_above_its_floor() -> None:
    (table,) = family_tables("distribution", CYCLE_MEASUREMENTS, Methods.of(CYCLE_MEASUREMENTS))
    assert [row[0] for row in table.rows] == [
        "translate", "source of translate (untranslated)", "real vs real, floor of translate",
    ]  # fmt: skip


def test_nobody_wins_at_being_recognised() -> None:
    (table,) = family_tables("recognition", CYCLE_MEASUREMENTS, Methods.of(CYCLE_MEASUREMENTS))
    assert not [cell for row in table.rows for cell in row if isinstance(cell, Cell) and (cell.best or cell.flag)]
    assert {family_of(m) for m in CYCLE_MEASUREMENTS[8:]} == {"recognition"}


def test_the_page_of_images_from_noise(real: Cohort, tmp_path: Path, fakes: SimpleNamespace) -> None:
    found = [
        value("frechet-distance", "sample", 556.0, "real held-out (tumour, tumour-free)"),
        value("frechet-distance", "untrained", 1195.0, "real held-out (tumour, tumour-free)"),
        value("frechet-distance", "real vs real", 78.0, "floor of sample"),
        value("recognition-balanced-accuracy", "sample", 0.66, "label: tumour or tumour-free", "", "higher"),
        value("recognition-balanced-accuracy", "real", 0.73, "label: tumour or tumour-free", "", "higher"),
    ]
    content = fakes.sample_content(real, measurements=found)
    text = " ".join(summary(content))
    assert "From noise the GAN, trained on 9 patients, made FLAIR: 24 images, 12 tumour and 12 tumour-free." in text
    assert "is 556 (95 % interval 500 to 612), beside 1195 for untrained and a floor of 78.0" in text
    assert "takes 66 % of the images for the label that was asked for (balanced)" in text
    assert "of real test images it is right for 73 %" in text
    assert dict(definitions(content))["From noise"].endswith("they are of no patient⟦gulrajani2017wgangp⟧.")
    page = text_of(content, tmp_path)
    for words in ("From noise", "untrained: FLAIR for a requested label"):
        assert words in page
    assert "Reconstruct " not in page


def test_without_held_out_patients_the_page_says_so_first(real: Cohort, tmp_path: Path, fakes: SimpleNamespace) -> None:
    everybody = replace(real, table={**real.table, "split": np.full(len(real), "train")})
    content = replace(fakes.cycle_content(real), real=everybody, warnings=("similarity: no patient was held out.",))
    assert "Nothing here is judged. This run shows that the path works" in unjudged(content)
    page = text_of(content, tmp_path)
    assert page.index("No patient was held out") < page.index("Patients 18") < page.index("real images of 18 patients")
    assert "Nothing has been measured." in page
    assert unjudged(fakes.cycle_content(real)) == ""
    assert unjudged(ReportContent("Bare", everybody)) == ""


def test_curves_of_any_losses_and_any_validation_are_drawn(fakes: SimpleNamespace) -> None:
    log = fakes.log(fakes.cycle_losses, ssim=0.9, spectrum_distance=0.2)
    captions = [chart.caption for chart in learning_charts(log, {})]
    assert captions[:5] == [
        "Losses of what draws, mean of each epoch", "Losses of what judges, mean of each epoch",
        "SSIM, validation patients", "Spectrum distance, validation patients", "Diversity of a fixed draw",
    ]  # fmt: skip
    for name in fakes.cycle_losses:
        assert sum(name.replace("_", " ") in chart.alt for chart in learning_charts(log, {})) == 1
    few = fakes.log(("critic", "generator"))
    (losses, diversity, *_) = learning_charts(few, {"untrained": few})
    assert "critic from -0.25" in losses.alt  # below 0: no logarithm
    assert "untrained from 0.42" in diversity.alt
    assert not [chart for chart in learning_charts(few, {}) if "validation" in chart.caption]


def test_a_modality_is_a_column_where_there_are_several(real: Cohort) -> None:
    assert "Modality" not in cohort_table(real).columns
    two = replace(real, table={**real.table, "modality": np.where(np.arange(len(real)) < 27, "MR", "CT")})
    table = cohort_table(two)
    assert table.columns == ("Split", "Site", "Modality", "Label", "Patients", "Images")
    assert {len(row) for row in table.rows} == {6}
    assert sum(int(str(row[-1])) for row in table.rows[:-1]) == len(real)


def test_many_verdicts_on_other_arms_are_folded_away(real: Cohort, tmp_path: Path, fakes: SimpleNamespace) -> None:
    claims = [{"claim": f"{arm} is {i}", "verdict": "supported", "because": "so"}
              for arm in ("translate", "back") for i in range(8)]  # fmt: skip
    content = fakes.cycle_content(real, verdicts=claims)
    assert "Verdicts on the other arms (8)" in text_of(content, tmp_path)
    assert "Verdicts on the other arms" not in text_of(replace(content, verdicts=claims[:12]), tmp_path)
