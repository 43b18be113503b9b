"""A generator as a program of ``torch.export``: runs where PyTorch is, without synthoma."""

from __future__ import annotations

from pathlib import Path

from synthoma.exports.cards import data_card, model_card
from synthoma.exports.released import Released, config
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["PROGRAM", "export_program", "write_programs"]

PROGRAM = "model.pt2"
"""Of the first way to draw; those of others are called after them: ``back.pt2``."""
USE = """With PyTorch {torch} or later, without synthoma:

```python
import torch

generator = torch.export.load("{program}").module()
image = generator({given})
```

{what} {others}"""


def export_program(released: Released, out: Path, *, overwrite: bool = False) -> Path:
    """Write ``model.pt2`` (a ``.pt2`` for each way to draw), ``config.json``, ``README.md`` and ``data_card.md``.

    The program takes any number of samples of the size that the generator was trained on, on the processor.

    Raises:
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    with new_folder(Path(out), overwrite=overwrite) as folder:
        write_programs(released, folder)
        write_json(folder / "config.json", config(released))
        write_bytes(folder / "README.md", model_card(released, usage(released), library="pytorch").encode())
        write_bytes(folder / "data_card.md", data_card(released).encode())
    return Path(out)


def write_programs(released: Released, folder: Path) -> None:
    """Write the program of each way to draw into ``folder``."""
    import io

    import torch

    from synthoma.exports.generators import program

    for number, (way, generator) in enumerate(released.generators.items()):
        content = io.BytesIO()
        torch.export.save(program(generator), content)
        write_bytes(folder / (f"{way}.pt2" if number else PROGRAM), content.getvalue())


def usage(released: Released, program: str = PROGRAM) -> str:
    """How the program is called, for a card."""
    import torch

    first = released.first
    size = ", ".join(map(str, first.shape))
    if first.inputs:
        given = "condition"
        what = f"`condition` is float32 (n, {len(first.inputs)}, {size}) in [−1, 1]: {', '.join(first.inputs)}" + (
            f"; of these {', '.join(first.masks)} are masks of −1 and +1." if first.masks else "."
        )
    else:
        given = "noise, classes"
        what = (
            f"`noise` is (n, {first.latent}) of standard normal numbers; `classes` is (n, {len(first.labels)}) with a "
            f"one for the class: {', '.join(first.labels)}."
        )
    others = " ".join(f"`{way}.pt2` {way}s." for way in list(released.generators)[1:])
    version = torch.__version__.split("+")[0]
    return USE.format(torch=version, program=program, given=given, what=what, others=others).rstrip()
