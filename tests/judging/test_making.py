"""How images come to the models: workers, and runs that go on where files cannot be used."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.experiment import Clean
from bitproof.judging import making
from bitproof.judging.making import Maker
from bitproof.pictures import pixels
from bitproof.report.terminal import comparison
from bitproof.shifts import JPEG, GaussianNoise, Pipeline, RotateSequence
from bitproof.store import Store


class Linear(nn.Module):
    """Logits that depend on the mean of each colour."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        means = inputs.mean((2, 3))
        return torch.stack([means[:, 0], means[:, 1], means[:, 2] + means[:, 0] / 2], 1)


@pytest.fixture
def root(tmp_path):
    """Ten pictures of noise in each of three classes."""
    rng = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "pictures" / "abc"[number % 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(path, quality=95)
    return tmp_path / "pictures"


def spoil(root, data, rows):
    """Cut the files at `rows` off."""
    for row in rows:
        path = root / data.files[row]
        path.write_bytes(path.read_bytes()[:500])


CONDITIONS = (GaussianNoise(severity=2), JPEG(severity=1), Pipeline(resize="opencv-area"), RotateSequence())


@pytest.mark.slow
def test_workers_make_the_same_pixels(root, monkeypatch):
    """Bit for bit, in the same order, though they make three at a time."""
    monkeypatch.setattr(making, "UNIT_BYTES", 3 * 4 * 3 * 28 * 28)
    spoil(root, bp.load_data("folder", root=root), [1, 13])
    here, there = (bp.load_data("folder", root=root, size=28) for _ in range(2))
    alone, helped = Maker(data=here, seed=3), Maker(data=there, seed=3, workers=2)
    try:
        for condition in CONDITIONS:
            expected, found = (list(maker.batches(condition, 7)) for maker in (alone, helped))
            for a, b in zip(expected, found, strict=True):
                assert np.array_equal(a.read, b.read) and np.array_equal(a.rows, b.rows)
                assert torch.equal(a.frames, b.frames)
                assert all(np.array_equal(a.distances[norm], b.distances[norm]) for norm in a.distances)
            lost = [{k: v for b in part for k, v in b.left_out.items()} for part in (expected, found)]
            assert lost[0] == lost[1] and len(lost[0]) == 2 and not here.left_out
        with pytest.raises(InputError, match="gave images of shape"):
            list(helped.batches(Pipeline(), 7)) and list(helped.batches(_Shapeless(), 7))
    finally:
        helped.close()


class _Shapeless(GaussianNoise):
    """A corruption that cannot be trusted."""

    def __call__(self, images, *, rng):
        return images[:, :, 1:]


def test_examples_whose_pictures_cannot_be_read_are_left_out(root, tmp_path):
    whole = bp.load_data("folder", root=root, size=28)
    conditions = [Clean(), *CONDITIONS, bp.attacks.FGSM(eps=8 / 255)]
    before = bp.evaluate(Linear(), whole, conditions=conditions, progress=False)
    spoil(root, whole, [2, 11, 29])
    data = bp.load_data("folder", root=root, size=28)
    with Store(tmp_path / "runs.db") as store:
        result = bp.evaluate(Linear(), data, conditions=conditions, progress=False, batch_size=9, store=store)
        assert bp.evaluate(Linear(), data, conditions=conditions, progress=False, store=store).cells[0].data.left_out
    kept = [row for row in range(30) if row not in (2, 11, 29)]
    for old, new in zip(before.cells, result.cells, strict=True):
        assert new.ids.tolist() == kept and new.unmade == 0
        for name in ("labels", "predictions", "linf", "l2"):
            assert np.array_equal(getattr(old, name)[kept], getattr(new, name)), (name, new.condition.label)
        assert old.frames is None or np.array_equal(old.frames[kept], new.frames)
        assert set(new.data.left_out) == {data.files[row] for row in (2, 11, 29)} and new.data.count == 30
        shown = old.pictures.images[[0, 1, 3, 4, 5, 6, 7]]
        assert new.pictures.rows.tolist() == list(range(7)) and np.array_equal(new.pictures.images, shown)
    assert "Truncated" in next(iter(result.cells[0].data.left_out.values()))
    (table,) = comparison(result.cells, "model")
    assert table.caption is not None and "Left out: 3 of 30 pictures: " in str(table.caption)
    assert "3 of 30 pictures" in result.report(tmp_path / "report.html").read_text()


def test_what_one_decoder_refuses_counts_as_wrong_there_alone(root, tmp_path, monkeypatch):
    """The example stays in the table, so that all conditions have the same ones."""
    data = bp.load_data("folder", root=root, size=28)
    spoilt = {data.encoded(row) for row in (4, 5)}

    def refuse(encoded, channels):
        if encoded in spoilt:
            raise ValueError("unlike any other")
        return pixels._decode_pillow(encoded, channels)

    monkeypatch.setitem(pixels.DECODERS, "opencv", refuse)
    result = bp.evaluate(Linear(), data, conditions=[Pipeline(decoder="opencv")], progress=False)
    clean, other = result.cells
    assert (clean.unmade, other.unmade) == (0, 2)
    assert np.flatnonzero(other.predictions == -1).tolist() == [4, 5] and not other.correct[[4, 5]].any()
    assert np.array_equal(np.delete(clean.predictions, [4, 5]), np.delete(other.predictions, [4, 5]))
    assert "decoder opencv could not be made of 2 pictures, which count as wrong here; metrics leave them out." in str(
        comparison(result.cells, "model")[0].caption
    )


def test_where_nothing_can_be_read_the_first_reason_is_told(root):
    data = bp.load_data("folder", root=root, size=28)
    spoil(root, data, range(30))
    data = bp.load_data("folder", root=root, size=28)
    with pytest.raises(
        InputError,
        match=r"none of the 30 pictures of 'folder' can be read.*cannot be decoded by pillow.*Check the files",
    ):
        bp.evaluate(Linear(), data, conditions=[Clean()], progress=False)


def test_odd_files_are_read_or_named(tmp_path):
    """Empty, of zero size, no picture, tiny, narrow, 16 bits, CMYK, one bit: each has its place."""
    folder = tmp_path / "a"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    Image.new("RGB", (1, 1030)).save(folder / "narrow.png")
    Image.fromarray(noise).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(noise[:, :, 0] > 128).save(folder / "bits.png")
    Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257).save(folder / "deep.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    (folder / "zero.png").write_bytes(buffer.getvalue()[:16] + bytes(8) + buffer.getvalue()[24:])
    data = bp.load_data("folder", root=tmp_path, size=28, classes=list("abc"))
    (cell,) = bp.evaluate(Linear(), data, conditions=[Clean()], progress=False).cells
    assert set(cell.data.left_out) == {"a/empty.jpg", "a/text.jpg", "a/zero.png", "a/narrow.png"}
    assert len(cell.ids) == 4 and all(cell.data.left_out.values())
    deep = data.images([data.files.index("a/deep.png")])
    assert 0.3 < deep.mean() < 0.7


def test_a_number_of_workers_is_not_negative():
    with pytest.raises(InputError, match="workers is -1"):
        bp.evaluate(Linear(), bp.from_arrays(np.zeros((1, 3, 4, 4)), [0]), conditions=[Clean()], workers=-1)


def test_tiny_pictures_pass_all_shifts():
    """Images smaller than a kernel."""
    from bitproof.shifts import CORRUPTIONS, SEQUENCES

    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 2), np.uint8)
    data = bp.from_arrays(noise, [0, 1])
    maker = Maker(data=data, seed=0)
    for build in (*CORRUPTIONS.values(), *SEQUENCES.values()):
        for profile in ("hendrycks-32", "hendrycks-224", "scaled"):
            for batch in maker.batches(build(profile=profile), 2):
                assert batch.frames.shape[2:] == (3, 3, 2)
