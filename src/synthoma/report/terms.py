"""What the report's terms mean, with the works behind its measurements and its kinds of images."""

from __future__ import annotations

from collections.abc import Mapping

from synthoma.report.content import ReportContent
from synthoma.report.measures import measure_label
from synthoma.report.references import cite, without_marks

__all__ = ["definitions"]

DEFINITIONS: Mapping[str, str] = {
    "Patient, image": "The patient is the unit: splits, means and intervals go by patient. A measure is averaged over "
    "each patient's images first, then over patients.",
    "95 % interval": f"The range of values that agree with these patients{cite('efron1987bca')}. How it was computed "
    "stands with each method.",
    "Body, lesion, frame": "Where a measure is taken: inside the brain or body mask, inside the lesion, or in the "
    "whole picture. The black background lifts SSIM and PSNR in the frame, so the body is the headline.",
    "Cycle SSIM": "Structural similarity of an image that was translated and translated back to the one it began with. "
    "Doing nothing has 1, so it is read beside what the translated images are taken for.",
    "Untranslated": "The very images that were translated, offered as if they were of the target.",
    "Recognition": "A classifier learns from real training patients alone and is asked what synthetic images are.",
    "Source image": "A baseline: the condition image itself, offered as if it were the target.",
    "Least squares": "A baseline: each pixel of the target fitted linearly from the same pixel of the conditions.",
    "Mean training image": "A baseline: the mean of the training patients' target images.",
    "SSIM": "Structural similarity to the real image; 1 is identical.",
    "PSNR": "Peak signal-to-noise ratio to the real image in dB, for the declared intensity window; higher is closer.",
    "MAE": "Mean absolute error to the real image; lower is closer.",
    "Fréchet distance": "Distance between the feature distributions of two sets of images. Only to be read beside its "
    "floor, the distance of real images to other real images.",
    "KID": "Kernel inception distance: an unbiased distance between feature distributions; may be slightly negative.",
}
MADE: Mapping[str, tuple[str, str, str]] = {
    "conditional": ("From a condition", "Images that a generator made from other channels of the same slice, or from "
                    "masks.", "isola2017pix2pix"),
    "translation": ("Translated", "Images that a generator took from one domain to another, having learned from images "
                    "of both that were not paired.", "zhu2017cyclegan"),
    "noise": ("From noise", "Images that a generator made from random numbers and a label; they are of no patient.",
              "gulrajani2017wgangp"),
}  # fmt: skip
"""Kind of synthetic images → what it is called, what it is, and the work behind it."""
BEHIND: Mapping[str, tuple[str, ...]] = {
    "ssim": ("wang2004ssim",),
    "frechet": ("heusel2017ttur",),
    "kid": ("binkowski2018kid",),
    "spectr": ("durall2020upconvolution",),
    "silhouette": ("rousseeuw1987silhouettes", "vandermaaten2008tsne"),
    "heat": ("selvaraju2017gradcam",),
}
"""How the names of measurements begin, and the works behind them."""


def definitions(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """Terms and what they mean, with marks of the works behind what was made and measured.

    The caller's text stands in place of the report's own.
    """
    made = {name: _cited(text, work) for name, text, work in (MADE[kind] for kind in _kinds(content))}
    given = {measure_label(name): without_marks(text) for name, text in (content.definitions or {}).items()}
    measured = {m.name.lower() for m in content.measurements}
    behind = {measure_label(start): works for start, works in BEHIND.items()
              if any(name.startswith(start) for name in measured)}  # fmt: skip
    terms = {**DEFINITIONS, **made, **given}
    return tuple(
        (term, _cited(text, *(work for start, works in behind.items() if term.startswith(start) for work in works)))
        for term, text in terms.items()
    )


def _cited(text: str, *works: str) -> str:
    """A sentence with a mark of the works before its full stop."""
    return f"{text.removesuffix('.')}{cite(*works)}." if works else text


def _kinds(content: ReportContent) -> list[str]:
    """The kinds of images that were made."""
    cohorts = content.synthetic.values()
    round_trip = any(c.is_round_trip for c in cohorts)
    kinds = {
        "conditional": any(
            c.conditions and not c.is_round_trip and not (round_trip and c.is_translation) for c in cohorts
        ),
        "translation": round_trip,
        "noise": any(c.is_from_noise for c in cohorts),
    }
    return [kind for kind, there in kinds.items() if there]
