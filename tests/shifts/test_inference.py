"""Models run in 16 bits and with other pooling: by hand, and never the model that was given."""

import copy

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.shifts import Inference

IMAGES = torch.rand(5, 1, 7, 7, generator=torch.Generator().manual_seed(0))


def pooled(pool: nn.Module) -> nn.Module:
    return nn.Sequential(pool, nn.AdaptiveMaxPool2d(1), nn.Flatten())


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3)).eval()


class Gain(nn.Module):
    """Logits that are the weight times the mean of the image."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight, 0.0]))

    def forward(self, images):
        return images.mean((1, 2, 3))[:, None] * self.weight


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 10), ("bfloat16", 7)])
def test_weights_and_images_have_the_bits_of_the_type(dtype, bits):
    """1 + 2^-k is kept where the type has k bits after the point, and is 1 where it has fewer."""
    ones = torch.ones(1, 1, 2, 2)
    for k, kept in ((bits, True), (bits + 1, False)):
        logit = Inference(dtype=dtype)(Gain(1 + 2.0**-k))(ones)[0, 0]
        assert (logit == 1 + 2.0**-k) == kept and logit.dtype == torch.float32


@pytest.mark.parametrize(("dtype", "torch_dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_it_is_the_model_cast_by_hand(dtype, torch_dtype):
    model = network()
    expected = copy.deepcopy(model).to(torch_dtype)(IMAGES.to(torch_dtype)).float()
    found = Inference(dtype=dtype)(model)(IMAGES)
    assert torch.equal(found, expected)
    assert 0 < (found - model(IMAGES)).abs().max() < 0.05


def test_the_model_that_was_given_is_left_alone():
    model = nn.Sequential(pooled(nn.MaxPool2d(2)), nn.Linear(1, 2))
    before, state = str(model), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Inference(dtype="bfloat16", pooling="ceil")(model)(IMAGES)
    assert str(model) == before
    assert all(
        tensor.dtype == state[name].dtype and torch.equal(tensor, state[name])
        for name, tensor in model.state_dict().items()
    )


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2), nn.AvgPool2d((2, 2))])
def test_ceil_pooling_sees_the_last_row_and_column(pool):
    images = torch.zeros(1, 1, 8 if pool.kernel_size == 3 else 7, 8 if pool.kernel_size == 3 else 7)
    images[..., -1, -1] = 1  # where rounding down cuts
    model = pooled(pool)
    assert model(images).item() == 0
    assert Inference(dtype="float32", pooling="ceil")(model)(images).item() == 1
    ceil = Inference(dtype="float32", pooling="ceil")(model)
    assert Inference(dtype="float32", pooling="floor")(ceil)(images).item() == 0


@pytest.mark.parametrize(
    "model", [network(), pooled(nn.MaxPool2d(3, stride=1)), pooled(nn.MaxPool2d(2, ceil_mode=True))]
)
def test_where_no_pooling_would_change_it_says_so(model):
    with pytest.raises(InputError, match="no strided pooling layer of the model rounds otherwise than by ceil"):
        Inference(dtype="float32", pooling="ceil")(model)


def test_numbers_too_large_for_the_type_are_named():
    model = Gain(1e5)
    ones = torch.ones(3, 1, 2, 2)
    with pytest.raises(
        InputError, match=r"in torch.float16 the model returned NaN or infinity for 3 of 3.*Use bfloat16"
    ):
        Inference(dtype="float16")(model)(ones)
    assert Inference(dtype="bfloat16")(model)(ones)[0, 0].item() == pytest.approx(1e5, rel=0.01)


def test_a_layer_that_cannot_run_in_the_type_is_explained():
    class Stubborn(Gain):
        def forward(self, images):
            return images.mean((1, 2, 3))[:, None] @ torch.ones(1, 2)  # float32 whatever the images are

    with pytest.raises(InputError, match=r"does not run in torch.bfloat16 \(.*dtype.*Try the other 16-bit type"):
        Inference(dtype="bfloat16")(Stubborn(1.0))(IMAGES)


def test_a_session_of_another_runtime_is_refused():
    class Session(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("file", torch.zeros(3, dtype=torch.uint8))

    with pytest.raises(InputError, match=r"Session has no floating-point weights.*Leave this model out"):
        Inference()(Session())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_quantized_models_run_too(dtype):
    data = bp.load_data("digits", limit=32)
    quantized = bp.quantize(bp.load_model("digits_cnn"), bp.Scheme(weight_bits=8, act_bits=8), data)
    frozen = bp.freeze(quantized)
    images = data.images(range(32))
    assert (Inference(dtype=dtype)(frozen)(images) - frozen(images)).abs().max() < 0.1


def test_labels_and_mistakes():
    assert Inference().label == "inference float16"
    assert Inference(dtype="float32", pooling="ceil").label == "inference pooling-ceil"
    assert Inference(dtype="bfloat16", pooling="floor").label == "inference bfloat16 pooling-floor"
    for arguments, words in (
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"pooling": "round"}, "unknown rounding of pooling 'round'"),
        ({"dtype": "float32"}, "that is how models are run anyway"),
    ):
        with pytest.raises(InputError, match=words):
            Inference(**arguments)
