import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from bitproof.attacks.fab import onto_plane
from bitproof.core.balls import BALLS


def cases():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(12, 1, 3, 4, generator=generator).mul(5).round().div(5)  # some values lie on the box
    slopes = torch.randn(12, 1, 3, 4, generator=generator)
    gaps = torch.linspace(-3, 3, 12)
    return points.double(), slopes.double(), gaps.double()


def smallest(point, slope, gap, norm):
    """The size of the smallest step onto the plane within the box, by linear programming (linf, l1) or bisection."""
    d = len(point)
    if norm == "l2":
        low, high = 0.0, 1e4
        for _ in range(200):
            t = (low + high) / 2
            step = np.clip(point - np.sign(gap) * t * slope, 0, 1) - point
            low, high = (t, high) if abs(gap) > abs(slope @ step) else (low, t)
        return np.linalg.norm(step)
    sizes = 1 if norm == "linf" else d
    cost = np.r_[np.zeros(d), np.ones(sizes)]
    spread = np.ones((d, 1)) if norm == "linf" else np.eye(d)
    bounded = np.vstack([np.hstack([np.eye(d), -spread]), np.hstack([-np.eye(d), -spread])])
    bounds = [*zip(-point, 1 - point, strict=True), *[(0, None)] * sizes]
    equal = np.r_[slope, np.zeros(sizes)][None]
    answer = linprog(cost, A_ub=bounded, b_ub=np.zeros(2 * d), A_eq=equal, b_eq=[-gap], bounds=bounds)
    return answer.fun if answer.success else None


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_step_onto_a_plane_is_the_smallest(norm):
    points, slopes, gaps = cases()
    steps = onto_plane(points, slopes, gaps, norm)
    assert ((points + steps >= -1e-12) & (points + steps <= 1 + 1e-12)).all()
    reached = 0
    for i, size in enumerate(BALLS[norm].norm(steps).tolist()):
        flat = [v[i].flatten().numpy() for v in (points, slopes)]
        best = smallest(*flat, gaps[i].item(), norm)
        left = gaps[i] + (slopes[i] * steps[i]).sum()
        if best is None or (norm == "l2" and abs(left) > 1e-6):  # the box is in the way: as far as it goes
            furthest = torch.where(slopes[i] * gaps[i] < 0, 1 - points[i], points[i])
            torch.testing.assert_close(steps[i].abs(), furthest)
        else:
            reached += 1
            assert abs(left) < 1e-6
            assert size == pytest.approx(best, rel=1e-5)
    assert reached >= 8


def test_a_flat_gradient_moves_nothing():
    points = torch.rand(2, 1, 3, 3)
    for norm in ("linf", "l2", "l1"):
        assert (onto_plane(points, torch.zeros_like(points), torch.tensor([1.0, -1.0]), norm) == 0).all()
