"""What a hundred images say of a model that is used wrongly, and that nothing is said of one that is not."""

import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import bitproof as bp
from bitproof.deploy.bits import FileScheme
from bitproof.judging import first_look
from bitproof.models import normalized
from bitproof.models.forms import forms


class Seen(nn.Module):
    """A model that gets images in another form."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, images):
        return self.change(self.model, images)


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits")


@pytest.fixture(scope="module")
def colours():
    """Images of one of three classes: more red, more green or more blue than the rest."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    images = 0.4 * torch.rand(90, 3, 6, 6, generator=generator)
    images[torch.arange(90), labels] += 0.3
    return bp.from_arrays(images, labels, classes=["red", "green", "blue"])


def mean_colour(images):
    return images.mean((2, 3))


def test_a_good_model_is_not_accused(model, digits):
    assert first_look(model, digits, "good") == []


@pytest.mark.parametrize("seed", range(4))
def test_random_weights_are_said_to_guess_and_no_more(seed, digits):
    for finding in first_look(bp.load_model("digits_cnn", seed=seed), digits, "random"):
        assert "as a guess among 10 classes" in finding or "gives one answer" in finding


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda net, images: net(images / 255), r"pixels from 0 to 255: use --mean 0 --std 0.003922"),
        (lambda net, images: net(images * 0), r"gives one answer, class \d, to 100 of 100 images"),
        (lambda net, images: net(images).sigmoid(), r"as those of a sigmoid"),
        (lambda net, images: net(images).roll(3, 1), r"as a guess among 10 classes would be"),
    ],
)
def test_what_is_wrong_is_named(model, digits, change, words):
    (finding,) = first_look(Seen(model, change), digits, "odd")
    assert finding.startswith(("model 'odd'", "all outputs of model 'odd'"))
    assert re.search(words, finding), finding


def test_missing_and_doubled_normalisation_and_colours_are_named(colours):
    def threshold(images):  # right only where the mean of the images is 0
        inside = images.mean() < 0.2
        return mean_colour(images) if inside else -mean_colour(images)

    (finding,) = first_look(Seen(None, lambda _, images: threshold(images)), colours, "raw")
    assert "normalised by" in finding and "--mean" in finding
    flipped = Seen(None, lambda _, images: mean_colour(images.flip(1)))
    (finding,) = first_look(flipped, colours, "bgr")
    assert "right on 30 of 90 images, and on 90 of them where it is given blue, green and red in this order" in finding
    inner = Seen(None, lambda _, images: mean_colour(images) * (1 if images.min() >= 0 else -1))
    (finding,) = first_look(normalized(inner, (0.5,) * 3, (0.5,) * 3), colours, "twice")
    assert "it seems to normalise by itself" in finding


def test_a_constant_answer_that_happens_to_be_common_proves_nothing():
    images = torch.rand(100, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    data = bp.from_arrays(images, [0] * 85 + [1] * 15, classes=["a", "b"])
    rare = Seen(None, lambda _, shown: torch.stack([shown.amax((1, 2, 3)) - 2, 0 * shown.amax((1, 2, 3))], 1))
    for finding in first_look(rare, data, "rare"):  # at 0..255 it says the common class to all
        assert "0 to 255" not in finding


class Better(nn.Module):
    """Right on so many of `numbered_images`, and on so many more where pixels reach 255 or are centred at 0."""

    def __init__(self, plain=30, scaled=0, centred=0):
        super().__init__()
        self.more, self.asked, self.plain = {255: scaled, 2: centred, 1: 0}, 0, plain

    def forward(self, shown):
        self.asked += 1
        scale = 255 if shown.max() > 1 else 2 if shown.min() < 0 else 1
        first = shown[:, 0, 0, 0] / scale + (scale == 2) / 2
        rows = (128 * first).round().long()
        right = rows < self.plain + self.more[scale]
        return nn.functional.one_hot((rows + ~right) % 10, 10).float() * 3 - 1


def numbered_images():
    """A hundred images of ten classes in turn, each with its number in a pixel; of two channels, so with two forms."""
    images = torch.zeros(100, 2, 4, 4)
    images[:, 0, 0, 0] = torch.arange(100) / 128
    return bp.from_arrays(images, np.arange(100) % 10)


def test_a_form_has_to_be_better_at_the_level_over_all_that_are_tried():
    """Ten more of a hundred have p = 1/1024, which one test of three forms alone would call beyond doubt; 13 are."""
    assert len(forms(Better(), 2)) == 2
    assert first_look(Better(scaled=10), numbered_images(), "some") == []
    (finding,) = first_look(Better(scaled=13), numbered_images(), "more")
    assert "is right on 30 of 100 images, and on 43 of them where it is given pixels from 0 to 255" in finding


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"scaled": 20, "centred": 40}, "on 70 .*normalised by 0.5"),
        ({"scaled": 40, "centred": 20}, "on 70 .*pixels from 0 to 255"),
    ],
)
def test_of_two_forms_the_better_one_is_named(how, words):
    (finding,) = first_look(Better(**how), numbered_images(), "both")
    assert re.search(words, finding)


def test_a_model_that_is_mostly_right_is_asked_once():
    good = Better(plain=70, scaled=30)
    assert first_look(good, numbered_images(), "good") == [] and good.asked == 1


def test_what_is_right_is_shown_again_only_where_that_can_change_something(colours):
    """Nine mended images prove nothing at the level, ten do, if nothing is spoilt."""
    for wrong, shown in ((9, [90, 9]), (10, [90, 10, 80])):
        sizes: list[int] = []

        first = [row < wrong for row in range(90)]

        class Once(nn.Module):
            def forward(self, images, first=first, sizes=sizes):
                sizes.append(len(images))
                seen = mean_colour(images)
                if len(sizes) == 1:  # as they come: wrong on the first ones
                    return torch.where(torch.tensor(first)[:, None], -seen, seen)
                return seen.flip(1)  # blue, green, red again, which is right

        found = first_look(Once(), colours, "some")
        assert sizes == shown and len(found) == (wrong == 10)


def test_one_answer_to_data_that_are_nearly_of_one_class_is_no_finding():
    images = torch.rand(100, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    data = bp.from_arrays(images, [0] * 85 + [1] * 15, classes=["a", "b"])
    constant = Seen(None, lambda _, shown: shown.new_tensor([2.0, -1.0]).expand(len(shown), 2))
    assert first_look(constant, data, "constant") == []
    (finding,) = first_look(constant, bp.from_arrays(images, [0] * 75 + [1] * 25, classes=["a", "b"]), "constant")
    assert "gives one answer, class 0, to 100 of 100 images" in finding


def test_too_few_images_say_nothing():
    images = torch.rand(20, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    constant = Seen(None, lambda _, shown: shown.new_tensor([0.9, 0.1]).expand(len(shown), 2))
    for count, found in ((19, 0), (20, 2)):  # one answer, and outputs as of a sigmoid
        data = bp.from_arrays(images[:count], np.arange(count) % 2, classes=["a", "b"])
        assert len(first_look(constant, data, "few")) == found


def test_forms_fit_the_channels():
    assert len(forms(nn.Identity(), 2)) == 2
    assert any("MNIST" in form.text for form in forms(nn.Identity(), 1))


def test_evaluate_warns_once_and_a_stored_result_does_not(model, digits, tmp_path):
    data = bp.data.select(digits, range(40))
    odd = Seen(model, lambda net, images: net(images / 255))
    with pytest.warns(UserWarning, match="0 to 255"):
        bp.evaluate(odd, data, suite="clean", store=tmp_path / "a.db", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bp.evaluate(odd, data, suite="clean", store=tmp_path / "a.db", progress=False)


def test_deployed_files_are_looked_at_and_what_was_quantized_here_is_not(model, digits):
    data = bp.data.select(digits, range(40))
    session = Seen(None, lambda _, images: images.new_tensor([0.0, 1.0] * 5).expand(len(images), 10))
    session.scheme = FileScheme(weight_bits=8, act_bits=8)  # as a session, without weights in torch
    with pytest.warns(UserWarning, match="model 'file' gives one answer, class 1, to 40 of 40 images"):
        bp.evaluate({"float": model, "file": session}, data, suite="clean", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broken = bp.quantize(model, bp.Scheme(weight_bits=2, act_bits=32, first="same", last="same"))
        bp.evaluate({"float": model, "w2": broken}, data, suite="clean", progress=False)


@pytest.fixture(scope="module")
def cifar(shared):
    """The first hundred real test images."""
    sheet = np.asarray(Image.open(shared / "data" / "cifar10" / "test.webp").convert("RGB"))[:32]
    with np.load(shared / "data" / "cifar10" / "labels.npz") as stored:
        labels, classes = stored["test"][:100], stored["classes"].tolist()
    tiles = np.ascontiguousarray(sheet.reshape(32, 100, 32, 3).transpose(1, 3, 0, 2))
    return bp.from_arrays(tiles, labels.astype(np.int64), classes=classes)


@pytest.mark.parametrize("name", ["cifar10_resnet4b_adv2", "cifar10_cifar_base_kw", "cifar10_vit_pgd_2_3_16"])
def test_public_files_that_expect_normalised_images_are_named(name, shared, cifar):
    pytest.importorskip("onnxruntime")
    session = bp.deploy.load_onnx(shared / "data" / "onnx" / f"{name}.onnx")
    (finding,) = first_look(session, cifar, name)
    assert "normalised by" in finding and "--mean 0.4" in finding
