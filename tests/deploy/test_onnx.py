"""Integer forms, the files made from them, and what ONNX Runtime computes: codes, refusals, agreement."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.deploy import agreement, export_onnx, integer_form, load_onnx
from bitproof.deploy.grids import input_grid, stored, weight_codes
from bitproof.errors import InputError
from bitproof.quant.attached import INPUT_QUANTIZER

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IMAGES = torch.rand(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class EveryPart(nn.Module):
    """Normalised input, depthwise and grouped layers, a residual sum, one ReLU many times, both kinds of pooling."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8))
        self.narrow = nn.Conv2d(8, 16, 3, stride=2, padding=1, padding_mode="reflect")
        self.relu = nn.ReLU()
        self.hidden = nn.Sequential(nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU6())
        self.linear = nn.Linear(12, 5)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                nn.init.normal_(module.weight)  # negative gains too
                nn.init.normal_(module.bias)
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.1, 2)

    def forward(self, images):
        x = self.relu(self.stem((images - 0.4) / 0.2))
        y = self.grouped(self.relu(self.depthwise(x)))
        x = F.max_pool2d(self.relu(self.narrow(self.relu(x + y))), 2)
        return self.linear(self.hidden(x.mean((2, 3))))


def make(build=EveryPart, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


def quantized(scheme, build=EveryPart):
    return bp.quantize(make(build), bp.Scheme.parse(scheme), [IMAGES])


def session_of(form, folder):
    export_onnx(form, folder / "q.onnx")
    return load_onnx(folder / "q.onnx")


SCHEMES = ["w8a8", "lsq:w3a5,act_symmetric=true,first=same,last=same"]


@pytest.fixture(scope="module", params=SCHEMES)
def deployed(request, tmp_path_factory):
    """A fake-quantized model, its integer form, and the session of its file."""
    fake = quantized(request.param)
    form = integer_form(fake, [IMAGES])
    return fake, form, session_of(form, tmp_path_factory.mktemp("onnx"))


def test_the_session_equals_the_integer_form_bit_for_bit(deployed):
    _, form, session = deployed
    with torch.no_grad():
        for size in (1, 7, 48):
            assert torch.equal(form(IMAGES[:size]), session(IMAGES[:size]))
    found = agreement(form, session, [IMAGES[:40], IMAGES[40:]])
    assert (found.count, found.same, found.same_logits, found.largest, found.steps) == (48, 48, 48, 0.0, 0.0)


def test_the_file_holds_the_codes_and_every_layer_runs_on_them(deployed):
    fake, form, session = deployed
    proto = onnx.load_from_string(session.file.numpy().tobytes())
    held = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    names = [name for name, module in make().named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert set(form.layers()) == set(names)
    for name in names:
        codes, scale = weight_codes(name, fake.get_submodule(name))
        centred = held[f"{name}.codes"].astype(int) - int(held[f"{name}.zero_point"][0])
        products = centred * codes.numpy()
        flipped = np.sign(products.sum(tuple(range(1, products.ndim)), keepdims=True))
        assert np.array_equal(centred, codes.numpy() * flipped)
        levels = [of.level for of in session.codes() if of.level.shape == centred.shape]
        wanted = torch.from_numpy(centred * held[f"{name}.scale"].reshape(-1, *[1] * (centred.ndim - 1)))
        assert any(torch.allclose(level, wanted.float(), rtol=1e-6, atol=0) for level in levels)
        if name == "depthwise":  # no batch norm: the scales are those of the scheme
            assert np.array_equal(held[f"{name}.scale"], scale.numpy())


def test_only_outputs_that_something_else_reads_get_another_grid(deployed):
    fake, form, _ = deployed
    added = {"grouped.0:output", "narrow:output"}
    if fake.scheme.act_bits < 8:  # the residual sum takes codes of 8 bits, which at 8 bits the next layer does, too
        added.add("stem.0:output")
    assert set(form.added) == added


def test_the_scheme_is_kept(deployed):
    fake, form, session = deployed
    assert form.scheme == session.scheme == fake.scheme


def test_a_chain_needs_no_other_grid_and_differs_by_the_bias_only():
    """With a bias of whole codes, one layer of the integer form is the fake-quantized layer."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    fake = bp.quantize(net, bp.Scheme.parse("w4a4"), [IMAGES])
    before = copy.deepcopy(fake.state_dict())
    form = integer_form(fake, [IMAGES])
    assert all(torch.equal(before[name], tensor) for name, tensor in fake.state_dict().items())
    assert form.added == ()
    with torch.no_grad():
        torch.testing.assert_close(form(IMAGES), fake(IMAGES), rtol=0, atol=form.step)
        unit = form.layers()["3"].unit
        assert ((form.layers()["3"].bias * unit - fake[3].bias).abs() <= unit / 2 + 1e-9).all()


def test_batch_norm_goes_into_scales_and_bias():
    """In closed form: gain a = gamma / sqrt(var + eps), bias b - mean a; a channel with no gain keeps its bias."""
    conv, norm = nn.Conv2d(1, 3, 1, bias=False), nn.BatchNorm2d(3, eps=0.0)
    conv.weight.data = torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1)
    norm.weight.data, norm.bias.data = torch.tensor([2.0, -4.0, 0.0]), torch.tensor([0.5, 0.0, 3.0])
    norm.running_mean, norm.running_var = torch.tensor([0.25, 0.0, 1.0]), torch.tensor([1.0, 4.0, 1.0])
    net = nn.Sequential(conv, norm, nn.Flatten()).eval()
    fake = bp.quantize(net, bp.Scheme(weight_bits=8, act_bits=8), [torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)])
    layer = integer_form(fake, [torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)]).layers()["0"]
    assert layer.codes.flatten().tolist() == [127, 127, 0]  # -1 times the negative gain
    torch.testing.assert_close(layer.scale, torch.tensor([2 / 127, 2 / 127, 1 / 127]), rtol=1e-6, atol=0)
    torch.testing.assert_close(layer.bias * layer.unit, torch.tensor([0.0, 0.0, 3.0]), rtol=0, atol=1e-4)


def test_a_channel_of_almost_no_gain_keeps_its_bias():
    conv, norm = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 1e-12]), torch.tensor([0.0, 5.0])
    net = nn.Sequential(conv, norm, nn.Flatten()).eval()
    form = integer_form(bp.quantize(net, bp.Scheme(), [IMAGES]), [IMAGES])
    assert form(IMAGES)[:, 64:].flatten().tolist() == pytest.approx([5.0] * 48 * 64, rel=0.01)


BITS = range(2, 9)
WEIGHTS = [
    *(f"affine:w{b}a8,granularity={g}" for b in BITS for g in ("channel", "tensor")),
    *(f"affine:w{b}a8,symmetric=false,granularity={g}" for b in BITS for g in ("channel", "tensor")),
    *(f"lsq:w{b}a8,granularity={g}" for b in BITS for g in ("channel", "tensor")),
    *(f"{method}:w{b}a8" for b in (1, 2, 4, 7) for method in ("dorefa", "pact")),
    *("relu6:w4a8", "lsq+:w4a8", "binaryconnect:w1a32", "xnor:w1a32", "binarynet:w1a32", "twn:w2a32"),
]


@pytest.mark.parametrize("scheme", WEIGHTS)
def test_codes_times_scale_are_the_weights(scheme):
    layer = quantized(f"{scheme},first=same,last=same", lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()))[0]
    codes, scale = weight_codes("layer", layer)
    weight = layer.weight.detach()
    torch.testing.assert_close(codes * scale.view(-1, 1, 1, 1), weight, rtol=1e-6, atol=0)
    bits = int(scheme.split(":w")[1][0])
    one_grid = any(word in scheme for word in ("tensor", "twn", "binary", "dorefa", "pact"))
    levels = len(weight.unique()) if one_grid else max(len(row.unique()) for row in weight)
    assert levels <= (3 if "twn" in scheme else 2**bits)
    span = int(codes.max() - codes.min())
    assert span <= (2 * (2**bits - 1) if "dorefa" in scheme or "pact" in scheme else 2 * 2**bits)
    if "affine" in scheme and "symmetric" not in scheme:
        assert int(codes.abs().max()) == 2 ** (bits - 1) - 1


ACTIVATIONS = ["affine:w8a8", "affine:w8a3,act_symmetric=true", "lsq:w8a4", "pact:w4a4", "relu6:w8a5", "relu1:w8a2"]


@pytest.mark.parametrize("scheme", ACTIVATIONS)
def test_input_grids_round_as_the_quantizers_do(scheme):
    layer = quantized(f"{scheme},first=same,last=same", lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()))[0]
    quantizer = layer.get_submodule(INPUT_QUANTIZER)
    grid = input_grid("layer", quantizer)
    assert (grid.codes.qmin, grid.zero_point >= 0, grid.codes.qmax <= 255) == (0, True, True)
    x = torch.linspace(-3, 8, 1001)[None]
    torch.testing.assert_close(grid(x), quantizer(x).detach(), rtol=1e-6, atol=0)


def test_codes_are_stored_in_eight_bits_around_one_zero():
    assert stored(torch.tensor([[-128, 127]]))[1] == 0  # pyright: ignore
    codes, zero_point = stored(torch.tensor([[-100, 155]]))  # pyright: ignore
    assert (codes.tolist(), zero_point) == ([[-128, 127]], -28)
    assert stored(torch.tensor([[-128, 128]])) is None


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("pwlq:w4a4", "two grids a channel"),
        ("ttq:w2a32", "two scales"),
        ("tanh:w4a4", "zero is not one of its levels"),
        ("binaryconnect:w1a32,stochastic=true", "float weights"),
        ("affine:w32a8", "runs on integers only if its weights are quantized"),
        ("affine:w32a32", "affine w32a32.* quantizes no weight"),
        ("affine:w8a8,symmetric=false", "one zero point a tensor"),
        ("dorefa:w8a8", "one zero point a tensor"),
    ],
)
def test_methods_without_an_integer_form_are_refused_with_the_reason(scheme, reason):
    with pytest.raises(InputError, match=reason):
        integer_form(quantized(f"{scheme},first=same,last=same"), [IMAGES[:4]])


def test_learned_offsets_are_refused_unless_they_are_nothing():
    fake = quantized("lsq+:w4a4")
    quantizer = fake.get_submodule(f"depthwise.{INPUT_QUANTIZER}")
    assert quantizer.offset == 0  # after a ReLU
    input_grid("depthwise", quantizer)
    quantizer.offset.data.fill_(-0.3)
    with pytest.raises(InputError, match="'depthwise' .*offset -0.3"):
        integer_form(fake, [IMAGES[:4]])


class Standardized(nn.Conv2d):
    def forward(self, input):
        return F.conv2d(input, self.weight - self.weight.mean((1, 2, 3), keepdim=True))


class DependsOnValues(nn.Sequential):
    def forward(self, input):
        return super().forward(input if input.sum() > 0 else -input)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Sequential(Standardized(3, 4, 3), nn.Flatten()), "'0' does more than multiply"),
        (lambda: DependsOnValues(nn.Conv2d(3, 4, 3), nn.Flatten()), "cannot be captured"),
    ],
)
def test_models_that_cannot_be_rewritten_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        integer_form(quantized("w8a8", build), [IMAGES[:4]])


def test_what_is_not_quantized_or_not_in_integer_form_is_refused(tmp_path):
    with pytest.raises(InputError, match="not quantized"):
        integer_form(make(), [IMAGES])
    fake = quantized("w8a8", lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
    with pytest.raises(InputError, match="no calibration data"):
        integer_form(fake, [])
    with pytest.raises(InputError, match="pass integer_form"):
        export_onnx(fake, tmp_path / "q.onnx")
    form = integer_form(fake, [IMAGES[:4]])
    with pytest.raises(InputError, match="integer form already"):
        integer_form(form, [IMAGES[:4]])
    with pytest.raises(InputError, match="2 quantized parts"):
        integer_form(nn.Sequential(fake, fake, nn.Identity(), copy.deepcopy(fake)), [IMAGES[:4]])
    with pytest.raises(InputError, match="suffix .onnx"):
        export_onnx(form, tmp_path / "q.pt")


def test_a_wrapped_model_has_the_integer_form_of_the_one_inside():
    fake = quantized("w8a8", lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
    loader = [(IMAGES[:2], torch.zeros(2)), (IMAGES[2:4], torch.zeros(2))]
    plain, wrapped = integer_form(fake, IMAGES[:4]), integer_form(nn.Sequential(nn.Identity(), fake), loader)
    assert wrapped.scheme == plain.scheme
    assert torch.equal(wrapped(IMAGES), plain(IMAGES))


def test_layers_that_are_never_called_stay_out_of_it():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)
            self.taken, self.spare = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            x = self.stem(x).flatten(2).transpose(1, 2)
            return self.head(nn.functional.linear(x, self.taken.weight, self.taken.bias).mean(1))

    fake = quantized("w8a8", Attend)
    form = integer_form(fake, IMAGES[:4])
    assert list(form.layers()) == ["stem", "head"]
    assert not any("taken" in name or "spare" in name for name in form.added)
    torch.testing.assert_close(form(IMAGES), fake(IMAGES), atol=0.02, rtol=0)


def test_a_quantized_layer_that_would_run_in_float_is_refused_by_name(tmp_path):
    fake = quantized("w8a8", lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()))
    form = integer_form(fake, [IMAGES[:4]])
    form.layers()["2"].output_quantizer = None  # an integer convolution cannot return floats
    with pytest.raises(InputError, match="layer '2' would run in float"):
        export_onnx(form, tmp_path / "q.onnx")
    assert not list(tmp_path.iterdir())


def test_an_operator_that_onnx_lacks_is_refused(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return torch.linalg.eigvalsh(self.conv(x).mean(1))

    form = integer_form(quantized("w8a8", Odd), [IMAGES[:4]])
    with pytest.raises(InputError, match="cannot be written as ONNX"):
        export_onnx(form, tmp_path / "q.onnx")


@pytest.mark.parametrize("scheme", ["twn:w2a32", "xnor:w1a1"])
def test_float_inputs_and_signs_get_a_grid(scheme, tmp_path):
    build = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1), nn.Flatten(), nn.Linear(288, 4)
    )
    fake = quantized(scheme, build)
    form = integer_form(fake, [IMAGES])
    assert any(name.endswith(":input") for name in form.added) == ("a32" in scheme)
    assert agreement(form, session_of(form, tmp_path), [IMAGES]).same_logits == 48


def test_gradients_pass_through_the_integer_form(deployed):
    fake, form, _ = deployed
    images = IMAGES[:8].clone().requires_grad_()
    of_form, of_fake = (torch.autograd.grad(m(images)[:, 0].sum(), images)[0].flatten() for m in (form, fake))
    assert torch.cosine_similarity(of_form, of_fake, dim=0) > 0.5


@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    bits=st.tuples(st.integers(2, 7), st.sampled_from(BITS)),
    channels=st.integers(1, 9),
    kernel=st.sampled_from([1, 3, 5]),
    clip=st.sampled_from([nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Identity(), nn.Hardtanh(-0.5, 0.25)]),
)
@pytest.mark.slow
def test_random_small_nets_agree(tmp_path_factory, seed, bits, channels, kernel, clip):
    net = make(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, channels, kernel, padding=kernel // 2), nn.BatchNorm2d(channels), clip),
            *(nn.Conv2d(channels, 6, kernel, stride=2, padding=1), clip, nn.Flatten(), nn.LazyLinear(4)),
        ),
        seed,
    )
    net(IMAGES)
    assume(net[:3](IMAGES).any() and net[:5](IMAGES).any())  # a dead layer has no grid
    scheme = bp.Scheme(
        bp.quant.Affine(symmetric=False), weight_bits=bits[0], act_bits=bits[1], first="same", last="same"
    )
    fake = bp.quantize(net, scheme, [IMAGES])
    form = integer_form(fake, [IMAGES])
    assert agreement(form, session_of(form, tmp_path_factory.mktemp("net")), [IMAGES]).same_logits == 48
