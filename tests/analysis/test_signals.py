"""Signals of masked gradients: statistics by hand, and evidence with one symptom."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest

import bitproof as bp
from bitproof.analysis.signals import judge
from bitproof.metrics import difference_above, rate_above
from masked_models import ASKEW, FREE, LITTLE, TRANSFER

SPENT = {"steps": 4, "queries": 9, "draws": 5, "directions": 3}


def test_p_values_by_hand():
    tail = sum(comb(40, k) * 0.05**k * 0.95 ** (40 - k) for k in range(6, 41))
    assert rate_above(6, 40, 0.05) == pytest.approx(tail, rel=1e-9)
    assert rate_above(0, 40, 0.05) == 1


def sound(n: int = 100) -> dict[str, np.ndarray]:
    """Evidence without any sign of masking: PGD breaks half of the examples, and nothing else breaks more."""
    half = np.arange(n) < n // 2
    odds = np.tile(np.arange(5.0), (n, 1))
    never = np.zeros(n, bool)
    return {
        "pgd": half,
        "square": half,
        "fgsm": half & (np.arange(n) > 9),
        "noise": never,
        "transfer": half,
        "unbounded": ~never,
        "odds": odds,
        "zero": never,
        "vanishing": never,
        "cosine": np.ones(n),
        "promised": np.ones(n),
        "kept": np.ones(n),
    }


def spoiled(signal: int, count: int) -> dict[str, np.ndarray]:
    """The same, with a symptom on the last `count` examples."""
    found = sound()
    hit = np.arange(100) >= 100 - count
    match signal:
        case 0 | 1 | 2:
            name = ("square", "transfer", "fgsm")[signal]
            found[name] = found["pgd"] | hit
        case 3:
            found["unbounded"] = ~hit
        case 4:
            found["odds"][hit] = 1
        case 5:
            found["vanishing"] = hit
        case 6:
            found["noise"] = hit
        case 7:
            found["cosine"] = np.where(hit, 0.7, 1.0)
        case 8:
            found["kept"] = np.where(hit, 0.0, 1.0)
    return found


def test_sound_evidence_fires_nothing():
    signals = judge(sound(), **SPENT)
    assert [signal.fires for signal in signals] == [False] * 9
    assert all(signal.p_holm == 1 for signal in signals)


def test_poor_guides_that_harm_no_attack_are_called_that(healthy):
    diagnosis = bp.diagnose_masking(*healthy, **LITTLE)
    for symptom, words in ((ASKEW, "poor guides; no attack shown to suffer"), (FREE, "is not robust for that")):
        assert words in replace(diagnosis, signals=judge(spoiled(symptom, 80), **SPENT)).verdict


@pytest.mark.parametrize("signal", range(9))
def test_each_symptom_fires_its_own_signal_alone(signal):
    few, many = (5, 50) if signal != ASKEW else (50, 75)
    assert [i for i, s in enumerate(judge(spoiled(signal, many), **SPENT)) if s.fires] == [signal]
    assert not any(s.fires for s in judge(spoiled(signal, few), **SPENT))


def test_an_effect_is_judged_by_significance_margin_and_holm():
    """16 of 100 that Square alone breaks: more than 5 points, times nine signals; 12 may be 5 by chance."""
    signal = judge(spoiled(FREE, 16), **SPENT)[FREE]
    a, b = np.arange(100) < 16, np.zeros(100, bool)
    assert signal.effect == pytest.approx(0.16)
    assert signal.p_value == pytest.approx(difference_above(a, b, 0.05))
    assert signal.p_holm == pytest.approx(9 * signal.p_value)
    assert signal.fires
    twelve = judge(spoiled(FREE, 12), **SPENT)[FREE]
    assert twelve.effect > twelve.limit and twelve.p_holm is not None and twelve.p_holm > 0.005
    found = {name: np.repeat(values, 10, axis=0) for name, values in spoiled(FREE, 4).items()}
    assert judge(found, **SPENT)[FREE].p_holm == 1  # 40 of 1000 are above 0 beyond doubt, and below the margin


def test_an_attack_that_wins_by_exactly_the_margin_rarely_fires():
    draw, fired = np.random.default_rng(0), 0
    for _ in range(200):
        found = sound(1000)
        found["square"] = found["pgd"] | (draw.random(1000) < 0.1)  # of the half that stands, 5 of 100
        fired += bool(judge(found, **SPENT)[FREE].fires)
    assert fired <= 5


def test_without_a_twin_transfer_is_not_looked_for_and_not_corrected_for():
    found = spoiled(FREE, 16)
    del found["transfer"]
    signals = judge(found, **SPENT)
    assert signals[TRANSFER].fires is None and "float twin" in signals[TRANSFER].sentence
    assert signals[FREE].p_holm == pytest.approx(8 * signals[FREE].p_value)
