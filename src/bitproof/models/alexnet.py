"""AlexNet for small images: Krizhevsky 2014, https://arxiv.org/abs/1404.5997, with 3x3 convolutions.

Filters and dense layers are that paper's. hong2021 names only "AlexNet"; its public code (Qu-ANTI-zation) keeps five
convolutions of 64, 192, 384, 256 and 256 filters but makes all kernels 3x3, the first stride 2 instead of 4, and the
poolings 2x2. So does this network, and its layer names are those of that code, so its weights load.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.models.initial import he_normal


class AlexNet(nn.Module):
    """AlexNet for RGB images; 23,272,266 parameters for 32x32 with 10 classes.

    Args:
        size: side of the images in pixels, a multiple of 16: the first dense layer depends on it.
    """

    def __init__(self, classes: int, *, size: int = 32) -> None:
        super().__init__()
        assert size % 16 == 0, size
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 192, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * (size // 16) ** 2, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, classes),
        )
        he_normal(self)

    def forward(self, inputs: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        return self.classifier(self.features(inputs).flatten(1))
