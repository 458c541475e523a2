"""Folders as people have them: classes that are missing, what systems leave behind, formats that are not read."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import bitproof as bp
from bitproof.conditions.targets import class_number
from bitproof.data import Examples, load_data, parse_data
from bitproof.data.folder import shuffled
from bitproof.errors import InputError
from bitproof.export import export
from bitproof.report.text import remarks

GREYS = {"a": 0, "b": 80, "c": 160, "d": 240}


class Bright(nn.Module):
    """Knows the four greys."""

    def forward(self, x):
        return -(x.mean((1, 2, 3))[:, None] * 255 - torch.tensor([0.0, 80, 160, 240])).abs()


def fill(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (40, 40), (GREYS[name],) * 3).save(root / name / f"{i}.png")
    return root


def accuracy(data) -> float:
    return float(bp.evaluate(Bright(), data, suite="clean", progress=False).cells[0].correct.mean())


def test_a_missing_class_does_not_shift_the_others(tmp_path):
    root = fill(tmp_path / "photos", "acd")
    with pytest.raises(InputError, match="has 4 outputs, data set 'folder' has 3 classes.*folder:ROOT,classes=FILE"):
        accuracy(load_data("folder", root=root, size=32))
    assert accuracy(load_data("folder", root=root, size=32, classes=list("abcd"))) == 1
    (tmp_path / "names.txt").write_text("a\nb\n\nc\nd\n")
    name, path, options = parse_data(f"folder:{root},size=32,classes={tmp_path / 'names.txt'}")
    assert options == {"size": 32, "classes": ("a", "b", "c", "d")}
    assert accuracy(load_data(name, root=path, **options)) == 1


def test_views_know_what_their_data_know(tmp_path):
    data = load_data("folder", root=fill(tmp_path, "acd"), size=32)
    assert not data.open and not bp.data.select(data, [0]).open
    arrays = bp.from_arrays(data.images(range(9)), data.labels)
    assert arrays.open and bp.data.select(arrays, [0]).open
    assert accuracy(arrays) < 1  # labels by number may have fewer classes than the model


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", ".thumbnails", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"]
)
def test_what_systems_leave_is_no_class_and_no_picture(name, tmp_path):
    root = fill(tmp_path / "photos", "abcd")
    before = load_data("folder", root=root, size=32)
    for place in (root / name, root / "b" / name / "0.png", root / "c" / "deeper" / name):
        place.mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(place / "thumbnail.png")
    (root / ".DS_Store").write_bytes(b"what macOS leaves behind")
    (root / "a" / "Thumbs.db").write_bytes(b"what Windows leaves behind")
    after = load_data("folder", root=root, size=32)
    assert (after.classes, after.files, after.left_out) == (before.classes, before.files, {})
    assert accuracy(after) == 1


def test_a_folder_without_pictures_is_no_class_and_named(tmp_path):
    root = fill(tmp_path / "photos", "abcd")
    (root / "aa").mkdir()
    (root / "ab").mkdir()
    (root / "ab" / "notes.txt").write_text("no picture")
    data = load_data("folder", root=root, size=32)
    assert data.classes == ("a", "b", "c", "d") and accuracy(data) == 1
    assert data.left_out == {f"{name}/": "holds no pictures that can be read" for name in ("aa", "ab")}


def test_formats_that_are_not_read_are_named(tmp_path):
    root = fill(tmp_path / "photos", "abcd")
    before = load_data("folder", root=root, size=32).files
    for name in ("x.tif", "y.TIF", "z.gif"):
        Image.new("RGB", (40, 40)).save(root / "a" / name)
    (root / "a" / "w.heic").write_bytes(b"")
    Image.new("RGB", (40, 40)).save(root / "stray.png")
    Image.new("RGB", (40, 40)).save(root / "b" / "old.jfif", "JPEG")
    data = load_data("folder", root=root, size=32)
    assert set(data.files) == {*before, "b/old.jfif"}
    assert data.left_out == {
        "*.tif": "2 files of a format that is not read: convert to PNG",
        "*.gif": "1 file of a format that is not read: convert to PNG",
        "*.heic": "1 file of a format that is not read: convert to PNG",
        "*": "1 picture in no sub-folder",
    }
    cells = bp.evaluate(Bright(), data, suite="clean", progress=False).cells
    assert remarks(cells)[0].startswith("Left out: other files: *.gif (1 file of a format that is not read")


def test_a_folder_of_nothing_but_other_formats_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "a" / "x.tif")
    with pytest.raises(InputError, match=r"holds no images \(a/ holds no pictures .*[*].tif 1 file of a format"):
        load_data("folder", root=tmp_path)


@pytest.mark.parametrize("names", [("train", "val"), ("Test", "Train", "Validation")])
def test_a_folder_of_splits_is_one_level_too_high(names, tmp_path):
    for name in names:
        fill(tmp_path / name, "ab")
    with pytest.raises(InputError, match=f"are {' and '.join(names)}.*the parts of a data set.*{names[-1]}"):
        load_data("folder", root=tmp_path)
    assert load_data("folder", root=tmp_path, classes=names).classes == names


def test_class_names_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(InputError, match="classes name 'a' twice"):
        load_data("folder", root=fill(tmp_path, "ab"), classes=["a", "b", "a"])
    with pytest.raises(InputError, match="classes=.*missing.txt cannot be read.*a line a class"):
        parse_data(f"folder:photos,classes={tmp_path / 'missing.txt'}")
    with pytest.raises(InputError, match="imagenet has no option classes"):
        parse_data("imagenet:photos,classes=names.txt")


def test_the_order_of_files_is_the_same_everywhere():
    assert shuffled(["a/0.png", "a/1.png", "b/0.png", "b/\udcff.png"]) == shuffled(
        ["b/\udcff.png", "b/0.png", "a/1.png", "a/0.png"]
    )
    names = [f"{c}/{i}.png" for c in "abcd" for i in range(50)]
    assert len({name[0] for name in shuffled(names)[:20]}) == 4
    assert np.mean([abs(i - names.index(name)) for i, name in enumerate(shuffled(names))]) > 40


def test_exports_name_the_files(tmp_path):
    data = load_data("folder", root=fill(tmp_path / "photos", "abcd"), size=32)
    store = tmp_path / "r.db"
    result = bp.evaluate(Bright(), data, conditions=["gaussian-noise"], store=store, progress=False)
    bp.evaluate(Bright(), bp.data.select(data, [3, 1]), suite="clean", store=store, progress=False)
    result.export(tmp_path / "own.csv")
    with bp.Store(store, readonly=True) as opened:
        assert len(opened.files()) == 2  # a data set and a part of it, each once
        export(opened.query(), tmp_path / "all.csv", opened.files())
    for name, rows in (("own.csv", 24), ("all.csv", 26)):
        table = pd.read_csv(tmp_path / name)
        assert len(table) == rows
        assert all(data.files[number] == file for number, file in zip(table.id, table.file, strict=True))
    small = bp.load_data("digits", limit=4)
    bp.evaluate(bp.load_model("digits_cnn"), small, suite="clean", progress=False).export(tmp_path / "d.csv")
    assert "file" not in pd.read_csv(tmp_path / "d.csv")


def test_an_uncut_picture_that_is_broken_is_named(tmp_path):
    data = load_data("folder", root=fill(tmp_path, "ab"), size=32)
    examples = Examples(data=data, rows=np.arange(6), images=data.images(range(6)))
    (tmp_path / data.files[2]).write_bytes(b"no picture")
    with pytest.raises(InputError, match=data.files[2]):
        examples.uncut()


def test_accents_written_in_two_ways_are_one_name(tmp_path):
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for name in (apart, "tea"):  # as macOS writes it
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "1.png")
    data = load_data("folder", root=tmp_path, size=32)
    named = load_data("folder", root=tmp_path, size=32, classes=["tea", composed])
    assert data.classes == (composed, "tea") and named.classes == ("tea", composed) and not named.left_out
    assert sorted(named.labels) == [0, 1] and len(data.images(range(2))) == 2
    for classes in (data.classes, bp.from_arrays(data.images([0, 1]), [0, 1], classes=[apart, "tea"]).classes):
        assert class_number(apart, classes) == class_number(composed, classes) == 0
    (tmp_path / composed).mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / composed / "2.png")
    both = load_data("folder", root=tmp_path, size=32)  # a copy from a Mac beside one from elsewhere
    assert (both.classes, sorted(both.labels)) == ((composed, "tea"), [0, 0, 1])
