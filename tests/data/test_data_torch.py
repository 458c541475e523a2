"""Data sets and loaders of torch's: the images they give, read when they are needed, under numbers that stay."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import bitproof as bp
from bitproof.data import ArrayData, TorchData
from bitproof.errors import InputError

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 3, 6, 5), np.uint8))
LABELS = torch.arange(9) % 3


class Pairs(Dataset):
    """Images in any form, and labels."""

    classes = ("a", "b", "c")

    def __init__(self, form, labels=LABELS):
        self.form, self.labels, self.read = form, labels, 0

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError
        self.read += 1
        return self.form(IMAGES[i]), self.labels[i]


def identity(image):
    return image


FORMS = {
    "bytes": identity,
    "floats": lambda image: image / 255,
    "pictures": lambda image: Image.fromarray(image.permute(1, 2, 0).numpy()),
    "arrays": lambda image: image.permute(1, 2, 0).numpy(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data(form):
    data = bp.from_dataset(Pairs(FORMS[form]))
    assert isinstance(data, TorchData) and data.classes == ("a", "b", "c") and data.shape == (3, 6, 5)
    assert torch.equal(data.images([4, 0]), IMAGES[[4, 0]].float() / 255)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.fingerprint == bp.from_dataset(Pairs(identity)).fingerprint
    (decoded,) = [np.asarray(Image.open(__import__("io").BytesIO(data.encoded(3))))]
    assert (decoded == IMAGES[3].permute(1, 2, 0).numpy()).all()


def test_images_are_read_when_they_are_needed_and_travel():
    source = Pairs(identity)
    data = bp.from_dataset(source, limit=5)
    before = source.read
    data.images([1])
    assert (len(data), source.read) == (5, before + 1)
    again = copy.deepcopy(data)
    assert torch.equal(again.images([2]), data.images([2]))


def test_dictionaries_and_what_is_gone_through_once():
    items = [{"img": IMAGES[i].numpy(), "label": int(LABELS[i])} for i in range(9)]
    assert torch.equal(bp.from_dataset(items).images([8]), IMAGES[[8]].float() / 255)

    class Stream(IterableDataset):
        def __iter__(self):
            yield from zip(IMAGES / 255, LABELS, strict=True)

    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4)
    for given in (Stream(), loader):
        data = bp.from_dataset(given, classes=["a", "b", "c"], limit=7)
        assert isinstance(data, ArrayData) and len(data) == 7 and data.exact is None
        assert torch.equal(data.images(range(7)), IMAGES[:7].float() / 255)


def test_evaluated_like_the_arrays_themselves():
    digits = bp.load_data("digits", limit=12)
    pairs = TensorDataset(digits.images(range(12)), torch.from_numpy(digits.labels))
    model = bp.load_model("digits_cnn")
    one, other = (
        bp.evaluate(model, data, conditions=["fgsm:eps=0.1"], progress=False).cells
        for data in (bp.from_dataset(pairs, classes=digits.classes), digits)
    )
    for mine, theirs in zip(one, other, strict=True):
        assert mine.predictions.tolist() == theirs.predictions.tolist()


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (lambda: Pairs(lambda image: (image / 255 - 0.5) / 0.2), "Take Normalize out.*--mean and --std"),
        (lambda: Pairs(lambda image: torch.rand(3, 6, 5)), "another one each time it is read"),
        (
            lambda: Pairs(lambda image: image[:, : 5 + int(image[0, 0, 0]) % 2]),
            "a data set have one size",
        ),
        (lambda: Pairs(lambda image: "picture"), "image 0 is a str"),
        (lambda: Pairs(identity, labels=LABELS + 0.5), "the label of example 0 is"),
        (lambda: Pairs(identity, labels=LABELS + 1), "label 2 is 3: labels must lie in 0..2"),
        (lambda: [1, 2], "example 0 is a int"),
        (list, "has no examples"),
        (lambda: DataLoader(TensorDataset(IMAGES, LABELS), shuffle=True), "a DataLoader that shuffles"),
    ],
)
def test_what_cannot_be_data_is_refused(dataset, words):
    with pytest.raises(InputError, match=words):
        bp.from_dataset(dataset())
