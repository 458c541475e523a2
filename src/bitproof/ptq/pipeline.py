"""The post-training pipeline: one setting that composes the steps."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import nn

from bitproof import settings
from bitproof.core.calling import plain_context, unwrapped
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup
from bitproof.ptq.bias import correct_bias
from bitproof.ptq.equalization import equalize
from bitproof.ptq.folding import fold_batch_norm
from bitproof.ptq.reconstruction import Reconstruction
from bitproof.ptq.reestimation import reestimate_batch_norm
from bitproof.quant.calibration import Calibration, Checked, images_of
from bitproof.quant.convert import quantize
from bitproof.quant.scheme import Scheme

ROUNDINGS: dict[str, Reconstruction | None] = {
    "nearest": None,
    "adaround": Reconstruction(by="layer"),
    "brecq": Reconstruction(by="block"),
    "efrap": Reconstruction(by="layer", rounding="efrap", regularization=1.0, warm_up=0.0),
}
"""How the roundings are learned."""

SHOWN = 4
"""Images on which a rewrite shows that it leaves the function as it is."""


@dataclass(frozen=True, kw_only=True)
class PostTraining:
    """Quantizes a float model with a few unlabelled images.

    The steps run in the order of the fields: fold BatchNorm, equalise ranges, quantize with `scheme`, learn the
    roundings, correct biases, re-estimate what BatchNorms are left.

    Attributes:
        scheme: how to quantize.
        fold: whether BatchNorm is folded into the layers before it.
        equalize: whether ranges are evened out across layers, for grids of one a tensor; needs `fold`.
        rounding: "nearest", "adaround" (learned a layer), "brecq" (learned a block) or "efrap" (learned a layer, away
            from the nearest, against what quantization may have been made to activate).
        iterations: optimiser steps a layer or block, where roundings are learned.
        fisher: whether "brecq" weighs errors with the Fisher information.
        correct_bias: whether the mean output of each layer is restored.
        reestimate: whether BatchNorm gets the statistics of the quantized model; needs `fold` off.

    Raises:
        InputError: an unknown rounding, or steps that exclude each other.

    Example:
        >>> PostTraining.parse("brecq:iterations=500", Scheme(weight_bits=4, act_bits=4)).label
        'affine w4a4 brecq iterations=500'
    """

    scheme: Scheme = field(default_factory=Scheme)
    fold: bool = True
    equalize: bool = False
    rounding: str = "nearest"
    iterations: int = Reconstruction.iterations
    fisher: bool = False
    correct_bias: bool = True
    reestimate: bool = False

    def __post_init__(self) -> None:
        lookup(ROUNDINGS, self.rounding, "rounding")
        Reconstruction(iterations=self.iterations)  # checks them
        if self.equalize and not self.fold:
            raise InputError(
                "equalize without fold", rule="a BatchNorm between two layers is in the way", remedy="Use fold=True"
            )
        if self.reestimate and self.fold:
            raise InputError(
                "reestimate with fold", rule="a folded BatchNorm has no statistics", remedy="Use fold=False"
            )

    @plain_context()
    def __call__(self, model: nn.Module, data: Calibration, *, seed: int = 0, rng: Rng | None = None) -> nn.Module:
        """A quantized model, in eval mode, for `freeze`, `save_model` and `evaluate` as any other.

        Args:
            model: float model of images in [0, 1].
            data: 512 to 1024 images, in any form that `quantize` takes; labels are not looked at.
            seed: of the order of images where roundings are learned, and of quantizers that draw in training.
            rng: keyed by one id, the run; instead of a seed.
        """
        model, images = unwrapped(model), images_of(data)
        rng = Rng.of_run(seed, rng)
        reference = fold_batch_norm(model, images[:SHOWN]) if self.fold else model
        if self.equalize:
            reference = equalize(reference, images[:SHOWN])
        quantized = quantize(reference, self.scheme, Checked(images=images), seed=rng.seed)
        if learn := ROUNDINGS[self.rounding]:
            learn = replace(learn, iterations=self.iterations, fisher=self.fisher)
            quantized = learn(quantized, reference, images, rng=rng)
        if self.correct_bias:
            quantized = correct_bias(quantized, reference, images)
        if self.reestimate:
            quantized = reestimate_batch_norm(quantized, reference, images)
        return quantized

    @property
    def label(self) -> str:
        """Short form for people: the scheme's, the rounding, and whatever differs from the defaults."""
        default = PostTraining(scheme=self.scheme, rounding=self.rounding)
        names = ("fold", "equalize", "iterations", "fisher", "correct_bias", "reestimate")
        extra = [f"{n}={getattr(self, n)}" for n in names if getattr(self, n) != getattr(default, n)]
        return " ".join([self.scheme.label, self.rounding, *extra])

    @staticmethod
    def parse(text: str, scheme: Scheme) -> "PostTraining":
        """Read `ROUNDING[:field=value,...]`, the form the command line takes."""

        def named(rounding: str) -> Callable[..., PostTraining]:
            def build(**values: object) -> PostTraining:
                return PostTraining(scheme=scheme, rounding=rounding, **values)  # pyright: ignore

            hints = PostTraining.__annotations__.items()
            build.__annotations__ = {k: v for k, v in hints if k not in ("scheme", "rounding")}
            return build

        return settings.parse(text, {name: named(name) for name in ROUNDINGS}, "rounding")
