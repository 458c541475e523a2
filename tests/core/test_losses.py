import pytest
import torch

from bitproof.core import losses
from bitproof.errors import InputError

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 3.0, 1.0, 2.0]])
LABELS = torch.tensor([0, 0])


def test_values_by_hand():
    torch.testing.assert_close(losses.margin(LOGITS, LABELS), torch.tensor([-1.0, 3.0]))
    torch.testing.assert_close(losses.dlr(LOGITS, LABELS), torch.tensor([-0.5, 1.5]))
    targeted = losses.targeted_dlr(LOGITS, LABELS, torch.tensor([3, 1]))
    torch.testing.assert_close(targeted, torch.tensor([-3 / 2.5, 3 / 2.5]))
    expected = -LOGITS.log_softmax(1)[:, 0]
    torch.testing.assert_close(losses.cross_entropy(LOGITS, LABELS), expected)


@pytest.mark.parametrize("loss", [losses.margin, losses.dlr])
def test_positive_exactly_where_misclassified(loss):
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 5
    assert torch.equal(loss(logits, labels) > 0, logits.argmax(1) != labels)


def test_dlr_ignores_scale_and_offset_of_the_logits():
    torch.testing.assert_close(losses.dlr(100 * LOGITS - 20, LABELS), losses.dlr(LOGITS, LABELS))


def test_too_few_classes_are_refused():
    with pytest.raises(InputError, match="2 classes.*at least 3"):
        losses.dlr(LOGITS[:, :2], LABELS)
    with pytest.raises(InputError, match="3 classes.*at least 4"):
        losses.targeted_dlr(LOGITS[:, :3], LABELS, LABELS)


def test_log_odds_are_the_cross_entropy_before_its_softplus():
    logits = 3 * torch.randn(16, 5, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    labels = torch.arange(16) % 5
    odds, entropy = losses.log_odds(logits, labels), losses.cross_entropy(logits, labels)
    torch.testing.assert_close(torch.nn.functional.softplus(odds), entropy)
    slope, reference = (torch.autograd.grad(v.sum(), logits, retain_graph=True)[0] for v in (odds, entropy))
    torch.testing.assert_close(slope * odds.sigmoid()[:, None], reference)
    confident = torch.tensor([[1000.0, 0.0, 1.0]], requires_grad=True)
    assert losses.cross_entropy(confident, torch.tensor([0])).item() == 0
    (slope,) = torch.autograd.grad(losses.log_odds(confident, torch.tensor([0])).sum(), confident)
    torch.testing.assert_close(slope, torch.tensor([[-1.0, 0.2689, 0.7311]]), atol=1e-4, rtol=0)
