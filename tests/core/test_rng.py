import numpy as np
import pytest
import torch

from bitproof.core.rng import Rng

DRAWS = ["normal", "uniform", "exponential"]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_depends_on_the_example_not_on_its_batch(draw):
    rng = Rng(3, np.arange(10))
    whole = getattr(rng.fold("x"), draw)((2, 3))
    parts = [getattr(rng.select(np.arange(i, min(i + 3, 10))).fold("x"), draw)((2, 3)) for i in range(0, 10, 3)]
    assert torch.equal(whole, torch.cat(parts))
    order = np.random.default_rng(0).permutation(10)
    assert torch.equal(whole[order], getattr(rng.select(order).fold("x"), draw)((2, 3)))


def test_seed_example_and_path_each_change_the_draw():
    base = Rng(0, np.array([5])).fold("a").normal((50,))
    for other in (Rng(1, np.array([5])).fold("a"), Rng(0, np.array([6])).fold("a"), Rng(0, np.array([5])).fold("b")):
        assert abs(np.corrcoef(base[0], other.normal((50,))[0])[0, 1]) < 0.5
    assert torch.equal(base, Rng(0, np.array([5])).fold("a").normal((50,)))


@pytest.mark.parametrize(("draw", "mean", "std"), [("normal", 0, 1), ("uniform", 0.5, 12**-0.5), ("exponential", 1, 1)])
def test_draws_have_their_distribution(draw, mean, std):
    values = getattr(Rng(0, np.arange(200)), draw)((500,))
    assert values.dtype == torch.float32
    assert abs(values.mean().item() - mean) < 0.01
    assert abs(values.std().item() - std) < 0.01


def test_draws_are_the_same_on_every_machine():
    # Golden values: the stream of a key must never change, or stored results lose their meaning.
    values = Rng(7, np.array([42]), ("noise", 1)).normal((3,))
    np.testing.assert_allclose(values[0], GOLDEN, rtol=1e-6)


GOLDEN = [-0.6717827916145325, 0.47433510422706604, -0.11346068978309631]


def test_permutations_hold_every_number_once():
    orders = Rng(0, np.arange(3)).permutation(20)
    assert [sorted(row) for row in orders.tolist()] == [list(range(20))] * 3
    assert orders[0].tolist() != orders[1].tolist()
