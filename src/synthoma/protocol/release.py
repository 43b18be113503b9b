"""What is asked and gathered before a cohort or a generator leaves the house."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthoma.cohort import open_cohort
from synthoma.errors import CheckpointError, CohortError, SettingError, describe, did_you_mean
from synthoma.evaluation import Evidence, read_evidence
from synthoma.evaluation.audited import drawn_by
from synthoma.evaluation.pairs import arm_name
from synthoma.evaluation.release import AsGenerator, check_release, find_evidence
from synthoma.exports import EXPORTS, RUN_EXPORTS
from synthoma.records import Cohort
from synthoma.storage import check_new, read_json
from synthoma.training import RunFolder

if TYPE_CHECKING:
    from synthoma.exports.generators import Generator
    from synthoma.gans import Gan

__all__ = ["export_cohort", "export_generator", "load_generator"]

Say = Callable[[str], None]
OF_PATIENTS = "These are patients' images: no privacy audit speaks for them. Look whether you may pass them on."

DRAWN = {
    "reconstruct": "--method redraw (training patients) and --method reconstruct (held-out ones)",
    "translate": "--method redraw (training patients) and --method translate (held-out ones)",
    "back": "--method back --set generation.reconstruct_split=train (training patients) and --method back (others)",
}
"""Way of a generator → how cohorts are drawn that tell whether it knows training patients by heart."""


def export_cohort(
    path: Path, out: Path, kind: str, evidence: Path | None, accepted: str, *, overwrite: bool, say: Say, **more: Any
) -> Path:
    """Write a cohort in one of :data:`EXPORTS`, which is given ``more``; a synthetic one only after its privacy audit.

    Raises:
        PrivacyError: it was not audited, or holds a near-duplicate, and no reason was given to accept that.
        CohortError: no cohort; of a run it is said how its generator is exported, and where its cohorts are.
    """
    _check_no_run(path)
    cohort = open_cohort(path)
    check_new(out, overwrite=overwrite)
    risk = ""
    if "synthetic" in cohort.table["origin"]:
        risk = check_release(path, {path.name: cohort}, evidence or find_evidence(path), accepted)
    if "real" in cohort.table["origin"]:
        say(OF_PATIENTS)
    return EXPORTS[kind](cohort, out, overwrite=overwrite, risk=risk, **more)


def export_generator(
    path: Path, out: Path, kind: str, evidence: Path | None, accepted: str, *, overwrite: bool
) -> Path:
    """Write the generator of a run in one of :data:`RUN_EXPORTS`, after the privacy audit of a cohort that it made.

    Raises:
        PrivacyError: no cohort that this very checkpoint drew was audited, one holds a near-duplicate, or training
            patients are known by heart (or that cannot be told); and no reason was given.
        CheckpointError: no checkpoint, or a damaged one.
    """
    from synthoma.exports.generators import WAYS, Generator
    from synthoma.exports.released import Released
    from synthoma.generation.generate import load_generator as load
    from synthoma.generation.generate import weights_sha256

    check_new(out, overwrite=overwrite)
    checkpoint = find_checkpoint(path)
    gan, networks, lineage = load(checkpoint)
    folder = evidence or find_evidence(path)
    real, trained = _compared(folder, lineage.id)
    weights = weights_sha256(networks)
    made = {name: cohort for name, cohort in trained.items() if weights in drawn_by(cohort)}
    asked = AsGenerator(ways_to_ask(gan), tuple(name for name in trained if name not in made))
    risk = check_release(path, made, folder, accepted, asked)
    found = Evidence() if folder is None or not made else read_evidence(folder)
    arms = tuple(arm_name(name) for name in made)
    released = Released(
        name=Path(out).name,
        checkpoint=checkpoint,
        generators={way: Generator(gan, networks, lineage, way) for way in WAYS[gan.options.method]},
        lineage=lineage,
        real=real,
        arms=arms,
        audited=tuple(arm for arm in arms if arm in found.curves.get("privacy", {})),
        measurements=found.measurements,
        definitions=found.definitions,
        verdicts=tuple((v.claim, v.verdict) for v in found.verdicts if v.claim.partition(":")[0] in arms),
        risk=risk,
    )
    return RUN_EXPORTS[kind](released, out, overwrite=overwrite)


def ways_to_ask(gan: Gan) -> dict[tuple[str, ...], str]:
    """Channels that a GAN draws of a patient whose true image it may have been trained on → how cohorts of training and
    of held-out patients are drawn. Empty of one that draws from noise, or whose domains no sample can share: there is
    no true image then."""
    from synthoma.exports.generators import WAYS

    if gan.options.method == "cycle":
        source, target = gan.options.source.columns, gan.options.target.columns
        if any(source.get(name, value) != value for name, value in target.items()):
            return {}
    ways = {way: gan.channels(way) for way in WAYS[gan.options.method] if way in DRAWN}
    return {tuple(made): DRAWN[way] for way, (shown, made) in ways.items() if not set(shown) & set(made)}


def load_generator(path: str | Path, *, way: str | None = None) -> Generator:
    """The generator of a study, of a run, or of a folder that ``synthoma export --as safetensors`` wrote.

    ::

        generator = synthoma.load_generator("study")
        print(generator.inputs, generator.outputs, generator.shape)
        image = generator(condition)  # (n, inputs, y, x) → (n, outputs, y, x), all in [−1, 1]

    Args:
        path: the folder, or a checkpoint file of synthoma. Only safetensors are read; no code of a file is run.
        way: of a CycleGAN ``translate`` or ``back``.

    Raises:
        CheckpointError: no generator there, a damaged one, or one of another version.
        SettingError: it knows no such way.
    """
    from synthoma.exports.generators import WAYS, Generator
    from synthoma.generation.generate import load_generator as load

    gan, networks, lineage = load(find_checkpoint(Path(path)))
    ways = WAYS[gan.options.method]
    if way is not None and way not in ways:
        raise SettingError(describe("way", "one of " + ", ".join(ways), f"'{way}'", did_you_mean(way, ways)))
    return Generator(gan, networks, lineage, way)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that draws, of a study, a run, an exported folder; or the file itself."""
    if path.suffix == ".safetensors":
        return path
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    run = path if (path / "run.json").is_file() else path / "gan"
    if not (run / "run.json").is_file():
        found = "a cohort" if (path / "cohort.json").is_file() else "another folder" if path.is_dir() else "nothing"
        expected = "the folder of a study or a run, or an exported generator"
        remedy = "Cohorts are exported by --as nifti, dicom, nnunet, brats or png." if found == "a cohort" else ""
        raise CheckpointError(describe(path, expected, found, remedy))
    folder = RunFolder(run)
    return folder.best if folder.best.is_file() else folder.last


def _check_no_run(path: Path) -> None:
    """Refuse a run, which holds a generator and no cohort, and say how both leave the house."""
    if not (path / "run.json").is_file():
        return
    cohorts = path.parent / "synthetic"
    made = ", ".join(sorted(folder.name for folder in cohorts.glob("*.cohort")))
    remedy = "Its generator is exported by --as bundle, safetensors or torch-export"
    remedy += f"; the cohorts that it made are in {cohorts}: {made}." if made else "; a cohort by its own folder."
    raise CohortError(describe(path, "a cohort folder", "a run", remedy))


def _compared(folder: Path | None, trained: str) -> tuple[Cohort | None, dict[str, Cohort]]:
    """The real cohort of an evaluation, and those of its synthetic ones that the generator ``trained`` made."""
    if folder is None or not (folder / "compared.json").is_file():
        return None, {}
    compared = read_json(folder / "compared.json")
    opened: dict[str, Cohort] = {}
    for name, place in {"": compared["real"], **compared["synthetic"]}.items():
        try:
            opened[name] = open_cohort(folder / place)
        except CohortError:
            if (folder / place).exists():
                raise
    real = opened.pop("", None)
    return real, {name: cohort for name, cohort in opened.items() if trained in cohort.lineages}
