"""A few rendered phantom patients, shared by the tests that look at them."""

from __future__ import annotations

import dataclasses

import pytest

from synthoma.phantoms.brain import BrainParameters, BrainPhantomOptions, BrainScan, draw, render


@pytest.fixture(scope="session")
def rendered_patients() -> list[tuple[BrainParameters, BrainScan]]:
    """Six patients (three of each site) at 3 mm."""
    options = BrainPhantomOptions(seed=7)
    drawn = [draw(options, index) for index in range(6)]
    return [(parameters, render(parameters, 3.0)) for parameters in drawn]


@pytest.fixture(scope="session")
def evenly_lit_patients(rendered_patients: list[tuple[BrainParameters, BrainScan]]) -> list[BrainScan]:
    """The same patients without coil shading and slice steps: what remains is the contrast of the tissues."""
    scans = []
    for parameters, _ in rendered_patients:
        even = dataclasses.replace(parameters.scan, shading=0.0, slice_steps=0.0)
        scans.append(render(dataclasses.replace(parameters, scan=even), 3.0))
    return scans
