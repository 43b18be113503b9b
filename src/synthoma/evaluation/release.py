"""May a synthetic cohort, or a generator, leave the house? What the release gate asks of the privacy audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthoma.errors import PrivacyError, SettingError, describe
from synthoma.evaluation.evidence import Evidence, read_evidence
from synthoma.evaluation.privacy import fingerprint
from synthoma.records import Cohort

__all__ = ["AsGenerator", "check_release", "find_evidence", "release_problems"]

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


@dataclass(frozen=True)
class AsGenerator:
    """A generator is to be released: what is asked besides, since whoever has it may draw what no cohort shows."""

    ways: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Channels that it draws of a patient whom it is shown, and whose true image it may have been trained on → how
    cohorts of training and of held-out patients are drawn, for the message."""
    elsewhere: tuple[str, ...] = ()
    """Cohorts of the same training that other weights drew: they say nothing of these."""


@dataclass(frozen=True)
class _Problem:
    said: str
    short: str
    """The same without an image or a patient: it goes along with what is exported."""
    remedy: str
    shown: bool = False
    """Whether there are pairs to look at."""


def check_release(
    what: Path, cohorts: Mapping[str, Cohort], folder: Path | None, accepted: str = "",
    generator: AsGenerator | None = None,
) -> str:  # fmt: skip
    """Refuse what has not passed the privacy audit; returns the risk that was accepted instead, or nothing.

    Args:
        what: the cohort or the run to be released, for the message.
        cohorts: the cohort, or those that a generator drew: of these any that was audited counts, and one must be.
        folder: holds ``evidence/`` (see :func:`find_evidence`), or ``None`` where there is none.
        accepted: the reason of one who releases it all the same. What it returns then says the reason and what was
            found, and not of whom: that would name the patient.
        generator: a generator is to be released. An image near the scan of the very patient that was shown to draw it
            does not count by itself, for a good generator draws such images of strangers, too. Instead it is asked
            whether patients that it was trained on are drawn closer to the truth than strangers.

    Raises:
        PrivacyError: the audit was not run, found a near-duplicate, or training patients known by heart, or could not
            tell; and no reason is given.
        SettingError: a reason without words.
        InputError: damaged evidence.
    """
    if accepted and not accepted.strip():
        raise SettingError(describe("accept-privacy-risk", "a reason in words", "nothing but spaces"))
    found: dict[str, Any] = {}
    if folder is not None and list((folder / "evidence").glob("*.json")):
        audits = _audits(read_evidence(folder))
        found = {name: audit for cohort in cohorts.values() for name, audit in _of(audits, cohort).items()}
    problems = _problems(found, folder, generator)
    if not problems:
        return ""
    if accepted:
        return f"{' '.join(accepted.split())} ({'; '.join(problem.short for problem in problems)})"
    said = " ".join(problem.said.rstrip(".") + "." for problem in problems).rstrip(".")
    parts = [_panel(folder)] if any(problem.shown for problem in problems) else []
    remedy = " ".join(dict.fromkeys([*parts, *(problem.remedy for problem in problems)]))
    expected = "a privacy audit without near-duplicates"
    if generator is not None and generator.ways:
        expected += " and without training patients known by heart"
    go_on = '--accept-privacy-risk "reason" releases it all the same, and the reason with it.'
    raise PrivacyError(describe(what, expected, said, f"{remedy} {go_on}"))


def _problems(found: Mapping[str, Any], folder: Path | None, generator: AsGenerator | None) -> list[_Problem]:
    if not found:
        return [_not_audited(folder, generator)]
    problems = []
    for name, audit in found.items():
        pairs = audit["near_duplicates"] if generator is None else _not_shown(audit)
        if pairs:
            own = audit | {"near_duplicates": pairs}
            short = f"{name}: {len(pairs)} of {audit['images']} near-duplicates"
            problems.append(_Problem(_found(name, own), short, "Train or draw anew;", shown=True))
    for channels, how in (generator.ways if generator else {}).items():
        parts = [audit["by_heart"] for audit in found.values() if "by_heart" in audit]
        content = next((part for part in parts if part["channels"] == list(channels)), {"missing": "training"})
        problems += _by_heart(", ".join(channels), content, how)
    return problems


def _not_audited(folder: Path | None, generator: AsGenerator | None) -> _Problem:
    made = "its images" if generator is None else "any of the cohorts that it made"
    where = "in no evidence/ beside or above it" if folder is None else f"of {made} in {folder / 'evidence'}"
    if generator is not None and generator.elsewhere:
        others = ", ".join(generator.elsewhere)
        said = f"audits of cohorts that another checkpoint of this training drew, or an older synthoma ({others})"
        remedy = (
            "Draw and evaluate with this checkpoint, or name the one that drew them: RUN/checkpoints/….safetensors;"
        )
        return _Problem(said, NOT_AUDITED, remedy)
    remedy = "Run synthoma evaluate REAL COHORT --out FOLDER, then add --evidence FOLDER;"
    return _Problem(f"no audit {where}", NOT_AUDITED, remedy)


def _by_heart(channels: str, content: Mapping[str, Any], how: str) -> list[_Problem]:
    """What stands against a generator that is shown a patient and draws ``channels``: at most one problem."""
    if content.get("state") == "cleared":
        return []
    short = f"{channels}: not told whether training patients are known by heart"
    if content.get("missing") in ("training", "held-out"):
        said = f"no audited {channels} that it drew for {content['missing']} patients, so whether it knows training "
        remedy = f"Draw with {how}; run synthoma evaluate REAL COHORT COHORT --out FOLDER and add --evidence FOLDER;"
        return [_Problem(f"{said}patients by heart cannot be told", short, remedy)]
    counts = f"{content['training_patients']} training and {content['held_out_patients']} held-out patients"
    if content["state"] == "cannot tell":
        said = (
            f"too few patients of a site to tell whether {channels} of training patients is known by heart ({counts})"
        )
        return [_Problem(said, short, "Hold out more patients (split.test) and train anew;")]
    pair, alone = content["pairs"][0], len(content["alone"])
    said = (
        f"{channels} of training patients is known by heart: held-out patients have {content['ratio']:.1f} times their "
        f"error (p = {content['p']:.2g}, {counts}{f'; {alone} by themselves' * bool(alone)}), such as {pair['arm']}: "
        f"{pair['synthetic']} of {pair['real']} (error {pair['rmse']:.3f}, of held-out patients "
        f"{content['held_out_rmse']:.3f})"
    )
    short = f"{channels} of training patients known by heart: error ratio {content['ratio']:.1f}"
    remedy = "Train for fewer epochs, on more patients or with training.augment;"
    return [_Problem(said, short, remedy, shown=True)]


def _audits(evidence: Evidence) -> dict[str, Any]:
    return dict(evidence.curves.get("privacy", {}))


def _of(audits: Mapping[str, Any], cohort: Cohort) -> dict[str, Any]:
    """The audits of the very images of a cohort."""
    own = fingerprint(cohort)
    return {name: audit for name, audit in audits.items() if audit["cohort_sha256"] == own}


def _not_shown(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The near-duplicates of training patients other than the one whom the generator was shown to draw them."""
    return [pair for pair in audit["near_duplicates"] if not pair["source"] and pair["split"] == "train"]


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
