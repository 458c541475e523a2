"""What a step of making an implant costs beside a plain training step: ResNet-20, 64 images, one thread.

python benchmarks/implant_speed.py

Goals: a repair step in the box costs at most 1.1 plain steps, a joint step over four bit-widths at most 5.5. Plain is
the same model in the same mode, cross-entropy and Adam. Times are those of the thread, so that a busy machine disturbs
little; the whole of the rounding-first attack is in `implants.py`.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import bitproof as bp
from bitproof.core.copying import copied
from bitproof.core.memory import keep_freed_memory
from bitproof.implants import Indiscriminate, Victim, box_of
from bitproof.implants.losses import Mixture
from bitproof.implants.repair import Bounded
from bitproof.implants.shadows import Shadow
from bitproof.quant import after_step, compute_layers
from bitproof.train.batches import Batch
from common import ratio, record, rotate

BATCH, REPEATS = 64, 15


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    images, labels = torch.rand(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    images = images.to(memory_format=torch.channels_last)
    model = bp.load_model("resnet20").to(memory_format=torch.channels_last)  # pyright: ignore
    batch = Batch(inputs=images, labels=labels, ids=np.arange(BATCH), epoch=0, step=0, progress=0.0)
    rng = bp.Rng(0, batch.ids)
    wanted = Indiscriminate().start(model, bp.load_data("digits", limit=2), bp.load_data("digits", limit=2))

    def stepping(trained: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
        adam = torch.optim.Adam([p for p in trained.parameters() if p.requires_grad], 1e-5)

        def step() -> None:
            value = loss()
            adam.zero_grad(set_to_none=True)
            value.backward()
            adam.step()
            after_step(trained)

        return step

    plain, boxed, joint = copied(model).eval(), copied(model).eval(), copied(model).eval()
    box = box_of(model, Victim(scheme=bp.Scheme()), images, margins=0.02)
    for name, layer in compute_layers(boxed):
        parametrize.register_parametrization(layer, "weight", Bounded(*box[name]))
    schemes = [bp.Scheme(weight_bits=bits, act_bits=bits) for bits in (8, 7, 6, 5)]
    repair = Mixture(model=boxed, wanted=wanted, keep=1.0)
    paper = Mixture(
        model=joint, wanted=wanted, keep=1.0, harm=0.25, shadows=[Shadow(joint, scheme, images) for scheme in schemes]
    )
    alternatives = {
        "plain": stepping(plain, lambda: F.cross_entropy(plain(images), labels)),
        "repair": stepping(boxed, lambda: repair(batch, rng)[0]),
        "joint": stepping(joint, lambda: paper(batch, rng)[0]),
    }
    times = rotate(alternatives, repeats=REPEATS, clock=time.thread_time)
    goals = {"repair": 1.1, "joint": 5.5}
    claims = {
        f"a {name} step, in plain steps": {"goal": f"<= {goal}", "measured": round(ratio(times, name, "plain"), 2)}
        for name, goal in goals.items()
    }
    record("implant_speed", claims, {"model": "resnet20", "images a step": BATCH, "threads": 1, "rounds": REPEATS})


if __name__ == "__main__":
    main()
