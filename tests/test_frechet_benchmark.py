"""The benchmark of the Fréchet distance runs, and both of its contestants agree. How fast they are decides no test."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest


def test_both_agree(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    importlib.import_module("frechet").main(["--width", "24", "--n", "20", "--n", "60", "--subsamples", "5"])
    printed = capsys.readouterr().out
    differences = [float(text) for text in re.findall(r"relative difference (\S+)", printed)]
    assert len(differences) == 2
    assert max(differences) < 1e-5
    assert "5 subsamples at n = 300" in printed
    assert printed.count("beyond the features") == 2
