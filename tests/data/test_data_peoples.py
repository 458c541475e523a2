"""Data as people have them: archives of arrays, tables, Hugging Face folders, functions of their own, random parts."""

import csv
import io
import itertools
import json
import sys

import numpy as np
import pytest
from PIL import Image

import bitproof as bp
from bitproof.cli.common import load_examples
from bitproof.data.base import stratified
from bitproof.errors import InputError

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 10, 8, 3), np.uint8)
LABELS = np.arange(12) % 3
_numbers = itertools.count()


def shown(data):
    return (data.images(range(len(data))).permute(0, 2, 3, 1) * 255).round().byte().numpy()


def png(picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


# ---- random parts


def test_a_sample_gives_each_class_its_share_and_follows_from_the_seed():
    digits = bp.load_data("digits")
    part = digits.sample(100, seed=1)
    counts, whole = np.bincount(part.labels), np.bincount(digits.labels)
    assert len(part) == 100 and (np.abs(counts - whole * 100 / len(digits)) < 1).all()
    assert part.ids.tolist() == digits.sample(100, seed=1).ids.tolist() == sorted(part.ids.tolist())
    assert part.ids.tolist() != digits.sample(100, seed=2).ids.tolist()
    assert bp.load_data("digits", sample=100, seed=1).fingerprint == part.fingerprint
    assert set(digits.sample(50, seed=1).ids) <= set(digits.sample(200, seed=1).ids)
    assert len(digits.sample(10_000)) == len(digits.take(10_000)) == len(digits) and digits.take(3).ids.tolist() == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("sizes", "count", "shares"),
    [
        ((7, 2, 1), 4, (3, 1, 0)),  # 2.8, 0.8, 0.4
        ((6, 3, 1), 5, (3, 2, 0)),  # 3, 1.5, 0.5: the first of two alike
        ((50, 30, 20), 10, (5, 3, 2)),
        ((1, 1, 1, 97), 3, (0, 0, 0, 3)),
    ],
)
def test_shares_are_rounded_by_the_largest_remainder(sizes, count, shares):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(3):
        rows = stratified(labels, np.arange(len(labels)), count, seed)
        assert np.bincount(labels[rows], minlength=len(sizes)).tolist() == list(shares)


def test_a_command_draws_its_sample_by_its_seed():
    part = load_examples("digits", "test", None, sample=30, seed=3)
    assert part.ids.tolist() == bp.load_data("digits", sample=30, seed=3).ids.tolist()
    assert part.ids.tolist() != bp.load_data("digits", sample=30).ids.tolist()


def test_a_command_frames_pictures_as_the_zoo_does_at_another_size(tmp_path):
    pytest.importorskip("timm")
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(PICTURES[0]).save(tmp_path / label / "1.png")
    framing = load_examples(
        f"folder:{tmp_path}", "test", None, model="timm:vit_base_patch16_224", input_size=112
    ).framing
    assert (framing.height, framing.shorter, framing.resize) == (112, 124, "pillow-cubic")  # half of 224 and 248


def test_a_part_of_none_and_two_parts_are_refused():
    with pytest.raises(InputError, match="a part of 0 examples"):
        bp.load_data("digits").take(0)
    with pytest.raises(InputError, match="limit is 3 and sample is 4"):
        bp.load_data("digits", limit=3, sample=4)


# ---- archives of arrays


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (("x_test", "y_test"), PICTURES),
        (("test_images", "test_labels"), PICTURES.transpose(0, 3, 1, 2)),
        (("images", "labels"), (PICTURES / 255).astype(np.float32)),
        (("x", "y"), PICTURES[..., 0]),
        (("arr_0", "arr_1"), PICTURES),
    ],
)
def test_npz_by_any_of_the_usual_names_and_orders(tmp_path, names, images):
    others = {"x_train": PICTURES[:3], "y_train": LABELS[:3]} if "test" in names[0] else {}
    np.savez(tmp_path / "mine.npz", **{names[0]: images, names[1]: LABELS[:, None]}, **others)
    data = bp.load_data("npz", root=tmp_path / "mine.npz", limit=7)
    assert (data.name, data.classes, data.open) == ("mine", ("0", "1", "2"), True)
    assert (shown(data) == (PICTURES if images.ndim == 4 else PICTURES[..., :1])[:7]).all()
    assert data.labels.tolist() == LABELS[:7].tolist()
    if others:
        assert len(bp.load_data("npz", root=tmp_path / "mine.npz", split="train")) == 3


def test_npz_of_odd_shapes_and_parts_is_read_as_it_is_meant(tmp_path):
    narrow = PICTURES[:, :, :4].transpose(0, 3, 1, 2)  # channels first, and four columns that are none
    np.savez(tmp_path / "narrow.npz", images=narrow, labels=LABELS)
    data = bp.load_data("npz", root=tmp_path / "narrow.npz", limit=1)
    assert (data.shape, data.classes) == ((3, 10, 4), ("0", "1", "2")) and (shown(data) == PICTURES[:1, :, :4]).all()
    np.savez(tmp_path / "half.npz", x_train=PICTURES, y_train=LABELS, x=PICTURES, y=LABELS)
    with pytest.raises(InputError, match="images and labels are called x_test and y_test"):
        bp.load_data("npz", root=tmp_path / "half.npz")


def test_npz_says_what_it_lacks(tmp_path):
    np.savez(tmp_path / "odd.npz", pictures=PICTURES, labels=LABELS)
    with pytest.raises(InputError, match=r"holds the arrays pictures, labels.*x_test and y_test"):
        bp.load_data("npz", root=tmp_path / "odd.npz")
    np.savez(tmp_path / "objects.npz", images=PICTURES, labels=np.array(["a"] * 12, object), allow_pickle=True)
    with pytest.raises(InputError, match="not numbers"):
        bp.load_data("npz", root=tmp_path / "objects.npz")
    with pytest.raises(InputError, match="is no file"):
        bp.load_data("npz", root=tmp_path / "none.npz")


# ---- tables


@pytest.fixture
def table(tmp_path):
    (tmp_path / "pictures").mkdir()
    rows = []
    for i, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
        rows.append({"File": f"pictures/{i}.png", "label": "abc"[LABELS[i]], "split": "train" if i < 2 else "test"})

    def write(rows=rows, name="mine.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return rows, write


def test_a_table_gives_its_pictures_in_order(table):
    rows, write = table
    data = bp.load_data("csv", root=write())
    assert (data.classes, data.shape, data.labels.tolist()) == (("a", "b", "c"), (3, 10, 8), LABELS[2:].tolist())
    assert (shown(data) == PICTURES[2:]).all() and data.file(0) == "pictures/2.png"
    numbers = [{"path": row["File"], "y": LABELS[i]} for i, row in enumerate(rows)]
    data = bp.load_data("csv", root=write(numbers, "numbers.csv"), classes=["x", "y", "z"], size=6)
    assert (data.classes, data.shape, data.labels.tolist()) == (("x", "y", "z"), (3, 6, 6), LABELS.tolist())


def test_a_table_as_windows_and_excel_write_it(table):
    rows, write = table
    place = write([{"path": row["File"].replace("/", "\\"), "label": row["label"]} for row in rows])
    place.write_bytes(b"\xef\xbb\xbf" + place.read_bytes())
    data = bp.load_data("csv", root=place)
    assert (shown(data) == PICTURES).all() and data.labels.tolist() == LABELS.tolist()


def test_classes_that_are_named_by_numbers_come_in_the_order_that_is_given(table):
    rows, write = table
    place = write([{"path": rows[i]["File"], "label": label} for i, label in enumerate(["7", "3", "7"])])
    assert bp.load_data("csv", root=place, classes=["3", "5", "7"]).labels.tolist() == [2, 0, 2]
    assert bp.load_data("csv", root=place, classes=list("abcdefgh")).labels.tolist() == [7, 3, 7]


def test_a_table_says_what_is_wrong_with_it(table):
    rows, write = table
    for change, words in (
        ([{"where": "a", "label": 1}], "its columns are where, label"),
        ([{"path": "gone.png", "label": 1}], "names 'gone.png'.*as seen from"),
        ([{**rows[0], "split": "other"}], "no rows of the split 'test'"),
    ):
        with pytest.raises(InputError, match=words):
            bp.load_data("csv", root=write(change, "bad.csv"))
    with pytest.raises(InputError, match="has the label 'c'"):
        bp.load_data("csv", root=write(), classes=["a", "b"])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["0", "1", "-1"], "has the label '-1': labels are whole numbers from 0, or words"),
        (["0.0", "1.0", "10.0"], "has the label '0.0'.*write 3 in place of 3.0"),
        (["cat", "", "dog"], "has the label ''.*Leave out what has no label"),
        (["1", "2", "1000000"], "the largest label is 1000000: .*there are 1,000,000 at most"),
        (["1", "2", "9" * 5000], "the largest label is 99999999999999999999"),
    ],
)
def test_labels_that_are_no_classes_are_refused_in_a_table(table, labels, words):
    """They would be sorted as words, -1 before 0 and 10.0 before 2.0, or number a class that nobody has."""
    rows, write = table
    with pytest.raises(InputError, match=words):
        bp.load_data("csv", root=write([{"path": rows[i]["File"], "y": label} for i, label in enumerate(labels)]))


def test_labels_in_numbers_with_zeros_before_and_words_in_digits_stay(table):
    rows, write = table
    numbers = write([{"path": rows[i]["File"], "y": label} for i, label in enumerate(["007", "0", "3"])])
    assert bp.load_data("csv", root=numbers).labels.tolist() == [7, 0, 3]
    words = write([{"path": rows[i]["File"], "y": label} for i, label in enumerate(["A", "2.0", "7"])])
    assert bp.load_data("csv", root=words).classes == ("2.0", "7", "A")


def test_labels_of_arrays_that_number_no_class_are_refused(tmp_path):
    for largest in (10**6, 2**40, 2**64 - 1):
        labels = np.array([*LABELS[1:], largest], np.uint64)
        np.savez(tmp_path / "odd.npz", images=PICTURES, labels=labels)
        for limit in (None, 3):
            with pytest.raises(InputError, match=f"{largest}.*(0, to 999999 at most|1,000,000 at most)"):
                bp.load_data("npz", root=tmp_path / "odd.npz", limit=limit)
    with pytest.raises(InputError, match="the largest label is 1000000"):
        bp.from_dataset([(np.zeros((4, 4, 3), np.uint8), 10**6)])


def test_a_table_and_an_archive_without_splits_are_not_calibrated_on_themselves(table, tmp_path, run):
    rows, write = table
    alone = write([{"path": row["File"], "y": i % 3} for i, row in enumerate(rows)])
    grey = np.random.default_rng(1).integers(0, 256, (12, 20, 20), np.uint8)
    np.savez(tmp_path / "mine.npz", images=grey, labels=LABELS)
    for name in (f"csv:{alone},size=20,channels=1", f"npz:{tmp_path / 'mine.npz'}"):
        said = ("evaluate", "digits_cnn", "--data", name, "--suite", "clean", "--scheme", "w8a8", "--quiet")
        code, _, err = run(*said)
        assert code == 2 and f"this {name[:3]} has no train split" in err, err
        code, _, err = run(*said, "--calibration-data", name)
        assert code == 2 and "not calibrated on what they are tested on" in err, err
    divided = {"x_test": grey[:6], "y_test": LABELS[:6], "x_train": grey[6:], "y_train": LABELS[6:]}
    np.savez(tmp_path / "mine.npz", **divided)
    code, _, err = run(*said)
    assert code == 0, err


# ---- Hugging Face's folders


def parquet(folder, name, rows, *, named=True, column="image", group=5):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    pictures = [{"bytes": png(PICTURES[i]), "path": f"{i}.png"} for i in rows]
    table = arrow.table({column: pictures, "label": [int(LABELS[i]) for i in rows]})
    if named:
        about = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["ant", "bee", "cat", "dog"]}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    (folder / "data").mkdir(exist_ok=True)
    writer.write_table(table, folder / "data" / name, row_group_size=group)


def test_hugging_face_folder_with_several_files_and_groups(tmp_path):
    parquet(tmp_path, "test-00000-of-00002.parquet", range(7))
    parquet(tmp_path, "test-00001-of-00002.parquet", range(7, 12))
    parquet(tmp_path, "train-00000-of-00001.parquet", range(2))
    data = bp.load_data("hf", root=tmp_path)
    assert (data.classes, data.shape) == (("ant", "bee", "cat", "dog"), (3, 10, 8))
    assert (shown(data) == PICTURES).all() and data.labels.tolist() == LABELS.tolist()
    backwards = data.images([11, 0, 6, 5]).numpy()
    assert (backwards == data.images(range(12)).numpy()[[11, 0, 6, 5]]).all()
    assert len(bp.load_data("hf", root=tmp_path, split="train")) == 2
    assert len(bp.load_data("hf", root=tmp_path, sample=4)) == 4
    assert bp.load_data("hf", root=tmp_path, limit=3).labels.tolist() == LABELS[:3].tolist()
    parquet(tmp_path, "validation-00000-of-00001.parquet", range(1))
    assert len(bp.load_data("hf", root=tmp_path)) == 12 and bp.load_data("hf", root=tmp_path, split="validation")
    renamed = bp.load_data("hf", root=tmp_path, classes=["w", "x", "y", "z"])
    assert renamed.classes == ("w", "x", "y", "z") and renamed.labels.tolist() == LABELS.tolist()
    with pytest.raises(InputError, match="no Parquet files of the split 'extra'.*test-00000-of-00002"):
        bp.load_data("hf", root=tmp_path, split="extra")


def test_hugging_face_folder_of_other_columns(tmp_path):
    parquet(tmp_path, "validation-0.parquet", range(6), named=False, column="img")
    data = bp.load_data("hf", root=tmp_path, classes=["x", "y", "z"], size=4)
    assert (data.classes, data.shape) == (("x", "y", "z"), (3, 4, 4))
    parquet(tmp_path, "test-0.parquet", range(2), column="pixels")
    with pytest.raises(InputError, match="its columns are pixels, label"):
        bp.load_data("hf", root=tmp_path)


def test_hugging_face_labels_that_are_missing_are_refused(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    def write(labels, about=None):
        pictures = [{"bytes": png(PICTURES[i]), "path": f"{i}.png"} for i in range(len(labels))]
        columns = {"image": arrow.array(pictures, arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())]))}
        table = arrow.table({**columns, "label": arrow.array(labels)}).replace_schema_metadata(about)
        writer.write_table(table, tmp_path / "test-00000-of-00001.parquet")

    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}}}
    for labels, words in (
        ([0, -1, 1, -1], "has the label -1 and 1 more: it names 2 classes.*-1 stands for none"),
        ([0, None, 1], "has the label None: it names 2 classes"),
        ([0.0, 1.0], "has the label 0.0"),
        ([0, 2], "has the label 2"),
    ):
        write(labels, {"huggingface": json.dumps(names)})
        with pytest.raises(InputError, match=words):
            bp.load_data("hf", root=tmp_path)
    for labels, words in (
        ([1, None], "has the label ''"),
        ([0, -1], "has the label '-1'"),
        ([], "has no rows of 'test'"),
    ):
        write(labels)
        with pytest.raises(InputError, match=words):
            bp.load_data("hf", root=tmp_path)


# ---- a function of one's own


def test_a_function_of_ones_own_is_data(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    name = f"peoples_data_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(
        "import bitproof as bp\nfrom torch.utils.data import TensorDataset\nimport torch\n"
        "def digits(split): return bp.load_data('digits', split=split, limit=30)\n"
        "def pairs(): return TensorDataset(torch.zeros(4, 1, 5, 5), torch.arange(4))\n"
        "def number(): return 3\n"
    )
    assert len(bp.load_data(f"{name}:digits", split="train")) == 30
    assert bp.load_data(f"{name}:pairs", limit=2).shape == (1, 5, 5)
    with pytest.raises(InputError, match="a int as data"):
        bp.load_data(f"{name}:number")
    code, out, err = run("evaluate", "digits_cnn", "--data", f"{name}:digits", "--suite", "clean", "--sample", 20)
    assert code == 0 and "n = 20" in " ".join(out.split()), (out, err)


def test_a_class_of_ones_own_is_data_and_what_it_raises_is_told(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    name = f"peoples_data_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(
        "import torch\n"
        "class Pairs:\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i): return torch.zeros(1, 5, 5), i % 2\n"
        "class Damaged(Pairs):\n"
        "    def __getitem__(self, i): return super().__getitem__(i if i < 2 else 1 / 0)\n"
    )
    assert len(bp.load_data(f"{name}:Pairs")) == 4
    code, _, err = run("evaluate", "digits_cnn", "--data", f"{name}:Damaged")
    assert code == 2 and "code of your own fails (ZeroDivisionError: division by zero" in err
    assert f"{name}.py line 6: " in err and "Traceback" not in err


def test_grey_pictures_stay_grey_where_that_is_asked_for(tmp_path, table):
    _, write = table
    expected = np.asarray(Image.fromarray(PICTURES[2]).convert("L"))
    data = bp.load_data("csv", root=write(), channels=1)
    assert data.shape == (1, 10, 8) and (shown(data)[0, :, :, 0] == expected).all()
    assert bp.data.parse_data("hf:photos,channels=1")[2] == {"channels": 1}
    for label in ("a", "b"):
        (tmp_path / "folder" / label).mkdir(parents=True)
        Image.fromarray(PICTURES[2]).save(tmp_path / "folder" / label / "1.png")
    assert bp.load_data("folder", root=tmp_path / "folder", size=8, channels=1).shape == (1, 8, 8)
    with pytest.raises(InputError, match=r"channels is 2: pictures are RGB \(3\) or grey \(1\)"):
        bp.load_data("folder", root=tmp_path / "folder", channels=2)
    with pytest.raises(InputError, match="channels is 'grey'"):
        bp.data.parse_data("csv:mine.csv,channels=grey")


def test_a_list_of_classes_may_be_a_file_of_its_own(tmp_path, run):
    for label in ("even", "odd"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        Image.fromarray(PICTURES[0]).save(tmp_path / "pictures" / label / "1.png")
    (tmp_path / "names.txt").write_text("\n".join([*"abcdefgh", "", " odd ", "even", "\n"]))
    command = [
        "evaluate",
        "resnet20",
        "--data",
        f"folder:{tmp_path / 'pictures'}",
        "--input-size",
        32,
        "--suite",
        "clean",
    ]
    code, _, err = run(*command)
    assert code == 2 and "has 10 outputs, data set 'folder' has 2 classes" in err
    code, _, err = run(*command, "--class-list", tmp_path / "names.txt", "--quiet")
    assert code == 0, err
    code, _, err = run("evaluate", "digits_cnn", "--data", "digits", "--class-list", tmp_path / "names.txt")
    assert code == 2 and "the classes of digits are known" in err
