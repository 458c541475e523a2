"""Image folders: order, labels, preprocessing, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from bitproof.data import load_data
from bitproof.errors import InputError
from bitproof.pictures.pixels import framed


def save(path, height=40, width=50, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def root(tmp_path):
    for number in range(12):
        save(tmp_path / "root" / ("ant", "bee", "cat")[number // 4] / f"{number}.png", seed=number)
    return tmp_path / "root"


def test_labels_files_and_pixels_belong_together(root):
    data = load_data("folder", root=root, size=28)
    assert (len(data), data.shape, data.classes) == (12, (3, 28, 28), ("ant", "bee", "cat"))
    assert data.framing.shorter == 32
    for row, name in enumerate(data.files):
        assert data.classes[data.labels[row]] == name.split("/")[0]
        assert data.encoded(row) == (root / name).read_bytes()
    pixels = np.asarray(Image.open(root / data.files[5]))
    expected = framed(pixels, data.framing, "pillow-bilinear").transpose(2, 0, 1)
    assert torch.equal(data.images([5])[0], torch.from_numpy(expected.copy()).float() / 255)


def test_no_rows_are_no_images(root):
    assert load_data("folder", root=root, size=28).images([]).shape == (0, 3, 28, 28)


def test_a_limit_is_a_fair_sample_with_stable_ids(root):
    whole, few = load_data("folder", root=root), load_data("folder", root=root, limit=4)
    assert few.files == whole.files[:4] and len(set(few.labels.tolist())) > 1
    assert few.classes == whole.classes


def test_given_classes_set_the_labels(root):
    data = load_data("folder", root=root, classes=["yak", "cat", "bee", "ant"])
    assert {name.split("/")[0]: int(label) for name, label in zip(data.files, data.labels, strict=True)} == {
        "cat": 1,
        "bee": 2,
        "ant": 3,
    }


def test_folders_that_are_no_class_are_left_out_by_name(root):
    data = load_data("folder", root=root, classes=["ant", "bee"])
    assert len(data) == 8 and {name.split("/")[0] for name in data.files} == {"ant", "bee"}
    assert data.left_out == data.record.left_out == {"cat/": "is none of the 2 classes"}
    with pytest.raises(InputError, match=r"holds no images \(ant/ is none of the 1 classes"):
        load_data("folder", root=root, classes=["yak"])


def test_the_fingerprint_sees_bytes_and_size(root):
    fingerprints = [load_data("folder", root=root).fingerprint, load_data("folder", root=root, size=32).fingerprint]
    save(root / "ant" / "0.png", seed=99)
    fingerprints.append(load_data("folder", root=root).fingerprint)
    assert fingerprints[2] == load_data("folder", root=root).fingerprint
    assert len(set(fingerprints)) == 3


def test_the_fingerprint_sees_a_new_name(tmp_path):
    save(tmp_path / "ant" / "0.png")
    before = load_data("folder", root=tmp_path, classes=["ant"]).fingerprint
    (tmp_path / "ant" / "0.png").rename(tmp_path / "ant" / "1.png")
    assert load_data("folder", root=tmp_path, classes=["ant"]).fingerprint != before


def test_only_visible_images_count(root):
    before = load_data("folder", root=root).files
    (root / "ant" / "notes.txt").write_text("no image")
    (root / "ant" / "._0.png").write_bytes(b"what macOS leaves behind")
    (root / ".cache").mkdir()
    assert load_data("folder", root=root).files == before
    (root / "ant" / "upper.PNG").write_bytes((root / "ant" / "0.png").read_bytes())
    save(root / "ant" / "deeper" / "0.jpeg")
    data = load_data("folder", root=root)
    assert set(data.files) - set(before) == {"ant/upper.PNG", "ant/deeper/0.jpeg"}
    assert data.classes == ("ant", "bee", "cat")


def test_unreadable_images_are_named(root):
    data = load_data("folder", root=root)
    path = root / data.files[3]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=f"{path} cannot be decoded by pillow"):
        data.images([3])
    read = data.read(range(2, 5))
    assert read.rows.tolist() == [2, 4] and torch.equal(read.images, data.images([2, 4])) and not data.left_out
    assert read.left_out == {data.files[3]: "cannot be decoded by pillow (image file is truncated)"}
    assert sum(map(len, data.inputs(5))) == 11
    path.unlink()
    with pytest.raises(InputError, match=f"{path} cannot be read.*load the data again"):
        data.encoded(3)


def test_folders_without_images_are_refused(tmp_path):
    save(tmp_path / "lonely.png")
    with pytest.raises(InputError, match=r"holds no images.*one sub-folder a class.*sub-folders are the classes"):
        load_data("folder", root=tmp_path)
    with pytest.raises(InputError, match="size is 0"):
        load_data("folder", root=tmp_path, size=0)


def test_a_folder_above_the_classes_is_refused(root):
    with pytest.raises(InputError, match=r"has pictures in one sub-folder, 'root'.*at least two.*perhaps .*root"):
        load_data("folder", root=root.parent)
