"""``synthoma weights``: the pretrained networks, where their weights are, and whether they are what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthoma.errors import InputError, MissingPartError, describe, did_you_mean

__all__ = ["app"]

app = typer.Typer(help="Weights of pretrained networks: list, path, verify.", rich_markup_mode=None)


@app.command("list")
def list_weights() -> None:
    """The networks, and what they are for."""
    from synthoma.networks.pretrained import WEIGHTS

    for name, weights in WEIGHTS.items():
        origin = f"yours, by --set {weights.setting}=FILE" if weights.setting else "embedded"
        typer.echo(f"{name}\n  for      {weights.used_for}\n  layout   {weights.layout}")
        typer.echo(f"  file     {origin}\n  SHA-256  {weights.sha256}{'…' if weights.setting else ''}")


@app.command()
def path(name: Annotated[str, typer.Argument(help="See synthoma weights list.")]) -> None:
    """Where the file of an embedded network is."""
    typer.echo(_embedded(name))


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME|FILE", help="A network, or a file of yours.")] = None,
) -> None:
    """Check the embedded weights, or a file of yours."""
    from synthoma.networks.pretrained import WEIGHTS
    from synthoma.storage import file_sha256

    file = Path(name) if name else None
    if file is not None and file.is_file() and name not in WEIGHTS:
        typer.echo(f"{file}\n  SHA-256  {file_sha256(file)}\n  fits     {_fits(file)}")
        return
    chosen = name or "efficientnet-lite0"
    embedded, expected = _embedded(chosen), WEIGHTS[chosen].sha256
    found = file_sha256(embedded)
    if found != expected:
        raise InputError(describe(embedded, f"SHA-256 {expected}", found, "Install its package again."))
    typer.echo(f"{chosen}: {embedded}\n  SHA-256  {found}, as published")


def _embedded(name: str) -> Path:
    """The file of a network by its name.

    Raises:
        MissingPartError: its file must come from the user, or its package is not installed.
    """
    from synthoma.networks.pretrained import WEIGHTS, embedded_lite0_path

    if name not in WEIGHTS:
        raise InputError(describe("weights", "a known network or a file", f"'{name}'", did_you_mean(name, WEIGHTS)))
    if WEIGHTS[name].setting:
        remedy = f"Name yours with --set {WEIGHTS[name].setting}=FILE; check it with synthoma weights verify FILE."
        raise MissingPartError(describe(name, f"a file of yours ({WEIGHTS[name].layout})", "none embedded", remedy))
    return embedded_lite0_path()


def _fits(file: Path) -> str:
    """Which network a user's file is for; loaded strictly, and never with code in it."""
    import torch

    from synthoma.networks.pretrained import WEIGHTS, efficientnet_lite0, load_state, vgg19_features

    state = load_state(file)
    try:
        _, sha256 = vgg19_features(file)
        known = sha256.startswith(WEIGHTS["vgg19"].sha256)
        return "vgg19, " + ("the published file" if known else "another file than the published one")
    except InputError as error:
        network, _ = efficientnet_lite0()
        try:
            network.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()}, strict=True)
        except RuntimeError:
            raise error from None
        return "efficientnet-lite0 (only the embedded file is used)"
