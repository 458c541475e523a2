"""Randomness inside a model that is trained: keyed, counted, and part of the state dict."""

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.rng import Rng


class Drawing(nn.Module):
    """A module that draws: draw i depends on (key, i) alone.

    Both lie in the state dict, so a resumed run goes on as if it had not been interrupted.

    Args:
        key: what the draws depend on, beside their number; different for every layer.
    """

    key: Tensor
    draws: Tensor

    def __init__(self, key: int) -> None:
        super().__init__()
        self.register_buffer("key", torch.tensor(key))
        self.register_buffer("draws", torch.tensor(0))

    def draw(self, like: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The next uniform draws from [0, 1), of the shape and on the device of `like`."""
        rng = Rng(0, np.array([int(self.key)]), ("drawing", int(self.draws)))
        self.draws += 1
        return rng.uniform(tuple(like.shape))[0].to(like.device)


def seed_draws(model: nn.Module, rng: Rng) -> None:
    """Make the draws of each module depend on `rng` (one id, the run) and the module's name; start anew."""
    for name, module in model.named_modules():
        if isinstance(module, Drawing):
            module.key.fill_(int(rng.fold("drawing", name).generators()[0].integers(2**63)))
            module.draws.zero_()


def shift_draws(model: nn.Module, seed: int) -> None:
    """Make the draws of each module others for every seed; 0 leaves them as its weights have them."""
    number = Rng.of(seed).seed
    for module in model.modules():
        if isinstance(module, Drawing):
            module.key += number


def key_of(weight: Tensor) -> int:
    """A number from the weights of a layer: layers draw apart, and the same model draws the same."""
    content = weight.detach().cpu().double().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
