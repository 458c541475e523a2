"""Two models that answer differently are two models, whatever it is that they differ in."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.store import Store
from bitproof.subjects import Subject, fingerprint, same_answers
from bitproof.subjects.probing import Probe, probe, steadiness


class Attending(nn.Module):
    def __init__(self, heads):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(1, 16, 5, 5), nn.Linear(16, 10)
        self.attention = nn.MultiheadAttention(16, heads, batch_first=True)

    def forward(self, x):
        y = self.conv(x).flatten(2).transpose(1, 2) * 12
        y = y - y.mean(1, keepdim=True)
        return self.fc(self.attention(y, y, y, need_weights=False)[0].mean(1) * 9)


class Scaled(nn.Module):
    def __init__(self, model, sign):
        super().__init__()
        self.model, self.sign = model, sign

    def forward(self, x):
        return self.model(x) * self.sign


class Shifted(nn.Module):
    def __init__(self, model, mean, *, buffer):
        super().__init__()
        self.model = model
        if buffer:
            self.register_buffer("mean", torch.tensor(mean), persistent=False)
        else:
            self.mean = torch.tensor(mean)

    def forward(self, x):
        return self.model((x - self.mean).abs())


class Applying(nn.Module):
    """Holds whatever it is given: functions, partials, bound methods, lists of modules."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x):
        return self.change(self.model(x))


def turned(sign):
    return lambda logits: logits * sign


def times(logits, factor=1.0):
    return logits * factor


class Gain:
    def __init__(self, factor):
        self.factor = factor

    def apply(self, logits):
        return logits * self.factor


def part(factor):
    return Applying(base(), partial(times, factor=factor))


def hooked(sign):
    model = bp.load_model("digits_cnn", seed=0)
    model.register_forward_hook(lambda module, inputs, output: output * sign)
    return model


def base():
    return bp.load_model("digits_cnn", seed=0)


PAIRS = {
    "heads of attention": (lambda: Attending(1), lambda: Attending(8)),
    "a plain number": (lambda: Scaled(base(), 1.0), lambda: Scaled(base(), -1.0)),
    "a buffer that is not saved": (
        lambda: Shifted(base(), 0.0, buffer=True),
        lambda: Shifted(base(), 1.0, buffer=True),
    ),
    "a plain tensor": (lambda: Shifted(base(), 0.0, buffer=False), lambda: Shifted(base(), 1.0, buffer=False)),
    "a hook's closure": (lambda: hooked(1.0), lambda: hooked(-1.0)),
    "a function's closure": (lambda: Applying(base(), turned(1.0)), lambda: Applying(base(), turned(-1.0))),
    "a partial": (
        lambda: Applying(base(), partial(times, factor=1)),
        lambda: Applying(base(), partial(times, factor=-1)),
    ),
    "a bound method": (lambda: Applying(base(), Gain(1.0).apply), lambda: Applying(base(), Gain(-1.0).apply)),
}


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=40)


@pytest.mark.parametrize("what", PAIRS)
def test_what_changes_answers_changes_the_identity(what, data):
    one, other = (make().eval() for make in PAIRS[what])
    assert fingerprint(one) != fingerprint(other)
    result = bp.evaluate({"one": one, "other": other}, data, suite="clean", progress=False)
    for cell, model in zip(result.cells, (one, other), strict=True):
        assert (cell.predictions == model(data.images(range(40))).argmax(1).numpy()).all()


@pytest.mark.parametrize("what", PAIRS)
def test_what_changes_no_answer_keeps_the_identity(what):
    model = PAIRS[what][0]().eval()
    before = fingerprint(model)
    assert fingerprint(PAIRS[what][0]().eval()) == before  # made again
    assert fingerprint(copy.deepcopy(model)) == before or what == "a bound method"  # whose object is another copy
    model.train().requires_grad_(False).eval()(torch.rand(2, 1, 20, 20))
    assert fingerprint(model) == before
    model.scheme = model.architecture = None  # what is known of it
    assert fingerprint(model) == before


def test_what_is_put_into_a_class_of_a_package_counts(monkeypatch):
    model, found = base(), [fingerprint(base())]
    before, plain = found[0], nn.Conv2d._conv_forward
    for factor in (1.0001, 1.0002):

        def patched(self, *args, factor=factor):
            return factor * plain(self, *args)

        monkeypatch.setattr(nn.Conv2d, "_conv_forward", patched)
        found.append(fingerprint(model))
    assert len(set(found)) == 3
    monkeypatch.undo()
    monkeypatch.setattr(nn.Module, "__call__", partial(times))  # of a class that it derives from, and no plain function
    assert fingerprint(model) != before
    monkeypatch.undo()
    assert fingerprint(model) == before


def test_a_module_that_holds_itself_has_an_identity():
    model = Applying(nn.Linear(2, 2), torch.relu)
    model.others = [model, {"again": model}, model.model]
    assert fingerprint(model) == fingerprint(copy.deepcopy(model))


class FromFile(nn.Module):
    """Looks at what no fingerprint sees."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, x):
        return 9 * float(Path(self.path).read_text()) * x.mean((1, 2, 3))[:, None] * torch.arange(10.0)


def test_live_answers_tell_apart_what_no_fingerprint_does(data, tmp_path):
    path, store = tmp_path / "gain", Store(tmp_path / "runs.db")
    model, found = FromFile(str(path)), []
    for gain in ("1", "-1", "1", "-1"):
        path.write_text(gain)
        found.append(bp.evaluate(model, data, conditions=["gaussian-noise"], store=store, progress=False))
    assert [result.computed for result in found] == [2, 2, 0, 0]
    for first, again in ((0, 2), (1, 3)):
        assert (found[first].cells[0].predictions == found[again].cells[0].predictions).all()
    assert (found[0].cells[0].predictions != found[1].cells[0].predictions).any()
    assert found[1].cells[0].model.fingerprint == found[0].cells[0].model.fingerprint + "~2"
    store.close()


def test_a_model_that_answers_at_random_or_by_its_batch_is_known_as_such(data):
    class Random(nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3))[:, None] * torch.arange(10.0) + torch.rand(len(x), 10)

    class OfBatch(nn.Module):
        def forward(self, x):
            return (x - x.mean()).mean((1, 2, 3))[:, None] * torch.arange(10.0)

    images = data.images(range(16))
    steady, random, of_batch = (probe(m.eval(), images) for m in (base(), Random(), OfBatch()))
    assert [(p.random, p.of_batch) for p in (steady, random, of_batch)] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    few_bits = bp.quantize(base(), bp.Scheme(weight_bits=2, act_bits=2), data).eval()
    for k in (1, 2, 16):  # another batch size goes through other kernels, another image does not
        assert steadiness(few_bits, images[:k]) == (False, False)
        assert steadiness(OfBatch().eval(), images[:k]) == (False, True)
        assert steadiness(Random().eval(), images[:k]) == (True, False)
    (cell,) = bp.evaluate(Random(), data, suite="clean", progress=False).cells
    assert cell.model.random and not cell.model.of_batch
    assert same_answers(steady, steady) and not same_answers(steady, of_batch)
    few = Probe(predictions=steady.predictions[:0], confidences=steady.confidences[:0], random=False, of_batch=False)
    assert same_answers(few, few)


def test_wrapped_models_keep_what_is_known_of_them(data, tmp_path):
    schemes = [bp.Scheme("affine", weight_bits=bits, act_bits=8) for bits in (4, 6)]
    train = bp.load_data("digits", split="train", limit=32)
    four, six = (bp.quantize(base(), scheme, train) for scheme in schemes)

    class Ensemble(nn.Module):
        def __init__(self, *models):
            super().__init__()
            self.models = nn.ModuleList(models)

        def forward(self, x):
            return torch.stack([model(x) for model in self.models]).mean(0)

    for wrapped in (four, nn.Sequential(four), nn.DataParallel(four), torch.compile(four), bp.freeze(four)):
        about = Subject.of(wrapped).record("w")
        assert (about.weight_bits, about.act_bits, about.architecture) == (4, 8, "digits_cnn")
        assert about.scheme == Subject.of(four).record("w").scheme and not about.is_float
    with pytest.raises(bp.InputError, match="quantized already"):
        bp.quantize(nn.Sequential(four), schemes[1], train)
    with pytest.raises(bp.InputError, match="a Sequential around a quantized model"):
        bp.save_model(nn.Sequential(four), tmp_path / "q.safetensors", architecture="digits_cnn")
    both = Subject.of(Ensemble(four, six))
    assert (both.weight_bits, both.act_bits, both.scheme) == (4, 8, None)
    result = bp.evaluate({"float": base(), "wrapped": nn.Sequential(four)}, data, suite="clean", progress=False)
    assert list(result.table()["weight_bits"]) == [32, 4]


def test_a_plain_function_can_be_tested(data):
    model = base().eval()
    expected = bp.evaluate(model, data, suite="clean", progress=False).cells[0]
    found = bp.evaluate(lambda x: model(x), data, suite="clean", progress=False).cells[0]
    assert (found.predictions == expected.predictions).all()


def test_what_calls_a_quantized_model_is_none_of_float(data):
    quantized = bp.quantize(base(), bp.Scheme(weight_bits=4, act_bits=8), bp.load_data("digits", limit=8))

    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = [{"model": quantized}]

        def forward(self, x):
            return self.hidden[0]["model"](x)

    class Callable:
        def __init__(self):
            self.model = quantized

        def __call__(self, x):
            return self.model(x)

        def ask(self, x):
            return self.model(x)

    def default(x, model=quantized):
        return model(x)

    def outer(x):
        return default(x)

    calls = (lambda x: quantized(x), Held(), Callable(), Callable().ask, default, outer)
    for model in (*calls, partial(lambda m, x: m(x), quantized)):
        about = Subject.of(model).record("m")
        assert (about.weight_bits, about.act_bits) == (4, 8), model
    assert Subject.of(lambda x: x.flatten(1)).record("m").is_float
