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


TELLING = {
    "features.0.weight": "vgg19",
    "layer1.0.conv1.weight": "resnet50",
    "Conv2d_1a_3x3.conv.weight": "inception-v3",
    "backbone.0.weight": "radimagenet-resnet50",
    "cls_token": "dinov2",
    "_conv_stem.weight": "efficientnet-lite0",
}
"""A tensor that only one of the layouts has."""


def _fits(file: Path) -> str:
    """Which network a user's file is for; loaded strictly, and never with code in it.

    Raises:
        InputError: no layout that is known, or not all of it.
    """
    import torch

    from synthoma.networks.extractors import load_extractor
    from synthoma.networks.pretrained import WEIGHTS, efficientnet_lite0, load_state, resnet50, vgg19_features

    state = load_state(file)
    name = next((network for tensor, network in TELLING.items() if tensor in state), None)
    if name is None:
        known = ", ".join(TELLING.values())
        raise InputError(describe(file, f"the weights of {known}", f"others ({next(iter(state), 'no tensor')} …)"))
    if name == "efficientnet-lite0":
        network, _ = efficientnet_lite0()
        try:
            network.load_state_dict({key: torch.as_tensor(value) for key, value in state.items()}, strict=True)
        except RuntimeError as error:
            raise InputError(describe(file, f"the tensors of {WEIGHTS[name].layout}", str(error))) from None
        return f"{name} (only the embedded file is used)"
    if name == "vgg19":
        _, sha256 = vgg19_features(file)
    elif name == "resnet50":
        _, sha256 = resnet50(file, 3, 1000)
    else:
        _, sha256 = load_extractor(name, file)
    published = WEIGHTS[name].sha256
    if not published:
        return f"{name}; its publisher names no checksum"
    return f"{name}, " + ("the published file" if sha256.startswith(published) else "another file than the published")
