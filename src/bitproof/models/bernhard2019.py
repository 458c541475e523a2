"""The network of Bernhard, Moellic & Dutertre 2019, https://arxiv.org/abs/1909.12741, Table 8.

Six 3x3 convolutions, of which every second pools, two dense layers of 1,024 and the classifier:

    conv, [max-pool 2x2], batch norm, activation          128 128 256 256 512 512 filters
    dense, batch norm, activation                         1024 1024

The table prints 128 filters for the fourth convolution on SVHN. It prints "(2,2)" behind the dense layers, where it
has no meaning. Open in the paper, and chosen here: "same" padding, and no biases before batch norms. With HardTanh in
the place of ReLU activations have both signs, as its fully binarized networks (BinaryNet) need them.

The networks of BinaryConnect's and BinaryNet's CIFAR-10 scripts are the same, but for one more batch norm at the end,
which brings the outputs of binary weights into the range that the squared hinge works in.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.initial import he_normal

CIFAR10 = (1, 1, 2, 2, 4, 4)
SVHN = (1, 1, 2, 1, 4, 4)
"""Filters of the six convolutions, as multiples of the width."""


class BernhardCnn(nn.Module):
    """The CNN of bernhard2019, for RGB images of 32x32; 14,029,706 parameters with 10 classes (SVHN: 13,144,714; a
    quarter as wide: 880,874).

    Args:
        filters: CIFAR10 or SVHN.
        width: filters of the first convolution; all other layers grow and shrink with it. 128 in the paper.
        last_norm: whether a batch norm follows the classifier.
    """

    def __init__(
        self,
        classes: int,
        *,
        filters: tuple[int, ...] = CIFAR10,
        width: int = 128,
        activation: type[nn.Module] = nn.ReLU,
        last_norm: bool = False,
    ) -> None:
        super().__init__()
        planes = [3, *(width * factor for factor in filters)]
        self.features = nn.Sequential(
            *(
                _convolution(planes[i], planes[i + 1], activation, pool=i % 2 == 1)  # every second one
                for i in range(len(filters))
            )
        )
        self.dense = nn.Sequential(
            _dense(planes[-1] * 4 * 4, 8 * width, activation), _dense(8 * width, 8 * width, activation)
        )
        self.linear = nn.Linear(8 * width, classes)
        self.norm = nn.BatchNorm1d(classes) if last_norm else nn.Identity()
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 32 32"]) -> Float[Tensor, "n k"]:
        return self.norm(self.linear(self.dense(self.features(inputs).flatten(1))))


def _convolution(inputs: int, planes: int, activation: type[nn.Module], *, pool: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, planes, 3, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(convolution, *pooling, nn.BatchNorm2d(planes), activation())


def _dense(inputs: int, outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), activation())
