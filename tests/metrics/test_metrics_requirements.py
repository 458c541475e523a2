"""Requirements: read from text, judged on intervals, with the number of images that would decide."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof.errors import InputError
from bitproof.metrics.paired import paired_difference
from bitproof.metrics.requirements import Requirement, judge
from metric_cells import make_cell


def pair(n, float_right, deployed_right, both):
    """Two models' clean cells: so many right, so many by both."""
    a = np.arange(n) < float_right
    b = np.zeros(n, bool)
    b[:both] = True
    b[float_right : float_right + deployed_right - both] = True
    return [make_cell(right, model=name) for name, right in (("float", a), ("int8", b))]


def rule(text, cells, **options):
    (found,) = judge(Requirement.parse(text), cells, "float", **options)
    return found


def test_texts_say_metric_condition_sign_and_limit():
    parts = Requirement.parse("ar(pgd, linf, 1/255) >= 0.4")
    assert (parts.metric, parts.words, parts.at_least, parts.factor, parts.model) == (
        "ar",
        ("pgd", "linf", "1/255"),
        True,
        0.4,
        None,
    )
    other = Requirement.parse("acc>=99% * w8 a8")
    assert (other.metric, other.factor, other.model) == ("accuracy", 0.99, "w8 a8")
    assert Requirement.parse("accuracy >= float").factor == 1
    assert not Requirement.parse("mnr <= 0.2").at_least


@pytest.mark.parametrize(
    "text", ["acc", "acc > 0.5", "acc >= ", "acc >= 0.9 float", "acc >= * float", "0.4 <= acc", "acc >= 1 *"]
)
def test_texts_of_another_form_are_refused(text):
    with pytest.raises(InputError, match="METRIC"):
        Requirement.parse(text)


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="unknown metric 'bcc'"):
        Requirement.parse("bcc >= 0.5")


def test_verdicts_follow_the_paired_interval():
    assert rule("acc >= 0.99 * float", pair(10_000, 9200, 9195, 9150)).verdict == "passed"
    assert rule("acc >= 0.99 * float", pair(10_000, 9200, 8800, 8780)).verdict == "failed"
    assert rule("acc >= 0.99 * float", pair(500, 460, 459, 450)).verdict == "undecided"
    assert rule("acc >= 0.5", pair(500, 460, 459, 450)).verdict == "passed"
    assert rule("acc <= 0.5", pair(500, 460, 459, 450)).verdict == "failed"


def test_pairing_decides_what_two_intervals_of_their_own_would_not():
    cells = pair(2000, 1800, 1795, 1792)  # alone, each accuracy is known to +-1.3 points
    assert rule("acc >= 0.99 * float", cells).verdict == "passed"
    assert rule("acc >= 0.99 * float", pair(2000, 1800, 1795, 1650)).verdict == "undecided"


def test_a_ratio_of_one_has_the_sign_of_the_paired_difference():
    for counts in [(1000, 900, 850, 840), (1000, 900, 899, 850), (1000, 850, 900, 840)]:
        cells = pair(*counts)
        found, (_, low, high) = rule("acc >= float", cells), paired_difference(cells[1].correct, cells[0].correct)
        assert found.verdict == ("passed" if low > 0 else "failed" if high < 0 else "undecided")


def test_as_many_images_as_are_said_to_decide_do():
    n, scale = 500, 1
    found = rule("acc >= 0.99 * float", pair(n, 460, 459, 450))
    while scale * n < found.needed:
        scale += 1
    again = rule("acc >= 0.99 * float", pair(*(scale * k for k in (n, 460, 459, 450))))
    assert again.verdict == "passed"
    fewer = rule("acc >= 0.99 * float", pair(*((scale - 2) * k for k in (n, 460, 459, 450))))
    assert fewer.verdict == "undecided"
    assert f"about {found.needed:,} images would decide it" in found.sentence


def test_on_the_limit_nothing_decides():
    found = rule("acc >= 0.92", pair(500, 460, 460, 460))
    assert found.verdict == "undecided" and found.needed is None
    assert "no number of images" in found.sentence


def test_conditions_are_named_by_words():
    cells = pair(100, 90, 88, 85)
    for eps in ("1/255", "2/255"):
        label = f"pgd-20 linf {eps}"
        broken = [make_cell(np.zeros(100), model=name, kind="attack", label=label) for name in ("float", "int8")]
        about = {"variant": eps, "norm": "linf"}
        cells += [replace(one, condition=replace(one.condition, **about)) for one in broken]
    assert rule("ar(pgd,linf,1/255) >= 0.4", cells).verdict == "failed"
    assert rule("ar(pgd-20, 2/255) <= 0.4", cells).verdict == "passed"
    with pytest.raises(InputError, match="2 fit.*'pgd-20 linf 1/255', 'pgd-20 linf 2/255'"):
        judge(Requirement.parse("ar(pgd) >= 0.4"), cells, "float")
    with pytest.raises(InputError, match="0 fit"):
        judge(Requirement.parse("ar(square) >= 0.4"), cells, "float")
    with pytest.raises(InputError, match="mean over examples"):
        judge(Requirement.parse("aai(1/255) <= 2 * float"), cells, "float")


def test_a_model_is_not_judged_by_itself():
    alone = pair(30, 28, 28, 28)[:1]
    with pytest.raises(InputError, match="of model 'float': a model is judged by another one, not by itself"):
        rule("acc >= 0.99 * float", alone)
    assert rule("acc >= 0.5", alone).verdict == "passed"
