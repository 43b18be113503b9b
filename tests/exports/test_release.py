"""The release gate: a copied patient stays in the house, whatever form it would leave in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import synthoma
from synthoma.cohort import create_cohort, open_cohort
from synthoma.errors import CheckpointError, PrivacyError, SettingError
from synthoma.evaluation.release import find_evidence
from synthoma.exports import EXPORTS, RUN_EXPORTS
from synthoma.gans.checkpoints import load_checkpoint
from synthoma.records import Samples

TRAIN, HELD_OUT, SIDE = 6, 6, 32
WGAN = {
    "gan.method": "wasserstein", "gan.latent": 4, "gan.width": 4, "gan.critic_width": 4, "gan.layers": 3,
    "gan.critic_layers": 2, "training.epochs": 1, "training.threads": 1, "training.variety": False,
}  # fmt: skip
AUDIT = {"evaluation.families": ["privacy"], "evaluation.bootstrap_draws": 100}


def patient(name: str, images: np.ndarray) -> Samples:
    n = len(images)
    return Samples(
        images=images.astype(np.float32),
        masks=np.stack([images[:, 0] > -1, np.zeros(images[:, 0].shape)], axis=1).astype(np.uint8),
        channels=("flair",),
        mask_names=("body", "lesion"),
        slices=tuple(range(n)),
        labels=("tumour",) * n,
        patient=name,
        site="",
        spacing_mm=(1.0, 1.0),
        intensity={"flair": (0.0, 1000.0)},
        unit="arbitrary",
        modality="MR",
    )


def scans(seed: int, n: int = 2) -> np.ndarray:
    """(n, 1, y, x): discs with a texture that no two patients share."""
    random = np.random.default_rng([9, seed])
    y, x = np.mgrid[:SIDE, :SIDE]
    body = np.hypot(y - 16, x - 16) < 14
    waves = sum(random.normal() * np.sin(y / 2.5 * random.normal() + x / 2.5 * random.normal()) for _ in range(12))
    images = [np.where(body, np.tanh(waves / 3 + 0.1 * i * np.cos(x / 2)), -1) for i in range(n)]
    return np.stack(images)[:, None].clip(-1, 1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``real.cohort``, ``gan`` and what it drew; nothing audited yet. Not to be changed."""
    folder = tmp_path_factory.mktemp("house")
    splits = ("train",) * TRAIN + ("test", "validation") * (HELD_OUT // 2)
    names = {f"p{i:02d}": split for i, split in enumerate(splits)}
    layout = {"channels": ("flair",), "mask_names": ("body", "lesion"), "shape": (SIDE, SIDE)}
    with create_cohort(folder / "real.cohort", **layout) as writer:
        for number, (name, split) in enumerate(names.items()):
            writer.add(patient(name, scans(number)), split=split)
    synthoma.train(folder / "real.cohort", folder / "gan", settings=WGAN)
    sampled = {"generation.samples": 8}
    synthoma.generate(folder / "gan", folder / "real.cohort", folder / "synthetic" / "sample.cohort", settings=sampled)
    return folder


def replay(house: Path, out: Path) -> Path:
    """A cohort as the generator would have drawn it, had it learned its training images by heart."""
    drawn, real = open_cohort(house / "synthetic" / "sample.cohort"), open_cohort(house / "real.cohort")
    rows = real.rows(split="train")[:4]
    lineage = str(drawn.table["lineage"][0])
    layout = {"channels": ("flair",), "mask_names": ("body", "lesion"), "shape": (SIDE, SIDE)}
    with create_cohort(out, **layout, lineages=tuple(drawn.lineages.values())) as writer:
        for number, row in enumerate(rows):
            noise = 0.01 * np.random.default_rng(number).normal(size=(1, 1, SIDE, SIDE))
            images = (real.images[row][None][..., ::-1] + noise).clip(-1, 1)
            own = patient(f"synthetic-{number}", images)
            writer.add(own, split="train", origin="synthetic", lineage=lineage, ids=[f"sample/{number:05d}"])
    return out


@pytest.fixture(scope="module")
def healthy(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation whose audit found nothing."""
    out = tmp_path_factory.mktemp("healthy") / "evaluation"
    return synthoma.evaluate(house / "real.cohort", [house / "synthetic" / "sample.cohort"], out, settings=AUDIT)


@pytest.fixture(scope="module")
def memorised(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation whose audit found copies; ``sample.cohort`` beside it holds them."""
    folder = tmp_path_factory.mktemp("memorised")
    made = replay(house, folder / "sample.cohort")
    return synthoma.evaluate(house / "real.cohort", [made], folder / "evaluation", settings=AUDIT)


def test_a_healthy_cohort_is_exported(house: Path, healthy: Path, tmp_path: Path) -> None:
    made = house / "synthetic" / "sample.cohort"
    out = synthoma.export(made, tmp_path / "files", evidence=healthy, accept_privacy_risk="not needed")
    assert "accepted_privacy_risk" not in json.loads((out / "about.json").read_text())


def test_without_an_audit_nothing_synthetic_is_exported(house: Path, tmp_path: Path) -> None:
    for what, kind in ((house / "synthetic" / "sample.cohort", "nifti"), (house / "gan", "safetensors")):
        with pytest.raises(PrivacyError, match=r"found no audit in no evidence/ beside or above it") as refused:
            synthoma.export(what, tmp_path / "out", kind=kind)
        assert refused.value.exit_code == 4
        assert "synthoma evaluate REAL COHORT" in str(refused.value)
        with pytest.raises(PrivacyError, match=r"no audit of (its images|any of the cohorts that it made) in "):
            synthoma.export(what, tmp_path / "out", kind=kind, evidence=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", sorted({*EXPORTS} - {"brats"}))
def test_a_copy_is_refused_in_every_format(memorised: Path, tmp_path: Path, kind: str) -> None:
    made = memorised.parent / "sample.cohort"
    with pytest.raises(PrivacyError) as refused:
        synthoma.export(made, tmp_path / "out", kind=kind, evidence=memorised)
    pairs = json.loads((memorised / "evidence" / "privacy.json").read_text())["curves"]["privacy"]["sample"]
    first = pairs["near_duplicates"][0]
    said = str(refused.value)
    assert f"{len(pairs['near_duplicates'])} of 4 images are near-duplicates" in said
    assert f"{first['synthetic']} of {first['real']} (flipped" in said
    assert f"{memorised / 'evidence' / 'privacy.json'}; synthoma report {memorised}" in said
    assert len(said.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_accepted_risk_goes_along_without_naming_the_patient(memorised: Path, tmp_path: Path) -> None:
    made = memorised.parent / "sample.cohort"
    reason = "phantoms,\nnobody's images"
    out = synthoma.export(made, tmp_path / "files", evidence=memorised, accept_privacy_risk=reason)
    about = (out / "about.json").read_text()
    said = json.loads(about)["accepted_privacy_risk"]
    assert said == "phantoms, nobody's images (sample: 4 of 4 near-duplicates)"
    with pytest.raises(SettingError, match="accept-privacy-risk: expected a reason in words"):
        synthoma.export(made, tmp_path / "other", evidence=memorised, accept_privacy_risk="  ")


def test_an_accepted_risk_is_in_every_dicom_file(memorised: Path, tmp_path: Path) -> None:
    import pydicom

    made = memorised.parent / "sample.cohort"
    out = synthoma.export(made, tmp_path / "d", kind="dicom", evidence=memorised, accept_privacy_risk="phantoms")
    images = [data for data in map(pydicom.dcmread, out.rglob("*.dcm")) if data.Modality == "MR"]
    assert len(images) == 4
    assert all("phantoms" in data.DerivationDescription for data in images)


def test_the_report_is_named_where_it_is(memorised: Path, tmp_path: Path) -> None:
    page = memorised / "report.html"
    page.write_text("")
    try:
        with pytest.raises(PrivacyError, match=f"the report {page}"):
            synthoma.export(memorised.parent / "sample.cohort", tmp_path / "out", evidence=memorised)
    finally:
        page.unlink()


def test_a_cohort_that_was_changed_after_its_audit_was_not_audited(house: Path, healthy: Path, tmp_path: Path) -> None:
    other = replay(house, tmp_path / "sample.cohort")
    with pytest.raises(PrivacyError, match="no audit of its images"):
        synthoma.export(other, tmp_path / "out", evidence=healthy)


def test_real_patients_are_no_matter_of_the_audit(house: Path, tmp_path: Path) -> None:
    said: list[str] = []
    synthoma.export(house / "real.cohort", tmp_path / "files", say=said.append)
    assert len(said) == 1
    assert said[0].startswith("These are patients' images")


@pytest.mark.parametrize("kind", sorted(RUN_EXPORTS))
def test_a_generator_that_learned_by_heart_is_refused(house: Path, memorised: Path, tmp_path: Path, kind: str) -> None:
    with pytest.raises(PrivacyError, match="4 of 4 images are near-duplicates"):
        synthoma.export(house / "gan", tmp_path / "out", kind=kind, evidence=memorised)
    assert list(tmp_path.iterdir()) == []


def test_the_accepted_risk_is_in_card_configuration_and_weights(house: Path, memorised: Path, tmp_path: Path) -> None:
    out = tmp_path / "g"
    synthoma.export(house, out, kind="safetensors", evidence=memorised, accept_privacy_risk="phantoms")
    risk = "phantoms (sample: 4 of 4 near-duplicates)"
    assert risk in (out / "README.md").read_text()
    about = json.loads((out / "config.json").read_text())
    assert about["accepted_privacy_risk"] == risk
    assert about["exported"]["parents"] == [about["lineage"]["id"]]
    assert load_checkpoint(out / "model.safetensors").scalars == {"accepted_privacy_risk": risk}


def test_a_healthy_generator_leaves_and_comes_back_the_same(house: Path, healthy: Path, tmp_path: Path) -> None:
    out = synthoma.export(house / "gan", tmp_path / "g", kind="safetensors", evidence=healthy)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "data_card.md", "model.safetensors",
    ]  # fmt: skip
    generator, own = synthoma.load_generator(out), synthoma.load_generator(house)
    noise, classes = torch.randn(3, generator.latent), torch.ones(3, 1)
    with torch.no_grad():
        assert torch.equal(generator(noise, classes), own(noise, classes))
    assert (generator.inputs, generator.outputs, generator.labels) == ((), ("flair",), ("tumour",))
    again = synthoma.generate(
        out / "model.safetensors", house / "real.cohort", tmp_path / "x.cohort", settings={"generation.samples": 8}
    )
    drawn = open_cohort(house / "synthetic" / "sample.cohort")
    assert np.array_equal(open_cohort(again).images, drawn.images)
    assert (out / "model.safetensors").stat().st_size < (house / "gan/checkpoints/last.safetensors").stat().st_size / 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_generator_that_was_trained_on_four_patients_until_it_knew_them(tmp_path: Path) -> None:
    """No stand-in: a WGAN-GP that sees one image of each of four patients 1,500 times draws them again."""
    layout = {"channels": ("flair",), "mask_names": ("body", "lesion"), "shape": (SIDE, SIDE)}
    with create_cohort(tmp_path / "real.cohort", **layout) as writer:
        for number in range(16):
            split = "train" if number < 4 else "test" if number % 2 else "validation"
            writer.add(patient(f"p{number:02d}", scans(number, 1)), split=split)
    overfit = WGAN | {
        "gan.width": 12, "gan.critic_width": 24, "gan.critic_layers": 3, "gan.layers": 4, "gan.n_critic": 1,
        "gan.optimiser": "adam", "gan.learning_rate": 1e-3, "gan.upsample": "resize", "training.epochs": 1500,
        "training.average_decay": 0.98, "training.precision": "float32", "training.preview_every": 10**6,
        "training.checkpoint_every": 10**6,
    }  # fmt: skip
    synthoma.train(tmp_path / "real.cohort", tmp_path / "gan", settings=overfit)
    made = tmp_path / "sample.cohort"
    synthoma.generate(tmp_path / "gan", tmp_path / "real.cohort", made, settings={"generation.samples": 16})
    synthoma.evaluate(tmp_path / "real.cohort", [made], tmp_path, settings=AUDIT)
    for what, kind in ((made, "nifti"), (tmp_path / "gan", "safetensors")):
        with pytest.raises(PrivacyError, match=r"of 16 images are near-duplicates"):
            synthoma.export(what, tmp_path / "out", kind=kind)
        assert not (tmp_path / "out").exists()
    synthoma.export(tmp_path / "gan", tmp_path / "out", kind="safetensors", accept_privacy_risk="discs")
    assert "near-duplicates)" in (tmp_path / "out" / "README.md").read_text()


def test_what_is_no_generator(house: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected the folder of a study or a run.*found a cohort"):
        synthoma.load_generator(house / "real.cohort")
    with pytest.raises(CheckpointError, match="found nothing"):
        synthoma.load_generator(tmp_path / "x")
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04]q\x00.")
    with pytest.raises(CheckpointError, match="a damaged or foreign file"):
        synthoma.load_generator(tmp_path)
    with pytest.raises(SettingError, match="way: expected one of sample, found 'back'"):
        synthoma.load_generator(house, way="back")


def test_the_page_keeps_its_word(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of ``docs/release.md`` that need no other package are run."""
    page = Path(__file__).resolve().parents[2] / "docs" / "release.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    own = [block for block in blocks if not block.startswith("# needs")]
    assert len(own) == 2
    (tmp_path / "study").symlink_to(house)
    monkeypatch.chdir(tmp_path)
    for block in own:
        exec(compile(block, str(page), "exec"), {})  # noqa: S102 (our own page)


def test_the_nearest_evidence_is_found(tmp_path: Path) -> None:
    cohort = tmp_path / "study" / "variants" / "other" / "sample.cohort"
    cohort.mkdir(parents=True)
    assert find_evidence(cohort) is None
    for at in (tmp_path, tmp_path / "study"):
        (at / "evidence").mkdir()
        (at / "evidence" / "privacy.json").write_text("{}")
    assert find_evidence(cohort) == (tmp_path / "study").resolve()
