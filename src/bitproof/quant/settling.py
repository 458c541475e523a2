"""Weights that a hook computes before each pass: the old `weight_norm` and `spectral_norm`, and pruning.

Such a weight is no parameter and cannot be parametrized. In eval mode it is always the same, so it can be settled.
"""

from typing import Any

from torch import nn
from torch.nn.utils import prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm


def settle(model: nn.Module) -> nn.Module:
    """The model itself, with what hooks compute in eval mode as parameters, and without the hooks."""
    for module in model.modules():
        for hook in list[Any](module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
                _forget_loading(module)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)
    return model


def _forget_loading(module: nn.Module) -> None:
    """Take away what asks each state dict for the weights of `spectral_norm`: torch does not find it in its wrapper."""
    hooks: dict[int, Any] = module._load_state_dict_pre_hooks
    for key, wrapped in list(hooks.items()):
        if isinstance(getattr(wrapped, "hook", wrapped), SpectralNormLoadStateDictPreHook):
            del hooks[key]
