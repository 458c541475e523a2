import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitproof.errors import InputError
from bitproof.quant import Affine, Scheme, freeze, quantize
from bitproof.quant.ocs import split_order, split_outliers, split_weight

T = torch.tensor


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 100, 3, padding="same", padding_mode="circular")
        self.mid = nn.Conv2d(100, 6, 1, bias=False)
        self.grouped = nn.Conv2d(6, 6, 3, groups=3)
        self.line = nn.Conv1d(6, 10, 3)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = self.mid(self.stem(x).relu()).relu()
        return self.head(self.line(self.grouped(x).flatten(2)).mean(2))


@pytest.fixture
def model():
    torch.manual_seed(0)
    small = Small().eval()
    with torch.no_grad():
        small.mid.weight[2, 17] = -1.0  # an outlier
        small.head.weight[1, 4] = 3.0
    return small


@pytest.fixture
def images():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


SAME = Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=32, first="same", last="same")


def test_the_largest_channel_is_split_first_by_hand():
    weight = T([[1.0, -8.0, 3.0], [0.0, 2.0, -3.0]])
    # -8 -> -4 -4; then the first of the two -4 -> -2 -2, then the other, then 3
    assert split_order(weight, 4) == [1, 1, 3, 2]
    torch.testing.assert_close(split_weight(weight, [1], T(0.0)), T([[1.0, -4.0, 3.0, -4.0], [0.0, 1.0, -3.0, 1.0]]))
    torch.testing.assert_close(split_weight(weight, [1], T(2.0)), T([[1.0, -4.5, 3.0, -3.5], [0.0, 0.5, -3.0, 1.5]]))


def test_the_function_stays_and_the_original_is_untouched(model, images):
    before, logits = copy.deepcopy(model.state_dict()), model(images)
    split = split_outliers(model, SAME, ratio=0.1)
    torch.testing.assert_close(split(images), logits)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert (split.stem.in_channels, split.mid.in_channels, split.line.in_channels, split.head.in_features) == (
        4, 110, 7, 11,
    )  # fmt: skip
    assert split.mid.weight.shape == (6, 110, 1, 1)
    assert torch.equal(split.grouped.weight, model.grouped.weight)
    assert not any(m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("ratio", [0.02, 0.3, 1.0])
def test_every_channel_sums_to_the_original(model, ratio):
    split = split_outliers(model, SAME, ratio=ratio)
    for ours, weight in ((split.mid, model.mid.weight), (split.head, model.head.weight)):
        sums = torch.zeros_like(weight).index_add(1, ours.input_channels, ours.weight)
        torch.testing.assert_close(sums, weight)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rounded_halves_sum_to_the_rounded_weight(model, granularity, symmetric, bits):
    scheme = Scheme(
        Affine(granularity=granularity, symmetric=symmetric), weight_bits=bits, act_bits=32, first="same", last="same"
    )
    quantized = quantize(split_outliers(model, scheme), scheme)
    for ours, weight in ((quantized.mid, model.mid.weight), (quantized.head, model.head.weight)):
        step = ours.parametrizations.weight[0].scale
        sums = torch.zeros_like(weight).index_add(1, ours.input_channels, ours.weight)
        certain = ((weight / step) % 1 - 0.5).abs() > 1e-3  # ties may go either way
        if not symmetric:  # the rounding of the zero point may clip the outermost code
            certain &= (weight > weight.min()) & (weight < weight.max())
        torch.testing.assert_close(sums[certain], ((weight / step).round() * step)[certain])
        assert certain.float().mean() > 0.7


@settings(max_examples=200, deadline=None)
@given(w=st.floats(-1000, 1000))
def test_hermites_identity(w):
    low, high = split_weight(T([[w]], dtype=torch.float64), [0], T(1.0, dtype=torch.float64))[0].round()
    if abs(w % 1 - 0.5) > 1e-9:
        assert low + high == round(w)


def test_plain_halves_would_not_be_exact():
    low, high = split_weight(T([[3.0]]), [0], T(0.0))[0].round()
    assert low + high == 4


def test_splitting_reduces_the_error_of_an_outlier(model, images):
    scheme = Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=32)
    plain, split = quantize(model, scheme), quantize(split_outliers(model, scheme), scheme)
    step = split.mid.parametrizations.weight[0].scale
    assert step < 0.6 * plain.mid.parametrizations.weight[0].scale
    logits = model(images)
    assert (split(images) - logits).square().mean() < 0.6 * (plain(images) - logits).square().mean()


def test_quantize_works_as_usual_on_the_result(model, images):
    scheme = Scheme(weight_bits=4, act_bits=4)
    split = split_outliers(model, scheme)
    quantized = quantize(split, scheme, [images])
    logits = quantized(images)
    assert torch.equal(freeze(quantized)(images), logits)
    assert torch.equal(copy.deepcopy(quantized)(images), logits)
    other = quantize(split_outliers(Small().eval(), scheme), scheme, [images])
    other.load_state_dict(quantized.state_dict())
    assert torch.equal(other(images), logits)
    # the same input reaches the quantizer, once more for the split channels
    torch.testing.assert_close(
        quantized.mid.input_quantizer.scale, quantize(model, scheme, [images]).mid.input_quantizer.scale
    )


def test_float_and_parametrized_layers_are_left_alone(model, images):
    float_edges = split_outliers(model, Scheme(weight_bits=4, act_bits=32, first="float", last="float"))
    assert float_edges.stem.in_channels == 3
    assert float_edges.mid.in_channels == 102
    nn.utils.parametrizations.weight_norm(model.mid)
    assert split_outliers(model, SAME).mid.in_channels == 100


def test_zero_weights_stay_zero():
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    nn.init.zeros_(model[0].weight)  # pyright: ignore
    split = split_outliers(model, SAME)
    assert (quantize(split, SAME)(torch.ones(1, 3)) == 0).all()


def test_mistakes_are_explained(model):
    with pytest.raises(InputError, match="ratio is 0.*such as 0.02"):
        split_outliers(model, SAME, ratio=0)
    with pytest.raises(InputError, match="the weights of dorefa are not on a uniform grid.*'affine'"):
        split_outliers(model, Scheme("dorefa", weight_bits=4, act_bits=32, first="same", last="same"))


def test_layers_that_do_more_than_multiply_are_left_alone():
    class Centred(nn.Conv2d):
        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return self._conv_forward(x, weight, self.bias)

    torch.manual_seed(0)
    model, x = nn.Sequential(Centred(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), torch.rand(2, 3, 8, 8)
    split = split_outliers(model, Scheme(weight_bits=4, act_bits=32, first="same"), ratio=0.3)
    torch.testing.assert_close(split(x), model(x))
    assert split[0].in_channels == 3
    assert split[2].in_channels == 6  # pyright: ignore
