"""``Cohort``: an immutable folder of prepared samples, real or synthetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from synthoma.records.lineage import Lineage
from synthoma.records.scan import BODY, Grid

__all__ = [
    "COLUMNS",
    "MASK",
    "SCHEMA_VERSION",
    "TUMOUR",
    "TUMOUR_FREE",
    "UNLABELLED",
    "Cohort",
    "Samples",
    "summary_of",
]

SCHEMA_VERSION = 2
MASK = "mask"
"""In a list of channels: all parts of the lesion."""

TUMOUR, TUMOUR_FREE, UNLABELLED = "tumour", "tumour-free", "unlabelled"
"""Labels that preparation gives: by the lesion masks, or for want of them."""

COLUMNS: Mapping[str, type] = {
    "id": str,  # unique in the cohort: patient, axis and slice
    "patient": str,
    "scan": str,  # which scan of the patient: one has several where there are several time points
    "site": str,
    "modality": str,  # "MR", "CT" or "OT"
    "unit": str,  # of the scanner's values: "HU" or "arbitrary"
    "label": str,  # class of the sample: "tumour", "tumour-free", or what the source says
    "split": str,  # "train", "validation", "test", or "" before a split
    "fold": int,  # 0 … k−1, or −1
    "origin": str,  # "real" or "synthetic"
    "slice": int,  # index along the slice axis of the scan
    "spacing_mm": str,  # "[z] y x" of the sample's pixels, or "" when unknown
    "reference": str,  # synthetic only: id of the real sample that it should equal, or ""
    "made_from": str,  # synthetic only: ids of the real samples that went into it, joined by ";"
    "image_sha256": str,  # of the bytes of images[i]
    "lineage": str,  # id of its entry in cohort.json
}
"""Columns of ``samples.csv``; two more a channel, ``low_<channel>`` and ``high_<channel>`` (float): the scanner's
values that stand for −1 and +1 in this sample."""


@dataclass(frozen=True)
class Samples:
    """What one patient contributes to a cohort: the same columns for all, arrays along the first axis."""

    images: NDArray[np.float32]
    """(n, channel, [z,] y, x) in [−1, 1]."""
    masks: NDArray[np.uint8]
    """(n, mask, [z,] y, x) of 0 and 1."""
    channels: tuple[str, ...]
    mask_names: tuple[str, ...]
    """``body`` first."""
    slices: tuple[int, ...]
    """Index of each sample along the slice axis of its scan."""
    labels: tuple[str, ...]
    patient: str
    site: str
    spacing_mm: tuple[float, ...] | None
    """Of the sample's pixels, ([z,] y, x), after resizing; ``None`` when unknown."""
    intensity: Mapping[str, tuple[float, float]]
    """Channel → the scanner's values that stand for −1 and +1."""
    unit: str
    modality: str
    names: tuple[str, ...] = ()
    """What each sample is called within its scan, where the slice alone does not tell: ``nodule-1-0042``."""
    notes: tuple[str, ...] = ()
    """What sampling has to say of this patient: how many slices were dropped and why."""


@dataclass(frozen=True)
class Cohort:
    """A table of samples and their arrays. Open and write one with :mod:`synthoma.cohort`."""

    path: Path | None
    """The folder, or ``None`` for a selection held in memory."""
    table: Mapping[str, NDArray[Any]]
    """Column name → array of length n; see :data:`COLUMNS`."""
    images: NDArray[Any]
    """(n, channel, [z,] y, x), float in [−1, 1], memory-mapped when opened from a folder."""
    masks: NDArray[np.uint8]
    """(n, mask, [z,] y, x) of 0 and 1, in the order of ``mask_names``."""
    channels: tuple[str, ...]
    mask_names: tuple[str, ...]
    """``body`` first, then the parts of the lesion."""
    unit: str
    """Of all samples; where they differ, the sorted values joined by "+": ``HU+arbitrary``. The table has each."""
    modality: str
    """Of all samples, as ``unit``: ``CT+MR``."""
    conditions: tuple[str, ...]
    """Synthetic only: the channels (``mask`` among them) that the images were made from; empty when from noise."""
    lineages: Mapping[str, Lineage]
    """By id; the table's column ``lineage`` refers to them."""
    grids: Mapping[str, Mapping[str, Grid]] = field(default_factory=dict)
    """Scan → its grid ``as_read`` and ``prepared``: where the samples of the column ``scan`` lie in the patient."""
    notes: tuple[str, ...] = ()
    """What preparation had to say: patients left out and why, missing channels, …"""

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients, sorted."""
        return tuple(sorted(set(self.table["patient"].tolist())))

    @property
    def patients_seen(self) -> tuple[str, ...]:
        """Every patient that had an influence on a sample: its own, and those its generator was trained on."""
        seen = set(self.patients)
        for lineage in set(self.table["lineage"].tolist()):
            if lineage in self.lineages:
                seen.update(self.lineages[lineage].patients_seen)
        return tuple(sorted(seen))

    @property
    def is_paired(self) -> bool:
        """Whether any sample has a reference: the real sample that it should equal."""
        return bool(np.any(self.table["reference"] != ""))

    @property
    def is_round_trip(self) -> bool:
        """Whether the samples went to another domain and back: each should equal the image that it was made from."""
        return self.is_paired and set(self.channels) <= set(self.conditions)

    @property
    def is_translation(self) -> bool:
        """Whether the samples were made from images alone, without a mask, and are meant to be something else."""
        return bool(self.conditions) and MASK not in self.conditions and not self.is_round_trip

    @property
    def is_from_noise(self) -> bool:
        """Whether the samples were made from nothing real."""
        return not self.conditions and not np.any(self.table["made_from"] != "")

    @property
    def lesion_names(self) -> tuple[str, ...]:
        """The masks that are parts of the lesion."""
        return tuple(name for name in self.mask_names if name != BODY)

    def rows(self, **equal: str | int) -> NDArray[np.intp]:
        """Indices of the samples whose columns equal all of ``equal``: ``cohort.rows(split="test")``."""
        chosen = np.ones(len(self), dtype=bool)
        for column, value in equal.items():
            chosen &= self.table[column] == value
        return np.flatnonzero(chosen)

    def channel(self, name: str) -> NDArray[Any]:
        """Images of one channel, (n, [z,] y, x)."""
        return self.images[:, self.channels.index(name)]

    def body(self, row: int) -> NDArray[np.bool_]:
        """Body mask of one sample, ([z,] y, x)."""
        return np.asarray(self.masks[row, self.mask_names.index(BODY)] > 0)

    def lesion(self, row: int) -> NDArray[np.bool_]:
        """Union of the lesion masks of one sample, ([z,] y, x)."""
        parts = [i for i, name in enumerate(self.mask_names) if name != BODY]
        return np.asarray(self.masks[row][parts].any(axis=0))

    def select(self, rows: NDArray[np.intp]) -> Self:
        """The given samples only, copied into memory."""
        rows = np.asarray(rows)
        table = {name: column[rows] for name, column in self.table.items()}
        return replace(
            self,
            path=None,
            table=table,
            unit=summary_of(table["unit"].tolist()) or self.unit,
            modality=summary_of(table["modality"].tolist()) or self.modality,
            images=np.array(self.images[rows]),
            masks=np.array(self.masks[rows]),
        )


def summary_of(values: Iterable[str]) -> str:
    """The one value that all share, or the sorted values joined by "+" (``CT+MR``)."""
    return "+".join(sorted(set(values)))
