"""Draw ``ct-phantoms.png``: ``python docs/images/ct_phantoms.py`` in the root of the repository. Phantoms only.

Upper row: chests in the lung window (−600 ± 750 HU), nodules outlined where the readers agree. Lower row: abdomens in
the abdominal window (40 ± 200 HU), liver and tumours outlined. Both are written as DICOM and read again by the sources
``lidc`` and ``tcia-liver``.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib import pyplot
from PIL import Image

from synthoma.phantoms import LiverPhantomOptions, LungPhantomOptions, write_liver_phantom, write_lung_phantom
from synthoma.records import Scan
from synthoma.scans import DataOptions, LidcData, TciaLiverData, find, read

COLUMNS = 4
LUNG, ABDOMEN = (-1350, 150), (-160, 240)
COLOURS = {"liver": "#4fc3f7"}
LESION = "#ffb300"
COLOURS_STORED = 160
"""Of the file, which is half as large so."""


def main() -> None:
    """Write both phantoms to a temporary folder, read them, draw a slice of each patient."""
    with TemporaryDirectory() as name:
        chests = write_lung_phantom(Path(name) / "chests", LungPhantomOptions(patients=8, seed=3))
        abdomens = write_liver_phantom(Path(name) / "abdomens", LiverPhantomOptions(patients=6, seed=3))
        rows = ((LidcData(path=chests), LUNG), (TciaLiverData(path=abdomens), ABDOMEN))
        scans = [(_with_lesions(data), window) for data, window in rows]
    figure, places = pyplot.subplots(2, COLUMNS, figsize=(2.6 * COLUMNS, 5.2), facecolor="black")
    for row, (some, window) in zip(places, scans, strict=True):
        for place, scan in zip(row, some, strict=True):
            _draw(place, scan, window)
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=100, facecolor="black")
    small = Image.open(drawn).convert("RGB").quantize(COLOURS_STORED, dither=Image.Dither.NONE)
    small.save(Path(__file__).with_name("ct-phantoms.png"), optimize=True)


def _with_lesions(data: DataOptions) -> list[Scan]:
    scans = [read(case, data) for case in find(data).cases]
    return [scan for scan in scans if any(scan.masks[name].any() for name in scan.lesions)][:COLUMNS]


def _draw(place: pyplot.Axes, scan: Scan, window: tuple[int, int]) -> None:
    """The slice with most lesion, as one looks at it: the patient's right on the left."""
    lesion = np.any([scan.masks[name] for name in scan.lesions], axis=0)
    z = int(lesion.sum(axis=(1, 2)).argmax())
    place.imshow(scan.channels["ct"][z], cmap="gray", vmin=window[0], vmax=window[1], interpolation="lanczos")
    for name, mask in scan.masks.items():
        if (name in COLOURS or name in scan.lesions) and mask[z].any():
            place.contour(mask[z], [0.5], colors=COLOURS.get(name, LESION), linewidths=0.9)
    place.axis("off")


if __name__ == "__main__":
    main()
