import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import BPDA, CW, EOT, FGSM, FMN, PGD, Attack, AutoAttack, Noise
from bitproof.conditions import CONDITIONS, as_condition, parse_condition
from bitproof.conditions.suites import FEW, corruptions, quick, resizes, robustmq_attacks
from bitproof.core.rng import Rng
from bitproof.data import Examples
from bitproof.errors import InputError
from bitproof.experiment import SUITES, Clean, Crafted, Experiment
from bitproof.judging import Bench, Maker
from bitproof.judging.crafted import judge_crafted
from bitproof.metrics import flips, robust_accuracy_curve, transfer
from bitproof.pictures.pixels import digests
from bitproof.records import ARRAYS, KINDS
from bitproof.settings import describe, digest
from bitproof.shifts import RELEASED, GaussianNoise, GaussianNoiseSequence, Inference, Pipeline, RotateSequence
from bitproof.store import Store
from bitproof.subjects import Subject
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train import standard


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", split="test", limit=60)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    train = bp.load_data("digits", split="train")
    return standard(epochs=3)(bp.load_model("digits_cnn"), train, rng=bp.Rng(0, np.zeros(1, np.int64)))


@pytest.fixture(scope="module")
def models(model):
    calibration = bp.load_data("digits", split="train", limit=128)
    return {"float": model, "w4a4": bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), calibration)}


def run(models, data, conditions, **options):
    return bp.evaluate(models, data, conditions=conditions, progress=False, **options)


def test_accuracy_is_what_a_plain_loop_finds(models, data):
    result = run(models, data, [Clean()])
    images = data.images(range(len(data)))
    for name, model in models.items():
        expected = (model(images).argmax(1).numpy() == data.labels).mean()
        row = result.table().set_index("model").loc[name]
        assert row["accuracy"] == pytest.approx(expected)
    assert result.table()["accuracy"].min() > 0.8


def test_cells_hold_what_was_tested(models, data):
    noise, attack = GaussianNoise(severity=5), PGD(norm="l2", eps=0.5, steps=4)
    result = run(models, data, [noise, attack])
    clean, noisy, attacked = result.cells[:3]
    assert [c.condition.kind for c in (clean, noisy, attacked)] == ["clean", "corruption", "attack"]
    assert not clean.linf.any()
    shown = noisy.pictures.images.astype(np.float32) - clean.pictures.images
    np.testing.assert_allclose(np.abs(shown).max((1, 2, 3)), noisy.linf[:8], atol=2e-3)
    right = clean.correct
    assert (attacked.l2[right] <= 0.5 + 1e-6).all()
    assert not attacked.l2[~right].any()  # what is lost already is not attacked
    assert not attacked.correct[~right].any()
    assert attacked.forwards <= right.sum() * 5
    assert attacked.backwards <= right.sum() * 4
    assert (clean.forwards, clean.backwards) == (60, 0)


def test_shifted_images_are_the_same_for_all_models(models, data):
    result = run(models, data, [GaussianNoise(severity=3)])
    noisy = [c for c in result.cells if c.condition.kind == "corruption"]
    assert np.array_equal(noisy[0].pictures.images, noisy[1].pictures.images)
    assert np.array_equal(noisy[0].linf, noisy[1].linf)


def test_predictions_do_not_depend_on_the_batch_size(models, data):
    data = bp.load_data("digits", split="test", limit=20)
    conditions = [*corruptions(data, FEW, (3,)), *resizes(data)]
    results = [run(models, data, conditions, batch_size=size) for size in (1, 7, 128)]
    for cells in zip(*(r.cells for r in results), strict=True):
        for other in cells[1:]:
            assert np.array_equal(cells[0].predictions, other.predictions), other.condition.label
            assert np.array_equal(cells[0].linf, other.linf), other.condition.label


def test_adversarial_examples_depend_on_the_batch_size_by_rounding_only(models, data):
    attacks = [FGSM(eps=16 / 255), PGD(norm="l2", eps=1.0, steps=5)]
    results = [run({"float": models["float"]}, data, attacks, batch_size=size) for size in (1, 7, 128)]
    for cells in zip(*(r.cells for r in results), strict=True):
        for other in cells[1:]:
            difference = np.abs(cells[0].pictures.images.astype(np.float32) - other.pictures.images)
            assert np.quantile(difference, 0.99) <= 1e-3  # the pictures are kept in float16
            assert (cells[0].predictions != other.predictions).mean() <= 0.02


def test_conditions_may_be_text(models, data):
    labels = [c.condition.label for c in run(models["float"], data, ["fgsm:eps=4/255", FGSM(eps=2 / 255)]).cells]
    assert labels == ["clean", "fgsm linf 4/255", "fgsm linf 2/255"]


def test_the_seed_decides_the_noise(models, data):
    cells = [run(models, data, [GaussianNoise()], seed=seed).cells[1] for seed in (0, 0, 1)]
    assert np.array_equal(cells[0].linf, cells[1].linf)
    assert not np.array_equal(cells[0].linf, cells[2].linf)


def test_models_are_left_as_they_were(models, data):
    model = copy.deepcopy(models["w4a4"]).train()
    before = fingerprint(model)
    run(model, data, [FGSM()])
    assert all(m.training for m in model.modules())
    assert fingerprint(model) == before
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_second_run_computes_only_what_is_missing(models, data, tmp_path):
    path = tmp_path / "runs.db"
    first = run(models, data, [FGSM()], store=path)
    assert (first.computed, first.reused) == (4, 0)
    again = run(models, data, [FGSM(), GaussianNoise()], store=path)
    assert (again.computed, again.reused) == (2, 4)
    third = run({"renamed": models["w4a4"]}, data, [FGSM()], store=path)
    assert (third.computed, third.reused) == (0, 2)
    assert {c.model.name for c in third.cells} == {"renamed"}
    changed = copy.deepcopy(models["float"])
    with torch.no_grad():
        changed.backbone.get_parameter(next(iter(dict(changed.backbone.named_parameters())))).mul_(1.01)
    assert run(changed, data, [FGSM()], store=path).computed == 2


def test_an_interrupted_run_ends_like_an_uninterrupted_one(models, data, tmp_path):
    conditions = [FGSM(), GaussianNoise(), PGD(steps=3)]

    class Stop(Exception):
        pass

    class Interrupted(Store):
        left = 3

        def append(self, cell, run):
            if self.left == 0:
                raise Stop
            self.left -= 1
            Store.append(self, cell, run)

    path = tmp_path / "runs.db"
    with Interrupted(path) as store, pytest.raises(Stop):
        run(models, data, conditions, store=store)
    resumed = run(models, data, conditions, store=path)
    assert (resumed.computed, resumed.reused) == (5, 3)
    whole = run(models, data, conditions)
    for a, b in zip(resumed.cells, whole.cells, strict=True):
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)
    columns = [c for c in whole.table().columns if c != "seconds"]
    assert resumed.table()[columns].equals(whole.table()[columns])


def test_a_model_under_two_names_is_tested_once(models, data):
    result = run({"one": models["float"], "two": models["float"]}, data, [FGSM()])
    assert (result.computed, result.reused) == (2, 0)
    assert np.array_equal(result.cells[0].predictions, result.cells[2].predictions)


CHANGES = {
    "none": lambda x: x,
    "far": lambda x: (x + 0.2).clamp(0, 1),
    "dark": lambda x: x - 0.05,
    "void": lambda x: x * torch.nan,
    "cut": lambda x: x[:, :, :-1],
    "a tenth too far": lambda x: x + 1.1 * 0.1 * torch.where(x < 0.5, 1.0, -1.0) / x[0].numel(),
    "a tenth too far under l2": lambda x: x + 1.1 * 0.1 * torch.where(x < 0.5, 1.0, -1.0) / x[0].numel() ** 0.5,
    "within": lambda x: x + 0.99 * 0.1 * torch.where(x < 0.5, 1.0, -1.0) / x[0].numel(),
}


@dataclass(frozen=True, kw_only=True)
class Cheat(Attack):
    """Returns whatever it is told to."""

    change: str
    norm: str = "linf"
    eps: float = 0.1
    passes: ClassVar[int] = 0
    label: ClassVar[str] = "cheat"

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return CHANGES[self.change](inputs)


@pytest.mark.parametrize(
    ("cheat", "words"),
    [
        (Cheat(change="far"), "moved an image by .*its budget is eps = 0.1 under linf"),
        (Cheat(change="dark"), r"gave values from -0.05 to .*images lie in \[0, 1\]"),
        (Cheat(change="void"), "gave values from nan to nan"),
        (Cheat(change="cut"), "gave images of shape .*have shape"),
        (Cheat(change="a tenth too far", norm="l1"), r"by 0\.1[01]\d*: its budget is eps = 0.1 under l1"),
        (Cheat(change="a tenth too far under l2", norm="l2"), r"by 0\.1[01]\d*: its budget is eps = 0.1 under l2"),
    ],
)
def test_an_attack_is_not_believed(models, data, cheat, words):
    with pytest.raises(InputError, match=words):
        run(models["float"], data, [cheat])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_an_attack_within_its_budget_is_believed(models, data, norm):
    clean, cell = run(models["float"], data, [Cheat(change="within", norm=norm)]).cells
    assert (getattr(cell, norm)[clean.correct] > 0).all()


def test_an_attack_without_a_budget_answers_every_budget(models, data, tmp_path):
    fmn, pgd = FMN(norm="linf", steps=30), PGD(eps=24 / 255, steps=10)
    result = run(models["float"], data, [fmn, pgd])
    clean, nearest, fixed = result.cells
    assert [c.condition.kind for c in result.cells] == ["clean", "minimum", "attack"]
    budgets = [0, 8 / 255, 24 / 255, 1]
    curve = robust_accuracy_curve(nearest, budgets, "linf")
    assert curve[0] == clean.correct.mean()
    assert (np.diff(curve) <= 0).all()
    assert curve[2] <= fixed.correct.mean() + 0.05
    assert {row["condition"] for row in result.summary().to_dict("records")} >= {"", fixed.condition.label}
    worst = [row for row in result.summary().to_dict("records") if row["metric"] == "wcar"]
    assert worst[0]["value"] == fixed.correct.mean()  # the other would make it 0
    result.report(tmp_path / "report.html")


def test_a_randomised_model_is_named_and_eot_is_offered(data):
    class Random(nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :10] + 1e-3 * torch.randn(len(x), 10)) * 5

    with pytest.raises(InputError, match="'model' answers the same images differently.*EOT.attack"):
        run(Random(), data, [FGSM()])
    with pytest.raises(InputError, match="'model' answers the same images differently"):
        run(Random(), data, [Noise(draws=3)])  # draws of its own, not of the model
    run(Random(), data, [EOT(attack=FGSM(), draws=2), AutoAttack(version="rand", steps=2, eot=2)])


def test_an_attack_that_does_nothing_breaks_nothing(models, data):
    result = run(models["float"], data, [Cheat(change="none")])
    assert np.array_equal(result.cells[1].predictions, result.cells[0].predictions)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(400, 7)), "'model' has 7 outputs, data set 'digits' has 10 classes"),
        (nn.Flatten(0), "'model' returned shape .*logits"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(400), nn.Linear(400, 10)), "NaN or infinity for 8 of 8 images"),
    ],
)
def test_models_that_do_not_fit_are_explained(model, words, data):
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.fill_(torch.nan)
    with pytest.raises(InputError, match=words):
        run(model, data, [])


def test_mistakes_are_explained(models, data, tmp_path):
    with pytest.raises(InputError, match="unknown suite 'quik'.*Did you mean 'quick'"):
        bp.evaluate(models, data, suite="quik")
    with pytest.raises(InputError, match="no models"):
        Experiment(models={}, data=data, conditions=())
    with pytest.raises(InputError, match="batch_size is 0"):
        run(models, data, [], batch_size=0)
    with pytest.raises(InputError, match="unknown condition 'fgms'.*Did you mean 'fgsm'"):
        run(models, data, ["fgms"])


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_fits_every_size(suite, data):
    large = bp.from_arrays(np.zeros((1, 3, 224, 224), np.uint8), [0])
    for examples in (data, large):
        conditions = SUITES[suite](examples)
        records = [as_condition(c).record() for c in conditions]
        assert len({r.label for r in records}) == len(records)
        assert sum(r.kind == "clean" for r in records) == 1
    profiles = {c.profile for c in quick(large) if as_condition(c).record().kind == "corruption"}
    assert profiles <= {"hendrycks-224"}


def test_resizes_enlarge_only_files_that_need_no_resize(data):
    small = bp.from_arrays(np.zeros((1, 3, 32, 32), np.uint8), [0])
    assert {c.enlarge for c in resizes(small)} == {2}
    assert {c.enlarge for c in resizes(data)} == {1}  # the digits are 8x8, the network sees 20x20


FILLED = {name: f"{name}:attack=pgd(steps=3)" for name in ("crafted", "eot", "bpda")}
"""Conditions that hold another one."""


def test_conditions_can_be_written_as_text():
    assert parse_condition("clean") == Clean()
    assert parse_condition("gaussian-noise:severity=5") == GaussianNoise(severity=5)
    for name in CONDITIONS.keys() - RELEASED.keys():  # those need a root
        assert parse_condition(FILLED.get(name, name)).record().kind in KINDS


def test_the_eleven_resizes_of_the_digits_all_differ():
    data = bp.load_data("digits", limit=1)
    seen = {c(data.encoded(0), framing=data.framing).tobytes() for c in resizes(data)}
    assert len(seen) == 11


@pytest.mark.parametrize("of", ["digits", "photographs"])
def test_the_suites_of_robustmq_hold_its_fourteen_systematic_noises(of, data):
    large = bp.from_arrays(np.zeros((1, 3, 224, 224), np.uint8), [0])
    for suite in ("robustmq-systematic", "robustmq-small"):
        noises = [c for c in SUITES[suite](data if of == "digits" else large) if isinstance(c, Pipeline)]
        assert len(set(noises)) == 14
        assert [c.decoder for c in noises if c.name == "decoder"] == ["pillow", "opencv", "ffmpeg"]
        assert sum(c.resize.startswith("pillow") for c in noises if c.name == "resize") == 6


def test_each_cell_records_the_pixels_that_the_models_saw(models, data, tmp_path):
    conditions = [
        GaussianNoise(severity=1),
        Pipeline(decoder="opencv"),
        Pipeline(resize="opencv-nearest"),
        Inference(dtype="bfloat16"),
        FGSM(eps=1 / 255),
        GaussianNoiseSequence(profile="scaled"),
        GaussianNoiseSequence(profile="scaled", difficulty=2),
    ]
    result = run(models, data, conditions, batch_size=16)
    by_label = {c.condition.label: c for c in result.cells if c.model.name == "float"}
    images = data.images(range(len(data)))
    np.testing.assert_array_equal(by_label["clean"].digests, digests(images))
    assert by_label["inference bfloat16"].digests is None and by_label["fgsm linf 1/255"].digests is None
    assert result.same_pixels().to_dict("records") == [
        {"condition": "decoder opencv", "like": "clean", "equal": 60, "n": 60}
    ]
    page = result.report(tmp_path / "report.html").read_text()
    assert "decoder opencv gave the same pixels as clean on all 60 images" in page


def test_digests_are_of_values_and_do_not_depend_on_the_batch():
    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, 0], images[1] = 0.0, images[2]
    found = digests(images)
    assert found.dtype == np.uint64 and len(set(found.tolist())) == 4 and found[1] == found[2]
    np.testing.assert_array_equal(np.concatenate([digests(images[:2]), digests(images[2:])]), found)
    np.testing.assert_array_equal(digests(images.to(memory_format=torch.channels_last)), found)
    images[0, 0, 0, 0] = -0.0
    assert digests(images)[0] == found[0]
    images[4, 2, 3, 3] += 2**-20
    assert digests(images)[4] != found[4]


def test_a_condition_of_the_model_is_judged_like_a_shift(models, data):
    before = {name: fingerprint(model) for name, model in models.items()}
    result = run(models, data, ["inference:dtype=bfloat16"])
    table = result.table().set_index(["model", "condition"])
    assert table.loc[("float", "inference bfloat16"), "kind"] == "systematic"
    cells = {(c.model.name, c.condition.kind): c for c in result.cells}
    expected = copy.deepcopy(models["float"]).eval().bfloat16()(data.images(range(60)).bfloat16()).float()
    found = cells["float", "systematic"]
    np.testing.assert_array_equal(found.predictions, expected.argmax(1).numpy())
    np.testing.assert_allclose(found.confidences, expected.softmax(1).amax(1).detach().numpy(), atol=1e-6)
    assert (found.linf == 0).all() and (found.confidences != cells["float", "clean"].confidences).any()
    assert {name: fingerprint(model) for name, model in models.items()} == before


def test_a_sequence_keeps_the_prediction_in_every_frame(tmp_path):
    data = bp.load_data("digits", limit=6)
    model = bp.load_model("digits_cnn")
    sequences = [RotateSequence(difficulty=2, profile="scaled"), GaussianNoiseSequence(difficulty=3)]
    result = bp.evaluate(model, data, conditions=sequences, store=tmp_path / "runs.db", batch_size=64, progress=False)
    with Store(tmp_path / "runs.db", readonly=True) as store:
        cells = store.query(kind="sequence")
    rng = Rng(0, data.ids, (digest(describe(sequences[0])),))
    film = sequences[0](data.images(range(6)), rng=rng)
    expected = model.eval()(film.flatten(0, 1)).argmax(1).reshape(6, 31)
    np.testing.assert_array_equal(cells[0].frames, expected.numpy())
    np.testing.assert_array_equal(cells[0].predictions, cells[0].frames[:, 0])
    summary = result.summary().set_index(["metric", "condition"])["value"]
    rates = [flips(cells[0].frames, compared="previous", step=2), flips(cells[1].frames, compared="first")]
    assert summary["fp", "sequence rotate 2"] == pytest.approx(rates[0].mean())
    assert summary["fp", "sequence gaussian noise 3"] == pytest.approx(rates[1].mean())
    assert summary["mfp", ""] == pytest.approx(np.mean(rates))
    result.report(tmp_path / "report.html")


def test_a_larger_budget_is_answered_where_nothing_is_left_to_attack(tmp_path):
    """By a model that does not take empty batches, on files."""
    from PIL import Image

    class Picky(nn.Module):
        def forward(self, x):
            assert len(x)
            mean = x.mean((1, 2, 3))
            return torch.stack([0.5 - mean, mean - 0.5], 1)

    for name, level in (("dark", 127), ("light", 128)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(tmp_path / name / "x.png")
    data = bp.load_data("folder", root=tmp_path, size=28)
    for crafting in ("exact", "folded"):
        result = run(Picky(), data, [PGD(eps=2 / 255), PGD(eps=4 / 255), CW()], crafting=crafting)
        assert [cell.correct.sum() for cell in result.cells] == [2, 0, 0, 0]
        assert [cell.forwards > 0 for cell in result.cells] == [True, True, False, True]


def test_pictures_are_moved_before_they_are_cut(tmp_path):
    """A white file of 60 pixels, cut to 32 of 40: a turn by 15 degrees leaves the frame white."""
    from PIL import Image

    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((60, 60, 3), 255, np.uint8)).save(tmp_path / "a" / "x.png")
    data = bp.load_data("folder", root=tmp_path, classes=["a"], size=35)
    examples = Examples(data=data, rows=np.arange(1), images=data.images([0]))
    assert examples.uncut().shape == (1, 3, 40, 40)
    assert data.images([0]).shape == (1, 3, 35, 35)


def test_an_attack_that_fills_its_own_batches_gets_everything_at_once(models, data):
    pgd, ensemble = PGD(eps=16 / 255, steps=5), AutoAttack(eps=16 / 255, steps=5, queries=20)
    result = run(models, data, [Clean(), pgd, ensemble], batch_size=25)
    for name in models:
        clean, followed, broken = (c for c in result.cells if c.model.name == name)
        assert broken.correct.sum() <= followed.correct.sum() < clean.correct.sum()
        assert (broken.linf <= 16 / 255).all()
        assert broken.forwards + broken.backwards <= clean.correct.sum() * (ensemble.passes + 1) + 16
    other = run({"float": models["float"]}, data, [Clean(), ensemble], batch_size=60).cells[1]
    assert (result.cells[2].predictions == other.predictions).mean() > 0.95  # sums of another order may tip one


def judged(attack, model, data, clean, *, crafted_on=None, advance=lambda passes: None):
    """The cell of an attack on one model, made on another one where that is given."""
    bench = Bench(subjects={"float": Subject.of(model)}, maker=Maker(data=data, seed=0), batch_size=25)
    if crafted_on is not None:
        bench.__dict__["crafted_on"] = {"float": crafted_on}
    condition = Crafted(attack=attack)
    models, needed = {"float": clean.model}, {"clean": clean}
    (cell,) = judge_crafted(bench, condition, condition.record(), models, needed, advance)
    return cell


def test_the_progress_of_an_attack_adds_up(model, data):
    told, attack = [], AutoAttack(eps=16 / 255, steps=3, queries=10)
    (clean,) = run({"float": model}, data, [Clean()]).cells
    judged(attack, model, data, clean, advance=told.append)
    assert sum(told) == len(data) * (attack.passes + 1)
    assert len(told) > 10  # while it runs, not all at the end


@pytest.mark.parametrize("crafting", ["exact", "folded"])
def test_lanes_change_neither_results_nor_passes(model, data, crafting):
    attacks = [PGD(eps=16 / 255, steps=5), BPDA(attack=PGD(eps=8 / 255, steps=3), parts=("ReLU",))]
    attacks += [AutoAttack(eps=16 / 255, steps=3, queries=10)]
    threads, found = torch.get_num_threads(), {}
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found[count] = run({"float": model}, data, attacks, batch_size=32, crafting=crafting).cells
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found.values(), strict=True):
        assert one.key == two.key
        assert (one.predictions == two.predictions).mean() > 0.95  # sums of another order may tip one
        assert abs(one.forwards - two.forwards) <= 0.05 * one.forwards + 8  # a look at eight images for each pool
        assert abs(one.backwards - two.backwards) <= 0.05 * one.backwards


def test_budgets_go_in_increasing_order_and_what_is_broken_stays_broken(models, data, tmp_path):
    budgets = [Clean(), PGD(eps=32 / 255), PGD(eps=4 / 255), PGD(eps=16 / 255), PGD(eps=16 / 255, norm="l2")]
    store = tmp_path / "runs.db"
    chained = {c.condition.label: c for c in run(models, data, budgets, store=store).cells if c.model.name == "float"}
    alone = {
        c.condition.label: c
        for c in run(models, data, budgets, store=store, independent=True).cells
        if c.model.name == "float"
    }
    small, middle, large = (f"pgd-20 linf {eps}/255" for eps in (4, 16, 32))
    assert list(chained) == [c.label for c in budgets]  # shown in the order asked for
    for label in ("clean", small, "pgd-20 l2 0.06275"):
        assert chained[label].key == alone[label].key
    for label, before in ((middle, small), (large, middle)):
        assert chained[label].key != alone[label].key
        kept = ~chained[before].correct
        for name in ("predictions", "confidences", "linf"):
            np.testing.assert_array_equal(getattr(chained[label], name)[kept], getattr(chained[before], name)[kept])
            rest = ~kept  # attacked as if there had been no smaller budget
            np.testing.assert_allclose(
                getattr(chained[label], name)[rest], getattr(alone[label], name)[rest], atol=1e-5
            )
        assert 0 < kept.sum() < len(data)
        assert chained[label].forwards < alone[label].forwards
    reused = run(models, data, budgets, store=store)
    assert reused.computed == 0
    assert EOT(attack=budgets[1], draws=2) != EOT(attack=budgets[2], draws=2)
    experiment = Experiment(models=models, data=data, conditions=tuple(EOT(attack=b, draws=2) for b in budgets[1:]))
    averaged = [Crafted(attack=EOT(attack=budget, draws=2)) for budget in budgets[2:4]]
    assert experiment.easier(averaged[1]) == averaged[0]
    assert experiment.easier(Crafted(attack=EOT(attack=budgets[3], draws=3))) is None


def test_a_transfer_gives_every_model_the_images_made_on_one(models, data, tmp_path):
    attack, images = PGD(eps=24 / 255), data.images(range(len(data)))
    result = run(models, data, [], transfer=["pgd:eps=24/255"], store=tmp_path / "runs.db")
    table = result.transfer().set_index(["source", "target"])
    assert set(table.index) == {(a, b) for a in models for b in models}
    assert set(table["attack"]) == {"pgd-20 linf 24/255 to the end"}
    for name, source in models.items():
        attack = PGD(eps=24 / 255, stop_at_hit=False)
        right = (source(images).argmax(1).numpy() == data.labels).nonzero()[0]
        rng = Rng(0, data.ids, (digest(describe(attack)),)).select(right)
        crafted = images.clone()
        crafted[right] = attack(bp.freeze(source), images[right], torch.from_numpy(data.labels[right]), rng=rng)
        for target, model in models.items():
            correct = model(crafted).argmax(1).numpy() == data.labels
            row = table.loc[name, target]
            assert row["accuracy"] == pytest.approx(correct.mean(), abs=0.02)
            distances = (crafted - images).flatten(1).norm(dim=1).numpy()[~correct & (data.labels >= 0)]
            assert row["l2"] == pytest.approx(distances[distances > 0].mean(), rel=0.02)
            assert row["linf"] == pytest.approx(24 / 255, rel=1e-3)
    cells = {(c.condition.source, c.model.name): c for c in result.cells if c.condition.kind == "transfer"}
    spent = {c.forwards for (source, _), c in cells.items() if source == "float"}
    assert len(spent) == 1  # what it takes alone, whatever else was computed
    renamed = run({"a": models["float"], "b": models["w4a4"]}, data, [], transfer=[attack], store=tmp_path / "runs.db")
    assert renamed.computed == 0
    assert set(renamed.transfer()["source"]) == {"a", "b"}
    renamed.report(tmp_path / "report.html")


def test_what_is_made_to_transfer_deceives_other_models_more_often(models, data):
    conditions = [Crafted(attack=PGD(eps=24 / 255, stop_at_hit=stop), source="float") for stop in (True, False)]
    stopped, finished = run(models, data, conditions).transfer().query("target == 'w4a4'")["accuracy"]
    assert finished < stopped


def test_kappa_is_chosen_on_other_examples_than_it_is_judged_on(models, data):
    attacks = [CW(kappa=kappa, steps=20, search_steps=2) for kappa in (0.0, 5.0)]
    result = run(models, data, [], transfer=attacks)
    rows = result.transfer(tuned="kappa")
    assert (rows["n"] == len(data) // 2).all()
    assert len(rows) == len(models) ** 2
    cells = [c for c in result.cells if c.condition.kind == "transfer"]
    for source in models:
        others = [c for c in cells if c.condition.source == source != c.model.name]
        best = min(others, key=lambda c: c.correct[::2].mean())
        row = rows.query(f"source == '{source}' and target == '{best.model.name}'").iloc[0]
        assert row["accuracy"] == best.correct[1::2].mean()
        assert best.condition.label.startswith(row["attack"])
    with pytest.raises(InputError, match="one example"):
        transfer([replace(cells[0], **{name: getattr(cells[0], name)[:1] for name in ARRAYS})], tuned="kappa")


def test_settings_that_share_a_label_are_told_apart(models, data):
    attacks = [PGD(eps=eps / 255, steps=2, step_size=size) for eps in (4, 8) for size in (0.01, 0.02)]
    result = run(models, data, attacks, transfer=attacks[:2])
    expected = {f"pgd-2 linf {eps}/255 (step_size={size})" for eps in (4, 8) for size in (0.01, 0.02)}
    assert set(result.table()["condition"]) >= expected
    assert set(result.transfer()["attack"]) == {f"pgd-2 linf 4/255 to the end (step_size={s})" for s in (0.01, 0.02)}
    assert len(result.table()) == len(result.cells) == len(models) * (1 + 4 + 2 * len(models))


def test_what_cannot_be_transferred_is_named(models, data):
    with pytest.raises(InputError, match="source of a transfer"):
        Experiment(models=models, data=data, conditions=(Crafted(attack=PGD(), source="absent"),))
    with pytest.raises(InputError, match="unknown attack"):
        run(models, data, [], transfer=["brightness"])


@pytest.mark.parametrize("crafting", ["folded", "bfloat16"])
def test_what_counts_is_predicted_on_the_model_itself(models, data, tmp_path, crafting):
    conditions = [PGD(eps=8 / 255), PGD(eps=16 / 255), AutoAttack(eps=16 / 255, steps=3, queries=10)]
    exact = run(models, data, conditions).cells
    fast = run(models, data, conditions, crafting=crafting).cells
    for a, b in zip(exact, fast, strict=True):
        assert (a.key == b.key) == (a.condition.kind == "clean")
        assert abs(a.correct.mean() - b.correct.mean()) < 0.1


def test_what_only_the_faster_model_loses_is_attacked_again(model, data):
    (clean,) = run({"float": model}, data, [Clean()]).cells
    attack = PGD(eps=16 / 255)
    exact = judged(attack, model, data, clean)

    class Coward(nn.Module):
        def forward(self, x):
            return model(x).neg()

    brave = judged(attack, model, data, clean, crafted_on=Coward().eval())
    np.testing.assert_array_equal(brave.correct, exact.correct)
    assert brave.forwards > exact.forwards
    with pytest.raises(InputError, match="way to make attacks"):
        run({"float": model}, data, [Clean()], crafting="fast")


def test_the_budgets_of_robustmq_fit_the_size_of_the_images(data):
    """At 20x20 there are 1/125.44 of the pixels of 224x224."""
    small, large = (robustmq_attacks(data, name) for name in ("small", "large"))
    assert [(a.norm, a.eps) for a in small] == [
        ("linf", 0.5 / 255),
        ("linf", 0.5 / 255),
        ("l2", pytest.approx(0.5 / 11.2)),
        ("l1", pytest.approx(100 / 125.44)),
        ("linf", 0.5 / 255),
    ]
    assert [a.eps / b.eps for a, b in zip(large, small, strict=True)] == [16] * 5
    assert len(SUITES["robustmq-attacks"](data)) == 16
