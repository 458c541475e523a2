"""Every reader of files, with a small valid file of each kind and what it takes to read it to the end.

A reader is a pair of functions of a folder: one writes the files, the other reads them. Reading raises `InputError`
where something was refused, and returns where all of it was accepted.
"""

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import bitproof as bp
from bitproof import records
from bitproof.errors import InputError
from bitproof.experiment.made import Made, made_in
from bitproof.models import read_weights
from bitproof.pictures.pixels import DECODERS, decode
from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord, Pictures
from bitproof.shifts.released import CifarC, ImageNetC, ImageNetP
from bitproof.store import Store
from bitproof.store.rows import checksum
from bitproof.train.state import Position, Run, StateFile


class Reader(NamedTuple):
    """One kind of file."""

    write: Callable[[Path], None]
    read: Callable[[Path], object]
    times: int = 1
    """How often it reads each file."""


WNIDS = [f"n{10000000 + i}" for i in range(200)]
_RNG = np.random.default_rng(0)
_KINDS = [f"kind_{i}" for i in range(100)]


def _pictures(count: int, side: int = 32) -> np.ndarray:
    return _RNG.integers(0, 256, (count, side, side, 3), np.uint8)


def _data(name: str, files: str = "") -> Callable[[Path], None]:
    """Loads a data set and all its pictures."""

    def read(folder: Path) -> None:
        data = bp.load_data(name, root=folder / files)
        read = data.read(range(len(data)))
        assert data.labels.min() >= 0 and data.labels.max() < len(data.classes)
        _refuse_if(data.left_out or read.left_out)

    return read


def _refuse_if(reasons: Any) -> None:
    if reasons:
        raise InputError(str(reasons)[:200], rule="left out and named", remedy="")


def _write_binary(folder: Path) -> None:
    (folder / "batches.meta.txt").write_text("\n".join(_KINDS[:10]))
    (folder / "test_batch.bin").write_bytes(_RNG.integers(0, 10, (2, 3073), np.uint8).tobytes())


def _write_pickles(folder: Path) -> None:
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": _KINDS[:10]}, protocol=2))
    data = _RNG.integers(0, 256, 2 * 3072, np.uint8).tobytes()
    array = (  # as Python 2 and its NumPy wrote it
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02M\x00\x0c\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
    )
    content = b"\x80\x02}(U\x04data" + array + struct.pack("<i", len(data)) + data + b"tbU\x06labels](K\x03K\x07eu."
    (folder / "test_batch").write_bytes(content)


def _write_new_pickles(folder: Path) -> None:
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": _KINDS}, protocol=4))
    stored = {"data": _RNG.integers(0, 256, (2, 3072), np.uint8), "fine_labels": [3, 4]}
    (folder / "test").write_bytes(pickle.dumps(stored, protocol=5))


def _write_svhn(folder: Path, compressed: bool = True) -> None:
    values = {"X": _RNG.integers(0, 256, (32, 32, 3, 2), np.uint8), "y": np.array([[1], [10]], np.uint8)}
    scipy.io.savemat(folder / "test_32x32.mat", values, do_compression=compressed)


def _write_tiny(folder: Path) -> None:
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(WNIDS))
    for i, pixels in enumerate(_pictures(2, 64)):
        Image.fromarray(pixels).save(folder / "val" / "images" / f"val_{i}.JPEG", "JPEG")
    lines = [f"val_{i}.JPEG\t{WNIDS[i]}\t0\t0\t63\t63\n" for i in range(2)]
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))


def _write_folder(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir()
    pixels = [Image.fromarray(p) for p in _pictures(4, 40)]
    pixels[0].save(folder / "cat" / "a.jpg", "JPEG", progressive=True)
    pixels[1].save(folder / "cat" / "b.png", "PNG")
    pixels[2].save(folder / "dog" / "c.webp", "WEBP")
    pixels[3].save(folder / "dog" / "d.bmp", "BMP")


def _read_folder(folder: Path) -> None:
    """By all decoders, of which each refuses other files."""
    refused = {}
    for path in folder.rglob("*.*"):
        for decoder in DECODERS:
            try:
                decode(path.read_bytes(), decoder, channels=3, source=path.name)
            except InputError as error:
                refused[path.name, decoder] = error.what
    _data("folder")(folder)
    _refuse_if(refused)


def _write_shards(folder: Path) -> None:
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        with tarfile.open(folder / f"val-{number}.tar", "w", format=form) as shard:
            for i, pixels in enumerate(_pictures(2, 16)):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, ("PNG", "JPEG")[i])
                label = (b"1", b'{"label": 0}')[i]
                key = f"{number}{'x' * 120 * i}"  # a name that takes a header of its own
                for suffix, content in ((("png", "jpg")[i], buffer.getvalue()), (("cls", "json")[i], label)):
                    entry = tarfile.TarInfo(f"{key}.{suffix}")
                    entry.size = len(content)
                    shard.addfile(entry, io.BytesIO(content))


def _write_cifar_c(folder: Path) -> None:
    np.save(folder / "labels.npy", np.tile(np.arange(2), 5))
    np.save(folder / "fog.npy", _pictures(10, 8))


def _read_cifar_c(folder: Path) -> None:
    for severity in (1, 5):
        CifarC(root=str(folder), corruption="fog", severity=severity)(np.arange(2), np.arange(2), size=(8, 8))


def _write_imagenet_c(folder: Path) -> None:
    place = folder / "fog" / "1" / WNIDS[0]
    place.mkdir(parents=True)
    Image.fromarray(_pictures(1)[0]).save(place / "a.JPEG", "JPEG")


def _read_imagenet_c(folder: Path) -> None:
    ImageNetC(root=str(folder), corruption="fog", severity=1)(f"{WNIDS[0]}/a.JPEG", size=(32, 32))


def _write_imagenet_p(folder: Path) -> None:
    import av

    place = folder / "tilt" / WNIDS[0]
    place.mkdir(parents=True)
    with av.open(str(place / "a.mp4"), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for pixels in _pictures(31):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        clip.mux(stream.encode(None))


def _read_imagenet_p(folder: Path) -> None:
    ImageNetP(root=str(folder), sequence="tilt")(f"{WNIDS[0]}/a.JPEG", size=(32, 32))


def _small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))


def _write_checkpoint(folder: Path, scheme: str | None = None) -> None:
    model = bp.load_model("digits_cnn", classes=12)
    if scheme is not None:
        model = bp.quant.split_outliers(model, bp.Scheme.parse(scheme), ratio=0.1)
        model = bp.quantize(model, bp.Scheme.parse(scheme), [torch.rand(4, 1, 20, 20)])
    bp.save_model(model, folder / "m.safetensors", architecture="digits_cnn", classes=12)


def _read_checkpoint(folder: Path) -> None:
    model = bp.load_model("digits_cnn", weights=folder / "m.safetensors")
    model(torch.rand(2, 1, 20, 20))


def _write_onnx(folder: Path) -> None:
    import json

    from onnx import TensorProto, helper, numpy_helper

    from bitproof.settings import describe

    weight = numpy_helper.from_array(_RNG.normal(size=(48, 10)).astype(np.float32), "w")
    bias = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.ones(10, np.float32), "inner"))
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), bias, helper.make_node("Gemm", ["flat", "w", "b"], ["y"])]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(nodes, "linear", [images], [logits], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    about = model.metadata_props.add()
    about.key, about.value = "bitproof", json.dumps({"scheme": describe(bp.Scheme.parse("w4a4")), "step": 0.5})
    (folder / "m.onnx").write_bytes(model.SerializeToString())


def _read_onnx(folder: Path) -> None:
    bp.deploy.load_onnx(folder / "m.onnx")(torch.rand(2, 3, 4, 4))


def _cell(name: str, n: int = 6) -> Cell:
    rng = np.random.default_rng(len(name))
    floats = {array: rng.random(n, np.float32) for array in ("confidences", "linf", "l2", "l1")}
    numbers = {array: np.arange(n) for array in ("ids", "labels", "predictions", "targets")}
    return Cell(
        model=ModelRecord(name=name, fingerprint=f"print of {name}", scheme=bp.settings.describe(bp.Scheme())),
        condition=ConditionRecord(kind="attack", label="PGD", group="PGD", setting={"eps": 0.1}, norm="linf", eps=0.1),
        data=DataRecord(name="sample", split="test", fingerprint="x", count=n, classes=tuple("0123456789")),
        seed=0,
        forwards=3,
        backwards=0,
        seconds=0.5,
        pictures=Pictures(rows=np.arange(2), images=rng.random((2, 1, 4, 4)).astype(np.float16)),
        values={"radius": rng.random(n)},
        **floats,
        **numbers,
    )


def _write_store(folder: Path) -> None:
    with Store(folder / "runs.db") as store:
        run = store.begin_run({"commit": "abc"})
        for name in "abcdef":
            store.append(_cell(name), run)


def _read_store(folder: Path) -> None:
    path = folder / "runs.db"
    with Store(path, readonly=True) as store:
        store.query(None)
        store.query(model="a", kind="attack")
        store.environments()
        damaged = dict(store.damaged)
    with Store(path) as store:
        store.missing([_cell(name).key for name in "abcdef"])
    _refuse_if(damaged)


def _write_record(folder: Path) -> None:
    content, arrays = records.pack(_cell("a"))
    (folder / "content.json").write_text(content)
    (folder / "arrays.npz").write_bytes(arrays or b"")


def _read_record(folder: Path) -> None:
    """A record under the right checksum, whatever it holds."""
    cell, other = _cell("a"), _cell("b")
    content = (folder / "content.json").read_text(errors="replace")
    arrays = (folder / "arrays.npz").read_bytes()
    with Store() as store:
        run = store.begin_run({})
        for each in (cell, other):
            store.append(each, run)
        row = (content, arrays, checksum("cell", content, arrays), cell.key)
        store._db.execute("UPDATE records SET content = ?, arrays = ?, checksum = ? WHERE key = ?", row)
        missing = store.missing([cell.key, other.key])
        found = [record.key for record in store.query()]
        assert other.key in found and (cell.key in found) == (cell.key not in missing)
        if cell.key in missing:
            store.append(cell, run)
            assert not store.missing([cell.key])
        _refuse_if(missing)


def _run() -> Run:
    model = _small()
    optimizer = torch.optim.Adam(model.parameters())
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    now = Position(loss=torch.zeros(()), correct=torch.zeros((), dtype=torch.int64), average=average)
    return Run(model=model, objective=nn.Module(), optimizer=optimizer, now=now)


def _step(run: Run) -> None:
    run.model(torch.rand(4, 12)).sum().backward()
    run.optimizer.step()
    run.now.step += 1


def _write_state(folder: Path) -> None:
    run = _run()
    _step(run)
    StateFile(folder / "state.pt", "identity").save(run)


def _read_state(folder: Path) -> None:
    run = _run()
    StateFile(folder / "state.pt", "identity").restore(run)
    _step(run)


def _write_made(folder: Path) -> None:
    import json
    from dataclasses import asdict

    place = folder / "key"
    place.mkdir()
    texts = dict.fromkeys(("architecture", "recipe", "start", "data", "split", "data_fingerprint"), "x")
    record = Made(key="key", classes=None, setting={}, teacher=None, examples=3, seed=0, epochs=2, **texts)
    (place / "record.json").write_text(json.dumps(asdict(record)))


def _weights(name: str, **options: Any) -> Reader:
    def write(folder: Path) -> None:
        buffer = io.BytesIO()
        torch.save(_small().state_dict(), buffer, **options)
        (folder / name).write_bytes(buffer.getvalue())

    return Reader(write, lambda folder: read_weights(folder / name))


READERS = {
    "CIFAR, binary": Reader(_write_binary, _data("cifar10")),
    "CIFAR, pickles": Reader(_write_pickles, _data("cifar10")),
    "CIFAR, new pickles": Reader(_write_new_pickles, _data("cifar100")),
    "SVHN": Reader(_write_svhn, _data("svhn")),
    "SVHN, uncompressed": Reader(lambda folder: _write_svhn(folder, False), _data("svhn")),
    "Tiny ImageNet": Reader(_write_tiny, _data("tiny_imagenet")),
    "pictures, all decoders": Reader(_write_folder, _read_folder, len(DECODERS) + 1),
    "CIFAR-C": Reader(_write_cifar_c, _read_cifar_c),
    "ImageNet-C": Reader(_write_imagenet_c, _read_imagenet_c),
    "ImageNet-P": Reader(_write_imagenet_p, _read_imagenet_p),
    "weights, safetensors": Reader(
        lambda folder: save_file(_small().state_dict(), folder / "w.safetensors"),
        lambda folder: read_weights(folder / "w.safetensors"),
    ),
    "weights, torch.save": _weights("w.pt"),
    "weights, old torch.save": _weights("w.pt", _use_new_zipfile_serialization=False),
    "checkpoint, float": Reader(_write_checkpoint, _read_checkpoint),
    "checkpoint, quantized": Reader(lambda folder: _write_checkpoint(folder, "w4a4"), _read_checkpoint),
    "ONNX": Reader(_write_onnx, _read_onnx),
    "store": Reader(_write_store, _read_store),
    "stored record": Reader(_write_record, _read_record),
    "state of training": Reader(_write_state, _read_state),
    "made model": Reader(_write_made, lambda folder: made_in(folder)),
    "WebDataset": Reader(_write_shards, _data("wds", "val-{0..1}.tar")),
}
