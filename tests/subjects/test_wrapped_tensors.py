"""Weights that are made of other tensors, as torchao's are of codes and scales, and that allow few operations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.subjects.fingerprint import bytes_of, fingerprint


class Coded(torch.Tensor):
    """Codes and one scale; a linear layer computes with it, and whatever else is asked fails."""

    codes: torch.Tensor
    scale: torch.Tensor
    kind: str

    @staticmethod
    def __new__(cls, codes, scale, kind="int8"):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=scale.dtype)

    def __init__(self, codes, scale, kind="int8"):
        self.codes, self.scale, self.kind = codes, scale, kind

    def __tensor_flatten__(self):
        return ["codes", "scale"], {"kind": self.kind}

    @staticmethod
    def __tensor_unflatten__(parts, setting, size, stride):
        return Coded(parts["codes"], parts["scale"], **setting)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is F.linear:
            images, weight, *bias = args
            return F.linear(images, weight.codes.float() * weight.scale, *bias)
        return super().__torch_function__(function, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.detach.default, torch.ops.aten.clone.default, torch.ops.aten.alias.default):
            return Coded(args[0].codes.clone(), args[0].scale.clone(), args[0].kind)
        raise NotImplementedError(f"{function} of a coded tensor")


def network(*, code=3, scale=0.02, kind="int8"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))
    codes = torch.randint(-127, 128, (10, 400), dtype=torch.int8)
    codes[0, 0] = code
    model[1].weight = nn.Parameter(Coded(codes, torch.tensor(scale), kind), requires_grad=False)
    return model.eval()


def test_the_identity_of_a_model_covers_every_part():
    same = fingerprint(network())
    assert same == fingerprint(network())
    assert (
        len({same, fingerprint(network(code=4)), fingerprint(network(scale=0.03)), fingerprint(network(kind="x"))}) == 4
    )
    weight = network()[1].weight
    assert bytes(bytes_of(weight)) == bytes(bytes_of(weight.codes)) + bytes(bytes_of(weight.scale))


@pytest.mark.parametrize("condition", ["clean", "fgsm:eps=0.1", "square:eps=0.1,queries=5"])
def test_such_a_model_is_tested_as_it_is(condition):
    data = bp.load_data("digits", limit=12)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(400, 10)).eval()
    coded = network()
    plain.load_state_dict({"1.weight": coded[1].weight.codes * 0.02, "1.bias": coded[1].bias.detach()})
    result = bp.evaluate({"plain": plain, "coded": coded}, data, conditions=[condition], progress=False)
    table = result.table()
    plain, coded = (table[table["model"] == name]["accuracy"].tolist() for name in ("plain", "coded"))
    assert plain == coded and len(plain) >= 1
