"""bitproof: is a quantized image classifier still accurate, robust and trustworthy?

The public face. Names are loaded when they are first used, so that `import bitproof` costs no time and
results can be read without torch.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if os.name != "posix":  # files are locked, signals held back and processes watched in ways that Windows has not
    raise ImportError("bitproof runs on Linux and macOS; on Windows, use it inside WSL")

__version__ = "0.1.0"

_HOME = {
    "Data": "data",
    "from_arrays": "data",
    "from_dataset": "data",
    "load_data": "data",
    "load_model": "checkpoints",
    "save_model": "checkpoints",
    "Scheme": "quant",
    "freeze": "quant",
    "quantize": "quant",
    "Experiment": "experiment",
    "Result": "experiment",
    "audit_model": "experiment",
    "evaluate": "experiment",
    "Audit": "records",
    "Diagnosis": "records",
    "diagnose_masking": "analysis",
    "Store": "store",
    "repair": "audit",
    "tagged": "subjects",
    "InputError": "errors",
    "Rng": "core.rng",
    "submit": "leaderboard",
    "write_leaderboard": "leaderboard",
    "write_report": "report",
}
__all__ = [
    "Audit",
    "Data",
    "Diagnosis",
    "Experiment",
    "InputError",
    "Result",
    "Rng",
    "Scheme",
    "Store",
    "analysis",
    "attacks",
    "audit",
    "audit_model",
    "data",
    "defences",
    "deploy",
    "diagnose_masking",
    "evaluate",
    "experiment",
    "freeze",
    "from_arrays",
    "from_dataset",
    "implants",
    "leaderboard",
    "load_data",
    "load_model",
    "metrics",
    "models",
    "ptq",
    "quant",
    "quantize",
    "repair",
    "report",
    "save_model",
    "shifts",
    "store",
    "submit",
    "tagged",
    "train",
    "write_leaderboard",
    "write_report",
]

if TYPE_CHECKING:
    from bitproof import (
        analysis,
        attacks,
        audit,
        data,
        defences,
        deploy,
        experiment,
        implants,
        leaderboard,
        metrics,
        models,
        ptq,
        quant,
        report,
        shifts,
        store,
        train,
    )
    from bitproof.analysis import diagnose_masking
    from bitproof.audit import repair
    from bitproof.checkpoints import load_model, save_model
    from bitproof.core.rng import Rng
    from bitproof.data import Data, from_arrays, from_dataset, load_data
    from bitproof.errors import InputError
    from bitproof.experiment import Experiment, Result, audit_model, evaluate
    from bitproof.leaderboard import submit, write_leaderboard
    from bitproof.quant import Scheme, freeze, quantize
    from bitproof.records import Audit, Diagnosis
    from bitproof.report import write_report
    from bitproof.store import Store
    from bitproof.subjects import tagged


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"bitproof.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in __all__:
        return importlib.import_module(f"bitproof.{name}")
    raise AttributeError(f"module 'bitproof' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
