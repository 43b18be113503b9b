"""A generator's weights as safetensors, with a configuration and cards, in the form of a Hugging Face repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthoma.exports.cards import data_card, model_card
from synthoma.exports.released import Released, config
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["WEIGHTS", "export_safetensors"]

WEIGHTS = "model.safetensors"
USE = """With synthoma, in any folder that holds these files:

```python
import synthoma

generator = synthoma.load_generator("{name}")
image = generator({given})
```

`generator.inputs`, `generator.outputs` and `generator.shape` say what it takes and gives. No file of this folder holds
code; loading one runs none."""


def export_safetensors(released: Released, out: Path, *, overwrite: bool = False) -> Path:
    """Write ``model.safetensors``, ``config.json``, ``README.md`` (the model card) and ``data_card.md``.

    The weights are a checkpoint of synthoma with the networks that draw alone, so that ``synthoma generate`` takes them
    as well. Paths of the machine that trained them are not kept.

    Raises:
        CheckpointError: the checkpoint is damaged.
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    with new_folder(Path(out), overwrite=overwrite) as folder:
        _weights(released, folder / WEIGHTS)
        write_json(folder / "config.json", config(released))
        given = "condition" if released.first.inputs else "noise, classes"
        write_bytes(folder / "README.md", model_card(released, USE.format(name=Path(out).name, given=given)).encode())
        write_bytes(folder / "data_card.md", data_card(released).encode())
    return Path(out)


def _weights(released: Released, path: Path) -> None:
    from synthoma.gans.checkpoints import load_checkpoint, save_checkpoint
    from synthoma.records import Checkpoint

    state = load_checkpoint(released.checkpoint)
    arrays = {name: array for name, array in state.arrays.items() if name.startswith("averages/")}
    options: dict[str, Any] = dict(state.options)
    gan = dict(options["gan"])
    if "perceptual" in gan:  # of training alone, and it may hold a path
        gan |= {"perceptual": {}}
    scalars = {"accepted_privacy_risk": released.risk}
    save_checkpoint(path, Checkpoint(state.step, arrays, scalars, options | {"gan": gan}, state.lineage))
