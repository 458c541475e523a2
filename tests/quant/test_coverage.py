"""What share of a model is quantized, against numbers counted by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.quant import Scheme, coverage, freeze, quantize
from bitproof.records import Coverage, Part
from bitproof.report import terminal, text
from bitproof.subjects import Subject

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.r, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.LSTM(64, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.r(F.relu(self.c(x)).permute(0, 3, 1, 2).flatten(2))[0][:, -1])


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.w, self.fc = nn.Conv2d(3, 8, 3), nn.Parameter(torch.randn(16, 8, 3, 3) * 0.1), nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(F.relu(F.conv2d(F.relu(self.c(x)), self.w)).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.s, self.a = nn.Conv2d(3, 64, 4, 4), nn.MultiheadAttention(64, 2, batch_first=True)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        y = self.s(x).flatten(2).transpose(1, 2)
        return self.fc(self.a(y, y, y, need_weights=False)[0].mean(1))


BITS = {"weight_bits": 4, "act_bits": 8}
BY_HAND = [
    # parts: weights, multiply-accumulates of one image, bits
    (
        Recurrent(),
        {"c": (216, 8 * 8 * 216, 8, 8), "r": (2 * 256 * 64, 8 * 2 * 256 * 64, 32, 32), "fc": (640, 640, 8, 8)},
    ),
    (
        Functional(),
        {"": (1152, 12 * 12 * 1152, 32, 32), "c": (216, 14 * 14 * 216, 8, 8), "fc": (160, 160, 8, 8)},
    ),
    (
        Attention(),
        {
            "s": (3072, 16 * 3072, 8, 8),
            "a": (3 * 64 * 64, 16 * 4 * 64 * 64 + 2 * 16 * 16 * 64, 32, 32),
            "a.out_proj": (4096, 0, 4, 32),
            "fc": (640, 640, 8, 8),
        },
    ),
    (
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.Flatten(), nn.Linear(1176, 4)),
        {"0": (54, 14 * 14 * 54, 8, 8), "2": (4704, 4704, 8, 8)},
    ),
]


@pytest.mark.parametrize(("model", "expected"), BY_HAND, ids=["lstm", "functional", "attention", "grouped"])
def test_weights_and_products_by_hand(model, expected):
    found = coverage(freeze(quantize(model.eval(), Scheme(**BITS), [IMAGES])), IMAGES)
    assert {p.name: (p.weights, p.products, p.weight_bits, p.act_bits) for p in found.parts} == expected
    quantized = sum(e[0] for e in expected.values() if e[2] < 32)
    assert found.weights == quantized / sum(e[0] for e in expected.values())
    whole = sum(e[1] for e in expected.values() if e[2] < 32 and e[3] < 32)
    assert found.products == whole / sum(e[1] for e in expected.values())


def test_a_whole_model_a_wrapped_one_and_float_inputs():
    model = bp.load_model("resnet20")
    quantized = quantize(model, Scheme(weight_bits=4, act_bits=32))
    found = coverage(freeze(nn.Sequential(nn.Identity(), quantized)), torch.rand(1, 3, 32, 32))
    assert (found.weights, found.products, found.floating()) == (1, 1, [])
    assert sum(part.products for part in found.parts) == 40_551_040 + 0  # 40.55 million, as the family's papers count
    kept = coverage(freeze(quantize(model, Scheme(**BITS, first="float"), torch.rand(1, 3, 32, 32))))
    assert kept.weights == 1 - 432 / sum(part.weights for part in kept.parts)
    assert kept.products is None  # without images
    assert coverage(nn.ReLU()) is None


def test_words_name_what_stays_float():
    found = Coverage(
        parts=(
            Part(name="", weights=30, products=0),
            Part(name="conv", weights=60, products=100, weight_bits=4, act_bits=4),
            Part(name="attend", weights=10, products=100, weight_bits=4),
        )
    )
    assert text.coverage(found) == (
        "Quantized: 70.0% of the weights and 50.0% of the multiply-accumulates. "
        "Float: attend (50.0% of the multiply-accumulates), the model itself (30.0% of the weights)."
    )
    assert found.floating(0.4) == [("attend", 0.0, 0.5)]


def test_a_module_that_is_float_as_a_whole_is_one_part():
    member = [("features.0", 10), ("features.1", 30), ("linear", 10)]
    parts = [Part(name=f"members.0.{name}", weights=size, products=size) for name, size in member]
    parts += [Part(name=f"members.1.{name}", weights=size, products=size, weight_bits=4) for name, size in member]
    parts[-1] = replace(parts[-1], weight_bits=32)
    parts.append(Part(name="members.10", weights=100, products=100, weight_bits=4))
    assert Coverage(parts=tuple(parts)).floating() == [("members.0", 0.25, 0.25), ("members.1.linear", 0.05, 0.05)]


def test_results_say_it(tmp_path):
    data = bp.load_data("digits", limit=16)
    model = nn.Sequential(nn.Flatten(), Wide(400, 100), nn.ReLU(), nn.Linear(100, 10)).eval()
    quantized = quantize(model, Scheme(**BITS, last="same"), data)
    with bp.Store(tmp_path / "r.db") as store:
        result = bp.evaluate({"float": model, "w4a8": quantized}, data, suite="clean", store=store, progress=False)
        (of_float,), (of_quantized,) = ([c.model for c in result.cells if c.model.name == n] for n in ("float", "w4a8"))
        assert of_float.coverage is None
        assert of_quantized.coverage.weights == of_quantized.coverage.products == 1000 / 41000
        assert [c.model.coverage for c in store.query() if c.model.name == "w4a8"] == [of_quantized.coverage]
    (note,) = terminal.notes(result.records)
    assert note.startswith("w4a8: Quantized: 2.4% of the weights and 2.4% of the multiply-accumulates. Float: 1 (97.6%")
    assert "Float: 1 (97.6% of the weights" in result.report(tmp_path / "r.html").read_text()
    assert Subject.of(quantized).record("x").identity == of_quantized.identity


@pytest.mark.parametrize("hold", [list, tuple, lambda layers: dict(enumerate(layers)), lambda layers: {"a": [layers]}])
def test_layers_that_are_not_registered_count_too(hold):
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.held, self.last = hold([nn.Flatten(), nn.Linear(400, 100).eval()]), nn.Linear(100, 10)

        def forward(self, x):
            kept = self.held["a"][0] if isinstance(self.held, dict) and "a" in self.held else self.held
            return self.last(kept[1](kept[0](x)))

    quantized = quantize(Held().eval(), Scheme(**BITS, last="same"), torch.rand(2, 1, 20, 20))
    found = coverage(freeze(quantized), torch.rand(2, 1, 20, 20))
    assert found.weights == found.products == 1000 / 41000
    (part,) = (part for part in found.parts if part.name != "last")
    assert part.name.startswith("held[") and (part.weights, part.products, part.weight_bits) == (40000, 40000, 32)


def test_a_quantized_model_that_a_function_calls_is_counted_and_left_as_it_was():
    data = bp.load_data("digits", limit=16)
    quantized = quantize(bp.load_model("digits_cnn"), Scheme(**BITS), data)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in quantized.modules()]
    (cell,) = bp.evaluate({"m": lambda x: quantized(x)}, data, suite="clean", progress=False).cells
    alone = coverage(freeze(quantized), data.images(range(2)))
    assert cell.model.coverage.weights == alone.weights == 1
    assert cell.model.coverage.products == alone.products
    assert sum(p.products for p in cell.model.coverage.parts) == sum(p.products for p in alone.parts)
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in quantized.modules()] == hooks


def test_it_is_not_counted_anew_where_a_record_has_it(tmp_path, monkeypatch):
    data = bp.load_data("digits", limit=16)
    quantized = quantize(bp.load_model("digits_cnn"), Scheme(**BITS), data)
    models, counted = {"one": quantized, "again": quantized}, []
    monkeypatch.setattr("bitproof.experiment.apart.coverage", lambda *args: counted.append(args) or coverage(*args))
    first, second = (
        bp.evaluate(models, data, conditions=conditions, store=tmp_path / "r.db", progress=False)
        for conditions in ([], ["gaussian-noise"])
    )
    assert len(counted) == 1
    assert {cell.model.coverage for cell in (*first.cells, *second.cells)} == {first.cells[0].model.coverage} != {None}


class Wide(nn.Module):
    """A linear layer that is none of torch's."""

    def __init__(self, one, two):
        super().__init__()
        self.w = nn.Parameter(torch.randn(two, one, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x @ self.w.T
