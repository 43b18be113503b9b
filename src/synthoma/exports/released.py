"""A generator that leaves the house, and all that is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthoma import __version__
from synthoma.records import Cohort, Lineage, Measurement

if TYPE_CHECKING:
    from synthoma.exports.generators import Generator

__all__ = ["Released", "config", "exported"]


@dataclass(frozen=True)
class Released:
    """A generator that leaves the house, and all that its cards say of it."""

    name: str
    checkpoint: Path
    generators: Mapping[str, Generator]
    """By the way to draw, the most telling first."""
    lineage: Lineage
    """Of its training."""
    real: Cohort | None
    """What it was trained on, where that still is at hand."""
    arms: tuple[str, ...] = ()
    """What its cohorts are called in the evidence."""
    audited: tuple[str, ...] = ()
    """Those of them that a privacy audit looked at."""
    measurements: tuple[Measurement, ...] = ()
    definitions: Mapping[str, str] | None = None
    verdicts: tuple[tuple[str, str], ...] = ()
    """Claim and verdict."""
    risk: str = ""
    """The privacy risk that somebody accepted, in words; empty where the audit found nothing."""

    @property
    def first(self) -> Generator:
        """The generator of the most telling way."""
        return next(iter(self.generators.values()))


def config(released: Released) -> dict[str, Any]:
    """What a program must know to use the generator, as JSON can hold it."""
    return {
        "synthoma": __version__,
        "method": released.first.method,
        "ways": {
            way: {"inputs": list(g.inputs), "masks": list(g.masks), "outputs": list(g.outputs)}
            for way, g in released.generators.items()
        },
        "shape": list(released.first.shape),
        "latent": released.first.latent,
        "labels": list(released.first.labels),
        "intensities": [-1.0, 1.0],
        "accepted_privacy_risk": released.risk,
        "lineage": released.lineage.to_json(),
        "exported": exported(released).to_json(),
    }


def exported(released: Released) -> Lineage:
    """The step that made the export; the accepted risk is part of its settings."""
    recipe = {"accepted_privacy_risk": released.risk}
    seen = released.lineage.patients_seen
    return Lineage.of("export", parents=[released.lineage.id], recipe=recipe, seed=0, patients_seen=seen)
