"""One case after the other, or several side by side: read, preprocess, sample. One that cannot be used is no error."""

from __future__ import annotations

import logging
import signal
import time
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from synthoma.errors import (
    LeakError,
    MissingPartError,
    OutputError,
    ProcessError,
    ScanError,
    SettingError,
    SynthomaError,
    describe,
)
from synthoma.preprocessing import PreprocessingOptions, preprocess, sample
from synthoma.protocol import cache
from synthoma.protocol.rejections import rejection, unforeseen
from synthoma.records import Grid, Samples, Scan, SourceFile
from synthoma.report.qc_case import CaseQuality, Look, Rejected, compare, look_at, look_from, look_parts
from synthoma.scans import Case, DataOptions, read
from synthoma.storage import writable
from synthoma.training.stopping import stopping

__all__ = ["Prepared", "Work", "prepare_case", "prepare_cases", "prepare_to_disk", "quiet", "without_paths"]

KEEP_AFTER_S = 0.5
"""The cache keeps a scan wherever more seconds of work than these would have to be repeated."""
PLACES = ("path", "table")
"""Settings of sources that say where files lie."""
WORTH_S = 8.0
"""Less work than this is done in one process: others need seconds to start."""
MEMORY_SHARE = 0.8
"""Of the memory that is free, what workers may use together."""
ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "ITK_GLOBAL_DEFAULT")
} | {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
"""For the environment of workers, which share the cores already."""


@dataclass(frozen=True)
class Work:
    """What is to be done with every case."""

    data: DataOptions
    preprocessing: PreprocessingOptions
    cache: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """One case: its samples, or why there are none."""

    case: Case
    samples: Samples | None = None
    source: tuple[SourceFile, ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)
    quality: CaseQuality | None = None
    rejected: Rejected | None = None
    missing_part: bool = False
    """Whether it was rejected because a package or program is not installed."""
    trace: str = ""
    """Where an unforeseen exception came from."""


def prepare_case(case: Case, work: Work) -> Prepared:
    """One case from its files to its samples.

    Raises:
        LeakError, OutputError, SettingError: what concerns more than this case.
        MissingPartError: a step needs a package or program that is not there.
    """
    quiet()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries; some repeat what stands in a file, a name for instance
            scan, before = _scan(case, work)
            samples = sample(scan, work.preprocessing)
            quality = compare(case.name, before, scan, samples)
    except (LeakError, OutputError, SettingError, MissingPartError, MemoryError):
        raise
    except SynthomaError as error:
        lacking = isinstance(error.__cause__, MissingPartError)
        return Prepared(case, rejected=rejection(case, work.data, str(error)), missing_part=lacking)
    except Exception as error:  # a fault of ours or of a library must not cost the other cases
        trace = "".join(traceback.format_tb(error.__traceback__))
        return Prepared(case, rejected=unforeseen(case, error), trace=f"{case.name}:\n{trace}")
    grids = {"as_read": before.grid}
    if not samples.names:  # slices and volumes lie on the prepared grid; patches are cut out of it at their own scale
        grids["prepared"] = scan.grid
    return Prepared(case, samples, scan.source, grids, quality)


def _scan(case: Case, work: Work) -> tuple[Scan, Look]:
    """The prepared scan, and what it looked like as it was read; the cache gives as many steps as it can."""
    if work.cache is None:
        scan = _read(case, work)
        before = look_at(scan, axis=_axis(work))
        return preprocess(scan, work.preprocessing), before
    folder, keys, began = work.cache, _keys(case, work), time.perf_counter()

    def after(done: int, scan: Scan) -> None:
        nonlocal began
        if keys and time.perf_counter() - began > KEEP_AFTER_S:
            arrays, content = cache.scan_parts(scan)
            cache.keep(folder, keys[done], arrays, {"scan": content, "before": look_parts(before)})
            began = time.perf_counter()

    for done in reversed(range(len(keys))):
        found = cache.kept(folder, keys[done])
        if found is not None:
            arrays, content = found
            scan, before = cache.scan_from(arrays, content["scan"]), look_from(content["before"])
            break
    else:
        done, scan = 0, _read(case, work)
        before = look_at(scan, axis=_axis(work))
        after(0, scan)
    return preprocess(scan, work.preprocessing, done=done, after=after), before


def _read(case: Case, work: Work) -> Scan:
    try:
        return read(case, work.data)
    except MissingPartError as error:  # another case may well be readable without the missing part
        raise ScanError(str(error)) from error


def _keys(case: Case, work: Work) -> list[str]:
    """The cache's key of the case as it is read, and after each step."""
    options = work.preprocessing
    try:
        keys = [cache.case_key(case, {"data": without_paths(work.data), "axis": _axis(work)})]
    except OSError:
        return []  # a file is gone: reading says so
    for step in options.steps:
        keys.append(cache.step_key(keys[-1], step.model_dump(mode="json"), options.channels))
    return keys


def _axis(work: Work) -> str:
    """Which slices the samples are: a scan is turned for them, and looked at in the same plane as it is read."""
    return getattr(work.preprocessing.sampling, "axis", "axial")


def without_paths(data: DataOptions) -> dict[str, Any]:
    """The settings of the data, wherever its files lie."""
    content = data.model_dump(mode="json")
    for block in (content, *content.get("parts", {}).values()):
        for name in PLACES:
            block.pop(name, None)
    return content


def quiet() -> None:
    """NiBabel tells on stderr which fields of a header it mended, a line a file: nothing that a user could act on."""
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


def prepare_cases(cases: Iterable[Case], work: Work, workers: int | None, scratch: Path) -> Iterator[Prepared]:
    """Each case in order; memory holds no more of them than there are workers, and two.

    Args:
        workers: processes side by side; ``None``: as many as the machine has cores and memory for, once the first case
            has shown what one takes, and none beside this one for work of seconds.
        scratch: a folder in which workers may leave their samples for a moment.

    Raises:
        ProcessError: a worker was killed.
        OutputError: nothing can be written to ``scratch``.
    """
    waiting = deque(cases)
    while waiting and workers is None:
        began = time.perf_counter()
        result = prepare_case(waiting.popleft(), work)
        if result.samples is not None:
            workers = _workers(time.perf_counter() - began, len(waiting))
        yield result
        del result
    if workers is None or workers == 1 or len(waiting) < 2:
        while waiting:
            yield prepare_case(waiting.popleft(), work)
        return
    with writable(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix=".prepare.", suffix=".partial", dir=scratch)
    with folder as name:
        yield from _side_by_side(waiting, work, min(workers, len(waiting)), Path(name))


def _side_by_side(cases: deque[Case], work: Work, workers: int, folder: Path) -> Iterator[Prepared]:
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    executor = get_reusable_executor(max_workers=workers, env=ONE_THREAD, reuse=False, initializer=_deaf)
    begun: deque[tuple[Any, Path]] = deque()
    numbers = count()
    try:
        while cases or begun:
            # One more than there are workers waits, so that none is idle. More would gather results behind a slow case.
            while cases and len(begun) < workers + 2:
                stem = folder / str(next(numbers))
                with stopping() as stopped:  # loky's books do not stand a Ctrl-C in the midst of an entry
                    begun.append((executor.submit(prepare_to_disk, cases.popleft(), work, stem), stem))
                if stopped.is_set():
                    raise KeyboardInterrupt
            future, stem = begun.popleft()
            yield _from_disk(future.result(), stem)
            for path in _arrays(stem):
                path.unlink(missing_ok=True)
    except TerminatedWorkerError as error:
        remedy = "Memory was short, probably: fewer --workers, or smaller preprocessing.steps.resize.size."
        raise ProcessError(describe("prepare", f"{workers} workers that end", "one that was killed", remedy)) from error
    finally:
        # Its thread dies of a KeyError, on stderr, when what was submitted is struck out before a worker was given it.
        while any(not future.running() and not future.done() for future, _ in begun):
            time.sleep(0.001)
        executor.shutdown(wait=True, kill_workers=True)


def _deaf() -> None:
    """The terminal sends Ctrl-C to workers too, which would print where they were; who gave them work ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def prepare_to_disk(case: Case, work: Work, stem: Path) -> Prepared:
    """:func:`prepare_case` in a worker; images and masks take the way over files, which is copied less than a pipe."""
    result = prepare_case(case, work)
    if result.samples is None:
        return result
    images, masks = _arrays(stem)
    with writable(stem.parent):
        np.save(images, result.samples.images)
        np.save(masks, result.samples.masks)
    bare = replace(result.samples, images=np.empty(0, np.float32), masks=np.empty(0, np.uint8))
    return replace(result, samples=bare)


def _from_disk(result: Prepared, stem: Path) -> Prepared:
    if result.samples is None:
        return result
    images, masks = (np.load(path, mmap_mode="r", allow_pickle=False) for path in _arrays(stem))
    return replace(result, samples=replace(result.samples, images=images, masks=masks))


def _arrays(stem: Path) -> tuple[Path, Path]:
    return stem.with_name(f"{stem.name}-images.npy"), stem.with_name(f"{stem.name}-masks.npy")


def _workers(seconds: float, cases: int) -> int:
    """How many processes are worth their start for so many more ``cases`` like one that took ``seconds``."""
    import resource
    import sys

    from joblib import cpu_count

    if seconds * cases < WORTH_S:
        return 1
    unit = 1 if sys.platform == "darwin" else 1024
    each = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    cores: int = cpu_count()
    return max(1, min(cores, cases, int(MEMORY_SHARE * _free_bytes() / each)))


def _free_bytes() -> float:
    """Memory that could be used, by the system and by the container's limit; infinite where nobody says."""
    free = float("inf")
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        free = min(free, float(limit) - float(used))
    except (OSError, ValueError, StopIteration):
        pass  # no Linux, or no limit ("max")
    return free
