"""Probes of a linear model in closed form."""

import torch
from torch import Tensor

import bitproof as bp
from bitproof.analysis.probes import ascend, slopes
from masked_models import images, line


def asked(data: bp.Data) -> tuple[Tensor, Tensor, bp.Rng]:
    return data.images(range(len(data))), torch.from_numpy(data.labels), bp.Rng(0, data.ids)


def test_a_linear_model_keeps_what_its_gradient_promises():
    model = line()
    inputs, labels, rng = asked(images(model))
    found = slopes(model, inputs, labels, eps=0.1, directions=4, rng=rng)
    torch.testing.assert_close(found.kept, found.promised, rtol=1e-4, atol=1e-4)
    expected = 2 * 0.1 * model.weight.abs().sum()  # of two classes the log-odds are the difference of the logits
    torch.testing.assert_close(found.promised, expected.double().expand(60), rtol=1e-4, atol=1e-4)
    assert found.cosine.min() > 0.9999
    assert not found.zero.any() and not found.vanishing.any()


def test_on_a_linear_model_the_ascent_reaches_the_corner_and_breaks_what_is_near():
    model, eps = line(), 0.05
    inputs, labels, rng = asked(images(model))
    path = ascend(model, inputs, labels, eps=eps, steps=20, rng=rng)
    away = torch.where(labels == 1, -1.0, 1.0).view(-1, 1, 1, 1) * model.weight.detach().sign()
    torch.testing.assert_close(path.images, inputs + eps * away, rtol=0, atol=1e-6)
    assert (path.odds.diff(dim=1) > -1e-5).all() and path.odds.shape == (60, 21)
    assert torch.equal(path.broken, model.distance(inputs, "linf") < eps)
