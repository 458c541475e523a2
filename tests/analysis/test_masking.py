"""The diagnosis of masked gradients: statistics by hand, models masked on purpose, and quantized networks."""

import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof import cli
from bitproof.analysis.masking import BUDGETS
from bitproof.analysis.probes import ascend, slopes
from bitproof.analysis.signals import judge
from bitproof.errors import InputError
from bitproof.metrics import mcnemar, rate_above
from bitproof.records import LEAST, Diagnosis, pack, unpack
from bitproof.train import QAT, Standard
from bitproof.train.papers import BinaryNetTraining
from closed_form import LinearTwoClass

RUN = bp.Rng(0, np.zeros(1, np.int64))
SPENT = {"steps": 4, "queries": 9, "draws": 5, "directions": 3}
LITTLE = {"steps": 5, "queries": 10, "draws": 5, "directions": 4}
FREE, TRANSFER, ONE_STEP, UNBOUNDED, FLAT, ZERO, RANDOM, ASKEW, MISLED = range(9)


def firing(diagnosis: Diagnosis) -> set[int]:
    return {i for i, signal in enumerate(diagnosis.signals) if signal.fires}


# ---- statistics --------------------------------------------------------------------------------------------


def test_p_values_by_hand():
    tail = sum(comb(40, k) * 0.05**k * 0.95 ** (40 - k) for k in range(6, 41))
    assert rate_above(6, 40, 0.05) == pytest.approx(tail, rel=1e-9)
    a, b = np.arange(20) < 12, np.arange(20) >= 10  # a alone is right on 10, b alone on 8
    p = sum(comb(18, k) for k in range(10, 19)) / 2**18
    assert mcnemar(a, b, alternative="greater") == pytest.approx(p)
    assert mcnemar(a, a, alternative="greater") == 1


def sound(n: int = 100) -> dict[str, np.ndarray]:
    """Evidence without any sign of masking: PGD breaks half of the examples, and nothing else breaks more."""
    half = np.arange(n) < n // 2
    odds = np.tile(np.arange(5.0), (n, 1))
    never = np.zeros(n, bool)
    return {
        "pgd": half,
        "square": half,
        "fgsm": half & (np.arange(n) > 9),
        "noise": never,
        "transfer": half,
        "unbounded": ~never,
        "odds": odds,
        "zero": never,
        "vanishing": never,
        "cosine": np.ones(n),
        "promised": np.ones(n),
        "kept": np.ones(n),
    }


def spoiled(signal: int, count: int) -> dict[str, np.ndarray]:
    """The same, with a symptom on the last `count` examples."""
    found = sound()
    hit = np.arange(100) >= 100 - count
    match signal:
        case 0 | 1 | 2:
            name = ("square", "transfer", "fgsm")[signal]
            found[name] = found["pgd"] | hit
        case 3:
            found["unbounded"] = ~hit
        case 4:
            found["odds"][hit] = 1
        case 5:
            found["vanishing"] = hit
        case 6:
            found["noise"] = hit
        case 7:
            found["cosine"] = np.where(hit, 0.7, 1.0)
        case 8:
            found["kept"] = np.where(hit, 0.0, 1.0)
    return found


def test_sound_evidence_fires_nothing():
    signals = judge(sound(), **SPENT)
    assert [signal.fires for signal in signals] == [False] * 9
    assert all(signal.p_holm == 1 for signal in signals)


def test_poor_guides_that_harm_no_attack_are_called_that(healthy):
    diagnosis = bp.diagnose_masking(*healthy, **LITTLE)
    for symptom, words in ((ASKEW, "the weaker evidence"), (FREE, "is not robust for that")):
        assert words in replace(diagnosis, signals=judge(spoiled(symptom, 80), **SPENT)).verdict


@pytest.mark.parametrize("signal", range(9))
def test_each_symptom_fires_its_own_signal_alone(signal):
    few, many = (5, 50) if signal != ASKEW else (50, 75)
    assert [i for i, s in enumerate(judge(spoiled(signal, many), **SPENT)) if s.fires] == [signal]
    assert not any(s.fires for s in judge(spoiled(signal, few), **SPENT))


def test_an_effect_is_judged_by_significance_margin_and_holm():
    """12 of 100 that Square alone breaks: p = 2^-12, times nine signals; six of 100 are significant and too few."""
    signal = judge(spoiled(FREE, 12), **SPENT)[FREE]
    assert signal.effect == pytest.approx(0.12)
    assert signal.p_value == pytest.approx(2**-12)
    assert signal.p_holm == pytest.approx(9 * 2**-12)
    assert signal.fires
    six = judge(spoiled(FREE, 6), **SPENT)[FREE]  # above the margin, but 9 * 2^-6 > 0.05
    assert six.effect > six.limit and six.p_holm is not None and six.p_holm > 0.05 and not six.fires
    found = {name: np.repeat(values, 10, axis=0) for name, values in spoiled(FREE, 4).items()}
    four = judge(found, **SPENT)[FREE]  # 40 of 1000: beyond doubt, and below the margin
    assert four.p_holm is not None and four.p_holm < 1e-9 and not four.fires


def test_without_a_twin_transfer_is_not_looked_for_and_not_corrected_for():
    found = spoiled(FREE, 12)
    del found["transfer"]
    signals = judge(found, **SPENT)
    assert signals[TRANSFER].fires is None and "float twin" in signals[TRANSFER].sentence
    assert signals[FREE].p_holm == pytest.approx(8 * 2**-12)


# ---- probes ------------------------------------------------------------------------------------------------


def line(size: int = 6, seed: int = 0) -> LinearTwoClass:
    weight = torch.randn(1, size, size, generator=torch.Generator().manual_seed(seed))
    return LinearTwoClass(weight, 0.0).eval()


def images(model: nn.Module, n: int = 60, size: int = 6) -> bp.Data:
    """Random images away from the walls of the box, with what the model says of them as labels."""
    inputs = 0.25 + 0.5 * torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return bp.from_arrays(inputs.numpy(), model(inputs).argmax(1).numpy(), classes=["a", "b"])


def asked(data: bp.Data) -> tuple[Tensor, Tensor, bp.Rng]:
    return data.images(range(len(data))), torch.from_numpy(data.labels), bp.Rng(0, data.ids)


def test_a_linear_model_keeps_what_its_gradient_promises():
    model = line()
    inputs, labels, rng = asked(images(model))
    found = slopes(model, inputs, labels, eps=0.1, directions=4, rng=rng)
    torch.testing.assert_close(found.kept, found.promised, rtol=1e-4, atol=1e-4)
    expected = 2 * 0.1 * model.weight.abs().sum()  # of two classes the log-odds are the difference of the logits
    torch.testing.assert_close(found.promised, expected.double().expand(60), rtol=1e-4, atol=1e-4)
    assert found.cosine.min() > 0.9999
    assert not found.zero.any() and not found.vanishing.any()


def test_on_a_linear_model_the_ascent_reaches_the_corner_and_breaks_what_is_near():
    model, eps = line(), 0.05
    inputs, labels, rng = asked(images(model))
    path = ascend(model, inputs, labels, eps=eps, steps=20, rng=rng)
    away = torch.where(labels == 1, -1.0, 1.0).view(-1, 1, 1, 1) * model.weight.detach().sign()
    torch.testing.assert_close(path.images, inputs + eps * away, rtol=0, atol=1e-6)
    assert (path.odds.diff(dim=1) > -1e-5).all() and path.odds.shape == (60, 21)
    assert torch.equal(path.broken, model.distance(inputs, "linf") < eps)


# ---- masked on purpose -------------------------------------------------------------------------------------


class Before(nn.Module):
    """A model behind something done to its images."""

    def __init__(self, model: nn.Module, change) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.change(x))


class Times(nn.Module):
    """A model whose logits are multiplied."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) * self.factor


def four_bits(x: Tensor) -> Tensor:
    return torch.round(15 * x) / 15


def ripples(x: Tensor) -> Tensor:
    """Moves a pixel by 1/200 at most, with a slope of 10 either way."""
    return x + torch.sin(2000 * x) / 200


@pytest.fixture(scope="module")
def healthy() -> tuple[LinearTwoClass, bp.Data]:
    model = line()
    return model, images(model)


@pytest.mark.parametrize("seed", range(5))
def test_linear_models_raise_no_alarm(seed):
    model = line(seed=seed)
    diagnosis = bp.diagnose_masking(model, images(model), twin=model, queries=50, seed=seed)
    assert diagnosis.masked is False
    assert diagnosis.verdict.startswith("No sign of masked gradients: none of 9 signals fires on 60 examples.")
    assert diagnosis.accuracy["gradients"] == diagnosis.accuracy["all"] <= 0.5
    assert diagnosis.eps in BUDGETS


def test_rounding_without_straight_through_has_no_gradient(healthy):
    model, data = healthy
    diagnosis = bp.diagnose_masking(Before(model, four_bits).eval(), data, twin=model, eps=16 / 255, queries=300)
    assert firing(diagnosis) >= {FREE, TRANSFER, UNBOUNDED, FLAT, ZERO, ASKEW, MISLED}
    assert diagnosis.signals[ZERO].numbers["share zero"] == 1
    assert diagnosis.verdict.startswith("Gradients are masked: ")
    assert diagnosis.accuracy["all"] < diagnosis.accuracy["gradients"]


def test_confident_logits_round_the_gradient_of_the_loss_to_zero(healthy):
    """The log-odds still have one, so differences agree with it."""
    model, data = healthy
    masked = Times(model, 1e4).eval()
    diagnosis = bp.diagnose_masking(masked, data, twin=model, eps=16 / 255, queries=300)
    assert firing(diagnosis) >= {FREE, TRANSFER, ZERO, UNBOUNDED}
    assert not firing(diagnosis) & {ASKEW, MISLED}


def test_ripples_shatter_the_gradient(healthy):
    """Neither zero nor vanishing, but it says nothing about where the loss rises."""
    model, data = healthy
    diagnosis = bp.diagnose_masking(Before(model, ripples).eval(), data, twin=model, eps=16 / 255, queries=300)
    assert firing(diagnosis) >= {FREE, TRANSFER, ASKEW, MISLED}
    assert not firing(diagnosis) & {ZERO}


def test_a_good_straight_through_gradient_is_not_masked(healthy):
    """Rounding to 8 bits with a gradient that passes: quantized, and sound."""
    model, data = healthy

    def eight_bits(x: Tensor) -> Tensor:
        return x + (torch.round(255 * x) / 255 - x).detach()

    assert not firing(
        bp.diagnose_masking(Before(model, eight_bits).eval(), data, twin=model, eps=16 / 255, queries=300)
    )


# ---- the diagnosis -----------------------------------------------------------------------------------------


def test_the_result_does_not_depend_on_the_batch_and_nothing_is_changed(healthy):
    model, data = healthy
    model.train()
    whole, parts = (bp.diagnose_masking(model, data, **LITTLE, batch_size=size) for size in (128, 25))
    assert whole.signals == parts.signals and whole.accuracy == parts.accuracy
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    model.eval()
    other = bp.diagnose_masking(model, data, **LITTLE, seed=1)
    assert other.signals != whole.signals


def test_passes_are_counted_and_the_record_survives_json(healthy):
    model, data = healthy
    diagnosis = bp.diagnose_masking(model, data, twin=model, eps=4 / 255, queries=1, draws=1, steps=2, directions=1)
    # classify 1, two ascents of 3 and the transferred image 1, slopes 1 + 4, each of four attacks looked at: 4
    fixed = 1 + 6 + 1 + 5 + 4
    assert diagnosis.forwards >= 60 * fixed
    assert 60 * (2 * 2 + 2) <= diagnosis.backwards <= 60 * (2 * 2 + 2 + 1 + 2)
    assert unpack(Diagnosis, *pack(diagnosis)) == diagnosis
    table = diagnosis.table()
    assert list(table["fires"]) == [False] * 9 and "sentence" in table
    with pytest.raises(InputError, match=r"a stored diagnosis is damaged"):
        unpack(Diagnosis, "{}", None)


def test_too_few_examples_are_no_verdict(healthy):
    model, _ = healthy
    diagnosis = bp.diagnose_masking(model, images(model, n=LEAST - 1), queries=5)
    assert diagnosis.masked is None and "Could not tell" in diagnosis.verdict
    data = images(model, n=4)
    wrong = bp.from_arrays(data.images(range(4)).numpy(), 1 - data.labels, classes=["a", "b"])
    nothing = bp.diagnose_masking(model, wrong)
    assert nothing.signals == () and nothing.masked is None and nothing.accuracy["clean"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": 8.0}, r"eps is 8 under linf.*8/255"),
        ({"steps": 1}, r"steps is 1.*at least 2"),
        ({"queries": 0}, r"queries is 0.*at least 1"),
    ],
)
def test_mistakes_are_named(arguments, message, healthy):
    with pytest.raises(InputError, match=message):
        bp.diagnose_masking(*healthy, **arguments)


def test_a_model_without_gradients_is_told_what_else_to_do(healthy):
    model, data = healthy
    with pytest.raises(InputError, match=r"no gradient by its input.*BPDA"):
        bp.diagnose_masking(Before(model, Tensor.detach).eval(), data)


# ---- networks ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[bp.Data, bp.Data]:
    return bp.load_data("digits", split="train"), bp.load_data("digits", limit=60)


@pytest.fixture(scope="module")
def network(digits) -> nn.Module:
    return Standard(epochs=4)(bp.load_model("digits_cnn", seed=1), digits[0], rng=RUN)


def test_float_and_weight_only_networks_raise_no_alarm(digits, network):
    assert bp.diagnose_masking(network, digits[1], queries=100).masked is False
    for bits in (8, 4):
        copy = bp.quantize(network, bp.Scheme(weight_bits=bits, act_bits=32))
        diagnosis = bp.diagnose_masking(copy, digits[1], twin=network, queries=100)
        assert diagnosis.masked is False, diagnosis.verdict


def test_quantized_tanh_masks(digits, network):
    train, test = digits
    tanh = QAT(scheme=bp.Scheme("tanh", weight_bits=32, act_bits=2), epochs=5)(network, train, rng=RUN)
    diagnosis = bp.diagnose_masking(tanh, test, twin=network)
    assert diagnosis.accuracy["clean"] > 0.9
    assert diagnosis.masked, diagnosis.table()[["effect", "p_holm"]].join(diagnosis.table()["sentence"])


def test_binarynet_masks(digits):
    """All layers binary: with 8-bit ones at both ends two of four would be left, and PGD works on that."""
    train, test = digits
    model = Standard(epochs=2)(bp.load_model("digits_cnn_hardtanh", seed=1), train, rng=RUN)
    scheme = bp.Scheme("binarynet", weight_bits=1, act_bits=1, first="same", last="same")
    recipe = BinaryNetTraining(scheme=scheme, epochs=8, holdout=0, learning_rate=1e-2, decay=0.01)
    diagnosis = bp.diagnose_masking(recipe(model, train, rng=RUN), test, twin=model)
    assert diagnosis.accuracy["clean"] > 0.8
    assert diagnosis.masked, diagnosis.table()[["effect", "p_holm"]].join(diagnosis.table()["sentence"])


# ---- where it is seen --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A float line and a copy that hides its gradient, tested with the diagnosis against a store."""
    folder = tmp_path_factory.mktemp("evaluated")
    model = line()
    models, data = {"float": model, "hidden <b>": Before(model, four_bits).eval()}, images(model, n=40)

    def run() -> bp.Result:
        return bp.evaluate(models, data, suite="clean", diagnose=True, store=folder / "runs.db", progress=False)

    return run(), run(), folder


def test_an_experiment_keeps_its_diagnoses(evaluated):
    first, again, folder = evaluated
    assert [d.model.name for d in first.diagnoses] == ["float", "hidden <b>"]
    assert [d.masked for d in first.diagnoses] == [False, True]
    assert first.diagnoses[0].twin is None and first.diagnoses[1].signals[TRANSFER].fires
    assert list(again.diagnoses) == list(first.diagnoses)  # seconds too: nothing was computed again
    with bp.Store(folder / "runs.db", readonly=True) as store:
        assert [d.key for d in store.query("masking")] == [d.key for d in first.diagnoses]


def test_the_report_shows_verdicts_and_signals(evaluated):
    result, _, folder = evaluated
    page = result.report(folder / "report.html").read_text()
    assert 'id="s1-masking"' in page and "hidden &lt;b&gt;</b>: Gradients are masked: " in page
    assert page.count('<b class="wrong">fires</b>') == len(result.diagnoses[1].firing)
    for signal in result.diagnoses[1].signals:
        assert signal.name in page
    assert "What attacks that follow them fail to break" in page
    bare = bp.write_report(result.cells, folder / "bare.html").read_text()
    assert "masking" not in bare.partition("<body>")[2]


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    def call(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["bitproof", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0
        return capsys.readouterr().out

    store = tmp_path / "runs.db"
    said = call(
        "evaluate", "digits_cnn", "--data", "digits", "--limit", 8, "--suite", "clean", "--diagnose", "--store", store
    )
    assert "masked gradients: float" in said and "Could not tell" in said
    assert "1 records" in call("export", store, "-o", tmp_path / "masking.json")
    (listed,) = json.loads((tmp_path / "masking.json").read_text())
    assert listed["masked"] is None and listed["verdict"].startswith("Could not tell")
    call("report", store, "-o", tmp_path / "report.html")
    assert "Masked gradients" in (tmp_path / "report.html").read_text()
