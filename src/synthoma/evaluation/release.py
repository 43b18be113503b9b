"""May a synthetic cohort leave the house? What the release gate asks of the privacy audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthoma.evaluation.evidence import Evidence, read_evidence
from synthoma.evaluation.privacy import fingerprint
from synthoma.records import Cohort

__all__ = ["release_problems"]


def release_problems(evidence: Evidence | Path, cohort: Cohort | None = None) -> list[str]:
    """What stands against a release, a sentence each; empty when an audit was run and found no near-duplicate.

    Args:
        evidence: what was found, or the folder that holds ``evidence/``.
        cohort: the synthetic cohort to be released, recognised by the hashes of its images; without it every audited
            cohort counts.

    Raises:
        InputError: a folder whose evidence is damaged. One without any is a problem, not an error.
    """
    if not isinstance(evidence, Evidence):
        if not list((Path(evidence) / "evidence").glob("*.json")):
            return [f"No privacy audit was run: {Path(evidence) / 'evidence'} holds no evidence."]
        evidence = read_evidence(evidence)
    audits: dict[str, Any] = dict(evidence.curves.get("privacy", {}))
    if not audits:
        return ["No privacy audit was run: the evidence has no family 'privacy' with an audited cohort."]
    if cohort is not None:
        own = fingerprint(cohort)
        audits = {name: audit for name, audit in audits.items() if audit["cohort_sha256"] == own}
        if not audits:
            return ["No privacy audit was run of this cohort: its images are not those that were audited."]
    return [_found(name, audit) for name, audit in audits.items() if audit["near_duplicates"]]


def _found(name: str, audit: dict[str, Any]) -> str:
    pairs = audit["near_duplicates"]
    first = pairs[0]
    how = "" if first["transformation"] == "none" else f" ({first['transformation']})"
    return (
        f"{name}: {len(pairs)} of {audit['images']} images are near-duplicates of real ones, such as "
        f"{first['synthetic']} of {first['real']}{how}."
    )
