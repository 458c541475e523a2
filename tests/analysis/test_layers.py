"""Which layer: a planted one is found, and the numbers are those of the models themselves."""

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.analysis import WhichLayer
from bitproof.analysis.forms import forms
from bitproof.attacks import FGSM
from bitproof.errors import InputError
from bitproof.quant.attached import compute_layers, input_quantizer
from bitproof.records import Attribution
from bitproof.store import Store

WORST = "backbone.features.1.0"
ATTACK = FGSM(eps=0.05)


@pytest.fixture(scope="module")
def planted(model):
    """8 bits, where the range of one layer's inputs is a thousand times too narrow."""
    quantized = bp.quantize(model, "w8a8", bp.load_data("digits", limit=64))
    quantizer = input_quantizer(quantized.get_submodule(WORST))
    quantizer.set_scale(quantizer.code_grid().scale / 1000)
    return quantized


@pytest.mark.parametrize("way", ["float", "quantized"])
def test_the_planted_layer_comes_first(model, planted, data, way):
    found = WhichLayer(way=way, attack=ATTACK)({"q": planted, "float": model}, data, rng=bp.Rng(0, data.ids))
    first = found.layers[0]
    assert (first.name, first.weight_bits, first.act_bits, first.place) == (WORST, 8, 8, 1)
    assert first.agreement.value * (1 if way == "float" else -1) > 0.1 and first.agreement.p_holm < 0.05
    assert all(abs(layer.agreement.value) <= 0.05 for layer in found.layers[1:])
    assert found.whole["agreement"] == 1 if way == "float" else found.base["agreement"] == 1
    assert [layer.name for layer in found.sure] == [WORST]
    assert f"is {WORST} " in found.findings[1] and found.table().iloc[0]["layer"] == WORST


def test_numbers_are_those_of_the_models_themselves(model, planted, data):
    found = WhichLayer(attack=ATTACK)({"q": planted, "float": model}, data, rng=bp.Rng(0, data.ids), batch_size=25)
    rounded, loose = forms(planted)
    images, labels = data.images(range(len(data))), torch.from_numpy(data.labels)
    expected = model(images).argmax(1)
    made = ATTACK(rounded, images, labels, rng=bp.Rng(0, data.ids, ("layers", "attack")))
    base = rounded(images).argmax(1)
    assert found.base == pytest.approx(
        {
            "agreement": float((base == expected).float().mean()),
            "accuracy": float((base == labels).float().mean()),
            "robust": float((rounded(made).argmax(1) == labels).float().mean()),
        }
    )
    (effect,) = [layer for layer in found.layers if layer.name == WORST]
    rounded.set_submodule(WORST, dict(compute_layers(loose))[WORST])
    for measure, inputs, of in (
        ("agreement", images, expected),
        ("accuracy", images, labels),
        ("robust", made, labels),
    ):
        change = getattr(effect, measure)
        share = float((rounded(inputs).argmax(1) == of).float().mean())
        assert share - found.base[measure] == pytest.approx(change.value), measure
        assert change.low <= change.value <= change.high
    macs = np.array([14400, 460800, 345600, 12000])  # of the four layers, an image: 10x10x16x9, 10x10x32x144, ...
    alone = macs[::-1].cumsum()[::-1].sum() / macs.sum()
    assert found.repeats == pytest.approx(2 * (2 + alone))
    assert found.forwards == pytest.approx(len(data) * (found.repeats + 1)) and found.backwards == len(data)


def test_weights_and_inputs_are_told_apart(model, data):
    """Where inputs are float, turning them changes nothing, and turning the weights all."""
    quantized = bp.quantize(model, "w2a32")
    asked = {
        turned: WhichLayer(turned=turned, attack=ATTACK)({"q": quantized}, data, rng=bp.Rng(0, data.ids))
        for turned in ("both", "weights", "inputs")
    }
    assert asked["both"].layers == asked["weights"].layers
    assert all(layer.agreement.value == 0 == layer.robust.value for layer in asked["inputs"].layers)
    assert asked["inputs"].base == asked["inputs"].whole and asked["both"].whole["agreement"] == 1
    assert asked["both"].title == "q: one layer at a time back to float"


def test_it_is_stored_found_and_listed(models, data, tmp_path):
    with Store(tmp_path / "runs.db") as store:
        settings = {"suite": "clean", "analyses": ["layers:attack=fgsm", "layers:way=quantized,attack=fgsm"]}
        first = bp.evaluate(models, data, store=store, progress=False, **settings)
        again = bp.evaluate(models, data, store=store, progress=False, **settings)
        assert first.computed == 4 and again.computed == 0
        kept = store.query("layers")
    assert [record.way for record in first.explanations] == ["float", "quantized"]
    assert {record.key for record in kept} == {record.key for record in again.explanations}
    assert isinstance(kept[0], Attribution) and kept[0].others[0].name == "float"


def test_what_cannot_be_asked_is_refused(model, data):
    with pytest.raises(InputError, match=r"WhichLayer has none of float to explain.*--scheme"):
        bp.evaluate({"float": model}, data, suite="clean", analyses=["layers"], progress=False)
    with pytest.raises(InputError, match="unknown way 'up'"):
        WhichLayer(way="up")
    with pytest.raises(InputError, match="unknown analysis 'layer'"):
        bp.evaluate({"float": model}, data, analyses=["layer"], progress=False)
    with pytest.raises(InputError, match="randomness for 3"):
        WhichLayer()({"float": model}, data, rng=bp.Rng(0, np.arange(3)))
