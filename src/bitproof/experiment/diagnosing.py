"""The diagnosis of masked gradients as a part of an experiment: only what the store does not have is computed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from bitproof.analysis import diagnose_masking
from bitproof.data import Data
from bitproof.diagnosis import Diagnosis, diagnosis_key
from bitproof.records import ModelRecord
from bitproof.runner.progress import Progress
from bitproof.store import Store

SETTING: dict[str, Any] = {"eps": None, "steps": 20, "queries": 1000, "draws": 50, "directions": 16}
"""Of the diagnoses of experiments, which a store finds by it."""


def diagnose(
    models: Mapping[str, nn.Module],
    records: Mapping[str, ModelRecord],
    data: Data,
    store: Store,
    *,
    seed: int,
    batch_size: int,
    progress: bool,
) -> list[Diagnosis]:
    """One diagnosis a model that has gradients; a first model that is float is the twin of the others.

    Models without parameters, such as sessions of ONNX Runtime, have none and are left out.
    """
    with_gradients = [name for name, model in models.items() if next(model.parameters(), None) is not None]
    first = next(iter(models))
    twin = first if first in with_gradients and records[first].scheme is None else None
    stored, found = store.diagnoses(), []
    with Progress(len(with_gradients), enabled=progress) as bar:
        for name in with_gradients:
            bar.start(f"{name}: masked gradients")
            other = twin if name != twin else None
            key = diagnosis_key(records[name], records[other] if other else None, data.record, seed, SETTING)
            if key not in stored:
                stored[key] = diagnose_masking(
                    models[name],
                    data,
                    twin=models[other] if other else None,
                    seed=seed,
                    batch_size=batch_size,
                    name=name,
                    **SETTING,
                )
                store.append_diagnosis(stored[key])
            found.append(replace(stored[key], model=records[name]))
            bar.advance(1)
    return found
