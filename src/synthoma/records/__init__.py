"""The objects that flow through the house: frozen, small, NumPy only.

The sixth, ``Recipe``, is put together from every room's options and so lives in :mod:`synthoma.recipes`.
"""

from synthoma.records.checkpoint import Checkpoint
from synthoma.records.cohort import (
    COLUMNS,
    MASK,
    SCHEMA_VERSION,
    TUMOUR,
    TUMOUR_FREE,
    UNLABELLED,
    Cohort,
    Samples,
    summary_of,
)
from synthoma.records.lineage import Lineage
from synthoma.records.measurement import Measurement
from synthoma.records.scan import BODY, Grid, Scan, SourceFile, part_of

__all__ = [
    "BODY",
    "COLUMNS",
    "MASK",
    "SCHEMA_VERSION",
    "TUMOUR",
    "TUMOUR_FREE",
    "UNLABELLED",
    "Checkpoint",
    "Cohort",
    "Grid",
    "Lineage",
    "Measurement",
    "Samples",
    "Scan",
    "SourceFile",
    "part_of",
    "summary_of",
]
