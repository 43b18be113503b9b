"""Writing a cohort, a patient at a time, with memory that does not grow with the number of patients."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from synthoma import __version__
from synthoma.cohort.growing import GrowingArray
from synthoma.cohort.guard import check_table
from synthoma.cohort.split import PatientSummary
from synthoma.cohort.store import HEADER, IMAGES, MASKS, TABLE, CohortHeader, columns_of
from synthoma.errors import CohortError, describe
from synthoma.records import SCHEMA_VERSION, Grid, Lineage, Samples, summary_of
from synthoma.storage import file_sha256, new_folder, write_bytes, write_json

__all__ = ["CohortWriter", "create_cohort"]

TOLERANCE = 1e-6
"""How far beyond [−1, 1] rounding may carry a value; it is then cut."""
UNITS, MODALITIES = ("HU", "arbitrary"), ("MR", "CT", "OT")


@contextmanager
def create_cohort(
    path: Path | str,
    *,
    channels: Sequence[str],
    mask_names: Sequence[str],
    shape: Sequence[int],
    lineages: Sequence[Lineage] = (),
    conditions: Sequence[str] = (),
    notes: Sequence[str] = (),
    dtype: Literal["float32", "float16"] = "float32",
    overwrite: bool = False,
) -> Iterator[CohortWriter]:
    """Write a cohort folder: it appears under its name when the block ends without an error, complete or not at all.

    Args:
        path: the new folder.
        channels: axis 1 of the images.
        mask_names: axis 1 of the masks.
        shape: of one channel of one sample, ([z,] y, x).
        lineages: what the samples descend from, when known beforehand; else :meth:`CohortWriter.set_lineage`.
        conditions: synthetic only: what the images are made from.
        notes: what there is to say; :meth:`CohortWriter.note` adds more.
        dtype: of the stored images; float16 halves the folder and rounds to 2⁻¹¹ (5e-4).
        overwrite: replace a folder of this name.

    Raises:
        OutputError: the folder exists, or cannot be written.
        CohortError: samples that do not fit.
        LeakError: a real patient, or a real image, is on two sides.
    """
    with new_folder(Path(path), overwrite=overwrite) as folder:
        with (folder / IMAGES).open("w+b") as images, (folder / MASKS).open("w+b") as masks:
            writer = CohortWriter(
                folder,
                images,
                masks,
                channels=tuple(channels),
                mask_names=tuple(mask_names),
                shape=tuple(int(length) for length in shape),
                dtype=dtype,
            )
            writer.lineages.update({lineage.id: lineage for lineage in lineages})
            writer.notes.extend(notes)
            yield writer
            table = writer.finish(Path(path))
        write_bytes(folder / TABLE, _csv(table))
        header = CohortHeader(
            schema_version=SCHEMA_VERSION,
            version=__version__,
            n=len(table["id"]),
            shape=writer.shape,
            dtype=dtype,
            channels=writer.channels,
            mask_names=writer.mask_names,
            unit=summary_of(table["unit"]),
            modality=summary_of(table["modality"]),
            conditions=tuple(conditions),
            lineages=tuple(lineage.to_json() for lineage in writer.lineages.values()),
            grids={scan: {name: grid.to_json() for name, grid in both.items()} for scan, both in writer.grids.items()},
            notes=tuple(writer.notes),
            sha256={name: file_sha256(folder / name) for name in (IMAGES, MASKS, TABLE)},
        )
        write_json(folder / HEADER, header.model_dump(mode="json"))


class CohortWriter:
    """Takes samples; made by :func:`create_cohort`. Arrays go to disk at once; only the table is kept."""

    def __init__(
        self,
        folder: Path,
        images: IO[bytes],
        masks: IO[bytes],
        *,
        channels: tuple[str, ...],
        mask_names: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: str,
    ) -> None:
        self.folder = folder
        """Where the cohort grows, for further files that shall lie in it; it takes its name when complete."""
        self.channels, self.mask_names, self.shape = channels, mask_names, shape
        self.lineages: dict[str, Lineage] = {}
        self.notes: list[str] = []
        self.grids: dict[str, dict[str, Grid]] = {}
        self._lineage = ""
        self._table: dict[str, list[Any]] = {name: [] for name in columns_of(channels)}
        self._ids: set[str] = set()
        self._images = GrowingArray(images, (len(channels), *shape), np.dtype(dtype).newbyteorder("<"))
        self._masks = GrowingArray(masks, (len(mask_names), *shape), np.dtype(np.uint8))

    @property
    def patients(self) -> dict[str, PatientSummary]:
        """Site, labels and modality of each patient so far: what :func:`assign_splits` needs."""
        labels: dict[str, dict[str, int]] = {}
        sites: dict[str, str] = {}
        modalities: dict[str, set[str]] = {}
        columns = (self._table[name] for name in ("patient", "site", "label", "modality"))
        for patient, site, label, modality in zip(*columns, strict=True):
            sites.setdefault(patient, site)
            counts = labels.setdefault(patient, {})
            counts[label] = counts.get(label, 0) + 1
            modalities.setdefault(patient, set()).add(modality)
        return {name: PatientSummary(sites[name], labels[name], summary_of(modalities[name])) for name in sites}

    def add(
        self,
        samples: Samples,
        *,
        split: str = "",
        fold: int = -1,
        origin: Literal["real", "synthetic"] = "real",
        scan: str = "",
        grids: Mapping[str, Grid] | None = None,
        reference: Sequence[str] = (),
        made_from: Sequence[str] = (),
        lineage: str = "",
        ids: Sequence[str] = (),
    ) -> None:
        """Append the samples of one patient.

        Args:
            samples: images in [−1, 1] and masks; the ranges of channels that ``intensity`` lacks are stored as unknown.
            split: ``train``, ``validation``, ``test``, or "" until :meth:`set_splits`.
            fold: 0 … k−1, or −1.
            origin: ``real`` or ``synthetic``.
            scan: which scan of the patient; the patient's own name by default.
            grids: the grid of that scan ``as_read`` and ``prepared``.
            reference: synthetic only, one a sample: id of the real sample that it should equal.
            made_from: synthetic only, one a sample: ids of the real samples that went into it, joined by ";".
            lineage: id of the lineage of all these samples, or "" until :meth:`set_lineage`.
            ids: one a sample; ``patient/slice`` by default. That of a real sample is ``patient/anything``.

        Raises:
            CohortError: the samples do not fit the cohort, or an id was used before.
        """
        n = len(samples.slices)
        self._check(samples, n)
        ids = tuple(ids) or tuple(f"{samples.patient}/{index:04d}" for index in samples.slices)
        rows: dict[str, Sequence[Any]] = {
            "id": ids,
            "slice": [int(index) for index in samples.slices],
            "label": samples.labels,
            "reference": tuple(reference) or ("",) * n,
            "made_from": tuple(made_from) or ("",) * n,
        }
        for name, values in rows.items():
            if len(values) != n:
                raise CohortError(describe(f"patient {samples.patient}, {name}", f"{n} values", len(values)))
        _check_texts(samples, ids)
        self._check_ids(ids, samples.patient if origin == "real" else None)
        hashes = [self._images.append(np.clip(image, -1, 1)) for image in samples.images]
        for mask in samples.masks:
            self._masks.append(mask)
        same: dict[str, Any] = {
            "patient": samples.patient,
            "scan": scan or samples.patient,
            "site": samples.site,
            "modality": samples.modality,
            "unit": samples.unit,
            "split": split,
            "fold": int(fold),
            "origin": origin,
            "spacing_mm": " ".join(f"{length:.6g}" for length in samples.spacing_mm or ()),
            "lineage": lineage,
        }
        for name in self.channels:
            low, high = samples.intensity.get(name, (math.nan, math.nan))
            same |= {f"low_{name}": float(low), f"high_{name}": float(high)}
        if grids is not None:
            self.grids[scan or samples.patient] = dict(grids)
        self._ids.update(ids)
        for column, stored in self._table.items():
            stored.extend(hashes if column == "image_sha256" else rows.get(column) or [same[column]] * n)

    def set_splits(self, splits: Mapping[str, tuple[str, int]]) -> None:
        """Give every patient its (split, fold), as :func:`assign_splits` returns them."""
        absent = sorted(set(self._table["patient"]) - set(splits))
        if absent:
            raise CohortError(describe("splits", "one for each patient", f"none for {', '.join(absent[:5])}"))
        self._table["split"] = [splits[patient][0] for patient in self._table["patient"]]
        self._table["fold"] = [int(splits[patient][1]) for patient in self._table["patient"]]

    def set_lineage(self, lineage: Lineage) -> None:
        """The lineage of all samples that were, or will be, added without one."""
        self.lineages[lineage.id] = lineage
        self._lineage = lineage.id

    def note(self, text: str) -> None:
        """Add a note for the reader of the cohort."""
        self.notes.append(text)

    def finish(self, name: Path) -> dict[str, list[Any]]:
        """Complete the arrays and return the table; :func:`create_cohort` calls this."""
        if not self._ids:
            raise CohortError(describe(name, "at least one sample", "none"))
        table = self._table
        table["lineage"] = [lineage or self._lineage for lineage in table["lineage"]]
        unknown = sorted(set(table["lineage"]) - {""} - set(self.lineages))
        if unknown:
            raise CohortError(describe(name, "lineages that were given to the writer", f"{unknown[0]!r}"))
        blank = np.full((len(self.channels), *self.shape), -1, self._images.dtype)
        check_table(table, blank_sha256=hashlib.sha256(blank.tobytes()).hexdigest())
        self._images.close()
        self._masks.close()
        return table

    def _check(self, samples: Samples, n: int) -> None:
        who = f"patient {samples.patient}"
        fits: tuple[tuple[str, object, object], ...] = (
            ("channels", self.channels, tuple(samples.channels)),
            ("masks", self.mask_names, tuple(samples.mask_names)),
            ("shape of images", (n, len(self.channels), *self.shape), samples.images.shape),
            ("shape of masks", (n, len(self.mask_names), *self.shape), samples.masks.shape),
        )
        for what, expected, seen in fits:
            if expected != seen:
                raise CohortError(describe(f"{who}, {what}", expected, seen))
        for what, known, text in (("unit", UNITS, samples.unit), ("modality", MODALITIES, samples.modality)):
            if text not in known:
                raise CohortError(describe(f"{who}, {what}", "one of " + ", ".join(known), repr(text)))
        if not n:
            return
        low, high = float(samples.images.min()), float(samples.images.max())
        if not (low >= -1 - TOLERANCE and high <= 1 + TOLERANCE):  # NaN fails too
            raise CohortError(describe(f"{who}, images", "finite values in [-1, 1]", f"{low:g} to {high:g}"))
        if samples.masks.max(initial=0) > 1 or samples.masks.dtype != np.uint8:
            found = f"{samples.masks.dtype} up to {samples.masks.max()}"
            raise CohortError(describe(f"{who}, masks", "uint8 of 0 and 1", found))

    def _check_ids(self, ids: Sequence[str], real_patient: str | None) -> None:
        new: set[str] = set()
        for name in ids:
            if name in self._ids or name in new:
                raise CohortError(describe(f"sample {name}", "an id of its own", "one that is used already"))
            # the guard reads the patient off the ids in ``made_from``, which are joined by ";"
            if real_patient is not None and name.rpartition("/")[0] != real_patient:
                expected = f"an id '{real_patient}/…' with no other '/' after it"
                raise CohortError(describe(f"sample {name}", expected, "another"))
            if not name or ";" in name:
                raise CohortError(describe(f"sample {name!r}", "an id without ';'", "one that cannot be stored"))
            new.add(name)


def _check_texts(samples: Samples, ids: Sequence[str]) -> None:
    """Names must survive the table: no line breaks, no control characters; a patient must have one."""
    if not samples.patient:
        raise CohortError(describe("patient", "a name", "none"))
    for what, text in (("patient", samples.patient), ("site", samples.site), *(("label", t) for t in samples.labels)):
        if not text.isprintable():
            raise CohortError(describe(what, "printable characters", repr(text)))
    for name in ids:
        if not name.isprintable():
            raise CohortError(describe("id", "printable characters", repr(name)))


def _csv(table: Mapping[str, Sequence[Any]]) -> bytes:
    """The table as CSV; an unknown number is an empty field, a float is written so that it comes back exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in row])
    return text.getvalue().encode()
