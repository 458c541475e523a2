"""Alignment, amplification and value shift, against models whose numbers are known in closed form."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.analysis import ErrorAmplification, GradientAlignment, InputSlice, QuantizationShift
from bitproof.analysis.shift import _shares
from bitproof.attacks import FGSM
from bitproof.data import from_arrays
from bitproof.errors import InputError
from closed_form import LinearTwoClass

SHAPE = (1, 4, 4)


def pictures(count: int = 10, seed: int = 0) -> bp.Data:
    generator = np.random.default_rng(seed)
    images = generator.integers(60, 196, (count, *SHAPE), np.uint8)
    return from_arrays(images, np.arange(count) % 2)


def keyed(data: bp.Data) -> bp.Rng:
    return bp.Rng(0, data.ids)


class Deaf(nn.Module):
    """Answers with what it has learned, whatever the image; on images that are dark at one place only."""

    def forward(self, x: Tensor) -> Tensor:
        heard = (x[:, 0, 0, 0] > 0.5).to(x)
        score = x.flatten(1).sum(1) * heard
        return torch.stack([torch.zeros_like(score), score], 1)


def test_gradients_of_linear_models_have_the_angle_of_their_weights():
    data = pictures()
    weights = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    models = {str(i): LinearTwoClass(weight, 0.1) for i, weight in enumerate(weights)}
    found = GradientAlignment()(models, data, rng=keyed(data), batch_size=3)
    unit = nn.functional.normalize(weights.flatten(1).double())
    for k in range(2):
        np.testing.assert_allclose(found.cosines[k], unit @ unit.T, atol=1e-5)
    assert (found.pairs == len(data)).all() and not found.zeros.any() and found.count == len(data)
    assert (found.low <= found.cosines + 1e-6).all() and (found.cosines <= found.high + 1e-6).all()
    i, j = np.unravel_index(np.argmin(found.cosines[1]), (3, 3))
    assert f"Least aligned are {min(i, j)} and {max(i, j)}: " in found.findings[0]
    assert len(found.table()) == 6


def test_images_without_a_gradient_are_counted_and_left_out():
    data = pictures()
    models = {"line": LinearTwoClass(torch.ones(SHAPE), 0.0), "deaf": Deaf().eval()}
    found = GradientAlignment()(models, data, rng=keyed(data))
    deaf = int((data.images(range(len(data)))[:, 0, 0, 0] <= 0.5).sum())
    assert 0 < deaf < len(data) and found.zeros.tolist() == [[0, deaf], [0, deaf]]
    assert found.pairs[0].tolist() == [[10, 10 - deaf], [10 - deaf, 10 - deaf]]
    np.testing.assert_allclose(found.cosines, 1, atol=1e-6)
    assert f"The margin has no gradient on {deaf} images in deaf." in found.findings
    lines = {"one": models["line"], "other": LinearTwoClass(torch.rand(SHAPE), 0.0)}
    single = GradientAlignment()(lines, pictures(1), rng=keyed(pictures(1)))
    assert (single.low[0, 0, 1], single.high[0, 0, 1]) == (-1, 1)  # of one image, anything
    alone = {"line": models["line"], "none": LinearTwoClass(torch.zeros(SHAPE), 0.0)}
    assert np.isnan(GradientAlignment()(alone, data, rng=keyed(data)).cosines[0, 0, 1])


def test_where_a_model_is_confident_only_the_margin_has_a_gradient():
    data = pictures()
    models = {str(size): LinearTwoClass(size * torch.ones(SHAPE), 5.0 * size) for size in (1e4, 1.0)}
    found = GradientAlignment()(models, data, rng=keyed(data))
    assert found.zeros[0].tolist() == [5, 0]  # the images of class 1, whose probability rounds to 1
    assert not found.zeros[1].any()


def straight(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).eval()


def test_a_scaled_identity_amplifies_nothing_and_the_last_layer_what_it_picks():
    """D = eps sqrt(d) / ||x|| in each layer; the linear layer sums along the attack and cancels along random signs."""
    data = pictures(40)
    wide, line = nn.Conv2d(1, 1, 1, bias=False), nn.Linear(16, 2, bias=False)
    wide.weight.data.fill_(3.0)
    line.weight.data.copy_(torch.stack([-torch.ones(16), torch.ones(16)]))
    found = ErrorAmplification(eps=(1 / 255, 4 / 255))(
        {"m": straight(wide, nn.Flatten(), line)}, data, rng=keyed(data), batch_size=7
    )
    assert found.layers == ("0", "2", "logits")
    images = data.images(range(len(data))).double().flatten(1)
    moved, norms = np.array([1, 4]) / 255 * 4, images.norm(dim=1).numpy()
    for change in range(2):
        for layer in range(2):
            np.testing.assert_allclose(found.sums[change, :, layer], moved * len(data) / norms.sum(), rtol=1e-5)
            np.testing.assert_allclose(found.means[change, :, layer], moved * (1 / norms).mean(), rtol=1e-5)
    sums = np.array([1, 4]) / 255 * 16 * len(data) / float(images.sum())
    np.testing.assert_allclose(found.sums[0, :, 2], sums, rtol=1e-5)
    assert (found.sums[1, :, 2] < 0.5 * found.sums[0, :, 2]).all()
    ratios = moved[0] / norms
    assert found.errors[0, 0, 0] == pytest.approx(ratios.std(ddof=1) / np.sqrt(len(data)), rel=1e-4)
    assert "From the first layer to the logits the change of 1/255" in found.findings[0]


def test_a_grid_swallows_half_a_step_and_makes_more_a_whole_one():
    """Pixels on a grid of steps of 17/255: 8/255 leaves no trace, and 9/255 is 17/255 behind it."""
    images = (17 * np.random.default_rng(0).integers(3, 13, (20, *SHAPE))).astype(np.uint8)
    data = from_arrays(images, np.arange(20) % 2)
    line = nn.Linear(16, 2, bias=False)
    line.weight.data.copy_(torch.stack([-torch.ones(16), torch.ones(16)]))
    scheme = bp.Scheme(weight_bits=32, act_bits=4, first="same", last="same")
    gridded = bp.quantize(straight(nn.Flatten(), line), scheme, [torch.linspace(0, 1, 32).view(2, *SHAPE)])
    found = ErrorAmplification(eps=(8 / 255, 9 / 255))({"m": gridded}, data, rng=keyed(data))
    norms = data.images(range(20)).double().flatten(1).norm(dim=1).sum()
    np.testing.assert_allclose(found.sums[..., 0], [[0, 20 * 4 * 17 / 255 / float(norms)]] * 2, rtol=1e-4, atol=1e-9)


def test_shares_of_units():
    """Steps of 1: 0.2 -> 0.4 is swallowed, 0.4 -> 0.6 is made larger, 0 -> 1 and 0.2 -> 0.9 are neither, as both are
    half a step at least, and 3 -> 3 does not move."""
    before, after = torch.tensor([[0.2, 0.4, 0.0, 0.2, 3.0]]), torch.tensor([[0.4, 0.6, 1.0, 0.9, 3.0]])
    codes = (after.round() - before.round()).abs()
    assert _shares(codes, (after - before).abs(), 1.0)[0].tolist() == pytest.approx([0.8, 0.2, 0.6, 0.2])
    assert torch.isnan(_shares(codes, (after - before).abs(), float("nan"))[0, 3])


def test_value_shift_of_a_network(model, data):
    calibration = bp.load_data("digits", split="train", limit=64)
    found = {
        bits: QuantizationShift(attack=FGSM(eps=0.02, stop_at_hit=False))(
            {"q": bp.quantize(model, f"w32a{bits}", calibration), "float": model}, data, rng=keyed(data), batch_size=40
        )
        for bits in (8, 2)
    }
    assert found[2].layers[1:] == ("backbone.features.1.0", "backbone.features.2.0", "backbone.linear")
    assert found[2].count == 60 and len(found[2].layers) == 4
    moved, swallowed, changed, larger = found[2].shares[0]
    assert (swallowed <= moved).all() and (larger <= changed).all() and (moved <= changed + swallowed + 1e-9).all()
    inner = slice(1, 3)  # the first and the last layer have 8 bits
    assert (found[8].shares[:, 1, inner] < found[2].shares[:, 1, inner]).all()  # coarser steps swallow more
    assert (found[8].shares[:, 0] == found[2].shares[:, 0]).all()  # the float model is the same
    assert "fgsm linf 5.1/255" in found[2].findings[0]
    with pytest.raises(InputError, match="is fgsm l2"):
        QuantizationShift(attack=FGSM(norm="l2", eps=2.0))
    with pytest.raises(InputError, match="Pass both"):
        QuantizationShift()({"q": bp.quantize(model, "w32a2", calibration)}, data, rng=keyed(data))


def test_the_loss_on_a_plane_of_a_linear_model():
    """Along the signs the margin falls by 2 eps for each pixel; at the middle are the images themselves."""
    data = pictures(20)
    model = LinearTwoClass(torch.ones(SHAPE), 0.0)
    found = InputSlice(eps=0.1, points=5)({"m": model}, data, rng=keyed(data), batch_size=6)
    images, labels = data.images(range(20)), torch.from_numpy(data.labels)
    assert found.ways == pytest.approx((-0.1, -0.05, 0, 0.05, 0.1)) and found.count == 20

    def loss(x: Tensor) -> float:
        return float(nn.functional.cross_entropy(model(x).detach().double(), labels))

    away = torch.where(labels == 1, -1.0, 1.0)[:, None, None, None]
    for i, a in enumerate(found.ways):
        assert found.losses[i, 2] == pytest.approx(loss(images + a * away), rel=1e-5)
    assert (np.diff(found.losses[:, 2]) > 0).all() and (np.diff(found.wrong[:, 2]) >= 0).all()
    assert found.wrong[2, 2] == pytest.approx(float((model(images).argmax(1) != labels).double().mean()))
    with pytest.raises(InputError, match="points is 4"):
        InputSlice(points=4)
