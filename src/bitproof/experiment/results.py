"""What an experiment gives back: records, and views on them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitproof import metrics
from bitproof.errors import InputError, lookup
from bitproof.export import Files, export
from bitproof.files import written
from bitproof.records import Cell, Diagnosis, Explained, Record, name_conditions
from bitproof.report import write_report
from bitproof.report.figure import latex
from bitproof.report.sections import name_models
from bitproof.report.text import bits, percent, points
from bitproof.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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

    @property
    def explanations(self) -> list[Explained]:
        """What the analyses found; each has `findings` in words and a `table()`."""
        return [record for record in self.records if isinstance(record, Explained)]

    @staticmethod
    def load(
        store: str | Path | Store, *, data: str | None = None, seed: int | None = None, reference: str | None = None
    ) -> "Result":
        """What a store holds, computed by whatever runs.

        Models of one name that are not one network are told apart by their tags or fingerprints, with a warning.

        Args:
            store: a file, or an open store.
            data, seed: choose the results on one data set or of one seed.
            reference: the model that the others are compared with; by default the first float one.

        Raises:
            InputError: no store, no results, several data sets, or an unknown reference.
        """
        if not isinstance(store, Store):
            with Store(store, readonly=True) as opened:
                return Result.load(opened, data=data, seed=seed, reference=reference)
        found = [
            record
            for record in store.query(None, data=data)
            if (seed is None or record.seed == seed) and (data is None or record.data.name == data)
        ]
        sets = {record.data.fingerprint: record.data for record in found}
        if len(sets) != 1:
            names = ", ".join(f"{one.name} {one.split} (n = {one.count:,})" for one in sets.values())
            raise InputError(
                f"the store holds results on {names}" if sets else "the store holds no such results",
                rule="a result is of one data set",
                remedy="Choose one: data=NAME" if sets else "Check data= and seed=",
            )
        named = name_models(found)
        renamed = {new.model.name for new in named} - {old.model.name for old in found}
        apart = sorted({old.model.name for old, new in zip(found, named, strict=True) if new.model.name in renamed})
        if apart:
            warnings.warn(
                f"several networks are called {', '.join(map(repr, apart))}: they are told apart by their tags or "
                "fingerprints",
                stacklevel=2,
            )
        models = {record.model.name: record.model for record in named}
        floats = [name for name, model in models.items() if model.is_float]
        if reference is not None:
            lookup(models, reference, "reference model")
        environments, runs = store.environments(), sorted({r.run for r in named if r.run is not None})
        cells = name_conditions([record for record in named if isinstance(record, Cell)])
        return Result(
            records=[*cells, *(record for record in named if not isinstance(record, Cell))],
            reference=reference or next(iter(floats or models)),
            computed=0,
            reused=len(named),
            damaged=dict(store.damaged),
            files=store.files(),
            environments=[environments[run] for run in runs if run in environments],
        )

    def table(self, *, over: str | None = None) -> "pd.DataFrame":
        """One row a model and condition: accuracy, paired difference from the reference, both with 95% intervals,
        p-values (raw, and corrected for being many), passes an example; see `bitproof.metrics.compare`.

        Args:
            over: take models together over a tag ("train_seed"), or results over the "seed" of their runs: mean,
                standard deviation, n, and an interval that holds this noise; see `bitproof.metrics.pooled`.
        """
        import pandas as pd

        if over is not None:
            return pd.DataFrame(metrics.pooled(self.cells, over))
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

    def to_latex(self, path: str | Path | None = None) -> str:
        """The table of a paper: conditions down, models across, accuracy in % and half of its 95% interval; also
        written to `path`."""
        import pandas as pd

        lines: dict[str, dict[str, str]] = {}
        for row in metrics.compare(self.cells, self.reference):
            half = 50 * (row["high"] - row["low"])
            entry = f"${100 * row['accuracy']:.1f} \\pm {half:.1f}$"
            lines.setdefault(latex(row["condition"]), {})[latex(row["model"])] = entry
        n = len(self.cells[0].ids)
        table = pd.DataFrame.from_dict(lines, orient="index").fillna("")
        text = table.to_latex(
            escape=False,
            column_format="l" + "r" * table.shape[1],
            caption=f"Accuracy in \\% with half of the 95\\% Wilson interval (n = {n:,}).",
        )
        if path is not None:
            with written(Path(path), "the table") as draft:
                draft.write_text(text)
        return text

    def figure(self, group: str | None = None) -> "tuple[Figure, pd.DataFrame]":
        """Accuracy with its 95% interval under the conditions of a group (an attack at its budgets, a corruption at its
        severities), or under all: a matplotlib figure, to be saved in any form, and the numbers that it shows."""
        from bitproof.report.figure import accuracies

        return accuracies(self.cells, self.reference, group)

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
