"""Random precision: draws by the image alone, and its attack against the exact expectation."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.attacks import EOT, PGD, Adaptive
from bitproof.core.rng import Rng
from bitproof.defences import RandomPrecision
from bitproof.defences.random_precision import expected
from bitproof.errors import InputError
from closed_form import LinearTwoClass


def members(count: int = 3) -> list[LinearTwoClass]:
    generator = torch.Generator().manual_seed(0)
    return [LinearTwoClass(torch.randn(1, 4, 4, generator=generator), offset=0.3) for _ in range(count)]


def images(count: int = 60) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_each_image_draws_its_own_member_whatever_the_batch():
    drawn, shown = RandomPrecision()(*members()), images(300)
    which = drawn.drawn(shown)
    assert torch.equal(drawn.drawn(shown[7:9]), which[7:9]) and torch.equal(drawn.drawn(shown.flip(0)), which.flip(0))
    assert torch.bincount(which).float().div(300).sub(1 / 3).abs().max() < 0.1
    assert not torch.equal(RandomPrecision(seed=1)(*members()).drawn(shown), which)
    each = torch.stack([net(shown) for net in members()])
    assert torch.equal(drawn(shown), each[which, torch.arange(300)])
    assert torch.equal(drawn.examine(shown).possible, each.argmax(2).T)


def test_the_expectation_is_exact_and_sampling_comes_near_it():
    nets, shown = members(), images(4).requires_grad_()
    exact = expected(RandomPrecision()(*nets), shown)
    mean = sum(net(shown).log_softmax(1) for net in nets) / 3
    assert torch.allclose(exact, mean)
    (gradient,) = torch.autograd.grad(exact[:, 0].sum(), shown)
    parts = [torch.autograd.grad(net(shown).log_softmax(1)[:, 0].sum(), shown)[0] for net in nets]
    assert torch.allclose(gradient, sum(parts) / 3, atol=1e-6)
    torch.manual_seed(0)
    sampled = torch.stack([nets[int(torch.randint(3, ()))](shown).log_softmax(1) for _ in range(3000)]).mean(0)
    assert torch.allclose(sampled, exact, atol=0.1)


def test_the_adaptive_attack_is_that_on_the_expectation():
    """Members that agree in the sign of every weight are fooled together, by the same corner of the ball."""
    generator = torch.Generator().manual_seed(0)
    nets = [LinearTwoClass(torch.rand(1, 4, 4, generator=generator) + 0.1, offset=0.0) for _ in range(3)]
    drawn, shown = RandomPrecision()(*nets), images(10) * 0.1 + 0.5
    labels = torch.ones(10, dtype=torch.long)
    far = max(float(net.distance(shown, "linf").max()) for net in nets)
    attack, rng = PGD(eps=1.02 * far, steps=10), Rng(0, np.arange(10))
    fooled = drawn.examine(Adaptive(attack=attack)(drawn, shown, labels, rng=rng)).fooled(labels)
    assert (fooled == 1).all()
    nearly = PGD(eps=0.98 * min(float(net.distance(shown, "linf").min()) for net in nets), steps=10)
    assert (drawn.examine(Adaptive(attack=nearly)(drawn, shown, labels, rng=rng)).fooled(labels) == 0).all()


def test_expected_worst_and_best_follow_from_what_each_would_answer():
    shown = images(40).numpy()
    nets = members()
    right = np.stack([net(torch.from_numpy(shown)).argmax(1).numpy() for net in nets]) == 1
    data = bp.from_arrays(shown, np.ones(40, np.int64), classes=["a", "b"])
    result = bp.evaluate(RandomPrecision()(*nets), data, conditions=["pgd:eps=0.01,steps=2"], progress=False)
    row, attacked, adaptive = bp.metrics.defences(result.cells)
    assert row["expected"] == pytest.approx(right.mean())
    assert (row["worst"], row["best"]) == pytest.approx((right.all(0).mean(), right.any(0).mean()))
    assert attacked["stands"] == pytest.approx(attacked["expected"])
    assert adaptive["expected"] <= attacked["expected"] <= row["expected"]
    summary = {(r["metric"], r["condition"]): r["value"] for r in bp.metrics.summary(result.cells)}
    assert summary["expected", attacked["condition"]] == pytest.approx(attacked["expected"])
    assert summary["worst-draw", attacked["condition"]] == pytest.approx(attacked["worst"])


def test_eot_follows_a_model_that_draws_anew_each_time():
    """What `RandomPrecision` would be without its key: sampling finds the corner that the expectation points to."""
    generator = torch.Generator().manual_seed(0)
    nets = [LinearTwoClass(torch.rand(1, 4, 4, generator=generator) + 0.1, offset=0.0) for _ in range(3)]
    shown, draws = images(6) * 0.1 + 0.5, np.random.default_rng(0)

    def anew(x: Tensor) -> Tensor:
        return nets[draws.integers(3)](x)

    attack = EOT(attack=PGD(eps=0.05, steps=5, stop_at_hit=False), draws=8)
    found = attack(anew, shown, torch.ones(6, dtype=torch.long), rng=Rng(0, np.arange(6)))
    assert torch.allclose(found, shown - 0.05, atol=1e-6)


def test_mistakes_are_explained():
    with pytest.raises(InputError, match="random-precision of 1 models: it is made of at least 2"):
        RandomPrecision()(nn.Identity())
