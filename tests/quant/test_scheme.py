"""What a model gets: the first and the last layer, rules for layers by name, and all of it as text."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.quant import LSQ, METHODS, Affine, DoReFa, LayerRule, LayerScheme, Scheme, compute_layers, quantize
from bitproof.quant.attached import input_quantizer, weight_quantizer
from bitproof.settings import build, describe
from bitproof.subjects import Subject

NAMES = ("stem", "block.conv1", "block.conv2", "head")


@pytest.fixture(scope="module")
def model():
    return bp.load_model("digits_cnn", seed=0)


@pytest.fixture(scope="module")
def images():
    return bp.load_data("digits", split="train", limit=16).images(range(16))


def bits(scheme: Scheme, names: tuple[str, ...] = NAMES) -> list[tuple[str, int, int, int]]:
    layers = scheme.assign(names)
    return [(here.method.name, here.weight_bits, here.act_bits, here.grad_bits) for here in layers]


def quantized_parts(model: torch.nn.Module) -> list[str]:
    """Of each compute layer in order, whether its (w)eight and its (i)nput go through a quantizer."""
    return [
        "w" * (weight_quantizer(layer) is not None) + "i" * (input_quantizer(layer) is not None)
        for _, layer in compute_layers(model)
    ]


def test_a_name_stands_for_the_method_as_it_is_by_default():
    assert Scheme("lsq", weight_bits=4) == Scheme(LSQ(), weight_bits=4)
    assert hash(Scheme("lsq")) == hash(Scheme(LSQ()))
    assert Scheme() == Scheme(Affine()) == Scheme.parse("w8a8") == Scheme.parse("affine:w8a8")
    assert describe(Scheme("lsq")) == describe(Scheme(LSQ()))
    assert replace(Scheme("lsq"), act_bits=4).method == LSQ()


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        ("8bit", ("affine", 8, 8, 32)),
        ("same", ("dorefa", 2, 3, 6)),
        ("weights", ("dorefa", 2, 32, 6)),
        ("inputs", ("dorefa", 32, 3, 6)),
        ("float", ("dorefa", 32, 32, 32)),
    ],
)
def test_first_and_last_layer_apart(edge, expected):
    common = ("dorefa", 2, 3, 6)
    scheme = Scheme("dorefa", weight_bits=2, act_bits=3, grad_bits=6, last="same")
    assert bits(replace(scheme, first=edge)) == [expected, common, common, common]
    assert bits(replace(scheme, first="same", last=edge)) == [common, common, common, expected]
    assert bits(replace(scheme, first=edge), ("only",)) == [expected]
    assert Scheme.parse(f"dorefa:w2a3g6,first={edge},last={edge}") == replace(scheme, first=edge, last=edge)


@pytest.mark.parametrize("text", ["w4a32", "w32a4"])
def test_eight_bit_edges_leave_float_what_is_float_elsewhere(text):
    first, middle = bits(Scheme.parse(text))[:2]
    assert [b == 32 for b in first] == [b == 32 for b in middle]


def test_eight_bit_edges_share_what_the_affine_method_has_too():
    edge = Scheme.parse("lsq:w4a4,granularity=tensor,act_symmetric=true").assign(NAMES)[0]
    assert edge.method == Affine(granularity="tensor", act_symmetric=True)
    assert Scheme.parse("pact:w4a4,act_range=omse").assign(NAMES)[-1].method == Affine(act_range="omse")


def test_the_placement_of_bernhard2019(model, images):
    """Table 9: weights of the first layer, whose images stay float; the input of the last, whose weights do."""
    scheme = Scheme("dorefa", weight_bits=2, act_bits=2, first="weights", last="inputs")
    assert Scheme.parse("dorefa:w2a2,first=weights,last=inputs") == scheme
    assert scheme.label == "dorefa w2a2 first=weights last=inputs"
    quantized = quantize(model, scheme, [images])
    assert quantized_parts(quantized) == ["w", "wi", "wi", "i"]
    (_, first), *_, (_, last) = compute_layers(quantized)
    assert len(first.weight.unique()) <= 4
    assert torch.equal(last.weight, model.get_submodule("backbone.linear").weight)
    received: list[torch.Tensor] = []
    last.register_forward_hook(lambda _, args, output: received.append(args[0]))
    quantized(images)
    assert len(received[0].unique()) <= 4


def test_the_placement_of_lin2019(model, images):
    """Activations only, the last layer's input among them, the images not."""
    scheme = Scheme.parse("relu6:w32a1,first=float,last=same")
    assert not scheme.needs_calibration
    assert quantized_parts(quantize(model, scheme)) == ["", "i", "i", "i"]


def test_rules_go_by_name_and_before_first_and_last():
    rules = (
        LayerRule("*.conv?", weight_bits=8, act_bits=32),
        LayerRule("block.conv2", weight_bits=3, act_bits=4, grad_bits=5),
        LayerRule("head", weight_bits=32, act_bits=6, method=Affine(granularity="tensor")),
    )
    scheme = Scheme("dorefa", weight_bits=2, act_bits=2, layers=rules)
    expected = [("affine", 8, 8, 32), ("dorefa", 8, 32, 32), ("dorefa", 3, 4, 5), ("affine", 32, 6, 32)]
    assert bits(scheme) == expected
    assert scheme.assign(NAMES)[3].method == Affine(granularity="tensor")
    text = "dorefa:w2a2,layers=*.conv?=w8a32+block.conv2=w3a4g5+head=affine(w32a6,granularity=tensor)"
    assert Scheme.parse(text) == scheme
    assert scheme.label == text.replace(":", " ", 1).replace(",", " ", 1)
    assert build(Scheme, describe(scheme)) == scheme
    assert scheme.needs_calibration  # for the head alone
    assert not replace(scheme, first="same", last="same", layers=rules[:2]).needs_calibration


def test_mixed_precision_reaches_the_layers(model, images):
    mixed = quantize(model, Scheme.parse("w2a4,layers=*features.1*=w8a8+*linear=w32a32"), [images])
    levels = {name: max(len(row.unique()) for row in layer.weight.flatten(1)) for name, layer in compute_layers(mixed)}
    assert [n for n, count in levels.items() if count <= 3] == ["backbone.features.2.0"]
    assert quantized_parts(mixed) == ["wi", "wi", "wi", ""]
    plain = quantize(model, Scheme.parse("w8a8"), [images])
    assert torch.equal(
        mixed.get_submodule("backbone.features.1.0").weight, plain.get_submodule("backbone.features.1.0").weight
    )


def test_a_rule_that_no_layer_follows_is_refused(model, images):
    with pytest.raises(InputError, match="no layer is called 'conv9'.*They are backbone.features.0.0, .*write [*]"):
        quantize(model, Scheme.parse("w4a4,layers=conv9=w8a8"), [images])


def test_a_checkpoint_keeps_rules(model, images, tmp_path):
    scheme = Scheme.parse("pwlq:w3a4,breakpoint=gauss,first=weights,layers=*linear=lsq(w4a4,granularity=tensor)")
    quantized = quantize(model, scheme, [images])
    bp.save_model(quantized, tmp_path / "q.safetensors", architecture="digits_cnn")
    loaded = bp.load_model("digits_cnn", weights=tmp_path / "q.safetensors")
    assert loaded.scheme == scheme
    assert torch.equal(loaded(images), quantized(images))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("w4a4,first_last=same", "unknown field of scheme 'first_last'"),
        ("dorefa:w4a4,granularity=tensor", "unknown field of scheme 'granularity'"),
        ("w4a4,weight_bits=2", "unknown field of scheme 'weight_bits'"),
        ("w4a4,first=wieghts", "unknown first 'wieghts'.*Did you mean 'weights'"),
        ("w4a4,layers=fc=w9a8", "weight_bits is 9: affine"),
        ("dorefa:w4a4,layers=fc=twn(w2a8)", "act_bits is 8: twn leaves activations float"),
        ("w4a4,layers=fc", "written .METHOD"),
        ("w4a4,layers=fc=dorefa(w4a4,granularity=tensor)", "unknown field of dorefa 'granularity'"),
        ("pwlq:w4a4,breakpoint=gauss,overlapping=true", "breakpoint 'gauss' of overlapping pieces"),
    ],
)
def test_mistakes_are_explained(text, words):
    with pytest.raises(InputError, match=words):
        Scheme.parse(text)


def test_a_layer_scheme_refuses_bits_of_its_method():
    with pytest.raises(InputError, match="grad_bits is 4: affine leaves gradients float"):
        LayerScheme(method=Affine(), weight_bits=4, act_bits=4, grad_bits=4)
    assert LayerScheme(method=DoReFa(), weight_bits=4, act_bits=4, grad_bits=4).observes is False


def test_a_method_of_ones_own_needs_no_table():
    class Mine(Affine):
        name = "mine"

    assert Scheme(Mine(), weight_bits=4, act_bits=4).label == "mine w4a4"
    assert "mine" not in METHODS


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("w8a8,first=same,last=same", "w8a8"),  # which is 8 bits as well
        ("w32a8,last=inputs", "w32a8"),
        ("w4a32,first=weights", "w4a32,first=same"),
        ("w32a32,first=float", "w32a32"),
        ("dorefa:w4a4,layers=fc=dorefa(w8a8)", "dorefa:w4a4,layers=fc=w8a8"),
        ("w4a4,layers=fc=affine(w8a8,granularity=channel)", "w4a4,layers=fc=w8a8"),
    ],
)
def test_two_spellings_are_one_scheme(text, plain):
    assert Scheme.parse(text) == Scheme.parse(plain)
    assert Scheme.parse(text).label == Scheme.parse(plain).label
    assert describe(Scheme.parse(text)) == describe(Scheme.parse(plain))


def test_settings_that_change_no_quantizer_make_no_other_key(model, images):
    """What is asked for of weights that stay float, or by a rule for what is so anyway."""
    for one, other in [
        ("w32a8", "w32a8,granularity=tensor"),
        ("w8a32", "w8a32,act_symmetric=true"),
        ("w4a4", "w4a4,layers=*linear=w8a8"),
    ]:
        keys = {Subject.of(quantize(model, Scheme.parse(text), [images])).record("m").identity for text in (one, other)}
        assert len(keys) == 1, one
    assert Subject.of(model).record("m").identity not in keys


def test_numbers_of_numpy_are_numbers():
    @dataclass(frozen=True)
    class Setting:
        bits: int

    assert describe(Setting(np.int64(4))) == describe(Setting(4))


def test_first_and_last_are_those_that_are_named():
    scheme = Scheme(weight_bits=4, act_bits=4)
    layers = scheme.assign(NAMES, first=("block.conv1", "head"), last=("stem", "head"))
    assert [here.weight_bits for here in layers] == [8, 8, 4, 8]
