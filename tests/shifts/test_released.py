"""Released files are read as they are, matched by position or name, and everything else is refused."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.conditions import parse_condition
from bitproof.conditions.suites import released
from bitproof.errors import InputError
from bitproof.pictures.pixels import encode_png
from bitproof.shifts import CORRUPTIONS, IMAGENET_C, IMAGENET_C_EXTRA, SEQUENCES, CifarC, ImageNetC, ImageNetP
from bitproof.shifts.released import CORRUPTED, MOVED, found, stored_as

WNIDS = ("n01440764", "n01443537")


class Brightest(nn.Module):
    """The class is the brightest colour."""

    def forward(self, inputs):
        return inputs.mean((2, 3))


def pictures(n, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


@pytest.fixture
def cifar(tmp_path):
    """Twelve pictures and their five severities of fog."""
    labels = np.arange(12) % 3
    np.save(tmp_path / "labels.npy", np.tile(labels, 5))
    np.save(tmp_path / "fog.npy", pictures(60, seed=1))
    return tmp_path, bp.from_arrays(pictures(12).transpose(0, 3, 1, 2), labels)


@pytest.fixture
def imagenet(tmp_path):
    """Three pictures of two classes, and a corruption at one severity, in PNG files called .JPEG."""
    for place, pixels in enumerate(pictures(3, side=48)):
        path = tmp_path / "val" / WNIDS[place % 2] / f"{place}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(pixels))
        copy = tmp_path / "C" / "blur" / "glass_blur" / "4" / WNIDS[place % 2] / f"{place}.JPEG"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(encode_png(pictures(1, side=32, seed=10 + place)[0]))
    return tmp_path, bp.load_data("imagenet", root=tmp_path, size=32)


def test_names_are_those_of_the_shifts_made_in_memory():
    assert list(CORRUPTED) == [*IMAGENET_C, *IMAGENET_C_EXTRA]
    assert [f"{name}-sequence" for name in MOVED] == list(SEQUENCES)
    for name in CORRUPTED:
        made, stored = (build(severity=2).record() for build in (CORRUPTIONS[name], _cifar(name)))
        assert (made.kind, made.group, f"{made.label} released") == (stored.kind, stored.group, stored.label)
    for name in MOVED:
        made, stored = SEQUENCES[f"{name}-sequence"](difficulty=2), ImageNetP(root="", sequence=name, difficulty=2)
        assert (made.compared, f"{made.label} released") == (stored.compared, stored.label)
        assert made.record().kind == stored.record().kind == "sequence"
    assert [stored_as(n) for n in ("elastic", "jpeg", "fog")] == ["elastic_transform", "jpeg_compression", "fog"]


def _cifar(name):
    return lambda severity: CifarC(root="", corruption=name, severity=severity)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_cifar_c_is_read_by_position(cifar, severity):
    root, data = cifar
    condition = CifarC(root=str(root), corruption="fog", severity=severity)
    shown = condition(np.array([2, 11]), data.labels, size=(8, 8))
    assert np.array_equal(shown, pictures(60, seed=1)[[12 * (severity - 1) + 2, 12 * (severity - 1) + 11]])
    cell = bp.evaluate(Brightest(), data, conditions=[condition], batch_size=5, progress=False).cells[1]
    expected = pictures(60, seed=1)[12 * (severity - 1) : 12 * severity]
    assert np.array_equal(cell.predictions, expected.mean((1, 2)).argmax(1))
    np.testing.assert_allclose(cell.pictures.images, expected[:8].transpose(0, 3, 1, 2) / 255, atol=1e-3)
    assert (cell.condition.kind, cell.condition.group) == ("corruption", "fog") and cell.linf.min() > 0
    assert cell.condition.setting["protocol"] == "released"


def test_cifar_c_fits_the_first_examples_too(cifar):
    root, data = cifar
    few = bp.from_arrays(data.pictures[:4].transpose(0, 3, 1, 2), data.labels[:4], classes=data.classes)
    shown = CifarC(root=str(root), corruption="fog", severity=2)(np.arange(4), few.labels, size=(8, 8))
    assert np.array_equal(shown, pictures(60, seed=1)[12:16])


def test_other_labels_are_noticed(cifar):
    root, data = cifar
    condition = CifarC(root=str(root), corruption="fog", severity=2)
    with pytest.raises(InputError, match=r"other labels than the data, first at example 7.*official order"):
        condition(np.arange(2), np.where(np.arange(12) == 7, 1 - data.labels, data.labels), size=(8, 8))
    with pytest.raises(InputError, match="other labels than the data: the data must be"):
        condition(np.arange(2), np.zeros(13, np.int64), size=(8, 8))
    with pytest.raises(InputError, match=r"fog.npy has 8x8 pixels, the data 32x32.*size=8"):
        condition(np.arange(2), data.labels, size=(32, 32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pictures(60)[..., 0], r"holds uint8 \[60, 8, 8\].*five severities"),
        (pictures(60).astype(np.float32), r"holds float32 \[60, 8, 8, 3\]"),
        (pictures(55), r"holds uint8 \[55, 8, 8, 3\] and labels.npy \[60\]"),
        (np.array([{}], object), r"snow.npy cannot be read.*pickled objects are never read"),
    ],
)
def test_other_arrays_are_refused(cifar, array, message):
    root, data = cifar
    np.save(root / "snow.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        CifarC(root=str(root), corruption="snow", severity=1)(np.arange(2), data.labels, size=(8, 8))


def test_a_missing_array_is_named(cifar):
    root, data = cifar
    with pytest.raises(InputError, match=r"frost.npy cannot be read.*beside labels.npy"):
        CifarC(root=str(root), corruption="frost", severity=1)(np.arange(2), data.labels, size=(8, 8))


def test_imagenet_c_is_matched_by_name(imagenet):
    root, data = imagenet
    condition = ImageNetC(root=str(root / "C"), corruption="glass-blur", severity=4)
    cell = bp.evaluate(Brightest1000(), data, conditions=[condition], progress=False).cells[1]
    for row, name in enumerate(data.files):
        expected = pictures(1, side=32, seed=10 + int(name.split("/")[1][0]))[0]
        shown = cell.pictures.images[row]
        np.testing.assert_allclose(shown, expected.transpose(2, 0, 1) / 255, atol=1e-3)
    assert (cell.condition.label, cell.condition.group) == ("glass blur 4 released", "glass blur")


class Brightest1000(nn.Module):
    """The brightest colour of three, among a thousand classes."""

    def forward(self, inputs):
        return torch.nn.functional.pad(inputs.mean((2, 3)), (0, 997))


def test_results_belong_to_the_files_and_not_to_their_place(cifar, imagenet, tmp_path):
    root, data = cifar
    run = partial(bp.evaluate, Brightest(), data, progress=False, store=tmp_path / "runs.db")
    assert run(conditions=[CifarC(root=str(root), corruption="fog", severity=2)]).computed == 2
    (tmp_path / "moved").mkdir()
    for name in ("fog.npy", "labels.npy"):
        (root / name).rename(tmp_path / "moved" / name)
    assert run(conditions=[CifarC(root=str(tmp_path / "moved"), corruption="fog", severity=2)]).computed == 0
    assert run(conditions=[CifarC(root=str(tmp_path / "moved"), corruption="fog", severity=3)]).computed == 1
    np.save(tmp_path / "new.npy", pictures(60, seed=2))
    (tmp_path / "new.npy").replace(tmp_path / "moved" / "fog.npy")
    again = run(conditions=[CifarC(root=str(tmp_path / "moved"), corruption="fog", severity=2)])
    assert again.computed == 1
    assert np.array_equal(again.cells[1].predictions, pictures(60, seed=2)[12:24].mean((1, 2)).argmax(1))
    root, data = imagenet
    setting = {"corruption": "glass-blur", "severity": 4}
    before = ImageNetC(root=str(root / "C"), **setting).content
    (root / "C" / "blur" / "glass_blur" / "4" / data.files[0]).write_bytes(b"shorter")
    assert ImageNetC(root=str(root / "C"), **setting).content != before
    assert str(root) not in str(ImageNetC(root=str(root / "C"), **setting).record().setting)


def test_a_damaged_copy_counts_as_wrong_and_a_missing_one_stops(imagenet):
    root, data = imagenet
    condition = ImageNetC(root=str(root / "C"), corruption="glass-blur", severity=4)
    path = root / "C" / "blur" / "glass_blur" / "4" / data.files[1]
    path.write_bytes(path.read_bytes()[:300])
    cell = bp.evaluate(Brightest1000(), data, conditions=[condition], progress=False).cells[1]
    assert cell.unmade == 1 and cell.predictions[1] == -1
    path.unlink()
    with pytest.raises(InputError, match=rf"there is no {path}.*needs its corrupted copy"):
        bp.evaluate(Brightest1000(), data, conditions=[condition], progress=False)
    for name in data.files:
        (root / "C" / "blur" / "glass_blur" / "4" / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match="'glass blur 4 released' could not be made of any picture"):
        bp.evaluate(Brightest1000(), data, conditions=[condition], progress=False)


def test_other_sizes_and_data_are_refused(imagenet, cifar):
    root, _ = imagenet
    condition = ImageNetC(root=str(root / "C"), corruption="glass-blur", severity=4)
    with pytest.raises(InputError, match=r"has 32x32 pixels, the data 40x40.*Load the data with size=32"):
        data = bp.load_data("imagenet", root=root, size=40)
        bp.evaluate(Brightest1000(), data, conditions=[condition], progress=False)
    with pytest.raises(InputError, match=r"'arrays' has no files.*imagenet:ROOT"):
        bp.evaluate(Brightest(), cifar[1], conditions=[condition], progress=False)


@pytest.fixture
def clips(imagenet):
    """Clips of 31 grey frames that get brighter, one for each picture; without loss but for H.264's own."""
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    root, data = imagenet
    for name in data.files:
        for folder in ("tilt", "gaussian_noise_2"):
            path = (root / "P" / folder / name).with_suffix(".mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(path), "w") as clip:
                stream = clip.add_stream("libx264", rate=10, options={"qp": "0"})
                stream.width = stream.height = 32
                stream.pix_fmt = "yuv420p"
                for level in range(31):
                    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 + 5 * level, np.uint8), format="rgb24")
                    clip.mux(stream.encode(frame))
                clip.mux(stream.encode(None))
    return root, data


class Bright(nn.Module):
    """Class 0 while the mean is below a half, class 1 above."""

    def forward(self, inputs):
        means = inputs.mean((1, 2, 3))
        return torch.nn.functional.pad(10 * torch.stack([1 - means, means], 1), (0, 998))


def test_imagenet_p_clips_give_frames(clips):
    root, data = clips
    conditions = released(str(root / "P"))
    assert [c.label for c in conditions] == [
        "clean",
        "sequence gaussian noise 2 released",
        "sequence tilt 1 released",
    ]
    result = bp.evaluate(Bright(), data, conditions=conditions, progress=False, batch_size=31)
    for cell in result.cells[1:]:
        assert cell.frames is not None and cell.frames.shape == (3, 31)
        grey = 40 + 5 * np.arange(31)
        assert (cell.frames == (grey > 127.5)).all()
        np.testing.assert_allclose(cell.pictures.images, 40 / 255, atol=2 / 255)
    rates = result.summary().set_index(["metric", "condition"])["value"]
    assert rates["fp", "sequence tilt 1 released"] == pytest.approx(1 / 30)
    assert rates["fp", "sequence gaussian noise 2 released"] == pytest.approx(13 / 30)


def test_a_damaged_clip_is_left_out_of_the_flips(clips):
    root, data = clips
    path = (root / "P" / "tilt" / data.files[2]).with_suffix(".mp4")
    path.write_bytes(path.read_bytes()[:200])
    result = bp.evaluate(Bright(), data, conditions=released(str(root / "P"))[2:], progress=False)
    cell = result.cells[1]
    assert cell.unmade == 1 and (cell.frames[2] == -1).all()
    rates = result.summary().set_index(["metric", "condition"])["value"]
    assert rates["fp", "sequence tilt 1 released"] == pytest.approx(1 / 30)


@pytest.mark.parametrize("name", ["fog", "labels"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00\x08\x00({[(((((",
        np.array(3),
        np.zeros(60, "M8[s]"),
        np.array(["a"] * 60),
    ],
    ids=["empty", "a zip", "no header", "no axes", "dates", "text"],
)
def test_arrays_that_are_none_are_named(cifar, name, content):
    root, _ = cifar
    path = root / f"{name}.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(InputError, match=f"{name}.npy"):
        CifarC(root=str(root), corruption="fog", severity=1)(np.arange(3), np.arange(12) % 3, size=(8, 8))


@pytest.mark.parametrize("suite", ["released", "released:", "released:root=folder"])
def test_the_suite_of_a_folder_names_it(suite, cifar):
    with pytest.raises(bp.InputError, match="Write released:ROOT"):
        bp.evaluate(Brightest(), cifar[1], suite=suite, progress=False)


def test_a_suite_is_what_lies_in_a_folder(cifar, imagenet):
    assert [c.label for c in found(str(cifar[0]))] == [f"fog {s} released" for s in range(1, 6)]
    assert [c.label for c in found(str(imagenet[0] / "C"))] == ["glass blur 4 released"]
    result = bp.evaluate(Brightest(), cifar[1], suite=f"released:{cifar[0]}", progress=False)
    assert [c.condition.label for c in result.cells] == ["clean", *(f"fog {s} released" for s in range(1, 6))]
    with pytest.raises(InputError, match=r"holds no released corruptions.*gaussian_noise.npy"):
        found(str(imagenet[0] / "val"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cifar-c:root=x,corruption=fogg,severity=1", "unknown corruption 'fogg'.*Did you mean 'fog'"),
        ("imagenet-c:root=x,corruption=fog,severity=6", "severity is 6: corruptions have severities 1 to 5"),
        ("imagenet-p:root=x,sequence=fog", "unknown sequence 'fog'"),
        ("imagenet-p:root=x,sequence=tilt,difficulty=4", "difficulty is 4"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        parse_condition(text)
    assert parse_condition("imagenet-c:root=a/b,corruption=fog,severity=2").root == "a/b"
