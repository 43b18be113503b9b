"""The page's galleries, by what kinds of images there are; and those of translations and of images from noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthoma.records import Cohort
from synthoma.report import gallery
from synthoma.report.arms import changes, sources
from synthoma.report.gallery import DATA_RANGE, Gallery, Row, spread_ranks
from synthoma.report.pictures import Frame, Picture, grey_picture
from synthoma.report.shown import (
    aspect_of,
    flat,
    frame_of,
    label,
    plane_of,
    real_picture,
    region_of,
    slice_text,
    who,
)
from synthoma.similarity import ssim

__all__ = ["sample_gallery", "sections", "translation_gallery"]

TRANSLATIONS = ("translate", "back")
"""Cohorts of translated held-out images; other paired ones with their channels are rivals."""
ROWS = 7
ACROSS = 8
"""Images of a label in a row."""

Section = tuple[str, list[Gallery], str]
"""(heading, galleries, what to say where there is none)"""


def sections(real: Cohort, synthetic: Mapping[str, Cohort]) -> list[Section]:
    """Headings and galleries. Reconstruction and edits are said to be absent only where nothing else is shown."""
    rivals = {
        name: cohort
        for name, cohort in synthetic.items()
        if cohort.is_paired and not cohort.is_round_trip and name not in ("reconstruct", *TRANSLATIONS)
    }
    trips = [cohort for cohort in synthetic.values() if cohort.is_round_trip]
    made = synthetic.get("reconstruct")
    reconstructions = gallery.reconstruction_galleries(real, made, rivals) if made is not None else []
    edits = [
        shown
        for method in gallery.EDITS
        if method in synthetic and (shown := gallery.edit_gallery(real, synthetic[method], method)) is not None
    ]
    translations = [
        shown
        for name in TRANSLATIONS
        if name in synthetic and synthetic[name].is_translation
        and (shown := translation_gallery(real, synthetic[name], name, trips, rivals)) is not None
    ]  # fmt: skip
    samples = [sample_gallery(real, cohort, name) for name, cohort in synthetic.items() if cohort.is_from_noise]
    found: list[Section] = []
    if translations:
        found.append(("Translations", translations, ""))
    if samples:
        found.append(("From noise", samples, ""))
    if made is not None or not found:
        found.append(("Reconstruct", reconstructions, "no synthetic image has a real one to stand beside"))
    if edits or not (translations or samples):
        found.append(("Transplant and remove", edits, "no lesion was transplanted or removed"))
    return found


def translation_gallery(
    real: Cohort, made: Cohort, name: str, trips: Sequence[Cohort] = (), rivals: Mapping[str, Cohort] | None = None
) -> Gallery | None:
    """Source, translation, the source again after the way back, what rivals made, and the true image, where there is
    any of them."""
    origin = sources(real, made)
    shown = tuple(channel for channel in made.conditions if channel in real.channels)
    if not origin or not shown:
        return None
    paired = {i: row for i, row in origin.items() if str(made.table["reference"][i]) == str(real.table["id"][row])}
    order, rule = _order(real, made, origin, paired)
    left = {str(real.table["id"][row]) for row in origin.values()}
    trip = next((cohort for cohort in trips if cohort.channels == shown and left & set(_by_reference(cohort))), None)
    again = _by_reference(trip) if trip is not None else {}
    others = {n: _by_reference(c) for n, c in (rivals or {}).items() if c.channels == made.channels and paired}
    frame = frame_of(real, [origin[i] for i, _ in order])
    before, after = zip(*changes(real, made), strict=True) if changes(real, made) else ((), ())
    came, became = "".join(f" {text}" for text in before), "".join(f" {text}" for text in after)
    rows = []
    for i, place in order:
        row = origin[i]
        key, whose = str(real.table["id"][row]), who(real, row)
        pictures = [real_picture(real, row, channel, frame) for channel in shown]
        pictures += _pictures(real, made, i, row, f"{name}, made from {whose}", frame, scored=i in paired)
        if trip is not None:
            pictures += _pictures(real, trip, again.get(key), row, f"there and back, from {whose}", frame, scored=True)
        for rival, where in others.items():
            pictures += _pictures(
                real, (rivals or {})[rival], where.get(key), row, f"{rival}, made from {whose}", frame, scored=True
            )
        if paired:
            pictures += [
                real_picture(real, row, c, frame) if i in paired else Picture("", 0, 0, "", caption="none")
                for c in made.channels
            ]
        rows.append(Row(str(real.table["patient"][row]), (slice_text(real, row), *place), tuple(pictures)))
    columns = [f"{label(channel)}{came}, real source" for channel in shown]
    columns += [f"{label(channel)}{became}, translated" for channel in made.channels]
    columns += [f"{label(channel)}, back again" for channel in shown if trip is not None]
    columns += [f"{label(channel)}, {rival}" for rival in others for channel in made.channels]
    columns += [f"{label(channel)}, real" for channel in made.channels if paired]
    arrow = f"{' and '.join(map(label, shown))}{came} → {' and '.join(map(label, made.channels))}{became}"
    return Gallery(f"{name}: {arrow}", rule, tuple(columns), tuple(rows))


def _order(
    real: Cohort, made: Cohort, origin: Mapping[int, int], paired: Mapping[int, int]
) -> tuple[list[tuple[int, tuple[str, ...]]], str]:
    """Rows of ``made`` to show, each with its place, and the rule that chose them."""
    splits = {str(real.table["split"][row]) for row in origin.values()}
    whose = f"{splits.pop()} patients" if len(splits) == 1 and splits != {""} else "patients"
    trained = "" if whose.startswith("test") else " These patients were not held out: the generator may know them."
    if not paired:
        order = sorted(origin, key=lambda i: str(made.table["id"][i]))
        chosen = [order[round(at)] for at in np.linspace(0, len(order) - 1, min(ROWS, len(order)))]
        rule = (
            f"Not cherry-picked: {len(chosen)} of {len(order)} images of {whose}, at equal steps in the order of names."
        )
        return [(i, ()) for i in chosen], f"{rule} No true image exists for them.{trained}"
    scores = {i: _score(real, made, i, row) for i, row in paired.items()}
    order = sorted(paired, key=lambda i: (-scores[i], str(made.table["id"][i])))
    ranks = spread_ranks([str(made.table["patient"][i]) for i in order], ROWS)
    names = {0: "best", (len(order) - 1) // 2: "median", len(order) - 1: "worst"} if len(order) > 2 else {}
    places = [f"rank {rank + 1} of {len(order)}" + (f" · {names[rank]}" if rank in names else "") for rank in ranks]
    rule = (
        f"Not cherry-picked: all {len(order)} images of {whose} were ordered by SSIM over the body to the true image; "
        "shown are the best, the median and the worst, and steps between them at equal distances in rank. Below a "
        "translated image stands its SSIM to the true one, below one that came back that to its source."
    )
    return [(order[rank], (place,)) for rank, place in zip(ranks, places, strict=True)], rule + trained


def _pictures(
    real: Cohort, made: Cohort, i: int | None, row: int, what: str, frame: Frame, *, scored: bool
) -> list[Picture]:
    """Every channel of a sample, with its SSIM to the real sample ``row`` below it."""
    if i is None:
        return [Picture("", 0, 0, "", caption="not made")] * len(made.channels)
    z = plane_of(real, row)
    lesion = flat(real.lesion(row), z)
    pictures = []
    for c, channel in enumerate(made.channels):
        caption = f"SSIM {_score(real, made, i, row, channel):.3f}" if scored else ""
        image = flat(made.images[i, c], z)
        alt = f"synthetic {label(channel)}, {what}" + (f"; {caption} over the body" if caption else "")
        pictures.append(grey_picture(image, frame, alt, lesion, caption))
    return pictures


def _score(real: Cohort, made: Cohort, i: int, row: int, channel: str = "") -> float:
    body = region_of(real, row)
    channels = [channel] if channel else made.channels
    values = [ssim(real.channel(c)[row], made.channel(c)[i], DATA_RANGE, body) for c in channels]
    return float(np.mean(values))


def _by_reference(cohort: Cohort) -> dict[str, int]:
    return {str(name): i for i, name in enumerate(cohort.table["reference"].tolist()) if str(name)}


def sample_gallery(real: Cohort, made: Cohort, name: str) -> Gallery:
    """Of each label a row of images from noise above one of real ones, of held-out patients where there are enough."""
    channel = made.channels[0]
    rows = []
    for text in sorted(set(made.table["label"].astype(str).tolist())):
        own = np.flatnonzero(made.table["label"].astype(str) == text)
        own = own[np.argsort(made.table["id"][own].astype(str), kind="stable")]
        chosen = [int(own[round(at)]) for at in np.linspace(0, len(own) - 1, min(ACROSS, len(own)))]
        rows.append(_line(made, chosen, channel, text, f"synthetic, {name}"))
        beside, whose = _real_of(real, text)
        rows.append(_line(real, beside, channel, text, f"real, {whose}"))
    rule = (
        f"Not cherry-picked: {ACROSS} images of each label ({len(made)} in all), at equal steps in the order of their "
        "names; of the real ones, different patients, where there are as many, at equal steps in the order of theirs."
    )
    columns = tuple(str(at) for at in range(1, ACROSS + 1))
    caption = f"{name}: {label(channel)} for a requested label, beside real images of that label"
    return Gallery(caption, rule, columns, tuple(rows), heading="Label", whole_zoom=False)


def _real_of(real: Cohort, text: str) -> tuple[list[int], str]:
    """Up to eight real samples of a label, each of another patient: of the held-out ones if there are eight."""
    everybody = real.rows(label=text)
    sides = [(f"{split} patients", real.rows(split=split, label=text)) for split in ("test", "validation", "train")]
    for whose, rows in (*sides, ("all patients", everybody)):
        patients = real.table["patient"][rows]
        names = sorted(set(patients.tolist()))
        if len(names) >= ACROSS:
            chosen = [names[round(at)] for at in np.linspace(0, len(names) - 1, ACROSS)]
            own = [rows[patients == name] for name in chosen]
            return [int(one[len(one) // 2]) for one in own], whose
    steps = np.linspace(0, len(everybody) - 1, min(ACROSS, len(everybody)))
    return [int(everybody[round(at)]) for at in steps], "all patients"


def _line(cohort: Cohort, rows: Sequence[int], channel: str, text: str, what: str) -> Row:
    height, width = cohort.images.shape[-2:]
    frame = Frame(0, height, 0, width, aspect_of(cohort, rows[0]) if rows else 1.0)
    pictures = []
    for row in rows:
        alt = f"{label(channel)} of {text or 'no label'}, {what}, {cohort.table['id'][row]}"
        image = flat(cohort.channel(channel)[row], plane_of(cohort, row))
        pictures.append(grey_picture(image, frame, alt, flat(cohort.lesion(row), plane_of(cohort, row))))
    blank = [Picture("", 0, 0, "")] * (ACROSS - len(pictures))
    return Row(text or "no label", (what,), (*pictures, *blank))
