"""synthoma: from a folder of tumour scans to a synthetic cohort, and an honest account of it.

The verbs of the command line, for Python::

    import synthoma

    synthoma.prepare("brats", "scans", "real.cohort")
    synthoma.train("real.cohort", "gan", settings={"training.epochs": 20})
    synthoma.generate("gan", "real.cohort", "reconstruct.cohort", method="reconstruct")
    synthoma.evaluate("real.cohort", ["reconstruct.cohort"], "evaluation")
    synthoma.write_report("evaluation", "report.html")
    synthoma.export("reconstruct.cohort", "nifti")

    synthoma.run("demo", "out")  # all of it, by a recipe
    cohort = synthoma.open_cohort("real.cohort")
    data = synthoma.CohortDataset(cohort, cohort.rows(split="train"))  # for PyTorch
    generator = synthoma.load_generator("gan")  # a torch module: image = generator(condition)

Nothing heavy is imported before the first of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthoma.cohort import CohortDataset, open_cohort
    from synthoma.protocol.release import load_generator
    from synthoma.recipes import load_recipe
    from synthoma.verbs import demo, evaluate, export, generate, prepare, run, train, write_report

__version__ = "0.1.0"

__all__ = [
    "CohortDataset",
    "__version__",
    "demo",
    "evaluate",
    "export",
    "generate",
    "load_generator",
    "load_recipe",
    "open_cohort",
    "prepare",
    "run",
    "train",
    "write_report",
]

_HOMES = {
    "CohortDataset": "cohort",
    "open_cohort": "cohort",
    "load_generator": "protocol.release",
    "load_recipe": "recipes",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'synthoma' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"synthoma.{_HOMES.get(name, 'verbs')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
