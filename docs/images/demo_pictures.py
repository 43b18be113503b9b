"""Draw the pictures of the tutorial and of the README from a finished demo; phantoms only::

    synthoma demo --out demo
    python docs/images/demo_pictures.py demo

in the root of the repository writes ``demo.png`` (test patients: T1, real, synthetic, difference),
``tutorial-phantom.png`` (what is drawn first), ``tutorial-ways.png`` (tumours taken away and put in),
``tutorial-qc.png`` and ``tutorial-report.png`` (the tops of the two pages; these two want Chromium).
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from synthoma.cohort import open_cohort
from synthoma.records import Cohort
from synthoma.scans import BratsData, find, read

HERE = Path(__file__).parent
SEQUENCES = {"t1": "T1", "t1ce": "T1 with contrast", "t2": "T2", "flair": "FLAIR"}
COLOURS_STORED = 128
PAGE = {"width": 1100, "height": 820}
"""What is shown of a page, in pixels."""

Panel = tuple[NDArray[Any], NDArray[Any] | None, dict[str, Any]]
"""An image, a mask to outline, and how grey values are shown."""
GREY = {"cmap": "gray", "vmin": -1, "vmax": 1}


def main(demo: Path) -> None:
    """Draw all of them from the folder of a demo."""
    real = open_cohort(demo / "real.cohort")
    _strip(real, open_cohort(demo / "synthetic" / "reconstruct.cohort"))
    _phantom(demo / "phantom")
    _ways(real, *(open_cohort(demo / "synthetic" / f"{way}.cohort") for way in ("remove", "transplant")))
    _pages({"tutorial-qc": demo / "real.cohort" / "qc.html", "tutorial-report": demo / "report.html"})


def _strip(real: Cohort, made: Cohort) -> None:
    """Of five test patients the slice with the median lesion: T1 with its outline, real, synthetic, difference."""
    rows = []
    for patient in sorted(set(made.table["patient"].tolist()))[:5]:
        i = _median_lesion(made, patient)
        j = _row(real, str(made.table["reference"][i]))
        flair, drawn = real.channel("flair")[j], made.images[i, 0]
        difference = (abs(flair - drawn), None, {"cmap": "inferno", "vmin": 0, "vmax": 0.5})
        first = (real.channel("t1")[j], made.lesion(i), GREY)
        rows.append([first, (flair, None, GREY), (drawn, None, GREY), difference])
    _draw("demo", ("T1, tumour outlined", "FLAIR, real", "FLAIR, synthetic", "|difference|"), rows)


def _phantom(folder: Path) -> None:
    """The four sequences of three patients, in the axial slice with most tumour."""
    options = BratsData(path=folder)
    rows: list[list[Panel]] = []
    for case in find(options).cases[:3]:
        scan = read(case, options)
        lesion = np.any([scan.masks[name] for name in scan.lesions], axis=0)
        z = int(lesion.sum(axis=(1, 2)).argmax())
        row: list[Panel] = []
        for name in SEQUENCES:
            image = scan.channels[name][z]
            grey = {"cmap": "gray", "vmin": 0, "vmax": float(np.percentile(scan.channels[name], 99.8))}
            row.append((image, lesion[z] if name == "flair" else None, grey))
        rows.append(row)
    _draw("tutorial-phantom", tuple(SEQUENCES.values()), rows)


def _ways(real: Cohort, removed: Cohort, put_in: Cohort) -> None:
    """Of three patients a real slice, and without its tumour; the widest without, and with the tumour of another."""
    rows = []
    for patient in sorted(set(removed.table["patient"].tolist()) & set(put_in.table["patient"].tolist()))[:3]:
        i = int(removed.rows(patient=patient)[0])
        before = _row(real, str(removed.table["made_from"][i]).split(";")[0])
        j = max(put_in.rows(patient=patient), key=lambda row: put_in.masks[row, 0].sum())
        host = _row(real, str(put_in.table["made_from"][j]).split(";")[0])
        flair = real.channel("flair")
        rows.append(
            [
                (flair[before], real.lesion(before), GREY),
                (removed.images[i, 0], None, GREY),
                (flair[host], None, GREY),
                (put_in.images[j, 0], put_in.lesion(j), GREY),
            ]
        )
    _draw("tutorial-ways", ("real, with a tumour", "the tumour removed", "real, without", "another's put in"), rows)


def _median_lesion(cohort: Cohort, patient: str) -> int:
    rows = cohort.rows(patient=patient, label="tumour")
    area = [cohort.lesion(int(i)).sum() for i in rows]
    return int(rows[np.argsort(area)[len(area) // 2]])


def _row(cohort: Cohort, sample: str) -> int:
    return int(np.flatnonzero(cohort.table["id"] == sample)[0])


def _draw(name: str, titles: tuple[str, ...], rows: list[list[Panel]]) -> None:
    figure = Figure(figsize=(1.8 * len(titles), 1.8 * len(rows) + 0.3), facecolor="black")
    places = figure.subplots(len(rows), len(titles), squeeze=False)
    for number, (line, row) in enumerate(zip(places, rows, strict=True)):
        for place, title, (image, mask, how) in zip(line, titles, row, strict=True):
            place.imshow(image, interpolation="nearest", **how)
            place.axis("off")
            if mask is not None and mask.any():
                place.contour(mask, [0.5], colors="gold", linewidths=0.8)
            if number == 0:
                place.set_title(title, color="white", fontsize=9)
    figure.subplots_adjust(0, 0, 1, 1 - 0.3 / (1.8 * len(rows) + 0.3), 0.02, 0.02)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110, facecolor="black")
    _store(name, Image.open(drawn))


def _pages(pages: dict[str, Path]) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, file in pages.items():
            page = browser.new_page(viewport=PAGE)  # type: ignore[arg-type]
            page.goto(file.resolve().as_uri())
            _store(name, Image.open(BytesIO(page.screenshot())))
        browser.close()


def _store(name: str, image: Image.Image) -> None:
    small = image.convert("RGB").quantize(COLOURS_STORED, dither=Image.Dither.NONE)
    small.save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
