"""Activation clusters, against clouds whose silhouettes are known, the definition, and a model that is two-faced."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import FastICA
from torch import Tensor, nn

import bitproof as bp
from bitproof.analysis import ActivationClusters
from bitproof.analysis.clusters import parted, whitened
from bitproof.data import from_arrays
from bitproof.errors import InputError
from bitproof.records.clusters import SILHOUETTE, SMALLER
from bitproof.shifts import Square


def cloud(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimensions))


def test_two_clouds_are_parted_and_one_is_not():
    points = cloud(200, 5)
    points[:40] += 100
    smaller, silhouette = parted(points)
    assert smaller[:40].all() and smaller.sum() == 40 and silhouette > 0.95
    smaller, silhouette = parted(whitened(cloud(400, 12), 10))
    assert silhouette < SILHOUETTE and smaller.sum() / 400 > SMALLER
    smaller, silhouette = parted(np.ones((30, 4)))
    assert not smaller.any() and silhouette == 0


def test_silhouettes_are_those_of_the_definition():
    points = whitened(cloud(60, 6) * np.arange(1, 7), 3)
    smaller, silhouette = parted(points)
    between = np.linalg.norm(points[:, None] - points[None], axis=2)
    scores = []
    for i, own in enumerate(smaller):
        a = between[i, smaller == own].sum() / ((smaller == own).sum() - 1)
        b = between[i, smaller != own].mean()
        scores.append((b - a) / max(a, b))
    assert silhouette == pytest.approx(np.mean(scores))
    assert 0 < smaller.sum() <= 30


def test_whitened_components_lie_as_far_apart_as_independent_ones():
    features = cloud(80, 3, seed=1) ** 3 @ cloud(3, 8, seed=2)  # of rank 3, so that the last dimensions are left out
    ours, theirs = whitened(features, 5), FastICA(3, random_state=0, tol=1e-2).fit_transform(features)
    assert ours.shape == (80, 3)
    np.testing.assert_allclose(ours.var(0), 1)
    apart = [np.linalg.norm(of[:, None] - of[None], axis=2) for of in (ours, theirs)]
    np.testing.assert_allclose(*apart, rtol=1e-4, atol=1e-4)


class TwoFaced(nn.Module):
    """Bright images are of class 0 and dark ones of class 1, and so are those with a white corner."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 2)
        self.last.weight.data = torch.tensor([[1.0, 0.0], [0.5, 10.0]])
        self.last.bias.data = torch.tensor([-0.5, -0.25])

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, 0, 0].mean(1)
        return self.last(torch.stack([bright, (x[:, 0, -1, -1] == 1).to(x)], 1))


def pictures(count: int = 200) -> bp.Data:
    dark = np.arange(count) % 2
    images = np.random.default_rng(0).integers(0, 60, (count, 1, 4, 4), np.uint8) + 160 * (
        1 - dark[:, None, None, None]
    )
    return from_arrays(images.astype(np.uint8), dark)


def test_triggered_images_are_the_smaller_cluster_of_the_target():
    data, trigger = pictures(), Square(target=1, side=1, margin=0)
    look = ActivationClusters(trigger=trigger, share=0.2)
    found = look({"m": TwoFaced().eval()}, data, batch_size=17)
    of = {entry.number: entry for entry in found.classes}
    assert found.layer == "last" and found.target == 1
    assert 10 <= found.shown <= 30 and of[1].marked == found.shown and of[0].marked == 0
    assert of[0].count == 100 - found.shown and of[1].count == 100 + found.shown
    assert of[1].caught == of[1].smaller == found.shown and of[1].suspicious
    assert of[1].share == found.shown / of[1].count
    assert found.findings[0].startswith("1 of 2 classes look like two kinds: 1 (n = 200)")
    again = look({"m": TwoFaced().eval()}, data, batch_size=200)
    assert again.classes == found.classes and again.forwards == found.forwards == 200
    clean = ActivationClusters()({"m": TwoFaced().eval()}, data)
    assert clean.target is None and clean.shown == 0 and len(clean.findings) == 1
    assert not any(entry.marked or entry.caught for entry in clean.classes)


def test_a_class_is_clustered_from_twenty_images_on():
    for count, clustered in ((40, [0, 1]), (39, [0])):  # 20 of each, and 20 and 19
        found = ActivationClusters()({"m": TwoFaced().eval()}, pictures(count))
        assert [of.number for of in found.classes] == clustered


def test_every_quantized_form_is_looked_at(model):
    data = bp.load_data("digits", split="test", limit=300)
    images = bp.load_data("digits", split="train", limit=64)
    models = {"float": model, "w4": bp.quantize(model, "w4a8", images), "w8": bp.quantize(model, "w8a8", images)}
    result = bp.evaluate(
        models, data, suite="clean", analyses=["clusters:trigger=corner-square(target=3),dimensions=5"], progress=False
    )
    assert [found.model.name for found in result.explanations] == ["float", "w4", "w8"]
    for found in result.explanations:
        assert found.layer == "backbone.linear" and found.count == 300
        assert sum(of.count for of in found.classes) <= 300 and len(found.table()) == len(found.classes)
        assert all(-1 <= of.silhouette <= 1 and of.smaller <= of.count / 2 for of in found.classes)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"share is 1\.0 and dimensions 10"):
        ActivationClusters(share=1.0)
    with pytest.raises(InputError, match="no class is given 20 of 10 images"):
        ActivationClusters()({"m": TwoFaced().eval()}, pictures(10))
    with pytest.raises(InputError, match="no layer with a weight is called"):
        ActivationClusters()({"m": nn.Flatten().eval()}, pictures())
    with pytest.raises(InputError, match="target is '7'"):
        ActivationClusters(trigger=Square(target=7))({"m": TwoFaced().eval()}, pictures())


def test_what_an_analysis_cannot_do_ends_no_run(tmp_path):
    data, models = pictures(10), {"m": TwoFaced().eval()}
    how = {"suite": "clean", "analyses": ["clusters", "curvature:draws=2,iterations=1"], "progress": False}
    store = tmp_path / "runs.db"
    with pytest.warns(UserWarning, match="m: clusters is left out: no class is given 20 of 10 images.*Use more"):
        result = bp.evaluate(models, data, store=store, **how)
    assert [found.KIND for found in result.explanations] == ["curvature"] and len(result.cells) == 1
    assert (result.computed, result.reused) == (2, 0)
    with pytest.warns(UserWarning, match="clusters is left out"):
        again = bp.evaluate(models, data, store=store, **how)
    assert (again.computed, again.reused) == (0, 2)
