"""Cost of a pass of the evaluated w4a4 ResNet20 as a ratio to float, batch 128. Goal: at most 1.2.

python benchmarks/passes.py [REPEATS]      no data needed: random weights and images cost the same
"""

import sys

import torch

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from common import ratio, record, rotate


def main(repeats: int) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    images = torch.rand(128, 3, 32, 32)
    model = bp.load_model("resnet20")
    models = {"float": bp.freeze(model)}
    for bits in (4, 8):
        quantized = bp.quantize(model, bp.Scheme(weight_bits=bits, act_bits=bits), [images])
        models[f"w{bits}a{bits}"] = bp.freeze(quantized)
    models["w4a4 not frozen"] = bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), [images]).requires_grad_(False)
    models["float again"] = models["float"]

    def forward(model):
        with torch.no_grad():
            model(images)

    def both(model):
        x = images.clone().requires_grad_()
        torch.autograd.grad(model(x).sum(), x)

    claims = {}
    for name, run in (("forward", forward), ("forward + backward", both)):
        times = rotate({k: lambda m=m, run=run: run(m) for k, m in models.items()}, repeats=repeats)
        for other in ("w4a4", "w8a8", "w4a4 not frozen", "float again"):
            goal = {"goal": 1.2} if other == "w4a4" else {}
            claims[f"{name}, {other} over float"] = {"measured": round(ratio(times, other, "float"), 3), **goal}
        claims[f"{name}, float, ms"] = {"measured": round(1e3 * sorted(times["float"])[repeats // 2], 1)}
    record("passes", claims, {"model": "resnet20", "batch": 128, "repeats": repeats, "median of": "ratios by round"})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
