import torch

from bitproof.attacks.apgd_rules import Halving, Run, Sparsity
from bitproof.core.balls import BALLS


def test_checkpoints_by_hand():
    assert sorted(Halving(BALLS["linf"], 0.75).checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(Sparsity().checkpoints(50)) == list(range(2, 51, 2))
    assert Sparsity().phases(100) == [(30, 3.0), (30, 2.0), (40, 1.0)]


def climbed(gains):
    """A run of three examples with the given gains, one list a look."""
    clean = torch.zeros(3, 1, 2, 2)
    run = Run.at(clean, clean.clone(), 2.0)
    for look, gain in enumerate(gains):
        run.x = torch.full_like(clean, float(look))
        run.look(torch.tensor(gain, dtype=torch.float64), torch.full_like(clean, 10.0 + look))
        if look == 0:
            run.checked = run.best_gain.clone()
    return run


def test_the_step_is_halved_where_the_gain_stalls():
    # rises 4 of 4; 1 of 4 (fewer than three quarters); 3 of 4 but back below its best
    run = climbed([[0, 0, 0], [1, 5, 9], [2, 4, 6], [3, 3, 7], [4, 2, 8]])
    rule = Halving(BALLS["linf"], 0.75)
    rule.adapt(run, 4)
    assert run.step.tolist() == [2, 1, 2]
    assert run.x[:, 0, 0, 0].tolist() == [4, 1, 4]
    assert run.gradient[:, 0, 0, 0].tolist() == [14, 11, 14]
    for gain in ([5, 6, 8.1], [6, 7, 8.2], [7, 8, 8.3], [8, 9, 8.4]):
        run.look(torch.tensor(gain, dtype=torch.float64), torch.zeros(3, 1, 2, 2))
    rule.adapt(run, 4)
    assert run.step.tolist() == [2, 1, 1]  # the last one rose all the time, but not beyond its best


def test_l1_steps_grow_and_shrink_with_sparsity():
    clean = torch.zeros(2, 1, 10, 10)
    x = clean.clone()
    x[:, 0, :5] = 1.0  # 50 values moved
    run = Run.at(clean, x, 1.0)
    torch.testing.assert_close(run.share, torch.full((2,), 50 / 150))
    run.best = x.clone()
    run.best[0, 0, :2] = 0.0  # the first got sparser
    Sparsity().adapt(run, 1)
    torch.testing.assert_close(run.step, torch.tensor([1.0, 1 / 1.5]))
    torch.testing.assert_close(run.share, torch.tensor([30 / 150, 50 / 150]))
    for _ in range(10):
        Sparsity().adapt(run, 1)
    torch.testing.assert_close(run.step, torch.tensor([0.1, 0.1]))


def test_an_l1_step_moves_the_steepest_values_and_spends_the_radius():
    clean = torch.full((1, 1, 10, 10), 0.5)
    run = Run.at(clean, clean.clone(), 1.0)
    run.share = torch.tensor([0.05])
    run.gradient = torch.arange(100.0).view(1, 1, 10, 10) - 49.5
    delta = Sparsity().advance(run, 1.0, first=True) - clean
    assert (delta != 0).sum() <= 6
    torch.testing.assert_close(delta.abs().sum(), torch.tensor(1.0))
