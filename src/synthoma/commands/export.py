"""``synthoma export``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from synthoma.commands.arguments import Out, Overwrite

__all__ = ["export"]


def export(
    what: Annotated[Path, typer.Argument(help="A cohort, real or synthetic; of a generator its study or run.")],
    out: Out,
    kind: Annotated[
        Literal["nifti", "dicom", "nnunet", "brats", "png", "bundle", "safetensors", "torch-export"],
        typer.Option("--as", help="The format."),
    ] = "nifti",
    slices: Annotated[
        Literal["stack", "single"] | None,
        typer.Option(help="Slices: a volume a scan (by default), or one a slice.", show_default=False),
    ] = None,
    numbers: Annotated[
        Literal["auto", "float32", "int16"] | None,
        typer.Option(help="NIfTI: by default int16 in HU, else float32.", show_default=False),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="nnU-Net: the masks of labels 1, 2, …; the later wins.", show_default=False),
    ] = None,
    splits: Annotated[
        Literal["auto", "split", "folds", "none"] | None,
        typer.Option(help="nnU-Net: how patients are divided.", show_default=False),
    ] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="BraTS: without some channels.")] = False,
    evidence: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The folder of the evaluation.", show_default=False)
    ] = None,
    accept_privacy_risk: Annotated[
        str, typer.Option(metavar="REASON", help="Release it against the audit; the reason is written into it.")
    ] = "",
    overwrite: Overwrite = False,
) -> None:
    """Write a cohort, or a generator, for other programs.

    Channels are in the scanner's unit, at their place in the patient. NIfTI, DICOM with segmentations, the layouts of
    nnU-Net and BraTS 2023, PNG of 16 bits with a table.
    Of a generator: a MONAI bundle, safetensors with a model card, or a program of torch.export.
    What is synthetic is exported only after its privacy audit.
    """
    from synthoma.verbs import export

    chosen: dict[str, Any] = {
        "slices": slices,
        "numbers": numbers,
        "masks": masks and masks.split(","),
        "splits": splits,
    }
    chosen["allow_missing"] = allow_missing or None
    settings = {name: value for name, value in chosen.items() if value is not None}
    note = partial(typer.echo, err=True)
    export(
        what,
        out,
        kind=kind,
        settings=settings,
        evidence=evidence,
        accept_privacy_risk=accept_privacy_risk,
        overwrite=overwrite,
        say=note,
    )
    if (out / "samples.csv").is_file():
        typer.echo(f"{out}: written as {kind}; {out / 'samples.csv'} says which sample is where")
    else:
        typer.echo(f"{out}: read its card before you pass it on, and say in it what synthoma cannot know")
