"""A generator as a MONAI bundle, which ``python -m monai.bundle run`` takes without synthoma.

The format: https://docs.monai.io/en/stable/mb_specification.html. MONAI has none of these networks, so the bundle holds
a program of ``torch.export`` that needs no class of theirs.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthoma import __version__
from synthoma.exports.cards import data_card, model_card
from synthoma.exports.programs import PROGRAM, usage, write_programs
from synthoma.exports.released import Released, config
from synthoma.storage import new_folder, write_bytes, write_json

__all__ = ["export_bundle"]

MONAI = "1.6.1"
"""The version that such bundles were run with."""
SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
"""For any network. The one for generators (20220718) asks for a latent input, which a generator from images has not."""
FORMATS = {"CT": "hounsfield", "MR": "magnitude"}
USE = """With MONAI (run with {monai}), without synthoma, in the folder of this bundle:

```bash
python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json \\
    --bundle_root .{more}
```

{what}

{without}"""
FROM_FILES = (
    "`input/` holds one NumPy file a sample, `NAME.npy`, float32 ({channels}, {size}) in [−1, 1]: {names}. "
    "`output/NAME.npy` is what it draws. Other folders: `--dataset_dir`, `--output_dir`."
)
FROM_NOISE = (
    "`output/NUMBER-LABEL.npy` is what it draws. `--samples` says how many, `--label` of which class ({names}), "
    "`--seed` where the random numbers begin."
)
LICENCE = """The configuration files of this bundle (configs/) were written by synthoma {version}, which is under the
Apache License, Version 2.0 (http://www.apache.org/licenses/LICENSE-2.0).

The weights in models/ are under no licence that synthoma knows of. Who exported them has to state one here, and may do
so only where the terms of the images that they were trained on allow it: see docs/data_license.txt.
"""
DATA_LICENCE = """The weights in models/ were trained on images of {patients} patients.
The images are not part of this bundle.

Under which licence or consent those images may be used, and whether weights trained on them may be passed on, synthoma
does not know. Who exported this bundle has to state it here.
"""


def export_bundle(released: Released, out: Path, *, overwrite: bool = False) -> Path:
    """Write a MONAI bundle: ``configs/``, ``models/``, ``docs/``, ``LICENSE``.

    Raises:
        OutputError: ``out`` exists and ``overwrite`` is false.
    """
    with new_folder(Path(out), overwrite=overwrite) as folder:
        write_programs(released, folder / "models")
        write_json(folder / "configs" / "metadata.json", _metadata(released))
        write_json(folder / "configs" / "inference.json", _inference(released))
        write_json(folder / "configs" / "generator.json", config(released))
        card = model_card(released, _use(released), library="monai")
        write_bytes(folder / "docs" / "README.md", card.encode())
        write_bytes(folder / "docs" / "data_card.md", data_card(released).encode())
        patients = len(released.lineage.patients_seen)
        write_bytes(folder / "docs" / "data_license.txt", DATA_LICENCE.format(patients=patients).encode())
        write_bytes(folder / "LICENSE", LICENCE.format(version=__version__).encode())
    return Path(out)


def _use(released: Released) -> str:
    first = released.first
    size = ", ".join(map(str, first.shape))
    if first.inputs:
        names = ", ".join(f"{name} (a mask: −1 and +1)" if name in first.masks else name for name in first.inputs)
        what = FROM_FILES.format(channels=len(first.inputs), size=size, names=names)
    else:
        what = FROM_NOISE.format(names=", ".join(first.labels))
    others = [f"`--program {way}.pt2` for {way}." for way in list(released.generators)[1:]]
    return USE.format(
        monai=MONAI,
        more="" if first.inputs else " --samples 8",
        what=" ".join([what, *others]),
        without=usage(released, f"models/{PROGRAM}"),
    )


def _metadata(released: Released) -> dict[str, Any]:
    first = released.first
    modality = released.real.modality if released.real is not None else "n/a"
    if first.inputs:
        inputs: dict[str, Any] = {"image": _data(first.inputs, modality, first.shape)}
    else:
        inputs = {"noise": _numbers(first.latent), "classes": _numbers(len(first.labels), first.labels)}
    risk = released.risk.rstrip(". ")
    privacy = f"Released with an accepted privacy risk: {risk}." if risk else "Audited for copies."
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by synthoma {__version__}"},
        "monai_version": MONAI,
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {},
        "name": released.name,
        "task": "Synthetic medical images by a GAN",
        "description": f"A {first.method} GAN that draws {', '.join(first.outputs)}. {privacy} Not for diagnosis.",
        "authors": "not stated",
        "copyright": "not stated; see LICENSE",
        "intended_use": "Research. Not for diagnosis, treatment, or any decision about a patient.",
        "network_data_format": {
            "inputs": inputs,
            "outputs": {"pred": _data(first.outputs, modality, first.shape)},
        },
    }


def _data(channels: tuple[str, ...], modality: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": FORMATS.get(modality, "magnitude"),
        "modality": modality,
        "num_channels": len(channels),
        "spatial_shape": list(shape),
        "dtype": "float32",
        "value_range": [-1, 1],
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in enumerate(channels)},
    }


def _numbers(n: int, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Of a vector, which the format describes as a tuple of channels without extent."""
    return {
        "type": "probabilities" if names else "latent",
        "format": "latent",
        "modality": "n/a",
        "num_channels": n,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [0, 1] if names else [],
        "is_patch_data": False,
        "channel_def": {str(number): names[number] if names else "noise" for number in range(n)},
    }


def _inference(released: Released) -> dict[str, Any]:
    """How the bundle is run: an expression a part, as MONAI's configuration has them."""
    first = released.first
    shared: dict[str, Any] = {
        "imports": ["$import glob", "$import os", "$import numpy", "$import torch"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/output'",
        "device": "$torch.device('cpu')",
        "batch_size": 8,
        "program": PROGRAM,
        "network_def": "$torch.export.load(os.path.join(@bundle_root, 'models', @program))",
        "network": "$@network_def.module()",
        "inferer": {"_target_": "SimpleInferer"},
    }
    given = _from_files() if first.inputs else _from_noise(released)
    drawn = "zip(batch['name'], @inferer(batch['image'], @network{more}).numpy())"
    drawn = drawn.format(more="" if first.inputs else ", batch['classes']")
    save = f"$[numpy.save(os.path.join(@output_dir, n), x) for batch in @dataloader for n, x in {drawn}]"
    loader = {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": "@batch_size", "num_workers": 0}
    run = ["$os.makedirs(@output_dir, exist_ok=True)", "$torch.set_grad_enabled(False)", save]
    return shared | given | {"dataloader": loader, "run": run}


def _from_files() -> dict[str, Any]:
    load = {"_target_": "LoadImaged", "keys": "image", "reader": "NumpyReader", "channel_dim": 0}
    files = "$sorted(glob.glob(os.path.join(@dataset_dir, '*.npy')))"
    return {
        "dataset_dir": "$@bundle_root + '/input'",
        "files": files,
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                load,
                {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32", "track_meta": False},
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': f, 'name': os.path.basename(f)} for f in @files]",
            "transform": "@preprocessing",
        },
    }


def _from_noise(released: Released) -> dict[str, Any]:
    first = released.first
    labels = [re.sub(r"[^\w.-]", "_", label) for label in first.labels]
    return {
        "dataset_dir": "",
        "samples": 8,
        "seed": 0,
        "labels": labels,
        "label": labels[0] if labels else "",
        "names": "$['%05d-%s.npy' % (i, @label) for i in range(@samples)]",
        "noise": f"$torch.randn(@samples, {first.latent}, generator=torch.Generator().manual_seed(@seed))",
        "classes": "$torch.tensor([float(name == @label) for name in @labels])",
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': z, 'classes': @classes, 'name': name} for z, name in zip(@noise, @names)]",
        },
    }
