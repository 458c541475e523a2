import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bitproof.core.balls import BALLS, L1Ball, check_eps, project_l1_in_box
from bitproof.core.rng import Rng
from bitproof.errors import InputError

NORMS = list(BALLS)
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


def batch(seed: int, n: int = 8, shape: tuple[int, ...] = (3, 4, 4)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32))


@pytest.mark.parametrize("norm", NORMS)
def test_norm_equals_numpys(norm):
    delta = batch(0)
    expected = [np.linalg.norm(d.ravel(), ORDER[norm]) for d in delta.numpy()]
    np.testing.assert_allclose(BALLS[norm].norm(delta), expected, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), eps=st.floats(0.01, 20))
def test_projection_lands_in_the_ball_and_keeps_what_is_inside(norm, seed, eps):
    ball, delta = BALLS[norm], batch(seed)
    projected = ball.project(delta, eps)
    assert (ball.norm(projected) <= eps * (1 + 1e-5)).all()
    inside = ball.norm(delta) <= eps
    torch.testing.assert_close(projected[inside], delta[inside], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ball.project(projected, eps), projected, rtol=1e-4, atol=1e-5)


def test_l1_projection_by_hand():
    delta = torch.tensor([[3.0, -1.0, 0.5], [0.2, 0.1, 0.0]])
    expected = torch.tensor([[2.0, 0.0, 0.0], [0.2, 0.1, 0.0]])
    torch.testing.assert_close(BALLS["l1"].project(delta, 2.0), expected)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_projection_is_the_nearest_point_of_the_ball(norm):
    delta = batch(3, n=4, shape=(5,))
    ours = BALLS[norm].project(delta, 1.0)
    for row, target in zip(ours, delta.numpy().astype(np.float64), strict=True):
        bound = {"type": "ineq", "fun": lambda d: 1.0 - np.linalg.norm(d, ORDER[norm])}
        found = minimize(lambda d, t=target: ((d - t) ** 2).sum(), np.zeros(5), constraints=[bound], tol=1e-10)
        np.testing.assert_allclose(((row.numpy() - target) ** 2).sum(), found.fun, rtol=1e-3)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", np.inf)])
def test_steepest_step_has_size_one_and_reaches_the_dual_norm(norm, dual):
    gradient = batch(1)
    ball = L1Ball(share=0.0) if norm == "l1" else BALLS[norm]
    step = ball.steepest(gradient)
    torch.testing.assert_close(ball.norm(step), torch.ones(8))
    gain = (step * gradient).flatten(1).sum(1)
    expected = [np.linalg.norm(g.ravel(), dual) for g in gradient.numpy()]
    np.testing.assert_allclose(gain, expected, rtol=1e-5)


def test_the_sparse_l1_step_moves_the_steepest_values_equally():
    gradient = torch.tensor([[0.1, -5.0, 2.0, -0.3, 3.0, 0.0, 0.2, 0.1, 0.1, 0.1]])
    step = L1Ball(share=0.2).steepest(gradient)
    torch.testing.assert_close(step, torch.tensor([[0, -0.5, 0, 0, 0.5, 0, 0, 0, 0, 0]]))


@pytest.mark.parametrize("norm", NORMS)
def test_zero_gradient_gives_a_zero_step(norm):
    assert not BALLS[norm].steepest(torch.zeros(2, 3, 2, 2)).any()


@pytest.mark.parametrize("norm", NORMS)
def test_samples_are_uniform_in_the_ball(norm):
    # For a uniform draw from a ball in d dimensions, (radius / eps)^d is uniform on [0, 1].
    d, rng = 6, Rng(0, np.arange(4000))
    delta = BALLS[norm].sample(rng, (d,), 0.7)
    u = (BALLS[norm].norm(delta) / 0.7).pow(d).numpy()
    assert u.max() <= 1 + 1e-5
    np.testing.assert_allclose(np.quantile(u, [0.1, 0.25, 0.5, 0.75, 0.9]), [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.03)
    np.testing.assert_allclose(delta.mean(0), 0, atol=0.03)


@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_does_not_depend_on_the_batch(norm):
    rng = Rng(0, np.arange(5))
    whole = BALLS[norm].sample(rng, (3, 2), 1.0)
    alone = BALLS[norm].sample(rng.select([3]), (3, 2), 1.0)
    assert torch.equal(whole[3:4], alone)


@pytest.mark.parametrize(
    ("eps", "norm", "dimensions", "words"),
    [
        (8, "linf", np.inf, "8/255 = 0.03137"),
        (-1, "l2", np.inf, "finite number >= 0"),
        (float("nan"), "linf", np.inf, "finite number >= 0"),
        (128, "l2", 3072, "no budget exceeds 55.4256"),
        (4000, "l1", 3072, "no budget exceeds 3072"),
    ],
)
def test_a_budget_on_the_wrong_scale_is_refused(eps, norm, dimensions, words):
    with pytest.raises(InputError, match=words):
        check_eps(eps, norm, dimensions)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), eps=st.floats(0.01, 8))
def test_the_l1_projection_into_the_box_is_the_nearest_point(seed, eps):
    generator = np.random.default_rng(seed)
    clean = generator.random((1, 1, 2, 3)).round(1)
    delta = 2 * generator.normal(size=(1, 1, 2, 3))
    found = project_l1_in_box(torch.from_numpy(delta), torch.from_numpy(clean), eps).numpy().ravel()
    u, low, high = delta.ravel(), -clean.ravel(), 1 - clean.ravel()
    assert (found >= low - 1e-12).all()
    assert (found <= high + 1e-12).all()
    assert np.abs(found).sum() <= eps + 1e-9
    at, above = 0.0, np.abs(u).max()  # independently: bisection for the threshold
    for _ in range(100):
        middle = (at + above) / 2
        size = np.abs(np.clip(np.sign(u) * np.maximum(np.abs(u) - middle, 0), low, high)).sum()
        at, above = (middle, above) if size > eps else (at, middle)
    expected = np.clip(np.sign(u) * np.maximum(np.abs(u) - above, 0), low, high)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    for _ in range(20):  # and no other point of the set is nearer
        other = np.clip(generator.normal(size=6), low, high)
        other *= min(1, eps / np.abs(other).sum())
        assert np.linalg.norm(found - u) <= np.linalg.norm(other - u) + 1e-9
