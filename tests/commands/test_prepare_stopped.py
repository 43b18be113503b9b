"""``synthoma prepare`` in a process of its own: stopped, killed, at a limit of files, and its memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from synthoma.cohort import open_cohort

SLOWLY = """
import sys, time
from synthoma.commands import main
from synthoma.protocol import prepare_cases
at_once = prepare_cases.{0}

def slowly(*case):
    time.sleep(1)
    return at_once(*case)

prepare_cases.{0} = slowly
main()
"""
"""The command line with patients that take a second each: however busy the machine, it is stopped in between. ``{0}``
is what prepares a patient: ``prepare_case``, or ``prepare_to_disk`` in workers."""


def prepare_in_a_process(
    scans: Path, out: Path, small: list[str], *, code: str = "", **more: object
) -> subprocess.Popen[str]:
    program = ["-c", code] if code else ["-m", "synthoma"]
    command = [sys.executable, *program, "prepare", "brats", scans, "--out", out, *small]
    return subprocess.Popen([str(word) for word in command], text=True, stderr=subprocess.PIPE, **more)


def when_begun(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until the cohort has begun to be written."""
    for _ in range(6000):
        if any(path.stat().st_size for path in folder.glob(".x.cohort*.partial/images.npy")):
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    raise AssertionError("nothing was written")


def test_a_limit_on_files_is_said_as_a_full_disk_is(scans, tmp_path, small):
    limit = 40_000
    process = prepare_in_a_process(
        scans,
        tmp_path / "x.cohort",
        small,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, err = process.communicate()
    assert process.returncode == 2
    assert "expected to write here, found a limit on the size of files.\nFree some space" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_stopped_prepare_leaves_nothing_that_could_be_read(scans, tmp_path, small, typed, number, code):
    process = prepare_in_a_process(scans, tmp_path / "x.cohort", small, code=SLOWLY.format("prepare_case"))
    when_begun(process, tmp_path)
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert process.returncode == code
    assert not (tmp_path / "x.cohort").exists()
    if number == signal.SIGINT:
        assert err.strip() == "Stopped. Nothing half-written was left; the same command begins again."
        assert list(tmp_path.iterdir()) == []
    assert typed("info", tmp_path / "x.cohort").code == 2
    assert typed("prepare", "brats", scans, "--out", tmp_path / "x.cohort", *small).code == 0
    assert len(open_cohort(tmp_path / "x.cohort", verify=True).patients) == 8


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_too(scans, tmp_path, small):
    """The terminal tells every process of the group: none of them prints a traceback, and nothing is left."""
    words = [*small, "--workers", "2"]
    out = tmp_path / "x.cohort"
    process = prepare_in_a_process(scans, out, words, code=SLOWLY.format("prepare_to_disk"), start_new_session=True)
    when_begun(process, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "Stopped. Nothing half-written was left; the same command begins again."
    assert list(tmp_path.iterdir()) == []


PEAK = """
import resource, sys
from synthoma.commands import main
try:
    main(sys.argv[1:])
finally:
    own = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("peak", own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""The command line, and the highest memory of itself and of its largest worker, in KiB."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_number_of_patients(scans, tmp_path, small, workers):
    peaks, rng = [], np.random.default_rng(0)
    for copies in (1, 10):
        folder = tmp_path / f"scans{copies}"
        for copy in range(copies):
            for index in range(4):
                for channel in ("t1", "flair", "seg"):
                    source = scans / f"BraTS2021_{index:05d}" / f"BraTS2021_{index:05d}_{channel}.nii.gz"
                    target = folder / f"P{copy}{index}" / f"P{copy}{index}_{channel}.nii.gz"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    array = np.asanyarray(nib.load(source).dataobj).astype("uint8" if channel == "seg" else "int16")
                    if channel != "seg":  # the leak guard refuses one image under two names
                        array = (array * rng.uniform(0.9, 1.1, array.shape)).astype(array.dtype)
                    nib.save(nib.Nifti1Image(array, nib.load(source).affine), target)
        command = [sys.executable, "-c", PEAK, "prepare", "brats", folder, "--out", tmp_path / f"{copies}.cohort"]
        words = [*map(str, command), *small, "--workers", str(workers)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append([int(text) for text in done.stdout.split("peak")[1].split()])
    few, many = np.array(peaks)
    assert (many <= 1.1 * few).all(), peaks
