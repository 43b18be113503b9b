"""``Scan``: one patient's images on one grid, as the scanner measured them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["BODY", "Grid", "Scan", "SourceFile", "part_of"]

Float = NDArray[np.float32]
Mask = NDArray[np.uint8]

BODY = "body"
"""The mask of the brain or body."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array (z, y, x) lie in the patient.

    Two grids are compared without looking at a voxel. World coordinates are millimetres, RAS+ (NIfTI).
    """

    shape: tuple[int, int, int]
    """Number of voxels (z, y, x)."""
    spacing_mm: tuple[float, float, float]
    """Distance of neighbouring voxel centres (z, y, x)."""
    origin_mm: tuple[float, float, float]
    """World position (x, y, z) of voxel [0, 0, 0]."""
    direction: tuple[tuple[float, float, float], ...]
    """Unit world vector (x, y, z) of each array axis, in the order z, y, x."""
    known: bool = True
    """False when the file carries no geometry and unit spacing stands in for it."""

    @classmethod
    def unknown(cls, shape: tuple[int, int, int]) -> Self:
        """Unit spacing for a picture whose file says nothing of geometry (PNG, TIFF, NumPy)."""
        return cls(
            shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)), False
        )

    @classmethod
    def from_affine(cls, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Self:
        """From a NIfTI affine, which maps (x, y, z) array indices to world; ``shape`` is (z, y, x)."""
        columns = np.asarray(affine, dtype=np.float64)[:3, :3].T[::-1]  # rows: the world step of z, y, x
        spacing = np.linalg.norm(columns, axis=1)
        unit = columns / spacing[:, None]
        return cls(
            (int(shape[0]), int(shape[1]), int(shape[2])),
            (float(spacing[0]), float(spacing[1]), float(spacing[2])),
            (float(affine[0][3]), float(affine[1][3]), float(affine[2][3])),
            tuple((float(row[0]), float(row[1]), float(row[2])) for row in unit),
        )

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON: shape (z, y, x), NIfTI affine, axis codes."""
        return {
            "shape": list(self.shape),
            "affine": self.affine.tolist(),
            "orientation": self.orientation,
            "known": self.known,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Back from :meth:`to_json`."""
        grid = cls.from_affine(tuple(content["shape"]), np.asarray(content["affine"], dtype=np.float64))
        return replace(grid, known=bool(content["known"]))

    @property
    def affine(self) -> NDArray[np.float64]:
        """The NIfTI affine (4, 4), which maps (x, y, z) array indices to world."""
        affine = np.eye(4)
        steps = np.asarray(self.direction) * np.asarray(self.spacing_mm)[:, None]
        affine[:3, :3] = steps[::-1].T
        affine[:3, 3] = self.origin_mm
        return affine + 0.0  # no −0.0

    @property
    def orientation(self) -> str:
        """The nearest axis codes of the array axes in NIfTI order (x, y, z), such as ``LPS``."""
        codes = ""
        for row in reversed(self.direction):
            axis = int(np.argmax(np.abs(row)))
            codes += ("RAS" if row[axis] > 0 else "LPI")[axis]
        return codes

    def close_to(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids put every voxel at the same place, to ``tolerance_mm`` at the far corner."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0, 0, 0, 1], [*(n - 1 for n in self.shape[::-1]), 1]], dtype=np.float64)
        return bool(np.abs((self.affine - other.affine) @ corners.T).max() <= tolerance_mm)


@dataclass(frozen=True)
class SourceFile:
    """A file that a scan was read from, and its SHA-256."""

    path: str
    sha256: str


def part_of(mask: str) -> str:
    """What a mask is of: ``nodule`` for the single finding ``nodule-2``, the name itself for any other."""
    name, _, number = mask.rpartition("-")
    return name if name and number.isdigit() else mask


@dataclass(frozen=True)
class Scan:
    """One patient's images on one grid."""

    channels: Mapping[str, Float]
    """Channel name (``t1``, ``t1ce``, ``t2``, ``flair``, ``ct``) → (z, y, x) float32 in ``unit``."""
    masks: Mapping[str, Mask]
    """Mask name → (z, y, x) uint8 of 0 and 1: ``body``, organs, and lesions (all the others). A lesion is a part such
    as ``oedema``, or one finding of several, numbered from 1: ``nodule-1``, ``nodule-2``."""
    grid: Grid
    patient: str
    modality: Literal["MR", "CT", "OT"] = "MR"
    unit: Literal["HU", "arbitrary"] = "arbitrary"
    site: str = ""
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Mask of a single finding (``nodule-1``) → its own label (``malignant``); empty: one label for the scan."""
    organs: tuple[str, ...] = ()
    """Masks of healthy anatomy (``liver``, ``bone``): neither the body nor a lesion."""
    missing: tuple[str, ...] = ()
    """Channels that this source usually has and this patient lacks; they are not in ``channels``."""
    source: tuple[SourceFile, ...] = ()
    intensity: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Channel → the scanner's values that stand for −1 and +1; empty until the scan is normalised."""
    notes: tuple[str, ...] = ()
    """What a reader or a step has to say of this patient: no segmentation, blank slices, …"""

    def __post_init__(self) -> None:
        for kind, arrays in (("channel", self.channels), ("mask", self.masks)):
            for name, array in arrays.items():
                if array.shape != self.grid.shape:
                    raise ValueError(f"{kind} {name}: expected shape {self.grid.shape}, found {array.shape}")
        for name, channel in self.channels.items():
            if channel.dtype != np.float32:
                raise ValueError(f"channel {name}: expected float32, found {channel.dtype}")
        for name, mask in self.masks.items():
            if mask.dtype != np.uint8:
                raise ValueError(f"mask {name}: expected uint8, found {mask.dtype}")

    @property
    def lesions(self) -> tuple[str, ...]:
        """The masks that are lesions or parts of one."""
        return tuple(name for name in self.masks if name != BODY and name not in self.organs)

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)
