"""Results in TensorBoard, MLflow or Weights & Biases, as they are computed.

    bp.evaluate(models, data, on_record=tensorboard(SummaryWriter("runs")))
    bp.evaluate(models, data, on_record=mlflow_run(mlflow))
    bp.evaluate(models, data, on_record=wandb_run(wandb.init(project="bits")))

Each takes the tool's own object, so nothing is installed for it here.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from bitproof.records import Cell, Record

Log = Callable[[Record], None]


def tensorboard(writer: Any) -> Log:
    """Scalars of a `SummaryWriter`: accuracy under a condition, by the bits of the weights."""

    def log(record: Record) -> None:
        if isinstance(record, Cell):
            tag = f"{record.condition.label}/{record.model.name}"
            writer.add_scalar(tag, float(record.correct.mean()), record.model.weight_bits)

    return log


def mlflow_run(mlflow: Any) -> Log:
    """Metrics of the active run of MLflow, whose names hold no commas and brackets."""

    def log(record: Record) -> None:
        if isinstance(record, Cell):
            name = f"{record.model.name} {record.condition.label}"
            clean = "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
            mlflow.log_metrics({clean: float(record.correct.mean())}, step=record.model.weight_bits)

    return log


def wandb_run(run: Any) -> Log:
    """A point a result of a run of Weights & Biases."""
    steps = count()

    def log(record: Record) -> None:
        if isinstance(record, Cell):
            about = {"model": record.model.name, "bits": record.model.weight_bits}
            run.log({**about, record.condition.label: float(record.correct.mean())}, step=next(steps))

    return log
