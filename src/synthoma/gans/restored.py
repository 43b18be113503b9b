"""The GAN that a checkpoint is of, to draw with or to judge by: built from its settings, not yet with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from synthoma.errors import CheckpointError, describe
from synthoma.gans import GANS, Gan, GanOptions, Layout
from synthoma.records import Checkpoint

__all__ = ["gan_of"]


def gan_of(state: Checkpoint, path: Path, device: torch.device) -> Gan:
    """The GAN of a checkpoint's settings; ``path`` is its file, for the message. Nothing is trained, so it has no
    perceptual loss, whose file of weights need not be there, and recomputes nothing.

    Raises:
        CheckpointError: settings of another version.
    """
    try:
        content: dict[str, Any] = dict(state.options["gan"])
        if "perceptual" in content:  # one loss must be set
            content |= {"perceptual": {}, "l1_weight": 1.0}
        if "recompute" in content:
            content |= {"recompute": False}
        options: GanOptions = TypeAdapter(GanOptions).validate_python(content)
        layout = Layout.from_json(state.options["layout"])
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        found = f"others ({_first(error)})"
        raise CheckpointError(describe(path, "the settings of a GAN of this version", found)) from error
    with torch.random.fork_rng(devices=[]):  # the first weights are random, and replaced at once
        return GANS[options.method](options, layout, device)


def _first(error: Exception) -> str:
    """What is wrong, in one line; of pydantic's errors the first, without the method that stands before the setting."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    setting = ".".join(["gan", *map(str, first["loc"][1:])])
    return f"{setting}: {first['msg']}"
