"""Which gradient finds most of what is wrong with a deployed file: its own grids', its float origin's, or none?

python benchmarks/twins.py CIFAR10_ROOT WEIGHTS PART [IMAGES]

PART is a scheme and an attack, of which an ONNX file is made here ("w8a8 pgd", "w8a8 autoattack", "w4a4 pgd", "w4a4
autoattack"), or an 8-bit file that another converter made of the network with these weights, and an attack:
"FILE.tflite pgd". Everything is judged on the runtime's session, on images that it gets right, at linf 1/255.

"origin" differentiates through the float network, "file" through what is read from the ONNX file, "simulation" through
bitproof's fake-quantized model (before its export, without the 8-bit grids that the export adds; it knows nothing of
the grids in another converter's file), "transfer" makes the images on the float network alone, to the end, and "square"
only asks. The first that there is, "file" or "origin", is compared with all others. Passes are forwards and backwards
an image; each forward with a gradient is an answer of the session and one of the twin, so that at equal passes a twin
takes that much longer.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import bitproof as bp
from bitproof.attacks import PGD, AutoAttack, Square
from bitproof.core.memory import keep_freed_memory
from bitproof.core.passes import Counted
from bitproof.deploy import Twin, export_onnx, integer_form, is_deployed, load_deployed, load_onnx
from bitproof.metrics import mcnemar
from common import kept

EPS = 1 / 255


def main(root: str, weights: str, part: str, count: int) -> None:
    keep_freed_memory()
    deployed, which = part.split()
    theirs = is_deployed(deployed)
    bits = 8 if theirs else int(deployed[1])
    train = bp.load_data("cifar10", root=root, split="train", limit=512)
    model = bp.load_model("resnet20", weights=weights)
    quantized = bp.quantize(model, bp.Scheme(weight_bits=bits, act_bits=bits), train)
    session = load_deployed(deployed) if theirs else exported(quantized, train)
    data = bp.load_data("cifar10", root=root, split="test", limit=2 * count)
    images, labels = data.images(np.arange(len(data))), torch.from_numpy(data.labels)
    right = torch.nonzero(session(images).argmax(1) == labels).flatten()[:count]
    images, labels, rng = images[right], labels[right], bp.Rng(0, data.ids[right.numpy()])
    origin, simulation = bp.freeze(model), bp.freeze(quantized)
    sources = {
        **({} if theirs else {"file": Twin(session)}),
        "origin": Twin(session, gradient_from=origin),
        "simulation": Twin(session, gradient_from=simulation),
        "transfer": origin,
    }
    attack = PGD(eps=EPS) if which == "pgd" else AutoAttack(eps=EPS)
    if which == "autoattack":
        sources = {name: sources[name] for name in (("origin", "simulation") if theirs else ("file", "origin"))}
    standing, claim = {}, {"images": len(images)}
    for name, source in sources.items():
        tried = attack.to_the_end() if name == "transfer" else attack
        standing[name], claim[name] = run(tried, source, session, images, labels, rng)
    if which == "pgd":
        square = Square(eps=EPS, queries=1000)
        standing["square"], claim["square-1000"] = run(square, session, session, images, labels, rng)
    first, *others = standing
    for name in others:
        claim[f"p of {first} against {name} (McNemar)"] = round(mcnemar(standing[first], standing[name]), 4)
    about = {"model": "resnet20", "seed": 0, "threads": torch.get_num_threads()}
    kept("twins", f"{Path(deployed).name} {which}, linf 1/255", claim, about)


def exported(quantized, train):
    """The session of what bitproof exports."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.onnx"
        export_onnx(integer_form(quantized, train), path)
        return load_onnx(path)


def run(attack, source, session, images, labels, rng):
    """Which images stand on the session, and what that cost."""
    counted, start = Counted(source), time.perf_counter()
    options = {"batch_size": 128} if attack.pooled else {}
    found = attack(counted, images, labels, rng=rng, **options)
    standing = (session(found.detach()).argmax(1) == labels).numpy()
    passes = (counted.forwards + counted.backwards) / len(images)
    return standing, {
        "standing": f"{standing.mean():.1%}",
        "passes an image": round(passes, 1),
        "seconds": round(time.perf_counter() - start, 1),
    }


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 128)
