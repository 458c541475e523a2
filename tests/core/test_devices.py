"""Choosing a device, computing exactly on it, and what happens where its memory is full."""

import queue

import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.core import devices
from bitproof.core.calling import plain_context
from bitproof.core.devices import _deterministic, about, device_named, of_workers, present
from bitproof.core.processes import CONTEXT
from bitproof.core.room import Room
from bitproof.errors import InputError
from bitproof.judging import Bench
from bitproof.judging.making import Maker
from bitproof.runner import executor
from bitproof.subjects import Subject

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_the_cpu_is_always_there():
    assert present()[0] == "cpu"
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto") == torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpu:1", "", "mps:7"])
def test_a_device_that_is_not_there(name, model, data):
    with pytest.raises(InputError, match=f"device {name!r}: here are cpu.*Use one of them, or auto"):
        bp.evaluate(model, data, device=name, progress=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cuda", ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda:1", ["cuda:1"] * 4),
        ("auto", ["cuda:0"] * 4),
        ("cpu", ["cpu"] * 4),
        (None, []),
    ],
)
def test_workers_share_the_devices_that_no_number_tells_apart(name, expected, monkeypatch):
    monkeypatch.setattr(devices, "present", lambda: ["cpu", "cuda:0", "cuda:1", "cuda:2"])
    assert [str(device) for device in of_workers(name, 4)] == expected


def test_each_worker_has_its_models_on_its_own_device(model, data, monkeypatch):
    monkeypatch.setattr(executor, "_worker", None, raising=False)
    monkeypatch.setattr(devices, "present", lambda: ["cpu", "meta:0"])
    with Bench(subjects={"float": Subject.of(model)}, maker=Maker(data=data, seed=0), batch_size=8) as bench:
        places: queue.Queue[torch.device | None] = queue.Queue()
        for place in (torch.device("meta"), None):
            places.put(place)
        found = []
        for _ in range(2):
            executor._prepare(bench, places, queue.Queue(), CONTEXT.Event())
            found.append(executor._worker[0].subjects["float"].device.type)
    assert found == ["meta", "cpu"] and next(model.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("there", "name", "device"),
    [
        (["cpu", "cuda:0", "cuda:1"], "auto", "cuda:0"),
        (["cpu", "cuda:0", "cuda:1"], "cuda", "cuda:0"),
        (["cpu", "cuda:0", "cuda:1"], "cuda:1", "cuda:1"),
        (["cpu", "cuda:0", "cuda:1"], "cpu", "cpu"),
        (["cpu", "mps:0"], "auto", "cpu"),
        (["cpu", "mps:0"], "mps", "mps:0"),
    ],
)
def test_which_device_is_meant_where_there_are_others(there, name, device, monkeypatch):
    monkeypatch.setattr("bitproof.core.devices.present", lambda: there)
    assert device_named(name) == torch.device(device)


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_what_the_caller_asked_of_determinism_comes_back(before):
    def asked():
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    try:
        with _deterministic():
            assert asked() == (True, True)
        assert asked() == before
    finally:
        torch.use_deterministic_algorithms(False)


def switches() -> list[object]:
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul
    cudnn = torch.backends.cudnn
    return [*(place.fp32_precision for place in places), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32]


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_have_all_their_digits_whatever_is_allowed(precision):
    torch.set_float32_matmul_precision(precision)
    before = switches()
    try:
        with plain_context():
            assert switches() == ["ieee", "ieee", "ieee", False, True, False]
            assert torch.get_float32_matmul_precision() == "highest"
        assert switches() == before and torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


class Small(nn.Module):
    """Has room for eight images, or for four that need gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.most = 8

    def forward(self, images: Tensor) -> Tensor:
        if len(images) * (1 + images.requires_grad) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nAnd more.")
        return self.model(images)


CONDITIONS = ["fgsm:eps=16/255", "apgd:eps=16/255,steps=3", "contrast", "brightness-sequence"]


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved(model):
    data = bp.load_data("digits", split="test", limit=15)
    options = {"conditions": CONDITIONS, "transfer": ["pgd:eps=16/255,steps=2"], "progress": False}
    whole = bp.evaluate(model.eval(), data, **options)
    with pytest.warns(UserWarning, match=r"no memory for (16|8|4) images a pass: (8|4|2) from here on"):
        parts = bp.evaluate(Small(model).eval(), data, batch_size=16, **options)
    for one, other in zip(whole.cells, parts.cells, strict=True):
        assert (one.predictions == other.predictions).all() and abs(one.linf - other.linf).max() < 1e-6


def test_a_diagnosis_that_does_not_fit_is_done_in_parts(model):
    data = bp.load_data("digits", split="test", limit=15)
    how = {"queries": 10, "steps": 2, "draws": 2, "directions": 1, "eps": 16 / 255}
    with pytest.warns(UserWarning, match=r"no memory for (16|8|4) images"):
        parts = bp.diagnose_masking(Small(model).eval(), data, batch_size=16, **how)
    assert parts.accuracy == bp.diagnose_masking(model, data, **how).accuracy


def test_one_image_that_does_not_fit_is_said_so(model):
    small = Small(model).eval()
    small.most = 0
    with pytest.raises(InputError, match="one image does not fit .*CUDA out of memory.*device='cpu'"), pytest.warns():
        Room(2).fit(lambda most: small(torch.zeros(most, 1, 20, 20)))


def test_the_room_is_halved_until_the_work_fits_and_stays_so():
    asked = []

    def work(images):
        asked.append(images)
        if images > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    room = Room(9)
    with pytest.warns(UserWarning) as said:
        assert room.fit(work) == "done"
    assert asked == [9, 4, 2, 1] and room.images == 1
    assert [str(one.message)[-14:] for one in said] == [f"{images} from here on" for images in (4, 2, 1)]
    assert room.fit(work) == "done" and asked[4:] == [1]


@gpu
def test_a_gpu_says_what_it_is():
    assert about(torch.device("cuda:0")).keys() == {"products", "name", "cuda", "cudnn", "tf32", "deterministic"}


@gpu
def test_results_of_a_gpu(model, data):
    here = bp.evaluate(model, data, conditions=CONDITIONS, progress=False)
    there = bp.evaluate(model, data, conditions=CONDITIONS, device="cuda", progress=False)
    for one, other in zip(here.cells, there.cells, strict=True):
        assert (one.predictions != other.predictions).mean() < 0.05 and other.device == "cuda:0"
