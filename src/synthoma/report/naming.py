"""How a paper calls what the evidence calls ``synthetic`` or ``source image``; the recipe as a dictionary."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from synthoma.records import MASK, Measurement
from synthoma.report.arms import main_cohort
from synthoma.report.content import ReportContent
from synthoma.report.families import SOURCE_OF, UNTRANSLATED, is_baseline
from synthoma.report.shown import label

__all__ = [
    "ARM_OF",
    "GAN_NAMES",
    "arm_method",
    "arm_modality",
    "extractor_of",
    "recipe_of",
    "variants_of",
    "weights_of",
]

GAN_NAMES = {"conditional": "Conditional GAN", "cycle": "CycleGAN", "wasserstein": "WGAN-GP"}
ARM_OF = {"synthetic": "reconstruct"}
"""Name in the evidence → of the cohort."""


def recipe_of(content: ReportContent) -> dict[str, Any]:
    """The recipe's blocks; none where no recipe is known."""
    return _blocks(content.recipe_yaml)


def variants_of(content: ReportContent) -> dict[str, dict[str, Any]]:
    """Name of each variant → its blocks."""
    return {name: _blocks(text) for name, text in content.variant_recipes.items()}


def _blocks(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError:  # the page says so where it shows the settings
        return {}
    return dict(found) if isinstance(found, Mapping) else {}


def arm_method(content: ReportContent, arm: str) -> str:
    """``Conditional GAN, reconstruct``; a baseline's own name."""
    if arm.startswith(SOURCE_OF):
        return f"Source of {arm.removeprefix(SOURCE_OF).removesuffix(UNTRANSLATED)}, untranslated (no GAN)"
    if is_baseline(arm):
        return f"{arm[:1].upper()}{arm[1:]} (no GAN)"
    name = ARM_OF.get(arm, arm)
    variant = next((own for v, own in variants_of(content).items() if name == v or name.startswith(f"{v}-")), None)
    blocks = recipe_of(content) if variant is None else variant
    gan = GAN_NAMES.get(str((blocks.get("gan") or {}).get("method", "")), "")
    return f"{gan}, {name}" if gan else name


def arm_modality(content: ReportContent, arm: str, compared: str = "") -> str:
    """``T1, mask → FLAIR``; of a baseline what it is compared on."""
    cohort = content.synthetic.get(ARM_OF.get(arm, arm))
    if cohort is None:
        main = main_cohort(content.synthetic)
        named = compared.partition("; ")[2]
        channels = (
            named.split(", ") if named else main[1].channels if main and is_baseline(arm) else content.real.channels
        )
        return ", ".join(label(name) for name in channels)
    made = ", ".join(label(name) for name in cohort.channels)
    shown = ", ".join("mask" if name == MASK else label(name) for name in cohort.conditions)
    return f"{shown} → {made}" if shown else f"{cohort.modality}, {made}" if made != cohort.modality else made


def extractor_of(m: Measurement) -> str:
    """The network whose features a measurement compares, as its method names it."""
    text = m.method.rpartition("in each fold: ")[2]
    return re.split(r"[ ,;(]", text, maxsplit=1)[0]


def weights_of(m: Measurement) -> str:
    """The beginning of the SHA-256 of the weights that a method names; empty where it names none."""
    found = re.search(r"\((?:weights|SHA-256) ([0-9a-f]{8,})\)", m.method)
    return found[1] if found else ""
