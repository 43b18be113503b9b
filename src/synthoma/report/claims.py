"""The study's claims, each beside the number that this run has for it, and a verdict in plain words.

*Supported* and *not supported* are said only where the 95 % interval lies on one side of what was claimed; else it is
*cannot tell with n = …*, with the number at which one could, or *not measured*, with what to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from synthoma.records import Measurement
from synthoma.report.arms import main_cohort
from synthoma.report.content import ReportContent
from synthoma.report.families import FLOOR_OF, MAIN_ARMS, beside, is_baseline, worse_than
from synthoma.report.measures import format_value
from synthoma.report.naming import extractor_of
from synthoma.report.paper_tables import centres, find, p_name
from synthoma.report.printed import Number
from synthoma.report.verdicts import Claim, at_least, needed, shown, unmeasured

__all__ = ["claims"]

ALPHA = 0.05
FOLDS = "synthoma run RECIPE --out STUDY --set protocol.design=kfold --set split.folds=5 --set protocol.runs=3"
UTILITY = "Run the family utility (evaluation.families) on a cohort with two labels in every split"
READERS = "Let readers rate real and synthetic images mixed: synthoma study create, then study analyse"


def claims(content: ReportContent) -> list[Claim]:
    """Every claim of the study, in the order of its tables."""
    return [
        *(_similarity(content, name, region) for name in ("ssim", "psnr") for region in ("body", "frame")),
        _fid(content), _spread(content), _gain(content, "accuracy", "accuracy", 8.3, 9.6),
        _gain(content, "sensitivity", "recall", 8.8, 9.5), _synthetic_alone(content), _significant(content),
        _realism(content), _correlation(content), _clusters(content), _other_centres(content),
    ]  # fmt: skip


def _similarity(content: ReportContent, name: str, region: str) -> Claim:
    bound, text, digits, unit = (
        (0.92, "SSIM of 0.92 to 0.95", 3, "") if name == "ssim" else (34.1, "PSNR of 34.1 to 36.8 dB", 1, " dB")
    )
    claim = f"{text}, {'over the body' if region == 'body' else 'in the whole frame'}"
    m = _headline(content, name, region)
    if m is None:
        main = main_cohort(content.synthetic)
        if main is not None and not main[1].is_paired:
            why = (
                "These images have no true image that they should equal, so the number does not exist. It is there for "
            )
            return unmeasured(claim, why + "reconstructions by a conditional GAN, or translations of paired channels.")
        return unmeasured(claim, "Run the family similarity on held-out patients (evaluation.families).")
    found = at_least(claim, m, bound, digits, unit=unit)
    better = [one for one in worse_than(m, beside(m, content.measurements)) if is_baseline(one)]
    if better:
        found = replace(
            found, because=f"{found.because} {_list(better)} {'does' if len(better) == 1 else 'do'} better."
        )
    return found


def _fid(content: ReportContent) -> Claim:
    claim = "FID of 12.4 to 15.7"
    m = _headline(content, "frechet-distance", "frame")
    run = "synthoma evaluate … --set evaluation.extractor=inception-v3 --set evaluation.extractor_weights=FILE"
    if m is None:
        return unmeasured(claim, f"Run the family distribution with Inception-v3's weights: {run}.")
    network = extractor_of(m)
    floor = find(content.measurements, "frechet-distance", "frame", compared=f"{FLOOR_OF}{m.arm}")
    beside_it = f" (floor between real patients {format_value(floor.value)})" if floor is not None else ""
    if network != "inception-v3":
        number = f"by {network}: {shown(m, 1)}{beside_it}"
        because = f"A distance by {network} is no FID and cannot be set against 12.4 to 15.7. For Inception-v3: {run}."
        return Claim(claim, number, "not measured", because)
    found = at_least(claim, m, 15.7, 1, below=True)
    if floor is not None and floor.value is not None and floor.value > 15.7:
        found = replace(found, because=f"{found.because} Even real images of other patients are {floor.value:.1f} "
                                       f"apart "
                        "at this n: the claim could not be met.")  # fmt: skip
    return replace(found, number=found.number + beside_it)


def _spread(content: ReportContent) -> Claim:
    """The SD over runs in percent of the mean, with its χ² interval."""
    claim = "SSIM varies by ±1.3 % over runs"
    m = _headline(content, "ssim", "body")
    runs = _runs(content)
    sd = None if m is None else find(content.measurements, "ssim-sd", "body", m.arm, m.compared)
    if m is None or sd is None or not m.value or sd.value is None or runs < 2:
        return unmeasured(claim, f"One training says nothing of others: {FOLDS}.")
    percent = 100 * sd.value / abs(m.value)
    from scipy.stats import chi2

    low, high = (percent * math.sqrt((runs - 1) / chi2.ppf(end, runs - 1)) for end in (0.975, 0.025))
    number = f"{percent:.2f} % (95 % interval {low:.2f} to {high:.2f})"
    if high <= 1.3:
        return Claim(claim, number, "supported", f"SD of {runs} runs over their mean; its interval ends below 1.3 %.")
    if low > 1.3:
        return Claim(
            claim, number, "not supported", f"SD of {runs} runs over their mean; its interval begins above 1.3 %."
        )
    could = ""
    if percent < 1.3:
        more = next((k for k in range(runs + 1, 1001)
                     if percent * math.sqrt((k - 1) / chi2.ppf(0.025, k - 1)) <= 1.3), None)  # fmt: skip
        could = f" With the same SD, {more} runs could tell." if more else ""
    return Claim(
        claim, number, f"cannot tell with n = {runs} runs", f"So few runs leave the SD itself uncertain.{could}"
    )


def _gain(content: ReportContent, name: str, word: str, low: float, high: float) -> Claim:
    claim = f"Synthetic images added to real ones raise {word} by {low} to {high} points"
    m = find(content.measurements, f"{name}-difference", "", "real+synthetic", "real (")
    if m is None:
        return unmeasured(claim, f"{UTILITY}.")
    found = at_least(claim, m, low / 100, 1, unit=" points", scale=100, sign=True)
    control = find(content.measurements, f"{name}-difference", "", "real+duplicates", "real (")
    if control is not None and control.value is not None:
        repeated = Number(100 * control.value, digits=1, sign=True).text
        found = replace(found, because=f"{found.because} Real images repeated as often change it by {repeated} points.")
        if found.kind == "yes" and control.value >= low / 100:
            because = f"{found.because} So much comes from more images alone."
            found = replace(found, verdict=f"cannot tell with n = {m.n_patients} patients", because=because)
    return found


def _synthetic_alone(content: ReportContent) -> Claim:
    claim = "A classifier trained on synthetic images alone has an accuracy of 87 % or more"
    m = find(content.measurements, "accuracy", "", "synthetic")
    if m is None:
        return unmeasured(claim, f"{UTILITY}, with the arm synthetic (evaluation.utility.arms).")
    found = at_least(claim, m, 0.87, 1, unit=" %", scale=100)
    real = find(content.measurements, "accuracy", "", "real")
    if real is not None and real.value is not None:
        found = replace(found, because=f"{found.because} Real images alone: {100 * real.value:.1f} %.")
    return found


def _significant(content: ReportContent) -> Claim:
    """Whether the gain is there at all: the corrected test after Holm, and better than repeated real images."""
    claim = "The gain from synthetic images is more than chance (p < 0.05)"
    pooled = p_name(content.measurements) == "accuracy-difference-p-holm"
    measure = "accuracy" if pooled else "balanced-accuracy"
    p = find(content.measurements, p_name(content.measurements), "", "real+synthetic", "real (")
    m = find(content.measurements, f"{measure}-difference", "", "real+synthetic", "real (")
    if p is None or m is None or p.value is None or m.value is None:
        return unmeasured(claim, f"{UTILITY}; over folds: {FOLDS}.")
    what = measure.replace("-", " ")
    number = f"p = {p.value:.3g} after Holm; {what} {shown(m, 1, scale=100, sign=True, unit=' points')}"
    how = "the corrected resampled t-test" if pooled else "patients' answers exchanged"
    because = f"By {how}, corrected for all comparisons (Holm)."
    naive = find(content.measurements, "accuracy-difference-p-naive", "", "real+synthetic", "real (")
    if pooled and naive is not None and naive.value is not None:
        because += (
            f" The plain t-test, which the study used, would say {naive.value:.3g}: it takes folds for independent."
        )
    control = find(content.measurements, "balanced-accuracy-difference", "", "real+synthetic", "real+duplicates")
    beaten = control is None or (control.low is not None and control.low > 0)
    if m.value <= 0:
        return Claim(claim, number, "not supported", f"There is no gain. {because}")
    if p.value < ALPHA and beaten:
        return Claim(claim, number, "supported", because)
    if p.value < ALPHA:
        because += " But it cannot be told from what real images give when repeated as often."
    could = None if m.low is None or m.high is None else needed(m.value, (m.high - m.low) / 2, m.n_patients)
    because += f" If gain and spread stay as they are, about {could} test patients could tell." if could else ""
    return Claim(claim, number, f"cannot tell with n = {m.n_patients} patients", because)


def _realism(content: ReportContent) -> Claim:
    claim = "Readers rate the realism of synthetic images 4.6 of 5"
    ratings = [m for m in content.measurements if m.name == "reader-realism"]
    m = next((m for m in ratings if m.arm != "real"), None)
    if m is None:
        return unmeasured(claim, f"{READERS}.")
    found = at_least(claim, m, 4.6, 2)
    real = next((m for m in ratings if m.arm == "real"), None)
    if real is not None:
        found = replace(found, because=f"{found.because} Real images in the same sessions: {shown(real, 2)}.")
    return found


def _correlation(content: ReportContent) -> Claim:
    claim = "Ratings of realism go with SSIM (r = 0.84)"
    m = find(content.measurements, "reader-pearson", "", "realism", "ssim")
    if m is None:
        return unmeasured(claim, f"{READERS}; the images need true ones for their SSIM.")
    return at_least(claim, m, 0.84, 2, units=(m.n_images, "images"))


def _clusters(content: ReportContent) -> Claim:
    """By the silhouette in feature space, never by an embedding's coordinates: those of noise make clusters too."""
    claim = "Synthetic images make the classes more compact clusters (t-SNE of the classifier's features)"
    m = find(content.measurements, "silhouette-classifier-gain", "", "real+synthetic", "real (")
    if m is None:
        return unmeasured(
            claim,
            f"{UTILITY}; the silhouette on held-out patients is read, since clusters in a picture alone show nothing.",
        )
    found = at_least(claim, m, 0.0, 3, sign=True)
    own = find(content.measurements, "silhouette-classifier", "", "real+synthetic")
    if own is None or own.value is None:
        return found
    return replace(found, because=f"{found.because} Silhouette with synthetic images {shown(own, 3)}.")


def _other_centres(content: ReportContent) -> Claim:
    claim = "Synthetic images add up to 7 points of accuracy at other centres"
    table = centres(content)
    m = find(content.measurements, "accuracy-difference", "", "real+synthetic", "real (")
    if table is None or m is None or m.value is None:
        return unmeasured(claim, "Run it with the sites as folds: --set protocol.design=leave-one-site-out.")
    gains = [row["difference"] for row in table.rows]
    known = [gain.value for gain in gains if isinstance(gain, Number) and gain.value is not None]
    places = ", ".join(
        f"{row['centre']} {g.text}" for row, g in zip(table.rows, gains, strict=True) if isinstance(g, Number)
    )
    number = f"{shown(m, 1, scale=100, sign=True, unit=' points')}, mean over centres"
    because = f"All centres: {places}."
    if m.value <= 0 or not known or max(known) < 7:
        lost = "On the mean there is no gain" if m.value <= 0 else "No centre gains 7 points"
        return Claim(claim, number, "not supported", f"{lost}. {because}")
    if m.low is not None and m.low > 0:
        return Claim(claim, number, "supported", because)
    return Claim(claim, number, f"cannot tell with n = {len(known)} centres", f"The interval holds 0. {because}")


def _headline(content: ReportContent, name: str, region: str) -> Measurement | None:
    """Of the cohort that the page is about."""
    main = main_cohort(content.synthetic)
    arms = MAIN_ARMS if main is None or main[0] == "reconstruct" else (main[0],)
    for arm in arms:
        m = find(content.measurements, name, region, arm)
        if m is not None and m.value is not None:
            return m
    return None


def _runs(content: ReportContent) -> int:
    curve = content.curves.get("protocol") or {}
    return len(curve["tested"]) if curve.get("design") == "holdout" else int(curve.get("runs", 1))


def _list(names: Sequence[str]) -> str:
    text = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return text[:1].upper() + text[1:]
