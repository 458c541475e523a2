"""First, last and never called layers, as a run of the model shows them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.quant import Scheme, compute_layers, freeze, prepare, quantize
from bitproof.quant.attached import input_quantizer, weight_quantizer
from bitproof.quant.roles import Roles, roles_of, seen_roles

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
W4A4 = Scheme(weight_bits=4, act_bits=4)


class HeadFirst(nn.Module):
    """Registered from the head to the stem."""

    def __init__(self):
        super().__init__()
        self.fc, self.mid, self.stem = nn.Linear(8, 5), nn.Conv2d(8, 8, 3), nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.mid(torch.relu(self.stem(x)))).mean((2, 3)))


class TwoEnds(nn.Module):
    """Two stems that read the image, a skip, two heads; a constant passes through a layer too."""

    def __init__(self):
        super().__init__()
        self.of_position = nn.Linear(2, 8)
        self.wide, self.narrow = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.body, self.one, self.other = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5), nn.Linear(8, 5)
        self.register_buffer("grid", torch.ones(8, 2))

    def forward(self, x):
        x = (x - 0.5) * 2
        y = self.wide(x) + self.narrow(x)
        y = (y + self.body(torch.relu(y))).mean((2, 3)) + self.of_position(self.grid).mean(0)
        return (self.one(y) + self.other(y)) / 2


class Attention(nn.Module):
    """Layers whose weights functions take, and a head for training only."""

    def __init__(self):
        super().__init__()
        self.stem, self.attend = nn.Conv2d(3, 16, 4, 4), nn.MultiheadAttention(16, 2, batch_first=True)
        self.qkv, self.spare, self.head = nn.Linear(16, 16), nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        x = F.linear(x, self.qkv.weight, self.qkv.bias).mean(1)
        return self.spare(x) if self.training else self.head(x)


class Rounded(torch.autograd.Function):
    """What no torch function mode sees."""

    @staticmethod
    def forward(ctx, x):
        return x.round()


class Unseen(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.stem = nn.Linear(8, 5), nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return Rounded.apply(self.fc(Rounded.apply(self.stem(Rounded.apply(x * 9))).mean((2, 3))))


@pytest.mark.parametrize(
    ("model", "roles"),
    [
        (HeadFirst(), Roles(first=("stem",), last=("fc",))),
        (TwoEnds(), Roles(first=("wide", "narrow"), last=("one", "other"))),
        (Attention(), Roles(first=("stem",), last=("head",), uncalled=("attend.out_proj", "qkv", "spare"))),
        (Unseen(), Roles(first=("stem",), last=("fc",))),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), Roles(first=("1",), last=("1",))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_shows_the_roles(model, roles):
    assert seen_roles(model, IMAGES[:2]) == roles


def test_the_stem_gets_eight_bits_wherever_it_is_registered():
    layers = dict(compute_layers(quantize(HeadFirst().eval(), W4A4, [IMAGES])))
    tops = {name: layer.input_quantizer.codes.qmax for name, layer in layers.items()}
    assert tops == {"fc": 255, "mid": 15, "stem": 255}
    by_registration = dict(compute_layers(quantize(HeadFirst().eval(), Scheme(weight_bits=4, act_bits=32))))
    assert weight_quantizer(by_registration["stem"]).codes.qmax == 127  # the last that was registered
    seen = dict(compute_layers(quantize(HeadFirst().eval(), Scheme(weight_bits=4, act_bits=32, last="same"), [IMAGES])))
    assert [weight_quantizer(seen[name]).codes.qmax for name in ("stem", "mid", "fc")] == [127, 7, 7]


def test_layers_that_are_never_called_keep_float_inputs():
    model = Attention().eval()
    quantized = quantize(model, W4A4, [IMAGES])
    layers = dict(compute_layers(quantized))
    of_floats = tuple(name for name, layer in layers.items() if input_quantizer(layer) is None)
    assert of_floats == roles_of(quantized).uncalled == ("attend.out_proj", "qkv", "spare")
    levels = [len(row.unique()) for row in layers["attend.out_proj"].weight]
    assert max(levels) <= 15  # what the function takes is on the grid
    assert torch.isfinite(quantized(IMAGES)).all()
    assert torch.equal(freeze(quantized)(IMAGES), quantized(IMAGES))


def test_a_checkpoint_knows_the_roles(tmp_path, monkeypatch):
    spec = bp.models.ModelSpec(
        build=lambda _: HeadFirst(), mean=(0.0,) * 3, std=(1.0,) * 3, shape=(3, 16, 16), classes=5
    )
    monkeypatch.setitem(bp.models.MODELS, "head-first", spec)
    quantized = quantize(bp.load_model("head-first", seed=3), W4A4, [IMAGES])
    bp.save_model(quantized, tmp_path / "q.safetensors", architecture="head-first")
    again = bp.load_model("head-first", weights=tmp_path / "q.safetensors")
    assert torch.equal(again(IMAGES), quantized(IMAGES))
    assert roles_of(again) == roles_of(quantized)


def test_a_model_that_is_what_it_seems_notes_nothing():
    model = bp.load_model("digits_cnn")
    assert roles_of(quantize(model, W4A4, bp.load_data("digits", limit=4))) == roles_of(prepare(model, W4A4))


def test_layers_called_by_keyword():
    class Named(HeadFirst):
        def forward(self, x):
            return self.fc(input=torch.relu(self.mid(input=torch.relu(self.stem(input=x)))).mean((2, 3)))

    torch.manual_seed(0)
    plain = HeadFirst().eval()
    named = Named().eval()
    named.load_state_dict(plain.state_dict())
    assert torch.equal(quantize(named, W4A4, [IMAGES])(IMAGES), quantize(plain, W4A4, [IMAGES])(IMAGES))
