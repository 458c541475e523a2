import math

import numpy as np
import pytest
import torch

from bitproof.attacks import Square
from bitproof.attacks.square import _bumps, _window
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng


def plain(x):
    """Never fooled; the margin falls with the brightness."""
    return torch.stack([100 - x.flatten(1).mean(1), torch.zeros(len(x))], 1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (1, 5, 9)])
def test_small_and_oblong_images(norm, shape):
    inputs = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    attack = Square(norm=norm, eps=0.1, queries=60)
    adversarial = attack(plain, inputs, torch.zeros(3, dtype=torch.long), rng=Rng(0, np.arange(3)))
    assert torch.isfinite(adversarial).all()
    assert (adversarial.flatten(1).mean(1) > inputs.flatten(1).mean(1)).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_black_and_white_images_can_move(norm):
    inputs = (torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    adversarial = Square(norm=norm, eps=0.3, queries=50)(
        plain, inputs, torch.zeros(4, dtype=torch.long), rng=Rng(0, np.arange(4))
    )
    assert (adversarial != inputs).flatten(1).any(1).all()


def test_the_queries_are_a_budget_and_only_changes_are_asked():
    seen = []

    def watched(x):
        seen.append(x.clone())
        return plain(x)

    counted = Counted(watched)
    inputs = torch.full((1, 1, 6, 6), 0.5)
    adversarial = Square(eps=0.1, queries=400)(
        counted, inputs, torch.zeros(1, dtype=torch.long), rng=Rng(0, np.arange(1))
    )
    assert counted.forwards < 400  # in one channel half of the small squares change nothing
    asked = [x for x in seen[2:]]
    margins = [plain(x)[0, 0].item() for x in asked]
    best = np.minimum.accumulate(margins)
    assert plain(adversarial)[0, 0].item() == best[-1]
    current = asked[0]
    for x, margin in zip(asked[1:], margins[1:], strict=True):
        assert not torch.equal(x, current)
        if margin < plain(current)[0, 0].item():
            current = x


def test_every_example_has_its_own_squares():
    seen = []

    def watched(x):
        seen.append(x.clone())
        return plain(x)

    inputs = torch.full((6, 1, 20, 20), 0.5)
    Square(eps=0.1, queries=12)(watched, inputs, torch.zeros(6, dtype=torch.long), rng=Rng(0, np.arange(6)))
    assert len({tuple(image.flatten().tolist()) for image in seen[-1]}) == len(seen[-1]) > 1


def test_the_schedule_by_hand():
    square = Square(queries=10_000)
    sides = {query: square._side(query, 32, 32) for query in (1, 10, 11, 51, 201, 501, 1001, 2001, 4001)}
    assert sides == {
        q: round(math.sqrt(0.8 / 2**k * 1024)) for q, k in zip(sides, (0, 0, 1, 2, 3, 4, 5, 6, 7), strict=True)
    }
    queries = range(1, 1001)
    rescaled, planned = Square(queries=1000), Square(queries=1000, planned=10_000)
    assert [rescaled._side(q, 32, 32) for q in queries] == [square._side(10 * q, 32, 32) for q in queries]
    assert [planned._side(q, 32, 32) for q in queries] == [square._side(q, 32, 32) for q in queries]
    assert Square(norm="l2")._side(4999, 32, 32) == 3
    assert Square(p_init=1.0)._side(1, 32, 32) == 32


def test_windows_reach_every_corner():
    draws = torch.tensor([[0.0, 0.0], [0.999, 0.999]])
    image = torch.zeros(2, 1, 6, 8)
    image[_window(draws, 1, 6, 8, 3)] = 1
    assert image[0, 0, :3, :3].all()
    assert image[1, 0, 3:, 5:].all()
    assert image.sum() == 18


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_bumps_by_hand(side):
    down, across = _bumps(side, torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(down.norm(), torch.tensor(1.0))
    assert torch.equal(across, down.T)
    if side == 5:  # two rows above three; in each the middle is highest
        assert (down[:2] > 0).all()
        assert (down[2:] < 0).all()
        assert down[2:].abs().argmax() == 7  # second row of three, third of five columns


def test_the_draws_of_an_example_stay_its_own_when_others_leave(monkeypatch):
    monkeypatch.setattr("bitproof.attacks.square.BLOCK", 4)  # numbers are drawn anew after the first has left
    inputs, rng = torch.full((3, 1, 8, 8), 0.5), Rng(0, np.arange(3))
    labels = torch.tensor([1, 0, 0])  # the first one is wrong already
    whole = Square(eps=0.1, queries=20)(plain, inputs, labels, rng=rng)
    alone = Square(eps=0.1, queries=20)(plain, inputs[1:2], labels[1:2], rng=rng.select([1]))
    torch.testing.assert_close(whole[1:2], alone)
