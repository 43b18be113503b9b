"""Programs and bundles: what they compute is what the generator computes; MONAI runs them without synthoma."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthoma.exports import RUN_EXPORTS
from synthoma.exports.bundle import SCHEMA
from synthoma.exports.generators import WAYS, Generator, program
from synthoma.exports.released import Released
from synthoma.gans import GANS, ConditionalOptions, CycleOptions, Examples, Layout, WassersteinOptions
from synthoma.records import Lineage

OPTIONS = {
    "conditional": ConditionalOptions(width=2, adversarial_weight=0, base="linear"),
    "cycle": CycleOptions(width=2, blocks=1, discriminator_width=2, discriminator_layers=1, base="input"),
    "wasserstein": WassersteinOptions(width=2, layers=3, critic_width=2, critic_layers=2, latent=4, target=("flair",)),
}
DATA_KEYS = {
    "type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data",
    "channel_def",
}  # fmt: skip
"""What MONAI's schema asks of a tensor: https://docs.monai.io/en/stable/mb_specification.html."""


def made(method: str, shape: tuple[int, ...] = (16, 16)) -> tuple[Any, dict[str, Generator]]:
    """A GAN of that method with weights that are not the first ones, and its generators."""
    layout = Layout(("t1", "flair"), ("body", "core", "oedema"), shape, ("tumour", "tumour free"))
    torch.manual_seed(3)
    gan = GANS[method](OPTIONS[method], layout, torch.device("cpu"))
    for name in gan.averaged:
        for tensor in gan.networks[name].state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.05 * torch.randn_like(tensor).abs())
        gan.networks[name].requires_grad_(False).eval()
    lineage = Lineage.of("train", parents=("ab",), recipe={}, seed=0, patients_seen=("p0", "p1"))
    return gan, {way: Generator(gan, gan.networks, lineage, way) for way in WAYS[method]}


def released(method: str, shape: tuple[int, ...] = (16, 16)) -> Released:
    _, generators = made(method, shape)
    lineage = next(iter(generators.values())).lineage
    return Released("tiny", Path("none.safetensors"), generators, lineage, None, risk="phantoms")


def numbers(generator: Generator, n: int) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(n)
    first, *classes = generator.example(n)
    return (torch.rand(first.shape, generator=random) * 2 - 1, *classes)


@pytest.mark.parametrize("method", sorted(GANS))
def test_a_generator_draws_what_its_gan_draws(method: str) -> None:
    gan, generators = made(method)
    random = torch.Generator().manual_seed(1)
    images = torch.rand(3, 2, 16, 16, generator=random) * 2 - 1
    masks = (torch.rand(3, 3, 16, 16, generator=random) > 0.5).float()
    labels, noise = torch.tensor([0, 1, 1]), torch.randn(3, 4, generator=random)
    for way, generator in generators.items():
        expected = gan.draw(gan.networks, Examples(images, masks, labels, noise), way)
        if generator.inputs:
            known = dict(zip(("t1", "flair"), images.unbind(1), strict=True))
            known |= {"core": masks[:, 1] * 2 - 1, "oedema": masks[:, 2] * 2 - 1}
            found = generator(torch.stack([known[name] for name in generator.inputs], dim=1))
        else:
            found = generator(noise, torch.eye(2)[labels])
        assert found.std() > 0.01
        assert torch.equal(found, expected)
        assert found.shape[1] == len(generator.outputs)


@pytest.mark.parametrize("shape", [(16, 16), (8, 8, 8)])
@pytest.mark.parametrize("method", sorted(GANS))
def test_a_program_takes_any_number_of_samples(method: str, shape: tuple[int, ...]) -> None:
    for generator in made(method, shape)[1].values():
        run = program(generator).module()
        for n in (1, 2, 5):
            given = numbers(generator, n)
            with torch.no_grad():
                assert (run(*given) - generator(*given)).abs().max() < 1e-5


def test_the_program_of_a_folder(tmp_path: Path) -> None:
    """A CycleGAN has two; both are read by PyTorch alone, in a process that does not know synthoma."""
    what = released("cycle")
    out = RUN_EXPORTS["torch-export"](what, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "back.pt2", "config.json", "data_card.md", "model.pt2",
    ]  # fmt: skip
    assert 'torch.export.load("model.pt2").module()' in (out / "README.md").read_text()
    given = numbers(what.first, 3)[0]
    np.save(tmp_path / "given.npy", given.numpy())
    code = (
        "import sys, numpy, torch\n"
        "x = torch.from_numpy(numpy.load('given.npy'))\n"
        "for name in ('model', 'back'):\n"
        "    numpy.save(name, torch.export.load(f'out/{name}.pt2').module()(x).detach().numpy())\n"
        "assert 'synthoma' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for name, way in (("model", "translate"), ("back", "back")):
        expected = what.generators[way](given).numpy()
        assert np.abs(np.load(tmp_path / f"{name}.npy") - expected).max() < 1e-5


@pytest.mark.parametrize("method", sorted(GANS))
def test_the_form_of_a_bundle(method: str, tmp_path: Path) -> None:
    out = RUN_EXPORTS["bundle"](released(method), tmp_path / "tiny")
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files - {"models/back.pt2"} == {
        "LICENSE", "configs/generator.json", "configs/inference.json", "configs/metadata.json", "docs/README.md",
        "docs/data_card.md", "docs/data_license.txt", "models/model.pt2",
    }  # fmt: skip
    metadata = json.loads((out / "configs/metadata.json").read_text())
    for key in ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "name", "task", "description",
                "authors", "copyright"):  # fmt: skip
        assert isinstance(metadata[key], str), key
        assert metadata[key], key
    assert isinstance(metadata["changelog"], dict)
    assert isinstance(metadata["required_packages_version"], dict)
    data = metadata["network_data_format"]
    assert set(data) == {"inputs", "outputs"}
    for entry in (*data["inputs"].values(), *data["outputs"].values()):
        assert set(entry) == DATA_KEYS
        assert [int(number) for number in entry["channel_def"]] == list(range(entry["num_channels"]))
    assert "accepted privacy risk: phantoms. Not for diagnosis." in metadata["description"]
    assert "accepted privacy risk:** phantoms" in (out / "docs/README.md").read_text()
    inference = json.loads((out / "configs/inference.json").read_text())
    assert {"bundle_root", "dataset_dir", "device", "network_def", "inferer", "dataset", "run"} <= set(inference)
    assert not [text for text in _texts(inference) if str(tmp_path) in text or "synthoma" in text]


def with_monai() -> str:
    """The Python that runs bundles."""
    python = os.environ.get("SYNTHOMA_MONAI") or sys.executable
    if subprocess.run([python, "-c", "import monai"], capture_output=True, check=False).returncode:
        pytest.skip("MONAI is not installed")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(GANS))
def test_monai_verifies_the_metadata(method: str, tmp_path: Path) -> None:
    """``SYNTHOMA_MONAI_SCHEMA`` names a copy of the file at :data:`synthoma.exports.bundle.SCHEMA`."""
    schema = os.environ.get("SYNTHOMA_MONAI_SCHEMA")
    if schema is None:
        pytest.skip("SYNTHOMA_MONAI_SCHEMA names no copy of MONAI's schema")
    assert Path(schema).name == SCHEMA.rpartition("/")[2]
    out = RUN_EXPORTS["bundle"](released(method, (8, 8, 8)), tmp_path / "tiny")
    file = out / "configs/metadata.json"
    command = [with_monai(), "-m", "monai.bundle", "verify_metadata", "--meta_file", str(file), "--filepath", schema]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "metadata is verified with no error" in found.stdout + found.stderr, found
    metadata = json.loads(file.read_text())
    del metadata["network_data_format"]["outputs"]
    file.write_text(json.dumps(metadata))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(GANS))
def test_monai_runs_a_bundle(method: str, tmp_path: Path) -> None:
    """``SYNTHOMA_MONAI`` names the Python of an environment with MONAI and without synthoma; else this one's MONAI."""
    python, what = with_monai(), released(method)
    out = RUN_EXPORTS["bundle"](what, tmp_path / "tiny")
    command = [python, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json",
               "--meta_file", "configs/metadata.json", "--bundle_root", "."]  # fmt: skip
    if what.first.inputs:
        given = numbers(what.first, 10)[0]
        (out / "input").mkdir()
        for number, sample in enumerate(given):
            np.save(out / "input" / f"{number:02d}.npy", sample.numpy())
    else:
        command += ["--samples", "10", "--label", "tumour_free", "--seed", "5"]
    subprocess.run(command, cwd=out, check=True, capture_output=True)
    found = np.stack([np.load(path) for path in sorted((out / "output").iterdir())])
    if what.first.inputs:
        expected = what.first(given)
    else:
        noise = torch.randn(10, 4, generator=torch.Generator().manual_seed(5))
        expected = what.first(noise, torch.eye(2)[[1] * 10])
    assert np.abs(found - expected.numpy()).max() < 1e-5


def _texts(content: Any) -> list[str]:
    if isinstance(content, dict):
        return [text for value in content.values() for text in _texts(value)]
    if isinstance(content, list):
        return [text for value in content for text in _texts(value)]
    return [content] if isinstance(content, str) else []
