"""ResNet-4B of the neural network verification competition: Bak, Liu & Johnson 2021, https://arxiv.org/abs/2109.00498.

A small ResNet without batch norm, which others trained adversarially: one convolution, two stages of two blocks with 32
channels, two linear layers. Layer names are those of stanleybak/vnncomp2021 (benchmarks/cifar10_resnet), so its weights
load.
"""

from jaxtyping import Float
from torch import Tensor, nn


class ResNet4B(nn.Module):
    """ResNet-4B, for RGB images of 32x32; 123,734 parameters with 10 classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, padding=1)
        self.layer1 = nn.Sequential(PlainBlock(16, 32, 2), PlainBlock(32, 32, 1))
        self.layer2 = nn.Sequential(PlainBlock(32, 32, 2), PlainBlock(32, 32, 1))
        self.relu = nn.ReLU()
        self.linear1 = nn.Linear(32 * 4 * 4, 100)
        self.linear2 = nn.Linear(100, classes)

    def forward(self, inputs: Float[Tensor, "n 3 32 32"]) -> Float[Tensor, "n k"]:
        x = self.layer2(self.layer1(self.relu(self.conv1(inputs))))
        return self.linear2(self.relu(self.linear1(x.flatten(1))))


class PlainBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)
        self.relu = nn.ReLU()
        same = stride == 1 and inputs == planes
        self.shortcut = nn.Sequential() if same else nn.Sequential(nn.Conv2d(inputs, planes, 1, stride))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = self.conv2(self.relu(self.conv1(x)))
        return self.relu(y + self.shortcut(x))
