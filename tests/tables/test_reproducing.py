"""From a name to a page: models made once, cells found again, numbers beside the paper's."""

import json
from dataclasses import dataclass, replace

import pytest
from torch import nn

import bitproof as bp
from bitproof.attacks import FGSM
from bitproof.errors import InputError
from bitproof.metrics import ACCURACY
from bitproof.tables import Claim, Study, Table, draw, published, read_outcome, reproduce
from bitproof.tables.claims import pairs
from bitproof.tables.making import Making, Quantized, Workshop
from bitproof.tables.pages import anchor, gathered, heading, html, markdown, write_pages
from bitproof.tables.readings import reading
from bitproof.tables.table import CLEAN
from bitproof.train import Diverged

BUILT: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Here(Making):
    """A model that is there; counts how often it is asked for."""

    of: nn.Module

    def __call__(self, shop: Workshop) -> nn.Module:
        BUILT.append("float")
        return self.of

    def passes(self, training: int) -> int:
        return 0


@dataclass(frozen=True, kw_only=True)
class Lost(Making):
    """A model that does not converge."""

    def __call__(self, shop: Workshop) -> nn.Module:
        raise Diverged("loss is nan", epoch=2, model=shop.model("float"), rule="", remedy="")

    def passes(self, training: int) -> int:
        return 0


@pytest.fixture(scope="module")
def table(model):
    """A made-up table on a trained network: float, 2 bits, and one that does not converge."""

    def study(setting: str) -> Study:
        models = {
            "float": Here(of=model),
            "LSQ w2a2": Quantized(of="float", scheme=bp.Scheme(weight_bits=2, act_bits=2)),
            "PACT w2a2": Lost(),
        }
        return Study(
            data="digits",
            images=20,
            training=64,
            network="digits_cnn",
            models=models,
            tested=tuple(models),
            conditions=lambda _: {"attack": FGSM(eps=0.1)},
            differs_in={"AR": "another attack"},
        )

    def read(measured):
        for name in measured.models:
            yield reading(name, "ACC", ACCURACY, measured.under(name, CLEAN))
            yield reading(name, "AR", ACCURACY, measured.under(name, "attack"))

    claim = Claim(text="float is better", source="Section 1", pairs=pairs([("float", "LSQ w2a2")], ["ACC"]))
    found = Table(
        paper="xiao2023",
        number="table1",
        title="Made up",
        settings=("ResNet18", "ResNet50"),
        study={"smoke": study},
        read=read,
        claims=lambda _: [claim],
        figures=("figure9",),
    )
    with pytest.MonkeyPatch.context() as patched:
        for place in ("", ".catalogue", ".pages"):
            patched.setattr(f"bitproof.tables{place}.TABLES", (found,))
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "s.db"


@pytest.fixture(scope="module")
def outcome(table, store):
    return reproduce("xiao2023", "1", store=store, progress=False)


def test_our_numbers_stand_beside_the_papers(outcome):
    entries = {(entry.row, entry.column): entry for entry in outcome.entries}
    ours = entries["float", "ACC"]
    assert ours.printed == "71.06" and ours.unit == "percent" and ours.n == 20
    assert ours.difference == pytest.approx(ours.value - 71.06) and ours.low <= ours.value <= ours.high
    assert ours.verdict == "not comparable" and ours.reason == "fewer images (n = 20)"
    assert entries["float", "AR"].reason == "not in the paper"
    lost = entries["PACT w2a2", "ACC"]
    assert (lost.value, lost.printed, lost.verdict, lost.reason) == (None, "NC", "consistent", "neither converged")
    assert outcome.diverged == {"PACT w2a2": 2}
    printed = published("xiao2023", "table1")["ResNet18"]
    assert outcome.unmeasured == sum(value.value is not None for value in printed.values()) - 2
    (claim,) = outcome.claims
    assert claim.text == "float is better" and claim.pairs[0].difference == pytest.approx(
        (ours.value - entries["LSQ w2a2", "ACC"].value) / 100
    )


def test_what_is_in_the_store_is_not_computed_again(outcome, store):
    BUILT.clear()
    again = reproduce("xiao2023", "figure9", store=store, progress=False)
    assert again.entries == outcome.entries and len(BUILT) == 1  # however many models are made of it
    with bp.Store(store, readonly=True) as opened:
        assert len(opened.environments()) == 1  # only the first call had anything to compute
    other = reproduce("xiao2023", "table1", setting="ResNet50", images=10, progress=False)
    assert other.setting == "ResNet50" and {entry.n for entry in other.entries if entry.n} == {10}


def test_outcomes_are_kept_and_make_pages(outcome, tmp_path):
    folder = tmp_path / "reproduced"
    path = outcome.save(folder)
    assert path.name == "xiao2023-table1-ResNet18-smoke.json"
    assert read_outcome(path) == replace(outcome, environment=dict(outcome.environment))
    page, site = write_pages(folder)
    assert page == tmp_path / "reproduced.md" and site == folder / "index.html"
    text = page.read_text()
    assert f"](#{anchor(outcome)})" in text and f"## {heading(outcome)}" in text
    assert anchor(outcome) == "xiao2023-table1-resnet18-smoke"
    for said in ("71.06", "neither converged", "Visual Intelligence"):
        assert said in text and said in site.read_text()
    assert "https://" not in site.read_text() and "data:image/png" in site.read_text()
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "schema": 0}))
    with pytest.raises(InputError, match="cannot be read \\(version 0\\)"):
        gathered(folder)


def test_what_a_stranger_writes_is_text(outcome):
    outcome = replace(outcome, title="<script>", network="<b>")
    assert "<script>" not in html([outcome]) and "&lt;script&gt;" in html([outcome])
    assert len(markdown([outcome]).splitlines()) > len(outcome.entries)


def test_the_picture_has_a_panel_a_column(outcome):
    figure = draw(outcome)
    assert [axes.get_title() for axes in figure.axes] == ["ACC", "AR"]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["float", "LSQ w2a2", "PACT w2a2"]


def test_mistakes_are_named(table):
    for arguments, words in (
        (("xiao2024", "table1"), "unknown paper 'xiao2024'"),
        (("xiao2023", "table99"), "unknown table of xiao2023 'table99'"),
    ):
        with pytest.raises(InputError, match=words):
            reproduce(*arguments)
    for how, words in (({"scale": "huge"}, "unknown scale"), ({"setting": "x"}, "unknown setting")):
        with pytest.raises(InputError, match=words):
            reproduce("xiao2023", "table1", **how)


# ---- on the command line


def test_that_nothing_is_printed_is_said_once(outcome):
    drawn = [replace(e, printed="", difference=None, reason="not in the paper") for e in outcome.entries]
    words = "not in the paper"
    some = drawn[:-1] + list(outcome.entries[:1])
    for entries, said, rows in ((drawn, 1, 0), (some, 0, len(drawn) - 1), ([], 0, 0)):  # red: it was said of no lines
        page = markdown([replace(outcome, entries=tuple(entries))])
        assert page.count("The paper prints no numbers here") == said
        assert page.count(words) == rows


def test_a_command_prints_the_table_and_writes_its_pages(table, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("reproduce", "xiao2023", "table1", "--images", 12, "--device", "cpu")
    assert code == 0 and "71.06" in out and "fewer images (n = 12)" in out and ": float is better (Section 1)" in out
    assert {path.name for path in tmp_path.iterdir()} >= {"reproduced", "reproduced.md", "reproduced.db"}
    code, out, _ = run("reproduce", "--all", "--images", 12, "--device", "cpu")
    assert code == 0 and out.startswith(
        "xiao2023 table1 ResNet18 (smoke): 1 consistent, 4 not comparable; conclusions:"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "no table"),
        ("xiao2023", "no table"),
        ("xiao2023 table1 --all", "--all with table1"),
        ("xiao2023 table1 --weights resnet20", "--weights resnet20: it is NETWORK=FILE"),
        ("xiao2023 table1 --scale large", "unknown scale 'large'"),
        ("xiao2023 tabel1", "Did you mean 'table1'?"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(table, run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("reproduce", *words.split())
    assert code == 2 and said in err
