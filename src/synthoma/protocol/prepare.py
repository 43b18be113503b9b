"""Stage one: a folder of scans → a real cohort, one patient at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from synthoma.cohort import CohortWriter, PatientSummary, SplitOptions, assign_splits, create_cohort
from synthoma.errors import CohortError, MissingPartError, ScanError, describe
from synthoma.preprocessing import PreprocessingOptions
from synthoma.protocol.prepare_cases import Prepared, Work, prepare_cases, quiet, without_paths
from synthoma.protocol.rejections import left_out, rejection
from synthoma.records import Lineage, Samples
from synthoma.report.qc import QualityControl
from synthoma.report.qc_case import Rejected
from synthoma.scans import FOLDER_SOURCES, Case, DataOptions, SeveralData, find
from synthoma.storage import check_new, text_sha256

__all__ = ["prepare"]

Say = Callable[[str], None]


def prepare(
    data: DataOptions,
    preprocessing: PreprocessingOptions,
    split: SplitOptions | None,
    out: Path,
    *,
    overwrite: bool = False,
    strict: bool = False,
    workers: int | None = 1,
    cache: Path | None = None,
    debug: Say | None = None,
) -> Path:
    """Read, preprocess, sample and split the scans of a folder into the real cohort ``out``.

    Memory holds one patient (a worker) at a time. A case that cannot be read or used is left out; the cohort's notes,
    ``rejected.csv`` and ``qc.html`` in its folder say why. With ``strict`` it is an error. Where ``preprocessing``
    names no channels, the cohort has those that at least half of the cases have, and where it names no parts of the
    lesion, all that the source has. Of several sources it is what they share.

    Args:
        split: how patients are divided; ``None`` leaves the columns ``split`` and ``fold`` empty. The default number of
            folds gives way to none where the patients are fewer; a number that was asked for does not.
        workers: processes that work on patients side by side, on which the result does not depend; ``None``: as many as
            there are cores, memory and work for.
        cache: a folder that keeps scans between steps, so that the next call begins where its settings differ.
        debug: told where an exception came from that nobody foresaw.

    Raises:
        ScanError: no case can be used, or (``strict``) one cannot; several sources share no channel or no lesion mask.
        MissingPartError: a step, or all cases, need a package or program that is not there.
        CohortError: too few patients to split.
        OutputError: ``out`` exists and ``overwrite`` is false.
        LeakError: one image belongs to two patients.
        ProcessError: a worker was killed.
    """
    check_new(out, overwrite=overwrite)  # before minutes of work
    quiet()
    found = find(data)
    quality = QualityControl(split.seed if split else 0)
    for out_ in found.left_out:
        quality.reject(left_out(out_, data))
        if strict:
            raise ScanError(describe(out_.name, "a case that can be used", out_.reason, out_.remedy))
    preprocessing = _complete(preprocessing, data, found.cases)
    cases = prepare_cases(found.cases, Work(data, preprocessing, cache), workers, out.parent)
    results = _progress(cases, len(found.cases))
    waiting = _until_usable(results)
    if not waiting or waiting[-1].samples is None:
        raise _nothing_usable(data, waiting)
    files: list[str] = []
    with create_cohort(out, **_layout(waiting[-1].samples), notes=found.notes, overwrite=overwrite) as writer:
        for entry in quality.rejected:
            writer.note(f"left out {entry.name}: {entry.reason}")
        for result in _chain(waiting, results):
            rejected = _add(writer, result, data, quality)
            if rejected is None:
                files += [file.sha256 for file in result.source]
            else:
                _leave_out(rejected, result.trace, writer, quality, strict=strict, debug=debug)
            del result  # memory for the next
        if split is not None:
            if len(split.shares) <= len(writer.patients) < split.folds and "folds" not in split.model_fields_set:
                writer.notes.insert(0, f"no folds: {len(writer.patients)} patients are too few for {split.folds}")
                split = split.model_copy(update={"folds": 0})
            writer.set_splits(_split(writer.patients, split, [n for n in writer.notes if n.startswith("left out")]))
        settings = {
            "data": without_paths(data),
            "preprocessing": preprocessing.model_dump(mode="json"),
            "split": split.model_dump(mode="json") if split else None,
        }
        writer.set_lineage(
            Lineage.of(
                "prepare",
                parents=[text_sha256("\n".join(sorted(files)))],
                recipe=settings,
                seed=split.seed if split else 0,
                patients_seen=writer.patients,
            )
        )
        quality.write(writer.folder, out.name, len(writer.patients), _without_secrets(settings))
    return out


def _without_secrets(settings: Any) -> Any:
    """Settings as they may be shown: what pseudonyms are made with stays with the user."""
    if isinstance(settings, Mapping):
        return {name: _without_secrets(value) for name, value in settings.items() if name != "salt"}
    return settings


def _until_usable(results: Iterator[Prepared]) -> list[Prepared]:
    """The results up to the first that has samples."""
    waiting: list[Prepared] = []
    for result in results:
        waiting.append(result)
        if result.samples is not None:
            break
    return waiting


def _nothing_usable(data: DataOptions, results: list[Prepared]) -> ScanError | MissingPartError:
    rejected = [result.rejected for result in results if result.rejected is not None]
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in rejected[:3])
    kind = MissingPartError if results and all(result.missing_part for result in results) else ScanError
    remedy = rejected[0].remedy if len({one.remedy for one in rejected}) == 1 else ""
    return kind(describe(_where(data), "at least one case that can be used", f"none ({reasons})", remedy))


def _layout(samples: Samples) -> dict[str, Any]:
    return {"channels": samples.channels, "mask_names": samples.mask_names, "shape": samples.images.shape[2:]}


def _add(writer: CohortWriter, result: Prepared, data: DataOptions, quality: QualityControl) -> Rejected | None:
    """Add a case to the cohort and to what is shown of it, or say why it cannot be."""
    if result.samples is None or result.quality is None:
        return result.rejected
    case = result.case
    try:
        writer.add(result.samples, ids=_ids(case, result.samples), scan=case.name, grids=result.grids)
    except CohortError as error:  # its samples do not fit those of the cases before
        return rejection(case, data, str(error))
    for note in result.quality.notes:
        writer.note(f"{case.name}: {note}")
    quality.add(result.quality)
    return None


def _leave_out(
    rejected: Rejected, trace: str, writer: CohortWriter, quality: QualityControl, *, strict: bool, debug: Say | None
) -> None:
    if trace and debug is not None:
        debug(trace)
    if strict:
        raise ScanError(f"{rejected.name}: {rejected.reason}\n{rejected.remedy}")
    writer.note(f"left out {rejected.name}: {rejected.reason}")
    quality.reject(rejected)


def _split(
    patients: Mapping[str, PatientSummary], split: SplitOptions, left_out: list[str]
) -> dict[str, tuple[str, int]]:
    """The split; where patients are too few for one, the error says why others were left out."""
    try:
        return assign_splits(patients, split)
    except CohortError as error:
        if not left_out:
            raise
        why = "; ".join(left_out[:3]) + ("; …" if len(left_out) > 3 else "")
        raise CohortError(f"{str(error).splitlines()[0]}\n{why}") from error


def _complete(preprocessing: PreprocessingOptions, data: DataOptions, cases: tuple[Case, ...]) -> PreprocessingOptions:
    """``preprocessing`` with its channels and parts of the lesion spelled out, the same for every case."""
    sources = data.parts if isinstance(data, SeveralData) else {"": data}
    contents = {
        part: FOLDER_SOURCES[source.source].contents(source, tuple(case for case in cases if case.part == part))
        for part, source in sources.items()
    }
    channels, masks = preprocessing.channels, preprocessing.lesion_masks
    if not channels:
        shared = _shared("channels", {part: names for part, (names, _) in contents.items()})
        channels = tuple(name for name in shared if 2 * sum(name in case.missing for case in cases) <= len(cases))
    if not masks:
        masks = _shared("lesion_masks", {part: names for part, (_, names) in contents.items() if names})
    return preprocessing.model_copy(update={"channels": channels, "lesion_masks": masks})


def _shared(setting: str, names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names that all parts have, in the order of the first."""
    shared = tuple(name for name in next(iter(names.values()), ()) if all(name in others for others in names.values()))
    if len(names) > 1 and not shared:
        found = "; ".join(f"{part}: {', '.join(own)}" for part, own in names.items())
        remedy = f"Give them the same name in data.parts, or choose by preprocessing.{setting}."
        raise ScanError(describe(f"data.parts, {setting}", "a name that all parts share", found, remedy))
    return shared


def _where(data: DataOptions) -> str:
    sources = data.parts.values() if isinstance(data, SeveralData) else (data,)
    return ", ".join(str(source.path) for source in sources)


def _chain(waiting: list[Prepared], rest: Iterator[Prepared]) -> Iterator[Prepared]:
    while waiting:
        yield waiting.pop(0)
    yield from rest


def _ids(case: Case, samples: Samples) -> list[str]:
    """``patient/slice``, or the samples' own names; two scans of one patient are told apart by the name of the case."""
    patient = samples.patient
    prefix = "" if case.name == patient else case.name.replace("/", "_").replace(";", "_") + "-"
    return [f"{patient}/{prefix}{name}" for name in samples.names or [f"{index:04d}" for index in samples.slices]]


def _progress(results: Iterator[Prepared], total: int) -> Iterator[Prepared]:
    """The results, with a bar on a terminal; none is held longer than the caller holds it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        return results

    def tracked() -> Iterator[Prepared]:
        with Progress(console=console) as bar:
            task = bar.add_task("preparing", total=total)
            for _ in range(total):
                yield next(results)
                bar.advance(task)

    return tracked()
