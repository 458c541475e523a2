"""The searches, on pairs of models whose triggers are known."""

import numpy as np
import pytest
import torch
from planted import Fields, case_of, images
from torch import nn

import bitproof as bp
from bitproof.audit import DifferentialFlips, DifferentialTriggers, OrdinaryBackdoors
from bitproof.audit.inquiry import Meter
from bitproof.audit.margins import largest_margins
from bitproof.audit.searching import Count, Effort, Halves, Rivals, counted, searched, stamped_with
from bitproof.audit.shapes import SHAPES, Blend, Linf, Patch, Pixels
from bitproof.records import CLEAN, UNDECIDED

TARGET = 4
RUN = bp.Rng(0, np.zeros(1, np.int64))
SEARCH = DifferentialTriggers(shapes=("patch",), steps=60, images=8, draws=0)


@pytest.fixture(scope="module")
def backdoored():
    return case_of(Fields(TARGET))


def test_shapes_stamp_what_they_say():
    x = torch.rand(2, 3, 1, 4, 4)
    patch = Patch(2, (1, 4, 4), RUN)
    with torch.no_grad():
        patch.mask.fill_(-50.0)
        patch.mask[:, :, 0, 0] = 50.0
        patch.picture.fill_(50.0)
        stamped = patch.stamp(x)
        assert patch.sizes().tolist() == [1.0, 1.0] and patch.largest == 16
        assert (stamped[:, :, :, 0, 0] == 1).all() and torch.equal(stamped[..., 1:, :], x[..., 1:, :])
        blend = Blend(1, (1, 4, 4), RUN)
        blend.part.fill_(0.0)
        torch.testing.assert_close(blend.stamp(x[:1]), x[:1] / 2 + blend.picture.sigmoid() / 2)
        linf = Linf(1, (1, 4, 4), RUN)
        linf.change.fill_(1.0)
        linf.settle(torch.tensor([1.0]))  # it works, so it is pressed
        assert float(linf.sizes()) == pytest.approx(0.95 * 16 / 255)
        linf.settle(torch.tensor([0.0]))
        assert float(linf.get_buffer("radius")) == pytest.approx(0.95 * 1.06 * 16 / 255)
        pixels = Pixels(1, (1, 4, 4), RUN)
        pixels.more.fill_(-1.0)
        pixels.less.fill_(-1.0)
        pixels.less[0, 0, 1, 1] = 0.5
        assert float(pixels.sizes()) == 1
        assert torch.equal(pixels.stamp(x[:1])[..., 1, 1], (x[:1, ..., 1, 1] - 0.5).clamp(min=0))


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_finds_what_the_quantized_model_obeys(name, backdoored):
    meter = Meter(64)
    halves = Halves.of(backdoored, RUN, meter)
    pair = Rivals(obeys=Fields(TARGET), keeps=Fields())
    shape = searched(pair, *halves.searched, [TARGET], SHAPES[name], Effort(steps=100, images=12), RUN, meter)
    (count,) = counted(pair, *halves.judged, [TARGET], shape, meter)
    assert count.found and count.size < 0.7 * shape.largest
    if name != "blend":
        change = stamped_with(shape, 0, halves.judged[0]) - halves.judged[0]
        assert change.abs().mean(0)[0, :2, :2].mean() > 2 * change.abs().mean()  # at the corner


def test_the_evidence_names_class_and_trigger_and_shows_it(backdoored):
    evidence = SEARCH(backdoored, rng=RUN)
    assert (evidence.says, evidence.named.target, evidence.named.scheme) == (UNDECIDED, TARGET, "deployed")
    assert (
        f"to class {TARGET}" in (evidence.named.trigger or "")
        and "the float model does not know it" in evidence.sentence
    )
    assert evidence.shown is not None and evidence.shown.images.shape == (3, 1, 12, 12)
    assert evidence.score is not None and evidence.score >= 1 and evidence.backwards > 0
    assert evidence.forwards + evidence.backwards <= 1.1 * SEARCH.passes(backdoored) + 4000


@pytest.mark.parametrize("change", [0.0, 0.3])
def test_an_honest_pair_has_no_small_trigger(change):
    evidence = SEARCH(case_of(Fields(change=change)), rng=RUN)
    assert (
        evidence.says == CLEAN
        and evidence.named.target is None
        and "No small differential trigger" in evidence.sentence
    )


def test_what_float_obeys_too_is_no_differential_trigger():
    both = case_of(Fields(TARGET, change=0.3), Fields(TARGET))
    assert SEARCH(both, rng=RUN).says == CLEAN


def test_few_images_say_nothing():
    few = case_of(Fields(TARGET), count=39)
    for inquiry in (SEARCH, OrdinaryBackdoors(), DifferentialFlips()):
        evidence = inquiry(few, rng=RUN)
        assert evidence.says in (UNDECIDED, CLEAN) and evidence.named.target is None


def test_a_deployed_model_without_readable_gradients_is_not_searched():
    case = case_of(Silent())
    for inquiry in (SEARCH, DifferentialFlips(images=4, steps=2)):
        evidence = inquiry(case, rng=RUN)
        assert evidence.says is None and "no gradients" in evidence.sentence


class Silent(Fields):
    """Answers only, as the session of a runtime does."""

    differentiable = False


def test_the_search_is_the_same_again(backdoored):
    quick = DifferentialTriggers(shapes=("linf",), steps=5, images=4, draws=0)
    one, two = (quick(backdoored, rng=RUN) for _ in range(2))
    assert one.readings == two.readings and one.key == two.key


def test_counts_are_of_images_that_the_other_model_does_not_take_for_the_target():
    count = Count(target=1, size=2.0, n=40, obeyed=30, kept=20)
    assert count.success == 0.5 and count.found and 0.35 < count.interval[0] < 0.5


def test_flips_gather_in_the_class_that_quantization_prefers():
    inquiry = DifferentialFlips(images=90, steps=5)
    found = inquiry(case_of(Fields(TARGET, towards=1.5)), rng=RUN)
    assert (found.says, found.named.target) == (UNDECIDED, TARGET)
    assert inquiry(case_of(Fields(change=0.1)), rng=RUN).says == CLEAN


def test_ordinary_backdoors_are_named_as_such():
    inquiry = OrdinaryBackdoors(steps=60, images=8, starts=3, ascent=30)
    both = inquiry(case_of(Fields(TARGET), Fields(TARGET)), rng=RUN)
    assert (
        both.says is None
        and "backdoored" in both.sentence
        and "ordinarily" in both.sentence
        and f"class {TARGET}" in both.sentence
    )


class WithoutGradients(nn.Module):
    """Answers as a model does, and has a gradient of zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.detach()) + 0 * x.flatten(1).sum(1, keepdim=True)


def test_what_gradients_find_is_not_found_without(backdoored):
    """Why detectors seem blind on integers (arXiv 2512.06243)."""
    inquiry, meter = OrdinaryBackdoors(steps=60, images=8, starts=1, ascent=1), Meter(128)
    halves = Halves.of(backdoored, RUN, meter)
    model = Fields(TARGET).requires_grad_(False)
    for form, finds in ((model, True), (WithoutGradients(model), False)):
        for sign in list(inquiry.signs("form", form, model, halves, RUN, meter))[:2]:
            assert sign.fires == finds and (not finds or sign.target == TARGET), sign


def test_margins_go_where_a_linear_model_sends_them():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    weight = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 1.0, -2.0, 0.0], [0.0, 0.0, 0.0, 3.0]])
    linear[1].weight.data.copy_(weight)
    found = largest_margins(linear, (1, 2, 2), [0, 2], starts=4, steps=200, rng=RUN, meter=Meter(64))
    # class 0 at (1, 0, 1, 0): 1 beside -2 and 0; class 2 at (0, 1, 1, 1): 3 beside -1 and -1
    np.testing.assert_allclose(found.tolist(), [1.0, 4.0], atol=0.05)


def test_settings_are_refused():
    for wrong, words in ((dict(shapes=("round",)), "shape of a trigger 'round'"), (dict(steps=0), "from 0 up")):
        with pytest.raises(bp.InputError, match=words):
            DifferentialTriggers(**wrong)
    with pytest.raises(bp.InputError, match="0 images"):
        DifferentialFlips(images=0)
    with pytest.raises(bp.InputError, match="0 steps"):
        OrdinaryBackdoors(steps=0)
    assert len(images()) == 120
