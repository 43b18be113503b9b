"""``synthoma info``: what a folder holds, for a person or as JSON; also what other verbs say of what they wrote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthoma.errors import InputError, describe

if TYPE_CHECKING:
    from synthoma.records import Cohort

__all__ = ["cohort_lines", "evidence_lines", "info"]

MOST_NOTES = 12
"""So many notes are printed; those that say what was left out are printed all."""


def info(
    path: Annotated[Path, typer.Argument(help="A cohort, a run, a study or an evaluation.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Say what a folder of synthoma holds."""
    content, lines = _look(path)
    if as_json:
        import json

        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(lines))


def _look(path: Path) -> tuple[Any, list[str]]:
    """The content of a folder for JSON, and as lines."""
    if (path / "cohort.json").is_file():
        from synthoma.cohort import describe_cohort, open_cohort

        cohort = open_cohort(path)
        return describe_cohort(cohort), cohort_lines(cohort)
    if (path / "run.json").is_file():
        run = _run(path)
        return run, _run_lines(run)
    if (path / "stages.json").is_file() or (path / "compared.json").is_file():
        study = _study(path)
        return study, _study_lines(study, path)
    found = "nothing" if not path.exists() else "a file" if path.is_file() else "another folder"
    raise InputError(describe(path, "the folder of a cohort, a run, a study or an evaluation", found))


def cohort_lines(cohort: Cohort) -> list[str]:
    """A cohort in a screen: sizes, splits, sites, labels, and what preparation had to say."""
    from synthoma.cohort import describe_cohort

    about = describe_cohort(cohort)
    size, unit = " × ".join(str(n) for n in about["shape"]), "voxels" if len(about["shape"]) == 3 else "pixels"
    lines = [
        f"{about['path']}: {about['samples']} samples of {about['patients']} patients, {size} {unit}",
        f"  channels  {', '.join(about['channels'])}   masks  {', '.join(about['masks'])}",
        f"  modality  {about['modality']}   unit  {about['unit']}",
    ]
    if about["conditions"]:
        lines.append(f"  made from {', '.join(about['conditions'])}")
    lines.append("")
    lines += _table(about)
    left_out = [note for note in about["notes"] if note.startswith("left out")]
    other = _grouped([note for note in about["notes"] if not note.startswith("left out")])
    if left_out:
        lines += ["", f"Left out ({len(left_out)}):", *(f"  {note.removeprefix('left out ')}" for note in left_out)]
    if other:
        lines += ["", "Notes:", *(f"  {note}" for note in other[:MOST_NOTES])]
        if len(other) > MOST_NOTES:
            lines.append(f"  … and {len(other) - MOST_NOTES} more (synthoma info --json)")
    return lines


def _grouped(notes: list[str]) -> list[str]:
    """What is said of several patients in the same words, once."""
    texts: dict[str, list[str]] = {}
    for note in notes:
        texts.setdefault(note.partition(": ")[2] or note, []).append(note)
    return [same[0] if len(same) == 1 else f"{text} ({len(same)} scans)" for text, same in texts.items()]


def _table(about: dict[str, Any]) -> list[str]:
    """Patients and samples of each split, fold, site and label."""
    rows = [("", "", "patients", "samples")]
    for column in ("split", "fold", "site", "label", "origin"):
        entries = about[column]
        unset = set(entries) <= {"", "-1"}
        if unset or (column == "origin" and set(entries) == {"real"}):
            continue
        names = sorted(entries, key=lambda name: (("train", "validation", "test").index(name) if name in
                                                  ("train", "validation", "test") else 3, name))  # fmt: skip
        for number, name in enumerate(names):
            counts = entries[name]
            first = column if number == 0 else ""
            rows.append((first, name or "(none)", str(counts["patients"]), str(counts["samples"])))
    wide = max(len(row[1]) for row in rows)
    return [f"  {a:<7} {b:<{wide}} {c:>9} {d:>8}" for a, b, c, d in rows]


def _run(path: Path) -> dict[str, Any]:
    from synthoma.report import read_log
    from synthoma.storage import read_json

    content = read_json(path / "run.json")
    log = read_log(path / "log.jsonl") if (path / "log.jsonl").is_file() else []
    trained = [line for line in log if line.get("kind") == "train"]
    scored = [line for line in log if line.get("kind") == "validation"]
    return {
        "path": str(path),
        **content,
        "last": trained[-1] if trained else None,
        "best": next((line for line in reversed(scored) if line.get("best")), None),
    }


def _run_lines(run: dict[str, Any]) -> list[str]:
    gan, training = run["options"]["gan"], run["options"]["training"]
    done = run["last"]["epoch"] if run["last"] else 0
    state = "finished" if run["finished"] else "not finished: go on with synthoma train … --resume"
    lines = [
        f"{run['path']}: {gan['method']} GAN, {_direction(gan)}, {state}",
        f"  epochs    {done} of {training['epochs']}",
    ]
    if run["last"]:
        losses = "  ".join(f"{name} {value:.4g}" for name, value in run["last"]["losses"].items())
        speed, waits = run["last"]["images_per_second"], run["last"]["data_wait_share"]
        lines.append(f"  losses    {losses}")
        lines.append(f"  speed     {speed:.1f} images/s, {100 * waits:.1f} % of the time waiting for data")
    if run["best"]:
        best = run["best"]
        lines.append(f"  best      epoch {best['epoch']}: SSIM {best['ssim']:.3f}, PSNR {best['psnr_db']:.2f} dB")
    return lines


def _direction(gan: dict[str, Any]) -> str:
    """From what to what a GAN goes, by its settings."""
    if gan["method"] == "cycle":
        return " ↔ ".join(_domain(gan[side]) for side in ("source", "target"))
    return f"{_channels(gan['condition']) if 'condition' in gan else 'noise'} → {_channels(gan['target'])}"


def _domain(domain: dict[str, Any]) -> str:
    fixed = [f"{name} {domain[name]}" for name in ("modality", "label", "site") if domain[name]]
    return " ".join([_channels(domain["channels"])] * bool(domain["channels"] or not fixed) + fixed)


def _channels(names: list[str]) -> str:
    return f"[{', '.join(names)}]" if names else "all channels"


def _study(path: Path) -> dict[str, Any]:
    from synthoma.evaluation import read_evidence
    from synthoma.storage import read_json

    stages = read_json(path / "stages.json") if (path / "stages.json").is_file() else {}
    measured = (path / "evidence.csv").is_file()
    report = path / "report.html"
    return {
        "path": str(path),
        "stages": list(stages),
        "cohorts": sorted(str(cohort.relative_to(path)) for cohort in path.rglob("*.cohort") if cohort.is_dir()),
        "report": str(report) if report.is_file() else None,
        "measurements": [m.to_json() for m in read_evidence(path).measurements] if measured else [],
    }


def _study_lines(study: dict[str, Any], path: Path) -> list[str]:
    lines = [f"{study['path']}:"]
    if study["stages"]:
        lines.append(f"  begun     {', '.join(_counted(name.rpartition(': ')[2] for name in study['stages']))}")
    if study["cohorts"]:
        places = (re.sub(r"^folds/[^/]+/", "folds/*/", place) for place in study["cohorts"])
        lines.append(f"  cohorts   {', '.join(_counted(places))}")
    lines.append(f"  report    {study['report'] or 'none yet'}")
    return [*lines, *(evidence_lines(path) if study["measurements"] else ())]


def _counted(names: Iterable[str]) -> list[str]:
    """Each name once, with how often it is there: a protocol has the same stages and cohorts in every fold."""
    return [f"{name} ({count} ×)" if count > 1 else name for name, count in Counter(names).items()]


def evidence_lines(folder: Path) -> list[str]:
    """The first things to know of an evaluation: similarity over the body arm by arm, verdicts, warnings."""
    from synthoma.evaluation import read_evidence

    evidence = read_evidence(folder)
    lines = []
    for measurement in evidence.measurements:
        if measurement.region == "body" and measurement.name in ("ssim", "psnr") and measurement.value is not None:
            interval = ""
            if measurement.low is not None and measurement.high is not None:
                interval = f"  [{measurement.low:.3f}, {measurement.high:.3f}]"
            lines.append(f"  {measurement.name:<5} {measurement.arm:<28} {measurement.value:>8.3f}{interval}")
    lines += [f"  {verdict.verdict}: {verdict.claim}" for verdict in evidence.verdicts]
    return [*lines, *(f"  note: {warning}" for warning in evidence.warnings)]
