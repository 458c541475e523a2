"""What the board says: who is compared with whom, ranks, baselines, tiers."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof.leaderboard.board import DISPUTED, MEASURED, REPORTED, REPRODUCED, Source, board
from bitproof.leaderboard.entry import Entry, Score, entries, packed, titled
from bitproof.leaderboard.figures import front
from bitproof.metrics import wilson
from bitproof.records import Diagnosis
from report_cells import CLEAN, N, attack, cell, jpeg, model, transfer


def made(*cells) -> tuple[Entry, ...]:
    return tuple(entries(cells, {}, {}))


def named(name, width=32, **about):
    return replace(model(name, width), architecture="net", **about)


FLOAT, FOUR = named("float"), named("w4a4", 4)


@pytest.fixture(scope="module")
def some() -> tuple[Entry, ...]:
    wrong = {FLOAT.name: (0, 4, 8), FOUR.name: (2, 20, 30)}
    conditions = (CLEAN, attack(8), jpeg(1))
    return made(*(cell(m, c, wrong[m.name][i]) for m in (FLOAT, FOUR) for i, c in enumerate(conditions)))


def test_an_entry_says_what_is_right(some):
    first, second = some
    assert [e.model.name for e in some] == ["net float", "net w4a4"]
    assert first.scores[0].condition.kind == "clean" and first.n == N
    assert second.correct["clean"].sum() == N - 2 and not second.correct["clean"][-2:].any()
    assert (first.baseline, second.baseline) == (None, FLOAT.fingerprint)


def test_the_order_of_examples_does_not_matter(some):
    turned = [
        replace(c, **{name: getattr(c, name)[::-1] for name in ("ids", "labels", "predictions")})
        for c in [cell(FLOAT, CLEAN, 0), cell(FLOAT, attack(8), 4), cell(FLOAT, jpeg(1), 8)]
    ]
    assert made(*turned)[0] == some[0]


def test_rows(some):
    rankings = {r.threat.name: r for r in board([Source(entries=some)]).rankings}
    assert list(rankings) == ["linf 8/255", "corruptions", "clean images"]
    best, worst = rankings["linf 8/255"].rows
    assert (best.ranks, worst.ranks) == ((1, 1), (2, 2))
    assert (worst.rate.low, worst.rate.high) == wilson(N - 20, N) and worst.rate.value == 0.5
    assert worst.baseline is not None and worst.baseline[1].value == 0.9 and best.baseline is None
    assert worst.difference is not None and worst.difference.value == pytest.approx(-0.4) and worst.sign == -1
    assert [row.ranks for row in rankings["clean images"].rows] == [(1, 2), (1, 2)]
    assert {row.place.tier for r in rankings.values() for row in r.rows} == {MEASURED}


def test_models_that_met_more_stand_beside_those_that_met_less():
    other = replace(attack(8, restarts=5), label="pgd-20 x5 linf 8/255", group="pgd-20 x5 linf")
    some = made(
        *(cell(FLOAT, c, w) for c, w in ((CLEAN, 0), (attack(8), 4), (other, 10))),
        *(cell(FOUR, c, w) for c, w in ((CLEAN, 0), (attack(8), 6))),
    )
    first, second, _ = board([Source(entries=some)]).rankings
    assert len(first.rows) == 2 and first.threat.how == "pgd-20 linf"
    assert first.rows[0].rate.value == 1 - 4 / N, "by the attack that both met"
    assert [row.place.entry.model.name for row in second.rows] == ["net float"]
    assert second.rows[0].rate.value == 1 - 10 / N and "each of" in second.threat.how


def test_budgets_tried_before_make_no_other_threat():
    after = replace(attack(8), how={"after": {"eps": 4 / 255}})
    some = made(cell(FLOAT, CLEAN), cell(FLOAT, attack(8)), cell(FOUR, CLEAN), cell(FOUR, after))
    assert len(board([Source(entries=some)]).rankings[0].rows) == 2


def test_other_data_and_targeted_attacks_are_apart():
    aimed = replace(attack(8), targets="next")
    few = made(cell(FLOAT, CLEAN), cell(FLOAT, aimed), cell(FLOAT, transfer("float")))
    assert [r.threat.name for r in board([Source(entries=few)]).rankings] == ["clean images"]
    changed = replace(cell(FOUR, CLEAN), ids=np.arange(N))
    assert len(board([Source(entries=(*few, *made(changed)))]).rankings) == 2


def test_tiers(some):
    _, mine = some
    flipped = tuple(Score(condition=s.condition, right=packed(~s.correct(N))) for s in mine.scores)
    own, theirs = Source(entries=(mine,)), Source(entries=(mine,), by="Ada")
    lying = Source(entries=(replace(mine, scores=flipped),), by="Eve")

    def tier(*sources):
        (place,) = board(sources).places.values()
        return place.tier

    assert tier(own) == tier(own, own) == MEASURED
    assert tier(theirs) == REPORTED
    later = replace(theirs, entries=(replace(mine, date="2026-11-01T10:00:00+00:00"),), by="Bob")
    assert tier(later, own) == tier(theirs, later) == REPRODUCED
    assert tier(theirs, theirs) == tier(theirs, replace(theirs, by="Bob")) == REPORTED, "nothing was run twice"
    assert tier(theirs, own) == MEASURED
    assert tier(own, lying) == tier(theirs, lying) == DISPUTED
    (place,) = board([lying, own]).places.values()
    assert place.entry.scores == mine.scores, "one's own numbers are shown"


def test_a_source_that_is_given_twice_is_listed_once(some):
    _, mine = some
    own, ada, bob = Source(entries=some), Source(entries=(mine,), by="Ada"), Source(entries=(mine,), by="Bob")
    places = board([ada, own, bob, ada, own]).places
    assert [source.by for source in places[mine.identity].sources] == ["", "Ada", "Bob"]


def test_names_are_told_apart_and_diagnoses_found():
    twin = replace(FLOAT, fingerprint="another")
    some = made(cell(FLOAT, CLEAN), cell(twin, CLEAN))
    names = [p.entry.model.name for p in board([Source(entries=some)]).places.values()]
    assert len(set(names)) == 2 and all(name.startswith("net float (") for name in names)
    assert titled(model("w4a4", 4)) == "w4a4" and titled(named("net w4a4")) == "net w4a4"


def test_a_diagnosis_goes_along():
    about = cell(FLOAT, CLEAN)
    found = Diagnosis(
        model=FLOAT,
        twin=None,
        data=about.data,
        seed=0,
        setting={},
        eps=0.1,
        attacked=40,
        signals=(),
        accuracy={"gradients": 0.5, "all": 0.5},
        forwards=1,
        backwards=1,
        seconds=1.0,
    )
    (entry,) = entries([about, found], {}, {})
    assert entry.masked is False and entry.masking == found.verdict


def test_the_front(some):
    sizes = {"net float": 400, "net w4a4": 100}
    rows = board([Source(entries=some)]).rankings[0].rows
    by_size = front(rows, lambda row: sizes[row.place.entry.model.name])
    assert [row.place.entry.model.name for row in by_size] == ["net w4a4", "net float"]
    assert len(front(rows, lambda row: 1.0)) == 1
    assert front(rows, lambda row: None) == []
