"""The two forms of a quantized model: as it is, and the same layers without their quantizers."""

from torch import nn

from bitproof.core.calling import unwrapped
from bitproof.core.copying import copied
from bitproof.errors import InputError
from bitproof.quant import freeze
from bitproof.quant.attached import unquantized, weight_quantizer
from bitproof.quant.convert import quantized_layers


def forms(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Frozen copies of a quantized model: with its quantizers, and without.

    The second one has the float weights behind the grids: of a trained model those that training moved, of one that
    was folded or equalised the folded or equalised ones. Where rounding was learned (AdaRound, BRECQ) they lie on the
    side that they are rounded to.

    Raises:
        InputError: a model that is not quantized, or whose float weights are gone, as in a frozen one.
    """
    model = unwrapped(model)
    found = quantized_layers(model)
    layers = [(name, layer, here) for name, layer, here in found if min(here.weight_bits, here.act_bits) < 32]
    if not layers:
        raise InputError(
            "the model is float",
            rule="this looks at what quantization does to layers",
            remedy="Pass a quantized copy: bp.quantize(model, 'w4a4', images)",
        )
    baked = [name for name, layer, here in layers if here.weight_bits < 32 and weight_quantizer(layer) is None]
    if baked:
        raise InputError(
            f"the float weights of {baked[0] or 'the model'} are gone",
            rule="a layer goes back to float with the weights behind its grid, which frozen models do not have",
            remedy="Pass what `quantize` or `load_model` returned, not what `freeze` did, and use jobs=1",
        )
    loose = copied(model)
    with unquantized(loose):
        return freeze(model), freeze(loose)


def without_steps(model: nn.Module) -> nn.Module:
    """A frozen copy with the quantized weights and float activations."""
    skeleton = freeze(model)
    with unquantized(skeleton):
        return freeze(skeleton)
