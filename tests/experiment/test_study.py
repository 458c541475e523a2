"""A study of one's own: tags and seeds as dimensions, stores put together and compared, tables and figures."""

import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest

import bitproof as bp
from bitproof.errors import InputError
from bitproof.experiment import compare_stores, estimate, experiment_of, merge
from bitproof.experiment.environment import environment
from bitproof.metrics import pooled
from bitproof.report.figure import accuracies
from metric_cells import make_cell
from samples import make_diagnosis


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two stores: two networks that differ in their seed, each tested in a run of its own."""
    folder = tmp_path_factory.mktemp("study")
    data = bp.load_data("digits", limit=20)
    for seed, name in enumerate("ab"):
        model = bp.tagged(bp.load_model("digits_cnn", seed=seed), train_seed=seed)
        bp.evaluate({"net": model}, data, conditions=["fgsm:eps=0.1"], store=folder / f"{name}.db", progress=False)
    return folder


def copied(cell, **changes):
    from dataclasses import replace

    return replace(cell, **changes)


# ---- taken together


def test_models_of_one_name_are_taken_together_over_a_tag():
    from dataclasses import replace

    cells = []
    for seed, right in enumerate(([1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1])):
        cell = make_cell(right)
        cells.append(replace(cell, model=replace(cell.model, fingerprint=str(seed), tags={"train_seed": seed})))
    (row,) = pooled(cells, "train_seed")
    assert (row["n"], row["examples"], row["least"], row["most"]) == (3, 4, 0.5, 1.0)
    assert row["accuracy"] == pytest.approx(0.75) and row["sd"] == pytest.approx(0.25)
    assert row["high"] == 1.0 and row["low"] == pytest.approx(0.75 - 4.302652729911275 * 0.25 / 3**0.5)  # t of 2
    assert row["holds"] == "train_seed: training again; the same 4 images"
    assert pooled(cells[:1], "train_seed")[0]["low"] is None
    with pytest.raises(InputError, match="no model has the tag 'width'.*train_seed.*bp.tagged"):
        pooled(cells, "width")
    with pytest.raises(InputError, match="two results of 'float' under 'clean' with train_seed = 0"):
        pooled([cells[0], cells[0]], "train_seed")
    other = replace(cells[1], data=replace(cells[1].data, fingerprint="other"))
    with pytest.raises(InputError, match="results on several data sets.*Choose one: data="):
        pooled([cells[0], other], "train_seed")
    seeds = [replace(cell, seed=i) for i, cell in enumerate(cells)]
    assert pooled(seeds, "seed")[0]["holds"].startswith("draws of attacks and corruptions")
    named = [replace(cell, model=replace(cell.model, tags={"seed": i})) for i, cell in enumerate(cells)]
    with pytest.raises(InputError, match="two results of 'float' under 'clean' with seed = 0"):
        pooled(named, "seed")  # a tag of that name is not the seed of the run


def test_a_family_may_be_named_by_a_tag():
    data = bp.load_data("digits", limit=8)
    models = {
        f"net {seed}": bp.tagged(bp.load_model("digits_cnn", seed=seed), name="net", train_seed=seed) for seed in (0, 1)
    }
    result = bp.evaluate(models, data, suite="clean", progress=False)
    (row,) = result.table(over="train_seed").to_dict("records")
    assert (row["model"], row["n"]) == ("net", 2)
    with pytest.raises(InputError, match="the tag net is a list"):
        bp.tagged(bp.load_model("digits_cnn"), net=[1])  # pyright: ignore


# ---- stores


def test_a_store_is_a_result_again(place, tmp_path):
    merged = merge([place / "a.db", place / "b.db"], tmp_path / "m.db")
    assert (merged.copied, merged.same, merged.conflicts) == (4, 0, ())
    with pytest.warns(UserWarning, match="several networks are called 'net'"):
        result = bp.Result.load(tmp_path / "m.db")
    assert {cell.model.name for cell in result.cells} == {"net (train_seed=0)", "net (train_seed=1)"}
    assert len(result.environments) == 2 and result.reference == "net (train_seed=0)"
    one = bp.Result.load(place / "a.db")
    assert one.reference == "net" and len(one.table()) == 2
    with pytest.raises(InputError, match="holds no such results"):
        bp.Result.load(place / "a.db", seed=7)


def test_merging_twice_is_no_conflict_and_another_answer_is(place, tmp_path):
    assert merge([place / "a.db", place / "a.db"], tmp_path / "same.db").same == 2
    with bp.Store(place / "a.db", readonly=True) as store:
        cells = store.query()
    odd = copied(cells[0], predictions=np.where(np.arange(20) < 3, 9 - cells[0].predictions, cells[0].predictions))
    changed = int((odd.predictions != cells[0].predictions).sum())
    with bp.Store(tmp_path / "odd.db") as store:
        store.append(odd, store.begin_run({}))
        store.append(cells[1], store.begin_run({}))
    found = compare_stores(place / "a.db", tmp_path / "odd.db")
    assert (found.shared, found.equal, found.only) == (2, 1, (0, 0))
    assert found.differences[0].predictions == changed > 0
    with pytest.raises(InputError, match=f"1 results differ: net under clean: other predictions on {changed} of 20"):
        merge([place / "a.db", tmp_path / "odd.db"], tmp_path / "m.db")
    assert not (tmp_path / "m.db").exists()
    merged = merge([place / "a.db", tmp_path / "odd.db"], tmp_path / "m.db", keep_first=True)
    assert merged.copied == 2 and len(merged.conflicts) == 1
    with bp.Store(tmp_path / "m.db", readonly=True) as store:
        assert (store.get(odd.key).predictions == cells[0].predictions).all()
    with pytest.raises(InputError, match="exists already"):
        merge([place / "a.db"], tmp_path / "m.db")


def test_a_difference_is_of_predictions_confidences_or_findings(tmp_path):
    plain = [make_cell([1, 1, 0, 0, 1], label=f"condition {i}") for i in range(4)]
    wrong = np.arange(5)
    changed = [
        copied(plain[0], confidences=plain[0].confidences + np.float32(0.25)),
        copied(plain[1], predictions=np.where(wrong < 1, 5, plain[1].predictions)),
        copied(plain[2], predictions=np.where(wrong < 3, 5, plain[2].predictions)),
    ]
    found = [make_diagnosis(plain[0].model, plain[0].data, fires=fires) for fires in (True, False)]
    for number, records in enumerate(([*plain, found[0]], [*changed, found[1]])):
        with bp.Store(tmp_path / f"{number}.db") as store:
            run = store.begin_run({})
            for record in records:
                store.append(record, run)
    compared = compare_stores(tmp_path / "0.db", tmp_path / "1.db")
    assert (compared.shared, compared.equal, compared.only) == (4, 0, (1, 0))
    said = [(different.condition, different.predictions, different.confidence) for different in compared.differences]
    assert said == [("condition 2", 3, 0.0), ("condition 1", 1, 0.0), ("condition 0", 0, 0.25), ("diagnosis", 0, 0.0)]


def test_a_merged_store_keeps_environments_and_files_and_what_is_loaded_exports_them(place, tmp_path):
    stores = []
    for i, name in enumerate("ab"):
        with bp.Store(place / f"{name}.db", readonly=True) as store:
            cells = store.query()
        with bp.Store(tmp_path / f"{name}.db") as store:
            run = store.begin_run({"machine": name})
            for cell in cells:
                store.append(cell, run)
            fingerprint = cells[0].data.fingerprint
            store.keep_files(fingerprint, {number: f"{number}.png" for number in range(5 + i)})
        stores.append(tmp_path / f"{name}.db")
    merge(stores, tmp_path / "m.db")
    with bp.Store(tmp_path / "m.db", readonly=True) as store:
        assert store.files() == {fingerprint: {number: f"{number}.png" for number in range(6)}}
        said = store.environments()
        assert [said[cell.run]["machine"] for cell in store.query()] == ["a", "a", "b", "b"]
    bp.Result.load(stores[1]).export(tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv")["file"].dropna().tolist() == [f"{number}.png" for number in range(6)] * 2


def test_the_command_line_merges_and_compares(place, tmp_path, run):
    code, out, _ = run("merge", place / "a.db", place / "b.db", "-o", tmp_path / "m.db")
    assert code == 0 and "4 results, 0 of them held alike" in out
    code, out, _ = run("diff", place / "a.db", tmp_path / "m.db")
    assert code == 0 and "2 results in both, 2 of them equal; 0 in " in out and "2 in " in out


# ---- what a paper takes


def test_exports_say_which_network_and_setting(place, tmp_path):
    result = bp.Result.load(place / "b.db")
    assert result.export(tmp_path / "t.parquet") == 40
    table = pd.read_parquet(tmp_path / "t.parquet")
    row = table[table["kind"] == "attack"].iloc[0]
    assert row["tag_train_seed"] == 1 and row["eps"] == 0.1 and '"PGD"' in row["setting"]
    assert row["fingerprint"] == result.cells[0].model.fingerprint
    assert {"scheme", "method", "rank", "label_probability", "seed"} <= set(table.columns)


def test_latex_and_figures_show_the_numbers_of_the_table(place, tmp_path):
    result = bp.Result.load(place / "a.db")
    rows = result.table().to_dict("records")
    text = result.to_latex(tmp_path / "t.tex")
    assert (tmp_path / "t.tex").read_text() == text and r"\toprule" in text
    for row in rows:
        assert f"${100 * row['accuracy']:.1f} \\pm {50 * (row['high'] - row['low']):.1f}$" in text
    figure, shown = result.figure()
    assert shown["accuracy"].tolist() == [row["accuracy"] for row in rows]
    (axes,) = figure.axes
    (bars,) = axes.containers
    drawn = [segment[:, 1].tolist() for segment in bars[2][0].get_segments()]
    assert drawn == [pytest.approx([100 * row["low"], 100 * row["high"]]) for row in rows]
    assert not any(label.get_parse_math() for label in axes.get_xticklabels())  # names are no formulas
    figure.savefig(tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match="no condition of the group 'fog'"):
        result.figure("fog")


def test_a_figure_shows_the_reference_first():
    cells = [make_cell([1, 0, 1], model=name) for name in ("a", "float", "z")]
    for reference in ("float", "z"):
        figure, _ = accuracies(cells, reference)
        assert figure.axes[0].get_legend().get_texts()[0].get_text() == reference


def test_tags_add_up():
    model = bp.load_model("digits_cnn")
    assert bp.tagged(bp.tagged(model, name="net", width=1), width=2).tags == {"name": "net", "width": 2}
    assert bp.tagged(model, model="x").tags == {"model": "x"}


def test_an_estimate_is_of_what_is_missing_at_the_measured_pace(place):
    data = bp.load_data("digits", limit=20)
    model = bp.tagged(bp.load_model("digits_cnn", seed=0), train_seed=0)
    plan = experiment_of({"net": model}, data, conditions=["fgsm:eps=0.1", "pgd:eps=0.1,steps=3"])
    both = experiment_of({"net": model, "new": bp.load_model("digits_cnn", seed=1)}, data, suite="clean")
    with bp.Store(place / "a.db", readonly=True) as store:
        found, partly = estimate(plan, store), estimate(both, store)
    assert [(task.results, task.passes) for task in partly.tasks] == [(1, 20)] and partly.reused == 1
    assert (len(found.tasks), found.reused, found.tasks[0].results) == (1, 2, 1)
    assert found.passes == found.tasks[0].passes == 20 * (3 + 3 + 1) and found.measured > 0
    assert found.seconds == pytest.approx(found.measured * found.passes)


def test_the_users_own_repository_is_noted(tmp_path, monkeypatch):
    def git(*command):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", "-C", tmp_path, *who, *command], capture_output=True, text=True, check=True
        ).stdout

    git("init", "-q")
    (tmp_path / "nets.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    found = environment()["repository"]
    assert found == {"name": tmp_path.name, "commit": git("rev-parse", "HEAD").strip(), "dirty": False}
    (tmp_path / "nets.py").write_text("2")
    assert environment()["repository"]["dirty"]
    monkeypatch.chdir("/")
    assert environment()["repository"] is None


def test_tags_and_metrics_on_the_command_line(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peoples_metric.py").write_text(
        "from bitproof.metrics import Metric\n"
        "RASH = Metric(name='rash-errors', symbol='RASH', description='sure and wrong', source='here',\n"
        "    higher_is_better=False, bounds=(0.0, 1.0), needs=('clean',),\n"
        "    scores=lambda chosen: ((chosen.cells[0].confidences > 0.5) & ~chosen.cells[0].correct)[None])\n"
        "NONE = 3\n"
        "def other(**changes): return Metric(**{**vars(RASH), **changes})\n"
        "FLAT = other(name='flat', scores=lambda chosen: chosen.cells[0].correct)\n"
        "WIDE = other(name='wide', scores=lambda chosen: 3.0 + chosen.cells[0].correct[None])\n"
        "TAKEN = other(name='accuracy')\n"
    )
    metrics = dict(bp.metrics.METRICS)
    monkeypatch.setattr(bp.metrics.table, "METRICS", metrics)
    command = ["evaluate", "digits_cnn", "--data", "digits", "--limit", 8, "--suite", "clean", "--store", "s.db"]
    code, out, err = run(*command, "--tag", "train_seed=3", "--tag", "who=me", "--metric", "peoples_metric:RASH")
    assert code == 0 and "RASH ↓" in out, err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bp.Result.load("s.db").cells[0].model.tags == {"train_seed": 3, "who": "me"}
    code, _, err = run(*command, "--tag", "train_seed")
    assert code == 2 and "a tag is written KEY=VALUE" in err
    code, _, err = run(*command, "--tag", "a=1", "--tag", "a=2")
    assert code == 2 and "--tag a is 1 and 2: a model has one value of each tag" in err
    code, _, err = run(*command, "--metric", "peoples_metric:NONE")
    assert code == 2 and "is a int: a metric of your own" in err
    for name, words in (
        ("FLAT", "metric 'flat' gave an array of shape (8,) for 8 examples"),
        ("WIDE", "its bounds are 0 and 1"),
        ("TAKEN", "bitproof has one of this name"),
    ):
        code, _, err = run(*command, "--metric", f"peoples_metric:{name}")
        assert code == 2 and words in err, err
        metrics.pop(name.lower(), None)
