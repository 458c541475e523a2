"""Ways to a quantized model that behaves like its float model, one file a kind, from cheap to dear."""

from bitproof.audit.remedies.base import Remedy
from bitproof.audit.remedies.learned import Agreeing, FineTuned
from bitproof.audit.remedies.reconstructed import Efrap
from bitproof.audit.remedies.rerounding import Counteracted, Dithered

REMEDIES: dict[str, type[Remedy]] = {
    "dithered": Dithered,
    "counteracted": Counteracted,
    "agreeing": Agreeing,
    "efrap": Efrap,
    "fine-tuned": FineTuned,
}

__all__ = ["REMEDIES", "Agreeing", "Counteracted", "Dithered", "Efrap", "FineTuned", "Remedy"]
