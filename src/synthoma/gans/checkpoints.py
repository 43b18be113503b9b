"""Reading and writing checkpoints: one safetensors file, its JSON in the header. Loading runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from synthoma.errors import CheckpointError, describe
from synthoma.records import Checkpoint, Lineage
from synthoma.storage import write_bytes

__all__ = ["load_arrays", "load_checkpoint", "save_checkpoint", "to_arrays"]

FORMAT = "synthoma-checkpoint-1"


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in one piece: the file holds the old state or the new, never half of one."""
    from safetensors.numpy import save

    header = {
        "format": FORMAT,
        "step": json.dumps(checkpoint.step),
        "scalars": json.dumps(checkpoint.scalars, allow_nan=False),
        "options": json.dumps(checkpoint.options, allow_nan=False),
        "lineage": json.dumps(checkpoint.lineage.to_json()),
    }
    # not np.ascontiguousarray, which makes a number (the step counts of the norms and of Adam) a vector
    write_bytes(path, save({name: np.array(a, order="C") for name, a in checkpoint.arrays.items()}, header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is absent, truncated, or not a checkpoint of synthoma.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(describe(path, "a checkpoint", "nothing", "Has the training written one yet?"))
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(describe(path, f"a checkpoint ({FORMAT})", "another safetensors file"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        remedy = "Only safetensors checkpoints are read; files that carry code (.pt, .pkl) never are."
        raise CheckpointError(
            describe(path, "a safetensors checkpoint", f"a damaged or foreign file ({error})", remedy)
        ) from error
    try:
        return Checkpoint(
            step=json.loads(header["step"]),
            arrays=arrays,
            scalars=json.loads(header["scalars"]),
            options=json.loads(header["options"]),
            lineage=Lineage.from_json(json.loads(header["lineage"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(describe(path, f"the header of {FORMAT}", f"a damaged one ({error})")) from error


def to_arrays(prefix: str, state: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """A module's ``state_dict`` as arrays below ``prefix/``."""
    return {f"{prefix}/{name}": tensor.detach().cpu().numpy() for name, tensor in state.items()}


def load_arrays(network: nn.Module, arrays: Mapping[str, NDArray[Any]], what: str) -> None:
    """Load arrays into a network; every name and shape must fit.

    Raises:
        CheckpointError: names the first weight that does not fit.
    """
    import torch

    own = network.state_dict()
    wrong = sorted(set(own) ^ set(arrays)) or sorted(n for n in own if tuple(own[n].shape) != arrays[n].shape)
    if wrong:
        raise CheckpointError(describe(what, "weights of the same network", f"a difference at {wrong[0]}"))
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, strict=True)
