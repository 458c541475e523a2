"""The user's own arrays, the digits, and what every data set promises."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.data import from_arrays, load_data, parse_data
from bitproof.errors import InputError
from bitproof.pictures.pixels import decode, framed, resize


def pixels(count=5, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, 6, 7), np.uint8)


LABELS = [0, 2, 1, 2, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_uint8_arrays_give_exact_images_and_files(channels):
    images = pixels(channels=channels)
    data = from_arrays(images, LABELS, name="mine")
    assert (len(data), data.shape, data.classes) == (5, (channels, 6, 7), ("0", "1", "2"))
    assert torch.equal(data.images([3, 1]), torch.from_numpy(images[[3, 1]]).float() / 255)
    assert np.array_equal(decode(data.encoded(4), "opencv", channels=channels), images[4].transpose(1, 2, 0))
    assert data.labels.dtype == data.ids.dtype == np.int64
    assert (data.record.name, data.record.count, data.record.fingerprint) == ("mine", 5, data.fingerprint)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_float_images_are_kept_finer_than_8_bits(dtype):
    images = torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    data = from_arrays(images, torch.tensor(LABELS))
    assert torch.equal(data.images(range(5)), images.float())
    stored = decode(data.encoded(0), "pillow", channels=3).transpose(2, 0, 1) / 255
    assert np.abs(stored - images[0].double().numpy()).max() <= 0.5 / 255 + 1e-7


def test_the_arrays_are_copied():
    images, labels = pixels(channels=1), np.array(LABELS)
    data = from_arrays(images, labels)
    expected = data.images(range(5))
    images[:], labels[:] = 0, 0
    assert torch.equal(data.images(range(5)), expected) and data.labels.tolist() == LABELS


def test_inputs_are_all_images_in_order_whatever_the_batch():
    data = from_arrays(pixels(), LABELS)
    fingerprint = data.fingerprint
    for batch_size in (1, 2, 5, 128):
        batches = list(data.inputs(batch_size))
        assert max(len(batch) for batch in batches) == min(batch_size, 5)
        assert torch.equal(torch.cat(batches), data.images(range(5)))
    assert data.fingerprint == fingerprint == from_arrays(pixels(), LABELS, name="other").fingerprint


def test_the_fingerprint_sees_every_pixel_label_and_shape():
    images = pixels()
    fingerprints = [from_arrays(images, LABELS).fingerprint]
    changed = images.copy()
    changed[4, 2, 5, 6] ^= 1
    fingerprints.append(from_arrays(changed, LABELS).fingerprint)
    fingerprints.append(from_arrays(images, [*LABELS[:4], 1]).fingerprint)
    fingerprints.append(from_arrays(images[:4], LABELS[:4]).fingerprint)
    fingerprints.append(from_arrays(images.reshape(5, 3, 7, 6), LABELS).fingerprint)
    floats = images.astype(np.float32) / 255
    floats[0, 0, 0, 0] = 0.5001
    fingerprints.append(from_arrays(floats, LABELS).fingerprint)
    floats[0, 0, 0, 0] = 0.5002  # the same 8-bit picture
    fingerprints.append(from_arrays(floats, LABELS).fingerprint)
    assert len(set(fingerprints)) == 7
    assert all(len(fingerprint) == 32 and int(fingerprint, 16) for fingerprint in fingerprints)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (pixels()[0], LABELS, None, r"shape \[3, 6, 7\].*\[n, c, h, w\].*transpose"),
        (pixels().transpose(0, 2, 3, 1), LABELS, None, r"shape \[5, 6, 7, 3\].*transpose\(0, 3, 1, 2\)"),
        (pixels()[:0], [], None, r"shape \[0, 3, 6, 7\].*at least one"),
        (pixels().astype(np.int64), LABELS, None, r"int64.*uint8 in 0..255 or float in \[0, 1\].*astype"),
        (pixels().astype(np.float32), LABELS, None, r"range from 0 to 255.*\[0, 1\].*Divide 0..255 values by 255"),
        (pixels() / 255 - 0.5, LABELS, None, r"range from -0.5 to 0.5.*do not normalise: that is the model's first"),
        (np.full((5, 3, 6, 7), np.nan), LABELS, None, r"range from nan to nan.*must be finite"),
        (np.full((5, 3, 6, 7), np.inf), LABELS, None, r"range from inf to inf.*must be finite"),
        (pixels(), np.zeros(5), None, r"float64 \[5\].*integers \[5\].*whole class numbers"),
        (pixels(), np.eye(5, dtype=int), None, r"int64 \[5, 5\].*one-hot rows, use labels.argmax\(1\)"),
        (pixels(), LABELS[:4], None, r"int64 \[4\].*integers \[5\], one an image"),
        (pixels(), [0, 1, -1, -2, 0], None, r"label 2 is -1.*count from 0"),
        (pixels(), [0, 1, 1, 2, 3], ["cat", "dog"], r"label 3 is 2.*0\.\.1.*Number the classes"),
    ],
)
def test_bad_arrays_are_refused_with_value_rule_and_remedy(images, labels, classes, message):
    with pytest.raises(InputError, match=message):
        from_arrays(images, labels, classes=classes)


def test_what_float_arithmetic_leaves_beyond_the_range_is_cut():
    images = np.full((2, 3, 6, 7), 0.5, np.float32)
    images[0, 0, 0, 0], images[1, 2, 5, 6] = np.nextafter(np.float32(1), np.float32(2)), -5e-7
    read = from_arrays(images, [0, 1]).images(range(2))
    assert (read.min(), read.max()) == (0, 1)
    images[0, 0, 0, 0] = 1.00001
    with pytest.raises(InputError, match="from -5e-07 to 1.00001"):
        from_arrays(images, [0, 1])


def test_labels_may_have_an_axis_of_their_own():
    assert from_arrays(pixels(), np.array(LABELS)[:, None]).labels.tolist() == LABELS


@pytest.mark.parametrize("channels", [2, 4, 12])
def test_other_channels_can_be_attacked_and_shifted_by_ones_own_means(channels):
    images = pixels(channels=channels)
    data = from_arrays(images, LABELS)
    assert torch.equal(data.images(range(5)), torch.from_numpy(images).float() / 255)
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * 42, 3)).eval()
    assert len(bp.evaluate(model, data, conditions=["fgsm"], progress=False).cells) == 2
    for condition in ("fog", "pipeline:resize=opencv-area"):
        with pytest.raises(InputError, match=f"{channels} channels.*grey"):
            bp.evaluate(model, data, conditions=[condition], progress=False)


def test_digits_have_the_stated_splits_and_content():
    test, train = load_data("digits"), load_data("digits", split="train")
    assert (len(test), len(train), test.shape) == (449, 1348, (1, 20, 20))
    assert test.classes == tuple("0123456789") and set(test.labels.tolist()) == set(range(10))
    assert test.fingerprint == "c87d9aad43a9f122a25bd633bf4915fd"  # golden: stored results name it


def test_digits_are_scikit_learns_enlarged_by_the_reference_resize():
    datasets = pytest.importorskip("sklearn.datasets")
    values, labels = datasets.load_digits(return_X_y=True)
    data = load_data("digits")
    for row in (0, 100, 448):
        native = decode(data.encoded(row), "pillow", channels=1)
        assert np.abs(native[:, :, 0] / 255 - values[4 * row + 3].reshape(8, 8) / 16).max() <= 0.5 / 255
        assert data.labels[row] == labels[4 * row + 3]
        enlarged = framed(native, data.framing, "pillow-bilinear")
        assert enlarged.shape == (20, 20, 1)
        assert np.array_equal(np.rint(data.images([row])[0, 0].numpy() * 255), enlarged[:, :, 0])
        assert not np.array_equal(enlarged, resize(native, 16, 16, "opencv-cubic"))


def test_a_limit_takes_the_first_examples_with_their_ids():
    whole, few = load_data("digits"), load_data("digits", limit=7)
    assert few.ids.tolist() == list(range(7)) and len(load_data("digits", limit=10_000)) == 449
    assert torch.equal(few.images(few.ids), whole.images(few.ids))
    assert few.fingerprint != whole.fingerprint


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digit", {}, "unknown data set 'digit'.*Did you mean 'digits'"),
        ("digits", {"split": "val"}, "unknown split of digits 'val': known are test, train"),
        ("digits", {"limit": 0}, "limit is 0: it must be at least 1. Leave it out"),
        ("digits", {"root": "."}, "the digits are embedded. Leave root out"),
        ("digits", {"size": 32}, "unknown option of digits 'size'"),
        ("cifar10", {}, "cifar10 needs a root.*cifar-10-batches-bin"),
        ("folder", {}, "folder needs a root.*folder:ROOT"),
        ("cifar10", {"root": "no/such/place"}, "root 'no/such/place' is no folder: it must exist"),
    ],
)
def test_mistakes_in_load_data_are_named(name, options, message):
    with pytest.raises(InputError, match=message):
        load_data(name, **options)


def test_parse_data():
    assert parse_data("digits") == ("digits", None, {})
    assert parse_data("cifar10:/data/a:b") == ("cifar10", "/data/a:b", {})
    assert parse_data("folder:") == ("folder", None, {})
    assert parse_data("imagenet:/data/a,b,size=299") == ("imagenet", "/data/a,b", {"size": 299})
    with pytest.raises(InputError, match="size is 'big'.*whole number of pixels"):
        parse_data("folder:/data,size=big")
    with pytest.raises(InputError, match=r"unknown data set 'cifar'.*Did you mean 'cifar10'"):
        parse_data("cifar:/data")
