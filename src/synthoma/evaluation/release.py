"""May a synthetic cohort, or a generator, leave the house? What the release gate asks of the privacy audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthoma.errors import PrivacyError, SettingError, describe
from synthoma.evaluation.evidence import Evidence, read_evidence
from synthoma.evaluation.privacy import fingerprint
from synthoma.records import Cohort

__all__ = ["check_release", "find_evidence", "release_problems"]

ABOVE = 3
"""So many folders above a cohort its study may be: ``study/variants/NAME/WAY.cohort``."""
NOT_AUDITED = "no privacy audit"


def find_evidence(path: Path) -> Path | None:
    """The folder that holds ``evidence/`` nearest to a cohort or a run: itself, or up to three above it."""
    place = Path(path).resolve()
    return next((at for at in (place, *place.parents[:ABOVE]) if list((at / "evidence").glob("*.json"))), None)


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
    audits = _audits(evidence)
    if not audits:
        return ["No privacy audit was run: the evidence has no family 'privacy' with an audited cohort."]
    if cohort is not None:
        audits = _of(audits, cohort)
        if not audits:
            return ["No privacy audit was run of this cohort: its images are not those that were audited."]
    return [_found(name, audit) for name, audit in audits.items() if audit["near_duplicates"]]


def check_release(
    what: Path, cohorts: Mapping[str, Cohort], folder: Path | None, accepted: str = "", *, generator: bool = False
) -> str:
    """Refuse what has not passed the privacy audit; returns the risk that was accepted instead, or nothing.

    Args:
        what: the cohort or the run to be released, for the message.
        cohorts: the cohort, or those that a generator made: of these any that was audited counts, and one must be.
        folder: holds ``evidence/`` (see :func:`find_evidence`), or ``None`` where there is none.
        accepted: the reason of one who releases it all the same. What it returns then says the reason and how many
            images are near-duplicates, and not which: that would name the patient.
        generator: a generator is to be released. Then an image that is near the one it was made from does not count:
            who has nothing of the patient cannot get that one out of the weights.

    Raises:
        PrivacyError: the audit was not run, or found a near-duplicate, and no reason is given.
        SettingError: a reason without words.
        InputError: damaged evidence.
    """
    if accepted and not accepted.strip():
        raise SettingError(describe("accept-privacy-risk", "a reason in words", "nothing but spaces"))
    found: dict[str, Any] = {}
    if folder is not None and list((folder / "evidence").glob("*.json")):
        audits = _audits(read_evidence(folder))
        found = {name: audit for cohort in cohorts.values() for name, audit in _of(audits, cohort).items()}
    if generator:
        found = {name: audit | {"near_duplicates": _not_shown(audit)} for name, audit in found.items()}
    copied = {name: audit for name, audit in found.items() if audit["near_duplicates"]}
    if found and not copied:
        return ""
    if accepted:
        counts = [f"{name}: {len(a['near_duplicates'])} of {a['images']} near-duplicates" for name, a in copied.items()]
        return f"{' '.join(accepted.split())} ({'; '.join(counts) or NOT_AUDITED})"
    expected = "a privacy audit without near-duplicates"
    go_on = '--accept-privacy-risk "reason" releases it all the same, and the reason with it.'
    if copied:
        texts = " ".join(_found(name, audit).rstrip(".") + "." for name, audit in copied.items())
        remedy = f"{_panel(folder)} Train or draw anew; {go_on}"
        raise PrivacyError(describe(what, expected, texts.rstrip("."), remedy))
    made = "any of the cohorts that it made" if generator else "its images"
    where = "in no evidence/ beside or above it" if folder is None else f"of {made} in {folder / 'evidence'}"
    remedy = f"Run synthoma evaluate REAL COHORT --out FOLDER, then add --evidence FOLDER; {go_on}"
    raise PrivacyError(describe(what, expected, f"no audit {where}", remedy))


def _audits(evidence: Evidence) -> dict[str, Any]:
    return dict(evidence.curves.get("privacy", {}))


def _of(audits: Mapping[str, Any], cohort: Cohort) -> dict[str, Any]:
    """The audits of the very images of a cohort."""
    own = fingerprint(cohort)
    return {name: audit for name, audit in audits.items() if audit["cohort_sha256"] == own}


def _not_shown(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The near-duplicates of images that the generator was not shown to draw them."""
    return [pair for pair in audit["near_duplicates"] if not pair["source"]]


def _found(name: str, audit: dict[str, Any]) -> str:
    pairs = audit["near_duplicates"]
    first = pairs[0]
    how = "" if first["transformation"] == "none" else f" ({first['transformation']})"
    return (
        f"{name}: {len(pairs)} of {audit['images']} images are near-duplicates of real ones, such as "
        f"{first['synthetic']} of {first['real']}{how}."
    )


def _panel(folder: Path | None) -> str:
    """Where the pairs can be looked at."""
    assert folder is not None  # noqa: S101 (for the type checker)
    page = folder / "report.html"
    report = f"the report {page}" if page.is_file() else f"synthoma report {folder} --out {page}"
    return f"All pairs: {folder / 'evidence' / 'privacy.json'}; {report}."
