"""The loop: what it minimises, with what it steps, and that a stopped run ends as if it had not been."""

import copy
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.errors import InputError
from bitproof.train import RECIPES, Epoch, qat, standard
from bitproof.train.batches import split

RUN = bp.Rng(0, np.zeros(1, np.int64))


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=300)


@pytest.fixture(scope="module")
def network():
    return bp.load_model("digits_cnn")


def states(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 2, bias=False)

    def forward(self, x):
        return self.fc(x.flatten(1))


def tiny(count: int = 8):
    generator = np.random.default_rng(0)
    return bp.from_arrays(generator.random((count, 3, 2, 2), np.float32), generator.integers(0, 2, count))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps_by_hand(momentum):
    """Full batches, so that the order of the examples does not matter: w <- w - lr (m v + grad + decay w)."""
    data, model = tiny(), Linear()
    recipe = standard(
        epochs=3, batch_size=8, optimizer="sgd", learning_rate=0.5, momentum=momentum, weight_decay=0.1,
        schedule="steps", milestones=(0.5,), decay=0.1,
    )  # fmt: skip
    trained = recipe(model, data, rng=RUN)
    weight, velocity = model.fc.weight.detach().clone(), 0
    for rate in (0.5, 0.5, 0.05):
        w = weight.clone().requires_grad_()
        loss = F.cross_entropy(data.images(range(8)).flatten(1) @ w.T, torch.from_numpy(data.labels))
        (gradient,) = torch.autograd.grad(loss, w)
        velocity = momentum * velocity + gradient + 0.1 * weight
        weight = weight - rate * velocity
    torch.testing.assert_close(trained.fc.weight.detach(), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("scheme", "least", "most"), [("w32a32", 0, 1e-9), ("w2a32", 1e-4, 1)])
def test_the_float_model_teaches_what_quantization_lost(scheme, least, most):
    history: list[Epoch] = []
    recipe = qat(
        scheme=bp.Scheme.parse(f"{scheme},first=same,last=same"), epochs=1, distillation=1.0, learning_rate=1e-12
    )
    recipe(Linear(), tiny(), rng=RUN, on_epoch=lambda h, _: history.extend(h))
    assert least <= history[0].loss <= most


def test_training_learns_and_leaves_the_given_model_alone(digits, network):
    before, history = states(network), []
    trained = standard(epochs=4)(network, digits, rng=RUN, on_epoch=lambda h, m: history.append(h[-1]))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not trained.training
    assert [e.number for e in history] == [1, 2, 3, 4]
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].accuracy > 0.9


def test_the_same_run_gives_the_same_weights_and_another_seed_others(digits, network):
    recipe = standard(epochs=1, augmentation="crop-flip")
    first, again = recipe(network, digits, rng=RUN), recipe(network, digits, rng=RUN)
    assert equal(first, again)
    assert not equal(first, recipe(network, digits, rng=bp.Rng(1, RUN.ids)))


def test_global_randomness_is_left_alone(digits, network):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    standard(epochs=1)(network, digits, rng=RUN)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    "scheme", ["lsq:w2a2", "pact:w4a4", "dorefa:w2a2g4", "binaryconnect:w1a32,stochastic=true", "ttq:w2a32"]
)
def test_a_run_that_stops_anywhere_ends_with_the_same_weights(scheme, digits, network, tmp_path, monkeypatch):
    recipe = qat(scheme=bp.Scheme.parse(scheme), epochs=2, holdout=44, augmentation="crop-flip", optimizer="sgd")
    straight = recipe(network, digits, rng=RUN)
    monkeypatch.setattr("bitproof.train.state._SAVE_EVERY", 0.0)  # after every step

    class Stop(Exception):
        pass

    runs = 0
    while True:
        runs, left = runs + 1, 3

        def stop_after_three_steps(examples, words):
            nonlocal left
            left -= bool(words)
            if left < 0:
                raise Stop

        try:
            resumed = recipe(network, digits, rng=RUN, state=tmp_path / "state.pt", advance=stop_after_three_steps)
            break
        except Stop:
            pass
    assert runs > 2
    assert equal(straight, resumed)


@pytest.mark.slow
def test_a_killed_process_ends_with_the_same_weights(tmp_path, run, one_thread):
    """kill -9 in the middle of a run of the command line, then the same command again."""
    arguments = ["train", "qat:epochs=6,holdout=47", "digits_cnn", "--data", "digits", "--limit", "120"]
    arguments += ["--scheme", "lsq:w3a3", "-o"]
    command = [sys.executable, "-m", "bitproof.cli", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, tmp_path / "killed"], env=environment, stderr=subprocess.DEVNULL)
    history = tmp_path / "killed" / "history.csv"
    deadline = time.monotonic() + 120
    while not history.exists() or history.read_text().count("\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert history.read_text().count("\n") < 7  # it was killed before it was done
    subprocess.run([*command, tmp_path / "killed"], env=environment, check=True, capture_output=True)
    assert run(*arguments, tmp_path / "straight")[0] == 0
    for name in ("last.safetensors", "best.safetensors"):
        one, two = (bp.load_model("digits_cnn", weights=tmp_path / run / name) for run in ("killed", "straight"))
        assert equal(one, two)


def test_the_best_epoch_on_held_out_examples_is_returned(digits, network):
    seen: list[tuple[Epoch, dict[str, torch.Tensor]]] = []
    recipe = standard(epochs=5, holdout=100, learning_rate=0.02, schedule="constant")
    trained = recipe(network, digits, rng=RUN, on_epoch=lambda h, m: seen.append((h[-1], states(m))))
    accuracies = [epoch.holdout_accuracy for epoch, _ in seen]
    best = int(np.argmax(accuracies))
    assert best != 4, "this test needs a best epoch that is not the last: change its settings"
    assert all(torch.equal(v, seen[best][1][k]) for k, v in trained.state_dict().items())
    running = np.maximum.accumulate([-1, *accuracies])
    assert [epoch.best for epoch, _ in seen] == [a > b for a, b in zip(accuracies, running, strict=False)]


def test_held_out_examples_are_not_trained_on():
    train, held = split(300, 100, RUN)
    assert len(train) == 200
    assert sorted([*train, *held]) == list(range(300))


def test_a_last_batch_of_one_is_left_out(network):
    data = bp.load_data("digits", split="train", limit=65)
    counts = []
    standard(epochs=1, batch_size=64)(network, data, rng=RUN, advance=lambda n, words: counts.append(n))
    assert sum(counts) == 65
    assert 64 in counts


def test_learned_steps_do_not_decay(digits, network):
    """With a rate too small to learn anything, decoupled weight decay still pulls weights and leaves steps."""
    recipe = qat(epochs=1, learning_rate=1e-6, weight_decay=1e5, schedule="constant")
    start = bp.quantize(network, recipe.quantization.scheme, [digits.images(range(300))])
    trained = recipe(network, digits, rng=RUN)
    before = dict(start.named_parameters())
    steps = [name for name in before if name.endswith(("step", "original"))]
    assert len(steps) == 8
    for name, value in trained.named_parameters():
        if name in steps:
            ratio = (value / before[name]).detach().median().item()
            assert ratio == pytest.approx(1, abs=1e-2) if name.endswith("step") else ratio < 0.7, name


def test_binaryconnect_weights_stay_within_their_limit(digits, network):
    recipe = qat(scheme=bp.Scheme.parse("binaryconnect:w1a32,first=same,last=same"), epochs=1, learning_rate=0.1)
    trained = recipe(network, digits, rng=RUN)
    for _, layer in bp.quant.compute_layers(trained):
        chain = layer.parametrizations.weight
        assert chain.original.abs().max() <= chain[0].limit * (1 + 1e-6)
        assert layer.weight.unique().numel() == 2


def test_the_penalty_pulls_clipping_levels_down(digits, network):
    def alphas(penalty):
        recipe = qat(scheme=bp.Scheme("pact", weight_bits=4, act_bits=4), epochs=1, penalty=penalty, learning_rate=1e-2)
        trained = recipe(network, digits, rng=RUN)
        return [p.item() for p in bp.quant.quantizer_parameters(trained)]

    assert all(b < a for a, b in zip(alphas(0.0), alphas(1.0), strict=True))


def test_quantized_models_are_saved_and_opened_after_training(digits, network, tmp_path):
    trained = qat(epochs=1)(network, digits, rng=RUN)
    bp.save_model(trained, tmp_path / "q.safetensors", architecture="digits_cnn")
    opened = bp.load_model("digits_cnn", weights=tmp_path / "q.safetensors")
    images = digits.images(range(16))
    assert torch.equal(bp.freeze(trained)(images), bp.freeze(opened)(images))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs(name, digits):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 5, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 10)
    )
    recipe = RECIPES[name](epochs=1, holdout=40)
    history = []
    model = recipe(network, digits, rng=RUN, teacher=network, on_epoch=lambda h, _: history.extend(h))
    assert len(history) == 1
    assert torch.isfinite(bp.freeze(model)(digits.images(range(4)))).all()
    assert (recipe.quantization is not None) == hasattr(model, "scheme")


def test_mixed_precision_comes_close(digits, network):
    exact, mixed = ([], [])
    for history, precision in ((exact, "float32"), (mixed, "bfloat16")):
        standard(epochs=2, precision=precision)(
            network, digits, rng=RUN, on_epoch=lambda h, _, o=history: o.append(h[-1])
        )
    assert mixed[-1].loss != exact[-1].loss
    assert mixed[-1].loss == pytest.approx(exact[-1].loss, rel=0.2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg'.*'sgd'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'.*'cosine'"),
        ({"augmentation": "crop"}, "unknown augmentation"),
        ({"precision": "float16"}, "unknown precision"),
        ({"milestones": (60.0, 120.0)}, "milestones are .*\\(0.3, 0.6\\)"),
        ({"milestones": (0.6, 0.3)}, "ascending"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"holdout": -1}, "holdout is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        standard(**settings)


def test_too_few_examples_are_refused(network):
    with pytest.raises(InputError, match="10 examples, 9 of them held out"):
        standard(holdout=9)(network, bp.load_data("digits", limit=10), rng=RUN)


def test_a_loss_that_is_not_finite_stops_the_run(digits, network):
    huge = copy.deepcopy(network)
    huge.backbone.linear.weight.data.fill_(3e38)
    with pytest.raises(InputError, match="the loss is (nan|inf) in epoch 1.*smaller learning_rate"):
        standard(epochs=2)(huge, digits, rng=RUN)


def test_the_state_of_another_run_is_refused(digits, network, tmp_path):
    path = tmp_path / "state.pt"
    standard(epochs=1)(network, digits, rng=RUN, state=path)
    for other in (
        lambda: standard(epochs=2)(network, digits, rng=RUN, state=path),
        lambda: standard(epochs=1)(network, digits, rng=bp.Rng(1, RUN.ids), state=path),
        lambda: standard(epochs=1)(network, bp.load_data("digits", limit=300), rng=RUN, state=path),
        lambda: standard(epochs=1)(bp.load_model("digits_cnn", seed=1), digits, rng=RUN, state=path),
    ):
        with pytest.raises(InputError, match="the state of another run"):
            other()


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 broken"])
def test_a_broken_state_is_refused(content, digits, network, tmp_path):
    path = tmp_path / "state.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read .*Delete it"):
        standard(epochs=1)(network, digits, rng=RUN, state=path)


def test_a_state_that_would_run_code_is_refused(digits, network, tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"identity": print, "harm": os.system}, path)
    with pytest.raises(InputError, match="it names __builtin__.print"):
        standard(epochs=1)(network, digits, rng=RUN, state=path)


def test_no_flipped_bit_in_a_state_passes(digits, network, tmp_path):
    path = tmp_path / "state.pt"
    standard(epochs=1)(network, digits, rng=RUN, state=path)
    whole = path.read_bytes()
    tensor = torch.load(path)["model"]["backbone.linear.weight"].numpy().tobytes()
    started = whole.index(tensor[:64])
    for bit in (8 * started, 8 * started + 20, 8 * (started + 1000)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"Bad CRC-32.*Delete it to start over"):
            standard(epochs=1)(network, digits, rng=RUN, state=path)


CHANGES = {
    "no model": lambda c: c.pop("model"),
    "another shape": lambda c: c["model"].update({next(iter(c["model"])): torch.zeros(2)}),
    "no moments": lambda c: c["optimizer"]["state"].update({0: {}}),
    "moments of another type": lambda c: c["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(1).cfloat()),
    "a list for the groups": lambda c: c["optimizer"].update(param_groups=[]),
    "a step that is text": lambda c: c["now"].update(step="3"),
    "an epoch of text": lambda c: c["now"]["history"][0].update(loss="low"),
    "an epoch without a number": lambda c: c["now"]["history"][0].pop("number"),
    "no epochs": lambda c: c["now"].update(history=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_state_of_another_form_is_refused(change, digits, network, tmp_path):
    path = tmp_path / "state.pt"
    standard(epochs=1)(network, digits, rng=RUN, state=path)
    content = torch.load(path)
    change(content)
    torch.save(content, path)
    with pytest.raises(InputError, match="state.pt' cannot be read .*Delete it to start over"):
        standard(epochs=1)(network, digits, rng=RUN, state=path)
