"""Everything that computes, on a device that is not the CPU: what would crash on a GPU is red here.

Results there are those of the CPU to the last bit, randomness being keyed.
"""

import copy
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from attacks import test_every_attack
from bitproof.attacks import ATTACKS, Noise
from bitproof.core.calling import device_of
from bitproof.core.rng import Rng
from bitproof.ptq import PostTraining
from bitproof.quant import METHODS, Affine, Scheme, freeze, quantize
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.shifts import CORRUPTIONS
from bitproof.train import OBJECTIVES, RECIPES, Recipe, changed, qat, standard
from bitproof.train.teaching import learns_from_model
from foreign_device import DEVICE, Foreign, Module, Numbers

RUN = Rng(0, np.zeros(1, np.int64))
COSTS = ["seconds"]

LEAST = {
    "steps": 2,
    "queries": 8,
    "draws": 2,
    "samples": 4,
    "coordinates": 4,
    "search_steps": 1,
    "tries": 30,
    "directions": 4,
}
"""Enough for each line of an attack to be run."""

CONDITIONS = [
    "noise:eps=32/255",
    "crafted:attack=pgd(eps=16/255,steps=3),targets=least-likely",
    "crafted:attack=apgd(eps=16/255,steps=3),examples=all",
    "contrast",
    "translate-sequence",
    "pipeline:resize=opencv-nearest,enlarge=2",
    "inference:dtype=bfloat16",
]
"""One of each way to make images and to judge them."""

PIPELINES = [
    {"rounding": "adaround", "iterations": 1},
    {"rounding": "brecq", "iterations": 1, "fisher": True},
    {"equalize": True},
    {"fold": False, "reestimate": True},
]

GRIDS = [
    Scheme(Affine(granularity="tensor", symmetric=False, act_symmetric=True), weight_bits=4, act_bits=4),
    *(Scheme(Affine(weight_range=rule), weight_bits=4, act_bits=32) for rule in WEIGHT_RANGES),
    *(Scheme(Affine(act_range=rule), weight_bits=32, act_bits=4) for rule in ACT_RANGES),
]


@pytest.fixture(autouse=True)
def numbers(monkeypatch):
    monkeypatch.setattr(Module, "there", True)
    with Numbers():
        yield


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=32)


@pytest.fixture(scope="module")
def few():
    return bp.load_data("digits", split="test", limit=12)


@pytest.fixture(scope="module")
def signed():
    """A small network whose layers receive both signs, as binary activations need."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, stride=3), nn.BatchNorm2d(4), nn.Hardtanh(), nn.Conv2d(4, 8, 3, stride=2)
    return nn.Sequential(*layers, nn.BatchNorm2d(8), nn.Hardtanh(), nn.Flatten(), nn.Linear(32, 10)).eval()


def there(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).to(DEVICE)


def assert_same(here: nn.Module, far: nn.Module) -> None:
    one, other = here.state_dict(), far.state_dict()
    assert list(one) == list(other)
    assert {tensor.device for tensor in other.values()} == {torch.device(DEVICE)}
    assert all(torch.equal(one[name], other[name].cpu()) for name in one)


class Mixed(nn.Linear):
    """Adds what was made on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)) + torch.ones(10)


@dataclass(frozen=True, kw_only=True)
class CarelessNoise(Noise):
    """Noise that stays where it was drawn."""

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return (inputs + self.eps * (rng.uniform(tuple(inputs.shape[1:])) - 0.5)).clamp(0, 1)


def test_mixing_is_refused(few):
    images = few.images(np.arange(4))
    inputs = images.to(DEVICE)
    for mixed in (
        lambda: inputs + images,
        lambda: torch.cat([inputs, images]),
        lambda: torch.where(inputs > 0, inputs, images),
        lambda: images[(inputs > 2).flatten(1).all(1)],
        lambda: inputs.index_put((torch.zeros(1, dtype=torch.long),), images[:1]),
        lambda: nn.Linear(400, 2)(inputs.flatten(1)),
        lambda: inputs.flatten(1) @ torch.ones(400, 2),
        lambda: inputs.uniform_(generator=torch.Generator()),
    ):
        with pytest.raises(RuntimeError, match="device"):
            mixed()
    for read in (inputs.numpy, lambda: np.asarray(inputs)):
        with pytest.raises(TypeError, match=r"can't convert .* to numpy"):
            read()


def test_mixing_within_a_run_is_red(few, signed):
    planted = {"a model": (Mixed(400, 10).eval(), "clean"), "an attack": (signed, CarelessNoise(eps=0.1))}
    for model, condition in planted.values():
        bp.evaluate(model, few, conditions=[condition], progress=False)
        with pytest.raises((RuntimeError, bp.InputError), match="on the same device"):
            bp.evaluate(there(model), few, conditions=[condition], progress=False)


def test_what_a_gpu_allows_is_allowed(few):
    images = few.images(np.arange(4))
    inputs = images.to(DEVICE).requires_grad_()
    rows = torch.tensor([2, 0])
    assert torch.equal((inputs * torch.tensor(2.0)).cpu(), 2 * images)
    assert torch.equal(inputs[rows].cpu(), images[rows]) and torch.equal(inputs[[2, 0]].cpu(), images[rows])
    assert torch.arange(5, device=DEVICE).tolist() == torch.tensor([0, 1, 2, 3, 4], device=DEVICE).tolist()
    (inputs**2).sum().backward()
    assert isinstance(inputs.grad, Foreign) and torch.equal(inputs.grad.cpu(), 2 * images)
    view = inputs.detach()[1:]
    view += 1
    assert torch.equal(inputs.detach()[1:].cpu(), images[1:] + 1)
    made: list[Tensor] = []
    worker = threading.Thread(target=lambda: made.append(torch.zeros(2, device=DEVICE)))
    worker.start()
    worker.join()
    assert made[0].device == torch.device(DEVICE)


@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - {"diva"}))
def test_attacks(name, signed, few, monkeypatch):
    monkeypatch.setattr(test_every_attack, "SMALL", LEAST)
    attack, rng = test_every_attack.make(name, eps=0.6), Rng(0, np.arange(4))
    images = few.images(np.arange(4))
    labels = signed(images).argmax(1)
    far = attack(there(signed), images.to(DEVICE), labels.to(DEVICE), rng=rng)
    assert far.device == torch.device(DEVICE)
    assert torch.equal(far.cpu(), attack(signed, images, labels, rng=rng))


@pytest.mark.parametrize("name", ["gaussian-noise", "spatter"])  # what they do to a picture knows no tensors
def test_corruptions(name, few):
    images, corruption, rng = few.images(np.arange(2)), CORRUPTIONS[name](), Rng(0, np.arange(2))
    assert torch.equal(corruption(images.to(DEVICE), rng=rng).cpu(), corruption(images, rng=rng))


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_quantization(name, signed, train):
    kind = METHODS[name]
    widths = [min(allowed, default=32) for allowed in (kind.weight_bits, kind.act_bits, kind.grad_bits)]
    assert_quantized_alike(
        Scheme(kind(), weight_bits=widths[0], act_bits=widths[1], grad_bits=widths[2]), signed, train
    )


@pytest.mark.parametrize("scheme", GRIDS, ids=lambda scheme: scheme.label)
def test_range_rules(scheme, signed, train):
    assert_quantized_alike(scheme, signed, train)


def assert_quantized_alike(scheme: Scheme, model: nn.Module, data: bp.Data) -> None:
    images = data.images(np.arange(8))
    here, far = quantize(model, scheme, data), quantize(there(model), scheme, data)
    assert_same(here, far)
    assert torch.equal(freeze(here)(images), freeze(far)(images.to(DEVICE)).cpu())


@pytest.mark.parametrize("steps", PIPELINES, ids=str)
def test_post_training(steps, model, train):
    pipeline = PostTraining(scheme=Scheme(weight_bits=4, act_bits=8), **steps)
    assert_same(pipeline(model, train), pipeline(there(model), train))


SPECIAL = ("distillation", "shared-bits")
"""Objectives that want a teacher, or a model of many members."""

OTHERS: dict[str, Recipe] = {
    "distillation": changed(qat(), distillation=0.5),
    "penalty": changed(RECIPES["pact"](), penalty=1e-4),
    "average, held-out examples": changed(standard(), averaging=0.9, holdout=8),
    **{name: replace(standard(), objective=kind()) for name, kind in OBJECTIVES.items() if name not in SPECIAL},
}


@pytest.mark.parametrize("name", [*RECIPES, *OTHERS])
def test_training(name, signed, train):
    recipe = changed(OTHERS[name] if name in OTHERS else RECIPES[name](), epochs=1, batch_size=16)
    recipe = recipe if name in OTHERS else changed(recipe, holdout=0)
    others = {"teacher": signed} if learns_from_model(recipe.objective) else {}
    assert_same(recipe(signed, train, rng=RUN, **others), recipe(there(signed), train, rng=RUN, **others))


def test_training_goes_on_from_its_state_on_another_device(signed, train, tmp_path):
    recipe, file = changed(standard(), epochs=2, batch_size=16), tmp_path / "state.pt"
    here = recipe(signed, train, rng=RUN, state=file)
    assert_same(here, recipe(there(signed), train, rng=RUN, state=file))


def test_training_in_bfloat16(signed, train):
    recipe = changed(standard(), epochs=1, batch_size=16, precision="bfloat16")
    assert device_of(recipe(there(signed), train, rng=RUN)) == torch.device(DEVICE)


@pytest.fixture(scope="module")
def quantized(model, train):
    return quantize(model, Scheme(weight_bits=4, act_bits=4), train)


def test_evaluation(model, quantized, few):
    here = {"float": model, "w4a4": quantized}
    options = {"conditions": CONDITIONS, "transfer": ["pgd:eps=16/255,steps=3"], "progress": False}
    one, other = bp.evaluate(here, few, **options), bp.evaluate(here, few, device=DEVICE, **options)
    assert one.table().drop(columns=COSTS).equals(other.table().drop(columns=COSTS))
    assert {cell.device for cell in other.cells} == {DEVICE} and {cell.device for cell in one.cells} == {"cpu"}
    assert list(other.environments[0]["devices"]) == [DEVICE]
    assert device_of(model) == torch.device("cpu")


@pytest.mark.parametrize("crafting", ["folded", "bfloat16"])
def test_copies_that_attacks_are_made_on(crafting, model, few):
    result = bp.evaluate(there(model), few, conditions=["pgd:steps=3"], crafting=crafting, progress=False)
    assert {cell.device for cell in result.cells} == {DEVICE}


def test_masked_gradients(model, quantized, few):
    how = {"queries": 20, "steps": 3, "draws": 3, "directions": 2, "eps": 16 / 255}
    one = bp.diagnose_masking(quantized, few, twin=model, **how)
    other = bp.diagnose_masking(there(quantized), few, twin=model, **how)
    assert one.accuracy == other.accuracy
    assert [signal.effect for signal in one.signals] == [signal.effect for signal in other.signals]


def test_files(signed, train, few, tmp_path):
    far = quantize(there(signed), Scheme(weight_bits=8, act_bits=8), train)
    bp.save_model(far, tmp_path / "q.safetensors", architecture="own")
    assert_same(bp.load_model(signed, weights=tmp_path / "q.safetensors"), far)
    assert bp.deploy.sizes(far).packed_bytes and bp.quant.coverage(freeze(far), few.images(np.arange(2)))
