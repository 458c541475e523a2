"""Submissions: what is written is read again, and what is not so is refused."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bitproof as bp
from bitproof.core.balls import BALLS
from bitproof.errors import InputError
from bitproof.leaderboard import read_submission, submit
from bitproof.leaderboard.submission import MOST_BYTES, NORMS
from report_cells import CLEAN, N, attack, cell, model

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"


@pytest.fixture
def store(tmp_path):
    with bp.Store(tmp_path / "s.db") as opened:
        run = opened.begin_run({"commit": "abc", "dirty": False, "command": ["bitproof", "evaluate"], "gpu": "x"})
        for name, width in (("float", 32), ("w4a4", 4)):
            opened.append(cell(model(name, width), CLEAN, 1), run)
            opened.append(cell(model(name, width), attack(8), 9), run)
        yield opened


@pytest.fixture
def file(store, tmp_path):
    submit(store, tmp_path / "me.json", by="Ada", link="https://example.org/a?b=c", licence="MIT")
    return tmp_path / "me.json"


def changed(file, change):
    """The file with something else in it."""
    said = json.loads(file.read_text())
    change(said)
    file.write_text(json.dumps(said))
    return file


def test_what_is_written_is_read(store, file):
    found = read_submission(file)
    assert (found.by, found.link, len(found.entries)) == ("Ada", "https://example.org/a?b=c", 2)
    entry = found.entries[1]
    assert entry.correct["clean"].sum() == N - 1 and entry.environment == {
        "commit": "abc",
        "dirty": False,
        "command": ["bitproof", "evaluate"],
    }
    assert entry.date and file.stat().st_size < 8_000


def test_surrogates_are_left_out_as_those_of_a_store_are(file):
    """Red: a submission that holds one as an entry put it on the board."""

    def marked(*which):
        def change(said):
            for place in which:
                said["entries"][place]["model"]["origin"] = {"surrogate": {"type": "Surrogate"}}

        return change

    found = read_submission(changed(file, marked(1)))
    assert [of.model.name for of in found.entries] == ["float"]
    with pytest.raises(InputError, match=r"surrogates only: .* Submit a store of models"):
        read_submission(changed(file, marked(0, 1)))


def entry(said):
    return said["entries"][0]


def condition(said):
    return entry(said)["scores"][1]["condition"]


CHANGES = {
    "version": lambda s: s.update(version=2),
    "link": lambda s: s.update(link="javascript:alert(1)"),
    "no name": lambda s: s.update(by=" "),
    "not of type str": lambda s: s.update(by=5),
    r"\(has 'more'\)": lambda s: s.update(more=1),
    r"\(lacks 'licence'\)": lambda s: s.pop("licence"),
    "not printable": lambda s: s.update(by="\u202eevil"),
    "too long or not printable": lambda s: s.update(licence="x" * 1000),
    "0 entries": lambda s: s.update(entries=[]),
    "two entries of one": lambda s: s["entries"].append(entry(s)),
    "more than a reader takes": lambda s: entry(s)["model"]["tags"].update(x="y" * 1000),
    "fingerprint": lambda s: entry(s)["model"].update(fingerprint="../../etc/passwd/<b>"),
    "model.weight_bits is 99, and lies from 1 to 32": lambda s: entry(s)["model"].update(weight_bits=99),
    "model.act_bits is -1": lambda s: entry(s)["model"].update(act_bits=-1),
    "model.bytes is -5": lambda s: entry(s)["model"].update(bytes=-5),
    "data.count is -1": lambda s: entry(s)["data"].update(count=-1),
    "data.count is 10000000000000000000": lambda s: entry(s)["data"].update(count=10**19),
    "seed is 10000000000000000000": lambda s: entry(s).update(seed=10**19),
    "model.tags.x is -10000000000000000000": lambda s: entry(s)["model"].update(tags={"x": -(10**19)}),
    "a name in model.tags.right": lambda s: entry(s)["model"]["tags"].update(right={"a\u202e": 1}),
    "the text in masking": lambda s: entry(s).update(masking="\u202e"),
    "scores.1.condition.eps is 1.5, and lies from 0 to 1": lambda s: condition(s).update(norm="linf", eps=1.5),
    "scores.1.condition.severity is -1": lambda s: condition(s).update(severity=-1),
    "scores.1.condition.step is 0": lambda s: condition(s).update(step=0),
    "model.coverage.parts.0.weights is -1": lambda s: entry(s)["model"].update(
        coverage={"parts": [{"name": "a", "weights": -1, "products": 1}]}
    ),
    "date": lambda s: entry(s).update(date="yesterday"),
    "conditions": lambda s: entry(s).update(scores=[]),
    "no clean images": lambda s: entry(s)["scores"].pop(0),
    "twice": lambda s: entry(s)["scores"].append(entry(s)["scores"][0]),
    "kind": lambda s: entry(s)["scores"][1]["condition"].update(kind="<b>"),
    "scores.1.condition.eps is nan": lambda s: condition(s).update(eps="nan"),
    "the norm 'l7'": lambda s: condition(s).update(norm="l7"),
    "model.scheme.weight_bits is 'four'": lambda s: entry(s)["model"].update(scheme={"weight_bits": "four"}),
    "model.scheme.act_bits is 99": lambda s: entry(s)["model"].update(scheme={"act_bits": 99}),
    "model.scheme.act_bits is True": lambda s: entry(s)["model"].update(scheme={"act_bits": True}),
    "right under": lambda s: entry(s)["scores"][1].update(right="AAAA"),
    "n is 1000000000000": lambda s: entry(s).update(n=10**12),
    "n is -1": lambda s: entry(s).update(n=-1),
    "cannot be read": lambda s: entry(s).update(n="many"),
}


@pytest.mark.parametrize("words", CHANGES)
def test_what_cannot_be_is_refused(file, words):
    with pytest.raises(InputError, match=words):
        read_submission(changed(file, CHANGES[words]))


def test_numbers_that_are_too_large_for_a_float_are_none(file):
    changed(file, lambda said: entry(said)["model"].update(tags={"x": 12345}))
    file.write_text(file.read_text().replace("12345", "1e999"))
    with pytest.raises(InputError, match="1e999 is no number"):
        read_submission(file)


def test_a_name_that_stands_there_twice_is_refused(file):
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 0, "seed": 1', 1))
    with pytest.raises(InputError, match="has 'seed' twice in one place"):
        read_submission(file)


def test_norms_are_those_of_attacks():
    assert set(NORMS) == set(BALLS)


def places(value, path=()):
    """The way to everything in a file."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


WRONG = [
    -1,
    0,
    10**19,
    -(10**400),
    1.5,
    float("1e999"),
    "nan",
    "inf",
    "",
    "\u202e",
    "x" * 5000,
    True,
    None,
    [],
    {},
    [[]],
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_whatever_stands_in_a_field_is_read_or_refused_and_what_is_read_makes_a_board(file, drawn):
    said = json.loads(file.read_text())
    paths = [path for path in places(said) if path]
    for _ in range(drawn.draw(st.integers(1, 2))):
        *way, last = drawn.draw(st.sampled_from(paths))
        holder = said
        try:
            for step in way:
                holder = holder[step]
            holder[last] = drawn.draw(st.one_of(st.sampled_from(WRONG), st.integers(), st.floats(), st.text()))
        except (KeyError, IndexError, TypeError):
            continue  # a change before has taken the place away
    other = file.with_name("other.json")
    other.write_text(json.dumps(said))
    try:
        read_submission(other)
    except InputError as refused:
        assert "other.json" in str(refused) and len(str(refused)) < 2_000
    else:
        bp.write_leaderboard([other], file.parent / "site")


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"version": NaN}', b"[]", b"null"])
def test_what_is_no_submission_is_refused(tmp_path, raw):
    (tmp_path / "x.json").write_bytes(raw)
    with pytest.raises(InputError, match=r"x\.json.*bitproof submit"):
        read_submission(tmp_path / "x.json")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as sparse:
        sparse.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match="at most 16,777,216"):
        read_submission(tmp_path / "x.json")


def test_one_that_would_be_refused_is_not_written(store, tmp_path):
    with pytest.raises(InputError, match="link"):
        submit(store, tmp_path / "me.json", by="Ada", link="ftp://a")
    with bp.Store() as empty, pytest.raises(InputError, match="holds no results"):
        submit(empty, tmp_path / "me.json", by="Ada")
    assert not (tmp_path / "me.json").exists()


def test_on_the_command_line(store, tmp_path, run):
    code, out, _ = run("submit", tmp_path / "s.db", "--by", "Ada", "-o", tmp_path / "me.json")
    assert code == 0 and "2 models, 4 results" in out
    code, out, _ = run("leaderboard", tmp_path / "me.json", "--check")
    assert code == 0 and "2 models by Ada" in out
    code, _, err = run("leaderboard", changed(tmp_path / "me.json", CHANGES["link"]), "--check")
    assert code == 2 and "javascript" in err


def test_something_else_is_said_to_be_none(file):
    file.write_text("[]")
    with pytest.raises(InputError, match=r"cannot be read \(it is a list\): it is a submission of version 1"):
        read_submission(file)
