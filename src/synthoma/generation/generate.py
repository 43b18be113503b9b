"""Synthetic cohorts from a checkpoint and the conditions of a real cohort."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from synthoma.cohort import create_cohort
from synthoma.errors import CheckpointError, CohortError, SettingError, describe, did_you_mean
from synthoma.gans import GANS, ConditionalGAN, GanOptions, Layout
from synthoma.gans.checkpoints import load_arrays, load_checkpoint
from synthoma.generation.lesions import fit_lesion
from synthoma.generation.options import GenerationOptions
from synthoma.options import first_difference
from synthoma.records import TUMOUR, TUMOUR_FREE, Cohort, Lineage, Samples
from synthoma.seeding import generator

__all__ = ["generate", "load_generator"]

DONORS_TRIED = 20


@dataclass(frozen=True)
class _Plan:
    """One synthetic sample before it is drawn: the real sample that gives channels and body, and its lesion."""

    row: int
    lesion: NDArray[np.uint8]
    label: str
    reference: str
    made_from: tuple[str, ...]


def load_generator(path: Path, *, device: str = "cpu") -> tuple[ConditionalGAN, nn.Module, Lineage]:
    """The GAN of a checkpoint file, the averaged network that draws, and the lineage of its training."""
    state = load_checkpoint(path)
    try:  # losses are not needed to draw, nor is the file of VGG19's weights; but one must be set
        options = GanOptions.model_validate(state.options["gan"] | {"perceptual": {}, "l1_weight": 1.0})
        layout = Layout.from_json(state.options["layout"])
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        found = f"others ({str(error).splitlines()[0]})"
        raise CheckpointError(describe(path, "the settings of a GAN of this version", found)) from error
    with torch.random.fork_rng(devices=[]):  # the first weights are random, and replaced at once
        gan = GANS[options.method](options, layout, torch.device(device))
    network = gan.networks[gan.averaged]
    load_arrays(network, state.part(f"averages/{gan.averaged}"), str(path))
    return gan, network.requires_grad_(False).eval(), state.lineage


def generate(
    checkpoint: Path,
    cohort: Cohort,
    out: Path,
    method: str,
    options: GenerationOptions,
    *,
    overwrite: bool = False,
    device: str = "cpu",
) -> Path:
    """Write the synthetic cohort of one ``method`` to the folder ``out``.

    Sample *i* has random numbers of its own: it depends neither on the batch size nor on the other samples.

    Raises:
        SettingError: there is no such method.
        CheckpointError: the GAN was trained on another layout than the cohort's.
        CohortError: the cohort has no samples that the method could start from.
    """
    if method not in _PLANS:
        raise SettingError(describe("generation.methods", "known methods", f"'{method}'", did_you_mean(method, _PLANS)))
    gan, network, trained = load_generator(checkpoint, device=device)
    differs = first_difference(gan.layout.to_json(), Layout.of(cohort).to_json())
    if differs is not None:
        what, trained_on, has = differs
        where = cohort.path or "the cohort"
        raise CheckpointError(describe(f"{checkpoint}, {what}", f"a GAN for {has}, as {where} has", f"{trained_on}"))
    plans = _PLANS[method](cohort, options)
    if not plans:
        raise CohortError(
            describe(cohort.path, f"samples to '{method}'", "none", "See synthoma info for what it holds.")
        )
    lineage = Lineage.of(
        "generate",
        parents=[trained.id, *sorted(set(cohort.table["lineage"].tolist()))],
        recipe={"method": method, **options.model_dump(mode="json")},
        seed=options.seed,
        patients_seen=trained.patients_seen,
    )
    target = gan.options.target
    with create_cohort(
        out,
        channels=target,
        mask_names=cohort.mask_names,
        unit=cohort.unit,
        modality=cohort.modality,
        shape=gan.layout.shape,
        lineages=(lineage, trained, *cohort.lineages.values()),
        conditions=gan.options.condition,
        overwrite=overwrite,
    ) as writer:
        for number, (plan, image) in enumerate(_draw(gan, network, cohort, plans, options.batch_size)):
            row = plan.row
            writer.add(
                _samples(cohort, plan, image, target),
                split=str(cohort.table["split"][row]),
                fold=int(cohort.table["fold"][row]),
                origin="synthetic",
                scan=str(cohort.table["scan"][row]),
                reference=[plan.reference],
                made_from=[";".join(plan.made_from)],
                lineage=lineage.id,
                ids=[f"{method}/{number:05d}"],
            )
    return out


@torch.no_grad()
def _draw(
    gan: ConditionalGAN, network: nn.Module, cohort: Cohort, plans: list[_Plan], batch_size: int
) -> Iterator[tuple[_Plan, NDArray[np.float32]]]:
    """Each plan with its image (target, y, x)."""
    for start in range(0, len(plans), batch_size):
        part = plans[start : start + batch_size]
        rows = [plan.row for plan in part]
        images = torch.from_numpy(np.asarray(cohort.images[rows], dtype=np.float32)).to(gan.device)
        lesions = np.stack([plan.lesion for plan in part])
        masks = torch.from_numpy(np.concatenate([cohort.masks[rows][:, :1], lesions], axis=1)).to(gan.device)
        made = gan.draw(network, images, masks).cpu().numpy()
        yield from zip(part, made, strict=True)


def _samples(cohort: Cohort, plan: _Plan, image: NDArray[np.float32], channels: tuple[str, ...]) -> Samples:
    row, table = plan.row, cohort.table
    spacing = str(table["spacing_mm"][row])
    return Samples(
        images=image[None],
        masks=np.concatenate([cohort.masks[row][:1], plan.lesion])[None],
        channels=channels,
        mask_names=cohort.mask_names,
        slices=(int(table["slice"][row]),),
        labels=(plan.label,),
        patient=str(table["patient"][row]),
        site=str(table["site"][row]),
        spacing_mm=tuple(float(part) for part in spacing.split()) if spacing else None,
        intensity={name: (float(table[f"low_{name}"][row]), float(table[f"high_{name}"][row])) for name in channels},
        unit=cohort.unit,
        modality=cohort.modality,
    )


def _reconstruct(cohort: Cohort, options: GenerationOptions) -> list[_Plan]:
    """Every real sample of the split, from its own condition."""
    table = cohort.table
    return [
        _Plan(int(row), np.array(cohort.masks[row][1:]), str(table["label"][row]), str(sample), (str(sample),))
        for row in cohort.rows(split=options.reconstruct_split, origin="real")
        for sample in [table["id"][row]]
    ]


def _transplant(cohort: Cohort, options: GenerationOptions) -> list[_Plan]:
    """Lesions of training patients, each put into a tumour-free slice of another training patient."""
    table = cohort.table
    donors = cohort.rows(split="train", origin="real", label=TUMOUR)
    targets = cohort.rows(split="train", origin="real", label=TUMOUR_FREE)
    count = options.samples or len(donors)
    plans: list[_Plan] = []
    if len(donors) == 0 or len(targets) == 0:
        return plans
    for number in range(count):
        rng = generator(options.seed, "transplant", number)
        for _ in range(DONORS_TRIED):
            donor = int(donors[rng.integers(len(donors))])
            others = targets[table["patient"][targets] != table["patient"][donor]]
            if len(others) == 0:
                continue
            target = int(others[rng.integers(len(others))])
            lesion = fit_lesion(
                rng, cohort.masks[donor][1:], cohort.body(target), options.rotate_deg, options.scale, options.inside
            )
            if lesion is not None:
                sources = (str(table["id"][target]), str(table["id"][donor]))
                plans.append(_Plan(target, lesion, TUMOUR, "", sources))
                break
    return plans


def _remove(cohort: Cohort, options: GenerationOptions) -> list[_Plan]:
    """Tumour slices of training patients with an empty mask, evenly spread when there are too many."""
    rows = cohort.rows(split="train", origin="real", label=TUMOUR)
    if options.samples is not None and len(rows) > options.samples:
        rows = rows[np.linspace(0, len(rows) - 1, options.samples).round().astype(int)]
    empty = np.zeros_like(cohort.masks[0][1:])
    return [_Plan(int(row), empty, TUMOUR_FREE, "", (str(cohort.table["id"][row]),)) for row in rows]


def _redraw(cohort: Cohort, _options: GenerationOptions) -> list[_Plan]:
    """Every training sample from its own condition, of either class. It is not to be compared with its original (the
    generator was trained on that), so it names no reference."""
    table = cohort.table
    return [
        _Plan(int(row), np.array(cohort.masks[row][1:]), str(table["label"][row]), "", (str(table["id"][row]),))
        for row in cohort.rows(split="train", origin="real")
    ]


_PLANS: Mapping[str, Callable[[Cohort, GenerationOptions], list[_Plan]]] = {
    "reconstruct": _reconstruct,
    "transplant": _transplant,
    "remove": _remove,
    "redraw": _redraw,
}
