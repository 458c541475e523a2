"""Shards of WebDataset: as its writer and `tar` leave them, as folders read the same pictures, and what is refused."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

import bitproof as bp
from bitproof.data import share_files
from bitproof.data.webdataset import MOST_SHARDS
from bitproof.errors import InputError

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 40, 50, 3), np.uint8)
NAMES = [f"{('ant', 'bee', 'cat')[i % 3]}/p{i:02d}" for i in range(12)]


def encoded(i, kind="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(PICTURES[i]).save(buffer, kind)
    return buffer.getvalue()


def tar(members, **options):
    """The bytes of an archive with these (name, content), as WebDataset's writer has them, or entries as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            entry = tarfile.TarInfo(member[0])
            entry.size, entry.mode, entry.uname, entry.gname = len(member[1]), 0o444, "bigdata", "bigdata"
            archive.addfile(entry, io.BytesIO(member[1]))
    return buffer.getvalue()


def example(i, label=None):
    return [(f"{NAMES[i]}.cls", str(i % 3 if label is None else label).encode()), (f"{NAMES[i]}.jpg", encoded(i))]


@pytest.fixture
def shards(tmp_path):
    """Writes shards of these members, and gives a function that loads them."""

    def write(*groups, pattern="*.tar", **options):
        for number, members in enumerate(groups):
            content = members if isinstance(members, bytes) else tar(members)
            (tmp_path / f"val-{number:06d}.tar").write_bytes(content)
        return bp.load_data("wds", root=tmp_path / pattern, **options)

    return write


def whole(shards, **options):
    return shards(*([m for i in range(s, 12, 3) for m in example(i)] for s in range(3)), **options)


# ---- what is read


def test_pixels_and_labels_are_those_of_a_folder_with_the_same_files(shards, tmp_path):
    data = whole(shards, size=28, classes=["ant", "bee", "cat"])
    for i, name in enumerate(NAMES):
        place = tmp_path / "folder" / f"{name}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(i))
    folder = bp.load_data("folder", root=tmp_path / "folder", size=28)
    assert data.files == folder.files and data.labels.tolist() == folder.labels.tolist()
    assert data.classes == folder.classes and data.shape == folder.shape
    assert torch.equal(data.images(range(12)), folder.images(range(12)))
    assert torch.equal(data.images([7, 2]), folder.images([7, 2]))
    assert data.read(range(12)).left_out == {} and data.file(3) == folder.file(3)
    assert data.fingerprint == folder.fingerprint


def test_numbers_depend_neither_on_the_order_of_shards_nor_on_their_borders(shards, tmp_path):
    three = whole(shards)
    assert (three.name, three.classes, three.open, three.shape) == ("wds", ("0", "1", "2"), True, (3, 40, 50))
    fingerprint = three.fingerprint
    for path in tmp_path.glob("*.tar"):
        path.unlink()
    one = shards([m for i in reversed(range(12)) for m in reversed(example(i))], pattern="val-000000.tar")
    assert one.name == "val-000000" and one.fingerprint == fingerprint
    assert one.files == three.files and one.ids.tolist() == three.ids.tolist() == list(range(12))
    few = bp.load_data("wds", root=tmp_path / "val-000000.tar", limit=4)
    assert few.files == one.files[:4] and len(few.classes) == 3 and len(set(few.labels.tolist())) > 1
    assert len(bp.load_data("wds", root=tmp_path / "val-000000.tar", sample=6)) == 6


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("val-{000000..000002}.tar", 12),
        ("val-{000001..000002}.tar", 8),
        ("val-00000{0..1}.tar", 8),
        ("{val-000000,val-000002}.tar", 8),
        ("val-00000{0,{2}}.tar", None),
        ("val-00000[01].tar", 8),
        ("*", 12),
    ],
)
def test_patterns_name_shards_as_shells_do(shards, pattern, count):
    if count is None:
        with pytest.raises(InputError, match="is no file"):
            whole(shards, pattern=pattern)
    else:
        assert len(whole(shards, pattern=pattern)) == count


def test_the_command_line_takes_a_pattern_with_commas_and_options(tmp_path):
    name, root, options = bp.data.parse_data("wds:photos/{a,b}-{000..012}.tar,size=32,channels=1")
    assert (name, root, options) == ("wds", "photos/{a,b}-{000..012}.tar", {"size": 32, "channels": 1})


def test_labels_lie_in_text_or_json_by_numbers_or_words(shards):
    picture = encoded(0)
    data = shards(
        [
            *[("./a/x.JPG", picture), ("./a/x.CLS", b"1\n"), ("a/x.json", b'{"label": 0}')],
            *[("b.jpeg", picture), ("b.json", b'{"width": 3, "label": 2}'), ("b.txt", b"a dog")],
            *[("c.png", encoded(0, "PNG")), ("c.JSON", b'{"cls": "3", "class_name": "x"}')],
            *[("__meta__.json", b"{}"), ("._b.jpg", b"of macOS"), ("readme.md", b"read me"), ("plain", b"no suffix")],
            *[("__MACOSX/b.jpg", b"left by a system"), (".cache/z.jpg", b"hidden")],
            *[("d.seg.png", b"a mask"), ("d.webp", encoded(0, "WEBP")), ("d.cls", b"0")],
        ]
    )
    assert dict(zip(data.files, data.labels.tolist(), strict=True)) == {
        "a/x.JPG": 1,
        "b.jpeg": 2,
        "c.png": 3,
        "d.webp": 0,
    }
    assert data.left_out == {} and len(data.read(range(4)).rows) == 4
    words = [("a.jpg", picture), ("a.cls", b"dog"), ("b.jpg", picture), ("b.json", b'{"label": "cat"}')]
    data = shards(words)
    assert data.classes == ("cat", "dog") and not data.open
    assert {data.classes[label] + file[0] for label, file in zip(data.labels, data.files, strict=True)} == {
        "doga",
        "catb",
    }


def test_a_list_of_classes_gives_words_their_numbers(shards, tmp_path, run):
    shards([("a.jpg", encoded(0)), ("a.cls", b"dog"), ("b.jpg", encoded(1)), ("b.cls", b"cat")])
    (tmp_path / "names.txt").write_text("\n".join([*"efghijkl", "dog", "cat"]))
    data = bp.load_data("wds", root=tmp_path / "*.tar", classes=str(tmp_path / "names.txt"))
    assert sorted(data.labels.tolist()) == [8, 9] and len(data.classes) == 10
    place = f"wds:{tmp_path}/val-{{000000..000000}}.tar,channels=1"
    said = ("evaluate", "digits_cnn", "--data", place, "--input-size", 20, "--suite", "clean", "--quiet")
    code, _, err = run(*said, "--class-list", tmp_path / "names.txt")
    assert code == 0, err
    code, _, err = run(*said)
    assert code == 2 and "has 10 outputs" in err and "has 2 classes" in err


def test_keys_that_shards_share_belong_to_their_shard(shards, tmp_path):
    same = [[("000.jpg", encoded(i)), ("000.cls", b"%d" % i)] for i in range(3)]
    data = shards(*same)
    assert dict(zip(data.files, data.labels.tolist(), strict=True)) == {
        f"val-00000{i}.tar/000.jpg": i for i in range(3)
    }
    assert all(data.encoded(row) == encoded(label) for row, label in enumerate(data.labels))
    with pytest.raises(InputError, match="two shards of one name with the same keys"):
        bp.load_data("wds", root=tmp_path / "val-00000{0,0}.tar")


def test_links_other_formats_and_lonely_labels_are_left_out_and_said(shards):
    link, pipe = tarfile.TarInfo("k.jpg"), tarfile.TarInfo("l.jpg")
    link.type, link.linkname, pipe.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.FIFOTYPE
    odd = [("t.tif", b"II"), ("t.cls", b"1"), ("lonely.cls", b"1"), link, pipe, ("k.cls", b"0")]
    data = shards([*example(0), *odd, *example(1)])
    assert len(data) == 2 and data.record.left_out == {
        "*.cls": "2 without a picture",
        "*.tif": "1 of a format that is not read: convert to PNG",
        "* (links and devices)": "2 that are no files",
    }
    with pytest.raises(InputError, match=r"no pictures \(\* \(links .*; \*.cls: 2 without a picture; .*has no dot"):
        shards(odd)


def test_a_picture_that_is_damaged_is_left_out_when_it_is_read(shards):
    data = shards([*example(0), *example(1), ("x.jpg", encoded(2)[:500]), ("x.cls", b"1")], size=32)
    read = data.read(range(3))
    assert len(read.rows) == 2 and "cannot be decoded" in read.left_out["x.jpg"]


# ---- what is refused


class Bomb:
    def __reduce__(self):
        return exec, ("raise AssertionError('it was unpickled')",)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.jpg", b"")], "has no label for 'a'"),
        ([("a.jpg", b""), ("b.jpg", b""), ("b.cls", b" \n")], "has no label for 'a' and 1 more"),
        ([("a.jpg", b""), ("a.pyd", pickle.dumps(Bomb())), ("a.pickle", pickle.dumps(Bomb()))], "has no label for 'a'"),
        ([("a.jpg", b""), ("a.json", b'{"label": null}')], "has no label for 'a'"),
        ([("a.jpg", b""), ("a.json", b"[3]")], "has no label for 'a'"),
        ([("a.jpg", b""), ("a.json", b'{"label": [3]}')], "a.json in .* has the label \\[3\\]"),
        ([("a.jpg", b""), ("a.json", b'{"label": true}')], "a.json in .* has the label True"),
        ([("a.jpg", b""), ("a.json", b'{"label": 3.0}')], "a.json in .* has the label 3.0"),
        ([("a.jpg", b""), ("a.json", b"{")], "cannot be read \\(Expecting"),
        ([("a.jpg", b""), ("a.json", b"[" * 100_000)], "cannot be read"),
        ([("a.jpg", b""), ("a.cls", b"1" * 2**20 + b"1")], "'a.cls' has 1,048,577 bytes, and 1,048,576 are the most"),
        ([("a.jpg", b""), ("a.cls", b"3\n4")], "a.cls in .* has the label"),
        ([("a.jpg", b""), ("a.cls", b"\xff\xfe3")], "cannot be read"),
        ([("a.jpg", b""), ("a.cls", b"-1")], "has the label '-1': labels are whole numbers from 0, or words"),
        ([("a.jpg", b""), ("a.cls", b"1.0")], "has the label '1.0'"),
        ([("a.jpg", b""), ("a.cls", b"9" * 30)], "the largest label is 99999999999999999999: .*1,000,000 at most"),
        ([("a.jpg", b""), ("a.png", b""), ("a.cls", b"1")], "has 2 pictures of the key 'a' \\(jpg, png\\)"),
        ([("a.jpg", b""), ("a.cls", b"1"), ("a.JPG", b"")], "holds 'a.JPG' twice"),
        ([("a.jpg", b""), ("a.cls", b"1"), ("b.cls", b"1"), ("a.cls", b"1")], "holds 'a.cls' twice"),
        ([("../a.jpg", b""), ("../a.cls", b"1")], "holds '../a.jpg', which lies outside of it"),
        ([("x/../../a.jpg", b"")], "which lies outside of it"),
        ([("/a.jpg", b"")], "holds '/a.jpg', which lies outside of it"),
        ([("n01.n02.jpg", b""), ("n01.cls", b"1")], "holds no pictures .*a key has no dot"),
        ([], "holds no pictures"),
    ],
)
def test_what_is_wrong_with_an_example_is_said(shards, members, words):
    with pytest.raises(InputError, match=words):
        shards(members)


def test_labels_beyond_the_named_classes_are_refused(shards):
    with pytest.raises(InputError, match=r"has the label '2': the classes are ant, bee\. "):
        whole(shards, classes=["ant", "bee"])


WHOLE = tar([m for i in range(3) for m in example(i)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is cut off after 0 bytes"),
        (WHOLE[:300], "it is cut off after 300 bytes"),
        (WHOLE[:700], "'ant/p00.cls' claims 1 bytes.*cut off|it is cut off after 700"),
        (WHOLE[:1024], "it is cut off after 1,024 bytes"),  # between two members: no other reader notices
        (WHOLE[:1700], "'ant/p00.jpg' claims 1,[0-9]+ bytes, and it is cut off after 164"),
        (WHOLE + tar(example(4)), "something follows its end at byte [0-9,]+, such as another archive"),
        (WHOLE[:1024] + b"x" * 512 + WHOLE[1536:], "bad checksum|invalid header"),
        (b"no archive" * 200, "bad checksum|invalid header"),
        (gzip.compress(WHOLE), "it is compressed by gzip.*unpack before"),
        (bz2.compress(WHOLE), "it is compressed by bzip2"),
        (lzma.compress(WHOLE), "it is compressed by xz"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 600, "it is compressed by zstd"),
        (b"PK\3\4" + b"x" * 600, "it is compressed by zip"),
    ],
)
def test_shards_that_are_cut_off_compressed_or_joined_are_refused(shards, content, words):
    with pytest.raises(InputError, match=rf"val-000000.tar cannot be read \((?:{words})"):
        shards(content)


def test_lengths_that_lie_are_refused_before_anything_is_read(shards, tmp_path):
    def lying(size, kind=tarfile.REGTYPE):
        entry = tarfile.TarInfo("a.jpg")
        entry.size, entry.type = size, kind
        return entry.tobuf(tarfile.GNU_FORMAT)

    for size in (2**40, -512, -1024):
        with pytest.raises(InputError, match="cannot be read"):
            shards(lying(size) + bytes(2048))
    with (tmp_path / "val-000000.tar").open("wb") as file:  # a hole: it takes no place on the disk
        file.write(lying(2**31))
        file.truncate(2**31 + 3 * 512)
    with pytest.raises(InputError, match="has no label"):
        shards(pattern="val-000000.tar")
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        with (tmp_path / "val-000000.tar").open("wb") as file:
            file.write(lying(2**31, kind))
            file.truncate(2**31 + 3 * 512)
        with pytest.raises(InputError, match="a header claims 2,147,483,648 bytes"):
            shards(pattern="val-000000.tar")
    with (tmp_path / "val-000000.tar").open("wb") as file:
        label = tarfile.TarInfo("a.cls")
        label.size = 1
        file.write(label.tobuf() + b"1" + bytes(511) + lying(2**31))
        file.truncate(2**31 + 5 * 512)
    with pytest.raises(InputError, match="'a.jpg' has 2,147,483,648 bytes, and 268,435,456 are the most"):
        shards(pattern="val-000000.tar")


def test_files_with_holes_are_refused(shards):
    entry = tarfile.TarInfo("a.jpg")
    entry.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(InputError, match="'a.jpg' is stored with holes"):
        shards(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    entry = tarfile.TarInfo("a.jpg")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "1000000000000"}
    with pytest.raises(InputError, match="'a.jpg' is stored with holes"):
        shards([entry])


@pytest.mark.parametrize(
    "root",
    ["pipe:touch ran", "http://example.org/val-{0..3}.tar", "s3://x/y.tar", "file:val-000000.tar", "gs://x", "hf://x"],
)
def test_commands_and_addresses_are_refused(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is an address or a command: shards are files; nothing is downloaded or run"):
        bp.load_data(*bp.data.parse_data(f"wds:{root}")[:1], root=bp.data.parse_data(f"wds:{root}")[1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("val-{000000..000004}.tar", "val-000003.tar is no file, nor are 1 more"),
        ("val-{0..9999999999}.tar", "stands for 10,000,000,000 shards: they are 1 to 100,000"),
        ("{0..9999}{0..9999}{0..9999}.tar", "stands for 1,000,000,000,000 shards"),
        ("val-{000002..000000}.tar", "stands for 0 shards"),
        ("other-*.tar", r"other-\*.tar is no file"),
        ("", "is (no file|a folder): it reads tar archives.*wds:FOLDER/\\*.tar"),
        ("x" * 300, "File name too long"),
    ],
)
def test_patterns_without_files_are_refused(shards, tmp_path, pattern, words):
    with pytest.raises(InputError, match=words):
        whole(shards, pattern=pattern)
    assert MOST_SHARDS == 100_000


def test_no_root_and_shards_that_change_are_refused(shards, tmp_path):
    with pytest.raises(InputError, match="it reads tar archives"):
        bp.load_data("wds")
    data = whole(shards)
    (tmp_path / "val-000001.tar").write_bytes(b"short")
    row = next(row for row, place in enumerate(data.places) if place.shard == 1)
    with pytest.raises(InputError, match="in .*val-000001.tar cannot be read .*shards stay as they are"):
        data.images([row])
    (tmp_path / "val-000001.tar").unlink()
    with pytest.raises(InputError, match="in .*val-000001.tar cannot be read .*No such file"):
        data.encoded(row)


def test_shards_are_not_calibrated_on_what_is_tested(shards, tmp_path, run):
    whole(shards)
    place, part = (f"wds:{tmp_path}/{name}.tar,size=20,channels=1" for name in ("*", "val-000000"))
    said = ("evaluate", "digits_cnn", "--data", place, "--suite", "clean", "--scheme", "w8a8", "--quiet")
    code, _, err = run(*said)
    assert code == 2 and "this wds has no train split" in err and "--calibration-data wds:OTHER, or use a scheme" in err
    code, _, err = run(*said[:4], "--universal", "perturbation", "--quiet")
    assert code == 2 and "this wds has no train split" in err and "scheme" not in err
    code, _, err = run(*said, "--calibration-data", place)
    assert code == 2 and "not calibrated on what they are tested on" in err
    code, _, err = run(*said, "--calibration-data", part)
    assert code == 2 and f"--calibration-data {part}: models are not calibrated on what they are tested on" in err
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "val-000000.tar", tmp_path / "other")
    code, _, err = run(*said, "--calibration-data", f"wds:{tmp_path}/other/*.tar,size=20,channels=1")
    assert code == 0, err


def test_json_of_a_published_set_is_read(shards):
    """As in the ImageNet shards of timm: a label in both places, and what else is known of the picture."""
    about = {"filename": "n01440764_18.JPEG", "label": 5, "class_name": "n01440764", "width": 50, "height": 40}
    named = [
        ("n01440764_18.jpg", encoded(3)),
        ("n01440764_18.cls", b"5"),
        ("n01440764_18.json", json.dumps(about).encode()),
    ]
    data = shards(named)
    assert data.labels.tolist() == [5] and len(data.classes) == 6


# ---- habits


def test_a_slip_among_numbers_is_named_and_not_a_class(shards):
    with pytest.raises(InputError, match=r"has the label '1O' among 11 whole numbers.*would shift all others"):
        shards([m for i in range(12) for m in example(i, "1O" if i == 10 else i)])
    assert shards([*example(0, "ant"), *example(1, "7up")]).classes == ("7up", "ant"), "words may begin so"


@pytest.mark.parametrize("damage", [b"", encoded(0)[:100]])
def test_the_size_is_that_of_the_first_picture_that_can_be_read(shards, damage):
    first = whole(shards).files[0]
    members = [m for i in range(12) for m in example(i)]
    data = shards([(name, damage if name == first else content) for name, content in members], pattern="val-000000.tar")
    read = data.read(range(12))
    assert data.shape == (3, 40, 50) and list(read.left_out) == [first] and len(read.rows) == 11


def test_where_no_picture_can_be_read_the_run_says_so(shards):
    data = shards([("a.jpg", b""), ("a.cls", b"0"), ("b.jpg", b"no"), ("b.cls", b"1")])
    with pytest.raises(InputError, match="none of the 2 pictures of 'wds' can be read"):
        bp.evaluate(torch.nn.Flatten(), data, suite="clean", progress=False)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ([("0.json", b'{"label": 0.0}')], r"0.json in .*val-000000.tar has the label 0.0: labels are whole numbers"),
        ([("0.json", b'{"label": tru')], r"0.json in .* cannot be read .*labels are whole numbers"),
        ([("0.cls", "3".encode("utf-16"))], r"0.cls in .*labels are whole numbers from 0, or words, in UTF-8"),
        ([("0.cls.txt", b"3")], r"has no label for '0' \(only cls.txt, jpg\)"),
    ],
)
def test_labels_that_cannot_be_used_are_shown(shards, label, words):
    with pytest.raises(InputError, match=words):
        shards([*label, ("0.jpg", encoded(0))])


def test_a_mark_of_utf8_before_a_label_is_none_of_it(shards):
    assert shards([("0.cls", "\ufeff3".encode()), ("0.jpg", encoded(0))]).labels.tolist() == [3]


def test_a_folder_of_shards_is_told_how_they_are_named(tmp_path):
    with pytest.raises(InputError, match=r"is a folder: it reads tar archives.*wds:FOLDER/\*.tar"):
        bp.load_data("wds", root=tmp_path)


def test_what_is_tested_is_found_behind_another_spelling(shards, tmp_path, monkeypatch):
    whole(shards)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.tar").symlink_to("val-000001.tar")
    for other in ("val-*.tar", "./val-000001.tar", "link.tar", "val-{000000..000002}.tar,size=32"):
        assert share_files("wds:val-000001.tar", f"wds:{other}"), other
    assert not share_files("wds:val-000001.tar", "wds:val-000000.tar")
    assert not share_files("wds:val-000001.tar", "csv:val-000001.tar")
    assert share_files("digits", "digits") and share_files("folder:.", f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": "names.txt"}, "classes=names.txt cannot be read"),
        ({"classes": ["ant", "ant", "bee"]}, "the class 'ant' is named twice"),
    ],
)
def test_values_of_another_kind_are_refused(shards, options, words):
    with pytest.raises(InputError, match=words):
        shards([m for i in range(3) for m in example(i, ["ant", "bee", "cat"][i])], **options)
