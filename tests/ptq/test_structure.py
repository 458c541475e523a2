"""Folding, equalisation and what a checkpoint keeps of them."""

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.core.flow import record_flow
from bitproof.errors import InputError
from bitproof.ptq import AddBiases, FoldBatchNorm, PostTraining, equalize, fold_batch_norm
from bitproof.ptq.equalization import equalizable_pairs, input_ranges, output_ranges
from bitproof.quant import Affine, Scheme, freeze, quantize, split_outliers
from bitproof.quant.ocs import SplitOutliers
from bitproof.quant.structure import steps_of
from bitproof.settings import describe


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with random statistics and gains of both signs in its BatchNorms."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.track_running_stats:
            module.running_mean = torch.randn(module.num_features, generator=generator)
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            if module.affine:
                module.weight.data = torch.randn(module.num_features, generator=generator)
                module.bias.data = torch.randn(module.num_features, generator=generator)
    return model.eval()


class Branches(nn.Module):
    """Each reason why a BatchNorm cannot be folded, and two that can."""

    def __init__(self):
        super().__init__()
        self.good = nn.Conv2d(3, 4, 3)
        self.good_norm = nn.BatchNorm2d(4)
        self.used_twice = nn.Conv2d(4, 4, 1)
        self.used_twice_norm = nn.BatchNorm2d(4)
        self.runs_twice = nn.Conv2d(4, 4, 1)
        self.runs_twice_norm = nn.BatchNorm2d(4)
        self.of_batches = nn.Conv2d(4, 4, 1)
        self.of_batches_norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.alone = nn.BatchNorm2d(4)
        self.changed = nn.Conv2d(4, 4, 1)
        self.changed_norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)
        self.head_norm = nn.BatchNorm1d(5)

    def forward(self, x):
        x = self.good_norm(self.good(x)).relu_()
        y = self.used_twice(x)
        x = y + self.used_twice_norm(y)
        x = self.runs_twice_norm(self.runs_twice(self.runs_twice(x)))
        x = self.alone(self.of_batches_norm(self.of_batches(x)).relu())
        x = self.changed_norm(self.changed(x).mul_(2))
        return self.head_norm(self.head(x.mean((2, 3))))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6, eps=0.1), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, padding="same", padding_mode="reflect"), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.BatchNorm2d(6, affine=False)),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6)),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)),
    ],
    ids=["bias", "no-bias", "grouped", "not-affine", "conv1d", "linear"],
)
def test_a_folded_batch_norm_leaves_the_function(model):
    model, x = lively(model), torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    before = copy.deepcopy(model.state_dict())
    folded = fold_batch_norm(model, x[:1])
    torch.testing.assert_close(folded(x), model(x), atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_by_hand():
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, eps=1.0))
    model.load_state_dict(
        {"0.weight": torch.tensor([[4.0]]), "0.bias": torch.tensor([3.0]), "1.weight": torch.tensor([-2.0]),
         "1.bias": torch.tensor([7.0]), "1.running_mean": torch.tensor([1.0]), "1.running_var": torch.tensor([3.0]),
         "1.num_batches_tracked": torch.tensor(0)}
    )  # fmt: skip
    layer = fold_batch_norm(model.eval(), torch.zeros(1, 1))[0]  # pyright: ignore
    assert (layer.weight.item(), layer.bias.item()) == (-4.0, 5.0)  # g = -2 / sqrt(3 + 1); b = -1 (3 - 1) + 7


def test_only_what_alone_uses_a_layer_is_folded():
    model, x = lively(Branches()), torch.randn(4, 3, 8, 8)
    folded = fold_batch_norm(model, x)
    assert [step.pairs for step in steps_of(folded)] == [(("good", "good_norm"), ("head", "head_norm"))]
    torch.testing.assert_close(folded(x), model(x), atol=1e-4, rtol=1e-4)


def test_the_real_architecture_and_one_without_batch_norm():
    model = lively(bp.load_model("resnet20"))
    folded = fold_batch_norm(model, torch.rand(1, 3, 32, 32))
    assert len(steps_of(folded)[0].pairs) == 19
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(folded(x), model(x), atol=1e-5 * model(x).abs().max().item(), rtol=1e-4)
    plain = nn.Sequential(nn.Linear(2, 2))
    assert steps_of(fold_batch_norm(plain, torch.ones(1, 2))) == ()


def test_flow_tells_changes_in_place_apart():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.two(F.relu_(self.one(x)))

    flow = record_flow(Model(), torch.ones(1, 2), ["two", "one"])
    assert list(flow.calls) == ["one", "two"]
    (_, made), (taken, _) = flow.only_call("one"), flow.only_call("two")
    assert made != taken
    assert flow.only_use(made).function.startswith("relu")
    assert flow.only_use(made).output == taken


class Chain(nn.Module):
    def __init__(self, groups: int):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(8, 8, 3, groups=groups)
        self.third = nn.Conv2d(8, 4, 1, bias=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.first(x))
        return self.third(torch.relu(self.second(x)))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_equalised_ranges_are_geometric_means_and_the_function_stays(groups):
    torch.manual_seed(0)
    model, x = Chain(groups).double().eval(), torch.randn(4, 3, 9, 9).double()
    with torch.no_grad():
        model.first.weight *= torch.logspace(-2, 2, 8).view(-1, 1, 1, 1)
    assert equalizable_pairs(model, x) == [("first", "second"), ("second", "third")]
    even = equalize(model, x)
    torch.testing.assert_close(even(x), model(x), atol=1e-9, rtol=1e-9)
    for one, two in ((even.first, even.second), (even.second, even.third)):
        torch.testing.assert_close(output_ranges(one), input_ranges(two), rtol=1e-3, atol=0)
    assert output_ranges(even.first).max() < 0.1 * output_ranges(model.first).max()


def test_one_pair_in_closed_form():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[8.0, -1.0], [0.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([2.0, 3.0]))
        model[2].weight.copy_(torch.tensor([[-0.5, 1.0]]))
    even = equalize(model, torch.ones(1, 2))
    # r1 = 8, r2 = 1/2: s = sqrt(8 / 0.5) = 4, both ranges 2; the second channel has no weights and stays
    torch.testing.assert_close(even[0].weight, torch.tensor([[2.0, -0.25], [0.0, 0.0]]))
    torch.testing.assert_close(even[0].bias, torch.tensor([0.5, 3.0]))
    torch.testing.assert_close(even[2].weight, torch.tensor([[-2.0, 1.0]]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), spread=st.floats(0, 3))
def test_equalising_twice_changes_nothing(seed, spread):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        model[0].weight *= torch.randn(5, 1).mul(spread).exp()
    once = equalize(model, torch.ones(1, 3).double())
    again = equalize(once, torch.ones(1, 3).double())
    for one, two in zip(once.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-9)


def test_branches_and_other_activations_are_no_pairs():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            y = self.one(x).relu()
            return y + self.two(y)

    assert equalizable_pairs(Residual(), torch.ones(1, 3)) == []
    bounded = nn.Sequential(nn.Linear(3, 3), nn.ReLU6(), nn.Linear(3, 3))
    assert equalizable_pairs(bounded, torch.ones(1, 3)) == []
    residual = bp.load_model("resnet20")
    folded = fold_batch_norm(residual, torch.rand(1, 3, 32, 32))
    pairs = equalizable_pairs(folded, torch.rand(1, 3, 32, 32))
    assert pairs == [
        (f"backbone.layer{i}.{j}.conv1", f"backbone.layer{i}.{j}.conv2") for i in (1, 2, 3) for j in range(3)
    ]


def test_equalising_helps_grids_of_one_a_tensor():
    torch.manual_seed(0)
    model, x = Chain(1).eval(), torch.randn(16, 3, 9, 9)
    with torch.no_grad():  # the same function from uneven layers
        uneven = torch.logspace(-1.5, 1.5, 8).view(-1, 1, 1, 1)
        model.first.weight *= uneven
        model.first.bias *= uneven.flatten()
        model.second.weight /= uneven.view(1, -1, 1, 1)
    scheme = Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=32, first="same", last="same")
    plain, even = (quantize(m, scheme)(x) - model(x) for m in (model, equalize(model, x)))
    assert even.square().mean() < 0.5 * plain.square().mean()


SETTINGS = {
    "nearest": PostTraining(scheme=Scheme(weight_bits=4, act_bits=4)),
    "unfolded": PostTraining(scheme=Scheme(weight_bits=4, act_bits=4), fold=False),
    "equalised": PostTraining(scheme=Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=4), equalize=True),
    "reestimated": PostTraining(scheme=Scheme(weight_bits=3, act_bits=4), fold=False, reestimate=True),
    "adaround": PostTraining(scheme=Scheme(weight_bits=2, act_bits=4), rounding="adaround", iterations=5),
    "brecq": PostTraining(scheme=Scheme(weight_bits=2, act_bits=4), rounding="brecq", iterations=5),
    "pwlq": PostTraining(scheme=Scheme("pwlq", weight_bits=3, act_bits=4), rounding="brecq", iterations=5),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_checkpoints_rebuild_what_was_made(name, tmp_path):
    images = bp.load_data("digits", split="train", limit=32).images(range(32))
    model = lively(bp.load_model("digits_cnn"))
    quantized = SETTINGS[name](model, [images])
    expected = quantized(images)
    assert torch.equal(freeze(quantized)(images), expected)
    bp.save_model(quantized, tmp_path / "q.safetensors", architecture="digits_cnn")
    loaded = bp.load_model("digits_cnn", weights=tmp_path / "q.safetensors")
    assert torch.equal(loaded(images), expected)
    assert steps_of(loaded) == steps_of(quantized)
    assert loaded.scheme == SETTINGS[name].scheme


def test_checkpoints_rebuild_split_channels(tmp_path):
    images = torch.rand(8, 1, 20, 20)
    scheme = Scheme(weight_bits=4, act_bits=4)
    quantized = quantize(split_outliers(bp.load_model("digits_cnn"), scheme, ratio=0.1), scheme, [images])
    bp.save_model(quantized, tmp_path / "q.safetensors", architecture="digits_cnn")
    loaded = bp.load_model("digits_cnn", weights=tmp_path / "q.safetensors")
    assert torch.equal(loaded(images), quantized(images))
    assert steps_of(loaded)[0].ratio == 0.1


def tampered(path, **said: str) -> None:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata={**metadata, **said})


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ('[{"type": "Nonsense"}]', "unknown structural step 'Nonsense'.*known are"),
        ('[{"type": "FoldBatchNorm", "pairs": [["a", "b"]]}]', "a and b in Sequential.*Conv1d, Conv2d or Linear"),
        ('[{"type": "FoldBatchNorm", "folder": "/"}]', "does not describe a FoldBatchNorm"),
        ('[{"type": "AddBiases", "layers": ["backbone.linear"]}]', "'backbone.linear'.*without one"),
        ("[3]", "structure.*is damaged"),
        ("nonsense", "structure.*is damaged"),
        ('[{"type": "FoldBatchNorm", "pairs": 3}]', "structure.*is damaged"),
    ],
)
def test_foreign_structures_are_refused(structure, message, tmp_path):
    path = tmp_path / "q.safetensors"
    bp.save_model(quantize(bp.load_model("digits_cnn"), Scheme(act_bits=32)), path, architecture="digits_cnn")
    tampered(path, structure=structure)
    with pytest.raises(InputError, match=message):
        bp.load_model("digits_cnn", weights=path)


def test_steps_explain_mistakes():
    with pytest.raises(InputError, match="a and b in Sequential"):
        FoldBatchNorm(pairs=(("a", "b"),))(nn.Sequential())
    with pytest.raises(InputError, match="without one.*Check the architecture"):
        AddBiases(layers=("0",))(nn.Sequential(nn.Linear(1, 1)))


def test_the_given_model_stays_as_it_is(tmp_path):
    model = lively(bp.load_model("digits_cnn")).train()
    before = copy.deepcopy(model.state_dict())
    for name in ("equalised", "brecq", "reestimated"):
        SETTINGS[name](model, [torch.rand(8, 1, 20, 20)])
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "said",
    [
        {"classes": "1000000000"},
        {"classes": "ten"},
        {"classes": "9" * 5000},
        {"scheme": "null"},
        {"scheme": "[" * 5000},
        {"scheme": '{"type": "Scheme"}{'},
        {"architecture": ""},
    ],
)
def test_what_a_checkpoint_says_is_checked_before_anything_is_built(said, tmp_path):
    path = tmp_path / "q.safetensors"
    bp.save_model(quantize(bp.load_model("digits_cnn"), Scheme(act_bits=32)), path, architecture="digits_cnn")
    tampered(path, **said)
    with pytest.raises(InputError, match="says of itself is damaged|holds a"):
        bp.load_model("digits_cnn", weights=path)


def test_outputs_and_layers_that_a_file_does_not_hold_are_not_built(tmp_path):
    path, step = tmp_path / "q.safetensors", SplitOutliers(scheme=Scheme(act_bits=32), ratio=1.0)
    bp.save_model(bp.load_model("digits_cnn"), path, architecture="digits_cnn")
    tampered(path, classes="100000")
    with pytest.raises(InputError, match=r"100,000 classes.*each class of a digits_cnn has [\d,]+ weights in the file"):
        bp.load_model("digits_cnn", weights=path)
    tampered(path, classes="10", structure=json.dumps([describe(step)] * 12))  # each doubles the inputs of all layers
    with pytest.raises(InputError, match="structural steps make more than the .* numbers that it holds"):
        bp.load_model("digits_cnn", weights=path)
    tampered(path, structure=json.dumps([describe(step)] * 1000))
    with pytest.raises(InputError, match="1,000 structural steps"):
        bp.load_model("digits_cnn", weights=path)


def test_channels_that_there_are_not_are_refused(tmp_path):
    path, scheme = tmp_path / "q.safetensors", Scheme(act_bits=32)
    split = split_outliers(bp.load_model("digits_cnn"), scheme, ratio=0.1)
    bp.save_model(quantize(split, scheme), path, architecture="digits_cnn")
    tensors = load_file(path)
    next(tensor for name, tensor in tensors.items() if name.endswith("input_channels"))[-1] = 10**6
    with safe_open(path, framework="numpy") as file:
        save_file(tensors, path, metadata=file.metadata())
    with pytest.raises(InputError, match="input_channels names channels that there are not"):
        bp.load_model("digits_cnn", weights=path)
