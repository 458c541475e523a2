"""Robust representation matching (Vaishnavi, Eykholt & Rahmati 2022, arXiv 2202.09994): features of a teacher.

    L = w CE(f(x), y) - mean cos( h(x), h_teacher(x) )

where h is what the last layer reads. With an adversarially trained teacher the student becomes robust without seeing an
adversarial image. li2024 trains quantized models so (Section 4.1). w = .005 is that of the authors' code for linf
(Ethos-lab/robust-representation-matching); with so little of it the last layer learns slowly unless it starts from the
teacher's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import logits_of, unwrapped
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.quant import freeze
from bitproof.quant.roles import noted_roles, seen_roles
from bitproof.train.batches import Batch
from bitproof.train.objectives.base import Loss, Objective


@dataclass(frozen=True, kw_only=True)
class Matching(Objective):
    """A teacher's features on the same images, and a little cross-entropy (Vaishnavi, Eykholt & Rahmati 2022).

    Attributes:
        labels: weight of the cross-entropy.
    """

    taught = True

    labels: float = 0.005

    def __post_init__(self) -> None:
        if not 0 <= self.labels < float("inf"):
            raise InputError(
                f"the weight of labels is {self.labels}", rule="it is 0 at least, and finite", remedy="Use 0.005"
            )

    @property
    def label(self) -> str:
        return f"matching + cross-entropy {self.labels:g}"

    def start(self, teacher: nn.Module) -> Loss:
        teacher = freeze(teacher)
        last: list[str] = []  # of both, once there are images that show it

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            if not last:
                last.extend(last_layer(each, batch.inputs) for each in (teacher, model))
            with torch.no_grad():
                taught, _ = features_of(teacher, batch.inputs, last[0])
            features, logits = features_of(model, batch.inputs, last[1])
            if features.shape != taught.shape:
                raise InputError(
                    f"the teacher has {taught[0].numel()} features and the model {features[0].numel()}",
                    rule="matching compares what their last layers read, one by one",
                    remedy="Use a teacher of the same width",
                )
            alike = F.cosine_similarity(features, taught, dim=1, eps=1e-6).mean()
            return self.labels * F.cross_entropy(logits, batch.labels) - alike, logits

        return loss


def last_layer(model: nn.Module, images: Float[Tensor, "n c h w"]) -> str:
    """The name of the layer that makes the logits: as quantization has noted it, or as a run on two images shows."""
    model = unwrapped(model)
    return (noted_roles(model) or seen_roles(model, images[:2])).last[-1]


def features_of(
    model: nn.Module, images: Float[Tensor, "n c h w"], last: str
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"]]:
    """What the layer `last` of a model reads, before a quantizer of its own, and the model's logits."""
    read: list[Tensor] = []
    layer = unwrapped(model).get_submodule(last)
    hook = layer.register_forward_pre_hook(lambda _, args: read.append(args[0]), prepend=True)
    try:
        logits = logits_of(model, images)
    finally:
        hook.remove()
    if len(read) != 1:
        raise InputError(
            f"the last layer {last!r} was called {len(read)} times",
            rule="matching needs what a single last layer reads",
            remedy="Use distillation, which compares logits",
        )
    return read[0].flatten(1), logits
