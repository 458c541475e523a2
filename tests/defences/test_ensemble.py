"""Ensembles against a table made by hand, and their attack against a polyhedron whose corners are known."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

import bitproof as bp
from bitproof.attacks import PGD, Adaptive
from bitproof.core.rng import Rng
from bitproof.defences import Ensemble
from bitproof.defences.agreement import KAPPA, margins, shortfall, with_refusal
from bitproof.errors import InputError

ANSWERS = {  # of five members to six images, by the first pixel; the label is 0
    0.0: (0, 0, 0, 0, 0),
    0.1: (0, 0, 0, 0, 1),
    0.2: (0, 0, 0, 1, 2),
    0.3: (1, 1, 1, 1, 0),
    0.4: (1, 1, 1, 0, 0),
    0.5: (1, 2, 3, 1, 1),
}


class Table(nn.Module):
    """Gives what the table says of a member, to images nearby too; flat."""

    def __init__(self, member: int, classes: int = 4) -> None:
        super().__init__()
        self.member, self.classes = member, classes

    def forward(self, images: Tensor) -> Tensor:
        rows = [ANSWERS[min(round(image.flatten()[0].item(), 1), 0.5)][self.member] for image in images]
        return 5.0 * nn.functional.one_hot(torch.tensor(rows), self.classes) + 0 * images.flatten(1)[:, :1]


def pictures() -> np.ndarray:
    return np.array(list(ANSWERS), np.float32)[:, None, None, None] * np.ones((6, 1, 2, 2), np.float32)


def members() -> list[nn.Module]:
    return [Table(i).eval() for i in range(5)]


@pytest.mark.parametrize(
    ("agreeing", "answered", "right", "stands"),
    [(3, 6 / 6, 3 / 6, 3 / 6), (4, 3 / 6, 2 / 3, 5 / 6), (5, 1 / 6, 1 / 1, 6 / 6)],
)
def test_rates_and_accuracies_are_those_of_the_table(agreeing, answered, right, stands):
    data = bp.from_arrays(pictures(), np.zeros(6, np.int64), classes=list("abcd"))
    voting = Ensemble(agreeing=agreeing)(*members())
    result = bp.evaluate(voting, data, conditions=["noise:eps=0"], progress=False)
    (row,) = [row for row in bp.metrics.defences(result.cells) if row["condition"] == "clean"]
    assert (row["answered"], row["right"], row["stands"]) == pytest.approx((answered, right, stands))
    cell = result.cells[0]
    assert cell.predictions.tolist() == [0, 0, 0, 1, 1, 1]
    assert cell.values["agreement"].tolist() == [5, 4, 3, 4, 3, 3]
    assert [cell.values[f"vote: float {i + 1}"].tolist() for i in range(5)] == [
        [said[i] for said in ANSWERS.values()] for i in range(5)
    ]
    summary = {(row["metric"], row["condition"]): row["value"] for row in bp.metrics.summary(result.cells)}
    assert summary["answered", ""] == pytest.approx(answered)
    assert summary["d_acc", "noise linf 0/255"] == pytest.approx(stands)


def test_how_many_have_to_agree_is_chosen_on_clean_images():
    images = torch.from_numpy(pictures())  # 6, 3 and 1 of 6 are answered with 3, 4 and 5
    assert [Ensemble(rate=r)(*members(), clean=images).agreeing for r in (0.1, 0.2, 0.5, 0.6, 1.0)] == [5, 4, 4, 3, 3]


def test_no_figure_is_taken_on_what_was_tuned_for_it():
    data = bp.from_arrays(pictures(), np.zeros(6, np.int64), classes=list("abcd"))
    voting = Ensemble()(*members(), clean=data.take(2))
    with pytest.raises(InputError, match="2 of 6 images of .* among those that the threshold of model 'model' was"):
        bp.evaluate(voting, data, suite="clean", progress=False)


def test_the_shortfall_is_nothing_exactly_where_enough_agree():
    logits = (
        torch.randn(5, 400, 3, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1.0, 50, 1e-3, 3, 9])[:, None, None]
    )
    votes = nn.functional.one_hot(logits.argmax(2), 3).sum(0)
    for m in (3, 4, 5):
        below = shortfall(logits, m) < KAPPA
        assert not (below & (votes < m)).any()  # a sure sign, and nearly always given
        assert (below & (votes >= m)).sum() > 0.7 * (votes >= m).sum()
    best = margins(logits)
    assert torch.equal((best > 0).long().argmax(2), logits.argmax(2)) and ((best > 0).sum(2) == 1).all()


def test_no_answer_is_the_largest_column_until_little_enough_is_missing():
    missing = torch.tensor([[0.0, 3.0], [2 * KAPPA, 1.0], [0.5 * KAPPA, 1.0]])
    said = with_refusal(missing)
    assert torch.equal(said, torch.cat([-missing, torch.full((3, 1), -KAPPA)], 1))
    assert said.argmax(1).tolist() == [0, 2, 0]


def can_agree(nets: list[nn.Sequential], image: np.ndarray, label: int, eps: float) -> bool:
    """Whether any image within eps is given one wrong class by all of these linear models: a linear program a class."""
    bounds = np.stack([np.maximum(image - eps, 0), np.minimum(image + eps, 1)], 1)
    weights = [net[1].weight.detach().double().numpy() for net in nets]
    biases = [net[1].bias.detach().double().numpy() for net in nets]
    for target in set(range(len(biases[0]))) - {label}:
        others = [(w, b, j) for w, b in zip(weights, biases, strict=True) for j in range(len(b)) if j != target]
        ahead = np.array([w[j] - w[target] for w, _, j in others])
        room = np.array([b[target] - b[j] - 1e-6 for _, b, j in others])
        if linprog(np.zeros(len(image)), A_ub=ahead, b_ub=room, bounds=bounds).status == 0:
            return True
    return False


def test_the_adaptive_attack_brings_all_members_to_one_wrong_class_wherever_that_is_possible():
    torch.manual_seed(0)
    base, nets = torch.randn(5, 36), []
    for _ in range(5):
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 5)).eval()
        net[1].weight.data = base + 0.5 * torch.randn(5, 36)
        net[1].bias.data = -net[1].weight.data.sum(1) / 2
        nets.append(net)
    images, eps = torch.rand(16, 1, 6, 6), 0.1
    voting = Ensemble(agreeing=5)(*nets)
    labels = voting(images).argmax(1)
    attack, rng = PGD(eps=eps, steps=20), Rng(0, np.arange(16))
    plain, adaptive = (
        voting.examine(a(voting, images, labels, rng=rng)).fooled(labels) for a in (attack, Adaptive(attack=attack))
    )
    possible = [can_agree(nets, x.flatten().double().numpy(), int(y), eps) for x, y in zip(images, labels, strict=True)]
    assert 0.5 < np.mean(possible) < 1 and plain.mean() < 0.6 * np.mean(possible)
    assert adaptive.bool().tolist() == possible


def test_gradients_are_those_of_the_mean_of_the_members():
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval() for _ in range(3)]
    images = torch.rand(2, 1, 2, 2, requires_grad=True)
    voting = Ensemble(agreeing=2)(*nets)
    (found,) = torch.autograd.grad(voting(images)[:, 1].sum(), images)
    spreads = [net(images).detach().std(1, keepdim=True) for net in nets]
    mean = sum(net(images) / spread for net, spread in zip(nets, spreads, strict=True)) / 3
    (expected,) = torch.autograd.grad(mean[:, 1].sum(), images)
    assert torch.allclose(found, expected, atol=1e-6)


def test_answers_are_votes_and_one_more_that_is_split_by_probability():
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval() for _ in range(4)]
    images = torch.rand(64, 1, 2, 2)
    shares = Ensemble(agreeing=3)(*nets)(images).exp()
    assert torch.allclose(shares.sum(1), torch.ones(64), atol=1e-6)  # four votes, and one more that is split
    said = torch.stack([net(images) for net in nets])
    votes = nn.functional.one_hot(said.argmax(2), 3).sum(0)
    assert torch.allclose(5 * shares - votes, said.softmax(2).mean(0), atol=1e-5)


def test_mistakes_are_explained():
    with pytest.raises(InputError, match="models of the classes 4, 5: .*same classes in the same order"):
        Ensemble(agreeing=2)(Table(0), Table(1, classes=5))(torch.zeros(1, 1, 2, 2))
    named = [Table(0), Table(1)]
    for net, names in zip(named, (("a", "b"), ("b", "a")), strict=True):
        net.class_names = names  # pyright: ignore
    with pytest.raises(InputError, match="models of the classes .*same classes in the same order"):
        Ensemble(agreeing=2)(*named)
    for m in (1, 2, 6):
        with pytest.raises(InputError, match=f"{m} of 5 members have to agree: more than half do.*3 to 5"):
            Ensemble(agreeing=m)(*members())
    with pytest.raises(InputError, match="of 1 models: it is made of at least 2 models"):
        Ensemble(agreeing=1)(Table(0))
    with pytest.raises(InputError, match="without clean images"):
        Ensemble()(*members())
