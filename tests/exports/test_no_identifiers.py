"""No format carries a word of the source's header, real or synthetic; each writes down an accepted risk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from exported import PLANTED, every_byte, source_uids

from synthoma.exports import EXPORTS
from synthoma.records import Cohort


@pytest.mark.parametrize("cohort", ["slices", "volumes", "synthetic"])
@pytest.mark.parametrize("kind", [kind for kind in EXPORTS if kind != "brats"])  # which takes no CT
def test_nothing_of_the_source_is_in_any_byte(
    liver_scans: Path, livers: dict[str, Cohort], tmp_path: Path, kind: str, cohort: str
) -> None:
    written = every_byte(EXPORTS[kind](livers[cohort], tmp_path / "out", risk="phantoms only"))
    assert not [word for word in (*PLANTED, *source_uids(liver_scans)) if word.encode() in written]
    assert re.search(rb"zzplanted", written, re.IGNORECASE) is None
    assert json.loads((tmp_path / "out" / "about.json").read_text())["accepted_privacy_risk"] == "phantoms only"
