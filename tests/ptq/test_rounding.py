"""Learned roundings, bias correction and re-estimation."""

import copy
import itertools
import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.ptq import PostTraining, Reconstruction, correct_bias, fold_batch_norm, reestimate_batch_norm
from bitproof.ptq.blocks import blocks_of, layers_of, with_named_blocks
from bitproof.ptq.learned_steps import StepLearner
from bitproof.ptq.reconstruction import _fisher
from bitproof.ptq.rounding import SoftRounding, inverse_sigmoid, rectified_sigmoid, undecided
from bitproof.ptq.watching import Moments
from bitproof.quant import PWLQ, Affine, Scheme, freeze, quantize
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer
from bitproof.quant.lsq import learned_step

T = torch.tensor


@pytest.fixture
def run():
    return bp.Rng(0, np.zeros(1, np.int64))


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    block = Block()
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Sequential(block), Pool(), nn.Linear(6, 4)).eval()


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        return (x + self.two(self.norm(self.one(x)).relu())).relu()


class Pool(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def test_h_and_its_gradient_at_given_v():
    v = T([-4.0, -1.0, 0.0, 2.0, 4.0], requires_grad=True, dtype=torch.float64)
    h = rectified_sigmoid(v)
    expected = [min(max(1.2 / (1 + math.exp(-x)) - 0.1, 0), 1) for x in v.tolist()]
    np.testing.assert_allclose(h.tolist(), expected)
    h.sum().backward()
    slopes = [
        1.2 * math.exp(-x) / (1 + math.exp(-x)) ** 2 if 0 < y < 1 else 0
        for x, y in zip(v.tolist(), expected, strict=True)
    ]
    np.testing.assert_allclose(v.grad, slopes)
    np.testing.assert_allclose(rectified_sigmoid(inverse_sigmoid(T([0.0, 0.3, 1.0]))), [0, 0.3, 1], atol=1e-6)
    # 1 - 0 at one half, 0 at the ends, 1 - 0.5^beta at a quarter
    np.testing.assert_allclose(undecided(T([0.0, 0.25, 0.5, 1.0]), 3.0), 1.875)


GRIDS = {
    f"{method} w{bits}": Scheme(method, weight_bits=bits, act_bits=32, first="same", last="same")
    for granularity in ("tensor", "channel")
    for method in (
        Affine(granularity=granularity),
        Affine(granularity=granularity, symmetric=False),
        PWLQ(granularity=granularity),
    )
    for bits in (2, 4, 8)
}


@pytest.mark.parametrize("name", GRIDS)
def test_neighbours_are_levels_around_the_weight_and_stay_where_they_are(name):
    torch.manual_seed(0)
    layer = nn.Linear(40, 3, bias=False)
    layer.weight.data.copy_(torch.randn(3, 40))
    weight = layer.weight.detach().clone()
    quantizer = quantize(nn.Sequential(layer), GRIDS[name])[0].parametrizations.weight[0]
    near, far = quantizer.neighbours(weight)
    rounded = quantizer(weight)
    low, high = quantizer(near), quantizer(far)
    torch.testing.assert_close(torch.minimum((rounded - low).abs(), (rounded - high).abs()), torch.zeros(3, 40))
    # on the grid's own scale (PWLQ shifts and stretches it afterwards): the weight lies between, one step apart
    inside = (near != far) & (weight != 0)
    assert (((weight - near) / (far - near))[inside] > -1e-4).all()
    assert (((weight - near) / (far - near))[inside] < 1 + 1e-4).all()
    assert inside.float().mean() > 0.8
    # the soft weight starts at the float weight, after PWLQ's shift and gain
    soft = SoftRounding(quantizer, weight)
    gain, shift = (getattr(quantizer, k, default) for k, default in (("gain", T(1.0)), ("shift", T(0.0))))
    expected = ((weight.view(len(gain), -1) if gain.dim() else weight) + shift) * gain
    torch.testing.assert_close(soft(weight)[inside], expected.view(3, 40)[inside], atol=1e-5, rtol=1e-4)


def error_of_all(weight: torch.Tensor, scale: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The squared error of the layer's output for all 2^k roundings, smallest first."""
    ups = T(list(itertools.product((0.0, 1.0), repeat=weight.numel())))
    return ((((weight / scale).floor() + ups) * scale - weight) @ x.T).square().mean(1).sort().values


@pytest.mark.slow
def test_adaround_against_all_roundings(run):
    """The paper's relaxation is a heuristic: mostly it finds the best of all 2^10 roundings, and never a bad one."""
    best, ranks = 0, []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(64, 10, generator=generator) + 2  # correlated: errors of rounding to nearest add up
        model = nn.Sequential(nn.Linear(10, 1, bias=False))
        model[0].weight.data.copy_(torch.randn(1, 10, generator=generator))
        nearest = quantize(model, Scheme(weight_bits=3, act_bits=32, first="same", last="same"))
        learn = Reconstruction(by="layer", iterations=300, learning_rate=0.05, regularization=0.1)
        learned = learn(nearest, model, x, rng=run)
        errors = error_of_all(model[0].weight.detach(), nearest[0].parametrizations.weight[0].scale, x)
        ours = (learned(x) - model(x)).square().mean()
        best += int(ours < 1.001 * errors[0])
        ranks.append(int((errors < 0.999 * ours).sum()))
    assert best >= 3
    assert max(ranks) < 0.03 * 2**10


@pytest.mark.parametrize("by", ["layer", "block"])
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_reconstruction_beats_nearest_and_lies_on_the_grid(by, bits, granularity, run):
    model, images = net(), torch.rand(64, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    scheme = Scheme(Affine(granularity=granularity), weight_bits=bits, act_bits=8, first="same", last="same")
    nearest = quantize(model, scheme, [images])
    learned = Reconstruction(by=by, iterations=40, learning_rate=0.1)(nearest, model, images, rng=run)
    before, after = ((q(images) - model(images)).square().mean().item() for q in (nearest, learned))
    if (by, granularity) == ("block", "channel"):
        assert after < 0.9 * before
    for name in layers_of(model):
        ours, theirs = learned.get_submodule(name), nearest.get_submodule(name)
        weights = ours.parametrizations.weight
        assert torch.equal(weights[0].scale, theirs.parametrizations.weight[0].scale)
        torch.testing.assert_close(ours.weight, weights.original, rtol=1e-6, atol=0)
        off = (ours.weight - model.get_submodule(name).weight).abs() / weights[0].scale
        assert off.max() < 1.0001
    assert torch.equal(freeze(learned)(images), learned(images))
    assert sorted(learned.state_dict()) == sorted(nearest.state_dict())
    assert all(parameter.requires_grad for parameter in learned.parameters())


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    model, images = net(), torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    quantized = quantize(model, Scheme(weight_bits=3, act_bits=4), [images])
    learn = Reconstruction(iterations=30, batch_size=8, learning_rate=0.1, fisher=True)
    one, again, other = (
        learn(quantized, model, images, rng=bp.Rng(seed, np.zeros(1, np.int64))).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_activation_steps_are_learned_or_left(run):
    model, images = net(), torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    scheme = Scheme(weight_bits=8, act_bits=2, first="same", last="same")  # all steps are coarse
    quantized = quantize(model, scheme, [images])
    left = Reconstruction(iterations=5, step_learning_rate=0.0)(quantized, model, images, rng=run)
    learned = Reconstruction(iterations=60, step_learning_rate=0.004)(quantized, model, images, rng=run)
    name = "2.0.two.input_quantizer"
    before, same, after = (q.get_submodule(name).scale for q in (quantized, left, learned))
    assert torch.equal(before, same)
    assert not torch.equal(before, after)
    error = [(q[:3](images) - model[:3](images)).square().mean() for q in (left, learned)]
    assert error[1] < error[0]


@pytest.mark.parametrize(("symmetric", "lowest"), [(True, -0.7), (False, -0.7), (False, 0.0)])
def test_the_step_gradient_is_that_of_lsq(symmetric, lowest):
    codes = Codes.of(3, symmetric=symmetric)
    quantizer = AffineQuantizer(codes, symmetric=symmetric)
    quantizer.set_range(T(lowest), T(2.0))
    learner = StepLearner(quantizer, quantizer.fixed_grid())
    x = torch.randn(500, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.no_grad():
        x[:9] = 0.0
    g = torch.randn(500, generator=torch.Generator().manual_seed(1))
    learner(x).backward(g)
    zero = int(quantizer.zero_point)
    again, step = x.detach().clone().requires_grad_(), quantizer.scale.clone().requires_grad_()
    expected = learned_step(again, step, Codes(qmin=codes.qmin - zero, qmax=codes.qmax - zero))
    expected.backward(g)
    torch.testing.assert_close(learner(x), quantizer(x))
    assert torch.equal(x.grad, again.grad)
    torch.testing.assert_close(learner.step.grad, step.grad, rtol=1e-4, atol=1e-4)
    assert torch.equal(learner.hard().scale, quantizer.scale)


def test_the_fisher_weights_estimate_the_diagonal_in_closed_form():
    # logits = W y: the gradient of -log p(label) by y is W^T (p - onehot), with a second moment of
    # sum_k p_k (W^T (p - e_k))^2 over labels from p
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4, bias=False)).eval()
    image = torch.rand(1, 2)
    fisher = _fisher(model, "0", image.expand(20000, 2), bp.Rng(0, np.zeros(1, np.int64)))
    p = model(image).softmax(1)[0].detach()
    gradients = (p - torch.eye(4)) @ model[1].weight.detach()
    exact = (p[:, None] * gradients.square()).sum(0)
    torch.testing.assert_close(fisher.mean(0), exact / exact.mean(), rtol=0.05, atol=0.0)


def test_units_of_the_architectures():
    cifar = [name.removeprefix("backbone.") for name in blocks_of(bp.load_model("resnet20"))]
    assert cifar == ["conv1", *(f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)), "linear"]
    assert len(blocks_of(bp.load_model("digits_cnn"))) == 4
    assert layers_of(net()) == ["0", "2.0.one", "2.0.two", "4"]
    assert with_named_blocks(net(), ("2",)) == ["2", "0", "4"]
    with pytest.raises(InputError, match=r"block 'nowhere'.*Its own blocks are 0, 2.0, 4"):
        with_named_blocks(net(), ("nowhere",))


@pytest.mark.parametrize(("name", "blocks", "others"), [("resnet18", 8, 2), ("resnet50", 16, 2)])
@pytest.mark.parametrize("zoo", ["torchvision", "timm"])
def test_blocks_of_the_zoo(zoo, name, blocks, others):
    if find_spec(zoo) is None or find_spec("torchvision") is None:
        pytest.skip("the extra `zoo` is not installed")
    units = [unit.removeprefix("backbone.") for unit in blocks_of(bp.load_model(f"{zoo}:{name}"))]
    assert sum(unit.startswith("layer") for unit in units) == blocks
    assert len(units) == blocks + others


def test_bias_correction_removes_the_mean_error_of_one_layer():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False)), torch.rand(40, 3, 7, 7)
    scheme = Scheme(weight_bits=2, act_bits=3, first="same", last="same")
    plain = quantize(model, scheme, [x])
    corrected = correct_bias(plain, model, x)
    difference = (model(x) - plain(x)).mean((0, 2, 3))
    assert difference.abs().max() > 0.01
    torch.testing.assert_close(corrected[0].bias, difference, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close((corrected(x) - model(x)).mean((0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)


def test_bias_correction_goes_on_from_corrected_layers():
    model, images = net(), torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    quantized = quantize(model, Scheme(weight_bits=2, act_bits=4, first="same", last="same"), [images])
    corrected = correct_bias(quantized, model, images)
    for name in layers_of(model):
        means = []
        for tested in (model, corrected, quantized):
            seen = []
            layer = tested.get_submodule(name)
            hook = layer.register_forward_hook(lambda m, a, y, s=seen: s.append(y))
            tested(images)
            hook.remove()
            means.append(seen[0].transpose(0, 1).flatten(1).mean(1))
        torch.testing.assert_close(means[1], means[0], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(means[2], means[0], atol=1e-4)


def test_corrections_do_not_depend_on_batches(monkeypatch):
    model, images = net(), torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    quantized = quantize(model, Scheme(weight_bits=3, act_bits=8), [images])
    results = []
    for size in (40, 7):
        for module in ("watching", "bias", "reestimation"):
            monkeypatch.setattr(f"bitproof.ptq.{module}.BATCH", size)
        corrected = correct_bias(reestimate_batch_norm(quantized, model, images), model, images)
        results.append(corrected(images))
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-3)


def test_reestimated_statistics_in_closed_form():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).eval()
    x = torch.rand(30, 3, 6, 6)
    quantized = quantize(model, Scheme(weight_bits=2, act_bits=32, first="same", last="same"))
    again = reestimate_batch_norm(quantized, model, x)
    ours, theirs = quantized[0](x).transpose(0, 1).flatten(1), model[0](x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(again[1].running_mean, ours.mean(1) - theirs.mean(1))
    torch.testing.assert_close(again[1].running_var, ours.var(1, correction=0) / theirs.var(1, correction=0))


def test_re_estimation_leaves_a_float_model_alone():
    model, x = net(), torch.rand(30, 3, 6, 6)
    torch.testing.assert_close(reestimate_batch_norm(model, model, x)(x), model(x))


def test_moments_by_hand():
    moments = Moments()
    moments.add(T([[1.0, 10.0], [3.0, 10.0]]))
    moments.add(T([[5.0, 40.0]]))
    torch.testing.assert_close(moments.mean, T([3.0, 20.0], dtype=torch.float64))
    torch.testing.assert_close(moments.variance, T([8 / 3, 200.0], dtype=torch.float64))


def test_settings_and_their_text_form():
    scheme = Scheme(weight_bits=4, act_bits=4)
    assert PostTraining.parse("nearest", scheme) == PostTraining(scheme=scheme)
    parsed = PostTraining.parse("brecq:iterations=50,fisher=true,correct_bias=false", scheme)
    assert parsed == PostTraining(scheme=scheme, rounding="brecq", iterations=50, fisher=True, correct_bias=False)
    assert parsed.label == "affine w4a4 brecq iterations=50 fisher=True correct_bias=False"
    assert bp.settings.build(PostTraining, bp.settings.describe(parsed)) == parsed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PostTraining(rounding="brec"), "unknown rounding 'brec'.*Did you mean 'brecq'"),
        (lambda: PostTraining(equalize=True, fold=False), "equalize without fold.*in the way.*fold=True"),
        (lambda: PostTraining(reestimate=True), "reestimate with fold.*no statistics.*fold=False"),
        (lambda: PostTraining.parse("brecq:steps=3", Scheme()), "unknown field of brecq 'steps'"),
        (lambda: PostTraining.parse("brecq:iterations=0", Scheme()), "iterations is 0.*at least 1"),
        (lambda: Reconstruction(by="channel"), "unknown unit of reconstruction 'channel'"),
        (lambda: Reconstruction(batch_size=0), "batch_size is 0.*at least 1"),
        (lambda: PostTraining()(net(), []), "no calibration data"),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("method", ["dorefa", PWLQ(overlapping=True)])
def test_grids_without_neighbours_are_refused(method):
    scheme = Scheme(method, weight_bits=4, act_bits=8, first="same", last="same")
    with pytest.raises(InputError, match="rounding is learned between"):
        PostTraining(scheme=scheme, rounding="brecq", iterations=2)(net(), [torch.rand(8, 3, 6, 6)])


def test_a_unit_that_runs_twice_is_refused_and_one_that_never_runs_is_left(run):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.unused, self.two = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.times = 2

        def forward(self, x):
            for _ in range(self.times):
                x = self.one(x)
            return self.two(x)

    model, x = Twice(), torch.rand(8, 4)
    scheme = Scheme(weight_bits=4, act_bits=32)
    with pytest.raises(InputError, match="'one' runs 2 times a pass.*Give each of its calls a layer"):
        Reconstruction(by="layer", iterations=2)(quantize(model, scheme), model, x, rng=run)
    with pytest.raises(InputError, match="'one' runs 2 times a pass.*Name other blocks"):
        Reconstruction(blocks=("one",), iterations=2)(quantize(model, scheme), model, x, rng=run)
    model.times = 1
    quantized = quantize(model, scheme)
    learned = Reconstruction(by="layer", iterations=2)(quantized, model, x, rng=run)
    assert torch.equal(learned.unused.weight, quantized.unused.weight)
    assert correct_bias(quantized, model, x).unused.bias.equal(model.unused.bias)


def test_units_that_are_done_are_left_and_counted(run):
    model, x, told = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)), torch.rand(8, 4), []
    quantized = quantize(model, Scheme(weight_bits=2, act_bits=32, first="same", last="same"))
    learn = Reconstruction(by="layer", iterations=20)
    whole = learn(quantized, model, x, rng=run, after_unit=lambda of, done: told.append((done, copy.deepcopy(of))))
    first = told.pop(0)[1]
    rest = learn(first, model, x, rng=run, done=1, after_unit=lambda of, done: told.append((done, of)))
    assert [done for done, _ in told] == [2, 3, 2, 3]
    assert all(torch.equal(value, rest.state_dict()[name]) for name, value in whole.state_dict().items())


def test_learned_roundings_on_real_digits():
    """w2a4 on the embedded digits: learned roundings recover most of what nearest ones lose."""
    from bitproof.train import standard

    train = bp.load_data("digits", split="train", limit=512)
    model = standard(epochs=2)(bp.load_model("digits_cnn"), train, rng=bp.Rng(0, np.zeros(1, np.int64)))
    images = train.images(range(128))
    folded = fold_batch_norm(model, images[:1])
    errors = {}
    for rounding in ("nearest", "brecq"):
        setting = PostTraining(
            scheme=Scheme(weight_bits=2, act_bits=4), rounding=rounding, iterations=60, correct_bias=False
        )
        quantized = setting(model, [images])
        errors[rounding] = (quantized(images) - folded(images)).square().mean().item()
    assert errors["brecq"] < 0.5 * errors["nearest"]
