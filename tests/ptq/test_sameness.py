"""Rewrites that would change the function are left out, however the layers hide it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitproof.ptq import FoldBatchNorm, PostTraining, equalize, fold_batch_norm
from bitproof.ptq.sameness import changed_parts, outputs_of
from bitproof.quant import Scheme, quantize
from bitproof.quant.structure import steps_of

IMAGES = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Standardized(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019): scaling the weight does nothing."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias, self.stride, self.padding)


class Activated(nn.Conv2d):
    def forward(self, x):
        return F.leaky_relu(super().forward(x), 0.1)


class Mixed(nn.Module):
    """A plain pair, one with an activation inside, a norm over tokens, and a weight that something else reads."""

    def __init__(self, *, shared: bool = False):
        super().__init__()
        self.plain, self.plain_norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.odd, self.odd_norm = Activated(8, 16, 4, 4), nn.BatchNorm2d(16)
        self.tokens, self.tokens_norm = nn.Linear(16, 16), nn.BatchNorm1d(16)
        self.head, self.shared = nn.Linear(16, 10), shared

    def forward(self, x):
        y = F.relu(self.plain_norm(self.plain(x)))
        y = self.odd_norm(self.odd(y)).flatten(2).transpose(1, 2)
        if self.shared:
            y = y + self.plain.weight.mean()
        return self.head(self.tokens_norm(self.tokens(y)).mean(1))


def small(convolution: type[nn.Conv2d]) -> nn.Module:
    layers = [convolution(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 10))


class Width(nn.Module):
    """A linear layer over the width, which has as many positions as there are channels."""

    def __init__(self):
        super().__init__()
        self.c, self.l = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 16)
        self.d, self.e, self.fc = nn.Conv2d(16, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.e(F.relu(self.d(self.l(F.relu(self.c(x)))))).mean((2, 3)))


def lively(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
            norm.running_var.uniform_(0.05, 2, generator=generator)
            norm.weight.data.uniform_(-1.5, 1.5, generator=generator)
    return model.eval()


@torch.no_grad()
def off(changed: nn.Module, model: nn.Module) -> float:
    logits = model(IMAGES)
    return float((changed(IMAGES) - logits).abs().max() / logits.abs().max())


@pytest.mark.parametrize(
    ("model", "pairs", "kept"),
    [
        (small(nn.Conv2d), (("0", "1"),), ()),
        (small(Standardized), (), ("1",)),
        (small(Activated), (), ("1",)),
        (Mixed(), (("plain", "plain_norm"),), ("odd_norm", "tokens_norm")),
        (Mixed(shared=True), (), ("odd_norm", "plain_norm", "tokens_norm")),
    ],
    ids=["plain", "standardised", "activated", "mixed", "shared"],
)
def test_only_what_leaves_the_function_is_folded(model, pairs, kept):
    folded = fold_batch_norm(lively(model), IMAGES[:2])
    (step,) = steps_of(folded)
    assert (step.pairs, tuple(sorted(step.kept))) == (pairs, kept)
    assert off(folded, model) < 1e-4
    if kept:
        assert off(FoldBatchNorm(pairs=tuple((_layer(norm), norm) for norm in kept))(model), model) > 0.01
    rounded = off(quantize(model, Scheme(), IMAGES), model)
    assert off(PostTraining(equalize=True)(model, IMAGES), model) < 2 * rounded + 0.01


def _layer(norm: str) -> str:
    return norm.removesuffix("_norm") if "_" in norm else "0"


def test_only_pairs_that_leave_the_function_are_equalised():
    model = Width().eval()
    with torch.no_grad():
        for layer in (model.c, model.d):
            layer.weight *= torch.logspace(-1, 1, len(layer.weight)).view(-1, 1, 1, 1)
    even = equalize(model, IMAGES[:2])
    assert off(even, model) < 1e-4
    assert torch.equal(even.c.weight, model.c.weight)
    assert not torch.equal(even.d.weight, model.d.weight)


def test_pairs_whose_sizes_do_not_meet_are_none():
    class Odd(Width):
        def __init__(self):
            super().__init__()
            self.c = nn.Conv2d(3, 8, 3, padding=1)
            self.d = nn.Conv2d(8, 8, 3)

    assert off(equalize(Odd().eval(), IMAGES[:2]), Odd().eval()) >= 0  # no traceback


def test_parts_are_compared_one_by_one():
    model = lively(Mixed())
    wanted = outputs_of(model, ["plain_norm", "odd_norm", "tokens_norm"], IMAGES[:2])
    assert changed_parts(model, wanted, IMAGES[:2]) == []
    with torch.no_grad():
        model.odd.weight[0] += 1  # which changes all that follows
        model.head.weight += 1
    assert changed_parts(model, wanted, IMAGES[:2]) == ["odd_norm", ""]
