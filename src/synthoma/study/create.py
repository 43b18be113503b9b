"""Making a study folder from two cohorts."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthoma import __version__
from synthoma.cohort import open_cohort
from synthoma.errors import CohortError, describe, did_you_mean
from synthoma.records import Cohort
from synthoma.seeding import generator
from synthoma.storage import check_new, file_sha256, new_folder, write_bytes, write_json
from synthoma.study.blinding import fingerprint, separations
from synthoma.study.design import Candidate, Showing, candidates_of, common_labels, draw_showings
from synthoma.study.folder import (
    DESIGN,
    IMAGES,
    KEY,
    LINKS,
    SCHEMA_VERSION,
    SECRET,
    Design,
    Key,
    KeyEntry,
    Presentation,
    Source,
)
from synthoma.study.options import StudyOptions
from synthoma.study.parts import check_parts
from synthoma.study.pixels import Rendering, plan_rendering, render
from synthoma.study.tokens import links_text

__all__ = ["create_study"]

LONG_AGO = 946684800
"""2000-01-01: no file of a study tells when, and so in which order, it was written."""


def create_study(real: Path, synthetic: Path, out: Path, options: StudyOptions, *, overwrite: bool = False) -> Path:
    """Draw a study from a real and a synthetic cohort and write its folder, with a copy of every image.

    Raises:
        MissingPartError: the packages of ``synthoma[study]`` are not installed.
        CohortError: the cohorts share no channel, class, unit or size, or have too few patients.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    check_parts()
    check_new(out, overwrite=overwrite)
    cohorts = {"real": open_cohort(real, verify=True), "synthetic": open_cohort(synthetic, verify=True)}
    channel = _channel(cohorts["real"], cohorts["synthetic"], options.channel)
    candidates = [
        *candidates_of(cohorts["real"], "real", options),
        *candidates_of(cohorts["synthetic"], "synthetic", options),
    ]
    modality = _modality(cohorts, candidates)
    labels = common_labels(candidates, options.labels)
    notes = _left_out(candidates, labels)
    readers = draw_showings([candidate for candidate in candidates if candidate.label in labels], options)
    shown = sorted({one.candidate for order in readers for one in order}, key=lambda c: (c.origin, c.row))
    rows = {o: [(cohorts[o], c.row) for c in shown if c.origin == o] for o in ("real", "synthetic")}
    rendering = plan_rendering(rows["real"], rows["synthetic"], channel, trim=options.trim)
    study, names = secrets.token_hex(4), {candidate: secrets.token_hex(8) for candidate in shown}
    secret = secrets.token_hex(32)
    with new_folder(out, overwrite=overwrite) as folder:
        images, told = _write_images(folder, cohorts, channel, names, rendering, options.seed)
        notes += [_told(name, auc) for name, auc in told.items()]
        design = Design(
            schema_version=SCHEMA_VERSION,
            version=__version__,
            study=study,
            title=options.title,
            notice=options.notice,
            modality=modality,
            format=rendering.format,
            readers=tuple(_presentations(order, names) for order in readers),
        )
        key = Key(
            study=study,
            real=_source(real),
            synthetic=_source(synthetic),
            channel=channel,
            options=options,
            notes=tuple(notes),
            images=images,
        )
        write_json(folder / DESIGN, design.model_dump(mode="json"))
        _write_private(folder / KEY, key.model_dump_json(indent=2) + "\n")
        _write_private(folder / SECRET, secret + "\n")
        _write_private(folder / LINKS, links_text(secret, study, options.readers, "http://127.0.0.1:8000"))
    return out


def _channel(real: Cohort, synthetic: Cohort, asked: str) -> str:
    both = [name for name in real.channels if name in synthetic.channels]
    if not both:
        found = f"{', '.join(real.channels)} and {', '.join(synthetic.channels)}"
        raise CohortError(describe("cohorts", "a channel that both have", found))
    if asked and asked not in both:
        raise CohortError(describe("channel", "one that both cohorts have", f"'{asked}'", did_you_mean(asked, both)))
    return asked or both[0]


def _modality(cohorts: dict[str, Cohort], candidates: Sequence[Candidate]) -> str:
    found = sorted({str(cohorts[c.origin].table["modality"][c.row]) for c in candidates})
    if len(found) != 1:
        remedy = "Choose with --modality." if found else "See synthoma info for what the cohorts hold."
        raise CohortError(describe("samples to show", "one modality", " and ".join(found) or "no sample", remedy))
    return found[0]


def _left_out(candidates: Sequence[Candidate], labels: Sequence[str]) -> list[str]:
    """What was not drawn from because of its class."""
    counts = Counter(c.cell for c in candidates if c.label not in labels)
    return [f"class {label}: {n} {origin} samples not shown" for (label, origin), n in sorted(counts.items())]


def _told(name: str, auc: float) -> str:
    return (
        f"blinding: '{name}' alone tells real from synthetic (AUC {auc:.2f}). No reader sees it as such, but look "
        "at images of both with narrow windows before you send the links"
    )


def _write_images(
    folder: Path,
    cohorts: dict[str, Cohort],
    channel: str,
    names: dict[Candidate, str],
    rendering: Rendering,
    seed: int,
) -> tuple[dict[str, KeyEntry], dict[str, float]]:
    """Every image under its random name, in the order of the names; the key, and what gives an origin away."""
    (folder / IMAGES).mkdir()
    entries: dict[str, KeyEntry] = {}
    prints: dict[str, list[dict[str, float]]] = {"real": [], "synthetic": []}
    for candidate, name in sorted(names.items(), key=lambda pair: pair[1]):
        rng = generator(seed, "dither", candidate.origin, candidate.row)
        image = render(cohorts[candidate.origin], candidate.row, channel, rendering, rng)
        file = folder / IMAGES / f"{name}.raw"
        write_bytes(file, np.ascontiguousarray(image, dtype="<i2").tobytes())
        os.utime(file, (LONG_AGO, LONG_AGO))
        prints[candidate.origin].append(fingerprint(image))
        entries[name] = KeyEntry(
            origin=candidate.origin,
            row=candidate.row,
            sample=str(cohorts[candidate.origin].table["id"][candidate.row]),
            label=candidate.label,
            patients=tuple(sorted(candidate.patients)),
            sha256=file_sha256(file),
        )
    return entries, separations(prints["real"], prints["synthetic"])


def _presentations(order: Sequence[Showing], names: dict[Candidate, str]) -> tuple[Presentation, ...]:
    return tuple(Presentation(id=secrets.token_hex(8), image=names[one.candidate], phase=one.phase) for one in order)


def _source(path: Path) -> Source:
    return Source(path=str(Path(path).resolve()), sha256=file_sha256(Path(path) / "cohort.json"))


def _write_private(path: Path, text: str) -> None:
    """Readable by its owner only, from the first byte."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
