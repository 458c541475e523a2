"""Training on Gaussian noise, and calibration under it, for certified radii."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.conditions import Clean
from bitproof.defences import Smoothing, incremental
from bitproof.errors import InputError
from bitproof.experiment import Experiment
from bitproof.ptq import MixedSearch, PostTraining
from bitproof.quant import UnderNoise
from bitproof.quant.attached import input_quantizer
from bitproof.settings import describe, parse
from bitproof.subjects import Subject
from bitproof.train import RECIPES, Distillation, GaussianNoise, SquaredHinge, standard
from bitproof.train.batches import Batch

RUN = bp.Rng(0, np.zeros(1, np.int64))


class Watched(nn.Module):
    """A linear model that remembers what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 2, bias=False)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        return self.fc(x.flatten(1))


def batch(count: int = 200) -> Batch:
    images = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    return Batch(inputs=images, labels=torch.arange(count) % 2, ids=np.arange(count), epoch=0, step=0, progress=0.0)


def test_the_loss_is_that_of_another_objective_on_noisy_images():
    model, given = Watched(), batch()
    rng = bp.Rng(0, given.ids)
    loss, logits = GaussianNoise(sigma=0.5).start(model)(model, given, rng)
    (seen,) = model.seen
    noise = (seen - given.inputs) / 0.5
    assert noise.std() == pytest.approx(1, abs=0.05) and noise.mean() == pytest.approx(0, abs=0.05)
    assert seen.min() < 0 and seen.max() > 1  # not clipped
    assert torch.allclose(loss, F.cross_entropy(model.fc(seen.flatten(1)), given.labels))
    assert torch.allclose(logits, model.fc(seen.flatten(1)))
    half = Batch(**{**vars(given), "inputs": given.inputs[:3], "labels": given.labels[:3], "ids": given.ids[:3]})
    GaussianNoise(sigma=0.5).start(model)(model, half, rng.select(np.arange(3)))
    assert torch.equal(model.seen[-1], seen[:3])  # by example, not by batch
    GaussianNoise(sigma=0.5).start(model)(model, given, rng.fold("another epoch"))
    assert not torch.allclose(model.seen[-1], seen)
    hinge, _ = GaussianNoise(sigma=0.5, objective=SquaredHinge()).start(model)(model, given, rng)
    plain, _ = SquaredHinge().start(model)(model, Batch(**{**vars(given), "inputs": seen}), rng)
    assert torch.allclose(hinge, plain)


def test_recipes_say_their_sigma():
    noisy, quantized = RECIPES["cohen2019"](), RECIPES["cohen2019-quantized"]()
    assert noisy.label == "cross-entropy under noise of 0.25, 90 epochs of sgd"
    assert describe(noisy)["objective"]["sigma"] == 0.25
    assert (noisy.optimisation.rate(0.0), noisy.optimisation.rate(0.5)) == (0.1, pytest.approx(0.01))
    assert quantized.objective == noisy.objective
    assert quantized.quantization is not None and quantized.quantization.noise == 0.25
    other = parse("cohen2019-quantized:objective=noise(sigma=0.5),noise=0.5,epochs=1", RECIPES, "recipe")
    assert other == RECIPES["cohen2019-quantized"](objective=GaussianNoise(sigma=0.5), noise=0.5, epochs=1)
    taught = RECIPES["cohen2019"](distillation=0.5)
    assert isinstance(taught.objective, Distillation)
    with pytest.raises(InputError, match="sigma is 0: it is a positive number"):
        GaussianNoise(sigma=0)
    with pytest.raises(InputError, match="noise is -1.0: it is a standard deviation"):
        RECIPES["cohen2019-quantized"](noise=-1.0)
    with pytest.raises(InputError, match="noise of a recipe that trains a float model"):
        RECIPES["cohen2019"](noise=0.5)


def test_ranges_under_noise_reach_beyond_black_and_white():
    data, network = bp.load_data("digits", split="train", limit=64), bp.load_model("digits_cnn")
    under = UnderNoise(images=data, sigma=0.25)
    first, again = (torch.cat(list(under.inputs())) for _ in range(2))
    assert torch.equal(first, again) and first.shape == data.images(range(64)).shape
    assert (first - data.images(range(64))).std() == pytest.approx(0.25, rel=0.05)
    assert torch.equal(first[:5], torch.cat(list(UnderNoise(images=data.take(5), sigma=0.25).inputs())))

    def given(model: nn.Module, images: Tensor) -> float:
        """The largest change that the grid of the first layer's input makes."""
        layer = next(part for part in model.modules() if isinstance(part, nn.Conv2d))
        quantizer, shown = input_quantizer(layer), list[Tensor]()
        assert quantizer is not None
        handle = layer.register_forward_pre_hook(lambda _, args: shown.append(args[0]), prepend=True)
        model(images)
        handle.remove()
        return float((quantizer(shown[0]) - shown[0]).abs().max())

    clean, noisy = (bp.quantize(network, "w8a8", images) for images in (data, under))
    assert given(noisy, first) < 0.2 * given(clean, first)  # which cuts the noise off
    learned = RECIPES["cohen2019-quantized"](epochs=1, batch_size=32, calibration=32, augmentation="none")
    assert Subject.of(learned(network, data, rng=RUN)).scheme.label == "lsq w4a4"
    with pytest.raises(InputError, match="sigma of calibration images is 0"):
        UnderNoise(images=data, sigma=0)
    with pytest.raises(InputError, match="has values from"):
        bp.quantize(network, "w8a8", UnderNoise(images=[2 * first[:2]], sigma=0.1))  # the images are still looked at


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:noise of")
def test_what_was_trained_on_noise_is_certified_farther():
    train, test = bp.load_data("digits", split="train", limit=300), bp.load_data("digits", limit=12)
    images, labels = test.images(np.arange(12)), torch.from_numpy(test.labels)
    radii = []
    for objective in ("cross-entropy", "noise(sigma=0.8)"):
        model = standard(epochs=3, objective=objective)(bp.load_model("digits_cnn"), train, rng=RUN)
        found = Smoothing(sigma=0.8, draws=60, first=20)(model).examine(images)
        radii.append(float((found.values["radius"] * (found.logits.argmax(1) == labels)).mean()))
    assert radii[1] > 1.5 * radii[0]


def test_a_radius_of_a_model_that_never_saw_noise_is_warned_of(model, data):
    few, smoothing = data.take(10), Smoothing(sigma=3.0, draws=20, first=20)
    experiment = Experiment(models={"smoothed": smoothing(model)}, data=few, conditions=(Clean(),))
    with bp.Store() as store, experiment.bench() as bench, pytest.warns(UserWarning, match="not to have been trained"):
        experiment._look(bench, {"smoothed": bench.subjects["smoothed"].record("smoothed")}, store)
    with pytest.warns(UserWarning, match="noise of 3 changes the answer to .* of 10 images"):
        incremental(smoothing, model, {}, few.images(np.arange(10)))


def test_pipelines_and_mixed_precision_take_images_under_noise():
    """Red: what they hand on was held to [0, 1] again."""
    data, network = bp.load_data("digits", split="train", limit=64), bp.load_model("digits_cnn")
    noisy = UnderNoise(images=data, sigma=0.25)
    wide, plain, clean = (
        next(grid for layer in model.modules() if (grid := input_quantizer(layer)) is not None).state_dict()
        for model in (
            PostTraining(scheme=bp.Scheme())(network, noisy),
            bp.quantize(network, bp.Scheme(), noisy),
            PostTraining(scheme=bp.Scheme())(network, data),
        )
    )
    assert all(torch.equal(wide[name], plain[name]) for name in plain)
    assert not all(torch.equal(wide[name], clean[name]) for name in plain)
    assert MixedSearch(agreement=0.5)(network, noisy).held_back == 32
