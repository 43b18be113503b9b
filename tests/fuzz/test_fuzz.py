"""Two hundred damaged files, and the campaign itself. ``python benchmarks/fuzz.py --cases 5000`` runs more of them."""

from __future__ import annotations

from pathlib import Path

import outcomes
import pytest
from campaign import campaign, cases_of, replay
from mutations import damaged
from seed import Seed, writers
from seeds import FORMATS

from synthoma.errors import ScanError
from synthoma.scans import NiftiData
from synthoma.seeding import generator

CASES, SEED = 200, 1


@pytest.mark.slow
def test_damaged_files_are_rejected_with_a_reason_or_read() -> None:
    found = list(campaign(cases_of(tuple(FORMATS), CASES), SEED, workers=1))
    wrong = [outcome for outcome in found if outcome.kind == "violation"]
    assert not wrong, "\n\n".join(f"{one.format} {one.number}: {one.reasons}\n{one.trace}" for one in wrong)
    assert len(found) == CASES
    kinds = {name: {one.kind for one in found if one.format == name} for name in FORMATS}
    assert all("rejected" in of for of in kinds.values()), kinds
    assert {"good"} < set().union(*kinds.values())


def test_a_case_is_the_same_whenever_it_is_run() -> None:
    for content in (b"a table,of\nsome,words\n", bytes(range(256)) * 4):
        once, again = (damaged(content, generator(3, "x"), [b"donor"]) for _ in range(2))
        assert once == again != content


def test_cases_are_dealt_in_turn() -> None:
    assert cases_of(("a", "b"), 5) == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]


@pytest.fixture
def one(tmp_path: Path) -> Seed:
    path = writers().write_volume(tmp_path / "p" / "t1.nii", writers().voxels(1))
    return Seed(NiftiData(path=tmp_path, channels={"t1": "{patient}/t1.nii"}), (path,))


def hurt(seed: Seed, monkeypatch: pytest.MonkeyPatch, act: object) -> str:
    """Why a reader that does ``act`` breaks what must hold."""
    monkeypatch.setattr(outcomes, "read", act)
    kind, reasons, _ = outcomes.outcome_of(seed.options)  # type: ignore[arg-type]
    assert kind == "violation"
    return "; ".join(reasons)


def test_what_the_campaign_takes_for_a_violation(one: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind is seen: otherwise two hundred good cases would prove nothing."""

    def crash(*_: object) -> None:
        raise KeyError("x")

    def refuse(message: str, cause: BaseException | None = None) -> object:
        def act(*_: object) -> None:
            raise ScanError(message) from cause

        return act

    def turn(*_: object) -> None:
        while True:
            pass

    assert outcomes.outcome_of(one.options)[0] == "good"  # type: ignore[arg-type]
    assert "KeyError: 'x'" in hurt(one, monkeypatch, crash)
    assert "MemoryError" in hurt(one, monkeypatch, refuse("a: expected b, found c.", MemoryError("8 TiB")))
    assert "3 lines" in hurt(one, monkeypatch, refuse("a\nb\nc"))
    assert "control characters" in hurt(one, monkeypatch, refuse("a\x1b[31m"))
    assert "a patient's name" in hurt(one, monkeypatch, refuse("a: expected b, found Somebody^Real."))
    monkeypatch.setattr(outcomes, "MOST_SECONDS", 0.2)
    assert "0.2 s of processor time" in hurt(one, monkeypatch, turn)
    monkeypatch.setattr(outcomes, "MOST_SECONDS", 10)
    monkeypatch.setattr(outcomes, "_MOST_GROWTH", 2**20)
    monkeypatch.setattr(outcomes, "_peak_bytes", iter((0, 2**21, 2**21)).__next__)
    assert "memory grew by 2 MiB" in hurt(one, monkeypatch, refuse("a: expected b, found c."))


def test_a_case_leaves_its_file_as_it_was(one: Seed) -> None:
    before = one.victims[0].read_bytes()
    kinds = {replay([one], "nifti", number, 0).kind for number in range(20)}
    assert one.victims[0].read_bytes() == before
    assert kinds <= {"good", "rejected"}
    assert "rejected" in kinds
