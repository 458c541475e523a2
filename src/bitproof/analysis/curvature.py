"""The Hessian of the loss by the weights: its trace, and its largest eigenvalue.

    trace  = E v' H v           v of random signs (Hutchinson 1990)
    top    = lim v' H v         v <- H v / ||H v||

A fixed number of vectors is drawn: a rule that stops when the running mean stands still may stop by chance, and gives
no standard error. H is the mean over images, so parts of them say how far both numbers would be others on other
images. The model is in eval mode, and all parameters count, those of BatchNorm and biases included. A quantized
model is looked at with its quantized weights and float activations, as steps have no second derivative.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bitproof.analysis.base import Case, Explanation, each
from bitproof.analysis.forms import without_steps
from bitproof.core import losses
from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import Curvature, LayerTrace, ModelRecord

PART, PARTS = 32, 8
"""Most images whose own Hessian is looked at, and parts that few images make; errors do not depend on the batch."""

CLOSE = 1e-3
"""Relative change of the eigenvalue at which the power iteration stops."""

Vector = dict[str, Tensor]
"""A tensor for each parameter, by name."""


@dataclass(frozen=True, kw_only=True)
class LossCurvature(Explanation):
    """Trace and largest eigenvalue of the Hessian of the loss by all parameters, with standard errors.

    Attributes:
        draws: random vectors for the trace.
        iterations: most steps of the power iteration.
    """

    record: ClassVar = Curvature

    draws: int = 100
    iterations: int = 100

    def __post_init__(self) -> None:
        if self.draws < 2 or self.iterations < 1:
            raise InputError(
                f"draws is {self.draws} and iterations {self.iterations}",
                rule="a standard error needs two draws at least, an eigenvalue one iteration",
                remedy="Use draws=100 and iterations=100",
            )

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return each(models)

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 3 * self.draws + 4 * self.iterations // 3

    def look(self, case: Case) -> dict[str, Any]:
        model = without_steps(case.subjects[0].model)
        parameters = {name: p.requires_grad_() for name, p in model.named_parameters() if p.is_floating_point()}
        parts = [(inputs, labels) for inputs, labels, _ in case.batches(min(PART, -(-len(case.data) // PARTS)))]
        sizes = np.array([len(labels) for _, labels in parts])
        weights = sizes / sizes.sum()

        def loss(part: int) -> Tensor:
            inputs, labels = parts[part]
            return losses.cross_entropy(logits_of(model, inputs), labels).mean()

        bent = quadratic_forms(loss, len(parts), parameters, signs(parameters, self.draws, case.rng))
        of_draws = np.einsum("pdm,p->dm", bent, weights)  # draws x parameters
        top, of_parts, steps, converged = largest_eigenvalue(
            loss, weights, parameters, iterations=self.iterations, rng=case.rng
        )
        count = int(sizes.sum())
        with torch.no_grad():
            there = sum(float(loss(part)) * weight for part, weight in enumerate(weights))
        return {
            "loss": there,
            "trace": float(of_draws.sum(1).mean()),
            "trace_error": standard_error(of_draws.sum(1)),
            "trace_image_error": standard_error(bent.sum(2).mean(1)),
            "top": top,
            "top_error": standard_error(of_parts),
            "steps": steps,
            "converged": converged,
            "layers": _layers(parameters, of_draws),
            "count": count,
            "forwards": count * (2 + steps),
            "backwards": count * (1 + 2 * self.draws + 3 * steps),
        }


def _layers(parameters: Vector, of_draws: np.ndarray) -> tuple[LayerTrace, ...]:
    """The trace by the module that holds the parameters."""
    holders = [name.rpartition(".")[0] or name for name in parameters]
    found = []
    for holder in dict.fromkeys(holders):
        own = [column for column, name in enumerate(holders) if name == holder]
        sums = of_draws[:, own].sum(1)
        count = sum(list(parameters.values())[column].numel() for column in own)
        error = standard_error(sums)
        found.append(LayerTrace(name=holder, parameters=count, trace=float(sums.mean()), error=error))
    return tuple(found)


def standard_error(values: np.ndarray) -> float:
    """Of the mean; infinite for one value, which says nothing of it."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def signs(parameters: Vector, draws: int, rng: Rng) -> Callable[[], Iterator[Vector]]:
    """Random signs for each parameter, the same ones whenever it is called."""

    def drawn() -> Iterator[Vector]:
        for draw in range(draws):
            keyed = Rng(rng.seed, np.array([draw]), (*rng.path, "signs"))
            yield {
                name: torch.where(keyed.fold(name).uniform(tuple(p.shape))[0] < 0.5, -1.0, 1.0).to(p)
                for name, p in parameters.items()
            }

    return drawn


def quadratic_forms(
    loss: Callable[[int], Tensor], parts: int, parameters: Vector, vectors: Callable[[], Iterator[Vector]]
) -> np.ndarray:
    """v' H v of each part's Hessian and each vector, split over the parameters: [parts, vectors, parameters]."""
    found = []
    for part in range(parts):
        slope = _slope(loss(part), parameters)
        found.append(
            [
                [float((v[n] * hv).sum(dtype=torch.float64)) for n, hv in _bend(slope, parameters, v).items()]
                for v in vectors()
            ]
        )
    return np.array(found)


def largest_eigenvalue(
    loss: Callable[[int], Tensor], weights: np.ndarray, parameters: Vector, *, iterations: int, rng: Rng
) -> tuple[float, np.ndarray, int, bool]:
    """The eigenvalue of largest size of the mean Hessian; v' H v of each part at its vector; steps; whether it stands.

    Args:
        loss: of each part.
        weights: of the parts in the mean.
        parameters: that H is of.
        iterations: most steps.
        rng: of the start.
    """
    keyed = Rng(rng.seed, np.zeros(1, np.int64), (*rng.path, "start"))
    v = _unit({name: keyed.fold(name).normal(tuple(p.shape))[0].to(p) for name, p in parameters.items()})
    before, steps, of_parts = np.inf, 0, np.zeros(len(weights))
    for steps in range(1, iterations + 1):
        bent = {name: torch.zeros_like(value) for name, value in v.items()}
        for part, weight in enumerate(weights):
            own = _bend(_slope(loss(part), parameters), parameters, v)
            of_parts[part] = sum(float((v[name] * own[name]).sum(dtype=torch.float64)) for name in v)
            bent = {name: bent[name] + weight * own[name] for name in v}
        value = float(of_parts @ weights)
        if abs(value - before) <= CLOSE * abs(value):
            return value, of_parts, steps, True
        before, v = value, _unit(bent)
    return float(of_parts @ weights), of_parts, steps, False


def _slope(value: Tensor, parameters: Vector) -> tuple[Tensor, ...]:
    """The gradient, which can be differentiated again."""
    found = torch.autograd.grad(value, list(parameters.values()), create_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters.values(), strict=True))


def _bend(slope: tuple[Tensor, ...], parameters: Vector, v: Vector) -> Vector:
    """H v."""
    followed = [(g, v[name]) for g, name in zip(slope, parameters, strict=True) if g.requires_grad]
    if not followed:
        return {name: torch.zeros_like(p) for name, p in parameters.items()}
    found = torch.autograd.grad(
        [g for g, _ in followed],
        list(parameters.values()),
        [along for _, along in followed],
        retain_graph=True,
        allow_unused=True,
    )
    return {
        name: torch.zeros_like(p) if bent is None else bent
        for (name, p), bent in zip(parameters.items(), found, strict=True)
    }


def _unit(v: Vector) -> Vector:
    size = torch.stack([value.double().square().sum() for value in v.values()]).sum().sqrt()
    return {name: (value / size.clamp(min=torch.finfo(torch.float32).tiny)).to(value) for name, value in v.items()}
