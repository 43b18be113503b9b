"""Which images of a cohort are of one kind: what a CycleGAN translates, and to what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import CohortError, describe, did_you_mean
from synthoma.options import Options
from synthoma.records import Cohort

__all__ = ["Domain"]

Rows = NDArray[np.intp]


class Domain(Options):
    """Which images of a cohort are of one kind. What is left empty does not matter."""

    channels: tuple[str, ...] = ()
    """The channels that an image has; all of the cohort's when empty."""
    modality: str = ""
    """MR, CT or OT."""
    label: str = ""
    """The class, such as ``tumour-free``."""
    site: str = ""
    """The centre that the scan comes from."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the table that the domain fixes."""
        return {name: getattr(self, name) for name in ("modality", "label", "site") if getattr(self, name)}

    def rows(self, cohort: Cohort, rows: Rows, setting: str) -> Rows:
        """Those of ``rows`` that belong to the domain.

        Raises:
            CohortError: there is none.
        """
        found = rows
        for name, value in self.columns.items():
            column = cohort.table[name][found]
            known = sorted(set(column.tolist()))
            found = found[column == value]
            if not len(found):
                expected = f"training samples of {name} '{value}'"
                raise CohortError(describe(f"gan.{setting}.{name}", expected, "none", did_you_mean(value, known)))
        return found
