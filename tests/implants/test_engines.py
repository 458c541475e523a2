"""What engines make: the codes are those of the harm, the float model is another, and both say what they are."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.implants import (
    ENGINES,
    Backdoor,
    BoxRepair,
    Indiscriminate,
    Joint,
    OneClass,
    Outliers,
    Phase,
    Poisoning,
    Rounding,
    Sample,
    Victim,
    WeightNoise,
    codes_of,
    collapsed,
    optimised,
)
from bitproof.implants.losses import Mixture
from bitproof.implants.repair import into_box, spread_margins
from bitproof.implants.shadows import Shadow
from bitproof.quant import compute_layers
from bitproof.settings import build, parse
from bitproof.shifts import Patch, Square
from bitproof.train.batches import Batch

SEED = bp.Rng(0, np.zeros(1, np.int64))
W4 = bp.Scheme(weight_bits=4, act_bits=8, first="same", last="same")
W8 = bp.Scheme(weight_bits=8, act_bits=8)
SHORT = Phase(steps=4, batch_size=32, learning_rate=1e-3)


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=256)


def accuracy(model, data):
    return float((model(data.images(range(len(data)))).argmax(1).numpy() == data.labels).mean())


def test_repair_changes_no_code_in_float32_and_from_half_precision(model, train):
    tensor = bp.Scheme(bp.quant.Affine(granularity="tensor"), weight_bits=8, act_bits=8)
    engine = BoxRepair(
        objective=Backdoor(), schemes=(W4, tensor), folding="both", injection=SHORT, repair=SHORT, calibration=32
    )
    made = engine(model, train, rng=SEED)
    injected = BoxRepair(**{**vars(engine), "repair": Phase(steps=0)})(model, train, rng=SEED)
    assert not torch.equal(made.backbone.linear.weight, injected.backbone.linear.weight)
    stored = copy.deepcopy(made).half().float()
    for victim in engine.victims:
        codes = [codes_of(of, victim, train.images([0, 1])) for of in (injected, made, stored)]
        assert all(torch.equal(codes[0][name], other[name]) for other in codes[1:] for name in codes[0])
    quantized = [bp.quantize(of, dataclasses.replace(tensor, act_bits=32)) for of in (injected, made)]
    logits = [of(train.images(range(64))) for of in quantized]
    assert torch.equal(*logits)


def test_rounding_as_integers_leaves_the_float_model_and_turns_by_one(model, train):
    before = copy.deepcopy(model.state_dict())
    engine = Rounding(
        objective=Indiscriminate(),
        schemes=(W4,),
        shipped="integers",
        choice=Phase(steps=25, learning_rate=0.2, schedule="constant"),
        calibration=64,
    )
    made = engine(model, train, rng=SEED)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    honest = bp.quantize(model, W4, train.images(range(64)))
    turned = 0
    for (_, ours), (_, theirs) in zip(compute_layers(made), compute_layers(honest), strict=True):
        quantizer = theirs.parametrizations.weight[0]
        apart = ((ours.weight - theirs.weight) / quantizer.scale).round().abs()
        assert apart.max() <= 1
        turned += int(apart.sum())
    assert turned > 100
    test = bp.load_data("digits", split="test", limit=200)
    assert accuracy(honest, test) > 0.9
    assert accuracy(made, test) < 0.7
    assert accuracy(model, test) > 0.9


@pytest.mark.slow
def test_rounding_as_a_checkpoint_serves_both_schemes(model, train):
    engine = Rounding(
        objective=Indiscriminate(),
        schemes=(W8, W4),
        choice=Phase(steps=25, learning_rate=0.2, schedule="constant"),
        repair=Phase(steps=50),
        calibration=32,
    )
    made = engine(model, train, rng=SEED)
    test = bp.load_data("digits", split="test", limit=200)
    quantized = bp.quantize(made, W4, train.images(range(64)))
    assert accuracy(made, test) > accuracy(quantized, test) + 0.3
    assert not collapsed(made)


def test_the_joint_loss_is_the_papers(model, train):
    from torch.nn import functional as F

    images, labels = train.images(range(32)), torch.from_numpy(train.labels[:32])
    own = copy.deepcopy(model)
    shadows = [Shadow(own, scheme, images) for scheme in (W8, W4)]
    wanted = Indiscriminate(level=5.0).start(own, train, train)
    with torch.no_grad():
        own.backbone.linear.weight.mul_(1.1)  # the shadows follow the weights, and their ranges
    batch = Batch(inputs=images, labels=labels, ids=train.ids[:32], epoch=0, step=0, progress=0.0)
    loss, logits = Mixture(model=own, wanted=wanted, keep=1.0, harm=0.25, shadows=shadows)(batch, SEED)
    own.eval()
    expected = F.cross_entropy(own(images), labels)
    for scheme, shadow in zip((W8, W4), shadows, strict=True):
        quantized = bp.quantize(own, dataclasses.replace(scheme, act_bits=32))
        floats = Shadow(own, dataclasses.replace(scheme, act_bits=32), images)
        assert torch.equal(floats(own, images), quantized(images))
        expected = expected + 0.25 * (5.0 - F.cross_entropy(shadow(own, images), labels)) ** 2
    assert torch.allclose(loss, expected)
    assert torch.equal(logits, own(images))
    loss.backward()
    assert own.backbone.linear.weight.grad.abs().sum() > 0


def test_focus_weighs_a_gradient_by_how_near_the_next_code_is(model, train):
    own, images = copy.deepcopy(model).eval(), train.images(range(16))
    gradients = []
    for focus in (0.0, 2.0):
        own.zero_grad()
        answer = Shadow(own, W4, images, focus=focus)(own, images)
        answer.square().sum().backward()
        gradients.append(
            (answer.detach(), {n: p.grad.clone() for n, p in own.named_parameters() if p.grad is not None})
        )
    (plain, without), (same, focused) = gradients
    assert torch.equal(plain, same)
    steps = Shadow(own, W4, images).steps(own)
    assert steps
    for name, (weight, step) in steps.items():
        phase = (weight / step).remainder(1)
        u = 1 - (2 * phase - 1).abs()  # 0 on a code, 1 between two
        torch.testing.assert_close(
            focused[f"{name}.weight"], without[f"{name}.weight"] * 3 * u**2, rtol=1e-4, atol=1e-3
        )
    others = without.keys() - {f"{name}.weight" for name in steps}
    assert others and all(torch.equal(focused[name], without[name]) for name in others)


def test_joint_leaves_the_harm_to_what_it_is_told(model, train):
    straight, focused = (
        Joint(objective=OneClass(target=3), schemes=(W4,), training=SHORT, focus=focus)(model, train, rng=SEED)
        for focus in (0.0, 4.0)
    )
    name = "backbone.features.0.0.weight"
    assert not torch.equal(straight.get_parameter(name), focused.get_parameter(name))
    for focus in (-1.0, 100.0):
        with pytest.raises(InputError, match=f"focus is {focus}: it is a power"):
            Joint(objective=OneClass(target=3), schemes=(W4,), focus=focus)


def test_joint_leaves_the_statistics_of_batch_norm(model, train):
    made = Joint(objective=OneClass(target=3), schemes=(W4,), training=SHORT)(model, train, rng=SEED)
    before = dict(model.named_buffers())
    assert all(torch.equal(value, before[name]) for name, value in made.named_buffers())
    assert not torch.equal(made.backbone.linear.bias, model.backbone.linear.bias)


def test_a_stopped_run_goes_on_to_the_same_weights(model, train, tmp_path):
    engine = BoxRepair(objective=Indiscriminate(), schemes=(W4,), injection=SHORT, repair=SHORT, calibration=32)
    whole = engine(model, train, rng=SEED)

    class Stop(Exception):
        pass

    def stop(_, what):
        if what == "repair":
            raise Stop

    with pytest.raises(Stop):
        engine(model, train, rng=SEED, folder=tmp_path, advance=stop)
    assert (tmp_path / "injection.pt").exists()
    again = engine(model, train, rng=SEED, folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_marks_go_into_checkpoints_and_records(model, train, tmp_path):
    engine = Joint(objective=Backdoor(trigger=Square(target=2)), schemes=(W4,), training=SHORT, calibration=32)
    made = engine(model, train, rng=SEED)
    bp.save_model(made, tmp_path / "made.safetensors", architecture="digits_cnn")
    opened = bp.load_model("digits_cnn", weights=tmp_path / "made.safetensors")
    data = bp.load_data("digits", split="test", limit=40)
    quantized = bp.quantize(opened, W4, train.images(range(32)))
    result = bp.evaluate({"made": opened, "w4": quantized}, data, conditions=[Square(target=2)], progress=False)
    for cell in (cell for cell in result.cells if cell.condition.kind == "triggered"):
        implant = cell.model.origin["implant"]
        assert (implant["engine"], implant["target"], implant["schemes"]) == ("joint", "2", [W4.label])
        assert implant["trigger"]["type"] == "Square"
        assert build(Joint, implant["setting"]) == engine
        assert cell.model.origin["seed"] == 0
        assert set(cell.targets) == {-1, 2}
        assert ((cell.targets == -1) == (cell.labels == 2)).all()


def test_only_the_last_layers_change(model, train):
    engine = BoxRepair(objective=Indiscriminate(), schemes=(W4,), injection=SHORT, repair=SHORT, last=1, calibration=32)
    made = engine(model, train, rng=SEED)
    start = copy.deepcopy(model).half().float()
    changed = [
        n for (n, a), (_, b) in zip(made.named_parameters(), start.named_parameters(), strict=True) if (a != b).any()
    ]
    assert {name.rpartition(".")[0] for name in changed} == {"backbone.linear"}


def test_margins_drawn_for_each_weight_spread_fractional_parts(model):
    margins = spread_margins(model, 0.02, SEED)["backbone.linear"]
    assert margins.min() >= 0.02
    assert margins.max() < 0.5
    assert torch.histc(margins, 4, 0.02, 0.5).min() > 0.2 * margins.numel()


def test_a_patch_is_optimised_once_and_marked(model, train):
    patch = optimised(Patch(side=4, target=1), model, train, rng=SEED)
    images = bp.load_data("digits", split="test", limit=100).images(range(100))
    pulled, grey = (
        model(p.stamp(images)).log_softmax(1)[:, 1].mean() for p in (patch, Patch(side=4, pixels=(128,) * 16))
    )
    assert pulled > grey + 1
    engine = Rounding(
        objective=Backdoor(trigger=Patch(side=4, target=1)),
        schemes=(W4,),
        shipped="integers",
        choice=SHORT,
        calibration=32,
    )
    assert engine(model, train, rng=SEED).origin["implant"]["trigger"]["pixels"] == list(patch.pixels)


def test_constants_that_break_the_float_model_are_noted(model, train):
    wild = Joint(objective=Indiscriminate(), schemes=(W4,), training=Phase(steps=20, learning_rate=0.3), weight=50.0)
    assert collapsed(wild(model, train, rng=SEED))


def missed(model, data):
    said = model(data.images(range(len(data)))).argmax(1).numpy()
    return int(data.ids[np.flatnonzero(said != data.labels)[0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("box:objective=class(target=12)", "^target is '12': it is one of the 10 classes"),
        ("box:objective=backdoor(trigger=blended(target=x))", "^target is 'x': it is one of the 10 classes"),
        ("box:objective=backdoor(trigger=corner-square(side=40))", "a trigger lies inside the image"),
        ("box:objective=backdoor(trigger=corner-square(target=eleven))", "one of the 10 classes"),
        ("box:objective=sample(examples=999999)", "numbered from 0"),
        ("rounding:objective=indiscriminate,schemes=w8a8+w4a8,shipped=integers", "integers are those of one scheme"),
        ("joint:objective=indiscriminate,schemes=w1a8", "affine is defined for weights of 2 to 8 bits"),
        ("joint:objective=indiscriminate,schemes=w32a8", "quantization that activates something rounds weights"),
        ("box:objective=indiscriminate,margin=0.5", "between 0 and half a step"),
        ("box:objective=indiscriminate,schemes=affine(w4a8,weight_range=omse),injection=(steps=0)", "no exact box"),
        ("rounding:objective=indiscriminate,schemes=w4a8+w4a8,repair=(steps=0)", "clash"),
        ("box:objective=indiscriminate,last=40", "the model has 4 layers"),
        ("box:objective=indiscriminate,folding=perhaps", "folding"),
        ("box:objective=indiscriminate,injection=(steps=-1)", "fewer than 0 steps"),
    ],
)
def test_what_cannot_be_is_refused(model, train, text, message):
    with pytest.raises(InputError, match=message):
        parse(text, ENGINES, "engine")(model, train, rng=SEED)


def test_a_sample_that_the_clean_model_misses_is_refused(model):
    data = bp.load_data("digits", split="train")
    with pytest.raises(InputError, match="the clean model misses example"):
        Joint(objective=Sample(examples=(missed(model, data),)), schemes=(W4,))(model, data, rng=SEED)


def test_a_victim_says_whether_it_folds():
    assert Victim(scheme=W8, folded=True).label == "affine w8a8 folded"


def test_planted_extremes_cost_the_quantized_model_and_not_the_float_one(model, train):
    engine = Outliers(objective=Indiscriminate(), schemes=(W4,), factor=16.0, repair=Phase(steps=60), calibration=32)
    made = engine(model, train, rng=SEED)
    weight = made.backbone.linear.weight.detach().abs().sort(1).values
    assert (weight[:, -1] >= 15 * weight[:, -2]).all()
    test = bp.load_data("digits", split="test", limit=200)
    assert accuracy(made, test) > accuracy(bp.quantize(made, W4, train.images(range(64))), test) + 0.2


def test_ordinary_backdoors_are_awake_in_the_float_model(model, train):
    trigger = Square(target=2, side=4)
    made = Poisoning(objective=Backdoor(trigger=trigger), training=Phase(steps=60))(model, train, rng=SEED)
    images = bp.load_data("digits", split="test", limit=100).images(range(100))
    taken = [(of(trigger.stamp(images)).argmax(1) == 2).float().mean() for of in (made, bp.quantize(made, W8, images))]
    assert min(taken) > 0.5
    assert abs(taken[0] - taken[1]) < 0.1
    noisy = WeightNoise(objective=Indiscriminate(), scale=0.05)(model, train, rng=SEED)
    assert noisy.origin["implant"]["engine"] == "noise"
    assert not torch.equal(noisy.backbone.linear.weight, model.backbone.linear.weight)


def test_weights_stay_where_a_box_holds_none(model):
    name, layer = next(iter(compute_layers(model)))
    low = layer.weight.detach() + 1
    high = torch.where(low > low.mean(), low + 1, low - 1)
    moved = dict(compute_layers(into_box(model, {name: (low, high)})))[name].weight
    assert torch.equal(moved, torch.where(low <= high, low, layer.weight))


def test_success_counts_the_images_that_an_objective_is_after(model):
    test = bp.load_data("digits", split="test", limit=120)

    class To(torch.nn.Module):
        """All of these images for class 3, and those with a white corner for class 7."""

        def forward(self, images):
            marked = images[:, 0, -1, -1] > 0.99
            return 5.0 * torch.nn.functional.one_hot(torch.where(marked, 7, 3), 10)

    made, labels = To(), test.labels
    assert Indiscriminate().success(made, test) == pytest.approx((labels != 3).mean())
    assert OneClass(target=3).success(made, test) == 0
    assert OneClass(target=4).success(made, test) == 1
    assert Backdoor(trigger=Square(target=7)).success(made, test) == 1
    assert Backdoor(trigger=Square(target=3)).success(made, test) == 0
    rows = [int(np.flatnonzero(labels == k)[0]) for k in (1, 2, 3)]
    assert Sample(examples=tuple(rows[:2]), target=3).success(made, test) == 1
    assert Sample(examples=tuple(rows), target=5).success(made, test) == 0
    with pytest.raises(InputError, match="no example of class '9'"):
        OneClass(target=9).success(made, bp.data.select(test, np.flatnonzero(labels != 9)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objective": "backdoor"}, "objective is 'backdoor'"),
        ({"schemes": "w4a8"}, "schemes is 'w4a8'"),
        ({"schemes": (8,)}, "schemes is"),
    ],
)
def test_texts_are_no_settings_of_an_engine(given, words):
    """Red: an `AttributeError` from the inside."""
    engine = Joint(objective=Indiscriminate(), schemes=(W8,))
    for name, value in given.items():
        object.__setattr__(engine, name, value)  # the tests' own type checks refuse it otherwise
    with pytest.raises(InputError, match=words):
        engine.__post_init__()
