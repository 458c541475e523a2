"""What is audited, and with what: a float model, its quantized forms, the model that is deployed, and a few images."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from bitproof.audit.deployed import distance, matched, read_layers
from bitproof.core.copying import copied
from bitproof.data import Data
from bitproof.deploy import OnnxModel, differentiable
from bitproof.errors import InputError
from bitproof.ptq import fold_batch_norm
from bitproof.quant import Scheme, compute_layers, coverage, freeze, quantize, reasons
from bitproof.quant.attached import float_weight, weight_quantizer
from bitproof.quant.quantizer import WeightQuantizer
from bitproof.records import DataRecord, ModelRecord, Unaudited
from bitproof.settings import describe
from bitproof.subjects import Subject

DEPLOYED = "deployed"
"""What results call the model that is deployed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounded:
    """The weight of one layer, and what rounding makes of it. All tensors broadcast against the weight.

    Attributes:
        weight: float32 [out, ...], just before it is rounded.
        level: what it is rounded to.
        step: distance of neighbouring levels, one for all or one a channel.
        free: whether a weight lies between two levels; the others are clipped to the end of the grid.
    """

    weight: Float[Tensor, "out ..."]
    level: Float[Tensor, "out ..."]
    step: Float[Tensor, "..."]
    free: Bool[Tensor, "out ..."]

    @property
    def error(self) -> Float[Tensor, "out ..."]:
        """What rounding adds, at most half a step in size where it is free."""
        return self.level - self.weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """One quantized form of the audited model.

    Attributes:
        label: of its scheme, or `DEPLOYED`.
        weight_bits, act_bits: the fewest of any layer but the first and the last.
        model: frozen: its weights are plain parameters that lie on their grids, its inputs are rounded as deployed.
        layers: by name, those whose weights are rounded.
    """

    label: str
    weight_bits: int
    act_bits: int
    model: nn.Module
    layers: Mapping[str, Rounded]

    @cached_property
    def worn(self) -> nn.Module:
        """A copy whose weights inquiries may change (`wear`)."""
        return copied(self.model)

    @torch.no_grad()
    def wear(self, weights: Mapping[str, Float[Tensor, "out ..."]]) -> nn.Module:
        """`worn` with these weights in the layers of these names, and those of `model` in all others."""
        own = dict(compute_layers(self.worn))
        for name, rounded in self.layers.items():
            own[name].weight.copy_(weights.get(name, rounded.level))
        return self.worn


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A model under audit.

    Attributes:
        model: frozen float model.
        schemes: what it may be quantized by.
        images: float32 [n, c, h, w] in [0, 1].
        labels: int64 [n]; None where they are not known: answers are then compared with the float model's.
        classes: names of the classes.
        calibration: images that set activation ranges, others than `images`.
        deployed: what claims to be made of the model, in eval mode; None without one.
        folded: whether BatchNorm is folded before the model is quantized.
        batch_size: images a pass; results do not depend on it.
        records: what results say of model, deployed model and data.
        basis: what results follow from beside these, plain data.
    """

    model: nn.Module
    schemes: tuple[Scheme, ...]
    images: Float[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"] | None
    classes: tuple[str, ...]
    calibration: Float[Tensor, "m c h w"]
    deployed: nn.Module | None
    folded: bool
    batch_size: int
    records: tuple[ModelRecord, ModelRecord | None, DataRecord]
    basis: dict[str, Any]

    @staticmethod
    def of(
        model: nn.Module,
        data: Data,
        calibration: Data,
        *,
        schemes: tuple[Scheme, ...],
        deployed: nn.Module | None = None,
        labelled: bool = True,
        folded: bool = False,
        batch_size: int = 128,
        name: str = "model",
    ) -> "Case":
        """Read the images, and freeze the model.

        Raises:
            InputError: a model that is quantized already, no images, or ones that the model cannot take.
        """
        subject = float_subject(model, repr(name), "an audit")
        read = data.read(range(len(data)))
        if not len(read.rows):
            raise InputError("no images to audit with", rule="at least one can be read", remedy="Check the data")
        ranges = calibration.read(range(len(calibration)))
        labels = torch.from_numpy(data.labels[read.rows])
        of_deployed = None if deployed is None else Subject.of(deployed).record("deployed")
        return Case(
            model=freeze(subject.model),
            schemes=schemes,
            images=read.images,
            labels=labels if labelled else None,
            classes=data.classes,
            calibration=ranges.images,
            deployed=None if deployed is None else copied(deployed).eval(),
            folded=folded,
            batch_size=batch_size,
            records=(subject.record(name), of_deployed, data.record),
            basis={
                "schemes": [describe(scheme) for scheme in schemes],
                "calibration": calibration.fingerprint,
                "labelled": labelled,
                "folded": folded,
            },
        )

    @cached_property
    def folding(self) -> nn.Module:
        """The float model with its BatchNorms folded."""
        return freeze(fold_batch_norm(self.model, self.calibration[:2]))

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The quantized forms of the model: one a scheme, and what is deployed, where its codes can be read."""
        forms = tuple(self._form(scheme) for scheme in self.schemes)
        return forms if self.deployed is None or isinstance(self.claimed, str) else (*forms, self.claimed)

    @property
    def unaudited(self) -> tuple[Unaudited, ...]:
        """The parts of the float model with weights that are not rounded in every form: functions of parameters,
        attention, recurrent layers, and what schemes leave float."""
        found = coverage(self.model)
        if found is None or not self.forms:
            return ()
        total = sum(part.weights for part in found.parts)
        left = []
        for part in found.parts:
            forms = [form for form in self.forms if part.weights and part.name not in form.layers]
            if forms:
                left.append(
                    Unaudited(
                        name=part.name,
                        weights=part.weights,
                        share=part.weights / total,
                        reason=_reason(forms[0], part.name),
                        schemes=tuple(form.label for form in forms),
                    )
                )
        return tuple(left)

    @cached_property
    def claimed(self) -> Form | str:
        """What is deployed, layer by layer beside the float model; or the reason why that cannot be."""
        if self.deployed is None:
            return "nothing is deployed"
        stored = read_layers(self.deployed)
        if isinstance(stored, str):
            return stored
        found = [matched(start, stored) for start in (self.model, self.folding)]
        fitting = [(own, start) for own, start in zip(found, (self.model, self.folding), strict=True) if own]
        if not fitting:
            return "its layers are not those of the float model"
        pairs, start = min(fitting, key=lambda pair: distance(pair[0]))
        layers = {
            name: Rounded(
                weight=weight,
                level=stored.level,
                step=stored.step,
                free=(stored.level - weight).abs() <= stored.step,
            )
            for name, (weight, stored) in pairs.items()
        }
        subject = Subject.of(self.deployed)
        own = subject.gradients and any(weight_quantizer(layer) for _, layer in compute_layers(self.deployed))
        form = Form(
            label=DEPLOYED,
            weight_bits=subject.weight_bits,
            act_bits=subject.act_bits,
            model=freeze(self.deployed) if own else copied(start),
            layers=layers,
        )
        return form if own else replace(form, model=form.wear({}))

    def _form(self, scheme: Scheme) -> Form:
        quantized = quantize(self.folding if self.folded else self.model, scheme, self.calibration)
        layers = {}
        for name, layer in compute_layers(quantized):
            quantizer = weight_quantizer(layer)
            if quantizer is None:
                continue
            weight = float_weight(layer).detach()
            layers[name] = _rounded(quantizer, weight, scheme)
        if not layers:
            raise InputError(
                f"{scheme.label} rounds no weight of this model",
                rule="an audit looks at what rounding of weights does",
                remedy="Use a scheme that quantizes a layer, such as w8a8",
            )
        return Form(
            label=scheme.label,
            weight_bits=scheme.weight_bits,
            act_bits=scheme.act_bits,
            model=freeze(quantized),
            layers=layers,
        )


def float_subject(model: nn.Module, name: str, what: str) -> Subject:
    """The float model that an audit or a repair starts from; of a float ONNX file its layers in torch.

    Raises:
        InputError: one that is quantized already.
    """
    subject = Subject.of(model)
    if isinstance(model, OnnxModel) and subject.scheme is None:
        subject = Subject.of(differentiable(model))
    if subject.weight_bits < 32 or subject.act_bits < 32:
        raise InputError(
            f"{name} is quantized already ({subject.scheme.label if subject.scheme else 'in parts'})",
            rule=f"{what} starts from the float model, and integers do not say what it was",
            remedy="Pass the float model that it was made from (MODEL and --weights), and this one as deployed "
            "(--deployed)",
        )
    return subject


def _reason(form: Form, name: str) -> str:
    """Why a form has no rounded weight in a part."""
    if form.label == DEPLOYED:
        return "no codes of it were found in what is deployed"
    found = coverage(form.model)
    return "it is float" if found is None else reasons(form.model, found).get(name, "it is float")


def _rounded(quantizer: WeightQuantizer, weight: Float[Tensor, "out ..."], scheme: Scheme) -> Rounded:
    step = quantizer.code_scale(weight)
    with suppress(InputError):  # a method that has no fixed levels next to a weight
        if not isinstance(step, str):
            low, high = quantizer.neighbours(weight)
            return Rounded(weight=weight, level=quantizer(weight).detach(), step=step, free=low < high)
    raise InputError(
        f"the weights of {scheme.label}",
        rule="an audit asks what rounding to the nearest code of a fixed grid does",
        remedy="Use a scheme such as w8a8 or affine:w4a8,granularity=tensor",
    )
