"""``Lineage``: what something was made from, and how."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

from synthoma.storage import text_sha256

__all__ = ["Lineage"]


@dataclass(frozen=True)
class Lineage:
    """One step from parents to result. ``id`` is the hash of all other fields, so equal work has equal ids."""

    id: str
    step: str
    """The verb: ``prepare``, ``train``, ``generate``, …"""
    parents: tuple[str, ...]
    """Ids of the lineages (or SHA-256 of the files) that this was made from."""
    recipe_sha256: str
    seed: int
    version: str
    patients_seen: tuple[str, ...]
    """Every patient whose images had an influence on the result: what the leak guard reads."""

    @classmethod
    def of(
        cls,
        step: str,
        *,
        parents: Iterable[str],
        recipe: Any,
        seed: int,
        patients_seen: Iterable[str],
    ) -> Self:
        """Describe a step; ``recipe`` is its settings, as JSON can hold them."""
        from synthoma import __version__

        fields: dict[str, Any] = {
            "step": step,
            "parents": tuple(parents),
            "recipe_sha256": text_sha256(json.dumps(recipe, sort_keys=True, ensure_ascii=False)),
            "seed": int(seed),
            "version": __version__,
            "patients_seen": tuple(sorted(set(patients_seen))),
        }
        return cls(id=text_sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False))[:16], **fields)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Back from :meth:`to_json`."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        return cls(**fields)
