"""VGG-16 for small images: Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556, configuration D.

The thirteen convolutions are the paper's. Where it has two dense layers of 4,096 behind 7x7 positions, the networks
for small images have two of 512; that is how the public code of hong2021 (Qu-ANTI-zation) reads its "VGG16", without
batch norm and with dropout before both. Layer names are those of that code, so its weights load. lin2019 uses a
VGG-16 of conv, batch norm, ReLU, quantize and says no more of it: the same network with batch norm.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.initial import he_normal

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg16(nn.Module):
    """VGG-16 for RGB images; 15,245,130 parameters for 32x32 with 10 classes (15,253,578 with batch norm).

    Args:
        size: side of the images in pixels, a multiple of 32: the first dense layer depends on it.
    """

    def __init__(self, classes: int, *, size: int = 32, batch_norm: bool = False) -> None:
        super().__init__()
        assert size % 32 == 0, size
        layers: list[nn.Module] = []
        inputs = 3
        for stage in STAGES:
            for planes in stage:
                norm = [nn.BatchNorm2d(planes)] if batch_norm else []
                layers += [nn.Conv2d(inputs, planes, 3, padding=1), *norm, nn.ReLU()]
                inputs = planes
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(512 * (size // 32) ** 2, 512),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, classes),
        )
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        return self.classifier(self.features(inputs).flatten(1))
