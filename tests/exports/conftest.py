"""Cohorts to export. The module ``exported.py`` beside this file can be imported by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import synthoma
from synthoma.cohort import create_cohort, open_cohort
from synthoma.phantoms import BrainPhantomOptions, write_brain_phantom
from synthoma.records import Cohort, Samples

sys.path.insert(0, str(Path(__file__).parent))

from exported import as_synthetic, turned, write_livers

CT = "{step: reorient}, {step: body_mask, opening_mm: 0}, {step: normalise, method: window, window: [-160, 240]}"
SPLIT = ("split.train=0.34", "split.validation=0.33", "split.test=0.33", "split.folds=3")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Cohort]:
    """``make(samples, …, grids={patient: grid})``: a cohort of them, one scan a patient."""

    def build(*added: Samples, grids: Any = (), name: str = "x", **more: Any) -> Cohort:
        known = dict(grids)
        one = added[0]
        shape, path = one.images.shape[2:], tmp_path / f"{name}.cohort"
        names = {"channels": one.channels, "mask_names": one.mask_names}
        with create_cohort(path, shape=shape, overwrite=True, **names) as writer:
            for number, part in enumerate(added):
                grid = known.get(part.patient)
                both = {"as_read": turned((99, 9, 9)), "prepared": grid} if grid else None
                ids = [f"{part.patient}/{number}-{z:04d}" for z in part.slices]
                writer.add(part, grids=both, ids=ids, **more)
        return open_cohort(path)

    return build


@pytest.fixture(scope="session")
def liver_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CT of three patients in DICOM, full of identifying tags."""
    return write_livers(tmp_path_factory.mktemp("livers") / "scans")


@pytest.fixture(scope="session")
def livers(liver_scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    """``slices`` and ``volumes`` of them, prepared; ``synthetic``: of the slices."""
    folder = tmp_path_factory.mktemp("liver-cohorts")
    steps = {
        "slices": f"[{CT}, {{step: resize, size: 32}}]",
        "volumes": f"[{CT}, {{step: resize_volume, size: [12, 32, 32]}}]",
    }
    cohorts = prepared("tcia-liver", liver_scans, folder, steps)
    return cohorts | {"synthetic": as_synthetic(cohorts["slices"], folder / "synthetic.cohort")}


@pytest.fixture(scope="session")
def brains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    """``slices`` and ``volumes`` of four phantom patients of BraTS with all channels; ``synthetic``: of the volumes."""
    folder = tmp_path_factory.mktemp("brains")
    scans = write_brain_phantom(folder / "scans", BrainPhantomOptions(patients=4, spacing_mm=4.0, seed=2))
    first = "{step: reorient}, {step: skull_strip}, {step: normalise}"
    steps = {
        "slices": f"[{first}, {{step: resize, size: 32}}]",
        "volumes": f"[{first}, {{step: resize_volume, size: 24, crop: body}}]",
    }
    cohorts = prepared("brats", scans, folder, steps)
    return cohorts | {"synthetic": as_synthetic(cohorts["volumes"], folder / "synthetic.cohort")}


def prepared(source: str, scans: Path, folder: Path, steps: Mapping[str, str]) -> dict[str, Cohort]:
    """A cohort in ``folder`` for each kind of sampling, ``slices`` or ``volumes``, by its steps."""
    cohorts = {}
    for kind, text in steps.items():
        settings = [f"preprocessing.steps={text}", f"preprocessing.sampling.kind={kind}", *SPLIT]
        path = synthoma.prepare(source, scans, folder / f"{kind}.cohort", settings=settings, workers=1)
        cohorts[kind] = open_cohort(path)
    return cohorts
