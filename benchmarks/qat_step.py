"""Time of a training step of a quantized ResNet20 as a multiple of the float step, batch 128, beside other libraries.

python benchmarks/qat_step.py [REPEATS]

Goals: LSQ w4a4 at most 1.15, DoReFa 1.2 and PACT 1.25 as they are trained, and LSQ below torch's fused fake-quantize
modules, torchao's PT2E and Brevitas in the same run. Peers that are not installed are left out: pip install --no-deps
torchao brevitas unfoldNd dependencies.
Quantizers sit at different places in each library, so the ratios compare recipes, not equal graphs. Every step is
SGD with momentum on random images and labels, channels first, as a user would write it, but for what is called "as
trained", which is the memory format that bitproof's own loop uses, over the float step in that format.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.quant import compute_layers
from common import ratio, record, rotate

BATCH = 128
GOALS = {"LSQ": 1.15, "DoReFa": 1.2, "PACT": 1.25}


def step(model: nn.Module, *, channels_last: bool = False) -> Callable[[], None]:
    """A function that makes one training step."""
    layout: Any = torch.channels_last if channels_last else torch.contiguous_format
    model.to(memory_format=layout)  # pyright: ignore
    images = torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    labels = torch.arange(BATCH) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return run


def ours(scheme: str) -> nn.Module:
    return bp.quantize(bp.load_model("resnet20"), bp.Scheme.parse(scheme), [torch.rand(BATCH, 3, 32, 32)]).train()


def fused() -> nn.Module:
    """torch's fused observers and fake-quantizers on every weight (per channel) and layer input, w8a8."""
    from torch.ao.quantization import (
        FusedMovingAvgObsFakeQuantize,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
    )
    from torch.nn.utils import parametrize

    model = bp.load_model("resnet20").train()
    for _, layer in list(compute_layers(model)):
        weight = FusedMovingAvgObsFakeQuantize(
            MovingAveragePerChannelMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
        )  # fmt: skip
        parametrize.register_parametrization(layer, "weight", weight)
        layer.add_module("fake", FusedMovingAvgObsFakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255))
        layer.register_forward_pre_hook(lambda layer, args: (layer.get_submodule("fake")(args[0]), *args[1:]))
    return model


def pt2e() -> nn.Module:
    """torchao's PT2E quantization-aware training with its x86 quantizer, w8a8."""
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    model = bp.load_model("resnet20").train()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config(is_qat=True))
    exported = torch.export.export(model, (torch.rand(BATCH, 3, 32, 32),)).module()
    return prepare_qat_pt2e(exported, quantizer)  # pyright: ignore


def brevitas() -> nn.Module:
    """Brevitas's 4-bit layers, per-channel weights, past the steps in which they collect statistics."""
    from brevitas import nn as qnn
    from brevitas.quant import Uint8ActPerTensorFloat

    class Layer(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.identity = qnn.QuantIdentity(
                act_quant=Uint8ActPerTensorFloat, bit_width=4, collect_stats_steps=1, return_quant_tensor=False
            )
            if isinstance(layer, nn.Conv2d):
                self.layer = qnn.QuantConv2d(
                    layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], layer.padding[0],
                    bias=layer.bias is not None, weight_bit_width=4, weight_scaling_per_output_channel=True,
                )  # fmt: skip
            else:
                assert isinstance(layer, nn.Linear)
                self.layer = qnn.QuantLinear(layer.in_features, layer.out_features, bias=True, weight_bit_width=4)

        def forward(self, x):
            return self.layer(self.identity(x))

    model = bp.load_model("resnet20").train()
    for name, layer in list(compute_layers(model)):
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, Layer(layer))
    return model


def main(repeats: int) -> None:
    warnings.simplefilter("ignore")
    keep_freed_memory()
    torch.manual_seed(0)
    alternatives = {
        "float": step(bp.load_model("resnet20").train()),
        "float again": step(bp.load_model("resnet20").train()),
        "float, channels last": step(bp.load_model("resnet20").train(), channels_last=True),
        "LSQ w4a4": step(ours("lsq:w4a4")),
        **{f"{name} w4a4 as trained": step(ours(f"{name.lower()}:w4a4"), channels_last=True) for name in GOALS},
        "affine w8a8": step(ours("w8a8")),
    }
    missing = []
    for name, make in (("torch fused w8a8", fused), ("torchao PT2E w8a8", pt2e), ("Brevitas w4a4", brevitas)):
        try:
            alternatives[name] = step(make())
        except ImportError as error:
            missing.append(f"{name}: {error}")
    times = rotate(alternatives, repeats=repeats, warmup=3)
    claims: dict[str, dict[str, Any]] = {}
    for name in alternatives:
        if name not in ("float", "float, channels last"):
            base = "float, channels last" if name.endswith("as trained") else "float"
            goal = {"goal": GOALS[name.split()[0]]} if name.endswith("as trained") else {}
            claims[f"{name} over {base}"] = {"measured": round(ratio(times, name, base), 3), **goal}
    claims["float, ms"] = {"measured": round(1e3 * sorted(times["float"])[repeats // 2])}
    record("qat_step", claims, {"model": "resnet20", "batch": BATCH, "repeats": repeats, "left out": missing})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
