"""The image classifier of MLPerf Tiny: Banbury et al. 2021, https://arxiv.org/abs/2106.07597, section 3.2.

A ResNet of eight layers for microcontrollers. Its source is the Keras network of mlcommons/tiny
(benchmark/training/image_classification), and what Keras does by itself is done here too: convolutions have biases
before batch norms, whose epsilon is .001; a 3x3 convolution of stride 2 pads below and to the right only; the
shortcut's 1x1 convolution has no batch norm. It takes pixels of 0..255 without normalisation.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.initial import he_normal


class ResNet8(nn.Module):
    """MLPerf Tiny's ResNet8, for RGB images whose sides are multiples of 4; 78,186 parameters with 10 classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = _batch_norm(16)
        self.relu = nn.ReLU()
        self.block1 = KerasBlock(16, 16)
        self.block2 = KerasBlock(16, 32)
        self.block3 = KerasBlock(32, 64)
        self.linear = nn.Linear(64, classes)
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        x = self.relu(self.bn1(self.conv1(inputs)))
        x = self.block3(self.block2(self.block1(x)))
        return self.linear(x.mean((2, 3)))


class KerasBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; more planes than inputs mean half the resolution."""

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        halves = planes != inputs
        self.pad = nn.ZeroPad2d((0, 1, 0, 1) if halves else 1)  # left, right, top, bottom
        self.conv1 = nn.Conv2d(inputs, planes, 3, 2 if halves else 1)
        self.bn1 = _batch_norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)
        self.bn2 = _batch_norm(planes)
        self.relu = nn.ReLU()
        self.shortcut = nn.Conv2d(inputs, planes, 1, 2) if halves else nn.Identity()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = self.relu(self.bn1(self.conv1(self.pad(x))))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def _batch_norm(planes: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(planes, eps=1e-3, momentum=0.01)  # Keras counts momentum from the other end: .99
