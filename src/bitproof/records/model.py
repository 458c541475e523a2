"""What a result says of the model that it is about."""

from dataclasses import dataclass, field
from typing import Any

from bitproof.records.coverage import Coverage


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Which model was tested: its name in the experiment, the hash of all that it computes with, and what is known.

    Attributes:
        name: for people.
        fingerprint: hash of weights, buffers, attributes and code (`bitproof.subjects.fingerprint`).
        scheme: how it is quantized, as a setting's description; None = not by bitproof.
        weight_bits, act_bits: the fewest of any layer but the first and the last; 32 = float.
        architecture: the name that `load_model` knows it by, where it came from there.
        origin: what made it: the parent's fingerprint, recipe, data, seed, and marks of what was done to it.
        gradients: whether attacks can follow its gradients; ONNX sessions have none.
        random: whether it answers the same images differently each time.
        of_batch: whether its answers depend on which other images are in the batch.
        coverage: what of it is quantized, part by part; None for float models and sessions.
        bytes: on disk, quantized weights packed (`bitproof.deploy.sizes`), of a session its file; None = not known.
        notes: what a reader of its results has to know of how it computed them, in words.
        tags: whatever its user says of it, such as the seed that it was trained with; no part of what it is.
    """

    name: str
    fingerprint: str
    scheme: dict[str, Any] | None = None
    weight_bits: int = 32
    act_bits: int = 32
    architecture: str | None = None
    origin: dict[str, Any] | None = None
    gradients: bool = True
    random: bool = False
    of_batch: bool = False
    coverage: Coverage | None = None
    bytes: int | None = None
    notes: tuple[str, ...] = ()
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What a key takes from the model: everything that can change a prediction, not what it is called.

        The quantizers are a part of the fingerprint; a scheme is one of several ways to ask for them.
        """
        return self.fingerprint

    @property
    def family(self) -> str:
        """What models that differ in their tags alone are called: the tag "name", or the name itself."""
        return str(self.tags.get("name", self.name))

    @property
    def is_float(self) -> bool:
        """Whether neither weights nor activations are quantized."""
        return self.weight_bits == self.act_bits == 32
