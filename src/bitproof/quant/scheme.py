"""How a model is quantized, as a value and as text.

    scheme = [METHOD:]wXaY[gZ][,field=value...]     the fields of the method, and `first`, `last`, `layers`
    layers = RULE+RULE...
    rule   = PATTERN=wXaY[gZ] | PATTERN=METHOD(wXaY[gZ],field=value,...)

for example `pwlq:w4a4,breakpoint=gauss,last=inputs,layers=*conv1=w8a8`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from bitproof.errors import InputError, lookup
from bitproof.quant.affine import Affine
from bitproof.quant.layer import LayerScheme
from bitproof.quant.method import Method
from bitproof.quant.methods import KNOWN
from bitproof.settings import Call, call, imported, is_importable
from bitproof.settings.grammar import construct

_MODEL_FIELDS = ("first", "last", "layers")
"""What the text form takes beside the bits and the fields of the method."""

_SHOWN = 6  # names of layers in an error


def _eight_bits(layer: LayerScheme) -> LayerScheme:
    """A plain grid of 8 bits for what the other layers have quantized, with the settings that `Affine` shares."""
    shared = {f.name for f in fields(Affine)} & {f.name for f in fields(layer.method)}
    weight_bits, act_bits = (32 if bits == 32 else 8 for bits in (layer.weight_bits, layer.act_bits))
    method = Affine(**{name: getattr(layer.method, name) for name in shared})
    return LayerScheme(method=method, weight_bits=weight_bits, act_bits=act_bits)


EDGES: dict[str, Callable[[LayerScheme], LayerScheme]] = {
    "8bit": _eight_bits,
    "same": lambda layer: layer,
    "weights": lambda layer: replace(layer, act_bits=32),
    "inputs": lambda layer: replace(layer, weight_bits=32),
    "float": lambda layer: replace(layer, weight_bits=32, act_bits=32, grad_bits=32),
}
"""What the first or the last layer gets, from what the others get."""


@dataclass(frozen=True)
class LayerRule:
    """What the layers of some names get, be they first, last or between.

    Attributes:
        pattern: matches names of layers: * is anything, ? any letter, [ab] one of these.
        weight_bits, act_bits, grad_bits: as in `LayerScheme`.
        method: None = that of the scheme.

    Example:
        >>> LayerRule("*.conv1", weight_bits=8, act_bits=32).label
        '*.conv1=w8a32'
        >>> LayerRule.parse("fc=affine(w8a8,granularity=tensor)").method.granularity
        'tensor'
    """

    pattern: str
    _: KW_ONLY
    weight_bits: int
    act_bits: int
    grad_bits: int = 32
    method: Method | None = None

    def matches(self, name: str) -> bool:
        return fnmatchcase(name, self.pattern)

    def layer(self, method: Method) -> LayerScheme:
        """What these layers get in a scheme of this method."""
        bits = {name: getattr(self, name) for name in ("weight_bits", "act_bits", "grad_bits")}
        return LayerScheme(method=self.method or method, **bits)

    def within(self, method: Method) -> "LayerRule":
        """The same rule in a scheme of this method, which needs not be named again."""
        return replace(self, method=None) if self.method == method else self

    @property
    def label(self) -> str:
        """The rule as `parse` reads it."""
        bits = _bits_label(self)
        if self.method is None:
            return f"{self.pattern}={bits}"
        return f"{self.pattern}={self.method.name}({','.join([bits, *_changed(self.method)])})"

    @staticmethod
    def parse(text: str) -> "LayerRule":
        """Read `PATTERN=wXaY` or `PATTERN=METHOD(wXaY,field=value,...)`."""
        pattern, equals, rest = text.partition("=")
        if not (pattern and equals):
            raise InputError(
                f"layers is {text!r}",
                rule="a rule for layers is written PATTERN=wBITSaBITS or PATTERN=METHOD(wBITSaBITS,field=value,...)",
                remedy="Write for example layers=*conv1=w8a8",
            )
        name, bits, given = _read(rest)
        return LayerRule(pattern, **bits, method=_made(name, given, text) if name or given else None)


@dataclass(frozen=True)
class Scheme:
    """Which quantizers go where.

    Attributes:
        method: makes the quantizers, or the name in `bitproof.quant.METHODS` of one as it is by default.
        weight_bits, act_bits: bits of weights and of the inputs of each layer; 32 = not quantized.
        grad_bits: bits of the gradients of each layer's output in training; 32 = not quantized.
        first, last: what the first and the last compute layer get; of a single layer, `first` counts.
            "8bit": plain affine grids of 8 bits, with the granularity and the ranges of the method;
            "same": what all others get; "weights", "inputs": only that part of it; "float": nothing.
        layers: rules for layers by name, which go before `first` and `last`; of several that match, the last counts.

    Raises:
        InputError: an unknown name, or bits outside the method's range.

    Example:
        >>> Scheme("affine", weight_bits=4, act_bits=4).label
        'affine w4a4'
        >>> Scheme(Affine(granularity="tensor"), weight_bits=4, act_bits=4, last="float").label
        'affine w4a4 granularity=tensor last=float'
        >>> Scheme.parse("dorefa:w2a2,first=weights,last=inputs").first  # bernhard2019, Table 9
        'weights'
    """

    method: Method | str = "affine"
    _: KW_ONLY
    weight_bits: int = 8
    act_bits: int = 8
    grad_bits: int = 32
    first: str = "8bit"
    last: str = "8bit"
    layers: tuple[LayerRule, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.method, str):  # converted here, so that equal schemes are equal values
            object.__setattr__(self, "method", lookup(KNOWN, self.method, "quantization method")())
        common = self.common
        for name in ("first", "last"):  # of several names for one thing the first, so that equal schemes are equal
            wanted = lookup(EDGES, getattr(self, name), name)(common)
            object.__setattr__(self, name, next(edge for edge, make in EDGES.items() if make(common) == wanted))
        object.__setattr__(self, "layers", tuple(rule.within(common.method) for rule in self.layers))
        list(self._all())  # which checks their bits

    @property
    def common(self) -> LayerScheme:
        """What a layer gets that is neither first nor last, and that no rule names."""
        assert isinstance(self.method, Method)
        return LayerScheme(
            method=self.method, weight_bits=self.weight_bits, act_bits=self.act_bits, grad_bits=self.grad_bits
        )

    @property
    def needs_calibration(self) -> bool:
        """Whether `quantize` must see images: activation ranges are observed, not fixed by the method."""
        return any(layer.observes for layer in self._all())

    def assign(
        self, names: Sequence[str], *, first: Collection[str] | None = None, last: Collection[str] | None = None
    ) -> list[LayerScheme]:
        """What each of a model's layers gets, by their names.

        Args:
            names: of all compute layers.
            first, last: the names of those that count as first and as last; by default the first and the last name.

        Raises:
            InputError: a rule that matches none of them.
        """
        common = self.common
        for rule in self.layers:
            if not any(map(rule.matches, names)):
                shown = [*names[:_SHOWN], "..."] if len(names) > _SHOWN else names
                raise InputError(
                    f"no layer is called {rule.pattern!r}",
                    rule="each rule of a scheme is for some of the model's layers",
                    remedy=f"They are {', '.join(shown)}; write * for any part of a name",
                )
        first, last = names[:1] if first is None else first, names[-1:] if last is None else last
        edges = dict.fromkeys(last, EDGES[self.last](common)) | dict.fromkeys(first, EDGES[self.first](common))
        layers = [edges.get(name, common) for name in names]
        for rule in self.layers:
            layers = [
                rule.layer(common.method) if rule.matches(n) else here for n, here in zip(names, layers, strict=True)
            ]
        return layers

    def _all(self) -> Iterable[LayerScheme]:
        """Everything that some layer may get."""
        yield (common := self.common)
        yield EDGES[self.first](common)
        yield EDGES[self.last](common)
        for rule in self.layers:
            yield rule.layer(common.method)

    @property
    def label(self) -> str:
        """Short form for people: method, bits, and whatever differs from the defaults."""
        method = self.common.method
        edges = [f"{name}={getattr(self, name)}" for name in ("first", "last") if getattr(self, name) != "8bit"]
        rules = [f"layers={'+'.join(rule.label for rule in self.layers)}"] if self.layers else []
        return " ".join([method.name, _bits_label(self), *_changed(method), *edges, *rules])

    @staticmethod
    def parse(text: str) -> "Scheme":
        """Read `[METHOD:]w4a4[g6][,field=value...]`, the form the command line takes; a method of one's own is
        `module:Method`."""
        name, bits, given = _read(text)
        own = {f.name for f in fields(_method(name))}
        for field in given:
            lookup(dict.fromkeys([*own, *_MODEL_FIELDS]), field, "field of scheme")
        method = _made(name, {field: value for field, value in given.items() if field in own}, text)
        rest = {field: value for field, value in given.items() if field not in own}
        return construct(partial(Scheme, method, **bits), Call(text=text, name="scheme", head="", fields=rest))


def as_scheme(given: "Scheme | str") -> Scheme:
    """A scheme, or a text of one.

    Raises:
        InputError: a text that is none, or something else.
    """
    scheme = Scheme.parse(given) if isinstance(given, str) else given
    if not isinstance(scheme, Scheme):
        raise InputError(
            f"{scheme!r:.80} as scheme", rule="it is a Scheme, or the text of one", remedy="Use for example 'w8a8'"
        )
    return scheme


def as_schemes(given: "Sequence[Scheme | str] | Scheme | str") -> "tuple[Scheme, ...]":
    """Schemes from themselves or their texts; one alone, too."""
    return tuple(as_scheme(one) for one in ((given,) if isinstance(given, Scheme | str) else given))


def _read(text: str) -> tuple[str, dict[str, int], dict[str, str]]:
    """The name (or ""), the bits and the other fields of `[METHOD:]wXaY[gZ][,field=value...]`."""
    module, colon, rest = text.partition(":")
    if colon and module not in KNOWN and re.search("[:(]", rest) and is_importable(module):
        name, bits, given = _read(rest)
        return f"{module}:{name}", bits, given
    parts = call(f":{text}" if re.match(r"w\d+a", text) else text)
    match = re.fullmatch(r"w(\d{1,3})a(\d{1,3})(?:g(\d{1,3}))?", parts.head)
    if not match:
        raise InputError(
            f"scheme {text!r}",
            rule="a scheme is written [METHOD:]wBITSaBITS[gBITS][,field=value...]",
            remedy="Write for example w8a8, affine:w4a4,granularity=tensor or dorefa:w4a32",
        )
    bits = {"weight_bits": int(match[1]), "act_bits": int(match[2]), "grad_bits": int(match[3] or 32)}
    return parts.name, bits, parts.fields


def _made(name: str, given: dict[str, str], text: str) -> Method:
    """The method of a name, "affine" without one, with these fields."""
    make = _method(name)
    return construct(make, Call(text=text, name=make.name, head="", fields=given))


def _method(name: str) -> type[Method]:
    """The method of a name, "affine" without one, or one of somebody's own.

    Raises:
        InputError: no method.
    """
    module, colon, called = name.partition(":")
    if not colon:
        return lookup(KNOWN, name or "affine", "quantization method")
    found = imported(module, called, "quantization method")
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise InputError(
            f"{name} is a {type(found).__name__}",
            rule="a quantization method of your own derives from bitproof.quant.method.Method",
            remedy="See an existing one, such as bitproof/quant/dorefa.py",
        )
    return found


def _bits_label(bits: Any) -> str:
    return f"w{bits.weight_bits}a{bits.act_bits}" + (f"g{bits.grad_bits}" if bits.grad_bits < 32 else "")


def _changed(method: Method) -> list[str]:
    """`field=value` for each field that differs from its default."""
    values = ((f, getattr(method, f.name)) for f in fields(method))
    return [f"{f.name}={value}" for f, value in values if value != f.default]
