import numpy as np
import torch

from bitproof.core.rng import Rng
from bitproof.core.ste import stochastic_round_ste

X = torch.tensor([-1.75, -0.5, 0.0, 0.1, 2.0, 3.9])


def test_the_mean_of_many_draws_is_the_value():
    count = 20_000
    y = stochastic_round_ste(X.repeat(count, 1), rng=Rng(seed=0, ids=np.arange(count)))
    np.testing.assert_allclose(y.mean(0), X, atol=4 * 0.5 / count**0.5)
    for value, column in zip(X.tolist(), y.T, strict=True):
        assert set(column.unique().tolist()) == {float(np.floor(value)), float(np.ceil(value))}


def test_a_row_is_rounded_alike_in_every_batch():
    x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(0))
    rng = Rng(seed=1, ids=np.arange(8))
    whole = stochastic_round_ste(x, rng=rng)
    assert torch.equal(stochastic_round_ste(x[[5, 2]], rng=rng.select([5, 2])), whole[[5, 2]])
    assert not torch.equal(stochastic_round_ste(x, rng=rng.fold("another")), whole)


def test_the_gradient_passes_unchanged():
    x = X[None].clone().requires_grad_()
    (stochastic_round_ste(x, rng=Rng(seed=0, ids=np.arange(1))) * torch.arange(6.0)).sum().backward()
    assert x.grad is not None
    assert x.grad[0].tolist() == [0, 1, 2, 3, 4, 5]
