"""What every room's tests share. The module ``dicom_standard.py`` beside this file can be imported by name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from synthoma.cohort import create_cohort, open_cohort
from synthoma.records import Cohort, Lineage, Samples

if TYPE_CHECKING:
    from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parent))
ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""Of a browser that is driven: nothing of its own goes over a network."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of small real data sets, where there is one."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets (../shared/data) are not here")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def ellipse_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Six patients of 32 × 32: an ellipse for a brain, a smaller one for a lesion, FLAIR a curve of T1 and the lesion.

    Four train (``p0`` … ``p3``, two slices with a tumour and one without each), ``p4`` validates, ``p5`` tests.
    """
    folder = tmp_path_factory.mktemp("ellipses") / "real.cohort"
    splits = {f"p{i}": ("train" if i < 4 else "validation" if i == 4 else "test", i % 2) for i in range(6)}
    lineage = Lineage.of("prepare", parents=("ab",), recipe={}, seed=1, patients_seen=splits)
    with create_cohort(
        folder,
        channels=("t1", "flair"),
        mask_names=("body", "core", "oedema"),
        shape=(32, 32),
        lineages=(lineage,),
    ) as writer:
        for patient, (split, fold) in splits.items():
            writer.add(_ellipses(patient), split=split, fold=fold, lineage=lineage.id)
    return open_cohort(folder)


def _ellipses(patient: str) -> Samples:
    rng = np.random.default_rng([*patient.encode()])
    y, x = np.mgrid[:32, :32].astype(np.float64)
    images, masks = np.full((3, 2, 32, 32), -1.0), np.zeros((3, 3, 32, 32), dtype=np.uint8)
    for i, tumour in enumerate((True, True, False)):
        body = ((y - 15.5) / rng.uniform(12, 14)) ** 2 + ((x - 15.5) / rng.uniform(10, 12)) ** 2 < 1
        centre = rng.uniform(12, 19, 2)
        distance = np.hypot((y - centre[0]) / rng.uniform(3, 4), (x - centre[1]) / rng.uniform(3, 4))
        core, oedema = (distance < 0.6) & tumour, (distance >= 0.6) & (distance < 1) & tumour
        t1 = 0.3 * np.sin(y / rng.uniform(2, 4)) * np.cos(x / 3) + rng.normal(0, 0.05, y.shape) - 0.3 * core
        flair = 0.2 - 0.7 * t1 + 0.5 * t1**2 + 0.5 * oedema - 0.2 * core
        for channel, image in enumerate((t1, flair)):
            images[i, channel][body] = image[body].clip(-0.95, 0.95)
        masks[i] = np.stack([body, core, oedema])
    return Samples(
        images=images.astype(np.float32),
        masks=masks,
        channels=("t1", "flair"),
        mask_names=("body", "core", "oedema"),
        slices=(10, 20, 30),
        labels=("tumour", "tumour", "tumour-free"),
        patient=patient,
        site="north" if patient < "p3" else "south",
        spacing_mm=(1.0, 1.25),
        intensity={"t1": (0.0, 100.0), "flair": (-5.0, 200.0)},
        unit="arbitrary",
        modality="MR",
    )
