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
        "step": checkpoint.step,
        "scalars": checkpoint.scalars,
        "options": checkpoint.options,
        "lineage": checkpoint.lineage.to_json(),
    }
    # one entry: safetensors writes several in an order that changes from run to run, and equal states have equal bytes
    metadata = {FORMAT: json.dumps(header, sort_keys=True, allow_nan=False)}
    # not np.ascontiguousarray, which makes a number (the step counts of the norms and of Adam) a vector
    write_bytes(path, save({name: np.array(a, order="C") for name, a in checkpoint.arrays.items()}, metadata))


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
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise CheckpointError(describe(path, f"a checkpoint ({FORMAT})", "another safetensors file"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        remedy = "Only safetensors checkpoints are read; files that carry code (.pt, .pkl) never are."
        raise CheckpointError(
            describe(path, "a safetensors checkpoint", f"a damaged or foreign file ({error})", remedy)
        ) from error
    try:
        header = json.loads(metadata[FORMAT])
        lineage = Lineage.from_json(header["lineage"])
        return Checkpoint(int(header["step"]), arrays, dict(header["scalars"]), dict(header["options"]), lineage)
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
