"""The integer form of a quantized model: what an integer runtime will compute, as a model that can be tested.

A fake-quantized model computes with floats that lie on grids. Integer kernels compute with the codes, and three
things differ (Jacob et al. 2018, Section 2):

    batch norm    is folded into the layer before it: its gain into the scale of each output channel (a negative one
                  flips the codes), its offset into the bias
    bias          an integer, a multiple of input scale * weight scale
    output        codes again, so each convolution rounds its output onto a grid: the grid of the layers that read it
                  where those are its only readers and agree, else one more grid of 8 bits, set on calibration images

`integer_form` makes these changes on the captured graph. Its layers then add up codes, which is exact in float32 as
long as sums stay below 2^24, and rescale them as ONNX Runtime does, operation by operation: so both agree bit for bit,
up to the last bits of what stays float behind the last codes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from bitproof.core.calling import plain_context, unwrapped
from bitproof.deploy.capture import capture, mark
from bitproof.deploy.grids import input_grid, weight_codes
from bitproof.deploy.integer_layer import IntegerLayer
from bitproof.deploy.integer_sum import IntegerMean, IntegerSum
from bitproof.deploy.rewrite import Rewriting
from bitproof.errors import InputError
from bitproof.quant import Scheme, freeze
from bitproof.quant.attached import compute_layers, input_quantizer, weight_quantizer
from bitproof.quant.calibration import Calibration, batches_of
from bitproof.quant.convert import quantized_parts
from bitproof.quant.grid import AffineQuantizer
from bitproof.settings import digest


class IntegerForm(nn.Module):
    """A model whose quantized layers compute on codes; see `integer_form`, which makes it.

    Attributes:
        graph: the captured model; its integer layers have the names they had there.
        scheme: how it was quantized.
        shape: (channels, height, width) of its images.
        added: names of the layers that got one more 8-bit grid, ":input" or ":output".
        floats: names of quantized layers that are not called: something else uses their weights, in float, as
            `nn.MultiheadAttention` does those of its `out_proj`.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        scheme: Scheme,
        shape: tuple[int, int, int],
        added: tuple[str, ...],
        floats: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.graph = graph
        self.scheme = scheme
        self.shape = shape
        self.added = added
        self.floats = floats

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.graph(images)

    def layers(self) -> dict[str, IntegerLayer]:
        """The integer layers by name."""
        return {name: module for name, module in self.graph.named_modules() if isinstance(module, IntegerLayer)}

    def adding(self) -> dict[str, int]:
        """How many `sums` and global `means` add up codes; all others are computed in float."""
        kinds = {"sums": IntegerSum, "means": IntegerMean}
        return {name: sum(isinstance(part, kind) for part in self.modules()) for name, kind in kinds.items()}

    @property
    def step(self) -> float:
        """The most that one code can change a logit: a code of the last layer's output, or one that it reads."""
        last = list(self.layers().values())[-1]
        if last.output_quantizer is not None:
            return float(last.output_quantizer.scale)
        sizes = (last.codes.int() - last.zero_point).abs().amax(tuple(range(1, last.codes.dim())))
        return float((last.unit * sizes).max())

    def extra_repr(self) -> str:
        return f"shape={self.shape}, graph={digest(self.graph.code)}"


@plain_context()
@torch.no_grad()
def integer_form(model: nn.Module, calibration: Calibration) -> IntegerForm:
    """The model that integer kernels can compute, made from a fake-quantized one, which is left as it is.

    Args:
        model: what `quantize` returned (trained further or not), whatever it is wrapped in.
        calibration: images, in any form that `quantize` takes: they tell the shape of the images, and the range of
            each tensor that gets a further 8-bit grid (from its smallest to its largest value). Layers whose
            inputs the scheme leaves float get such a grid too.

    Returns:
        A module on the CPU, whose quantized layers are `IntegerLayer`s.

    Raises:
        InputError: a model without quantized weights, a method with no integer form, weights that do not fit into
            8 bits with one zero point, or a model that cannot be captured.
    """
    model = unwrapped(model)
    scheme = _scheme(model)
    batches = [batch.float().cpu() for batch in batches_of(calibration)()]
    shape = tuple(batches[0].shape[1:])
    weights: dict[str, tuple[Tensor, Tensor]] = {}
    grids: dict[str, AffineQuantizer | None] = {}
    marked = freeze(model).cpu()
    for name, layer in compute_layers(model):
        quantizer = input_quantizer(layer)
        if weight_quantizer(layer) is not None:
            weights[name] = weight_codes(name, layer)
            grids[name] = None if quantizer is None else input_grid(name, quantizer)
            mark(marked.get_submodule(name), name, quantizer)
        elif quantizer is not None:
            raise InputError(
                f"layer {name!r} has float weights",
                rule="a layer with quantized inputs runs on integers only if its weights are quantized too",
                remedy="Use weight_bits of 8 or below",
            )
    if not weights:
        raise InputError(
            f"{scheme.label} quantizes no weight",
            rule="the integer form computes on integers",
            remedy="Use weight_bits of 8 or below",
        )
    graph = Rewriting(capture(marked, shape), weights, grids)
    graph.rewrite(batches)
    return IntegerForm(graph.module, scheme, shape, tuple(graph.added), tuple(graph.floats)).eval()  # type: ignore[arg-type]


def _scheme(model: nn.Module) -> Scheme:
    parts = list(quantized_parts(model))
    integer = [name for name, part, _ in parts if isinstance(part, IntegerForm)]
    if len(parts) != 1 or integer:
        found = "is not quantized" if not parts else f"has {len(parts)} quantized parts"
        raise InputError(
            f"the model {'is in integer form already' if integer else found}",
            rule="the integer form is made from one fake-quantized model",
            remedy="Pass what `quantize` returned",
        )
    return parts[0][2]
