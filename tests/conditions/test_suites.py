"""Suites fit every size of image and hold what their papers list."""

import numpy as np
import pytest
from PIL import Image

import bitproof as bp
from bitproof.conditions import as_condition
from bitproof.conditions.suites import quick, resizes, robustmq_attacks
from bitproof.experiment import SUITES
from bitproof.shifts import Pipeline


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


def test_the_eleven_resizes_of_the_digits_all_differ():
    data = bp.load_data("digits", limit=1)
    seen = {c(data.encoded(0), framing=data.framing).tobytes() for c in resizes(data)}
    assert len(seen) == 11


@pytest.mark.parametrize("of", ["digits", "photographs"])
def test_the_suites_of_robustmq_hold_its_fourteen_systematic_noises(of, data):
    large = bp.from_arrays(np.zeros((1, 3, 224, 224), np.uint8), [0])
    for suite in ("robustmq-systematic", "robustmq-small"):
        noises = [c for c in SUITES[suite](data if of == "digits" else large) if isinstance(c, Pipeline)]
        assert {c.protocol for c in noises} == {"shorter-side"}  # neither is cropped
        assert len(set(noises)) == 14
        assert [c.decoder for c in noises if c.name == "decoder"] == ["pillow", "opencv", "ffmpeg"]
        assert sum(c.resize.startswith("pillow") for c in noises if c.name == "resize") == 6


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
    for attack in (*small[1:4], *large[1:4]):
        assert attack.lengths == [pytest.approx(0.075 * attack.eps)] * 20  # RobustART's
    grid = [as_condition(attack) for attack in (*small, *large)]
    assert all(a.differs_in_budget(b) for a, b in zip(grid[:5], grid[5:], strict=True))
    assert len(SUITES["robustmq-attacks"](data)) == 16


def test_robustmq_squashes_pictures_that_are_cropped(tmp_path):
    """As the code of ImageNet-S, so that even the reference decoder and resize differ from the clean images."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)).save(
            tmp_path / name / "1.png"
        )
    data = bp.load_data("folder", root=tmp_path, size=32)
    suite = [c for c in SUITES["robustmq-systematic"](data) if isinstance(c, Pipeline)]
    assert {c.protocol for c in suite} == {"squash"}
    labels = [c.label for c in suite]
    assert labels[0].startswith("resize pillow")
    assert labels[-3:] == ["decoder pillow squash", "decoder opencv squash", "decoder ffmpeg squash"]
    usual = data.images([0])[0].permute(1, 2, 0).numpy()
    seen = suite[-3](data.encoded(0), framing=data.framing) / 255
    assert np.abs(seen - usual).mean() > 0.01


def test_robustmq_small_holds_the_sequences(data):
    kinds = [as_condition(c).record().kind for c in SUITES["robustmq-small"](data)]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} == {
        "clean": 1,
        "attack": 5,
        "corruption": 75,
        "sequence": 10,
        "systematic": 14,
    }


def test_bernhard2019_moves_all_images_to_the_end(data):
    _, *attacked = SUITES["bernhard2019"](data)
    assert [c.label for c in attacked] == [
        "fgsm linf 7.65/255 to the end on all",
        "bim-100 linf 7.65/255 to the end on all",
        "cw-100x10 l2 on all",
        "spsa-100x128 linf 7.65/255 to the end on all",
        "zoo-100x10 l2 on all",
    ]
