"""The release gate for generators that are shown a patient: those that know their training patients by heart stay."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import synthoma
from synthoma.cohort import open_cohort
from synthoma.errors import PrivacyError
from synthoma.evaluation.audited import drawn_by
from synthoma.evaluation.release import AsGenerator, check_release
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.records import Cohort
from synthoma.training import RunFolder

AUDIT = {"evaluation.families": ["privacy"], "evaluation.bootstrap_draws": 100}
TRAINING = {
    "training.precision": "float32", "training.preview_every": 10**6, "training.checkpoint_every": 10**6,
    "training.validate_every": 10**6, "training.threads": 1, "training.variety": False,
}  # fmt: skip
CONDITIONAL = TRAINING | {
    "gan.condition": ["t1", "mask"], "gan.target": ["flair"], "gan.width": 12, "gan.discriminator_width": 12,
    "gan.norm": "instance", "gan.base": "linear", "gan.dropout": 0.0, "gan.upsample": "resize",
    "gan.learning_rate": 1e-3, "training.average_decay": 0.98,
}  # fmt: skip
CYCLE = TRAINING | {
    "gan.method": "cycle", "gan.source": {"channels": ["t1"]}, "gan.target": {"channels": ["flair"]}, "gan.width": 8,
    "gan.blocks": 1, "gan.discriminator_width": 8, "gan.discriminator_layers": 1, "gan.upsample": "resize",
    "gan.base": "input", "gan.identity_weight": 0.0, "gan.learning_rate": 1e-3, "training.average_decay": 0.9,
    "training.batch_size": 4, "training.epochs": 2,
}  # fmt: skip
WAYS = {("flair",): "--method redraw and --method reconstruct"}
TOLD = {"channels": ["flair"], "training_patients": 4, "held_out_patients": 12}
HEART = TOLD | {
    "state": "memorised", "ratio": 3.14159, "p": 1 / 1820, "held_out_rmse": 0.26, "alone": ["p01", "p02"],
    "pairs": [{"arm": "redraw", "synthetic": "redraw/00003", "real": "p01/0012", "rmse": 0.084}],
}  # fmt: skip


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen phantom patients."""
    folder = tmp_path_factory.mktemp("phantoms") / "scans"
    return write_brain_phantom(folder, BrainPhantomOptions(patients=16, spacing_mm=4.0, seed=3))


@pytest.fixture
def study(scans: Path, tmp_path: Path) -> Callable[..., Path]:
    """``study(share, per_patient, settings, *cohorts)``: the folder of a run, trained on a share of the patients."""

    def made(share: float, per_patient: int, settings: Mapping[str, Any], *cohorts: tuple[str, str, str]) -> Path:
        steps = "{step: reorient}, {step: skull_strip}, {step: normalise}, {step: resize, size: 32, crop: body}"
        rest = 1 - share - 0.125
        synthoma.prepare(
            "brats", scans, tmp_path / "real.cohort", workers=1,
            settings=[
                f"preprocessing.steps=[{steps}]", "preprocessing.channels=[t1,flair]",
                f"preprocessing.sampling.per_patient={per_patient}", f"split.train={share}", "split.validation=0.125",
                f"split.test={rest}",
            ],
        )  # fmt: skip
        synthoma.train(tmp_path / "real.cohort", tmp_path / "gan", settings=settings)
        for name, method, split in cohorts:
            out, options = tmp_path / f"{name}.cohort", {"generation.reconstruct_split": split}
            synthoma.generate(tmp_path / "gan", tmp_path / "real.cohort", out, method=method, settings=options)
        paths = [tmp_path / f"{name}.cohort" for name, *_ in cohorts]
        synthoma.evaluate(tmp_path / "real.cohort", paths, tmp_path, settings=AUDIT)
        return tmp_path

    return made


BOTH = (("redraw", "redraw", "test"), ("reconstruct", "reconstruct", "test"))


def told(folder: Path, arm: str = "redraw") -> dict[str, Any]:
    """What the audit says of a generator."""
    return json.loads((folder / "evidence" / "privacy.json").read_text())["curves"]["privacy"][arm]["by_heart"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_conditional_gan_that_knows_four_patients_by_heart_stays(study: Callable[..., Path]) -> None:
    """No stand-in: trained on two slices of each of four phantoms until it draws their FLAIR, not anybody's."""
    folder = study(0.25, 2, CONDITIONAL | {"training.epochs": 350, "training.batch_size": 8}, *BOTH)
    content = told(folder)
    assert (content["training_patients"], content["state"]) == (4, "memorised")
    with pytest.raises(PrivacyError) as refused:
        synthoma.export(folder, folder / "out", kind="safetensors")
    said = str(refused.value)
    assert refused.value.exit_code == 4
    pair = content["pairs"][0]
    assert f"such as redraw: {pair['synthetic']} of {pair['real']} " in said
    assert str(folder / "evidence" / "privacy.json") in said
    assert "synthoma report" in said
    assert not (folder / "out").exists()
    synthoma.export(folder, folder / "out", kind="safetensors", accept_privacy_risk="phantoms")
    card = (folder / "out" / "README.md").read_text()
    assert "phantoms (" in card
    assert "flair of training patients known by heart: error ratio" in card
    assert pair["real"] not in card


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_healthy_conditional_gan_leaves(study: Callable[..., Path]) -> None:
    settings = CONDITIONAL | {"training.epochs": 12, "training.batch_size": 8, "training.augment": "minimal"}
    folder = study(0.5, 4, settings, *BOTH)
    assert told(folder)["state"] == "cleared"
    out = synthoma.export(folder, folder / "out", kind="safetensors")
    assert json.loads((out / "config.json").read_text())["accepted_privacy_risk"] == ""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cyclegan_is_asked_both_ways(study: Callable[..., Path]) -> None:
    """What a study draws by itself tells nothing of the way back; with training images drawn back it does."""
    ways = [(name, name, "test") for name in ("redraw", "translate", "back")]
    folder = study(0.5, 2, CYCLE, *ways)
    assert told(folder)["state"] == "cleared"
    with pytest.raises(PrivacyError, match="no audited t1 that it drew for training patients") as refused:
        synthoma.export(folder, folder / "out", kind="safetensors")
    assert "--method back --set generation.reconstruct_split=train" in str(refused.value)
    synthoma.generate(
        folder / "gan", folder / "real.cohort", folder / "back-train.cohort", method="back",
        settings={"generation.reconstruct_split": "train"},
    )  # fmt: skip
    paths = [folder / f"{name}.cohort" for name in ("redraw", "translate", "back", "back-train")]
    synthoma.evaluate(folder / "real.cohort", paths, folder / "again", settings=AUDIT)
    assert told(folder / "again", "back")["arms"] == ["back", "back-train"]
    assert synthoma.export(folder, folder / "out", kind="safetensors", evidence=folder / "again").is_dir()


@pytest.mark.slow
def test_only_the_checkpoint_that_drew_the_audited_cohort_leaves(study: Callable[..., Path]) -> None:
    settings = CONDITIONAL | {"training.epochs": 3, "training.batch_size": 8, "training.validate_every": 1}
    folder = study(0.5, 2, settings, *BOTH)
    run = RunFolder(folder / "gan")
    assert run.best.is_file()
    other = CONDITIONAL | {"training.epochs": 2, "training.batch_size": 8, "training.seed": 1}
    synthoma.train(folder / "real.cohort", folder / "other", settings=other)
    from synthoma.gans.checkpoints import load_checkpoint, save_checkpoint

    lineage, weights = load_checkpoint(run.best).lineage, load_checkpoint(RunFolder(folder / "other").last)
    foreign = folder / "foreign.safetensors"
    save_checkpoint(foreign, type(weights)(weights.step, weights.arrays, weights.scalars, weights.options, lineage))
    with pytest.raises(PrivacyError, match=r"audits of cohorts that another checkpoint.*\(redraw, reconstruct\)"):
        synthoma.export(foreign, folder / "out", kind="safetensors", evidence=folder)
    out = synthoma.export(run.best, folder / "out", kind="safetensors", evidence=folder, accept_privacy_risk="phantoms")
    first = open_cohort(folder / "redraw.cohort")
    synthoma.generate(out / "model.safetensors", folder / "real.cohort", folder / "again.cohort", method="redraw")
    assert drawn_by(open_cohort(folder / "again.cohort")) == drawn_by(first)  # the same weights in another file
    assert len(drawn_by(first)) == 2


def evidence_of(folder: Path, cohort: Cohort, **audit: Any) -> Path:
    """A folder of evidence with one audit, of ``cohort``."""
    from synthoma.evaluation.privacy import fingerprint

    content = {"cohort_sha256": fingerprint(cohort), "images": len(cohort), "near_duplicates": [], **audit}
    (folder / "evidence").mkdir()
    parts = {"measurements": [], "warnings": [], "verdicts": [], "definitions": {}}
    (folder / "evidence" / "privacy.json").write_text(json.dumps(parts | {"curves": {"privacy": {"redraw": content}}}))
    return folder


def gate(folder: Path, cohort: Cohort, accepted: str = "") -> str:
    return check_release(Path("gan"), {"redraw": cohort}, folder, accepted, AsGenerator(WAYS))


def test_the_gate_names_a_pair_and_where_to_look(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    folder = evidence_of(tmp_path, ellipse_cohort, by_heart=HEART)
    with pytest.raises(PrivacyError) as refused:
        gate(folder, ellipse_cohort)
    assert str(refused.value).splitlines() == [
        "gan: expected a privacy audit without near-duplicates and without training patients known by heart, found "
        "flair of training patients is known by heart: held-out patients have 3.1 times their error (p = 0.00055, "
        "4 training and 12 held-out patients; 2 by themselves), such as redraw: redraw/00003 of p01/0012 "
        "(error 0.084, of held-out patients 0.260).",
        f"All pairs: {folder / 'evidence' / 'privacy.json'}; synthoma report {folder} --out {folder / 'report.html'}. "
        "Train for fewer epochs, on more patients or with training.augment; "
        '--accept-privacy-risk "reason" releases it all the same, and the reason with it.',
    ]
    risk = gate(folder, ellipse_cohort, "phantoms")
    assert risk == "phantoms (flair of training patients known by heart: error ratio 3.1)"
    # A cohort is judged by its own images alone, and one from noise was shown nobody.
    assert check_release(Path("gan"), {"redraw": ellipse_cohort}, folder) == ""
    assert check_release(Path("gan"), {"redraw": ellipse_cohort}, folder, "", AsGenerator()) == ""


@pytest.mark.parametrize(
    ("content", "said", "remedy"),
    [
        (None, "no audited flair that it drew for training patients, so whether", "Draw with --method redraw and"),
        (TOLD | {"state": "cannot tell", "missing": "held-out"}, "that it drew for held-out patients", "Draw with"),
        (TOLD | {"state": "cannot tell"}, "too few patients of a site to tell", "Hold out more patients"),
        (TOLD | {"channels": ["t1"], "state": "cleared"}, "no audited flair that it drew for training", "Draw with"),
    ],
)
def test_what_cannot_be_told_is_not_released(
    ellipse_cohort: Cohort, tmp_path: Path, content: dict[str, Any] | None, said: str, remedy: str
) -> None:
    audit = {} if content is None else {"by_heart": content}
    folder = evidence_of(tmp_path, ellipse_cohort, **audit)
    with pytest.raises(PrivacyError) as refused:
        gate(folder, ellipse_cohort)
    assert said in str(refused.value)
    assert remedy in str(refused.value)
    assert gate(folder, ellipse_cohort, "why") == "why (flair: not told whether training patients are known by heart)"


def test_what_is_near_the_patient_shown_is_left_to_the_comparison(ellipse_cohort: Cohort, tmp_path: Path) -> None:
    """A near-duplicate of another training patient is refused by itself; of a held-out one it is no memory."""
    pair = {"synthetic": "redraw/00001", "real": "p0/3", "split": "train", "source": True, "transformation": "none"}
    cleared = {"by_heart": TOLD | {"state": "cleared"}}
    for number, (change, passes) in enumerate((({}, True), ({"source": False}, False), ({"split": "test"}, True))):
        (tmp_path / str(number)).mkdir()
        folder = evidence_of(tmp_path / str(number), ellipse_cohort, near_duplicates=[pair | change], **cleared)
        if passes:
            assert gate(folder, ellipse_cohort) == ""
        else:
            with pytest.raises(PrivacyError, match="1 of 18 images are near-duplicates of real ones, such as redraw"):
                gate(folder, ellipse_cohort)
        with pytest.raises(PrivacyError, match="near-duplicates of real ones"):
            check_release(Path("x"), {"redraw": ellipse_cohort}, folder)
