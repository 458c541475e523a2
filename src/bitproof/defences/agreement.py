"""What members of an ensemble have to be brought to: the same wrong class, several of them at once.

For each class t, with the margins z_t - max_{k != t} z_k of the members, each in units of the spread of its logits:

    u_t = - sum over the m members with the largest margins of  max(0, kappa - margin)

u_t > -kappa only where all of these margins are above 0, which is where m members answer t. A last column of -kappa is
thus the largest of a row as long as no class has so many members.

Sources: He et al. 2017 (arXiv 1706.04701), who attack all parts of a composed defence at once; the hinge is that of
Carlini & Wagner 2017 (1608.04644).
"""

import torch
from jaxtyping import Float
from torch import Tensor

KAPPA = 0.05
"""Margin up to which a member is pulled, in units of the spread of its logits."""


def scaled(logits: Float[Tensor, "*m n k"]) -> Float[Tensor, "*m n k"]:
    """Logits in units of their spread over the classes, so that no member outweighs the others by its scale alone."""
    spread = logits.detach().std(-1, keepdim=True)
    return logits / torch.where(spread > 0, spread, torch.ones_like(spread))


def margins(logits: Float[Tensor, "*m n k"]) -> Float[Tensor, "*m n k"]:
    """How far each class is ahead of the best of the others; positive for the prediction alone."""
    top, place = logits.topk(2, dim=-1)
    classes = torch.arange(logits.shape[-1], device=logits.device)
    return logits - torch.where(classes == place[..., :1], top[..., 1:], top[..., :1])


def shortfall(logits: Float[Tensor, "m n k"], agreeing: int) -> Float[Tensor, "n k"]:
    """What is missing until `agreeing` members answer each class; below `KAPPA` they do."""
    missing = (KAPPA - margins(scaled(logits))).clamp(min=0)
    return missing.topk(agreeing, dim=0, largest=False).values.sum(0)


def with_refusal(missing: Float[Tensor, "n k"]) -> Float[Tensor, "n k1"]:
    """What is missing for each class as logits, with a last column that is the largest while it is missing for all."""
    return torch.cat([-missing, missing.new_full((len(missing), 1), -KAPPA)], 1)
