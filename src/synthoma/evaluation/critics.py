"""The network that judged while a GAN was trained: found again beside its cohort, and what it thinks of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.gans import Examples, Gan
from synthoma.gans.checkpoints import load_arrays, load_checkpoint
from synthoma.gans.restored import gan_of
from synthoma.records import Cohort

__all__ = ["Judge", "checkpoint_of", "judge_of"]

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Judge:
    """A trained discriminator or critic; its scores are higher where an image looks real to it."""

    name: str
    """``discriminator`` or ``critic``."""
    network: nn.Module
    channels: tuple[str, ...]
    """Of the images that it judges."""
    description: str
    """The file and how far it was trained, for ``Measurement.method``."""
    _gan: Gan

    def score(self, made: Tensor, beside: Cohort, rows: Rows, lesions_of: Cohort, own: Rows) -> Tensor:
        """(n,) mean over patches.

        Args:
            made: (n, channel, y, x) the images judged.
            beside: the real cohort, whose samples ``rows`` have the condition's channels.
            lesions_of: the cohort whose samples ``own`` have the masks and labels.
        """
        layout = self._gan.layout
        order = [beside.channels.index(name) for name in layout.channels]
        masks = [lesions_of.mask_names.index(name) for name in layout.mask_names]
        examples = Examples(
            torch.from_numpy(np.asarray(beside.images[rows], dtype=np.float32)[:, order]),
            torch.from_numpy(np.asarray(lesions_of.masks[own], dtype=np.float32)[:, masks]),
            layout.label_indices(lesions_of.table["label"][own].tolist()),
        )
        return self._gan.scores(made, examples).flatten(1).mean(dim=1)


def checkpoint_of(cohort: Cohort) -> Path | None:
    """The whole state of the training that a cohort descends from, where it lies in a study's place: ``gan/`` beside
    the cohort's folder or beside the cohort. Whether it is that training's the lineage says (:func:`judge_of`)."""
    if cohort.path is None:
        return None
    folder = Path(cohort.path).resolve().parent
    places = [at / "gan" / "checkpoints" / "last.safetensors" for at in (folder, folder.parent)]
    return next((path for path in places if path.is_file()), None)


def judge_of(cohort: Cohort, path: Path) -> Judge | None:
    """The judging network of the checkpoint ``path``; ``None`` where it is of another training than the cohort, of
    a GAN that has none, or the cohort's images are not what it judged.

    Raises:
        CheckpointError: the file is damaged, or of another version.
    """
    state = load_checkpoint(path)
    if state.lineage.id not in {one.id for one in cohort.lineages.values() if one.step == "train"}:
        return None
    gan = gan_of(state, path, torch.device("cpu"))
    name = gan.judge
    if name not in gan.networks or gan.channels(gan.makes[0])[1] != cohort.channels:
        return None
    network = gan.networks[name]
    load_arrays(network, state.part(f"networks/{name}"), str(path))
    where = f"{name.replace('_', ' of the ')} after {state.step} steps (training {state.lineage.id[:8]})"
    short = "critic" if name == "critic" else "discriminator"
    return Judge(short, network.requires_grad_(False).eval(), cohort.channels, where, gan)
