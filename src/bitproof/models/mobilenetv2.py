"""MobileNetV2: Sandler et al. 2018, https://arxiv.org/abs/1801.04381, Table 2, with strides for small images.

Layer names are torchvision's, so its weights load. hong2021 names only "MobileNetV2"; its public code
(Qu-ANTI-zation) has the same layers and strides, but ReLU for ReLU6, no dropout, an expanding 1x1 convolution in the
first block too, and projections as shortcuts where the paper has none.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.initial import he_normal

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and the first block's stride of each stage."""


class MobileNetV2(nn.Module):
    """MobileNetV2 for RGB images of any size; 2,236,682 parameters with 10 classes.

    Args:
        early_stride: of the first convolution and the second stage; the paper's 2 for images from 64x64 on, 1 for
            32x32, of which it would leave a single position.
    """

    def __init__(self, classes: int, *, early_stride: int = 2) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_convolution(3, 32, 3, stride=early_stride)]
        inputs = 32
        for number, (expansion, planes, count, stride) in enumerate(STAGES):
            stride = early_stride if number == 1 else stride
            for i in range(count):
                blocks.append(InvertedResidual(inputs, planes, expansion, stride if i == 0 else 1))
                inputs = planes
        self.features = nn.Sequential(*blocks, _convolution(inputs, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        return self.classifier(self.features(inputs).mean((2, 3)))


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, 3x3 on each alone, 1x1 to few; a shortcut where input and output are alike."""

    def __init__(self, inputs: int, planes: int, expansion: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == planes
        wide = inputs * expansion
        expand = [_convolution(inputs, wide, 1)] if expansion > 1 else []
        depthwise = _convolution(wide, wide, 3, stride=stride, groups=wide)
        self.conv = nn.Sequential(*expand, depthwise, nn.Conv2d(wide, planes, 1, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return x + self.conv(x) if self.residual else self.conv(x)


def _convolution(inputs: int, planes: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, planes, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(planes), nn.ReLU6())
