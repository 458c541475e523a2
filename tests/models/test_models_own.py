"""A network of one's own by name, `package.module:callable`: its normalisation, and what is said if it fails."""

import itertools
import sys
from multiprocessing import spawn

import pytest
import torch
from safetensors.torch import save_file

import bitproof as bp
from bitproof.errors import InputError

NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.flat, self.linear = nn.Flatten(), nn.Linear(400, num_classes)

    def forward(self, images):
        return self.linear(self.flat(images))

def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(400, 10))
def needs(width): return wide()
def only(classes): return Net(classes)
def broken(): return undefined
def number(): return 3
built = Net(4)
text = "net"
"""
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the working directory; each test has one of its own, as they stay imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    name = f"peoples_nets_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(NETS)
    return name


def test_class_function_and_instance_are_networks_in_eval_mode(module):
    net = bp.load_model(f"{module}:Net")
    assert not net.training and net.architecture == f"{module}:Net"  # pyright: ignore
    assert isinstance(bp.load_model(f"{module}:wide"), torch.nn.Sequential)
    assert bp.load_model(f"{module}:built").linear.out_features == 4  # pyright: ignore
    one, other, third = (bp.load_model(f"{module}:Net", seed=seed).linear.weight for seed in (1, 1, 2))  # pyright: ignore
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_processes_that_are_started_find_it(module, tmp_path):
    bp.load_model(f"{module}:Net")
    assert str(tmp_path) in spawn.get_preparation_data("worker")["sys_path"]


def test_packages_and_parts_of_them(module, tmp_path):
    (tmp_path / f"package_{module}").mkdir()
    (tmp_path / f"package_{module}" / "inner.py").write_text(NETS)
    assert bp.load_model(f"package_{module}.inner:wide") is not None


def test_classes_are_handed_over_by_the_name_they_have(module):
    assert bp.load_model(f"{module}:Net", classes=7).linear.out_features == 7  # pyright: ignore
    assert bp.load_model(f"{module}:only", classes=7).linear.out_features == 7  # pyright: ignore


def test_mean_and_std_come_before_it_and_its_own_weights_fit(module, tmp_path):
    plain = bp.load_model(f"{module}:Net", seed=3)
    save_file(plain.state_dict(), tmp_path / "plain.safetensors")
    model = bp.load_model(f"{module}:Net", weights=tmp_path / "plain.safetensors", mean=(0.25,), std=(0.5,))
    images = torch.rand(3, 1, 20, 20)
    assert torch.allclose(model(images), plain((images - 0.25) / 0.5), atol=1e-5)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_checkpoint_brings_its_normalisation_back(module, tmp_path, quantized):
    model = bp.load_model(f"{module}:Net", mean=(0.25,), std=(0.5,))
    if quantized:
        train = bp.load_data("digits", split="train", limit=16)
        model = bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), train)
    path = tmp_path / "saved.safetensors"
    bp.save_model(model, path, architecture=f"{module}:Net")
    images = torch.rand(3, 1, 20, 20)
    again = bp.load_model(f"{module}:Net", weights=path)
    assert torch.equal(again(images), model(images)) and again.architecture == f"{module}:Net"  # pyright: ignore
    save_file(model.state_dict(), tmp_path / "state.safetensors")
    if not quantized:
        state = bp.load_model(f"{module}:Net", weights=tmp_path / "state.safetensors")
        assert torch.equal(state(images), model(images))
        with pytest.raises(InputError, match="brings the normalisation"):
            bp.load_model(f"{module}:Net", weights=tmp_path / "state.safetensors", mean=(0.1,), std=(0.2,))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("{}:Nett", {}, "unknown name in the module .*Did you mean 'Net'"),
        ("no_such_{}:Net", {}, "unknown network .*a module of your own in the working directory"),
        ("{}:needs", {}, "takes the argument width.*function of a line"),
        ("{}:only", {}, "takes the argument classes.*--classes"),
        ("{}:wide", {"classes": 3}, "takes no number of classes.*classes, num_classes or n_classes"),
        ("{}:Net", {"classes": 1}, "classes is 1"),
        ("{}:broken", {}, r"fails when it is called with no argument \(NameError: .*undefined.*line \d+: .*undefined"),
        ("{}:number", {}, "gave a int.*an nn.Module, or a class or function that returns one"),
        ("{}:text", {}, "gave a str"),
        ("{}:Net", {"mean": (0.5,)}, "mean without std"),
        ("{}:Net", {"mean": (123.0,), "std": (58.0,)}, "look like the 0..255 scale.*Divide both by 255"),
        ("{}:Net", {"mean": (0.5, 0.5), "std": (0.5,)}, "one finite mean and one positive std a channel"),
    ],
)
def test_what_cannot_be_a_network_is_refused(module, name, options, words):
    with pytest.raises(InputError, match=words):
        bp.load_model(name.format(module), **options)


def test_code_that_fails_on_import_shows_the_last_frame(module, tmp_path):
    (tmp_path / f"fails_{module}.py").write_text("import math\nmath.sqrt(-1)\n")
    with pytest.raises(InputError, match=r"fails when it is imported \(ValueError: .*line 2: math.sqrt\(-1\)\)"):
        bp.load_model(f"fails_{module}:Net")
    (tmp_path / f"typo_{module}.py").write_text("def net(:\n")
    with pytest.raises(InputError, match=r"SyntaxError: .*typo_.*line 1"):
        bp.load_model(f"typo_{module}:net")


def test_a_normalisation_of_the_wrong_length_is_refused_with_the_data(module):
    model = bp.load_model(f"{module}:Net", mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(InputError, match="images of 1 channels"):
        bp.evaluate(model, bp.load_data("digits", limit=4), suite="clean", progress=False)


def test_an_edited_network_is_another_one(module, tmp_path):
    text = NETS.replace("self.linear(self.flat(images))", "2 * self.linear(self.flat(images))")
    (tmp_path / f"edited_{module}.py").write_text(text)
    one = bp.load_model(f"{module}:Net", seed=1)
    other = bp.load_model(f"edited_{module}:Net", seed=1)
    from bitproof.subjects import fingerprint

    assert fingerprint(one) != fingerprint(other)
