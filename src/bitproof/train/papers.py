"""The papers' own recipes, where they state them. Each names its source; what a paper leaves open is said so."""

from dataclasses import dataclass, field

from bitproof.quant import Scheme
from bitproof.train.qat import QAT
from bitproof.train.standard import Standard


@dataclass(frozen=True, kw_only=True)
class LSQTraining(QAT):
    """LSQ: SGD, cosine, 90 epochs from a float checkpoint (Esser et al. 2020, Section 3).

    The rate is the paper's for 2 to 4 bits; use 0.001 and a single epoch for 8 bits, and a weight decay of
    0.5e-4 for 3 and 0.25e-4 for 2 bits. The paper trains on ImageNet; crop-flip is its counterpart on CIFAR.
    """

    scheme: Scheme = field(default_factory=lambda: Scheme("lsq", weight_bits=4, act_bits=4))
    epochs: int = 90
    batch_size: int = 256
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    schedule: str = "cosine"
    augmentation: str = "crop-flip"


@dataclass(frozen=True, kw_only=True)
class PACTTraining(QAT):
    """PACT: SGD, 200 epochs in three steps, from random weights (Choi et al. 2018, Section 5, ResNet20 on CIFAR-10).

    The penalty on alpha is as strong as the weight decay: as an l2 term in the loss, half of it.
    """

    scheme: Scheme = field(default_factory=lambda: Scheme("pact", weight_bits=4, act_bits=4))
    epochs: int = 200
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 2e-4
    schedule: str = "steps"
    milestones: tuple[float, ...] = (0.3, 0.6)
    augmentation: str = "crop-flip"
    penalty: float = 1e-4


@dataclass(frozen=True, kw_only=True)
class DoReFaTraining(QAT):
    """DoReFa-Net: Adam, 200 epochs, the rate halved halfway, from random weights (the authors' SVHN script)."""

    scheme: Scheme = field(
        default_factory=lambda: Scheme("dorefa", weight_bits=4, act_bits=4, first="float", last="float")
    )
    epochs: int = 200
    batch_size: int = 128
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "steps"
    milestones: tuple[float, ...] = (0.5,)
    decay: float = 0.5


@dataclass(frozen=True, kw_only=True)
class BinaryConnectTraining(QAT):
    """BinaryConnect: Adam, squared hinge, exponential decay, 500 epochs, the best on 5,000 held out (Section 3.2).

    The rates are those of the authors' later BinaryNet script; the paper does not state them.
    """

    scheme: Scheme = field(default_factory=lambda: Scheme("binaryconnect", weight_bits=1, act_bits=32))
    epochs: int = 500
    batch_size: int = 50
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "exponential"
    decay: float = 3e-4
    loss: str = "squared-hinge"
    holdout: int = 5000


@dataclass(frozen=True, kw_only=True)
class BinaryNetTraining(BinaryConnectTraining):
    """BinaryNet: as BinaryConnect, with rates from 1e-3 to 3e-7 (Courbariaux et al. 2016, CIFAR-10 script)."""

    scheme: Scheme = field(default_factory=lambda: Scheme("binarynet", weight_bits=1, act_bits=1))


@dataclass(frozen=True, kw_only=True)
class Li2024FineTuning(QAT):
    """li2024: PACT, 60 epochs from a float checkpoint (Section 4.2).

    Optimiser, rate, batch size and penalty are ours: the paper does not state them.
    """

    scheme: Scheme = field(default_factory=lambda: Scheme("pact", weight_bits=4, act_bits=4))
    epochs: int = 60
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    schedule: str = "cosine"
    augmentation: str = "crop-flip"
    penalty: float = 5e-5


@dataclass(frozen=True, kw_only=True)
class Lin2019Standard(Standard):
    """lin2019: SGD, 200 epochs, the rate times 0.2 at 60, 120 and 160 (Section 5.2, CIFAR-10).

    Batch size, weight decay and augmentation are those of the protocol it refers to (Zagoruyko & Komodakis 2016).
    """

    epochs: int = 200
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    schedule: str = "steps"
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    decay: float = 0.2
    augmentation: str = "crop-flip"
