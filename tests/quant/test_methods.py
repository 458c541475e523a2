"""What every method in `METHODS` keeps, for every one of its settings and bits."""

import copy
from dataclasses import fields, replace

import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.quant import METHODS, XNOR, BinaryConnect, Method, Scheme, compute_layers, freeze, prepare, quantize
from bitproof.quant.attached import input_quantizer
from bitproof.quant.grid import GRANULARITIES
from bitproof.quant.pwlq import BREAKPOINTS, PWLQ
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.settings import build, describe, digest

CHOICES = {
    "granularity": GRANULARITIES,
    "weight_range": tuple(WEIGHT_RANGES),
    "act_range": tuple(ACT_RANGES),
    "breakpoint": BREAKPOINTS,
}
EVERY_WIDTH = range(-1, 34)
MIDDLE = ("backbone.features.1.0", "backbone.features.2.0")
"""The layers of `digits_cnn` that are neither first nor last."""


def variants(kind: type[Method]) -> list[Method]:
    """The method as it is, and with each other value of each field."""
    made = [kind()]
    for field in fields(kind):
        if field.name == "percentile":
            ranges = {f.name: "percentile" for f in fields(kind) if f.name in ("weight_range", "act_range")}
            made.append(kind(percentile=90.0, **ranges))
            continue
        values = (False, True) if isinstance(field.default, bool) else CHOICES[field.name]
        made += [replace(made[0], **{field.name: value}) for value in values if value != field.default]
    return made


def bits_of(kind: type[Method]) -> list[tuple[int, int, int]]:
    """Each width of each kind, the others float; and the lowest widths of all kinds together."""
    widths = (kind.weight_bits, kind.act_bits, kind.grad_bits)
    alone = [tuple(b if i == j else 32 for j in range(3)) for i, allowed in enumerate(widths) for b in allowed]
    return list(dict.fromkeys([*alone, tuple(allowed[0] if allowed else 32 for allowed in widths)]))


def scheme_of(method: Method, bits: tuple[int, int, int]) -> Scheme:
    return Scheme(method, weight_bits=bits[0], act_bits=bits[1], grad_bits=bits[2])


def levels(row: torch.Tensor) -> int:
    """How many values there are, where pieces of a grid that meet may differ in their last digit."""
    values = row.unique()
    return 1 + int((values.diff() > 1e-6 * values.abs().max()).sum())


SETTINGS = [setting for kind in METHODS.values() for setting in variants(kind)]
SCHEMES = [scheme_of(kind(), bits) for kind in METHODS.values() for bits in bits_of(kind)]
SCHEMES += [scheme_of(setting, bits_of(type(setting))[-1]) for setting in SETTINGS if setting != type(setting)()]


@pytest.fixture(scope="module")
def model():
    return bp.load_model("digits_cnn_hardtanh", seed=0)  # whose layers receive both signs


@pytest.fixture(scope="module")
def images():
    return bp.load_data("digits", split="train", limit=16).images(range(16))


def test_the_table_names_methods_as_they_name_themselves():
    assert all(kind.name == name for name, kind in METHODS.items())
    assert len(set(METHODS.values())) == len(METHODS)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.label)
def test_what_every_method_keeps(model, images, scheme):
    before = copy.deepcopy(model.state_dict())
    quantized = quantize(model, scheme, [images])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())

    logits = quantized(images)
    assert torch.isfinite(logits).all()
    assert torch.equal(freeze(quantized)(images), logits)
    blank = prepare(bp.load_model("digits_cnn_hardtanh", seed=1), scheme)
    assert list(blank.state_dict()) == list(quantized.state_dict())
    blank.load_state_dict(quantized.state_dict())
    assert torch.equal(blank(images), logits)

    method = scheme.common.method
    for name, layer in compute_layers(quantized):
        if name not in MIDDLE:
            continue
        if scheme.weight_bits < 32:
            drawn = layer.train().weight if isinstance(method, BinaryConnect) else layer.weight
            own_grids = getattr(method, "granularity", None) == "channel" or isinstance(method, XNOR)
            rows = drawn.detach().flatten(1) if own_grids else drawn.detach().reshape(1, -1)
            most = 2 ** (scheme.weight_bits + 1) - 3 if isinstance(method, PWLQ) else 2**scheme.weight_bits
            assert max(map(levels, rows)) <= most
        if scheme.act_bits < 32:
            quantizer = input_quantizer(layer)
            assert quantizer is not None
            y = quantizer(torch.linspace(-9, 9, 3001)[None])
            assert 2 <= len(y.unique()) <= 2**scheme.act_bits


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.label)
def test_schemes_come_back_from_their_description_and_their_text(scheme):
    assert build(Scheme, describe(scheme)) == scheme
    assert Scheme.parse(scheme.label.replace(" ", ":", 1).replace(" ", ",")) == scheme


def test_no_two_settings_have_one_key():
    schemes = {digest(describe(scheme)) for scheme in SCHEMES}
    assert len(schemes) == len(SCHEMES) == len(set(SCHEMES)) == len({scheme.label for scheme in SCHEMES})


@pytest.mark.parametrize("kind", METHODS.values(), ids=lambda kind: kind.name)
def test_bits_outside_the_range_are_refused(kind):
    for i, allowed in enumerate((kind.weight_bits, kind.act_bits, kind.grad_bits)):
        name = ("weight_bits", "act_bits", "grad_bits")[i]
        for bits in EVERY_WIDTH:
            widths: dict[str, int] = {"weight_bits": 32, "act_bits": 32, "grad_bits": 32, name: bits}
            if bits in (*allowed, 32):
                assert getattr(Scheme(kind(), **widths), name) == bits
            else:
                with pytest.raises(InputError, match=f"{name} is {bits}: {kind.name.replace('+', '[+]')} "):
                    Scheme(kind(), **widths)


@pytest.mark.parametrize("kind", METHODS.values(), ids=lambda kind: kind.name)
def test_names_that_no_table_has_are_refused(kind):
    for field in fields(kind):
        if field.name in CHOICES:
            with pytest.raises(InputError, match=f"unknown {field.name} 'nonsense'"):
                kind(**{field.name: "nonsense"})


@pytest.mark.parametrize("kind", [k for k in METHODS.values() if "percentile" in {f.name for f in fields(k)}])
def test_a_percentile_that_no_range_looks_at_is_refused(kind):
    with pytest.raises(InputError, match="percentile is 99, and no range is 'percentile'"):
        kind(percentile=99)
