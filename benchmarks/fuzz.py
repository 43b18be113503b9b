"""The fuzz campaign by command: damaged files of every format through the readers, and what became of them.

python benchmarks/fuzz.py --cases 5000 --seed 0
python benchmarks/fuzz.py --format dicom --only 643      (one case again)
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fuzz"))
from campaign import Outcome, campaign, cases_of
from seeds import FORMATS


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table and every violation; 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", action="append", choices=[*FORMATS], help="all when not given")
    parser.add_argument("--only", type=int, help="this case of each format, and nothing else")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reasons", type=int, default=6, help="how many to show of each format")
    asked = parser.parse_args(arguments)
    formats = tuple(asked.format or FORMATS)
    cases = cases_of(formats, asked.cases) if asked.only is None else [(name, asked.only) for name in formats]
    found = list(campaign(cases, asked.seed, asked.workers))
    console = Console(width=160)
    console.print(_table(found, asked.reasons))
    wrong = [outcome for outcome in found if outcome.kind == "violation"]
    for one in wrong:
        command = f"python benchmarks/fuzz.py --seed {asked.seed} --format {one.format} --only {one.number}"
        console.print(escape(f"\nviolation: {command}\n" + "\n".join(one.reasons) + f"\n{one.trace}"))
    console.print(f"{len(found)} cases, seed {asked.seed}: {len(wrong)} violations")
    return 1 if wrong else 0


def _table(found: list[Outcome], most: int) -> Table:
    table = Table("format", "cases", "good", "rejected", "violations", "ms, mean", "ms, longest", "commonest reasons")
    for name in dict.fromkeys(outcome.format for outcome in found):
        of = [outcome for outcome in found if outcome.format == name]
        kinds = Counter(outcome.kind for outcome in of)
        reasons = Counter(_group(outcome.reasons[0]) for outcome in of if outcome.kind == "rejected")
        times = [1000 * outcome.seconds for outcome in of]
        table.add_row(
            name,
            *(str(count) for count in (len(of), kinds["good"], kinds["rejected"], kinds["violation"])),
            f"{sum(times) / len(times):.0f}",
            f"{max(times):.0f}",
            "\n".join(f"{count} {escape(reason)}" for reason, count in reasons.most_common(most)),
            end_section=True,
        )
    return table


def _group(reason: str) -> str:
    """A reason without what is of one file only; of several, the first."""
    left_out = re.search(r"left out .*?\((.*)", reason.splitlines()[0])
    text = left_out[1].split("); ")[0] if left_out else reason.splitlines()[0].partition(": ")[2]
    text = re.sub(r"'[^']*'|\S+/\S+", "…", text)
    return re.sub(r"\d+", "N", text)[:85]


if __name__ == "__main__":
    sys.exit(main())
