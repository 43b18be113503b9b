"""Where the frames of a segmentation object lie: on which slice of a series, by reference and by geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from synthoma.errors import ScanError, describe
from synthoma.scans.dicom_geometry import Plane, lps_grid
from synthoma.scans.dicom_header import plane
from synthoma.scans.dicom_volume import DicomVolume

__all__ = ["Places", "group_of"]

_OFF = 0.25
"""Voxels by which a frame may lie off its slice: positions are rounded."""


def group_of(seg: Any, frame: int, name: str) -> Any:
    """First item of a functional group (``PlanePosition``, …), the frame's own or the shared one, or ``None``."""
    for groups, at in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        sequence = seg.get(groups)
        if sequence is not None and at < len(sequence) and (items := sequence[at].get(f"{name}Sequence")):
            return items[0]
    return None


class Places:
    """Which slice (before any resampling) each frame belongs to."""

    def __init__(self, seg: Any, where: Path, volume: DicomVolume) -> None:
        self.seg, self.where, self.volume = seg, where, volume
        self.by_image: dict[str, dict[int, int]] = {}
        for index, (uid, frame) in enumerate(volume.source_uids):
            self.by_image.setdefault(uid, {})[frame] = index
        self.to_index = np.linalg.inv(volume.grid.affine)
        self.geometric = volume.resampling is None and volume.grid.known and self._even()

    def of(self, frame: int) -> int | None:
        """The slice of ``frame``, counted from 0; ``None`` where it is not here.

        Raises:
            ScanError: it lies elsewhere than the image that it names, or nowhere.
        """
        named = self._named(frame)
        if not self.geometric:
            if named is None:
                remedy = "Leave the series as it is: data.geometry.irregular=refuse."
                raise ScanError(describe(self.where, "frames that each name one image", f"frame {frame + 1}", remedy))
            return named if named >= 0 else None
        lies = self._lies(frame)
        if named is not None and named != lies and not (named < 0 and lies is None):
            found = "an image that is not here" if named < 0 else f"the image of slice {named + 1}"
            where = "outside the series" if lies is None else f"on slice {lies + 1}"
            raise ScanError(describe(self.where, f"frame {frame + 1}, {where}, to name the image there", found))
        return lies

    def _even(self) -> bool:
        """Whether the slices lie where the grid says: not of a series whose uneven slices were kept as they are."""
        places = np.array(self.volume.positions).reshape(-1, 3)
        world = np.column_stack([places * (-1, -1, 1), np.ones(len(places))])
        return bool((np.abs((world @ self.to_index.T)[:, 2] - np.arange(len(places))) <= _OFF).all())

    def _named(self, frame: int) -> int | None:
        """The slice of the one image that a frame names; −1 if it is not here, ``None`` for no image or several."""
        derivation = group_of(self.seg, frame, "DerivationImage")
        images = [] if derivation is None else list(derivation.get("SourceImageSequence") or ())
        if len(images) != 1:
            return None
        frames = self.by_image.get(str(images[0].ReferencedSOPInstanceUID))
        if frames is None:
            return -1
        numbers = images[0].get("ReferencedFrameNumber")
        if numbers is None:
            return next(iter(frames.values())) if len(frames) == 1 else None
        wanted = [int(number) for number in (numbers if hasattr(numbers, "__iter__") else [numbers])]
        return frames.get(wanted[0], -1) if len(wanted) == 1 else None

    def _lies(self, frame: int) -> int | None:
        """The slice at the frame's place; ``None`` for one beyond the first or last or between two."""
        depth, rows, columns = self.volume.grid.shape
        items = (group_of(self.seg, frame, name) for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures"))
        position, orientation, spacing = (None if item is None else plane(item)[k] for k, item in enumerate(items))
        if position is None or orientation is None or spacing is None:
            found = f"no position, orientation or pixel spacing in frame {frame + 1}"
            raise ScanError(describe(self.where, "frames with a place in the patient", found))
        size = (int(self.seg.Rows), int(self.seg.Columns))
        at = Plane("", 1, None, (position[0], position[1], position[2]), orientation, (spacing[0], spacing[1]))
        corners = np.array([[0, 0, 0, 1], [size[1] - 1, 0, 0, 1], [0, size[0] - 1, 0, 1]], dtype=np.float64)
        index = (self.to_index @ lps_grid((1, *size), at, 1.0).affine @ corners.T)[:3].T
        slice_ = float(index[0, 2])
        off = float(np.abs(index - [[0, 0, slice_], [columns - 1, 0, slice_], [0, rows - 1, slice_]]).max())
        if size != (rows, columns) or off > _OFF:
            expected = f"frames on the pixels of the series ({rows} × {columns})"
            found = f"frame {frame + 1} of {size[0]} × {size[1]}, {off:.2f} pixels off them"
            raise ScanError(describe(self.where, expected, found))
        nearest = round(slice_)
        return nearest if abs(slice_ - nearest) <= _OFF and 0 <= nearest < depth else None
