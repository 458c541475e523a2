"""A first leaderboard of real models: ResNet20 and an adversarially trained ResNet-4B on CIFAR-10, float and quantized.

    python examples/first_board.py CIFAR WEIGHTS [N]

CIFAR is the folder `cifar-10-batches-bin`, WEIGHTS one with `cifar10_resnet20.safetensors` and
`cifar10_resnet4b_adv2.safetensors`, N the number of test images (1,000). Everything is kept in `board.db`; the board is
the folder `site`. Stopped and begun again, it goes on.
"""

import sys
from pathlib import Path

import bitproof as bp

BITS = (8, 6, 4, 3, 2)
ATTACKS = ("pgd:eps=2/255", "apgd:eps=2/255,steps=20")
CORRUPTIONS = tuple(
    f"{name}:severity={severity}" for name in ("gaussian-noise", "jpeg", "contrast") for severity in (2, 4)
)
NETWORKS = {"resnet20": "cifar10_resnet20.safetensors", "resnet4b": "cifar10_resnet4b_adv2.safetensors"}


def main(cifar: str, weights: str, count: str = "1000") -> None:
    """Test both networks at every number of bits, and build the board."""
    data = bp.load_data("cifar10", root=cifar, limit=int(count))
    train = bp.load_data("cifar10", root=cifar, split="train", limit=512)
    for name, file in NETWORKS.items():
        network = bp.load_model(name, weights=Path(weights) / file)
        models = {"float": network} | {f"w{b}a{b}": bp.quantize(network, f"w{b}a{b}", train) for b in BITS}
        attacks = [*ATTACKS, *CORRUPTIONS]
        bp.evaluate(models, data, conditions=attacks, transfer=["fgsm:eps=8/255"], store="board.db")
    print(bp.leaderboard(["board.db"], "site"))


if __name__ == "__main__":
    main(*sys.argv[1:])
