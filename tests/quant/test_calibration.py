"""Calibration images in the forms that people have them in, and what cannot be right."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import bitproof as bp
from bitproof.errors import InputError
from bitproof.quant import Affine, Scheme, quantize
from bitproof.quant.calibration import batches_of, images_of

IMAGES = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(16, dtype=torch.int64)
BYTES = (IMAGES * 255).round().to(torch.uint8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()


class Pairs:
    """A data set that gives one picture and its label at a time, and cannot be iterated."""

    def __len__(self):
        return 16

    def __getitem__(self, i):
        return IMAGES[i], i


class Endless(Pairs):
    """Data whose pictures would fill any memory."""

    def __len__(self):
        return 10**9

    def __getitem__(self, i):
        return IMAGES[:1].expand(2**10, 3, 8, 8)


FORMS = {
    "tensor": IMAGES,
    "array": IMAGES.numpy(),
    "float64": IMAGES.double().numpy(),
    "batches": list(IMAGES.split(5)),
    "arrays": [batch.numpy() for batch in IMAGES.split(5)],
    "generator": (batch for batch in IMAGES.split(5)),
    "single images": list(IMAGES),
    "one batch with labels": (IMAGES, LABELS),
    "one dictionary": {"pixel_values": IMAGES, "labels": LABELS},
    "loader": DataLoader(TensorDataset(IMAGES, LABELS), 5),
    "loader of one-hot labels": DataLoader(TensorDataset(IMAGES, nn.functional.one_hot(LABELS, 5)), 5),
    "dictionaries": [{"image": IMAGES[:9], "label": LABELS[:9]}, {"image": IMAGES[9:], "label": LABELS[9:]}],
    "data set": Pairs(),
    "own data": bp.from_arrays(IMAGES, LABELS),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_all_forms_are_the_same_images(form):
    batches = batches_of(form)
    assert torch.equal(torch.cat(list(batches())).float(), IMAGES)
    assert torch.equal(torch.cat(list(batches())).float(), IMAGES)  # read again


@pytest.mark.parametrize("form", [BYTES, BYTES.numpy(), [(image, 3) for image in BYTES]])
def test_bytes_are_eight_bit_pictures(form):
    torch.testing.assert_close(images_of(form), BYTES / 255)


def test_quantize_and_the_pipeline_take_them():
    loader = DataLoader(TensorDataset(IMAGES, LABELS), 5)
    whole, loaded = quantize(network(), Scheme(), [IMAGES]), quantize(network(), Scheme(), loader)
    assert torch.equal(whole(IMAGES), loaded(IMAGES))
    tuned = bp.ptq.PostTraining()(network(), loader)
    torch.testing.assert_close(tuned(IMAGES), network()(IMAGES), atol=0.02, rtol=0)


NAN = IMAGES.clone()
NAN[3, 1, 2, 2] = torch.nan
WRONG = {
    "nothing": ([], "no calibration data"),
    "empty": (IMAGES[:0], "no calibration data"),
    "nan in the first batch": ([NAN, IMAGES], "calibration batch 1 holds NaN"),
    "nan in a later one": ([IMAGES, NAN, IMAGES], "calibration batch 2 holds NaN"),
    "0 to 255": ([IMAGES * 255], "values from .* to 25.*Divide"),
    "normalised": ([(IMAGES - 0.5) / 0.25], "values from -.*Do not normalise.*models.normalized"),
    "two shapes": ([IMAGES, IMAGES[:, :, 1:]], "shapes .3, 7, 8. and .3, 8, 8."),
    "two channel orders": ([IMAGES, IMAGES.permute(0, 2, 3, 1)], "permute"),
    "labels alone": ([LABELS.float()], "batch 1 has shape"),
    "large integers": (BYTES.long(), "are int64.*uint8"),
    "two views": ([(IMAGES, IMAGES)], "images could be .16, 3, 8, 8. or .16, 3, 8, 8."),
    "words": (["a.png"], "a str as calibration images"),
    "a number": (7, "an int as calibration images"),
    "objects": (np.array([None]), "array of object"),
    "pictures with a label": ([(object(), 3)], "an object as calibration images.*tensor .n, c, h, w. in .0, 1."),
    "more than memory": (Endless(), "more than 4 GiB.*islice"),
}


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_right_is_refused(given, words, monkeypatch):
    if isinstance(given, Endless):
        monkeypatch.setattr("bitproof.quant.calibration.MOST_BYTES", 2**23)
        words = words.replace("4 GiB", "0 GiB")
    with pytest.raises(InputError, match=words):
        quantize(network(), Scheme(Affine(act_range="moving-average")), given)


def test_a_few_units_of_rounding_are_forgiven():
    quantize(network(), Scheme(), [IMAGES.clamp(0, 1) * 1.001 - 0.0005])


def test_infinity_inside_the_model_is_found_in_any_batch():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Explodes(), nn.Flatten(), nn.Linear(144, 5)).eval()
    for batches in ([IMAGES[:1] * 0, IMAGES], [IMAGES, IMAGES[:1] * 0]):
        with pytest.raises(InputError, match="layer '3' received NaN or infinity"):
            quantize(model, Scheme(), batches)


class Explodes(nn.Module):
    """Divides by zero for black images."""

    def forward(self, x):
        return x / (x.std((2, 3), keepdim=True) > 0)


def test_a_model_of_doubles_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"'0' is of type torch.float64.*Pass model.float\(\)"):
        quantize(network().double(), Scheme(), [IMAGES])
