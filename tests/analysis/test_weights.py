"""Lipschitz estimates, curvature and sharpness: dense matrices, quadratics and linear models say what they are."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.analysis import AlongError, ErrorAmplification, LipschitzEstimate, LossCurvature, sharpness_along
from bitproof.analysis.curvature import largest_eigenvalue, quadratic_forms, signs
from bitproof.analysis.forms import forms
from bitproof.analysis.lipschitz import layer_norms, operator_norm
from bitproof.analysis.sharpness import _direction, weight_errors
from bitproof.data import from_arrays
from bitproof.errors import InputError
from bitproof.models.normalize import Normalize

KEY = bp.Rng(0, np.arange(1))
IMAGE = torch.rand(1, 2, 6, 6)


def pictures(count: int, shape: tuple[int, ...] = (2, 6, 6), classes: int = 3) -> bp.Data:
    generator = np.random.default_rng(0)
    return from_arrays(generator.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % classes)


# ---- Lipschitz


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 4, 3, stride=2),
        nn.Conv2d(2, 4, 3, groups=2, dilation=2, padding=2),
        nn.Conv2d(2, 2, 3, padding="same", padding_mode="circular"),
        nn.Linear(6, 4),
    ],
    ids=["padded", "strided", "grouped", "circular", "linear on the last axis"],
)
def test_the_norm_of_a_layer_is_that_of_its_dense_matrix(layer):
    found = operator_norm(layer, (1, 2, 6, 6), iterations=400, rng=KEY)
    basis = torch.eye(72).view(72, 2, 6, 6)
    with torch.no_grad():
        dense = (layer(basis) - layer(torch.zeros_like(basis))).flatten(1)
    assert found == pytest.approx(float(torch.linalg.matrix_norm(dense.double(), 2)), rel=1e-4)
    assert layer.weight.dtype == torch.float32 and layer.bias is not None


class Residual(nn.Module):
    """x + F(x), where F is a layer of a known norm."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layer(x))


def scaled(size: float) -> nn.Conv2d:
    """A convolution of norm `size`."""
    layer = nn.Conv2d(2, 2, 1, bias=False)
    layer.weight.data.copy_(size * torch.eye(2).view(2, 2, 1, 1))
    return layer


def test_norms_multiply_along_paths_and_add_where_they_meet():
    norm = nn.BatchNorm2d(2)
    norm.running_var.fill_(4.0 - norm.eps)
    norm.weight.data.copy_(torch.tensor([6.0, -1.0]))  # a gain of 3
    head = nn.Linear(2, 3, bias=False)
    head.weight.data.copy_(5 * torch.eye(3, 2))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normalize, self.stem, self.norm = Normalize((0.5, 0.5), (0.25, 0.5)), scaled(2.0), norm
            self.block, self.head = Residual(scaled(0.5)), head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(self.norm(self.stem(self.normalize(x)))).mean((2, 3)))

    layers, bound, unknown = layer_norms(bp.freeze(Net().eval()), IMAGE, iterations=100, rng=KEY)
    assert [layer.name for layer in layers] == ["stem", "block.layer", "head"] and unknown == ()
    assert [layer.operator for layer in layers] == pytest.approx([2, 0.5, 5])
    assert [layer.folded for layer in layers] == pytest.approx([6, 0.5, 5], rel=1e-4)
    assert bound == pytest.approx(4 * 6 * 1.5 * 5, rel=1e-4)


def test_what_is_not_known_to_be_harmless_leaves_no_bound():
    model = nn.Sequential(scaled(1.0), nn.Softmax(1), nn.Flatten()).eval()
    layers, bound, unknown = layer_norms(bp.freeze(model), IMAGE, iterations=5, rng=KEY)
    assert len(layers) == 1 and bound is None and unknown == ("softmax",)
    shared = scaled(1.0)
    _, bound, unknown = layer_norms(nn.Sequential(shared, shared, nn.Flatten()).eval(), IMAGE, iterations=5, rng=KEY)
    assert bound is None and unknown == ("0 called again",)


def test_what_is_seen_is_below_what_is_bounded(models, data):
    found = LipschitzEstimate(iterations=20)({"q": models["w4a4"]}, data, rng=bp.Rng(0, data.ids))
    assert found.bound is not None and 0 < found.local <= found.largest <= 2**0.5 * found.bound
    assert [layer.name for layer in found.layers] == [
        f"backbone.{n}" for n in ("features.0.0", "features.1.0", "features.2.0", "linear")
    ]
    for layer in found.layers[:3]:
        assert layer.matrix <= 1.001 * layer.operator <= 3.01 * layer.matrix  # a kernel of 3 x 3
    assert "predicts nothing" in found.findings[0]


# ---- curvature


def test_the_trace_of_a_diagonal_is_exact_with_every_draw():
    diagonal = torch.tensor([3.0, -1.0, 0.5])
    parameters = {"w": torch.randn(3, requires_grad=True), "v": torch.randn(2, requires_grad=True)}

    def loss(part: int) -> Tensor:
        return (part + 1) * 0.5 * (diagonal * parameters["w"] ** 2).sum() + parameters["v"].sum()

    found = quadratic_forms(loss, 2, parameters, signs(parameters, 4, KEY))
    np.testing.assert_allclose(found[..., 0], [[2.5] * 4, [5.0] * 4])
    assert not found[..., 1].any()  # linear in these


def test_the_largest_eigenvalue_of_a_quadratic():
    root = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    for sign in (1, -1):
        matrix = sign * root @ root.T
        parameters = {"w": torch.randn(5, requires_grad=True)}
        value, parts, steps, stands = largest_eigenvalue(
            lambda part: 0.5 * parameters["w"] @ matrix @ parameters["w"],  # noqa: B023
            np.array([0.25, 0.75]),
            parameters,
            iterations=500,
            rng=KEY,
        )
        exact = torch.linalg.eigvalsh(matrix)
        assert value == pytest.approx(float(exact[exact.abs().argmax()]), rel=2e-2)
        assert stands and 1 < steps < 500 and parts == pytest.approx([value, value])


def test_parts_count_by_their_weights_and_each_is_measured_at_the_vector_of_all():
    matrices, weights = torch.diag_embed(torch.tensor([[1.0, 9.0, 0.0], [5.0, 1.0, 0.0]])), np.array([0.25, 0.75])
    parameters = {"w": torch.randn(3, requires_grad=True)}
    value, parts, _, stands = largest_eigenvalue(
        lambda part: 0.5 * parameters["w"] @ matrices[part] @ parameters["w"],
        weights,
        parameters,
        iterations=500,
        rng=KEY,
    )
    assert stands and value == pytest.approx(0.25 * 1 + 0.75 * 5, rel=1e-2)  # without weights it is the second axis
    assert parts == pytest.approx([1, 5], rel=0.2)


def test_the_hessian_of_a_linear_model_is_known():
    """Of softmax regression: H = mean of (diag(p) - p p') x z z', with z the image and a 1 for the bias."""
    data = pictures(70)
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 3)).eval()
    model[1].weight.data.mul_(3)
    found = LossCurvature(draws=200, iterations=200)({"m": model}, data, rng=bp.Rng(0, data.ids), batch_size=50)
    images = data.images(range(70)).flatten(1).double()
    z, p = torch.cat([images, torch.ones(70, 1)], 1), model.double()(images).softmax(1).detach()
    outer = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    hessian = torch.einsum("nab,ni,nj->aibj", outer, z, z).reshape(219, 219) / 70
    assert abs(found.trace - float(hessian.trace())) < 4 * found.trace_error < 0.5 * found.trace
    assert found.top == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=2e-2) and found.converged
    ((name, parameters, trace, error),) = [vars(layer).values() for layer in found.layers]
    assert (name, parameters, trace) == ("1", 219, pytest.approx(found.trace)) and error == found.trace_error
    assert found.loss == pytest.approx(float(F.cross_entropy(model(images).detach(), torch.from_numpy(data.labels))))
    assert 0 < found.top_error < found.top and found.count == 70
    of_images = (torch.diagonal(outer, dim1=1, dim2=2).sum(1) * z.square().sum(1)).numpy()
    of_parts = np.array([of_images[i : i + 9].mean() for i in range(0, 70, 9)])
    assert found.trace_image_error == pytest.approx(of_parts.std(ddof=1) / 8**0.5, rel=0.3)
    assert found.backwards == 70 * (1 + 400 + 3 * found.steps)


def test_few_images_have_errors_and_one_says_that_its_error_is_unknown():
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 3)).eval()
    look = LossCurvature(draws=4, iterations=5)
    few, one = (look({"m": model}, d, rng=bp.Rng(0, d.ids), batch_size=50) for d in (pictures(5), pictures(1)))
    assert 0 < few.trace_image_error < few.trace and 0 < few.top_error < np.inf
    assert "unknown over images" in one.findings[0] and "inf" not in one.findings[0] + few.findings[0]


# ---- sharpness


def test_sharpness_is_the_loss_along_the_error_and_random_errors_are_as_long(model, data):
    quantized = bp.quantize(model, "w3a32")
    found = AlongError(draws=3, scale=0.5)({"q": quantized}, data, rng=bp.Rng(0, data.ids), batch_size=17)
    rounded, loose = forms(quantized)
    errors = weight_errors(loose, rounded)
    images, labels = data.images(range(len(data))), torch.from_numpy(data.labels)

    def loss(moves: dict[str, Tensor]) -> float:
        moved = bp.freeze(loose)
        for name, move in moves.items():
            moved.get_submodule(name).weight.add_(move)
        return float(F.cross_entropy(moved(images).double(), labels))

    assert found.loss == pytest.approx(loss({}), rel=1e-5)
    assert [layer.name for layer in found.layers] == [*errors, "all layers"]
    for layer in found.layers:
        moves = {name: 0.5 * error for name, error in errors.items() if layer.name in (name, "all layers")}
        assert layer.along == pytest.approx((loss(moves) - loss({})) / 0.25, rel=1e-3, abs=1e-5)
        assert layer.norm == pytest.approx(2 * sum(float(move.square().sum()) for move in moves.values()) ** 0.5)
        assert len(set(layer.random)) == 3 and 0.25 <= layer.p_value <= 1
    error = torch.randn(4, 9)
    drawn = [_direction(error, "1", draw, KEY) for draw in range(3)]
    assert torch.equal(drawn[0], error) and not torch.allclose(drawn[1], drawn[2])
    assert [float(of.norm()) for of in drawn] == pytest.approx([float(error.norm())] * 3)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(72, 2, bias=False)).eval()
    flat[1].weight.data.zero_()
    along = sharpness_along(
        bp.freeze(flat), {"1": torch.ones(2, 72)}, torch.rand(5, 2, 6, 6), torch.zeros(5).long(), draws=2, rng=KEY
    )
    assert (
        abs(along.layers[0].along) < 1e-12 and min(along.layers[0].random) != 0
    )  # both logits move alike along the error


def test_questions_without_an_answer_are_refused(model):
    with pytest.raises(InputError, match="draws is 0"):
        AlongError(draws=0)
    with pytest.raises(InputError, match="no weights move"):
        sharpness_along(bp.freeze(model), {}, torch.rand(1, 1, 20, 20), torch.zeros(1).long(), rng=KEY)
    with pytest.raises(InputError, match="two draws"):
        LossCurvature(draws=1)
    with pytest.raises(InputError, match="iterations is 0"):
        LipschitzEstimate(iterations=0)


def test_a_network_whose_answer_never_changes_has_no_slope_and_no_curvature():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3, bias=False))
    nn.init.zeros_(network[0].weight)  # pyright: ignore
    nn.init.constant_(network[0].bias, -1.0)  # pyright: ignore - behind the ReLU nothing is left
    settings: list[Any] = [LipschitzEstimate(iterations=2), LossCurvature(draws=2), ErrorAmplification(eps=(1 / 255,))]
    slope, bend, grown = (setting({"still": network}, pictures(6), seed=0) for setting in settings)
    assert (slope.bound, slope.largest, bend.trace, bend.top, bend.converged) == (0, 0, 0, 0, True)
    assert slope.findings[0].endswith("The bound of the whole is 0: it bounds, and predicts nothing.")
    assert "goes from 0 to 0 along the gradient's signs" in grown.findings[0]
