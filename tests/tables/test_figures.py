"""Numbers of tables and figures that ask the models themselves, on networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.analysis import ErrorAmplification
from bitproof.attacks import FGSM
from bitproof.conditions import Crafted
from bitproof.metrics import ACCURACY
from bitproof.quant import compute_layers
from bitproof.tables import bernhard2019_rounding, lin2019_figures, study_of, table_of
from bitproof.tables.hong2021_figures import _beside_float
from bitproof.tables.hong2021_parts import with_noise
from bitproof.tables.making import Workshop
from bitproof.tables.readings import reading
from bitproof.tables.table import CLEAN, Measured
from metric_cells import make_cell

ONE = bp.Rng(0, np.zeros(1, np.int64))
W2 = bp.Scheme("affine", weight_bits=2, act_bits=32, first="same", last="same")


class Toy(nn.Module):
    """Two pixels, two ReLUs: class 0 where x1 - 0.4 x2 > 0.2 x1 + x2, so x2 < 4/7 x1. With weights on {-1, 0, 1} these
    are x1 and x2 alone, and class 0 is where x2 < x1."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.tensor([[1.0, -0.4], [0.2, 1.0]]))
            self.out.weight.copy_(torch.eye(2))

    def forward(self, images):
        return self.out(self.hidden(images.flatten(1)).relu())


def test_rounding_the_weights_of_a_toy_network_undoes_its_adversarial_image(monkeypatch):
    pixels = np.array([[0.8, 0.3], [0.8, 0.1], [0.7, 0.65]], np.float32)  # undone, never deceived, wrong in float
    data = bp.from_arrays(pixels.reshape(3, 1, 1, 2), [0, 0, 0], classes=["left", "right"])
    toy = Toy().eval()
    models = {"full": toy, "weights of 2 bits": bp.quantize(toy, W2, data)}
    assert models["weights of 2 bits"].hidden.weight.tolist() == [[1, 0], [0, 1]]
    attack = Crafted(attack=FGSM(eps=0.15, stop_at_hit=False), examples="all", source="full")
    result = bp.evaluate(models, data, conditions=[attack], progress=False)
    names = {"clean": CLEAN, attack.label: "FGSM from full"}
    cells = {(cell.model.name, names[cell.condition.label]): cell for cell in result.cells}
    monkeypatch.setattr(bernhard2019_rounding, "GIVEN", ("FGSM",))
    measured = Measured(
        cells=cells, models=tuple(models), diverged={}, setting="CIFAR10", test=data, open=models.__getitem__
    )
    found = {one.key: one for one in bernhard2019_rounding.undone(measured)}
    assert found["full", "clean acc"].estimate[0] == pytest.approx(2 / 3)
    assert found["full", "FGSM acc"].estimate[0] == pytest.approx(1 / 3)
    assert found["weights of 2 bits", "clean acc"].estimate[0] == 1
    undone = found["weights of 2 bits", "FGSM undone"]
    assert undone.n == 1 and undone.estimate[0] == 1


def test_noise_has_the_mean_and_the_spread_that_are_asked_for(model):
    sizes = {name: (0.5 * place, 0.1 / place) for place, (name, _) in enumerate(compute_layers(model), 1)}
    noisy = with_noise(model, sizes, ONE)
    for (name, before), (_, after) in zip(compute_layers(model), compute_layers(noisy), strict=True):
        change = (after.weight - before.weight).detach()
        mean, std = sizes[name]
        assert float(change.mean()) == pytest.approx(mean, abs=4 * std / change.numel() ** 0.5)
        assert float(change.std()) == pytest.approx(std, rel=4 / (2 * change.numel()) ** 0.5)
    other = with_noise(model, sizes, bp.Rng(1, np.zeros(1, np.int64)))
    assert not torch.equal(next(noisy.parameters()), next(other.parameters()))


def test_what_quantization_changes_is_paired_with_the_float_model():
    right = {"32": [1, 1, 1, 0], "4": [1, 0, 0, 1], "8": [1, 1, 1, 1]}
    readings = [reading("a", f"{b} bits accuracy", ACCURACY, [make_cell(of)]) for b, of in right.items()]
    found = {one.column: one for one in _beside_float(readings, "accuracy", "drop", -1)}
    assert found["4 bits drop"].scores.tolist() == [[0, 1, 1, -1]] and found["8 bits drop"].estimate[0] == -0.25
    assert set(found) == {"4 bits drop", "8 bits drop"}
    assert _beside_float(readings[1:], "accuracy", "drop", -1) == []  # the float model did not converge


def test_noise_is_as_large_as_the_attacks_change(tmp_path, model):
    study = study_of(table_of("hong2021", "figure1"), "smoke")
    data = bp.load_data("digits", limit=4)
    shop = Workshop(
        makings=study.models, train=data, test=data, folder=tmp_path, weights={}, seed=0, device=None, progress=False
    )
    attacked = with_noise(model, {name: (0.01, 0.02) for name, _ in compute_layers(model)}, ONE)
    shop._made |= {"clean": model, "indiscriminate": attacked}
    one, two = (dict(compute_layers(shop.model(f"noise #{number}"))) for number in (1, 2))
    for name, layer in compute_layers(model):
        change = (one[name].weight - layer.weight).detach()
        assert float(change.std()) == pytest.approx(0.02, rel=8 / (2 * change.numel()) ** 0.5)
        assert not torch.equal(one[name].weight, two[name].weight)


def test_defences_of_lin2019_are_those_of_its_data_and_see_squeezed_images(model):
    table = table_of("lin2019", "table2")
    full, reduced = (study_of(table, scale) for scale in ("full", "reduced"))
    assert (full.data, full.network, full.training_size) == ("svhn", "wrn_16_4", 73_257) and not full.differs
    assert full.models["Normal"].recipe.optimisation.learning_rate == 0.01
    assert full.models["substitute"].recipe.optimisation.epochs == 160
    assert reduced.data == "cifar10" and reduced.differs[0] == "other images"
    assert "other images" not in study_of(table_of("lin2019", "table3"), "reduced").differs
    images = bp.load_data("digits", limit=3).images(range(3))
    squeezed = full.models["Feature Squeezing"].how(model, None)
    few = (images * 31).round() / 31
    assert torch.equal(squeezed(images), squeezed(few)) and not torch.equal(squeezed(images), model(images))


class Lit(nn.Module):
    """The sum of four pixels above 1, for class 0: nothing of it comes of a dark image."""

    def __init__(self) -> None:
        super().__init__()
        self.light, self.out = nn.Linear(4, 1), nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.light.weight.fill_(1.0)
            self.light.bias.fill_(-1.0)
            self.out.weight.copy_(torch.tensor([[1.0], [-1.0]]))

    def forward(self, images):
        return self.out(self.light(images.flatten(1)).relu())


def test_relative_distances_are_of_images_of_which_a_layer_is_given_something():
    levels = np.array([0, 51, 204, 153], np.uint8)
    test = bp.from_arrays(np.broadcast_to(levels[:, None, None, None], (4, 1, 2, 2)).copy(), np.zeros(4, int))
    measured = Measured(cells={}, models=("m",), diverged={}, setting="", test=test, open=lambda _: Lit().eval())
    found = {reading.key: reading for reading in lin2019_figures.amplified(measured)}
    assert list(found) == [(row, f"layer {k}") for row in ("m", "m, random signs") for k in (1, 2)]
    moved, bright = 8 / 255, np.array([0.8, 0.6])
    first, second = found["m", "layer 1"], found["m", "layer 2"]
    assert (first.n, second.n) == (3, 2)  # black has no norm; of what is below 1/4 the second layer is given zeros
    assert first.estimate[0] == pytest.approx(np.mean([0, *(moved / bright)]), rel=1e-4)  # at 0.2 there is no slope
    assert second.estimate[0] == pytest.approx(np.mean(4 * moved / (4 * bright - 1)), rel=1e-4)
    control = found["m, random signs", "layer 1"]
    assert control.n == 3 and control.estimate[0] == pytest.approx(np.mean(moved / np.array([0.2, *bright])), rel=1e-4)
    record = ErrorAmplification(eps=(moved,))({"m": Lit().eval()}, test, seed=0)
    assert record.means[0, 0, :2] == pytest.approx([first.estimate[0], second.estimate[0]], rel=1e-4)
    ratios = 4 * moved / (4 * bright - 1)
    assert record.errors[0, 0, 1] == pytest.approx(ratios.std(ddof=1) / 2**0.5, rel=1e-4)
