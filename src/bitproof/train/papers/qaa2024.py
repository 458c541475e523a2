"""A network that speaks for many bit-widths, to make images on that deceive quantized models (Yang et al. 2024, QAA,
arXiv 2305.05875).

Images made on a float model, or at one bit-width, seldom deceive a model at another one. The surrogate is one network
whose weights are shared by copies at several bit-widths, trained for an epoch on the mean of their losses; an attack
follows the mean of their logits. Bits, quantizer and rate are ours.
"""

from dataclasses import dataclass, field
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.quant import Scheme, quantize
from bitproof.quant.attached import INPUT_QUANTIZER
from bitproof.settings import describe
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train.objectives.shared_bits import SharedBits
from bitproof.train.recipe import Recipe
from bitproof.train.recipes import standard

ONE_EPOCH = standard(
    objective=SharedBits(), epochs=1, batch_size=128, optimizer="sgd", learning_rate=0.01, weight_decay=1e-4
)


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """Makes the surrogate of a float model: name it as the `source` of transfers (Yang et al. 2024).

    Attributes:
        bits: of weights and activations alike, one for each copy.
        method: how they are quantized, a name in `bitproof.quant.METHODS` that can be trained.
        calibration: training images for the ranges.
        recipe: how the copies are trained together; None = not at all.
    """

    bits: tuple[int, ...] = (2, 3, 4, 8)
    method: str = "lsq"
    calibration: int = 512
    recipe: Recipe | None = field(default_factory=lambda: ONE_EPOCH)

    def __post_init__(self) -> None:
        if len(set(self.bits)) < 2:
            raise InputError(
                f"bits is {self.bits}", rule="a surrogate speaks for several bit-widths", remedy="Use (2, 3, 4, 8)"
            )

    def __call__(self, model: nn.Module, data: Data, *, seed: int = 0, rng: Rng | None = None) -> nn.Module:
        """The surrogate, in eval mode; its attribute `origin` says that it is one, and `model` is left as it is.

        Args:
            model: float.
            data: training images.
            seed: of all randomness.
            rng: of the run, as for a recipe; instead of a seed.
        """
        images = data.take(self.calibration)
        schemes = [Scheme(self.method, weight_bits=bits, act_bits=bits) for bits in self.bits]
        shared = Shared([quantize(model, scheme, images) for scheme in schemes]).eval()
        made = shared if self.recipe is None else self.recipe(shared, data, seed=seed, rng=rng)
        made.origin = {  # pyright: ignore - what a subject knows of it
            "surrogate": describe(self),
            "parent": fingerprint(model),
            "data": data.fingerprint,
            "seed": Rng.of_run(seed, rng).seed,
        }
        return made


class Shared(nn.Module):
    """Quantized copies of one network that share all of its parameters; each has its own quantizers and BatchNorm
    statistics. Gives the mean of their logits."""

    def __init__(self, copies: list[nn.Module]) -> None:
        super().__init__()
        first, *others = copies
        own = {name: value for name, value in first.named_parameters() if not _of_quantizer(name)}
        for copy in others:
            for name, value in own.items():
                place, _, last = name.rpartition(".")
                copy.get_submodule(place).register_parameter(last, cast(nn.Parameter, value))
        self.members = nn.ModuleList(copies)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        said = [logits_of(member, images) for member in self.members]
        return sum(said[1:], said[0]) / len(said)


def _of_quantizer(name: str) -> bool:
    """Whether a parameter is one that a quantizer has learned, and not the network's."""
    parts = name.split(".")
    return INPUT_QUANTIZER in parts or ("parametrizations" in parts and parts[-1] != "original")
