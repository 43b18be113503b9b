"""What a run would do: its stages, which are done, and about how long the others will take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from synthoma.cohort import Batches, open_cohort
from synthoma.gans import GANS, Engine, Examples, Gan, Layout
from synthoma.protocol.clock import QUICK, expected_seconds, in_words
from synthoma.protocol.folds import in_fold
from synthoma.protocol.graph import Stage, keys_of
from synthoma.protocol.ledger import Ledger
from synthoma.protocol.outline import Outline
from synthoma.protocol.run import check_study, known_outline
from synthoma.recipes.recipe import Recipe
from synthoma.records import Cohort

__all__ = ["plan", "seconds_of"]

LONG_ENOUGH_S = 1.0
MOST_STEPS = 50


def plan(recipe: Recipe, out: Path, *, workers: int | None = None) -> list[str]:
    """The stages of ``recipe`` in the folder ``out`` by kind, what is done, and the estimated cost; nothing is written.

    A stage takes as long as those of its kind that are done. A training that none is like is estimated from a few
    steps of it, measured now, which needs the prepared cohort.

    Raises:
        OutputError: ``out`` exists and is not the folder of a study.
        MissingPartError: a file of pretrained weights is not there.
    """
    out, workers = Path(out), workers or recipe.protocol.workers
    check_study(recipe, out)
    ledger = Ledger(out)
    known = known_outline(recipe, out, ledger)
    keys = keys_of(known.stages)
    done = {stage.name for stage in known.stages if ledger.is_done(stage, keys[stage.name])}
    costs = expected_seconds(known.stages, ledger, done)
    measured = {}
    if "prepare" in done:
        measured = _trainings(recipe, known, open_cohort(out / "real.cohort"), done, costs)
    costs |= measured
    protocol, kinds = recipe.protocol, list(dict.fromkeys(stage.kind for stage in known.stages))
    lines = [f"{recipe.title}: {protocol.design}" + (f", {protocol.runs} runs" if protocol.design != "single" else "")]
    for kind in kinds:
        own = [stage for stage in known.stages if stage.kind == kind]
        lines.append(_line(kind, len(own), sum(stage.name in done for stage in own), costs.get(kind), kind in measured))
    if not known.whole:
        lines.append("  … of each site, and how many there are is known when the cohort is prepared")
    changed = next((s.name for s in known.stages if ledger.differs(s, keys[s.name])), None)
    if changed:
        lines.append(f"Settings differ from what was done: '{changed}' and all after it need --overwrite.")
    rest = [stage for stage in known.stages if stage.name not in done]
    return [*lines, _total(rest, costs, workers, len(known.stages))]


def _line(kind: str, count: int, done: int, cost: float | None, measured: bool) -> str:
    state = f"{done} of {count} done" if count > 1 else "done" if done else "to do"
    note = ""
    if cost is not None:
        each = " each" * (count > 1)
        note = f"{in_words(cost)}{each}" if done == count else f"about {in_words(cost)}{each}"
        note += ", by some steps measured now" * measured
    return f"  {kind:<28} {state:<16} {note}".rstrip()


def _total(rest: list[Stage], costs: Mapping[str, float], workers: int, count: int) -> str:
    known = [costs[stage.kind] for stage in rest if stage.kind in costs]
    unknown = list(dict.fromkeys(s.kind for s in rest if s.kind not in costs and s.kind not in QUICK))
    text = f"{count - len(rest)} of {count} stages done"
    if known:
        seconds = max(sum(known) / min(workers, len(known)), max(known))
        text += f"; the others take {'at least' if unknown else 'about'} {in_words(seconds)}"
        text += f" with {workers} workers" if workers > 1 else ""
    if unknown:
        text += f"; not timed yet: {', '.join(unknown)}"
        text += " (a training is measured once the cohort is prepared)" * ("prepare" in unknown)
    return f"{text}."


def _trainings(
    recipe: Recipe, known: Outline, real: Cohort, done: set[str], costs: Mapping[str, float]
) -> dict[str, float]:
    """Kind of training → seconds, for those that are to be done and none like them was timed."""
    cohort = in_fold(real, known.folds[0], recipe.split) if known.folds else real
    studies = {"train": recipe} | {f"train {name}": recipe.variant(name) for name in recipe.protocol.variants}
    wanted = {stage.kind for stage in known.stages if stage.name not in done} - set(costs)
    return {kind: seconds_of(study, cohort) for kind, study in studies.items() if kind in wanted}


def seconds_of(recipe: Recipe, cohort: Cohort) -> float:
    """Seconds that the steps of a training take, from a few of them; looks at validation patients come on top.

    Raises:
        CohortError: no training samples.
        SettingError: the GAN does not fit the cohort or the hardware.
    """
    import torch

    from synthoma.training.hardware import device_for, precision_for

    training = recipe.training
    device = device_for(training.device)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        if training.threads:
            torch.set_num_threads(training.threads)
        try:
            gan = GANS[recipe.gan.method](recipe.gan, Layout.of(cohort), device)
            sides = gan.sides(cohort, cohort.rows(split="train", origin="real"))
            batches = [
                Batches(cohort, side, batch_size=min(training.batch_size, *map(len, sides)), seed=0, in_memory=False)
                for side in sides
            ]
            labels = gan.layout.label_indices(cohort.table["label"].tolist())
            parts = [
                Examples(part.images, part.masks, labels[part.rows]).to(device)
                for part in (next(own.epoch(0)) for own in batches)
            ]
            engine = Engine(device, precision_for(training.precision, device), seed=training.seed)
            return training.epochs * max(map(len, batches)) * _seconds_a_step(gan, parts, engine)
        finally:
            torch.set_num_threads(threads)


def _seconds_a_step(gan: Gan, parts: list[Examples], engine: Engine) -> float:
    """Mean over the steps of about a second, two at least, after one to warm up: not every step trains all networks."""
    import torch

    begun, steps = 0.0, -1
    while steps < 2 or (time.perf_counter() - begun < LONG_ENOUGH_S and steps < MOST_STEPS):
        engine.begin(steps + 1)
        gan.step(parts, engine)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        steps += 1
        if steps == 0:
            begun = time.perf_counter()
    return (time.perf_counter() - begun) / steps
