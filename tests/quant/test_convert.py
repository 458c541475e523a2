import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitproof.errors import InputError
from bitproof.models import build_model
from bitproof.quant import LSQ, PWLQ, Affine, BinaryConnect, Scheme, Tanh, compute_layers, freeze, quantize
from bitproof.quant.grid import AffineQuantizer


class Odd(nn.Module):
    """Grouped, depthwise, `same` padding, a subclassed layer, one ReLU used many times, a layer called twice."""

    class Mine(nn.Conv2d):
        def forward(self, x):
            return 2 * F.conv2d(x, self.weight, self.bias, padding=1)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same")
        self.bn = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.mine = self.Mine(8, 8, 3)
        self.line = nn.Conv1d(8, 4, 3)
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.relu(self.bn(self.stem(x)))
        x = self.relu(self.grouped(x))
        x = self.relu(self.depthwise(self.depthwise(x)))
        x = self.relu(self.mine(x)).flatten(2)
        return self.head(self.line(x).mean(2))


@pytest.fixture
def model():
    torch.manual_seed(0)
    odd = Odd().eval()
    odd.bn.running_mean.normal_(0, 0.1)  # pyright: ignore
    return odd


@pytest.fixture
def images():
    return torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


SCHEMES = [
    Scheme("affine", weight_bits=8, act_bits=8),
    Scheme(Affine(granularity="tensor", symmetric=False, act_symmetric=True), weight_bits=4, act_bits=4),
    Scheme("affine", weight_bits=2, act_bits=32, first="same", last="same"),
    Scheme(Affine(act_range="percentile"), weight_bits=32, act_bits=3, first="float", last="float"),
    Scheme("dorefa", weight_bits=2, act_bits=2),
    Scheme("dorefa", weight_bits=1, act_bits=32, first="same", last="same"),
    Scheme("pact", weight_bits=2, act_bits=3),
    Scheme("lsq", weight_bits=3, act_bits=3),
    Scheme(LSQ(granularity="tensor", act_symmetric=True), weight_bits=2, act_bits=4, first="same", last="same"),
    Scheme("lsq+", weight_bits=4, act_bits=4, first="same", last="same"),
    Scheme("binaryconnect", weight_bits=1, act_bits=32),
    Scheme(BinaryConnect(stochastic=True), weight_bits=1, act_bits=32),
    Scheme("binarynet", weight_bits=1, act_bits=32),
    Scheme("xnor", weight_bits=1, act_bits=32, first="same", last="same"),
    Scheme("twn", weight_bits=2, act_bits=32, first="same", last="same"),
    Scheme("ttq", weight_bits=2, act_bits=32),
    Scheme(Affine(weight_range="aciq-gauss", act_range="aciq-laplace"), weight_bits=4, act_bits=4),
    Scheme(Affine(weight_range="omse", act_range="omse"), weight_bits=3, act_bits=3, first="same", last="same"),
    Scheme(PWLQ(granularity="tensor"), weight_bits=3, act_bits=4),
    Scheme(PWLQ(breakpoint="gauss"), weight_bits=2, act_bits=32, first="same", last="same"),
    Scheme(PWLQ(breakpoint="laplace"), weight_bits=4, act_bits=8),
    Scheme(PWLQ(overlapping=True), weight_bits=4, act_bits=4, first="same", last="same"),
    Scheme("relu6", weight_bits=32, act_bits=2),
    Scheme("relu1", weight_bits=4, act_bits=1),
    Scheme("tanh", weight_bits=32, act_bits=2, first="same", last="same"),
    Scheme(Tanh(dynamic=True), weight_bits=32, act_bits=4, first="float", last="float"),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.label)
class TestEveryScheme:
    def test_the_original_is_untouched(self, model, images, scheme):
        before, logits = copy.deepcopy(model.state_dict()), model(images)
        quantized = quantize(model, scheme, [images])
        with torch.no_grad():
            for p in quantized.parameters():
                p.zero_()
        assert torch.equal(model(images), logits)
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        assert not any(m._forward_pre_hooks for m in model.modules())

    def test_the_function_changes(self, model, images, scheme):
        assert not torch.equal(quantize(model, scheme, [images])(images), model(images))

    def test_every_part_is_in_eval_mode(self, model, images, scheme):
        assert not any(m.training for m in quantize(model.train(), scheme, [images]).modules())

    def test_state_dicts_round_trip(self, model, images, scheme):
        quantized = quantize(model, scheme, [images])
        torch.manual_seed(1)  # other weights than the model's
        other = quantize(Odd().eval(), scheme, [images * 0.5])
        assert not torch.equal(other(images), quantized(images))
        other.load_state_dict(quantized.state_dict())
        assert torch.equal(other(images), quantized(images))

    def test_copies_are_independent(self, model, images, scheme):
        quantized = quantize(model, scheme, [images])
        logits = quantized(images)
        twin = copy.deepcopy(quantized)
        assert torch.equal(twin(images), logits)
        with torch.no_grad():
            for tensor in (*twin.parameters(), *twin.buffers()):
                tensor.add_(1) if tensor.is_floating_point() else None
        assert torch.equal(quantized(images), logits)

    def test_frozen_logits_are_equal_bit_for_bit(self, model, images, scheme):
        quantized = quantize(model, scheme, [images])
        frozen = freeze(quantized)
        assert torch.equal(frozen(images), quantized(images))
        assert not any(p.requires_grad for p in frozen.parameters())
        assert all(p.requires_grad for p in quantized.parameters())

    def test_calibration_ignores_the_batching(self, model, images, scheme):
        one, many = quantize(model, scheme, [images]), quantize(model, scheme, images.split(3))
        for (name, a), b in zip(one.state_dict().items(), many.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if isinstance(s.method, Affine)], ids=lambda s: s.label)
def test_inputs_get_a_gradient(model, images, scheme):
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(freeze(quantize(model, scheme, [images]))(x).sum(), x)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(("first_last", "edge_levels"), [("8bit", 255), ("same", 3), ("float", None)])
def test_first_and_last_layer_get_their_own_bits(model, images, first_last, edge_levels):
    quantized = quantize(
        model,
        Scheme(Affine(granularity="tensor"), weight_bits=2, act_bits=4, first=first_last, last=first_last),
        [images],
    )
    layers = dict(compute_layers(quantized))
    for name, layer in layers.items():
        levels = len(layer.weight.unique())
        if name in ("stem", "head"):
            quantizer = getattr(layer, "input_quantizer", None)
            if edge_levels is None:
                assert quantizer is None
                assert torch.equal(layer.weight, model.get_submodule(name).weight)
            else:
                assert levels <= edge_levels
                assert (levels > 3) == (edge_levels > 3)
                assert quantizer.codes.qmax == (255 if first_last == "8bit" else 15)
        else:
            assert levels <= 3


def test_channel_grids_fit_each_channel(model, images):
    quantized = quantize(model, Scheme(weight_bits=4, act_bits=32, first="same", last="same"))
    original = model.grouped.weight
    scale = original.flatten(1).abs().amax(1) / 7
    expected = (original / scale.view(-1, 1, 1, 1)).round() * scale.view(-1, 1, 1, 1)
    torch.testing.assert_close(quantized.grouped.weight, expected)


def test_activation_grids_span_what_calibration_saw(model, images):
    seen = []
    handle = model.grouped.register_forward_pre_hook(lambda _, args: seen.append(args[0].max()))
    model(images)
    handle.remove()
    quantized = quantize(model, Scheme(weight_bits=8, act_bits=4), [images])
    quantizer = quantized.grouped.input_quantizer
    assert isinstance(quantizer, AffineQuantizer)
    torch.testing.assert_close(quantizer.scale, seen[0] / 15)
    assert quantizer.zero_point == 0


def test_weight_norm_is_quantized_after_the_normalisation(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.LazyLinear(2))
    model(images)
    quantized = quantize(
        model.eval(), Scheme(Affine(granularity="tensor"), weight_bits=2, act_bits=32, first="same", last="same")
    )
    assert len(quantized[0].weight.unique()) <= 3
    torch.testing.assert_close(quantized[0].weight.abs().max(), model[0].weight.abs().max())  # pyright: ignore
    assert torch.equal(freeze(quantized)(images), quantized(images))


def test_mistakes_are_explained(model, images):
    with pytest.raises(InputError, match="no calibration data.*act_bits=32"):
        quantize(model, Scheme())
    with pytest.raises(InputError, match="no compute layers"):
        quantize(nn.ReLU(), Scheme(), [images])
    with pytest.raises(InputError, match="quantized already"):
        quantize(quantize(model, Scheme(), [images]), Scheme(), [images])
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.mine.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="weight of 'mine' holds NaN"):
        quantize(broken, Scheme(), [images])
    with pytest.raises(InputError, match="batch 1 holds NaN"):
        quantize(model, Scheme(), [images * torch.nan])
    silent = copy.deepcopy(model)
    nn.init.constant_(silent.grouped.weight, -1)
    nn.init.constant_(silent.grouped.bias, -1)
    with pytest.raises(InputError, match="'depthwise' received only zeros"):
        quantize(silent, Scheme(), [images])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("w9a8", "weight_bits is 9.*2 to 8"),
        ("w1a8", "weight_bits is 1.*weights of 2 to 8 bits.*Use 32"),
        ("twn:w3a32", "weight_bits is 3.*twn is defined for weights of 2 bits"),
        ("xnor:w1a2", "act_bits is 2.*xnor is defined for activations of 1 bit[.]"),
        ("ttq:w2a8", "act_bits is 8: ttq leaves activations float. Use act_bits=32"),
        ("dorefa:w4a0", "act_bits is 0"),
        ("afine:w4a4", "Did you mean 'affine'"),
        ("w4", "written .METHOD"),
        ("w4a4,granularity=row", "unknown granularity 'row'"),
        ("w4a4,first=9bit", "unknown first '9bit'.*Did you mean '8bit'"),
        ("w4a4,last=9bit", "unknown last '9bit'.*Did you mean '8bit'"),
        ("w4a4,act_range=max", "unknown act_range 'max'.*Did you mean 'minmax'"),
        ("w4a4,percentile=5", "percentile is 5"),
        ("w4a4,color=red", "unknown field of scheme 'color'"),
    ],
)
def test_mistakes_in_a_scheme_are_explained(text, words):
    with pytest.raises(InputError, match=words):
        Scheme.parse(text)


def test_scheme_text_and_label():
    assert Scheme.parse("w4a32,granularity=tensor") == Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=32)
    assert Scheme.parse("dorefa:w1a2").label == "dorefa w1a2"
    assert Scheme(Affine(act_range="percentile"), weight_bits=4, act_bits=4).label == "affine w4a4 act_range=percentile"


@pytest.mark.parametrize("scheme", ["pact:w4a4", "dorefa:w8a8", "binaryconnect:w1a32"])
def test_weights_of_another_size_are_told_where_nothing_normalises(scheme):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match=r"changes the size of the weights of 11 of 13 layers .*no normalisation"):
        quantize(build_model("resnet4b", seed=0), scheme, images)


@pytest.mark.parametrize(
    ("network", "scheme"), [("resnet4b", "lsq:w2a2"), ("resnet4b", "w3a3"), ("resnet20", "pact:w4a4")]
)
def test_no_word_of_it_where_the_scale_stays_or_batchnorm_follows(network, scheme):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize(build_model(network, seed=0), scheme, images)
