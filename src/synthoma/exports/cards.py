"""Model card and data card of a generator that leaves the house, filled from its lineage and its evidence.

The header is that of a Hugging Face model card, with a ``model-index``:
https://huggingface.co/docs/hub/model-cards. The sections follow Mitchell et al. 2019, "Model cards for model
reporting", https://arxiv.org/abs/1810.03993, and Gebru et al. 2021, "Datasheets for datasets",
https://arxiv.org/abs/1803.09010.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from synthoma import __version__
from synthoma.exports.released import Released, exported
from synthoma.records import Cohort, Measurement

if TYPE_CHECKING:
    from synthoma.exports.generators import Generator

__all__ = ["data_card", "model_card", "model_index"]

INDEXED: Mapping[str, str] = {
    "ssim": "body", "psnr": "body", "mae": "body", "frechet-distance": "", "kid": "", "improved-precision": "frame",
    "improved-recall": "frame", "diversity-ratio": "frame", "near-duplicates": "", "closer-to-training": "",
    "authenticity": "", "membership-auc-nearest": "", "membership-auc-density": "",
}  # fmt: skip
"""The measures of a card, and the region of each; of all regions where none is said."""
BESIDE = ("real vs real", "source image", "least squares", "mean training image")
"""What stands beside the generator's numbers: the floor, and what needs no GAN."""
ORIGIN = {"mr": "magnetic resonance images", "ct": "computed tomography", "ot": "medical images"}
DOES = {
    "reconstruct": "makes {made} from {given} of the same patient",
    "translate": "turns {given} into {made}",
    "back": "turns {given} into {made}",
    "sample": "draws {made} from noise, of a class that is asked for",
}
METHODS = {"conditional": "conditional GAN", "cycle": "CycleGAN", "wasserstein": "WGAN-GP"}
NOT_ANONYMOUS = (
    "Synthetic is not anonymous. The audit looks for copies of the kinds that it knows; that it found none does not "
    "show that no patient can be recognised."
)


def model_card(released: Released, use: str, *, library: str = "synthoma") -> str:
    """The card as Markdown with its YAML header; ``use`` says how these files are used."""
    first = released.first
    body = [
        f"# {released.name}",
        f"A {METHODS[first.method]} that {_does(first)}. {_size(first)} Made with synthoma {released.lineage.version}.",
        "## Intended use",
        "Research: methods that need more, or other, images than there are, and studies of synthetic images "
        "themselves.",
        "Not for diagnosis, treatment, or any decision about a patient. Not as the only data that a model for patients "
        "is trained or tested on. What it draws must be marked as synthetic wherever it goes.",
        "## What it saw",
        *_seen(released),
        "More in `data_card.md`.",
        "## How it was measured",
        *_measured(released),
        "## Privacy",
        _privacy(released),
        NOT_ANONYMOUS,
        "## Limits",
        *_limits(released),
        "## Ethics",
        "Where it learned from images of patients, their consent and the terms of their data hold for "
        "these weights too: who passes them on has to look whether they may. A generator draws what it saw most; who "
        "was rare among its patients (by age, sex, ancestry, scanner, stage of disease) is drawn worse, and nothing "
        "here measures that. Images of tumours that nobody has can mislead; they must not be passed off as patients'.",
        "## How it is used",
        use,
        "## Where it comes from",
        _provenance(released),
    ]
    return _yaml_header(released, library) + "\n\n".join(body) + "\n"


def data_card(released: Released) -> str:
    """What the generator was trained on, as Markdown: counts and names of columns, and no image."""
    body = [
        f"# The data of {released.name}",
        "The images themselves are not part of this export.",
        "## What it saw",
        *_seen(released),
    ]
    real = released.real
    if real is not None:
        rows = _rows(released, real)
        body += ["## Samples", _table(("", "samples", "patients"), _counts(real, rows))]
        body += [
            "## Form",
            f"Channels {', '.join(real.channels)}; masks {', '.join(real.mask_names)}; unit {real.unit}; "
            f"{' × '.join(map(str, real.images.shape[2:]))} pixels, spacing in mm ([z] y x): "
            f"{_few(real.table['spacing_mm'][rows].tolist())}. Intensities are scaled to [−1, 1] by a window a sample.",
        ]
    body += [
        "## Terms",
        "synthoma does not know under which licence or consent these data may be used. Who exported the generator has "
        "to say so here.",
        "## Privacy",
        "Patients are listed in the lineage by the names of the cohort, so that nobody evaluates the generator on a "
        "patient that it saw. Names from DICOM are pseudonyms; folder names of public data sets are as published.",
        NOT_ANONYMOUS,
    ]
    return "\n\n".join(body) + "\n"


def model_index(released: Released) -> list[dict[str, Any]]:
    """The ``model-index`` of a Hugging Face card: what was measured of the generator's own cohorts, with intervals."""
    metrics = [
        {
            "type": m.name,
            "name": f"{_of(m)} of {m.arm}, {_people(m)}",
            "value": m.value,
            "args": _interval(m) | {"unit": m.unit, "compared": m.compared},
        }
        for m in _own(released)
        if m.arm in released.arms
    ]
    if not metrics:
        return []
    task = {"type": _task(released.first), "name": _does(released.first)}
    data = {"type": "private", "name": "held-out patients of the cohort that it was trained on"}
    return [{"name": released.name, "results": [{"task": task, "dataset": data, "metrics": metrics}]}]


def _yaml_header(released: Released, library: str) -> str:
    from ruamel.yaml import YAML

    header: dict[str, Any] = {
        "license": "other",
        "license_name": "not-stated",
        "library_name": library,
        "pipeline_tag": _task(released.first),
        "tags": ["medical-imaging", "synthetic-data", "gan", "oncology", *_modalities(released)],
    }
    if index := model_index(released):
        header["model-index"] = index
    text, yaml = io.StringIO(), YAML()
    yaml.default_flow_style, yaml.width = False, 4096
    yaml.dump(header, text)
    return f"---\n{text.getvalue()}---\n\n"


def _task(generator: Generator) -> str:
    return "image-to-image" if generator.inputs else "unconditional-image-generation"


def _modalities(released: Released) -> list[str]:
    return [] if released.real is None else released.real.modality.lower().split("+")


def _does(generator: Generator) -> str:
    return DOES[generator.way].format(given=", ".join(generator.inputs), made=", ".join(generator.outputs))


def _size(generator: Generator) -> str:
    size = " × ".join(map(str, generator.shape))
    return f"Images are of {size} {'voxels' if len(generator.shape) == 3 else 'pixels'}, float32 in [−1, 1]."


def _rows(released: Released, real: Cohort) -> Any:
    """The samples of the patients that had an influence on the weights: of training, and of validation."""
    seen = np.isin(real.table["patient"], released.lineage.patients_seen) & (real.table["origin"] == "real")
    return np.flatnonzero(seen & (real.table["split"] != "test"))


def _seen(released: Released) -> list[str]:
    patients = len(released.lineage.patients_seen)
    texts = [f"{patients} patients had an influence on its weights: training patients, and validation patients where "
             "these chose the checkpoint."]  # fmt: skip
    if released.real is None:
        return [*texts, "The cohort that it was trained on is not at hand any more; nothing else is known of it here."]
    real, rows = released.real, _rows(released, released.real)
    training = rows[real.table["split"][rows] == "train"]
    sites = sorted(set(real.table["site"][rows].tolist()) - {""})
    kind = " and ".join(ORIGIN.get(name, name) for name in _modalities(released))
    where = f"{len(sites)} sites: {_few(sites)}" if sites else "sites not known"
    return [
        *texts,
        f"Trained on {len(training)} samples of {len(set(real.table['patient'][training].tolist()))} patients "
        f"({kind}; {where}).",
    ]


def _counts(real: Cohort, rows: Any) -> Iterable[tuple[str, ...]]:
    for column in ("split", "label", "site", "modality"):
        for value, n in sorted(Counter(real.table[column][rows].tolist()).items()):
            own = rows[real.table[column][rows] == value]
            yield f"{column} {value or '(none)'}", str(n), str(len(set(real.table["patient"][own].tolist())))


def _own(released: Released) -> list[Measurement]:
    """The measures of a card: of the generator's cohorts, and what stands beside them."""
    arms = (*released.arms, *BESIDE)
    return [
        m
        for m in released.measurements
        if m.value is not None and m.arm in arms and m.name in INDEXED and INDEXED[m.name] in ("", m.region)
    ]


def _measured(released: Released) -> list[str]:
    own = _own(released)
    if not any(m.arm in released.arms for m in own):
        return ["It was not: there is no evidence of any cohort that it made."]
    rows = [
        (_of(m), m.arm, f"{m.value:.4g}{' ' * bool(m.unit)}{m.unit}",
         "none" if m.low is None or m.high is None else f"{m.low:.4g} to {m.high:.4g}", _people(m), m.compared)
        for m in own
    ]  # fmt: skip
    texts = [
        _table(("measure", "of", "value", "95 % interval", "n", "compared with"), rows),
        "A distance is good or bad only against its floor (*real vs real*). A GAN that does not beat the source image "
        "or a least-squares fit has learned little.",
    ]
    meant = released.definitions or {}
    names = dict.fromkeys(m.name for m in own)
    texts += ["\n".join(f"- `{name}`: {meant[name]}" for name in names if name in meant)]
    if released.verdicts:
        texts += ["\n".join(f"- {claim}: **{verdict}**" for claim, verdict in released.verdicts)]
    return [text for text in texts if text]


def _privacy(released: Released) -> str:
    if released.risk:
        return f"**Released with an accepted privacy risk:** {released.risk}"
    audited = f"Audited before this release, by its images {', '.join(released.audited)}: "
    if not released.first.inputs:
        return audited + "none is a near-duplicate of a training image."
    return (
        audited
        + "none is a near-duplicate of a training image that it was not shown. Shown a scan of a patient, it draws "
        "that patient: what it makes of patients' images is theirs."
    )


def _limits(released: Released) -> list[str]:
    first = released.first
    texts = [
        f"- It knows {'scans prepared as its training data were' if first.inputs else 'the classes of its labels'}, of "
        f"the size given above, and nothing else. Other scanners, protocols, ages and diseases were not tried.",
        "- What it draws looks like a scan and is none: a lesion may appear, vanish or change, and grey values are no "
        "measurement.",
        "- The numbers above are of the patients above. They say nothing of other hospitals.",
    ]
    if first.masks:
        texts.append(
            "- It draws a lesion where a mask says so; a mask that no tumour has gives an image that none gives."
        )
    return ["\n".join(texts)]


def _provenance(released: Released) -> str:
    lineage = released.lineage
    return (
        f"Training lineage `{lineage.id}`, settings SHA-256 `{lineage.recipe_sha256[:16]}…`, seed {lineage.seed}, "
        f"parents {', '.join(f'`{parent}`' for parent in lineage.parents)}; exported by synthoma {__version__} as "
        f"`{exported(released).id}`."
    )


def _interval(m: Measurement) -> dict[str, Any]:
    return {} if m.low is None or m.high is None else {"low": m.low, "high": m.high, "interval": "95 %"}


def _of(m: Measurement) -> str:
    return f"{m.name} ({m.region})" if m.region else m.name


def _people(m: Measurement) -> str:
    return f"{m.n_images} images, {m.n_patients} patients"


def _few(values: Iterable[str], most: int = 8) -> str:
    names = sorted({value for value in values if value}) or ["not known"]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
