"""Tables, claims, methods and check-lists: against numbers by hand, and saying no more than is known."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from synthoma.errors import OutputError
from synthoma.gans import CycleOptions, WassersteinOptions
from synthoma.records import Cohort, Measurement
from synthoma.report import ReportContent, write_report
from synthoma.report.checklist import LISTS, checklist_markdown, known
from synthoma.report.claims import claims
from synthoma.report.latex import _SPECIAL as SPECIAL
from synthoma.report.latex import escape, tabular
from synthoma.report.methods import methods
from synthoma.report.methods_gan import _cycle, _wasserstein
from synthoma.report.paper import paper_folder, write_paper
from synthoma.report.paper_tables import centres, classification, image_quality
from synthoma.report.printed import Number, to_csv
from synthoma.report.references import Cited, bibtex, cite, reference
from synthoma.report.verdicts import Claim, needed
from synthoma.report.works import WORKS

POOLED = "mean over 3 runs of 5 folds; 95 % BCa bootstrap of 40 patients, 2000 draws; in each fold: "


def number(name: str, value: float, low: float | None = None, high: float | None = None, **more: Any) -> Measurement:
    fields: dict[str, Any] = {"n_images": 400, "n_patients": 40, "arm": "synthetic", "region": "body"} | more
    return Measurement(name, value, low, high, **fields)


def utility(name: str, value: float, low: float | None, high: float | None, arm: str, compared: str = "real test",
            **more: Any) -> Measurement:  # fmt: skip
    return number(name, value, low, high, arm=arm, region="", compared=compared, **more)


SAME = "real (the same test images)"
PROTOCOL: Mapping[str, Any] = {
    "protocol": {
        "design": "kfold", "tested": [f"fold {f}" for f in range(5)], "runs": 3,
        "patients": {f"run {r} fold {f}": {"train": 28, "validation": 4, "test": 8}
                     for r in range(3) for f in range(5)},
        "values": [], "comparisons": [],
    }
}  # fmt: skip


def found(content: ReportContent, part: str) -> Claim:
    (one,) = [claim for claim in claims(content) if part in claim.claim]
    return one


@pytest.fixture
def pooled(content: ReportContent) -> ReportContent:
    """Three runs of five folds of which every claim of the study is true."""
    rows = [
        number("ssim", 0.941, 0.931, 0.95, compared="real test", method=POOLED),
        number("ssim-sd", 0.0011, compared="real test"),
        number("ssim", 0.95, 0.94, 0.96, compared="real test", region="frame"),
        number("psnr", 35.5, 34.9, 36.1, compared="real test", unit="dB"),
        number("psnr", 36.5, 35.9, 37.1, compared="real test", region="frame", unit="dB"),
        number("frechet-distance", 13.0, 11.0, 15.0, region="frame", compared="real test",
               method="inception-v3 (weights 0123456789abcdef), 2048 features"),
        number("frechet-distance", 5.0, region="frame", arm="real vs real", compared="floor of synthetic"),
        utility("accuracy", 0.85, 0.8, 0.9, "real"), utility("accuracy-sd", 0.02, None, None, "real"),
        utility("accuracy", 0.95, 0.93, 0.97, "real+synthetic"), utility("accuracy", 0.9, 0.88, 0.92, "synthetic"),
        utility("accuracy-difference", 0.1, 0.09, 0.11, "real+synthetic", SAME),
        utility("accuracy-difference-p-holm", 0.002, None, None, "real+synthetic", SAME),
        utility("accuracy-difference-p-naive", 1e-5, None, None, "real+synthetic", SAME),
        utility("sensitivity-difference", 0.1, 0.09, 0.11, "real+synthetic", SAME),
        utility("reader-realism", 4.7, 4.6, 4.8, "synthetic"), utility("reader-realism", 4.8, 4.7, 4.9, "real"),
        utility("reader-pearson", 0.9, 0.85, 0.95, "realism", "ssim"),
    ]  # fmt: skip
    return replace(content, measurements=rows, curves=PROTOCOL)


# numbers


@pytest.mark.parametrize(
    ("given_", "text", "interval"),
    [
        (Number(0.9534, 0.9411, 0.9622, 0.0041), "0.953 ± 0.004", "0.941 to 0.962"),
        (Number(-5.41, -9.0, 0.04, digits=1, sign=True), "−5.4", "−9.0 to +0.0"),
        (Number(3.06, digits=1, sign=True), "+3.1", ""),
        (Number(-0.001, digits=1), "0.0", ""),
        (Number(None), "undefined", ""),
        (Number(0.0004, p=True), "< 0.001", ""),
    ],
)
def test_a_number_is_printed_with_what_is_known_of_it(given_: Number, text: str, interval: str) -> None:
    assert (given_.text, given_.interval) == (text, interval)


def test_table_3_has_the_layout_and_the_numbers(pooled: ReportContent) -> None:
    table = image_quality(pooled)
    assert table is not None
    (row,) = csv.DictReader(io.StringIO(to_csv(table)))
    assert row["modality"] == "T1, mask → FLAIR"
    assert row["method"] == "Conditional GAN, reconstruct"
    assert [float(row[key]) for key in ("ssim_body", "ssim_body_sd", "ssim_body_low", "ssim_body_high")] == [
        0.941, 0.0011, 0.931, 0.95,
    ]  # fmt: skip
    assert (float(row["frechet"]), float(row["frechet_floor"])) == (13.0, 5.0)
    assert table.columns["frechet"] == "FID"
    assert "± SD over 3 runs" in table.notes[0]


def test_another_extractor_is_never_called_fid(content: ReportContent) -> None:
    table = image_quality(content)
    assert table is not None
    assert "FID" not in table.columns.values()
    assert any("never against a published FID" in note for note in table.notes)
    assert found(content, "FID").verdict == "not measured"
    assert "no SD over runs is known" in table.notes[0]
    methods_ = [str(row["method"]) for row in table.rows]
    assert methods_[:2] == ["Conditional GAN, reconstruct", "Conditional GAN, unet-l1"]
    assert methods_[2:] == [f"{name} (no GAN)" for name in ("Source image", "Least squares", "Mean training image")]


def test_table_4_has_the_arms_the_difference_and_its_p(pooled: ReportContent) -> None:
    table = classification(pooled)
    assert table is not None
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["trained_on"] for row in rows] == ["Real", "Real + synthetic", "Synthetic only"]
    assert [row["accuracy"] for row in rows] == ["85", "95", "90"]
    assert (rows[1]["difference"], rows[1]["difference_low"], rows[1]["p"]) == ("10", "9", "0.002")
    assert rows[0]["difference"] == rows[0]["p"] == ""
    assert "corrected resampled t-test" in table.notes[-1]


def test_without_a_classifier_or_images_there_are_no_tables(content: ReportContent) -> None:
    nothing = replace(content, measurements=())
    assert image_quality(nothing) is classification(nothing) is centres(nothing) is None
    assert {claim.kind for claim in claims(nothing)} == {"none"}
    assert all(claim.because for claim in claims(nothing))


def by_site(pooled: ReportContent, gains: Mapping[str, float], low: float) -> ReportContent:
    curve = dict(PROTOCOL["protocol"]) | {
        "design": "leave-one-site-out", "tested": [f"site {name}" for name in gains], "runs": 2,
        "patients": {f"run {r} site {name}": {"train": 9, "validation": 1, "test": 5}
                     for r in (0, 1) for name in gains},
        "values": [{"name": "accuracy-difference", "region": "", "arm": "real+synthetic", "compared": SAME,
                    "values": [[gain - 0.01, gain + 0.01] for gain in gains.values()]}],
    }  # fmt: skip
    mean = sum(gains.values()) / len(gains)
    rows = [m for m in pooled.measurements if m.name != "accuracy-difference"]
    rows.append(utility("accuracy-difference", mean, low, 2 * mean - low, "real+synthetic", SAME))
    return replace(pooled, measurements=rows, curves={"protocol": curve})


def test_every_centre_is_printed(pooled: ReportContent) -> None:
    content = by_site(pooled, {"=Oslo": 0.08, "Göttingen": 0.04}, 0.01)
    table = centres(content)
    assert table is not None
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["centre"] for row in rows] == ["'=Oslo", "Göttingen"], "no cell is a formula"
    assert [float(row["difference"]) for row in rows] == pytest.approx([8, 4])
    assert float(rows[0]["difference_sd"]) == pytest.approx(100 * 0.01 * math.sqrt(2), rel=1e-5)
    one = found(content, "other centres")
    assert one.kind == "yes"
    assert "=Oslo +8.0 ± 1.4, Göttingen +4.0 ± 1.4" in one.because


@pytest.mark.parametrize(
    ("gains", "low", "kind"),
    [
        ({"a": 0.03, "b": 0.05}, 0.01, "no"),
        ({"a": 0.1, "b": -0.12}, -0.3, "no"),
        ({"a": 0.1, "b": 0.0}, -0.2, "unknown"),
    ],
)
def test_centres_without_a_gain_are_not_supported(
    pooled: ReportContent, gains: dict[str, float], low: float, kind: str
) -> None:
    assert found(by_site(pooled, gains, low), "other centres").kind == kind


# claims


def test_every_claim_can_be_supported(pooled: ReportContent) -> None:
    kinds = {claim.claim: claim.kind for claim in claims(pooled)}
    others = [claim for claim, kind in kinds.items() if kind != "yes"]
    assert [claim.split()[0] for claim in others] == ["Synthetic", "Synthetic"], kinds  # t-SNE, centres


@pytest.mark.parametrize(
    ("value", "low", "high", "kind"),
    [(0.95, 0.92, 0.97, "yes"), (0.95, 0.91, 0.97, "unknown"), (0.9, 0.88, 0.919, "no"), (0.9, 0.88, 0.92, "unknown")],
)
def test_a_verdict_is_where_the_interval_lies(
    content: ReportContent, value: float, low: float, high: float, kind: str
) -> None:
    rows = [number("ssim", value, low, high, compared="real test")]
    assert found(replace(content, measurements=rows), "SSIM of 0.92 to 0.95, over the body").kind == kind


def test_without_an_interval_nothing_is_claimed(content: ReportContent) -> None:
    rows = [number("ssim", 0.99, compared="real test", n_patients=2)]
    one = found(replace(content, measurements=rows), "SSIM of 0.92 to 0.95, over the body")
    assert one.verdict == "cannot tell with n = 2 patients"
    assert "no interval" in one.because


@settings(max_examples=50)
@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(3, 500))
def test_the_number_needed_has_80_percent_power(distance: float, half: float, n: int) -> None:
    count = needed(distance, half, n)
    assert count is not None

    def power(size: float) -> float:
        return float(norm.sf(norm.ppf(0.975) - distance / (half / norm.ppf(0.975) * math.sqrt(n / size))))

    assert power(count) >= 0.8 - 1e-5
    assert count <= 1 or power(count - 1) < 0.8 + 1e-5


def test_nothing_tells_equal_from_equal() -> None:
    assert needed(0.0, 0.1, 10) is None
    assert needed(1e-9, 0.1, 10) is None, "more than ten million"


@pytest.mark.parametrize(("sd", "kind"), [(0.0001, "yes"), (0.004, "unknown"), (0.2, "no")])
def test_the_spread_over_runs_has_an_interval_of_its_own(pooled: ReportContent, sd: float, kind: str) -> None:
    rows = [replace(m, value=sd) if m.name == "ssim-sd" else m for m in pooled.measurements]
    one = found(replace(pooled, measurements=rows), "over runs")
    percent = 100 * sd / 0.941
    low, high = (percent * math.sqrt(2 / chi2.ppf(end, 2)) for end in (0.975, 0.025))
    assert f"{low:.2f} to {high:.2f}" in one.number
    assert one.kind == kind
    if kind == "unknown":
        more = int(re.findall(r"(\d+) runs could tell", one.because)[0])
        assert percent * math.sqrt((more - 1) / chi2.ppf(0.025, more - 1)) <= 1.3
        assert percent * math.sqrt((more - 2) / chi2.ppf(0.025, more - 2)) > 1.3


def test_what_repeated_real_images_give_is_no_merit(pooled: ReportContent) -> None:
    rows = [
        *pooled.measurements,
        utility("accuracy-difference", 0.09, 0.05, 0.13, "real+duplicates", SAME),
        utility("balanced-accuracy-difference", 0.0, -0.05, 0.05, "real+synthetic", "real+duplicates (the same)"),
    ]
    content = replace(pooled, measurements=rows)
    gain, chance = found(content, "raise accuracy"), found(content, "more than chance")
    assert gain.kind == chance.kind == "unknown"
    assert "more images alone" in gain.because
    assert "repeated as often" in chance.because


@pytest.mark.parametrize(("value", "p", "kind"), [(0.05, 0.2, "unknown"), (-0.01, 0.9, "no"), (-0.1, 0.001, "no")])
def test_a_gain_needs_the_corrected_p(pooled: ReportContent, value: float, p: float, kind: str) -> None:
    values = {"accuracy-difference": value, "accuracy-difference-p-holm": p}
    rows = [replace(m, value=values[m.name], low=value - 0.1 if m.low else None, high=value + 0.1 if m.high else None)
            if m.name in values else m for m in pooled.measurements]  # fmt: skip
    one = found(replace(pooled, measurements=rows), "more than chance")
    assert one.kind == kind
    assert "1e-05: it takes folds for independent" in one.because, "the naive p is named and not read"


@pytest.mark.parametrize(("low", "kind"), [(0.01, "yes"), (-0.02, "unknown"), (-0.3, "unknown")])
def test_clusters_are_judged_by_the_silhouette(pooled: ReportContent, low: float, kind: str) -> None:
    rows = [utility("silhouette-classifier-gain", 0.1, low, 0.2, "real+synthetic", SAME),
            utility("silhouette-classifier", 0.4, 0.3, 0.5, "real+synthetic")]  # fmt: skip
    one = found(replace(pooled, measurements=rows), "clusters")
    assert one.kind == kind
    assert "Silhouette with synthetic images 0.400 (95 % interval 0.300 to 0.500)" in one.because


def test_a_single_split_is_tested_by_patients(content: ReportContent) -> None:
    rows = [
        utility("balanced-accuracy-difference", 0.1, 0.05, 0.15, "real+synthetic", SAME, n_patients=20),
        utility("exchange-p-holm", 0.01, None, None, "real+synthetic", SAME, n_patients=20),
    ]
    one = found(replace(content, measurements=rows), "more than chance")
    assert one.kind == "yes"
    assert "p = 0.01 after Holm; balanced accuracy +10.0 points" in one.number


def test_images_without_a_true_one_have_no_ssim(real: Cohort, fakes: Any) -> None:
    one = found(fakes.sample_content(real), "SSIM of 0.92 to 0.95, over the body")
    assert one.verdict == "not measured"
    assert "no true image" in one.because


# LaTeX and BibTeX


def checked(text: str) -> None:
    """What a compiler would stumble over: braces, environments, columns, unescaped characters."""
    bare = re.sub(r"\\.", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\*?\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    assert bare.count("$") % 2 == 0
    body = "\n".join(line for line in text.split("\n") if not line.startswith("%"))
    plain = re.sub(r"\$[^$]*\$", "", re.sub(r"\\.", "", body))
    assert not re.search("[%#^]", plain)
    spec = re.search(r"\\begin\{(?:tabular|longtable)\}\{@\{\}(.*)@\{\}\}", text)
    if spec is not None:
        columns = len(re.findall(r"[lrp](?=[lrp>{]|$)", re.sub(r">\{[^}]*\}", "", spec[1])))
        rows = [line for line in body.split("\n") if line.endswith(r"\\")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows), (columns, rows)


@settings(max_examples=200)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_survives_in_a_latex_table(first: str, second: str) -> None:
    text = tabular(["a", first], [[(second, ""), ("1", first)]], caption=second, label="tab:x", notes=[first])
    checked(text)
    assert "\n\n" not in escape(first)


def test_escaping_keeps_what_is_said() -> None:
    assert escape("50 % of A_1 & ~B") == r"50 \% of A\_1 \& \textasciitilde{}B"
    assert escape("Göttingen, 東京") == "Göttingen, 東京"


def test_all_latex_of_a_run_is_sound(pooled: ReportContent, content: ReportContent, tmp_path: Path) -> None:
    for number_, one in enumerate((pooled, content)):
        folder = write_paper(tmp_path / str(number_), one)
        for file in folder.glob("*.tex"):
            checked(file.read_text(encoding="utf-8"))
        cited = set()
        for keys in re.findall(r"\\cite\{([^}]*)\}", (folder / "methods.tex").read_text(encoding="utf-8")):
            cited |= set(keys.split(","))
        entries = re.findall(r"^@\w+\{(\w+),$", (folder / "references.bib").read_text(encoding="utf-8"), re.M)
        assert sorted(cited) == entries, "only the works used"


@pytest.mark.parametrize("key", WORKS)
def test_every_work_is_whole(key: str) -> None:
    work = WORKS[key]
    assert re.search(r"(19|20)\d\d", key) is not None
    assert str(work.year) in key
    assert key.startswith(re.sub(r"\W", "", work.authors.split(",")[0].lower().replace("ä", "a").replace("ń", "n")))
    assert work.doi.startswith("10.") or not work.doi
    assert re.fullmatch(r"\d{4}\.\d{4,5}", work.arxiv) or not work.arxiv
    checked(bibtex([key]))
    assert reference(work).startswith(work.authors.split(", ")[1].split(" and ")[0])


def test_references_are_numbered_by_first_mention() -> None:
    text = Cited((("A", f"First{cite('holm1979')}, then{cite('nadeau2003', 'holm1979')}."),))
    assert text.numbered() == [("A", "First [1], then [1, 2].")]
    assert [line.split()[-1] for line in text.references()][1] == "doi:10.1023/A:1024068626366."
    assert text.latex().count(r"~\cite{nadeau2003,holm1979}") == 1
    with pytest.raises(KeyError):
        cite("nobody2000")


# compiled


def compiled(folder: Path, *bodies: str, bibliography: bool = False) -> str:
    """The log of pdfLaTeX for a document with the tables' packages and no other."""
    if any(shutil.which(program) is None for program in ("pdflatex", "bibtex")):
        pytest.skip("no pdflatex and bibtex (Debian: texlive-latex-base)")
    end = [r"\bibliographystyle{plain}", r"\bibliography{references}"] if bibliography else []
    lines = [
        r"\documentclass{article}",
        r"\usepackage{booktabs,array,graphicx,longtable}",
        r"\begin{document}",
        *bodies,
        *end,
    ]
    (folder / "main.tex").write_text("\n".join([*lines, r"\end{document}", ""]), encoding="utf-8")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    for command in [latex, ["bibtex", "main"], latex, latex] if bibliography else [latex]:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        assert said.returncode == 0, said.stdout[-2000:]
        assert "Warning--" not in said.stdout, said.stdout  # BibTeX's
    log = (folder / "main.log").read_text(encoding="utf-8", errors="replace")
    assert "undefined" not in log
    assert "Missing character" not in log
    assert "multiply" not in log
    return log


def test_all_latex_of_a_run_compiles(pooled: ReportContent, content: ReportContent, tmp_path: Path) -> None:
    by_centre = by_site(pooled, {"=Oslo": 0.08, "Göttingen": 0.04}, 0.01)
    for number_, one in enumerate((pooled, content, by_centre)):
        folder = write_paper(tmp_path / str(number_), one)
        tables = [file.stem for file in sorted(folder.glob("*.tex"))]
        log = compiled(folder, *(rf"\input{{{name}}}" for name in tables), bibliography=True)
        assert "Output written on main.pdf" in log
        assert "(./claims.tex" in log
        assert ("(./centres.tex" in log) == (one is by_centre)
        assert "Float too large" not in log
        wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
        assert max(wide, default=0) < 1, log


def test_every_sign_and_every_work_compiles(tmp_path: Path) -> None:
    signs = "".join(chr(code) for code in range(32, 127)) + "".join(SPECIAL) + "ÄÖÜäöüßéèñçøåłčž"
    table = tabular([signs, "b"], [[(signs, signs), ("[1", "")]], caption=signs, label="tab:x", notes=[signs])
    (tmp_path / "references.bib").write_text(bibtex(tuple(WORKS)), encoding="utf-8")
    methods_ = Cited((("Ä" + signs, signs + cite(*WORKS)),)).latex()
    compiled(tmp_path, table, methods_, bibliography=True)
    printed = (tmp_path / "main.bbl").read_text(encoding="utf-8")
    assert printed.count(r"\bibitem") == len(WORKS)


# methods


def test_the_methods_say_what_the_losses_were(content: ReportContent) -> None:
    """What differs from the paper is said, and nothing where nothing does."""
    said = {
        name: " ".join(_cycle(CycleOptions(**changes).model_dump(mode="json")))
        for name, changes in {"paper": {}, "ours": {"cycle_ssim": 0.25, "negatives": 0.33, "structure": "mind"}}.items()
    }
    assert "10 × cycle L1 + 5 × identity L1; discriminators" in said["paper"]
    assert "refuse" not in said["paper"]
    assert f"10 × cycle loss (75 % L1, 25 % one minus SSIM{cite('zhao2017loss')}) + 5" in said["ours"]
    assert f"were 33 % of what the discriminators learned to refuse{cite('reed2016text')}." in said["ours"]
    assert f"structure loss (MIND{cite('heinrich2012mind')})" in said["ours"]
    for every, wanted in ((1, "Gradient penalty 10; 5 critic"), (4, "Gradient penalty 10 on one image in 4; 5 critic")):
        options = WassersteinOptions(target=("flair",), penalty_every=every)
        assert wanted in " ".join(_wasserstein(options.model_dump(mode="json"), content.real))


def test_the_methods_say_what_was_done_and_no_more(content: ReportContent) -> None:
    text = methods(content).markdown()
    assert "54 images of 18 patients" in text
    assert "9 to train, 3 to validate, 6 to test" in text
    assert "Structural similarity (SSIM) [" in text
    for untold in ("N4", "McNemar", "corrected resampled", "privacy", "WGAN", "CycleGAN", "ICC(", "authenticity"):
        assert untold not in text
    assert "scans/" not in text, "no folder of the user's"
    nothing = replace(content, synthetic={}, measurements=(), log=(), variants={})
    headings = [heading for heading, _ in methods(nothing).paragraphs]
    assert headings == ["Data", "Preprocessing", "Partition", "Software and reproducibility"]


def test_a_recipe_alone_does_not_make_a_training(content: ReportContent) -> None:
    headings = [heading for heading, _ in methods(content).paragraphs]
    assert "Generative model" not in headings, "no cohort has the lineage of a training"


def test_names_cannot_pass_for_citations(content: ReportContent) -> None:
    table = dict(content.real.table)
    table["label"] = np.full(len(content.real), "⟦wang2004ssim⟧", dtype=object)
    text = methods(replace(content, real=replace(content.real, table=table), measurements=()))
    assert "wang2004ssim" not in text.keys
    assert "[wang2004ssim]" in text.markdown()


def test_folds_are_described_as_folds(pooled: ReportContent) -> None:
    text = methods(pooled).markdown()
    assert "5-fold cross-validation by patient (seed 7), in 3 runs: on average 28 patients to train" in text
    assert "corrected resampled t-test [" not in text, "no p of such a test is there"
    rows = [*pooled.measurements, utility("accuracy-difference-p", 0.001, None, None, "real+synthetic", SAME)]
    assert "corrected resampled t-test [" in methods(replace(pooled, measurements=rows)).markdown()


# check-lists


def test_check_lists_have_every_item_and_leave_the_rest_to_the_authors(content: ReportContent) -> None:
    assert [item for item, *_ in LISTS["CLAIM 2024"]] == [str(n) for n in range(1, 45)]
    assert [item for item, *_ in LISTS["TRIPOD+AI"]] == [str(n) for n in range(1, 28)]
    text = checklist_markdown(content, methods(content))
    rows = [line.split(" | ") for line in text.split("\n") if re.match(r"\| \d", line)]
    assert len(rows) == 44 + 27
    assert all(len(row) == 3 and len(row[2]) > 5 for row in rows)
    assert "| 44 | Funding | For the authors: " in text
    assert "| 19 | How partitions were assigned | See the methods, section Partition. |" in text
    assert "external" not in known(content, methods(content))


# files


def test_the_same_content_gives_the_same_files(content: ReportContent, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_paper(tmp_path / name, content)
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == [
        "checklists.md", "claims.csv", "claims.tex", "methods.md", "methods.tex", "references.bib",
        "table-3-image-quality.csv", "table-3-image-quality.tex", "table-4-classification.csv",
        "table-4-classification.tex",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_page_and_its_folder_go_together(content: ReportContent, tmp_path: Path) -> None:
    page = tmp_path / "mine.html"
    folder = paper_folder(page)
    assert folder == tmp_path / "mine-tables"
    folder.mkdir()
    with pytest.raises(OutputError, match="mine-tables: expected a new name, found one that exists"):
        write_report(page, content)
    assert not page.exists()
    write_report(page, content, overwrite=True)
    assert (folder / "claims.csv").is_file()
    text = page.read_text(encoding="utf-8")
    assert "<code>mine-tables</code>" in text
    assert "Image quality of the synthetic images" in text
    assert "CLAIM 2024 (44 items)" in text
