"""What an experiment gives back: records, and views on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitproof import metrics
from bitproof.export import Files, export
from bitproof.records import Cell, Diagnosis, Record
from bitproof.report import write_report
from bitproof.report.text import bits, percent, points

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 12
"""How many models are named where a result is printed."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """The records of one experiment and everything that follows from them.

    Attributes:
        records: cells, one a model and condition, and what else was asked for.
        reference: name of the model that the others are compared with.
        computed, reused: how many records this run computed and how many the store held already.
        environments: what the records were computed on, one entry a run of the store.
        damaged: records that the store held damaged and that were computed anew, by key, and why.
        files: the file of each example by the fingerprint of its data and its number, where there are files.
    """

    records: Sequence[Record]
    reference: str
    computed: int
    reused: int
    environments: Sequence[dict[str, Any]]
    damaged: Mapping[str, str] = field(default_factory=dict)
    files: Files = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """One a model and condition, example by example."""
        return [record for record in self.records if isinstance(record, Cell)]

    @property
    def diagnoses(self) -> list[Diagnosis]:
        """Of masked gradients, one a model, where they were asked for."""
        return [record for record in self.records if isinstance(record, Diagnosis)]

    def table(self) -> "pd.DataFrame":
        """One row a model and condition: accuracy, paired difference from the reference, both with 95% intervals,
        p-values (raw, and corrected for being many), passes an example; see `bitproof.metrics.compare`."""
        import pandas as pd

        return pd.DataFrame(metrics.compare(self.cells, self.reference))

    def tests(self) -> "pd.DataFrame":
        """One row a model and test against the reference: clean images, each attack, the mean over each other group of
        conditions, the flips of each sequence; see `bitproof.metrics.verdicts`."""
        import pandas as pd

        return pd.DataFrame(metrics.verdicts(self.cells, self.reference))

    def summary(self) -> "pd.DataFrame":
        """One row a model and metric of `bitproof.metrics.METRICS` that the cells allow, with its 95% interval and the
        paired difference from the reference."""
        import pandas as pd

        return pd.DataFrame(metrics.summary(self.cells, self.reference))

    def transfer(self, *, tuned: str | None = None) -> "pd.DataFrame":
        """One row an attack, source and target of `evaluate(..., transfer=)`; see `bitproof.metrics.transfer`."""
        import pandas as pd

        return pd.DataFrame(metrics.transfer(self.cells, tuned=tuned))

    def distances(self) -> "pd.DataFrame":
        """One row a model and attack without a budget; see `bitproof.metrics.distances`."""
        import pandas as pd

        return pd.DataFrame(metrics.distances(self.cells))

    def same_pixels(self) -> "pd.DataFrame":
        """One row a condition that showed the models pixels that an earlier one had shown already: `like` which, and on
        how many (`equal`) of the `n` images. Empty where all conditions differ on all images."""
        import pandas as pd

        return pd.DataFrame(metrics.same_pixels(self.cells), columns=["condition", "like", "equal", "n"])

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the self-contained HTML report; returns its path."""
        return write_report(self.records, path, reference=self.reference, environments=self.environments)

    def export(self, path: str | Path) -> int:
        """Write every example's prediction to a .parquet or .csv file, or all records to a .json file.

        Returns:
            The number of rows or records.
        """
        return export(self.records, path, self.files)

    def __repr__(self) -> str:
        clean = {cell.model.name: float(cell.correct.mean()) for cell in self.cells if cell.condition.kind == "clean"}
        models = {record.model.name: record.model for record in self.records}
        lines = [self._title]
        for name, model in list(models.items())[:_SHOWN]:
            line = f"  {name:<{max(map(len, models))}}  {bits(model.weight_bits, model.act_bits):>5}"
            if name in clean:
                line += f"  {percent(clean[name]):>5}% clean"
            if name == self.reference:
                line += ", the reference"
            elif name in clean and self.reference in clean:
                line += f", {points(clean[name] - clean[self.reference])} points"
            lines.append(line)
        if len(models) > _SHOWN:
            lines.append(f"  and {len(models) - _SHOWN} more")
        return "\n".join(
            [
                *lines,
                f"{self.computed} records computed, {self.reused} found in the store",
                "See table(), tests(), summary(), transfer(), distances(), same_pixels(), report(path), export(path)",
            ]
        )

    def _repr_html_(self) -> str:
        import pandas as pd

        accuracy: dict[str, dict[str, float]] = {}
        for cell in self.cells:
            accuracy.setdefault(cell.model.name, {})[cell.condition.label] = 100 * float(cell.correct.mean())
        table = pd.DataFrame(accuracy).to_html(float_format="%.1f", na_rep="", max_rows=30)
        return f"<p>{escape(self._title)}; accuracy in %:</p>{table}"

    @property
    def _title(self) -> str:
        models = len({record.model.name for record in self.records})
        conditions = len({cell.condition.label for cell in self.cells})
        seen = {f"{r.data.name} {r.data.split}, {r.data.count:,} examples, seed {r.seed}" for r in self.records}
        return (
            f"Result: {models} model{'s' * (models != 1)} under {conditions} condition{'s' * (conditions != 1)} "
            f"on {'; '.join(sorted(seen))}"
        )
