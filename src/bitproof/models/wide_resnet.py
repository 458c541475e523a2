"""Wide ResNets: Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146, Table 1.

WRN-d-k: one convolution, three stages of (d - 4) / 6 pre-activation blocks with 16k, 32k and 64k channels, global
average, one linear layer. A block is batch norm, ReLU, conv, twice; where the number of channels changes, the first
batch norm and ReLU come before the shortcut too, which is a 1x1 convolution. Layer names are those of
xternalz/WideResNet-pytorch, so its weights load.

lin2019 uses WRN-28-10 and WRN-16-4 with ReLU6 and a quantizer before each convolution: that is the quantization
method `relu6`, which clips at 6 itself. No dropout: the paper's protocol has .4 of it on SVHN, and lin2019 does not
say whether it follows. lin2019's Defensive Quantization has convex sums of shortcut and residual
(`bitproof.models.convex`). Its figures do not say where a sum is quantized: here where the next convolution reads it,
and not on its way past that one.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.convex import PlainSum
from bitproof.models.initial import he_normal


class WideResNet(nn.Module):
    """The Wide ResNet of `depth` = 6n+4 layers and `width` k, for RGB images of any size.

    36,479,194 parameters for WRN-28-10 with 10 classes, 2,748,890 for WRN-16-4, 77,850 for WRN-10-1.
    """

    def __init__(self, depth: int, width: int, classes: int, *, total: type[nn.Module] = PlainSum) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        assert depth == 6 * blocks + 4, depth
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = _stage(16, 16 * width, blocks, total, stride=1)
        self.block2 = _stage(16 * width, 32 * width, blocks, total, stride=2)
        self.block3 = _stage(32 * width, 64 * width, blocks, total, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(64 * width, classes)
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        x = self.block3(self.block2(self.block1(self.conv1(inputs))))
        return self.fc(self.relu(self.bn1(x)).mean((2, 3)))


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution, twice, beside a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, total: type[nn.Module]) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.total = total()
        self.convShortcut = None if inputs == planes else nn.Conv2d(inputs, planes, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = self.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(y)
        y = self.conv2(self.relu(self.bn2(self.conv1(y))))
        return self.total(shortcut, y)


def _stage(inputs: int, planes: int, blocks: int, total: type[nn.Module], *, stride: int) -> nn.Sequential:
    first = PreActivationBlock(inputs, planes, stride, total)
    others = (PreActivationBlock(planes, planes, 1, total) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict(layer=nn.Sequential(first, *others)))
