"""Sentences on what was measured and how it was tested: only of measures that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthoma.report.content import ReportContent
from synthoma.report.families import family_of
from synthoma.report.naming import extractor_of, weights_of
from synthoma.report.references import cite

__all__ = ["evaluated", "statistics"]

Settings = Mapping[str, Any]

NETWORKS = {
    "efficientnet-lite0": "tan2019efficientnet", "inception-v3": "szegedy2016inception",
    "radimagenet-resnet50": "mei2022radimagenet", "dinov2": "oquab2024dinov2", "resnet50": "he2016resnet",
}  # fmt: skip
SENTENCES: tuple[tuple[str, str], ...] = (
    ("ssim", f"Structural similarity (SSIM){cite('wang2004ssim')} was computed with a Gaussian window of 11 pixels "
             f"(σ 1.5), "
     "population covariance, K1 0.01, K2 0.03 and a data range of 2, the declared window [−1, 1] of every image; a "
     "region's "
     "SSIM is the mean of the map over it."),
    ("psnr", "The peak signal-to-noise ratio is 10 log10(L² / MSE) over the region, with the same range L = 2."),
    ("mae", "The mean absolute error is given in the scanner's unit."),
    ("frechet-distance", f"The Fréchet distance{cite('heusel2017ttur')} was computed exactly from the singular "
                         f"values of "
     "the centred features, at equal numbers of images on both sides, and stands beside its floor, the distance "
     "between "
     "real images of disjoint halves of the patients."),
    ("frechet-distance-infinity", f"It was also extrapolated to an infinite number of images{cite('chong2020fid')}, "
                                  f"both "
     "sets shrunk."),
    ("kid", f"The kernel distance (KID) is unbiased{cite('binkowski2018kid')}."),
    ("improved-precision", f"Improved precision and recall{cite('kynkaanniemi2019precision')} used k = 5."),
    ("density", f"Density and coverage{cite('naeem2020density')} used k = 5."),
    ("two-sample-accuracy", f"A classifier two-sample test{cite('lopezpaz2017c2st')} told synthetic from real images "
                            f"of "
     "patients that it had not seen."),
    ("radiomics-distance", "A Fréchet distance of shape, grey values and texture of lesions was standardised on the "
                           "real "
     "training set."),
    ("spectrum-distance", f"Radially averaged power spectra were compared{cite('durall2020upconvolution')}."),
    ("checkerboard-index", "The share of power at the highest frequencies of rows and columns shows traces of "
                           "upsampling."),
    ("dice", "A U-Net trained on real training patients marked lesions in synthetic images; its overlap (Dice) with "
             "the mask "
     "that each image was made from stands beside that on real held-out patients."),
    ("recognition-accuracy", "A classifier of real training images was asked what synthetic images are."),
    ("recognised-as-target", "A classifier of real training images was asked what translated images are."),
    ("heat-in-lesion", f"Grad-CAM{cite('selvaraju2017gradcam')} shows the share of the heat that lies inside the "
                       f"lesion."),
    ("silhouette-classifier", f"Silhouettes{cite('rousseeuw1987silhouettes')} of the labels were taken in the space "
                              f"of the "
     "classifier's features, never on the coordinates of an embedding."),
    ("nearest-training-distance", "For privacy, each synthetic image was registered (flips, quarter turns, shifts, "
                                  "blur, "
     "brightness) to every training image and to as many images of held-out patients, without the mean image."),
    ("near-duplicates", "An image counts as a near-duplicate where it is closer to a training image than real held-out "
     "images are."),
    ("authenticity", f"Authenticity{cite('alaa2022authenticity')} is read beside that of held-out real images."),
    ("membership-auc-nearest", f"Membership inference used the distance to the nearest synthetic image"
     f"{cite('chen2020ganleaks')}."),
    ("membership-auc-density", f"It used the ratio of densities as well{cite('vanbreugel2023domias')}."),
    ("reader-icc-single", f"Agreement of readers is given as ICC(2,1) and ICC(2,k){cite('shrout1979')}."),
)  # fmt: skip
"""Name of a measurement → what is said where it is there, in the order of the families."""


def evaluated(content: ReportContent, recipe: Settings) -> list[str]:
    """A sentence for every measure that is there, the networks that compared, the classifier and its arms."""
    names = {m.name for m in content.measurements}
    text = [sentence for name, sentence in SENTENCES if name in names]
    features = [m for m in content.measurements if m.name in ("frechet-distance", "kid")]
    seen = dict.fromkeys((extractor_of(m), weights_of(m)) for m in features)
    for network, weights in seen:
        work = cite(NETWORKS[network]) if network in NETWORKS else ""
        text.append(
            f"Features are those of {network}{work}" + (f" (weights {weights}, SHA-256)" if weights else "") + "."
        )
    if features:
        text.append(f"Where images were resized for it, they were antialiased{cite('parmar2022cleanfid')}, and never "
                    f"rounded to "
                    "8 bits.")  # fmt: skip
    return [*text, *_classifier(content, recipe)]


def _classifier(content: ReportContent, recipe: Settings) -> list[str]:
    arms = [*dict.fromkeys(m.arm for m in content.measurements if m.name == "accuracy" and family_of(m) == "utility")]
    block = (recipe.get("evaluation") or {}).get("classifier") or {}
    if not arms:
        return []
    text = [f"Utility was measured by classifiers trained on: {'; '.join(arms)}. All were judged on the same real test "
            "images."]  # fmt: skip
    if "real+duplicates" in arms:
        text.append("The arm real+duplicates repeats real images until they are as many as real and synthetic ones "
                    "together.")  # fmt: skip
    network = block.get("network")
    if network in NETWORKS and "steps" in block:
        whole = (
            "every weight was trained"
            if block.get("trainable") == "all"
            else "a linear layer was trained on its features"
        )
        weights = block.get("weights")
        begins = (
            "" if network != "resnet50" else "from random weights, " if weights == "none" else "from ImageNet weights, "
        )
        text.append(
            f"Each was {network}{cite(NETWORKS[network])} ({begins}{whole}), with {block['steps']} steps of "
            f"AdamW{cite('loshchilov2019adamw')} (learning rate {block['learning_rate']:g}, weight decay "
            f"{block['weight_decay']:g}), batches of {block['batch']} with both classes equally often; the weights "
            f"of the lowest "
            "loss on real validation images were kept."
        )
        if block.get("threshold") == "validation":
            text.append("The threshold is that of the best balanced accuracy on validation patients.")
    return text


def statistics(content: ReportContent, recipe: Settings) -> list[str]:
    """The unit, the intervals that were given, and the tests that were made."""
    if not content.measurements:
        return []
    methods = " ".join(m.method.partition("; in each fold: ")[0] for m in content.measurements)
    names = {m.name for m in content.measurements}
    text = ["The patient was the unit of every mean, interval and test."]
    draws = (recipe.get("evaluation") or {}).get("bootstrap_draws")
    of = f" ({draws:,} draws of patients)" if draws else ""
    if "BCa bootstrap" in methods:
        text.append(f"95 % intervals of means over patients are BCa bootstrap intervals{cite('efron1987bca')}{of}.")
    if "percentile bootstrap" in methods:
        text.append(f"Other bootstrap intervals are those between percentiles{of}.")
    if "jackknife" in methods:
        text.append(
            "Those of distances leave patients out in turn (jackknife), for the distance at this number of images."
        )
    if "Clopper" in methods:
        text.append(f"Those of single proportions are exact{cite('clopper1934')}.")
    if "auc-delong" in names:
        text.append(f"The area under the ROC curve has DeLong's interval{cite('delong1988')} as well, images of a "
                    f"patient "
                    f"together{cite('obuchowski1997')}.")  # fmt: skip
    if any(name.endswith("-difference-p") for name in names):
        text.append(f"Differences over folds were tested by the corrected resampled t-test{cite('nadeau2003')}, runs "
                    f"averaged "
                    "within a fold first; the plain paired t-test is given for comparison only.")  # fmt: skip
    if "exchange-p-holm" in names:
        text.append(
            "Two classifiers were compared in balanced accuracy by exchanging their answers patient by patient."
        )
    if "mcnemar-p-holm" in names:
        text.append(f"McNemar's exact test{cite('mcnemar1947')} compares the patients that they call rightly.")
    if any(name.endswith("-p-holm") for name in names):
        text.append(f"p values are corrected for the number of comparisons{cite('holm1979')}.")
    if any(name.endswith("-sd") for name in names):
        text.append("Standard deviations are over runs with other seeds.")
    seed = (recipe.get("evaluation") or {}).get("seed")
    return [*text, f"Seed of the evaluation: {seed}."] if seed is not None else text
