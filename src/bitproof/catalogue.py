"""All that has a name: one table of the families, for `bitproof list` and the page of all methods."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bitproof import ptq
from bitproof.attacks import ATTACKS
from bitproof.audit import INQUIRIES, REMEDIES
from bitproof.conditions import SUITES, UNIVERSAL
from bitproof.data import DATA
from bitproof.defences import DEFENCES
from bitproof.experiment import ANALYSES
from bitproof.implants import ENGINES
from bitproof.implants import OBJECTIVES as IMPLANTED
from bitproof.metrics import METRICS, Metric
from bitproof.models import MODELS
from bitproof.quant import METHODS, split_outliers
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.runner import EXECUTORS
from bitproof.shifts import CORRUPTIONS, RELEASED, SEQUENCES, SYSTEMATIC, TRIGGERS
from bitproof.tables import TABLES
from bitproof.tables.costs import told
from bitproof.train import OBJECTIVES, PENALTIES, RECIPES, SURROGATES


@dataclass(frozen=True, kw_only=True)
class Family:
    """Things of one sort.

    Attributes:
        title: of the family.
        usage: how one is used, in Markdown.
        table: the things, classes and functions, by name.
        line: what one is, in a line.
        suffix: what has to follow a name.
        group: of entry points by which other packages add to it.
        others: names that stand for more than one thing, and what they are.
    """

    title: str
    usage: str
    table: Mapping[str, Any]
    line: Callable[[Any], str] = field(default=lambda entry: first_line(entry))
    suffix: str = ""
    group: str = ""
    others: Mapping[str, str] = field(default_factory=dict[str, str])


def first_line(documented: Any) -> str:
    """Of the docstring."""
    return (unwrapped(documented).__doc__ or "").strip().splitlines()[0]


def unwrapped(made: Any) -> Any:
    """What a partial wraps."""
    while hasattr(made, "func"):
        made = made.func
    return made


def _scheme_line(method: Any) -> str:
    weights, acts = (
        f"{'-'.join(str(b) for b in sorted({bits[0], bits[-1]}))} or 32 bits" if bits else "float"
        for bits in (method.weight_bits, method.act_bits)
    )
    own = ", ".join(own.name for own in dataclasses.fields(method))
    return f"{first_line(method)}{f' Fields: {own}.' if own else ''} Weights {weights}, activations {acts}."


def _metric_line(metric: Metric) -> str:
    better = "higher is better" if metric.higher_is_better else "lower is better"
    return f"{metric.symbol}: {metric.description}; {better}"


_CONDITION = "`--condition NAME:field=value,...`"
_STEPS = ("correct_bias", "equalize", "fold_batch_norm", "reestimate_batch_norm", "Reconstruction")

FAMILIES: dict[str, Family] = {
    "attacks": Family(title="Attacks", usage=_CONDITION, table=ATTACKS, group="bitproof.attacks"),
    "corruptions": Family(title="Corruptions", usage=_CONDITION, table=CORRUPTIONS),
    "sequences": Family(title="Sequences", usage=_CONDITION, table=SEQUENCES),
    "systematic": Family(title="Systematic shifts", usage=_CONDITION, table=SYSTEMATIC),
    "released": Family(title="Released benchmarks", usage=_CONDITION, table=RELEASED),
    "shifts": Family(title="Shifts of other packages", usage=_CONDITION, table={}, group="bitproof.shifts"),
    "triggers": Family(title="Triggers", usage=_CONDITION, table=TRIGGERS),
    "universal": Family(
        title="Universal perturbations and patches",
        usage="`bitproof evaluate MODEL --universal NAME:field=value,...`",
        table=UNIVERSAL,
    ),
    "surrogates": Family(
        title="Surrogates", usage="`bitproof evaluate MODEL --surrogate NAME --transfer ATTACK`", table=SURROGATES
    ),
    "suites": Family(
        title="Suites",
        usage="`--suite NAME`",
        table=SUITES,
        others={"released:ROOT": "All released files of CIFAR-C, ImageNet-C or ImageNet-P in a folder."},
    ),
    "schemes": Family(
        title="Quantization methods",
        usage="`--scheme NAME:wXaY,field=value,...`",
        table=METHODS,
        group="bitproof.schemes",
        line=_scheme_line,
        suffix=":wXaY",
    ),
    "ranges": Family(
        title="Range rules",
        usage="`--scheme w4a4,act_range=omse`",
        table={f"weight_range={name}": rule for name, rule in WEIGHT_RANGES.items()}
        | {f"act_range={name}": rule for name, rule in ACT_RANGES.items()},
    ),
    "steps": Family(
        title="Post-training steps",
        usage="`--ptq` and `bp.ptq.PostTraining` put those of `bp.ptq` together.",
        table={f"bp.ptq.{name}": getattr(ptq, name) for name in _STEPS} | {"bp.quant.split_outliers": split_outliers},
    ),
    "recipes": Family(title="Recipes", usage="`bitproof train NAME:field=value,...`", table=RECIPES),
    "objectives": Family(title="Objectives", usage="`bitproof train standard:objective=NAME`", table=OBJECTIVES),
    "penalties": Family(title="Penalties", usage="Parts of `bp.train.Recipe`.", table=PENALTIES),
    "defences": Family(title="Defences", usage="`bitproof evaluate MODEL --defence NAME`", table=DEFENCES),
    "engines": Family(
        title="Engines of implants", usage="`bitproof implant NAME:objective=OBJECTIVE,...`", table=ENGINES
    ),
    "implants": Family(title="Objectives of implants", usage="`bitproof implant box:objective=NAME`", table=IMPLANTED),
    "inquiries": Family(title="Inquiries of an audit", usage="`bp.audit_model(..., inquiries=[...])`", table=INQUIRIES),
    "remedies": Family(title="Remedies", usage="`bitproof repair --remedy NAME:field=value,...`", table=REMEDIES),
    "metrics": Family(
        title="Metrics",
        usage="`Result.summary()` has all that the results allow.",
        table=METRICS,
        line=_metric_line,
    ),
    "analyses": Family(title="Analyses", usage="`--analysis NAME:field=value,...`", table=ANALYSES),
    "data": Family(title="Data sets", usage="`--data NAME:ROOT`", table=DATA),
    "tables": Family(
        title="Tables of the papers",
        usage="`bitproof reproduce PAPER TABLE`",
        table={table.name: table for table in TABLES},
        line=told,
    ),
    "models": Family(
        title="Networks",
        usage="`bitproof evaluate NAME`",
        table={name: spec.build for name, spec in MODELS.items()},
        group="bitproof.models",
        others={
            "timm:NAME": "Any timm model (extra: zoo).",
            "torchvision:NAME": "Any torchvision model (extra: zoo).",
            "local-dir:FOLDER": "A folder that timm wrote, with its weights and preprocessing (extra: zoo).",
            "module:callable": "A network of your own: a class or function that returns an nn.Module.",
        },
    ),
    "executors": Family(
        title="Executors",
        usage="`--executor NAME:field=value,...`",
        table=EXECUTORS.own,
        group="bitproof.executors",
    ),
}
"""The families by the names that `bitproof list` takes."""
