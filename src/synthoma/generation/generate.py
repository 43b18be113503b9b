"""Synthetic cohorts from a checkpoint and the conditions of a real cohort."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synthoma.cohort import create_cohort
from synthoma.errors import CheckpointError, CohortError, SettingError, describe, did_you_mean
from synthoma.gans import Examples, Gan, Layout
from synthoma.gans.checkpoints import load_arrays, load_checkpoint
from synthoma.gans.restored import gan_of
from synthoma.generation import noise, plans, translation
from synthoma.generation.options import GenerationOptions
from synthoma.generation.plans import Plan
from synthoma.options import first_difference
from synthoma.records import Cohort, Lineage, Samples

__all__ = ["generate", "load_generator", "weights_sha256"]

BACKGROUND = -0.95
"""Above this something is seen: the generator's tanh never quite reaches −1."""


def load_generator(path: Path, *, device: str = "cpu") -> tuple[Gan, dict[str, nn.Module], Lineage]:
    """The GAN of a checkpoint file, the averaged networks that draw, and the lineage of its training."""
    state = load_checkpoint(path)
    gan = gan_of(state, path, torch.device(device))
    networks = {name: gan.networks[name] for name in gan.averaged}
    for name, network in networks.items():
        load_arrays(network, state.part(f"averages/{name}"), str(path))
        network.requires_grad_(False).eval()
    return gan, networks, state.lineage


def weights_sha256(networks: Mapping[str, nn.Module]) -> str:
    """Which weights drew a cohort: SHA-256 over name, type, shape and bytes of each, whatever file they came from."""
    digest = hashlib.sha256()
    for network, module in sorted(networks.items()):
        for name, tensor in sorted(module.state_dict().items()):
            array = tensor.detach().cpu().numpy()
            digest.update(f"{network}/{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def generate(
    checkpoint: Path,
    cohort: Cohort,
    out: Path,
    method: str | None,
    options: GenerationOptions,
    *,
    overwrite: bool = False,
    device: str = "cpu",
) -> Path:
    """Write the synthetic cohort of one ``method``, by default the first that the GAN knows, to the folder ``out``.

    Sample *i* has random numbers of its own: it depends neither on the batch size nor on the other samples.

    Raises:
        SettingError: there is no such method, or the GAN of the checkpoint does not know it.
        CheckpointError: the GAN was trained on another layout than the cohort's.
        CohortError: the cohort has no samples that the method could start from.
    """
    gan, networks, trained = load_generator(checkpoint, device=device)
    method = method or gan.makes[0]
    if method not in gan.makes:
        expected = f"one of {', '.join(gan.makes)}, which a {gan.options.method} GAN knows"
        raise SettingError(describe("generation.methods", expected, f"'{method}'", did_you_mean(method, gan.makes)))
    layouts = [{k: v for k, v in at.to_json().items() if k != "labels"} for at in (gan.layout, Layout.of(cohort))]
    differs = first_difference(*layouts)
    if differs is not None:
        what, trained_on, has = differs
        where = cohort.path or "the cohort"
        raise CheckpointError(describe(f"{checkpoint}, {what}", f"a GAN for {has}, as {where} has", f"{trained_on}"))
    wanted = PLANS[gan.options.method, method](gan, cohort, options)
    if not wanted:
        raise CohortError(
            describe(cohort.path, f"samples to '{method}'", "none", "See synthoma info for what it holds.")
        )
    lineage = Lineage.of(
        "generate",
        parents=[trained.id, weights_sha256(networks), *sorted(set(cohort.table["lineage"].tolist()))],
        recipe={"method": method, **options.model_dump(mode="json")},
        seed=options.seed,
        patients_seen=trained.patients_seen,
    )
    conditions, channels = gan.channels(method)
    with create_cohort(
        out,
        channels=channels,
        mask_names=cohort.mask_names,
        shape=gan.layout.shape,
        lineages=(lineage, trained, *cohort.lineages.values()),
        conditions=conditions,
        overwrite=overwrite,
    ) as writer:
        for number, (plan, image) in enumerate(_draw(gan, networks, cohort, wanted, options.batch_size)):
            new = plan.noise is not None  # no patient's
            writer.add(
                _samples(cohort, plan, image, channels),
                split="train" if new else str(cohort.table["split"][plan.row]),
                fold=-1 if new else int(cohort.table["fold"][plan.row]),
                origin="synthetic",
                scan="" if new else str(cohort.table["scan"][plan.row]),
                reference=[plan.reference],
                made_from=[";".join(plan.made_from)],
                lineage=lineage.id,
                grids=None if new else cohort.grids.get(str(cohort.table["scan"][plan.row])),
                ids=[f"{method}/{number:05d}"],
            )
    return out


@torch.no_grad()
def _draw(
    gan: Gan, networks: dict[str, nn.Module], cohort: Cohort, wanted: list[Plan], batch_size: int
) -> Iterator[tuple[Plan, NDArray[np.float32]]]:
    """Each plan with its image (channel, [z,] y, x)."""
    for way, group in groupby(wanted, key=lambda plan: plan.way):
        alike = list(group)
        for start in range(0, len(alike), batch_size):
            part = alike[start : start + batch_size]
            rows = [plan.row for plan in part]
            lesions = np.stack([plan.lesion for plan in part])
            latent = [plan.noise for plan in part if plan.noise is not None]
            examples = Examples(
                torch.from_numpy(np.asarray(cohort.images[rows], dtype=np.float32)),
                torch.from_numpy(np.concatenate([cohort.masks[rows][:, :1], lesions], axis=1).astype(np.float32)),
                gan.layout.label_indices([plan.label for plan in part]),
                torch.from_numpy(np.stack(latent)) if latent else None,
            )
            yield from zip(part, gan.draw(networks, examples.to(gan.device), way).cpu().numpy(), strict=True)


def _samples(cohort: Cohort, plan: Plan, image: NDArray[np.float32], channels: tuple[str, ...]) -> Samples:
    row, table = plan.row, cohort.table
    spacing = str(table["spacing_mm"][row])
    body = _body(image)[None] if plan.noise is not None else cohort.masks[row][:1]
    fields: dict[str, Any] = {
        "slices": (int(table["slice"][row]),),
        "patient": str(table["patient"][row]),
        "site": str(table["site"][row]),
        "intensity": {name: (float(table[f"low_{name}"][row]), float(table[f"high_{name}"][row])) for name in channels},
        "unit": str(table["unit"][row]),
        "modality": str(table["modality"][row]),
    }
    return Samples(
        images=image[None],
        masks=np.concatenate([body, plan.lesion])[None],
        channels=channels,
        mask_names=cohort.mask_names,
        labels=(plan.label,),
        spacing_mm=tuple(float(part) for part in spacing.split()) if spacing else None,
        **(fields | dict(plan.changes)),
    )


def _body(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Where an image from noise shows something: nobody drew its body. All of it where nothing is background."""
    from scipy.ndimage import binary_fill_holes

    seen = (image > BACKGROUND).any(axis=0)
    return np.asarray(binary_fill_holes(seen)).astype(np.uint8)


PLANS: Mapping[tuple[str, str], Callable[[Gan, Cohort, GenerationOptions], list[Plan]]] = {
    ("conditional", "reconstruct"): plans.reconstruct,
    ("conditional", "transplant"): plans.transplant,
    ("conditional", "remove"): plans.remove,
    ("conditional", "redraw"): plans.redraw,
    ("cycle", "translate"): translation.translate,
    ("cycle", "back"): translation.back,
    ("cycle", "cycle"): translation.cycle,
    ("cycle", "redraw"): translation.redraw,
    ("wasserstein", "sample"): noise.sample,
}
"""(method of the GAN, what it is to make) → the plans of a cohort."""
