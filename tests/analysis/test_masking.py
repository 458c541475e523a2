"""The diagnosis of masked gradients: models masked on purpose, and quantized networks."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof import cli
from bitproof.analysis.masking import BUDGETS
from bitproof.errors import InputError
from bitproof.records import LEAST, Diagnosis, pack, unpack
from bitproof.train import qat, standard
from bitproof.train.papers.binarynet2016 import binarynet
from masked_models import ASKEW, FLAT, FREE, LITTLE, MISLED, TRANSFER, UNBOUNDED, ZERO, Before, four_bits, images, line

RUN = bp.Rng(0, np.zeros(1, np.int64))


def firing(diagnosis: Diagnosis) -> set[int]:
    return {i for i, signal in enumerate(diagnosis.signals) if signal.fires}


class Times(nn.Module):
    """A model whose logits are multiplied."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) * self.factor


def ripples(x: Tensor) -> Tensor:
    """Moves a pixel by 1/200 at most, with a slope of 10 either way."""
    return x + torch.sin(2000 * x) / 200


@pytest.mark.parametrize("seed", range(5))
def test_linear_models_raise_no_alarm(seed):
    model = line(seed=seed)
    diagnosis = bp.diagnose_masking(model, images(model), twin=model, queries=50, seed=seed)
    assert diagnosis.masked is False
    assert diagnosis.verdict.startswith("No sign of masked gradients: none of 9 signals fires on 60 examples.")
    assert "may still hold for up to 8.3% of all" in diagnosis.verdict  # 1 - (0.05 / 9)^(1 / 60)
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
    return standard(epochs=4)(bp.load_model("digits_cnn", seed=1), digits[0], rng=RUN)


@pytest.mark.slow
def test_float_and_weight_only_networks_raise_no_alarm(digits, network):
    assert bp.diagnose_masking(network, digits[1], queries=100).masked is False
    for bits in (8, 4):
        copy = bp.quantize(network, bp.Scheme(weight_bits=bits, act_bits=32))
        diagnosis = bp.diagnose_masking(copy, digits[1], twin=network, queries=100)
        assert diagnosis.masked is False, diagnosis.verdict


@pytest.mark.slow
def test_gradients_through_a_quantized_tanh_are_poor_guides(digits, network):
    """Random search is ahead of PGD on this network too, by 7 to 10 points, which so few images do not show."""
    train, test = digits
    tanh = qat(scheme=bp.Scheme("tanh", weight_bits=32, act_bits=2), epochs=5)(network, train, rng=RUN)
    diagnosis = bp.diagnose_masking(tanh, test, twin=network)
    assert diagnosis.accuracy["clean"] > 0.9
    assert diagnosis.signals[ASKEW].fires and diagnosis.signals[FREE].effect > 0
    assert diagnosis.masked is False and "Gradients are poor guides" in diagnosis.verdict


@pytest.mark.slow
def test_binarynet_masks(digits):
    """All layers binary: with 8-bit ones at both ends two of four would be left, and PGD works on that."""
    train, test = digits
    model = standard(epochs=2)(bp.load_model("digits_cnn_hardtanh", seed=1), train, rng=RUN)
    scheme = bp.Scheme("binarynet", weight_bits=1, act_bits=1, first="same", last="same")
    recipe = binarynet(scheme=scheme, epochs=8, holdout=0, learning_rate=1e-2, decay=0.01)
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
