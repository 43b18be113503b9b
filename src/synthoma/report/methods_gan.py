"""Sentences on the generative models: networks, losses, optimisers, how long, which weights drew, what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthoma.records import Cohort
from synthoma.report.content import LogLine, ReportContent
from synthoma.report.naming import variants_of
from synthoma.report.references import cite, without_marks
from synthoma.report.shown import label

__all__ = ["generated", "trained"]

Settings = Mapping[str, Any]

ADVERSARIAL = {
    "bce": f"binary cross-entropy{cite('goodfellow2014gan')}",
    "lsgan": f"least squares{cite('mao2017lsgan')}",
}
"""What is not here is named as in the recipe."""
AUGMENTED = {
    "flip_left_right": "mirrored left to right", "flip_up_down": "mirrored upside down",
    "rotate_deg": "turned by up to {:g}°", "scale": "scaled by up to 1 ± {:g}", "shift": "shifted by up to {:g} of "
                                                                                         "the frame",
    "gamma": "gamma up to 1 ± {:g}", "contrast": "contrast up to 1 ± {:g}", "brightness": "brightness up to ± {:g}",
}  # fmt: skip
WAYS = {
    "reconstruct": "the image for the conditions of real held-out samples",
    "translate": "held-out samples of the source domain, translated",
    "back": "held-out samples of the target domain, translated the other way",
    "cycle": "held-out samples, translated there and back",
    "redraw": "training samples, drawn again",
    "transplant": "the lesion of one training patient in a tumour-free slice of another",
    "remove": "tumour slices of training patients with an empty lesion mask",
    "sample": "images from noise for requested labels",
}


def trained(content: ReportContent, recipe: Settings) -> list[str]:
    """The recipe's GAN and its rivals; only those of which a synthetic cohort has the lineage."""
    if not recipe.get("gan") or not _was_trained(content.synthetic.values()):
        return []
    text = _told(recipe, content, content.log, [name for name in content.checksums if "variants/" not in name])
    for name, own in variants_of(content).items():
        if any(arm == name or arm.startswith(f"{name}-") for arm in content.synthetic):
            text.append(f"For comparison, {without_marks(name)} was trained on the same patients.")
            weights = [place for place in content.checksums if f"variants/{name}/" in place]
            text += _told(own, content, content.variants.get(name, ()), weights)
    return text


def _told(recipe: Settings, content: ReportContent, log: Sequence[LogLine], weights: Sequence[str]) -> list[str]:
    """In sentences where every setting is known; a recipe by hand may leave some out: then as it stands."""
    gan, training = recipe.get("gan") or {}, recipe.get("training") or {}
    try:
        chosen = any(entry.get("best") for entry in log) or any(name.endswith("/best.safetensors") for name in weights)
        return [*_gan(gan, content.real), *_training(training, gan, log, chosen=chosen)]
    except KeyError:
        return [f"Settings of the generative model: {_flat(gan)}.", f"Settings of its training: {_flat(training)}."]


def generated(content: ReportContent, recipe: Settings) -> list[str]:
    """Every synthetic cohort, what it was made from and how many images it has."""
    block = recipe.get("generation") or {}
    text = []
    for name, cohort in content.synthetic.items():
        way = next((way for way in WAYS if name == way or name.endswith(f"-{way}")), "")
        what = f": {WAYS[way]}" if way else ""
        made = ", ".join(label(channel) for channel in cohort.channels)
        text.append(f"Cohort {without_marks(name)}{what} ({len(cohort):,} images of {made}).")
    if "transplant" in content.synthetic and block:
        low, high = block["scale"]
        text.append(
            f"Transplanted lesions were turned by up to {block['rotate_deg']:g}° and scaled by {low:g} to {high:g}, "
            f"with at "
            f"least {100 * block['inside']:g} % inside the body."
        )
    if text and "seed" in block:
        text.append(f"Seed of generation: {block['seed']}{_folded(content)}.")
    return text


def _gan(gan: Settings, real: Cohort) -> list[str]:
    method = gan.get("method")
    if method == "conditional":
        return _conditional(gan)
    if method == "cycle":
        return _cycle(gan)
    return _wasserstein(gan, real) if method == "wasserstein" else []


def _conditional(gan: Settings) -> list[str]:
    adversarial = float(gan.get("adversarial_weight", 1)) > 0
    kind = "A conditional GAN" if adversarial else "A U-Net without a discriminator"
    text = [
        f"{kind} after pix2pix{cite('isola2017pix2pix')} made {_named(gan['target'])} from {_named(gan['condition'])}.",
        f"The generator was a U-Net{cite('ronneberger2015unet')} ({gan['width']} features at its first level, "
        f"{_norm(gan['norm'])}, dropout {gan['dropout']:g}, upsampling by {_upsampling(gan)})"
        + (
            ", predicting on top of a per-pixel least-squares fit of the training patients"
            if gan.get("base") == "linear"
            else ""
        )
        + ".",
    ]
    parts = []
    if adversarial:
        text.append(f"The discriminator was a PatchGAN ({gan['discriminator_width']} features at its first layer, "
                    f"{_norm(gan.get('discriminator_norm') or gan['norm'])}).")  # fmt: skip
        parts.append(f"{gan['adversarial_weight']:g} × adversarial loss ({_loss(gan)})")
    parts.append(f"{gan['l1_weight']:g} × L1 loss")
    perceptual = gan.get("perceptual") or {}
    if perceptual.get("network", "none") != "none" and perceptual.get("weight"):
        work = {"vgg19": "simonyan2015vgg", "efficientnet-lite0": "tan2019efficientnet"}[perceptual["network"]]
        parts.append(f"{perceptual['weight']:g} × perceptual loss{cite('johnson2016perceptual')} by "
                     f"{perceptual['network']}{cite(work)}")  # fmt: skip
    text.append(f"The generator's loss was {' + '.join(parts)}"
                + (f", pixels of the body weighing {gan['body_weight']:g} times those of the background in the L1 loss"
                   if gan.get("body_weight", 1) > 1 else "") + ".")  # fmt: skip
    return [*text, *_penalty(gan), _adam(gan, "both networks" if adversarial else "the network")]


def _cycle(gan: Settings) -> list[str]:
    source, target = _domain(gan["source"]), _domain(gan["target"])
    share = gan.get("cycle_ssim") or 0
    mixed = f" ({100 * (1 - share):g} % L1, {100 * share:g} % one minus SSIM{cite('zhao2017loss')})"
    text = [
        f"A CycleGAN{cite('zhu2017cyclegan')} translated {source} to {target} and back, without pairs"
        + (", the two domains from different "
           "patients." if gan.get("disjoint_patients") and _channels_differ(gan) else "."),
        f"The generators had {gan['blocks']} residual blocks and {gan['width']} features at their first layer ("
        f"{_norm(gan['norm'])}, upsampling by {_upsampling(gan)})"
        + (", predicting a change of their input" if gan.get("base") == "input" else "")
        + f"; the discriminators were PatchGANs of {gan['discriminator_layers']} layers and "
          f"{gan['discriminator_width']} "
        "features.",
        f"The loss was {gan['adversarial_weight']:g} × adversarial ({_loss(gan)}) + {gan['cycle_weight']:g} × cycle "
        + (f"loss{mixed}" if share else "L1")
        + (f" + {gan['cycle_weight'] * gan['identity_weight']:g} × identity L1" if gan["identity_weight"] else "")
        + (f" + {gan['structure_weight']:g} × structure loss "
           f"({gan['structure']})" if gan.get("structure", "none") != "none" else "")
        + f"; discriminators were shown a pool of {gan['pool_size']} earlier images.",
        *([f"Real images of the other domain were {100 * gan['negatives']:g} % of what the discriminators learned to "
           f"refuse{cite('reed2016text')}."] if gan.get("negatives") else []),
    ]  # fmt: skip
    if gan.get("structure") == "mind":
        text = [part.replace("(mind)", f"(MIND{cite('heinrich2012mind')})") for part in text]
    return [*text, *_penalty(gan), _adam(gan, "all networks")]


def _wasserstein(gan: Settings, real: Cohort) -> list[str]:
    target = _named(gan.get("target") or real.channels)
    optimiser = (
        f"RMSProp{cite('tieleman2012rmsprop')}, learning rate {gan['learning_rate']:g}"
        if gan.get("optimiser") == "rmsprop"
        else f"Adam{cite('kingma2015adam')} (β₁ {gan['beta1']:g}, β₂ {gan['beta2']:g}), learning rate "
        f"{gan['learning_rate']:g}"
    )
    every = gan.get("penalty_every", 1)
    some = f" on one image in {every}" if every > 1 else ""
    drift = f", drift penalty {gan['drift']:g}{cite('karras2018progressive')}" if gan.get("drift") else ""
    return [
        f"A class-conditional WGAN-GP{cite('gulrajani2017wgangp')} made {target} from {gan['latent']} random numbers "
        f"and a "
        "label.",
        f"The generator had {gan['layers']} convolutional layers ({gan['width']} features before the last, "
        f"{_norm(gan['norm'])}, upsampling by {_upsampling(gan)}), the critic {gan['critic_layers']} halving layers "
        f"({gan['critic_width']} features, {_norm(gan['critic_norm'])}).",
        f"Gradient penalty {gan['gradient_penalty']:g}{some}{drift}; {gan['n_critic']} critic steps for one of the "
        f"generator; "
        f"{optimiser}.",
        *_augmented(gan),
    ]


def _training(training: Settings, gan: Settings, log: Sequence[LogLine], *, chosen: bool) -> list[str]:
    if not training:
        return []
    steps = [entry["step"] for entry in log if entry.get("kind") == "train" and "step" in entry]
    epochs = max((entry.get("epoch", 0) for entry in log if entry.get("kind") == "train"), default=0)
    long = f"{epochs} epochs ({max(steps):,} steps)" if steps else f"{training['epochs']} epochs"
    decay = training.get("decay_from", 1)
    text = [f"Training took {long} of batches of {training['batch_size']} (seed {training['seed']}"
            f"{', another one in every fold' if not log else ''}; precision {training['precision']})"
            + (f"; the learning rate fell linearly to 0 after {100 * decay:g} % of the "
               f"steps" if decay < 1 else "") + "."]  # fmt: skip
    if training.get("average_decay"):
        text.append(
            f"A running average of the generator's weights (decay {training['average_decay']:g}) drew the images."
        )
    augment = {name: value for name, value in (training.get("augment") or {}).items() if value}
    if augment:
        listed = ", ".join(AUGMENTED.get(name, name).format(value) for name, value in augment.items())
        text.append(f"Training samples were changed at random: {listed}.")
    if gan.get("method") == "conditional" and chosen:
        measure = {"ssim": "SSIM", "psnr_db": "PSNR"}[training.get("best_by", "ssim")]
        text.append(f"{measure} over the body of validation patients, looked at every {training['validate_every']} "
                    f"epochs, "
                    "chose the weights.")  # fmt: skip
    return text


def _flat(changes: Settings) -> str:
    parts = []
    for key, value in changes.items():
        inner = [f"{key}.{k} {v}" for k, v in value.items()] if isinstance(value, Mapping) else [f"{key} {value}"]
        parts += inner
    return without_marks(", ".join(parts))


def _penalty(gan: Settings) -> list[str]:
    weight = gan.get("gradient_penalty")
    text = [f"Gradient penalty on the discriminator: {weight:g}{cite('gulrajani2017wgangp')}."] if weight else []
    return [*text, *_augmented(gan)]


def _augmented(gan: Settings) -> list[str]:
    changes = gan.get("differentiable_augmentation") or ()
    return (
        [
            f"What the discriminator saw was augmented differentiably{cite('zhao2020diffaugment')} "
            f"({', '.join(changes)})."
        ]
        if changes
        else []
    )


def _adam(gan: Settings, whom: str) -> str:
    name = f"AdamW{cite('loshchilov2019adamw')}" if gan.get("weight_decay") else f"Adam{cite('kingma2015adam')}"
    decay = f", weight decay {gan['weight_decay']:g} of the generator" if gan.get("weight_decay") else ""
    rates = f"learning rate {gan['learning_rate']:g}, β₁ {gan['beta1']:g}, β₂ {gan['beta2']:g}"
    return f"{name} optimised {whom} ({rates}{decay})."


def _loss(gan: Settings) -> str:
    return ADVERSARIAL.get(gan["adversarial"], str(gan["adversarial"]))


def _norm(kind: str) -> str:
    return "no normalisation" if kind == "none" else f"{kind} normalisation"


def _upsampling(gan: Settings) -> str:
    return "resizing and convolution" if gan.get("upsample") == "resize" else "transposed convolution"


def _named(channels: Sequence[str]) -> str:
    return " and ".join("the lesion mask" if name == "mask" else label(name) for name in channels)


def _domain(domain: Settings) -> str:
    parts = [
        _named(domain.get("channels") or ()),
        *(str(domain.get(name) or "") for name in ("modality", "label", "site")),
    ]
    return without_marks(" ".join(part for part in parts if part)) or "all images"


def _channels_differ(gan: Settings) -> bool:
    return bool(gan["source"].get("channels") != gan["target"].get("channels"))


def _was_trained(cohorts: Any) -> bool:
    return any(one.step == "train" for cohort in cohorts for one in cohort.lineages.values())


def _folded(content: ReportContent) -> str:
    return ", another one in every fold" if content.curves.get("protocol") else ""
