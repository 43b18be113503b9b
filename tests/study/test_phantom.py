"""A whole reader study of phantoms as it is typed: scans, cohort, GAN, evaluation, readers, report."""

from __future__ import annotations

import json
import re
import secrets

import httpx2
import pytest

from synthoma.commands import main
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.study import open_key, open_study

PREPARED = (
    "preprocessing.steps.resize.size=32", "preprocessing.sampling.per_patient=4", "preprocessing.channels=[t1, flair]",
    "split.train=0.4", "split.validation=0.1", "split.test=0.5", "split.folds=0",
)  # fmt: skip
TRAINED = ("gan.width=4", "gan.discriminator_width=4", "gan.norm=instance", "training.epochs=2", "training.threads=1")


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == 0


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.slow
def test_from_phantoms_to_the_section_of_the_report(serve, tmp_path):
    scans = write_brain_phantom(tmp_path / "scans", BrainPhantomOptions(patients=20, spacing_mm=4.0))
    real, gan, made, judged, folder = (tmp_path / name for name in ("r.cohort", "gan", "s.cohort", "e", "x.study"))
    run("prepare", "brats", scans, "--out", real, *sets(*PREPARED))
    run("train", real, "--out", gan, *sets(*TRAINED))
    run("generate", gan, real, "--out", made)
    run("evaluate", real, made, "--out", judged, *sets("evaluation.families=[similarity]"))
    run("study", "create", real, made, "--items", 8, "--readers", 2, "--training", 2, "--repeats", 0.25, "--channel",
        "flair", "--split", "test", "--out", folder)  # fmt: skip
    study = open_study(folder)
    synthetic = {image for image, entry in open_key(study).images.items() if entry.origin == "synthetic"}

    with serve(study) as server:
        for who in (1, 2):
            with httpx2.Client(base_url=server.base) as browser:
                _read(browser, server.token(f"reader {who}"), study.order(who), synthetic, careful=who == 1)

    run("study", "analyse", folder, "--no-features", "--report", judged)
    analysis = json.loads((folder / "analysis" / "analysis.json").read_text(encoding="utf-8"))
    accuracy = {row["arm"]: row["value"] for row in analysis["measurements"] if row["name"] == "reader-accuracy"}
    assert accuracy["reader 1"] == 1
    assert accuracy["reader 2"] < 1
    ratings = {row["arm"]: row["value"] for row in analysis["measurements"] if row["name"] == "reader-realism"}
    assert ratings["real"] > ratings["synthetic"]
    run("report", judged, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Synthetic images pass for real with readers" in page


def _read(browser, token, order, synthetic, *, careful: bool) -> None:
    """One reader, from the private link to the last item: the second mistakes one for real."""
    assert browser.post("/api/visit", json={"token": token}).status_code == 200
    page = browser.get("/item/1").text
    csrf = re.search(r'name="csrf" content="([^"]+)"', page)
    assert csrf is not None, page[:500]
    mistaken = None if careful else next(shown.image for shown in order if shown.image in synthetic)
    for place, shown in enumerate(order):
        image = browser.get(f"/api/image/{shown.id}")
        assert image.status_code == 200
        drawn = shown.image in synthetic
        answer = {
            "item": shown.id, "key": secrets.token_hex(16), "realism": 2 if drawn else 5, "anatomy": 3 + place % 2,
            "lesion": None, "call": "synthetic" if drawn and shown.image != mistaken else "real", "confidence": 2,
            "note": "", "seconds": 1.0,
        }  # fmt: skip
        answered = browser.post("/api/answers", json=answer, headers={"X-CSRF-Token": csrf[1]})
        assert answered.status_code == 200, answered.text
