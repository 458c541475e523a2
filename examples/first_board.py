"""A first leaderboard of real models: networks on CIFAR-10 and ImageNet, float and quantized, as they are and hardened.

    python examples/first_board.py CIFAR IMAGENET WEIGHTS [N [TRAIN]]

CIFAR is the folder `cifar-10-batches-bin`, IMAGENET one of JPEGs in folders of classes. WEIGHTS has
`cifar10_resnet20.safetensors`, `cifar10_resnet4b_adv2.safetensors` (adversarially trained at 2/255),
`imagenet_mobilenet_v2.safetensors` and `imagenet_squeezenet1_0.safetensors`. N is the number of test images (1,000; a
tenth of ImageNet's), TRAIN that of images to train on (20,000). Results and what is trained are kept in `board.db` and
beside it; the board is the folder `site`. Stopped and begun again, it goes on.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

import bitproof as bp
from bitproof.experiment import made_beside, make
from bitproof.train import NFGSM, Diverged, Recipe, qat, standard

STORE = "board.db"
BITS = (8, 6, 4, 3, 2)
ATTACKS = ("fgsm:eps=2/255", "pgd:eps=2/255", "apgd:eps=2/255,steps=20")
CORRUPTIONS = tuple(
    f"{name}:severity={severity}" for name in ("gaussian-noise", "jpeg", "contrast") for severity in (2, 4)
)
LOOKS = {"analyses": ("layers", "alignment")}
"""What else is asked of the networks on CIFAR-10; of the smallest, whether its gradients are masked, too."""


def trained(
    network: nn.Module, architecture: str, train: bp.Data, recipes: Mapping[str, Recipe]
) -> dict[str, nn.Module]:
    """What each recipe makes of a network: now, or what it made before. What does not converge is left out."""
    models: dict[str, nn.Module] = {}
    for name, recipe in recipes.items():
        try:
            models[name] = make(recipe, network, train, architecture=architecture, folder=made_beside(STORE))
        except Diverged as failed:
            print(f"{architecture} {name}: {failed}")
    return models


def rounded(network: nn.Module, ranges: bp.Data, bits: tuple[int, ...]) -> dict[str, nn.Module]:
    """A float network, and it rounded to each number of bits after training."""
    return {"float": network} | {f"PTQ w{b}a{b}": bp.quantize(network, f"w{b}a{b}", ranges) for b in bits}


def test(models: Mapping[str, nn.Module], data: bp.Data, **looks: Any) -> None:
    """Test models beside the first."""
    conditions = [*ATTACKS, *CORRUPTIONS]
    bp.evaluate(models, data, conditions=conditions, transfer=["fgsm:eps=2/255"], store=STORE, **looks)


def main(cifar: str, imagenet: str, weights: str, count: str = "1000", training: str = "20000") -> None:
    """Make the models, test them, and build the board."""
    folder = Path(weights)
    data = bp.load_data("cifar10", root=cifar, limit=int(count))
    train = bp.load_data("cifar10", root=cifar, split="train", limit=int(training))
    ranges = bp.data.select(train, range(min(512, len(train))))
    attacked = NFGSM(eps=2 / 255)
    fine = partial(qat, epochs=2, learning_rate=3e-4, augmentation="crop-flip")
    tuned = {f"QAT w{b}a{b}": fine(scheme=f"lsq:w{b}a{b}") for b in BITS}
    robust = {f"robust QAT w{b}a{b}": fine(scheme=f"lsq:w{b}a{b}", objective=attacked) for b in (8, 4)}
    hardened = {
        "robust": standard(objective=attacked, epochs=3, learning_rate=1e-3, augmentation="crop-flip"),
        "robust QAT w4a4": qat(objective=attacked, epochs=3, learning_rate=1e-3, augmentation="crop-flip"),
        "DQ w32a4": qat(scheme="relu6:w32a4", orthogonality=2e-3, epochs=3, learning_rate=1e-3),
    }

    resnet20 = bp.load_model("resnet20", weights=folder / "cifar10_resnet20.safetensors")
    models = rounded(resnet20, ranges, BITS) | trained(resnet20, "resnet20", train, tuned | hardened)
    test(models, data, **LOOKS)
    bp.audit_model(resnet20, data, ranges, schemes=("w8a8", "w4a4"), quick=True, store=STORE)

    scratch = standard(epochs=6, learning_rate=1e-2, augmentation="crop-flip")
    resnet8 = trained(bp.load_model("resnet8"), "resnet8", train, {"float": scratch})["float"]
    test(rounded(resnet8, ranges, BITS) | trained(resnet8, "resnet8", train, tuned), data, **LOOKS)

    resnet4b = bp.load_model("resnet4b", weights=folder / "cifar10_resnet4b_adv2.safetensors")
    models = rounded(resnet4b, ranges, BITS) | trained(resnet4b, "resnet4b", train, robust)
    test(models, data, **LOOKS, diagnose=bool(LOOKS))

    photographs = bp.load_data("imagenet", root=imagenet)
    few = min(int(count) // 10, len(photographs) // 2)
    shown, others = (bp.data.select(photographs, range(start, start + few)) for start in (0, few))
    for name in ("mobilenet_v2", "squeezenet1_0"):
        network = bp.load_model(f"torchvision:{name}", weights=folder / f"imagenet_{name}.safetensors")
        test(rounded(network, others, BITS[:3]), shown)

    print(bp.write_leaderboard([STORE], "site", title="First board"))


if __name__ == "__main__":
    main(*sys.argv[1:])
