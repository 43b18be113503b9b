"""Settings of a study as a whole: how often and on which patients it is repeated, and what does the work."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from synthoma.options import Options

__all__ = ["ProtocolOptions"]


class ProtocolOptions(Options):
    """How a study is run, and what is run beside the recipe itself."""

    design: Literal["single", "holdout", "kfold", "leave-one-site-out"] = "single"
    """On which patients everything is judged. ``single``: on the stored test patients, once. ``holdout``: the split by
    the shares of ``split``, drawn anew in every run. ``kfold``: ``split.folds`` folds, each tested once a run.
    ``leave-one-site-out``: a fold a site. In every fold of the last three the validation patients are drawn from those
    that are not tested, and a generator is trained on the others alone."""
    runs: int = Field(3, ge=1, le=1000)
    """How often all of it is repeated with other seeds; ``single`` is run once."""
    workers: int = Field(1, ge=1)
    """Processes that work side by side: on patients in preparation, on folds and methods afterwards. 1 does everything
    in one process. What is prepared does not depend on it; a training may in its last digits, since threads are
    shared."""
    runner: Literal["local", "ray"] = "local"
    """Where stages are done: ``local``, by ``workers`` processes on this machine; ``ray``, by a Ray cluster whose nodes
    share the output folder."""
    ray_address: str = ""
    """Of a running Ray cluster, such as ``auto`` or ``host:6379``; empty starts one with this machine's cores."""
    gpus_per_stage: float = Field(0, ge=0, le=1)
    """GPUs of each stage; 0.5 lets two share one. 0: with Ray none, otherwise those that are there, in turn."""
    cpus_per_stage: int = Field(0, ge=0, le=1024)
    """Processor threads of each stage, and with Ray the cores that it waits for; 0: with Ray one, otherwise an equal
    share."""
    retries: int = Field(1, ge=0, le=100)
    """How often a stage whose process was killed is begun again; a training goes on from its last saved state."""
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name → settings of ``gan``, ``training`` and ``generation`` that differ, as in ``{unet-l1:
    {gan.adversarial_weight: 0}}``; ``gan`` alone replaces the whole block, for another method (which it must name).
    Each is trained on the same patients and stands beside the recipe's GAN in every table with the first cohort that it
    makes, or with those of its own ``generation.methods``."""

    @model_validator(mode="after")
    def _only_training(self) -> ProtocolOptions:
        for name, changes in self.variants.items():
            for key in changes:
                block, _, setting = key.partition(".")
                whole = key == "gan" and isinstance(changes[key], dict) and "method" in changes[key]
                if not whole and (block not in ("gan", "training", "generation") or not setting):
                    known = "gan.…, training.… and generation.…, or gan as a whole with its method"
                    raise ValueError(f"variant '{name}' may change {known} only, got {key}")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"variant names become folders: letters, digits, - and _ only, got '{name}'")
        return self
