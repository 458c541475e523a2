"""The search for the fewest bits a layer: what it keeps, what it saves, what it names."""

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.ptq import MixedSearch
from bitproof.ptq.mixed import cost_of
from bitproof.quant import coverage, freeze, reasons
from bitproof.records import Part
from bitproof.report import text


class Uneven(nn.Module):
    """Of two linear layers one decides, and the other adds next to nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.decides = nn.Linear(16, 4, bias=False)
        self.idles = nn.Linear(16, 4, bias=False)
        with torch.no_grad():
            self.idles.weight.mul_(1e-3)

    def forward(self, images):
        return self.decides(images.flatten(1)) + self.idles(images.flatten(1))


@pytest.fixture(scope="module")
def images():
    return torch.rand(400, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def bits_of(scheme):
    return {rule.pattern: rule.weight_bits for rule in scheme.layers}


def test_costs_are_products_of_sizes_and_bits():
    part = Part(name="a", weights=10, products=100, weight_bits=4, act_bits=8)
    assert cost_of(part, "macs") == 3200 and cost_of(part, "bytes") == 5
    assert cost_of(part, "macs", 2) == 400 and cost_of(part, "bytes", 2) == 2.5


def test_the_layer_that_matters_keeps_its_bits(images):
    found = MixedSearch(agreement=0.97)(Uneven(), images)
    bits = bits_of(found.scheme)
    assert bits["idles"] == 2 and bits.get("decides", 8) > 2
    assert found.found["macs"] < found.start["macs"] == 2 * 64 * 64
    rate, low, high = found.agreement
    assert found.held_back == 200 and low < rate < high and rate > 0.9


def test_less_agreement_is_never_dearer(images):
    costs = [MixedSearch(agreement=a)(Uneven(), images).found["macs"] for a in (0.5, 0.97)]
    assert costs == sorted(costs)


def test_what_it_finds_is_a_scheme_like_any_other(images):
    found = MixedSearch(agreement=0.9, bits=(8, 4), cost="bytes")(Uneven(), images)
    assert set(bits_of(found.scheme).values()) <= {4}
    assert bp.Scheme.parse(found.scheme.label.replace(" ", ":", 1).replace(" ", ",")) == found.scheme
    quantized = bp.quantize(Uneven(), found.scheme, images)
    assert quantized(images).shape == (400, 4)


def test_an_agreement_out_of_reach_and_wrong_settings_are_refused(images):
    with pytest.raises(InputError, match="with 3 bits everywhere .* stay"):
        MixedSearch(agreement=1.0, bits=(3, 2))(Uneven(), images)
    for wrong, match in (({"agreement": 0.0}, "share"), ({"cost": "time"}, "cost"), ({"bits": (9, 4)}, "2 to 8")):
        with pytest.raises(InputError, match=match):
            MixedSearch(**wrong)


def test_all_that_stays_float_is_listed_with_a_reason(images):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.rand(16, 16))
            self.plain = nn.Linear(16, 4)
            self.spared = nn.Linear(4, 4)
            self.unused = nn.Linear(16, 4)

        def forward(self, images):
            return self.spared(self.plain(images.flatten(1) @ self.table))

    model = bp.quantize(Parts(), bp.Scheme.parse("w4a4,first=same,last=same,layers=spared=w4a32"), images)
    frozen = freeze(model)
    found = coverage(frozen, images[:2])
    assert found is not None
    said = reasons(frozen, found)
    assert set(said) == {"", "spared", "unused"}
    assert "no Conv1d, Conv2d or Linear" in said[""]
    assert said["spared"] == "the scheme leaves its inputs float"
    assert said["unused"].startswith("never called")
    lines = text.parts(found, said)
    assert len(lines) == 4 and "w4a4" in next(line for line in lines if "plain" in line)
