"""A made-up study, small but whole: two sites, six test patients, a GAN that loses to least squares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from synthoma.records import Cohort, Lineage, Measurement
from synthoma.report import ReportContent

SIZE = 64
CHANNELS = ("t1", "t1ce", "flair")
RECIPE = """\
# a made-up recipe
data: {source: brats, path: scans/}
preprocessing:
  channels: [t1, t1ce, flair]
  steps:
    - {step: normalise, low: 0.5, high: 99.5}
    - {step: resize, size: 64}
split: {train: 0.7, validation: 0.2, test: 0.1, seed: 7}
gan: {method: conditional, condition: [t1, mask], target: [flair], l1_weight: 100.0, width: 32}
training: {epochs: 60, batch: 8, learning_rate: 0.0002, seed: 7}
"""
PATIENTS = [f"P{number:02d}" for number in range(18)]
SPLITS = ["train"] * 9 + ["validation"] * 3 + ["test"] * 6
LESIONS = ("necrosis", "oedema")


def smooth(rng: np.random.Generator, size: int, width: float) -> NDArray[np.float64]:
    """Noise of unit spread, blurred."""
    noise = gaussian_filter(rng.normal(size=(size, size)), width)
    return np.asarray(noise / noise.std())


def fake_slice(rng: np.random.Generator, size: int, lesion: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Channels and masks of something like a brain: an ellipse of folded grey and white with a dark middle."""
    y, x = (np.mgrid[:size, :size] - size / 2) / (size / 2)
    radius = np.hypot(x / (0.66 + 0.06 * rng.random()), y / (0.8 + 0.06 * rng.random())) + 0.03 * smooth(rng, size, 5)
    body = radius < 1
    white = gaussian_filter((smooth(rng, size, size / 32) > 0.1).astype(float) * (radius < 0.88), 0.7)
    fluid = gaussian_filter((np.hypot((np.abs(x) - 0.13) / 0.1, (y + 0.02) / 0.28) < 1).astype(float), 0.8)
    centre = rng.uniform(-0.33, 0.33, 2)
    distance = np.hypot(y - centre[0], x - centre[1]) + 0.03 * smooth(rng, size, 4)
    outer = (distance < 0.25) & body if lesion else np.zeros_like(body)
    inner = (distance < 0.11) & body if lesion else np.zeros_like(body)
    oedema = gaussian_filter(outer.astype(float), 1.0)
    rim = gaussian_filter((outer & (distance < 0.15) & ~inner).astype(float), 0.7)
    values = {
        "t1": 0.05 + 0.5 * white - 0.55 * fluid - 0.3 * oedema,
        "t1ce": 0.0 + 0.45 * white - 0.5 * fluid - 0.25 * oedema + 0.9 * rim,
        "flair": 0.1 - 0.3 * white - 0.6 * fluid + 0.75 * oedema - 0.5 * gaussian_filter(inner.astype(float), 0.8),
    }
    images = {n: np.where(body, np.clip(v + 0.05 * rng.normal(size=v.shape), -1, 1), -1.0) for n, v in values.items()}
    return images, {"body": body, "necrosis": inner, "oedema": outer & ~inner}


def fake_table(n: int, **columns: Any) -> dict[str, NDArray[Any]]:
    """All columns of a cohort, the given ones filled."""
    table = {name: np.full(n, "", dtype=object) for name in ("site", "label", "split", "reference", "made_from")}
    table |= {"fold": np.full(n, -1), "origin": np.full(n, "real"), "slice": np.zeros(n, int)}
    table |= {"modality": np.full(n, "MR"), "unit": np.full(n, "arbitrary")}
    table |= {"spacing_mm": np.full(n, "1 1"), "image_sha256": np.full(n, "0" * 64), "lineage": np.full(n, "")}
    return table | {name: np.asarray(values) for name, values in columns.items()}


def fake_real(size: int = SIZE, slices: int = 3) -> Cohort:
    rng = np.random.default_rng(5)
    rows = [(patient, split, z) for patient, split in zip(PATIENTS, SPLITS, strict=True) for z in range(slices)]
    samples = [fake_slice(rng, size, lesion=z > 0) for _, _, z in rows]
    lineage = Lineage.of("prepare", parents=["a" * 64, "b" * 64, "c" * 64], recipe={}, seed=7, patients_seen=PATIENTS)
    n = len(rows)
    table = fake_table(
        n,
        id=[f"{p}-z{z:03d}" for p, _, z in rows],
        patient=[p for p, _, _ in rows],
        split=[s for _, s, _ in rows],
        site=["Göttingen" if PATIENTS.index(p) % 3 else "Oslo" for p, _, _ in rows],
        label=["tumour" if z else "tumour-free" for _, _, z in rows],
        slice=[60 + z * 11 for _, _, z in rows],
        lineage=[lineage.id] * n,
    )
    for at, name in enumerate(CHANNELS):
        table[f"low_{name}"] = rng.uniform(0, 9, n)
        table[f"high_{name}"] = rng.uniform(700, 1400, n) + 100 * at
    return Cohort(
        path=None, table=table,
        images=np.array([[images[c] for c in CHANNELS] for images, _ in samples], dtype=np.float32),
        masks=np.array([[masks[m] for m in ("body", *LESIONS)] for _, masks in samples], dtype=np.uint8),
        channels=CHANNELS, mask_names=("body", *LESIONS), unit="arbitrary", modality="MR", conditions=(),
        lineages={lineage.id: lineage},
        notes=("P93: left out: its segmentation holds an unknown label 7", "P94: left out: channel t1ce is missing"),
    )  # fmt: skip


def fake_made(real: Cohort, rows: NDArray[np.intp], blur: float, *, donor: int = 0, keep_lesion: bool = True) -> Cohort:
    """Something like a GAN's images: the target blurred, its grey values a little wrong."""
    rng = np.random.default_rng(11)
    lineage = Lineage.of("generate", parents=["d" * 16], recipe={"blur": blur}, seed=7, patients_seen=PATIENTS[:9])
    images = []
    for row in rows:
        truth = real.channel("flair")[row].astype(float)
        if not keep_lesion:
            truth = np.where(real.lesion(row), -0.1, truth)
        made = gaussian_filter(truth, blur) + rng.normal(0, 0.07) + 0.07 * smooth(rng, truth.shape[0], 2)
        images.append(np.where(real.body(row), np.clip(made, -1, 1), -1))
    n = len(rows)
    ids = real.table["id"][rows]
    table = fake_table(
        n,
        id=[f"{name}-made" for name in ids],
        patient=real.table["patient"][rows],
        split=real.table["split"][rows],
        slice=real.table["slice"][rows],
        site=real.table["site"][rows],
        label=real.table["label"][rows],
        origin=["synthetic"] * n,
        lineage=[lineage.id] * n,
        reference=["" if donor or not keep_lesion else name for name in ids],
        made_from=[f"{name};{real.table['id'][donor]}" if donor else name for name in ids],
    )
    masks = np.array(real.masks[rows])
    if donor:
        masks[:, 1:] = real.masks[donor, 1:]
        lesion = masks[:, 1:].any(axis=1)
        images = [np.where(gap, 0.8, image) for gap, image in zip(lesion, images, strict=True)]
    return Cohort(
        path=None, table=table, images=np.array(images, dtype=np.float32)[:, None], masks=masks, channels=("flair",),
        mask_names=real.mask_names, unit="arbitrary", modality="MR", conditions=("t1", "mask"),
        lineages={lineage.id: lineage},
    )  # fmt: skip


def fake_log(seed: int, epochs: int = 60) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    best = 0.0
    for epoch in range(1, epochs + 1):
        for step in (1, 2):
            losses = {
                "l1": 0.32 * np.exp(-epoch / 15) + 0.09,
                "adversarial": 0.8 + 0.006 * epoch,
                "discriminator": 0.62,
            }
            lines.append({
                "kind": "train", "epoch": epoch, "step": 2 * epoch + step, "seconds": 3.1 * epoch,
                "images_per_second": 21 + rng.normal(0, 0.8), "data_wait_share": 0.011 + 0.002 * rng.random(),
                "learning_rate": 2e-4 * min(1.0, 2 * (1 - epoch / (epochs + 1))),
                "losses": {name: float(value * (1 + 0.05 * rng.normal())) for name, value in losses.items()},
            })  # fmt: skip
        if epoch % 5 == 0:
            ssim = 0.62 - 0.3 * np.exp(-epoch / 9) - 0.0009 * max(0, epoch - 35) + 0.004 * rng.normal()
            lines.append({
                "kind": "validation", "epoch": epoch, "step": 2 * epoch, "ssim": ssim, "psnr_db": 11 + 13 * ssim,
                "best": bool(ssim > best),
            })  # fmt: skip
            best = max(best, ssim)
    return lines


METHOD = (
    "Wang 2004, Gaussian window of 11 taps along each axis, σ 1.5; data range 2 (window [−1, 1]); mean over patients; "
    "BCa bootstrap"
)


def fake_measurements() -> list[Measurement]:
    values = {  # arm → SSIM, PSNR, MAE over the body: the GAN loses to least squares in SSIM and MAE
        "synthetic": (0.6127, 19.24, 71.3), "unet-l1": (0.6258, 19.81, 66.9), "source image": (0.4981, 17.95, 96.2),
        "least squares": (0.6309, 18.77, 64.8), "mean training image": (0.1754, 13.52, 151.0),
    }  # fmt: skip
    found = []
    for region, shift in (("body", 0.0), ("lesion", -0.08), ("frame", 0.21)):
        for arm, (ssim, psnr, mae) in values.items():
            for name, value, half, unit, better in (
                ("ssim", ssim + shift, 0.021, "", "higher"), ("psnr", psnr + 9 * shift, 0.83, "dB", "higher"),
                ("mae", mae * (1 - shift), 6.1, "arbitrary", "lower"),
            ):  # fmt: skip
                found.extend(
                    Measurement(name + kind, value + (0.0041 if kind else 0), value - half, value + half, 18, 6, arm,
                                region, unit, better, METHOD + kind, "real test")
                    for kind in ("", "-median")
                )  # fmt: skip
    differences = (("source image", 0.1146, 1.29), ("least squares", -0.0182, 0.47), ("unet-l1", -0.0131, -0.57))
    for arm, ssim, psnr in differences:
        for name, value in (("ssim", ssim), ("psnr", psnr)):
            found.append(Measurement(
                f"{name}-difference", value, value - abs(value) / 2, value + abs(value) / 2, 18, 6, "synthetic", "body",
                "dB" if name == "psnr" else "", "higher", "paired by patient", arm,
            ))  # fmt: skip
    features = "efficientnet-lite0 (SHA-256 579344248a93), 1280 features; delete-one-patient jackknife"
    distances = (("synthetic", 48.31, 0.0213), ("unet-l1", 61.02, 0.0342))
    for arm, distance, kid in distances:
        for name, value, better in (
            ("frechet-distance", distance, "lower"), ("kid", kid, "lower"), ("diversity", 0.913, "higher"),
            ("improved-precision", 0.6111, "higher"), ("improved-recall", 0.2222, "higher"),
            ("coverage", 0.5833, "higher"),
        ):  # fmt: skip
            found.append(Measurement(name, value, value * 0.8, value * 1.1, 18, 6, arm, "frame", "", better, features,
                                     "real test (the same patients)"))  # fmt: skip
        found += [
            Measurement("frechet-distance", 21.7, None, None, 9, 3, "real vs real", "frame", "", "lower", features,
                        f"floor of {arm}"),
            Measurement("kid", -0.0008, None, None, 9, 3, "real vs real", "frame", "", "lower", features,
                        f"floor of {arm}"),
        ]  # fmt: skip
    classifiers = (("real", 0.7778, 0.8311), ("real+synthetic", 0.8055, 0.8478), ("synthetic", 0.6944, 0.7412))
    for arm, accuracy, auc in classifiers:
        found += [
            Measurement("accuracy", accuracy, accuracy - 0.11, accuracy + 0.09, 18, 6, arm, "", "", "higher",
                        "efficientnet-lite0, head; 400 steps", "real test"),
            Measurement("auc", auc, auc - 0.12, auc + 0.08, 18, 6, arm, "", "", "higher", "DeLong", "real test"),
            Measurement("precision", 0.75, 0.6, 0.9, 18, 6, arm, "", "", "higher", "threshold 0.5", "real test"),
        ]  # fmt: skip
    found.append(Measurement("moon-phase", 0.4242, None, None, 3, 2, "synthetic", method="nobody was told of this one"))
    return found


@pytest.fixture(scope="session")
def real() -> Cohort:
    return fake_real()


@pytest.fixture(scope="session")
def content(real: Cohort) -> ReportContent:
    return fake_content(real)


def fake_content(real: Cohort) -> ReportContent:
    test, train = real.rows(split="test"), real.rows(split="train")
    free = np.array([row for row in train if real.table["label"][row] == "tumour-free"])[1:]
    frequency = np.linspace(0.02, 0.5, 40)
    return ReportContent(
        title="T1 and lesion mask to FLAIR, two sites",
        real=real,
        synthetic={
            "reconstruct": fake_made(real, test, 0.8),
            "transplant": fake_made(real, free, 0.8, donor=2),
            "remove": fake_made(real, train[1::3], 0.8, keep_lesion=False),
            "unet-l1": fake_made(real, test, 1.5),
        },
        log=fake_log(1),
        variants={"unet-l1": fake_log(2)},
        measurements=fake_measurements(),
        curves={
            "spectrum": {
                "real": (frequency**-2.0).tolist(),
                "synthetic": (frequency**-2.0 * np.exp(-2 * frequency)).tolist(),
                "unet-l1": (frequency**-2.0 * np.exp(-5 * frequency)).tolist(),
            },
            "spectrum_frequency": frequency.tolist(),
            "similarity_by_patient": {"ssim": {"body": {"synthetic": {"P12": 0.5}}}},
        },
        warnings=("With 6 test patients the intervals are wide.",),
        verdicts=(
            {"claim": "synthetic has a higher SSIM over the body than source image", "verdict": "supported",
             "because": "mean difference +0.115, 95 % interval +0.09 to +0.14, 6 patients."},
            {"claim": "synthetic has a higher SSIM over the body than least squares", "verdict": "not supported",
             "because": "It loses to least squares: mean difference −0.018, 6 patients."},
            {"claim": "synthetic has a higher PSNR over the body than least squares", "verdict": "cannot tell",
             "because": "Cannot tell with n = 6 patients: mean difference +0.47 dB, 95 % interval −0.2 to +1.1."},
        ),
        recipe_yaml=RECIPE,
        environment={"python": "3.11.2", "torch": "2.13.0+cpu", "numpy": "2.4.6", "machine": "2 × AMD EPYC, 8 GiB"},
    )  # fmt: skip


def fake_translation(real: Cohort, source: str, target: str, split: str = "test", **columns: str) -> Cohort:
    """Something like a CycleGAN's images: the true ones a little blurred, or, there and back, the source itself."""
    rows = real.rows(split=split)
    rng = np.random.default_rng(3)
    lineage = Lineage.of("train", parents=["e" * 16], recipe={"x": source}, seed=7, patients_seen=PATIENTS[:9])
    images = [
        np.where(real.body(row), np.clip(gaussian_filter(real.channel(target)[row].astype(float), 0.7)
                                         + 0.05 * smooth(rng, SIZE, 3), -1, 1), -1)
        for row in rows
    ]  # fmt: skip
    n, ids = len(rows), real.table["id"][rows]
    paired = split == "test" and not columns
    inherited = {name: real.table[name][rows] for name in ("patient", "split", "slice", "site", "label")}
    table = fake_table(
        n, id=[f"{source}-{target}/{name}" for name in ids], origin=["synthetic"] * n, lineage=[lineage.id] * n,
        made_from=ids, reference=ids if paired or (source == target and not columns) else [""] * n,
        **(inherited | {name: np.full(n, value) for name, value in columns.items()}),
    )  # fmt: skip
    for end, value in (("low", 0.0), ("high", 1000.0)):
        table[f"{end}_{target}"] = np.full(n, value)
    return Cohort(
        path=None, table=table, images=np.array(images, dtype=np.float32)[:, None], masks=np.array(real.masks[rows]),
        channels=(target,), mask_names=real.mask_names, unit="arbitrary", modality="MR", conditions=(source,),
        lineages={lineage.id: lineage},
    )  # fmt: skip


def fake_samples(real: Cohort, count: int = 24, blur: float = 1.0, seed: int = 0) -> Cohort:
    """Something like a WGAN's images of either label, each a patient of its own."""
    rng = np.random.default_rng(seed)
    lineage = Lineage.of("train", parents=["f" * 16], recipe={"blur": blur}, seed=seed, patients_seen=PATIENTS[:9])
    labels = ["tumour" if i % 2 else "tumour-free" for i in range(count)]
    images = []
    for text in labels:
        made, masks = fake_slice(rng, SIZE, lesion=text == "tumour")
        images.append(np.where(masks["body"], np.clip(gaussian_filter(made["flair"], blur), -1, 1), -1))
    masks = np.zeros((count, 3, SIZE, SIZE), dtype=np.uint8)
    masks[:, 0] = 1
    table = fake_table(
        count, id=[f"sample/{i:05d}" for i in range(count)], patient=[f"synthetic-{i + 1:05d}" for i in range(count)],
        label=labels, origin=["synthetic"] * count, lineage=[lineage.id] * count,
    )  # fmt: skip
    table |= {"low_flair": np.zeros(count), "high_flair": np.full(count, 1000.0)}
    return Cohort(
        path=None, table=table, images=np.array(images, dtype=np.float32)[:, None], masks=masks, channels=("flair",),
        mask_names=real.mask_names, unit="arbitrary", modality="MR", conditions=(), lineages={lineage.id: lineage},
    )  # fmt: skip


def fake_other_log(losses: tuple[str, ...], epochs: int = 20, **validation: float) -> list[dict[str, Any]]:
    """A log of other losses, some of them below 0, and of other numbers on validation patients."""
    lines: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        values = {name: (1 + at) / (epoch + 3) * (-1 if name in ("critic", "generator") else 1)
                  for at, name in enumerate(losses)}  # fmt: skip
        lines.append({"kind": "train", "epoch": epoch, "step": epoch, "learning_rate": 5e-5, "images_per_second": 40.0,
                      "data_wait_share": 0.01, "losses": values, "diversity": 0.4 + 0.02 * epoch})  # fmt: skip
        if validation and epoch % 5 == 0:
            lines.append({"kind": "validation", "epoch": epoch, "step": epoch, "best": epoch == 15, **validation})
    return lines


CYCLE_LOSSES = (
    "adversarial_source", "adversarial_target", "cycle_source", "cycle_target", "discriminator_source",
    "discriminator_target", "identity_source", "identity_target",
)  # fmt: skip


def fake_cycle_content(real: Cohort, **more: Any) -> ReportContent:
    arms = {
        "translate": fake_translation(real, "t1", "flair"),
        "back": fake_translation(real, "flair", "t1"),
        "cycle": fake_translation(real, "t1", "t1"),
        "redraw": fake_translation(real, "t1", "flair", split="train"),
    }
    return ReportContent(
        title="T1 to FLAIR, unpaired", real=real, synthetic=arms,
        log=fake_other_log(CYCLE_LOSSES, ssim=0.9, psnr_db=25.0), **more,
    )  # fmt: skip


def fake_sample_content(real: Cohort, **more: Any) -> ReportContent:
    arms = {"sample": fake_samples(real), "untrained": fake_samples(real, blur=6, seed=1)}
    losses = ("critic", "generator", "gradient_penalty", "wasserstein_distance")
    return ReportContent(title="Slices from noise", real=real, synthetic=arms, log=fake_other_log(losses), **more)


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    """The builders above, for tests that need another cohort or page than ``content``."""
    return SimpleNamespace(
        cycle_losses=CYCLE_LOSSES, cycle_content=fake_cycle_content, made=fake_made, log=fake_other_log,
        sample_content=fake_sample_content, samples=fake_samples, translation=fake_translation,
    )  # fmt: skip
