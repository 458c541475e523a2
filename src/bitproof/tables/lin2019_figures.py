"""The figures of lin2019 that no table shows: without the regulariser (1), along the layers (3), by its weight (6)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from bitproof.analysis.amplification import ascent, random_signs, sizes
from bitproof.analysis.watching import LOGITS, layer_inputs
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.metrics.statistic import SHARE, UNBOUNDED, Statistic
from bitproof.quant import freeze
from bitproof.tables.claims import Claim, pairs, pairs_across
from bitproof.tables.lin2019_bits import NETWORKS, bits_and_betas_claims, by_beta, recipe_of
from bitproof.tables.making import Trained
from bitproof.tables.readings import Reading
from bitproof.tables.table import Measured, Study
from bitproof.train.papers.lin2019 import activations_quantized

_PICTURES = 128
"""As many as the paper has (Section 3)."""
_RANDOM = ", random signs"
RELATIVE = Statistic(
    value=SHARE.value,
    interval=lambda scores, confidence: UNBOUNDED.interval(scores[1:, scores[0] > 0], confidence),
    among=SHARE.among,
)
"""The mean of the second score over the images that have the first: where a layer is given nothing but zeros, as at one
bit, no distance is relative to that."""


def along_bits(scale: str, start: str, setting: str) -> Study:
    """The rows of Table 1 whose names start so, on the network of the setting."""
    study = by_beta(scale, setting)
    models = {name: making for name, making in study.models.items() if name.startswith(start)}
    if scale == "full" and setting.endswith("VGG-16"):
        swapped = {n: replace(m, architecture="vgg16_bn") for n, m in models.items() if isinstance(m, Trained)}
        return replace(study, models=swapped, tested=tuple(swapped), network="vgg16_bn")
    return replace(study, models=models, tested=tuple(models))


def vanilla_claims(measured: Measured) -> Iterator[Claim]:
    """What Section 3 says of it."""
    yield next(bits_and_betas_claims(measured))


def amplified(measured: Measured) -> list[Reading]:
    """Figure 3 (b): the relative distance at the input of each layer, along the gradient's signs and random ones."""
    found: list[Reading] = []
    for name in measured.models:
        model = measured.open(name)
        images, labels = measured.pictures(range(min(_PICTURES, len(measured.test))), model)
        counted, rng = Counted(freeze(model)), Rng(0, measured.test.ids[: len(images)])
        clean = layer_inputs(counted, images)
        for way, signs in (("", ascent(counted, images, labels)), (_RANDOM, random_signs(images, rng))):
            moved = layer_inputs(counted, (images + 8 / 255 * signs).clamp(0, 1))
            for place, layer in enumerate((layer for layer in clean if layer != LOGITS), 1):
                norm, distance = sizes(clean[layer]), sizes(moved[layer] - clean[layer])
                relative = torch.where(norm > 0, distance / norm, 0)
                found.append(
                    Reading(
                        row=f"{name}{way}",
                        column=f"layer {place}",
                        scores=torch.stack([(norm > 0).to(relative), relative]).cpu().numpy(),
                        statistic=RELATIVE,
                        bounds=(0.0, np.inf),
                    )
                )
    return found


def amplified_claims(measured: Measured) -> Iterator[Claim]:
    """What Sections 3 and 4 say of it."""
    models = list(measured.models)
    yield Claim(
        text="the relative distance grows along the layers: at the fourth it is above that of the image",
        source="Section 3, Figure 3b",
        pairs=pairs_across(models, "layer 4", "layer 1"),
    )
    yield Claim(
        text="it grows more along the gradient's signs than along random ones (ours)",
        source="Section 3, Figure 3b",
        pairs=pairs([(name, f"{name}{_RANDOM}") for name in models], ["layer 4"]),
    )
    smaller = [(name, name.replace("vanilla", "DQ 1e-3")) for name in models if name.startswith("vanilla ")]
    yield Claim(
        text="the regulariser keeps the distance small",
        source="Section 4.1",
        pairs=pairs([(plain, dq) for plain, dq in smaller if dq in models], ["layer 4"]),
    )


def sweep(scale: str, setting: str) -> Study:
    """Figure 6: 4 bits, ever more of the regulariser."""
    betas = {"smoke": ("0", "1e-3", "1e-2"), "reduced": ("0", "5e-4", "2e-3")}.get(
        scale, ("0", "5e-4", "1e-3", "2e-3", "3e-3", "4e-3")
    )
    study = by_beta(scale, setting)
    plain, convex = NETWORKS[scale]
    models = {
        f"beta {beta}": Trained(
            recipe=recipe_of(scale, activations_quantized(4), float(beta)),
            architecture=convex if beta != "0" else plain,
        )
        for beta in betas
    }
    return replace(study, models=models, tested=tuple(models))


def sweep_claims(measured: Measured) -> Iterator[Claim]:
    """What Appendix B says of it."""
    none, *some = measured.models
    yield Claim(
        text="some of the regulariser makes 4-bit activations more robust than none",
        source="Appendix B, Figure 6",
        pairs=pairs([(some[len(some) // 2], none)], ["FGSM", "AutoAttack"]) if some else (),
    )
