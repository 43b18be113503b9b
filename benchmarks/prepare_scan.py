"""The scans that preparation is measured with, and one thread for everybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEW_SPACING_MM", "ONE_THREAD", "SHAPES", "SPACING_MM", "WINDOW", "affine", "phantom", "write_scan"]

SHAPES = {"ct": (120, 512, 512), "mr": (155, 240, 240)}
SPACING_MM = {"ct": (2.5, 0.75, 0.75), "mr": (1.0, 1.0, 1.0)}
NEW_SPACING_MM = {"ct": 1.0, "mr": 1.25}
"""Whole numbers of voxels fit, so that all three have the same new grid."""
WINDOW = {"ct": (-160.0, 240.0), "mr": (100.0, 900.0)}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")} | {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"
}
"""For the environment of every process."""


def phantom(kind: str, shape: tuple[int, int, int], seed: int = 0) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A scan (z, y, x) of whole numbers and its body: round, with dark holes and noise, void or air around."""
    random = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    radius = np.sqrt((y / 0.7) ** 2 + (x / 0.85) ** 2) + 0.1 * z**2
    body = radius < 1
    holes = ((np.abs(x) - 0.35) / 0.22) ** 2 + (y / 0.4) ** 2 + (z / 0.9) ** 2 < 1
    texture = np.sin(23 * x + seed) * np.sin(19 * y) * np.sin(11 * z)
    noise = random.standard_normal(shape, dtype=np.float32)
    if kind == "ct":
        values = np.where(body, np.where(holes, -850, 40 + 30 * texture), -1000) + 20 * noise
    else:  # the coil is nearer to one side; what is not head is void
        values = np.where(body, np.where(holes, 300, 600 + 100 * texture) * (1 + 0.3 * x) + 30 * noise, 0)
    return np.rint(values).astype(np.int16), np.ascontiguousarray(body, dtype=np.uint8)


def affine(kind: str) -> NDArray[np.float64]:
    """Of the file: LPS, so that turning it to RAS flips two axes."""
    z, y, x = SPACING_MM[kind]
    return np.diag([-x, -y, z, 1.0])


def write_scan(folder: Path, kind: str, shape: tuple[int, int, int]) -> None:
    """The scan as arrays, as NIfTI (packed and not), and as a DICOM series."""
    import nibabel

    values, body = phantom(kind, shape)
    np.save(folder / "values.npy", values.astype(np.float32))
    np.save(folder / "body.npy", body)
    for name in ("scan.nii", "scan.nii.gz"):
        nibabel.Nifti1Image(values.T, affine(kind)).to_filename(folder / name)
    if kind != "ct":
        return
    from synthoma.phantoms import ct, ct_dicom

    z, y, x = SPACING_MM[kind]
    scan = ct.ScanParameters(0, ct.SITES["A"], noise_hu=20, blur_mm=0.5, tube_current_ma=200, thickness_mm=z)
    ct_dicom.write_series(
        folder / "series",
        values,
        (z, y, x),
        (0.0, 0.0, 0.0),
        uids=ct_dicom.draw_uids(0, "p", shape[0]),
        patient=ct_dicom.Patient("p"),
        scan=scan,
        description="benchmark",
        body_part="CHEST",
    )
