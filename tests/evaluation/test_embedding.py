"""The embedding family: silhouettes beside their floor, one map for all cohorts, neighbours that are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthoma.evaluation.embedding import evaluate_embedding
from synthoma.evaluation.features import Features
from synthoma.evaluation.options import EmbeddingOptions, EvaluationOptions

OPTIONS = EvaluationOptions(embedding=EmbeddingOptions(images=12, perplexity=5))


class Blocks(Features):
    """Stands in for the network: means of 6 × 6 blocks of each image."""

    description = "blocks"

    def __call__(self, images):
        n, c, h, w = images.shape
        blocks = np.asarray(images, dtype=np.float64).reshape(n, c, h // 8, 8, w // 8, 8).mean(axis=(3, 5))
        return blocks.reshape(n, c, -1)


def same(image, row):
    del row
    return image


def inverted(image, row):
    del row
    return np.clip(0.5 - image, -1, 1)


def upside_down(image, row):
    del row
    return image[::-1]


def test_copies_lie_among_the_real_images_and_others_apart(real, synthesise):
    copies = synthesise(same)
    other = synthesise(inverted)
    for cohort, least, most in ((copies, -1.0, 0.02), (other, 0.3, 1.0)):
        found = evaluate_embedding(real, {"reconstruct": cohort}, OPTIONS, Blocks())
        measured = found.find("silhouette-origin", arm="synthetic")
        assert least <= measured.value <= most
        assert measured.low < measured.value < measured.high
        floor = found.find("silhouette-origin", arm="real vs real")
        assert floor.compared == "floor of synthetic"
        assert abs(floor.value) < 0.1
        assert (measured.n_images, measured.n_patients, measured.region) == (16, 4, "frame")
        assert "jackknife" in measured.method
        assert "blocks" in measured.method


def test_silhouette_of_labels_stands_beside_that_of_real_images(real, synthesise):
    lost = synthesise(lambda image, row: np.where(real.lesion(row), -0.2, image))
    found = evaluate_embedding(real, {"reconstruct": lost}, OPTIONS, Blocks())
    values = {arm: found.find("silhouette-label", arm=arm).value for arm in ("real", "synthetic")}
    assert values["synthetic"] < values["real"]
    assert "labels tumour, tumour-free" in found.find("silhouette-label", arm="real").compared


def test_one_map_holds_all_sets_of_the_same_channels(real, synthesise):
    cohorts = {
        "reconstruct": synthesise(same),
        "sample": synthesise(same, split="train", paired=False),
    }
    found = evaluate_embedding(real, cohorts, OPTIONS, Blocks())
    (plane,) = found.curves["embedding"].values()
    assert list(plane["sets"]) == ["real train", "real held-out", "synthetic", "sample"]
    for one in plane["sets"].values():
        assert len(one["tsne"]) == len(one["pca"]) == len(one["label"]) == 12
        assert np.isfinite([one["tsne"], one["pca"]]).all()
    assert (plane["seed"], plane["perplexity"]) == (0, 5)
    assert found.curves == evaluate_embedding(real, cohorts, OPTIONS, Blocks()).curves


def test_a_replayed_training_image_is_found(real, synthesise):
    copied = synthesise(same, split="train", paired=False)
    alone = replace(copied, table=copied.table | {"made_from": np.full(len(copied), "")}, conditions=())
    shown = evaluate_embedding(real, {"sample": alone}, OPTIONS, Blocks()).curves["neighbours"]["sample"]["shown"]
    assert len(shown) == 6
    for one in shown:
        assert one["train_distance"] == 0
        assert one["synthetic"] == f"{one['train']}/s"
        assert one["held_out_distance"] > 0
    # what an image was made from is no neighbour of it
    shown = evaluate_embedding(real, {"sample": copied}, OPTIONS, Blocks()).curves["neighbours"]["sample"]["shown"]
    assert all(one["train_distance"] > 0 and one["synthetic"] != f"{one['train']}/s" for one in shown)


def test_the_nearest_is_the_nearest(real, synthesise):
    made = synthesise(upside_down, split="test")
    shown = evaluate_embedding(real, {"reconstruct": made}, OPTIONS, Blocks()).curves["neighbours"]["synthetic"][
        "shown"
    ]
    ids = real.table["id"].tolist()
    train = Blocks()(real.images[real.rows(split="train")][:, 1:]).reshape(24, -1)
    for one in shown:
        vector = Blocks()(made.images[[one["row"]]]).reshape(-1)
        away = np.linalg.norm(train - vector, axis=1)
        assert one["train_distance"] == pytest.approx(away.min(), abs=1e-4)
        assert one["train"] == ids[real.rows(split="train")[away.argmin()]]


def test_few_images_and_volumes_are_said_and_not_measured(real, synthesise):
    few = synthesise(same).select(np.arange(3))
    found = evaluate_embedding(real, {"reconstruct": few}, OPTIONS, Blocks())
    assert not found.measurements
    assert any("no silhouette measured" in text for text in found.warnings)
    volume = replace(real, images=real.images[:, :, None], masks=real.masks[:, :, None])
    found = evaluate_embedding(volume, {"reconstruct": few}, OPTIONS, Blocks())
    assert found.warnings == ("embedding: features exist for 2D images only.",)
