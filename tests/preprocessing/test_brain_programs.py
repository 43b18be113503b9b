"""HD-BET and SynthStrip, played by a script of ours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from synthoma.errors import MissingPartError, ScanError
from synthoma.preprocessing import SkullStrip
from synthoma.records import Grid, Scan

GRID = Grid((4, 20, 30), (5.0, 1.0, 0.9), (3.0, -20.0, 7.0), ((0.0, 0.0, 1.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0)))

SCRIPT = """#!{python}
import array, gzip, struct, sys, time
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
raw = gzip.open(arguments["-i"]).read()
header, values = bytearray(raw[:352]), array.array("f", raw[352:])
out = arguments.get("-m") or arguments["-o"].replace(".nii.gz", "_bet.nii.gz")
open({log!r}, "w").write(" ".join(sys.argv[1:]))
mask = array.array("f", [float(value > 100) for value in values])
{body}
"""
WELL = "gzip.open(out, 'wb').write(bytes(header) + mask.tobytes())"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``program("hd-bet", what it does)`` puts it alone on the PATH; the file that comes back has its arguments."""

    def install(name: str, body: str = WELL) -> Path:
        log = tmp_path / "arguments.txt"
        script = tmp_path / name
        script.write_text(SCRIPT.format(python=sys.executable, log=str(log), body=body))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return log

    return install


def head(make_scan: Callable[..., Scan], **arrays: Any) -> Scan:
    flair = np.random.default_rng(0).uniform(0, 90, GRID.shape)
    flair[1:3, 5:15, 5:20] = np.random.default_rng(1).uniform(150, 200, (2, 10, 15))
    return make_scan({"flair": flair, **arrays}, grid=GRID, patient="Jane Doe")


@pytest.mark.parametrize(("method", "name"), [("hd-bet", "hd-bet"), ("synthstrip", "mri_synthstrip")])
def test_the_mask_of_the_program_is_used(
    make_scan: Callable[..., Scan], program: Callable[..., Path], method: Any, name: str
) -> None:
    log = program(name)
    scan = head(make_scan, t2=np.zeros(GRID.shape))
    stripped = SkullStrip(method=method)(scan)
    brain = np.zeros(GRID.shape, dtype=bool)
    brain[1:3, 5:15, 5:20] = True
    assert np.array_equal(stripped.masks["body"] > 0, brain)
    assert np.array_equal(stripped.channels["flair"][brain], scan.channels["flair"][brain])
    assert len(np.unique(stripped.channels["flair"][~brain])) == 1
    assert stripped.notes == (f"brain found by {method}",)
    told = log.read_text()
    assert ("-device cpu --disable_tta" in told) == (method == "hd-bet")
    assert "Jane" not in told
    assert not Path(told.split()[1]).exists(), "the temporary file is gone"
    SkullStrip(method=method, device="cuda")(scan)
    assert ("-device cuda" in log.read_text(), "-g" in log.read_text()) == (method == "hd-bet", method == "synthstrip")


def test_a_program_is_never_run_unasked(make_scan: Callable[..., Scan], program: Callable[..., Path]) -> None:
    log = program("hd-bet")
    with pytest.raises(ScanError, match="expected a brain in the picture"):
        SkullStrip()(make_scan({"t1": np.zeros((4, 32, 32))}))
    assert not log.exists()


def test_a_program_that_is_not_there(
    make_scan: Callable[..., Scan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPartError, match=r"expected the program hd-bet on the PATH, found none\.\nInstall it"):
        SkullStrip(method="hd-bet")(head(make_scan))
    with pytest.raises(MissingPartError, match="method 'synthstrip': expected the program mri_synthstrip on the PATH"):
        SkullStrip(method="synthstrip")(head(make_scan))


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("print('out of memory'); sys.exit(3)", r"expected success, found exit code 3 \(out of memory\)"),
        ("pass", "expected a mask of the brain, found no file"),
        ("open(out, 'wb').write(b'nonsense')", "expected a mask that can be read"),
        ("header[42:44] = struct.pack('<h', 10); " + WELL, "expected a mask on the scan's grid"),
        ("header[292:296] = struct.pack('<f', 9.0); " + WELL, "expected a mask on the scan's grid"),
        (
            "mask = array.array('f', [0] * len(mask)); " + WELL,
            "expected a brain in the picture, found 0 % of its voxels",
        ),
        (
            "mask = array.array('f', [1] * len(mask)); " + WELL,
            "expected a brain in the picture, found 100 % of its voxels",
        ),
    ],
)
def test_a_program_that_fails(
    make_scan: Callable[..., Scan], program: Callable[..., Path], does: str, message: str
) -> None:
    program("hd-bet", does)
    with pytest.raises(ScanError, match=f"step skull_strip, hd-bet: {message}"):
        SkullStrip(method="hd-bet")(head(make_scan))


def test_a_program_that_hangs_is_ended_with_all_it_started(
    make_scan: Callable[..., Scan], program: Callable[..., Path], tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    child = f"import time; time.sleep(1.5); open({str(alive)!r}, 'w')"
    program("hd-bet", f"import subprocess; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(ScanError, match=r"expected an end within 0\.7 s, found none"):
        SkullStrip(method="hd-bet", time_limit_s=0.7)(head(make_scan))
    assert time.monotonic() - began < 10
    time.sleep(1.5)
    assert not alive.exists()


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValidationError, match="extent 'head': expected method auto or builtin, found hd-bet"):
        SkullStrip(extent="head", method="hd-bet")
