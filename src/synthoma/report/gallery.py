"""Which samples the report shows, by a rule that it prints, and the pictures of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, describe
from synthoma.records import Cohort
from synthoma.report.pictures import Frame, Picture, difference_picture, grey_picture
from synthoma.report.shown import flat, frame_of, label, plane_of, real_picture, region_of, slice_text, who
from synthoma.similarity import psnr_db, ssim

__all__ = ["EDITS", "Gallery", "Row", "edit_gallery", "real_strip", "reconstruction_galleries", "spread_ranks"]

Array = NDArray[Any]

EDITS = ("transplant", "remove")
"""Methods that make what no real image shows: they have no target to be compared with."""
DATA_RANGE = 2.0
"""Width of the window of network intensities, −1 … 1."""
ROWS = 7
EDIT_ROWS = 4


@dataclass(frozen=True)
class Row:
    """One sample: what it is, and its pictures in the order of the gallery's columns."""

    header: str
    details: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Gallery:
    """Rows of pictures under column headings, and the rule by which the rows were chosen."""

    caption: str
    rule: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: bool = False
    heading: str = "Patient"
    """Of the column of row headings."""
    whole_zoom: bool = True
    """Whether a pixel is shown as a whole number of them; else pictures are as wide as the page lets them be."""


@dataclass(frozen=True)
class _Pair:
    """A synthetic sample and the real one that it should equal; ``row`` is of the real cohort."""

    row: int
    made: Mapping[str, int]
    """Method → row of its cohort."""
    ssim: float
    psnr_db: float


def spread_ranks(patients: Sequence[str], count: int) -> list[int]:
    """Ranks to show of a list ordered from best to worst: the best, the middle and the worst, then evenly between.

    Between them a patient not yet shown is preferred, the nearest in rank; so the choice depends on the order alone.
    """
    n = len(patients)
    if n <= count:
        return list(range(n))
    chosen = [0, (n - 1) // 2, n - 1]
    for goal in np.linspace(0, n - 1, count)[1:-1]:
        if len(chosen) == count or goal == (n - 1) / 2:
            continue
        shown = {patients[rank] for rank in chosen}
        free = [rank for rank in range(n) if rank not in chosen]
        chosen.append(min(free, key=lambda rank: (patients[rank] in shown, abs(rank - goal), rank)))
    return sorted(chosen)


def reconstruction_galleries(
    real: Cohort, made: Cohort, rivals: Mapping[str, Cohort], main: str = "synthetic"
) -> list[Gallery]:
    """Condition, target, synthetic and difference on test patients, one gallery a target channel."""
    return [g for name in made.channels if (g := _reconstruction(real, made, rivals, name, main)) is not None]


def _reconstruction(real: Cohort, made: Cohort, rivals: Mapping[str, Cohort], target: str, main: str) -> Gallery | None:
    pairs, split = _pairs(real, made, rivals, target)
    if not pairs:
        return None
    pairs.sort(key=lambda pair: (-pair.ssim, str(real.table["id"][pair.row])))
    ranks = spread_ranks([str(real.table["patient"][pair.row]) for pair in pairs], ROWS)
    frame = frame_of(real, [pairs[rank].row for rank in ranks])
    conditions = [name for name in made.conditions if name in real.channels]
    rows = []
    for rank in ranks:
        pair = pairs[rank]
        standing = {0: "best", (len(pairs) - 1) // 2: "median", len(pairs) - 1: "worst"}.get(rank, "")
        pictures = _pair_pictures(real, {main: made, **rivals}, pair, target, conditions, frame)
        place = f"rank {rank + 1} of {len(pairs)}" + (f" · {standing}" if standing and len(pairs) > 2 else "")
        rows.append(Row(f"{real.table['patient'][pair.row]}", (slice_text(real, pair.row), place), tuple(pictures)))
    patients = len({str(real.table["patient"][pair.row]) for pair in pairs})
    rule = (
        f"Not cherry-picked: all {len(pairs)} images of {patients} {split} patients were ordered by SSIM over the "
        "body; shown are the best, the median and the worst, and steps between them at equal distances in rank, each "
        "from a patient not yet shown where there is one."
    )
    if split != "test":
        rule += " No test patient has a synthetic image: the generator may have been trained on those shown."
    columns = [f"{label(name)}, condition" for name in conditions] + [f"{label(target)}, real"]
    columns += [f"{label(target)}, {name}" for name in (main, *_shared(rivals, target))] + [f"|real − {main}|"]
    return Gallery(f"{label(target)} of {split} patients", rule, tuple(columns), tuple(rows), differences=True)


def _pairs(real: Cohort, made: Cohort, rivals: Mapping[str, Cohort], target: str) -> tuple[list[_Pair], str]:
    """Every synthetic sample with its real one: of test patients if there are any, else of all, and which it was.

    Raises:
        CohortError: the synthetic images have another size than the real ones.
    """
    where = {str(name): row for row, name in enumerate(real.table["id"].tolist())}
    references = made.table.get("reference", np.full(len(made), ""))
    found = [(where[str(name)], i) for i, name in enumerate(references.tolist()) if str(name) in where]
    if target not in real.channels:
        return [], "test"
    if made.images.shape[2:] != real.images.shape[2:]:
        expected = f"images of {real.images.shape[2:]}, as the real ones"
        raise CohortError(describe(made.path or "synthetic cohort", expected, made.images.shape[2:]))
    test = [(row, i) for row, i in found if real.table["split"][row] == "test"]
    split = "test" if test else "non-test"
    others = {
        name: {str(ref): i for i, ref in enumerate(rivals[name].table["reference"].tolist())}
        for name in _shared(rivals, target)
    }
    pairs = []
    for row, i in test or found:
        x, y = real.channel(target)[row], made.channel(target)[i]
        body = region_of(real, row)
        beside = {name: rows[key] for name, rows in others.items() if (key := str(real.table["id"][row])) in rows}
        pairs.append(_Pair(row, {"": i, **beside}, ssim(x, y, DATA_RANGE, body), psnr_db(x, y, DATA_RANGE, body)))
    return pairs, split


def _shared(rivals: Mapping[str, Cohort], target: str) -> list[str]:
    return [name for name, rival in rivals.items() if target in rival.channels and "reference" in rival.table]


def _pair_pictures(
    real: Cohort,
    cohorts: Mapping[str, Cohort],
    pair: _Pair,
    target: str,
    conditions: Sequence[str],
    frame: Frame,
) -> list[Picture]:
    row, whose = pair.row, who(real, pair.row)
    z = plane_of(real, row)
    lesion, body = flat(real.lesion(row), z), region_of(real, row)
    pictures = [real_picture(real, row, name, frame) for name in conditions]
    pictures.append(real_picture(real, row, target, frame))
    truth = real.channel(target)[row]
    main, *rest = cohorts
    for name in (main, *(name for name in rest if name in _shared(cohorts, target))):
        position = pair.made.get("" if name == main else name)
        if position is None:
            pictures.append(Picture("", 0, 0, "", caption="not made"))
            continue
        image = cohorts[name].channel(target)[position]
        scores = (ssim(truth, image, DATA_RANGE, body), psnr_db(truth, image, DATA_RANGE, body))
        caption = f"SSIM {scores[0]:.3f} · " + ("identical" if math.isinf(scores[1]) else f"{scores[1]:.1f} dB")
        alt = f"{label(target)} made by {name} for {whose}; {caption} over the body"
        pictures.append(grey_picture(flat(image, z), frame, alt, lesion, caption))
    made = cohorts[main].channel(target)[pair.made[""]]
    alt = f"absolute difference of the real and the synthetic {label(target)} of {whose}"
    pictures.append(difference_picture(flat(truth, z), flat(made, z), frame, alt, lesion))
    return pictures


def edit_gallery(real: Cohort, made: Cohort, method: str) -> Gallery | None:
    """What ``transplant`` or ``remove`` made, beside the real images that it was made from."""
    where = {str(name): row for row, name in enumerate(real.table["id"].tolist())}
    sources = made.table.get("made_from", np.full(len(made), ""))
    order = sorted(range(len(made)), key=lambda i: str(made.table["id"][i]))
    order = [i for i in order if any(part in where for part in str(sources[i]).split(";"))]
    if not order:
        return None
    shown = [order[round(at)] for at in np.linspace(0, len(order) - 1, min(EDIT_ROWS, len(order)))]
    origins = {i: _origins(real, made, i, where) for i in shown}
    frame = frame_of(real, [row for rows in origins.values() for row in rows])
    donors = method == "transplant" and all(len(rows) > 1 for rows in origins.values())
    conditions = [name for name in made.conditions if name in real.channels]
    targets = [name for name in made.channels if name in real.channels]
    rows = []
    for i in shown:
        host, donor = origins[i][0], origins[i][-1]
        z = plane_of(made, i) if method == "transplant" else plane_of(real, host)
        wanted = flat(made.lesion(i) if method == "transplant" else real.lesion(host), z)
        pictures = [
            real_picture(real, donor, name, frame) for name in made.channels if donors and name in real.channels
        ]
        for name in dict.fromkeys([*conditions, *targets]):
            alt = f"real {label(name)} of {who(real, host)}"
            pictures.append(grey_picture(flat(real.channel(name)[host], z), frame, alt, wanted))
        for name in made.channels:
            image = flat(made.channel(name)[i], z)
            alt = f"synthetic {label(name)}, {method}, from {who(real, host)}"
            pictures.append(grey_picture(image, frame, alt, wanted))
        details = [slice_text(real, host, z)]
        if donors:
            details.append(f"lesion of {real.table['patient'][donor]}, {slice_text(real, donor)}")
        rows.append(Row(str(real.table["patient"][host]), tuple(details), tuple(pictures)))
    rule = f"Not cherry-picked: {len(shown)} of {len(made)} images, at equal steps in the order of their names."
    columns = [f"{label(name)}, lesion's donor" for name in targets if donors]
    columns += [
        f"{label(name)}, real" + (" (condition)" if name in conditions else "")
        for name in dict.fromkeys([*conditions, *targets])
    ]
    columns += [f"{label(name)}, synthetic" for name in made.channels]
    return Gallery(_EDIT_CAPTIONS.get(method, method), rule, tuple(columns), tuple(rows))


_EDIT_CAPTIONS = {
    "transplant": "Transplant: the lesion of one training patient, moved, turned and scaled into a slice of another "
    "that has none. The outline is the lesion that was asked for.",
    "remove": "Remove: a slice with a lesion, made again with an empty mask. The outline is the lesion that was taken "
    "out.",
}


def real_strip(real: Cohort) -> Gallery | None:
    """All channels of one training sample a site and modality (four at most): the largest lesion, the first by name."""
    rows: list[int] = []
    training = real.rows(split="train")
    pool = training if len(training) else np.arange(len(real))
    names = ["site"] + ["modality"] * (len(set(real.table["modality"].tolist())) > 1)
    keys = list(zip(*(real.table[name].tolist() for name in names), strict=True))
    for key in sorted({keys[row] for row in pool})[:4]:
        here = [int(row) for row in pool if keys[row] == key]
        rows.append(max(here, key=lambda row: (int(real.lesion(row).sum()), -row)))
    if not rows:
        return None
    frame = frame_of(real, rows)
    shown = tuple(
        Row(
            str(real.table["patient"][row]),
            tuple(part for part in (*dict.fromkeys(map(str, keys[row])), slice_text(real, row)) if part),
            tuple(real_picture(real, row, name, frame) for name in real.channels),
        )
        for row in rows
    )
    rule = (
        "Of each site and modality the training image with the largest lesion. Grey values as prepared, −1 black to 1 "
        "white."
    )
    return Gallery("Prepared images", rule, tuple(label(name) for name in real.channels), shown)


def _origins(real: Cohort, made: Cohort, i: int, where: Mapping[str, int]) -> list[int]:
    """Rows of the real samples that ``made[i]`` came from: first the one whose anatomy it keeps."""
    rows = [where[part] for part in str(made.table["made_from"][i]).split(";") if part in where]
    return sorted(rows, key=lambda row: real.table["patient"][row] != made.table["patient"][i])
