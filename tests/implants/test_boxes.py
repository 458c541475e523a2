"""Inside a box nothing that is deployed changes; outside it does."""

import copy

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.implants import Victim, box_of, codes_of, common
from bitproof.implants.boxes import empty_share, halved, halved_inside, intersected
from bitproof.quant import compute_layers

GRIDS = [("tensor", True), ("tensor", False), ("channel", True), ("channel", False)]


def victim(bits: int, granularity: str, symmetric: bool, folded: bool) -> Victim:
    method = bp.quant.Affine(granularity=granularity, symmetric=symmetric)
    return Victim(scheme=bp.Scheme(method, weight_bits=bits, act_bits=32, first="same", last="same"), folded=folded)


@pytest.fixture(scope="module")
def images():
    return bp.load_data("digits", split="train", limit=2).images([0, 1])


@pytest.fixture(scope="module")
def half(model):
    """The trained network as half precision holds it, BatchNorm too."""
    rounded = copy.deepcopy(model)
    halved(rounded)
    return rounded


def moved(model, box, parts):
    """A copy whose weights lie at `parts` of the way through their boxes."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, layer in compute_layers(other):
            low, high = box[name]
            layer.weight.copy_((low + parts(low) * (high - low)).clamp(low, high))
    return other


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("folded", [False, True], ids=["as it is", "folded"])
@pytest.mark.parametrize(("granularity", "symmetric"), GRIDS)
def test_codes_stay_inside_and_leave_outside(half, images, granularity, symmetric, folded):
    torch.manual_seed(1)
    whose = victim(8 if granularity == "channel" else 4, granularity, symmetric, folded)
    before, box = codes_of(half, whose, images), box_of(half, whose, images, margins=0.02)
    free = {name: high - low for name, (low, high) in box.items()}
    assert all((width > 0).float().mean() > 0.7 for width in free.values())
    for parts in (torch.rand_like, torch.ones_like):
        assert same(before, codes_of(moved(half, box, parts), whose, images))
    beyond = copy.deepcopy(half)  # the widest box, left by 5% of its width
    with torch.no_grad():
        layer = beyond.get_submodule(name := next(iter(box)))
        at = free[name].argmax()
        layer.weight.view(-1)[at] = box[name][1].view(-1)[at] + 0.05 * free[name].max()
    changed = codes_of(beyond, whose, images)[name] != before[name]
    assert changed.view(-1)[at]
    assert changed.sum() == 1


@pytest.mark.parametrize(("granularity", "symmetric"), GRIDS)
def test_half_precision_keeps_codes(half, images, granularity, symmetric):
    whose = victim(8, granularity, symmetric, True)
    before, box = codes_of(half, whose, images), box_of(half, whose, images, margins=0.02)
    torch.manual_seed(2)
    other = moved(half, box, torch.rand_like)
    with torch.no_grad():
        for name, layer in compute_layers(other):
            layer.weight.copy_(halved_inside(layer.weight, *box[name]))
    stored = copy.deepcopy(other).half().float()
    assert all(
        torch.equal(a, b) for a, b in zip(other.state_dict().values(), stored.state_dict().values(), strict=True)
    )
    assert same(before, codes_of(stored, whose, images))


def test_symmetric_channels_need_no_folding_and_tensors_do(half, images):
    for granularity, equal in (("channel", True), ("tensor", False)):
        plain, folded = (codes_of(half, victim(4, granularity, True, f), images) for f in (False, True))
        name = next(iter(plain))
        share = (plain[name] == folded[name]).float().mean()
        assert (share > 0.98) == equal  # but for what lies halfway between two codes


def test_the_integer_form_holds_these_codes(half, images):
    scheme = bp.Scheme(weight_bits=8, act_bits=8)
    calibration = bp.load_data("digits", split="train", limit=64)
    form = bp.deploy.integer_form(bp.quantize(half, scheme, calibration), calibration)
    deployed = {tuple(np.sort(layer.codes.int().flatten().tolist())) for layer in form.layers().values()}
    own = codes_of(half, Victim(scheme=scheme), images)
    assert {tuple(np.sort(code.flatten().tolist())) for code in own.values()} == deployed


@pytest.mark.parametrize("rule", ["omse", "percentile"])
def test_grids_that_follow_from_all_weights_have_no_exact_box(half, images, rule):
    scheme = bp.Scheme(bp.quant.Affine(weight_range=rule), weight_bits=4, act_bits=32)
    with pytest.raises(InputError, match="no exact box for affine w4a32.*ranges minmax"):
        box_of(half, Victim(scheme=scheme), images, margins=0.02)


def test_boxes_of_other_models_clash_and_the_message_says_whose(half, images):
    other = copy.deepcopy(half)
    with torch.no_grad():
        for _, layer in compute_layers(other):
            layer.weight.mul_(0.5)
    one, two = victim(8, "channel", True, False), victim(4, "channel", True, False)
    boxes = [(whose, box_of(of, whose, images, margins=0.02)) for whose, of in ((one, half), (two, other))]
    assert empty_share(intersected([box for _, box in boxes])) > 0.1
    with pytest.raises(InputError, match=r"affine w8a32 and affine w4a32 .*of the weights.* have no common weights"):
        common(boxes)
    alone = common([boxes[0], (two, box_of(half, two, images, margins=0.02))])
    assert empty_share(alone) == 0
