"""Brain extraction by programs that the user has: HD-BET and SynthStrip."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from synthoma.errors import MissingPartError, ScanError, describe
from synthoma.records import Grid, Scan

__all__ = ["PROGRAMS", "brain_by_program"]

BEST_KNOWN = ("t1", "t1ce", "flair", "t2")
"""The channel that is shown to the program, the first of these that the scan has: what HD-BET was trained on."""

PROGRAMS: dict[str, tuple[str, str, Callable[[Path, Path, str], list[str]]]] = {
    "hd-bet": (
        "hd-bet",
        "Install it (pip install hd-bet, in an environment of its own), or set method to 'builtin'.",
        lambda image, folder, device: [
            *("-i", str(image), "-o", str(folder / "brain.nii.gz"), "--save_bet_mask", "-device", device),
            *(["--disable_tta"] if device == "cpu" else []),
        ],
    ),
    "synthstrip": (
        "mri_synthstrip",
        "Install it with FreeSurfer (https://surfer.nmr.mgh.harvard.edu), or set method to 'builtin'.",
        lambda image, folder, device: [
            *("-i", str(image), "-m", str(folder / "brain_bet.nii.gz")),
            *(["-g"] if device == "cuda" else []),
        ],
    ),
}
"""Method → the program's name, how to get it, its arguments. The mask is written as ``brain_bet.nii.gz``."""


def brain_by_program(scan: Scan, method: str, *, device: str, time_limit_s: float) -> NDArray[np.bool_]:
    """The brain (z, y, x) that the program finds in one channel, handed over as a temporary NIfTI file.

    HD-BET: Isensee et al., "Automated brain extraction of multisequence MRI using artificial neural networks", Human
    Brain Mapping 40, 2019. SynthStrip: Hoopes et al., "SynthStrip: skull-stripping for any brain image", NeuroImage
    260, 2022. The temporary files hold no name of the patient.

    Raises:
        MissingPartError: the program is not on the PATH.
        ScanError: it fails, takes longer than the limit, or its mask is not one of this scan.
    """
    import nibabel

    name, remedy, arguments = PROGRAMS[method]
    program = shutil.which(name)
    if program is None:
        raise MissingPartError(describe(f"method '{method}'", f"the program {name} on the PATH", "none", remedy))
    what = f"{scan.patient}: step skull_strip, {name}"
    channel = next((known for known in BEST_KNOWN if known in scan.channels), next(iter(scan.channels)))
    with TemporaryDirectory(prefix="synthoma-") as temporary:
        folder = Path(temporary)
        image = folder / "image.nii.gz"
        nibabel.save(nibabel.Nifti1Image(scan.channels[channel].T, scan.grid.affine), image)
        _run([program, *arguments(image, folder, device)], folder / "output.txt", what, time_limit_s)
        return _mask(folder / "brain_bet.nii.gz", scan.grid, what)


def _run(command: list[str], log: Path, what: str, time_limit_s: float) -> None:
    """Run a program and all that it starts; its output goes to a file, which no process left behind can block."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (a program that the user named and has; no shell)
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            remedy = "Raise the step's time_limit_s, or set its device to cuda where there is a GPU."
            raise ScanError(describe(what, f"an end within {time_limit_s:g} s", "none", remedy)) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing said")
        raise ScanError(describe(what, "success", f"exit code {code} ({last[:200]})"))


def _mask(file: Path, grid: Grid, what: str) -> NDArray[np.bool_]:
    """The mask that a program wrote, on the scan's own grid."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    if not file.is_file():
        raise ScanError(describe(what, "a mask of the brain", "no file", "Is it the version that synthoma knows?"))
    try:
        image = nibabel.load(file)
        array, affine = np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise ScanError(describe(what, "a mask that can be read", error)) from error
    shape = tuple(array.shape[::-1])
    if shape != grid.shape or not Grid.from_affine(grid.shape, affine).close_to(grid, 0.1):
        raise ScanError(describe(what, f"a mask on the scan's grid {grid.shape}", f"another one, {shape}"))
    brain = array.T > 0.5
    if not 0 < brain.mean() < 0.9:
        raise ScanError(describe(what, "a brain in the picture", f"{100 * brain.mean():.0f} % of its voxels"))
    return np.ascontiguousarray(brain)
