"""What networks look at: Grad-CAM of the classifier, without and with synthetic images, and of what judged the GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthoma import __version__
from synthoma.evaluation.evidence import Evidence, Verdict
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EvaluationOptions
from synthoma.evaluation.pairs import arm_name, pair
from synthoma.evaluation.statistics import patient_interval, patient_means, spread_over_patients
from synthoma.evaluation.utility import lessons
from synthoma.records import BODY, Cohort, Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from synthoma.evaluation.critics import Judge

__all__ = ["ARMS", "DEFINITIONS", "evaluate_explain"]

Rows = NDArray[np.intp]
ARMS = ("real", "real+synthetic")
"""Arms of the utility family that are looked into."""
SHOWN = 6
"""Images whose heat-maps are kept for a panel."""
BATCH = 16
LOOKS = "heat-over-uniform"
DEFINITIONS = {
    "heat-in-lesion": "Share of the heat (Grad-CAM) over the body, or the frame, that lies inside the lesion.",
    "heat-if-uniform": "The share that a heat-map of one value everywhere would have: that of the lesion's area.",
    "heat-at-best": "The highest share that a heat-map as coarse as this one can have, enlarged to the image.",
    LOOKS: "heat-in-lesion minus heat-if-uniform: above 0 the network looks at the lesion more than chance would.",
}


@dataclass
class _Found:
    measurements: list[Measurement] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    panels: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Looked:
    """Heat-maps of some images."""

    cohort: Cohort
    rows: Rows
    heat: NDArray[np.float64]
    """(n, h, w)"""


def evaluate_explain(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features
) -> Evidence:
    """How much of the heat lies inside the lesion: on test images, of the classifiers ``real`` and ``real+synthetic``
    of the utility family (trained again, alike) and of the GAN's discriminator or critic, where it is found."""
    if real.images.ndim != 4:
        return Evidence(warnings=("explain: heat-maps exist for 2D images only.",), definitions=DEFINITIONS)
    found = _Found()
    if not real.lesion_names:
        return Evidence(warnings=("explain: there is no lesion mask to look for heat in.",), definitions=DEFINITIONS)
    _classifiers(real, synthetic, options, features, found)
    _critic(real, synthetic, options, found)
    return Evidence(
        tuple(found.measurements), {"heat": found.panels} if found.panels else {}, tuple(found.warnings),
        tuple(found.verdicts), DEFINITIONS,
    )  # fmt: skip


def _classifiers(
    real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, features: Features, found: _Found
) -> None:
    options.classifier.check_weights()
    asked, warnings = lessons(real, synthetic, options)
    if asked is None:
        found.warnings += [text.replace("utility:", "explain: no classifier,") for text in warnings]
        return
    import torch

    from synthoma.evaluation.classifier import train_classifier
    from synthoma.evaluation.gradcam import grad_cam, last_maps

    rows = _with_lesion(real, asked.test_rows, options)
    if not len(rows):
        found.warnings.append("explain: no test image has a lesion, so no classifier was looked into.")
        return
    order = [real.channels.index(name) for name in asked.channels]
    truth = torch.from_numpy(np.where(real.table["label"][rows] == asked.positive, 1.0, -1.0)).float()
    panels = {}
    for pool in asked.pools:
        both = pool.images.positive.any() and not pool.images.positive.all()
        if pool.curve or pool.name not in ARMS or not both:
            continue
        trained = train_classifier(
            pool.images, asked.validation, asked.test, options.classifier, options.seed, features, keep=True
        )
        network = trained.network
        assert network is not None  # noqa: S101 (for the type checker)
        network, layer, parts = network.cpu().requires_grad_(False), last_maps(network), []
        for start in range(0, len(rows), BATCH):
            images = torch.from_numpy(np.asarray(real.images[rows[start : start + BATCH]], dtype=np.float32)[:, order])
            sign = truth[start : start + BATCH]
            parts.append(grad_cam(layer, images.clamp(-1, 1), lambda x, n=network, s=sign: n(x)[:, 0] * s))  # type: ignore[misc]
        looked = _Looked(real, rows, torch.cat(parts).double().numpy())
        method = f"Grad-CAM of the logit of the true label; {trained.method}; positive = {asked.positive}"
        _measure(looked, f"classifier: {pool.name}", "real test", method, options, found)
        _claim(f"classifier: {pool.name}", f"The classifier trained on {pool.name}", found)
        panels[pool.name] = looked
    if panels:
        found.panels["classifier"] = _panel(panels, asked.channels, options)


def _critic(real: Cohort, synthetic: Mapping[str, Cohort], options: EvaluationOptions, found: _Found) -> None:
    """The network that judged: on synthetic images that it judged the like of, and on real test images."""
    from synthoma.evaluation.critics import checkpoint_of, judge_of

    for name, cohort in sorted(synthetic.items(), key=lambda item: not item[1].is_paired):
        path = checkpoint_of(cohort)
        judge = judge_of(cohort, path) if path is not None and not cohort.is_round_trip else None
        if judge is None:
            continue
        panels = {}
        for kind, rows, beside in _judged(real, cohort, name, options):
            if len(rows):
                own = real if kind == "real" else cohort
                looked = _Looked(own, rows, _heat_of(judge, own, rows, real, beside))
                method = f"Grad-CAM of the {judge.name}'s mean score over patches (higher: real); {judge.description}"
                arm = f"{judge.name}: {kind if kind == 'real' else arm_name(name)}"
                compared = "real test" if kind == "real" or cohort.is_paired else ""
                _measure(looked, arm, compared, method, options, found)
                panels["real" if kind == "real" else arm_name(name)] = looked
        if panels:
            found.panels[judge.name] = _panel(panels, judge.channels, options)
            return
    found.warnings.append(
        "explain: the network that judged while the GAN was trained was not found beside a cohort that it judged "
        "(gan/checkpoints/last.safetensors of the same training), so it was not looked into."
    )


def _judged(real: Cohort, cohort: Cohort, name: str, options: EvaluationOptions) -> list[tuple[str, Rows, Rows]]:
    """(kind, rows of the images, rows of the real samples beside them): the same anatomy where images are paired."""
    if cohort.is_paired:
        pairs = pair(real, cohort, name)
        keep = np.flatnonzero([real.lesion(int(row)).any() for row in pairs.real])
        keep = keep[_spread(real.table["patient"][pairs.real[keep]], options)]
        rows = pairs.real[keep]
        return [("real", rows, rows), ("made", pairs.synthetic[keep], rows)]
    alike = [np.isin(real.table[name], np.unique(cohort.table[name])) for name in ("label", "modality")]
    rows = _with_lesion(real, np.flatnonzero(alike[0] & alike[1] & (real.table["split"] == "test")), options)
    made = _with_lesion(cohort, np.arange(len(cohort)), options)
    if not cohort.is_from_noise:  # its condition's channels are those of no one real sample
        made = made[:0]
    return [("real", rows, rows), ("made", made, np.zeros(len(made), dtype=np.intp))]


def _heat_of(judge: Judge, cohort: Cohort, rows: Rows, real: Cohort, beside: Rows) -> NDArray[np.float64]:
    import torch

    from synthoma.evaluation.gradcam import grad_cam, last_maps

    order, layer, parts = [cohort.channels.index(c) for c in judge.channels], last_maps(judge.network), []
    for start in range(0, len(rows), BATCH):
        at, there = rows[start : start + BATCH], beside[start : start + BATCH]
        images = torch.from_numpy(np.asarray(cohort.images[at], dtype=np.float32)[:, order])

        def score(x: Tensor, at: Rows = at, there: Rows = there) -> Tensor:
            return judge.score(x, real, there, cohort, at)

        parts.append(grad_cam(layer, images, score))
    return np.asarray(torch.cat(parts).double().numpy())


def _with_lesion(cohort: Cohort, rows: Rows, options: EvaluationOptions) -> Rows:
    """Those with a lesion, at most ``explain.images``, evenly over patients."""
    rows = np.array([row for row in rows if cohort.lesion(int(row)).any()], dtype=np.intp)
    return rows[_spread(cohort.table["patient"][rows], options)]


def _spread(patients: NDArray[Any], options: EvaluationOptions) -> NDArray[np.intp]:
    return spread_over_patients(patients, options.explain.images, options.seed, "explain")


def _measure(looked: _Looked, arm: str, compared: str, method: str, options: EvaluationOptions, found: _Found) -> None:
    """Means over patients of every share, over the body and over the frame."""
    import torch

    from synthoma.evaluation.gradcam import best_share, share_inside, uniform_share

    cohort, rows = looked.cohort, looked.rows
    lesion = np.stack([cohort.lesion(int(row)) for row in rows])
    body = np.stack([cohort.body(int(row)) for row in rows]) if BODY in cohort.mask_names else np.ones_like(lesion)
    inside, heat = torch.from_numpy(lesion), torch.from_numpy(looked.heat)
    patients, size = cohort.table["patient"][rows], (int(heat.shape[1]), int(heat.shape[2]))
    cold = int((looked.heat.max(axis=(1, 2)) <= 0).sum())
    how = f"{method}; maps of {size[0]} × {size[1]}, bilinear" + f"; {cold} images without heat left out" * (cold > 0)
    for region, within in (("body", torch.from_numpy(body) | inside), ("frame", torch.ones_like(inside))):
        shares = {
            "heat-in-lesion": share_inside(heat, inside, within).numpy(),
            "heat-if-uniform": uniform_share(inside, within).numpy(),
            "heat-at-best": best_share(size, inside, within).numpy(),
        }
        shares[LOOKS] = shares["heat-in-lesion"] - shares["heat-if-uniform"]
        for name, values in shares.items():
            values = np.where(np.isfinite(shares["heat-in-lesion"]), values, np.nan)  # all of the same images
            names, means = patient_means(values, patients)
            one = patient_interval(means, options.seed, options.bootstrap_draws)
            better: Literal["higher", ""] = "higher" if name in ("heat-in-lesion", LOOKS) else ""
            found.measurements.append(
                Measurement(name, one.value, one.low, one.high, int(np.isfinite(values).sum()), len(names), arm, region,
                            "", better, f"{how}; {one.method}; synthoma {__version__}", compared)
            )  # fmt: skip


def _claim(arm: str, who: str, found: _Found) -> None:
    """Whether a network looks at the lesion more than a uniform map over the body."""
    fits = [m for m in found.measurements if (m.name, m.arm, m.region) == (LOOKS, arm, "body") and m.value is not None]
    if not fits:
        return
    (over,) = fits
    share = next(m for m in found.measurements if (m.name, m.arm, m.region) == ("heat-in-lesion", arm, "body"))
    value, own = over.value or 0.0, share.value or 0.0
    text = f"{100 * own:.0f} % of its heat over the body lies inside, a uniform map has {100 * (own - value):.0f} %"
    if over.low is None or over.high is None:
        text += f"; {over.n_patients} test patients, no interval"
        verdict = Verdict(f"{who} looks at the lesion", "cannot tell", f"{text}.")
    else:
        text += f"; difference {100 * value:+.1f} points, 95 % interval {100 * over.low:+.1f} to {100 * over.high:+.1f}"
        kind = "supported" if over.low > 0 else "not supported" if value <= 0 else "cannot tell"
        verdict = Verdict(f"{who} looks at the lesion", kind, f"{text}; {over.n_patients} test patients.")  # type: ignore[arg-type]
    found.verdicts.append(verdict)


def _panel(panels: Mapping[str, _Looked], channels: tuple[str, ...], options: EvaluationOptions) -> dict[str, Any]:
    """A few images of different patients, drawn at random, with the heat-map of each network or kind of image."""
    first = next(iter(panels.values()))
    paired = all(len(one.rows) == len(first.rows) for one in panels.values())
    content: dict[str, Any] = {"channels": list(channels), "of": {}}
    for name, looked in panels.items():
        rows = first.rows if paired else looked.rows
        cohort = first.cohort if paired else looked.cohort
        at = spread_over_patients(cohort.table["patient"][rows], SHOWN, options.seed, "heat panel")
        content["of"][name] = [
            {
                "row": int(looked.rows[i]),
                "id": str(looked.cohort.table["id"][looked.rows[i]]),
                "origin": "real" if np.all(looked.cohort.table["origin"] == "real") else name,
                "heat": [[float(f"{value:.3g}") for value in line] for line in _scaled(looked.heat[i])],
            }
            for i in at.tolist()
        ]  # fmt: skip
    return content


def _scaled(heat: NDArray[np.float64]) -> list[list[float]]:
    """From 0 to 1: heat has no unit."""
    scaled: list[list[float]] = (heat / max(float(heat.max()), 1e-12)).tolist()
    return scaled
