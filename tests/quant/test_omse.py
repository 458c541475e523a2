import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer
from bitproof.quant.omse import least
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.quant.ranges import Histogram, RangeSettings


def settings(bits: int, symmetric: bool) -> RangeSettings:
    return RangeSettings(bits=bits, symmetric=symmetric, percentile=99.9)


def squared_error(x: np.ndarray, low: float, high: float, bits: int, symmetric: bool) -> float:
    """Of the quantizer, written again in NumPy."""
    if symmetric:
        top = 2 ** (bits - 1) - 1
        step = max(-low, high) / top or 1.0
        codes = np.clip(np.round(x / step), -top, top)
    else:
        step = (high - low) / (2**bits - 1) or 1.0
        zero = np.round(-low / step)
        codes = np.clip(np.round(x / step), -zero, 2**bits - 1 - zero)
    return float(((codes * step - x) ** 2).sum())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_get_the_least_error_of_a_brute_force_search(bits, symmetric):
    torch.manual_seed(0)
    rows = torch.distributions.StudentT(3.0).sample((4, 300)).double()
    low, high = WEIGHT_RANGES["omse"](rows, settings(bits, symmetric))
    for x, ours in zip(rows.numpy(), zip(low.tolist(), high.tolist(), strict=True), strict=True):
        errors = [squared_error(x, a * x.min(), a * x.max(), bits, symmetric) for a in np.arange(1, 101) / 100]
        np.testing.assert_allclose(squared_error(x, *ours, bits, symmetric), min(errors), rtol=1e-9)
        if bits == 2:
            assert min(errors) < 0.9 * errors[-1]


def test_an_outlier_is_clipped_by_hand():
    # Ternary grid {-s, 0, s}: 100 values of 1 and one of 10. Keeping 10 costs 100; s = 1 costs 81.
    rows = torch.cat([torch.ones(100), torch.tensor([10.0])])[None]
    low, high = WEIGHT_RANGES["omse"](rows, settings(2, True))
    assert low == 0
    np.testing.assert_allclose(high, 1.1, rtol=1e-6)  # 100 (s - 1)^2 + (10 - s)^2 is least at 110/101
    assert WEIGHT_RANGES["omse"](torch.tensor([[2.0, -2.0, 0.0]]), settings(2, True))[1] == 2


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_a_stream_gets_nearly_the_range_of_its_values(symmetric, relu):
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double()
    values = values.relu() if relu else values
    histogram = Histogram(values.min().item(), values.max().item())
    for part in values.split(999):
        histogram.add(part)
    x, given = values.numpy(), settings(3, symmetric)
    exact = [v.item() for v in WEIGHT_RANGES["omse"](values[None], given)]
    ours = ACT_RANGES["omse"](histogram, given)
    np.testing.assert_allclose(squared_error(x, *ours, 3, symmetric), squared_error(x, *exact, 3, symmetric), rtol=0.01)


@examples(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20),
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
)
def test_never_worse_than_minmax(values, bits, symmetric):
    x = torch.tensor(values, dtype=torch.float32)

    def error(rule: str) -> float:
        quantizer = AffineQuantizer(Codes.of(bits, symmetric=symmetric), symmetric=symmetric)
        quantizer.set_range(*(v[0] for v in WEIGHT_RANGES[rule](x[None], settings(bits, symmetric))))
        return (quantizer(x) - x).double().square().sum().item()

    assert error("omse") <= error("minmax") * (1 + 1e-5) + 1e-12


def test_the_first_of_equal_candidates_wins():
    assert least(lambda c: torch.tensor([1.0, c]), (3.0, 2.0, 1.0)).tolist() == [3.0, 1.0]
