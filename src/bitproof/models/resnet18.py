"""ResNet18 for small images: He et al. 2016, https://arxiv.org/abs/1512.03385, Table 1, with a stem for 32x32.

The four stages are the paper's; in front of them one 3x3 convolution stands for the 7x7 of stride 2 and its pooling.
hong2021 and lin2019 name only "ResNet18". The public code of hong2021 (Qu-ANTI-zation) has this network for CIFAR-10,
and its layer names are those here, so its weights load. For 64 pixels that code averages over 4x4 positions only and
gives the linear layer 2,048 inputs; here, as in the paper, the average is global.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.initial import he_normal


class ResNet18(nn.Module):
    """ResNet18 for RGB images of any size, made for 32x32 and 64x64; 11,173,962 parameters with 10 classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(ProjectedBlock(64, 64), ProjectedBlock(64, 64))
        self.layer2 = nn.Sequential(ProjectedBlock(64, 128), ProjectedBlock(128, 128))
        self.layer3 = nn.Sequential(ProjectedBlock(128, 256), ProjectedBlock(256, 256))
        self.layer4 = nn.Sequential(ProjectedBlock(256, 512), ProjectedBlock(512, 512))
        self.linear = nn.Linear(512, classes)
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        x = self.relu(self.bn1(self.conv1(inputs)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


class ProjectedBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the resolution halves (option B)."""

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        stride = 1 if planes == inputs else 2
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride == 2:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.shortcut(x))
