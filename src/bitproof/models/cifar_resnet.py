"""ResNets for 32x32 images: He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2.

Depth 6n+2: one convolution, three stages of n blocks with 16, 32 and 64 channels, global average, one
linear layer. Shortcuts are option A, without parameters. Layer names are those of
akamaster/pytorch_resnet_cifar10, so its weights load.

With convex sums (`bitproof.models.convex`) they are those of Defensive Quantization. With HardTanh in the place of ReLU
activations have both signs, as BinaryNet and XNOR need them.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.models.convex import PlainSum
from bitproof.models.initial import he_normal


class CifarResNet(nn.Module):
    """The ResNet of `depth` = 6n+2 layers, for RGB images; 269,722 parameters at depth 20 with 10 classes."""

    def __init__(
        self, depth: int, classes: int, *, activation: type[nn.Module] = nn.ReLU, total: type[nn.Module] = PlainSum
    ) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        assert depth == 6 * blocks + 2, depth
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.activation = activation()
        self.layer1 = _stage(16, 16, blocks, activation, total)
        self.layer2 = _stage(16, 32, blocks, activation, total)
        self.layer3 = _stage(32, 64, blocks, activation, total)
        self.linear = nn.Linear(64, classes)
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        x = self.activation(self.bn1(self.conv1(inputs)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; more planes than inputs mean half the resolution."""

    def __init__(
        self, inputs: int, planes: int, *, activation: type[nn.Module] = nn.ReLU, total: type[nn.Module] = PlainSum
    ) -> None:
        super().__init__()
        self.stride = 1 if planes == inputs else 2
        self.padding = (planes - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, planes, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.total = total()
        self.activation = activation()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = self.activation(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.padding:  # option A: subsample, and fill the new channels on both sides with zeros
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return self.activation(self.total(y, x))


def _stage(inputs: int, planes: int, blocks: int, activation: type[nn.Module], total: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(inputs, planes, activation=activation, total=total),
        *(BasicBlock(planes, planes, activation=activation, total=total) for _ in range(blocks - 1)),
    )
