"""The study's Tables 3 and 4 for this cohort: image quality of each method, classification of each training set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synthoma.records import Measurement
from synthoma.report.content import ReportContent
from synthoma.report.families import FLOOR_OF, SOURCE_OF, is_baseline
from synthoma.report.naming import arm_method, arm_modality, extractor_of
from synthoma.report.printed import Number, PaperTable

__all__ = ["centres", "classification", "find", "image_quality", "p_name"]

TRAINED_ON = {
    "real": "Real", "real+duplicates": "Real, repeated", "real+classical": "Real + classical copies",
    "real+synthetic": "Real + synthetic", "synthetic": "Synthetic only",
}  # fmt: skip
MEASURES = (
    ("accuracy", "Accuracy"),
    ("precision", "Precision"),
    ("sensitivity", "Recall"),
    ("f1", "F1"),
    ("auc", "AUC"),
)


def image_quality(content: ReportContent) -> PaperTable | None:
    """Table 3: SSIM, PSNR and Fréchet distance of each method; ``None`` where none of them was measured."""
    measurements = content.measurements
    wanted = [
        m for m in measurements
        if m.name in ("ssim", "psnr", "frechet-distance") and m.region in ("body", "frame")
        and not m.compared.startswith(FLOOR_OF)
    ]  # fmt: skip
    arms = [*dict.fromkeys(m.arm for m in wanted)]
    arms.sort(key=lambda arm: (is_baseline(arm), arm.startswith(SOURCE_OF)))
    rows: list[Mapping[str, str | Number | None]] = []
    for arm in arms:
        paired = [*dict.fromkeys(m.compared for m in wanted if m.arm == arm and m.name in ("ssim", "psnr"))]
        for number, compared in enumerate(paired or [""]):
            method, modality = arm_method(content, arm), arm_modality(content, arm, compared)
            row: dict[str, str | Number | None] = {"method": method, "modality": modality}
            for name, digits in (("ssim", 3), ("psnr", 1)):
                for region in ("body", "frame"):
                    row[f"{name}_{region}"] = _number(measurements, name, digits, arm, region, compared)
            first = number == 0
            row["frechet"] = _number(measurements, "frechet-distance", 1, arm, "frame") if first else None
            floor = find(measurements, "frechet-distance", "frame", compared=f"{FLOOR_OF}{arm}") if first else None
            row["frechet_floor"] = Number.of(floor, digits=1)
            limit = find(measurements, "frechet-distance-infinity", "frame", arm) if first else None
            row["frechet_infinity"] = Number.of(limit, digits=1)
            own = [m for m in wanted if m.arm == arm and (m.compared == compared or m.name == "frechet-distance")]
            row["n"] = f"{own[0].n_patients} ({own[0].n_images})"
            rows.append(row)
    if not rows:
        return None
    network = next((extractor_of(m) for m in wanted if m.name == "frechet-distance"), "")
    distance = "FID" if network == "inception-v3" else "Fréchet distance"
    columns = {
        "method": "Method", "modality": "Modality", "ssim_body": "SSIM, body", "ssim_frame": "SSIM, frame",
        "psnr_body": "PSNR (dB), body", "psnr_frame": "PSNR (dB), frame", "frechet": distance,
        "frechet_floor": "its floor, real vs real", "frechet_infinity": "at infinite n", "n": "Patients (images)",
    }  # fmt: skip
    held = [key for key in columns if any(row[key] is not None for row in rows)]
    notes = ["Means over patients" + _spread(content) + "; below each the 95 % interval over patients."]
    notes += ["Body: within the brain or body mask; frame: the whole picture, whose background lifts both numbers."]
    if network:
        notes.append(
            f"{distance} by {network}: only to be read against its floor at the same number of images"
            + ("." if distance == "FID" else ", and never against a published FID, which is by Inception-v3.")
        )
    if "ssim_body" in held and any(row["ssim_body"] is None for row in rows):
        notes.append("No SSIM or PSNR without a true image to compare with.")
    caption = "Image quality of the synthetic images (layout of the study's Table 3)."
    return PaperTable("table-3-image-quality", caption, {key: columns[key] for key in held}, ("method", "modality"),
                      tuple(rows), tuple(notes))  # fmt: skip


def classification(content: ReportContent) -> PaperTable | None:
    """Table 4: a classifier by what it was trained on; ``None`` where none was trained."""
    measurements = content.measurements
    arms = [arm for arm in TRAINED_ON if find(measurements, "accuracy", "", arm) is not None]
    if not arms:
        return None
    rows: list[Mapping[str, str | Number | None]] = []
    for arm in arms:
        row: dict[str, str | Number | None] = {"trained_on": TRAINED_ON[arm]}
        for name, _ in MEASURES:
            scale, digits = (1, 3) if name in ("auc", "f1") else (100, 1)
            row[name] = _number(measurements, name, digits, arm, "", scale=scale)
        difference = _number(measurements, "accuracy-difference", 1, arm, "", "real (", scale=100, sign=True)
        row["difference"] = difference
        p = find(measurements, p_name(measurements), "", arm, "real (")
        row["p"] = Number(p.value, p=True) if p is not None and p.value is not None else None
        m = find(measurements, "accuracy", "", arm)
        row["n"] = f"{m.n_patients} ({m.n_images})" if m else ""
        rows.append(row)
    columns = {"trained_on": "Trained on"}
    columns |= {name: heading + ("" if name in ("auc", "f1") else " (%)") for name, heading in MEASURES}
    columns |= {"difference": "Δ accuracy (points)", "p": "corrected p", "n": "Test patients (images)"}
    held = [key for key in columns if any(row[key] is not None for row in rows)]
    notes = ["All judged on real test images; means" + _spread(content) + ", below each the 95 % interval."]
    if "difference" in held:
        notes.append("Δ: minus the classifier of real images, on the same test images.")
    notes += [_of_p(measurements)] if "p" in held else []
    caption = f"Classification ({_classes(content)}) by training set (layout of the study's Table 4)."
    return PaperTable("table-4-classification", caption, {key: columns[key] for key in held}, ("trained_on",),
                      tuple(rows), tuple(notes))  # fmt: skip


def centres(content: ReportContent) -> PaperTable | None:
    """Every centre that was left out: accuracy without and with synthetic images; ``None`` in other designs."""
    curve = content.curves.get("protocol", {})
    if not isinstance(curve, Mapping) or curve.get("design") != "leave-one-site-out":
        return None
    columns = {"centre": "Centre left out", "patients": "Patients", "real": "Real (%)", "both": "Real + synthetic (%)",
               "difference": "Difference (points)"}  # fmt: skip
    values = {
        key: one["values"]
        for one in curve["values"]
        for key, name, arm, compared in (
            ("real", "accuracy", "real", ""), ("both", "accuracy", "real+synthetic", ""),
            ("difference", "accuracy-difference", "real+synthetic", "real ("),
        )
        if (one["name"], one["arm"]) == (name, arm) and one["compared"].startswith(compared)
    }  # fmt: skip
    if "difference" not in values:
        return None
    rows: list[Mapping[str, str | Number | None]] = []
    for at, site in enumerate(curve["tested"]):
        sizes = [size["test"] for name, size in curve["patients"].items() if name.endswith(f" {site}")]
        row: dict[str, str | Number | None] = {
            "centre": site.removeprefix("site "),
            "patients": str(max(sizes, default=0)),
        }
        for key in ("real", "both", "difference"):
            row[key] = _over_runs(values[key][at], sign=key == "difference") if key in values else None
        rows.append(row)
    notes = ("Mean ± SD over runs; each centre was tested by a generator and a classifier that never saw it. All "
             "centres are printed, not the best.",)  # fmt: skip
    caption = "Accuracy at centres that were left out (leave one site out)."
    return PaperTable("centres", caption, columns, ("centre",), tuple(rows), notes)


def find(
    measurements: Sequence[Measurement], name: str, region: str, arm: str = "", compared: str = ""
) -> Measurement | None:
    """The first measurement of this name and region; of this arm where one is given, compared with what begins so."""
    for m in measurements:
        if (m.name, m.region) == (name, region) and arm in ("", m.arm) and m.compared.startswith(compared):
            return m
    return None


def p_name(measurements: Sequence[Measurement]) -> str:
    """The measurement that says whether arms differ: of a protocol over folds, or of a single split."""
    pooled = any(m.name == "accuracy-difference-p-holm" for m in measurements)
    return "accuracy-difference-p-holm" if pooled else "exchange-p-holm"


def _number(
    measurements: Sequence[Measurement], name: str, digits: int, arm: str, region: str, compared: str = "", *,
    scale: float = 1, sign: bool = False,
) -> Number | None:  # fmt: skip
    own = find(measurements, name, region, arm, compared)
    spread = find(measurements, f"{name}-sd", region, arm, compared)
    return Number.of(own, spread, digits=digits, scale=scale, sign=sign)


def _over_runs(values: Sequence[float | None], *, sign: bool) -> Number | None:
    known = [100 * value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    sd = math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1)) if len(known) > 1 else None
    return Number(mean, sd=sd, digits=1, sign=sign)


def _spread(content: ReportContent) -> str:
    curve = content.curves.get("protocol", {})
    runs = curve.get("runs", 1) if isinstance(curve, Mapping) else 1
    if isinstance(curve, Mapping) and curve.get("design") == "holdout":
        runs = len(curve.get("tested", ()))
    return f" ± SD over {runs} runs" if runs > 1 else " of one run, so that no SD over runs is known"


def _of_p(measurements: Sequence[Measurement]) -> str:
    if p_name(measurements) == "accuracy-difference-p-holm":
        return (
            "p: corrected resampled t-test of the difference in accuracy (runs averaged within a fold; training sets "
            "of "
            "folds overlap), Holm over all comparisons of the protocol."
        )
    return (
        "p: test patients' answers exchanged between the two classifiers, on balanced accuracy, Holm over all "
        "comparisons of arms. One training run: no p speaks of other trainings."
    )


def _classes(content: ReportContent) -> str:
    labels = sorted({str(label) for label in content.real.table["label"].tolist() if str(label)})
    return " or ".join(labels) if len(labels) == 2 else "two classes"
