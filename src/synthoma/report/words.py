"""What the report says in sentences: the summary, the verdicts, the standing warnings, definitions, references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthoma.records import Cohort, Measurement
from synthoma.report.content import ReportContent
from synthoma.report.gallery import label
from synthoma.report.measures import (
    beside,
    family_of,
    format_value,
    main_arm,
    measure_label,
    worse_than,
)

__all__ = ["HeadNumber", "definitions", "head_numbers", "made_sentence", "references", "standing_warnings", "summary"]

HEADLINES = ("ssim", "psnr")


@dataclass(frozen=True)
class HeadNumber:
    """One of the numbers at the top of the page."""

    name: str
    value: str
    note: str


def head_numbers(content: ReportContent) -> list[HeadNumber]:
    """Patients, images, and the GAN's SSIM and PSNR over the body."""
    real = content.real
    splits = [f"{len(set(real.table['patient'][rows]))} {split}" for split in ("train", "validation", "test")
              if len(rows := real.rows(split=split))]  # fmt: skip
    made = sum(len(cohort) for name, cohort in content.synthetic.items() if name not in content.variants)
    numbers = [
        HeadNumber("Patients", f"{len(real.patients)}", ", ".join(splits) or "no split"),
        HeadNumber("Images", f"{len(real)}", f"real; {made} synthetic"),
    ]
    for name in HEADLINES:
        found = _headline(content.measurements, name)
        title = f"{measure_label(name)} over the body"
        if found is None:
            numbers.append(HeadNumber(title, "—", "not available"))
        else:
            unit = f" {found.unit}" if found.unit else ""
            numbers.append(HeadNumber(title, f"{format_value(found.value)}{unit}", _interval_words(found)))
    return numbers


def summary(content: ReportContent) -> list[str]:
    """The page's first paragraph, sentence by sentence."""
    real, sites = content.real, len(set(content.real.table["site"].tolist()) - {""})
    text = [
        f"{len(real)} real images of {_count(len(real.patients), 'patient')}"
        + (f" from {_count(sites, 'site')}" if sites else "")
        + f" ({real.modality}; {', '.join(label(name) for name in real.channels)}) were prepared."
    ]
    main = content.synthetic.get("reconstruct")
    if main is not None:
        text.append(made_sentence(main))
    for name in HEADLINES:
        found = _headline(content.measurements, name)
        if found is None:
            continue
        unit = f" {found.unit}" if found.unit else ""
        value = f"{format_value(found.value)}{unit}"
        text.append(
            f"On {_count(found.n_patients, 'test patient')}, over the body, the mean {measure_label(name)} is {value}"
            f" ({_interval_words(found)}){_against(found, beside(found, content.measurements))}."
        )
    if not content.measurements:
        text.append("Nothing has been measured yet.")
    return text


def made_sentence(made: Cohort) -> str:
    """What the GAN was shown, what it made, and how many patients it saw."""
    shown = [label(name) if name != "mask" else "the lesion mask" for name in made.conditions]
    seen = max((len(made.lineages[key].patients_seen) for key in set(made.table["lineage"].tolist())
                if key in made.lineages), default=0)  # fmt: skip
    target = " and ".join(label(name) for name in made.channels)
    source = f"From {' and '.join(shown)}" if shown else "From noise"
    trained = f", trained on {_count(seen, 'patient')}," if seen else ""
    return f"{source} the GAN{trained} made {target}."


def standing_warnings(content: ReportContent) -> list[str]:
    """What every report says about its own use."""
    warnings = [
        "For research only: nothing here is fit for diagnosis or treatment.",
        "Synthetic is not anonymous: a generator can repeat what it was trained on.",
    ]
    if not any(family_of(m) == "privacy" for m in content.measurements):
        warnings.append(
            "The privacy audit has not been run: whether a patient was copied is not known. Do not release the cohort."
        )
    warnings.append("This page shows images of real patients: handle it as patient data.")
    return warnings


DEFINITIONS: Mapping[str, str] = {
    "Patient, image": "The patient is the unit: splits, means and intervals go by patient. A measure is averaged over "
    "each patient's images first, then over patients.",
    "95 % interval": "The range of values that agree with these patients. How it was computed stands with each method.",
    "Body, lesion, frame": "Where a measure is taken: inside the brain or body mask, inside the lesion, or in the "
    "whole picture. The black background lifts SSIM and PSNR in the frame, so the body is the headline.",
    "Source image": "A baseline: the condition image itself, offered as if it were the target.",
    "Least squares": "A baseline: each pixel of the target fitted linearly from the same pixel of the conditions.",
    "Mean training image": "A baseline: the mean of the training patients' target images.",
    "SSIM": "Structural similarity to the real image; 1 is identical.",
    "PSNR": "Peak signal-to-noise ratio to the real image in dB, for the declared intensity window; higher is closer.",
    "MAE": "Mean absolute error to the real image; lower is closer.",
    "Fréchet distance": "Distance between the feature distributions of two sets of images. Only to be read beside its "
    "floor, the distance of real images to other real images.",
    "KID": "Kernel inception distance: an unbiased distance between feature distributions; may be slightly negative.",
}
_REFERENCES: Mapping[str, str] = {
    "ssim": "Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli. Image quality assessment: from error visibility to "
    "structural similarity. IEEE Trans. Image Process. 13(4):600–612, 2004.",
    "frechet": "M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter. GANs trained by a two time-scale "
    "update rule converge to a local Nash equilibrium. NeurIPS 2017.",
    "kid": "M. Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton. Demystifying MMD GANs. ICLR 2018.",
    "spectr": "R. Durall, M. Keuper, J. Keuper. Watch your up-convolution: CNN based generative deep neural networks "
    "are failing to reproduce spectral distributions. CVPR 2020.",
}
_ALWAYS = (
    "P. Isola, J.-Y. Zhu, T. Zhou, A. A. Efros. Image-to-image translation with conditional adversarial networks. CVPR "
    "2017.",
    "B. Efron. Better bootstrap confidence intervals. J. Am. Stat. Assoc. 82(397):171–185, 1987.",
)


def definitions(content: ReportContent) -> list[tuple[str, str]]:
    """Terms and what they mean; the caller's text stands in place of the report's own."""
    given = {measure_label(name): text for name, text in (content.definitions or {}).items()}
    return [*({**DEFINITIONS, **given}).items()]


def references(measurements: Sequence[Measurement]) -> list[str]:
    """The papers behind the measurements that are there."""
    names = {m.name.lower() for m in measurements}
    cited = [text for start, text in _REFERENCES.items() if any(name.startswith(start) for name in names)]
    return [*cited, *_ALWAYS]


def _headline(measurements: Sequence[Measurement], name: str) -> Measurement | None:
    main = main_arm(measurements)
    found = [m for m in measurements if (m.name, m.region, m.arm) == (name, "body", main) and m.value is not None]
    return found[0] if found else None


def _against(found: Measurement, others: Sequence[Measurement]) -> str:
    better = set(worse_than(found, others))
    values = {m.arm: format_value(m.value) for m in others if m.value is not None}
    if not values:
        return ", with nothing to compare it with"
    said = {arm: f"{_SPOKEN.get(arm, arm)} ({value})" for arm, value in values.items()}
    won = [text for arm, text in said.items() if arm not in better]
    lost = [text for arm, text in said.items() if arm in better]
    parts = [f"better than {_list(won)}"] if won else []
    parts += [f"worse than {_list(lost)}"] if lost else []
    return ", " + ", but ".join(parts)


_SPOKEN = {
    "source image": "the source image",
    "least squares": "the least-squares fit",
    "mean training image": "the mean training image",
}


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _interval_words(m: Measurement) -> str:
    if m.low is None or m.high is None:
        return "no interval"
    return f"95 % interval {format_value(m.low)} to {format_value(m.high)}"
