"""Defensive Quantization: the regulariser in closed form, the simplex by brute force, convex sums in training."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.models.convex import ConvexSum, on_simplex
from bitproof.quant.attached import input_quantizer
from bitproof.train import RECIPES, ClippingLevels, Orthogonality, standard
from bitproof.train.penalties.orthogonality import distance

RUN = Rng(0, np.zeros(1, np.int64))
SHAPES = [(4, 7), (7, 4), (5, 5), (4, 3, 3, 3), (12, 1, 3, 3)]


def layer_with(weight):
    kind = nn.Linear(1, 1) if weight.dim() == 2 else nn.Conv2d(1, 1, 1)
    kind.weight = nn.Parameter(weight.clone())
    return kind


@pytest.mark.parametrize("shape", SHAPES)
def test_both_gram_matrices_tell_the_same(shape):
    """||W^T W - I||^2 = ||W W^T - I||^2 + columns - rows, so their gradients are equal."""
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    w = weight.flatten(1)
    rows, columns = w.shape
    inner = (w.T @ w - torch.eye(columns)).square().sum()
    outer = (w @ w.T - torch.eye(rows)).square().sum()
    torch.testing.assert_close(inner, outer + columns - rows)
    torch.testing.assert_close(distance(weight), inner)
    gradients = [torch.autograd.grad(value, weight, retain_graph=True)[0] for value in (inner, outer)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_the_one_in_closed_form(shape):
    """d/dW beta/2 ||W W^T - I||^2 = 2 beta (W W^T - I) W."""
    layer = layer_with(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    w = layer.weight.detach().flatten(1)
    value = Orthogonality(weight=0.3)(layer)
    (7 * value).backward()
    expected = 2 * 0.3 * (w @ w.T - torch.eye(len(w))) @ w
    torch.testing.assert_close(layer.weight.grad, 7 * expected.view(shape), rtol=1e-4, atol=1e-4)
    smaller = min((w @ w.T - torch.eye(len(w))).square().sum(), (w.T @ w - torch.eye(w.shape[1])).square().sum())
    assert value.item() == pytest.approx(0.15 * smaller.item(), rel=1e-5)


def test_orthonormal_rows_cost_nothing_and_known_ones_what_they_must():
    q, _ = torch.linalg.qr(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))
    assert Orthogonality(weight=1.0)(layer_with(q.T)).item() == pytest.approx(0, abs=1e-8)
    doubled = Orthogonality(weight=1.0)(layer_with(2 * q.T))  # W W^T = 4 I: (4 - 1)^2 for each of four rows, halved
    assert doubled.item() == pytest.approx(18, rel=1e-5)


def test_float_weights_of_all_layers_are_regularised():
    model = bp.quantize(bp.load_model("digits_cnn"), bp.Scheme.parse("lsq:w2a32,first=float,last=same"))
    Orthogonality()(model).backward()
    got = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert len(got) == 4 and all(name.endswith(("weight", "weight.original")) for name in got)
    expected = Orthogonality()(bp.load_model("digits_cnn"))
    torch.testing.assert_close(Orthogonality()(model), expected)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_weights_that_are_made_of_others_are_regularised_as_they_are_used(norm):
    torch.manual_seed(0)
    made = getattr(nn.utils.parametrizations, norm)(nn.Linear(5, 3))
    network = nn.Sequential(made, nn.ReLU(), nn.Linear(3, 2)).eval()
    expected = sum(
        distance(layer.weight).item() - max(0, columns - rows)
        for layer, rows, columns in ((network[0], 3, 5), (network[2], 2, 3))
    )
    quantized = bp.quantize(network, bp.Scheme.parse("lsq:w2a32,first=same,last=same"))
    value = Orthogonality(weight=2.0)(quantized)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert all(parameter.grad is not None for name, parameter in quantized.named_parameters() if "original" in name)


def test_penalties_are_set_apart():
    recipe = RECIPES["pact"](orthogonality=1e-3)
    assert recipe.penalties == (ClippingLevels(weight=1e-4), Orthogonality(weight=1e-3))
    assert RECIPES["pact"](orthogonality=1e-3, penalty=0).penalties == (Orthogonality(weight=1e-3),)
    with pytest.raises(InputError, match="weight of orthogonality is -1"):
        Orthogonality(weight=-1)


def test_training_makes_rows_orthonormal():
    data = bp.load_data("digits", split="train", limit=64)
    start = bp.load_model("digits_cnn")
    after = [
        standard(epochs=4, batch_size=16, orthogonality=beta, learning_rate=1e-2)(start, data, rng=RUN)
        for beta in (0.0, 0.1)
    ]
    free, tied = (Orthogonality(weight=1.0)(model).item() for model in after)
    assert tied < 0.7 * free


# ---- convex sums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_projection_on_the_simplex_by_brute_force(count):
    """No point of a fine grid on the simplex is nearer."""
    parts = 40 if count == 3 else 400
    grid = [c for c in itertools.product(range(parts + 1), repeat=count) if sum(c) == parts]
    points = torch.tensor(grid, dtype=torch.float64) / parts
    for values in torch.randn(30, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        found = on_simplex(values)
        assert found.min() >= 0 and found.sum().item() == pytest.approx(1)
        assert (found - values).norm() <= (points - values).norm(dim=1).min() + 1e-12


def test_two_shares_by_hand():
    """a = clip((1 + u1 - u2) / 2, 0, 1)."""
    for u in torch.randn(50, 2, generator=torch.Generator().manual_seed(0)):
        a = ((1 + u[0] - u[1]) / 2).clamp(0, 1)
        torch.testing.assert_close(on_simplex(u), torch.stack([a, 1 - a]))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.total = ConvexSum()
        self.fc = nn.Linear(400, 10)

    def forward(self, x):
        return self.fc(self.total(x, self.conv(x)).flatten(1))


def test_shares_stay_on_the_simplex_and_learn():
    data, shares = bp.load_data("digits", split="train", limit=64), []
    recipe = standard(epochs=3, batch_size=16, optimizer="sgd", learning_rate=0.5, schedule="constant")
    recipe(Residual(), data, rng=RUN, on_epoch=lambda _, model: shares.append(model.total.shares.clone()))
    for share in shares:
        assert share.min() >= 0 and share.sum().item() == pytest.approx(1)
    assert not torch.equal(shares[-1], torch.tensor([0.5, 0.5]))


def test_convex_networks_average_where_others_add():
    plain, convex = bp.load_model("resnet20"), bp.load_model("resnet20_convex")
    sums = [module for module in convex.modules() if isinstance(module, ConvexSum)]
    assert len(sums) == 9 and all(torch.equal(s.shares, torch.tensor([0.5, 0.5])) for s in sums)
    assert {n for n in convex.state_dict() if n not in plain.state_dict()} == {
        n for n in convex.state_dict() if n.endswith("total.shares")
    }
    for module in sums:
        module.shares.data.fill_(1.0)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(convex(images), plain(images))


# ---- lin2019's networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "top"), [("relu6", 6.0), ("relu1", 1.0)])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5])
def test_activations_of_few_bits_by_hand(method, top, bits):
    x = (8 * torch.rand(4001, generator=torch.Generator().manual_seed(0)) - 1).requires_grad_()
    quantizer = bp.quant.METHODS[method]().inputs(bits)
    y = quantizer(x)
    levels = 2**bits - 1
    torch.testing.assert_close(y, (x.clamp(0, top) * levels / top).round() * top / levels)
    assert len(y.unique()) == 2**bits
    y.sum().backward()
    inside = (x > 0) & (x < top)
    assert torch.equal(x.grad[inside], torch.ones(int(inside.sum()))) and not x.grad[(x < 0) | (x > top)].any()


def test_recipes_of_lin2019_are_the_tables():
    vanilla, dq = RECIPES["lin2019-quantized"](), RECIPES["lin2019-dq"]()
    assert vanilla.penalties == () and dq.penalties == (Orthogonality(weight=2e-3),)
    assert vanilla.quantization == dq.quantization
    robust = RECIPES["lin2019-dq"](objective=bp.train.RandomBudget(attack="r+fgsm"))
    assert robust.label.startswith("cross-entropy on r+fgsm linf |N(0, 8/255)|, 200 epochs of sgd, relu6 w32a1")
    model = bp.quantize(bp.load_model("resnet20"), dq.quantization.scheme, torch.rand(8, 3, 32, 32))
    quantizers = [input_quantizer(layer) for _, layer in bp.quant.compute_layers(model)]
    assert quantizers[0] is None and all(q.bits == 1 and q.bound == 6 for q in quantizers[1:])
    assert F.relu6(torch.tensor(7.0)) == quantizers[1](torch.tensor(7.0))
