"""Residual sums and global pooling on codes: ONNX Runtime's kernels code by code, and which sums become integers."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.deploy import export_onnx, integer_form, load_onnx
from bitproof.deploy.grids import grid
from bitproof.deploy.integer_sum import IntegerMean, IntegerSum
from bitproof.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IMAGES = torch.rand(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def kernel(name, grids, *codes, domain="com.microsoft"):
    """What an operator gives, which takes codes, each with scale and zero point, then those of its result."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    constants, inputs = [], []
    for i, one in enumerate(grids):
        constants += [numpy_helper.from_array(one.scale.numpy(), f"s{i}")]
        constants += [numpy_helper.from_array(one.zero_point.numpy().astype(np.uint8), f"z{i}")]
        inputs += [*([f"x{i}"] if i < len(codes) else []), f"s{i}", f"z{i}"]
    node = helper.make_node(name, inputs, ["y"], domain=domain)
    given = [helper.make_tensor_value_info(f"x{i}", TensorProto.UINT8, x.shape) for i, x in enumerate(codes)]
    made = helper.make_graph(
        [node], "g", given, [helper.make_tensor_value_info("y", TensorProto.UINT8, None)], constants
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{i}": x.numpy().astype(np.uint8) for i, x in enumerate(codes)})[0]


def values(codes, of):
    return (codes - of.zero_point) * of.scale


def drawn(seed):
    rng = np.random.default_rng(seed)
    zero = rng.integers(0, 256, 3) if seed % 3 else (0, 0, 0)
    return [grid(torch.tensor(np.float32(np.exp(rng.uniform(-6, 0)))), int(z), 255) for z in zero]


@pytest.mark.parametrize("seed", range(12))
def test_sums_of_all_pairs_of_codes_are_those_of_the_kernel(seed):
    one, other, to = drawn(seed)
    a, b = (x.flatten() for x in torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij"))
    found = IntegerSum((one, other), to)(values(a, one), values(b, other)) / to.scale + to.zero_point
    assert np.array_equal(found.round().numpy(), kernel("QLinearAdd", (one, other, to), a, b))


@pytest.mark.parametrize("seed", range(6))
def test_means_of_codes_are_those_of_the_kernel(seed):
    one, to, _ = drawn(seed)
    to.scale.fill_(float(one.scale) * (0.3 + 0.15 * seed))
    side = 2 + seed
    codes = torch.randint(0, 256, (200, 7, side, side), generator=torch.Generator().manual_seed(seed)).float()
    for keepdim in (True, False):
        found = IntegerMean(one, to, keepdim=keepdim)(values(codes, one)) / to.scale + to.zero_point
        wanted = kernel("QLinearGlobalAveragePool", (one, to), codes)
        assert np.array_equal(found.round().numpy().reshape(wanted.shape), wanted)
        assert found.dim() == (4 if keepdim else 2)


def test_gradients_pass_up_to_one_step_outside_the_grid():
    one, other, to = grid(0.1, 0, 255), grid(0.1, 0, 255), grid(0.1, 0, 255)
    a = torch.tensor([1.0, 20.0, 25.0], requires_grad=True)
    total = IntegerSum((one, other), to)(a, torch.tensor([2.0, 5.4, 5.0]))
    torch.testing.assert_close(total, torch.tensor([3.0, 25.4, 25.5]))
    total.sum().backward()
    assert a.grad is not None and a.grad.tolist() == pytest.approx([1.0, 1.0, 0.0])


class Residual(nn.Module):
    """Two blocks as in ResNets: what a sum gives is read by a layer and by the next sum, the last one by a pooling."""

    def __init__(self, act: Any = None, pool: Any = None):
        super().__init__()
        self.pool = pool or nn.AdaptiveAvgPool2d(1)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.two = nn.Sequential(nn.Conv2d(8, 12, 3, 2, padding=1), nn.BatchNorm2d(12))
        self.act = act or nn.ReLU()
        self.head = nn.LazyLinear(4)

    def forward(self, images):
        x = self.act(self.stem(images))
        x = self.act(self.one(x) + x)
        x = self.act(self.two(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))  # a shortcut without weights
        return self.head(self.pool(x).flatten(1))


class Squeezed(nn.Module):
    """Layers side by side, excitation by the means of channels, a sum of three."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.excite, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, images):
        x = torch.cat([self.a(images).relu(), self.b(images).relu()], 1)
        y = self.c(x)
        y = y * self.excite(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.head((self.c(y) + y + x).mean((-1, -2)))


class Fire(nn.Module):
    """A module of SqueezeNet: two layers whose channels are put side by side."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.reduce, self.head = nn.Conv2d(8, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, images):
        x = F.max_pool2d(torch.cat([self.a(images).relu(), self.b(images).relu()], 1), 2)
        return self.head(self.reduce(x).relu().mean((2, 3)))


class ReadInFloat(nn.Module):
    """A sum that a normalisation reads, as in transformers and in networks that normalise first."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.one, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, images):
        x = self.stem(images)
        x = x + self.one(self.norm(x).relu())
        return self.head(self.norm(x).mean((2, 3)))


def deployed(net, scheme, folder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = net().eval()
        made(IMAGES)  # lazy layers learn their sizes
        fake = bp.quantize(made, bp.Scheme.parse(scheme), [IMAGES])
    form = integer_form(fake, [IMAGES])
    export_onnx(form, folder / "q.onnx")
    return fake, form, load_onnx(folder / "q.onnx")


def adding(form):
    return Counter(type(module) for module in form.modules() if isinstance(module, IntegerSum | IntegerMean))


@pytest.mark.parametrize(
    ("net", "scheme", "sums", "means"),
    [
        (Residual, "w8a8", 2, 1),
        (Residual, "w4a4,first=same,last=same", 2, 1),
        (Residual, "w8a8,act_symmetric=true", 2, 1),
        (lambda: Residual(nn.ReLU6()), "w8a8", 2, 1),
        (lambda: Residual(nn.Hardtanh(-0.1, 0.3)), "w8a8", 2, 1),
        (lambda: Residual(nn.Identity()), "w6a6", 2, 1),
        (lambda: Residual(pool=nn.AvgPool2d(4)), "w8a8", 2, 1),
        (lambda: Residual(pool=nn.AvgPool2d(4, padding=1)), "w8a8", 0, 0),
        (lambda: Residual(pool=nn.AvgPool2d(2)), "w8a8", 0, 0),  # read in float, and so is what goes into it
        (lambda: Residual(nn.SiLU()), "w8a8", 0, 0),  # its values are no codes
        (Squeezed, "w8a8", 0, 0),  # a product of floats is among what is added; the excitation's means read a cat
        (ReadInFloat, "w8a8", 0, 0),
    ],
)
def test_sums_of_codes_run_on_integers_and_equal_the_file_bit_for_bit(net, scheme, sums, means, tmp_path):
    fake, form, session = deployed(net, scheme, tmp_path)
    assert adding(form) == Counter({IntegerSum: sums, IntegerMean: means})
    with torch.no_grad():
        for size in (1, 7, 48):
            assert torch.equal(form(IMAGES[:size]), session(IMAGES[:size]))
        away = (form(IMAGES) - fake(IMAGES)).abs().max() / fake(IMAGES).std()
    assert away < (0.2 if "8" in scheme else 3)


def test_layers_side_by_side_round_onto_the_grid_of_who_reads_them(tmp_path):
    _, form, session = deployed(Fire, "w8a8", tmp_path)
    assert form.added == ("reduce:output",)  # which the pooling takes, that rounds its means for the last layer
    with torch.no_grad():
        assert torch.equal(form(IMAGES), session(IMAGES))


@pytest.mark.slow
def test_a_sum_that_would_run_in_float_is_refused(tmp_path, monkeypatch):
    from bitproof.deploy import export

    _, form, _ = deployed(Residual, "w8a8", tmp_path)
    monkeypatch.setitem(export._FUSED, "sums", "QLinearMul")
    with pytest.raises(InputError, match="2 of 2 sums of codes would run in float"):
        export_onnx(form, tmp_path / "again.onnx")


class Odd(nn.Module):
    """What ONNX has no operator for, or an unusual one: parts of channels, a weighted sum, a statistic of channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(4, 4)

    def forward(self, images):
        one, other = self.conv(images).chunk(2, 1)
        x = F.mish(torch.add(one, other, alpha=0.5)).roll(1, 2)
        x = x + x.var(1, keepdim=True)
        return self.head(x.mean((-1, -2), keepdim=True).squeeze(-1).squeeze(-1))


def test_gradients_are_read_from_all_that_is_exported(tmp_path):
    fake, form, session = deployed(Odd, "w8a8", tmp_path)
    twin, slopes = bp.deploy.Twin(session), []
    torch.testing.assert_close(twin.gradient_from(IMAGES), form(IMAGES), rtol=0, atol=1e-5)
    for model in (fake, twin):
        x = IMAGES.clone().requires_grad_()
        slopes.append(torch.autograd.grad(model(x)[:, 0].sum(), x)[0].flatten())
    assert torch.cosine_similarity(*slopes, dim=0) > 0.95


def test_means_are_squeezed_in_any_way(tmp_path):
    class Squeezing(Residual):
        def forward(self, images):
            x = self.act(self.stem(images))
            x = (self.one(x) + x).mean([-1, -2], keepdim=True)
            return self.head(x.squeeze(-1).squeeze(-1))

    _, form, session = deployed(Squeezing, "w8a8", tmp_path)
    assert form.adding() == {"sums": 1, "means": 1}
    with torch.no_grad():
        assert torch.equal(form(IMAGES), session(IMAGES))
