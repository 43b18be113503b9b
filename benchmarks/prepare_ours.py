"""What is measured of ours: the steps of preprocessing, and reading."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prepare_scan import NEW_SPACING_MM, WINDOW, affine

Array = NDArray[np.float32]
Work = Callable[[], Any]

PERCENTS = (0.5, 99.5)
N4_SHRINK, N4_ITERATIONS, N4_LEVELS = 4, 50, 3


@dataclass(frozen=True)
class Step:
    """One way to do a step."""

    work: Work
    array: Callable[[Any], Any]
    """Its result as an array (z, y, x)."""
    variant: str = ""
    differs: str = ""
    """What it does not do that we do, or the other way round."""


def ours(what: argparse.Namespace, values: Array, body: NDArray[np.uint8]) -> dict[str, list[Step]]:
    """The steps of :mod:`synthoma.preprocessing`, and reading."""
    from synthoma import preprocessing as pre
    from synthoma.records import Grid, Scan

    Steps = dict[str, tuple[Callable[[Scan], Scan], Scan]]
    low, high = WINDOW[what.kind]
    scan = Scan(
        channels={what.kind: values},
        masks={},
        grid=Grid.from_affine(what.shape, affine(what.kind)),
        patient="p",
        modality=what.kind.upper(),
        unit="HU" if what.kind == "ct" else "arbitrary",
    )
    cut = scan.with_(masks={"body": body})
    normal = pre.Normalise(method="window", window=WINDOW[what.kind])(scan)
    spacing, half = NEW_SPACING_MM[what.kind], what.shape[1] // 2
    hounsfield: Any = pre.Windows(windows={"soft": (low, high)})
    of_ct: Steps = {
        "window": (hounsfield, scan),
        "body mask": (pre.BodyMask(), scan),
    }
    of_mr: Steps = {
        "window": (pre.Normalise(method="window", window=(low, high)), scan),
        "brain extraction": (pre.SkullStrip(), scan),
        "n4": (pre.N4(shrink=N4_SHRINK, iterations=N4_ITERATIONS, levels=N4_LEVELS), cut),
    }
    steps: Steps = {
        "resample linear": (pre.Resample(spacing_mm=spacing, interpolation="linear", antialias=False), scan),
        "resample b-spline": (pre.Resample(spacing_mm=spacing, interpolation="cubic", antialias=False), scan),
        "resample antialiased": (pre.Resample(spacing_mm=2 * spacing, interpolation="linear"), scan),
        "resize antialiased": (pre.Resize(size=half), scan),
        "resize volume": (pre.ResizeVolume(size=half), scan),
        "normalise": (pre.Normalise(low_percent=PERCENTS[0], high_percent=PERCENTS[1]), scan),
        "stretch": (pre.Stretch(low_percent=PERCENTS[0], high_percent=PERCENTS[1]), normal),
        "equalise": (pre.Equalise(bins=256), normal.with_(masks=cut.masks)),
        "clahe": (pre.Equalise(method="clahe", bins=256), normal.with_(masks=cut.masks)),
        "median 3x3": (pre.Median(size=3), scan),
        "median 3x3x3": (pre.Median(size=(3, 3, 3)), scan),
        "crop": (pre.CropRoi(around="body", margin_mm=0), cut),
        "reorient": (pre.Reorient(to="RAS"), scan),
        **(of_ct if what.kind == "ct" else of_mr),
    }

    def step(run: Callable[[Scan], Scan], on: Scan) -> Step:
        return Step(lambda: run(on), lambda done: next(iter(done.channels.values())))

    return {name: [step(*how)] for name, how in steps.items()} | _our_reading(what)


def _our_reading(what: argparse.Namespace) -> dict[str, list[Step]]:
    from synthoma import scans
    from synthoma.scans import dicom, nifti

    def read_nifti(name: str) -> Step:
        options = nifti.NiftiData(path=Path(what.folder), channels={what.kind: "{patient}" + name.removeprefix("scan")})
        case = nifti.find(options).cases[0]
        return Step(lambda: scans.read(case, options), lambda scan: scan.channels[what.kind])

    def read_dicom() -> Any:  # the headers are read by finding, the pixels by reading: peers do both at once
        options = dicom.DicomData(path=Path(what.folder) / "series")
        return scans.read(dicom.find(options).cases[0], options)

    steps = {"read .nii": [read_nifti("scan.nii")], "read .nii.gz": [read_nifti("scan.nii.gz")]}
    if what.kind == "ct":
        steps["read DICOM"] = [Step(read_dicom, lambda scan: scan.channels["ct"])]
    return steps
