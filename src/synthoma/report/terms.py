"""What the report's terms mean, and the papers behind its measurements and methods."""

from __future__ import annotations

from collections.abc import Mapping

from synthoma.report.content import ReportContent
from synthoma.report.measures import measure_label

__all__ = ["definitions", "references"]

DEFINITIONS: Mapping[str, str] = {
    "Patient, image": "The patient is the unit: splits, means and intervals go by patient. A measure is averaged over "
    "each patient's images first, then over patients.",
    "95 % interval": "The range of values that agree with these patients. How it was computed stands with each method.",
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
_REFERENCES: Mapping[str, str] = {
    "ssim": "Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli. Image quality assessment: from error visibility to "
    "structural similarity. IEEE Trans. Image Process. 13(4):600–612, 2004.",
    "frechet": "M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter. GANs trained by a two time-scale "
    "update rule converge to a local Nash equilibrium. NeurIPS 2017.",
    "kid": "M. Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton. Demystifying MMD GANs. ICLR 2018.",
    "spectr": "R. Durall, M. Keuper, J. Keuper. Watch your up-convolution: CNN based generative deep neural networks "
    "are failing to reproduce spectral distributions. CVPR 2020.",
    "silhouette": "P. J. Rousseeuw. Silhouettes: a graphical aid to the interpretation and validation of cluster "
    "analysis. J. Comput. Appl. Math. 20:53–65, 1987. Pictured by L. van der Maaten, G. Hinton. Visualizing data using "
    "t-SNE. JMLR 9:2579–2605, 2008.",
    "heat-": "R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra. Grad-CAM: visual explanations "
    "from deep networks via gradient-based localization. ICCV 2017.",
}
_METHODS = {
    "conditional": "P. Isola, J.-Y. Zhu, T. Zhou, A. A. Efros. Image-to-image translation with conditional adversarial "
    "networks. CVPR 2017.",
    "translation": "J.-Y. Zhu, T. Park, P. Isola, A. A. Efros. Unpaired image-to-image translation using "
    "cycle-consistent adversarial networks. ICCV 2017.",
    "noise": "I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville. Improved training of Wasserstein GANs. "
    "NeurIPS 2017.",
}
_ALWAYS = ("B. Efron. Better bootstrap confidence intervals. J. Am. Stat. Assoc. 82(397):171–185, 1987.",)


def definitions(content: ReportContent) -> list[tuple[str, str]]:
    """Terms and what they mean; the caller's text stands in place of the report's own."""
    given = {measure_label(name): text for name, text in (content.definitions or {}).items()}
    return [*({**DEFINITIONS, **given}).items()]


def references(content: ReportContent) -> list[str]:
    """The papers behind the measurements that are there, and behind the kinds of images that were made."""
    names = {m.name.lower() for m in content.measurements}
    cited = [text for start, text in _REFERENCES.items() if any(name.startswith(start) for name in names)]
    cohorts = content.synthetic.values()
    round_trip = any(c.is_round_trip for c in cohorts)
    kinds = {
        "conditional": any(
            c.conditions and not c.is_round_trip and not (round_trip and c.is_translation) for c in cohorts
        ),
        "translation": round_trip,
        "noise": any(c.is_from_noise for c in cohorts),
    }
    return [*cited, *(text for kind, text in _METHODS.items() if kinds[kind]), *_ALWAYS]
