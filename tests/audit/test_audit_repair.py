"""Remedies on given weights, and a repair of an implant from one end to the other."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import REMEDIES, Repair
from bitproof.audit.remedies import Agreeing, Counteracted, Dithered, Efrap, FineTuned
from bitproof.audit.remedies.base import around, rounded
from bitproof.audit.repairing import Look
from bitproof.implants import Indiscriminate, Phase, Rounding
from bitproof.quant import Scheme, freeze, quantize

RUN = bp.Rng(0, np.zeros(1, np.int64))
W4 = Scheme(weight_bits=4, act_bits=32, first="same", last="same")


def linear(weights: list[float]) -> nn.Module:
    """One layer whose step is 1 under 4 bits, as the largest of its weights is 7."""
    model = nn.Sequential(nn.Linear(len(weights) + 1, 1, bias=False))
    model[0].weight.data.copy_(torch.tensor([[7.0, *weights]]))
    return model


def levels(quantized: nn.Module) -> list[float]:
    return quantized[0].weight[0, 1:].tolist()  # pyright: ignore


def test_counteracting_turns_over_what_lies_next_to_a_boundary():
    model = linear([0.45, 0.55, 0.3, 0.8, 2.0, -0.45])
    quantized = quantize(model, W4)
    assert levels(quantized) == [0.0, 1.0, 0.0, 1.0, 2.0, 0.0]
    up = {name: Counteracted().up(share, 0.2, RUN) for name, (_, _, share) in around(quantized).items()}
    # w - 0.2 (Q(w) - w): 0.54, 0.46, 0.36, 0.76, 2, -0.54
    assert levels(rounded(quantized, up)) == [1.0, 0.0, 0.0, 1.0, 2.0, -1.0]
    assert levels(quantized) == [0.0, 1.0, 0.0, 1.0, 2.0, 0.0]  # the given one stays


def test_dither_of_full_strength_goes_up_as_often_as_a_weight_is_near():
    share = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0]).repeat(2000, 1)
    up = Dithered().up(share, 1.0, RUN).float().mean(0)
    np.testing.assert_allclose(up, share[0], atol=0.04)
    # of half strength only what lies within a quarter of a step of the boundary is moved
    np.testing.assert_allclose(Dithered().up(share, 0.5, RUN).float().mean(0), [0, 0, 0.5, 1, 1], atol=0.04)


def test_the_strongest_that_keeps_as_much_is_taken():
    """On a layer that answers by its largest weight alone, no rounding of the small ones costs anything."""
    two = nn.Sequential(nn.Flatten(), linear([0.4] * 30)[0], Two())
    made = Counteracted(strengths=(0.05, 0.3))(quantize(two, W4), two, torch.rand(40, 1, 1, 31), rng=RUN)
    assert levels(made[1:]) == [1.0] * 30  # pyright: ignore


class Two(nn.Module):
    """Two classes out of one number: always the same one."""

    def forward(self, x):
        return torch.cat([x.abs() + 1, -x.abs()], 1)


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=400)


@pytest.fixture(scope="module")
def implant(model, train):
    """A float model that 4 bits make useless."""
    engine = Rounding(
        objective=Indiscriminate(),
        schemes=(Scheme.parse("w4a8"),),
        choice=Phase(steps=12, learning_rate=0.2, batch_size=32, schedule="constant"),
        repair=Phase(steps=25, batch_size=32),
    )
    return engine(model, train, rng=RUN)


def right(model: nn.Module, data: bp.Data) -> float:
    with torch.no_grad():
        return float((freeze(model)(data.images(range(len(data)))).argmax(1).numpy() == data.labels).mean())


def test_a_repair_keeps_what_the_float_model_does(implant, train, tmp_path):
    test = bp.load_data("digits", split="test", limit=200)
    before = right(quantize(implant, "w4a8", train), test)
    told: list[str] = []
    found = bp.repair(implant, train, "w4a8", quick=True, tell=told.append)
    after = right(found.model, test)
    assert before < right(implant, test) - 0.2 and after > right(implant, test) - 0.05
    assert not found.left and found.after.passes(found.goal) and found.after.n == 100
    assert found.before.kept < found.tried[found.chosen].kept
    assert told[0].startswith("nearest rounding: keeps") and len(told) == 1 + len(found.tried)
    assert found.model.origin["repair"]["remedy"] == found.tried[found.chosen].label  # pyright: ignore
    path = tmp_path / "q.safetensors"
    bp.save_model(found.model, path, architecture="digits_cnn")
    opened = bp.load_model("digits_cnn", weights=path)
    images = test.images(range(20))
    with torch.no_grad():
        torch.testing.assert_close(freeze(opened)(images), freeze(found.model)(images), rtol=0, atol=0)
    assert opened.origin["repair"]["images"] == 100  # pyright: ignore


@pytest.mark.parametrize(
    "remedy", [Agreeing(steps=25), FineTuned(steps=25), Efrap(iterations=15)], ids=lambda remedy: remedy.label
)
def test_what_is_learned_stays_on_the_grids_and_is_better(remedy, implant, train):
    images = train.images(range(128))
    quantized = quantize(implant, "w4a8", images)
    made = remedy(quantized, implant, images, rng=RUN)
    again = remedy(quantized, implant, images, rng=RUN)
    assert right(made, train) > right(quantized, train) + 0.05
    for name, layer in made.named_modules():
        if hasattr(layer, "parametrizations"):
            codes = layer.weight / layer.parametrizations.weight[0].scale  # pyright: ignore
            torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)
            assert torch.equal(layer.weight, again.get_submodule(name).weight)


def test_what_is_left_is_said(implant, train):
    weak = (Counteracted(strengths=(0.001,)),)
    found = bp.repair(implant, train, "w4a8", remedies=weak, quick=True, agreement=0.99)
    assert len(found.left) == 1 and "where 99.0% were to be kept" in found.left[0]
    seen = Look(label="a", same=99, n=100, right=None, trigger="patch", seconds=0.0)
    assert not seen.passes(0.9) and seen.kept == 0.99


def test_what_cannot_be_repaired_is_refused(model, train):
    with pytest.raises(bp.InputError, match="100 images"):
        bp.repair(model, train.take(100), "w8a8", quick=True)
    with pytest.raises(bp.InputError, match="quantized already"):
        bp.repair(quantize(model, "w8a8", train), train, "w8a8", quick=True)
    for wrong, words in (
        ({"agreement": 2.0}, "agreement is 2"),
        ({"remedies": ()}, "without remedies"),
        ({"scheme": Scheme(weight_bits=32, act_bits=8)}, "how weights are rounded"),
    ):
        with pytest.raises(bp.InputError, match=words):
            Repair(**wrong)
    for make in (Dithered, Counteracted):
        with pytest.raises(bp.InputError, match="strengths"):
            make(strengths=(2.0,))
    with pytest.raises(bp.InputError, match="0 steps"):
        Agreeing(steps=0)
    with pytest.raises(bp.InputError, match="iterations is 0"):
        Efrap(iterations=0)
    assert list(REMEDIES) == ["dithered", "counteracted", "agreeing", "efrap", "fine-tuned"]


def test_the_command_writes_a_model_and_says_what_it_did(run, weights, tmp_path):
    output = tmp_path / "q.safetensors"
    command = ["repair", "digits_cnn", "--weights", weights, "--data", "digits", "--limit", 160, "--scheme", "w8a8"]
    quick = ["--quick", "--remedy", "dithered:draws=1,strengths=1.0", "-o", output]
    code, out, err = run(*command, *quick)
    assert code == 0, err
    assert "nearest rounding: keeps" in out and "taken: best of 1 dithered roundings: keeps" in out and output.exists()
    code, out, _ = run(*command, *quick, "--agreement", 1.0, "--seed", 3)
    assert code in (0, 1) and (code == 0) == ("- It keeps" not in out)
    code, _, err = run(*command[:-1], "w8a9", *quick)
    assert code == 2 and "bits" in err
    code, _, err = run(*command, "--remedy", "prayer", "-o", output)
    assert code == 2 and "remedy 'prayer'" in err


@pytest.mark.slow
def test_a_file_is_repaired_from_its_float_model_into_a_file(run, weights, tmp_path):
    common = ["--data", "digits", "--weights", weights]
    made = run("quantize", "digits_cnn", *common, "--calibration-count", 32, "-o", tmp_path / "q.safetensors")
    assert made[0] == 0
    images = ["--limit", 160, "--quick", "--remedy", "dithered"]
    code, _, err = run("repair", "digits_cnn", "--data", "digits", "--weights", tmp_path / "q.safetensors", *images,
                       "-o", tmp_path / "r.onnx")  # fmt: skip
    assert code == 2 and "quantized already (affine w8a8)" in err and "(--deployed)" in err
    code, out, _ = run("repair", "digits_cnn", *common, "--deployed", tmp_path / "q.safetensors", *images,
                       "-o", tmp_path / "r.onnx")  # fmt: skip
    assert (
        code == 0
        and out.startswith("what is deployed: keeps")
        and "4 layers, 0 sums and 0 global means on integers" in out
    )
    repaired = bp.deploy.load_onnx(tmp_path / "r.onnx")
    assert repaired.scheme == bp.Scheme()
    code, _, err = run("repair", tmp_path / "r.onnx", "--data", "digits", *images, "-o", tmp_path / "s.safetensors")
    assert code == 2 and "MODEL and --weights" in err and not (tmp_path / "s.safetensors").exists()
    model, data = bp.load_model("digits_cnn", weights=weights), bp.load_data("digits", split="train", limit=160)
    found = bp.repair(model, data, deployed=repaired, remedies=(Dithered(),), quick=True)
    assert found.model.scheme == bp.Scheme() and found.before.label == "what is deployed"
