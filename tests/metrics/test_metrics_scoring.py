"""Scores of the label's probability and rank: by hand, against scikit-learn, and as a model's cells hold them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch import nn

import bitproof as bp
from bitproof.metrics import BRIER, LOG_LOSS, TOP5, difference, estimate, summary
from metric_cells import make_cell


def cell_of(probabilities, labels):
    own = np.take_along_axis(probabilities, labels[:, None], 1)
    predictions = probabilities.argmax(1)
    return replace(
        make_cell(predictions == labels),
        labels=labels,
        predictions=predictions,
        losses=-np.log(own[:, 0]).astype(np.float32),
        ranks=(probabilities > own).sum(1).astype(np.int32),
        squares=(probabilities**2).sum(1).astype(np.float32),
    )


def test_by_hand():
    # Of two classes: 0.8 for the label (Brier 2 * 0.2^2), and 0.3 for it (2 * 0.7^2).
    cell = cell_of(np.array([[0.8, 0.2], [0.7, 0.3]]), np.array([0, 1]))
    found = {row["metric"]: row["value"] for row in summary([cell])}
    assert found["brier"] == pytest.approx((0.08 + 0.98) / 2)
    assert found["log-loss"] == pytest.approx(-(np.log(0.8) + np.log(0.3)) / 2)
    assert found["top-5"] == 1


def test_as_scikit_learn_has_them():
    draw = np.random.default_rng(0)
    probabilities, labels = draw.dirichlet(np.ones(8), 300), draw.integers(0, 8, 300)
    cell = cell_of(probabilities, labels)
    expected = {
        LOG_LOSS: log_loss(labels, probabilities, labels=range(8)),
        TOP5: top_k_accuracy_score(labels, probabilities, k=5, labels=range(8)),
        BRIER: ((probabilities - np.eye(8)[labels]) ** 2).sum(1).mean(),
    }
    for metric, value in expected.items():
        found = estimate(metric, [cell])
        assert found is not None and found[0] == pytest.approx(value, rel=1e-5)
        low, high = found[1:]
        assert low is not None and high is not None and low < found[0] < high


def test_intervals_reach_the_truth_as_often_as_they_say():
    draw, held = np.random.default_rng(1), dict.fromkeys((BRIER, LOG_LOSS), 0)
    truth = {BRIER: 2 / 3, LOG_LOSS: 1.0}  # of one of two classes with p uniform in [0, 1]
    for _ in range(200):
        p = draw.random(100)
        cell = cell_of(np.stack([p, 1 - p], 1), np.zeros(100, np.int64))
        for metric in held:
            found = estimate(metric, [cell])
            assert found is not None and found[1] is not None and found[2] is not None
            held[metric] += found[1] <= truth[metric] <= found[2]
    assert all(count >= 180 for count in held.values()), held


def test_a_difference_is_paired():
    draw = np.random.default_rng(2)
    probabilities, labels = draw.dirichlet(np.ones(8), 50), draw.integers(0, 8, 50)
    cell = cell_of(probabilities, labels)
    assert cell.losses is not None
    worse = replace(cell, losses=cell.losses + np.float32(0.5))
    found = difference(LOG_LOSS, [worse], [cell])
    assert found is not None
    (change, low, high), _ = found
    assert change == pytest.approx(0.5, abs=1e-5) and low == pytest.approx(high, abs=1e-4)


def test_cells_hold_what_the_model_says():
    data = bp.load_data("digits", limit=30)
    model = bp.load_model("digits_cnn")
    (cell,) = bp.evaluate(model, data, suite="clean", progress=False).cells
    with torch.no_grad():
        logits = model(data.images(range(30)))
    labels = torch.from_numpy(data.labels)
    own = logits.gather(1, labels[:, None])
    np.testing.assert_allclose(cell.label_probabilities, logits.softmax(1).gather(1, labels[:, None])[:, 0], atol=1e-6)
    assert cell.ranks is not None and cell.squares is not None and cell.losses is not None
    assert cell.ranks.tolist() == (logits > own).sum(1).tolist()
    assert ((cell.ranks == 0) == cell.correct).all()
    np.testing.assert_allclose(cell.squares, logits.softmax(1).square().sum(1), atol=1e-6)


def test_a_sure_and_wrong_model_loses_no_loss():
    class Sure(nn.Module):
        def forward(self, images):
            return 500 * torch.eye(10)[torch.zeros(len(images), dtype=torch.long)]

    (cell,) = bp.evaluate(Sure(), bp.load_data("digits", limit=20), suite="clean", progress=False).cells
    assert cell.losses is not None and cell.losses.max() == 500
