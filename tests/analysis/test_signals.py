"""Signals of masked gradients: statistics by hand, and evidence with one symptom."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest

import bitproof as bp
from bitproof.analysis.signals import judge
from bitproof.metrics import mcnemar, rate_above
from masked_models import ASKEW, FREE, LITTLE, TRANSFER

SPENT = {"steps": 4, "queries": 9, "draws": 5, "directions": 3}


def test_p_values_by_hand():
    tail = sum(comb(40, k) * 0.05**k * 0.95 ** (40 - k) for k in range(6, 41))
    assert rate_above(6, 40, 0.05) == pytest.approx(tail, rel=1e-9)
    a, b = np.arange(20) < 12, np.arange(20) >= 10  # a alone is right on 10, b alone on 8
    p = sum(comb(18, k) for k in range(10, 19)) / 2**18
    assert mcnemar(a, b, alternative="greater") == pytest.approx(p)
    assert mcnemar(a, a, alternative="greater") == 1


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
    for symptom, words in ((ASKEW, "the weaker evidence"), (FREE, "is not robust for that")):
        assert words in replace(diagnosis, signals=judge(spoiled(symptom, 80), **SPENT)).verdict


@pytest.mark.parametrize("signal", range(9))
def test_each_symptom_fires_its_own_signal_alone(signal):
    few, many = (5, 50) if signal != ASKEW else (50, 75)
    assert [i for i, s in enumerate(judge(spoiled(signal, many), **SPENT)) if s.fires] == [signal]
    assert not any(s.fires for s in judge(spoiled(signal, few), **SPENT))


def test_an_effect_is_judged_by_significance_margin_and_holm():
    """12 of 100 that Square alone breaks: p = 2^-12, times nine signals; six of 100 are significant and too few."""
    signal = judge(spoiled(FREE, 12), **SPENT)[FREE]
    assert signal.effect == pytest.approx(0.12)
    assert signal.p_value == pytest.approx(2**-12)
    assert signal.p_holm == pytest.approx(9 * 2**-12)
    assert signal.fires
    six = judge(spoiled(FREE, 6), **SPENT)[FREE]  # above the margin, but 9 * 2^-6 > 0.05
    assert six.effect > six.limit and six.p_holm is not None and six.p_holm > 0.05 and not six.fires
    found = {name: np.repeat(values, 10, axis=0) for name, values in spoiled(FREE, 4).items()}
    four = judge(found, **SPENT)[FREE]  # 40 of 1000: beyond doubt, and below the margin
    assert four.p_holm is not None and four.p_holm < 1e-9 and not four.fires


def test_without_a_twin_transfer_is_not_looked_for_and_not_corrected_for():
    found = spoiled(FREE, 12)
    del found["transfer"]
    signals = judge(found, **SPENT)
    assert signals[TRANSFER].fires is None and "float twin" in signals[TRANSFER].sentence
    assert signals[FREE].p_holm == pytest.approx(8 * 2**-12)
