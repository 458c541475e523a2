"""The random weights that training starts from."""

from torch import nn


def he_normal(model: nn.Module) -> None:
    """Draw all convolution and linear weights anew: He et al. 2015, https://arxiv.org/abs/1502.01852, Eq. 10.

    They are normal with variance 2 / fan_in. Biases and batch norms stay as they are.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
