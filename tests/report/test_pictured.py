"""The section of pictures: drawn from the curves alone, each with its rule, and said to be absent where it is."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthoma.report import ReportContent, write_report
from synthoma.report.evidence_figures import confusion_charts, embedding_charts, roc_chart
from synthoma.report.panels import heat_galleries, neighbour_gallery
from synthoma.report.pictured import DRAWN, pictured
from synthoma.report.pictures import Frame


def curves(content: ReportContent) -> dict[str, Any]:
    """What the evaluation would have left for this cohort."""
    real, made = content.real, content.synthetic["reconstruct"]
    random = np.random.default_rng(0)

    def points(n: int) -> list[list[float]]:
        return random.normal(size=(n, 2)).round(3).tolist()

    def a_set(n: int) -> dict[str, Any]:
        labels = [("tumour", "tumour-free")[i % 2] for i in range(n)]
        return {"tsne": points(n), "pca": points(n), "label": labels, "patients": 5, "of": 40}

    test, train = real.table["id"][real.rows(split="test")], real.table["id"][real.rows(split="train")]
    arms = ("real", "real+synthetic")
    auc = {"value": 0.8, "low": 0.7, "high": 0.9}
    shown = [
        {"row": i, "synthetic": str(made.table["id"][i]), "rank": i + 1, "train": str(train[i]),
         "held_out": str(test[i]), "train_distance": 3.25, "held_out_distance": 4.5}
        for i in range(3)
    ]  # fmt: skip
    pair = {
        "synthetic": str(made.table["id"][0]), "real": str(train[0]), "split": "train", "source": False,
        "transformation": "flipped", "correlation": 0.987, "distance": 0.1, "lead": 0.2, "exceeded": "distance",
        "threshold": 0.1,
    }  # fmt: skip
    heat = np.arange(9.0).reshape(3, 3) / 8
    entry = {"row": int(real.rows(split="test")[1]), "id": str(test[1]), "origin": "real", "heat": heat.tolist()}
    cold = entry | {"heat": np.zeros((3, 3)).tolist()}
    return {
        "embedding": {"flair": {"perplexity": 12.5, "seed": 3, "explained": [0.3, 0.1], "features": "a network",
                                "sets": {"real train": a_set(9), "real held-out": a_set(8), "synthetic": a_set(7)}}},
        "neighbours": {"synthetic": {"features": "a network", "images": 54, "shown": shown, "held_out_to_train": 5.5,
                                     "searched": {"train": 27, "held_out": 27}}},
        "privacy": {"synthetic": {"images": 54, "near_duplicates": [pair], "nearest": [pair]}},
        "roc": {a: {"false_positive_rate": [0, 0.2, 1], "true_positive_rate": [0, 0.9, 1], "auc": 0.85, "low": 0.75,
                    "high": 0.91, "images": 18, "patients": 6} for a in arms},
        "reliability": {a: {"predicted": [0.1, 0.9], "observed": [0.2, 0.8], "low": [0, 0.6], "high": [0.4, 0.9],
                            "images": [9, 9]} for a in arms},
        "classifier": {a: {"confusion": {"true_positive": 7, "false_negative": 3, "false_positive": 2,
                                         "true_negative": 6}} for a in arms},
        "classifier_embedding": {a: {"tsne": points(8), "pca": points(8), "positive": [True, False] * 4,
                                     "label": "tumour", "perplexity": 2.7, "seed": 3, "explained": [0.5, 0.2],
                                     "patients": 6} for a in arms},
        "ratio_curve": {"real+synthetic": [{"at": r, "auc": auc, "balanced-accuracy": auc} for r in (0.5, 1)]},
        "learning_curve": {a: [{"at": s, "auc": auc, "balanced-accuracy": auc} for s in (0.5, 1)] for a in arms},
        "heat": {"classifier": {"channels": ["flair"], "of": {a: [entry, cold] for a in arms}},
                 "discriminator": {"channels": ["flair"],
                                   "of": {"real": [entry], "synthetic": [entry | {"row": 0}]}}},
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(content: ReportContent) -> ReportContent:
    return replace(content, curves=curves(content))


@pytest.fixture(scope="module")
def html(whole: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(tmp_path_factory.mktemp("report") / "report.html", whole).read_text()


def section(html: str) -> str:
    return html[html.index('<section id="pictures"') : html.index("</section>", html.index('<section id="pictures"'))]


def test_every_picture_is_there_with_its_rule(html: str) -> None:
    text = section(html)
    assert "not available" not in text
    for caption in ("t-SNE, FLAIR", "PCA, FLAIR", "Neighbours of synthetic", "Nearest pairs of synthetic by the audit",
                    "ROC curves", "Calibration", "t-SNE, classifier trained on real+synthetic",
                    "Synthetic images for each real one: AUC", "Share of the real training patients: AUC",
                    "What the classifier looks at", "What the discriminator looks at"):  # fmt: skip
        assert caption in text, caption
    for number in ("perplexity 12.5, seed 3", "real held-out 8 of 40 images (5 patients)",
                   "27 training and 27 held-out",
                   "distance 3.2", "ρ 0.987, flipped, train", "18 real test images of 6 patients", "maps of 3 × 3",
                   "no heat"):  # fmt: skip
        assert number in text, number
    assert text.count('class="heat"') == 4  # two arms with heat in one of two images; real and synthetic of the other
    assert "Not drawn here" not in html


def test_loads_nothing_from_elsewhere_and_stays_small(html: str) -> None:
    assert re.findall(r'(?:src|href)="(?!data:|#)', html) == []
    assert len(html) < 5_000_000


def test_what_is_absent_is_said(content: ReportContent) -> None:
    parts = pictured(replace(content, curves={}))
    assert [part.title.split(":")[0] for part in parts] == [
        "Real and synthetic images in one embedding", "Nearest neighbours", "The classifier",
        "What the networks look at (Grad-CAM)",
    ]  # fmt: skip
    assert not any(part.charts or part.galleries or part.folded for part in parts)


def test_samples_that_the_cohorts_no_longer_hold_are_passed_over(whole: ReportContent) -> None:
    one = whole.curves["neighbours"]["synthetic"]
    made = whole.synthetic["reconstruct"]
    gone = [entry | {"train": "nobody"} for entry in one["shown"]]
    assert neighbour_gallery(whole.real, made, "synthetic", one | {"shown": gone}) is None
    assert len(neighbour_gallery(whole.real, made, "synthetic", one).rows[0].pictures) == 3
    far = {"classifier": {"channels": ["flair"], "of": {"real": [{"row": 10**6, "id": "x", "heat": [[1.0]]}]}}}
    assert heat_galleries(whole.real, whole.synthetic, far) == []
    assert heat_galleries(whole.real, {}, {"critic": {"channels": ["flair"], "of": {"sample": []}}}) == []


def test_heat_is_brightest_and_least_clear_where_it_is_greatest(whole: ReportContent) -> None:
    (gallery, _) = heat_galleries(whole.real, whole.synthetic, whole.curves["heat"])
    plain, of_real, _ = gallery.rows
    assert plain.pictures[0].heat == ""
    uri = of_real.pictures[0].heat
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"), float)
    assert image[0, 0, 3] == 0  # the heat of the test grows from the upper left to the lower right
    assert image[-1, -1, 3] == image[..., 3].max() > 100
    assert image[-1, -1, :3].sum() > image[0, 0, :3].sum()
    assert of_real.pictures[0].uri == plain.pictures[0].uri  # the image below stays as it is


def test_enlarged_heat_is_what_the_evidence_measured() -> None:
    import torch

    from synthoma.evaluation.gradcam import enlarged
    from synthoma.report.panels import _enlarged

    heat = np.random.default_rng(0).random((3, 5))
    expected = enlarged(torch.from_numpy(heat)[None], (24, 35))[0].numpy()
    assert _enlarged(heat, (24, 35)) == pytest.approx(expected, abs=1e-6)


def test_charts_say_what_they_show_and_take_any_name(whole: ReportContent) -> None:
    evil = "<b>$\\frac{1}{2}$ & more"
    chart = roc_chart({evil: whole.curves["roc"]["real"]})
    assert "0.850 (0.750 to 0.910)" in chart.alt
    matrix, _ = confusion_charts(whole.curves["classifier"])
    assert "7 true positive, 3 false negative, 2 false positive, 6 true negative" in matrix.alt
    first, second = embedding_charts("flair", whole.curves["embedding"]["flair"])
    assert "synthetic, 7 points" in first.alt
    assert first.uri != second.uri
    assert embedding_charts("flair", whole.curves["embedding"]["flair"])[0].uri == first.uri


def test_a_frame_cuts_image_and_heat_alike(whole: ReportContent) -> None:
    assert set(DRAWN) >= set(whole.curves)
    heat = np.arange(16.0).reshape(4, 4)
    assert Frame(1, 3, 0, 2).cut(heat).tolist() == [[4, 5], [8, 9]]
