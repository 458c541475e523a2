"""Layouts of layers that people's networks have, and how large sums get: what is exported agrees, or is refused."""

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.core.calling import answer
from bitproof.deploy import agreement, export_onnx, integer_form, load_onnx
from bitproof.deploy.integer_layer import LARGEST_SUM
from bitproof.errors import InputError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class PreActivation(nn.Module):
    """Convolutions without bias that no BatchNorm follows, as in DenseNet and pre-activation ResNets."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm, self.conv = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.head = nn.Linear(16, 5, bias=False)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.cat([x, self.conv(self.norm(x).relu())], 1).mean((2, 3)))


class Windows(nn.Module):
    """Patches regrouped by transpose and reshape, as in Swin, LeViT and MobileViT; a linear layer over tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 8, bias=False), nn.Linear(8, 5)

    def forward(self, x):
        x = self.embed(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
        return self.head(self.mix(x).reshape(n, -1, c).mean(1))


class Named(nn.Module):
    """Buffers that are called as results, the input and the output of the file are."""

    def __init__(self):
        super().__init__()
        for name in ("mean", "images", "logits", "conv2d", "val_1"):
            self.register_buffer(name, torch.rand(1, 1, 1, 1))
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        x = self.conv((x - self.mean) * self.images).relu().mean((2, 3)) + self.conv2d[0, 0] * self.val_1[0, 0]
        return self.head(x) + self.logits[0, 0]


class ByKeyword(nn.Module):
    """Layers that are called by keyword; logits among other things."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        features = self.conv(input=x).relu().mean((2, 3))
        return {"logits": self.head(input=features), "features": features}


def make(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


def quantized(model, scheme):
    return bp.quantize(model, bp.Scheme.parse(scheme), [IMAGES])


@pytest.mark.parametrize("scheme", ["w8a8", "twn:w2a32"])
@pytest.mark.parametrize("build", [PreActivation, Windows, Named, ByKeyword])
def test_the_file_computes_what_the_integer_form_does(build, scheme, tmp_path):
    fake = quantized(make(build), scheme)
    form = integer_form(fake, [IMAGES])
    export_onnx(form, tmp_path / "q.onnx")
    found = agreement(form, load_onnx(tmp_path / "q.onnx"), [IMAGES[:5], IMAGES[5:]])
    assert found.same_logits == found.count == 6
    simulated = answer(fake, IMAGES).detach()
    assert (form(IMAGES) - simulated).abs().max() < 0.1 * simulated.abs().max()


def test_what_runs_a_model_another_way_is_taken_off():
    plain = integer_form(quantized(make(PreActivation), "w8a8"), [IMAGES])
    for around in (nn.DataParallel, lambda model: torch.compile(model, backend="eager")):
        inside = quantized(around(make(PreActivation)), "w8a8")
        outside = around(quantized(make(PreActivation), "w8a8"))
        for model in (inside, outside):
            assert torch.equal(integer_form(model, [IMAGES])(IMAGES), plain(IMAGES))


def test_a_model_that_switches_autocast_on_has_no_integer_form():
    class Half(PreActivation):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    with pytest.raises(InputError, match="Half computes in half precision.*Take the autocast out"):
        integer_form(quantized(make(Half), "w8a8"), [IMAGES])


def test_weights_that_no_layer_is_called_for_are_named_and_stay_float(tmp_path):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 5)
            self.attend, self.spare = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(3, 3)

        def forward(self, x):
            x = self.embed(x).flatten(2).transpose(1, 2)
            return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))

    form = integer_form(quantized(make(Attention), "w8a32"), [IMAGES])
    assert (form.floats, set(form.layers())) == (("attend.out_proj",), {"embed", "head"})
    assert set(form.added) == {"embed:input", "embed:output", "head:input"}
    export_onnx(form, tmp_path / "q.onnx")
    assert agreement(form, load_onnx(tmp_path / "q.onnx"), [IMAGES]).same == 6


def wide(features, act_bits=8):
    """A layer of equal positive weights on images of ones: its sums are as large as they can be."""
    layer = nn.Linear(features, 2)
    nn.init.constant_(layer.weight, 0.01)
    nn.init.zeros_(layer.bias)
    images = torch.ones(2, 1, features // 256, 256)
    images[1] = 0
    scheme = bp.Scheme(weight_bits=8, act_bits=act_bits, first="same", last="same")
    return integer_form(bp.quantize(nn.Sequential(nn.Flatten(), layer), scheme, [images]), [images]), images


def test_sums_beyond_int32_are_refused_with_layer_bound_and_remedy(tmp_path):
    """In closed form: 127 * 255 for each input, against 2^31 - 1; 66,304 inputs fit and 66,560 do not."""
    form, images = wide(66_304)
    assert form.layers()["1"].largest_sum == 66_304 * 127 * 255 <= LARGEST_SUM
    export_onnx(form, tmp_path / "q.onnx")
    assert load_onnx(tmp_path / "q.onnx")(images)[0, 0].item() == pytest.approx(663.04, rel=1e-3)
    form, _ = wide(66_560)
    with pytest.raises(InputError, match=r"sums of layer '1' can reach 2,155,545,600: .*int32.*7 bits or fewer"):
        export_onnx(form, tmp_path / "no.onnx")
    assert not (tmp_path / "no.onnx").exists()
    form, _ = wide(66_560, act_bits=7)
    assert form.layers()["1"].largest_sum == 66_560 * 127 * 127
    export_onnx(form, tmp_path / "q.onnx")


def test_the_bound_is_reached_and_never_passed():
    """Against the sums of random codes, and of those codes that the weights' signs ask for."""
    form = integer_form(quantized(make(Named), "w4a4"), [IMAGES])
    for layer in form.layers().values():
        grid, unit = layer.input_quantizer, layer.unit.view(-1, *[1] * (layer.codes.dim() - 2))
        shape = (1, layer.codes.shape[1], *layer.codes.shape[2:])
        codes = layer.codes.float() - layer.zero_point
        lowest, highest = grid.codes.qmin - grid.zero_point, grid.codes.qmax - grid.zero_point
        layer.output_quantizer, sums = None, []
        for channel in codes:
            for positive in (channel > 0, channel <= 0):
                sums.append(layer(torch.where(positive, highest, lowest)[None] * grid.scale) / unit)
        assert max(s.abs().max().item() for s in sums) == pytest.approx(layer.largest_sum, rel=1e-6)
        random = torch.randint(int(lowest), int(highest) + 1, (50, *shape[1:])).float()
        assert (layer(random * grid.scale) / unit).abs().max() <= layer.largest_sum
