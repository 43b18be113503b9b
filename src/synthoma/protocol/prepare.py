"""Stage one: a folder of scans → a real cohort, one patient at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthoma.cohort import PatientSummary, SplitOptions, assign_splits, create_cohort
from synthoma.errors import CohortError, ScanError, describe
from synthoma.preprocessing import PreprocessingOptions, preprocess, sample
from synthoma.records import BODY, Grid, Lineage, Samples, SourceFile
from synthoma.scans import (
    BratsData,
    Case,
    DataOptions,
    FolderData,
    ImagesData,
    LidcNodulesData,
    NiftiData,
    SeveralData,
    TcgaLggData,
    brats,
    find,
    lidc_nodules,
    read,
    tcga_lgg,
)
from synthoma.storage import check_new, text_sha256

__all__ = ["prepare"]


@dataclass(frozen=True)
class _Prepared:
    """One case: its samples, or the reason why there are none."""

    case: Case
    samples: Samples | None = None
    source: tuple[SourceFile, ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""


def prepare(
    data: DataOptions,
    preprocessing: PreprocessingOptions,
    split: SplitOptions | None,
    out: Path,
    *,
    overwrite: bool = False,
    strict: bool = False,
    workers: int = 1,
) -> Path:
    """Read, preprocess, sample and split the scans of a folder into the real cohort ``out``.

    Memory holds one patient (a worker) at a time. A case that cannot be read or used is left out, and the cohort's
    notes say why; with ``strict`` it is an error. Where ``preprocessing`` names no channels, the cohort has those that
    at least half of the cases have, and where it names no parts of the lesion, all that the source has. Of several
    sources it is what they share.

    Args:
        split: how patients are divided; ``None`` leaves the columns ``split`` and ``fold`` empty. The default number of
            folds gives way to none where the patients are fewer; a number that was asked for does not.
        workers: processes that work on patients side by side; the result does not depend on it.

    Raises:
        ScanError: no case can be used, or (``strict``) one cannot; several sources share no channel or no lesion mask.
        CohortError: too few patients to split.
        OutputError: ``out`` exists and ``overwrite`` is false.
        LeakError: one image belongs to two patients.
    """
    check_new(out, overwrite=overwrite)  # before minutes of work
    _quiet()
    found = find(data)
    if strict and found.left_out:
        first_out = found.left_out[0]
        raise ScanError(describe(first_out.name, "a case that can be used", first_out.reason))
    preprocessing = _complete(preprocessing, data, found.cases)
    results = _progress(_prepared(data, preprocessing, found.cases, workers), len(found.cases))
    left_out = [f"left out {out_.name}: {out_.reason}" for out_ in found.left_out]
    waiting: list[_Prepared] = []
    for result in results:
        waiting.append(result)
        if result.samples is not None:
            break
    if not waiting or waiting[-1].samples is None:
        reasons = "; ".join(f"{result.case.name}: {result.reason}" for result in waiting[:3])
        raise ScanError(describe(_where(data), "at least one case that can be used", f"none ({reasons})"))
    first = waiting[-1].samples
    files: list[str] = []
    with create_cohort(
        out,
        channels=first.channels,
        mask_names=first.mask_names,
        shape=first.images.shape[2:],
        notes=[*found.notes, *left_out],
        overwrite=overwrite,
    ) as writer:
        for result in _chain(waiting, results):
            case = result.case
            if result.samples is None:
                if strict:
                    raise ScanError(result.reason)
                writer.note(f"left out {case.name}: {result.reason}")
                continue
            writer.add(result.samples, ids=_ids(case, result.samples), scan=case.name, grids=result.grids)
            files += [file.sha256 for file in result.source]
            for note in result.notes:
                writer.note(f"{case.name}: {note}")
        if split is not None:
            if len(split.shares) <= len(writer.patients) < split.folds and "folds" not in split.model_fields_set:
                writer.notes.insert(0, f"no folds: {len(writer.patients)} patients are too few for {split.folds}")
                split = split.model_copy(update={"folds": 0})
            writer.set_splits(_split(writer.patients, split, [n for n in writer.notes if n.startswith("left out")]))
        writer.set_lineage(
            Lineage.of(
                "prepare",
                parents=[text_sha256("\n".join(sorted(files)))],
                recipe={
                    "data": _without_paths(data),
                    "preprocessing": preprocessing.model_dump(mode="json"),
                    "split": split.model_dump(mode="json") if split else None,
                },
                seed=split.seed if split else 0,
                patients_seen=writer.patients,
            )
        )
    return out


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
        part: _contents(source, tuple(case for case in cases if case.part == part)) for part, source in sources.items()
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


def _contents(data: FolderData, cases: tuple[Case, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels and the parts of the lesion that a source may have, as far as names of files tell."""
    roles = dict.fromkeys(role.rpartition("/")[0] or role for case in cases for role in case.files)
    match data:
        case BratsData():
            return brats.CHANNELS, tuple(brats.LABELS["2021"].values()) if "seg" in roles else ()
        case TcgaLggData():
            return tcga_lgg.CHANNELS, ("lesion",)
        case NiftiData():
            return tuple(data.channels), tuple(name for name in data.masks if name in roles and name != BODY)
        case LidcNodulesData():
            return lidc_nodules.CHANNELS, lidc_nodules.MASKS
        case ImagesData():
            if "arrays" in roles:
                return tuple(data.arrays) or (data.channel,), tuple(data.mask_arrays)
            return tuple(role for role in roles if role != "mask"), (data.mask,) if "mask" in roles else ()


def _where(data: DataOptions) -> str:
    sources = data.parts.values() if isinstance(data, SeveralData) else (data,)
    return ", ".join(str(source.path) for source in sources)


def _without_paths(data: DataOptions) -> dict[str, Any]:
    """The settings of the data, wherever they lie."""
    content = data.model_dump(mode="json")
    for block in (content, *content.get("parts", {}).values()):
        block.pop("path", None)
    return content


def _quiet() -> None:
    """NiBabel tells on stderr which fields of a header it mended, a line a file: nothing that a user could act on."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


def _prepared(
    data: DataOptions, preprocessing: PreprocessingOptions, cases: tuple[Case, ...], workers: int
) -> Iterator[_Prepared]:
    """Each case in order, never more of them in memory than there are workers."""
    if workers == 1:
        for case in cases:
            yield _one(case, data, preprocessing)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=workers, return_as="generator", pre_dispatch=workers)
    yield from parallel(delayed(_one)(case, data, preprocessing) for case in cases)


def _one(case: Case, data: DataOptions, preprocessing: PreprocessingOptions) -> _Prepared:
    try:
        scan = read(case, data)
        prepared = preprocess(scan, preprocessing)
        grids = {"as_read": scan.grid, "prepared": prepared.grid}
        return _Prepared(case, sample(prepared, preprocessing), scan.source, grids, prepared.notes)
    except ScanError as error:
        return _Prepared(case, reason=str(error).splitlines()[0].removeprefix(f"{case.patient}: "))


def _chain(waiting: list[_Prepared], rest: Iterator[_Prepared]) -> Iterator[_Prepared]:
    while waiting:
        yield waiting.pop(0)
    yield from rest


def _ids(case: Case, samples: Samples) -> list[str]:
    """``patient/slice``; two scans of one patient are told apart by the name of the case."""
    patient = samples.patient
    prefix = "" if case.name == patient else case.name.replace("/", "_").replace(";", "_") + "-"
    return [f"{patient}/{prefix}{index:04d}" for index in samples.slices]


def _progress(results: Iterator[_Prepared], total: int) -> Iterator[_Prepared]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return results

    def tracked() -> Iterator[Any]:
        yield from track(results, "preparing", total, console=console)

    return tracked()
