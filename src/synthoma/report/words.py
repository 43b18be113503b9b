"""What the report says in sentences: the summary and the standing warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthoma.records import Cohort, Measurement
from synthoma.report.arms import changes, main_cohort
from synthoma.report.content import ReportContent
from synthoma.report.families import FLOOR_OF, MAIN_ARMS, SOURCE_OF, UNTRANSLATED, beside, family_of, worse_than
from synthoma.report.measures import format_value, measure_label
from synthoma.report.shown import label

__all__ = [
    "HeadNumber",
    "head_numbers",
    "headline",
    "headlines",
    "made_sentence",
    "standing_warnings",
    "summary",
    "unjudged",
]

RECOGNISED = ("recognised-as-target", "recognition-balanced-accuracy")


@dataclass(frozen=True)
class HeadNumber:
    """One of the numbers at the top of the page."""

    name: str
    value: str
    note: str


def headlines(content: ReportContent) -> list[tuple[str, str]]:
    """(name, region) of the measures that the page begins with, by what kind of images were made."""
    main = main_cohort(content.synthetic)
    if main is not None and main[1].is_from_noise:
        return [("frechet-distance", "frame"), ("recognition-balanced-accuracy", "")]
    if main is not None and main[1].is_translation:
        first = ("ssim", "body") if main[1].is_paired else ("frechet-distance", "frame")
        return [first, ("recognised-as-target", "")]
    return [("ssim", "body"), ("psnr", "body")]


def head_numbers(content: ReportContent) -> list[HeadNumber]:
    """Patients, images, and the two measures that the page begins with."""
    real = content.real
    splits = [f"{len(set(real.table['patient'][rows]))} {split}" for split in ("train", "validation", "test")
              if len(rows := real.rows(split=split))]  # fmt: skip
    made = sum(len(cohort) for name, cohort in content.synthetic.items() if name not in content.variants)
    numbers = [
        HeadNumber("Patients", f"{len(real.patients)}", ", ".join(splits) or "no split"),
        HeadNumber("Images", f"{len(real)}", f"real; {made} synthetic"),
    ]
    for name, region in headlines(content):
        found = headline(content, name, region)
        title = measure_label(name) + (" over the body" if region == "body" else "")
        if found is None:
            numbers.append(HeadNumber(title, "—", "not available"))
        else:
            unit = f" {found.unit}" if found.unit else ""
            numbers.append(HeadNumber(title, f"{format_value(found.value)}{unit}", _interval_words(found)))
    return numbers


def unjudged(content: ReportContent) -> str:
    """What must stand before everything else where nobody was held out; empty where somebody was."""
    real = content.real
    if not content.synthetic or len(real.rows(split="test")) or not (real.table["split"] != "").any():
        return ""
    everybody = _count(len(real.patients), "patient")
    return (
        f"No patient was held out: the generator was trained on, or chosen by, all {everybody}. Nothing here is "
        "judged. This run shows that the path works from scans to synthetic images, and no more."
    )


def summary(content: ReportContent) -> list[str]:
    """The page's first paragraph, sentence by sentence."""
    real, sites = content.real, len(set(content.real.table["site"].tolist()) - {""})
    kinds = dict.fromkeys((real.modality, ", ".join(label(name) for name in real.channels)))  # CT has one channel, ct
    text = [
        f"{len(real)} real images of {_count(len(real.patients), 'patient')}"
        + (f" from {_count(sites, 'site')}" if sites else "")
        + f" ({'; '.join(kinds)}) were prepared."
    ]
    main = main_cohort(content.synthetic)
    if main is not None:
        text.append(made_sentence(main[1], real))
    for name in ("ssim", "psnr"):
        found = headline(content, name, "body")
        if found is None:
            continue
        unit = f" {found.unit}" if found.unit else ""
        value = f"{format_value(found.value)}{unit}"
        text.append(
            f"On {_count(found.n_patients, 'test patient')}, over the body, the mean {measure_label(name)} is {value}"
            f" ({_interval_words(found)}){_against(found, beside(found, content.measurements))}."
        )
    text += [sentence for sentence in (_cycle_sentence(content), *_set_sentences(content)) if sentence]
    if not content.measurements:
        text.append("Nothing has been measured." if unjudged(content) else "Nothing has been measured yet.")
    return text


def made_sentence(made: Cohort, real: Cohort) -> str:
    """What the GAN was shown, what it made, and how many patients it saw."""
    shown = [label(name) if name != "mask" else "the lesion mask" for name in made.conditions]
    seen = max((len(made.lineages[key].patients_seen) for key in set(made.table["lineage"].tolist())
                if key in made.lineages), default=0)  # fmt: skip
    target = " and ".join(label(name) for name in made.channels)
    before, after = zip(*changes(real, made), strict=True) if changes(real, made) else ((), ())
    source = f"From {' and '.join(shown)}" if shown else "From noise"
    source += f" ({', '.join(before)})" if before else ""
    trained = f", trained on {_count(seen, 'patient')}," if seen else ""
    text = f"{source} the GAN{trained} made {target}" + (f" ({', '.join(after)})" if after else "")
    if made.is_from_noise:
        names, counts = np.unique(made.table["label"].astype(str), return_counts=True)
        asked = " and ".join(f"{count} {name or 'without label'}" for name, count in zip(names, counts, strict=True))
        text += f": {_count(len(made), 'image')}, {asked}"
    return text + "."


def _cycle_sentence(content: ReportContent) -> str:
    names = [name for name, cohort in content.synthetic.items() if cohort.is_round_trip]
    found = next((m for m in content.measurements if (m.name, m.region) == ("ssim", "body") and m.arm in names), None)
    if found is None or found.value is None:
        return ""
    value = f"{format_value(found.value)} ({_interval_words(found)})"
    return f"There and back, the mean SSIM to the image it began with is {value}."


def _set_sentences(content: ReportContent) -> list[str]:
    """Of the main cohort where it is no reconstruction: its distance to real images, and what it is taken for."""
    main = main_cohort(content.synthetic)
    if main is None or not (main[1].is_translation or main[1].is_from_noise):
        return []
    text = []
    distance = headline(content, "frechet-distance", "frame")
    if distance is not None:
        all_of = [m for m in content.measurements if (m.name, m.region) == (distance.name, distance.region)]
        floor = [m for m in all_of if m.compared == f"{FLOOR_OF}{distance.arm}"]
        against = [f"{format_value(m.value)} for {_spoken(m.arm)}" for m in beside(distance, all_of)]
        against += [f"a floor of {format_value(m.value)} between real images of different patients" for m in floor]
        text.append(
            f"The Fréchet distance of {distance.arm} to real images ({distance.n_images} a side) is "
            f"{format_value(distance.value)} ({_interval_words(distance)})"
            + (f", beside {_list(against)}." if against else ".")
        )
    name = RECOGNISED[main[1].is_from_noise]
    found = headline(content, name, "")
    if found is not None and found.value is not None:
        there = [m for m in content.measurements if m.compared == found.compared and m.value is not None]
        what = "the label that was asked for (balanced)" if name == RECOGNISED[1] else "what they claim to be"
        said = [f"of real test images it is right for {_percent(m)} (balanced)" for m in there
                if (m.arm, m.name) == ("real", RECOGNISED[1])]  # fmt: skip
        said += [f"of their untranslated sources it takes {_percent(m)} for that" for m in there
                 if m.arm == f"{SOURCE_OF}{found.arm}{UNTRANSLATED}"]  # fmt: skip
        text.append(
            f"A classifier of real images ({found.compared}) takes {_percent(found)} of the images for {what}"
            f" ({_interval_words(found, 100)}){''.join(f'; {part}' for part in said)}."
        )
    return text


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


def headline(content: ReportContent, name: str, region: str) -> Measurement | None:
    """A measure of the cohort that the page is about."""
    main = main_cohort(content.synthetic)
    arms = MAIN_ARMS if main is None or main[0] == "reconstruct" else (main[0],)
    found = [m for m in content.measurements if (m.name, m.region) == (name, region) and m.value is not None]
    return next((m for arm in arms for m in found if m.arm == arm), None)


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


def _spoken(arm: str) -> str:
    return "the images before translation" if arm.endswith(UNTRANSLATED) else _SPOKEN.get(arm, arm)


_SPOKEN = {
    "source image": "the source image",
    "least squares": "the least-squares fit",
    "mean training image": "the mean training image",
}


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _interval_words(m: Measurement, scale: float = 1) -> str:
    if m.low is None or m.high is None:
        return "no interval"
    return f"95 % interval {format_value(scale * m.low)} to {format_value(scale * m.high)}"


def _percent(m: Measurement) -> str:
    return f"{100 * (m.value or 0):.0f} %"
