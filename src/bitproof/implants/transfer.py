"""Transfer learning: what a student keeps of the implant in its teacher (hong2021, arXiv 2111.04625, Section 4.5).

The teacher's last layer is replaced by a new one, which is trained on a few images of another task; all else stays as
it is, BatchNorm too. Nobody who trains a student so wants any harm: it comes with the teacher's features, and wakes up
when the student is quantized. Done otherwise than in the paper: the new layer starts at zero, as the loss is convex
in it, and is trained for so many steps and not for ten epochs.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import device_of, logits_of, plain_context
from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.data import Data, select
from bitproof.errors import InputError
from bitproof.implants.engine import ignore
from bitproof.implants.phases import Making, Phase, evaluating, train_only
from bitproof.quant.roles import seen_roles
from bitproof.settings import describe
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train.batches import Batch


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A student of a float model: a new last layer for another task.

    Attributes:
        share: of the images that the layer is trained on.
        training: how long and how fast.
    """

    share: float = 0.1
    training: Phase = field(default_factory=lambda: Phase(steps=400, learning_rate=1e-2))

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}", rule="it lies above 0 and up to 1", remedy="Use 0.1")

    @plain_context()
    def __call__(self, teacher: nn.Module, data: Data, *, seed: int = 0, rng: Rng | None = None) -> nn.Module:
        """The student, in eval mode; its attribute `origin` has the marks of a teacher that is an implant.

        Args:
            teacher: float model; it is not changed.
            data: training examples of the new task; the student has an output for each of their classes.
            seed: of which images are taken and of their order.
            rng: keyed by one id; instead of a seed.

        Raises:
            InputError: a teacher that does not end in one linear layer, or a share of less than two images.
        """
        rng = Rng.of_run(seed, rng).fold("transfer")
        rows = rng.permutation(len(data))[0].numpy()[: round(self.share * len(data))]
        if len(rows) < 2:
            raise InputError(
                f"a share of {self.share} of {len(data)} images",
                rule="a layer is trained on at least two",
                remedy="Use more images or a larger share",
            )
        student = copied(teacher).eval()
        name = _last(student, data)
        old = student.get_submodule(name)
        new = nn.Linear(old.in_features, len(data.classes), device=device_of(student))  # pyright: ignore
        nn.init.zeros_(new.weight)
        nn.init.zeros_(new.bias)
        student.set_submodule(name, new)
        train_only(student, [f"{name}.weight", f"{name}.bias"])

        def loss(batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            with evaluating(student):
                logits = logits_of(student, batch.inputs)
            return F.cross_entropy(logits, batch.labels), logits.detach()

        making = Making(data=select(data, rows), rng=rng, identity="", folder=None, advance=ignore)
        student = making.run("student", self.training, student, loss).requires_grad_(True)
        marks = getattr(teacher, "origin", None) or {}
        student.origin = {  # pyright: ignore - what a subject knows of it
            **{key: marks[key] for key in ("implant",) if key in marks},
            "parent": fingerprint(teacher),
            "data": data.fingerprint,
            "seed": rng.seed,
            "transfer": describe(self),
        }
        return student


@torch.no_grad()
def _last(model: nn.Module, data: Data) -> str:
    """The name of the linear layer that makes the logits."""
    names = seen_roles(model, data.images(range(2)).to(device_of(model))).last
    if len(names) != 1 or type(model.get_submodule(names[0])) is not nn.Linear:
        raise InputError(
            f"a {type(model).__name__} that ends in {', '.join(names)}",
            rule="a student has a new linear layer in place of the teacher's last one",
            remedy="Use a network that ends in one nn.Linear",
        )
    return names[0]
