"""Weights from files of strangers: what is read, and what is refused without being run."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bitproof.errors import InputError
from bitproof.models import build_model, load_weights, read_weights


def net(width=3):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width))


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_come_back_as_they_were_saved(tmp_path, suffix, prefix):
    state = net().state_dict()
    path = tmp_path / f"weights{suffix}"
    stored = {prefix + name: tensor for name, tensor in state.items()}
    save_file(stored, path) if suffix == ".safetensors" else torch.save(stored, path)
    loaded = read_weights(path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    model = net()
    load_weights(model, path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "net."])
@pytest.mark.parametrize("among", [{}, {"epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}])
def test_a_state_dict_is_found_in_what_training_keeps(tmp_path, prefix, among):
    state = net().state_dict()
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()}, **among}, tmp_path / "run.pt")
    model = net()
    load_weights(model, tmp_path / "run.pt")
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_counters_of_batchnorm_may_be_absent_and_half_precision_is_widened(tmp_path):
    state = {name: t.half() for name, t in net().state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    model = net()
    load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model[0].weight, state["0.weight"].float())


def test_a_whole_models_file_brings_its_own_normalisation(tmp_path):
    model = build_model("digits_cnn", mean=(0.25,), std=(0.125,))
    save_file(model.state_dict(), tmp_path / "whole.safetensors")
    save_file(model.backbone.state_dict(), tmp_path / "backbone.safetensors")
    inputs = torch.rand(2, 1, 20, 20)
    expected = model(inputs)
    assert torch.equal(build_model("digits_cnn", weights=tmp_path / "whole.safetensors")(inputs), expected)
    again = build_model("digits_cnn", weights=tmp_path / "backbone.safetensors", mean=(0.25,), std=(0.125,))
    assert torch.equal(again(inputs), expected)
    assert not torch.equal(build_model("digits_cnn", weights=tmp_path / "backbone.safetensors")(inputs), expected)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            {"state_dict": {"w": torch.ones(2)}, "ema": {"w": torch.ones(2)}},
            r"holds several state dicts \(state_dict, ema\): one is tested",
        ),
        ({"state_dict": {"w": torch.tensor([float("nan")])}}, r"'w' in .* holds NaN"),
        ({"state_dict": {"w": 3}, "epoch": 3}, r"holds a dict under 'state_dict'.*save_file"),
        ({"w": torch.ones(2), "epoch": 3}, r"holds a int under 'epoch': a flat dictionary of named tensors"),
        ({3: torch.ones(2)}, r"holds a Tensor under 3"),
        ([torch.ones(2)], r"holds a list: a flat dictionary"),
        ({}, r"holds an empty dictionary"),
        (nn.Linear(2, 2), r"it names torch\.nn\.modules\.linear\.Linear.*save only its weights"),
        ({"w": torch.tensor([1.0, float("nan")])}, r"'w' in .* holds NaN or infinity.*before training diverged"),
        ({"w": torch.tensor([1.0, float("inf")])}, r"'w' in .* holds NaN or infinity"),
        ({"w": torch.tensor([1e300], dtype=torch.float64)}, r"'w' in .* holds NaN or infinity.*finite in float32"),
        ({"w": torch.ones(1).expand(10**12)}, r"not stored in full; weights must be dense"),
        ({"w": torch.ones(2, device="meta")}, r"names torch\._utils\._rebuild_meta\w+\): .*dense tensors alone"),
        ({"w": torch.eye(3).to_sparse()}, r"names torch\._utils\._rebuild_sparse_tensor\): .*dense tensors alone"),
    ],
)
def test_anything_but_finite_dense_tensors_is_refused(tmp_path, stored, message):
    torch.save(stored, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=message):
        read_weights(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("container", ["torch.save", "pickle"])
def test_code_in_a_checkpoint_never_runs(tmp_path, container):
    marker, path = tmp_path / "ran", tmp_path / "checkpoint.pt"
    trap = {"w": Trap(f"touch {marker}")}
    torch.save(trap, path) if container == "torch.save" else path.write_bytes(pickle.dumps(trap, protocol=2))
    with pytest.raises(InputError, match=r"cannot be read.*nothing else in a file is ever run"):
        read_weights(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(trap))  # noqa: S301 - shows that the trap is armed
    assert marker.exists()


def test_a_refused_global_is_named_and_torchs_unsafe_advice_is_not_repeated(tmp_path):
    torch.save({"w": Trap("true")}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"it names (posix|nt)\.system") as refusal:
        read_weights(tmp_path / "checkpoint.pt")
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_missing_and_empty_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    with pytest.raises(InputError, match=r"the file does not exist\. Check the path"):
        read_weights(path)
    with pytest.raises(InputError, match="must be a file that is not empty"):
        read_weights(tmp_path)
    path.touch()
    with pytest.raises(InputError, match="must be a file that is not empty"):
        read_weights(path)
    state = {"w": torch.rand(1000)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for content in (whole[:3000], b"no weights at all" * 100, b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{path} cannot be read \(.+\): weights are safetensors, or a state"):
            read_weights(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), r"does not fit Sequential \(missing: 0\.bias\)"),
        (lambda s: s.update(extra=torch.ones(1)), r"unexpected: extra\)"),
        (
            lambda s: s.update({"0.weight": torch.ones(5, 1, 3, 3)}),
            r"0\.weight is float32 \[5, 1, 3, 3\] in the file and float32 \[3, 1, 3, 3\] in the model",
        ),
        (
            lambda s: s.update({"0.weight": torch.ones(3, 1, 3, 3, dtype=torch.int8)}),
            r"0\.weight is int8 \[3, 1, 3, 3\] in the file and float32",
        ),
        (lambda s: [s.update({f"x{i}": torch.ones(1)}) for i in range(5)], r"unexpected: x0, x1, x2 and 2 more"),
        (
            lambda s: s.update(extra=s.pop("0.bias")),
            r"missing: 0\.bias; unexpected: extra.*Check the architecture and the number of classes",
        ),
    ],
)
def test_weights_of_another_model_change_nothing(tmp_path, change, message):
    state = net().state_dict()
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
